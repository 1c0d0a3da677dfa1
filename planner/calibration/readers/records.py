"""Values out of nested JSON, with the place named when something is missing or wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from planner.calibration.measurements import ServingMeasurement, Setup
from planner.calibration.readers.tables import positive
from planner.errors import TraceError

INFINITE = ("inf", "infinity", ".inf")


def dig(record: Any, *path: str | int) -> Any:
    """Return what lies at a path of keys and indices, or None."""
    for part in path:
        if isinstance(record, dict) and isinstance(part, str):
            record = record.get(part)
        elif isinstance(record, list) and isinstance(part, int) and part < len(record):
            record = record[part]
        else:
            return None
    return record


def need(record: Any, where: str, *path: str | int) -> float:
    """Return the positive number at a path.

    Raises
    ------
    TraceError
        It is missing, or no positive number.
    """
    value, name = dig(record, *path), ".".join(map(str, path))
    if value is None:
        raise TraceError(f"missing field {name}", where=where, fix="was the file written by another version or tool?")
    return positive(value, name, where)


def text_at(record: Any, where: str, *path: str | int) -> str | None:
    """Return the text at a path, or None.

    Raises
    ------
    TraceError
        Something else is there.
    """
    value = dig(record, *path)
    if value is not None and not isinstance(value, str):
        raise TraceError(f"{'.'.join(map(str, path))} is not text", where=where, value=repr(value)[:80])
    return value


def is_infinite(value: object) -> bool:
    """Whether a rate or concurrency is unlimited, as a number or as the tools spell it."""
    if isinstance(value, str):
        return value.casefold() in INFINITE
    return isinstance(value, float) and value == float("inf")


def maybe(value: object, name: str, where: str) -> float | None:
    """Return a positive number, or None for null, zero and unlimited."""
    if value is None or value == 0 or is_infinite(value):
        return None
    return positive(value, name, where)


def serving_run(
    *,
    setup: Setup,
    input_tokens: float,
    output_tokens: float,
    held_concurrency: float | None,
    throughput_per_s: float | None,
    unlimited_rate: bool,
    n_failed: float,
    ttft_s: float | None,
    tpot_s: float | None,
    column: str,
    replicas: float = 1.0,
    disaggregated: bool = False,
) -> tuple[ServingMeasurement, list[str]]:
    """Build one run, deciding what it measures.

    Notes
    -----
    A run with an unlimited request rate or with failures measures saturation. Its TTFT is the wait in a queue and
    is no latency of the server; its TPOT is used where the tool held the concurrency. In any other run without a
    held concurrency, Little's law gives it: N = X (TTFT + (m - 1) TPOT).
    """
    notes: list[str] = []
    saturated = unlimited_rate or n_failed > 0
    concurrency = held_concurrency
    why = f"{n_failed:.0f} failed requests" if n_failed else "an unlimited request rate"
    if saturated:
        used = "its TPOT is used at the concurrency held" if concurrency else "not used: its concurrency is unknown"
        notes.append(f"{setup.source}: {why}: the run measures saturation; TTFT ignored, {used}")
    elif concurrency is None and throughput_per_s and ttft_s and tpot_s:
        concurrency = throughput_per_s * (ttft_s + (output_tokens - 1.0) * tpot_s)
        notes.append(f"{setup.source}: mean concurrency {concurrency:.3g} by Little's law")
    run = ServingMeasurement(
        setup=setup,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        concurrency=None if concurrency is None else max(concurrency / replicas, 1.0),
        ttft_s=None if n_failed else ttft_s,  # of the survivors only: says nothing about the others' wait
        tpot_s=tpot_s,
        saturated=saturated,
        disaggregated=disaggregated,
        column=column,
    )
    return run, notes


def flat(parts: Iterable[list[str]]) -> tuple[str, ...]:
    """Join lists of notes."""
    return tuple(note for part in parts for note in part)
