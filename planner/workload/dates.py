"""Dates and times of a trace as nanoseconds, in the forms in which logs write them.

The form is told by the column as a whole. Day and month are told apart by a number above 12 in any row, else by their
separator, else the file is refused with both readings. A time zone counts as an offset from UTC; a zone that has only
a name, the same in every row, shifts all alike and is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.workload.trace_cells import MISSING, TextCells

IntArray = NDArray[np.int64]
_SECOND, _DAY_S = 10**9, 86_400
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?"
_MONTH = rf"(?P<name>{'|'.join(_MONTHS)})[a-z]*\.?"
_TIME = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?)?(?: ?(?P<half>[ap])\.?m\.?)?"
_ZONE = r" ?(?P<zone>z|[+-]\d\d(?::?\d\d)?|[a-z]{2,5}|)(?:\[[a-z0-9_/+-]+\])?"
# Year first, as ISO 8601; all digits; `30/Mar/2025:18:17:03 +0000` of web servers and `Sun, 30 Mar 2025` of mail;
# `Mar 30, 2025`; `Sun Mar 30 18:17:03 2025` of C; `03/30/2025`; a time of day alone.
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)(?:t|,? +){_TIME}{_ZONE}",
        rf"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)[t _-]?(?P<hour>\d\d):?(?P<minute>\d\d):?(?P<second>\d\d)"
        rf"(?:[.,](?P<part>\d{{1,9}}))?{_ZONE}",
        rf"{_WEEKDAY}(?P<day>\d\d?)[ /.-]+{_MONTH}[ /-]+(?P<year>\d{{4}})(?::|t|,? +){_TIME}{_ZONE}",
        rf"{_WEEKDAY}{_MONTH} +(?P<day>\d\d?),? +(?P<year>\d{{4}}),? +{_TIME}{_ZONE}",
        rf"{_WEEKDAY}{_MONTH} +(?P<day>\d\d?) +{_TIME}(?: +(?P<zone>[a-z]{{2,5}}))? +(?P<year>\d{{4}})",
        rf"(?P<one>\d\d?)(?P<mark>[-/.])(?P<other>\d\d?)(?P=mark)(?P<year>\d{{4}}|\d\d),? +{_TIME}{_ZONE}",
        rf"{_TIME}{_ZONE}",
    )
)
_UTC = ("z", "utc", "gmt")


@dataclass(frozen=True, eq=False)
class Dates:
    """Moments of a column.

    Attributes
    ----------
    nanoseconds : ndarray of int, shape (n,)
        Since 1970, or since midnight of the first day where rows have a time of day alone [ns].
    zoned : bool
        Whether rows tell their offset from UTC.
    notes : tuple of str
    """

    nanoseconds: IntArray
    zoned: bool
    notes: tuple[str, ...] = ()


def dates_ns(cells: TextCells, column: str, where: Callable[[int], str]) -> Dates:
    """Read a column of dates and times.

    Raises
    ------
    TraceError
        Numbers mixed with dates, what is no date or another form than the row above it, days and months that cannot be
        told apart, time zones that only some rows have.
    """
    rows = cells.other_rows
    if rows.size < cells.numbers.size:
        raise _mixed(cells, column, where)
    texts = cells.others
    fast = _fixed_dates_ns(texts) if texts.dtype.kind == "S" else None
    if fast is not None:
        return Dates(*fast)
    plain = [_text(value) for value in texts.tolist()]
    form = next((form for form in _FORMS if form.fullmatch(plain[0])), None)
    if form is None:
        raise _not_a_time(cells, column, 0, where)
    found = []
    for row, text in enumerate(plain):
        match = form.fullmatch(text)
        if match is None:
            raise _not_a_time(cells, column, row, where)
        found.append(match.groupdict())
    return _read(found, cells, column, where)


def numbers_as_dates(numbers: NDArray[np.float64]) -> IntArray | None:
    """Nanoseconds of numbers that are all dates written in 14 digits, `20231116181703`; None where one is not."""
    if not ((numbers >= 19e12) & (numbers < 21e12) & (numbers == np.floor(numbers))).all():
        return None
    left, parts = numbers.astype(np.int64), []
    for size in (100, 100, 100, 100, 100):
        left, part = np.divmod(left, size)
        parts.append(part)
    second, minute, hour, day, month = parts
    seconds, bad = _seconds_of(left, month, day, hour, minute, second)
    return None if bad.any() else seconds * _SECOND


def _read(found: list[dict[str, str | None]], cells: TextCells, column: str, where: Callable[[int], str]) -> Dates:
    def column_of(field: str) -> IntArray:
        return np.array([int(parts.get(field) or 0) for parts in found], dtype=np.int64)

    hour = column_of("hour")
    halves = [parts.get("half") for parts in found]
    if any(halves):
        wrong = np.array([half is None for half in halves]) | (hour < 1) | (hour > 12)
        if wrong.any():
            raise _not_a_time(cells, column, int(np.argmax(wrong)), where)
        hour = hour % 12 + 12 * np.array([half in ("p", "P") for half in halves])
    fraction = np.array([int((parts.get("part") or "").ljust(9, "0")) for parts in found], dtype=np.int64)
    offset, zoned, notes = _offsets(found, cells, column, where)
    minute, second = column_of("minute"), column_of("second")
    if "year" not in found[0]:
        bad = (hour > 23) | (minute > 59) | (second > 59)
        seconds = hour * 3600 + minute * 60 + second
        if not bad.any():
            seconds = _over_midnights(seconds, cells, column, where)
            notes.append(f"{column} has times of day and no dates: each midnight passed begins the next day")
    else:
        year = column_of("year")
        year = np.where(year < 100, year + 2000, year)
        if "one" in found[0]:
            day, month = _day_and_month(found, column_of("one"), column_of("other"), column, where)
        elif "name" in found[0]:
            day = column_of("day")
            month = np.array([1 + _MONTHS.index((parts["name"] or "").casefold()[:3]) for parts in found])
        else:
            day, month = column_of("day"), column_of("month")
        seconds, bad = _seconds_of(year, month, day, hour, minute, second)
    if bad.any():
        raise _not_a_time(cells, column, int(np.argmax(bad)), where)
    return Dates((seconds - offset) * _SECOND + fraction, zoned, tuple(notes))


def _seconds_of(
    year: IntArray, month: IntArray, day: IntArray, hour: IntArray, minute: IntArray, second: IntArray
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Seconds since 1970, and which rows are no date of the calendar or no time of a day."""
    bad = (month < 1) | (month > 12) | (day < 1) | (hour > 23) | (minute > 59) | (second > 59)
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days = first.astype("datetime64[D]") + (day - 1)
    bad |= days.astype("datetime64[M]") != first
    return days.astype(np.int64) * _DAY_S + hour * 3600 + minute * 60 + second, bad


