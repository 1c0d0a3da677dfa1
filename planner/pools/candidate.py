"""Candidate pools: a configuration in a role, with its capacity curve."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from planner.catalog.schema import KvTransferCosts
from planner.latency.transfer import kv_transfer_exposed_s, synchronisation_scale
from planner.pools.configuration import Configuration
from planner.serving.capacity import (
    CapacityCurve,
    decode_capacities,
    machine_counts,
    mixed_capacity,
    objectives_on,
    prefill_capacity,
)
from planner.serving.decode import DecodeQueue, Upstream, Upstreams
from planner.serving.erlang import WaitTail
from planner.serving.links import MOST_SENT, slowdowns
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Limit, Traffic
from planner.workload.sizes import RequestSizes

Role = Literal["prefill", "decode", "mixed"]
Counts = NDArray[np.int64]
SENT_GRADES = (MOST_SENT, 0.4)  # the less its NICs are used, the sooner a prefill pool's transfers end
_LIGHTLY_USED = 0.05  # NICs: below, what a pool receives hardly slows a transfer
_LEVELS = (0.1, 0.5, 1.0)  # of the most that a pool may receive, at which its capacity is looked at


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pool that a plan may contain.

    Attributes
    ----------
    key : str
        Names it among all candidates, whatever order they were made in.
    role : str
    configuration : Configuration
    sources : tuple of str
        Of a decode pool: keys of the prefill candidates whose requests it may take. Transfer and end-to-end latency
        depend on where requests come from, so a decode machine is one candidate for each kind of source.
    curve : CapacityCurve
        Largest rate within every objective at the numbers of machines computed so far.
    compute : callable
        Computes the curve at other numbers of machines.
    most_per_s : float
        What one machine carries at most, however late its answers [requests/s].
    """

    key: str
    role: Role
    configuration: Configuration
    sources: tuple[str, ...]
    curve: CapacityCurve
    compute: Callable[[Counts], CapacityCurve] = field(repr=False)
    most_per_s: float = np.inf

    def with_counts(self, counts: Sequence[int]) -> Candidate:
        """The same candidate with its curve known exactly at `counts` too."""
        known = set(self.curve.n_machines.tolist())
        new = np.array(sorted(set(counts) - known), dtype=np.int64)
        if not new.size:
            return self
        extra = self.compute(new)
        n = np.concatenate([self.curve.n_machines, extra.n_machines])
        order = np.argsort(n)
        rate = np.concatenate([self.curve.rate_per_s, extra.rate_per_s])[order]
        return replace(self, curve=CapacityCurve(n[order], np.maximum.accumulate(rate)))

    def optimistic_count(self, rate_per_s: float) -> float:
        """No fewer machines than this carry the rate: read off the straight lines between known counts."""
        n, rate = self.curve.n_machines, self.curve.rate_per_s
        if rate[-1] < rate_per_s:
            return np.inf
        first = int(np.searchsorted(rate, rate_per_s))
        if first == 0:
            return float(n[0])
        slope = (rate[first] - rate[first - 1]) / (n[first] - n[first - 1])
        return float(n[first - 1]) + max(float(np.ceil((rate_per_s - rate[first - 1]) / slope - 1e-9)), 1.0)

    def cheapest_count(self, rate_per_s: float) -> tuple[int | None, Candidate]:
        """Fewest machines that carry a rate, and the candidate with its curve exact there; None if none do.

        The straight line between two points of a convex curve lies above it, so the count read off it is never
        too high: exact values from there upwards find the answer.
        """
        candidate = self
        while True:
            n, rate = candidate.curve.n_machines, candidate.curve.rate_per_s
            above = np.flatnonzero(rate >= rate_per_s)
            if not above.size:
                return None, candidate
            first = int(above[0])
            if first == 0 or n[first] == n[first - 1] + 1:
                return int(n[first]), candidate
            guess = min(int(candidate.optimistic_count(rate_per_s)), int(n[first]) - 1)
            candidate = candidate.with_counts([guess, guess - 1] if guess - 1 > n[first - 1] else [guess])


