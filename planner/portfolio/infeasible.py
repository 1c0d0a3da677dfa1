"""Why no fleet can serve what is asked: the limit that is too low, and the least that would do."""

from __future__ import annotations

import math

from planner.errors import InfeasibleError
from planner.optimization.model import (
    PortfolioProblem,
)
from planner.optimization.search import least_excess
from planner.planning.infeasible import BEYOND_LIMITS
from planner.portfolio.fleet import Fleet
from planner.units import format_money, format_power


def explained(fleet: Fleet, given: PortfolioProblem) -> InfeasibleError:
    """Say which limits collide with the demand, and the least of each that would do."""
    limits = given.limits
    named: dict[str, float] = {cap.name: cap.most for cap in limits.caps}
    named |= {spending.name: spending.most for spending in limits.spending}
    if limits.max_cost_usd_per_hour is not None:
        named["max_cost"] = limits.max_cost_usd_per_hour
    free = {name: least_excess(given, frozenset({name}), solver=fleet.solver, time_limit_s=60.0) for name in named}
    given_as = {name: limit_text(name, most) for name, most in named.items()}

    def enough(name: str, excess: float) -> str:
        return limit_text(name, _enough(name, named[name], excess))

    lines = [
        f"{name}: {given_as[name]} is too little; {enough(name, by[name])} is enough"
        for name, by in free.items()
        if by is not None
    ]
    if not lines and len(named) > 1:
        every = frozenset(named)
        by = least_excess(given, every, solver=fleet.solver, time_limit_s=60.0)
        if by is not None:
            lines = [
                "together: "
                + ", ".join(
                    f"{name} {enough(name, excess)} in place of {given_as[name]}"
                    for name, excess in by.items()
                    if excess > 1e-7
                )
            ]
    return InfeasibleError(
        f"{BEYOND_LIMITS}, and all deadlines" if any(w.batch for w in fleet.workloads.values()) else BEYOND_LIMITS,
        where="limits",
        value="\n         ".join(lines) or "no number of the machines considered carries this load in time",
        rule="workloads " + ", ".join(fleet.workloads),
        fix="relax one of the limits to the value named, or relax objectives or deadlines" if lines else
        "relax objectives or deadlines, or consider more machines",
    )  # fmt: skip


def _enough(name: str, most: float, excess: float) -> float:
    value = max(most, 1.0) * excess + most
    return value if name == "max_cost" or name.endswith("max_power") else math.ceil(value - 1e-6)


def limit_text(name: str, value: float) -> str:
    """An amount of a limit, with its unit."""
    if name.startswith("budget of year"):
        return f"${value:,.0f}"
    if name == "max_cost":
        return f"{format_money(math.ceil(value * 100 - 1e-6) / 100)}/h"
    return format_power(value) if name.endswith("max_power") else f"{value:,.0f}"
