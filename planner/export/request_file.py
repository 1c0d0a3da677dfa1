"""The requests of a simulation in a file, CSV or Parquet: written a part at a time, whole or not at all.

Parquet is written by pyarrow, which comes with the extra `parquet` and is imported when it is asked for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from planner.errors import OutputError
from planner.export.files import whole_file
from planner.simulation.outcome import Outcome
from planner.simulation.request_rows import REQUEST_COLUMNS, STATUSES, request_columns, request_rows

SUFFIXES = (".csv", ".parquet")


def check_request_file(path: Path, where: str) -> None:
    """Refuse a file that cannot be made, before any work is done.

    Raises
    ------
    OutputError
        A name that says no format, or pyarrow is not installed.
    """
    if path.suffix.casefold() not in SUFFIXES:
        raise OutputError(
            "requests are written as CSV or Parquet, as the file's name says", where=where, value=str(path),
            rule=f"a name that ends with {' or '.join(SUFFIXES)}",
        )  # fmt: skip
    if path.suffix.casefold() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise OutputError(
                "pyarrow is not installed, and Parquet is written with it", where=where,
                fix="pip install 'splitwise-planner[parquet]', or name a .csv file",
            ) from None  # fmt: skip


def write_requests(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write one row a request.

    Parameters
    ----------
    path : Path
        `.csv` or `.parquet`.
    outcomes : sequence of Outcome
        One a run.

    Raises
    ------
    OutputError
        The file cannot be written; what was there is left as it was.
    """
    write: Callable[[IO[bytes], Sequence[Outcome]], None] = (
        _write_parquet if path.suffix.casefold() == ".parquet" else _write_csv
    )
    with whole_file(path) as stream:
        write(stream, outcomes)


def _write_csv(stream: IO[bytes], outcomes: Sequence[Outcome]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REQUEST_COLUMNS)
    writer.writerows(request_rows(outcomes))
    text.flush()
    text.detach()


def _write_parquet(stream: IO[bytes], outcomes: Sequence[Outcome]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types: dict[str, Any] = {"run": pa.int32(), "request": pa.int64(), "status": pa.string()}
    types |= {name: pa.int32() for name in ("prompt_tokens", "output_tokens")}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in REQUEST_COLUMNS])
    names = np.array(STATUSES)
    with parquet.ParquetWriter(stream, schema) as writer:
        for columns in request_columns(outcomes):
            arrays = [
                pa.array(names[values] if name == "status" else values, type=schema.field(name).type, from_pandas=True)
                for name, values in columns.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