@dataclass(frozen=True, eq=False)
class Requirement:
    """What a plan must carry.

    Attributes
    ----------
    rate_per_s : float
        Demand [requests/s].
    traffic : Traffic
    limits : tuple of Limit
        The objectives applied to it.
    most_busy : float
        Highest utilisation allowed to prefill work, below which the queueing formulas hold.
    kv_transfer : KvTransferCosts
        Of the runtime.
    n_layers : int
        Of the model.
    longest_prompt_tokens, longest_request_tokens : float
        The largest prompt, and prompt and output together [tokens]; `traffic` may have averaged them away.
    all_sizes : RequestSizes or None
        Every size that was asked for, before `traffic` averaged some; None: those of `traffic`.
    """

    rate_per_s: float
    traffic: Traffic
    limits: tuple[Limit, ...]
    most_busy: float
    kv_transfer: KvTransferCosts
    n_layers: int
    longest_prompt_tokens: float
    longest_request_tokens: float
    all_sizes: RequestSizes | None = None

    def too_large(self, prompt_room_tokens: float, request_room_tokens: float) -> float:
        """Share of requests that never fit: prompts beyond one room, or whole requests beyond the other [tokens].

        A request of one token is never decoded elsewhere, so all of it lies where its prompt is.
        """
        if max(self.longest_prompt_tokens, self.longest_request_tokens) <= min(prompt_room_tokens, request_room_tokens):
            return 0.0
        sizes = self.all_sizes or self.traffic.sizes
        whole = sizes.prompt_tokens + sizes.output_tokens
        decoded = sizes.output_tokens > 1
        over = np.where(
            decoded,
            (sizes.prompt_tokens > prompt_room_tokens) | (whole > request_room_tokens),
            whole > prompt_room_tokens,
        )
        return float(sizes.weight @ over)

    def is_held_by(self, configuration: Configuration, role: str) -> bool:
        """Whether a lane of the configuration has KV memory for the longest request."""
        return configuration.holds(role, self.longest_prompt_tokens, self.longest_request_tokens)


def transfer_s(
    sender: Configuration,
    receiver: Configuration,
    need: Requirement,
    prefill_time_s: NDArray[np.float64],
    slowdown: float = 1.0,
) -> NDArray[np.float64]:
    """KV transfer left exposed for each point of the traffic, `slowdown` times as long on the wire as alone [s]."""
    bandwidth = 1.0 / slowdown * min(sender.replica_network_bytes_per_s, receiver.replica_network_bytes_per_s)
    nic = min(c.machine.network.nic_bandwidth_bytes_per_s for c in (sender, receiver))
    costs = need.kv_transfer
    scaled = costs.model_copy(update={"synchronisation_s": costs.synchronisation_s * synchronisation_scale(nic, costs)})
    latency = max(sender.fabric.latency_s, receiver.fabric.latency_s)
    return kv_transfer_exposed_s(
        need.traffic.prompt_tokens, prefill_time_s, sender.kv_bytes_per_token, need.n_layers, bandwidth, latency, scaled
    )


def upstreams_of(
    sender: Configuration,
    receiver: Configuration,
    need: Requirement,
    wait: WaitTail,
    prefill_time_s: NDArray[np.float64],
    network_utilisation: float,
) -> Upstreams:
    """What requests go through before decode, where the busier NICs of a transfer are so utilised."""
    first_s = prefill_time_s + sender.lane.beside_steps_s(need.traffic.prompt_tokens)
    return [
        (share, Upstream(wait, first_s, transfer_s(sender, receiver, need, prefill_time_s, slowdown)))
        for share, slowdown in slowdowns(network_utilisation)
    ]


def network_rate_per_s(configuration: Configuration, need: Requirement) -> float:
    """Requests whose KV caches the NICs of one machine carry [requests/s]."""
    per_request = need.traffic.sizes.mean_prompt_tokens * configuration.kv_bytes_per_token
    used = min(configuration.layout.replicas, configuration.nic_groups)
    return used * configuration.replica_network_bytes_per_s / per_request


def prefill_candidate(
    configuration: Configuration,
    queue: PrefillQueue,
    need: Requirement,
    most_busy: float,
    top_rate_per_s: float,
    most_sent: float = MOST_SENT,
) -> Candidate:
    """A prefill pool of this configuration, its computing at most `most_busy` and its NICs `most_sent` utilised."""
    lanes = configuration.layout.lanes_per_machine
    wire = network_rate_per_s(configuration, need)

    def compute(n: Counts) -> CapacityCurve:
        key = (need, lanes, most_busy)
        curve = _once(queue, key, n, lambda n: prefill_capacity(queue, need.limits, n, lanes, most_busy))
        return CapacityCurve(n, np.minimum(curve.rate_per_s, n * wire * most_sent))

    key = f"prefill/{configuration.machine.name}/{configuration.layout.label}/{most_busy:.2f}"
    key += f"/{most_sent:.2f} sent" if most_sent < MOST_SENT else ""
    one = stable_rate_of_one(configuration, queue) * most_busy
    curve = _first_curve(compute, top_rate_per_s, one)
    return Candidate(key, "prefill", configuration, (), curve, compute, min(one, wire))


