"""Where a JSON document, or the results of a benchmark, hold their requests: records, one a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import TraceError

STATE = "planner_state"  # field that a record gets: `errored`, `incomplete`, or empty
_LISTS = ("input_lens", "output_lens")
# Lists of a result of `vllm bench serve` and `sglang.bench_serving` that have one entry a request.
_OF_REQUEST = (*_LISTS, "start_times", "errors")


@dataclass(frozen=True)
class Run:
    """One run of a benchmark: its requests, how long it took [s], and the shape of its gamma gaps where told."""

    n_requests: int
    duration_s: float | None = None
    burstiness: float | None = None


@dataclass(frozen=True)
class Held:
    """What a document holds.

    Attributes
    ----------
    form : str or None
        Form of the file where its outer parts tell it.
    records : list of dict
    runs : tuple of Run
        Of a benchmark; empty where the file is not the result of one.
    """

    form: str | None
    records: list[dict[str, Any]]
    runs: tuple[Run, ...] = ()


def requests_in(path: Path, document: Any) -> Held:
    """The requests of one JSON document.

    Raises
    ------
    TraceError
        There are none: a summary without requests, or nothing that looks like records.
    """
    if isinstance(document, dict):
        if isinstance(document.get("benchmarks"), list):
            return _guidellm(path, document["benchmarks"])
        if is_benchmark_result(document):
            return of_results(path, [document])
        _refuse_summary(path, document)
    lists = [document] if isinstance(document, list) else _lists_in(document)
    records = max(
        (found for found in lists if found and all(isinstance(r, dict) for r in found)), key=len, default=None
    )
    if records is None:
        raise TraceError(
            "there are no requests in this JSON document", where=str(path),
            value=f"it has: {', '.join(list(document)[:12])}" if isinstance(document, dict) else None,
            rule="a list of objects, one a request", fix="name the file that has the requests one by one",
        )  # fmt: skip
    if all(is_benchmark_result(record) for record in records):
        return of_results(path, records)
    return Held(None, records)


def _lists_in(document: Mapping[str, Any], depth: int = 0) -> list[list[Any]]:
    found = [value for value in document.values() if isinstance(value, list)]
    if depth < 2:
        for value in document.values():
            if isinstance(value, dict):
                found += _lists_in(value, depth + 1)
    return found


def is_benchmark_result(record: Mapping[str, Any]) -> bool:
    """Whether this is the result of one run with its requests as lists, as vLLM and SGLang write it."""
    return all(isinstance(record.get(name), list) for name in _LISTS)


def of_results(path: Path, results: Sequence[Mapping[str, Any]]) -> Held:
    """The requests of runs that hold them as lists."""
    records: list[dict[str, Any]] = []
    runs = []
    for result in results:
        lists = {name: result[name] for name in _OF_REQUEST if isinstance(result.get(name), list)}
        sizes = {name: len(values) for name, values in lists.items()}
        n = sizes["input_lens"]
        if sizes["output_lens"] != n:
            raise TraceError(
                "input_lens and output_lens differ in number", where=str(path), value=f"{n} and {sizes['output_lens']}",
                rule="one entry a request in each",
            )  # fmt: skip
        kept = {name: values for name, values in lists.items() if sizes[name] == n}
        records += [dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True)]
        runs.append(Run(n, _positive(result.get("duration")), _positive(result.get("burstiness"))))
    if not records:
        raise TraceError("there are no requests in this result", where=str(path), rule="at least one")
    return Held("bench-serve", records, tuple(runs))


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < float("inf") else None


def _guidellm(path: Path, benchmarks: Sequence[Any]) -> Held:
    records: list[dict[str, Any]] = []
    runs = []
    for benchmark in benchmarks:
        requests = benchmark.get("requests") if isinstance(benchmark, dict) else None
        if not isinstance(requests, dict):
            continue
        before = len(records)
        for state in ("successful", "errored", "incomplete"):
            for record in requests.get(state) or ():
                records.append({**record, STATE: "" if state == "successful" else state})
        runs.append(Run(len(records) - before, _positive(benchmark.get("duration"))))
    if not records:
        raise TraceError(
            "this GuideLLM report holds no requests", where=str(path), rule="benchmarks[].requests.successful",
            fix="save it with its requests: --output-path benchmarks.json",
        )  # fmt: skip
    return Held("guidellm", records, tuple(runs))


# Fields of a summary that has no requests -> where they are.
_SUMMARIES = (
    ("total_input_tokens", "this result has totals and no requests", "run vllm bench serve with --save-detailed, or "
     "sglang.bench_serving with --output-details; or give the sizes with --isl and --osl"),
    ("results_number_input_tokens_mean", "this is the summary of llmperf", "give the file that ends with "
     "_individual_responses.json"),
    ("input_config", "this is the summary of AIPerf", "give profile_export.jsonl, which has every request"),
    ("load_summary", "this is the summary of inference-perf", "give per_request_lifecycle_metrics.json"),
)  # fmt: skip


def _refuse_summary(path: Path, document: Mapping[str, Any]) -> None:
    for name, what, fix in _SUMMARIES:
        if name in document:
            raise TraceError(what, where=str(path), rule="a trace has its requests one by one", fix=fix)