def _day_and_month(
    found: list[dict[str, str | None]], one: IntArray, other: IntArray, column: str, where: Callable[[int], str]
) -> tuple[IntArray, IntArray]:
    """Of `03/04/2025`: a number above 12 in any row is a day; points stand behind days."""
    if (one > 12).any() or found[0]["mark"] == ".":
        return one, other
    if (other > 12).any():
        return other, one
    if (one == one[0]).all() and (other == other[0]).all():
        return one, other  # one day, whichever it is
    raise TraceError(
        f"days and months of {column} cannot be told apart", where=where(0),
        value=f"{one[0]}/{other[0]} to {one[-1]}/{other[-1]}, and no number above 12",
        rule="dates that can be read in one way", fix="write the year first, as 2023-11-16 18:17:03",
    )  # fmt: skip


def _over_midnights(seconds: IntArray, cells: TextCells, column: str, where: Callable[[int], str]) -> IntArray:
    falls = np.flatnonzero(np.diff(seconds) < 0)
    small = falls[np.diff(seconds)[falls] > -_DAY_S // 2]
    if small.size:
        row = int(small[0]) + 1
        raise TraceError(
            f"{column} has times of day alone, which fall from {cells.shown(row - 1)} to {cells.shown(row)}",
            where=where(row), value=cells.shown(row),
            rule="times of day in order of arrival, falling at midnight alone",
            fix=f"write dates with them, or sort the file by {column}",
        )  # fmt: skip
    return seconds + _DAY_S * np.searchsorted(falls, np.arange(seconds.size), side="left")


def _offsets(
    found: list[dict[str, str | None]], cells: TextCells, column: str, where: Callable[[int], str]
) -> tuple[IntArray, bool, list[str]]:
    """Offsets from UTC [s], whether rows have them, and notes."""
    zones = [(parts.get("zone") or "").casefold() for parts in found]
    kinds = dict.fromkeys(zones)
    if "" in kinds and len(kinds) > 1:
        row = next(row for row, zone in enumerate(zones) if (zone == "") != (zones[0] == ""))
        raise TraceError(
            f"{column} has a time zone in some rows and none in others", where=where(row), value=cells.shown(row),
            rule="all rows with an offset, or none", fix="write all of them in UTC",
        )  # fmt: skip
    named = [zone for zone in kinds if zone.isalpha() and zone not in _UTC]
    if named and len(kinds) > 1:
        row = zones.index(named[0] if zones[0] != named[0] else next(z for z in kinds if z != zones[0]))
        raise TraceError(
            f"{column} has time zones by name, and more than one", where=where(row), value=cells.shown(row),
            rule="offsets such as +01:00, which names do not tell for sure", fix="write all times in UTC",
        )  # fmt: skip
    offset = {zone: 0 if named else _offset_s(zone) for zone in kinds}
    notes = [f"{column} is in {named[0].upper()} in every row; its offset from UTC does not matter"] if named else []
    return np.array([offset[zone] for zone in zones], dtype=np.int64), zones[0] != "" and not named, notes


def _offset_s(zone: str) -> int:
    if zone in ("", *_UTC):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (-1 if zone[0] == "-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    text = re.sub(r"\s+", " ", value.strip())
    # Web servers put brackets around.
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _mixed(cells: TextCells, column: str, where: Callable[[int], str]) -> TraceError:
    rows = cells.other_rows
    numbers_first = not np.isnan(cells.numbers[0]) or rows[0] != 0
    row = int(rows[0]) if numbers_first else int(np.flatnonzero(~np.isin(np.arange(cells.numbers.size), rows))[0])
    if numbers_first:
        shown = cells.other(row)
        kind = "is missing" if shown is MISSING else "is empty" if shown in ("", None) else "is not a number"
        kind = "is not finite" if str(shown).strip().casefold() in ("nan", "inf", "-inf") else kind
    else:
        shown, kind = cells.shown(row), "is not a time"
    return TraceError(
        f"{column} {kind}", where=where(row), value=repr(None if shown is MISSING else shown),
        rule=f"{'numbers' if numbers_first else 'dates and times'} as in the rows above it",
    )  # fmt: skip


def _fixed_dates_ns(texts: NDArray[np.generic]) -> tuple[IntArray, bool] | None:
    """Dates of one plain form, `2023-11-16 18:17:03.9799600`, maybe with `Z` or `+00:00` behind them, all at once.

    Beside them whether they tell their offset. None where one of them has another form; they are then read one by one.
    """
    width = texts.dtype.itemsize
    if width < 19:
        return None
    at = np.ascontiguousarray(texts).view(np.uint8).reshape(texts.size, width)

    def digits(first: int, last: int) -> IntArray | None:
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
    whole, bad = _seconds_of(year, month, day, hour, minute, second)
    if bad.any():
        return None
    fraction = np.zeros(texts.size, dtype=np.int64)
    n_digits = np.zeros(texts.size, dtype=np.int64)
    k, suffix = 19, b""
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
    return np.asarray(whole * _SECOND + fraction * 10 ** (9 - n_digits)), suffix != b""


def _not_a_time(cells: TextCells, column: str, row: int, where: Callable[[int], str]) -> TraceError:
    shown = cells.shown(row)
    missing = shown is MISSING
    what = f"{column} is {'missing' if missing else 'empty' if shown in ('', None) else 'not a time'}"
    return TraceError(
        what, where=where(row), value=repr(None if missing else shown),
        rule="a number, or a date and time like 2023-11-16 18:17:03.9799600, in one form in all rows",
    )  # fmt: skip
