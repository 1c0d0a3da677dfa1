"""`planner sweep`: the best plan of every scenario of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.given import Given, given
from planner.cli.options import Format, FormatOption, OutputOption, QuietOption, plan_options
from planner.cli.output import EXIT_INTERRUPTED, ProgressLine, check_output, format_of, note, show
from planner.errors import PlannerError, ScenarioError

if TYPE_CHECKING:
    from planner.studies.sweep import Sweep


@plan_options
def sweep(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="SWEEP.yaml", help="A file with `base` and `vary`, or with the fields of a scenario."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="FIELD=VALUES",
            help="A field and its values: rate=10/s,20/s or rate=10/s..100/s:10 (ten points; :log at the end for a "
            "constant factor). Where values are lists, | separates: 'machines=dgx-h100|dgx-a100,dgx-h100'. Repeatable.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE.jsonl",
            help="Keep what is finished in this file: a sweep that was stopped or killed goes on from there.",
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Delete the results that are there.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. [default: one a core]")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask", metavar="ADDRESS", help="Dask scheduler whose workers do the work, such as tcp://10.0.0.5:8786."
        ),
    ] = None,
    max_scenarios: Annotated[
        int, typer.Option("--max-scenarios", metavar="N", min=1, help="Refuse larger grids.")
    ] = 10_000,
    timings: Annotated[
        bool, typer.Option("--timings", help="Add the seconds each took, which differ from run to run.")
    ] = False,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Whether to prove every plan by simulation, which takes far longer. [default: no-verify]",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find the best plan of every combination of some fields of a scenario.

    planner sweep --vary rate=10/s..100/s:10 --vary 'slo=ttft=1s|ttft=0.5s,tbt=50ms' --results sweep.jsonl

    Any field of a scenario can be varied; the other options fix the rest, as in `planner optimize`. The last field
    varied changes fastest. With --results the same command goes on where it was stopped or killed.

    Exit codes: 0 every scenario has a proven answer, a plan or that there is none; 2 bad input, or a combination that
    makes no sense (the others are printed all the same); 3 all are infeasible; 4 a limit was hit in some; 130 stopped
    by Ctrl-C.
    """
    check_output(output)
    if restart and results is None:
        raise ScenarioError("there are no results to delete", where="--restart", fix="name the file with --results")
    wanted = given(context, file)
    from planner.scenario.grid import read_axis
    from planner.studies.sweep import sweep as find_plans

    axes = [read_axis(text) for text in vary or []]
    fields = {name: value for name, value in wanted.fields.items() if not _is_varied_in_environment(wanted, name, axes)}
    try:
        with ProgressLine(quiet=quiet) as progress, wanted.locating(), _locating_sweep(file):
            found = find_plans(
                file, vary=axes, results=results, restart=restart, workers=workers, dask=dask,
                max_scenarios=max_scenarios, progress=progress, **fields,
            )  # fmt: skip
    except KeyboardInterrupt:
        note(_how_to_resume(results), quiet=False)
        return EXIT_INTERRUPTED
    chosen = format_of(format, output)
    shown = found if timings else found.without_times()
    show(shown, "sweep", format, output, quiet=quiet, records=lambda: _records(shown, timings))
    if found.oldest_price_date is not None and chosen is not Format.table:
        import datetime

        from planner.export.tables.text import stale

        for line in stale("the oldest price of this sweep is", found.oldest_price_date, datetime.date.today()):
            note(f"warning: {line}", quiet=quiet)
    return found.exit_code


def _is_varied_in_environment(wanted: Given, name: str, axes: list[Any]) -> bool:
    """Whether a field was set in the environment, where --vary wins over it."""
    return not wanted.where[name].startswith("--") and any(axis.field == name for axis in axes)


class _locating_sweep:
    """Make errors about the grid and the workers name their options."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, PlannerError) and error.where in ("vary", "workers"):
            error.where = f"--{error.where}" if error.where == "workers" or self._file is None else str(self._file)


def _how_to_resume(results: Path | None) -> str:
    if results is None:
        return "stopped; nothing was kept. With --results FILE.jsonl the same command goes on where it stopped."
    return f"stopped; what is finished is in {results}, and the same command goes on from there."


def _records(found: Sweep, timings: bool) -> list[dict[str, Any]]:
    return [{name: value for name, value in r.items() if timings or name != "seconds"} for r in found.to_records()]
