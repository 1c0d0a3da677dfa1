"""`planner optimize`: find the cluster that serves a scenario best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given
from planner.cli.options import FormatOption, OutputOption, QuietOption, plan_options
from planner.cli.output import (
    ProgressLine,
    check_output,
    show,
)
from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK

if TYPE_CHECKING:
    pass


@plan_options
def optimize(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find the machines, how many and in which roles, that serve a workload within its latency objectives.

    With no options at all: Llama-3.1 70B, 70 conversation requests/s, TTFT p99 within 1 s and TBT p99 within 200 ms,
    at the least cost on the machines with a current price.

    Every option that describes the scenario is also read from the environment: --max-cost from PLANNER_MAX_COST.
    Flags win over the environment, that over the scenario file, that over the defaults.

    Exit codes: 0 proven plan, 2 bad input, 3 infeasible, 4 plan not proven within a limit
    or not confirmed by simulation, 5 no plan found in time.
    """
    check_output(output)
    wanted = given(context, scenario)
    from planner.studies.plans import optimize as find_plan

    with ProgressLine(quiet=quiet) as progress, wanted.locating():
        plan = find_plan(scenario, progress=progress, **wanted.fields)
    show(plan, "plan", format, output, quiet=quiet)
    unproven = plan.certificate is not None and plan.certificate.status != "confirmed"
    return EXIT_LIMIT_WITH_PLAN if plan.solver.status == "limit" or unproven else EXIT_OK
