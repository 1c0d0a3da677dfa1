"""What cannot be a measurement: wrong units, and times that the hardware's peaks forbid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.calibration.measurements import Measurements
from planner.calibration.problem import FitProblem, Row, describe
from planner.catalog.schema import Efficiency
from planner.errors import ScenarioError, TraceError
from planner.units import format_time

Floats = NDArray[np.float64]

FEWEST_ROWS = 6
SLACK = 0.97  # of the bound: datasheet peaks are rounded, and conflict by a few per cent
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
_EXPONENTS = {"s": 0, "ms": -3, "us": -6}


def check(problem: FitProblem, base: Efficiency) -> None:
    """Refuse rows that cannot be what they say.

    Raises
    ------
    ScenarioError
        Fewer rows than a fit needs.
    TraceError
        A column in another unit than its name says, or a row faster than the hardware's peak.
    """
    if len(problem.rows) < FEWEST_ROWS:
        raise ScenarioError(
            "too few measurements to fit and to hold some out",
            value=f"{len(problem.rows)} different rows of {problem.machine.name}",
            rule=f"at least {FEWEST_ROWS}",
            fix="measure more batch sizes and token counts, in both phases",
        )
    _check_units(problem, problem.predict_s(base))
    _check_bounds(problem, problem.bounds_s(base))


def _check_units(problem: FitProblem, predicted_s: Floats) -> None:
    """A column whose every value is off by about a thousand is in another unit."""
    columns = sorted({(row.source.partition(":")[0], row.column) for row in problem.rows})
    for file, column in columns:
        rows = [i for i, r in enumerate(problem.rows) if (r.source.partition(":")[0], r.column) == (file, column)]
        ratios = np.log10(problem.measured_s[rows] / predicted_s[rows])
        middle = float(np.median(ratios))
        power = 3 * round(middle / 3)
        if power == 0 or abs(middle - power) > 0.7:
            continue
        unit = column.rpartition("(")[2].rstrip(")").partition("/")[0]
        meant = next((u for u, e in _EXPONENTS.items() if e == _EXPONENTS.get(unit, 99) - power), None)
        row = problem.rows[rows[int(np.argsort(ratios)[len(rows) // 2])]]
        guess = f"{_NAMES.get(unit, unit)} but look like {_NAMES[meant]}" if meant else "another unit"
        raise TraceError(
            f"the values of {column.partition(' ')[0]} are read as {guess}",
            where=row.source.partition(" and ")[0],
            value=f"{describe(row)}, where about {format_time(_middle(predicted_s, rows, ratios))} is expected; all "
            f"{len(rows)} values are off by a factor of about {10.0**-middle:,.4g}",
            rule="a column's name says its unit",
            fix=f"multiply the column by {10.0**-power:,g}, or name it for the unit it is in",
        )


def _middle(predicted_s: Floats, rows: list[int], ratios: Floats) -> float:
    return float(predicted_s[rows[int(np.argsort(ratios)[len(rows) // 2])]])


def _check_bounds(problem: FitProblem, bounds_s: Floats) -> None:
    wrong = np.flatnonzero(problem.measured_s < SLACK * bounds_s)
    if wrong.size == 0:
        return
    worst = sorted(wrong, key=lambda i: problem.measured_s[i] / bounds_s[i])
    row = problem.rows[worst[0]]
    error = TraceError(
        "faster than the hardware's peak",
        where=row.source.partition(" and ")[0],
        value=describe(row),
        rule=f"{problem.accelerator.name} at its peak FLOP/s and memory bandwidth takes at least "
        f"{format_time(float(bounds_s[worst[0]]))}",
        fix="check the unit, the tensor degree, the precision and the machine; --set-aside-impossible leaves it out",
    )
    error.also = [_one_line(problem.rows[i], float(bounds_s[i])) for i in worst[1:6]]
    if wrong.size > 6:
        error.also.append(f"and {wrong.size - 6} more")
    raise error


def without_impossible(measurements: Measurements, problem: FitProblem, base: Efficiency) -> Measurements:
    """The measurements less those faster than the hardware's peak, which a note counts; the same if none is.

    A whole column in another unit is refused as ever, before any row is left out for it.
    """
    _check_units(problem, problem.predict_s(base))
    wrong = np.flatnonzero(problem.measured_s < SLACK * problem.bounds_s(base))
    if wrong.size == 0:
        return measurements
    sources = {problem.rows[i].source.partition(" and ")[0] for i in wrong}
    some = ", ".join(sorted(sources)[:3]) + (", ..." if len(sources) > 3 else "")
    return replace(
        measurements,
        steps=tuple(m for m in measurements.steps if m.setup.source not in sources),
        servings=tuple(m for m in measurements.servings if m.setup.source not in sources),
        kernels=tuple(m for m in measurements.kernels if m.setup.source not in sources),
        notes=(*measurements.notes, f"{wrong.size} of {len(problem.rows)} rows set aside, faster than the peak of "
               f"{problem.accelerator.name} allows: {some}"),
    )  # fmt: skip


def _one_line(row: Row, bound_s: float) -> str:
    return f"{row.source}: {describe(row)}, at least {format_time(bound_s)}"
