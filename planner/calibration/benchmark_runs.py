"""One run of a benchmark as its tool reports it: the load that was sent, and every statistic of latency it has.

Calibration needs means (`planner.calibration.readers`); to hold a plan against what happened takes percentiles too.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.calibration.benchmark_forms import FORMS, LATENCIES, STATISTICS, Reading
from planner.calibration.readers import records_of
from planner.errors import TraceError, UnknownNameError
from planner.parsing import check_text, read_bytes

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
# Column of a table of runs -> names that it goes by.
_COLUMNS = {
    "rate": ("rate_per_s", "request_rate", "rate", "qps"),
    "concurrency": ("concurrency", "max_concurrency", "streams", "users"),
    "input": ("input_tokens", "prompt_tokens_mean", "prompt_tokens", "isl", "mean_input_tokens"),
    "output": ("output_tokens_mean", "output_tokens", "osl", "mean_output_tokens"),
    "n": ("n_requests", "completed", "requests", "num_requests"),
    "failed": ("n_failed", "failed", "errors"),
    "throughput": ("request_throughput", "requests_per_s", "throughput_per_s"),
    "model": ("model", "model_id"),
    "arrivals": ("arrivals",),
}  # fmt: skip


@dataclass(frozen=True)
class BenchmarkRun:
    """One run.

    Attributes
    ----------
    source : str
        File and place.
    tool : str
        Name of the form.
    model : str or None
        As the file spells it.
    rate_per_s : float or None
        Requests offered [1/s]; None where concurrency was held, or all came at once.
    concurrency : float or None
        Requests held under way.
    even : bool
        Whether requests came at even gaps.
    n_requests, n_failed : int
        Completed, and failed.
    input_tokens, output_tokens : float
        Means [tokens].
    sizes : tuple of (float, float)
        Of each request, where the file has them.
    throughput_per_s : float or None
        Requests completed a second.
    latencies_s : mapping of (str, str) to float
        (ttft, tbt or e2e; mean, p50, p90 or p99) -> seconds.
    missing : tuple of str
        Statistics that a plan is held against and the file does not have.
    """

    source: str
    tool: str
    model: str | None
    rate_per_s: float | None
    concurrency: float | None
    even: bool
    n_requests: int
    n_failed: int
    input_tokens: float
    output_tokens: float
    throughput_per_s: float | None
    latencies_s: Mapping[tuple[str, str], float]
    sizes: tuple[tuple[float, float], ...] = ()
    missing: tuple[str, ...] = field(default=())


def read_runs(path: str | Path, form: str | None = None) -> list[BenchmarkRun]:
    """Read the runs of a benchmark file.

    Parameters
    ----------
    path : path
        JSON, JSON lines, YAML, or a table in CSV with a run a row.
    form : str, optional
        One of `FORMS`, or `csv`; found from the content if left out.

    Raises
    ------
    TraceError
        A file that is empty or of no known form, a run of which nothing completed, a missing field (named), or an
        impossible value.
    UnknownNameError
        No such form.
    """
    shown = str(path)
    if form is not None and form not in (*FORMS, "csv"):
        raise UnknownNameError.of("format", form, [*FORMS, "csv"], where="--input-format")
    try:
        text = read_bytes(Path(path), TraceError).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise TraceError(f"cannot read the benchmark: {reason}", where=shown) from None
    if not text.strip():
        raise TraceError("the file is empty", where=shown, rule="a benchmark writes its result when it ends")
    check_text(text, shown, TraceError)
    is_table = form == "csv" or (
        form is None and text.lstrip()[:1] not in ("{", "[") and Path(path).suffix not in (".yaml", ".yml")
    )
    if is_table:
        return [_run(reading, shown) for reading in _table(text, shown)]
    records = records_of(text, shown)
    if not isinstance(records[0][1], dict):
        raise TraceError("not a benchmark's result", where=shown, value=type(records[0][1]).__name__)
    name = form or next((n for n, f in FORMS.items() if f.matches(records[0][1])), None)
    if name is None:
        raise TraceError(
            "not a known form of benchmark", where=shown, value=f"keys: {', '.join(list(records[0][1])[:8])}",
            fix=f"name it with --input-format: {', '.join([*FORMS, 'csv'])}",
        )  # fmt: skip
    try:
        return [_run(reading, shown) for reading in FORMS[name].read(records)]
    except (TypeError, AttributeError, ValueError, KeyError, IndexError) as error:
        raise TraceError(
            f"a field has a form that {name} does not write", where=shown, value=str(error),
            fix="was the file edited, or written by another version?",
        ) from None  # fmt: skip


def _run(reading: Reading, path: str) -> BenchmarkRun:
    where = reading.where or path
    if reading.n_requests < 1:
        raise TraceError(
            "no request was completed", where=where, value=f"{reading.n_failed} failed",
            fix="look at the server's log; a run without answers says nothing of latency",
        )  # fmt: skip
    needed = {"input tokens": reading.input_tokens, "output tokens": reading.output_tokens}
    lacking = [name for name, value in needed.items() if not value or not value > 0]
    found = {key: value for key, value in reading.latencies_s.items() if value is not None and value > 0}
    if not found:
        lacking.append("any latency (run it with streaming)")
    if reading.rate_per_s is None and reading.concurrency is None and not reading.throughput_per_s:
        lacking.append("rate, concurrency or throughput")
    if lacking:
        raise TraceError(f"missing: {', '.join(lacking)}", where=where, rule="the load and a latency are needed",
                         fix=f"{reading.tool}: {FORMS[reading.tool].needs}" if reading.tool in FORMS else None,
                         )  # fmt: skip
    every = [(metric, statistic) for metric in LATENCIES for statistic in STATISTICS]
    return BenchmarkRun(
        source=where, tool=reading.tool, model=reading.model, rate_per_s=reading.rate_per_s,
        concurrency=reading.concurrency, even=reading.even, n_requests=reading.n_requests, n_failed=reading.n_failed,
        input_tokens=float(reading.input_tokens or 0), output_tokens=float(reading.output_tokens or 0),
        throughput_per_s=reading.throughput_per_s, latencies_s=found, sizes=reading.sizes,
        missing=tuple(f"{metric} {statistic}" for metric, statistic in every if (metric, statistic) not in found),
    )  # fmt: skip


def _table(text: str, path: str) -> Iterator[Reading]:
    """A table with a run a row: columns such as rate_per_s, ttft_p99_s, tbt_mean_ms."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise TraceError("the table holds no run", where=path)
    names = {str(name).strip().casefold(): name for name in rows[0]}
    columns = {key: next((names[n] for n in known if n in names), None) for key, known in _COLUMNS.items()}
    latencies = dict(_latency_columns(names))
    if not latencies:
        raise TraceError(
            "no column of latencies", where=path, value=", ".join(names),
            fix="name them like ttft_p99_s, tbt_mean_ms, e2e_p50_s",
        )  # fmt: skip
    for line, row in enumerate(rows, 2):
        where = f"{path}:{line}"

        def number(key: str, row: Mapping[str, Any] = row, where: str = where) -> float | None:
            column = columns[key]
            return None if column is None else _number(row[column], column, where)

        yield Reading(
            tool="csv", where=where, model=row[columns["model"]] if columns["model"] else None,
            rate_per_s=number("rate"), concurrency=number("concurrency"),
            even=bool(columns["arrivals"]) and row[columns["arrivals"]] in ("constant", "even"),  # type: ignore[index]
            n_requests=int(number("n") or 1000), n_failed=int(number("failed") or 0), input_tokens=number("input"),
            output_tokens=number("output"), throughput_per_s=number("throughput"),
            latencies_s={k: _scaled(row[c], c, scale, where) for k, (c, scale) in latencies.items()},
        )  # fmt: skip


