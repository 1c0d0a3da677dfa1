"""`planner export` at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Planner

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
pytest.importorskip("xlsxwriter", reason="the extra xlsx is not installed")


@pytest.fixture
def plan_file(planner: Planner, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    planner(
        "optimize",
        "--slo",
        "ttft=1s",
        "--machine",
        "dgx-a100",
        "--machine",
        "dgx-h100",
        "--no-verify",
        "--output",
        path,
    )
    return path


def test_a_plan_becomes_a_workbook_and_old_prices_are_named(planner: Planner, plan_file: Path, tmp_path: Path) -> None:
    done = planner("export", plan_file, plan_file, "--xlsx", tmp_path / "plan.xlsx")
    assert done.out == ""
    assert "wrote " in done.err
    assert "warning: the prices of splitwise-2023 are three years old (2023-11-30)" in done.err
    book = openpyxl.load_workbook(tmp_path / "plan.xlsx", data_only=True)
    assert book["Bill of materials"]["B5"].value == "dgx-h100"
    assert "plan" in [row[0].value for row in book["Scenarios"].iter_rows(min_row=6, max_row=12)]
    assert planner("export", plan_file, "--xlsx", tmp_path / "plan.xlsx", "--quiet").err == ""


def test_a_page_beside_it_or_alone(planner: Planner, plan_file: Path, tmp_path: Path) -> None:
    planner("export", plan_file, "--xlsx", tmp_path / "plan.xlsx", "--html", tmp_path / "plan.html")
    assert (tmp_path / "plan.xlsx").exists()
    assert "<h1>Baseline-H100 for llama-3.1-70b" in (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert "does not exist" in planner("export", plan_file, "--html", tmp_path / "no" / "plan.html", code=2).err


def test_another_currency_beside_usd(planner: Planner, plan_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rates" / "currencies"
    folder.mkdir(parents=True)
    (folder / "EUR.yaml").write_text("source: a bank\nkind: quote\ndate: 2026-11-20\nusd_per_unit: 1.25\n")
    both = ("--xlsx", tmp_path / "plan.xlsx", "--html", tmp_path / "plan.html", "--currency", "EUR")
    planner("export", plan_file, *both, "--catalog", tmp_path / "rates")
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert "1 EUR = 1.25 USD, 2026-11-20: a bank" in page
    book = openpyxl.load_workbook(tmp_path / "plan.xlsx", data_only=True)
    usd, eur = (book["In EUR"].cell(8, column).value for column in (2, 3))
    assert eur == pytest.approx(usd / 1.25) and f"{eur:,.2f} EUR" in page
    assert "no rate for EUR" in planner("export", plan_file, *both, code=2).err


def test_bad_input(planner: Planner, plan_file: Path, tmp_path: Path) -> None:
    assert "--xlsx plan.xlsx" in planner("export", plan_file, code=2).err
    assert "an .xlsx file" in planner("export", plan_file, "--xlsx", tmp_path / "plan.csv", code=2).err
    assert "does not exist" in planner("export", plan_file, "--xlsx", tmp_path / "no" / "plan.xlsx", code=2).err
    assert "cannot read the file" in planner("export", tmp_path / "no.json", "--xlsx", tmp_path / "x.xlsx", code=2).err
    assert not list(tmp_path.glob("*.xlsx"))
