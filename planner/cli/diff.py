"""`planner diff`: what changed from one plan to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import FormatOption, OutputOption, QuietOption
from planner.cli.output import check_output, show
from planner.errors import EXIT_OK


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="A plan from optimize --format json.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The plan to hold against it.")],
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Say what changed from plan A to plan B: input, catalog, prices, pools, cost, percentiles, objectives, proof.

    Exit codes: 0 done, whether they differ or not, 2 a file that is no plan.
    """
    check_output(output)
    from planner.studies.diff import diff as run

    show(run(before, after), "difference", format, output, quiet=quiet, prices=())
    return EXIT_OK
