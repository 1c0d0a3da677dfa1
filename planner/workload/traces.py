"""Recorded traffic: when requests came, and how many tokens went in and out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.errors import TraceError
from planner.workload.sizes import FloatArray, RequestSizes
from planner.workload.trace_columns import choose_columns
from planner.workload.trace_tables import RawTable, read_table

MAX_TOKENS = 1e8
# Seconds since 1970 reach this in the year 5138; milliseconds did in 1973.
_EPOCH_MS = 1e11
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)?")


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
        `azure`, `splitwise-sim`, `mooncake`, `generic` (usual column names) or `mapped` (the user's mapping).
    """

    arrival_s: FloatArray | None
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    path: Path
    format: str

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
        """Arrivals a second: one over the mean gap; None without timestamps or when all came at once."""
        duration_s = self.duration_s
        return (self.n_requests - 1) / duration_s if duration_s else None

    @property
    def arrival_cv2(self) -> float | None:
        """Squared coefficient of variation of the gaps, 1 for Poisson; None with fewer than two gaps or no time."""
        if self.arrival_s is None or self.n_requests < 3 or not self.duration_s:
            return None
        gaps = np.diff(self.arrival_s)
        return float(np.var(gaps) / np.mean(gaps) ** 2)

    def sizes(self) -> RequestSizes:
        """Return the request sizes, each request counting alike, named after the file."""
        name = self.path.name.split(".")[0]
        return RequestSizes.equally_weighted(self.prompt_tokens, self.output_tokens, name)


def read_trace(path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None) -> Trace:
    """Read a trace file.

    Parameters
    ----------
    path : path
        CSV with a header line or JSONL, UTF-8, maybe gzipped (.csv, .jsonl, .csv.gz, .jsonl.gz).
    columns : mapping, optional
        Which column holds what, for columns of other than the usual names: `{"prompt": "ctx", "output": "gen",
        "timestamp": "t"}`; a timestamp in milliseconds is `timestamp_ms`.

    Returns
    -------
    Trace
        All rows of the file, in its order.

    Raises
    ------
    TraceError
        The file cannot be used; says the file, the line, the value, the rule and the fix.
    UnknownNameError
        `columns` names a role or a column that does not exist.

    Notes
    -----
    Recognised are the Azure traces (TIMESTAMP, ContextTokens, GeneratedTokens), those of the Splitwise simulator
    (arrival_timestamp, prompt_size, token_size), Mooncake (timestamp in ms, input_length, output_length) and usual
    names such as prompt_tokens, input_tokens, output_tokens, completion_tokens, arrival_s. Timestamps may be
    missing. Numbers are seconds unless the format or the name says milliseconds. No row is dropped, sorted or
    changed: a row that cannot be used is an error.
    """
    table = read_table(Path(path))
    chosen = choose_columns(table.columns, columns, f"{table.path}:{table.header_line}")
    prompt = _tokens(table, chosen.prompt)
    output = _tokens(table, chosen.output)
    _check_no_zero(table, chosen.prompt, prompt, chosen.output, output)
    arrival = None
    if chosen.timestamp is not None:
        arrival = _arrivals(table, chosen.timestamp, in_ms=chosen.timestamp_in_ms)
    for array in (prompt, output, arrival):
        if array is not None:
            array.flags.writeable = False
    return Trace(arrival, prompt, output, table.path, chosen.format)


