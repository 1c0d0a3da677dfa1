"""Demand over time: the shape of a day, growth, scenarios with probabilities, and the periods that stand for them.

A plan serves one rate. Demand that moves is cut into few representative periods, each with the hours a year that it
stands for and the multiple of the base rate at which its machines are counted.

The base rate is that of the busiest hour of the first month in a scenario of factor 1, so that a flat demand of one
period is the problem that `planner.optimize` solves.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from planner import units
from planner.catalog.entry import CatalogModel
from planner.catalog.loading import read_layer
from planner.catalog.quantities import FractionOrZero, read_quantity
from planner.catalog.validation import check, joined
from planner.errors import ScenarioError, near_misses
from planner.workload.day_shape import HOURS, SHAPES, DayShape, shape_from_trace
from planner.workload.traces import read_trace

HOURS_PER_YEAR = 8760.0
MONTHS_PER_YEAR = 12
_WEEKEND_SHARE = 2.0 / 7.0


@dataclass(frozen=True)
class Period:
    """A part of a year that is planned for as a whole.

    Attributes
    ----------
    name : str
        Such as `base/year 1/peak`; no two of a demand have the same.
    hours_per_year : float
        Hours of its year that it stands for [h]. Those of one year and scenario add up to 8760.
    rate_multiplier : float
        Largest demand within it over the base rate: what its machines must carry.
    mean_multiplier : float
        Mean demand within it over the base rate: what it serves, for tokens and energy.
    year : int
        1 for the first.
    scenario : str
    probability : float
        Of the scenario; those of the scenarios add up to 1.
    """

    name: str
    hours_per_year: float
    rate_multiplier: float
    mean_multiplier: float
    year: int = 1
    scenario: str = "base"
    probability: float = 1.0


def _growth(value: object, info: ValidationInfo) -> float:
    growth = read_quantity(value, units.FRACTION, info)
    if not growth > -1.0:
        raise ValueError(f"a growth of {growth:.0%} a month leaves less than nothing; it must be above -100 %")
    return growth


def _times(value: object, info: ValidationInfo) -> float:
    if isinstance(value, str) and value.strip().endswith("x"):
        value = value.strip().removesuffix("x")
    return read_quantity(value, units.FRACTION, info)


Growth = Annotated[float, BeforeValidator(_growth)]


class DemandScenario(CatalogModel):
    """One way that demand may turn out."""

    probability: FractionOrZero = 1.0
    rate_factor: Annotated[float, Field(gt=0), BeforeValidator(_times)] = Field(
        default=1.0, alias="rate", description="Of the base rate, such as 1.5 or 150 %."
    )
    growth_per_month: Growth | None = Field(default=None, description="In place of the demand's own.")


class Demand(CatalogModel):
    """Demand over a horizon of years. As a file: YAML with these fields (`read_demand`)."""

    day: str | tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default="flat", description="A shape by name (flat, office, consumer), or 24 numbers, midnight first."
    )
    trace: str | None = Field(default=None, description="A trace to take the shape of the day from.")
    first_hour: float = Field(default=0.0, ge=0, lt=24, description="Hour of the day at which that trace begins.")
    weekend: FractionOrZero = Field(default=1.0, description="Demand on Saturdays and Sundays over other days.")
    growth_per_month: Growth = Field(default=0.0, description="Compound, such as 3 %; month by month.")
    years: int = Field(default=1, ge=1, le=15, description="Length of the horizon.")
    scenarios: dict[str, DemandScenario] = Field(default={}, description="By name; left out: one, `base`.")
    periods: int = Field(default=4, ge=1, le=288, description="Most periods a year and scenario.")
    rule: Literal["load_duration", "chronological"] = Field(
        default="load_duration",
        description="Periods gather hours of like demand wherever they lie, or hours that follow each other.",
    )

    @field_validator("day", mode="before")
    @classmethod
    def _a_day_has_24_hours(cls, value: object) -> object:
        if isinstance(value, str) and value not in SHAPES:
            near = near_misses(value, SHAPES)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SHAPES)}; or give 24 numbers"
            raise ValueError(f"unknown shape of a day {value!r}; {hint}")
        if isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) != HOURS:
                raise ValueError(f"a day has 24 hours, and this profile has {len(value)}; give one number an hour")
            numbers = [v for v in value if isinstance(v, int | float)]
            if len(numbers) == HOURS and max(numbers) <= 0:
                raise ValueError("a day profile needs an hour with demand")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Demand:
        if self.trace is not None and self.day != "flat":
            raise ValueError("day and trace both give the shape of a day; leave one of them out")
        total = math.fsum(s.probability for s in self.scenarios.values())
        if self.scenarios and not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"the probabilities of the scenarios add up to {total:g}; they must add up to 1")
        return self

    @property
    def shape(self) -> DayShape:
        """The shape of the day, whichever way it is given."""
        if self.trace is not None:
            return shape_from_trace(read_trace(self.trace), first_hour=self.first_hour)
        if isinstance(self.day, str):
            return SHAPES[self.day]
        largest = max(self.day)
        return DayShape("given", tuple(w / largest for w in self.day), "given hour by hour", "estimate")


def read_demand(source: Demand | Mapping[str, Any] | str | os.PathLike[str]) -> Demand:
    """Turn what the caller has into a Demand.

    Parameters
    ----------
    source : Demand, mapping, or path of a YAML file
        A trace in a file is named relative to it.

    Raises
    ------
    ScenarioError
        A field that is unknown or makes no sense, with file:line: a day of 25 hours, a growth of -100 % or less, an
        unknown shape with near misses, probabilities that do not add up to 1.
    """
    if isinstance(source, Demand):
        return source
    if isinstance(source, str | os.PathLike):
        layer = read_layer(Path(source), error=ScenarioError)
        data = dict(layer.data)
        if isinstance(data.get("trace"), str):
            data["trace"] = str(layer.path.parent / data["trace"])
        demand, problems = check(Demand, data, [layer], error=ScenarioError)
        if demand is None:
            raise joined(problems)
        return demand
    from pydantic import ValidationError

    try:
        return Demand.model_validate(dict(source))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message, _, fix = first["msg"].removeprefix("Value error, ").partition("; ")
        where = ".".join(["demand", *map(str, first["loc"])])
        raise ScenarioError(message, where=where, fix=fix or None) from None


def representative_periods(demand: Demand) -> tuple[Period, ...]:
    """Cut the horizon into periods, by a rule that leaves the least capacity standing idle.

    Parameters
    ----------
    demand : Demand

    Returns
    -------
    tuple of Period
        Scenario by scenario, year by year; by `load_duration` the busiest first, else as they follow each other.

    Notes
    -----
    A year is a set of cells, one a month, kind of day (weekday, weekend) and hour, each with the hours that it stands
    for and its demand

        d = (1 + g)^months * w(hour) * (weekend share) * (factor of the scenario)

    `load_duration` sorts them by demand, the load-duration curve of power planning [1]_; `chronological` keeps the
    hours of each kind of day in order, a month's growth folded into its year (largest for the largest, mean for the
    mean). The sequence is cut into at most `periods` runs so that

        sum over runs of hours * (largest demand in the run - demand)                                (2)

    is least, exactly, by dynamic programming. So every period covers its busiest hour, and no cut of as many periods
    keeps fewer machine-hours waiting (as far as machines are proportional to demand).

    References
    ----------
    .. [1] Stoft, Power System Economics, IEEE Press 2002, section 1-4: load-duration curves.
    """
    scenarios = demand.scenarios or {"base": DemandScenario()}
    weights = np.array(demand.shape.weights)
    found: list[Period] = []
    for name, scenario in scenarios.items():
        growth = demand.growth_per_month if scenario.growth_per_month is None else scenario.growth_per_month
        for year in range(demand.years):
            months = (1.0 + growth) ** (MONTHS_PER_YEAR * year + np.arange(MONTHS_PER_YEAR)) * scenario.rate_factor
            cut = _by_load_duration if demand.rule == "load_duration" else _in_order
            for label, hours, largest, mean in cut(months, weights, demand.weekend, demand.periods):
                title = f"{name}/year {year + 1}/{label}"
                found.append(Period(title, hours, largest, mean, year + 1, name, scenario.probability))
    return tuple(found)


_Run = tuple[str, float, float, float]  # label, hours a year, largest and mean multiplier


def _kinds_of_day(weekend: float) -> list[tuple[str, float, float]]:
    """Name, share of all days and factor of each kind of day."""
    if weekend == 1.0:
        return [("", 1.0, 1.0)]
    return [("weekday", 1.0 - _WEEKEND_SHARE, 1.0), ("weekend", _WEEKEND_SHARE, weekend)]


def _by_load_duration(months: np.ndarray, weights: np.ndarray, weekend: float, n_periods: int) -> list[_Run]:
    kinds = _kinds_of_day(weekend)
    cells = np.concatenate([np.outer(months, weights).ravel() * factor for _, _, factor in kinds])
    each = HOURS_PER_YEAR / (months.size * HOURS)
    hours = np.concatenate([np.full(months.size * HOURS, each * share) for _, share, _ in kinds])
    # Cells of one demand are one cell: a flat year is a single period however many are allowed.
    values, inverse = np.unique(np.round(cells, 12), return_inverse=True)
    spent = np.bincount(inverse.ravel(), weights=hours)
    values, spent = values[::-1], spent[::-1]
    runs = _cut(values, values, spent, n_periods)
    names = ["all"] if len(runs) == 1 else ["peak", *(f"level {n + 1}" for n in range(1, len(runs)))]
    return [(label, *run) for label, run in zip(names, runs, strict=True)]


def _in_order(months: np.ndarray, weights: np.ndarray, weekend: float, n_periods: int) -> list[_Run]:
    found: list[_Run] = []
    for kind, share, factor in _kinds_of_day(weekend):
        largest, mean = weights * factor * months.max(), weights * factor * months.mean()
        hours = np.full(HOURS, HOURS_PER_YEAR / HOURS * share)
        starts = _cuts(largest, hours, n_periods)
        for first, last in zip(starts, [*starts[1:], HOURS], strict=True):
            run = slice(first, last)
            label = f"{kind} {first:02d}-{last:02d} h".strip()
            average = float(np.average(mean[run], weights=hours[run]))
            found.append((label, float(hours[run].sum()), float(largest[run].max()), average))
    return found


def _cut(largest: np.ndarray, mean: np.ndarray, hours: np.ndarray, n: int) -> list[tuple[float, float, float]]:
    starts = _cuts(largest, hours, n)
    runs = [slice(a, b) for a, b in zip(starts, [*starts[1:], largest.size], strict=True)]
    return [
        (float(hours[r].sum()), float(largest[r].max()), float(np.average(mean[r], weights=hours[r]))) for r in runs
    ]


def _cuts(values: np.ndarray, hours: np.ndarray, n_runs: int) -> list[int]:
    """First index of each run of the cut that makes (2) least; of equally good ones that with the fewest runs."""
    n = values.size
    n_runs = min(n_runs, n)
    served = np.concatenate([[0.0], np.cumsum(hours * values)])
    elapsed = np.concatenate([[0.0], np.cumsum(hours)])
    waste = np.full((n + 1, n + 1), np.inf)  # of one run from a (in) to b (out)
    for a in range(n):
        top = np.maximum.accumulate(values[a:])
        waste[a, a + 1 :] = top * (elapsed[a + 1 :] - elapsed[a]) - (served[a + 1 :] - served[a])
    least, chosen = waste[0].copy(), [np.zeros(n + 1, dtype=np.int64)]
    for _ in range(1, n_runs):
        total = least[:, None] + waste
        total[0] = np.inf  # a run before this one has at least one cell
        best = np.argmin(total, axis=0)
        value = total[best, np.arange(n + 1)]
        better = value < least - 1e-12 * max(served[-1], 1e-300)
        chosen.append(np.where(better, best, -1))
        least = np.where(better, value, least)
    starts, end, level = [], n, len(chosen) - 1
    while end > 0:
        while level > 0 and chosen[level][end] < 0:
            level -= 1  # fewer runs do as well up to here
        start = int(chosen[level][end])
        starts.append(start)
        end, level = start, level - 1
    return starts[::-1]
