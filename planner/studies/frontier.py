"""Frontiers: the least cost, power or machines at every budget, load or latency limit, step by step.

What is least changes in steps, for machines are whole. So nothing is sampled: each solve gives a plan, the plan
says how far it reaches, and the next solve begins just beyond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from planner.errors import InfeasibleError, NoPlanFoundError, ScenarioError
from planner.planning.plan import Plan
from planner.planning.record import NOT_SIMULATED, plan_of
from planner.planning.road import solved
from planner.planning.search import Solution, best_or_none
from planner.pools.candidate import needs_end_to_end
from planner.pools.prediction import ClusterModel
from planner.scenario.changes import budget, setting
from planner.scenario.opened import CatalogLike, ScenarioLike, ask
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed
from planner.studies.frontier_axes import FrontierAxis, measured, read_axes
from planner.studies.frontier_result import Frontier, FrontierPoint
from planner.studies.head import head_of_plans
from planner.studies.rows import pools_text
from planner.units import FRACTION, UnitError, parse

TOLERANCE = 0.01
_BUDGET_STEP = 1e-7  # relative, by which the next budget is below the last point: more than rows are rounded by
_SAME = 1e-9  # relative, within which two values of y are one
_STEEPEST = 4.0  # times the least y, where a frontier of limits ends unless asked to go on
_WIDE = 4.0  # how far from the scenario's own value a range goes unasked
_REACH_MARGIN = 1e-3  # relative, by which a limit is kept above what a plan reaches: percentiles are as exact as that


@dataclass(frozen=True)
class _Step:
    """A plan, and how far along x it reaches."""

    x: float
    y: float
    bound: float
    proven: bool
    problem: Problem
    solution: Solution


@dataclass
class FrontierWalk:
    """What is common to the walks along one frontier."""

    problem: Problem
    x: FrontierAxis
    y: FrontierAxis
    start: float | None
    stop: float | None
    tolerance: float
    progress: Progress
    ends: str = ""
    complete: bool = True
    solves: int = 0

    def measured(self, solution: Solution, axis: FrontierAxis) -> float:
        """A plan's figure on an axis of budgets."""
        return measured(solution, self.problem.limits.spares, axis.name)

    def solved(self, problem: Problem, at: str, top_rate_per_s: float | None = None) -> Solution | None:
        """The best plan, counted and told; one that simulation confirms where that is asked for."""
        self.solves += 1
        self.progress(f"{self.solves} solves, {at}")
        if not self.verify:
            return best_or_none(problem, top_rate_per_s=top_rate_per_s)
        from planner.planning.certify import certified  # here, for who does not simulate need not load what does

        try:
            return certified(problem, lambda text: self.progress(f"{self.solves} solves, {at}: {text}"))
        except InfeasibleError:
            return None

    @property
    def verify(self) -> bool:
        """Whether every plan is simulated."""
        return self.problem.scenario.verify

    def first(self, problem: Problem, at: str, top_rate_per_s: float | None = None) -> Solution:
        """The same where the walk begins: raises what `plan` does."""
        return self.solved(problem, at, top_rate_per_s) or solved(problem, self.progress)


