"""Each format as its tool writes it, in a file of a few rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.calibration import FORMATS, read_measurements
from planner.errors import TraceError, UnknownNameError

VLLM = {
    "date": "20261101-101500", "backend": "openai", "label": None, "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct", "num_prompts": 200, "request_rate": "inf", "burstiness": 1.0,
    "max_concurrency": 16, "duration": 42.0, "completed": 200, "failed": 0, "total_input_tokens": 204800,
    "total_output_tokens": 25600, "request_throughput": 4.76, "output_throughput": 609.5,
    "total_token_throughput": 5485.7, "mean_ttft_ms": 210.4, "median_ttft_ms": 180.2, "std_ttft_ms": 60.0,
    "p99_ttft_ms": 500.0, "mean_tpot_ms": 9.8, "median_tpot_ms": 9.7, "std_tpot_ms": 0.6, "p99_tpot_ms": 11.9,
    "mean_itl_ms": 9.8, "median_itl_ms": 8.1, "std_itl_ms": 8.0, "p99_itl_ms": 40.0,
}  # fmt: skip


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_plain_steps_in_three_units(tmp_path: Path) -> None:
    for unit, value in (("s", "0.012"), ("ms", "12"), ("us", "12000")):
        head = f"model,machine,tp,dtype,phase,batch,tokens,latency_{unit}\n"
        text = f"{head}m,dgx-h100,2,bfloat16,decode,4,1024,{value}\n"
        (step,) = read_measurements(write(tmp_path / f"{unit}.csv", text)).steps
        assert step.latency_s == pytest.approx(0.012)
        assert (step.setup.tensor_parallel, step.setup.precision, step.setup.hardware) == (2, "bf16", "dgx-h100")
        assert step.setup.source.endswith(".csv:2")


def test_comments_and_kernels(tmp_path: Path) -> None:
    text = "# planner measure\nmachine,kind,precision,shape,latency_us\nh100-sxm,gemm,bf16,m=8 n=4096 k=4096,11.5\n"
    (kernel,) = read_measurements(write(tmp_path / "k.csv", text)).kernels
    assert kernel.kind == "gemm" and kernel.shape == {"m": 8, "n": 4096, "k": 4096}
    assert kernel.latency_s == pytest.approx(11.5e-6)
    assert kernel.setup.source.endswith(":3")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("m,h,1,bf16,decode,1,1024,nan", "latency_ms must be a finite number above zero"),
        ("m,h,1,bf16,decode,1,1024,-3", "latency_ms must be a finite number above zero"),
        ("m,h,1,bf16,decode,0,1024,3", "batch must be a finite number above zero"),
        ("m,h,1.5,bf16,decode,1,1024,3", "tensor_parallel must be a whole number"),
        ("m,h,1,bf17,decode,1,1024,3", "unknown precision 'bf17'"),
        ("m,h,1,bf16,decoding,1,1024,3", "phase 'decoding' is neither prefill nor decode"),
        ("m,h,1,bf16,decode,1,1024", "7 fields in a row of 8 columns"),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, row: str, what: str) -> None:
    head = "model,machine,tensor_parallel,precision,phase,batch,tokens,latency_ms\n"
    good = "m,h,1,bf16,decode,1,1024,3\n"
    with pytest.raises(TraceError) as caught:
        read_measurements(write(tmp_path / "bad.csv", f"{head}{good}{row}\n"))
    assert caught.value.what == what
    assert caught.value.where == f"{tmp_path / 'bad.csv'}:3"


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="missing columns batch, tokens") as caught:
        read_measurements(write(tmp_path / "x.csv", "model,phase,latency_ms\nm,decode,3\n"))
    assert caught.value.where == f"{tmp_path / 'x.csv'}:1"
    with pytest.raises(TraceError, match="missing column phase"):
        read_measurements(write(tmp_path / "y.csv", "model,batch,tokens,latency_ms\nm,1,3,3\n"))
    with pytest.raises(TraceError, match="missing column latency_ms") as caught:
        read_measurements(write(tmp_path / "z.csv", "model,phase,batch,tokens,latency\nm,decode,1,3,3\n"))
    assert caught.value.suggestions == ["latency"]


def test_splitwise_profile(tmp_path: Path) -> None:
    head = "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,tensor_parallel\n"
    rows = (
        "llama2-70b,h100-80gb,512,2,128,83.0,37.0,2\n"
        "llama2-70b,h100-80gb-pcap,512,2,128,108.0,37.0,2\n"
        "llama2-70b,h100-80gb,512,64,128,9000.0,400.0,2\n"
    )
    found = read_measurements(write(tmp_path / "p.csv", head + rows))
    assert [(s.phase, s.batch, s.tokens, s.latency_s) for s in found.steps] == [
        ("prefill", 2.0, 512.0, pytest.approx(0.083)),
        ("decode", 2.0, 576.0, pytest.approx(0.037)),
    ]
    assert "1 rows of power-capped hardware" in found.notes[0]
    assert "their KV cache overflowed" in found.notes[1]


def test_serving_csv_is_of_one_software(tmp_path: Path) -> None:
    text = (
        "model,system,backend,precision,isl,osl,concurrency,tp_size,ttft_ms,tpot_ms\n"
        "Qwen/Qwen3-32B,h100_sxm,vllm,,1024,128,16.0,2.0,190,18\n"
        "Qwen/Qwen3-32B,h100_sxm,sglang,,1024,128,16.0,2.0,190,19\n"
    )
    path = write(tmp_path / "s.csv", text)
    with pytest.raises(TraceError, match="several kinds of serving software"):
        read_measurements(path)
    (run,) = read_measurements(path, where=[("backend", "vllm")]).servings
    assert (run.concurrency, run.ttft_s, run.tpot_s, run.saturated) == (
        16.0,
        pytest.approx(0.19),
        pytest.approx(0.018),
        False,
    )
    with pytest.raises(TraceError, match="no row has backend = 'vlm'") as caught:
        read_measurements(path, where=[("backend", "vlm")])
    assert caught.value.suggestions == ["vllm"]


def test_vllm_at_unlimited_rate_measures_saturation(tmp_path: Path) -> None:
    found = read_measurements(write(tmp_path / "v.json", VLLM))
    (run,) = found.servings
    assert run.saturated and run.concurrency == 16
    assert (run.input_tokens, run.output_tokens, run.tpot_s) == (1024.0, 128.0, pytest.approx(9.8e-3))
    assert run.setup.hardware is None, "the file does not say, and nobody guesses"
    assert "measures saturation; TTFT ignored, its TPOT is used at the concurrency held" in found.notes[0]


def test_vllm_without_concurrency_is_not_used(tmp_path: Path) -> None:
    found = read_measurements(write(tmp_path / "v.json", VLLM | {"max_concurrency": None}))
    assert found.servings[0].concurrency is None
    assert "not used: its concurrency is unknown" in found.notes[0]


def test_vllm_at_a_rate_has_its_concurrency_by_littles_law(tmp_path: Path) -> None:
    record = VLLM | {"request_rate": 4.0, "max_concurrency": None, "request_throughput": 4.0}
    (run,) = read_measurements(write(tmp_path / "v.json", record)).servings
    assert not run.saturated
    assert run.concurrency == pytest.approx(4.0 * (0.2104 + 127 * 0.0098))


def test_vllm_with_failures(tmp_path: Path) -> None:
    found = read_measurements(write(tmp_path / "v.json", VLLM | {"request_rate": 4.0, "completed": 190, "failed": 10}))
    (run,) = found.servings
    assert run.saturated and run.ttft_s is None and run.concurrency == 16
    assert "10 failed requests" in found.notes[0]
    with pytest.raises(TraceError, match="no request was completed"):
        read_measurements(write(tmp_path / "w.json", VLLM | {"completed": 0}))


def test_vllm_json_lines(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(VLLM | {"max_concurrency": n}) for n in (1, 8))
    found = read_measurements(write(tmp_path / "v.jsonl", lines + "\n"))
    assert [r.concurrency for r in found.servings] == [1, 8]
    assert found.servings[1].setup.source.endswith("v.jsonl:2")
    with pytest.raises(TraceError) as caught:
        read_measurements(write(tmp_path / "w.jsonl", lines + "\n{"))
    assert caught.value.where == f"{tmp_path / 'w.jsonl'}:3"


def guidellm(strategy: dict[str, object], errored: int = 0, new: bool = True) -> dict[str, object]:
    def mean(value: float) -> dict[str, object]:
        return {"successful": {"mean": value, "median": value, "std_dev": 0.0, "percentiles": {"p50": value}}}

    config = {"strategy": strategy, "backend": {"model": "meta-llama/Llama-3.1-8B-Instruct"}}
    benchmark = {
        "config" if new else "args": config,
        "start_time": 1.0, "end_time": 61.0, "duration": 60.0,
        "metrics": {
            "request_totals": {"successful": 240, "incomplete": 8, "errored": errored, "total": 248 + errored},
            "requests_per_second": mean(4.0), "request_concurrency": mean(7.9),
            "prompt_token_count": mean(1000.0), "output_token_count": mean(200.0),
            "time_to_first_token_ms": mean(60.0), "inter_token_latency_ms": mean(9.0),
            "time_per_output_token_ms": mean(9.3), "request_latency": mean(1.85),
        },
    }  # fmt: skip
    if new:
        return {"metadata": {"version": 2}, "config": {"spec": {}}, "benchmarks": [benchmark]}
    return {"args": {"model": "meta-llama/Llama-3.1-8B-Instruct"}, "benchmarks": [benchmark]}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    ("strategy", "concurrency", "saturated"),
    [
        ({"type_": "concurrent", "streams": 8}, 8.0, False),
        ({"type_": "synchronous"}, 1.0, False),
        ({"type_": "throughput", "max_concurrency": 256}, 256.0, True),
        ({"type_": "constant", "rate": 4.0, "max_concurrency": 10240}, 4.0 * (0.06 + 199 * 0.009), False),
    ],
)
def test_guidellm(tmp_path: Path, strategy: dict[str, object], concurrency: float, saturated: bool, new: bool) -> None:
    (run,) = read_measurements(write(tmp_path / "g.json", guidellm(strategy, new=new))).servings
    assert run.setup.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert run.concurrency == pytest.approx(concurrency)
    assert run.saturated is saturated
    assert run.tpot_s == pytest.approx(0.009), "without the first token, unlike GuideLLM's own time per output token"


def test_guidellm_with_errors(tmp_path: Path) -> None:
    report = guidellm({"type_": "constant", "rate": 90.0}, errored=12)
    (run,) = read_measurements(write(tmp_path / "g.json", report)).servings
    assert run.saturated and run.concurrency is None


def aiperf(load: dict[str, object]) -> dict[str, object]:
    def metric(unit: str, value: float) -> dict[str, object]:
        return {"unit": unit, "avg": value, "min": value, "max": value, "p50": value, "std": 0.0, "count": 100}

    return {
        "schema_version": "1.5",
        "request_throughput": {"unit": "requests/sec", "avg": 2.0},
        "request_count": {"unit": "requests", "avg": 100.0},
        "request_latency": metric("ms", 1100.0),
        "time_to_first_token": metric("ms", 80.0),
        "inter_token_latency": metric("ms", 10.0),
        "input_sequence_length": metric("tokens", 550.0),
        "output_sequence_length": metric("tokens", 100.0),
        "input_config": load,
    }


def test_aiperf_of_both_ages(tmp_path: Path) -> None:
    old = {"endpoint": {"model_names": ["Qwen/Qwen3-8B"]}, "loadgen": {"concurrency": 10}}
    new = {
        "models": {"items": [{"name": "Qwen/Qwen3-8B"}]},
        "phases": [{"name": "warmup", "concurrency": 2}, {"name": "profiling", "concurrency": 10}],
    }
    for config in (old, new):
        (run,) = read_measurements(write(tmp_path / "a.json", aiperf(config))).servings
        assert run.setup.model == "Qwen/Qwen3-8B"
        assert (run.concurrency, run.tpot_s, run.saturated) == (10, pytest.approx(0.010), False)


def test_aiperf_reads_its_units(tmp_path: Path) -> None:
    record = aiperf({"loadgen": {"concurrency": 10}})
    record["inter_token_latency"]["unit"] = "us"  # type: ignore[index]
    (run,) = read_measurements(write(tmp_path / "a.json", record)).servings
    assert run.tpot_s == pytest.approx(10e-6)
    record["inter_token_latency"]["unit"] = "fortnights"  # type: ignore[index]
    with pytest.raises(TraceError, match="has the unit 'fortnights'"):
        read_measurements(write(tmp_path / "b.json", record))
    del record["inter_token_latency"]
    with pytest.raises(TraceError, match="missing metric inter_token_latency") as caught:
        read_measurements(write(tmp_path / "c.json", record))
    assert "--streaming" in str(caught.value.fix)


def test_aiperf_records_are_pointed_to_the_summary(tmp_path: Path) -> None:
    lines = '{"metadata": {}, "metrics": {}, "error": null}\n' * 2
    with pytest.raises(TraceError) as caught:
        read_measurements(write(tmp_path / "profile_export.jsonl", lines))
    assert "profile_export_aiperf.json" in str(caught.value.fix)


LLM_D = """
version: '0.2'
scenario:
  stack:
  - metadata: {label: vllm-svc-0, cfg_id: abc, kind: inference_engine}
    standardized:
      kind: inference_engine
      tool: vllm
      tool_version: 0.12.0
      role: ROLE
      replicas: 2
      model: {name: Qwen/Qwen3-32B}
      accelerator:
        model: NVIDIA-H100-80GB-HBM3
        count: 4
        parallelism: {dp: 1, ep: 1, pp: 1, tp: 4}
    native: {}
  load:
    standardized:
      tool: inference-perf
      tool_version: 0.3.0
      source: random
      input_seq_len: {distribution: fixed, value: 1024}
      LOAD
    native: {}
