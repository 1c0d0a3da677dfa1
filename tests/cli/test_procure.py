"""`planner procure`: formats, exit codes, and mistakes told where they stand."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.portfolio.result import Procurement

Planner = Callable[..., Any]

FLEET = """\
workloads:
  chat: {workload: azure-conv-2023, rate: 70/s}
  docs:
    prompt_tokens: 3000
    output_tokens: 300
    batch: {requests: 1 M, arrives: 18:00, deadline: 06:00}
plans: [on_demand]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    return path


def test_the_table_says_what_to_have_and_what_each_period_uses(planner: Planner, fleet: Path) -> None:
    shown = planner("procure", str(fleet))
    lines = shown.out.splitlines()
    assert lines[0].startswith("Fleet for 2 workloads over 1 year: chat, docs")
    assert lines[1].startswith("Least cost: $")
    for words in ("on demand", "06:00-12:00", "00:00-06:00", "TTFT p99", "done by ", "optimal (gap 0 %)",
                  "Per dollar", "not simulated"):  # fmt: skip
        assert words in shown.out
    assert shown.err == ""
    assert max(map(len, lines)) <= 120


def test_json_is_the_result_and_csv_has_the_rows_asked_for(planner: Planner, fleet: Path, tmp_path: Path) -> None:
    found = Procurement.model_validate_json(planner("procure", str(fleet), "--format", "json").out)
    assert found.meets_objectives
    for rows in ("purchases", "pools", "periods", "predicted"):
        text = planner("procure", str(fleet), "--format", "csv", "--rows", rows).out
        assert len(list(csv.DictReader(io.StringIO(text)))) == len(found.to_records(rows))  # type: ignore[arg-type]
    there = tmp_path / "out.json"
    written = planner("procure", str(fleet), "--output", str(there))
    assert written.out == "" and "warning: the prices of splitwise-2023 are three years old" in written.err
    assert Procurement.model_validate_json(there.read_text()) == found


@pytest.mark.parametrize(
    ("old", "new", "options", "code", "message"),
    [
        ("rate: 70/s", "rat: 70/s", [], 2, "fleet.yaml:2: workloads.chat.rat: unknown field"),
        ("azure-conv-2023", "azure-conv-2024", [], 2, "workloads.chat.workload: unknown workload"),
        ("", "", ["--gap", "half"], 2, "--gap"),
        ("", "", ["--horizon", "3 kg"], 2, "--horizon"),
        ("", "", ["--plan", "lease"], 2, "--plan"),
        ("", "", ["--sharing", "some"], 2, "--sharing"),
        ("plans:", "max_total_machines: 2\nplans:", [], 3, "max_total_machines: 2 is too little"),
    ],
)
def test_exit_codes_and_where_mistakes_are(
    planner: Planner, fleet: Path, old: str, new: str, options: list[str], code: int, message: str
) -> None:
    fleet.write_text(FLEET.replace(old, new, 1) if old else FLEET, encoding="utf-8")
    shown = planner("procure", fleet, *options, code=code)
    assert shown.out == ""
    assert message in shown.err


def test_a_file_that_is_not_there(planner: Planner, tmp_path: Path) -> None:
    shown = planner("procure", tmp_path / "none.yaml", code=2)
    assert "cannot read" in shown.err
