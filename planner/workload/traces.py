"""Recorded traffic: when requests came, and how many tokens went in and out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.errors import TraceError
from planner.workload.prefixes import PrefixBlocks, blocks_of
from planner.workload.sizes import FloatArray, RequestSizes
from planner.workload.timestamps import arrivals_of
from planner.workload.trace_cells import MISSING, TextCells
from planner.workload.trace_columns import TraceColumns, choose_columns
from planner.workload.trace_documents import Run, is_benchmark_result, of_results, requests_in
from planner.workload.trace_failures import failed_rows
from planner.workload.trace_tables import RawColumns, RawTable, open_table
from planner.workload.trace_text import ByteProgress

MAX_TOKENS = 1e8


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded trace.

    Parameters
    ----------
    arrival_s : ndarray, shape (n,), or None
        Arrival of each request after the first [s]; starts at 0 and does not fall. None: the file has no timestamps.
    prompt_tokens, output_tokens : ndarray, shape (n,)
        Tokens in and out of each request [tokens].
    path : Path
        The file.
    format : str
        A known form (`azure`, `burstgpt`, `aiperf`, ...), `generic` (usual column names) or `mapped` (the user's).
    unit : str or None
        Of its timestamps: `seconds`, `milliseconds`, `dates`, ...
    stated_rate_per_s : float or None
        Where there are no timestamps: requests over the duration that the file states [requests/s].
    stated_cv2 : float or None
        Where there are no timestamps: variability of the gaps that the file states.
    blocks : PrefixBlocks or None
        Blocks of the prompts, where the file has them.
    cached_share : float or None
        Prompt tokens that were cached where this was recorded, of all of them.
    n_dropped : int
        Failed requests that were left out.
    notes : tuple of str
        What a reader must know of how the file was read.
    """

    arrival_s: FloatArray | None
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    path: Path
    format: str
    unit: str | None = None
    stated_rate_per_s: float | None = None
    stated_cv2: float | None = None
    blocks: PrefixBlocks | None = None
    cached_share: float | None = None
    n_dropped: int = 0
    notes: tuple[str, ...] = ()

    @property
    def n_requests(self) -> int:
        """Number of requests."""
        return int(self.prompt_tokens.size)

    @property
    def duration_s(self) -> float | None:
        """Time from the first arrival to the last [s]; None without timestamps."""
        return None if self.arrival_s is None else float(self.arrival_s[-1] - self.arrival_s[0])

    @property
    def rate_per_s(self) -> float | None:
        """Arrivals a second: one over the mean gap, or what the file states; None when all came at once."""
        duration_s = self.duration_s
        return (self.n_requests - 1) / duration_s if duration_s else self.stated_rate_per_s

    @property
    def arrival_cv2(self) -> float | None:
        """Squared coefficient of variation of the gaps, 1 for Poisson; None with fewer than two gaps or no time."""
        if self.arrival_s is None or self.n_requests < 3 or not self.duration_s:
            return self.stated_cv2
        gaps = np.diff(self.arrival_s)
        return float(np.var(gaps) / np.mean(gaps) ** 2)

    def sizes(self) -> RequestSizes:
        """Return the request sizes, each request counting alike, named after the file."""
        name = self.path.name.split(".")[0]
        return RequestSizes.equally_weighted(self.prompt_tokens, self.output_tokens, name)


