"""What each benchmark tool calls its figures: one form a tool, all read into the same `Reading`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from planner.calibration.readers.records import dig, is_infinite

Record = tuple[str, Any]
LATENCIES = ("ttft", "tbt", "e2e")
STATISTICS = ("mean", "p50", "p90", "p99")
_SCALES = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "s/token": 1.0, "ms/token": 1e-3}


@dataclass(frozen=True)
class Reading:
    """What a file says of one run, before it is checked; as `BenchmarkRun`, None for what is missing."""

    tool: str
    where: str
    model: str | None
    rate_per_s: float | None
    concurrency: float | None
    n_requests: int
    n_failed: int
    input_tokens: float | None
    output_tokens: float | None
    throughput_per_s: float | None
    latencies_s: Mapping[tuple[str, str], float | None]
    even: bool = False
    sizes: tuple[tuple[float, float], ...] = field(default=())


@dataclass(frozen=True)
class BenchmarkForm:
    """A tool: how its file is known, read, and what a run must be asked for.

    Attributes
    ----------
    what : str
    matches, read : callable
    needs : str
        What to run it with so that nothing is missing.
    """

    what: str
    matches: Callable[[Any], bool]
    read: Callable[[Sequence[Record]], Iterator[Reading]]
    needs: str


def _float(value: Any) -> float | None:
    """A finite number above zero, or None."""
    if value is None or isinstance(value, bool) or is_infinite(value):
        return None
    number = float(value)
    return number if np.isfinite(number) and number > 0 else None


def _vllm(records: Sequence[Record]) -> Iterator[Reading]:
    for where, r in records:
        n = int(r.get("completed") or 0)
        found: dict[tuple[str, str], float | None] = {}
        for metric, names in (("ttft", ("ttft",)), ("tbt", ("tpot", "itl")), ("e2e", ("e2el",))):
            name = next((n for n in names if f"mean_{n}_ms" in r), names[0])
            for statistic in STATISTICS:
                keys = (f"{statistic}_{name}_ms", *((f"median_{name}_ms",) if statistic == "p50" else ()))
                value = next((v for k in keys if (v := _float(r.get(k))) is not None), None)
                found[metric, statistic] = None if value is None else 1e-3 * value
        lengths = r.get("input_lens"), r.get("output_lens")
        sizes = tuple(zip(*lengths, strict=True)) if all(isinstance(x, list) and x for x in lengths) else ()
        yield Reading(
            tool="vllm", where=where, model=r.get("model_id"), rate_per_s=_float(r.get("request_rate")),
            concurrency=_float(r.get("max_concurrency")), n_requests=n,
            n_failed=int(r.get("failed") or max(int(r.get("num_prompts") or n) - n, 0)),
            input_tokens=_float(r.get("total_input_tokens", 0) / n) if n else None,
            output_tokens=_float(r.get("total_output_tokens", 0) / n) if n else None,
            throughput_per_s=_float(r.get("request_throughput")), latencies_s=found,
            sizes=tuple((float(a), float(b)) for a, b in sizes if a > 0 and b > 0),
        )  # fmt: skip


def _guidellm(records: Sequence[Record]) -> Iterator[Reading]:
    for where, report in records:
        for n, b in enumerate(report["benchmarks"]):
            strategy = dig(b, "config", "strategy") or dig(b, "args", "strategy") or {}
            kind = str(strategy.get("type_") or strategy.get("type") or "")
            streams = 1 if kind == "synchronous" else strategy.get("streams") or strategy.get("max_concurrency")
            found: dict[tuple[str, str], float | None] = {}
            for metric, (name, scale) in {
                "ttft": ("time_to_first_token_ms", 1e-3), "tbt": ("inter_token_latency_ms", 1e-3),
                "e2e": ("request_latency", 1.0),
            }.items():  # fmt: skip
                of = dig(b, "metrics", name, "successful") or {}
                percentiles = of.get("percentiles") or {}
                values = {"mean": of.get("mean"), "p50": percentiles.get("p50", of.get("median")),
                          "p90": percentiles.get("p90"), "p99": percentiles.get("p99")}  # fmt: skip
                for statistic, value in values.items():
                    number = _float(value)
                    found[metric, statistic] = None if number is None else scale * number
            totals = dig(b, "metrics", "request_totals") or {}
            model = next((m for m in (dig(b, "config", "backend", "model"), dig(report, "args", "model"),
                                      dig(b, "worker", "backend_model")) if isinstance(m, str)), None)  # fmt: skip
            yield Reading(
                tool="guidellm", where=f"{where}: benchmarks[{n}]", model=model,
                rate_per_s=_float(strategy.get("rate")), concurrency=_float(streams),
                n_requests=int(totals.get("successful") or 0), n_failed=int(totals.get("errored") or 0),
                input_tokens=_float(dig(b, "metrics", "prompt_token_count", "successful", "mean")),
                output_tokens=_float(dig(b, "metrics", "output_token_count", "successful", "mean")),
                throughput_per_s=_float(dig(b, "metrics", "requests_per_second", "successful", "mean")),
                latencies_s=found, even=kind == "constant",
            )  # fmt: skip


_AI_METRICS = {"ttft": "time_to_first_token", "tbt": "inter_token_latency", "e2e": "request_latency"}


def _ai_load(r: Any) -> tuple[float | None, float | None, str | None]:
    """Rate, concurrency and model of AIPerf, or of GenAI-Perf before it."""
    config = r.get("input_config") or {}
    stimulus = dig(config, "perf_analyzer", "stimulus") or {}
    phases = config.get("phases") or []
    if isinstance(phases, dict):
        phases = [{"name": name, **p} for name, p in phases.items() if isinstance(p, dict)]
    profiling = next((p for p in phases if isinstance(p, dict) and p.get("name", "profiling") == "profiling"), {})
    places = [stimulus, config.get("loadgen") or {}, profiling, config]
    rate = next((v for p in places for k in ("request_rate", "rate") if (v := _float(p.get(k))) is not None), None)
    held = next((v for p in places if (v := _float(p.get("concurrency"))) is not None), None)
    model = config.get("model")
    names = [
        dig(config, "endpoint", "model_names", 0), dig(config, "model_names", 0),
        dig(config, "models", "items", 0, "name"), model[0] if isinstance(model, list) and model else model,
    ]  # fmt: skip
    return rate, held, next((n for n in names if isinstance(n, str)), None)


def _aiperf(records: Sequence[Record], tool: str = "aiperf") -> Iterator[Reading]:
    for where, r in records:
        found: dict[tuple[str, str], float | None] = {}
        for metric, name in _AI_METRICS.items():
            scale = _SCALES.get(str(dig(r, name, "unit")), 1e-3)
            for statistic in STATISTICS:
                value = _float(dig(r, name, "avg" if statistic == "mean" else statistic))
                found[metric, statistic] = None if value is None else scale * value
        rate, held, model = _ai_load(r)
        errors = dig(r, "error_request_count", "avg") or sum(
            float(e.get("count", 1)) for e in r.get("error_summary") or [] if isinstance(e, dict)
        )
        yield Reading(
            tool=tool, where=where, model=model, rate_per_s=rate, concurrency=held,
            n_requests=int(dig(r, "request_count", "avg") or (1000 if any(found.values()) else 0)),
            n_failed=int(errors), input_tokens=_float(dig(r, "input_sequence_length", "avg")),
            output_tokens=_float(dig(r, "output_sequence_length", "avg")),
            throughput_per_s=_float(dig(r, "request_throughput", "avg")), latencies_s=found,
        )  # fmt: skip


def _genai_perf(records: Sequence[Record]) -> Iterator[Reading]:
    return _aiperf(records, "genai-perf")


def _aiperf_records(records: Sequence[Record]) -> Iterator[Reading]:
    """AIPerf's profile_export.jsonl: a request a line."""
    kept = [(w, r) for w, r in records if not r.get("error")]

    def values(name: str) -> list[float]:
        found = []
        for _, r in kept:
            entry = dig(r, "metrics", name)
            value = _float(entry.get("value") if isinstance(entry, dict) else entry)
            if value is not None:
                unit = entry.get("unit") if isinstance(entry, dict) else "ms"
                found.append(value * (_SCALES.get(str(unit), 1e-3) if name in _AI_METRICS.values() else 1.0))
        return found

    latencies = {
        (metric, statistic): value
        for metric, name in _AI_METRICS.items()
        for statistic, value in statistics_of(values(name)).items()
    }
    prompts, outputs = values("input_sequence_length"), values("output_sequence_length")
    starts = [s for _, r in kept if (s := _float(dig(r, "metadata", "request_start_ns"))) is not None]
    ends = [s for _, r in kept if (s := _float(dig(r, "metadata", "request_end_ns"))) is not None]
    span_s = 1e-9 * (max(ends) - min(starts)) if starts and ends else 0.0
    sent_s = 1e-9 * (max(starts) - min(starts)) if len(starts) > 1 else 0.0
    sizes = tuple(zip(prompts, outputs, strict=True)) if len(prompts) == len(outputs) else ()
    yield Reading(
        tool="aiperf-records", where=records[0][0].rpartition(":")[0] or records[0][0],
        model=next((m for _, r in kept if isinstance(m := dig(r, "metadata", "model"), str)), None),
        rate_per_s=(len(starts) - 1) / sent_s if sent_s > 0 else None, concurrency=None,
        n_requests=len(kept), n_failed=len(records) - len(kept),
        input_tokens=float(np.mean(prompts)) if prompts else None,
        output_tokens=float(np.mean(outputs)) if outputs else None,
        throughput_per_s=len(kept) / span_s if span_s > 0 else None, latencies_s=latencies, sizes=sizes,
    )  # fmt: skip


