"""Timestamps of a trace as seconds since its first request: their unit told by their name, the form or the data.

A column of plain numbers without a unit in its name can be seconds or milliseconds. What tells them apart is what the
reading makes of the file: how many requests a second, over how long. Where both readings could be, neither is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.units import format_time
from planner.workload.dates import dates_ns, numbers_as_dates
from planner.workload.trace_cells import TextCells

FloatArray = NDArray[np.float64]
PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Seconds since 1970 from 2001 on; no trace is older, and one that counts from its first request is not as long.
_EPOCH_S = (1e9, 1e10)
# Rates [requests/s] and spans [s] that a recorded trace has, and that one could have.
_LIKELY_RATE, _LIKELY_SPAN_S = (0.01, 300.0), 60.0
_POSSIBLE_RATE, _POSSIBLE_SPAN_S = (1e-5, 5000.0), 1.0
# Falls of local times where clocks are set back an hour, less the gap between two requests; and how many of them.
_CLOCK_BACK_S, _CLOCK_CHANGES = (1800.0, 3600.0), 2
_FEWEST_TO_DIVIDE = 20  # numbers whose common divisor tells something


@dataclass(frozen=True)
class ArrivalTimes:
    """When requests came.

    Attributes
    ----------
    arrival_s : ndarray, shape (n,)
        After the first of them, rising; in the order of `order` [s].
    order : ndarray of int, or None
        Rows in order of arrival; None: as they are in the file.
    unit : str
        `seconds`, `dates`, ...
    notes : tuple of str
    """

    arrival_s: FloatArray
    order: NDArray[np.int64] | None
    unit: str
    notes: tuple[str, ...]


def arrivals_of(
    cells: TextCells,
    column: str,
    unit: str | None,
    *,
    usual: str = "s",
    form_tells: bool = False,
    any_order: bool = False,
    where: Callable[[int], str],
) -> ArrivalTimes:
    """Read a column of timestamps.

    Parameters
    ----------
    cells : Cells
    column : str
        Its name, for messages.
    unit : {"s", "ms", "us", "ns"}, optional
        Told by the name of the column or by the form; left out: the data tell it.
    usual : str
        The unit that the form usually has, where the data do not tell it apart.
    form_tells : bool
        Whether `usual` is then taken; else the file is refused as ambiguous.
    any_order : bool
        Whether rows may be in another order than that of arrival.
    where : callable
        `file:line` of a row.

    Raises
    ------
    TraceError
        Not times, numbers mixed with dates or units with each other, an ambiguous unit (with both readings), negative
        or falling ones.
    """
    notes: list[str] = []
    zoned = True
    written = numbers_as_dates(cells.numbers) if cells.all_numbers and unit is None else None
    if written is not None:
        seconds, named, absolute, zoned = (written - written.min()) / 1e9, "dates", True, False
    elif cells.all_numbers:
        numbers = _checked(cells, column, where)
        epoch = _epoch_unit(numbers, cells, column, where) if unit is None else None
        unit = unit or epoch or _told_by_data(numbers, column, usual, form_tells, where, notes)
        if epoch is None and _epoch_unit_of(numbers[0]) == unit:
            epoch = unit
        seconds = (numbers - numbers.min()) / PER_S[unit]
        named, absolute = NAMES[unit], epoch is not None
    else:
        dates = dates_ns(cells, column, where)
        # Whole nanoseconds are subtracted before they become floats, which would keep only 0.2 us of a date.
        seconds = (dates.nanoseconds - dates.nanoseconds.min()) / 1e9
        named, absolute, zoned = "dates", True, dates.zoned
        notes += dates.notes
    falls = np.flatnonzero(np.diff(seconds) < 0)
    if not falls.size:
        return ArrivalTimes(seconds, None, named, tuple(notes))
    if not (any_order or absolute):
        row = int(falls[0]) + 1
        raise TraceError(
            f"{column} falls from {cells.shown(row - 1)} to {cells.shown(row)}", where=where(row),
            value=cells.shown(row), rule="timestamps that count from the beginning of a trace must not decrease",
            fix=f"sort the file by {column}; traces put together need times that go on",
        )  # fmt: skip
    order = np.argsort(seconds, kind="stable")
    are = "row is before the one above it" if falls.size == 1 else "rows are before the one above them"
    notes.append(f"{falls.size:,} {are}: sorted by {column}")
    back_s = float(-np.diff(seconds)[falls].min())
    if not zoned and falls.size <= _CLOCK_CHANGES and _CLOCK_BACK_S[0] <= back_s <= _CLOCK_BACK_S[1]:
        notes.append(
            f"{column} falls by {format_time(back_s)} without time zones: if clocks were set back there, two hours are "
            "now on top of each other (write times in UTC)"
        )
    return ArrivalTimes(seconds[order], order, named, tuple(notes))


def _checked(cells: TextCells, column: str, where: Callable[[int], str]) -> FloatArray:
    numbers = cells.numbers
    for bad, what, rule, fix in (
        (~np.isfinite(numbers), "is not finite", "a number", None),
        (numbers < 0, "is negative", "timestamps are at least 0", "shift them all, so that the first is 0"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise TraceError(f"{column} {what}", where=where(row), value=cells.shown(row), rule=rule, fix=fix)
    return numbers


def _epoch_unit_of(value: float) -> str | None:
    """The unit in which a number is a time since 1970; None where it is none in any."""
    return next((u for u, per_s in PER_S.items() if _EPOCH_S[0] <= value / per_s < _EPOCH_S[1]), None)


def _epoch_unit(numbers: FloatArray, cells: TextCells, column: str, where: Callable[[int], str]) -> str | None:
    unit = _epoch_unit_of(float(numbers[0]))
    if unit is None:
        return None
    scaled = numbers / PER_S[unit]
    other = (scaled < _EPOCH_S[0]) | (scaled >= _EPOCH_S[1])
    if other.any():
        row = int(np.argmax(other))
        theirs = _epoch_unit_of(float(numbers[row]))
        raise TraceError(
            f"{column} has two units: {NAMES[unit]} since 1970 first, and here {NAMES[theirs] if theirs else 'none'}",
            where=where(row), value=cells.shown(row), rule="one unit in one column",
            fix="write all timestamps in one unit",
        )  # fmt: skip
    return unit


def _told_by_data(
    numbers: FloatArray, column: str, usual: str, form_tells: bool, where: Callable[[int], str], notes: list[str]
) -> str:
    """Seconds or milliseconds, by what either reading makes of the file."""
    span, n = float(numbers.max() - numbers.min()), numbers.size
    if span == 0:
        return usual
    likely = {unit: _likelihood((n - 1) / span * PER_S[unit], span / PER_S[unit]) for unit in ("s", "ms")}
    told = _told_by_divisor(numbers)
    if told is None and min(likely.values()) == 0 < max(likely.values()):
        told = max(likely, key=likely.__getitem__)
    if told is None and likely[usual] > likely["ms" if usual == "s" else "s"]:
        told = usual
    if told is None and form_tells and likely["s"] != likely["ms"]:
        told = max(likely, key=likely.__getitem__)
    if told is None and (form_tells or (max(likely.values()) == 0 and span < 1e12)):
        told = usual
    if told is None and (numbers != np.floor(numbers)).any():
        told = "s"
    if told is not None:
        if (told, usual) != ("s", "s"):
            notes.append(f"{column} is read as {reading(told, n, span)}")
        return told
    raise TraceError(
        f"the unit of {column} is ambiguous", where=where(0),
        value=" or ".join(reading(unit, n, span) for unit in ("s", "ms")),
        fix=f"say which: --columns timestamp_s={column} or timestamp_ms={column} (or _us, _ns)",
    )  # fmt: skip


def _told_by_divisor(numbers: FloatArray) -> str | None:
    """Whole seconds written in milliseconds are multiples of 1,000, whole minutes in seconds of 60."""
    if numbers.size < _FEWEST_TO_DIVIDE or (numbers != np.floor(numbers)).any():
        return None
    divisor = int(np.gcd.reduce((numbers - numbers.min()).astype(np.int64)))
    return "ms" if divisor and divisor % 1000 == 0 else "s" if divisor and divisor % 60 == 0 else None


def _likelihood(rate_per_s: float, span_s: float) -> int:
    if _LIKELY_RATE[0] <= rate_per_s <= _LIKELY_RATE[1] and span_s >= _LIKELY_SPAN_S:
        return 2
    return int(_POSSIBLE_RATE[0] <= rate_per_s <= _POSSIBLE_RATE[1] and span_s >= _POSSIBLE_SPAN_S)


def reading(unit: str, n: int, span: float) -> str:
    """What a unit makes of a file: `milliseconds (3.4 requests/s over 59.0 min)`."""
    return f"{NAMES[unit]} ({(n - 1) / span * PER_S[unit]:,.3g} requests/s over {format_time(span / PER_S[unit])})"
