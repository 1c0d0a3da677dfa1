"""A plan as an Excel workbook that finance can audit: money and power are live formulas, physics are values.

XlsxWriter and openpyxl come with the extra `xlsx` and are imported when a workbook is asked for, and not before.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import OutputError
from planner.export.files import check_writable, write_whole
from planner.export.workbook.bill import ASSUMPTION_WIDTHS, BILL_WIDTHS, Bill, assumptions, bill_of_materials
from planner.export.workbook.cases import SCENARIO_WIDTHS, SENSITIVITY_WIDTHS, scenarios, sensitivity
from planner.export.workbook.grid import Book, check_xlsx
from planner.export.workbook.other_currency import WIDTHS, in_other_currency
from planner.export.workbook.owning import owning_terms, rack_units_of
from planner.export.workbook.text import METHOD_WIDTHS, SUMMARY_WIDTHS, method_and_sources, summary
from planner.planning.plan import Plan

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.catalog.schema import Currency

# Title -> widths of its columns [characters], pages it prints on (0: as many as needed).
SHEETS: dict[str, tuple[Sequence[float], int]] = {
    "Summary": (SUMMARY_WIDTHS, 1),
    "Assumptions": (ASSUMPTION_WIDTHS, 1),
    "Bill of materials": (BILL_WIDTHS, 0),
    "Scenarios": (SCENARIO_WIDTHS, 1),
    "Sensitivity": (SENSITIVITY_WIDTHS, 1),
    "Method and sources": (METHOD_WIDTHS, 0),
}
# Excel's oldest date but a few; for plans without any price.
_NO_DATE = datetime.date(1980, 1, 1)


def workbook_bytes(
    plan: Plan,
    others: Mapping[str, Plan] | None = None,
    *,
    catalog: Catalog | None = None,
    inputs: Mapping[tuple[str, str], float | str] | None = None,
    currency: Currency | None = None,
) -> bytes:
    """Return a plan as the bytes of an .xlsx file.

    Parameters
    ----------
    plan : Plan
        Optimised or evaluated.
    others : mapping of str to Plan, optional
        Further plans to compare it with, by name.
    catalog : Catalog, optional
        Says what it costs to own the machines; see `owning_terms`.
    inputs : mapping of (str, str) to float or str, optional
        Sheet and cell, such as `("Assumptions", "B6")`, to what is typed there.
    currency : Currency, optional
        Adds a sheet with the amounts in it, at its dated rate as an input.

    Returns
    -------
    bytes
        The same for the same plans and catalog: the file says it was created on the date of its newest price.
    """
    dates = [p.date for p in (*plan.prices, *plan.alternative_prices)]
    book = Book(max(dates, default=_NO_DATE), f"{plan.design} for {plan.model}", inputs)
    pages = {title: book.sheet(title, widths, high) for title, (widths, high) in SHEETS.items()}
    others = others or {}
    prices = assumptions(book, pages["Assumptions"], plan, others)
    bill: Bill = bill_of_materials(book, pages["Bill of materials"], plan, prices, others)
    scenarios(book, pages["Scenarios"], plan, bill, others, owning_terms(plan, catalog))
    sensitivity(book, pages["Sensitivity"], plan, bill)
    summary(book, pages["Summary"], plan, bill, rack_units_of(plan, catalog))
    method_and_sources(pages["Method and sources"], plan)
    if currency is not None:
        in_other_currency(book, book.sheet(f"In {currency.name}", WIDTHS, 1), currency, bill)
    return book.to_bytes()


def export_workbook(
    plan: Plan | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    others: Mapping[str, Plan] | None = None,
) -> None:
    """Write a plan as an Excel workbook, whole or not at all.

    Parameters
    ----------
    plan : Plan, or path
        A plan, or its file as `planner optimize --format json` prints it.
    path : path
        The .xlsx file to write; one that is there is replaced.
    others : mapping of str to Plan, optional
        Further plans that the sheet Scenarios compares it with, by name.

    Returns
    -------
    None

    Raises
    ------
    ScenarioError
        The file is not a plan.
    OutputError
        The file cannot be written, its name does not end with .xlsx, or the extra `xlsx` is not installed.
    """
    from planner.planning.plan_file import read_plan

    check_workbook(Path(path), where=str(path))
    read = plan if isinstance(plan, Plan) else read_plan(plan)
    write_whole(Path(path), workbook_bytes(read, others))


def check_workbook(path: Path, *, where: str) -> None:
    """Refuse a workbook that cannot be written, before any work is done.

    Raises
    ------
    OutputError
        As `export_workbook`.
    """
    if path.suffix.casefold() != ".xlsx":
        raise OutputError(
            "a workbook is an .xlsx file", where=where, value=str(path), fix=f"name it {path.with_suffix('.xlsx').name}"
        )
    check_xlsx(where)
    check_writable(path)
