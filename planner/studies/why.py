"""Why a machine or a design was not chosen, and what it would take: the question after every plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from planner.catalog.schema import Machine
from planner.errors import InfeasibleError, NoPlanFoundError, PlannerError, UnknownNameError
from planner.optimization.selection import Simple
from planner.planning.closed_loop import as_solved, at_rate
from planner.planning.designs import best_of, enumerate_designs
from planner.planning.plan import Plan, Standing
from planner.planning.plan_file import is_plan_file, read_plan
from planner.planning.record import chosen_of, design_of, plan_of
from planner.planning.reuse import candidates_of
from planner.planning.road import solved
from planner.planning.search import Solution, largest_rate, solve_problem
from planner.planning.standing import Chosen, standings
from planner.pools.design import GENERAL, PAPER, parse_design
from planner.pools.limits import ObjectiveOrWeights
from planner.scenario.changes import setting
from planner.scenario.opened import CatalogLike, ScenarioLike, ask
from planner.scenario.progress import quiet
from planner.scenario.resolve import Problem, changed, configurations, configurations_on
from planner.studies.head import head_of_plans
from planner.studies.why_result import Reason, Why

LOADS = tuple(2.0 ** (k / 2.0) for k in (1, -1, 2, -2, 3, -3, 4, -4))  # multiples of the load, the nearest first


def why(
    target: str,
    scenario: ScenarioLike | Plan | None = None,
    *,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Why:
    """Say why a machine or design was not chosen, and what it would take to be.

    Parameters
    ----------
    target : str
        A machine of the catalog, or a design as `optimize` takes it; `all` for every machine.
    scenario : Plan, Scenario, mapping, or path, optional
        A plan, or the file of one: its own scenario is asked again. Else as in `optimize`.
    catalog, **fields
        As in `optimize`; `verify` also proves the plan, and that of a design, by simulation.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Why
        A reason for each machine, or for the design, with its best plan and what it would take.

    Raises
    ------
    InputError
        Something in the scenario, trace, plan or catalog is wrong; a target that is neither machine nor design.
    InfeasibleError
        There is no plan to hold it against.
    NoPlanFoundError
        The time limit passed before any plan was found.
    """
    plan = _plan(scenario)
    source = plan.scenario if plan is not None else scenario
    asked = ask(source, catalog, {"verify": False, **fields})  # type: ignore[arg-type]
    known = asked.catalog.names(Machine)
    machines = known if target == "all" else [name for name in known if name.casefold() == target.casefold()]
    design = None if machines else _design(target, known)
    problem = asked.resolved()
    progress("the plan")
    solution = solved(problem, progress)
    best = plan_of(problem, solution)
    problem = as_solved(problem, solution)
    if design is not None:
        found = [_of_design(problem, solution, best, design, progress)]
    else:
        progress("the machines asked about")
        found = list(_of_machines(problem, solution, machines))
    return Why(
        **head_of_plans(problem, [best]),
        verified=best.verified,
        target=target,
        objective=problem.scenario.objective,
        plan=best,
        reasons=found,
        changed_since=_changed_since(plan, best),
    )


def _plan(source: object) -> Plan | None:
    """The plan that was handed over, read from its file where it is one."""
    if isinstance(source, Plan):
        return source
    if isinstance(source, (str, os.PathLike)) and os.path.isfile(source) and is_plan_file(source):
        return read_plan(source)
    return None


def _design(target: str, known: Sequence[str]) -> str:
    try:
        return parse_design(target, known, where="TARGET").name
    except UnknownNameError:
        every = [*known, *GENERAL, *PAPER]
        raise UnknownNameError.of("machine or design", target, every, where="TARGET") from None


def _changed_since(before: Plan | None, now: Plan) -> str:
    """What is chosen now where a plan that was handed over is no longer the answer; empty where it is."""
    if before is None:
        return ""

    def pools(plan: Plan) -> list[tuple[str, str, int]]:
        return sorted((p.role, p.machine, p.count) for p in plan.pools)

    if pools(before) == pools(now):
        return ""
    counts = " + ".join(f"{p.count + p.spares:,} x {p.machine} {p.role}" for p in now.pools)
    proof = "" if before.certificate is None or now.certificate is not None else ", for it was corrected by simulation"
    return f"held against what the formulas choose now, {counts}, not against the plan's own pools{proof}"


def _of_machines(problem: Problem, solution: Solution, machines: Sequence[str]) -> Iterator[Reason]:
    chosen = chosen_of(problem, solution)
    found, _ = configurations(problem)
    top = largest_rate(problem, found)
    alone = len(machines) == 1
    for standing in standings(problem, chosen, machines, top, paired=alone):
        takes = [*standing.would_take, *(_loads(problem, chosen, standing) if alone else ())]
        yield Reason(
            target=standing.machine, status=standing.status, reason=standing.reason, pools=standing.pools,
            value=standing.value, relative=standing.relative,
            wins_below_usd_per_hour=standing.wins_below_usd_per_hour, would_take=takes,
        )  # fmt: skip


def _loads(problem: Problem, chosen: Chosen, standing: Standing) -> Iterator[str]:
    """The nearest load at which a plan with the machine is the best of those it could be held against."""
    scenario = problem.scenario
    if standing.relative is None or standing.relative <= 0 or scenario.objective == "throughput":
        return
    objective: ObjectiveOrWeights = scenario.objective
    every = [standing.machine, *(name for name in chosen.counts if name != standing.machine)]
    by_name = {m.name: m for m in problem.machines}
    found = []
    for name in every:
        machine = by_name.get(name) or problem.catalog.machine(name)
        some, _ = configurations_on(problem, machine)
        found += some
    candidates = candidates_of(problem, found, problem.need.rate_per_s * max(LOADS))
    for load in LOADS:
        posed = at_rate(problem, problem.need.rate_per_s * load)
        best = best_of(enumerate_designs(candidates, posed, problem.limits, objective).values(), posed, objective)
        if best is not None and _has(best, standing.machine):
            beside = f" beside {', '.join(every[1:])}" if len(every) > 1 else ""
            yield f"{load:.2g} times the load ({posed.need.rate_per_s:.4g} requests/s){beside}"
            return


def _has(simple: Simple, machine: str) -> bool:
    return any(c.configuration.machine.name == machine for c, _ in simple.pools)


def _of_design(
    problem: Problem, solution: Solution, best: Plan, design: str, progress: Callable[[str], None]
) -> Reason:
    """A design held against the plan: its own best plan, or why there is none."""
    if design_of(solution.members) == design:
        return Reason(target=design, status="chosen", reason="chosen: the plan is of this design")
    progress(f"the best plan of {design}")
    try:
        posed = changed(problem, setting(design=design))
        own = solved(posed, progress) if problem.scenario.verify else solve_problem(posed, progress)
    except (InfeasibleError, NoPlanFoundError, PlannerError) as error:
        shown = "" if error.value is None else f": {' '.join(str(error.value).split())}"
        kind = "unreachable" if isinstance(error, InfeasibleError) else "unknown"
        takes = [error.fix] if error.fix else []
        return Reason(target=design, status=kind, reason=f"{error.what}{shown}", would_take=takes)
    plan = plan_of(posed, replace(own, rejected=[]))
    chosen, value = best.solver.value, plan.solver.value
    throughput = problem.scenario.objective == "throughput"
    if throughput:
        chosen, value = best.rate_per_s, plan.rate_per_s
    relative = value / chosen - 1.0
    pools = " + ".join(f"{p.count + p.spares:,} x {p.machine} {p.role}" for p in plan.pools)
    if abs(relative) <= 1e-9:
        return Reason(target=design, status="equal", reason=f"as good: {pools}", pools=pools, value=value, relative=0.0)
    if (relative < 0) != throughput:
        reason = f"by the formulas {100 * abs(relative):.3g} % better: {pools}; simulation decides (--verify)"
        return Reason(target=design, status="near", reason=reason, pools=pools, value=value, relative=relative)
    word = {"cost": "dearer", "throughput": "less load"}.get(problem.scenario.objective, "more")
    takes = []
    if problem.scenario.objective == "cost":
        takes = [f"prices of its machines {100 * (1 - chosen / value):.3g} % lower"]
    return Reason(
        target=design, status="dearer", reason=f"{word} by {100 * abs(relative):.3g} %: {pools}", pools=pools,
        value=value, relative=relative, would_take=takes,
    )  # fmt: skip
