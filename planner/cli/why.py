"""`planner why`: why a machine or design was not chosen, and what it would take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.given import given
from planner.cli.options import FormatOption, OutputOption, QuietOption, plan_options
from planner.cli.output import ProgressLine, check_output, show


@plan_options
def why(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="MACHINE|DESIGN", help="A machine or a design, or `all` for every machine."),
    ],
    plan_or_scenario: Annotated[
        Path | None,
        typer.Argument(metavar="[PLAN]", help="A plan from optimize --format json, or a file with a scenario."),
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Say why a machine or design was not chosen, and what it would take to be.

    The reason is one of: out of reach (by how much), too little memory, no engine support, no price or an old one, no
    stock, other machines named, a limit, or dearer by so much with its best plan. Then the price, limit or load at
    which it would be chosen. With --verify plans are simulated; otherwise everything is predicted.

    Exit codes: 0 answered, 2 bad input, 3 there is no plan to hold it against, 5 no plan found in time.
    """
    check_output(output)
    wanted = given(context, plan_or_scenario)
    from planner.studies.why import why as run

    with ProgressLine(quiet=quiet) as progress, wanted.locating():
        found = run(target, plan_or_scenario, progress=progress, **wanted.fields)
    show(found, "why", format, output, quiet=quiet)
    return found.exit_code
