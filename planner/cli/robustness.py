"""`planner robustness`: how a cluster takes what it was not planned for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.clusters import ClusterArgument, PoolOption, ScenarioOption, cluster_of, locating_cluster
from planner.cli.given import given, naming, read_fraction, read_number
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import (
    ProgressLine,
    check_output,
    show,
)

if TYPE_CHECKING:
    pass

# Parameters of `planner.robustness` -> options.
_OPTION_OF = {"mixes": "--mix", "growth": "--growth", "bursts": "--burst", "rack": "--rack", "only": "--only"}


@scenario_options
def robustness(
    context: typer.Context,
    cluster: ClusterArgument = None,
    pool: PoolOption = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix",
            metavar="NAME|FILE",
            help="Workload that comes in the place of the one planned for, wholly and as every other request. "
            "Repeatable. [default: the other Azure trace]",
        ),
    ] = None,
    growth: Annotated[
        list[str] | None,
        typer.Option(
            "--growth",
            metavar="SHARE",
            help="How much the load grows, such as 25%; -10% shrinks. Repeatable. [default: 10% 25% 50%]",
        ),
    ] = None,
    burst: Annotated[
        list[str] | None,
        typer.Option(
            "--burst",
            metavar="CV",
            help="Coefficient of variation of the gaps between arrivals; 1 is Poisson. Repeatable. [default: 2 3]",
        ),
    ] = None,
    rack: Annotated[
        int | None,
        typer.Option(
            "--rack",
            metavar="N",
            help="Machines of a pool that are lost together. [default: as many as fill 42 rack units]",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="KIND", help="mix, growth, burst, machine or rack. Repeatable. [default: all of them]"
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Simulate the cluster under each mishap; other roles are not simulated.")
    ] = False,
    scenario: ScenarioOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Say how a cluster takes what it was not planned for, and what it would take to be whole again.

    Another mix of requests, growth, bursts, a machine or a rack lost in each pool. Of each: whether the objectives
    still hold and what breaks; the load that is carried within them; the load that the same machines would carry in
    other roles; and the cheapest machines to add. The cluster and its load are given as in `planner evaluate`.

    Exit codes: 0 done, 2 bad input, 3 an objective is missed under the load planned for (the table is printed all the
    same), 4 something is not proven within the time limit, 5 no plan found in time, 130 interrupted by Ctrl-C (the
    rows that are done are printed, marked as such).
    """
    check_output(output)
    source = cluster_of(cluster, pool)
    shares = [read_fraction(text, "--growth") for text in growth] if growth else None
    wanted = given(context, scenario)
    fields = {name: value for name, value in wanted.fields.items() if name != "verify"}
    from planner.studies.judgements import robustness as examine

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), locating_cluster(cluster), naming(_OPTION_OF):
        found = examine(
            source,
            scenario,
            mixes=mix or None,
            growth=shares,
            bursts=[read_number(text, "--burst") for text in burst or ()] or None,
            rack=rack,
            only=only or None,
            verify=verify,
            progress=progress,
            **fields,
        )
    show(found, "robustness", format, output, quiet=quiet)
    return found.exit_code
