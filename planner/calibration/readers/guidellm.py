"""Reports of GuideLLM (benchmarks.json).

One entry of `benchmarks` is one strategy: `concurrent` holds `streams` requests, `synchronous` one, `throughput` as
many as `max_concurrency` allows, `constant` and `poisson` offer a `rate`. Latencies are under
`metrics.*.successful.mean`, in ms. `inter_token_latency_ms` excludes the first token and is what planner calls TPOT;
GuideLLM's own `time_per_output_token_ms` includes it and is not used. The hardware is not in the report.
"""

from __future__ import annotations

from typing import Any

from planner.calibration.measurements import Measurements, Setup
from planner.calibration.readers.records import dig, flat, maybe, need, serving_run
from planner.errors import TraceError


def matches(record: Any) -> bool:
    """Whether a JSON object is of this format."""
    return isinstance(record, dict) and isinstance(record.get("benchmarks"), list)


def read(report: Any, path: str) -> Measurements:
    """Read one run for each benchmark of the report.

    Raises
    ------
    TraceError
        No benchmark in the report, a missing field, or a value that is no positive number.
    """
    benchmarks = report["benchmarks"]
    if not benchmarks:
        raise TraceError("the report holds no benchmark", where=path)
    runs, notes = [], []
    for n, benchmark in enumerate(benchmarks):
        where = f"{path}: benchmarks[{n}]"
        strategy = dig(benchmark, "config", "strategy") or dig(benchmark, "args", "strategy") or {}
        kind = str(strategy.get("type_") or strategy.get("type") or "")
        streams = 1 if kind == "synchronous" else strategy.get("streams")
        if streams is None and kind == "throughput":
            streams = strategy.get("max_concurrency")
        errored = dig(benchmark, "metrics", "request_totals", "errored") or 0
        run, said = serving_run(
            setup=_setup(report, benchmark, where),
            input_tokens=need(benchmark, where, "metrics", "prompt_token_count", "successful", "mean"),
            output_tokens=need(benchmark, where, "metrics", "output_token_count", "successful", "mean"),
            held_concurrency=maybe(streams, "streams", where),
            throughput_per_s=maybe(
                dig(benchmark, "metrics", "requests_per_second", "successful", "mean"), "requests_per_second", where
            ),
            # Like every closed loop, `concurrent` offers as much as its streams can: only the queue is unknown.
            unlimited_rate=kind == "throughput",
            n_failed=float(errored),
            ttft_s=need(benchmark, where, "metrics", "time_to_first_token_ms", "successful", "mean") * 1e-3,
            tpot_s=need(benchmark, where, "metrics", "inter_token_latency_ms", "successful", "mean") * 1e-3,
            column="inter_token_latency_ms (ms)",
        )
        runs.append(run)
        notes.append(said)
    return Measurements(servings=tuple(runs), notes=flat(notes), files=(path,))


def _setup(report: Any, benchmark: Any, where: str) -> Setup:
    places = (
        (benchmark, ("config", "backend", "model")),
        (report, ("config", "spec", "backend", "model")),
        (report, ("args", "model")),
        (report, ("args", "backend_kwargs", "model")),
        (benchmark, ("worker", "backend_model")),
    )
    model = next((found for record, path in places if isinstance(found := dig(record, *path), str)), None)
    return Setup(model, None, None, None, None, None, None, where)
