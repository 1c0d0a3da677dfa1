"""A file of requests as named columns with line numbers: CSV, JSON lines, one JSON document or Parquet.

A file is opened (`open_table`), which reads its beginning: which columns there are, and its first records. Then the
columns that are wanted are read, a few megabytes at a time, so that a file needs hardly more memory than its figures.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError, near_misses
from planner.workload.trace_cells import TextCells, cells_of_values, joined, number_of
from planner.workload.trace_csv import CsvHead, csv_blocks, open_csv
from planner.workload.trace_json import (
    first_objects,
    flat,
    names_of,
    new_names,
    objects,
    read_document,
    spread_over_lines,
    values,
)  # fmt: skip
from planner.workload.trace_parquet import parquet_blocks, parquet_columns
from planner.workload.trace_text import ByteProgress, beginning, text_blocks

CSV, LINES, DOCUMENT = (".csv", ".tsv", ".txt", ".log"), (".jsonl", ".ndjson"), (".json",)
PARQUET = ".parquet"
_NO_TEXT = ("nan", "inf", "-inf", "none", "null", "n/a", "true", "false")  # of a number that is not there
EXTENSIONS = (*(kind + zipped for zipped in ("", ".gz") for kind in (*CSV, *LINES, *DOCUMENT)), PARQUET)


@dataclass(frozen=True, eq=False)
class RawColumns:
    """Columns that were read.

    Attributes
    ----------
    cells : dict of str to Cells
    lists : dict of str to list
        Columns of lists, such as the blocks of a prompt.
    n_rows : int
    """

    cells: dict[str, TextCells]
    lists: dict[str, list[Any]]
    n_rows: int


@dataclass(eq=False)
class RawTable:
    """A file of requests whose beginning has been read.

    Attributes
    ----------
    path : Path
    columns : tuple of str
        Names of columns; of nested JSON fields with dots, `metrics.input_sequence_length.value`. Those of fields that
        only later JSON lines have come with `read` and `name_all`.
    sample : list of dict
        The first records, column to value; of a CSV, to text.
    header_line : int
        Line of the header, or of the first record.
    csv : CsvHead or None
    document : object
        One JSON document as it was read; None: records come line by line.
    parquet : bool
        Whether it is a Parquet file.
    records : list of dict or None
        The records in the document.
    """

    path: Path
    columns: tuple[str, ...]
    sample: list[dict[str, object]]
    header_line: int = 1
    csv: CsvHead | None = None
    document: Any = None
    parquet: bool = False
    records: list[dict[str, Any]] | None = None
    _lines: list[NDArray[np.int64]] = field(default_factory=list)
    _shapes: set[tuple[object, ...]] = field(default_factory=set)

    @property
    def texts(self) -> frozenset[str]:
        """Columns that hold texts in the first records, and no number."""
        held: dict[str, bool] = {}
        for record in self.sample:
            for name, value in record.items():
                words = isinstance(value, str) and any(map(str.isalpha, value)) and value.casefold() not in _NO_TEXT
                words = words and number_of(value) is None
                if words or (value not in (None, "") and not isinstance(value, list | dict)):
                    held[name] = held.get(name, True) and words
        return frozenset(name for name, texts in held.items() if texts)

    @property
    def head(self) -> str:
        """Where the columns are named."""
        return str(self.path) if self.document is not None or self.parquet else f"{self.path}:{self.header_line}"

    def where(self, row: int) -> str:
        """`file:line` of a row, or its number in a JSON document."""
        if self.document is not None:
            return f"{self.path}, record {row + 1}"
        if self.parquet:
            return f"{self.path}, row {row + 1}"
        for lines in self._lines:
            if row < lines.size:
                return f"{self.path}:{lines[row]}"
            row -= lines.size
        return str(self.path)

    def of_records(self, records: list[dict[str, Any]]) -> RawTable:
        """The table of the records that a document holds."""
        return RawTable(self.path, names_of(records), flat(records), document=self.document, records=records)

    def all_records(self) -> list[dict[str, Any]]:
        """Every object of JSON lines, whole: of files with few, large ones."""
        return [record for records, _ in self._records(None) for record in records]

    def name_all(self) -> None:
        """Read every record for the names of its fields, which are otherwise those of the first."""
        if self.csv is None and self.records is None and not self.parquet:
            self.read([])

    def read(self, names: Sequence[str], lists: Sequence[str] = (), progress: ByteProgress | None = None) -> RawColumns:
        """Read the columns of these names, from the first row to the last.

        Raises
        ------
        TraceError
            A row with another number of fields than the header, a line that is not a JSON object, text that is not
            UTF-8, a gzip file that is not whole.
        """
        self._lines = []
        with _uncollected():
            return self._read(names, lists, progress)

    def _read(self, names: Sequence[str], lists: Sequence[str], progress: ByteProgress | None) -> RawColumns:
        parts: dict[str, list[TextCells]] = {name: [] for name in names}
        found: dict[str, list[Any]] = {name: [] for name in lists}
        n_rows = 0
        if self.csv is not None:
            index = [self.columns.index(name) for name in names]
            for block in csv_blocks(self.csv, progress):
                n_rows += block.n_rows
                self._lines.append(block.lines)
                for name, column in zip(names, index, strict=True):
                    parts[name].append(block.cells(column))
        elif self.parquet:
            for n_block, cells, listed in parquet_blocks(self.path, names, lists, progress):
                n_rows += n_block
                for name in names:
                    parts[name].append(cells[name])
                for name in lists:
                    found[name] += listed[name]
        else:
            for records, lines in self._records(progress):
                n_rows += len(records)
                self._lines.append(lines)
                if self.records is None:
                    self.columns = tuple(new_names(records, dict.fromkeys(self.columns), self._shapes))
                for name in names:
                    parts[name].append(cells_of_values(values(records, name)))
                for name in lists:
                    found[name] += values(records, name)
        if not n_rows:
            raise TraceError("the trace has a header and no requests", where=self.head, rule="at least one request")
        return RawColumns({name: joined(cells) for name, cells in parts.items()}, found, n_rows)

    def _records(self, progress: ByteProgress | None) -> Iterator[tuple[list[dict[str, Any]], NDArray[np.int64]]]:
        if self.records is not None:
            yield self.records, np.arange(1, len(self.records) + 1)
            return
        for text, line, last in text_blocks(self.path, progress):
            rows = [(n, row) for n, row in enumerate(text.split("\n"), line) if row and not row.isspace()]
            if rows:
                numbers = [n for n, _ in rows]
                found = objects(self.path, [row for _, row in rows], numbers, last=last)
                yield found, np.array(numbers, dtype=np.int64)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, of which records have none: it takes half the time of reading JSON."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def open_table(path: Path) -> RawTable:
    """Read the beginning of a file of requests.

    Parameters
    ----------
    path : Path
        CSV (.csv, .tsv, .txt, .log: commas, semicolons, tabs or bars), JSON lines (.jsonl, .ndjson) or one JSON
        document (.json), or any of them gzipped; or Parquet. UTF-8, with or without a byte order mark. JSON is read as
        such under the names of a CSV too.

    Returns
    -------
    RawTable
        Of a JSON document without its records: who knows its form finds them (`RawTable.of_records`).

    Raises
    ------
    TraceError
        No such file, not a file, unknown extension, unreadable, not UTF-8, empty, a line that is not a JSON object.
    """
    name = path.name.casefold().removesuffix(".gz")
    if not os.path.exists(path):
        raise TraceError("trace file not found", where=str(path), suggestions=_neighbours(path), fix="check the path")
    if not os.path.isfile(path):
        raise TraceError("not a file", where=str(path), rule="a trace is one file")
    if not name.endswith((*CSV, *LINES, *DOCUMENT, PARQUET)):
        raise TraceError(
            f"unknown trace file extension {path.suffix!r}", where=str(path), rule=f"one of {', '.join(EXTENSIONS)}",
            fix="export the trace as CSV with a header line, or as JSONL, one object a line",
        )  # fmt: skip
    if name.endswith(PARQUET):
        columns, sample = parquet_columns(path)
        return RawTable(path, columns, sample, parquet=True)
    first = beginning(path)
    if not first.strip():
        raise TraceError("the trace file is empty", where=f"{path}:1", rule="a header line and at least one request")
    if name.endswith(CSV) and not first.lstrip().startswith(("{", "[{")):
        head = open_csv(path, first)
        return RawTable(path, head.columns, head.sample, head.line, csv=head)
    if name.endswith(DOCUMENT) or spread_over_lines(first) or first.lstrip().startswith("[{"):
        document = read_document(path, first)
        if document is not None:
            return RawTable(path, (), [], document=document)
    line, records = first_objects(path, first)
    return RawTable(path, names_of(records), flat(records), line)


def _neighbours(path: Path) -> list[str]:
    try:
        names = [p.name for p in path.parent.iterdir() if p.name.casefold().endswith(EXTENSIONS)]
    except OSError:
        return []
    return near_misses(path.name, names)