def frontier(
    scenario: ScenarioLike | None = None,
    *,
    x: str = "power",
    y: str = "cost",
    start: str | float | None = None,
    stop: str | float | None = None,
    tolerance: str | float = TOLERANCE,
    verify: bool = False,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Frontier:
    """Find the plans that nothing beats in two figures at once: all trade-offs there are between them.

    Parameters
    ----------
    scenario, catalog, **fields
        As in `optimize`. Its limits hold for every point; its objective does not matter.
    x : str
        `power`, `cost` or `machines` (a budget that shrinks), `rate` (a load that grows), or the limit of an objective:
        `ttft`, `tbt`, `e2e`, with a percentile if there are several (`ttft.p50`).
    y : str
        What is least: `cost`, `power` or `machines`.
    start, stop : str or float, optional
        Range of x. Left out: all of a budget; a quarter to twice the scenario's load; limits from four times the
        scenario's down to where y is four times its least.
    tolerance : str or float
        Relative, to which x is known for loads and limits: `1 %`. Budgets are exact.
    verify : bool
        Whether to simulate every plan, and to correct those that fail. A point along loads or limits is then at the
        load or limit that was simulated, not at the farthest that formulas say the plan reaches.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Frontier
        Points by rising x. An interruption (Ctrl-C) after the first point keeps those that are done, with `complete`
        false.

    Raises
    ------
    InputError
        Something in the scenario, trace or catalog is wrong; axes that are unknown or the same; an empty range.
    InfeasibleError
        There is no plan at all; says what collides and the nearest relaxation that works.
    NoPlanFoundError
        A time limit passed before the first point.
    """
    asked = ask(scenario, catalog, fields)
    along, least = read_axes(x, y, asked.scenario)
    begin, end = along.read(start, "start"), along.read(stop, "stop")
    if begin is not None and end is not None and begin >= end:
        raise ScenarioError(
            "the range is empty", where="start", value=f"{along.words(begin)} to {along.words(end)}",
            rule="it begins below where it ends",
        )  # fmt: skip
    share = _fraction(tolerance)
    problem = asked.with_fields(objective=least.name, verify=verify).resolved()
    _refuse_unpriced(problem, along)
    walk = FrontierWalk(problem, along, least, begin, end, share, progress)
    steps: list[_Step] = []
    try:
        for step in {"budget": _along_budget, "rate": _along_rate, "limit": _along_limit}[along.kind](walk):
            _extend(steps, step)
    except KeyboardInterrupt:
        if not steps:
            raise
        walk.complete, walk.ends = False, "interrupted: points beyond the last one found are missing"
    except NoPlanFoundError:
        if not steps:
            raise
        walk.complete, walk.ends = False, "the solver's time limit passed before another plan was found"
    progress("predicting percentiles")
    points = sorted((_point(step) for step in steps), key=lambda point: point.x)
    plans = [point.plan for point in points]
    return Frontier(
        **head_of_plans(problem, plans),
        verified="as each point says" if verify else NOT_SIMULATED,
        x=along.name,
        x_label=along.label,
        x_unit=along.unit,
        y=least.name,  # type: ignore[arg-type]
        y_label=least.label,
        y_unit=least.unit,
        tolerance=_BUDGET_STEP if along.kind == "budget" else share,
        method=_method(along, least, share),
        ends=walk.ends,
        complete=walk.complete and all(step.proven for step in steps),
        solves=walk.solves,
        points=points,
    )


def _fraction(tolerance: str | float) -> float:
    try:
        share = parse(tolerance, FRACTION)
    except UnitError as error:
        raise error.at("tolerance") from None
    if not 2e-3 <= share <= 0.5:
        raise ScenarioError(
            "a tolerance that makes no sense", where="tolerance", value=tolerance, rule="from 0.2 % to 50 %"
        )
    return share


def _refuse_unpriced(problem: Problem, along: FrontierAxis) -> None:
    """A budget of cost needs prices as much as least cost does."""
    if along.name != "cost":
        return
    books = problem.scenario.prices
    unpriced = [m.name for m in problem.machines if problem.catalog.price_of(m.name, books) is None]
    if unpriced:
        raise ScenarioError(
            f"no price book lists {', '.join(unpriced)}", where="machines", rule="the axis cost needs prices",
            fix="name a book with --prices, or leave it out",
        )  # fmt: skip


def _method(along: FrontierAxis, least: FrontierAxis, tolerance: float) -> str:
    if along.kind == "budget":
        return (
            f"exact: least {least.label}, then least {along.label} at that, then a budget just below it, until there "
            "is no plan; no plan is better in one and as good in the other"
        )
    if along.kind == "rate":
        return (
            f"exact steps: each plan with the largest load that its machines carry; {least.label} is solved anew "
            f"{100 * tolerance:.3g} % beyond it, so steps narrower than that share of the load may be passed over"
        )
    return (
        f"exact steps: each plan with the tightest limit that it keeps; {least.label} is solved anew "
        f"{100 * tolerance:.3g} % below it, so steps narrower than that share of the limit may be passed over"
    )


def _extend(steps: list[_Step], step: _Step) -> None:
    """Add a step; of two with the same y the later one reaches farther, and what it beats is dropped."""
    while steps and step.y <= steps[-1].y * (1 + _SAME):
        steps.pop()
    steps.append(step)


# -- budgets: the epsilon-constraint method ---------------------------------------------------------------------------


def _along_budget(walk: FrontierWalk) -> Iterator[_Step]:
    """Least y; least x at that y; then with a budget of x just below: every trade-off, from the least y on."""
    most = walk.stop
    last: _Step | None = None
    while True:
        at = "no budget" if most is None else f"{walk.x.label} up to {walk.x.words(most)}"
        posed = changed(walk.problem, budget(walk.x.name, most))
        first = walk.first(posed, at) if last is None else walk.solved(posed, at)
        if first is None:
            assert last is not None
            walk.ends = f"no plan has less than {walk.x.words(last.x)}"
            return
        y = walk.measured(first, walk.y)
        tied = changed(walk.problem, setting(objective=walk.x.name).then(budget(walk.y.name, y)))
        second = walk.solved(tied, f"least {walk.x.label} at {walk.y.words(y)}")
        solution = second or first
        proven = first.selection.status == "optimal" and second is not None and second.selection.status == "optimal"
        x, y = walk.measured(solution, walk.x), walk.measured(solution, walk.y)
        last = _Step(x, y, first.selection.bound, proven, tied, solution)
        if walk.start is not None and last.x < walk.start:
            walk.ends = f"the range begins at {walk.x.words(walk.start)}"
            return
        yield last
        most = last.x - 1.0 if walk.x.name == "machines" else last.x * (1.0 - _BUDGET_STEP)
        if most <= 0:
            walk.ends = "nothing is less"
            return


# -- load -------------------------------------------------------------------------------------------------------------


def _along_rate(walk: FrontierWalk) -> Iterator[_Step]:
    """Least y at a load; the largest load that this plan carries; then a load just beyond."""
    own = walk.problem.need.rate_per_s
    rate, most = walk.start or own / _WIDE, walk.stop or max(2.0 * own, 2.0 * (walk.start or 0.0))
    if rate >= most:
        raise ScenarioError(
            "the range is empty", where="stop", value=walk.x.words(most), rule=f"it begins at {walk.x.words(rate)}"
        )
    # Capacities do not depend on the load, but for end-to-end limits: what prompts wait at it.
    top = None if needs_end_to_end(walk.problem.need) else most
    begun = False
    while rate <= most:
        posed = changed(walk.problem, setting(rate_per_s=rate))
        at = walk.x.words(rate)
        solution = walk.solved(posed, at, top) if begun else walk.first(posed, at, top)
        if solution is None:
            walk.ends = f"no plan carries {walk.x.words(rate)} within the limits"
            return
        begun = True
        carried = min(rate * _largest_load(posed, solution), most)
        reach = max(_rounded(carried, math.floor), rate) / rate if carried < most else most / rate
        y = walk.measured(solution, walk.y)
        proven = solution.selection.status == "optimal"
        if walk.verify:
            yield _Step(rate, y, solution.selection.bound, proven, posed, solution)
            rate *= reach * (1.0 + walk.tolerance)
            continue
        full = _loaded(solution, reach)
        loaded = changed(posed, setting(rate_per_s=rate * reach))
        yield _Step(rate * reach, y, solution.selection.bound, proven, loaded, full)
        rate *= reach * (1.0 + walk.tolerance)
    walk.ends = f"the range ends at {walk.x.words(most)}"


def _largest_load(problem: Problem, solution: Solution) -> float:
    """Multiple of the load that the plan carries within every objective, its load shared as it is; 1 at the least."""
    loaded = [(m, c) for m, c in zip(solution.members, solution.capacities, strict=True) if m.rate_per_s > 0]
    high = max(min(c / m.rate_per_s for m, c in loaded), 1.0)

    def holds(load: float) -> bool:
        model = ClusterModel(solution.members, solution.routes, problem.need, load)
        return model.is_stable() and all(model.meets(limit) for limit in problem.need.limits)

    if holds(high):
        return high
    low = 1.0
    while high / low > 1.0 + _REACH_MARGIN:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _loaded(solution: Solution, load: float) -> Solution:
    """The plan at a multiple of its load."""
    return replace(
        solution,
        members=[replace(m, rate_per_s=m.rate_per_s * load) for m in solution.members],
        routes=[replace(r, rate_per_s=r.rate_per_s * load) for r in solution.routes],
        rate_per_s=solution.rate_per_s * load,
    )


# -- limits -----------------------------------------------------------------------------------------------------------


def _along_limit(walk: FrontierWalk) -> Iterator[_Step]:
    """Least y within a limit; the tightest limit that this plan keeps; then a limit just below."""
    objective = walk.x.objective
    assert objective is not None
    given = any(o == objective for o in walk.problem.scenario.slo)
    own = (objective.limit_s or objective.slowdown or 1.0) if given else None
    limit = walk.stop or _WIDE * (own or walk.start or 1.0)
    least: float | None = None
    while walk.start is None or limit >= walk.start * (1.0 - _SAME):
        posed = changed(walk.problem, walk.x.at(limit))
        at = f"{walk.x.label} {walk.x.words(limit)}"
        solution = walk.first(posed, at) if least is None else walk.solved(posed, at)
        if solution is None:
            walk.ends = f"no plan keeps {walk.x.words(limit)}"
            return
        y = walk.measured(solution, walk.y)
        least = y if least is None else least
        if walk.start is None and y > _STEEPEST * least:
            walk.ends = f"{walk.y.label} passes {_STEEPEST:g} times its least; a lower start goes on"
            return
        reach = _tightest(posed, solution, walk.x, limit)
        if walk.start is not None:
            reach = max(reach, walk.start)
        proven = solution.selection.status == "optimal"
        at_limit = limit if walk.verify else reach
        yield _Step(at_limit, y, solution.selection.bound, proven, changed(posed, walk.x.at(at_limit)), solution)
        limit = reach * (1.0 - walk.tolerance)
    walk.ends = f"the range begins at {walk.x.words(walk.start or 0.0)}"


def _tightest(problem: Problem, solution: Solution, axis: FrontierAxis, limit: float) -> float:
    """The tightest limit that every way through the plan keeps, on the safe side."""
    objective = axis.objective
    assert objective is not None
    (found,) = [
        x for x in problem.need.limits
        if (x.objective.metric, x.objective.percentile) == (objective.metric, objective.percentile)
    ]  # fmt: skip
    worst = 0.0
    for route in solution.routes:
        if route.rate_per_s <= 0:
            continue
        model = ClusterModel(solution.members, [route], problem.need)
        value = model.percentile(objective.metric, objective.percentile, found.unit_s)
        worst = max(worst, limit if value is None else value)
    return min(_rounded(worst * (1.0 + _REACH_MARGIN), math.ceil), limit)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """To four digits in one direction: what people write, and less than any tolerance."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{towards(value / unit) * unit:.4g}")


def _point(step: _Step) -> FrontierPoint:
    plan: Plan = plan_of(step.problem, step.solution)
    late = {p.metric: p.p99_s for p in plan.percentiles}
    bound = min(step.bound, step.y)
    gap = 0.0 if step.proven else (step.y - bound) / step.y
    return FrontierPoint(
        x=step.x,
        y=step.y,
        status="optimal" if step.proven else "limit",
        bound=step.y if step.proven else bound,
        gap=gap,
        design=plan.design,
        pools=pools_text(plan) or "",
        machines=plan.machines,
        rate_per_s=plan.rate_per_s,
        cost_usd_per_hour=plan.cost_usd_per_hour,
        cost_usd_per_million_tokens=plan.cost_usd_per_million_tokens,
        power_w=plan.power_w,
        rack_units=plan.rack_units,
        verified=plan.verified,
        ttft_p99_s=late["ttft"],
        tbt_p99_s=late["tbt"],
        e2e_p99_s=late["e2e"],
        plan=plan,
    )
