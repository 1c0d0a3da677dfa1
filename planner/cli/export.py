"""`planner export`: write a result as a workbook, a page or CSVs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.options import CatalogOption, QuietOption
from planner.cli.output import check_output, note
from planner.errors import EXIT_OK, ScenarioError

if TYPE_CHECKING:
    from planner.export.result_tables import ResultTable
    from planner.planning.plan import Plan


def export(
    plan: Annotated[
        Path, typer.Argument(metavar="RESULT.json", help="What a command printed with --format json --output FILE.")
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
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FOLDER", help="A CSV for each table of the result.")
    ] = None,
    currency: Annotated[
        str, typer.Option("--currency", metavar="EUR", help="Of amounts, at the dated rate of the catalog.")
    ] = "USD",
    catalog: CatalogOption = None,
    quiet: QuietOption = False,
) -> int:
    """Write a result as an Excel workbook, an HTML page or a folder of CSVs; all that are named at once.

    Results of optimize and evaluate, and of compare, cost, procure, sweep, sensitivity and every other command that
    prints JSON. A plan has a workbook and a page of its own; other results have a sheet for each of their tables, and a
    fleet its months with live formulas. With --currency all amounts are in it; those of a plan's workbook and page are
    on a sheet and in a part of their own, beside USD.

    In the workbook money and power are live formulas: change a price, and the totals follow. Counts and latencies are
    values of the plan, and it says what needs a new one. It needs the extra: pip install 'splitwise-planner[xlsx]'.

    Exit codes: 0 written, 2 bad input.
    """
    if xlsx is None and html is None and csv is None:
        raise ScenarioError(
            "no form to export to", where="--xlsx", fix=f"planner export {plan} --xlsx {plan.with_suffix('.xlsx').name}"
        )
    import datetime

    from planner.export.files import write_whole
    from planner.export.plan_page import plan_page
    from planner.export.result_tables import rate_of, read_result
    from planner.export.workbook.workbook import check_workbook, workbook_bytes
    from planner.planning.plan_file import read_plan

    if xlsx is not None:
        check_workbook(xlsx, where="--xlsx")
    check_output(html)
    data = read_result(plan)
    is_plan = isinstance(data, dict) and "pools" in data and "predicted" in data and "purchases" not in data
    if csv is not None or not is_plan:
        if others:
            raise ScenarioError("only plans are compared", where=str(others[0]), fix="export each result by itself")
        _export_tables(plan, data, None if is_plan else xlsx, None if is_plan else html, csv, currency, catalog, quiet)
    if not is_plan or (xlsx is None and html is None):
        return EXIT_OK
    from planner.catalog.catalog import Catalog

    rate = rate_of(currency, Catalog.default(catalog or []))
    first = read_plan(plan)
    more = {_name(path, others or []): read_plan(path) for path in others or []}
    if xlsx is not None:
        write_whole(xlsx, workbook_bytes(first, more, currency=rate))
        note(f"wrote {xlsx}", quiet=quiet)
    if html is not None:
        write_whole(html, plan_page(first, datetime.date.today(), rate))
        note(f"wrote {html}", quiet=quiet)
    _warn_of_old_prices(first, quiet)
    return EXIT_OK


def _export_tables(
    source: Path, data: Any, xlsx: Path | None, html: Path | None, csv: Path | None, currency: str,
    overlays: list[Path] | None, quiet: bool,
) -> None:  # fmt: skip
    """Write the tables of any result in the forms asked for."""
    from planner.catalog.catalog import Catalog
    from planner.export.files import write_together, write_whole
    from planner.export.records import csv_text
    from planner.export.result_page import result_page
    from planner.export.result_tables import amounts_in, in_currency, rate_of, tables_of

    known = Catalog.default(overlays or [])
    tables, rate = in_currency(tables_of(data), currency, known), rate_of(currency, known)
    title = source.stem
    if xlsx is not None:
        from planner.export.workbook.results import results_workbook

        has_months = isinstance(data, dict) and "months" in data and "purchases" in data
        months = None if not has_months else data if rate is None else amounts_in(data, rate.usd_per_unit)
        write_whole(xlsx, results_workbook(title, _renamed_months(tables, has_months), months, currency))
        note(f"wrote {xlsx}", quiet=quiet)
    if html is not None:
        write_whole(html, result_page(title, tables))
        note(f"wrote {html}", quiet=quiet)
    if csv is not None:
        write_together({csv / f"{t.title.replace(' ', '_').lower()}.csv": csv_text(t.records) for t in tables})
        note(f"wrote {len(tables)} tables to {csv}", quiet=quiet)


def _renamed_months(tables: list[ResultTable], has_months: bool) -> list[ResultTable]:
    """The months' figures under a title of their own, where the sheet Months has the live formulas."""
    from planner.export.result_tables import ResultTable

    return [ResultTable("Payments", t.records) if has_months and t.title == "Months" else t for t in tables]


def _name(path: Path, others: list[Path]) -> str:
    """The stem of a file, or its path where two have one stem."""
    return path.stem if sum(other.stem == path.stem for other in others) == 1 else str(path)


def _warn_of_old_prices(plan: Plan, quiet: bool) -> None:
    import datetime

    from planner.export.tables.text import stale_prices

    for line in stale_prices(plan.prices, datetime.date.today()):
        note(f"warning: {line}", quiet=quiet)
