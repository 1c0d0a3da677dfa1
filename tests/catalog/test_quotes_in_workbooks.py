"""Quotes out of Excel: formulas, sheets, dates; files that are locked, damaged or no workbook; and the way round."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote_books import book_text, books_of
from planner.catalog.imports.quote_table import read_tables
from planner.catalog.imports.quotes import Quotes, read_quotes
from planner.errors import InputError, UnknownNameError

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")

TODAY = datetime.date(2026, 11, 26)
HEAD = ("Machine", "Unit price (USD/h)", "Vendor", "Date", "Reference")
DAY = datetime.date(2026, 11, 20)


def read(path: Path, **options: Any) -> Quotes:
    return read_quotes(path, Catalog(), today=TODAY, **options)


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A workbook with the given rows on its sheets."""

    def workbook(**sheets: list[tuple[object, ...]]) -> Path:
        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            page = book.create_sheet(title)
            for row in rows:
                page.append(row)
        book.save(tmp_path / "quotes.xlsx")
        return tmp_path / "quotes.xlsx"

    return workbook


def test_quotes_of_a_workbook(make: Make) -> None:
    rows = [("Offer",), (), HEAD, ("dgx-h100", 31.5, "acme", DAY, "4711"), ("dgx-a100", 14, "acme", DAY, None)]
    found = read(make(Cover=[("Dear Sirs",)], Quotes=rows))
    assert [(q.machine, q.amount, q.date, q.source) for q in found.quotes] == [
        ("dgx-h100", 31.5, DAY, "4711"), ("dgx-a100", 14.0, DAY, ""),
    ]  # fmt: skip
    assert found.sheet == "Quotes"


def test_a_fault_names_sheet_row_and_column(make: Make) -> None:
    path = make(Old=[HEAD, ("dgx-h100", 31.5, "acme", DAY)], Quotes=[HEAD, ("dgx-h100", True, "acme", 20)])
    with pytest.raises(InputError, match="not a price") as caught:
        read(path)
    assert caught.value.where == f"{path}[Quotes], row 2, column B (Unit price (USD/h))"
    assert len(caught.value.also) == 1 and "[Quotes], row 2, column D (Date): not a date" in caught.value.also[0]
    assert read(path, sheet="Old").quotes[0].amount == 31.5
    with pytest.raises(UnknownNameError, match="unknown sheet") as unknown:
        read(path, sheet="quotes ")
    assert "Quotes" in unknown.value.suggestions


def test_formulas_in_cells(make: Make) -> None:
    """openpyxl writes formulas without values: as in a file that no spreadsheet has opened."""
    attack = "=cmd|' /C calc'!A0"
    with pytest.raises(InputError, match="a formula without its value"):
        read(make(Quotes=[HEAD, ("dgx-h100", "=30+1.5", "acme", DAY)]))
    with pytest.raises(InputError, match="a formula where a text is expected") as caught:
        read(
            make(
                Quotes=[
                    HEAD,
                    (attack, 31.5, "acme", DAY),
                    ("dgx-a100", 9, attack, DAY),
                    ("dgx-a100", 9, "a", DAY, attack),
                ]
            )
        )
    assert [
        f"row {n}" in place for n, place in zip((2, 3, 4), [caught.value.where, *caught.value.also], strict=True)
    ] == [True] * 3


def test_a_price_that_is_a_formula_with_its_value(tmp_path: Path) -> None:
    import xlsxwriter

    path = tmp_path / "quotes.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        page = book.add_worksheet("Quotes")
        page.write_row(0, 0, HEAD)
        page.write_row(1, 0, ("dgx-h100", "", "acme", "2026-11-20"))
        page.write_formula(1, 1, "=35*0.9", None, 31.5)
    assert read(path).quotes[0].amount == 31.5


