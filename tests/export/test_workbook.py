"""The workbook of a plan as Excel sees it: sheets, names, inputs, charts, formulas with their values."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.economics.options import Assumptions, energy_usd_per_hour, owned_fixed_per_hour
from planner.errors import OutputError, ScenarioError
from planner.planning.plan import Plan

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")

from planner.export.workbook.workbook import SHEETS, workbook_bytes  # noqa: E402


def opened(content: bytes, *, values: bool) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content), data_only=values)


def named(book: Any, name: str) -> Any:
    """The cell of a name."""
    ((sheet, cell),) = book.defined_names[name].destinations
    return book[sheet][cell]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planner.optimize(slo="ttft=1s", design="Splitwise-HA", spares=1, verify=False)


@pytest.fixture(scope="module")
def content(plan: Plan) -> bytes:
    return workbook_bytes(plan)


@pytest.fixture(scope="module")
def values(content: bytes) -> Any:
    return opened(content, values=True)


@pytest.fixture(scope="module")
def formulas(content: bytes) -> Any:
    return opened(content, values=False)


def test_sheets(values: Any) -> None:
    assert values.sheetnames == list(SHEETS)
    assert values.sheetnames == [
        "Summary", "Assumptions", "Bill of materials", "Scenarios", "Sensitivity", "Method and sources",
    ]  # fmt: skip


def test_the_totals_are_those_of_the_plan(plan: Plan, values: Any) -> None:
    """Cached values, which Excel shows before it recalculates, to the cent."""
    expected = {
        "cost_usd_per_hour": plan.cost_usd_per_hour,
        "cost_usd_per_month": plan.cost_usd_per_month,
        "total_usd_per_month": plan.cost_usd_per_month,
        "usd_per_million_tokens": plan.cost_usd_per_million_tokens,
        "total_machines": plan.machines,
        "rated_kw": plan.power_w / 1e3,
        "expected_kw": plan.expected_power_w / 1e3,
    }
    assert {name: named(values, name).value for name in expected} == pytest.approx(expected, rel=1e-12)


def test_energy_and_carbon_are_those_of_the_plan(plan: Plan, values: Any) -> None:
    energy = plan.energy
    assert energy is not None
    kwh = plan.expected_power_w / 1e3 * 730 * 1.54
    assert named(values, "energy_kwh_per_month").value == pytest.approx(kwh)
    assert kwh == pytest.approx(730 * energy.energy_kwh_per_hour)
    assert named(values, "carbon_tonnes_per_month").value == pytest.approx(730 * energy.carbon_kg_per_hour / 1e3)
    assert named(values, "electricity_usd_per_kwh").value * kwh == pytest.approx(730 * energy.cost_usd_per_hour)
    assert named(values, "energy_usd_per_month").value == 0  # the price includes it until somebody says otherwise


def test_present_value_by_hand(plan: Plan, values: Any) -> None:
    worth = sum((plan.cost_usd_per_month or 0.0) / 1.08 ** (n / 12) for n in range(1, 37))
    assert named(values, "present_value_usd").value == pytest.approx(worth, rel=1e-12)


def test_pue_does_not_apply_to_figures_of_the_facility(plan: Plan) -> None:
    pools = [p.model_copy(update={"power_scope": "facility"}) if p.role == "decode" else p for p in plan.pools]
    book = opened(workbook_bytes(plan.model_copy(update={"pools": pools})), values=True)
    kw = {p.role: p.expected_power_w / 1e3 for p in pools}
    assert named(book, "energy_kwh_per_month").value == pytest.approx(730 * (1.54 * kw["prefill"] + kw["decode"]))


def test_owning_is_what_economics_says(plan: Plan, values: Any) -> None:
    """Row by row against `planner.economics`, and at the price of a tie owning costs what renting does."""
    catalog = Catalog()
    titles = {row[0].value: row for row in values["Scenarios"].iter_rows(min_row=30)}
    head = next(row for row in values["Scenarios"].iter_rows(min_row=30) if row[1].value == "Unit")
    machines = [cell.value for cell in head[2:] if cell.value]
    assert machines == ["dgx-h100", "dgx-a100"]
    general = Assumptions()
    for column, name in enumerate(machines, 2):
        machine, book = catalog.machine(name), catalog.book_of(name, "owned")
        assert book is not None
        pool = next(p for p in plan.pools if p.machine == name)
        draw_w = pool.expected_power_w / (pool.count + pool.spares)
        fixed = owned_fixed_per_hour(book.owned[name], machine, general)
        electricity = energy_usd_per_hour(machine, draw_w, general)
        assert titles["Owned: capital, maintenance, hosting"][column].value == pytest.approx(fixed)
        assert titles["Owned: electricity, PUE applied"][column].value == pytest.approx(electricity)
        rented = next(p.usd_per_hour for p in plan.prices if p.machine == name)
        saved = (rented - fixed - electricity) * (pool.count + pool.spares) * 730
        assert titles["Owning saves, all of this type"][column].value == pytest.approx(saved)
        tie = titles["Purchase price of a tie"][column].value
        terms = book.owned[name].model_copy(update={"purchase": tie})
        assert owned_fixed_per_hour(terms, machine, general) + electricity == pytest.approx(rented)


def test_machines_that_nobody_sells_leave_empty_inputs() -> None:
    only = planner.optimize(slo="ttft=1s", machines="aws-p5.48xlarge", verify=False)
    sheet = opened(workbook_bytes(only), values=True)["Scenarios"]
    rows = {row[0].value: row[2].value for row in sheet.iter_rows(min_row=25)}
    assert (rows["Purchase price"], rows["Owned"], rows["Purchase price of a tie"]) == (None, "#N/A", "#N/A")
    assert rows["Price book"] == "no price book sells it"


def test_money_and_power_are_formulas(formulas: Any) -> None:
    for name in (
        "cost_usd_per_hour", "cost_usd_per_month", "total_usd_per_month", "total_usd_per_year", "present_value_usd",
        "usd_per_million_tokens", "rated_kw", "energy_kwh_per_month", "energy_usd_per_month", "carbon_tonnes_per_month",
    ):  # fmt: skip
        assert str(named(formulas, name).value).startswith("="), name
    bill = formulas["Bill of materials"]
    assert bill["E5"].value == "=C5+D5"
    assert bill["G5"].value == "=IF(ISNUMBER(Assumptions!$B$14),Assumptions!$B$14,NA())"  # a cleared price is missing
    assert bill["H5"].value == "=E5*G5"


def test_every_formula_has_a_value_and_no_text_is_a_formula(formulas: Any, values: Any) -> None:
    n_formulas = 0
    for sheet in formulas:
        for row in sheet.iter_rows():
            for cell in row:
                if cell.data_type == "f":
                    n_formulas += 1
                    value = values[sheet.title][cell.coordinate].value
                    assert value is not None and not str(value).startswith("#"), (sheet.title, cell.coordinate)
    assert n_formulas > 80


def test_inputs_are_checked_and_named(formulas: Any) -> None:
    sheet = formulas["Assumptions"]
    checked = {str(rule.sqref): rule for rule in sheet.data_validations.dataValidation}
    pue = checked[named(formulas, "pue").coordinate]
    assert (pue.type, float(pue.formula1)) == ("decimal", 1.0)
    price = checked["B14"]
    assert (price.type, price.operator, float(price.formula1)) == ("decimal", "greaterThan", 0.0)
    assert checked["C14"].formula1 == '"no,yes"'
    fills = {sheet[cell].fill.fgColor.rgb for cell in ("B5", "B14", "C14")}
    assert len(fills) == 1 and sheet["A5"].fill.fgColor.rgb not in fills


def test_charts_print_areas_and_frozen_heads(content: bytes, formulas: Any) -> None:
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert sum(bool(re.fullmatch(r"xl/charts/chart\d+\.xml", name)) for name in names) == 3
    for sheet in formulas:
        assert sheet.print_area, sheet.title
        assert sheet.freeze_panes, sheet.title
    assert formulas["Bill of materials"].print_title_rows == "$4:$4"


def test_the_same_plan_gives_the_same_bytes(plan: Plan, content: bytes) -> None:
    assert workbook_bytes(plan) == content
    assert opened(content, values=True).properties.created == datetime.datetime(2023, 11, 30)


def test_alternatives_cost_what_the_plan_says(plan: Plan, values: Any) -> None:
    rows = {row[0].value: [cell.value for cell in row] for row in values["Scenarios"].iter_rows(min_row=5, max_row=12)}
    assert plan.alternatives
    for alternative in plan.alternatives:
        assert rows[alternative.design][5] == pytest.approx(alternative.cost_usd_per_hour, abs=0.005)
        assert rows[alternative.design][4] == alternative.machines


def test_at_the_price_of_a_tie_both_cost_the_same(plan: Plan, values: Any) -> None:
    prices = {p.machine: p.usd_per_hour for p in (*plan.prices, *plan.alternative_prices)}
    ours = {p.machine: p.count + p.spares for p in plan.pools}
    designs = {a.design: a.counts for a in plan.alternatives}
    n_checked = 0
    for design, machine, _, tie, _ in values["Sensitivity"].iter_rows(min_row=10, max_col=5, values_only=True):
        if design in designs and machine in prices and isinstance(tie, float):
            moved = prices | {machine: tie}
            cost = [sum(n * moved[m] for m, n in counts.items()) for counts in (ours, designs[design])]
            assert cost[0] == pytest.approx(cost[1])
            n_checked += 1
    assert n_checked >= 2


def test_another_plan_is_compared(plan: Plan) -> None:
    other = planner.optimize(slo="ttft=1s", rate="140/s", machines="dgx-h100", verify=False)
    sheet = opened(workbook_bytes(plan, {"twice": other}), values=True)["Scenarios"]
    (row,) = (row for row in sheet.iter_rows(min_row=5, max_row=12, values_only=True) if row[0] == "twice")
    assert row[5] == pytest.approx(other.cost_usd_per_hour)
    assert row[11] == pytest.approx(other.cost_usd_per_million_tokens)


def test_another_plan_keeps_its_own_price_and_tokens(plan: Plan) -> None:
    """A plan of coding requests, which are longer, at another price of the same machine."""
    other = planner.optimize(slo="ttft=1s", workload="azure-code-2023", machines="dgx-h100", verify=False)
    (price,) = other.prices
    counts = other.machines
    other = other.model_copy(update={
        "prices": [price.model_copy(update={"usd_per_hour": 30.8})], "cost_usd_per_hour": counts * 30.8,
        "cost_usd_per_million_tokens": (other.cost_usd_per_million_tokens or 0.0) * 30.8 / price.usd_per_hour,
    })  # fmt: skip
    sheet = opened(workbook_bytes(plan, {"theirs": other}), values=True)["Scenarios"]
    titles = [cell.value for cell in sheet[4]]
    (row,) = (row for row in sheet.iter_rows(min_row=5, max_row=12, values_only=True) if row[0] == "theirs")
    assert row[titles.index("Cost (USD/h)")] == pytest.approx(counts * 30.8)
    assert row[titles.index("USD a million tokens")] == pytest.approx(other.cost_usd_per_million_tokens)


def test_owning_heeds_hours_and_energy_on_top(plan: Plan) -> None:
    """At 200 h a month what is owned is paid for in all 730; energy billed on top belongs to the rent."""
    book = opened(
        workbook_bytes(plan, inputs={("Assumptions", "B5"): 200.0, ("Assumptions", "C14"): "yes"}), values=True
    )
    titles = {row[0].value: row for row in book["Scenarios"].iter_rows(min_row=25)}
    owned, electricity = titles["Owned: capital, maintenance, hosting"], titles["Owned: electricity, PUE applied"]
    machine = book["Assumptions"]["A14"].value
    pool = next(p for p in plan.pools if p.machine == machine)
    price = next(p.usd_per_hour for p in plan.prices if p.machine == machine)
    rent = (price + electricity[2].value) * 200
    saved = (rent - owned[2].value * 730 - electricity[2].value * 200) * (pool.count + pool.spares)
    assert titles["Owning saves, all of this type"][2].value == pytest.approx(saved)


def test_no_electricity_and_other_spares(plan: Plan) -> None:
    book = opened(
        workbook_bytes(plan, inputs={("Assumptions", "B6"): 0.0, ("Bill of materials", "D5"): 5.0}), values=True
    )
    for sheet in book:
        for row in sheet.iter_rows(values_only=True):
            assert not any(str(value).startswith("#") for value in row), (sheet.title, row)
    more = 5 - plan.pools[0].spares
    counts = [c.value for c in book["Scenarios"][6]]
    assert sum(counts[2:4]) == plan.machines + more
    units = next(r[1] for r in book["Summary"].iter_rows(values_only=True) if r[0] == "Rack units")
    each = Catalog().machine(plan.pools[0].machine).rack_units or 0
    assert units == (plan.rack_units or 0) + more * each


def test_a_missing_price_is_not_a_price_of_nothing(plan: Plan) -> None:
    """#N/A through every total, until somebody types the price; what needs it not stays."""
    no_price = plan.model_copy(update={
        "prices": [p for p in plan.prices if p.machine != "dgx-a100"], "cost_usd_per_hour": None,
        "cost_usd_per_month": None, "cost_usd_per_million_tokens": None,
    })  # fmt: skip
    book = opened(workbook_bytes(no_price), values=True)
    assert named(book, "total_usd_per_month").value == "#N/A"
    assert named(book, "rated_kw").value == pytest.approx(plan.power_w / 1e3)
    assert book["Assumptions"]["B15"].value is None
    rows = {row[0].value: [cell.value for cell in row] for row in book["Scenarios"].iter_rows(min_row=5, max_row=12)}
    assert rows["Baseline-H100"][5] == 190.0
    assert rows["Baseline-A100"][5] == "#N/A"


