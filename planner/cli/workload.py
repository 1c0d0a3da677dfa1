"""`planner workload`: what workloads look like, and how to make one out of a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import (
    CatalogOption,
    ColumnsOption,
    DropFailedOption,
    FormatOption,
    OutputOption,
    QuietOption,
)
from planner.cli.output import ProgressLine, check_output, emit, show
from planner.errors import InputError, UnknownNameError
from planner.parsing import is_file

if TYPE_CHECKING:
    from planner.catalog.schema import Workload
    from planner.workload.describe import WorkloadSummary
    from planner.workload.traces import Trace

app = typer.Typer(no_args_is_help=True, help="List and describe workloads, and fit one to a trace.")


@app.command("list")
def list_workloads(catalog: CatalogOption = None, format: FormatOption = None) -> None:
    """List the workloads of the catalog with their main figures."""
    from planner.cli.catalog import list_entries

    list_entries("workloads", catalog, format)


@app.command()
def describe(
    workload: Annotated[str, typer.Argument(metavar="TRACE|NAME", help="A trace file, or a workload of the catalog.")],
    columns: ColumnsOption = None,
    drop_failed: DropFailedOption = None,
    fit: Annotated[
        str | None,
        typer.Option("--fit", metavar="NAME", help="Print the trace as a workload file of this name for a catalog."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Of the fitted workload.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="Where the trace comes from, with its licence.")
    ] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Describe the request sizes and arrivals of a trace or a workload; --fit makes a catalog file of a trace.

    Save that file as workloads/NAME.yaml in an overlay folder and plan with --catalog FOLDER --workload NAME.
    """
    check_output(output)
    with ProgressLine(quiet=quiet) as progress:
        found = _read(workload, columns, drop_failed, catalog, progress)
    if fit is not None:
        if format is not None:
            raise InputError("--fit prints a catalog file, which is YAML", where="--format", fix="leave --format out")
        if output is not None and output.stem != fit:
            raise InputError(
                "a catalog file has the name of its workload", where="--output", value=output,
                fix=f"name it {fit}.yaml",
            )  # fmt: skip
        emit(_fitted(found, fit, title, source), output, quiet=quiet)
        return
    if title is not None or source is not None:
        raise InputError("--title and --source belong to --fit", where="--fit", fix="name the workload: --fit NAME")
    summary = _summary(found)
    show(summary, "workload", format, output, quiet=quiet)


def _read(
    name: str,
    columns: str | None,
    drop_failed: bool | None,
    overlays: list[Path] | None,
    progress: Callable[[str], object],
) -> Trace | Workload:
    """The trace of a file, or a workload of the catalog."""
    from planner.catalog.catalog import Catalog
    from planner.catalog.schema import Workload
    from planner.scenario.scenario_file import is_trace_file
    from planner.workload.trace_columns import parse_columns
    from planner.workload.traces import read_trace

    mapping = parse_columns(columns) if columns is not None else None
    if not is_file(name):
        catalog = Catalog.default(overlays or [])
        known = catalog.names(Workload)
        if name in known:
            if mapping is not None:
                raise InputError(
                    f"{name} is a workload of the catalog, which has no columns", where="--columns", value=columns,
                    fix="leave it out, or name a trace file",
                )  # fmt: skip
            return catalog.workload(name)
        if not is_trace_file(name):
            raise UnknownNameError.of("workload", name, known, where="TRACE|NAME")
    return read_trace(name, columns=mapping, drop_failed=bool(drop_failed), progress=progress)


def _summary(found: Trace | Workload) -> WorkloadSummary:
    from planner.workload.describe import describe as summarise
    from planner.workload.library import sizes_of
    from planner.workload.traces import Trace

    if isinstance(found, Trace):
        return summarise(found)
    return summarise(sizes_of(found)).model_copy(update={"arrival_cv2": found.arrival_cv2})


def _fitted(found: Trace | Workload, name: str, title: str | None, source: str | None) -> str:
    """The catalog file of a workload fitted to a trace."""
    from planner.workload.fitting import fit_workload, workload_to_yaml
    from planner.workload.traces import Trace

    if not isinstance(found, Trace):
        raise InputError(f"{found.name} is a workload already", where="--fit", fix="name a trace file")
    return workload_to_yaml(
        fit_workload(
            found,
            name=name,
            title=title or f"Fitted to the trace {found.path.name}",
            source=source or f"fitted by planner to the {found.n_requests} requests of {found.path.name}",
            kind="measured",
        )
    )