def _llm_d(records: Sequence[Record]) -> Iterator[Reading]:
    for where, r in records:
        of = dig(r, "results", "request_performance", "aggregate") or r.get("metrics") or {}
        found: dict[tuple[str, str], float | None] = {}
        names = {"ttft": ("time_to_first_token",), "tbt": ("time_per_output_token", "inter_token_latency"),
                 "e2e": ("request_latency",)}  # fmt: skip
        for metric, known in names.items():
            name = next((n for n in known if dig(of, "latency", n)), known[0])
            scale = _SCALES.get(str(dig(of, "latency", name, "units")), 1.0)
            for statistic in STATISTICS:
                value = _float(dig(of, "latency", name, statistic))
                found[metric, statistic] = None if value is None else scale * value
        standard = dig(r, "scenario", "load", "standardized") or {}
        args = dig(r, "scenario", "load", "args") or {}
        yield Reading(
            tool="llm-d", where=where, model=dig(r, "scenario", "model", "name"),
            rate_per_s=_float(standard.get("rate_qps", args.get("request_rate"))),
            concurrency=_float(standard.get("concurrency", args.get("max_concurrency"))),
            n_requests=int(dig(of, "requests", "total") or 1000),
            n_failed=int(dig(of, "requests", "failures") or 0),
            input_tokens=_float(dig(of, "requests", "input_length", "mean")),
            output_tokens=_float(dig(of, "requests", "output_length", "mean")),
            throughput_per_s=_float(dig(of, "throughput", "requests_per_sec")), latencies_s=found,
        )  # fmt: skip


