"""Periods of a fleet: its calendar, coarse where the whole would be too large, and the mean rates in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planner.economics.options import PurchaseOption
from planner.portfolio.batch import Lot
from planner.portfolio.calendar import Period, Stage, days, stages_of
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_workload import DemandScenario
from planner.portfolio.supplies import cuts_of

# Stages of so many months are tried, until there are no more periods times workloads than this.
_STAGES = (1.0, 2.0, 3.0, 6.0, 12.0)
_MOST_BLOCKS, _MOST_BLOCKS_WITH_BATCH = 300, 120


def fleet_calendar(
    fleet: Fleet, offers: Mapping[str, Sequence[PurchaseOption]], lots: Mapping[str, Sequence[Lot]]
) -> tuple[list[Stage], list[Period]]:
    """Stages of a month, or of as many more as keep the periods few enough to choose among them in time."""
    shapes = {name: fleet.shape_of(name) for name in fleet.workloads if name not in lots}
    all_lots = [lot for some in lots.values() for lot in some]

    def of(stage_months: float) -> tuple[list[Stage], list[Period]]:
        stages = stages_of(
            fleet.horizon_months,
            stage_months,
            {name: fleet.growth_of(name) for name in fleet.workloads},
            {name: (s.probability, _factors(fleet, s)) for name, s in fleet.scenarios.items()},
            cuts_of(fleet, offers),
            None if fleet.weekend == 1.0 else {name: fleet.weekend for name in fleet.workloads if name not in lots},
            fleet.start,
        )
        return stages, days(stages, shapes, all_lots, fleet.periods_a_day)

    if fleet.stage_months is not None:
        return of(fleet.stage_months)
    most = _MOST_BLOCKS_WITH_BATCH if lots else _MOST_BLOCKS
    for stage_months in _STAGES:
        stages, periods = of(stage_months)
        if len(periods) * len(fleet.workloads) <= most:
            break
    return stages, periods


def _factors(fleet: Fleet, scenario: DemandScenario) -> dict[str, float]:
    return {name: scenario.rates.get(name, scenario.rate) for name in fleet.workloads}


def mean_factors(fleet: Fleet, periods: Sequence[Period]) -> dict[str, float]:
    """Mean rate of each workload over its stated one."""
    hours = math.fsum(p.hours for p in periods)
    return {
        name: math.fsum(p.mean_factors.get(name, 1.0) * p.hours for p in periods) / hours for name in fleet.workloads
    }


def months_text(months: float) -> str:
    """Months as they are spoken of: `7 months`, `2 years`."""
    if months % 12:
        return f"{months:g} months"
    return "1 year" if months == 12 else f"{months / 12:g} years"
