"""Benchmark files in each published form: the same run is read out of every one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.calibration.benchmark_forms import FORMS
from planner.calibration.benchmark_runs import read_runs
from planner.errors import InputError

TTFT = {"mean": 0.2, "p50": 0.18, "p90": 0.4, "p99": 0.9}
TBT = {"mean": 0.03, "p50": 0.028, "p90": 0.04, "p99": 0.06}
E2E = {"mean": 6.0, "p50": 5.0, "p90": 12.0, "p99": 18.0}
ALL = {"ttft": TTFT, "tbt": TBT, "e2e": E2E}
MODEL = "meta-llama/Llama-3.1-70B"


def _ms(of: dict[str, float], mean: str = "mean") -> dict[str, Any]:
    return {mean if k == "mean" else k: 1e3 * v for k, v in of.items()}


def _vllm() -> Any:
    record: dict[str, Any] = {
        "model_id": MODEL, "request_rate": 12.0, "max_concurrency": None, "completed": 500, "failed": 3,
        "num_prompts": 503, "total_input_tokens": 500_000, "total_output_tokens": 100_000, "request_throughput": 11.5,
    }  # fmt: skip
    for name, of in (("ttft", TTFT), ("tpot", TBT), ("e2el", E2E)):
        record |= {f"{'median' if k == 'p50' else k}_{name}_ms": 1e3 * v for k, v in of.items()}
    return record


def _guidellm() -> Any:
    def of(values: dict[str, float], scale: float = 1e3) -> Any:
        percentiles = {k: scale * v for k, v in values.items() if k != "mean"}
        return {"successful": {"mean": scale * values["mean"], "percentiles": percentiles}}

    metrics = {
        "time_to_first_token_ms": of(TTFT), "inter_token_latency_ms": of(TBT), "request_latency": of(E2E, 1.0),
        "prompt_token_count": {"successful": {"mean": 1000.0}}, "output_token_count": {"successful": {"mean": 200.0}},
        "requests_per_second": {"successful": {"mean": 11.5}}, "request_totals": {"successful": 500, "errored": 3},
    }  # fmt: skip
    config = {"strategy": {"type_": "poisson", "rate": 12.0}}
    return {"args": {"model": MODEL}, "benchmarks": [{"config": config, "metrics": metrics}]}


def _aiperf(config: dict[str, Any]) -> Any:
    def of(values: dict[str, float]) -> Any:
        return {"unit": "ms", **_ms(values, "avg")}

    return {
        "input_config": config, "time_to_first_token": of(TTFT), "inter_token_latency": of(TBT),
        "request_latency": of(E2E), "request_throughput": {"unit": "requests/sec", "avg": 11.5},
        "input_sequence_length": {"unit": "tokens", "avg": 1000.0}, "request_count": {"unit": "requests", "avg": 500},
        "output_sequence_length": {"unit": "tokens", "avg": 200.0}, "error_request_count": {"unit": "r", "avg": 3},
    }  # fmt: skip


def _inference_perf() -> Any:
    def of(values: dict[str, float]) -> Any:
        return {"mean": values["mean"], "median": values["p50"], "p90": values["p90"], "p99": values["p99"]}

    return {
        "model": MODEL,
        "load_summary": {"count": 503, "requested_rate": 12.0, "achieved_rate": 11.9},
        "successes": {
            "count": 500, "prompt_len": {"mean": 1000.0}, "output_len": {"mean": 200.0},
            "latency": {"time_to_first_token": of(TTFT), "time_per_output_token": of(TBT), "request_latency": of(E2E)},
            "throughput": {"requests_per_sec": 11.5},
        },
        "failures": {"count": 3},
    }  # fmt: skip


def _llmperf() -> Any:
    record: dict[str, Any] = {
        "model": MODEL, "num_concurrent_requests": 64, "results_num_completed_requests": 500,
        "results_number_errors": 3, "results_num_completed_requests_per_min": 690.0,
        "results_number_input_tokens_mean": 1000.0, "results_number_output_tokens_mean": 200.0,
    }  # fmt: skip
    names = {"ttft_s": TTFT, "inter_token_latency_s": TBT, "end_to_end_latency_s": E2E}
    for name, of in names.items():
        for k, v in of.items():
            record[f"results_{name}_{'mean' if k == 'mean' else f'quantiles_{k}'}"] = v
    return record


def _llm_d() -> Any:
    def of(values: dict[str, float], units: str = "s") -> Any:
        return {"units": units, **values}

    return {
        "scenario": {"model": {"name": MODEL}, "load": {"args": {"request_rate": 12.0}}},
        "metrics": {
            "latency": {"time_to_first_token": of(TTFT), "time_per_output_token": of(TBT, "s/token"),
                        "request_latency": of(E2E)},
            "requests": {"total": 500, "failures": 3, "input_length": {"mean": 1000.0},
                         "output_length": {"mean": 200.0}},
            "throughput": {"requests_per_sec": 11.5},
        },
    }  # fmt: skip


FILES: dict[str, Any] = {
    "vllm": _vllm(),
    "guidellm": _guidellm(),
    "aiperf": _aiperf({"endpoint": {"model_names": [MODEL]}, "loadgen": {"request_rate": 12.0}}),
    "genai-perf": _aiperf({"model_names": [MODEL], "perf_analyzer": {"stimulus": {"request_rate": 12.0}}}),
    "inference-perf": _inference_perf(),
    "llmperf": _llmperf(),
    "llm-d": _llm_d(),
}


@pytest.mark.parametrize("form", FILES)
def test_each_form_is_known_by_its_content_and_read_whole(form: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(FILES[form]))
    (run,) = read_runs(file)
    assert (run.tool, run.model, run.n_requests, run.n_failed) == (form, MODEL, 500, 3)
    assert (run.input_tokens, run.output_tokens, run.throughput_per_s) == (1000.0, 200.0, 11.5)
    assert (run.rate_per_s, run.concurrency) == ((None, 64.0) if form == "llmperf" else (12.0, None))
    wanted = {(metric, k): v for metric, of in ALL.items() for k, v in of.items()}
    assert run.latencies_s == pytest.approx(wanted) and not run.missing


def test_records_of_single_requests(tmp_path: Path) -> None:
    lines = [
        {"metadata": {"request_start_ns": 10**9 * i // 2, "request_end_ns": 10**9 * (i // 2 + 3)},
         "metrics": {"time_to_first_token": {"value": 100.0 + i, "unit": "ms"},
                     "inter_token_latency": {"value": 30.0, "unit": "ms"},
                     "request_latency": {"value": 3000.0, "unit": "ms"},
                     "input_sequence_length": {"value": 100 * (1 + i % 3), "unit": "tokens"},
                     "output_sequence_length": {"value": 50, "unit": "tokens"}}}
        for i in range(101)
    ]  # fmt: skip
    lines.append({"metadata": {}, "metrics": {}, "error": {"code": 500}})
    file = tmp_path / "profile_export.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    (run,) = read_runs(file)
    assert (run.tool, run.n_requests, run.n_failed) == ("aiperf-records", 101, 1)
    assert run.rate_per_s == pytest.approx(2.0) and len(run.sizes) == 101
    assert run.latencies_s["ttft", "p50"] == pytest.approx(0.150)
    assert run.latencies_s["ttft", "mean"] == pytest.approx(0.150)


def test_a_table_with_a_run_a_row(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(
        "rate_per_s,isl,osl,n_requests,ttft_p99_s,tbt_mean_ms\n2,1000,200,60,0.4,30\n4,1000,200,60,0.6,35\n"
    )
    two, four = read_runs(file)
    assert (two.rate_per_s, four.rate_per_s) == (2.0, 4.0)
    assert two.latencies_s == {("ttft", "p99"): 0.4, ("tbt", "mean"): pytest.approx(0.03)}
    assert "e2e p50" in two.missing


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("{}", "not a known form of benchmark"),
        ("[1]", "not a benchmark's result"),
        ("a,b\n1,2\n", "no column of latencies"),
        ("rate_per_s,isl,osl,ttft_p99_s\nx,1,1,1\n", "rate_per_s is no number"),
        (json.dumps(_vllm() | {"completed": 0}), "no request was completed"),
        (json.dumps({k: v for k, v in _vllm().items() if "_ms" not in k or "mean_ttft" in k} | {"mean_ttft_ms": None}),
         "missing: any latency"),
    ],
)  # fmt: skip
def test_files_that_say_nothing(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.csv" if text[:1] not in ("{", "[") else "a.json")
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        read_runs(file)
    with pytest.raises(InputError, match="unknown format"):
        read_runs(file, "vlm")


def test_every_form_has_a_file_here() -> None:
    assert set(FORMS) == {*FILES, "aiperf-records"}
