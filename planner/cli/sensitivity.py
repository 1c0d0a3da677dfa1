"""`planner sensitivity`: what errors of the inputs do to a plan, and what would change the decision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.given import given, read_fraction
from planner.cli.options import FormatOption, ObjectiveOption, OutputOption, QuietOption, search_options
from planner.cli.output import ProgressLine, check_output, note, show
from planner.errors import PlannerError, ScenarioError

if TYPE_CHECKING:
    pass

_OPTIONS = {"error": "--error", "draws": "--draws", "workers": "--workers"}


@search_options
def sensitivity(
    context: typer.Context,
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="A file with the fields of a scenario.")
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option(
            "--error",
            metavar="INPUT=SHARE",
            help="How far an input may be off: load=20%, prompt=10%, output=10%, arrival-cv2=50%, price=10%, "
            "price.dgx-h100=30%, step-time=10%, step-time.h100-sxm=15%, pue=20%, electricity=20%, "
            "grid-carbon=20%, grid-carbon.france=10%; 0 leaves it out. Repeatable. [default: step times as the runtime "
            "states, the others as first named here]",
        ),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", metavar="N", help="Of all inputs at once; 0 for none.")] = 200,
    flips: Annotated[bool, typer.Option("--flips/--no-flips", help="Look for what would change the decision.")] = True,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. [default: one a core]")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the tornado chart: FILE.svg, .png or .html.")
    ] = None,
    objective: ObjectiveOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Say how sure a plan is: two questions, and what would change the decision.

    Re-optimised: what would the best plan be and cost, had an input been known to differ? Bought: does the plan that
    was bought still carry the load within its objectives when the input differs? Each input alone, lower and higher by
    its error, then all at once in random draws. Then the prices and the load at which another design wins.

    PUE and grid carbon count for --objective carbon. Rented prices contain electricity; a price stated with
    --electricity is taken as billed beside them, and costs are then with electricity at the expected draw.

    Options describe the scenario as in `planner optimize`. Plans are not simulated here.

    Exit codes: 0 done, 2 bad input, 3 there is no plan for the inputs as they are, 4 a plan was not proven within a
    limit, 5 no plan found in time.
    """
    check_output(output)
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    wanted = given(context, scenario)
    errors = _read_errors(error or [])
    from planner.studies.sensitivity import sensitivity as analyse

    try:
        with ProgressLine(quiet=quiet) as progress, wanted.locating():
            found = analyse(
                scenario, errors=errors, draws=draws, flips=flips, workers=workers, progress=progress, **wanted.fields
            )
    except PlannerError as problem:
        problem.where = _OPTIONS.get(problem.where or "", problem.where)
        raise
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.pictures.sensitivity import tornado_picture

        write_whole(plot, tornado_picture(found, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    show(found, "sensitivity", format, output, quiet=quiet)
    return found.exit_code


def _read_errors(texts: list[str]) -> dict[str, float]:
    errors: dict[str, float] = {}
    for text in texts:
        name, equals, share = (part.strip() for part in text.partition("="))
        if not equals or not name or not share:
            raise ScenarioError(
                "not an error of an input", where="--error", value=text, rule="INPUT=SHARE", fix="write load=20%"
            )
        if name in errors:
            raise ScenarioError(f"the error of {name} is given twice", where="--error", value=text)
        if share.startswith("-"):
            raise ScenarioError(
                "an error is not negative", where="--error", value=text,
                rule="the input is lowered and raised by it", fix=f"write {name}={share.lstrip('-')}",
            )  # fmt: skip
        errors[name] = read_fraction(share, "--error")
    return errors
