"""Prove a plan on simulated requests; where it fails, correct the capacities and plan again.

The queueing formulas choose; simulation has the last word, both ways. A pool that carries less than its formula says is
lowered to what it carried; one that does with fewer machines is raised. The plan is then chosen anew with every other
design in the race, until the chosen plan is confirmed and no pool of it can spare a machine. Last, every better plan
that would hold if the formulas were too cautious is simulated too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.errors import InfeasibleError
from planner.planning.breaking_points import breaking_loads
from planner.planning.certificate import (
    Certificate,
    CertificationRound,
    Hunt,
    MinimalityWitness,
    SimulatedPercentiles,
    SparesRemoved,
    simulated_objectives,
)
from planner.planning.closed_loop import at_the_rate_of_clients, rate_of_clients
from planner.planning.correction import HOPE, Corrections, Hopes, PoolCounts
from planner.planning.near_ties import simpler
from planner.planning.search import Solution, every_pool, prepare_search, solve_search
from planner.planning.sharing import shared_anew
from planner.planning.trials import (
    InterruptedSimulationError,
    OutOfTimeError,
    Testbed,
    Verdict,
    clients_simulated,
    own_arrivals,
)
from planner.pools.candidate import Candidate
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem
from planner.serving.requests import Limit
from planner.simulation.interval import IntervalReport
from planner.simulation.summary import LATENCIES
from planner.units import format_time

MOST_ROUNDS = 16  # plans simulated before giving up
MOST_HUNTED = 24  # better plans, beyond what the formulas allow, that are simulated
_LEAST_CARRIED = 0.5  # a plan that does not carry half of its load is lowered to half, and tried again
_CARRIED_STEPS = 4  # halvings of the load between that and all
_JUST_ABOVE = 1.0 + 1e-6  # a capacity raised to a load must carry it
_NEAR_THE_EDGE = 1.15  # utilisation by the formulas up to which simulation is asked whether a cluster keeps up


def certified(
    problem: Problem, progress: Progress = quiet, *, mix: Collection[tuple[str, str]] | None = None
) -> Solution:
    """Find the best cluster that simulation confirms.

    Parameters
    ----------
    problem : Problem
    progress : callable
    mix : collection of (str, str), optional
        Roles and machines that pools may have; left out, all that there are, and a simpler plan that is nearly as good
        is taken in the place of the best.

    Returns
    -------
    Solution
        With its certificate: `confirmed`; `failed`, where no plan was confirmed within `MOST_ROUNDS` rounds or the time
        limit; `interrupted`, with what had been found, after Ctrl-C in a simulation.

    Raises
    ------
    InfeasibleError
        No cluster can meet the objectives within the limits, or none that simulation confirms.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    forbidden = set() if mix is None else every_pool(problem) - set(mix)
    return Certification(at_the_rate_of_clients(problem, progress, forbidden), progress, forbidden).run()


@dataclass(frozen=True, eq=False)
class _Confirmed:
    """A plan that holds, with what was simulated of it."""

    solution: Solution
    verdict: Verdict
    n_requests: int
    witnesses: list[MinimalityWitness]


