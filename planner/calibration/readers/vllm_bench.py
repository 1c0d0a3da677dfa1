"""Results of `vllm bench serve --save-result` (JSON) or `--append-result` (JSON lines).

Fields as written by vllm/benchmarks/serve.py: `model_id, request_rate ("inf" or a number), max_concurrency,
completed, failed, total_input_tokens, total_output_tokens, request_throughput, mean_ttft_ms, mean_tpot_ms`. They do
not say what hardware the server ran on. SGLang's and TensorRT-LLM's ports of the script write the same fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.calibration.measurements import Measurements, Setup
from planner.calibration.readers.records import dig, flat, is_infinite, maybe, need, serving_run, text_at
from planner.calibration.readers.tables import whole
from planner.errors import TraceError


def matches(record: Any) -> bool:
    """Whether a JSON object is of this format."""
    return isinstance(record, dict) and "mean_ttft_ms" in record and "total_input_tokens" in record


def read(records: Sequence[tuple[str, Any]], path: str) -> Measurements:
    """Read one run for each JSON object.

    Parameters
    ----------
    records : sequence of (where, object)
    path : str

    Raises
    ------
    TraceError
        A missing field, no completed request, or a value that is no positive number.
    """
    runs, notes = [], []
    for where, record in records:
        completed = dig(record, "completed")
        if not completed:
            raise TraceError("no request was completed", where=where, value=f"completed: {completed!r}")
        n = need(record, where, "completed")
        degree = dig(record, "tensor_parallel_size")
        rate = dig(record, "request_rate")
        run, said = serving_run(
            setup=Setup(
                model=text_at(record, where, "model_id"),
                hardware=None,
                tensor_parallel=whole(degree, "tensor_parallel_size", where) if degree else None,
                pipeline_parallel=None,
                expert_parallel=None,
                precision=None,
                kv_precision=None,
                source=where,
            ),
            input_tokens=need(record, where, "total_input_tokens") / n,
            output_tokens=need(record, where, "total_output_tokens") / n,
            held_concurrency=maybe(dig(record, "max_concurrency"), "max_concurrency", where),
            throughput_per_s=maybe(dig(record, "request_throughput"), "request_throughput", where),
            unlimited_rate=rate is None or is_infinite(rate),
            n_failed=float(dig(record, "failed") or max(float(dig(record, "num_prompts") or n) - n, 0.0)),
            ttft_s=need(record, where, "mean_ttft_ms") * 1e-3,
            tpot_s=need(record, where, "mean_tpot_ms") * 1e-3,
            column="mean_tpot_ms (ms)",
        )
        runs.append(run)
        notes.append(said)
    return Measurements(servings=tuple(runs), notes=flat(notes), files=(path,))
