"""`planner alternatives`: plans nearly as good as the best one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given, naming, read_stock
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_option, search_options
from planner.cli.output import (
    ProgressLine,
    check_output,
    show,
)

if TYPE_CHECKING:
    pass

# Parameters of `planner.alternatives` whose options have other names.
_OPTION_OF = {"within": "--within", "owned": "--owned", "most": "--most"}


@search_options
def alternatives(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    within: Annotated[
        str,
        typer.Option(
            "--within",
            metavar="SHARE",
            help="How much above the best a plan may be. [default: 5 %]",
            show_default=False,
        ),
    ] = "5 %",
    owned: Annotated[
        list[str] | None,
        typer.Option(
            "--owned",
            metavar="NAME=N",
            help="Machines that are there already: the plan that needs fewest beyond them is found too. Repeatable.",
        ),
    ] = None,
    most: Annotated[int, typer.Option("--most", metavar="N", help="Most mixes to list.")] = 8,
    objective: Annotated[
        str | None, scenario_option("--objective", "NAME", "What is least: cost, power or machines. [default: cost]")
    ] = None,
    design: Annotated[
        str | None, scenario_option("--design", "NAME", "As for `planner optimize`. [default: auto]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Simulate every plan, and correct those that fail.")
    ] = False,
    verify_runs: Annotated[
        int | None, scenario_option("--verify-runs", "N", "Simulations of a plan, each with its own seed. [default: 3]")
    ] = None,
    verify_requests: Annotated[
        int | None,
        scenario_option("--verify-requests", "N", "Requests of each. [default: as many as the traffic calls for]"),
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find plans nearly as good as the best: other mixes of machines, fewer types, fewer pools, least change.

    A mix is the set of machine types by role. Only mixes that really differ are listed: none has all pools of one above
    it and more. With --owned, also the plan that needs the fewest machines beyond those, and what is left idle.

    Exit codes: 0 done, 2 bad input, 3 there is no plan at all, 4 some plan is not proven within the time limit, 5 no
    plan found in time, 130 interrupted by Ctrl-C (the plans that are done are printed, marked as such).
    """
    check_output(output)
    wanted = given(context, scenario)
    fields = {name: value for name, value in wanted.fields.items() if name != "verify"}
    stock = read_stock(owned, "--owned") if owned else None
    from planner.studies.alternatives import alternatives as run

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), naming(_OPTION_OF):
        found = run(scenario, within=within, owned=stock, most=most, verify=verify, progress=progress, **fields)
    show(found, "alternatives", format, output, quiet=quiet)
    return found.exit_code
