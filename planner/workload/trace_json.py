"""JSON lines and JSON documents of requests: their objects, and the fields of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import TraceError
from planner.workload.trace_cells import MISSING
from planner.workload.trace_text import FIRST, decoded, opened, piece_of

SAMPLE = 200  # records whose fields are looked at before columns are chosen
_MOST_DOCUMENT = 2_000_000_000  # bytes of one JSON document, which is read whole
_DEEPEST = 8  # fields within fields that have names


def spread_over_lines(first: str) -> bool:
    """Whether JSON begins with a line that opens an object or a list and does not close it."""
    return next(line for line in first.splitlines() if line.strip()).strip() in ("{", "[")


def first_objects(path: Path, first: str) -> tuple[int, list[dict[str, Any]]]:
    """The first records of JSON lines, and the line of the first."""
    rows = [(n, line) for n, line in enumerate(first.split("\n"), 1) if line and not line.isspace()][:SAMPLE]
    whole = len(first.encode()) < FIRST // 2
    return rows[0][0], objects(path, [row for _, row in rows], [n for n, _ in rows], last=whole)


def objects(path: Path, rows: list[str], numbers: list[int], *, last: bool) -> list[dict[str, Any]]:
    """The JSON objects of lines.

    Raises
    ------
    TraceError
        A line that is not one.
    """
    try:
        # One call for all lines takes two thirds of the time; a fault in one of them is then sought line by line.
        together = json.loads(f"[{','.join(rows)}]")
        if len(together) == len(rows) and all(isinstance(record, dict) for record in together):
            return together  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    records = []
    for number, row in zip(numbers, rows, strict=True):
        try:
            record = json.loads(row)
        except (ValueError, RecursionError) as error:
            cut = last and len(rows) > 1 and number == numbers[-1]
            raise TraceError(
                "not a JSON object", where=f"{path}:{number}", value=f"{_shortened(row)} ({error})",
                rule="one JSON object a line",
                fix="the file ends in this line: was it cut short?" if cut else "write one object a line",
            ) from None  # fmt: skip
        if not isinstance(record, dict):
            raise TraceError(
                "not a JSON object", where=f"{path}:{number}", value=_shortened(row), rule="one JSON object a line"
            )
        records.append(record)
    return records


def read_document(path: Path, first: str) -> Any:
    """One JSON document; None where the file has JSON lines after all.

    Raises
    ------
    TraceError
        Not JSON, nested too deeply, or too large to be read whole.
    """
    with opened(path) as source:
        data = piece_of(source, path, _MOST_DOCUMENT + 1)
    if len(data) > _MOST_DOCUMENT:
        raise TraceError(
            "this JSON document is too large to be read whole", where=str(path),
            rule=f"at most {_MOST_DOCUMENT / 1e9:.0f} GB", fix="write it as JSONL, one object a line",
        )  # fmt: skip
    text = decoded(data, path, 1).removeprefix("\ufeff")
    try:
        document = json.loads(text)
    except RecursionError:
        raise TraceError("this JSON is nested too deeply", where=str(path), rule="records of requests") from None
    except ValueError as error:
        if _is_object(first.strip().split("\n")[0]):
            return None
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise TraceError(
            "not JSON", where=f"{path}:{line}", value=str(error), rule="one JSON document, or one JSON object a line",
            fix="was the file cut short?",
        ) from None  # fmt: skip
    if not isinstance(document, list | dict):
        raise TraceError("not records of requests", where=str(path), value=_shortened(text), rule="a list or an object")
    return document


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def flat(records: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """The first records with the names of nested fields joined by dots."""
    return [dict(_fields_of(record, "", 0)) for record in records[:SAMPLE]]


def names_of(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of all fields of records, nested ones joined by dots, in the order in which they come."""
    return tuple(new_names(records, {}, set()))


def new_names(
    records: Sequence[Mapping[str, Any]], known: dict[str, None], shapes: set[tuple[object, ...]]
) -> dict[str, None]:
    """Add the names of fields that are not known yet to `known`, and return it.

    Records with the same fields, and fields of their objects, are looked into once; `shapes` remembers which.
    """
    for record in records:
        shape = (*record, *[tuple(value) for value in record.values() if type(value) is dict])
        if shape not in shapes:
            shapes.add(shape)
            known |= dict.fromkeys(name for name, _ in _fields_of(record, "", 0))
    return known


def _fields_of(record: Mapping[str, Any], under: str, depth: int) -> Iterator[tuple[str, object]]:
    for name, value in record.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from _fields_of(value, f"{under}{name}.", depth + 1)
        else:
            yield f"{under}{name}", value


def values(records: Sequence[Mapping[str, Any]], name: str) -> list[object]:
    """The values of a field, `MISSING` where a record lacks it."""
    if "." not in name:
        return [record.get(name, MISSING) for record in records]
    path = name.split(".")
    return [record[name] if name in record else value_at(record, path) for record in records]


def value_at(record: object, path: Sequence[str]) -> object:
    """A nested value of a record, or `MISSING`."""
    for name in path:
        if not isinstance(record, dict) or name not in record:
            return MISSING
        record = record[name]
    return record


def _shortened(text: str, n: int = 60) -> str:
    text = text.strip()
    return text if len(text) <= n else text[: n - 3] + "..."
