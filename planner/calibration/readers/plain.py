"""The plain CSV of steps and kernels, which `planner measure` writes and people can write by hand.

Steps:    model, machine, tensor_parallel, precision, phase, batch, tokens, latency_ms
Kernels:  machine, precision, kind, shape, latency_us      (shape: `m=4096 n=8192 k=4096`)

A file may hold both; a row with a kind is a kernel. `latency_s`, `latency_ms` or `latency_us` says the unit.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.calibration.kernels import SHAPES
from planner.calibration.measurements import KernelMeasurement, Measurements, StepMeasurement
from planner.calibration.readers.tables import TableOfResults, positive
from planner.errors import TraceError, near_misses


def matches(table: TableOfResults) -> bool:
    """Whether the columns are those of this format."""
    return bool(table.column("phase") or table.column("kind"))


def read(table: TableOfResults) -> Measurements:
    """Read the rows.

    Raises
    ------
    TraceError
        A missing column, an unknown phase, kind or shape, or a value that is no positive number.
    """
    latency = table.latency_column("latency")
    if latency is None:
        raise table.missing(["latency_ms"])
    column, scale = latency
    shown = f"{column} ({column.rpartition('_')[2]})"
    steps: list[StepMeasurement] = []
    kernels: list[KernelMeasurement] = []
    kind_column, phase_column = table.column("kind"), table.column("phase")
    if kind_column is None:
        table.require("phase", "batch", "tokens")
    for line, row in table.rows:
        where = f"{table.path}:{line}"
        setup = table.setup(line, row)
        seconds = positive(row[column], column, where) * scale
        kind = (row[kind_column] or "").strip() if kind_column else ""
        if kind:
            table.require("shape")
            kernels.append(KernelMeasurement(setup, kind, _shape(kind, row, table, where), seconds, shown))
            continue
        table.require("phase", "batch", "tokens")
        phase = (row[phase_column or ""] or "").strip().casefold()
        if phase not in ("prefill", "decode"):
            raise TraceError(
                f"phase {phase!r} is neither prefill nor decode",
                where=where,
                suggestions=near_misses(phase, ("prefill", "decode")),
            )
        batch = positive(row[table.column("batch") or ""], "batch", where)
        tokens = positive(row[table.column("tokens") or ""], "tokens", where)
        steps.append(StepMeasurement(setup, phase, batch, tokens, seconds, shown))  # type: ignore[arg-type]
    return Measurements(steps=tuple(steps), kernels=tuple(kernels), files=(table.path,))


def _shape(kind: str, row: Mapping[str, str], table: TableOfResults, where: str) -> dict[str, float]:
    if kind not in SHAPES:
        raise TraceError(
            f"unknown kind of kernel {kind!r}",
            where=where,
            suggestions=near_misses(kind, SHAPES),
            fix=f"one of {', '.join(SHAPES)}",
        )
    text = row[table.column("shape") or ""] or ""
    sizes: dict[str, float] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals:
            raise TraceError(f"a shape is written like {_example(kind)}", where=where, value=repr(text))
        sizes[name] = positive(value, f"shape {name}", where)
    if set(sizes) != set(SHAPES[kind]):
        raise TraceError(f"the shape of {kind} is written like {_example(kind)}", where=where, value=repr(text))
    return sizes


def _example(kind: str) -> str:
    return "`" + " ".join(f"{name}=..." for name in SHAPES[kind]) + "`" if SHAPES[kind] else "nothing"