def test_files_that_are_locked_damaged_or_no_workbook(make: Make, tmp_path: Path) -> None:
    path = make(Quotes=[HEAD, ("dgx-h100", 31.5, "acme", DAY)])
    good = path.read_bytes()
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)
    empty_zip = io.BytesIO()
    zipfile.ZipFile(empty_zip, "w").close()
    half_xml = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(half_xml, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name.endswith("sheet1.xml") else content)
    for content, words in (
        (ole + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (ole, r"an old Excel file \(\.xls\)"),
        (b"Machine,Price\n", "not an Excel workbook, or it is damaged"),
        (b"", "not an Excel workbook, or it is damaged"),
        (good[: len(good) // 2], "not an Excel workbook, or it is damaged"),
        (empty_zip.getvalue(), "not an Excel workbook, or it is damaged"),
        (half_xml.getvalue(), "not an Excel workbook, or it is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            read(path)
        assert caught.value.fix
    with pytest.raises(InputError, match="cannot read the file"):
        read(tmp_path)


def test_a_file_that_unpacks_without_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("xl/worksheets/sheet1.xml", bytes(210_000_000))
    with pytest.raises(InputError, match="unpacks to 210 MB"):
        read_tables(path)


def test_a_stray_cell_in_the_last_column_costs_nothing(make: Make) -> None:
    rows = [HEAD, ("dgx-h100", 31.5, "acme", DAY, "4711")]
    path = make(Quotes=rows)
    book = openpyxl.load_workbook(path)
    book.active["XFD400"] = "x"
    book.active["A1048576"].number_format = "0.00"  # styled, and blank
    book.save(path)
    (table,) = read_tables(path)
    assert [len(row) for row in table.rows] == [5, 5, *[0] * 397, 16384]
    assert sum(len(row) for row in table.rows[:399]) == 10
    assert [q.amount for q in read(path).quotes] == [31.5]


def test_more_rows_or_cells_than_a_price_list_has(make: Make, tmp_path: Path) -> None:
    path = make(Quotes=[HEAD])
    book = openpyxl.load_workbook(path)
    book.active["A20001"] = "x"
    book.save(path)
    with pytest.raises(InputError, match="20,001 rows or more"):
        read_tables(path)
    (tmp_path / "quotes.csv").write_text("machine,price\n" + "\n" * 20_000)
    with pytest.raises(InputError, match="20,001 rows or more"):
        read_tables(tmp_path / "quotes.csv")
    (tmp_path / "quotes.csv").write_text((",".join(["1"] * 1000) + "\n") * 501)
    with pytest.raises(InputError, match="more than 500,000 cells"):
        read_tables(tmp_path / "quotes.csv")


def test_blank_cells_packed_by_the_million_are_refused_before_they_are_built(make: Make) -> None:
    path = make(Quotes=[HEAD])
    cells = b"<row>" + b"<c/>" * 2_000_000 + b"</row></sheetData>"
    _edited(path, lambda sheet: sheet.replace(b"</sheetData>", cells))
    with pytest.raises(InputError, match="tags, which are cells"):
        read_tables(path)


def test_a_cell_merged_over_rows_holds_for_each(make: Make) -> None:
    path = make(Quotes=[HEAD, ("dgx-h100", 31.5, "acme", DAY, None), (None, 30, "other", DAY, None)])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A2:A3")
    book.active.merge_cells("D1:E1")
    book.save(path)
    (table,) = read_tables(path)
    assert [row[0].text for row in table.rows] == ["Machine", "dgx-h100", "dgx-h100"]
    assert [(q.machine, q.provider) for q in read(path).quotes] == [("dgx-h100", "acme"), ("dgx-h100", "other")]


def test_merged_ranges_without_end_are_bounded(make: Make) -> None:
    path = make(Quotes=[HEAD, *[("dgx-h100",) * 200]])
    ranges = b"".join(b'<mergeCell ref="%s2:%s19000"/>' % (letter, letter) for letter in (b"A", b"B", b"C") * 20)
    _edited(path, lambda sheet: sheet.replace(b"</sheetData>", b"</sheetData><mergeCells>" + ranges + b"</mergeCells>"))
    with pytest.raises(InputError, match="more than 500,000 cells"):
        read_tables(path)


def _edited(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Change the sheet of a workbook as it lies in the archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, edit(content) if name.endswith("sheet1.xml") else content)


def test_a_file_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "quotes.xlsx").write_bytes(b"PK")
    monkeypatch.setattr(Path, "read_bytes", held)
    with pytest.raises(InputError, match="Permission denied") as caught:
        read_tables(tmp_path / "quotes.xlsx")
    assert "close it" in str(caught.value.fix)


def test_the_bill_of_materials_comes_back_as_the_same_prices(tmp_path: Path) -> None:
    """Exported, imported as it is, planned with: prices, dates, providers and sources are those of the first plan."""
    plan = planner.optimize(slo="ttft=1s", design="Splitwise-HA", spares=1, verify=False)
    planner.export_workbook(plan, tmp_path / "plan.xlsx")
    found = read(tmp_path / "plan.xlsx")
    assert found.sheet == "Bill of materials"
    path = tmp_path / "mine" / "prices" / "again.yaml"
    path.parent.mkdir(parents=True)
    ((name, quotes),) = books_of(found, "again").items()
    path.write_text(book_text(quotes, found, default=True), encoding="utf-8")
    again = planner.optimize(
        slo="ttft=1s", design="Splitwise-HA", spares=1, verify=False, prices="again", catalog=str(tmp_path / "mine")
    )
    assert name == "again" and {p.book for p in again.prices} == {"again"}
    key = ("machine", "usd_per_hour", "provider", "date", "source")
    assert [p.model_dump(include=set(key)) for p in again.prices] == [
        p.model_dump(include=set(key)) for p in plan.prices
    ]
    assert again.cost_usd_per_hour == plan.cost_usd_per_hour
