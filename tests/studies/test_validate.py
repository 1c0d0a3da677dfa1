"""A plan beside a benchmark: causes that were planted are found, and none where nothing was."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planner
from planner.calibration.benchmark_runs import BenchmarkRun
from planner.errors import InputError
from planner.scenario.changes import setting, supposing
from planner.scenario.opened import cluster_and_scenario
from planner.scenario.resolve import changed
from planner.studies import benchmark_trial
from planner.studies.benchmark_trial import BenchmarkTrial

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "serving_open_loop_llama31_8b_h100.csv"
MIXED = [{"role": "mixed", "machine": "dgx-h100", "count": 1, "tensor_parallel": 4}]
SPLIT = [{"role": "prefill", "machine": "dgx-h100", "count": 2, "tensor_parallel": 4},
         {"role": "decode", "machine": "dgx-a100", "count": 2, "tensor_parallel": 4}]  # fmt: skip
N = 1200  # requests of a run
ASKED: dict[str, Any] = {"slo": ["ttft=1s", "tbt=200ms"]}


def _figures(
    pools: list[dict[str, Any]], rate: float, monkeypatch: pytest.MonkeyPatch, **planted: Any
) -> tuple[Mapping[tuple[str, str], float], Any]:
    """What servers with something planted in them would report: other seeds, and noise of 3 %."""
    cluster, asked = cluster_and_scenario(pools, None, None, ASKED | {"rate": rate})
    problem = asked.resolved()
    steps, memory, front_s = planted.pop("steps", 1.0), planted.pop("memory", 1.0), planted.pop("front_s", 0.0)
    if planted:
        problem = changed(problem, setting(**planted))
    if steps != 1.0:
        problem = changed(problem, supposing(step_times={"h100-sxm": steps, "a100-sxm-80gb": steps}))
    sizes = problem.sizes
    run = BenchmarkRun("planted", "vllm", None, rate, None, False, N, 0, sizes.mean_prompt_tokens,
                       sizes.mean_output_tokens, rate, {})  # fmt: skip
    trial = BenchmarkTrial(problem, cluster, run)
    monkeypatch.setattr(benchmark_trial, "SEEDS", (21,))  # a benchmark is run once

    def alter(c: Any) -> Any:
        latency, request, token = c.lane.front_end_s
        lane = replace(c.lane, kv_tokens=c.lane.kv_tokens * memory, front_end_s=(latency + front_s, request, token))
        return replace(c, lane=lane)

    found = trial.served(alter).figures
    monkeypatch.setattr(benchmark_trial, "SEEDS", (1, 2, 3, 4, 5))
    rng = np.random.default_rng(7)
    return {key: value * rng.uniform(0.97, 1.03) for key, value in found.items()}, sizes


def _vllm(figures: Mapping[tuple[str, str], float], sizes: Any, rate: float, file: Path, **more: Any) -> Path:
    """A file as `vllm bench serve --save-result` writes it."""
    names = {"ttft": "ttft", "tbt": "tpot", "e2e": "e2el"}
    n = N
    record = {
        "model_id": "meta-llama/Llama-3.1-70B-Instruct", "request_rate": rate, "max_concurrency": None,
        "completed": n, "failed": 0, "num_prompts": n, "total_input_tokens": round(n * sizes.mean_prompt_tokens),
        "total_output_tokens": round(n * sizes.mean_output_tokens),
        "request_throughput": figures["throughput", "mean"],
    }  # fmt: skip
    for (metric, statistic), value in figures.items():
        if metric in names:
            record[f"{'median' if statistic == 'p50' else statistic}_{names[metric]}_ms"] = 1e3 * value
    file.write_text(json.dumps(record | more))
    return file


PLANTED = [
    ("slower kernels", MIXED, 14.0, {"steps": 1.4}, "kernels"),
    ("much slower kernels", MIXED, 8.0, {"steps": 1.9}, "kernels"),
    ("half the prompts cached", MIXED, 14.0, {"prefix_cached": 0.5}, "prefix cache"),
    ("most of the prompts cached", MIXED, 10.0, {"prefix_cached": 0.8}, "prefix cache"),
    ("a twentieth of the batch limit", MIXED, 14.0, {"max_batch": 50}, "batch limit"),
    ("less than that", MIXED, 14.0, {"max_batch": 24}, "batch limit"),
    ("a tenth of the memory", MIXED, 14.0, {"memory": 0.1}, "memory"),
    ("a front end", MIXED, 14.0, {"front_s": 0.25}, "front end"),
    ("10 GbE", SPLIT, 40.0, {"network": "10Gbit/s"}, "links"),
    ("slower kernels of both phases", SPLIT, 30.0, {"steps": 1.35}, "kernels"),
    ("nothing", MIXED, 14.0, {}, None),
    ("nothing, split", SPLIT, 40.0, {}, None),
]


@pytest.mark.parametrize(
    ("pools", "rate", "planted", "cause"), [p[1:] for p in PLANTED], ids=[str(p[0]) for p in PLANTED]
)
def test_planted_causes_are_found_and_none_invented(
    pools: list[dict[str, Any]], rate: float, planted: dict[str, Any], cause: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    figures, sizes = _figures(pools, rate, monkeypatch, **planted)
    found = planner.validate(_vllm(figures, sizes, rate, tmp_path / "run.json"), pools, rate=rate, **ASKED)
    (run,) = found.runs
    told = [c.cause for c in run.causes if c.likely]
    if cause is None:
        assert found.within and found.exit_code == 0 and not run.causes and not found.calibration
        return
    assert not found.within and found.exit_code == 4
    assert cause in told and len(told) <= 2, [(c.cause, c.distance) for c in run.causes]
    assert run.causes[0].distance < 0.5 * run.distance


def test_what_was_measured_is_planned_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planner.optimize(rate=14.0, machines=["dgx-h100"], design="baseline", verify=False)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    figures, sizes = _figures(MIXED, 14.0, monkeypatch, steps=1.5)
    run = _vllm(figures, sizes, 14.0, tmp_path / "run.json")
    found = planner.validate(run, file, replan=True)
    assert found.calibration["derate"] == pytest.approx(1 / 1.5, rel=0.05)
    assert found.runs[0].step_factor == pytest.approx(1.5, rel=0.05)
    assert found.replanned is not None
    wanted = planner.optimize(plan.scenario, derate=found.calibration["derate"])
    assert found.replanned.cost_usd_per_hour == wanted.cost_usd_per_hour
    assert found.replanned.scenario["machines"] == ["dgx-h100"]


@pytest.mark.skipif(not DATA.is_file(), reason=f"no measured data in {DATA}")
def test_measured_rows_of_an_open_loop(tmp_path: Path) -> None:
    """The server with chunked prompts on one H100, at its three middle rates: time between tokens within its error."""
    with DATA.open(newline="", encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["server"].startswith("chunked")][1:4]
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shared = float(rows[0]["prompt_tokens_shared"]) / float(rows[0]["prompt_tokens_mean"])
    found = planner.validate(file, machines=["lambda-1x-h100"], model="llama-3.1-8b", max_batch=128, chunked=True,
                             prefix_cached=shared, slo=["ttft=1s"])  # fmt: skip
    assert len(found.runs) == 3
    for run in found.runs:
        (tbt,) = [r for r in run.rows if (r.metric, r.statistic) == ("tbt", "mean")]
        assert tbt.within and abs(tbt.error) < 0.12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"completed": 0, "failed": N}, "no request was completed"),
        ({"model_id": "meta-llama/Llama-3.1-8B"}, "a benchmark of another model than the plan"),
        ({"total_output_tokens": 0}, "missing: output tokens"),
    ],
)
def test_benchmarks_that_cannot_be_used(
    change: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = {(m, s): 0.1 for m in ("ttft", "tbt", "e2e") for s in ("mean", "p50", "p90", "p99")}

    class Sizes:
        mean_prompt_tokens, mean_output_tokens = 1000.0, 200.0

    file = _vllm(flat | {("throughput", "mean"): 5.0}, Sizes, 5.0, tmp_path / "run.json", **change)
    with pytest.raises(InputError, match=says):
        planner.validate(file, MIXED, rate=5.0)
