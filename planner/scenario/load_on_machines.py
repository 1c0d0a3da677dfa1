"""What of a load depends on the machines: prefixes that their caches keep, requests that clients can send."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.pools.configuration import Serving, configurations_of
from planner.scenario.load import Load
from planner.serving.requests import Traffic, reference_latencies

_MOST_REQUESTS = 100_000  # whose blocks are played against a cache


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


def share_that_fits(
    load: Load, catalog: Catalog, machines: Sequence[Machine], serving: Serving, books: Sequence[str]
) -> tuple[float, str]:
    """Share of prompt tokens that prefix caches have, on whichever machine has the least memory for them, and a note.

    The blocks of the trace are played against a cache, least recently used blocks forgotten, of half of the KV memory
    of one machine in its roomiest layout: the other half is that of requests under way. Of several machines that send
    a request to where its prefix is, the caches together have no less.
    """
    assert load.blocks is not None
    blocks, prompts = load.blocks, load.prompt_tokens
    if blocks.n_requests > _MOST_REQUESTS:
        blocks, prompts = blocks.taken(np.arange(_MOST_REQUESTS)), prompts[:_MOST_REQUESTS]
    ideal = blocks.share(prompts)
    room = {}
    for machine in machines:
        found, _ = configurations_of(catalog, machine, serving, books)
        if found:
            room[machine.name] = max(c.lane.kv_tokens * c.layout.lanes_per_machine for c in found) / 2.0
    if not room:
        return 0.0, "prefixes: no machine has memory for a cache"
    least = min(room, key=lambda name: (room[name], name))
    share = blocks.share(prompts, room[least])
    return share, (
        f"prefixes: {100 * share:.3g} % of the prompts' blocks are cached in half of the KV memory of one {least} "
        f"({room[least]:,.0f} tokens), with requests sent to where their prefix is; a cache that forgets none has "
        f"{100 * ideal:.3g} %"
    )
