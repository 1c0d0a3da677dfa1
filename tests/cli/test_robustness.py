"""`planner robustness`: options, formats, exit codes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from planner.export.tables.robustness import robustness_table
from planner.studies.robustness_result import Robustness

Planner = Callable[..., Any]
POOL = ("--pool", "mixed=dgx-h100:2:tp4", "--rate", "28/s")
SMALL = ("robustness", *POOL, "--only", "growth", "--only", "machine", "--growth", "50%")


def test_table_json_and_csv(planner: Planner) -> None:
    found = Robustness.model_validate_json(planner(*SMALL, "--format", "json").out)
    rows = list(csv.DictReader(io.StringIO(planner(*SMALL, "--format", "csv").out)))
    assert [r["title"] for r in rows] == [r.title for r in found.rows]
    assert [r.title for r in found.rows] == ["as planned", "load +50 %", "1 of 2 dgx-h100 mixed lost"]
    text = planner(*SMALL).out
    for row in found.rows:
        line = next(line for line in text.splitlines() if line.startswith(f"  {row.title}  "))
        assert ("yes" if row.holds else "NO") in line and f"{100 * row.carried_fraction:.0f} %" in line
        assert (row.to_buy or "nothing") in line
    lost = found.rows[-1]
    assert not lost.holds and lost.breaks[0] in text and "1 x dgx-h100" in lost.to_buy
    assert "predicted, not simulated" in text
    narrow = robustness_table(found, date(2026, 12, 1), width=80, table_width=80)
    assert max(map(len, narrow.splitlines())) <= 80


def test_a_cluster_that_misses_its_own_load_is_infeasible(planner: Planner) -> None:
    out = planner("robustness", *POOL[:2], "--rate", "100/s", "--only", "growth", "--growth=-50%", code=3).out
    assert "as planned" in out and "load -50 %" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mix", "azure-cod"], "--mix: unknown workload 'azure-cod'"),
        (["--growth=-120%"], "--growth: not a growth of the load"),
        (["--growth", "much"], "--growth: not a fraction"),
        (["--burst", "0"], "--burst: not a coefficient of variation"),
        (["--rack", "3"], "--rack: no pool fills such a rack"),
        (["--only", "floods"], "--only: unknown kind of mishap"),
        (["--model", "llama-3.1-7b"], "--model: unknown model"),
    ],
)
def test_bad_input(options: list[str], says: str, planner: Planner) -> None:
    assert says in planner("robustness", *POOL, *options, code=2).err


def test_a_cluster_must_be_given(planner: Planner) -> None:
    assert "no cluster is given" in planner("robustness", code=2).err
