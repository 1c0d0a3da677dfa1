"""An oracle nobody here wrote: LibreOffice opens the workbook, computes every formula, and agrees.

Formulas in the file are XlsxWriter's text and their values Python's; only a spreadsheet can say that the two belong
together. One run of LibreOffice serves all tests.
"""

from __future__ import annotations

import datetime
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.imports.quotes import read_quotes
from planner.catalog.schema import Currency
from planner.export.workbook.workbook import workbook_bytes
from planner.planning.plan import Plan

from .libreoffice import program, recalculated

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")
pytestmark = pytest.mark.skipif(
    program() is None, reason="LibreOffice is not installed (apt-get install libreoffice-calc)"
)

PRICE, ON_TOP, PUE, ELECTRICITY = "B14", "C14", "B7", "B6"  # on the sheet Assumptions, of the first machine


EUR = Currency(
    name="EUR", source="a bank", kind="quote", date=datetime.date(2026, 11, 20), usd_per_unit=1.25, provenance={}
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planner.optimize(slo="ttft=1s", design="Splitwise-HA", spares=1, verify=False)


@pytest.fixture(scope="module")
def books(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Workbooks before and after LibreOffice, with their values: as exported, spoilt, and with inputs changed."""
    folder = tmp_path_factory.mktemp("office")
    other = planner.optimize(slo="ttft=1s", rate="140/s", verify=False)
    content = workbook_bytes(plan, {"twice the load": other}, currency=EUR)
    (folder / "plan.xlsx").write_bytes(content)
    nobody_sells_it = planner.optimize(slo="ttft=1s", machines="aws-p5.48xlarge", verify=False)
    planner.export_workbook(nobody_sells_it, folder / "empty inputs.xlsx")
    unpriced = plan.model_copy(update={"prices": plan.prices[:1], "cost_usd_per_hour": None})
    planner.export_workbook(unpriced, folder / "unpriced.xlsx")
    spoil(folder / "plan.xlsx", folder / "spoilt.xlsx")
    change(folder / "plan.xlsx", folder / "price.xlsx", {PRICE: 50.0})
    change(folder / "plan.xlsx", folder / "energy.xlsx", {ON_TOP: "yes", PUE: 1.2, ELECTRICITY: 0.25})
    for n in range(N_EDITS):
        inputs = random_inputs(folder / "plan.xlsx", n)
        change_all(folder / "plan.xlsx", folder / f"edit {n}.xlsx", inputs)
        by_python = workbook_bytes(plan, {"twice the load": other}, inputs=inputs, currency=EUR)
        (folder / "python").mkdir(exist_ok=True)
        (folder / "python" / f"edit {n}.xlsx").write_bytes(by_python)
    files = sorted(folder.glob("*.xlsx"))
    copies = recalculated(files, folder)
    quotes = {
        f"quotes of {copy.stem}": read_quotes(copy, Catalog(), today=datetime.date(2026, 11, 26))
        for copy in copies if copy.stem in ("plan", "price")
    }  # fmt: skip
    read = {path.stem: openpyxl.load_workbook(path, data_only=True) for path in files}
    read |= {
        f"python {path.stem}": openpyxl.load_workbook(path, data_only=True)
        for path in (folder / "python").glob("*.xlsx")
    }
    return read | quotes | {f"{path.stem} after": openpyxl.load_workbook(path, data_only=True) for path in copies}


N_EDITS = 4


def random_inputs(workbook: Path, seed: int) -> dict[tuple[str, str], float | str]:
    """Other values for every input of a workbook: whatever its own rule allows; and other spares."""
    rng = random.Random(seed)
    book = openpyxl.load_workbook(workbook)
    found: dict[tuple[str, str], float | str] = {}
    for sheet in book:
        if sheet.title == "Sensitivity":  # whose rows are in the order of their swing, another one with other inputs
            continue
        for rule in sheet.data_validations.dataValidation:
            for cells in rule.sqref.ranges:
                cell = sheet.cell(cells.min_row, cells.min_col)
                if rule.type == "list":
                    found[sheet.title, cell.coordinate] = rng.choice(["yes", "no"])
                    continue
                low = float(rule.formula1)
                high = float(rule.formula2) if rule.formula2 else max(low, 1.0) * 1e2
                low = max(low, 1e-3) if rule.operator == "greaterThan" else low
                value = low + (high - low) * rng.random() ** 3
                found[sheet.title, cell.coordinate] = (
                    round(value) if "advance" in str(sheet.cell(cells.min_row, 1).value) else value
                )
    bill = book["Bill of materials"]
    for row in (5, 6):
        found[bill.title, f"D{row}"] = float(rng.randrange(0, 9))
    return found


def change_all(source: Path, target: Path, inputs: dict[tuple[str, str], float | str]) -> None:
    book = openpyxl.load_workbook(source)
    for (sheet, cell), value in inputs.items():
        book[sheet][cell] = value
    book.save(target)


def spoil(source: Path, target: Path) -> None:
    """Copy a workbook with the value of every formula of the bill replaced by 1."""
    import re

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/worksheets/sheet3.xml":
                content = re.sub(rb"</f><v>[^<]*</v>", b"</f><v>1</v>", content)
            new.writestr(name, content)


def change(source: Path, target: Path, inputs: dict[str, object]) -> None:
    """Do what a person does who types new inputs and saves."""
    book = openpyxl.load_workbook(source)
    for cell, value in inputs.items():
        book["Assumptions"][cell] = value
    book.save(target)


def named(book: Any, name: str) -> float:
    ((sheet, cell),) = book.defined_names[name].destinations
    return float(book[sheet][cell].value)


@pytest.mark.parametrize("which", ["plan", "unpriced", "empty inputs"])
def test_every_cell_has_the_value_that_python_gave_it(books: dict[str, Any], which: str) -> None:
    before, after = books[which], books[f"{which} after"]
    n_numbers = 0
    for sheet in before:
        for row in sheet.iter_rows():
            for cell in row:
                there = after[sheet.title][cell.coordinate].value
                if isinstance(cell.value, int | float):
                    assert there == pytest.approx(cell.value, rel=1e-9, abs=1e-9), (sheet.title, cell.coordinate)
                    n_numbers += 1
                else:
                    assert (there or "") == (cell.value or ""), (sheet.title, cell.coordinate)
    assert n_numbers > 90


def test_it_does_compute_and_not_copy(books: dict[str, Any], plan: Plan) -> None:
    assert named(books["spoilt"], "cost_usd_per_hour") == 1.0
    assert named(books["spoilt after"], "cost_usd_per_hour") == pytest.approx(plan.cost_usd_per_hour)


def test_every_total_is_the_plan_to_the_cent(books: dict[str, Any], plan: Plan) -> None:
    after = books["plan after"]
    for name, value in (
        ("cost_usd_per_hour", plan.cost_usd_per_hour),
        ("cost_usd_per_month", plan.cost_usd_per_month),
        ("total_usd_per_month", plan.cost_usd_per_month),
        ("usd_per_million_tokens", plan.cost_usd_per_million_tokens),
        ("rated_kw", plan.power_w / 1e3),
        ("expected_kw", plan.expected_power_w / 1e3),
        ("total_machines", plan.machines),
    ):
        assert named(after, name) == pytest.approx(value, abs=0.005), name


def test_a_new_price_changes_the_totals(books: dict[str, Any], plan: Plan) -> None:
    (machine,) = {p.machine for p in plan.pools if p.role == "prefill"}
    assert books["plan"]["Assumptions"]["A14"].value == machine
    quantity = sum(p.count + p.spares for p in plan.pools if p.machine == machine)
    old = next(p.usd_per_hour for p in plan.prices if p.machine == machine)
    hourly = (plan.cost_usd_per_hour or 0.0) + quantity * (50.0 - old)
    after = books["price after"]
    assert named(after, "cost_usd_per_hour") == pytest.approx(hourly, abs=0.005)
    assert named(after, "total_usd_per_month") == pytest.approx(730 * hourly, abs=0.005)
    assert named(after, "total_usd_per_year") == pytest.approx(12 * 730 * hourly, abs=0.005)
    before = named(books["plan"], "usd_per_million_tokens")
    assert named(after, "usd_per_million_tokens") == pytest.approx(before * hourly / (plan.cost_usd_per_hour or 0.0))
    scenarios: Callable[[str], Any] = lambda which: books[which]["Scenarios"]["F6"].value  # noqa: E731
    assert (scenarios("plan"), scenarios("price after")) == pytest.approx((plan.cost_usd_per_hour, hourly))


def test_another_currency_is_at_the_rate_and_follows_it(books: dict[str, Any], plan: Plan) -> None:
    rows = {row[0]: row[1:3] for row in books["plan after"]["In EUR"].iter_rows(min_row=8, values_only=True)}
    assert rows["Machines, an hour"] == pytest.approx((plan.cost_usd_per_hour, plan.cost_usd_per_hour / 1.25))
    assert rows["Machines, a month"][1] == pytest.approx(plan.cost_usd_per_month / 1.25)
    edited = {row[0]: row[1:3] for row in books["edit 0 after"]["In EUR"].iter_rows(min_row=8, values_only=True)}
    rate = books["edit 0 after"]["In EUR"]["B5"].value
    assert rate != 1.25 and all(usd == pytest.approx(eur * rate) for usd, eur in edited.values())


def test_saved_by_a_spreadsheet_it_is_read_back_as_quotes(books: dict[str, Any], plan: Plan) -> None:
    """The prices of the plan; and the one that was typed in, where one was."""
    prices = {p.machine: p.usd_per_hour for p in plan.prices}
    assert {q.machine: q.per_hour for q in books["quotes of plan"].quotes} == prices
    machine = books["plan"]["Assumptions"]["A14"].value
    assert {q.machine: q.per_hour for q in books["quotes of price"].quotes} == prices | {machine: 50.0}


def test_energy_billed_on_top_is_added(books: dict[str, Any], plan: Plan) -> None:
    prefill = next(p for p in plan.pools if p.role == "prefill")
    energy = prefill.expected_power_w / 1e3 * 730 * 1.2 * 0.25
    after = books["energy after"]
    assert named(after, "energy_usd_per_month") == pytest.approx(energy, abs=0.005)
    assert named(after, "total_usd_per_month") == pytest.approx((plan.cost_usd_per_month or 0.0) + energy, abs=0.005)
    assert named(books["plan"], "total_usd_per_month") == pytest.approx(plan.cost_usd_per_month, abs=0.005)


@pytest.mark.parametrize("n", range(N_EDITS))
def test_after_random_edits_of_every_input_python_says_the_same(books: dict[str, Any], n: int) -> None:
    """Prices, hours, energy, PUE, discount, spares, factors, purchases: no cell is off by a cent, none is an error."""
    ours, theirs = books[f"python edit {n}"], books[f"edit {n} after"]
    n_money = 0
    for sheet in ours:
        there = {cell.coordinate: cell for row in theirs[sheet.title].iter_rows() for cell in row}
        # The rows of Sensitivity are in the order of their swing when exported: they are found by their label.
        rows = {theirs[sheet.title].cell(r, 1).value: r for r in range(5, 12)} if sheet.title == "Sensitivity" else {}
        for row in sheet.iter_rows():
            label = row[0].value
            for cell in row:
                if not isinstance(cell.value, int | float):
                    assert not str(cell.value).startswith("#"), (sheet.title, cell.coordinate)
                    continue
                at = f"{cell.column_letter}{rows[label]}" if 5 <= cell.row < 12 and label in rows else cell.coordinate
                value = there[at].value
                assert isinstance(value, int | float), (sheet.title, at, value)
                assert value == pytest.approx(cell.value, rel=1e-7, abs=0.005), (sheet.title, at)
                n_money += "$" in str(cell.number_format)
    assert n_money > 60