def sends_much(configuration: Configuration, queue: PrefillQueue, need: Requirement) -> bool:
    """Whether a busy prefill machine uses its NICs so much that transfers, and what objectives see of them, slow."""
    if not any(limit.objective.metric != "ttft" for limit in need.limits):
        return False
    busy_rate = stable_rate_of_one(configuration, queue) * need.most_busy
    return busy_rate > SENT_GRADES[1] * network_rate_per_s(configuration, need)


def stable_rate_of_one(configuration: Configuration, queue: PrefillQueue | DecodeQueue | MixedQueue) -> float:
    """Rate that keeps one machine busy all the time: no count of them carries more than its multiple [requests/s]."""
    return float(queue.stable_rate_per_s(np.array([float(configuration.layout.lanes_per_machine)]))[0])


def decode_candidate(
    configuration: Configuration,
    queue: DecodeQueue,
    source: Candidate,
    source_queue: PrefillQueue,
    need: Requirement,
    top_rate_per_s: float,
    known: dict[str, Candidate],
) -> Candidate:
    """A decode pool of this configuration for requests that come from `source`, its `sources` still to be filled in.

    `known` holds the candidates so far by key; sources that look alike from here share a pool.
    """
    lanes = configuration.layout.lanes_per_machine
    whole = f"decode/{configuration.machine.name}/{configuration.layout.label}"
    unseen = not objectives_on(need.limits, "tbt") and not needs_end_to_end(need)
    if unseen and f"{whole}/{_UNSEEN}" in known:  # nothing depends on where requests come from
        return known[f"{whole}/{_UNSEEN}"]
    wire = network_rate_per_s(configuration, need)
    wait, sent = _source_at_capacity(source, source_queue, need)
    one = stable_rate_of_one(configuration, queue)
    # The more a pool receives, the slower the transfers: capacity at several levels, none of which may be exceeded.
    full = min(one / wire, MOST_SENT)
    levels = [full] if unseen or full < _LIGHTLY_USED else [full * part for part in _LEVELS]
    upstreams = [
        upstreams_of(source.configuration, configuration, need, wait, source_queue.alone_s, max(sent, level))
        for level in levels
    ]

    seen = _as_seen_by_decode([each for upstream in upstreams for each in upstream], need)
    key = f"{whole}/{seen}"
    if key in known:
        return known[key]

    def compute(n: Counts) -> CapacityCurve:
        of = (need, lanes, seen) if unseen else (need, lanes, seen, *levels)
        curves = _once(queue, of, n, lambda n: decode_capacities(queue, need.limits, upstreams, n, lanes))
        rates = [np.minimum(c.rate_per_s, n * wire * level) for level, c in zip(levels, curves, strict=True)]
        return CapacityCurve(n, np.maximum.reduce(rates))

    one = min(one, wire)
    curve = _first_curve(compute, top_rate_per_s, one)
    known[key] = remembering(Candidate(key, "decode", configuration, (), curve, compute, one))
    return known[key]


def promised_candidate(
    configuration: Configuration, queue: DecodeQueue, need: Requirement, top_rate_per_s: float
) -> Candidate:
    """A decode pool of this configuration that carries no less than with any source: as if KV caches came at once.

    It stands for the pools of all sources until a plan would have one of them (`planner/planning/promises.py`).
    """
    lanes = configuration.layout.lanes_per_machine
    wire = network_rate_per_s(configuration, need) * MOST_SENT
    none = np.zeros(need.traffic.prompt_tokens.shape)
    at_once = [(1.0, Upstream(WaitTail(np.zeros(()), np.ones(())), none, none))]

    def compute(n: Counts) -> CapacityCurve:
        key = (need, lanes, "promised")
        curves = _once(queue, key, n, lambda n: decode_capacities(queue, need.limits, [at_once], n, lanes))
        return CapacityCurve(n, np.minimum(curves[0].rate_per_s * _PROMISED, n * wire))

    one = min(stable_rate_of_one(configuration, queue), wire)
    key = f"decode/{configuration.machine.name}/{configuration.layout.label}/{PROMISED}"
    return remembering(
        Candidate(key, "decode", configuration, (), _first_curve(compute, top_rate_per_s, one), compute, one)
    )


PROMISED = "promised"
_PROMISED = 1.002  # what capacities are promised above those computed, which are on the safe side by up to 0.1 %
_UNSEEN = "any"  # what decode pools see of a source where no objective depends on it


