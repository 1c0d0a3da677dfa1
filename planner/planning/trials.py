"""Simulations of variants of one cluster, long enough to be trusted and never run twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.load import is_catalog_workload, trace_of
from planner.scenario.resolve import Problem
from planner.serving.relaxation import relaxation_requests, work_cv2
from planner.serving.requests import Lane, Limit
from planner.simulation.arrivals import Requests, draw_requests, replay
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.specification import Failure
from planner.simulation.statistics import Interval
from planner.simulation.steps import StepTable
from planner.simulation.summary import Simulated
from planner.workload.sizes import RequestSizes
from planner.workload.spec_file import is_spec_file

_LONG_STAYS = 3.0  # a run lasts as long as three of the longest stays: the cluster fills in the first
_LEAST_S = 60.0
_FEWEST_REQUESTS = 5_000  # of a run
_LATE_SEEN = 25.0  # late requests that a run must be able to show for the tightest percentile
_RELAXATIONS = 20.0  # a run lasts as many relaxation times of the slowest queue, so that batches of it are independent
_LONGEST = 8  # times a run may be as long as the traffic calls for, where a verdict hangs on it
_PROBE = 8  # a first run, so many times shorter, may reject but not confirm
_HOPELESS = 2.0  # times as many late as may be: a short run rejects
MOST_REQUESTS = 400_000  # of a run, whatever calls for more


class OutOfTimeError(Exception):
    """The time limit passed in a simulation."""


class InterruptedSimulationError(Exception):
    """Ctrl-C came while a simulation ran."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What simulation says of a cluster at a load.

    Attributes
    ----------
    drawn : Simulated
        Of requests drawn at random.
    replayed : Simulated or None
        Of the workload's own arrivals, stretched to the rate; None where it has none, or the drawn ones say enough.
    """

    drawn: Simulated
    replayed: Simulated | None = None

    @property
    def met(self) -> list[bool]:
        """Whether each objective holds; in the replay, which is the very traffic, by its own share of late requests."""
        if self.replayed is None:
            return self.drawn.met
        return [a and b for a, b in zip(self.drawn.met, self.replayed.met, strict=True)]

    @property
    def worse(self) -> Simulated:
        """The one that speaks against the cluster, if one does."""
        return self.replayed if self.replayed is not None and all(self.drawn.met) else self.drawn


class Testbed:
    """Simulations of one traffic on variants of a cluster.

    Parameters
    ----------
    need : Requirement
    sizes : RequestSizes
    reference : Lane or None
        What slowdowns are measured against.
    seeds : sequence of int
        One run each of requests that are drawn.
    progress : callable
        Told how far a simulation is.
    n_requests : int or None
        Of every run; None: as many as a verdict takes.
    replay : callable or None
        The workload's own requests at a rate [requests/s]; None where it has no arrivals of its own.
    deadline_s : float
        On the clock of `time.monotonic`: a simulation that passes it ends in `OutOfTimeError`.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    def __init__(
        self,
        need: Requirement,
        sizes: RequestSizes,
        reference: Lane | None,
        seeds: Sequence[int],
        progress: Callable[[str], None] = lambda _: None,
        *,
        n_requests: int | None = None,
        replay: Callable[[float], Requests] | None = None,
        deadline_s: float = math.inf,
    ) -> None:
        self.need, self._sizes, self._reference, self._progress = need, sizes, reference, progress
        self._seeds, self._asked, self._replay, self._deadline_s = tuple(seeds), n_requests, replay, deadline_s
        self.n_requests = _FEWEST_REQUESTS if n_requests is None else n_requests  # of a run of the last verdict
        self._known: dict[tuple[object, ...], Simulated] = {}
        self._tables: dict[tuple[int, int], StepTable] = {}
        self._stays_s: dict[tuple[object, ...], float] = {}

    # -- how long ------------------------------------------------------------------------------------------------

    def length(self, members: Sequence[Member], routes: Sequence[Route], load: float) -> int:
        """Requests of a run that outlasts what the queues remember and shows the tightest percentile."""
        if self._asked is not None:
            return self._asked
        rate = sum(route.rate_per_s for route in routes) * load
        for_time = rate * max(_LONG_STAYS * self._stay_s(members, routes), _LEAST_S)
        for_tail = _LATE_SEEN / min((limit.allowed for limit in self.need.limits), default=1.0)
        for_memory = _RELAXATIONS * self._relaxation(members, routes, load)
        return math.ceil(min(max(for_time, for_tail, for_memory, _FEWEST_REQUESTS), MOST_REQUESTS))

    def _relaxation(self, members: Sequence[Member], routes: Sequence[Route], load: float) -> float:
        """Requests of the whole cluster after which the slowest of its queues has forgotten where it began."""
        model, traffic = ClusterModel(members, routes, self.need, load), self.need.traffic
        total = sum(route.rate_per_s for route in routes)
        return max(
            relaxation_requests(
                model.utilisation(i), traffic.arrival_cv2, work_cv2(m.role, m.configuration.lane, traffic)
            )
            * total
            / m.rate_per_s
            for i, m in enumerate(members)
            if m.rate_per_s > 0
        )

    def _stay_s(self, members: Sequence[Member], routes: Sequence[Route]) -> float:
        """The longest stays at the load planned for [s]; those of cluster with another count are about as long."""
        kinds = tuple(sorted((m.role, m.configuration.label) for m in members))
        if kinds not in self._stays_s:
            self._stays_s[kinds] = ClusterModel(members, routes, self.need).percentile("e2e", 99.0, 1.0) or 0.0
        return self._stays_s[kinds]

    # -- verdicts ------------------------------------------------------------------------------------------------

    def verdict(self, members: Sequence[Member], routes: Sequence[Route], load: float = 1.0) -> Verdict:
        """Simulate until it is settled whether each objective holds, at 95 % confidence, or that is out of reach.

        A run that leaves an interval on both sides of its limit is run again twice as long, up to eight times as long
        as the traffic calls for. A short run before may reject what is hopeless.
        """
        n = self.length(members, routes, load)
        most = n if self._asked is not None else min(n * _LONGEST, 2 * MOST_REQUESTS)
        probe = max(n // _PROBE, _FEWEST_REQUESTS)
        if self._asked is None and probe < n:
            drawn = self.simulate(members, routes, load, probe)
            if not drawn.stable or any(map(self._is_hopeless, drawn.late, drawn.objectives, self.need.limits)):
                return Verdict(drawn)
        while True:
            drawn = self.simulate(members, routes, load, n)
            if 2 * n > most or not drawn.stable or not any(self._unsettled(drawn)):
                break
            if any(value.low > limit.value for value, limit in zip(drawn.objectives, self.need.limits, strict=True)):
                break  # one objective is missed for sure, and that is enough
            n *= 2
        self.n_requests = n
        if self._replay is None or not all(drawn.met):
            return Verdict(drawn)
        return Verdict(drawn, self._replayed(members, routes, load))

    @staticmethod
    def _is_hopeless(late: Interval, value: Interval, limit: Limit) -> bool:
        """Whether an objective is missed by so much that a short run says enough."""
        return late.value > _HOPELESS * limit.allowed and value.low > limit.value

    def _unsettled(self, simulated: Simulated) -> list[bool]:
        return [
            value.low <= limit.value < value.high or not math.isfinite(value.high)
            for value, limit in zip(simulated.objectives, self.need.limits, strict=True)
        ]

    def simulate(self, members: Sequence[Member], routes: Sequence[Route], load: float, n_requests: int) -> Simulated:
        """A cluster at a multiple of its load, all seeds; what was simulated before is not simulated again."""
        key = (*_names(members, routes), load, n_requests)
        if key not in self._known:
            self._known[key] = self._whole(
                self._simulation(members, routes).simulate(
                    n_requests=n_requests, seeds=self._seeds, load=load, progress=self._tell
                )
            )
        return self._known[key]

    def at_most(self, n_requests: int) -> int:
        """Requests of a run that need not decide anything."""
        return n_requests if self._asked is None else min(n_requests, self._asked)

    def late_shares(
        self,
        members: Sequence[Member],
        routes: Sequence[Route],
        load: float,
        n_requests: int,
        n_seeds: int | None = None,
    ) -> Simulated:
        """As `simulate`, without percentiles; of the first so many seeds alone, if told."""
        seeds = self._seeds[:n_seeds]
        key = (*_names(members, routes), load, n_requests, seeds)
        if key not in self._known:
            self._known[key] = self._whole(
                self._simulation(members, routes).simulate(
                    n_requests=n_requests, seeds=seeds, load=load, metrics=(), progress=self._tell
                )
            )
        return self._known[key]

    def _replayed(self, members: Sequence[Member], routes: Sequence[Route], load: float) -> Simulated:
        """The workload's own arrivals at a multiple of the load; an objective holds if no more are late than may be."""
        assert self._replay is not None
        requests = self._replay(sum(route.rate_per_s for route in routes) * load)
        key = (*_names(members, routes), load, "replay")
        if key not in self._known:
            simulated = self._whole(
                self._simulation(members, routes).simulate_drawn(
                    lambda _: requests, seeds=self._seeds[:1], stationary=False, progress=self._tell
                )
            )
            met = [late.value <= limit.allowed for late, limit in zip(simulated.late, self.need.limits, strict=True)]
            self._known[key] = simulated.judged(met)
        return self._known[key]

    def without_machines(self, members: Sequence[Member], routes: Sequence[Route], n_lost: int) -> Simulated:
        """A cluster that loses `n_lost` machines of every member in the middle of each run."""
        simulation = self._simulation(members, routes)
        rate = sum(route.rate_per_s for route in routes)
        outcomes = []
        for seed in self._seeds:
            requests = draw_requests(
                self._sizes, rate, self.n_requests, arrival_cv2=self.need.traffic.arrival_cv2, seed=seed
            )
            middle_s = float(requests.arrival_s[len(requests) // 2])
            failures, first = [], 0
            for member in members:
                failures += [Failure(first + i, middle_s) for i in range(n_lost)]
                first += member.count
            outcomes.append(simulation.run(requests, failures=failures, seed=seed))
            self._tell("")
            if outcomes[-1].interrupted:
                break
        return self._whole(simulation.summarise(outcomes))

    def _simulation(self, members: Sequence[Member], routes: Sequence[Route]) -> ClusterSimulation:
        self._tell("")
        return ClusterSimulation(members, routes, self.need, self._sizes, self._reference, tables=self._tables)

    def _whole(self, simulated: Simulated) -> Simulated:
        if simulated.interrupted:
            raise InterruptedSimulationError
        return simulated.without_requests()

    def _tell(self, text: str) -> None:
        if time.monotonic() > self._deadline_s:
            raise OutOfTimeError
        if text:
            self._progress(text)


def own_arrivals(problem: Problem) -> Callable[[float], Requests] | None:
    """The requests of the workload at a rate [requests/s], with its own arrivals stretched to it.

    None where it has none: a workload of the catalog, a trace without timestamps or duration; and where others are
    asked for: by `arrivals`, by a variability, by sizes that are not the trace's, or by clients that wait.
    """
    scenario = problem.scenario
    asked = scenario.arrivals or ("poisson" if scenario.preset == "splitwise" else "trace")
    if asked != "trace" or scenario.arrival_cv2 is not None or scenario.prompt_output_ratio is not None:
        return None
    stated = (scenario.isl, scenario.osl, scenario.users, scenario.concurrency)
    if any(value is not None for value in stated) or is_spec_file(scenario.workload):
        return None
    if is_catalog_workload(scenario.workload, problem.catalog):
        return None
    trace = trace_of(scenario, problem.catalog)
    if trace.arrival_s is None or not trace.rate_per_s:
        return None
    return lambda rate_per_s: replay(trace, rate_per_s=rate_per_s)


def _names(members: Sequence[Member], routes: Sequence[Route]) -> tuple[object, ...]:
    cluster = tuple((m.role, m.configuration.label, m.count) for m in members)
    return cluster, tuple((r.first, r.second, r.rate_per_s) for r in routes)
