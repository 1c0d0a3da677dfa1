"""`planner simulate`: tables and files, exit codes, options that errors name, and a real Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.cli.simulate import read_seeds
from planner.errors import ScenarioError
from planner.simulation.report import SimulationReport

Planner = Callable[..., Any]
POOLS = ["--pool", "prefill=dgx-h100:2", "--pool", "decode=dgx-h100:2"]
SMALL = [*POOLS, "--rate", "20/s", "--requests", "3000", "--seeds", "1"]


def test_a_cluster_that_is_large_enough(planner: Planner) -> None:
    shown = planner("simulate", *SMALL, "--slo", "ttft=1s").out
    assert "Splitwise-HH for llama-3.1-70b" in shown
    assert "Meets the objectives" in shown
    assert "Poisson, seed 1" in shown
    assert all(word in shown for word in ("TTFT", "TBT", "E2E", "longest gap", "queueing", "KV transfer", "predicted"))


def test_a_cluster_that_is_too_small_exits_with_3_and_is_shown_all_the_same(planner: Planner) -> None:
    arguments = ["simulate", *SMALL, "--load", "8", "--requests", "6000"]
    shown = planner(*arguments, code=3).out
    assert "UNSTABLE" in shown and "grows without end" in shown
    report = SimulationReport.model_validate_json(planner(*arguments, "--format", "json", code=3).out)
    assert not report.stable


def test_a_plan_is_simulated_with_its_scenario(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planner("optimize", "--slo", "ttft=1s", "--machine", "dgx-h100", "--output", file, "--quiet", "--no-verify")
    plan = json.loads(file.read_text())
    shown = planner("simulate", file, "--format", "json", "--requests", "6000", "--seeds", "1")
    report = json.loads(shown.out)
    assert report["arrivals"]["rate_per_s"] == plan["rate_per_s"]
    assert [p["count"] for p in report["pools"]] == [p["count"] for p in plan["pools"]]
    assert report["objectives"][0]["objective"] == plan["predicted"][0]["objective"]


def test_rows_of_every_request(planner: Planner, tmp_path: Path) -> None:
    file, table = tmp_path / "requests.csv", tmp_path / "result.csv"
    shown = planner("simulate", *SMALL, "--requests-file", file, "--output", table)
    assert shown.out == ""
    assert f"wrote {file}" in shown.err and f"wrote {table}" in shown.err
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) == 3000
    assert float(rows[0]["e2e_s"]) > float(rows[0]["ttft_s"]) > 0
    kinds = {row["kind"] for row in csv.DictReader(table.read_text().splitlines())}
    assert kinds == {"latency", "objective", "pool"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail", "decode:7@5s"], "--fail: there is no machine decode:7"),
        (["--fail", "decod:0@5s"], "did you mean: decode"),
        (["--rates", "10/s,-3/s", "--period", "1h"], "--rates: a rate cannot be negative"),
        (["--policy", "split"], "did you mean: splitwise?"),
        (["--routing", "robin"], "did you mean: round-robin?"),
        (["--replay"], "--workload: a workload of the catalog has no timestamps"),
        (["--seeds", "two"], "--seeds: not seeds"),
        (["--requests", "0"], "--requests: out of range"),
        (["--requests", "50", "--seeds", "1"], "--requests: the runs are shorter than the warm-up"),
        (["--requests-file", "rows.xlsx"], "--requests-file: requests are written as CSV or Parquet"),
        (["--chunk-tokens", "0"], "--chunk-tokens: a chunk holds at least one token"),
        (["--workload", "azure-conv-2022"], "azure-conv-2023"),
    ],
)
def test_errors_name_the_option(planner: Planner, arguments: list[str], message: str) -> None:
    assert message in planner("simulate", *POOLS, *arguments, code=2).err


def test_one_cluster_is_needed(planner: Planner) -> None:
    assert "no cluster is given" in planner("simulate", code=2).err
    assert "--pool" in planner("simulate", "--pool", "mixed=dgx-h1000:2", code=2).err


def test_seeds_as_text() -> None:
    assert read_seeds(None) is None
    assert read_seeds("3") == 3
    assert read_seeds("7, 8") == [7, 8]
    assert read_seeds("7,") == [7]
    with pytest.raises(ScenarioError, match="not seeds"):
        read_seeds("-1")


def test_ctrl_c_leaves_a_valid_part_of_the_result(commands: dict[str, str], tmp_path: Path) -> None:
    """A real interrupt, sent once the progress on the terminal says that it is simulating."""
    file = tmp_path / "result.json"
    command = ["planner", "simulate", *POOLS, "--rate", "30/s", "--requests", "2000000", "--output", str(file)]
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        command,
        env=commands | {"TERM": "xterm"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    said = b""
    while b"simulating" not in said:
        said += os.read(ours, 1000)
    assert b"left" in said
    running.send_signal(signal.SIGINT)
    while running.poll() is None:
        try:
            said += os.read(ours, 1000)
        except OSError:  # the other side is closed
            break
    assert running.wait(60) == 130
    os.close(ours)
    assert b"interrupted" in said
    report = SimulationReport.model_validate_json(file.read_text())
    assert report.interrupted
    assert 0 < report.n_requests < 2_000_000
    assert any("interrupted" in note for note in report.notes)