def _as_seen_by_decode(upstreams: Upstreams, need: Requirement) -> str:
    """Digest of what the objectives depend on in a source, to the microsecond."""
    parts: list[np.ndarray] = []
    upstream = upstreams[0][1]
    if objectives_on(need.limits, "tbt") or needs_end_to_end(need):
        parts += [x.transfer_s for _, x in upstreams]
    if needs_end_to_end(need):
        parts += [upstream.prefill_s, upstream.wait.probability, 1.0 / np.maximum(upstream.wait.decay_per_s, 1e-9)]
    content = b"".join(np.round(np.asarray(part) * 1e6).tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()[:8] if parts else _UNSEEN


def mixed_candidate(
    configuration: Configuration, queue: MixedQueue, need: Requirement, top_rate_per_s: float
) -> Candidate:
    """A pool of this configuration that does both phases."""
    lanes = configuration.layout.lanes_per_machine

    def compute(n: Counts) -> CapacityCurve:
        key = (need, lanes, need.most_busy)
        return _once(queue, key, n, lambda n: mixed_capacity(queue, need.limits, n, lanes, need.most_busy))

    key = f"mixed/{configuration.machine.name}/{configuration.layout.label}"
    one = stable_rate_of_one(configuration, queue)
    return Candidate(key, "mixed", configuration, (), _first_curve(compute, top_rate_per_s, one), compute, one)


AnyQueue = PrefillQueue | DecodeQueue | MixedQueue
Curves = TypeVar("Curves", CapacityCurve, list[CapacityCurve])
_curves: WeakKeyDictionary[AnyQueue, dict[tuple[object, ...], Any]] = WeakKeyDictionary()


def _once(queue: AnyQueue, key: tuple[object, ...], n: Counts, compute: Callable[[Counts], Curves]) -> Curves:
    """A curve, or several, of a queue that several machines have, computed for the first of them that asks."""
    known = _curves.setdefault(queue, {})
    full = (*key, n.tobytes())
    if full not in known:
        known[full] = compute(n)
    return known[full]  # type: ignore[no-any-return]


def remembering(candidate: Candidate) -> Candidate:
    """The same candidate, each capacity of which is computed once."""
    known = dict(zip(candidate.curve.n_machines.tolist(), candidate.curve.rate_per_s.tolist(), strict=True))

    def compute(n: Counts) -> CapacityCurve:
        new = np.array([k for k in n.tolist() if k not in known], dtype=np.int64)
        if new.size:
            known.update(zip(new.tolist(), candidate.compute(new).rate_per_s.tolist(), strict=True))
        return CapacityCurve(n, np.array([known[k] for k in n.tolist()], dtype=float))

    return replace(candidate, compute=compute)


def _first_curve(
    compute: Callable[[Counts], CapacityCurve], top_rate_per_s: float, stable_rate_per_s: float
) -> CapacityCurve:
    """The curve up to the count that carries `top_rate_per_s`, growing the grid until it does or cannot."""
    n_enough = min(top_rate_per_s / max(stable_rate_per_s, 1e-12), MOST_MACHINES)
    curve = compute(_counts(n_enough))
    while 0 < curve.rate_per_s[-1] < top_rate_per_s and curve.n_machines[-1] < MOST_MACHINES:
        largest = float(curve.n_machines[-1])
        n_enough = min(largest * max(1.05 * top_rate_per_s / curve.rate_per_s[-1], 1.2), MOST_MACHINES)
        curve = compute(_counts(n_enough))
    return curve


def _counts(n_enough: float) -> Counts:
    """Every count of a small pool; of a large one a fifth apart, for the optimiser asks for those it needs."""
    if n_enough <= 40:
        return machine_counts(n_enough)
    return machine_counts(n_enough, dense=12, ratio=1.2)


MOST_MACHINES = 200_000  # of one pool; nobody owns more, and counts stay exact in floats


def _source_at_capacity(source: Candidate, queue: PrefillQueue, need: Requirement) -> tuple[WaitTail, float]:
    """Queueing delay of the prefill pool that carries the whole demand, at its capacity, and use of its NICs."""
    n, rate = source.curve.n_machines, source.curve.rate_per_s
    at = min(int(np.searchsorted(rate, need.rate_per_s)), rate.size - 1)
    lanes = float(n[at] * source.configuration.layout.lanes_per_machine)
    load = np.array([max(min(rate[at], need.rate_per_s), 1e-9)])
    wait = queue.wait(load, np.array([lanes]))
    sent = float(load[0]) / (float(n[at]) * network_rate_per_s(source.configuration, need))
    return WaitTail(wait.probability[0], wait.decay_per_s[0]), min(sent, MOST_SENT)


def needs_end_to_end(need: Requirement) -> bool:
    """Whether an objective couples prefill and decode."""
    return bool(objectives_on(need.limits, "e2e"))
