"""A plain CSV of serving runs at a fixed concurrency.

Columns `model, machine, tensor_parallel, precision, input_tokens (or isl), output_tokens (osl), concurrency, ttft_ms,
tpot_ms`; further columns are ignored, and rows can be chosen by them (`--where backend=vllm`).
"""

from __future__ import annotations

from planner.calibration.measurements import Measurements, ServingMeasurement
from planner.calibration.readers.tables import TableOfResults, positive
from planner.errors import TraceError


def matches(table: TableOfResults) -> bool:
    """Whether the columns are those of this format."""
    return table.latency_column("tpot") is not None


def read(table: TableOfResults) -> Measurements:
    """Read the rows.

    Raises
    ------
    TraceError
        A missing column, a value that is no positive number, or rows of several kinds of software.
    """
    table.require("input_tokens", "output_tokens", "concurrency")
    tpot, ttft = table.latency_column("tpot"), table.latency_column("ttft")
    if tpot is None:
        raise table.missing(["tpot_ms"])
    if "backend" in table.columns:
        kinds = sorted({(row["backend"] or "").strip() for _, row in table.rows})
        if len(kinds) > 1:
            raise TraceError(
                "rows of several kinds of serving software, of which a runtime describes one",
                where=table.path,
                value=", ".join(kinds),
                fix=f"choose one with --where backend={kinds[0]}",
            )
    runs = []
    for line, row in table.rows:
        where = f"{table.path}:{line}"

        def number(name: str, row: object = row, where: str = where) -> float:
            return positive(row[table.column(name) or ""], name, where)  # type: ignore[index]

        runs.append(
            ServingMeasurement(
                setup=table.setup(line, row),
                input_tokens=number("input_tokens"),
                output_tokens=number("output_tokens"),
                concurrency=number("concurrency"),
                ttft_s=positive(row[ttft[0]], ttft[0], where) * ttft[1] if ttft else None,
                tpot_s=positive(row[tpot[0]], tpot[0], where) * tpot[1],
                saturated=False,
                disaggregated=False,
                column=f"{tpot[0]} ({tpot[0].rpartition('_')[2]})",
            )
        )
    return Measurements(servings=tuple(runs), files=(table.path,))
