"""What of a load depends on the machines: prefixes that their caches keep, requests that clients can send."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import numpy as np

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.latency.layout import Layout
from planner.pools.candidate import stable_rate_of_one
from planner.pools.configuration import Serving, configurations_of
from planner.scenario.load import Load
from planner.serving.mixed import MixedQueue
from planner.serving.requests import Traffic, reference_latencies
from planner.workload.prefixes import FloatArray, PrefixBlocks

_MOST_REQUESTS = 100_000  # whose blocks are played against a cache
_FOR_CACHES = 0.5  # share of the KV memory that requests under way leave


def most_that_clients_send(
    n_clients: float, think_s: float, catalog: Catalog, machines: Sequence[Machine], serving: Serving, traffic: Traffic
) -> float:
    """Rate of clients that wait for answers and think, were each request alone on the quickest machine [requests/s].

    Notes
    -----
    By Little's law N = lambda (E + Z), with the mean time E of an answer and Z of thinking. No plan answers sooner than
    a request alone is answered, so no plan is asked for more.
    """
    answers = [
        float(traffic.weight @ reference_latencies(c.lane, traffic)["e2e"])
        for machine in machines
        for c in configurations_of(catalog, machine, serving)[0]
    ]
    return n_clients / (min(answers, default=1.0) + think_s)


def shares_that_fit(
    load: Load,
    rate_per_s: float | None,
    catalog: Catalog,
    machines: Sequence[Machine],
    serving: Serving,
    books: Sequence[str],
    traffic: Traffic,
) -> tuple[dict[tuple[str, Layout], float], str]:
    """Share of prompt tokens that prefix caches have, by machine and layout, and a note.

    Parameters
    ----------
    load : Load
        With the blocks of its prompts.
    rate_per_s : float or None
        Of the load; None where it is not known, and one machine is taken [requests/s].
    catalog, machines, serving, books, traffic
        As the problem has them, no prefixes cached.

    Notes
    -----
    The blocks of the trace are played against a cache, least recently used blocks forgotten, of half of the KV memory
    of as many machines as the load keeps busy all the time with what the cache spares it; the other half is that of
    requests under way. A request goes to where its prefix is, so that the caches of several machines are as one. No
    plan has fewer machines; a pool that gets a part of the requests has that part of them, and forgets as late.
    """
    assert load.blocks is not None
    blocks, prompts = load.blocks, load.prompt_tokens
    if blocks.n_requests > _MOST_REQUESTS:
        blocks, prompts = blocks.taken(np.arange(_MOST_REQUESTS)), prompts[:_MOST_REQUESTS]
    cache = _ShareOfCache(blocks, prompts)
    queues: dict[int, MixedQueue] = {}
    shares = {}
    for machine in machines:
        for c in configurations_of(catalog, machine, serving, books)[0]:
            queue = queues.setdefault(id(c.lane), MixedQueue(c.lane, traffic))
            room = c.lane.kv_tokens * c.layout.lanes_per_machine * _FOR_CACHES
            busy = 0.0 if rate_per_s is None else rate_per_s / stable_rate_of_one(c, queue)
            most = cache.share(room * max(np.floor(busy), 1.0))
            shares[machine.name, c.layout] = cache.share(room * max(np.floor(busy * (1.0 - most)), 1.0))
    if not shares:
        return {}, "prefixes: no machine has memory for a cache"
    low, high = (100.0 * bound(shares.values()) for bound in (min, max))
    found = f"{low:.3g} %" if low == high else f"{low:.3g} to {high:.3g} %, by machine and layout,"
    return shares, (
        f"prefixes: {found} of the prompts' blocks are cached in half of the KV memory of the machines that the load "
        "keeps busy, with requests sent to where their prefix is; a cache that forgets none has "
        f"{100 * blocks.share(prompts):.3g} %"
    )


class _ShareOfCache:
    """Share of the blocks of prompts that a cache of a size has, worked out at powers of two tokens."""

    def __init__(self, blocks: PrefixBlocks, prompt_tokens: FloatArray) -> None:
        self._blocks, self._prompts = blocks, prompt_tokens
        self._known: dict[int, float] = {}
        self._largest = ceil(log2(max(blocks.block.size * blocks.block_tokens, 2)))  # which forgets nothing

    def share(self, tokens: float) -> float:
        """Linear in the logarithm of the size between two powers."""
        at = min(log2(max(tokens, 1.0)), float(self._largest))
        low = int(at)
        return self._at(low) + (at - low) * (self._at(min(low + 1, self._largest)) - self._at(low))

    def _at(self, power: int) -> float:
        if power not in self._known:
            self._known[power] = self._blocks.share(self._prompts, 2.0**power)
        return self._known[power]