def _inference_perf(records: Sequence[Record]) -> Iterator[Reading]:
    for where, r in records:
        of, load = r.get("successes") or {}, r.get("load_summary") or {}
        found: dict[tuple[str, str], float | None] = {}
        names = {"ttft": ("time_to_first_token",), "tbt": ("time_per_output_token", "inter_token_latency"),
                 "e2e": ("request_latency",)}  # fmt: skip
        for metric, known in names.items():
            name = next((n for n in known if dig(of, "latency", n)), known[0])
            for statistic in STATISTICS:
                keys = (statistic, "median") if statistic == "p50" else (statistic,)
                values = (_float(dig(of, "latency", name, key)) for key in keys)
                found[metric, statistic] = next((v for v in values if v is not None), None)
        yield Reading(
            tool="inference-perf", where=where, model=r.get("model"),
            rate_per_s=_float(load.get("requested_rate") or load.get("achieved_rate")),
            concurrency=_float(load.get("concurrency")), n_requests=int(of.get("count") or 0),
            n_failed=int(dig(r, "failures", "count") or 0), input_tokens=_float(dig(of, "prompt_len", "mean")),
            output_tokens=_float(dig(of, "output_len", "mean")),
            throughput_per_s=_float(dig(of, "throughput", "requests_per_sec")), latencies_s=found,
        )  # fmt: skip


