"""Every result leaves: as a workbook, a page, and CSVs that say the same; a fleet's months compute themselves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner as package
from planner.export.result_tables import amounts_in, in_currency, is_money, tables_of
from planner.export.workbook.results import results_workbook

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")
Planner = Callable[..., Any]
CHAT = {"chat": {"workload": "azure-conv-2023", "rate": "30/s", "slo": ["ttft=1s"]}}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What commands print as JSON."""
    fleet = package.procure({
        "workloads": CHAT, "machines": ["dgx-h100"], "plans": ["owned", "on_demand"], "horizon": "18 months",
        "growth": 0.03, "stage": "3 months",
    })  # fmt: skip
    pools = [{"role": "mixed", "machine": "dgx-h100", "count": 4, "tensor_parallel": 4}]
    return {
        "procure": json.loads(fleet.model_dump_json()),
        "cost": json.loads(package.cost(pools, rate="20/s").model_dump_json()),
        "compare": json.loads(package.compare(designs=["Baseline-H100"], rate="20/s", verify=False).model_dump_json()),
        "rows": [{"rate_per_s": 1.0, "cost_usd_per_hour": 38.0}, {"rate_per_s": 2.0, "cost_usd_per_hour": 76.0}],
    }


@pytest.mark.parametrize("name", ["procure", "cost", "compare", "rows"])
def test_every_record_is_in_every_form(planner: Planner, results: dict[str, Any], name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(results[name]))
    done = planner(
        "export", file, "--xlsx", tmp_path / "r.xlsx", "--html", tmp_path / "r.html", "--csv", tmp_path / "r"
    )
    assert done.err.count("wrote") == 3
    tables = tables_of(results[name])
    book = openpyxl.load_workbook(tmp_path / "r.xlsx", data_only=True)
    page = (tmp_path / "r.html").read_text()
    for table in tables:
        with (tmp_path / "r" / f"{table.title.replace(' ', '_').lower()}.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) == len(table.records)
        assert f"<h2>{table.title}</h2>" in page
        sheet = book["Payments" if name == "procure" and table.title == "Months" else table.title]
        assert sheet.max_row == 3 + len(table.records)
        for row, record in zip(sheet.iter_rows(min_row=4, values_only=True), table.records, strict=True):
            for value, column in zip(row, table.columns, strict=True):
                if isinstance(record.get(column), float):
                    assert value == pytest.approx(record[column])


def test_months_are_live_and_add_up_to_the_fleet(results: dict[str, Any], tmp_path: Path) -> None:
    fleet = results["procure"]
    (tmp_path / "f.xlsx").write_bytes(results_workbook("f", tables_of(fleet)[:1], fleet))
    values = openpyxl.load_workbook(tmp_path / "f.xlsx", data_only=True)["Months"]
    total = next(row for row in values.iter_rows(values_only=True) if row[0] == "Total")
    assert total[5] == pytest.approx(fleet["cost_usd"])
    assert list(total[6:]) == pytest.approx([m["cost_usd"] for m in fleet["months"]])
    formulas = openpyxl.load_workbook(tmp_path / "f.xlsx")["Months"]
    assert str(formulas["G5"].value).startswith("=")


def test_months_contain_changes_and_what_leaves(results: dict[str, Any], tmp_path: Path) -> None:
    fleet = dict(results["procure"])
    fleet["months"] = [m | {"changes_usd": 10.0, "egress_usd": 5.0} for m in fleet["months"]]
    (tmp_path / "f.xlsx").write_bytes(results_workbook("f", tables_of(fleet)[:1], fleet))
    values = openpyxl.load_workbook(tmp_path / "f.xlsx", data_only=True)["Months"]
    total = next(row for row in values.iter_rows(values_only=True) if row[0] == "Total")
    assert total[5] == pytest.approx(fleet["cost_usd"] + 15.0 * len(fleet["months"]))


def test_another_currency_at_the_rate_of_the_catalog(planner: Planner, results: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    file.write_text(json.dumps(results["cost"]))
    refused = planner("export", file, "--csv", tmp_path / "out", "--currency", "EUR", code=2)
    assert "no rate for EUR" in refused.err
    folder = tmp_path / "rates" / "currencies"
    folder.mkdir(parents=True)
    (folder / "EUR.yaml").write_text("source: a bank\nkind: quote\ndate: 2026-11-20\nusd_per_unit: 1.25\n")
    planner("export", file, "--csv", tmp_path / "out", "--currency", "EUR", "--catalog", tmp_path / "rates")
    with (tmp_path / "out" / "plans.csv").open() as stream:
        (first, *_) = csv.DictReader(stream)
    assert float(first["eur_per_hour"]) == pytest.approx(results["cost"]["plans"][0]["usd_per_hour"] / 1.25)
    assert "1.25 USD for 1 EUR, 2026-11-20" in (tmp_path / "out" / "summary.csv").read_text()
    assert not any(
        "usd_per_hour" in c
        for t in in_currency(tables_of(results["cost"]), "EUR", catalog(tmp_path))
        for c in t.columns
    )


def test_months_in_another_currency_are_live_too(results: dict[str, Any]) -> None:
    fleet = results["procure"]
    content = results_workbook("f", tables_of(fleet)[:1], amounts_in(fleet, 1.25), "EUR")
    sheet = openpyxl.load_workbook(io.BytesIO(content), data_only=True)["Months"]
    total = next(row for row in sheet.iter_rows(values_only=True) if row[0] == "Total")
    assert total[5] == pytest.approx(fleet["cost_usd"] / 1.25)
    assert not any("$" in cell.number_format for row in sheet.iter_rows() for cell in row)


def catalog(folder: Path) -> Any:
    from planner.catalog.catalog import Catalog

    return Catalog([folder / "rates"])


def test_which_fields_are_money() -> None:
    assert all(map(is_money, ("usd_per_hour", "cost_usd", "plan_cost_usd_per_hour", "prices.usd_per_hour")))
    assert not any(map(is_money, ("usd_per_unit", "requests_per_usd", "rate_per_s", "used_fraction")))


def test_what_is_no_result(planner: Planner, tmp_path: Path) -> None:
    for content in ("", "[]", "not json", "3"):
        (tmp_path / "x.json").write_text(content)
        planner("export", tmp_path / "x.json", "--html", tmp_path / "x.html", code=2)
    assert not (tmp_path / "x.html").exists()
