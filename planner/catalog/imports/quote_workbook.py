"""Cells out of Excel workbooks, a row at a time, within bounds told from the packed file before anything is built."""

from __future__ import annotations

import datetime
import io
import posixpath
import re
import warnings
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from planner.catalog.imports.quote_table import EMPTY, MOST_ROWS, Bounds, Cell, QuoteTable
from planner.errors import InputError, UnknownNameError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Excel files, and new ones behind a password
MOST_UNPACKED_BYTES = 100_000_000
MOST_TAGS = 2_000_000  # 20,000 rows of 20 cells have as many
EXTRA = "pip install 'splitwise-planner[xlsx]'"

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_CHUNK_BYTES = 2**20
_ROWS_OF_A_SHEET = 2**20  # of Excel
_MERGED = re.compile(rb'mergeCell\s[^<>]*?ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"')


def workbook_tables(path: Path, content: bytes, sheet: str | None) -> list[QuoteTable]:
    """Read the sheets of a workbook, or the one of a name.

    Raises
    ------
    InputError
        Protected by a password, no workbook or a damaged one, too large; openpyxl is missing.
    UnknownNameError
        No such sheet.
    """
    if content.startswith(OLE):
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
        archive = zipfile.ZipFile(io.BytesIO(content))
        _check_unpacked(path, archive)
    except InputError:
        raise
    except Exception:  # whatever unpackers raise of a damaged archive
        raise damaged from None
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
                openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=values, keep_links=False)
                for values in (False, True)
            )
            names = [page.title for page in stored.worksheets]
            if sheet is not None and sheet not in names:
                raise UnknownNameError.of("sheet", sheet, names, where="--sheet")
            epoch = stored.epoch.date() if isinstance(stored.epoch, datetime.datetime) else datetime.date(1899, 12, 30)
            bounds, parts = Bounds(path), _parts(archive)
            tables = []
            for name in names:
                if sheet in (None, name):
                    rows = _rows(stored[name], shown[name], bounds)
                    _fill_merged(rows, _merged(archive, parts.get(name)), bounds)
                    tables.append(QuoteTable(path, name, rows, epoch))
            return tables
    except InputError:
        raise
    except Exception:  # openpyxl lets whatever its parsers raise come through
        raise damaged from None


def _check_unpacked(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what unpacks beyond reason, before any of it is parsed: bytes, and tags of XML."""
    unpacked = sum(item.file_size for item in archive.infolist())
    if unpacked > MOST_UNPACKED_BYTES:
        raise InputError(
            f"this workbook unpacks to {unpacked / 1e6:,.0f} MB", where=str(path),
            rule=f"at most {MOST_UNPACKED_BYTES / 1e6:,.0f} MB", fix="export the sheet with the quotes as CSV",
        )  # fmt: skip
    n_tags = 0
    for item in archive.infolist():
        if item.filename.casefold().endswith((".xml", ".rels", ".vml")):
            with archive.open(item) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    n_tags += chunk.count(b"<")
    if n_tags > MOST_TAGS:
        raise InputError(
            f"this workbook has {n_tags:,} tags, which are cells for the most part", where=str(path),
            rule=f"at most {MOST_TAGS:,}", fix="delete the empty rows and columns below and beside the quotes",
        )  # fmt: skip


def _rows(stored: Any, shown: Any, bounds: Bounds) -> list[list[Cell]]:
    """Rows of a sheet without blank cells and rows at their ends; one page gives formulas, one what they came to."""
    for page in (stored, shown):
        page.reset_dimensions()  # what the file says of its size; the cells say more
    rows: list[list[Cell]] = []
    pairs = zip(stored.iter_rows(), shown.iter_rows(), strict=True)
    for n, (formulas, values) in enumerate(islice(pairs, _ROWS_OF_A_SHEET)):
        row = [
            Cell(value.value, formula.data_type == "f", formula.number_format or "")
            if value.value is not None or formula.value is not None
            else EMPTY
            for formula, value in zip(formulas, values, strict=True)
        ]
        while row and row[-1] is EMPTY:
            row.pop()
        if row:
            bounds.take(n + 1, sum(cell is not EMPTY for cell in row))
            rows += [[] for _ in range(n - len(rows))]
            rows.append(row)
    return rows


def _fill_merged(rows: list[list[Cell]], merged: Iterator[tuple[int, int, int]], bounds: Bounds) -> None:
    """A cell merged over several rows holds for all of them."""
    for first, last, column in merged:
        if first >= len(rows) or column >= len(rows[first]) or last - first >= MOST_ROWS:
            continue
        cell = rows[first][column]
        if cell is EMPTY:
            continue
        rows += [[] for _ in range(last + 1 - len(rows))]
        bounds.take(len(rows), last - first)
        for row in rows[first + 1 : last + 1]:
            row += [EMPTY] * (column + 1 - len(row))
            row[column] = cell


def _merged(archive: zipfile.ZipFile, part: str | None) -> Iterator[tuple[int, int, int]]:
    """First and last row, and the column, of cells merged over several rows; all from 0."""
    if part is None:
        return
    with archive.open(part) as stream:
        kept = b""
        while chunk := stream.read(_CHUNK_BYTES):
            text = kept + chunk
            end = 0
            for match in _MERGED.finditer(text):
                end = match.end()
                first, last = int(match[2]) - 1, int(match[4]) - 1
                if 0 <= first < last:
                    yield first, last, _number(match[1])
            kept = text[max(end, len(text) - 200) :]


def _number(letters: bytes) -> int:
    n = 0
    for letter in letters:
        n = 26 * n + letter - 64
    return n - 1


def _parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """The file in the archive that each sheet is in, by its title."""
    book = next(name for name in archive.namelist() if posixpath.basename(name) == "workbook.xml")
    folder = posixpath.dirname(book)
    links = ElementTree.fromstring(archive.read(f"{folder}/_rels/workbook.xml.rels"))
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    found = {}
    for element in ElementTree.fromstring(archive.read(book)).iter():
        if element.tag.endswith("}sheet"):
            identity = next((value for key, value in element.attrib.items() if key.endswith("}id")), None)
            target = targets.get(identity, "")
            name = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            if name in archive.namelist():
                found[element.get("name", "")] = name
    return found
