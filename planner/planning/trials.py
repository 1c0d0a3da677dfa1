"""Simulations of variants of one cluster, long enough to be trusted and never run twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.load import is_catalog_workload, trace_of
from planner.scenario.resolve import Problem
from planner.serving.relaxation import relaxation_requests, work_cv2
from planner.serving.requests import Lane, Limit
from planner.simulation.arrivals import Requests, draw_requests, replay
from planner.simulation.closed_loop import Clients, found_at_work
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Failure
from planner.simulation.statistics import Interval, ShareInterval
from planner.simulation.steps import StepTable
from planner.simulation.summary import LATENCIES, Simulated
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
_BEYOND_DOUBT, _FUTILE = 2.0, 0.25  # half widths of an interval, each some two standard errors
_ROUNDS = 10  # requests of each client of a closed loop in a run
_KEPT_REQUESTS = 2_000_000  # drawn and kept, 16 bytes each
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
    clients : Clients or None
        Who send the requests, each when its last one is answered: a multiple of the load is then so many more of them.
        None: requests come at the rate.
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
        clients: Clients | None = None,
        deadline_s: float = math.inf,
    ) -> None:
        self.need, self._sizes, self._reference, self._progress = need, sizes, reference, progress
        self._seeds, self._asked, self._replay, self._deadline_s = tuple(seeds), n_requests, replay, deadline_s
        self.n_requests = _FEWEST_REQUESTS if n_requests is None else n_requests  # of a run of the last verdict
        self.clients = clients
        self._known: dict[tuple[object, ...], Simulated] = {}
        self._outcomes: list[Outcome] = []  # of the cluster simulated last, by seed
        self._outcomes_of: tuple[object, ...] = ()
        self._draws: dict[tuple[float, int, int], Requests] = {}
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
        # No more can wait in a closed loop than there are clients, so that it forgets within some rounds.
        clients = self._clients_at(load)
        for_memory = (
            _RELAXATIONS * self._relaxation(members, routes, load) if clients is None else _ROUNDS * clients.count
        )
        return math.ceil(min(max(for_time, for_tail, for_memory, _FEWEST_REQUESTS), MOST_REQUESTS))

    def _clients_at(self, load: float) -> Clients | None:
        return self.clients and replace(self.clients, count=max(round(self.clients.count * load), 1))

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

    def verdict(
        self, members: Sequence[Member], routes: Sequence[Route], load: float = 1.0, *, whole: bool = False
    ) -> Verdict:
        """Simulate until it is settled whether each objective holds, at 95 % confidence, or that is out of reach.

        A run that leaves an interval on both sides of its limit is run again twice as long, up to eight times as long
        as the traffic calls for. What is hopeless is rejected by one short run, or one of full length; and unless all
        is wanted (`whole`: every seed, and percentiles), what is beyond doubt is believed of that one, too.
        """
        n = self.length(members, routes, load)
        most = n if self._asked is not None else min(n * _LONGEST, 2 * MOST_REQUESTS)
        if self._asked is None:
            for brief in dict.fromkeys((max(n // _PROBE, _FEWEST_REQUESTS), n)):
                drawn = self.simulate(members, routes, load, brief, n_seeds=1)
                if not drawn.stable or any(map(self._is_hopeless, drawn.late, drawn.objectives, self.need.limits)):
                    return Verdict(drawn)
            if not whole and all(map(self._is_beyond_doubt, drawn.late, self.need.limits)):
                return self._with_replay(drawn, members, routes, load, n)
        while True:
            drawn = self.simulate(members, routes, load, n, metrics=LATENCIES if whole else ())
            if 2 * n > most or not drawn.stable or not any(self._unsettled(drawn)):
                break
            if any(value.low > limit.value for value, limit in zip(drawn.objectives, self.need.limits, strict=True)):
                break  # one objective is missed for sure, and that is enough
            if any(map(self._is_likely_missed, drawn.late, self.need.limits)):
                break
            n *= 2
        return self._with_replay(drawn, members, routes, load, n)

    def _with_replay(
        self, drawn: Simulated, members: Sequence[Member], routes: Sequence[Route], load: float, n_requests: int
    ) -> Verdict:
        self.n_requests = n_requests
        if self._replay is None or not all(drawn.met):
            return Verdict(drawn)
        return Verdict(drawn, self._replayed(members, routes, load))

    @staticmethod
    def _is_hopeless(late: Interval, value: Interval, limit: Limit) -> bool:
        """Whether an objective is missed by so much that a short run says enough."""
        return late.value > _HOPELESS * limit.allowed and value.low > limit.value

    @staticmethod
    def _is_beyond_doubt(late: Interval, limit: Limit) -> bool:
        """Whether an objective holds by so much that one run says enough: at four standard errors in place of two."""
        return late.value + _BEYOND_DOUBT * (late.high - late.value) <= limit.allowed

    @staticmethod
    def _is_likely_missed(late: ShareInterval, limit: Limit) -> bool:
        """Whether longer runs would hardly confirm an objective, more being late than may be by half a standard error.

        For what they could just confirm, that is found once in eight times.
        """
        return late.value - _FUTILE * late.half_width > limit.allowed

    def _unsettled(self, simulated: Simulated) -> list[bool]:
        return [
            value.low <= limit.value < value.high or not math.isfinite(value.high)
            for value, limit in zip(simulated.objectives, self.need.limits, strict=True)
        ]

    def at_most(self, n_requests: int) -> int:
        """Requests of a run that need not decide anything."""
        return n_requests if self._asked is None else min(n_requests, self._asked)

    def simulate(
        self,
        members: Sequence[Member],
        routes: Sequence[Route],
        load: float,
        n_requests: int,
        *,
        n_seeds: int | None = None,
        metrics: Sequence[str] = (),
    ) -> Simulated:
        """A cluster at a multiple of its load; what was simulated before is not simulated again.

        Of the first so many seeds, if told, and with percentiles of these metrics beside the objectives'.
        """
        seeds, of = self._seeds[:n_seeds], (*_names(members, routes), load, n_requests)
        key = (*of, seeds, tuple(metrics))
        if key not in self._known:
            known = self._outcomes if self._outcomes_of == of else []
            rate = sum(route.rate_per_s for route in routes) * load
            simulated = self._simulation(members, routes).simulate_drawn(
                lambda seed: self._drawn(rate, n_requests, seed),
                seeds=seeds, metrics=metrics, known=known[: len(seeds)], progress=self._tell,
                clients=self._clients_at(load),
            )  # fmt: skip
            self._outcomes, self._outcomes_of = simulated.outcomes, of
            self._known[key] = self._whole(simulated)
        return self._known[key]

    def _drawn(self, rate_per_s: float, n_requests: int, seed: int) -> Requests:
        """Requests drawn at a rate; the last are kept, for variants of a cluster are asked the same."""
        key = (rate_per_s, n_requests, seed)
        if key not in self._draws:
            while self._draws and sum(map(len, self._draws.values())) + n_requests > _KEPT_REQUESTS:
                self._draws.pop(next(iter(self._draws)))
            self._draws[key] = draw_requests(
                self._sizes, rate_per_s, n_requests, arrival_cv2=self.need.traffic.arrival_cv2, seed=seed
            )
        return self._draws[key]

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
            requests = self._drawn(rate, self.n_requests, seed)
            middle_s = float(requests.arrival_s[len(requests) // 2])
            failures, first = [], 0
            for member in members:
                failures += [Failure(first + i, middle_s) for i in range(n_lost)]
                first += member.count
            outcomes.append(simulation.run(requests, failures=failures, seed=seed, clients=self.clients))
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


def clients_simulated(problem: Problem) -> Clients | None:
    """Users, or requests under way, that a scenario has in place of a rate; None where it has a rate."""
    if not problem.n_clients:
        return None
    count, think_s = max(round(problem.n_clients), 1), problem.scenario.think_time_s or 0.0
    return found_at_work(Clients(count, think_s), problem.need.rate_per_s)


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
    return cluster, tuple((r.first, r.second, float(f"{r.rate_per_s:.5g}")) for r in routes)
