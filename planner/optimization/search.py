"""The best portfolio: the program solved over lines between known counts, refined until it is exact, and checked.

Capacity curves are known at some counts. Between them lines are drawn, raised by more than any curve rises above its
line (`reduction.KINK`), so that the program's bound holds. Counts that are chosen and not known are computed, and the
program is solved again; a second program over known counts alone gives a plan that is exact. Where all counts are
known, as in fleets of tens of machines, the first answer is exact and proven.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.errors import NoPlanFoundError, PlannerError
from planner.optimization.columns import Columns
from planner.optimization.known_curves import KnownCurves
from planner.optimization.model import PortfolioProgram
from planner.optimization.portfolio_answer import Portfolio
from planner.optimization.portfolio_problem import Column, PortfolioProblem
from planner.optimization.reduction import KINK, Pieces
from planner.optimization.solver import solve

MAX_ROUNDS = 12
_FEW_BLOCKS = 2  # groups and periods that one program takes at once without help
_COLUMNS_SHARE = 0.5  # of the time limit that may be spent on columns
_CHOICE_SHARE = 0.25  # of the time left then, on choosing among them
_PRICE_ROUNDS = 4  # of prices, before the first purchase is tried
_PROVEN = 1e-6


def choose_portfolio(
    given: PortfolioProblem,
    *,
    solver: str,
    time_limit_s: float,
    gap: float = 0.0,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Portfolio | None:
    """Choose groups, pools and purchases at least cost.

    Parameters
    ----------
    given : PortfolioProblem
    solver, time_limit_s, seed
        `highs` or `cbc`; limit for all rounds together [s].
    gap : float
        Relative gap to the bound at which a plan is good enough.
    progress : callable
        Told what is being done.

    Returns
    -------
    Portfolio or None
        None when no plan exists (proven).

    Raises
    ------
    NoPlanFoundError
        The time limit passed before any plan was found.
    PlannerError
        The answer fails its recomputation.
    """
    started = time.perf_counter()
    deadline = started + time_limit_s
    search = KnownCurves(given)
    best: Portfolio | None = None
    bound, name, number = -math.inf, solver, 0
    columns: Columns | None = None

    def left_s() -> float:
        return max(deadline - time.perf_counter(), 1e-3)

    if sum(block.group not in given.batch_groups for block in given.blocks) > _FEW_BLOCKS:
        columns = Columns(given, search.pieces(KINK), search.stock(), solver, gap / 4.0)
        until = started + _COLUMNS_SHARE * time_limit_s
        best, bound, name, number = _by_columns(search, columns, until, solver, gap, seed, progress)
    while (
        number < MAX_ROUNDS
        and (number == 0 or time.perf_counter() < deadline)
        and (best is None or _relative(best.cost_usd_per_hour, bound) > max(gap, _PROVEN))
    ):
        number += 1
        progress("choosing pools and purchases together")
        pieces: Sequence[Mapping[str, Pieces]] = search.pieces(KINK)
        if columns is not None and best is not None:
            pieces = columns.reduced(pieces, best.cost_usd_per_hour)
        program = PortfolioProgram(search.given, pieces, cuts=columns.cuts if columns else ())
        start = None if best is None else program.values_of(best)
        progress(f"{len(program.problem.variables())} variables, {len(program.problem.constraints())} rows")
        outcome = solve(
            program.problem, solver=solver, time_limit_s=left_s(), gap=gap * 0.999, seed=seed, warm_start=start
        )
        name = outcome.solver
        if outcome.status == "infeasible":
            if best is None:
                return None
            raise PlannerError("a relaxation is infeasible though a plan is known", rule="report this as a bug")
        if outcome.bound is not None:
            spent = program.tie_break.value() if outcome.has_solution else 0.0
            bound = max(bound, outcome.bound - float(spent or 0.0))
        if not outcome.has_solution:
            break
        exact = search.is_exact(program)
        if not exact:
            # A plan of known counts alone is exact whatever the solver chooses.
            program = PortfolioProgram(search.given, search.pieces(None))
            found = solve(program.problem, solver=solver, time_limit_s=left_s(), gap=gap * 0.5, seed=seed)
            if not found.has_solution:
                continue
        plan = search.plan_of(program)
        if best is None or plan.cost_usd_per_hour < best.cost_usd_per_hour:
            best = plan
        if (exact and outcome.status == "optimal") or outcome.status == "limit":
            break
    if best is None:
        raise NoPlanFoundError(
            f"no plan was found within the time limit of {time_limit_s:g} s",
            where="--time-limit",
            fix="raise --time-limit, allow a --gap, or narrow the search with fewer machines or groups",
        )
    faults = search.faults(best)
    if faults:
        raise PlannerError(
            "the chosen portfolio fails its recomputation", value="; ".join(faults[:5]), rule="report this as a bug"
        )
    bound = min(bound, best.cost_usd_per_hour)
    left_gap = _relative(best.cost_usd_per_hour, bound)
    status = "optimal" if left_gap <= max(gap, _PROVEN) else "limit"
    if left_gap <= _PROVEN:
        left_gap, bound = 0.0, best.cost_usd_per_hour
    return replace(best, bound=bound, gap=left_gap, status=status, solver=name, rounds=number)


def _by_columns(
    search: KnownCurves,
    columns: Columns,
    deadline: float,
    solver: str,
    gap: float,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[Portfolio | None, float, str, int]:
    """A plan and a bound by columns and cuts; the plan may be None and the bound -inf. With solver and rounds."""
    best: Portfolio | None = None
    bound, name, number = -math.inf, solver, 0
    held: dict[int, int] | None = None
    if not columns.serves_all():
        return best, bound, name, number

    def left_s() -> float:
        return max(deadline - time.perf_counter(), 1e-3)

    tried: set[tuple[tuple[int, int], ...]] = set()
    while number < MAX_ROUNDS and time.perf_counter() < deadline:
        number += 1
        # Prices of machines, first where the purchase is free to be any, then at what the bound would hold.
        until = time.perf_counter() + left_s() / 2.0
        for _ in range(_PRICE_ROUNDS if held is None else 2):
            priced = columns.price(until, held)
            if priced is None or not priced[1]:
                break
        bound = max(bound, columns.bound)
        program = columns.bound_program()
        outcome = solve(program.problem, solver=solver, time_limit_s=left_s() / 4.0, gap=gap / 8.0, seed=seed)
        name = outcome.solver
        if outcome.bound is not None:
            bound = max(bound, outcome.bound)
        if best is not None and _relative(best.cost_usd_per_hour, bound) <= max(gap, _PROVEN):
            break
        progress(f"choosing pools and purchases, at least {bound:,.2f} USD/h")
        plan = _plan_by_columns(search, columns, max(_CHOICE_SHARE * left_s(), 1e-3), solver, gap, seed)
        if plan is not None and (best is None or plan.cost_usd_per_hour < best.cost_usd_per_hour):
            best = plan
        if best is not None:
            gap_text = f"{_relative(best.cost_usd_per_hour, bound):.1%}"
            progress(f"{best.cost_usd_per_hour:,.2f} USD/h, at least {bound:,.2f} (gap {gap_text})")
            if _relative(best.cost_usd_per_hour, bound) <= max(gap, _PROVEN):
                break
        if not outcome.has_solution:
            break
        held = program.held()
        key = tuple(sorted(held.items()))
        if key in tried:
            break
        tried.add(key)
    return best, bound, name, number


def _plan_by_columns(
    search: KnownCurves, columns: Columns, time_limit_s: float, solver: str, gap: float, seed: int
) -> Portfolio | None:
    """A plan of known columns: they are chosen while batch work may have parts of machines, which are then made whole.

    Batch work is offered one kind of pool at first, which is quick, and then all that are useful.
    """
    pieces, best = search.pieces(None), None
    until = time.perf_counter() + time_limit_s
    options: dict[str, Any] = {"solver": solver, "gap": max(gap / 4.0, _PROVEN), "seed": seed}

    def left_s() -> float:
        return max(until - time.perf_counter(), 1.0)

    first = columns.plan_program(pieces)
    if solve(first.problem, time_limit_s=left_s() / 2.0, **options).has_solution:
        if not search.given.batch_groups:
            search.is_exact(first)
            return search.plan_of(first)
        chosen = {b: [Column(counts)] for b, (counts, _) in enumerate(first.answers()) if counts}
    else:
        chosen = columns.cheapest()
    for batch_pools in (columns.best_for_batch(), columns.useful_for_batch()):
        program = columns.plan_program(pieces, chosen, batch_pools)
        start = None if best is None else program.values_of(best)
        if solve(program.problem, time_limit_s=left_s() / 2.0, warm_start=start, **options).has_solution:
            search.is_exact(program)
            plan = search.plan_of(program)
            if best is None or plan.cost_usd_per_hour < best.cost_usd_per_hour:
                best = plan
    return best


def least_excess(
    given: PortfolioProblem, elastic: frozenset[str], *, solver: str, time_limit_s: float
) -> dict[str, float] | None:
    """By what part limits would have to be exceeded for a plan to exist, least in sum; None if that is not enough."""
    search = KnownCurves(given, elastic)
    program = PortfolioProgram(search.given, search.pieces(KINK), elastic)
    outcome = solve(program.problem, solver=solver, time_limit_s=time_limit_s, gap=1e-4)
    if not outcome.has_solution:
        return None
    return {name: float(slack.value()) for name, slack in program.slacks.items()}


def _relative(value: float, bound: float) -> float:
    return max(value - bound, 0.0) / max(abs(value), 1e-12)
