"""`planner cost`: forms of output, and bad input by its option."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

POOL = ("--pool", "mixed=dgx-h100:4:tp4")
Planner = Callable[..., Any]


def test_table_json_and_csv_agree(planner: Planner, tmp_path: Path) -> None:
    report = json.loads(planner("cost", *POOL, "--format", "json").out)
    table = planner("cost", *POOL)
    assert table.err == ""
    on_demand = next(p for p in report["plans"] if p["plan"] == "on_demand")
    assert on_demand["usd_per_hour"] == pytest.approx(152.0)
    assert "on demand" in table.out and "152.00" in table.out
    rows = list(csv.DictReader(io.StringIO(planner("cost", *POOL, "--format", "csv").out)))
    assert {r["plan"]: float(r["all_usd_per_hour"]) for r in rows} == pytest.approx(
        {p["plan"]: p["usd_per_hour"] for p in report["plans"]}
    )
    file = tmp_path / "cost.json"
    shown = planner("cost", *POOL, "--output", file)
    assert json.loads(file.read_text()) == report
    assert "warning: the prices of splitwise-2023 are" in shown.err and "(2023-11-30)" in shown.err
    assert planner("cost", *POOL, "--output", file, "--quiet").err == ""


def test_ownership_lies_where_inferencex_has_it(planner: Planner) -> None:
    """SemiAnalysis InferenceX: 1.30 to 1.69 USD a GPU-hour of H100."""
    report = json.loads(planner("cost", *POOL, "--format", "json", "--quiet").out)
    owned = next(p for p in report["plans"] if p["plan"] == "owned")
    assert 1.30 <= owned["usd_per_accelerator_hour"] <= 1.69


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CLUSTER: no cluster is given"),
        ([*POOL, "plan.json"], "CLUSTER: a cluster file and --pool are both given"),
        ([*POOL, "--horizon", "3"], "--horizon: a duration needs its unit"),
        ([*POOL, "--use", "0 %"], "--use: machines are switched on"),
        ([*POOL, "--cost-of-capital", "-100 %"], "--cost-of-capital: a yearly rate must be above"),
        ([*POOL, "--start", "soon"], "--start: not a date"),
        ([*POOL, "--pue", "0.99"], "--pue: must be greater than or equal to 1"),
        ([*POOL, "--region", "frnce"], "--region: unknown region 'frnce'"),
        ([*POOL, "--prices", "no-such"], "--prices: unknown price book 'no-such'"),
        (["no-such.json"], "no-such.json: "),
    ],
)
def test_bad_input_names_its_option(planner: Planner, arguments: list[str], message: str) -> None:
    assert planner("cost", *arguments, code=2).err.startswith(f"error: {message}")