def read_trace(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    drop_failed: bool = False,
    progress: ByteProgress | None = None,
) -> Trace:
    """Read a trace file.

    Parameters
    ----------
    path : path
        CSV with a header line, JSON lines or one JSON document, UTF-8, maybe gzipped.
    columns : mapping, optional
        Which column holds what, for columns of other than the usual names: `{"prompt": "ctx", "output": "gen",
        "timestamp": "t"}`; a timestamp in milliseconds is `timestamp_ms`, a nested field is named with dots.
    drop_failed : bool
        Whether failed requests, and ones without a prompt or an answer, are left out; they are counted.
    progress : callable, optional
        Told how far it is.

    Returns
    -------
    Trace
        All rows of the file, in order of arrival.

    Raises
    ------
    TraceError
        The file cannot be used; says the file, the line, the value, the rule and the fix.
    UnknownNameError
        `columns` names a role or a column that does not exist.

    Notes
    -----
    Recognised are the forms of `trace_columns.FORMS` and usual names such as prompt_tokens, input_tokens,
    output_tokens, completion_tokens, arrival_s. Timestamps may be missing. Their unit is told by the name, the form or
    the data (`timestamps`). No row is dropped or changed without being asked: a row that cannot be used is an error.
    """
    table, form, runs = _requests(open_table(Path(path)))
    chosen, found = _read_columns(table, columns, form, progress)
    notes: list[str] = []
    usable = _usable(table, chosen, found, drop_failed, notes)
    row_of = np.flatnonzero(usable)
    prompt, output = (
        _tokens(table, name, found.cells[name].taken(usable), row_of) for name in (chosen.prompt, chosen.output)
    )
    arrival, order, unit = None, None, None
    if len(runs) > 1:
        notes.append(
            f"the file holds {len(runs)} runs of a benchmark: the sizes of all are taken, and a rate of none of them"
        )
    elif chosen.timestamp is not None:
        cells = found.cells[chosen.timestamp].taken(usable)
        times = arrivals_of(
            cells, chosen.timestamp, chosen.unit, usual="ms" if chosen.format == "mooncake" else "s",
            form_tells=chosen.form is not None, any_order=chosen.form is not None and chosen.form.any_order,
            where=lambda row: table.where(int(row_of[row])),
        )  # fmt: skip
        arrival, order, unit = times.arrival_s, times.order, times.unit
        notes += times.notes
    elif chosen.overlooked:
        notes.append(
            f"no timestamps are read; columns that may be some: {', '.join(chosen.overlooked[:6])} "
            f"(--columns timestamp={chosen.overlooked[0]})"
        )
    blocks = None
    if chosen.blocks:
        lists = [found.lists[chosen.blocks][row] for row in row_of]
        blocks = blocks_of(lists, prompt, chosen.form.block_tokens if chosen.form else None)
    cached_share = _cached_share(found.cells[chosen.cached].taken(usable), prompt) if chosen.cached else None
    if order is not None:
        prompt, output = prompt[order], output[order]
        blocks = blocks.taken(order) if blocks is not None else None
    for array in (prompt, output, arrival):
        if array is not None:
            array.flags.writeable = False
    rate, cv2 = _stated(runs, prompt.size) if arrival is None else (None, None)
    if rate is not None:
        notes.append(f"the file has no timestamps: its rate is that of {prompt.size:,} requests over its duration")
    return Trace(
        arrival, prompt, output, table.path, chosen.format, unit, rate, cv2, blocks, cached_share,
        int(usable.size - row_of.size), tuple(notes),
    )  # fmt: skip


def _read_columns(
    table: RawTable, columns: Mapping[str, str] | None, form: str | None, progress: ByteProgress | None
) -> tuple[TraceColumns, RawColumns]:
    """The columns that hold what, and those columns; chosen among those of all rows, however late they come."""
    try:
        chosen = choose_columns(table.columns, columns, table.head, form, table.texts)
    except TraceError:
        at_first = table.columns
        table.name_all()
        if table.columns == at_first:
            raise
        chosen = choose_columns(table.columns, columns, table.head, form, table.texts)
    while True:
        names = [chosen.prompt, chosen.output, *filter(None, (chosen.timestamp, chosen.cached)), *chosen.failed]
        found = table.read(list(dict.fromkeys(names)), [chosen.blocks] if chosen.blocks else [], progress)
        again = choose_columns(table.columns, columns, table.head, form, table.texts)
        if again == chosen:
            break
        chosen = again
    for name in (chosen.prompt, chosen.output):
        found.cells[name] = found.cells[name].ungrouped()
    return chosen, found


def _requests(table: RawTable) -> tuple[RawTable, str | None, tuple[Run, ...]]:
    """The table of the requests of a file, its form where the outside tells it, and the runs of a benchmark."""
    if table.document is not None:
        held = requests_in(table.path, table.document)
    elif table.csv is None and not table.parquet and table.sample and is_benchmark_result(table.sample[0]):
        held = of_results(table.path, table.all_records())
    else:
        return table, None, ()
    return table.of_records(held.records), held.form, held.runs


def _stated(runs: tuple[Run, ...], n: int) -> tuple[float | None, float | None]:
    """Rate and variability that one run without timestamps states."""
    if len(runs) != 1 or runs[0].duration_s is None:
        return None, None
    return n / runs[0].duration_s, 1.0 / runs[0].burstiness if runs[0].burstiness else None