class Certification:
    """One walk from a plan that is predicted to hold to one that simulation confirms."""

    def __init__(self, problem: Problem, progress: Progress, forbidden: Collection[tuple[str, str]] = ()) -> None:
        self._problem, self._progress, self._forbidden = problem, progress, forbidden
        self._limits, scenario = problem.need.limits, problem.scenario
        deadline_s = time.monotonic() + scenario.time_limit_s
        self._search = prepare_search(problem, progress, compares=not forbidden)
        self._seeds = tuple(range(scenario.seed + 1, scenario.seed + 1 + scenario.verify_runs))
        self._testbed = Testbed(
            problem.need, problem.sizes, problem.reference, self._seeds, progress,
            n_requests=scenario.verify_requests, replay=own_arrivals(problem),
            clients=clients_simulated(problem), deadline_s=deadline_s,
        )  # fmt: skip
        self._corrections, self._doubts = Corrections(), Corrections()
        self._rounds: list[CertificationRound] = []
        self._reduced: set[PoolCounts] = set()
        self._n_hunted = 0
        self._last: Solution | None = None
        self._last_verdict: Verdict | None = None
        self._confirmed: _Confirmed | None = None

    def run(self) -> Solution:
        hunt: Hunt | None = None
        notes: list[str] = []
        try:
            while self._confirm():
                hunt = self._hunt()
                if hunt is not None:
                    break
            if self._confirmed is None:
                assert self._last is not None
                return replace(self._last, certificate=self._certificate("failed", self._last_verdict))
        except (OutOfTimeError, InterruptedSimulationError) as error:
            interrupted = isinstance(error, InterruptedSimulationError)
            if self._last is None:
                raise KeyboardInterrupt from None
            if interrupted or self._confirmed is None:
                certificate = self._certificate("interrupted" if interrupted else "failed", None, notes=[self._late()])
                return replace(self._last, certificate=certificate)
            notes = [self._late()]
        return self._finished(self._confirmed, hunt, notes)

    def _late(self) -> str:
        limit_s = self._problem.scenario.time_limit_s
        return f"the time limit of {limit_s:g} s passed in simulation (--time-limit)"

    # -- rounds --------------------------------------------------------------------------------------------------

    def _confirm(self) -> bool:
        """Plan, simulate and correct until a plan is confirmed; False if the rounds are used up."""
        while len(self._rounds) < MOST_ROUNDS:
            best = self._next()
            # A simpler plan that is nearly as good is chosen in any case, so it alone need be simulated.
            other = None if self._forbidden else simpler(self._search, best, self._corrections, self._progress)
            solution = self._last = other or best
            verdict = self._last_verdict = self._testbed.verdict(solution.members, solution.routes, whole=True)
            n_requests = self._testbed.n_requests
            if not all(verdict.met):
                self._lower(solution, verdict)
                continue
            witnesses = [self._witness(solution, solution.members, i) for i in range(len(solution.members))]
            spared = [i for i, w in enumerate(witnesses) if not w.breaks]
            settled = solution.cluster in self._reduced  # it was chosen again, smaller ones notwithstanding
            if not spared or settled or self._problem.scenario.objective == "throughput":
                self._note_round(solution, True, "confirmed", None)
                self._confirmed = _Confirmed(solution, verdict, n_requests, witnesses)
                return True
            self._reduced.add(solution.cluster)
            self._raise(solution, spared)
        return False

    def _next(self) -> Solution:
        try:
            return solve_search(self._search, self._corrections, self._progress, forbidden=self._forbidden)
        except InfeasibleError as error:
            if self._last is None:
                raise
            round_ = self._rounds[-1]
            raise InfeasibleError(
                "no plan within the limits passes simulation",
                where="limits",
                value=f"{round_.pools}: {round_.finding}",
                rule="each objective holds in simulation, its confidence limit included",
                fix="--no-verify shows the plan that the formulas find; relax a limit or an objective. " + error.what,
            ) from None

    def _lower(self, solution: Solution, verdict: Verdict) -> None:
        """Lower the pools that the missed objectives speak of to the load at which they meet them."""
        carried = self._carried(solution)
        for i in self._blamed(solution, verdict):
            member, key = solution.members[i], solution.keys[i]
            known = max(solution.capacities[i], member.rate_per_s)
            self._corrections = self._corrections.lowered(key, member.count, carried * member.rate_per_s, known)
        self._note_round(solution, False, self._finding(verdict), carried)

    def _carried(self, solution: Solution) -> float:
        """Share of its load, from a half up, that a plan carries within the objectives."""
        carried, low, high = _LEAST_CARRIED, _LEAST_CARRIED, 1.0
        for _ in range(_CARRIED_STEPS):
            load = (low + high) / 2.0
            if all(self._testbed.verdict(solution.members, solution.routes, load).met):
                carried = low = load
            else:
                high = load
        return carried

    def _blamed(self, solution: Solution, verdict: Verdict) -> list[int]:
        """Members whose capacity the missed objectives say is overrated.

        TTFT speaks of the pools that prompts enter, TBT of those that decode, E2E of both. Where latency grows, all
        objectives are missed sooner or later, and where it grows says which pool cannot keep up.
        """
        roles = {"ttft": ("prefill", "mixed"), "tbt": ("decode", "mixed"), "e2e": ("prefill", "decode", "mixed")}
        if not verdict.drawn.stable:
            missed = {"ttft" if "ttft" in verdict.drawn.growing else "tbt"}
        else:
            missed = {limit.objective.metric for limit, met in zip(self._limits, verdict.met, strict=True) if not met}
        wanted = {role for metric in missed for role in roles[metric]}
        blamed = [i for i, m in enumerate(solution.members) if m.role in wanted and m.rate_per_s > 0]
        return blamed or list(range(len(solution.members)))

    def _raise(self, solution: Solution, spared: Sequence[int]) -> None:
        """Raise the pools that do with fewer machines, one after the other, to the load that the fewest carry."""
        members, fewer = list(solution.members), []
        for i in spared:
            if members[i].count == 1:
                count = 0 if not self._witness(solution, members, i).breaks else 1
            else:
                count = self._fewest(solution, members, i)
            if count == members[i].count:  # not after what was taken from the pools before it
                continue
            members[i] = replace(members[i], count=count)
            fewer.append(f"{count} {members[i].role}")
        keys, shared, _, _ = self._shared(solution, members)
        before = dict(zip(solution.keys, solution.members, strict=True))
        for key, member in zip(keys, shared, strict=True):
            if member.count < before[key].count or member.rate_per_s > before[key].rate_per_s * _JUST_ABOVE:
                self._corrections = self._corrections.raised(key, member.count, member.rate_per_s * _JUST_ABOVE)
        self._note_round(solution, True, f"more than enough: {', '.join(fewer)} will do", None)

    def _fewest(self, solution: Solution, members: Sequence[Member], i: int) -> int:
        """Fewest machines of a member with which simulation confirms the plan: steps that double, then halving."""

        def enough(count: int) -> bool:
            return not self._witness(solution, members, i, count).breaks

        high, step = members[i].count, 1
        while high - step >= 1 and enough(high - step):
            high, step = high - step, 2 * step
        low = max(high - step, 0)
        while high - low > 1:
            middle = (high + low) // 2
            high, low = (middle, low) if enough(middle) else (high, middle)
        return high

    # -- better plans that the formulas refuse -------------------------------------------------------------------

    def _hunt(self) -> Hunt | None:
        """Simulate the plans that would be better if capacities were `HOPE` above the formulas; None if one holds."""
        assert self._confirmed is not None
        chosen, n, refused, busier = self._confirmed.solution, 0, 0, None
        best = chosen.near_tie.value if chosen.near_tie else chosen.selection.objective
        if self._problem.scenario.objective == "throughput":  # another rate is another plan
            return Hunt(hope_fraction=0.0, n_simulated=0, n_too_busy=0, busier_value=None, exhausted=False)
        exhausted = False
        while True:
            try:
                hopes = Hopes(self._corrections, self._doubts)
                bold = solve_search(self._search, hopes, self._progress, forbidden=self._forbidden)
            except InfeasibleError:
                exhausted = True
                break
            if bold.selection.objective >= best * (1.0 - 1e-9):
                exhausted = True
                break
            if self._n_hunted >= MOST_HUNTED:
                break
            self._n_hunted += 1
            n += 1
            busy = self._too_busy(bold.members, bold.routes)
            if busy and busier is not None:  # what the limit costs at the least is known
                refused += 1
                self._doubt(bold, busy, 1.0 / _JUST_ABOVE)
                continue
            verdict = self._testbed.verdict(bold.members, bold.routes)
            if all(verdict.met) and not busy:
                for key, member in zip(bold.keys, bold.members, strict=True):
                    rate = member.rate_per_s * _JUST_ABOVE
                    self._corrections = self._corrections.raised(key, member.count, rate)
                self._note_round(bold, True, "better, and it holds though the formulas refuse it", None)
                return None
            if all(verdict.met):
                refused, busier = refused + 1, bold.selection.objective
                self._doubt(bold, busy, 1.0 / _JUST_ABOVE)
            else:
                self._doubt(bold, self._blamed(bold, verdict), self._carried(bold))
        return Hunt(hope_fraction=HOPE, n_simulated=n, n_too_busy=refused, busier_value=busier, exhausted=exhausted)

    def _doubt(self, bold: Solution, blamed: Sequence[int], carried: float) -> None:
        """Lower what was hoped of some members to a share of what they would have carried."""
        for i in blamed:
            member, key = bold.members[i], bold.keys[i]
            known = max(bold.capacities[i], member.rate_per_s)
            self._doubts = self._doubts.lowered(key, member.count, carried * member.rate_per_s, known)

    def _model(self, members: Sequence[Member], routes: Sequence[Route]) -> ClusterModel:
        """A cluster by the formulas, at the rate asked for or that its clients send."""
        need, clients, load = self._problem.need, self._testbed.clients, 1.0
        if clients is not None:
            load = min(rate_of_clients(members, routes, need, clients.count, clients.think_s) / need.rate_per_s, 1.0)
        return ClusterModel(members, routes, need, load)

    def _too_busy(self, members: Sequence[Member], routes: Sequence[Route]) -> list[int]:
        """Members whose prompts fill more of their time than `--max-utilisation` allows."""
        model = self._model(members, routes)
        most = self._problem.need.most_busy * (1.0 + 1e-6)
        return [i for i in range(len(members)) if _prefill_work(model, members, i) > most]

    # -- what a certificate says ---------------------------------------------------------------------------------

    def _candidates(self) -> Mapping[str, Candidate]:
        return {c.key: self._corrections.applied_to(c) for _, posed in self._search.posed for c in posed}

    def _shared(
        self, solution: Solution, members: Sequence[Member]
    ) -> tuple[list[str], list[Member], list[Route], float]:
        """The plan with other counts, its load shared anew; and how busy its busiest pool is at the least."""
        return shared_anew(solution.keys, members, solution.routes, self._candidates(), self._problem.need)

    def _witness(
        self, solution: Solution, members: Sequence[Member], i: int, count: int | None = None
    ) -> MinimalityWitness:
        """What breaks if a member has fewer machines, one fewer unless told."""
        member = members[i]
        count = member.count - 1 if count is None else count
        breaks, objective, value = "", None, None
        fewer = [replace(m, count=count) if j == i else m for j, m in enumerate(members)]
        _, smaller, routes, busy = self._shared(solution, fewer)
        if math.isinf(busy):
            breaks = "the pool would be empty"
        else:
            model = self._model(smaller, routes)
            links = max(model.network_utilisation(j) for j in range(len(smaller)))
            waiting = self._testbed.clients is not None  # who wait for answers send no more than is answered
            if busy >= _NEAR_THE_EDGE and not waiting:
                breaks = f"it cannot keep up: {100.0 * busy:.0f} % busy"
            elif links >= 1.0 and not waiting:
                breaks = f"its NICs cannot carry the KV caches: {100.0 * links:.0f} % of what they can"
            else:
                verdict = self._testbed.verdict(smaller, routes)
                if not all(verdict.met):
                    breaks = self._finding(verdict)
                    worst = _worst(verdict, self._limits) if verdict.drawn.stable else None
                    if worst is not None:
                        objective, value = str(worst[0].objective), worst[1]
                elif self._too_busy(smaller, routes):
                    share = max(_prefill_work(model, smaller, j) for j in range(len(smaller)))
                    breaks = (
                        f"objectives hold, but prompts fill {100.0 * share:.1f} % of its time, more than "
                        f"the {100.0 * self._problem.need.most_busy:.3g} % of --max-utilisation"
                    )
        machine = member.configuration.machine.name
        return MinimalityWitness(
            role=member.role, machine=machine, count=count, breaks=breaks, objective=objective, simulated=value
        )

    def _finding(self, verdict: Verdict) -> str:
        """The objective that is missed most, or that the queue grows."""
        if not verdict.drawn.stable:
            return "it cannot keep up: latency grows throughout the run"
        if not verdict.drawn.enough:
            return "too few requests to tell; simulate more (--verify-requests)"
        worst = _worst(verdict, self._limits)
        if worst is None:
            return "confirmed"
        limit, value, high = worst
        found = _quantity(value, limit)
        if value <= limit.value:  # missed by its upper confidence limit
            found += f", perhaps {_quantity(high, limit)}," if math.isfinite(high) else ", not known well enough,"
        own = " on the trace's own arrivals" if verdict.worse is verdict.replayed else ""
        return f"{limit.objective.label} {found} against {limit.objective.limit_label}{own}"

    def _finished(self, confirmed: _Confirmed, hunt: Hunt | None, notes: list[str]) -> Solution:
        solution, without = confirmed.solution, None
        breaks: dict[int, float] = {}
        try:
            if self._problem.limits.spares:
                without = self._without_spares(solution)
            breaks = breaking_loads(self._testbed, solution.members, solution.routes, self._limits, self._progress)
        except OutOfTimeError:
            notes = [self._late()]
        except InterruptedSimulationError:
            return replace(solution, certificate=self._certificate("interrupted", None))
        certificate = self._certificate(
            "confirmed", confirmed.verdict, confirmed.witnesses, without, breaks, hunt, notes, confirmed.n_requests
        )
        return replace(self._as_sent(solution, confirmed.verdict), certificate=certificate)

    def _as_sent(self, solution: Solution, verdict: Verdict) -> Solution:
        """The plan at the rate that its clients sent, where there are clients."""
        if self._testbed.clients is None:
            return solution
        load = verdict.drawn.sent_per_s / solution.rate_per_s
        members = [replace(m, rate_per_s=m.rate_per_s * load) for m in solution.members]
        routes = [replace(r, rate_per_s=r.rate_per_s * load) for r in solution.routes]
        return replace(solution, members=members, routes=routes, rate_per_s=verdict.drawn.sent_per_s)

    def _without_spares(self, solution: Solution) -> SparesRemoved:
        """What was bought, while the promised spares of every pool fail in the middle of the run."""
        spares = self._problem.limits.spares
        self._progress("simulating the loss of the spares")
        bought = [replace(m, count=m.count + spares) for m in solution.members]
        simulated = self._testbed.without_machines(bought, solution.routes, spares)
        return SparesRemoved(
            failed=f"{spares} of each pool, in the middle of each run",
            confirmed=all(simulated.met),
            n_restarted=simulated.n_restarted,
            objectives=simulated_objectives(simulated, self._limits, {}),
        )

    def _certificate(
        self,
        status: str,
        verdict: Verdict | None,
        witnesses: Sequence[MinimalityWitness] = (),
        without: SparesRemoved | None = None,
        breaks: Mapping[int, float] | None = None,
        hunt: Hunt | None = None,
        notes: Sequence[str] = (),
        n_requests: int | None = None,
    ) -> Certificate:
        percentiles, found = [], []
        simulated = verdict.drawn if verdict else None
        replayed = verdict.replayed if verdict else None
        if simulated is not None:
            percentiles = [
                SimulatedPercentiles(
                    metric=metric,
                    p50_s=IntervalReport.of(simulated.percentiles[metric, 50.0]),
                    p90_s=IntervalReport.of(simulated.percentiles[metric, 90.0]),
                    p99_s=IntervalReport.of(simulated.percentiles[metric, 99.0]),
                )
                for metric in LATENCIES
            ]
            found = simulated_objectives(simulated, self._limits, breaks or {})
        said = list(notes)
        if simulated is not None and self._testbed.clients is not None:
            said.append(f"simulated as {self._problem.rate_words}: {simulated.sent_per_s:.4g} requests/s")
        if simulated is not None and simulated.n_too_large:
            said.append(f"{simulated.n_too_large:,} requests are larger than the KV memory of any machine on their way")
        return Certificate(
            status=status,
            seeds=list(self._seeds),
            requests_per_run=n_requests or self._testbed.n_requests,
            n_counted=simulated.n_counted if simulated else 0,
            simulated_s=simulated.simulated_s if simulated else 0.0,
            n_too_large=simulated.n_too_large if simulated else 0,
            stable=bool(simulated and simulated.stable),
            objectives=found,
            percentiles=percentiles,
            replayed=simulated_objectives(replayed, self._limits, {}) if replayed else [],
            rounds=self._rounds,
            witnesses=list(witnesses),
            hunt=hunt,
            without_spares=without,
            notes=said,
        )

    def _note_round(self, solution: Solution, confirmed: bool, finding: str, carried: float | None) -> None:
        pools = " + ".join(f"{m.count} x {m.configuration.label} {m.role}" for m in solution.members)
        value = solution.selection.objective
        self._rounds.append(
            CertificationRound(pools=pools, value=value, confirmed=confirmed, finding=finding, carried_fraction=carried)
        )
        self._progress(f"{pools}: {finding}")


def _worst(verdict: Verdict, limits: Sequence[Limit]) -> tuple[Limit, float, float] | None:
    """The objective missed by the largest factor, its value and upper confidence limit; None if all are met."""
    simulated = verdict.worse
    missed = [
        (value.high / limit.value, limit, value.value, value.high)
        for limit, met, value in zip(limits, simulated.met, simulated.objectives, strict=True)
        if not met
    ]
    return max(missed, key=lambda entry: entry[0])[1:] if missed else None


def _prefill_work(model: ClusterModel, members: Sequence[Member], i: int) -> float:
    """Share of a member's time that prompts fill; 0 for a decode pool."""
    if members[i].role == "decode":
        return 0.0
    return model.prompt_share(i) if members[i].role == "mixed" else model.utilisation(i)


def _quantity(value: float, limit: Limit) -> str:
    return format_time(value) if limit.objective.limit_s is not None else f"{value:.3g}x"
