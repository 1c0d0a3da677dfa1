"""`planner scale`: from load to machines, tried on a day."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.clusters import ClusterArgument, PoolOption, ScenarioOption, cluster_of, locating_cluster
from planner.cli.given import given
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import ProgressLine, check_output, show


@scenario_options
def scale(
    context: typer.Context,
    cluster: ClusterArgument = None,
    pool: PoolOption = None,
    scenario: ScenarioOption = None,
    rates: Annotated[
        str | None,
        typer.Option(
            "--rates", metavar="RATE,...", help="Rates that follow each other in place of a day, such as 10/s,40/s."
        ),
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", metavar="TIME", help="Of each of --rates, reached in its middle: 1h.")
    ] = None,
    cold_start: Annotated[
        str | None,
        typer.Option(
            "--cold-start", metavar="TIME", help="From the order of a machine until it serves. [default: 5min]"
        ),
    ] = None,
    hysteresis: Annotated[
        str | None,
        typer.Option(
            "--hysteresis", metavar="TIME", help="How long load must be lower before machines go. [default: 5min]"
        ),
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", metavar="TIME", help="Over which the load is measured. [default: 1min]")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find how many machines of each pool of a plan run at which load, and try that on a day of arrivals.

    The demand is --day (office, consumer, flat, 24 weights or a trace; office unless told) with the plan's load as its
    busiest minute, or --rates with --period. Each row is simulated at its load. Then the day is: machines are ordered
    when the load as measured asks for them, serve after the cold start, and go when it has been lower for the
    hysteresis; the headroom is raised until every objective holds over the day and while machines start.
    `planner deploy --scaling FILE` writes the table as settings of KEDA.

    Exit codes: 0 the objectives held, 2 bad input, 4 they did not with any headroom.
    """
    check_output(output)
    source = cluster_of(cluster, pool)
    wanted = given(context, scenario)
    from planner.studies.scaling import scale as run

    times = {"cold_start": cold_start, "hysteresis": hysteresis, "window": window}
    fields = wanted.fields | {name: value for name, value in times.items() if value is not None}
    levels = [rate.strip() for rate in rates.split(",")] if rates is not None else ()
    with ProgressLine(quiet=quiet) as progress, wanted.locating(), locating_cluster(cluster):
        found = run(source, scenario, rates=levels, period=period, progress=progress, **fields)
    show(found, "scaling", format, output, quiet=quiet)
    return found.exit_code
