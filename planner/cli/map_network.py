"""`planner map network`: the bandwidth below which splitting stops paying."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given, locating
from planner.cli.options import Format, FormatOption, OutputOption, QuietOption, map_options, scenario_option
from planner.cli.output import (
    ProgressLine,
    check_output,
    note,
    show,
)
from planner.errors import EXIT_OK

if TYPE_CHECKING:
    pass

DEFAULT_AXIS = "network=1Gbit/s..400Gbit/s:19"


@map_options
def network(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    x: Annotated[
        str,
        typer.Option("--x", metavar="network=FROM..TO[:POINTS]", help="Line rates of each NIC."),
    ] = DEFAULT_AXIS,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the map: FILE.svg, .png or .html.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes. [default: one a core if it is worth it]")
    ] = None,
    design: Annotated[
        str | None, scenario_option("--design", "NAME", "The designs that split: Splitwise-HA, or splitwise for all.")
    ] = None,
    objective: Annotated[
        str | None, scenario_option("--objective", "NAME", "cost, power or machines to be least. [default: cost]")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find the bandwidth below which splitting stops paying, for both ways of sending the KV cache.

    Every NIC of every machine gets the same line rate; the best design that splits is compared with the best of one
    mixed pool, which needs no network. Break-even bandwidths are found by bisection, to 0.5 %. Besides, every link of
    the catalog is tried, and a tenth of the bandwidth that the machines have. Nothing is simulated.

    Exit codes: 0 ok, 2 bad input, 3 nothing serves.
    """
    return show_network_map(context, scenario, x, workers, plot, format, output, quiet)


def show_network_map(
    context: typer.Context,
    scenario: Path | None,
    x: str,
    workers: int | None,
    plot: Path | None,
    format: Format | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Work out a network map and print it; also what `planner frontier --over network` does."""
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    from planner.studies.maps import network_map

    with ProgressLine(quiet=quiet) as progress, locating(context), wanted.locating():
        found = network_map(scenario, x=x, workers=workers, progress=progress, **wanted.fields)
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.pictures.network import network_picture

        write_whole(plot, network_picture(found, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    show(found, "network", format, output, quiet=quiet)
    return EXIT_OK
