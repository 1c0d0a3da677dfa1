"""What a cluster's requests experience: percentiles over all its pools, load by load."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.latency.batch import Floats
from planner.pools.candidate import Requirement, network_rate_per_s, upstreams_of
from planner.pools.configuration import Configuration
from planner.serving.capacity import MEMORY_FULL_ALLOWED
from planner.serving.decode import DecodeQueue, Upstreams, late_curve
from planner.serving.erlang import WaitTail
from planner.serving.links import MOST_SENT
from planner.serving.margin import Margin, percentile_margin, widest
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Limit, reference_latencies

_PERCENTILE_TOLERANCE = 1e-3  # relative
_WIDEST = 1e5  # how far from the unloaded percentile the search goes, as a factor


@dataclass(frozen=True)
class Member:
    """A pool of a cluster.

    Attributes
    ----------
    role : str
        `prefill`, `decode` or `mixed`.
    configuration : Configuration
    count : int
        Machines.
    rate_per_s : float
        Requests it carries [requests/s].
    """

    role: str
    configuration: Configuration
    count: int
    rate_per_s: float

    @property
    def n_lanes(self) -> Floats:
        """Lanes of the pool, as an array of one."""
        return np.array([float(self.count * self.configuration.layout.lanes_per_machine)])


@dataclass(frozen=True)
class Route:
    """Requests that take one way: a mixed pool, or a prefill and then a decode pool (indices into the members)."""

    first: int
    second: int | None
    rate_per_s: float


class ClusterModel:
    """Analytic model of a cluster under a given load.

    Parameters
    ----------
    members : sequence of Member
    routes : sequence of Route
    need : Requirement
    load : float
        Multiple of the members' and routes' rates.
    """

    def __init__(
        self, members: Sequence[Member], routes: Sequence[Route], need: Requirement, load: float = 1.0
    ) -> None:
        self.need = need
        self._routes = [r for r in routes if r.rate_per_s > 0]
        self._total = sum(r.rate_per_s for r in self._routes)
        rates = [np.array([m.rate_per_s * load]) for m in members]
        self._members = list(members)
        self._rates = rates
        self._prefill = {i: PrefillQueue(m.configuration.lane, need.traffic) for i, m in _of(members, "prefill")}
        self._decode = {i: DecodeQueue(m.configuration.lane, need.traffic) for i, m in _of(members, "decode")}
        self._mixed = {i: MixedQueue(m.configuration.lane, need.traffic) for i, m in _of(members, "mixed")}
        self._known_upstreams: dict[tuple[int, int], Upstreams] = {}
        self._decode_states = {i: q.state(rates[i], members[i].n_lanes) for i, q in self._decode.items()}
        self._never_fit = [
            need.too_large(self._room(r.first), self._room(r.first if r.second is None else r.second))
            for r in self._routes
        ]
        self._mixed_states = {
            i: q.state(q.batch_at(rates[i], members[i].n_lanes), members[i].n_lanes) for i, q in self._mixed.items()
        }

    def utilisation(self, i: int) -> float:
        """Rate of member `i` over the rate at which it would be busy all the time."""
        member, rate = self._members[i], float(self._rates[i][0])
        queue_of = self._prefill.get(i) or self._decode.get(i) or self._mixed[i]
        return rate / max(float(queue_of.stable_rate_per_s(member.n_lanes)[0]), 1e-300)

    def network_utilisation(self, i: int) -> float:
        """KV caches that member `i` sends or receives over what its NICs carry; 0 for mixed."""
        member = self._members[i]
        if member.role == "mixed" or not member.count:
            return 0.0
        return float(self._rates[i][0]) / (member.count * network_rate_per_s(member.configuration, self.need))

    def is_stable(self) -> bool:
        """Whether every pool keeps up, with KV memory free 99 % of the time."""
        return all(self.keeps_up(i) for i in range(len(self._members)))

    def grows_without_end(self) -> bool:
        """Whether some queue of the cluster does: for computing, on the network or for KV memory."""
        return any(
            member.rate_per_s > 0
            and (self.utilisation(i) >= 1.0 or self.network_utilisation(i) >= 1.0 or self.memory_full(i) >= 1.0)
            for i, member in enumerate(self._members)
        )

    def keeps_up(self, i: int) -> bool:
        """Whether member `i` keeps up, in computing and on the network, with KV memory free 99 % of the time."""
        return (
            self.utilisation(i) < 1.0
            and self.network_utilisation(i) < 1.0
            and self.memory_full(i) <= MEMORY_FULL_ALLOWED * (1 + 1e-6)
        )

    def memory_full(self, i: int) -> float:
        """Share of arrivals at member `i` that find no KV memory free; 0 for prefill, 1 where it cannot keep up."""
        if i in self._prefill:
            return 0.0
        if i in self._decode:
            return float(self._decode_states[i].memory_full[0])
        state = self._mixed_states[i]
        return float(state.memory_full[0]) if np.isfinite(state.batch[0]) else 1.0

    def prompt_share(self, i: int) -> float:
        """Share of its time that member `i`, a mixed pool, computes prompts."""
        return float(self._mixed_states[i].prompt_share[0])

    def mean_batch(self, i: int) -> float:
        """Sequences decoding on a lane of member `i`, on average; 0 for prefill."""
        if i in self._decode:
            return float(self._decode_states[i].mean_batch()[0])
        return float(self._mixed_states[i].batch[0]) if i in self._mixed else 0.0

    def late(self, metric: str, limit_s: Floats) -> float:
        """Share of requests whose `metric` exceeds the limit of their point, over all routes; or that never fit."""
        share = 0.0
        for route, never in zip(self._routes, self._never_fit, strict=True):
            late = never + (1.0 - never) * self._late_on(route, metric, limit_s)
            share += route.rate_per_s / self._total * late
        return share

    def mean_e2e_s(self) -> float:
        """Mean end-to-end latency over all routes [s]; infinite where a pool does not keep up."""
        if any(self.utilisation(i) >= 1.0 for i, m in enumerate(self._members) if m.rate_per_s > 0):
            return math.inf
        total = 0.0
        for route in self._routes:
            i, j, lanes = route.first, route.second, self._members[route.first].n_lanes
            if j is None:
                mean = self._mixed[i].mean_e2e_s(self._mixed_states[i], lanes)
            else:
                mean = self._decode[j].mean_e2e_s(self._decode_states[j], self._upstreams(i, j))
            total += route.rate_per_s / self._total * float(mean[0])
        return total

    def too_large(self) -> float:
        """Share of requests that the machines on their way can never hold: they miss every objective."""
        ways = zip(self._routes, self._never_fit, strict=True)
        return sum((route.rate_per_s * never for route, never in ways), 0.0) / self._total if self._total else 0.0

    def _room(self, i: int) -> float:
        return self._members[i].configuration.lane.kv_tokens

    def _late_on(self, route: Route, metric: str, limit_s: Floats) -> float:
        i, lanes, rate = route.first, self._members[route.first].n_lanes, self._rates[route.first]
        if route.second is None:
            queue, state = self._mixed[i], self._mixed_states[i]
            if not np.isfinite(state.batch[0]):
                return 1.0
            checks = {"ttft": queue.exceeds_ttft, "tbt": queue.exceeds_tbt, "e2e": queue.exceeds_e2e}
            return float(checks[metric](limit_s, state, lanes)[0])
        if metric != "tbt" and self.utilisation(i) >= 1.0:
            return 1.0  # the queue grows without end
        if metric == "ttft":
            return float(self._prefill[i].exceeds(limit_s, rate, lanes)[0])
        decode, found = self._decode[route.second], self._decode_states[route.second]
        curve = late_curve(decode, metric, limit_s, self._upstreams(i, route.second))
        return float(found.share(curve, self._limited(metric, limit_s))[0])

    def _limited(self, metric: str, limit_s: Floats) -> float:
        """Share of requests that a limit is for: finite; of a TBT, among those with several tokens."""
        if np.isfinite(limit_s).all():
            return 1.0
        traffic = self.need.traffic
        weight = traffic.weight * (traffic.decode_steps > 0) if metric == "tbt" else traffic.weight
        return float(weight[np.isfinite(limit_s)].sum() / max(weight.sum(), 1e-300))

    def _upstreams(self, i: int, j: int) -> Upstreams:
        if (i, j) not in self._known_upstreams:
            queue = self._prefill[i]
            wait = queue.wait(self._rates[i], self._members[i].n_lanes)
            tail = WaitTail(wait.probability[0], wait.decay_per_s[0])
            busier = max(self.network_utilisation(i), self.network_utilisation(j))
            sender, receiver = (self._members[k].configuration for k in (i, j))
            self._known_upstreams[i, j] = upstreams_of(sender, receiver, self.need, tail, queue.alone_s, busier)
        return self._known_upstreams[i, j]

    def meets(self, limit: Limit) -> bool:
        """Whether the objective holds."""
        return self.late(limit.objective.metric, limit.limit_s) <= limit.allowed * (1 + 1e-6) + 1e-12

    def percentile(self, metric: str, percentile: float, unit_s: Floats | float, share: float = 1.0) -> float | None:
        """Value v such that `percentile` % of requests stay within v x `unit_s`; None where there is none.

        `unit_s` is 1 for seconds, or the reference latencies for a slowdown; infinite for requests that do not count,
        `share` the share of those that do.
        """
        unit = np.broadcast_to(np.asarray(unit_s, dtype=float), self.need.traffic.weight.shape)
        allowed = (1.0 - percentile / 100.0) * share
        return _smallest(lambda v: self.late(metric, v * unit) <= allowed, self._unloaded(metric, unit, percentile))

    def margin(self, metric: str, percentile: float) -> Margin | None:
        """How far the simulated percentile may be from the predicted one, over the pools that decide it.

        None where no cluster like these pools was simulated.
        """
        traffic = self.need.traffic
        return widest(
            percentile_margin(
                m.role, metric, percentile,
                utilisation=self.utilisation(i), n_lanes=float(m.n_lanes[0]),
                mean_output_tokens=traffic.sizes.mean_output_tokens, arrival_cv2=traffic.arrival_cv2,
            )
            for i, m in enumerate(self._members)
            if m.rate_per_s > 0 and metric in (*METRICS_OF[m.role], "e2e")
        )  # fmt: skip

    def _unloaded(self, metric: str, unit_s: Floats, percentile: float) -> float:
        """The percentile with every request alone, where to start the search for the loaded one."""
        lane, traffic = self._members[self._routes[0].first].configuration.lane, self.need.traffic
        latency = reference_latencies(lane, traffic)[metric] / unit_s
        order = np.argsort(latency)
        cumulative = np.cumsum(np.where(np.isfinite(unit_s), traffic.weight, 0.0)[order])
        at = np.searchsorted(cumulative, percentile / 100.0 * cumulative[-1])
        return max(float(latency[order][min(int(at), latency.size - 1)]), 1e-9)


def _of(members: Sequence[Member], role: str) -> list[tuple[int, Member]]:
    return [(i, m) for i, m in enumerate(members) if m.role == role]


def _smallest(holds: Callable[[float], bool], start: float) -> float | None:
    """Least v > 0 with `holds(v)`, by doubling and bisection from `start`; None if it holds nowhere."""
    lo = hi = start
    while not holds(hi):
        lo, hi = hi, hi * 1.6
        if hi > _WIDEST * start:
            return None
    while lo == hi or holds(lo):
        lo, hi = lo / 1.6, lo
        if lo < start / _WIDEST:
            return hi
    while hi / lo > 1 + _PERCENTILE_TOLERANCE:
        middle = (lo * hi) ** 0.5
        lo, hi = (lo, middle) if holds(middle) else (middle, hi)
    return hi


def headroom(members: Sequence[Member], routes: Sequence[Route], need: Requirement, most: float = 16.0) -> float:
    """Load multiple at which the first objective breaks, to 0.5 %; below 1 if it is broken now."""

    def holds(load: float) -> bool:
        model = ClusterModel(members, routes, need, load)
        return model.is_stable() and all(model.meets(limit) for limit in need.limits)

    lo, hi = 0.0, 1.0
    while holds(hi):
        lo, hi = hi, hi * 1.5
        if hi > most:
            return most
    while hi - lo > 0.005 * hi:
        middle = (lo + hi) / 2.0
        if holds(middle):
            lo = middle
        else:
            hi = middle
        if hi < 1e-3:
            return 0.0
    return lo


METRICS_OF: dict[str, tuple[str, ...]] = {
    "prefill": ("ttft",), "decode": ("tbt", "e2e"), "mixed": ("ttft", "tbt", "e2e")
}  # fmt: skip


def alone(
    members: Sequence[Member], routes: Sequence[Route], need: Requirement, i: int, rate_per_s: float
) -> ClusterModel:
    """The cluster as the requests through member `i` see it, with that one at another rate."""
    loaded = [replace(m, rate_per_s=rate_per_s) if j == i else m for j, m in enumerate(members)]
    return ClusterModel(loaded, [r for r in routes if i in (r.first, r.second)], need)


def binding_of(
    members: Sequence[Member], routes: Sequence[Route], need: Requirement, i: int, capacity_per_s: float
) -> str:
    """What gives way when member `i` is loaded a little beyond its capacity: an objective, memory or compute."""
    member = members[i]
    beyond = alone(members, routes, need, i, 1.01 * capacity_per_s)
    full = beyond.memory_full(i) if member.role == "decode" else 0.0
    worst, name = 1.0, ""
    for limit in need.limits:
        if limit.objective.metric in METRICS_OF[member.role]:
            # Who waits for memory is late by any limit; that is memory's doing.
            share = (beyond.late(limit.objective.metric, limit.limit_s) - full * limit.share) / limit.allowed
            if share > worst:
                worst, name = share, limit.objective.label
    if beyond.network_utilisation(i) > MOST_SENT:
        return "network"
    if name:
        return name
    if member.role == "prefill" or (member.role == "mixed" and beyond.prompt_share(i) > need.most_busy):
        return "utilisation"
    lane = member.configuration.lane
    return "KV memory" if lane.resident_sequences(need.traffic) < lane.max_batch else "batch limit"


def capacity_of(members: Sequence[Member], routes: Sequence[Route], need: Requirement, i: int) -> float:
    """Rate that member `i` could carry with the others as they are, to 0.1 % [requests/s].

    Within the objectives that its role decides on, KV memory and the highest utilisation of prefill work.
    """
    limits = [x for x in need.limits if x.objective.metric in METRICS_OF[members[i].role]]

    def holds(rate_per_s: float) -> bool:
        model = alone(members, routes, need, i, rate_per_s)
        busy = {"prefill": model.utilisation, "mixed": model.prompt_share}.get(members[i].role)
        return (
            model.keeps_up(i)
            and (busy is None or busy(i) <= need.most_busy * (1 + 1e-6))
            and model.network_utilisation(i) <= MOST_SENT * (1 + 1e-6)
            and all(model.meets(limit) for limit in limits)
        )

    if not routes or members[i].rate_per_s <= 0:
        return 0.0
    stable = members[i].rate_per_s / max(ClusterModel(members, routes, need).utilisation(i), 1e-12)
    lo, hi = 0.0, stable
    while hi - lo > 1e-3 * hi and hi > 1e-6 * stable:
        middle = (lo + hi) / 2.0
        lo, hi = (middle, hi) if holds(middle) else (lo, middle)
    return lo
