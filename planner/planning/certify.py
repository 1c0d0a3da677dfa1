"""Prove a plan on simulated requests; where it fails, correct the capacities and plan again.

The queueing formulas choose; simulation has the last word, both ways. A pool that carries less than its formula says is
lowered to what it carried; one that does with fewer machines is raised. The plan is then chosen anew with every other
design in the race, until the chosen plan is confirmed and no pool of it can spare a machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.errors import InfeasibleError
from planner.planning.certificate import (
    Certificate,
    CertificationRound,
    MinimalityWitness,
    SimulatedObjective,
    SimulatedPercentiles,
    SparesRemoved,
)
from planner.planning.correction import Cluster, Corrections
from planner.planning.search import Solution, prepare_search, solve_search
from planner.planning.trials import Testbed
from planner.pools.prediction import ClusterModel, Member
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem
from planner.serving.requests import Limit
from planner.simulation.interval import IntervalReport
from planner.simulation.summary import LATENCIES, Simulated
from planner.units import format_time

MOST_ROUNDS = 16  # plans simulated before giving up
_LEAST_CARRIED = 0.5  # a plan that does not carry half of its load is lowered to half, and tried again
_CARRIED_STEPS = 4  # halvings of the load between that and all
_MOST_LOAD = 16.0  # multiple at which the search for a breaking point ends
_BREAK_TOLERANCE = 0.01  # of the load, to which the breaking points are found
_JUST_ABOVE = 1.0 + 1e-6  # a capacity raised to a load must carry it


def certified(problem: Problem, progress: Progress = quiet) -> Solution:
    """Find the best cluster that simulation confirms.

    Returns
    -------
    Solution
        With its certificate: `confirmed`; `failed`, where no plan was confirmed within `MOST_ROUNDS` rounds;
        `interrupted`, with what had been found, after Ctrl-C in a simulation.

    Raises
    ------
    InfeasibleError
        No cluster can meet the objectives within the limits, or none that simulation confirms.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    return _Certification(problem, progress).run()


class _Interrupted(Exception):
    """Ctrl-C came while a simulation ran."""


