"""`planner map regime`: which design wins over two axes, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given, locating
from planner.cli.options import FormatOption, OutputOption, QuietOption, map_options, scenario_option
from planner.cli.output import (
    ProgressLine,
    check_output,
    note,
    show,
)
from planner.errors import EXIT_OK, ScenarioError

if TYPE_CHECKING:
    pass

EXIT_INTERRUPTED = 130
AXES = "price-ratio, prompt-output-ratio, load, ttft, tbt or network"


@map_options
def regime(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    x: Annotated[
        str,
        typer.Option("--x", metavar="AXIS[=FROM..TO[:POINTS]]", help=f"{AXES}, such as ttft=200ms..5s:20."),
    ] = "price-ratio",
    y: Annotated[str, typer.Option("--y", metavar="AXIS[=FROM..TO[:POINTS]]", help="The other axis, likewise.")] = (
        "prompt-output-ratio"
    ),
    points: Annotated[int, typer.Option("--points", metavar="N", help="Of an axis that does not say.")] = 30,
    price_ratio_of: Annotated[
        str | None,
        typer.Option(
            "--price-ratio-of",
            metavar="NAME/NAME",
            help="The first machine's price becomes so many times the second's. [default: the dearer of the two]",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the map: FILE.svg, .png or .html.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes. [default: one a core]")
    ] = None,
    objective: Annotated[
        str | None, scenario_option("--objective", "NAME", "cost, power or machines to be least. [default: cost]")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find which design wins, and by how much, wherever two things may lie that you are not sure of.

    Every design (one mixed pool, or one prefill and one decode pool, of the machines considered) is sized at every
    point; the map shows the best and its margin to the second. Nothing is simulated. Ctrl-C prints the cells that were
    done, marked as incomplete, and exits with 130.

    Exit codes: 0 ok, 2 bad input, 130 interrupted.
    """
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    pair = None
    if price_ratio_of is not None:
        first, _, second = (part.strip() for part in price_ratio_of.partition("/"))
        pair = (first, second)
        if not first or not second or "/" in second:
            raise ScenarioError(
                "not a pair of machines", where="--price-ratio-of", value=price_ratio_of, rule="NAME/NAME",
                fix="write it like dgx-h100/dgx-a100",
            )  # fmt: skip
    from planner.studies.maps import regime_map

    with ProgressLine(quiet=quiet) as progress, locating(context), wanted.locating():
        found = regime_map(
            scenario, x=x, y=y, points=points, price_ratio_of=pair, workers=workers, progress=progress, **wanted.fields
        )
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.pictures.regime import regime_picture

        write_whole(plot, regime_picture(found, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    show(found, "regime", format, output, quiet=quiet)
    return EXIT_OK if found.complete else EXIT_INTERRUPTED
