"""`planner export`: write a plan as a workbook or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import QuietOption
from planner.cli.output import check_output, note
from planner.errors import EXIT_OK, ScenarioError

if TYPE_CHECKING:
    from planner.planning.plan import Plan


def export(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN.json", help="A plan from optimize or evaluate --format json --output FILE.")
    ],
    others: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[OTHER.json]...", help="Further plans, compared with the first on the sheet Scenarios."
        ),
    ] = None,
    xlsx: Annotated[
        Path | None, typer.Option("--xlsx", metavar="FILE", help="The workbook to write, whole or not at all.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="A page that needs no script and no other file.")
    ] = None,
    quiet: QuietOption = False,
) -> int:
    """Write a plan as an Excel workbook or an HTML page; both at once if both are named.

    In the workbook money and power are live formulas: change a price, and the totals follow. Counts and latencies are
    values of the plan, and it says what needs a new one. It needs the extra: pip install 'splitwise-planner[xlsx]'.

    Exit codes: 0 written, 2 bad input.
    """
    if xlsx is None and html is None:
        raise ScenarioError(
            "no form to export to", where="--xlsx", fix=f"planner export {plan} --xlsx {plan.with_suffix('.xlsx').name}"
        )
    import datetime

    from planner.export.files import write_whole
    from planner.export.plan_page import plan_page
    from planner.export.workbook.workbook import check_workbook, workbook_bytes
    from planner.planning.plan_file import read_plan

    if xlsx is not None:
        check_workbook(xlsx, where="--xlsx")
    check_output(html)
    first = read_plan(plan)
    more = {_name(path, others or []): read_plan(path) for path in others or []}
    if xlsx is not None:
        write_whole(xlsx, workbook_bytes(first, more))
        note(f"wrote {xlsx}", quiet=quiet)
    if html is not None:
        write_whole(html, plan_page(first, datetime.date.today()))
        note(f"wrote {html}", quiet=quiet)
    _warn_of_old_prices(first, quiet)
    return EXIT_OK


def _name(path: Path, others: list[Path]) -> str:
    """The stem of a file, or its path where two have one stem."""
    return path.stem if sum(other.stem == path.stem for other in others) == 1 else str(path)


def _warn_of_old_prices(plan: Plan, quiet: bool) -> None:
    import datetime

    from planner.export.tables.text import stale_prices

    for line in stale_prices(plan.prices, datetime.date.today()):
        note(f"warning: {line}", quiet=quiet)
