"""`planner sweep` on the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.studies.sweep import Sweep

Planner = Callable[..., Any]
QUICK = ("--machine", "dgx-h100", "--design", "baseline", "--workers", "1")


def test_the_table_has_one_scenario_a_row_in_the_order_of_the_grid(planner: Planner) -> None:
    shown = planner("sweep", *QUICK, "--vary", "rate=20/s,70/s", "--vary", "slo=ttft=1s|splitwise|ttft=1ms")
    lines = shown.out.splitlines()
    assert lines[0] == "6 scenarios (2 rate_per_s x 3 slo): llama-3.1-70b, azure-conv-2023, dgx-h100"
    assert lines[1] == "4 have a proven plan, 2 have none; predicted, not simulated"
    assert lines[3].split("  ")[1:2] == ["requests/s"]
    assert "$/h" in lines[3] and "kW rated" in lines[3]
    starts = [line for line in lines[4:] if line.split()[:1] in (["20"], ["70"])]
    assert [line.split()[1] for line in starts] == ["ttft.p99=1s", "splitwise", "ttft.p99=1ms"] * 2
    assert "152.00" in starts[3] and "4 x dgx-h100 mixed" in starts[3]
    assert "infeasible: slo: no machine considered reaches this" in starts[2]
    assert max(map(len, lines)) <= 100


def test_a_sweep_tells_the_date_of_its_oldest_price(planner: Planner) -> None:
    arguments = ("sweep", *QUICK, "--vary", "rate=20/s,70/s")
    shown = planner(*arguments)
    assert shown.out.splitlines()[-1] == "  Prices  the oldest of 2023-11-30, three years old" and shown.err == ""
    done = planner(*arguments, "--format", "json")
    assert done.err.startswith("warning: the oldest price of this sweep is three years old (2023-11-30)")
    assert [row["oldest_price_date"] for row in json.loads(done.out)["rows"]] == ["2023-11-30"] * 2
    assert planner(*arguments, "--format", "csv", "--quiet").err == ""


def test_json_and_csv_are_the_same_bytes_every_time(planner: Planner, tmp_path: Path) -> None:
    arguments = ("sweep", *QUICK, "--vary", "rate=20/s,70/s")
    first = planner(*arguments, "--format", "json").out
    assert planner(*arguments, "--format", "json").out == first
    assert Sweep.model_validate_json(first).rows[1].cost_usd_per_hour == 152.0
    rows = list(csv.DictReader(io.StringIO(planner(*arguments, "--format", "csv").out)))
    assert [row["rate_per_s"] for row in rows] == ["20.0", "70.0"]
    assert "seconds" not in rows[0]
    timed = planner(*arguments, "--timings", "--output", tmp_path / "t.csv")
    assert timed.out == ""
    timed_rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert all(float(row.pop("seconds")) > 0 for row in timed_rows)
    assert timed_rows == rows


def test_a_file_options_and_the_environment_together(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("base: {machines: dgx-h100, design: baseline}\nvary: {rate: [20/s, 70/s], spares: [0, 1]}\n")
    monkeypatch.setenv("PLANNER_RATE", "5/s")  # --vary and the file's vary win over it
    shown = planner("sweep", file, "--workers", "1", "--vary", "spares=2", "--format", "json")
    found = json.loads(shown.out)
    assert found["vary"] == {"rate_per_s": [20.0, 70.0], "spares": [2]}
    assert [row["n_machines"] for row in found["rows"]] == [4, 6]
    wrong = planner("sweep", file, "--rate", "1/s", "--vary", "rate=2/s,3/s", code=2)
    assert "rate_per_s is varied and has a fixed value" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", "rat=1/s"], ["--vary: unknown field", "did you mean: rate"]),
        (["--vary", "rate=1/s", "--vary", "rate=2/s"], ["rate_per_s is varied twice"]),
        ([], ["--vary: nothing is varied", "fix"]),
        (
            ["--vary", "rate=1/s..200/s:150", "--vary", "arrival_cv2=1..2:100"],
            ["the grid has 15,000 scenarios"],
        ),
        (["--vary", "rate=1/s,2/s", "--max-scenarios", "1"], ["the grid has 2 scenarios", "--max-scenarios 2"]),
        (["--vary", "model=lama-3.1-70b"], ["--vary: unknown model", "llama-3.1-70b"]),
        (["--vary", "rate=1/s", "--model", "lama-3.1-70b"], ["--model: unknown model", "llama-3.1-70b"]),
        (
            ["--vary", "rate=1/s", "--results", "missing/r.jsonl"],
            ["cannot write the results", "mkdir -p missing"],
        ),
        (["--vary", "rate=1/s", "--restart"], ["--restart: there are no results", "--results"]),
        (["--vary", "rate=1/s", "--workers", "0"], ["--workers"]),
        (["missing.yaml"], ["missing.yaml"]),
    ],
)
def test_bad_input_is_refused_with_the_way_out(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = planner("sweep", *arguments, code=2)
    assert [word for word in words if word not in wrong.err] == []


def test_a_field_of_the_base_is_named_with_its_line(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("base:\n  design: baseline\n  model: lama-3.1-70b\nvary:\n  rate: [1/s]\n")
    assert f"{file}:3: unknown model" in planner("sweep", file, code=2).err


def test_results_of_another_sweep_need_restart(planner: Planner, tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    planner("sweep", *QUICK, "--vary", "rate=20/s", "--results", results)
    wrong = planner("sweep", *QUICK, "--vary", "rate=30/s", "--results", results, code=2)
    assert "another grid" in wrong.err and "--restart" in wrong.err
    planner("sweep", *QUICK, "--vary", "rate=30/s", "--results", results, "--restart")
    assert len(results.read_text().splitlines()) == 2


def test_exit_codes_of_a_sweep(planner: Planner) -> None:
    planner("sweep", *QUICK, "--vary", "slo=ttft=1ms", code=3)
    planner("sweep", *QUICK, "--vary", "objective=cost,throughput", code=2)


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(commands: dict[str, str], tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        ["planner", "sweep", *QUICK[:4], "--workers", "2", "--vary", "rate=1/s..400/s:400", "--results", str(results)],
        env=commands, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while (not results.exists() or results.read_bytes().count(b"\n") < 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to every process
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "the same command goes on from there" in err and str(results) in err
    assert "Traceback" not in err
    assert results.read_bytes().endswith(b"\n")


def test_users_are_varied_with_their_think_time(planner: Planner) -> None:
    """A field that needs the one that is varied: a think time is that of users."""
    shown = planner("sweep", *QUICK, "--vary", "users=100,2000", "--think-time", "20s", "--format", "json")
    rows = json.loads(shown.out)["rows"]
    assert [row["values"] for row in rows] == [{"users": 100}, {"users": 2000}]
    assert rows[0]["cost_usd_per_hour"] < rows[1]["cost_usd_per_hour"]
