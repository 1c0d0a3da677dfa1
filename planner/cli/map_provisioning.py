"""`planner map provisioning`: cost over prefill x decode machine counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.given import given, locating
from planner.cli.options import FormatOption, OutputOption, QuietOption, map_options, scenario_option
from planner.cli.output import (
    ProgressLine,
    check_output,
    note,
    show,
)
from planner.errors import EXIT_OK, ScenarioError

if TYPE_CHECKING:
    pass


@map_options
def provisioning(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            metavar="prefill=X,decode=Y",
            help="The two machines. [default: those of the design, or of the best plan that splits]",
        ),
    ] = None,
    prefill: Annotated[
        str | None, typer.Option("--prefill", metavar="FROM..TO", help="Prefill machines, such as 1..40.")
    ] = None,
    decode: Annotated[
        str | None, typer.Option("--decode", metavar="FROM..TO", help="Decode machines, such as 1..20.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the map: FILE.svg, .png or .html.")
    ] = None,
    design: Annotated[
        str | None, scenario_option("--design", "NAME", "Splitwise-HA, Splitwise-MACHINE+MACHINE, or splitwise.")
    ] = None,
    objective: Annotated[
        str | None, scenario_option("--objective", "NAME", "cost, power or machines to be least. [default: cost]")
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Judge every pair of prefill and decode counts: cost, and which objectives hold. The best is starred.

    It is figure 12 of the Splitwise paper for any pair of machines. Each cell is judged by the model that judges
    plans; plans of two pools lie on it, and nothing is simulated.

    Exit codes: 0 ok, 2 bad input, 3 no count of this pair can serve.
    """
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    counts: dict[str, Any] = {}
    for name, text in (("prefill", prefill), ("decode", decode)):
        if text is not None:
            counts[f"{name}_machines"] = read_counts(text, f"--{name}")
    if pair is not None:
        if design is not None:
            raise ScenarioError("a pair and a design are both given", where="--pair", value=pair, fix="leave one out")
        wanted.fields["design"] = read_pair(pair)
        wanted.where["design"] = "--pair"
        wanted.text["design"] = pair
    from planner.studies.maps import provisioning_map

    with ProgressLine(quiet=quiet) as progress, locating(context), wanted.locating():
        found = provisioning_map(scenario, progress=progress, **counts, **wanted.fields)
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.pictures.provisioning import provisioning_picture

        write_whole(plot, provisioning_picture(found, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    show(found, "provisioning", format, output, quiet=quiet)
    return EXIT_OK


def read_counts(text: str, where: str) -> tuple[int, int]:
    """Read `1..40`.

    Raises
    ------
    ScenarioError
        Not a range of whole numbers, or one that is reversed or has one point.
    """
    first, dots, last = (part.strip() for part in text.partition(".."))
    try:
        if not dots:
            raise ValueError
        return int(first), int(last)
    except ValueError:
        raise ScenarioError(
            "not a range of counts", where=where, value=text, rule="FROM..TO", fix="write it like 1..40"
        ) from None


def read_pair(text: str, where: str = "--pair") -> str:
    """Read `prefill=dgx-h100,decode=dgx-a100` as the name of a design.

    Raises
    ------
    ScenarioError
        Not in that form.
    """
    parts = dict(part.strip().partition("=")[::2] for part in text.split(","))
    named = {role.strip(): machine.strip() for role, machine in parts.items()}
    if set(named) != {"prefill", "decode"} or not all(named.values()) or text.count(",") != 1:
        raise ScenarioError(
            "not a pair of machines", where=where, value=text, rule="prefill=MACHINE,decode=MACHINE",
            fix="write it like prefill=dgx-h100,decode=dgx-a100",
        )  # fmt: skip
    return f"Splitwise-{named['prefill']}+{named['decode']}"
