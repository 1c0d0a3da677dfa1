"""`planner calibrate`: fit a runtime's efficiencies to measurements."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.given import locating
from planner.cli.options import (
    CatalogOption,
    Format,
    FormatOption,
    KvPrecisionOption,
    OutputOption,
    PrecisionOption,
    QuietOption,
)
from planner.cli.output import ProgressLine, check_output, emit, format_of, note, text_width
from planner.errors import InputError, OutputError
from planner.parsing import is_file

if TYPE_CHECKING:
    from planner.calibration import Calibration, Measurements
    from planner.catalog.catalog import Catalog

_DEGREE = "Of the model that was measured, where the files do not say."


def calibrate(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Measurements; see docs/calibration.md.")],
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="NAME", help="Runtime to begin from; its values are the priors.")
    ] = "vllm-2026",
    machine: Annotated[
        str | None,
        typer.Option("--machine", metavar="NAME", help="Machine that was measured, where the files do not say."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Model that was measured, where the files do not say.")
    ] = None,
    tensor_parallel: Annotated[int | None, typer.Option("--tensor-parallel", metavar="N", min=1, help=_DEGREE)] = None,
    pipeline_parallel: Annotated[
        int | None, typer.Option("--pipeline-parallel", metavar="N", min=1, help=_DEGREE)
    ] = None,
    expert_parallel: Annotated[int | None, typer.Option("--expert-parallel", metavar="N", min=1, help=_DEGREE)] = None,
    precision: PrecisionOption = None,
    kv_precision: KvPrecisionOption = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            metavar="NAME",
            help="splitwise, csv, serving-csv, vllm, guidellm, aiperf or llm-d. [default: found from the content]",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COLUMN=VALUE", help="Use only such rows of a CSV. Repeatable."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="PARAMETER", help="Leave a parameter as it is. Repeatable."),
    ] = None,
    kernels_only: Annotated[
        bool, typer.Option("--kernels-only", help="Step times are sums of kernels, without any host time.")
    ] = False,
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside-impossible", help="Leave out, and count, rows faster than the hardware's peak."),
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="Overlay folder to write runtimes/NAME.yaml into."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NEW", help="Write a new runtime of this name. [default: lie over --runtime]"),
    ] = None,
    date: Annotated[
        datetime.datetime | None,
        typer.Option(
            "--date", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Date of the provenance. [default: today]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the overlay file instead of writing it.")] = False,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit a runtime's efficiencies to measurements, say how good the fit is, and write a catalog overlay."""
    check_output(output)
    if name is not None and into is None and not dry_run:
        raise InputError("--name needs a folder to write into", where="--name", fix="add --into DIR, or --dry-run")
    from planner.calibration import calibrate as fit
    from planner.calibration.problem import FitDefaults
    from planner.catalog.catalog import Catalog

    layers = Catalog.default(catalog or [])
    with locating(context):
        base = layers.runtime(runtime, where="--runtime")
        measured_on = layers.machine(machine, where="--machine") if machine is not None else None
        target = _target(into, name or runtime, runtime)
        found = _read(files, input_format, where or [])
        defaults = FitDefaults(
            model,
            tensor_parallel,
            pipeline_parallel,
            expert_parallel,
            _checked_precision(precision, "--precision"),
            _checked_precision(kv_precision, "--kv-precision"),
        )
        with ProgressLine(quiet=quiet) as progress:
            progress(f"fitting {len(found)} measurements")
            result = fit(
                layers, found, base, measured_on, defaults=defaults, keep=keep or [], device_only=kernels_only,
                set_aside=set_aside,
            )  # fmt: skip
    for text in result.notes:
        note(f"note: {text}", quiet=quiet)
    overlay = _overlay(result, layers, name or runtime, target, date) if into is not None or dry_run else None
    chosen = format_of(format, output)
    emit(_text(result, chosen, overlay if dry_run else None), output, quiet=quiet)
    if dry_run or overlay is None or target is None:
        note("nothing was written" if dry_run else "nothing was written; --into DIR writes an overlay", quiet=quiet)
        return
    _write(target, overlay)
    note(f"wrote {target}; use it with --catalog {into}", quiet=quiet)


def _read(files: list[Path], input_format: str | None, where: list[str]) -> Measurements:
    from planner.calibration import Measurements, read_measurements

    conditions = []
    for text in where:
        column, equals, value = text.partition("=")
        if not equals:
            raise InputError("not a condition", where="--where", value=text, rule="COLUMN=VALUE", fix="backend=vllm")
        conditions.append((column.strip().casefold(), value.strip()))
    found = Measurements()
    for file in files:
        found += read_measurements(file, input_format, where=conditions)
    return found


def _checked_precision(text: str | None, where: str) -> Any:
    from planner.calibration.readers.tables import precision

    return precision(text, where)


def _target(into: Path | None, name: str, base: str) -> Path | None:
    """The file to write, refused before any work is done if it cannot be."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError("not a name for a file", where="--name", value=name, rule="letters, digits, . _ -")
    if into is None:
        return None
    if os.path.exists(into) and not os.path.isdir(into):
        raise OutputError("an overlay is a folder", where="--into", value=str(into))
    target = into / "runtimes" / f"{name}.yaml"
    if name != base and is_file(target):
        raise OutputError(
            "this runtime exists; nothing was written",
            where=str(target),
            fix=f"choose another --name, or fit it further with --catalog {into} --runtime {name}",
        )
    return target


def _overlay(
    result: Calibration, layers: Catalog, name: str, target: Path | None, date: datetime.datetime | None
) -> str:
    from planner.calibration.overlay import check_overlay, overlay_text
    from planner.catalog.schema import Runtime

    existing, extend = None, False
    if target is not None and is_file(target):
        existing = target.read_text(encoding="utf-8")
        extend = any(path.resolve() == target.resolve() for path in layers.overlay_files_of(Runtime, name))
    day = date.date() if date is not None else datetime.date.today()
    text = overlay_text(result, layers, name, day, existing, extend=extend)
    check_overlay(text, result, layers, name)
    return text


def _write(target: Path, text: str) -> None:
    from planner.export.files import write_whole

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", where=str(target.parent)) from None
    write_whole(target, text)


def _text(result: Calibration, format: Format, overlay: str | None) -> str:
    from planner.export.tables.calibration import calibration_record, calibration_table, parameter_records

    if format is Format.json:
        from planner.export.records import json_text

        record = calibration_record(result)
        return json_text(record if overlay is None else record | {"overlay": overlay})
    if format is Format.csv:
        from planner.export.records import csv_text

        return csv_text(parameter_records(result))
    table = calibration_table(result, width=text_width())
    return table if overlay is None else f"{table}\n{overlay}"
