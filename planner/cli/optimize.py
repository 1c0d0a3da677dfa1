"""`planner optimize`: find the cluster that serves a scenario best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import (
    Format,
    FormatOption,
    OutputOption,
    QuietOption,
    given,
    scenario_option,
    scenario_options,
)
from planner.cli.output import (
    Progress,
    check_output,
    emit,
    format_of,
    text_width,
    wants_colour,
    warn_of_old_prices,
)
from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK

if TYPE_CHECKING:
    from planner.fleet.plan import Plan


@scenario_options
def optimize(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    machine: Annotated[
        list[str] | None,
        scenario_option("--machine", "NAME", "Machine to consider, or `all`. Repeatable. [default: dgx-a100 dgx-h100]"),
    ] = None,
    design: Annotated[
        str | None,
        scenario_option(
            "--design",
            "NAME",
            "auto, baseline, splitwise, Baseline-H100, Splitwise-HA, Baseline-MACHINE or Splitwise-MACHINE+MACHINE. "
            "[default: auto]",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        scenario_option(
            "--objective",
            "NAME",
            "cost, power, machines or carbon to be least, or throughput to be most within budgets. [default: cost]",
        ),
    ] = None,
    max_cost: Annotated[
        str | None, scenario_option("--max-cost", "PRICE", "Budget, such as '1000 USD/h' or '500000 USD/month'.")
    ] = None,
    max_power: Annotated[
        str | None, scenario_option("--max-power", "POWER", "Budget of rated power, such as 300kW.")
    ] = None,
    max_machines: Annotated[
        list[str] | None,
        scenario_option("--max-machines", "NAME=N", "Stock of one machine, spares included. Repeatable."),
    ] = None,
    max_total_machines: Annotated[
        int | None, scenario_option("--max-total-machines", "N", "Stock of all together.")
    ] = None,
    max_pools: Annotated[
        int | None, scenario_option("--max-pools", "N", "Most pools; 1 or 2 keeps a plan simple.")
    ] = None,
    spares: Annotated[
        int | None, scenario_option("--spares", "N", "Machines of each pool that may fail. [default: 0]")
    ] = None,
    solver: Annotated[str | None, scenario_option("--solver", "highs|cbc", "Solver. [default: highs]")] = None,
    time_limit: Annotated[
        str | None,
        scenario_option("--time-limit", "TIME", "Of the solver, such as 60s; then exit code 4 or 5. [default: 60s]"),
    ] = None,
    seed: Annotated[int | None, scenario_option("--seed", "N", "Of the solver. [default: 0]")] = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Whether to prove the plan by simulation, and to correct it where that disagrees. [default: verify]",
            envvar="PLANNER_VERIFY",
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
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
    """Find the machines, how many and in which roles, that serve a workload within its latency objectives.

    With no options at all: Llama-3.1 70B, 70 conversation requests/s, TTFT p99 within 1 s and TBT p99 within 200 ms,
    at the least cost on DGX A100 and H100.

    Every option that describes the scenario is also read from the environment: --max-cost from PLANNER_MAX_COST.
    Flags win over the environment, that over the scenario file, that over the defaults.

    Exit codes: 0 proven plan, 2 bad input, 3 infeasible, 4 plan not proven within a limit
    or not confirmed by simulation, 5 no plan found in time.
    """
    check_output(output)
    wanted = given(context, scenario)
    from planner.api import optimize as find_plan

    with Progress(quiet=quiet) as progress, wanted.locating():
        plan = find_plan(scenario, progress=progress, **wanted.fields)
    warn_of_old_prices(plan.prices, format_of(format, output), quiet=quiet)
    emit(plan_text(plan, format_of(format, output), output), output, quiet=quiet)
    unproven = plan.certificate is not None and plan.certificate.status != "confirmed"
    return EXIT_LIMIT_WITH_PLAN if plan.solver.status == "limit" or unproven else EXIT_OK


def plan_text(plan: Plan, format: Format, output: Path | None) -> str:
    """A plan in the format asked for."""
    if format is Format.json:
        return plan.model_dump_json(indent=2) + "\n"
    if format is Format.csv:
        from planner.export.records import csv_text

        return csv_text(plan.to_records())
    import datetime

    from planner.export.plan_table import WIDTH, plan_table

    width = WIDTH if output is not None else text_width()
    return plan_table(plan, datetime.date.today(), width=width, colour=wants_colour(sys.stdout, output))