results:
  request_performance:
    aggregate:
      requests:
        total: 500
        failures: 0
        input_length: {units: count, mean: 1024.0}
        output_length: {units: count, mean: 128.0}
      throughput:
        request_rate: {units: queries/s, mean: 8.0}
      latency:
        time_to_first_token: {units: s, mean: 0.15}
        time_per_output_token: {units: s/token, mean: 0.0125}
"""


def test_llm_d_names_its_hardware(tmp_path: Path) -> None:
    text = LLM_D.replace("ROLE", "replica").replace("LOAD", "concurrency: 32")
    (run,) = read_measurements(write(tmp_path / "r.yaml", text)).servings
    assert run.setup.hardware == "NVIDIA-H100-80GB-HBM3"
    assert run.setup.tensor_parallel == 4
    assert run.concurrency == 16, "half of the load goes to each of two replicas"
    assert run.tpot_s == 0.0125 and not run.disaggregated and not run.saturated


def test_llm_d_disaggregated_and_unlimited(tmp_path: Path) -> None:
    text = LLM_D.replace("ROLE", "decode").replace("LOAD", "concurrency: .inf")
    (run,) = read_measurements(write(tmp_path / "r.yaml", text)).servings
    assert run.disaggregated and run.saturated and run.concurrency is None


def test_llm_d_of_two_kinds_of_hardware(tmp_path: Path) -> None:
    text = LLM_D.replace("ROLE", "replica").replace("LOAD", "rate_qps: 8")
    head, stack, rest = text.partition("  - metadata")
    first, load, tail = rest.partition("  load:")
    both = head + stack + first + stack + first.replace("H100-80GB-HBM3", "L40S") + load + tail
    with pytest.raises(TraceError, match="mixed hardware"):
        read_measurements(write(tmp_path / "r.yaml", both))


def test_llm_d_0_1_in_json(tmp_path: Path) -> None:
    report = {
        "version": "0.1",
        "scenario": {
            "host": {
                "type": ["replica"],
                "accelerator": [
                    {"model": "NVIDIA-L40S", "count": 2, "parallelism": {"tp": 2, "dp": 1, "pp": 1, "ep": 1}}
                ],
            },
            "model": {"name": "Qwen/Qwen3-8B", "quantization": "fp8"},
            "load": {"name": "vllm-benchmark", "args": {"request_rate": "inf", "max_concurrency": 4}},
        },
        "metrics": {
            "requests": {
                "total": 40,
                "input_length": {"units": "count", "mean": 900.0},
                "output_length": {"units": "count", "mean": 64.0},
            },
            "latency": {
                "time_to_first_token": {"units": "ms", "mean": 90.0},
                "time_per_output_token": {"units": "ms/token", "mean": 11.0},
            },
            "throughput": {"total_tokens_per_sec": 1000.0},
        },
    }
    (run,) = read_measurements(write(tmp_path / "r.json", report)).servings
    assert (run.setup.precision, run.setup.tensor_parallel, run.concurrency) == ("fp8", 2, 4)
    assert run.saturated and run.tpot_s == pytest.approx(0.011)


@pytest.mark.parametrize("content", ["", "   \n", "a,b\n", '{"a": 1}', "[]", "{not json", "x: [1"])
def test_what_is_no_measurement(tmp_path: Path, content: str) -> None:
    suffix = ".yaml" if content.startswith("x:") else ".txt"
    with pytest.raises(TraceError) as caught:
        read_measurements(write(tmp_path / f"x{suffix}", content))
    assert caught.value.where is not None and caught.value.where.startswith(str(tmp_path))


def test_unknown_format_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        read_measurements(tmp_path / "x", "guidelm")
    assert caught.value.suggestions == ["guidellm"]
    with pytest.raises(TraceError, match="cannot read the measurements"):
        read_measurements(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="not a file of the format guidellm"):
        read_measurements(write(tmp_path / "v.json", VLLM), "guidellm")
    assert set(FORMATS) == {"splitwise", "csv", "serving-csv", "vllm", "guidellm", "aiperf", "llm-d"}
