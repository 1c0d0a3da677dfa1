"""The periods that a fleet is planned over: representative days, cut where something changes.

The horizon is cut into stages, and each stage stands for its months by one day, at the demand of its last month: a plan
that serves that day serves every day before it (with growth). Scenarios have days of their own, weighted by their
probability. A day is cut where a workload's rate changes and where batch work arrives or is due. Where it is to have
fewer parts, neighbours are merged, those first whose merging adds the least to the requests served; a merged part has
the highest rate of each workload within it. So every rule errs towards more machines, never fewer. Where there is
batch work no part is longer than six hours, for machines that serve it may be given back when it is done.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.economics.finance import HOURS_PER_MONTH
from planner.economics.options import DAYS_PER_MONTH
from planner.portfolio.batch import DAY_MINUTES, Lot

Shape = Sequence[tuple[int, float]]  # minutes and factor of each part of a day, in order
# Batch work may stop when it is done: with it in the plan, no part of a day is longer than this, unless asked for.
BATCH_MINUTES = 6 * 60


@dataclass(frozen=True)
class Stage:
    """Months of the horizon that one day stands for, in one scenario.

    Attributes
    ----------
    name : str
        `year 2`, `year 2, high`.
    first_month, last_month : float
        From the start of the horizon; the day is that of the last month.
    share : float
        Of its days, times the probability of its scenario.
    factors : mapping of str to float
        Demand of each workload over its stated one, at the end of the stage: growth and scenario.
    mean_factors : mapping of str to float
        The same on the mean of its days.
    """

    name: str
    first_month: float
    last_month: float
    share: float
    factors: Mapping[str, float]
    mean_factors: Mapping[str, float]

    @property
    def hours(self) -> float:
        """Hours of the horizon, weighted by probability."""
        return (self.last_month - self.first_month) * HOURS_PER_MONTH * self.share


@dataclass(frozen=True)
class Period:
    """A part of a representative day.

    Attributes
    ----------
    name : str
        `06:00-18:00`.
    stage : int
        Index of its day.
    start, minutes : int
        Begin, in minutes from midnight, and length.
    hours : float
        Hours of the horizon that it stands for, weighted by probability.
    factors : mapping of str to float
        Rate of each workload over its stated one: the highest within it, which is what is planned for.
    mean_factors : mapping of str to float
        The same on the mean of its minutes and days, which is what is served.
    """

    name: str
    stage: int
    start: int
    minutes: int
    hours: float
    factors: Mapping[str, float]
    mean_factors: Mapping[str, float]


def clock(minute: int) -> str:
    """`06:30`; the end of the day is 24:00."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def name_of(start: int, minutes: int) -> str:
    """`06:00-18:00`, or `all day`."""
    if minutes == DAY_MINUTES:
        return "all day"
    end = start + minutes
    return f"{clock(start)}-{clock(end if end <= DAY_MINUTES else end - DAY_MINUTES)}"


def factor_at(shape: Shape, minute: int) -> float:
    """Factor of a shape at a minute of the day."""
    end = 0
    for minutes, factor in shape:
        end += minutes
        if minute % DAY_MINUTES < end:
            return factor
    return shape[-1][1]


def mean_factor(shape: Shape, start: int, minutes: int) -> float:
    """Mean factor of a shape over some minutes of the day, which may reach into the next."""
    total, begin = 0.0, 0
    for length, factor in shape:
        for day in (0, DAY_MINUTES):
            low, high = max(begin + day, start), min(begin + day + length, start + minutes)
            total += factor * max(high - low, 0)
        begin += length
    return total / minutes


def days(
    stages: Sequence[Stage], shapes: Mapping[str, Shape], lots: Iterable[Lot], most_parts: int | None = None
) -> list[Period]:
    """Periods of every stage.

    Parameters
    ----------
    stages : sequence of Stage
    shapes : mapping of str to Shape
        Of each workload that is answered at once.
    lots : iterable of Lot
        Of batch work: no period reaches across an arrival or a deadline.
    most_parts : int, optional
        Parts that a day should have at most; arrivals and deadlines may need more.
    """
    lots = list(lots)
    fixed = {m for lot in lots for m in (lot.minute, (lot.minute + lot.window) % DAY_MINUTES)}
    parts = _cut(shapes, fixed)
    if lots:
        parts = [piece for part in parts for piece in _shortened(part)]
    if most_parts is not None:
        parts = _merged(parts, fixed, max(most_parts, 1))
    return [
        Period(
            name_of(start, minutes),
            s,
            start,
            minutes,
            stage.hours * minutes / DAY_MINUTES,
            {name: factor * stage.factors.get(name, 1.0) for name, factor in factors.items()},
            {name: mean_factor(shapes[name], start, minutes) * stage.mean_factors.get(name, 1.0) for name in factors},
        )
        for s, stage in enumerate(stages)
        for start, minutes, factors in parts
    ]


_Part = tuple[int, int, dict[str, float]]


def _cut(shapes: Mapping[str, Shape], fixed: set[int]) -> list[_Part]:
    """Parts of a day as (start, minutes, factors), none with a change inside."""
    cuts = set(fixed)
    for shape in shapes.values():
        at = 0
        for i, (minutes, factor) in enumerate(shape):
            if factor != shape[i - 1][1]:  # of the first part: the last one of the day before
                cuts.add(at)
            at += minutes
    starts = sorted(cuts) or [0]
    ends = [*starts[1:], starts[0] + DAY_MINUTES]
    return [
        (start, end - start, {name: factor_at(shape, start) for name, shape in shapes.items()})
        for start, end in zip(starts, ends, strict=True)
    ]


