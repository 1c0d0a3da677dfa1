"""CSV files as rows with line numbers, and the numbers in them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.calibration.measurements import Setup
from planner.catalog.schema import PRECISION_BYTES
from planner.errors import TraceError, near_misses

# What people call the columns; the first name of each is ours.
ALIASES: dict[str, tuple[str, ...]] = {
    "model": ("model", "model_name"),
    "machine": ("machine", "accelerator", "gpu", "hardware", "system", "device"),
    "tensor_parallel": ("tensor_parallel", "tp", "tp_size"),
    "pipeline_parallel": ("pipeline_parallel", "pp", "pp_size"),
    "expert_parallel": ("expert_parallel", "ep", "ep_size"),
    "precision": ("precision", "dtype", "quantization"),
    "kv_precision": ("kv_precision", "kv_dtype", "kv_cache_dtype"),
    "phase": ("phase",),
    "kind": ("kind",),
    "shape": ("shape",),
    "batch": ("batch", "batch_size"),
    "tokens": ("tokens", "tokens_or_context", "context", "context_tokens", "prompt_tokens"),
    "input_tokens": ("input_tokens", "isl"),
    "output_tokens": ("output_tokens", "osl"),
    "concurrency": ("concurrency",),
}
SCALES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_PRECISIONS = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float8": "fp8", "fp8_e4m3": "fp8",
    "fp8_block": "fp8", "w8a8": "int8", "nvfp4": "fp4", "mxfp4": "fp4", "awq": "int4", "gptq": "int4",
}  # fmt: skip


@dataclass(frozen=True)
class TableOfResults:
    """A CSV file: where it is, the line of its header, its columns, and each row with its line number."""

    path: str
    columns: Sequence[str]
    rows: Sequence[tuple[int, Mapping[str, str]]]
    header_line: int = 1

    def column(self, name: str) -> str | None:
        """The file's own name of one of our columns, or None."""
        return next((alias for alias in ALIASES[name] if alias in self.columns), None)

    def latency_column(self, stem: str) -> tuple[str, float] | None:
        """The column `stem_s`, `stem_ms` or `stem_us` and its factor to seconds, or None."""
        found = [(f"{stem}_{unit}", scale) for unit, scale in SCALES.items() if f"{stem}_{unit}" in self.columns]
        if len(found) > 1:
            raise TraceError(
                f"{stem} is given twice", where=f"{self.path}:1", value=", ".join(c for c, _ in found), fix="keep one"
            )
        return found[0] if found else None

    def require(self, *names: str) -> None:
        """Raise `TraceError` naming every one of our columns that is missing."""
        missing = [name for name in names if self.column(name) is None]
        if missing:
            raise self.missing(missing)

    def missing(self, names: Sequence[str]) -> TraceError:
        """The error for missing columns, with what is there."""
        near = [n for name in names for n in near_misses(name, self.columns, 1)]
        return TraceError(
            f"missing column{'s' * (len(names) > 1)} {', '.join(names)}",
            where=f"{self.path}:{self.header_line}",
            value=f"columns: {', '.join(self.columns) or 'none'}",
            suggestions=near,
            fix="docs/calibration.md lists the columns of each format",
        )

    def only(self, conditions: Sequence[tuple[str, str]]) -> TableOfResults:
        """The rows in which every named column has the given value.

        Raises
        ------
        TraceError
            A column that is not there, or no row left.
        """
        rows = self.rows
        for column, value in conditions:
            if column not in self.columns:
                raise TraceError(
                    f"no column {column!r}",
                    where=f"{self.path}:{self.header_line}",
                    suggestions=near_misses(column, self.columns),
                    fix=f"columns: {', '.join(self.columns)}",
                )
            kept = [(line, row) for line, row in rows if (row[column] or "").strip() == value]
            if not kept:
                values = sorted({(row[column] or "").strip() for _, row in rows})
                raise TraceError(
                    f"no row has {column} = {value!r}",
                    where=self.path,
                    suggestions=near_misses(value, values),
                    fix=f"there are: {', '.join(map(repr, values[:8]))}",
                )
            rows = kept
        return TableOfResults(self.path, self.columns, rows, self.header_line)

    def setup(self, line: int, row: Mapping[str, str]) -> Setup:
        """What the row says about what it ran on."""
        where = f"{self.path}:{line}"

        def text(name: str) -> str | None:
            column = self.column(name)
            value = (row[column] or "").strip() if column else ""
            return value or None

        def degree(name: str) -> int | None:
            value = text(name)
            return None if value is None else whole(value, self.column(name) or name, where)

        return Setup(
            model=text("model"),
            hardware=text("machine"),
            tensor_parallel=degree("tensor_parallel"),
            pipeline_parallel=degree("pipeline_parallel"),
            expert_parallel=degree("expert_parallel"),
            precision=precision(text("precision"), where),
            kv_precision=precision(text("kv_precision"), where),
            source=where,
        )


def read_table(text: str, path: str) -> TableOfResults:
    """Split CSV text into rows; lines that start with # are comments.

    Raises
    ------
    TraceError
        Empty, without rows, or a row with more or fewer fields than columns.
    """
    lines = text.splitlines()
    header_line = next((n for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")), None)
    if header_line is None:
        raise TraceError("the file is empty", where=path, fix="write a header and at least one row")
    reader = csv.reader(io.StringIO("\n".join(lines[header_line - 1 :])))
    columns = [c.strip().lstrip("\ufeff").casefold() for c in next(reader)]
    rows = []
    for fields in reader:
        line = header_line - 1 + reader.line_num
        if not fields or not "".join(fields).strip() or fields[0].startswith("#"):
            continue
        if len(fields) != len(columns):
            raise TraceError(
                f"{len(fields)} fields in a row of {len(columns)} columns",
                where=f"{path}:{line}",
                value=",".join(fields),
            )
        rows.append((line, dict(zip(columns, fields, strict=True))))
    if not rows:
        raise TraceError("no rows below the header", where=f"{path}:{header_line}")
    return TableOfResults(path, columns, rows, header_line)


def positive(value: object, name: str, where: str) -> float:
    """Return a finite number above zero.

    Raises
    ------
    TraceError
        Anything else, NaN and infinity among it.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
        raise TraceError(f"{name} must be a finite number above zero", where=where, value=repr(value))
    return number


def whole(value: object, name: str, where: str) -> int:
    """Return a whole number above zero; 8.0 counts as one."""
    number = positive(value, name, where)
    if number != int(number):
        raise TraceError(f"{name} must be a whole number", where=where, value=repr(value))
    return int(number)


def precision(text: str | None, where: str) -> str | None:
    """Return the precision as planner spells it.

    Raises
    ------
    TraceError
        A precision that planner does not know.
    """
    if text is None or text.casefold() in ("", "none", "auto", "null"):
        return None
    found = _PRECISIONS.get(text.casefold(), text.casefold())
    if found not in PRECISION_BYTES:
        known = sorted({*PRECISION_BYTES, *_PRECISIONS})
        raise TraceError(
            f"unknown precision {text!r}",
            where=where,
            suggestions=near_misses(text, known),
            fix=f"one of {', '.join(PRECISION_BYTES)}",
        )
    return found