def _usable(
    table: RawTable, chosen: TraceColumns, found: RawColumns, drop_failed: bool, notes: list[str]
) -> NDArray[np.bool_]:
    """Rows that are requests: all of them, or those that did not fail where failed ones are to be left out."""
    failed = np.zeros(found.n_rows, dtype=bool)
    for name in chosen.failed:
        failed |= failed_rows(name, found.cells[name])
    prompt, output = (found.cells[name] for name in (chosen.prompt, chosen.output))
    without = (prompt.numbers == 0) | (output.numbers == 0)
    for cells in (prompt, output):
        # What is missing of a request that failed is part of its failure; of another it is a fault of the file, unless
        # requests without an answer may be left out.
        nothing = [drop_failed and cells.other(row) in (MISSING, None, "") for row in cells.other_rows.tolist()]
        without[cells.other_rows] |= failed[cells.other_rows] | np.array(nothing, dtype=bool)
    n_failed, n = int((failed | without).sum()), failed.size
    if drop_failed and n_failed == n:
        raise TraceError("every request of the trace failed", where=str(table.path), value=f"{n:,} requests")
    if drop_failed:
        if n_failed:
            notes.append(f"{n_failed:,} of {n:,} requests failed and are left out")
        return np.asarray(~(failed | without))
    if without.any():
        row = int(np.argmax(without))
        column, cells = (chosen.output, output) if prompt.numbers[row] > 0 else (chosen.prompt, prompt)
        shown = cells.shown(row)
        state = "zero" if cells.numbers[row] == 0 else "missing"
        n_without = int(without.sum())
        have = "has" if n_without == 1 else "have"
        what = f"{n_without} of {n} requests {have} a zero prompt or output"
        if failed.any():
            what = f"{int(failed.sum())} of {n} requests failed, and {n_without} {have} no prompt or no answer"
        raise TraceError(
            f"{column} is {state}; {what}, this is the first", where=table.where(row),
            value=None if shown is MISSING else shown, rule="a request has at least 1 prompt and 1 output token",
            fix="leave such requests out with --drop-failed, which counts them, or correct the file",
        )  # fmt: skip
    if n_failed:
        notes.append(f"{n_failed:,} of {n:,} requests failed and count as load (--drop-failed leaves them out)")
    return np.ones(n, dtype=bool)


def _tokens(table: RawTable, column: str, cells: TextCells, row_of: NDArray[np.int64]) -> FloatArray:
    rule = f"{column} is a whole number of tokens"
    if cells.other_rows.size:
        row = int(cells.other_rows[0])
        shown = cells.other(row)
        if shown is MISSING:
            raise TraceError(
                f"field {column!r} is missing", where=table.where(int(row_of[row])),
                rule="every object has the fields of the first",
                fix="is it a failed request? --drop-failed leaves it out",
            )  # fmt: skip
        empty = shown in ("", None)
        what = f"{column} is {'empty' if empty else 'not finite' if _infinite(shown) else 'not a number'}"
        fix = "is it a failed request? --drop-failed leaves it out" if empty else None
        raise TraceError(what, where=table.where(int(row_of[row])), value=repr(shown), rule=rule, fix=fix)
    tokens = cells.numbers
    whole = "tokens are whole numbers of at least 1"
    for bad, what, broken in (
        (~np.isfinite(tokens), "is not finite", rule),
        (tokens < 0, "is negative", whole),
        (tokens != np.floor(tokens), "is not a whole number", whole),
        (tokens > MAX_TOKENS, "is absurdly large", f"at most {MAX_TOKENS:,.0f} tokens"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            value = float(tokens[row])
            raise TraceError(
                f"{column} {what}", where=table.where(int(row_of[row])),
                value=int(value) if value.is_integer() else value, rule=broken,
            )  # fmt: skip
    return tokens


def _infinite(shown: object) -> bool:
    try:
        return isinstance(shown, str) and not math.isfinite(float(shown))
    except ValueError:
        return False


def _cached_share(cells: TextCells, prompt_tokens: FloatArray) -> float | None:
    """Prompt tokens that were cached, of all; what a row does not say counts as none."""
    cached = np.clip(np.nan_to_num(cells.numbers, nan=0.0, posinf=0.0, neginf=0.0), 0.0, prompt_tokens)
    return float(cached.sum() / prompt_tokens.sum()) if cells.other_rows.size < cells.numbers.size else None
