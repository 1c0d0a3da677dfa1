"""A CSV of requests: its header, and its columns taken out a few megabytes at a time.

Rows are taken apart all at once where they are plain; quotes, empty lines and faults are read row by row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.workload.trace_cells import TextCells, cells_of_fields, cells_of_texts
from planner.workload.trace_text import ByteProgress, byte_blocks, decoded

_SAMPLE = 200  # rows that are looked at before columns are chosen
_ROWS_AT_ONCE = 50_000
_NONE = np.empty((0, 0), dtype=np.int64)


@dataclass(frozen=True)
class CsvHead:
    """The beginning of a CSV: names of its columns, first rows, line of the header, and what separates fields."""

    path: Path
    columns: tuple[str, ...]
    sample: list[dict[str, object]]
    line: int
    delimiter: str


@dataclass(frozen=True, eq=False)
class CsvBlock:
    """Some rows: as text with the places of its fields, or row by row; `lines` are their line numbers."""

    lines: NDArray[np.int64]
    buffer: NDArray[np.uint8] | None
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    rows: list[list[str]]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.lines.size)

    def cells(self, column: int) -> TextCells:
        """The cells of a column."""
        if self.buffer is None:
            return cells_of_texts([row[column].strip() for row in self.rows])
        return cells_of_fields(self.buffer, self.start[:, column], self.end[:, column])


def open_csv(path: Path, first: str) -> CsvHead:
    """Read the header and the first rows.

    Raises
    ------
    TraceError
        A column that is there twice, or lines that end in carriage returns.
    """
    head = next(line for line in first.splitlines() if line.strip())
    delimiter = max(",;\t|", key=head.count)
    if "\r" in first.strip() and "\n" not in first:
        raise TraceError(
            "lines end in carriage returns alone", where=f"{path}:1", rule="line feeds at the ends of lines",
            fix=f"tr '\\r' '\\n' < {path.name} > fixed.csv",
        )  # fmt: skip
    reader = csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    sample: list[dict[str, object]] = []
    try:
        for row in reader:
            if row and not columns:
                columns, line = [name.strip() for name in row], reader.line_num
            elif row:
                sample.append(dict(zip(columns, row, strict=False)))
            if len(sample) >= _SAMPLE:
                break
    except csv.Error:
        pass  # said with its line when the rows are read
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise TraceError(f"column {twice[0]!r} is there twice", where=f"{path}:{line}", rule="column names differ")
    return CsvHead(path, tuple(columns), sample, line, delimiter)


def csv_blocks(head: CsvHead, progress: ByteProgress | None) -> Iterator[CsvBlock]:
    """All rows below the header, in order.

    Raises
    ------
    TraceError
        A row with another number of fields than the header, quotes that do not close, text that is not UTF-8.
    """
    blocks = byte_blocks(head.path, progress)
    for data, line, last in blocks:
        if not data.isascii():
            decoded(data, head.path, line)
        skipped = 0
        for _ in range(head.line - line + 1):
            skipped = data.find(b"\n", skipped) + 1 or len(data)
        line = max(line, head.line + 1)
        rows = data[skipped:]
        if not rows.strip():
            continue
        quoted = b'"' in rows
        block = None if quoted else _fields(rows, line, len(head.columns), head.delimiter)
        if block is not None:
            yield block
        elif quoted:  # a field may reach over the end of what was read
            yield from _row_by_row(head, _all(rows, blocks), line, ends=True)
        else:
            yield from _row_by_row(head, iter([rows]), line, ends=last)


def _all(first: bytes, blocks: Iterator[tuple[bytes, int, bool]]) -> Iterator[bytes]:
    yield first
    for data, _, _ in blocks:
        yield data


def _fields(rows: bytes, line: int, width: int, delimiter: str) -> CsvBlock | None:
    """The places of all fields at once; None where a row is empty or has another number of fields."""
    if b"\r" in rows:
        rows = rows.replace(b"\r\n", b"\n")
        if b"\r" in rows:
            return None
    buffer = np.frombuffer(rows, dtype=np.uint8)
    ends = np.flatnonzero(buffer == 10)
    if not rows.endswith(b"\n"):
        ends = np.append(ends, buffer.size)
    starts = np.concatenate(([0], ends[:-1] + 1))
    marks = np.flatnonzero(buffer == ord(delimiter))
    if marks.size != ends.size * (width - 1) or (ends == starts).any():
        return None
    # Rows of separators alone, as spreadsheets leave them below their data, are empty.
    if width > 1 and ((ends - starts == width - 1) & (buffer[starts] == ord(delimiter))).any():
        return None
    places = marks.reshape(ends.size, width - 1)
    if width > 1 and ((places[:, 0] < starts) | (places[:, -1] >= ends)).any():
        return None
    start, end = np.column_stack((starts, places + 1)), np.column_stack((places, ends))
    return CsvBlock(np.arange(line, line + ends.size), buffer, start, end, [])


def _row_by_row(head: CsvHead, pieces: Iterator[bytes], line: int, *, ends: bool) -> Iterator[CsvBlock]:
    def lines() -> Iterator[str]:
        for piece in pieces:
            yield from io.StringIO(decoded(piece, head.path, line), newline="")

    reader = csv.reader(lines(), delimiter=head.delimiter, strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        for row in reader:
            if not row or (len(row) == len(head.columns) > 1 and not any(cell.strip() for cell in row)):
                continue
            at = line + reader.line_num - 1
            if len(row) != len(head.columns):
                raise _wrong_width(head, row, at, last=ends and next(reader, None) is None)
            rows.append(row)
            numbers.append(at)
            if len(rows) >= _ROWS_AT_ONCE:
                yield CsvBlock(np.array(numbers, dtype=np.int64), None, _NONE, _NONE, rows)
                rows, numbers = [], []
    except csv.Error as error:
        cut = "unexpected end" in str(error)
        raise TraceError(
            "not a CSV row", where=f"{head.path}:{line + reader.line_num - 1}", value=str(error),
            fix="the file ends inside quotes: was it cut short?" if cut else "correct the row",
        ) from None  # fmt: skip
    if rows:
        yield CsvBlock(np.array(numbers, dtype=np.int64), None, _NONE, _NONE, rows)


def _wrong_width(head: CsvHead, row: list[str], line: int, *, last: bool) -> TraceError:
    return TraceError(
        f"{len(row)} {'field' if len(row) == 1 else 'fields'} where the header has {len(head.columns)}",
        where=f"{head.path}:{line}", value=head.delimiter.join(row),
        rule="as many fields in every row as in the header",
        fix="the file ends in this row: was it cut short?" if last else "correct the row",
    )  # fmt: skip