class _Certification:
    def __init__(self, problem: Problem, progress: Progress) -> None:
        self._problem, self._progress = problem, progress
        self._limits = problem.need.limits
        self._search = prepare_search(problem, progress)
        self._testbed = Testbed(problem.need, problem.sizes, problem.reference, progress)
        self._corrections = Corrections()
        self._rounds: list[CertificationRound] = []
        self._reduced: set[Cluster] = set()

    def run(self) -> Solution:
        scenario = self._problem.scenario
        solution: Solution | None = None
        simulated: Simulated | None = None
        try:
            while len(self._rounds) < MOST_ROUNDS:
                solution, simulated = self._next(solution), None
                self._testbed.prepare(solution.members, solution.routes, scenario.verify_requests)
                simulated = self._settled(solution, 1.0)
                if not all(simulated.met):
                    self._lower(solution, simulated)
                    continue
                witnesses = [self._witness(solution, solution.members, i) for i in range(len(solution.members))]
                spared = [i for i, w in enumerate(witnesses) if not w.breaks]
                settled = solution.cluster in self._reduced  # it was chosen again, smaller ones notwithstanding
                if not spared or settled or scenario.objective == "throughput":
                    self._note_round(solution, True, "confirmed", None)
                    return self._finished(solution, simulated, witnesses)
                self._reduced.add(solution.cluster)
                self._raise(solution, spared)
            assert solution is not None
            return replace(solution, certificate=self._certificate("failed", simulated, [], None, {}))
        except _Interrupted:
            if solution is None:
                raise KeyboardInterrupt from None
            return replace(solution, certificate=self._certificate("interrupted", simulated, [], None, {}))

    def _next(self, last: Solution | None) -> Solution:
        try:
            return solve_search(self._search, self._corrections, self._progress)
        except InfeasibleError as error:
            if last is None:
                raise
            round_ = self._rounds[-1]
            raise InfeasibleError(
                "no plan within the limits passes simulation",
                where="limits",
                value=f"{round_.pools}: {round_.finding}",
                rule="each objective holds in simulation, its confidence limit included",
                fix="--no-verify shows the plan that the formulas find; relax a limit or an objective. " + error.what,
            ) from None

    # -- rounds --------------------------------------------------------------------------------------------------

    def _simulate(
        self, members: Sequence[Member], solution: Solution, load: float, *, brief: bool = False
    ) -> Simulated:
        """A cluster at a multiple of its load, with all seeds; in brief, one run of the usual length."""
        seeds = self._seeds[:1] if brief else self._seeds
        simulated = self._testbed.simulate(members, solution.routes, load, seeds, brief=brief)
        if simulated.interrupted:
            raise _Interrupted
        return simulated

    @property
    def _seeds(self) -> tuple[int, ...]:
        first = self._problem.scenario.seed + 1
        return tuple(range(first, first + self._problem.scenario.verify_runs))

    def _settled(self, solution: Solution, load: float) -> Simulated:
        """A plan, simulated for as long as it takes to tell whether each objective holds, within reason."""
        while True:
            simulated = self._simulate(solution.members, solution, load)
            unsettled = [
                late.value <= limit.allowed < late.high or not math.isfinite(value.high)
                for late, limit, value in zip(simulated.late, self._limits, simulated.objectives, strict=True)
            ]
            if not any(unsettled) or not simulated.stable or not self._testbed.lengthen():
                return simulated

    def _lower(self, solution: Solution, simulated: Simulated) -> None:
        """Lower the pools that the missed objectives speak of to the load at which they meet them."""
        carried, low, high = _LEAST_CARRIED, _LEAST_CARRIED, 1.0
        for _ in range(_CARRIED_STEPS):
            load = (low + high) / 2.0
            if all(self._simulate(solution.members, solution, load).met):
                carried = low = load
            else:
                high = load
        for i in self._blamed(solution, simulated):
            member, key = solution.members[i], solution.keys[i]
            known = max(solution.capacities[i], member.rate_per_s)
            self._corrections = self._corrections.lowered(key, member.count, carried * member.rate_per_s, known)
        self._note_round(solution, False, self._finding(simulated), carried)

    def _blamed(self, solution: Solution, simulated: Simulated) -> list[int]:
        """Members whose capacity the missed objectives say is overrated.

        TTFT speaks of the pools that prompts enter, TBT of those that decode, E2E of both. Where latency grows, all
        objectives are missed sooner or later, and where it grows says which pool cannot keep up.
        """
        roles = {"ttft": ("prefill", "mixed"), "tbt": ("decode", "mixed"), "e2e": ("prefill", "decode", "mixed")}
        if simulated.growing:
            missed = {"ttft" if "ttft" in simulated.growing else "tbt"}
        else:
            missed = {limit.objective.metric for limit, met in zip(self._limits, simulated.met, strict=True) if not met}
        wanted = {role for metric in missed for role in roles[metric]}
        blamed = [i for i, m in enumerate(solution.members) if m.role in wanted and m.rate_per_s > 0]
        return blamed or list(range(len(solution.members)))

    def _raise(self, solution: Solution, spared: Sequence[int]) -> None:
        """Raise the pools that do with fewer machines, one after the other, to the load that the fewest carry."""
        members, fewer = list(solution.members), []
        for i in spared:
            count = self._fewest(solution, members, i)
            if count == members[i].count:  # not after what was taken from the pools before it
                continue
            members[i] = replace(members[i], count=count)
            rate = members[i].rate_per_s * _JUST_ABOVE
            self._corrections = self._corrections.raised(solution.keys[i], count, rate)
            fewer.append(f"{count} {members[i].role}")
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

    # -- what a certificate says ---------------------------------------------------------------------------------

    def _witness(
        self, solution: Solution, members: Sequence[Member], i: int, count: int | None = None
    ) -> MinimalityWitness:
        """What breaks if a member has fewer machines, one fewer unless told."""
        member = members[i]
        count = member.count - 1 if count is None else count
        breaks, objective, value = "", None, None
        if count < 1:
            breaks = "the pool would be empty"
        else:
            smaller = [replace(m, count=count) if j == i else m for j, m in enumerate(members)]
            model = ClusterModel(smaller, solution.routes, self._problem.need)
            busy = model.utilisation(i)
            if busy >= 1.0:  # however slowly the queue may grow in a run
                breaks = f"it cannot keep up: {100.0 * busy:.0f} % busy"
            else:
                simulated = self._simulate(smaller, solution, 1.0)
                if not all(simulated.met):
                    breaks = self._finding(simulated)
                    worst = _worst(simulated, self._limits) if simulated.stable else None
                    if worst is not None:
                        objective, value = str(worst[0].objective), worst[1]
                elif (share := _prefill_work(model, smaller, i)) > self._problem.need.most_busy:
                    breaks = (
                        f"objectives hold, but prompts fill {100.0 * share:.1f} % of its time, more than "
                        f"the {100.0 * self._problem.need.most_busy:.3g} % of --max-utilisation"
                    )
        machine = member.configuration.machine.name
        return MinimalityWitness(
            role=member.role, machine=machine, count=count, breaks=breaks, objective=objective, simulated=value
        )

    def _finding(self, simulated: Simulated) -> str:
        """The objective that is missed most, or that the queue grows."""
        if not simulated.stable:
            return "it cannot keep up: latency grows throughout the run"
        if not simulated.enough:
            return "too few requests to tell; simulate more (--verify-requests)"
        worst = _worst(simulated, self._limits)
        if worst is None:
            return "confirmed"
        limit, value, high = worst
        found = _quantity(value, limit)
        if value <= limit.value:  # missed by its upper confidence limit
            found += f", perhaps {_quantity(high, limit)}," if math.isfinite(high) else ", not known well enough,"
        return f"{limit.objective.label} {found} against {limit.objective.limit_label}"

    def _finished(self, solution: Solution, simulated: Simulated, witnesses: list[MinimalityWitness]) -> Solution:
        without = self._without_spares(solution) if self._problem.limits.spares else None
        breaks = self._breaking_loads(solution)
        return replace(solution, certificate=self._certificate("confirmed", simulated, witnesses, without, breaks))

    def _without_spares(self, solution: Solution) -> SparesRemoved:
        """What was bought, while the promised spares of every pool fail in the middle of the run."""
        spares = self._problem.limits.spares
        self._progress("simulating the loss of the spares")
        bought = [replace(m, count=m.count + spares) for m in solution.members]
        simulated = self._testbed.simulate_loss(bought, solution.routes, spares, self._seeds)
        if simulated.interrupted:
            raise _Interrupted
        return SparesRemoved(
            failed=f"{spares} of each pool, in the middle of each run",
            confirmed=all(simulated.met),
            n_restarted=simulated.n_restarted,
            objectives=simulated_objectives(simulated, self._limits, {}),
        )

    def _breaking_loads(self, solution: Solution) -> dict[int, float]:
        """Load multiple at which each objective, by its position, is first missed, to 1 %."""
        model = ClusterModel(solution.members, solution.routes, self._problem.need)
        busiest = max(model.utilisation(i) for i in range(len(solution.members)))
        top = max(1.0 / max(busiest, 1e-3), 1.0) * (1.0 + 2.0 * _BREAK_TOLERANCE)  # beyond, the queue grows
        found: dict[int, float] = {}
        for i, limit in enumerate(self._limits):

            def holds(load: float, i: int = i, limit: Limit = limit) -> bool:
                self._progress(f"simulating {load:.2f} x the load")
                simulated = self._simulate(solution.members, solution, load, brief=True)
                return simulated.stable and simulated.late[i].value <= limit.allowed

            low, high = 1.0, top
            while holds(high) and high < _MOST_LOAD:
                low, high = high, 1.25 * high
            while high / low > 1.0 + _BREAK_TOLERANCE:
                load = (low * high) ** 0.5
                low, high = (load, high) if holds(load) else (low, load)
            found[i] = high
        return found

    def _certificate(
        self,
        status: str,
        simulated: Simulated | None,
        witnesses: list[MinimalityWitness],
        without: SparesRemoved | None,
        breaks: dict[int, float],
    ) -> Certificate:
        percentiles = []
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
        notes = []
        if simulated is not None and simulated.n_too_large:
            notes.append(
                f"{simulated.n_too_large:,} requests are larger than the KV memory of any machine on their way"
            )
        return Certificate(
            status=status,
            seeds=list(self._seeds),
            requests_per_run=self._testbed.n_requests,
            n_counted=simulated.n_counted if simulated else 0,
            simulated_s=simulated.simulated_s if simulated else 0.0,
            n_too_large=simulated.n_too_large if simulated else 0,
            stable=bool(simulated and simulated.stable),
            objectives=simulated_objectives(simulated, self._limits, breaks) if simulated else [],
            percentiles=percentiles,
            rounds=self._rounds,
            witnesses=witnesses,
            without_spares=without,
            notes=notes,
        )

    def _note_round(self, solution: Solution, confirmed: bool, finding: str, carried: float | None) -> None:
        pools = " + ".join(f"{m.count} x {m.configuration.machine.name} {m.role}" for m in solution.members)
        value = solution.selection.objective
        self._rounds.append(
            CertificationRound(pools=pools, value=value, confirmed=confirmed, finding=finding, carried_fraction=carried)
        )
        self._progress(f"{pools}: {finding}")


def simulated_objectives(
    simulated: Simulated, limits: Sequence[Limit], breaks: Mapping[int, float]
) -> list[SimulatedObjective]:
    """Each objective as simulated; `breaks`: the load at which it is first missed, by its index."""
    return [
        SimulatedObjective(
            objective=str(limit.objective),
            simulated=IntervalReport.of(value),
            late_fraction=IntervalReport.of(late),
            allowed_fraction=limit.allowed,
            met=met,
            breaks_at_load=breaks.get(i),
        )
        for i, (limit, value, late, met) in enumerate(
            zip(limits, simulated.objectives, simulated.late, simulated.met, strict=True)
        )
    ]


def _worst(simulated: Simulated, limits: Sequence[Limit]) -> tuple[Limit, float, float] | None:
    """The objective missed by the largest factor, its value and upper confidence limit; None if all are met."""
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