def _latency_columns(names: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], tuple[str, float]]]:
    """(metric, statistic) of each column that holds a latency -> the column and the unit it is in."""
    alias = {"ttft": "ttft", "tbt": "tbt", "tpot": "tbt", "itl": "tbt", "e2e": "e2e", "e2el": "e2e", "latency": "e2e"}
    for folded, name in names.items():
        found = re.fullmatch(r"(ttft|tbt|tpot|itl|e2el?|latency)(?:_(mean|avg|median|p50|p90|p99))?_(s|ms|us)", folded)
        if found:
            said = {"avg": "mean", "median": "p50", None: "mean"}.get(found[2], found[2])
            yield (alias[found[1]], str(said)), (name, _UNITS[found[3]])


def _number(raw: object, column: str, where: str) -> float | None:
    text = str(raw or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise TraceError(f"{column} is no number", where=where, value=text) from None
    return None if value != value or abs(value) == float("inf") else value


def _scaled(raw: object, column: str, scale: float, where: str) -> float | None:
    value = _number(raw, column, where)
    return None if value is None else value * scale


def runs_of_files(paths: Sequence[str | Path], form: str | None = None) -> list[BenchmarkRun]:
    """The runs of several files, in order."""
    return [run for path in paths for run in read_runs(path, form)]
