"""A Parquet file of requests: its columns, nested ones named with dots; pyarrow reads it (extra `parquet`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.errors import TraceError
from planner.workload.trace_cells import TextCells, cells_of_values
from planner.workload.trace_text import ByteProgress

_ROWS_AT_ONCE = 250_000
_SAMPLE = 200


def parquet_columns(path: Path) -> tuple[tuple[str, ...], list[dict[str, object]]]:
    """Names of the columns, and the first rows.

    Raises
    ------
    TraceError
        No Parquet file, or pyarrow is not installed.
    """
    file = _opened(path)
    names = tuple(_names(file.schema_arrow))
    first = next(file.iter_batches(batch_size=_SAMPLE), None)
    held = {name: _column(first, name).to_pylist() for name in names} if first is not None else {}
    n_rows = len(first) if first is not None else 0
    return names, [{name: values[row] for name, values in held.items()} for row in range(n_rows)]


def parquet_blocks(
    path: Path, names: Sequence[str], lists: Sequence[str], progress: ByteProgress | None
) -> Iterator[tuple[int, dict[str, TextCells], dict[str, list[Any]]]]:
    """Some hundred thousand rows at a time: how many, the cells of columns, and columns of lists."""
    file = _opened(path)
    done, whole = 0, max(file.metadata.num_rows, 1)
    outer = list(dict.fromkeys(name if name in file.schema_arrow.names else name.split(".")[0]
                               for name in (*names, *lists)))  # fmt: skip
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=outer):
        yield (
            len(batch),
            {name: _cells(_column(batch, name)) for name in names},
            {name: _column(batch, name).to_pylist() for name in lists},
        )
        done += len(batch)
        if progress is not None and done < whole:
            progress(f"reading {path.name}: {done:,} rows, {done / whole:.0%}")


def _opened(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise TraceError(
            "pyarrow is not installed, and Parquet is read with it", where=str(path),
            fix="pip install 'splitwise-planner[parquet]', or export the trace as CSV",
        ) from None  # fmt: skip
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise TraceError(
            "this is not a Parquet file", where=str(path), value=str(error).splitlines()[0], fix="was it cut short?"
        ) from None


def _names(fields: Any, under: str = "") -> Iterator[str]:
    from pyarrow import types

    for field in fields:
        if types.is_struct(field.type):
            yield from _names([field.type.field(i) for i in range(field.type.num_fields)], f"{under}{field.name}.")
        else:
            yield f"{under}{field.name}"


def _column(batch: Any, name: str) -> Any:
    """A column of a batch, of structs the field within."""
    from pyarrow import compute

    if name in batch.schema.names:
        return batch.column(name)
    outer, _, inner = name.partition(".")
    column = batch.column(outer)
    return compute.struct_field(column, inner.split("."))


def _cells(column: Any) -> TextCells:
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(column.type):
        # As text, which keeps nanoseconds, and whether there is a time zone.
        column = column.cast(pyarrow.string())
    elif types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    if column.null_count == 0 and (types.is_integer(column.type) or types.is_floating(column.type)):
        numbers = column.to_numpy(zero_copy_only=False).astype(float)
        if np.isfinite(numbers).all():
            return TextCells(numbers, np.empty(0, dtype=np.int64), np.empty(0, dtype=object))
    cells = cells_of_values(column.to_pylist())
    if cells.other_rows.size and all(isinstance(value, str) for value in cells.others):
        return TextCells(cells.numbers, cells.other_rows, np.array([value.encode() for value in cells.others]))
    return cells
