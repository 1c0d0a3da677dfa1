"""A CSV or JSONL file, maybe gzipped, as named columns of raw values with their line numbers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import TraceError, near_misses

EXTENSIONS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")


@dataclass(frozen=True, eq=False)
class RawTable:
    """Rows as read. `rows` are lists of strings (CSV) or dicts (JSONL); `lines` are their 1-based line numbers."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[Any]
    lines: Sequence[int]
    header_line: int

    def where(self, row: int) -> str:
        """Return `file:line` of a row."""
        return f"{self.path}:{self.lines[row]}"

    def values(self, column: str) -> list[object]:
        """Return the raw values of one column.

        Raises
        ------
        TraceError
            A JSONL object that lacks it.
        """
        key: Any = self.columns.index(column) if isinstance(self.rows[0], list) else column
        try:
            return [row[key] for row in self.rows]
        except KeyError:
            row = next(i for i, record in enumerate(self.rows) if column not in record)
            raise TraceError(
                f"field {column!r} is missing", where=self.where(row), rule="every object has the fields of the first"
            ) from None


def read_table(path: Path) -> RawTable:
    """Read a whole trace file.

    Parameters
    ----------
    path : Path
        A .csv or .jsonl file, or either with .gz behind it. UTF-8, with or without a byte order mark.

    Raises
    ------
    TraceError
        No such file, not a file, unknown extension, unreadable, not UTF-8, empty, header only, a row with another
        number of fields than the header, a line that is not a JSON object.
    """
    kind = next((e for e in EXTENSIONS if path.name.casefold().endswith(e)), None)
    if not path.exists():
        raise TraceError("trace file not found", where=str(path), suggestions=_neighbours(path), fix="check the path")
    if not path.is_file():
        raise TraceError("not a file", where=str(path), rule="a trace is one CSV or JSONL file")
    if kind is None:
        raise TraceError(
            f"unknown trace file extension {path.suffix!r}", where=str(path), rule=f"one of {', '.join(EXTENSIONS)}",
            fix="export the trace as CSV with a header line, or as JSONL, one object a line",
        )  # fmt: skip
    text = _decoded(_bytes(path, gzipped=kind.endswith(".gz")), path)
    if not text.strip():
        raise TraceError("the trace file is empty", where=f"{path}:1", rule="a header line and at least one request")
    return _csv(path, text) if kind.startswith(".csv") else _jsonl(path, text)


def _neighbours(path: Path) -> list[str]:
    try:
        names = [p.name for p in path.parent.iterdir() if p.name.casefold().endswith(EXTENSIONS)]
    except OSError:
        return []
    return near_misses(path.name, names)


def _bytes(path: Path, *, gzipped: bool) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError("the trace file cannot be read", where=str(path), value=error.strerror) from None
    if not gzipped:
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(
            "the trace file is not a whole gzip file", where=str(path), value=str(error),
            fix="fetch or compress it again",
        )  from None  # fmt: skip


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise TraceError(
            "the trace file is not UTF-8 text", where=f"{path}:{line}", value=f"byte 0x{data[error.start]:02x}",
            rule="UTF-8", fix="it looks like UTF-16: save it as UTF-8" if utf16 else "save it as UTF-8",
        ) from None  # fmt: skip


def _csv(path: Path, text: str) -> RawTable:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        ends = "unexpected end" in str(error)
        raise TraceError(
            "not a CSV row", where=f"{path}:{reader.line_num}", value=str(error),
            fix="the file ends inside quotes: was it cut short?" if ends else "correct the row",
        ) from None  # fmt: skip
    columns = [name.strip() for name in rows.pop(0)]
    header_line = lines.pop(0)
    where = f"{path}:{header_line}"
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise TraceError(f"column {twice[0]!r} is there twice", where=where, rule="column names differ")
    if not rows:
        raise TraceError("the trace has a header and no requests", where=where, rule="at least one request")
    table = RawTable(path, columns, rows, lines, header_line)
    if set(map(len, rows)) != {len(columns)}:
        first = next(i for i, row in enumerate(rows) if len(row) != len(columns))
        raise TraceError(
            f"{_counted(len(rows[first]), 'field')} where the header has {len(columns)}", where=table.where(first),
            value=",".join(rows[first]), rule="as many fields in every row as in the header",
            fix="the file ends in this row: was it cut short?" if first == len(rows) - 1 else "correct the row",
        )  # fmt: skip
    return table


def _jsonl(path: Path, text: str) -> RawTable:
    rows: list[dict[str, object]] = []
    lines: list[int] = []
    # Not splitlines(): it also breaks at characters that JSON allows inside a string.
    source = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]
    for number, line in source:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            cut = number > 1 and number == source[-1][0]
            raise TraceError(
                "not a JSON object", where=f"{path}:{number}", value=f"{_shortened(line)} ({error})",
                rule="one JSON object a line",
                fix="the file ends in this line: was it cut short?" if cut else "write one object a line",
            ) from None  # fmt: skip
        if not isinstance(record, dict):
            raise TraceError(
                "not a JSON object", where=f"{path}:{number}", value=_shortened(line), rule="one JSON object a line"
            )
        rows.append(record)
        lines.append(number)
    return RawTable(path, list(rows[0]), rows, lines, lines[0])


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _shortened(text: str, n: int = 60) -> str:
    text = text.strip()
    return text if len(text) <= n else text[: n - 3] + "..."