def test_injected_text_stays_text(plan: Plan) -> None:
    attack = "=cmd|' /C calc'!A0"
    hurt = plan.model_copy(update={
        "prices": [p.model_copy(update={"source": attack, "provider": "@SUM(1)", "book": "+1+1"}) for p in plan.prices],
        "notes": ["-2+3+cmd|' /C calc'!A0"], "workload": attack, "scenario": plan.scenario | {"workload": attack},
    })  # fmt: skip
    content = workbook_bytes(hurt)
    book = opened(content, values=False)
    found = [cell for sheet in book for row in sheet.iter_rows() for cell in row if "cmd|" in str(cell.value)]
    assert len(found) >= 4
    assert {cell.data_type for cell in found} == {"s"}
    begins = [cell for cell in found if str(cell.value)[0] in "=-"]
    assert begins and all(cell.quotePrefix for cell in begins)  # nor when somebody edits the cell
    styles = zipfile.ZipFile(io.BytesIO(content)).read("xl/styles.xml").decode()
    assert 'quotePrefix="1"' in styles


def test_a_file_is_written_whole_or_not_at_all(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.xlsx"
    planner.export_workbook(plan, path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        planner.export_workbook(plan, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.xlsx"]


def test_names_that_are_no_workbook_and_files_that_are_no_plan(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.xlsx file") as caught:
        planner.export_workbook(plan, tmp_path / "plan.xls")
    assert caught.value.fix == "name it plan.xlsx"
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ScenarioError, match="not a plan"):
        planner.export_workbook(tmp_path / "no.json", tmp_path / "plan.xlsx")
    assert not (tmp_path / "plan.xlsx").exists()


def test_without_the_extra_it_says_what_to_install(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    with pytest.raises(OutputError, match="xlsxwriter is not installed") as caught:
        planner.export_workbook(plan, tmp_path / "plan.xlsx")
    assert caught.value.fix == "pip install 'splitwise-planner[xlsx]'"


def test_objectives_as_simulated() -> None:
    plan = planner.optimize(slo="ttft=1s", machines="dgx-h100", verify_runs=2, verify_requests=5000)
    assert plan.certificate is not None
    (objective,) = plan.certificate.objectives
    sheet = opened(workbook_bytes(plan), values=True)["Summary"]
    (row,) = (row for row in sheet.iter_rows(values_only=True) if row[0] == "TTFT p99")
    first = plan.predicted[0]
    assert row[1:5] == pytest.approx((1.0, first.predicted, 1 - objective.simulated.value, objective.simulated.value))
    assert row[5].endswith(" s") and row[6] == "met"
