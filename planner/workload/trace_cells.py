"""Cells of a trace's columns: numbers as an array, and what is no number kept as it was written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]

_MOST_DIGITS = 18  # that an int64 holds
_WIDEST_TEXT = 64  # bytes of a cell that are kept: dates and names of states are shorter
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.0*)?")
MISSING = object()


@dataclass(frozen=True, eq=False)
class TextCells:
    """The cells of one column.

    Attributes
    ----------
    numbers : ndarray, shape (n,)
        NaN where a cell is not a plain number.
    other_rows : ndarray of int, shape (m,)
        Rows whose cells are not plain numbers, rising.
    others : ndarray, shape (m,)
        Those cells: bytes as a CSV has them, or the objects of JSON, `MISSING` where a record lacks the field.
    """

    numbers: FloatArray
    other_rows: NDArray[np.int64]
    others: NDArray[np.generic]

    @property
    def all_numbers(self) -> bool:
        """Whether every cell is a number, which may still not be finite."""
        return self.other_rows.size == 0

    def other(self, row: int) -> object:
        """The cell of a row that is no number: text or a JSON value."""
        found = self.others[int(np.searchsorted(self.other_rows, row))]
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else found

    def shown(self, row: int) -> object:
        """The cell of a row as a message shows it."""
        if not np.isnan(self.numbers[row]) or not (self.other_rows == row).any():
            number = float(self.numbers[row])
            return int(number) if number.is_integer() else number
        return self.other(row)

    def ungrouped(self) -> TextCells:
        """Whole numbers with commas between groups of three digits are numbers: `2,409`."""
        if not self.other_rows.size:
            return self
        read = [number_of(self.other(row), grouped=True) for row in self.other_rows.tolist()]
        one = np.array([number is not None for number in read])
        numbers = self.numbers.copy()
        numbers[self.other_rows[one]] = [number for number in read if number is not None]
        return TextCells(numbers, self.other_rows[~one], self.others[~one])

    def taken(self, kept: NDArray[np.bool_]) -> TextCells:
        """The cells of some rows."""
        chosen = kept[self.other_rows]
        new_row = np.cumsum(kept) - 1
        return TextCells(self.numbers[kept], new_row[self.other_rows[chosen]], self.others[chosen])


def joined(parts: Sequence[TextCells]) -> TextCells:
    """The cells of parts that follow each other."""
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(part.numbers.size for part in parts[:-1])])
    others = [part.others for part in parts if part.others.size]
    return TextCells(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.other_rows + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate(others) if others else parts[0].others,
    )


def cells_of_values(values: Sequence[object]) -> TextCells:
    """Cells of the values of JSON records."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        try:
            return TextCells(np.array(values, dtype=float), np.empty(0, dtype=np.int64), np.empty(0, dtype=object))
        except OverflowError:
            pass
    numbers = np.full(len(values), np.nan)
    rows: list[int] = []
    for row, value in enumerate(values):
        number = number_of(value)
        if number is None:
            rows.append(row)
        else:
            numbers[row] = number
    others = np.empty(len(rows), dtype=object)
    others[:] = [values[row] for row in rows]
    return TextCells(numbers, np.array(rows, dtype=np.int64), others)


def cells_of_texts(texts: Sequence[str]) -> TextCells:
    """Cells of the fields of a CSV that were read one by one."""
    numbers = np.full(len(texts), np.nan)
    rows: list[int] = []
    for row, text in enumerate(texts):
        number = number_of(text)
        if number is None:
            rows.append(row)
        else:
            numbers[row] = number
    others = np.array([texts[row].encode()[:_WIDEST_TEXT] for row in rows], dtype=f"S{_WIDEST_TEXT}")
    return TextCells(numbers, np.array(rows, dtype=np.int64), others)


def number_of(value: object, *, grouped: bool = False) -> float | None:
    """A number of JSON, or text that is a finite one; None for anything else, numbers too large included.

    With `grouped`, commas between groups of three digits are passed over, as spreadsheets write them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if not isinstance(value, str):
            return float(value)
        if grouped and _GROUPED.fullmatch(value.strip()):
            value = value.replace(",", "")
        number = float(value) if value.isascii() and "_" not in value else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def cells_of_fields(buffer: ByteArray, start: NDArray[np.int64], end: NDArray[np.int64]) -> TextCells:
    """Cells of the fields `buffer[start:end]` of a CSV, read all at once.

    Parameters
    ----------
    buffer : ndarray of uint8
        Text of some rows.
    start, end : ndarray of int, shape (n,)
        Where each field begins and ends.

    Notes
    -----
    A plain decimal of at most 18 digits is the quotient of two whole numbers, which is its nearest float where both
    are below 2^53; longer ones, and ones with an exponent, are read one by one.
    """
    width = end - start
    n, widest = start.size, int(width.max(initial=0))
    whole = np.zeros(n, dtype=np.int64)
    digits = np.zeros(n, dtype=np.int8)
    decimals = np.zeros(n, dtype=np.int8)
    dots = np.zeros(n, dtype=np.int8)
    plain = width > 0
    negative = np.zeros(n, dtype=bool)
    last = buffer.size - 1
    for k in range(min(widest, _MOST_DIGITS + 2)):
        here = k < width
        character = buffer[np.minimum(start + k, last)]
        digit = (character >= 48) & (character <= 57) & here
        dot = (character == 46) & here
        if k == 0:
            negative = (character == 45) & here
        plain &= digit | dot | ~here | (negative if k == 0 else False)
        whole = np.where(digit, whole * 10 + (character.astype(np.int64) - 48), whole)
        digits += digit
        decimals += digit & (dots > 0)
        dots += dot
    plain &= (width <= _MOST_DIGITS + 2) & (digits > 0) & (digits <= _MOST_DIGITS) & (dots <= 1)
    plain &= np.abs(whole) < 2**53
    numbers = np.where(plain, whole / np.power(10.0, decimals), np.nan)
    numbers = np.where(negative & plain, -numbers, numbers)
    rows = np.flatnonzero(~plain)
    if not rows.size:
        return TextCells(numbers, rows, np.empty(0, dtype="S1"))
    texts = texts_of_fields(buffer, start[rows], end[rows])
    if rows.size > n // 2 and not _any_number(texts):
        return TextCells(numbers, rows, texts)
    read = [number_of(text.decode("utf-8", "replace")) for text in texts.tolist()]
    one = np.array([number is not None for number in read])
    numbers[rows[one]] = [number for number in read if number is not None]
    return TextCells(numbers, rows[~one], texts[~one])


def _any_number(texts: NDArray[np.bytes_]) -> bool:
    """Whether one of a thousand of these texts is a number: a column of dates is not read one by one."""
    step = max(texts.size // 1000, 1)
    return any(number_of(text.decode("utf-8", "replace")) is not None for text in texts[::step].tolist())


def texts_of_fields(buffer: ByteArray, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """The fields as byte strings of one width, cut after 64 bytes."""
    widest = max(min(int((end - start).max(initial=1)), _WIDEST_TEXT), 1)
    out = np.zeros((start.size, widest), dtype=np.uint8)
    for k in range(widest):
        here = start + k < end
        out[here, k] = buffer[(start + k)[here]]
    return out.reshape(-1).view(f"S{widest}")
