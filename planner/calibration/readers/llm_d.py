"""Benchmark reports of llm-d-benchmark, schema 0.1 and 0.2 (YAML or JSON): the one format that names its hardware.

0.1: `scenario.host.accelerator[]` (model, count, parallelism), `scenario.model.name`, `scenario.load.args`, `metrics`.
0.2: `scenario.stack[].standardized` of kind `inference_engine`, `scenario.load.standardized`,
`results.request_performance.aggregate`. Latencies state their units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.calibration.measurements import Measurements, Setup
from planner.calibration.readers.records import dig, is_infinite, maybe, need, serving_run
from planner.calibration.readers.tables import precision, whole
from planner.errors import TraceError

_SCALES = {"s": 1.0, "ms": 1e-3, "s/token": 1.0, "ms/token": 1e-3}


@dataclass(frozen=True)
class _Engine:
    role: str
    accelerator: str | None
    parallelism: dict[str, Any]
    replicas: float


def matches(record: Any) -> bool:
    """Whether a YAML or JSON object is of this format."""
    return isinstance(record, dict) and "scenario" in record and ("metrics" in record or "results" in record)


def read(report: Any, path: str) -> Measurements:
    """Read the run.

    Raises
    ------
    TraceError
        Accelerators of several kinds, a missing field, an unknown unit, or a value that is no positive number.
    """
    aggregate = dig(report, "results", "request_performance", "aggregate") or dig(report, "metrics")
    engines = _engines(report, path)
    # Disaggregated: the decode machines set the time per token, and prompts do not interrupt them.
    serving = [e for e in engines if e.role == "decode"] or engines
    kinds = sorted({e.accelerator for e in serving if e.accelerator})
    if len(kinds) > 1:
        raise TraceError(
            "mixed hardware: engines run on accelerators of several kinds",
            where=path,
            value=", ".join(kinds),
            fix="calibrate from runs on one kind of accelerator",
        )
    first = serving[0] if serving else None
    _, concurrency, unlimited = _load(report)
    ttft = _seconds(aggregate, "time_to_first_token", path)
    tpot_names = ("time_per_output_token", "inter_token_latency")
    tpot_name = next((n for n in tpot_names if dig(aggregate, "latency", n)), None)
    tpot = _seconds(aggregate, tpot_name, path) if tpot_name else None
    throughput = dig(aggregate, "throughput", "requests_per_sec") or next(
        (v for n in ("request_rate", "requests_rate") if (v := dig(aggregate, "throughput", n, "mean"))), None
    )
    parallelism = first.parallelism if first else {}

    def degree(name: str) -> int | None:
        value = parallelism.get(name)
        return None if value is None else whole(value, f"parallelism.{name}", path)

    run, notes = serving_run(
        setup=Setup(
            model=_model(report),
            hardware=kinds[0] if kinds else None,
            tensor_parallel=degree("tp"),
            pipeline_parallel=degree("pp"),
            expert_parallel=degree("ep"),
            precision=precision(dig(report, "scenario", "model", "quantization"), path),
            kv_precision=None,
            source=path,
        ),
        input_tokens=need(aggregate, path, "requests", "input_length", "mean"),
        output_tokens=need(aggregate, path, "requests", "output_length", "mean"),
        held_concurrency=maybe(concurrency, "concurrency", path),
        throughput_per_s=maybe(throughput, "throughput", path),
        unlimited_rate=unlimited,
        n_failed=float(dig(aggregate, "requests", "failures") or 0),
        ttft_s=ttft,
        tpot_s=tpot,
        column=f"latency.{tpot_name} ({dig(aggregate, 'latency', tpot_name, 'units') if tpot_name else '-'})",
        replicas=sum(e.replicas for e in serving) or 1.0,
        disaggregated=any(e.role == "decode" for e in engines),
    )
    return Measurements(servings=(run,), notes=tuple(notes), files=(path,))


def _engines(report: Any, path: str) -> list[_Engine]:
    found = []
    for component in dig(report, "scenario", "stack") or []:
        standard = dig(component, "standardized") or {}
        if "accelerator" in standard:
            parallelism = dig(standard, "accelerator", "parallelism") or {}
            replicas = float(standard.get("replicas") or 1) * float(parallelism.get("dp") or 1)
            role = str(standard.get("role"))
            found.append(_Engine(role, dig(standard, "accelerator", "model"), parallelism, replicas))
    roles = dig(report, "scenario", "host", "type") or []
    for n, accelerator in enumerate(dig(report, "scenario", "host", "accelerator") or []):
        parallelism = dig(accelerator, "parallelism") or {}
        role = str(roles[n]) if n < len(roles) else "replica"
        found.append(_Engine(role, dig(accelerator, "model"), parallelism, float(parallelism.get("dp") or 1)))
    return found


def _load(report: Any) -> tuple[float | None, float | None, bool]:
    """Return the request rate, the concurrency, and whether the rate is unlimited."""
    standard = dig(report, "scenario", "load", "standardized") or {}
    args = dig(report, "scenario", "load", "args") or {}
    rate = standard.get("rate_qps", args.get("request_rate"))
    concurrency = standard.get("concurrency", args.get("max_concurrency"))
    unlimited = is_infinite(rate)
    rate = None if unlimited else rate
    concurrency = None if is_infinite(concurrency) else concurrency
    return rate, concurrency, unlimited or (rate is None and concurrency is None)


def _model(report: Any) -> str | None:
    names = [dig(report, "scenario", "model", "name")]
    names += [dig(c, "standardized", "model", "name") for c in dig(report, "scenario", "stack") or []]
    return next((n for n in names if isinstance(n, str)), None)


def _seconds(aggregate: Any, metric: str, path: str) -> float:
    unit = dig(aggregate, "latency", metric, "units")
    if unit not in _SCALES:
        raise TraceError(f"latency.{metric} has the units {unit!r}", where=path, fix=f"one of {', '.join(_SCALES)}")
    return need(aggregate, path, "latency", metric, "mean") * _SCALES[unit]
