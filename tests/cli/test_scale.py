"""`planner scale`: the table, its file in a deployment, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Planner = Callable[..., Any]

ASKED = ("--pool", "mixed=dgx-h100:3:tp4", "--rate", "36/s", "--slo", "ttft=1s", "--slo", "tbt=60ms")
DAY = ("--rates", "8/s,30/s,12/s", "--period", "15min", "--cold-start", "2min", "--hysteresis", "2min")


def test_the_table_and_the_day(planner: Planner, tmp_path: Path) -> None:
    text = planner("scale", *ASKED, *DAY).out
    assert "dgx-h100 mixed" in text and "HELD" in text and "measured up to" in text and "less)" in text
    plan, table, folder = tmp_path / "plan.json", tmp_path / "scaling.json", tmp_path / "bundle"
    planner("evaluate", *ASKED, "--format", "json", "--output", plan)
    planner("scale", plan, *DAY, "--format", "json", "--output", table)
    assert [step["machines"] for step in json.loads(table.read_text())["steps"]] == [[1], [2], [3]]
    planner("deploy", plan, "--for", "vllm", "--scaling", table, "--output", folder)
    assert "ScaledObject" in (folder / "manifests" / "scaling.yaml").read_text()
    rows = planner("scale", plan, *DAY, "--format", "csv").out.splitlines()
    assert len(rows) == 4 and rows[0].startswith("up_to_per_s,measured_up_to_per_s")


def test_bad_input(planner: Planner, tmp_path: Path) -> None:
    assert "above what the plan is for" in planner("scale", *ASKED, "--rates", "99/s", "--period", "1h", code=2).err
    assert "no cluster is given" in planner("scale", code=2).err
    broken = tmp_path / "scaling.json"
    broken.write_text("{}")
    plan = tmp_path / "plan.json"
    planner("evaluate", *ASKED, "--format", "json", "--output", plan)
    assert "not a scaling table" in planner("deploy", plan, "--for", "vllm", "--scaling", broken, code=2).err
