"""Any result as a workbook: a sheet for each of its tables; and the months of a fleet with live formulas."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from planner.export.result_tables import ResultTable, is_money
from planner.export.workbook.formulas import Formula, total
from planner.export.workbook.grid import Book, CellGrid

_CREATED = datetime.date(1980, 1, 1)
_WIDEST = 44
_MONTHS_A_PAGE = 12


def results_workbook(
    title: str, tables: Sequence[ResultTable], months: Mapping[str, Any] | None = None, currency: str = "USD"
) -> bytes:
    """Return tables as the bytes of an .xlsx file.

    Parameters
    ----------
    title : str
    tables : sequence of ResultTable
    months : mapping, optional
        A procurement, as JSON holds it: its months become a sheet with a column each, computed from counts and prices.
    currency : str
        Of the amounts in `months`.
    """
    book = Book(_CREATED, title)
    for table in tables:
        columns = table.columns
        widths = [min(max(len(c), *(len(_shown(r.get(c))) for r in table.records), 6) + 2, _WIDEST) for c in columns]
        grid = book.sheet(table.title, widths or [20], 0)
        grid.text(0, 0, f"{title}: {table.title}", "title")
        numbers = [c for c in columns if any(_is_number(r.get(c)) for r in table.records)]
        grid.table_head(2, columns, right=numbers)
        for row, record in enumerate(table.records, 3):
            for column, name in enumerate(columns):
                _write(grid, row, column, str(record.get("figure", "")) if name == "value" else name, record.get(name))
        grid.print_from_top(frozen=3, repeat=2)
    if months is not None:
        _months(book, months, currency)
    return book.to_bytes()


def _shown(value: object) -> str:
    return "" if value is None else str(value)[:_WIDEST]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(grid: CellGrid, row: int, column: int, name: str, value: object) -> None:
    if isinstance(value, bool):
        grid.text(row, column, "yes" if value else "no")
    elif isinstance(value, int | float):
        style = (
            "money"
            if is_money(name)
            else "percent"
            if name.endswith("_fraction")
            else "count"
            if isinstance(value, int)
            else "number"
        )
        grid.number(row, column, float(value), style)
    elif value is not None:
        grid.text(row, column, str(value))


_N_FIXED = 6  # columns before the months


def _months(book: Book, result: Mapping[str, Any], code: str) -> None:
    """Write what each purchase costs month by month: machines x hours paid x price, and hours on x price of use.

    Counts and prices are inputs: change one, and every month and total follows.
    """
    from planner.portfolio.cash import hours_on_by_month, paid_hours_by_month
    from planner.portfolio.result import PeriodUse, PurchaseLine

    lines = [PurchaseLine.model_validate(line) for line in result["purchases"]]
    periods = [PeriodUse.model_validate(period) for period in result["periods"]]
    n = len(result["months"])
    first = _N_FIXED
    fixed_titles = ("Machine", "Plan", "Machines", f"Held ({code}/h)", f"On ({code}/h)", f"Over all months ({code})")
    money, whole_money = ("money", "money_whole") if code == "USD" else ("plain", "count")
    grid = book.sheet("Months", [22, 20, 10, 12, 12, 18, *[12] * n], 0)
    grid.text(0, 0, "What each month costs", "title")
    told = "Months of 730 h. Coloured cells are inputs. What is bought costs its annuity; Payments has what is paid."
    grid.text(1, 0, told, "subtitle")
    head = 3
    titles = [*fixed_titles, *(f"month {m + 1}" for m in range(n))]
    grid.table_head(head, titles, right=titles[2:])
    rule = {"validate": "decimal", "criteria": ">=", "value": 0}
    cost_rows: list[list[Formula]] = []
    at_hours = head + 6 + len(lines)
    grid.text(at_hours - 1, 0, "Hours paid for by one machine, and hours on of all (from the plan)", "heading")
    for i, line in enumerate(lines):
        row, hours_row = head + 1 + i, at_hours + 2 * i
        for at in (row, hours_row, hours_row + 1):
            grid.text(at, 0, line.machine)
            grid.text(at, 1, " ".join(filter(None, (line.plan, line.when))))
        grid.text(hours_row, 2, "paid", "unit")
        grid.text(hours_row + 1, 2, "on", "unit")
        is_held = line.plan not in ("on_demand", "spot")
        count = grid.input(row, 2, float(line.count), "count", rule, "A number of machines")
        fixed = grid.input(row, 3, line.fixed_usd_per_hour, money, rule, f"A price in {code} an hour")
        usage = grid.input(row, 4, line.usage_usd_per_hour, money, rule, f"A price in {code} an hour")
        paid, on = paid_hours_by_month(line, n), hours_on_by_month(line, periods, n)
        cells = []
        for m in range(n):
            paid_cell = grid.number(hours_row, first + m, paid[m], "tenths")
            on_cell = grid.number(hours_row + 1, first + m, on[m], "tenths")
            # Hours on are those of the machines planned; with other counts they follow in proportion.
            use = on_cell * usage * (count / float(line.count))
            cells.append(grid.formula(row, first + m, count * paid_cell * fixed + use if is_held else use, whole_money))
        grid.formula(row, 5, total(grid.range(cells)), whole_money, "bold")
        cost_rows.append(cells)
    sums = head + 1 + len(lines)
    for name, field in (("Changes in the day", "changes_usd"), ("What leaves the sites", "egress_usd")):
        if any(month.get(field) for month in result["months"]):
            grid.text(sums, 0, name)
            cells = [
                grid.input(sums, first + m, float(month.get(field) or 0.0), whole_money, rule, f"An amount in {code}")
                for m, month in enumerate(result["months"])
            ]
            grid.formula(sums, 5, total(grid.range(cells)), whole_money, "bold")
            cost_rows.append(cells)  # type: ignore[arg-type]
            sums += 1
    grid.text(sums, 0, "Total", "total")
    whole = [
        grid.formula(sums, first + m, total(grid.range([cells[m] for cells in cost_rows])), whole_money, "total")
        for m in range(n)
    ]
    grid.page.repeat_columns(0, first - 1)
    book.name("months_total_usd", grid.formula(sums, 5, total(grid.range(whole)), whole_money, "total"))
    grid.print_from_top(frozen=head + 1, repeat=head)
    grid.page.fit_to_pages(math.ceil(n / _MONTHS_A_PAGE), 0)  # a year a page, with what the rows are on each
