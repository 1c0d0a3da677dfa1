"""Reading what benchmark tools write: one module a format, found by looking at the content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.calibration.measurements import Measurements
from planner.calibration.readers import aiperf, guidellm, llm_d, plain, serving, splitwise, vllm_bench
from planner.calibration.readers.tables import read_table
from planner.errors import TraceError, UnknownNameError
from planner.parsing import check_text, read_bytes

# Name of each format to what it is.
FORMATS = {
    "splitwise": "step-time profile of the Splitwise authors (CSV)",
    "csv": "steps and kernels, as `planner measure` writes them (CSV)",
    "serving-csv": "serving runs at a fixed concurrency (CSV)",
    "vllm": "vllm bench serve (JSON or JSON lines)",
    "guidellm": "GuideLLM report (JSON or YAML)",
    "aiperf": "AIPerf summary (JSON)",
    "llm-d": "llm-d-benchmark report (YAML or JSON)",
}
_TABLES = {"splitwise": splitwise, "serving-csv": serving, "csv": plain}
_RECORDS = {"vllm": vllm_bench, "guidellm": guidellm, "aiperf": aiperf, "llm-d": llm_d}


def read_measurements(
    path: str | Path, format: str | None = None, *, where: Sequence[tuple[str, str]] = ()
) -> Measurements:
    """Read one file of measurements.

    Parameters
    ----------
    path : path
    format : str, optional
        One of `FORMATS`; found from the content if left out.
    where : sequence of (column, value)
        Rows of a CSV to keep: those with each value in its column.

    Raises
    ------
    TraceError
        A file that cannot be read, of no known format, with missing fields or impossible values.
    UnknownNameError
        No such format.
    """
    shown = str(path)
    if format is not None and format not in FORMATS:
        raise UnknownNameError.of("format", format, FORMATS, where="--input-format")
    try:
        text = read_bytes(Path(path), TraceError).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise TraceError(f"cannot read the measurements: {reason}", where=shown) from None
    if not text.strip():
        raise TraceError("the file is empty", where=shown)
    check_text(text, shown, TraceError)
    is_record = format in _RECORDS if format else _looks_like_records(text, Path(path).suffix)
    if not is_record:
        table = read_table(text, shown).only(where)
        name = format or next((n for n, reader in _TABLES.items() if reader.matches(table)), None)
        if name is None:
            missing = [n for n in ("phase", "batch", "tokens") if table.column(n) is None]
            raise table.missing(missing if table.latency_column("latency") else [*missing, "latency_ms"])
        return _TABLES[name].read(table)  # type: ignore[no-any-return,attr-defined]
    if where:
        raise TraceError("rows can be chosen by column in CSV files only", where=shown, fix="leave out --where")
    return _read_records(records_of(text, shown), format, shown)


def _looks_like_records(text: str, suffix: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") or suffix in (".yaml", ".yml")


def _read_records(records: list[tuple[str, Any]], format: str | None, path: str) -> Measurements:
    first = records[0][1]
    name = format or next((n for n, reader in _RECORDS.items() if reader.matches(first)), None)
    if name is None:
        hint = None
        if isinstance(first, dict) and {"metadata", "metrics"} <= set(first):
            hint = "this looks like records of single requests; give the summary (profile_export_aiperf.json)"
        raise TraceError(
            "not a known format of measurements",
            where=path,
            value=f"keys: {', '.join(list(first)[:8])}" if isinstance(first, dict) else type(first).__name__,
            fix=hint or f"name it with --input-format: {', '.join(FORMATS)}",
        )
    if not isinstance(first, dict) or (format and not _RECORDS[format].matches(first)):  # type: ignore[attr-defined]
        raise TraceError(f"this is not a file of the format {name}", where=path, fix=f"{name}: {FORMATS[name]}")
    if len(records) > 1 and name != "vllm":
        raise TraceError(f"{len(records)} objects in one file of the format {name}", where=path, rule="one is expected")
    try:
        if name == "vllm":
            return vllm_bench.read(records, path)
        return _RECORDS[name].read(first, path)  # type: ignore[no-any-return,attr-defined]
    except (TypeError, AttributeError, ValueError, KeyError, IndexError, OverflowError) as error:
        # A field of another type than the tool writes, somewhere in a file that no schema describes.
        raise TraceError(
            f"a field has a form that {name} does not write", where=path, value=str(error),
            fix=f"was the file edited, or written by another version? {name}: {FORMATS[name]}",
        ) from None  # fmt: skip


def records_of(text: str, path: str) -> list[tuple[str, Any]]:
    """Parse JSON, JSON lines or YAML into objects, each with where it stands."""
    if text.lstrip()[:1] not in ("{", "["):
        return [(path, _yaml(text, path))]
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2:
            raise TraceError(f"not JSON: {error.msg}", where=f"{path}:{error.lineno}") from None
        return [(f"{path}:{n}", _json_line(line, f"{path}:{n}")) for n, line in lines]
    if isinstance(whole, list):
        if not whole:
            raise TraceError("the file holds no run", where=path)
        return [(f"{path}: [{n}]", item) for n, item in enumerate(whole)]
    return [(path, whole)]


def _json_line(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise TraceError(f"not JSON: {error.msg}", where=where) from None


def _yaml(text: str, path: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise TraceError("not YAML", where=where, value=str(getattr(error, "problem", None) or "")) from None
