"""Tables out of Excel workbooks and CSV files, cell by cell, without running or believing anything in them."""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import InputError, UnknownNameError

MOST_ROWS = 20_000
_HEAD_LINES = 60
_MOST_BYTES = 200_000_000  # unpacked; a price list has thousands
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Excel files, and new ones behind a password
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
EXTRA = "pip install 'splitwise-planner[xlsx]'"


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
    suffix = path.suffix.casefold()
    try:
        content = path.read_bytes()
    except OSError as error:
        fix = "close it in the program that has it open" if isinstance(error, PermissionError) else None
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path), fix=fix) from None
    if suffix in (".csv", ".tsv", ".txt"):
        if sheet is not None:
            raise InputError("a CSV has no sheets", where="--sheet", value=sheet, fix="leave it out")
        return _csv_tables(path, content)
    if suffix not in (".xlsx", ".xlsm") and not content.startswith(_OLE):
        raise InputError(
            "quotes are read from Excel workbooks and CSV files",
            where=str(path),
            rule="a name that ends with .xlsx, .xlsm, .csv or .tsv",
            fix="save it as .xlsx or .csv",
        )
    return _workbook(path, content, sheet)


def _csv_tables(path: Path, content: bytes) -> list[QuoteTable]:
    if content.startswith((b"PK\x03\x04", _OLE)):
        raise InputError("this is a workbook under the name of a CSV", where=str(path), fix="name it .xlsx")
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
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"not a CSV: {error}", where=str(path), fix="save it again as CSV UTF-8") from None
    _check_size(path, len(rows))
    return [[Cell(_unquoted(value) or None) for value in row] for row in rows]


def _unquoted(text: str) -> str:
    """Take away the apostrophe that our own CSV puts before text that would run."""
    return text[1:] if text[:1] == "'" and text[1:2] in tuple("=+-@\t\n ") else text


def _workbook(path: Path, content: bytes, sheet: str | None) -> list[QuoteTable]:
    if content.startswith(_OLE):
        if _ENCRYPTED in content:
            raise InputError(
                "this workbook is protected by a password", where=str(path),
                fix="open it and save a copy without a password (File, Info, Protect Workbook)",
            )  # fmt: skip
        raise InputError("this is an old Excel file (.xls)", where=str(path), fix="save it as .xlsx")
    damaged = InputError(
        "this is not an Excel workbook, or it is damaged", where=str(path), fix="open it in Excel and save it as .xlsx"
    )
    try:
        unpacked = sum(item.file_size for item in zipfile.ZipFile(io.BytesIO(content)).infolist())
    except (zipfile.BadZipFile, ValueError):
        raise damaged from None
    if unpacked > _MOST_BYTES:
        raise InputError(
            f"this workbook unpacks to {unpacked / 1e6:,.0f} MB", where=str(path),
            rule=f"at most {_MOST_BYTES / 1e6:,.0f} MB", fix="export the sheet with the quotes as CSV",
        )  # fmt: skip
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            "openpyxl is not installed, and workbooks are read with it", where=str(path), fix=EXTRA
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out
            stored, shown = (
                openpyxl.load_workbook(io.BytesIO(content), data_only=values, keep_links=False)
                for values in (False, True)
            )
    except Exception:  # openpyxl lets whatever its parsers raise come through
        raise damaged from None
    names = [page.title for page in stored.worksheets]
    if sheet is not None and sheet not in names:
        raise UnknownNameError.of("sheet", sheet, names, where="--sheet")
    epoch = stored.epoch.date() if isinstance(stored.epoch, datetime.datetime) else datetime.date(1899, 12, 30)
    return [
        QuoteTable(path, name, _sheet_rows(path, stored[name], shown[name]), epoch)
        for name in names
        if sheet in (None, name)
    ]


def _sheet_rows(path: Path, stored: Any, shown: Any) -> list[list[Cell]]:
    _check_size(path, stored.max_row)
    rows = [
        [Cell(value.value, formula.data_type == "f", formula.number_format or "") for formula, value in
         zip(*pair, strict=True)]
        for pair in zip(stored.iter_rows(), shown.iter_rows(), strict=True)
    ]  # fmt: skip
    # A cell merged over several rows holds for all of them.
    for merged in stored.merged_cells.ranges:
        if merged.max_row > merged.min_row and merged.max_row - merged.min_row < MOST_ROWS:
            first = rows[merged.min_row - 1][merged.min_col - 1]
            for row in rows[merged.min_row : merged.max_row]:
                row[merged.min_col - 1] = first
    return rows


def _check_size(path: Path, n_rows: int) -> None:
    if n_rows > MOST_ROWS:
        raise InputError(
            f"{n_rows:,} rows", where=str(path), rule=f"at most {MOST_ROWS:,}", fix="keep the rows with quotes only"
        )


def _letters(column: int) -> str:
    letters, rest = "", column + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
