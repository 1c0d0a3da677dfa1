"""`planner evaluate`: a cluster from a file, from a plan or from --pool options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.cli.clusters import read_pool
from planner.planning.plan import Plan

Planner = Callable[..., Any]
POOLS = ["--pool", "prefill=dgx-h100:4", "--pool", "decode=dgx-h100:4:tp8"]


def test_a_cluster_that_is_large_enough_meets_its_objectives(planner: Planner) -> None:
    shown = planner("evaluate", *POOLS, "--slo", "ttft=1s")
    assert "Meets the objectives: $304.00/h" in shown.out
    assert "Proof" not in shown.out
    assert "Considered" not in shown.out


def test_a_cluster_that_misses_exits_with_3_and_is_printed_all_the_same(planner: Planner) -> None:
    shown = planner("evaluate", *POOLS, "--slo", "ttft=1s", "--rate", "1000/s", "--format", "json", code=3)
    plan = Plan.model_validate_json(shown.out)
    assert not plan.meets_objectives
    assert plan.headroom < 1
    assert plan.expected_power_w <= plan.power_w
    shown = planner("evaluate", *POOLS, "--slo", "ttft=1s", "--rate", "1000/s", code=3)
    assert "Does not meet the objectives (TTFT p99)" in shown.out
    assert "MISSED" in shown.out


@pytest.mark.parametrize(
    "arguments", [["--slo", "ttft=1s", "--spares", "1"], ["--objective", "throughput", "--max-cost", "200 USD/h"]]
)
def test_a_plan_evaluates_to_what_it_predicts(
    planner: Planner, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANNER_MACHINE", "dgx-a100 dgx-h100")
    file = tmp_path / "plan.json"
    planner("optimize", *arguments, "--output", file, "--quiet")
    plan = Plan.model_validate_json(file.read_text())
    again = Plan.model_validate_json(planner("evaluate", file, "--format", "json").out)
    assert again.cost_usd_per_hour == pytest.approx(plan.cost_usd_per_hour)
    assert again.power_w == pytest.approx(plan.power_w)
    assert again.rate_per_s == pytest.approx(plan.rate_per_s)
    assert [p.layout for p in again.pools] == [p.layout for p in plan.pools]
    for ours, theirs in zip(plan.predicted, again.predicted, strict=True):
        assert theirs.predicted == pytest.approx(ours.predicted, rel=2e-3)
    assert again.solver.status == "evaluated"


def test_options_change_the_scenario_of_a_plan(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planner("optimize", "--slo", "ttft=1s", "--output", file, "--quiet")
    more = Plan.model_validate_json(planner("evaluate", file, "--rate", "1000/s", "--format", "json", code=3).out)
    assert more.demand_rate_per_s == 1000.0
    assert more.scenario["slo"] == ["ttft.p99=1s"]


def test_a_cluster_file_in_yaml_or_json(planner: Planner, tmp_path: Path) -> None:
    pools = [{"role": "mixed", "machine": "dgx-h100", "count": 6, "tensor_parallel": 4}]
    (tmp_path / "c.json").write_text(json.dumps({"pools": pools}))
    (tmp_path / "c.yaml").write_text("pools:\n  - {role: mixed, machine: dgx-h100, count: 6, tensor_parallel: 4}\n")
    (tmp_path / "s.yaml").write_text("slo: ttft=2s\nrate: 50/s\n")
    scenario = ["--scenario", tmp_path / "s.yaml"]
    by_json = planner("evaluate", tmp_path / "c.json", *scenario).out
    assert by_json == planner("evaluate", tmp_path / "c.yaml", *scenario).out
    assert by_json == planner("evaluate", "--pool", "mixed=dgx-h100:6:tp4", *scenario).out
    assert "at 50 requests/s" in by_json


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("pools:\n  - {role: mixed, machine: dgx-h100, cuont: 6}\n", 2, "pools.0.cuont: unknown field"),
        ("pools:\n  - role: mixed\n    machine: dgx-h100\n    count: 0\n", 4, "pools.0.count"),
        ("pools:\n  - role: mixd\n    machine: dgx-h100\n    count: 1\n", 2, "'mixd' is not one of"),
        ("# none\npools: []\n", 2, "at least one pool"),
        ("pools:\n  - {role: prefill, machine: dgx-h100, count: 6}\n", 1, "a prefill pool and no decode pool"),
        ("pool: 3\n", 1, "pool"),
        ("pools: [\n", 2, "not YAML"),
    ],
)
def test_bad_cluster_files_name_the_line(planner: Planner, tmp_path: Path, text: str, line: int, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    shown = planner("evaluate", file, code=2)
    assert shown.err.startswith(f"error: {file}:{line}: "), shown.err
    assert message in shown.err


def test_an_unknown_machine_names_the_file_or_the_option(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("pools:\n  - {role: mixed, machine: dgx-h10, count: 6}\n")
    assert planner("evaluate", file, code=2).err.startswith(f"error: {file}: unknown machine 'dgx-h10'")
    shown = planner("evaluate", "--pool", "mixed=dgx-h10:6", code=2)
    assert shown.err.startswith("error: --pool: unknown machine 'dgx-h10'")
    assert "dgx-h100" in shown.err


def test_pools_are_read() -> None:
    assert read_pool("prefill=dgx-h100:27") == {"role": "prefill", "machine": "dgx-h100", "count": 27}
    assert read_pool(" mixed = aws-p4d.24xlarge : 2 : TP4pp2 ") == {
        "role": "mixed", "machine": "aws-p4d.24xlarge", "count": 2, "tensor_parallel": 4, "pipeline_parallel": 2,
    }  # fmt: skip
    assert read_pool("decode=dgx-h200:1:tp8ep8")["expert_parallel"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefill=dgx-h100", "not a pool"),
        ("prefill:dgx-h100=2", "not a pool"),
        ("prefill=dgx-h100:-2", "not a pool"),
        ("prefill=dgx-h100:0", "at least one machine"),
        ("prefil=dgx-h100:2", "unknown role 'prefil'"),
        ("prefill=dgx-h100:2:xp8", "xp8 is not a parallel degree"),
        ("prefill=dgx-h100:2:tp8tp4", "tp is given twice"),
        ("prefill=dgx-h100:2:pp2", "needs its tensor degree"),
        ("mixed=dgx-h100:2:tp3", "cannot be split 3 ways"),
        ("mixed=dgx-h100:2:tp16", "needs 16 accelerators"),
        ("mixed=dgx-h100:2:tp8ep8", "has no experts"),
    ],
)
def test_bad_pools_are_refused(planner: Planner, text: str, message: str) -> None:
    assert message in planner("evaluate", "--pool", text, code=2).err


def test_one_cluster_is_needed(planner: Planner, tmp_path: Path) -> None:
    assert "no cluster is given" in planner("evaluate", code=2).err
    assert "both given" in planner("evaluate", tmp_path / "c.yaml", "--pool", "mixed=dgx-h100:2", code=2).err


def test_a_model_that_does_not_fit_is_infeasible(planner: Planner) -> None:
    arguments = ["--pool", "mixed=8x-rtx-2080-ti:10", "--model", "llama-2-70b"]
    assert "does not fit" in planner("evaluate", *arguments, code=3).err
