"""`planner validate`: what stands last is the plan, exit codes, formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Planner = Callable[..., Any]


@pytest.fixture
def plan(planner: Planner, tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    planner("optimize", "--rate", "10/s", "--machine", "dgx-h100", "--design", "baseline", "--output", file)
    return file


def _run(plan: Path, folder: Path, factor: float) -> Path:
    """The plan's own percentiles, TBT and E2E times a factor, as a table."""
    rows = {r["metric"]: r for r in json.loads(plan.read_text())["percentiles"]}
    file = folder / "run.csv"
    file.write_text(
        "rate_per_s,isl,osl,n_requests,tbt_p50_s,e2e_p50_s\n"
        f"10,1154.7,211.1,2000,{factor * rows['tbt']['p50_s']},{factor * rows['e2e']['p50_s']}\n"
    )
    return file


def test_within_and_not(planner: Planner, plan: Path, tmp_path: Path) -> None:
    text = planner("validate", _run(plan, tmp_path, 1.0), plan).out
    assert text.startswith("Within the stated error") and "TBT p50" in text
    assert "the file has no" in " ".join(text.split())
    text = planner("validate", _run(plan, tmp_path, 1.6), plan, code=4).out
    assert text.startswith("NOT within") and "OUTSIDE" in text and "kernels" in text and "--derate 0." in text
    found = json.loads(planner("validate", tmp_path / "run.csv", plan, "--format", "json", code=4).out)
    assert found["runs"][0]["causes"][0]["cause"] == "kernels"
    rows = planner("validate", tmp_path / "run.csv", plan, "--format", "csv", code=4).out
    assert rows.startswith("source,metric,statistic")


def test_one_machine_in_the_place_of_a_plan(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "run.csv"
    file.write_text("rate_per_s,isl,osl,n_requests,tbt_p50_ms\n1,500,50,200,7.5\n")
    asked = ("--machine", "lambda-1x-h100", "--model", "llama-3.1-8b")
    assert "lambda-1x-h100 mixed (1 x TP1)" in planner("validate", file, *asked).out


def test_bad_input(planner: Planner, plan: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("")
    assert "no benchmark is given" in planner("validate", plan, code=2).err
    assert "the file is empty" in planner("validate", empty, plan, code=2).err
    run = _run(plan, tmp_path, 1.0)
    assert "no plan is given" in planner("validate", run, code=2).err
    assert "did you mean: vllm" in planner("validate", run, plan, "--input-format", "vlm", code=2).err
