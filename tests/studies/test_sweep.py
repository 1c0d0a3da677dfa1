"""Sweeps: the answers of `optimize` one by one, whoever computes them, and however often they are interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import InputError, PlannerError, ScenarioError, TraceError, UnknownNameError
from planner.planning.record import plan_of
from planner.planning.search import solve_problem
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies import sweep as sweeping
from planner.studies.sweep import Sweep, SweepRow, solve_job

QUICK: dict[str, Any] = {"machines": "dgx-h100", "design": "baseline"}  # some milliseconds each
VARY: dict[str, Any] = {"rate": [20.0, 70.0], "slo": ["ttft=1s", "ttft=1ms"]}


@pytest.fixture(scope="module")
def found() -> Sweep:
    return planner.sweep(QUICK, vary=VARY, workers=1)


def test_a_row_is_the_plan_of_its_scenario(found: Sweep) -> None:
    assert [row.values for row in found.rows] == [
        {"rate_per_s": rate, "slo": [slo]} for rate in (20.0, 70.0) for slo in ("ttft.p99=1s", "ttft.p99=1ms")
    ]
    assert [row.status for row in found.rows] == ["optimal", "infeasible"] * 2
    for row in found.rows[::2]:
        problem = resolve(load_scenario(QUICK, **row.values))
        plan = plan_of(problem, solve_problem(problem))
        assert row.cost_usd_per_hour == plan.cost_usd_per_hour
        assert row.pools == f"{plan.machines} x dgx-h100 mixed"
        assert (row.rated_power_w, row.headroom, row.bound) == (plan.power_w, plan.headroom, plan.solver.bound)
        assert row.ttft_p99_s == plan.percentiles[0].p99_s
        assert (row.tightest_objective, row.slack_fraction) == ("ttft.p99=1s", plan.predicted[0].slack_fraction)
    for row in found.rows[1::2]:
        assert row.message and "even unloaded; TTFT p99 <= 1 ms" in row.message
        assert row.cost_usd_per_hour is None
    assert found.exit_code == 0


def test_processes_give_the_same_as_one_after_the_other(found: Sweep) -> None:
    again = planner.sweep(QUICK, vary=VARY, workers=2)
    assert again.without_times() == found.without_times()
    assert all(row.seconds and row.seconds > 0 for row in again.rows)


def test_a_combination_that_makes_no_sense_does_not_stop_the_others() -> None:
    some = planner.sweep(QUICK, vary={"objective": ["cost", "throughput"], "max_cost": [None, 400.0]}, workers=1)
    assert [row.status for row in some.rows] == ["optimal", "optimal", "error", "optimal"]
    assert "throughput needs something that bounds it" in (some.rows[2].message or "")
    assert some.exit_code == 2


def test_a_fault_of_planner_is_a_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(sweeping, "plan", broken)
    some = planner.sweep(QUICK, vary={"rate": [20.0]}, workers=1)
    assert some.rows[0].message == "planner failed: ZeroDivisionError: division by zero"
    assert some.exit_code == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (["optimal", "infeasible"], 0),
        (["infeasible", "infeasible"], 3),
        (["optimal", "limit"], 4),
        (["none", "infeasible"], 4),
        (["error", "limit"], 2),
    ],
)
def test_exit_codes(status: list[Any], code: int) -> None:
    rows = [SweepRow(values={}, status=s, catalog_digest="", planner_version="", seconds=None) for s in status]
    assert Sweep(planner_version="", catalog_digest="", base={}, vary={}, rows=rows).exit_code == code


@pytest.mark.parametrize(
    ("arguments", "kind", "where"),
    [
        ({"vary": {"model": ["llama-3.1-70b", "lama-3.1-70b"]}}, UnknownNameError, "vary"),
        ({"vary": {"rate": [1.0]}, "model": "lama-3.1-70b"}, UnknownNameError, "model"),
        ({"vary": {"workload": ["missing.csv"]}}, TraceError, "missing.csv"),
        ({"vary": {"rate": [1.0]}, "rate": "2/s"}, ScenarioError, "vary"),
        ({"vary": {"rate": [1.0, 2.0]}, "max_scenarios": 1}, ScenarioError, "vary"),
        ({}, ScenarioError, "vary"),
        ({"vary": {"rate": [1.0]}, "workers": 0}, ScenarioError, "workers"),
    ],
)
def test_what_is_wrong_is_found_before_any_work(arguments: dict[str, Any], kind: type[InputError], where: str) -> None:
    with pytest.raises(kind) as caught:
        planner.sweep(QUICK, **arguments)
    assert caught.value.where == where


def test_plans_are_simulated_where_that_is_asked_for() -> None:
    quick: dict[str, Any] = {"verify": True, "verify_runs": 1, "verify_requests": 2000}
    some = planner.sweep(QUICK, vary={"rate": [5.0]}, workers=1, **quick)
    plan = planner.optimize(QUICK, rate=5.0, **quick)
    assert some.rows[0].confirmed is (plan.certificate is not None and plan.certificate.status == "confirmed")
    assert some.rows[0].verified == plan.verified
    assert some.rows[0].pools == " + ".join(f"{p.count} x {p.machine} {p.role}" for p in plan.pools)


def test_a_catalog_or_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    overlay = tmp_path / "catalog" / "prices"
    overlay.mkdir(parents=True)
    book = overlay / "splitwise-2023.yaml"
    book.write_text("on_demand: {dgx-h100: 20 USD/h}\nsource: offer\nkind: quote\n")
    trace = tmp_path / "trace.csv"
    trace.write_text("prompt,output\n" + "1000,100\n" * 20)
    results = tmp_path / "r.jsonl"
    arguments: dict[str, Any] = {
        "vary": {"rate": [20.0], "workload": [str(trace)]}, "results": results, "catalog": tmp_path / "catalog",
        "workers": 1,
    }  # fmt: skip
    first = planner.sweep(QUICK, **arguments)
    assert first.rows[0].cost_usd_per_hour == 20.0 * (first.rows[0].n_machines or 0)
    assert planner.sweep(QUICK, **arguments) == first
    trace.write_text("prompt,output\n" + "2000,100\n" * 20)
    with pytest.raises(ScenarioError, match="not a result of this sweep"):
        planner.sweep(QUICK, **arguments)
    trace.write_text("prompt,output\n" + "1000,100\n" * 20)
    book.write_text("on_demand: {dgx-h100: 30 USD/h}\nsource: offer\nkind: quote\n")
    with pytest.raises(ScenarioError, match="another catalog"):
        planner.sweep(QUICK, **arguments)
    assert planner.sweep(QUICK, restart=True, **arguments).rows[0].cost_usd_per_hour == 30.0 * (
        first.rows[0].n_machines or 0
    )


def test_a_worker_of_another_world_refuses(tmp_path: Path) -> None:
    from dataclasses import replace

    from planner.scenario.opened import ask
    from planner.studies.job import Job

    job = Job.of(ask(QUICK, None, {"rate": 20.0}))
    assert solve_job(job)["status"] == "optimal"
    for change, what in (
        ({"version": "0.0.1"}, "a worker has planner"),
        ({"catalog_digest": "0" * 16}, "another catalog"),
        ({"files": (("workload", str(tmp_path / "gone"), "0" * 16),)}, "another file"),
    ):
        with pytest.raises(PlannerError, match=what):
            solve_job(replace(job, **change))  # type: ignore[arg-type]


# Forks a sweep and kills it, ten times; what was finished before must be there as it was, and more.
KILLER = """
    import os, random, signal, sys, time
    from pathlib import Path
    from planner.studies.sweep import sweep

    results, draw = Path(sys.argv[1]), random.Random(7)
    before = b""
    for kill in range(10):
        child = os.fork()
        if child == 0:
            quick = {"machines": "dgx-h100", "design": "baseline"}
            sweep(quick, vary={"rate": "5/s..44/s:40"}, results=results, workers=2 if kill == 4 else 1)
            os._exit(0)
        deadline = time.monotonic() + 60
        while not results.exists() or results.read_bytes().count(b"\\n") <= max(before.count(b"\\n"), 1):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(draw.random() * 0.015)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        now = results.read_bytes()
        whole = now[: now.rindex(b"\\n") + 1]
        assert whole.startswith(before) and len(whole) > len(before)
        before = whole
        print(whole.count(b"\\n") - 1)
