"""Timestamps of a trace as seconds since its first request: their unit told by their name, the form or the data.

A column of plain numbers without a unit in its name can be seconds or milliseconds. What tells them apart is what the
reading makes of the file: how many requests a second, over how long. Where both readings could be, neither is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.units import format_time
from planner.workload.trace_cells import MISSING, TextCells

FloatArray = NDArray[np.float64]
PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Seconds since 1970 from 2001 on; no trace is older, and one that counts from its first request is not as long.
_EPOCH_S = (1e9, 1e10)
# Rates [requests/s] and spans [s] that a recorded trace has, and that one could have.
_LIKELY_RATE, _LIKELY_SPAN_S = (0.01, 300.0), 60.0
_POSSIBLE_RATE, _POSSIBLE_SPAN_S = (1e-5, 5000.0), 1.0
_FEWEST_TO_DIVIDE = 20  # numbers whose common divisor tells something
_DATE_TIME = re.compile(rb"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?")


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
    if cells.all_numbers:
        numbers = _checked(cells, column, where)
        epoch = _epoch_unit(numbers, cells, column, where) if unit is None else None
        unit = unit or epoch or _told_by_data(numbers, column, usual, form_tells, where, notes)
        if epoch is None and _epoch_unit_of(numbers[0]) == unit:
            epoch = unit
        seconds = (numbers - numbers.min()) / PER_S[unit]
        named, absolute = NAMES[unit], epoch is not None
    else:
        nanoseconds = _dates_ns(cells, column, where)
        # Whole nanoseconds are subtracted before they become floats, which would keep only 0.2 us of a date.
        seconds = (nanoseconds - nanoseconds.min()) / 1e9
        named, absolute = "dates", True
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
    notes.append(f"{falls.size:,} rows are before the one above them: sorted by {column}")
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


def _dates_ns(cells: TextCells, column: str, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Nanoseconds since 1970, UTC unless a row says another offset."""
    rows = cells.other_rows
    if rows.size < cells.numbers.size:
        numbers_first = not np.isnan(cells.numbers[0]) or rows[0] != 0
        row = int(rows[0]) if numbers_first else int(np.flatnonzero(~np.isin(np.arange(cells.numbers.size), rows))[0])
        if numbers_first:
            shown = cells.other(row)
            kind = "is missing" if shown is MISSING else "is empty" if shown in ("", None) else "is not a number"
            kind = "is not finite" if str(shown).strip().casefold() in ("nan", "inf", "-inf") else kind
        else:
            shown, kind = cells.shown(row), "is not a time"
        raise TraceError(
            f"{column} {kind}", where=where(row), value=repr(None if shown is MISSING else shown),
            rule=f"{'numbers' if numbers_first else 'dates and times'} as in the rows above it",
        )  # fmt: skip
    texts = cells.others
    fast = _fixed_dates_ns(texts) if texts.dtype.kind == "S" else None
    if fast is not None:
        return fast
    out = np.empty(rows.size, dtype=np.int64)
    zones: set[bool] = set()
    for row in range(rows.size):
        value = texts[row]
        raw = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else b""
        match = _DATE_TIME.fullmatch(raw.strip())
        if match is None or not _is_date(match[1]):
            raise _not_a_time(cells, column, row, where)
        moment = np.datetime64(match[1].decode().replace(",", "."), "ns")
        out[row] = moment.astype(np.int64) - _offset_ns(match[2])
        zones.add(match[2] is None)
        if len(zones) > 1:
            raise TraceError(
                f"{column} has a time zone in some rows and none in others", where=where(row), value=cells.shown(row),
                rule="all rows with an offset, or none", fix="write all of them in UTC",
            )  # fmt: skip
    return out


def _is_date(text: bytes) -> bool:
    try:
        np.datetime64(text.decode().replace(",", "."), "ns")
    except ValueError:
        return False
    return True


def _fixed_dates_ns(texts: NDArray[np.generic]) -> NDArray[np.int64] | None:
    """Dates of one plain form, `2023-11-16 18:17:03.9799600`, maybe with `Z` or `+00:00` behind them, all at once.

    None where one of them has another form; they are then read one by one.
    """
    width = texts.dtype.itemsize
    if width < 19:
        return None
    at = np.ascontiguousarray(texts).view(np.uint8).reshape(texts.size, width)

    def digits(first: int, last: int) -> NDArray[np.int64] | None:
        part = at[:, first:last]
        if ((part < 48) | (part > 57)).any():
            return None
        return (part.astype(np.int64) - 48) @ (10 ** np.arange(last - first - 1, -1, -1))

    separators = ((4, b"-"), (7, b"-"), (10, b" T"), (13, b":"), (16, b":"))
    if not all(np.isin(at[:, i], np.frombuffer(marks, dtype=np.uint8)).all() for i, marks in separators):
        return None
    parts = [digits(*span) for span in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
    if any(part is None for part in parts):
        return None
    year, month, day, hour, minute, second = (part for part in parts if part is not None)
    if not ((month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60) & (day >= 1)).all():
        return None
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days = first.astype("datetime64[D]") + (day - 1)
    if (days.astype("datetime64[M]") != first).any():
        return None
    fraction = np.zeros(texts.size, dtype=np.int64)
    n_digits = np.zeros(texts.size, dtype=np.int64)
    k = 19
    if width > 19:
        dotted = at[:, 19] == 46
        k = 20 if dotted.any() else 19
        going = dotted
        while k > 19 and k < width and going.any():
            going = going & (at[:, k] >= 48) & (at[:, k] <= 57)
            fraction = np.where(going, fraction * 10 + (at[:, k].astype(np.int64) - 48), fraction)
            n_digits += going
            k += 1
        if (n_digits > 9).any() or (dotted & (n_digits == 0)).any():
            return None
        length = np.where(dotted, 20 + n_digits, 19)
        # Behind the seconds: nothing, or UTC, and the same in every row.
        tail = {bytes(text[n:]).rstrip(b"\0") for text, n in zip(at[:64], length[:64], strict=False)}
        if len(tail) != 1 or (suffix := tail.pop()) not in (b"", b"Z", b"+00:00", b"+0000"):
            return None
        padded = np.concatenate([at, np.zeros((texts.size, 7), dtype=np.uint8)], axis=1)
        for i, mark in enumerate(suffix.ljust(7, b"\0")):
            if (padded[np.arange(texts.size), np.minimum(length + i, width + 6)] != mark).any():
                return None
    whole = days.astype(np.int64) * 86400 + hour * 3600 + minute * 60 + second
    return np.asarray(whole * 10**9 + fraction * 10 ** (9 - n_digits))


def _offset_ns(offset: bytes | None) -> int:
    if offset in (None, b"Z", b"UTC"):
        return 0
    digits = offset[1:].replace(b":", b"").ljust(4, b"0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-1 if offset[:1] == b"-" else 1) * minutes * 60 * 10**9


def _not_a_time(cells: TextCells, column: str, row: int, where: Callable[[int], str]) -> TraceError:
    shown = cells.shown(row)
    missing = shown is MISSING
    what = f"{column} is {'missing' if missing else 'empty' if shown in ('', None) else 'not a time'}"
    return TraceError(
        what, where=where(row), value=repr(None if missing else shown),
        rule="a number, or a date and time like 2023-11-16 18:17:03.9799600",
    )  # fmt: skip
