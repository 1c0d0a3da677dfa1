"""A fleet with all its machines had in one way: rented, reserved or owned, beside the mix."""

from __future__ import annotations

from planner.catalog.catalog import Catalog
from planner.catalog.prices import PLAN_NAMES, TERM_MONTHS, PlanName
from planner.errors import PlannerError
from planner.portfolio.fleet import Fleet
from planner.portfolio.reporting import procurement_of
from planner.portfolio.result import Procurement, PureFleet
from planner.portfolio.solving import solve_fleet
from planner.scenario.progress import Progress, quiet

WAYS: dict[str, tuple[PlanName, ...]] = {
    "rented": tuple(plan for plan in PLAN_NAMES if plan in ("on_demand", "spot")),
    "reserved": tuple(plan for plan in PLAN_NAMES if plan in TERM_MONTHS),
    "owned": ("owned",),
}


def with_pure(fleet: Fleet, catalog: Catalog | None, found: Procurement, progress: Progress = quiet) -> Procurement:
    """The answer with the fleet in each pure way, of the plans that it allows, to the same gap."""
    pure = []
    for name, plans in WAYS.items():
        allowed = tuple(plan for plan in plans if plan in fleet.plans)
        if not allowed:
            continue
        progress(f"the same fleet all {name}")
        pure.append(_pure(name, fleet.model_copy(update={"plans": allowed}), catalog, progress))
    return found.model_copy(update={"pure": pure})


def _pure(name: str, fleet: Fleet, catalog: Catalog | None, progress: Progress) -> PureFleet:
    try:
        one = procurement_of(solve_fleet(fleet, catalog, progress))
    except PlannerError as error:
        return PureFleet(
            plans=name, cost_usd=None, present_value_usd=None, upfront_usd=None, machines=None, gap=None,
            reason=error.what,
        )  # fmt: skip
    return PureFleet(
        plans=name,
        cost_usd=one.cost_usd,
        present_value_usd=one.present_value_usd,
        upfront_usd=one.upfront_usd,
        machines=max(p.machines_held_or_rented for p in one.periods),
        gap=one.solver.gap,
        reason="",
    )