def _shortened(part: _Part) -> list[_Part]:
    """A part in equal pieces of at most `BATCH_MINUTES`."""
    start, minutes, factors = part
    n = math.ceil(minutes / BATCH_MINUTES)
    ends = [start + round(minutes * i / n) for i in range(n + 1)]
    return [(a % DAY_MINUTES, b - a, factors) for a, b in itertools.pairwise(ends)]


def _merged(parts: list[_Part], fixed: set[int], most: int) -> list[_Part]:
    while len(parts) > most:
        pairs = [(i, (i + 1) % len(parts)) for i in range(len(parts))]
        allowed = [(i, j) for i, j in pairs if parts[j][0] not in fixed]
        if not allowed:
            break
        i, j = min(allowed, key=lambda pair: (_added(parts[pair[0]], parts[pair[1]]), pair[0]))
        start, minutes, first = parts[i]
        merged = (start, minutes + parts[j][1], _highest(first, parts[j][2]))
        parts = [merged if n == i else part for n, part in enumerate(parts) if n != j]
    return parts


def _highest(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {name: max(factor, b[name]) for name, factor in a.items()}


def _added(a: _Part, b: _Part) -> float:
    """What merging adds to the factors of all workloads, times minutes."""
    top = _highest(a[2], b[2])
    return math.fsum((top[n] - a[2][n]) * a[1] + (top[n] - b[2][n]) * b[1] for n in top)


def periods_within(lot: Lot, periods: Sequence[Period], stage: int) -> list[int]:
    """Indices of the periods of a stage in which a lot may be served: those that lie wholly between arrival and due."""
    return [
        i
        for i, period in enumerate(periods)
        if period.stage == stage and (period.start - lot.minute) % DAY_MINUTES + period.minutes <= lot.window
    ]


def stages_of(
    horizon_months: float,
    stage_months: float,
    growth_per_month: Mapping[str, float],
    scenarios: Mapping[str, tuple[float, Mapping[str, float]]],
    deliveries: Iterable[float] = (),
    weekend: Mapping[str, float] | None = None,
    start: datetime.date | None = None,
) -> list[Stage]:
    """Stages of the horizon, in every scenario.

    Parameters
    ----------
    horizon_months, stage_months : float
        A stage is no longer than the second.
    growth_per_month : mapping of str to float
        Of each workload.
    scenarios : mapping of str to (float, mapping of str to float)
        Probability, and factor of each workload; empty for a single certain one.
    deliveries : iterable of float
        Months at which machines arrive: stages are cut there too.
    weekend : mapping of str to float, optional
        Demand of each workload on two days of seven over the other five; left out: all days are alike.
    start : date, optional
        First day of the horizon: stages are named by their dates.
    """
    cuts = {0.0, horizon_months}
    if any(growth_per_month.values()):  # else one day is like another
        cuts |= {n * stage_months for n in range(1, math.ceil(horizon_months / stage_months))}
    # A cut within an hour of another is the same: months of 730 h are no round number of days.
    cuts |= {m for m in deliveries if 0 < m < horizon_months and all(abs(m - c) * HOURS_PER_MONTH > 1 for c in cuts)}
    edges = sorted(cuts)
    found = []
    for name, (probability, factors) in (scenarios or {"": (1.0, {})}).items():
        for first, last in itertools.pairwise(edges):
            grown = {
                w: factors.get(w, 1.0) * (1.0 + g) ** max(math.ceil(last) - 1, 0) for w, g in growth_per_month.items()
            }
            mean = {w: factors.get(w, 1.0) * _mean_growth(g, first, last) for w, g in growth_per_month.items()}
            kinds = {"": (1.0, {})} if weekend is None else {"weekday": (5 / 7, {}), "weekend": (2 / 7, weekend)}
            for kind, (share, factor) in kinds.items():
                label = ", ".join(filter(None, (_months_name(first, last, len(edges) == 2, start), name, kind)))
                rates, means = ({w: f * factor.get(w, 1.0) for w, f in some.items()} for some in (grown, mean))
                found.append(Stage(label, first, last, probability * share, rates, means))
    return found


def _mean_growth(growth_per_month: float, first: float, last: float) -> float:
    """Mean of the factors (1 + g)^k of the months k from `first` to `last`, of which the first month is 0."""
    months = range(math.floor(first), math.ceil(last))
    parts = [(min(k + 1, last) - max(k, first), (1.0 + growth_per_month) ** k) for k in months]
    return math.fsum(part * factor for part, factor in parts) / (last - first)


def _months_name(first: float, last: float, alone: bool, start: datetime.date | None) -> str:
    if alone:
        return ""
    if start is not None:
        begin, end = (start + datetime.timedelta(hours=month * HOURS_PER_MONTH) for month in (first, last))
        return f"{begin.isoformat()} to {(end - datetime.timedelta(days=1)).isoformat()}"
    if first % 12 == 0 and last - first == 12:
        return f"year {int(first // 12) + 1}"
    if first % 1 == 0 and last % 1 == 0:
        return f"months {first + 1:g}-{last:g}" if last - first > 1 else f"month {last:g}"
    return f"days {round(first * DAYS_PER_MONTH) + 1}-{round(last * DAYS_PER_MONTH)}"
