"""`planner compare`: options, formats, exit codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.studies import comparison as module
from planner.studies.comparison_result import Comparison

Planner = Callable[..., Any]
SMALL = ("compare", "--slo", "ttft=1s", "--rate", "20/s", "--design", "Baseline-H100", "--design", "Splitwise-HA")


def test_two_traces_as_table_json_and_csv(planner: Planner) -> None:
    two = (*SMALL, "--workload", "azure-conv-2023", "--workload", "azure-code-2023")
    shown = planner(*two)
    assert shown.err == ""
    assert "azure-conv-2023: least cost at 20 requests/s" in shown.out
    printed = planner(*two, "--format", "json").out
    assert printed == planner(*two, "--format", "json").out
    result = Comparison.model_validate_json(printed)
    assert result.complete and len(result.rows) == 4
    rows = list(csv.DictReader(io.StringIO(planner(*two, "--format", "csv").out)))
    assert [r["design"] for r in rows] == ["Baseline-H100", "Splitwise-HA"] * 2
    assert float(rows[0]["cost_usd_per_hour"]) == result.rows[0].cost_usd_per_hour


def test_options_become_arguments(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def stop(scenario: object, **arguments: Any) -> None:
        seen.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "compare", stop)
    planner(
        "compare", "--design", "paper", "--pair", "prefill=dgx-h100,decode=dgx-a100", "--workload", "azure-code-2023",
        "--objective", "cost", "--objective", "power", "--budget", "machines=40xdgx-h100", "--relative-to",
        "Baseline-H100", "--preset", "splitwise-iso-cost", "--rate", "10/s", "--max-pools", "2", "--verify", code=130,
    )  # fmt: skip
    expected = {
        "designs": ["paper"], "pairs": ["prefill=dgx-h100,decode=dgx-a100"], "workloads": ["azure-code-2023"],
        "objectives": ["cost", "power"], "budgets": ["machines=40xdgx-h100"], "relative_to": "Baseline-H100",
        "preset": "splitwise-iso-cost", "rate_per_s": 10.0, "max_pools": 2, "verify": True,
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected
    assert "design" not in seen and "workload" not in seen and "objective" not in seen


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--design", "Splitwse-HA"], 2, "--design: unknown design"),
        (["--pair", "prefill=dgx-h100,decode=aws-p5.48xlarge"], 2, "--pair: dgx-h100 and aws-p5.48xlarge cannot"),
        (["--relative-to", "Baseline-A100"], 2, "--relative-to: Baseline-A100 is not among"),
        (["--budget", "cost=1"], 2, "--budget: a price per hour needs its unit"),
        (["--objective", "cheap"], 2, "--objective: unknown objective"),
        (["--preset", "paper"], 2, "--preset: unknown preset"),
        (["--workload", "azure-cod-2023"], 2, "--workload: unknown workload"),
        (["--rate", "70"], 2, "--rate"),
        (["--plot", "bars.jpg"], 2, "--plot: a picture is SVG, PNG or HTML"),
    ],
)
def test_bad_input(options: list[str], code: int, says: str, planner: Planner) -> None:
    assert says in planner(*SMALL, *options, code=code).err


def test_where_no_design_has_a_plan_the_exit_code_is_3_and_the_rows_say_why(planner: Planner) -> None:
    done = planner(*SMALL, "--budget", "cost=1USD/h", code=3)
    assert done.out.count("no plan: ") == 2
    assert "$38.00/h is enough" in done.out
    assert json.loads(planner(*SMALL, "--budget", "cost=1USD/h", "--format", "json", code=3).out)["rows"][0]["reason"]


def test_an_interruption_prints_what_is_done(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = module.plan
    calls: list[None] = []

    def once(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return plan(*arguments)

    monkeypatch.setattr(module, "plan", once)
    done = planner(*SMALL, code=130)
    assert "INTERRUPTED" in done.out and "Baseline-H100" in done.out


def test_a_picture_is_written_whole(planner: Planner, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    path = tmp_path / "bars.svg"
    assert f"wrote {path}" in planner(*SMALL, "--plot", path).err
    assert path.read_bytes().startswith(b"<?xml")