def _tokens(table: RawTable, column: str) -> FloatArray:
    values = table.values(column)
    tokens = _numbers(table, column, values, "a whole number of tokens")
    for bad, what, rule in (
        (tokens < 0, "is negative", "tokens are whole numbers of at least 1"),
        (tokens != np.floor(tokens), "is not a whole number", "tokens are whole numbers of at least 1"),
        (tokens > MAX_TOKENS, "is absurdly large", f"at most {MAX_TOKENS:,.0f} tokens"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise TraceError(f"{column} {what}", where=table.where(row), value=values[row], rule=rule)
    return tokens


def _check_no_zero(table: RawTable, prompt_column: str, prompt: FloatArray, output_column: str,
                   output: FloatArray) -> None:  # fmt: skip
    zero = (prompt == 0) | (output == 0)
    if not zero.any():
        return
    row = int(np.argmax(zero))
    column = prompt_column if prompt[row] == 0 else output_column
    n = int(zero.sum())
    raise TraceError(
        f"{column} is zero; {n} of {zero.size} requests {'has' if n == 1 else 'have'} a zero prompt or output, "
        "this is the first",
        where=table.where(row), value=0, rule="a request has at least 1 prompt and 1 output token",
        fix="remove these requests from the file, or correct them: planner does not drop rows silently",
    )  # fmt: skip


def _numbers(table: RawTable, column: str, values: Sequence[object], expected: str) -> FloatArray:
    try:
        if bool in set(map(type, values)):
            raise TypeError
        numbers = np.array([float(value) for value in values])  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        row = next(i for i, value in enumerate(values) if not _is_number(value))
        shown = values[row]
        what = f"{column} is empty" if shown in ("", None) else f"{column} is not a number"
        raise TraceError(what, where=table.where(row), value=repr(shown), rule=f"{column} is {expected}") from None
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        raise TraceError(
            f"{column} is not finite", where=table.where(row), value=values[row], rule=f"{column} is {expected}"
        )
    return np.asarray(numbers)


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, bool) and float(value) is not None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _arrivals(table: RawTable, column: str, *, in_ms: bool) -> FloatArray:
    values = table.values(column)
    if _is_number(values[0]):
        times = _numbers(table, column, values, "a number of milliseconds" if in_ms else "a number of seconds")
        if not in_ms and times[0] > _EPOCH_MS:
            raise TraceError(
                f"{column} is too large to be seconds", where=table.where(0), value=values[0],
                rule="numeric timestamps are seconds unless their name says milliseconds",
                fix=f"if it is milliseconds, give --columns timestamp_ms={column}",
            )  # fmt: skip
        if (times < 0).any():
            row = int(np.argmax(times < 0))
            raise TraceError(
                f"{column} is negative", where=table.where(row), value=values[row],
                rule="timestamps are at least 0", fix="shift them all, so that the first is 0",
            )  # fmt: skip
        arrival = (times - times[0]) / (1e3 if in_ms else 1.0)
    else:
        times = _date_times_ns(table, column, values)
        # Whole nanoseconds are subtracted before they become floats, which would keep only 0.2 us of a date.
        arrival = (times - times[0]) / 1e9
    falls = np.diff(times) < 0
    if falls.any():
        row = int(np.argmax(falls)) + 1
        raise TraceError(
            f"{column} falls from {values[row - 1]} to {values[row]}", where=table.where(row), value=values[row],
            rule="timestamps must not decrease", fix=f"sort the file by {column}",
        )  # fmt: skip
    return np.asarray(arrival, dtype=float)


def _date_times_ns(table: RawTable, column: str, values: Sequence[object]) -> np.ndarray:
    """Nanoseconds since 1970, UTC unless a row says another offset."""
    matches = [_DATE_TIME.fullmatch(value.strip()) if isinstance(value, str) else None for value in values]
    if None in matches:
        raise _not_a_time(table, column, values, matches.index(None))
    texts = [match[1] for match in matches if match]
    try:
        times = np.array(texts, dtype="datetime64[ns]").astype(np.int64)
    except ValueError:
        row = next(i for i, text in enumerate(texts) if not _is_date_time(text))
        raise _not_a_time(table, column, values, row) from None
    offsets = [match[2] for match in matches if match]
    if len(set(offsets)) > 1:
        times = times - np.array([_offset_ns(offset) for offset in offsets])
    return times


def _is_date_time(text: str) -> bool:
    try:
        np.datetime64(text, "ns")
    except ValueError:
        return False
    return True


def _offset_ns(offset: str | None) -> int:
    if offset in (None, "Z"):
        return 0
    digits = offset[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-1 if offset[0] == "-" else 1) * minutes * 60 * 10**9


def _not_a_time(table: RawTable, column: str, values: Sequence[object], row: int) -> TraceError:
    shown = values[row]
    what = f"{column} is empty" if shown in ("", None) else f"{column} is not a time"
    return TraceError(
        what, where=table.where(row), value=repr(shown),
        rule="a number, or a date and time like 2023-11-16 18:17:03.9799600",
    )  # fmt: skip
