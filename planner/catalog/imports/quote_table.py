"""Tables out of Excel workbooks and CSV files, cell by cell, without running or believing anything in them."""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import InputError
from planner.parsing import read_bytes

MOST_ROWS = 20_000
MOST_CELLS = 500_000  # that are not blank
MOST_FILE_BYTES = 50_000_000
_HEAD_LINES = 60


@dataclass(frozen=True)
class Cell:
    """A cell as stored: text, number, date, truth or None; of a formula the value kept with it.

    `number_format` is how a workbook shows a number, which may name a currency: `[$€-407] #,##0.00`.
    """

    value: object = None
    is_formula: bool = False
    number_format: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it is stored as a number, not as text."""
        return isinstance(self.value, int | float) and not isinstance(self.value, bool)

    @property
    def text(self) -> str:
        """Its value as text, without blanks around it."""
        if isinstance(self.value, datetime.datetime):
            return self.value.date().isoformat()
        return "" if self.value is None else str(self.value).strip()


EMPTY = Cell()


class Bounds:
    """Rows and cells of a file, counted while it is read: what no price list has is refused, not held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_cells = 0

    def take(self, n_rows: int, n_cells: int) -> None:
        """Count a row that is the `n_rows`th of its sheet and has `n_cells` cells.

        Raises
        ------
        InputError
            More rows than `MOST_ROWS`, or more cells in the file than `MOST_CELLS`.
        """
        self._n_cells += n_cells
        if n_rows > MOST_ROWS:
            raise InputError(
                f"{n_rows:,} rows or more", where=str(self._path), rule=f"at most {MOST_ROWS:,}",
                fix="keep the rows with quotes only",
            )  # fmt: skip
        if self._n_cells > MOST_CELLS:
            raise InputError(
                f"more than {MOST_CELLS:,} cells", where=str(self._path), fix="keep the rows with quotes only"
            )


@dataclass(frozen=True)
class QuoteTable:
    """The cells of one sheet, or of one CSV (`sheet` is empty).

    `epoch` is day 0 of its dates, `delimiter` what divides the cells of a CSV, `notes` how it was read.
    """

    path: Path
    sheet: str
    rows: Sequence[Sequence[Cell]]
    epoch: datetime.date = datetime.date(1899, 12, 30)
    delimiter: str = ""
    notes: Sequence[str] = ()

    def where(self, row: int, column: int | None = None, title: str = "") -> str:
        """Name a place for a message; both count from 0 here and as a person counts in the text."""
        shown = f"{self.path}[{self.sheet}]" if self.sheet else str(self.path)
        place = f"{shown}, row {row + 1}"
        return place if column is None else f"{place}, column {_letters(column)}" + (f" ({title})" if title else "")


def read_tables(path: Path, sheet: str | None = None) -> list[QuoteTable]:
    """Read a file of quotes.

    Parameters
    ----------
    path : Path
        `.xlsx`, `.xlsm`, `.csv`, `.tsv` or `.txt`.
    sheet : str, optional
        The sheet of a workbook; left out: all of them.

    Returns
    -------
    list of Table
        Its sheets; of a CSV one table for each delimiter that it may have, the likeliest first.

    Raises
    ------
    InputError
        The file cannot be read, is protected by a password, is no workbook or a damaged one; no such sheet.
    """
    from planner.catalog.imports.quote_workbook import OLE, workbook_tables

    suffix = path.suffix.casefold()
    try:
        content = read_bytes(path, most_bytes=MOST_FILE_BYTES)
    except OSError as error:
        fix = "close it in the program that has it open" if isinstance(error, PermissionError) else None
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path), fix=fix) from None
    if suffix in (".csv", ".tsv", ".txt"):
        if sheet is not None:
            raise InputError("a CSV has no sheets", where="--sheet", value=sheet, fix="leave it out")
        if content.startswith((b"PK\x03\x04", OLE)):
            raise InputError("this is a workbook under the name of a CSV", where=str(path), fix="name it .xlsx")
        return _csv_tables(path, content)
    if suffix not in (".xlsx", ".xlsm") and not content.startswith(OLE):
        raise InputError(
            "quotes are read from Excel workbooks and CSV files",
            where=str(path),
            rule="a name that ends with .xlsx, .xlsm, .csv or .tsv",
            fix="save it as .xlsx or .csv",
        )
    return workbook_tables(path, content, sheet)


def _csv_tables(path: Path, content: bytes) -> list[QuoteTable]:
    text, notes = _decoded(path, content)
    first, _, rest = text.partition("\n")
    if match := re.fullmatch(r"sep=(.)\s*", first):  # Excel's own way to say it
        return [QuoteTable(path, "", _csv_rows(path, "\n" + rest, match[1]), delimiter=match[1], notes=notes)]
    head = "\n".join(text.splitlines()[:_HEAD_LINES])
    counts = {delimiter: head.count(delimiter) for delimiter in ";\t|,"}
    likely = sorted((d for d, n in counts.items() if n), key=lambda d: -counts[d]) or [","]
    tables, problem = [], None
    for delimiter in likely:
        try:
            tables.append(QuoteTable(path, "", _csv_rows(path, text, delimiter), delimiter=delimiter, notes=notes))
        except InputError as error:
            problem = problem or error
    if not tables and problem is not None:
        raise problem
    return tables


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    """The text of a CSV in the encodings that spreadsheets write, and a note where it was guessed."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif content[:200].count(b"\x00") > len(content[:200]) // 4:
        encoding = "utf-16-le" if content[1:2] == b"\x00" else "utf-16-be"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding), []
    except UnicodeDecodeError as error:
        if encoding == "utf-8-sig":
            try:
                return content.decode("cp1252"), ["not UTF-8: read as Windows-1252 (Western European)"]
            except UnicodeDecodeError:
                pass
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"not UTF-8, UTF-16 or Windows-1252 text (byte 0x{content[error.start]:02x})", where=f"{path}, row {line}",
            fix="save it as CSV UTF-8",
        ) from None  # fmt: skip


def _csv_rows(path: Path, text: str, delimiter: str) -> list[list[Cell]]:
    bounds, rows = Bounds(path), []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            cells = [Cell(stored) if (stored := _unquoted(value)) else EMPTY for value in row]
            while cells and cells[-1] is EMPTY:
                cells.pop()
            rows.append(cells)
            bounds.take(len(rows), sum(cell is not EMPTY for cell in cells))
    except csv.Error as error:
        raise InputError(f"not a CSV: {error}", where=str(path), fix="save it again as CSV UTF-8") from None
    return rows


def _unquoted(text: str) -> str:
    """Take away the apostrophe that our own CSV puts before text that would run."""
    return text[1:] if text[:1] == "'" and text[1:2] in tuple("=+-@\t\n ") else text


def _letters(column: int) -> str:
    letters, rest = "", column + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
