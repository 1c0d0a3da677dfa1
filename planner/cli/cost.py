"""`planner cost`: what a plan costs owned, reserved, on demand and spot."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.clusters import ClusterArgument, PoolOption, ScenarioOption, cluster_of, locating_cluster
from planner.cli.given import given, locating
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import ProgressLine, check_output, show
from planner.errors import EXIT_OK


@scenario_options
def cost(
    context: typer.Context,
    cluster: ClusterArgument = None,
    pool: PoolOption = None,
    horizon: Annotated[
        str, typer.Option("--horizon", metavar="TIME", help="Of totals, such as '3 years' or '18 months'.")
    ] = "3 years",
    use: Annotated[
        str, typer.Option("--use", metavar="SHARE", help="Of all hours that the machines are switched on.")
    ] = "100 %",
    cost_of_capital: Annotated[
        str, typer.Option("--cost-of-capital", metavar="RATE", help="A year, for owned machines and present values.")
    ] = "8 %",
    spot_recovery: Annotated[
        str,
        typer.Option("--spot-recovery", metavar="TIME", help="Paid time that an interruption of a spot machine loses."),
    ] = "15 min",
    payments: Annotated[
        str,
        typer.Option("--payments", metavar="arrears|advance", help="When months are paid for, in present values."),
    ] = "arrears",
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="DATE",
            help="First day, such as 2027-01-31, from which delivery counts. [default: the date of each price]",
        ),
    ] = None,
    scenario: ScenarioOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Cost a plan under every price plan: owned, reserved, on demand, spot.

    Total and present value over a horizon, USD a million prompt and output tokens, electricity and carbon, and when
    owning a machine costs less than renting it or one like it. Prices come from the price books of the catalog
    (`planner catalog list prices`).

    Exit codes: 0 costs found, 2 bad input.
    """
    check_output(output)
    source = cluster_of(cluster, pool)
    wanted = given(context, scenario)
    from planner.studies.judgements import cost as cost_of

    with ProgressLine(quiet=quiet) as progress, locating(context), wanted.locating(), locating_cluster(cluster):
        progress("costing")
        report = cost_of(
            source,
            scenario,
            horizon=horizon,
            use=use,
            cost_of_capital=cost_of_capital,
            spot_recovery=spot_recovery,
            payments=payments,
            start=start,
            **wanted.fields,
        )
    show(report, "cost", format, output, quiet=quiet, prices=[*report.pools, *report.break_even])
    return EXIT_OK
