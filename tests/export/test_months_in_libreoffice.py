"""The months of a fleet after an edit, computed by LibreOffice and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.export.result_tables import tables_of
from planner.export.workbook.results import results_workbook

from .libreoffice import program, recalculated

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")


@pytest.mark.skipif(program() is None, reason="LibreOffice is not installed (apt-get install libreoffice-calc)")
def test_months_in_libreoffice_after_an_edit(tmp_path: Path) -> None:
    found = planner.procure({
        "workloads": {"chat": {"workload": "azure-conv-2023", "rate": "30/s", "slo": ["ttft=1s"]}},
        "machines": ["dgx-h100"], "plans": ["owned", "on_demand"], "horizon": "18 months", "growth": 0.03,
        "stage": "3 months",
    })  # fmt: skip
    fleet = json.loads(found.model_dump_json())
    book_path = tmp_path / "f.xlsx"
    book_path.write_bytes(results_workbook("f", tables_of(fleet)[:1], fleet))
    book = openpyxl.load_workbook(book_path)
    line = fleet["purchases"][0]
    book["Months"]["C5"] = line["count"] + 1
    book["Months"]["D5"] = line["fixed_usd_per_hour"] * 2
    book.save(book_path)
    (copy,) = recalculated([book_path], tmp_path)
    after = openpyxl.load_workbook(copy, data_only=True)["Months"]
    total = next(row for row in after.iter_rows(values_only=True) if row[0] == "Total")
    more = (line["count"] + 1) / line["count"]
    usd = fleet["cost_usd"] + line["fixed_usd"] * (2 * more - 1) + line["usage_usd"] * (more - 1)
    assert total[5] == pytest.approx(usd, abs=0.01)
