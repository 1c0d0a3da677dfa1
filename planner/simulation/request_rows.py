"""The requests of a simulation as rows, a part at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from planner.simulation.outcome import Outcome
from planner.simulation.summary import METRICS, values_of

REQUEST_COLUMNS = (
    "run", "request", "arrival_s", "prompt_tokens", "output_tokens", "status", "queueing_s", "ttft_s", "transfer_s",
    "tbt_s", "largest_gap_s", "e2e_s",
)  # fmt: skip
STATUSES = ("done", "in flight", "too large")
ROWS_AT_ONCE = 50_000


def request_columns(outcomes: Sequence[Outcome]) -> Iterator[dict[str, np.ndarray]]:
    """The columns of `REQUEST_COLUMNS` for some 50,000 requests after the others, in order of arrival.

    Yields
    ------
    dict of str to ndarray
        Times in seconds, NaN where a request has none; `status` is the index into `STATUSES`. Ten million rows need
        no memory of their own.
    """
    for run, outcome in enumerate(outcomes, start=1):
        n = outcome.n_arrived
        for start in range(0, n, ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, n))
            requests, rows = outcome.requests, np.arange(part.start, part.stop)
            times = {f"{metric}_s": values_of(outcome, metric, part) for metric in METRICS}
            too_large = np.isin(rows, outcome.too_large)
            values = times | {
                "run": np.full(rows.size, run), "request": rows, "arrival_s": requests.arrival_s[part],
                "prompt_tokens": requests.prompt_tokens[part], "output_tokens": requests.output_tokens[part],
                "status": np.where(too_large, 2, np.where(np.isfinite(times["e2e_s"]), 0, 1)),
            }  # fmt: skip
            yield {name: values[name] for name in REQUEST_COLUMNS}


def request_rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[Any, ...]]:
    """One row a request with the columns of `REQUEST_COLUMNS`: None where a request has no such time."""
    for columns in request_columns(outcomes):
        yield from zip(*(_cells(name, values) for name, values in columns.items()), strict=True)


def request_records(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """The same as flat dicts."""
    return (dict(zip(REQUEST_COLUMNS, row, strict=True)) for row in request_rows(outcomes))


def _cells(name: str, values: np.ndarray) -> list[Any]:
    if name == "status":
        return [STATUSES[i] for i in values.tolist()]
    if values.dtype.kind != "f":
        return values.tolist()
    return [v if math.isfinite(v) else None for v in values.tolist()]