def _llmperf(records: Sequence[Record]) -> Iterator[Reading]:
    for where, r in records:
        found: dict[tuple[str, str], float | None] = {}
        names = {"ttft": "ttft_s", "tbt": "inter_token_latency_s", "e2e": "end_to_end_latency_s"}
        for metric, name in names.items():
            for statistic in STATISTICS:
                key = f"results_{name}_{'mean' if statistic == 'mean' else f'quantiles_{statistic}'}"
                found[metric, statistic] = _float(r.get(key))
        minute = _float(r.get("results_num_completed_requests_per_min"))
        yield Reading(
            tool="llmperf", where=where, model=r.get("model"), rate_per_s=None,
            concurrency=_float(r.get("num_concurrent_requests")),
            n_requests=int(r.get("results_num_completed_requests") or 0),
            n_failed=int(r.get("results_number_errors") or 0),
            input_tokens=_float(r.get("results_number_input_tokens_mean") or r.get("mean_input_tokens")),
            output_tokens=_float(r.get("results_number_output_tokens_mean") or r.get("mean_output_tokens")),
            throughput_per_s=None if minute is None else minute / 60.0, latencies_s=found,
        )  # fmt: skip


def statistics_of(values: Sequence[float] | np.ndarray) -> dict[str, float | None]:
    """Mean and percentiles of values that are numbers; None of none."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    if not array.size:
        return dict.fromkeys(STATISTICS)
    p50, p90, p99 = np.percentile(array, (50.0, 90.0, 99.0))
    return {"mean": float(array.mean()), "p50": float(p50), "p90": float(p90), "p99": float(p99)}


FORMS: Mapping[str, BenchmarkForm] = {
    "vllm": BenchmarkForm(
        "vllm bench serve, and the ports of SGLang and TensorRT-LLM (JSON)",
        lambda r: "mean_ttft_ms" in r and "total_input_tokens" in r, _vllm,
        "--percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,99 --save-result",
    ),
    "guidellm": BenchmarkForm(
        "GuideLLM report (JSON or YAML)", lambda r: isinstance(r.get("benchmarks"), list), _guidellm,
        "--output-path FILE.json",
    ),
    "inference-perf": BenchmarkForm(
        "inference-perf summary (JSON)", lambda r: "load_summary" in r and "successes" in r, _inference_perf,
        "report.request_lifecycle.summary: true, percentiles: [50, 90, 99]",
    ),
    "llmperf": BenchmarkForm(
        "llmperf token_benchmark_ray summary (JSON)", lambda r: any(k.startswith("results_ttft_s") for k in r),
        _llmperf, "token_benchmark_ray.py --results-dir DIR",
    ),
    "aiperf-records": BenchmarkForm(
        "AIPerf records (profile_export.jsonl)", lambda r: "metadata" in r and "metrics" in r and "scenario" not in r,
        _aiperf_records, "aiperf profile --streaming",
    ),
    "genai-perf": BenchmarkForm(
        "GenAI-Perf summary (profile_export_genai_perf.json)",
        lambda r: dig(r, "input_config", "perf_analyzer") is not None, _genai_perf, "genai-perf profile --streaming",
    ),
    "aiperf": BenchmarkForm(
        "AIPerf summary (profile_export_aiperf.json)",
        lambda r: "input_config" in r or dig(r, "request_latency", "unit") is not None, _aiperf,
        "aiperf profile --streaming",
    ),
    "llm-d": BenchmarkForm(
        "llm-d-benchmark report (YAML or JSON)",
        lambda r: "scenario" in r and ("metrics" in r or "results" in r), _llm_d, "a report of schema 0.1 or 0.2",
    ),
}  # fmt: skip
