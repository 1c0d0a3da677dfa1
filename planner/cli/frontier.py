"""`planner frontier`: all trade-offs between two figures."""

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
from planner.errors import ScenarioError

if TYPE_CHECKING:
    pass

# Parameters of `planner.frontier` whose options have other names.
_OPTION_OF = {"y": "--y", "start": "--from", "stop": "--to", "tolerance": "--tolerance"}


@search_options
def frontier(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    x: Annotated[
        str,
        typer.Option(
            "--x",
            metavar="NAME",
            help="power, cost or machines (a budget), rate (the load), the limit of an objective (ttft, tbt, e2e, "
            "ttft.p50), or network: as planner map network. [default: power]",
            show_default=False,
        ),
    ] = "power",
    over: Annotated[str | None, typer.Option("--over", metavar="NAME", help="Another name for --x.")] = None,
    y: Annotated[
        str,
        typer.Option(
            "--y", metavar="NAME", help="What is least: cost, power or machines. [default: cost]", show_default=False
        ),
    ] = "cost",
    start: Annotated[
        str | None, typer.Option("--from", metavar="X", help="Where x begins, with its unit: 30kW, 10/s, 200ms.")
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="X", help="Where x ends. [default: all budgets; a quarter to twice --rate; 4x the limit]"
        ),
    ] = None,
    tolerance: Annotated[
        str,
        typer.Option(
            "--tolerance",
            metavar="SHARE",
            help="To which loads and limits are placed; budgets are exact. [default: 1 %]",
            show_default=False,
        ),
    ] = "1 %",
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
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it: FILE.svg, .png or .html (extra `plot`).")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Find all plans that nothing beats in two figures at once: cost against power, latency, load, and the like.

    With no options at all: cost against rated power, for 70 conversation requests/s of Llama-3.1 70B on the machines
    with a current price. Nothing is sampled: machines are whole, so what is least changes in steps, and each step is
    found and proven.

    Exit codes: 0 done, 2 bad input, 3 there is no plan at all, 4 some point is not proven within the time limit, 5 no
    plan found in time, 130 interrupted by Ctrl-C (the points that are done are printed, marked as such).
    """
    if over is not None:
        source = context.get_parameter_source("x")
        if source is not None and source.name == "COMMANDLINE" and x != over:
            raise ScenarioError(
                "--x and --over name different figures", where="--over", value=over,
                rule="--over is another name for --x", fix="leave one of them out",
            )  # fmt: skip
        x = over
    if x.strip().casefold() == "network":
        from planner.cli.map_network import DEFAULT_AXIS, show_network_map

        if context.params.pop("verify"):
            raise ScenarioError(
                "what links do to a plan is predicted, not simulated", where="--verify", fix="leave --verify out",
            )  # fmt: skip
        low, high = DEFAULT_AXIS.removeprefix("network=").rpartition(":")[0].split("..")
        axis = f"network={start or low}..{stop or high}:{DEFAULT_AXIS.rpartition(':')[2]}"
        return show_network_map(context, scenario, axis, None, plot, format, output, quiet)
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    from planner.studies.frontier import frontier as run

    options = _OPTION_OF | {"x": "--x" if over is None else "--over"}
    with ProgressLine(quiet=quiet) as progress, wanted.locating(), naming(options):
        found = run(
            scenario, x=x, y=y, start=start, stop=stop, tolerance=tolerance, verify=verify, progress=progress,
            **{name: value for name, value in wanted.fields.items() if name != "verify"},
        )  # fmt: skip
        if plot is not None:
            from planner.export.files import write_whole
            from planner.export.pictures.frontier import frontier_picture

            progress("drawing")
            write_whole(plot, frontier_picture(found, plot.suffix.casefold()))
    if plot is not None:
        note(f"wrote {plot}", quiet=quiet)
    show(found, "frontier", format, output, quiet=quiet)
    return found.exit_code
