"""`planner compare`: designs side by side, each sized as well as can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given, naming
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_option, search_options
from planner.cli.output import (
    ProgressLine,
    check_output,
    note,
    show,
)

if TYPE_CHECKING:
    pass

# Parameters of `planner.compare` whose options have other names.
_OPTION_OF = {
    "designs": "--design", "pairs": "--pair", "workloads": "--workload", "objectives": "--objective",
    "budgets": "--budget", "relative_to": "--relative-to", "preset": "--preset",
}  # fmt: skip


_OWN = ("design", "workload", "objective", "preset", "verify")


@search_options
def compare(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    design: Annotated[
        list[str] | None,
        typer.Option(
            "--design",
            metavar="NAME",
            help="Baseline-H100, Splitwise-HA, Baseline-MACHINE, Splitwise-MACHINE+MACHINE, auto (the best mix), or "
            "`paper`: the six of the Splitwise paper. Repeatable. [default: baselines and pairings of the machines]",
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option("--pair", metavar="prefill=X,decode=Y", help="A pairing of machines as a design. Repeatable."),
    ] = None,
    workload: Annotated[
        list[str] | None,
        scenario_option(
            "--workload",
            "NAME|FILE",
            "Workload of the catalog, or a trace (CSV, JSONL). Repeatable. [default: azure-conv-2023]",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="NAME",
            help="What to size for at --rate: least cost, power, machines or carbon. Repeatable. [default: cost]",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="KIND=AMOUNT",
            help="Most load within it instead: cost=1520USD/h, power=408kW, machines=40, cost=40xdgx-h100 (what those "
            "cost), machines=40xdgx-h100 (their cost, and their power). Repeatable.",
        ),
    ] = None,
    relative_to: Annotated[
        str | None,
        typer.Option("--relative-to", metavar="DESIGN", help="What ratios are against. [default: the first baseline]"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="A comparison of the Splitwise paper: splitwise-iso-cost, splitwise-iso-cost-2.35 (its other price "
            "ratio), splitwise-iso-power, splitwise-iso-throughput; or `splitwise`, its machines alone. Options given "
            "beside it win.",
        ),
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
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw bars: FILE.svg, .png or .html (extra `plot`).")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Put designs side by side: each is sized as well as can be for the same workloads.

    With no options at all: the designs that DGX A100 and H100 make, for 70 conversation requests/s of Llama-3.1 70B.
    A design for which there is no plan has a row that says why. Ctrl-C keeps the rows that are done.

    Exit codes: 0 done, 2 bad input, 3 there is no plan for any design, 4 some plan is not proven within the time limit
    or not confirmed by simulation, 130 interrupted (what is done is printed, marked as such).
    """
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    fields = {name: value for name, value in wanted.fields.items() if name not in _OWN}
    from planner.studies.comparison import compare as run

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), naming(_OPTION_OF):
        comparison = run(
            scenario,
            designs=design or None,
            pairs=pair or (),
            workloads=workload or None,
            objectives=objective or None,
            budgets=budget or (),
            relative_to=relative_to,
            preset=preset,
            verify=verify,
            progress=progress,
            **fields,
        )
        if plot is not None:
            from planner.export.files import write_whole
            from planner.export.pictures.comparison import comparison_picture

            progress("drawing")
            write_whole(plot, comparison_picture(comparison, plot.suffix.casefold()))
    if plot is not None:
        note(f"wrote {plot}", quiet=quiet)
    show(comparison, "comparison", format, output, quiet=quiet)
    return comparison.exit_code
