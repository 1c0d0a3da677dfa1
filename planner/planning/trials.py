"""Simulations of variants of one cluster, long enough to be trusted and never run twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route
from planner.serving.requests import Lane
from planner.simulation.arrivals import draw_requests
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.specification import Failure
from planner.simulation.steps import StepTable
from planner.simulation.summary import Simulated
from planner.workload.sizes import RequestSizes

_LONG_STAYS = 3.0  # a run lasts as long as three of the longest stays: the cluster fills in the first
_LEAST_S = 60.0
_FEWEST_REQUESTS = 5_000  # of a run
_LATE_SEEN = 25.0  # late requests that a run must be able to show for the tightest percentile
_LONGEST = 8  # times a run may be as long as the traffic calls for, where a verdict hangs on it


class Testbed:
    """Simulations of one traffic on variants of a cluster.

    Parameters
    ----------
    need : Requirement
    sizes : RequestSizes
    reference : Lane or None
        What slowdowns are measured against.
    progress : callable
        Told how far a simulation is.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    def __init__(
        self, need: Requirement, sizes: RequestSizes, reference: Lane | None, progress: Callable[[str], None]
    ) -> None:
        self._need, self._sizes, self._reference, self._progress = need, sizes, reference, progress
        self.n_requests = self.n_brief = _FEWEST_REQUESTS  # of a run, and of one that need not be sure
        self._most = 0
        self._known: dict[tuple[object, ...], Simulated] = {}
        self._tables: dict[tuple[int, int], StepTable] = {}

    def prepare(self, members: Sequence[Member], routes: Sequence[Route], n_requests: int | None) -> None:
        """Set the length of the runs for a cluster: `n_requests`, or as many as its longest requests call for."""
        if n_requests is not None:
            self.n_requests = self.n_brief = self._most = n_requests
            return
        stay_s = ClusterModel(members, routes, self._need).percentile("e2e", 99.0, 1.0) or 0.0
        rate = sum(route.rate_per_s for route in routes)
        for_time = rate * max(_LONG_STAYS * stay_s, _LEAST_S)
        for_tail = _LATE_SEEN / min((limit.allowed for limit in self._need.limits), default=1.0)
        self.n_brief = math.ceil(max(for_time, for_tail, _FEWEST_REQUESTS))
        self.n_requests = max(self.n_requests, self.n_brief)  # longer runs stay long
        self._most = self.n_brief * _LONGEST

    def lengthen(self) -> bool:
        """Double the length of the runs to come; False where they are long enough."""
        if 2 * self.n_requests > self._most:
            return False
        self.n_requests *= 2
        return True

    def simulate(
        self,
        members: Sequence[Member],
        routes: Sequence[Route],
        load: float,
        seeds: Sequence[int],
        *,
        brief: bool = False,
    ) -> Simulated:
        """A cluster at a multiple of its load, or in brief; what was simulated before is not simulated again."""
        n_requests = self.n_brief if brief else self.n_requests
        cluster = tuple((m.role, m.configuration.label, m.count) for m in members)
        ways = tuple((r.first, r.second, r.rate_per_s) for r in routes)
        key = (cluster, ways, load, tuple(seeds), n_requests)
        if key not in self._known:
            simulation = ClusterSimulation(
                members, routes, self._need, self._sizes, self._reference, tables=self._tables
            )
            self._known[key] = simulation.simulate(
                n_requests=n_requests, seeds=seeds, load=load, progress=self._progress
            ).without_requests()
        return self._known[key]

    def simulate_loss(
        self, members: Sequence[Member], routes: Sequence[Route], n_lost: int, seeds: Sequence[int]
    ) -> Simulated:
        """A cluster that loses `n_lost` machines of every member in the middle of each run."""
        simulation = ClusterSimulation(members, routes, self._need, self._sizes, self._reference, tables=self._tables)
        rate = sum(route.rate_per_s for route in routes)
        outcomes = []
        for seed in seeds:
            requests = draw_requests(
                self._sizes, rate, self.n_requests, arrival_cv2=self._need.traffic.arrival_cv2, seed=seed
            )
            middle_s = float(requests.arrival_s[len(requests) // 2])
            failures, first = [], 0
            for member in members:
                failures += [Failure(first + i, middle_s) for i in range(n_lost)]
                first += member.count
            outcomes.append(simulation.run(requests, failures=failures, seed=seed))
            if outcomes[-1].interrupted:
                break
        return simulation.summarise(outcomes)
