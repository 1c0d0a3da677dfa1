"""The sheet that turns the money of a plan into another currency, at a rate that may be changed."""

from __future__ import annotations

from planner.catalog.schema import Currency
from planner.export.workbook.bill import Bill
from planner.export.workbook.formulas import Formula
from planner.export.workbook.grid import Book, CellGrid

WIDTHS = (40, 18, 18, 70)


def in_other_currency(book: Book, grid: CellGrid, currency: Currency, bill: Bill) -> None:
    """Write the dated rate, and every key figure, price and pool in USD and in the currency."""
    code = currency.name
    grid.text(0, 0, f"In {code}", "title")
    grid.text(1, 0, "The rate is an input: this sheet follows it and the other sheets, which are in USD.", "subtitle")
    grid.table_head(3, ["Input", "Value", "Unit", "Where it comes from"], right=["Value"])
    grid.text(4, 0, f"USD for 1 {code}")
    rule = {"validate": "decimal", "criteria": ">", "value": 0}
    rate = grid.input(4, 1, currency.usd_per_unit, "money_small", rule, "A rate is a number above 0")
    book.name("usd_per_currency_unit", rate)
    grid.text(4, 2, f"USD/{code}", "unit")
    grid.text(4, 3, f"{currency.date.isoformat()}: {currency.source}", "note")
    names = book.names
    figures: list[tuple[str, Formula, str]] = [
        ("Machines, an hour", names["cost_usd_per_hour"], "2"),
        ("Machines, a month", names["cost_usd_per_month"], "2"),
        ("Energy billed on top, a month", names["energy_usd_per_month"], "2"),
        ("Total, a month", names["total_usd_per_month"], "2"),
        ("Total, a year", names["total_usd_per_year"], "2"),
        ("Present value over the horizon", names["present_value_usd"], "2"),
        ("Cost of a million tokens", names["usd_per_million_tokens"], "4"),
        *((f"{machine}, an hour", price, "2") for machine, price in bill.prices.items()),
        *((f"{name}, a month", cost, "2") for name, _, cost in bill.pools),
    ]
    grid.table_head(6, ["Amount", "USD", code], right=["USD", code])
    for row, (label, usd, places) in enumerate(figures, 7):
        grid.text(row, 0, label)
        grid.formula(row, 1, usd, "money" if places == "2" else "money_small")
        grid.formula(row, 2, usd / rate, "plain" if places == "2" else "plain_small")
    grid.print_from_top(frozen=4)
