"""Summaries of AIPerf (profile_export_aiperf.json).

A metric is `{"unit": "ms", "avg": ...}`; the unit is read, not assumed. The load is under `input_config`: `loadgen`
(`concurrency`, `request_rate`) in older files, the profiling one of `phases` in newer ones. The hardware of the server
is not in the file: GPU telemetry, where there is any, names the GPUs of whatever it was pointed at.
"""

from __future__ import annotations

from typing import Any

from planner.calibration.measurements import Measurements, Setup
from planner.calibration.readers.records import dig, is_infinite, maybe, need, serving_run
from planner.errors import TraceError

_SCALES = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def matches(record: Any) -> bool:
    """Whether a JSON object is of this format."""
    return isinstance(record, dict) and ("input_config" in record or dig(record, "request_latency", "unit") is not None)


def read(record: Any, path: str) -> Measurements:
    """Read the run.

    Raises
    ------
    TraceError
        A missing metric (TTFT and inter-token latency need `--streaming`), an unknown unit, or a value that is no
        positive number.
    """
    load = _load(record)
    rate = load.get("request_rate", load.get("rate"))
    concurrency = maybe(load.get("concurrency"), "concurrency", path)
    errors = dig(record, "error_request_count", "avg") or sum(
        float(e.get("count", 1)) for e in record.get("error_summary") or [] if isinstance(e, dict)
    )
    run, notes = serving_run(
        setup=Setup(_model(record), None, None, None, None, None, None, path),
        input_tokens=need(record, path, "input_sequence_length", "avg"),
        output_tokens=need(record, path, "output_sequence_length", "avg"),
        held_concurrency=concurrency,
        throughput_per_s=maybe(dig(record, "request_throughput", "avg"), "request_throughput", path),
        unlimited_rate=is_infinite(rate) or (rate is None and concurrency is None),
        n_failed=float(errors),
        ttft_s=_seconds(record, "time_to_first_token", path),
        tpot_s=_seconds(record, "inter_token_latency", path),
        column=f"inter_token_latency ({dig(record, 'inter_token_latency', 'unit')})",
    )
    return Measurements(servings=(run,), notes=tuple(notes), files=(path,))


def _load(record: Any) -> dict[str, Any]:
    loadgen = dig(record, "input_config", "loadgen")
    if isinstance(loadgen, dict):
        return loadgen
    phases = dig(record, "input_config", "phases")
    if isinstance(phases, dict):
        phases = [{"name": name, **phase} for name, phase in phases.items() if isinstance(phase, dict)]
    profiling = [p for p in phases or [] if isinstance(p, dict) and p.get("name", "profiling") == "profiling"]
    return profiling[0] if profiling else {}


def _model(record: Any) -> str | None:
    names = dig(record, "input_config", "endpoint", "model_names")
    if isinstance(names, list) and names:
        return str(names[0])
    name = dig(record, "input_config", "models", "items", 0, "name")
    return name if isinstance(name, str) else None


def _seconds(record: Any, metric: str, path: str) -> float:
    if dig(record, metric) is None:
        raise TraceError(f"missing metric {metric}", where=path, fix="run aiperf profile with --streaming")
    unit = dig(record, metric, "unit")
    if unit not in _SCALES:
        raise TraceError(f"{metric} has the unit {unit!r}", where=path, fix=f"one of {', '.join(_SCALES)}")
    return need(record, path, metric, "avg") * _SCALES[unit]