"""


def _rows(path: Path) -> list[int]:
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line)["row"] for line in lines[1:]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_ten_times_at_random_moments_it_loses_and_repeats_nothing(
    commands: dict[str, str], tmp_path: Path
) -> None:
    results, script = tmp_path / "r.jsonl", tmp_path / "killer.py"
    script.write_text(textwrap.dedent(KILLER), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(results)], env=commands, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    counts = [int(line) for line in done.stdout.split()]
    assert len(counts) == 10
    assert counts == sorted(set(counts))
    assert counts[-1] < 40
    before = results.read_bytes()
    vary = {"rate": "5/s..44/s:40"}
    resumed = planner.sweep(QUICK, vary=vary, results=results, workers=1)
    assert results.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    assert sorted(_rows(results)) == list(range(40))
    assert resumed.without_times() == planner.sweep(QUICK, vary=vary, workers=1).without_times()


def test_the_file_is_free_again_after_an_interruption(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if text.startswith("3 of"):
            raise KeyboardInterrupt

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            planner.sweep(QUICK, vary={"rate": "5/s..14/s:10"}, results=results, progress=stop, workers=workers)
        assert len(_rows(results)) == 3
        results.write_bytes(b"")
    os.remove(results)
    done = planner.sweep(QUICK, vary={"rate": "5/s..7/s:3"}, results=results, progress=said.append, workers=1)
    assert planner.sweep(QUICK, vary={"rate": "5/s..7/s:3"}, results=results, workers=1) == done
    assert said[-1] == "3 of 3 scenarios"
