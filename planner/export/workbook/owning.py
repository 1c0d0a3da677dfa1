"""Owning against renting, machine by machine: part of the sheet Scenarios. Equations of docs/economics.md, live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.catalog.catalog import Catalog
from planner.catalog.schema import GROUP_MARK, Machine, PriceBook
from planner.economics.finance import HOURS_PER_YEAR, capital_recovery_factor
from planner.errors import CatalogError
from planner.export.workbook.bill import Bill
from planner.export.workbook.formulas import Formula, choose, function, known
from planner.export.workbook.grid import Book, CellGrid
from planner.planning.plan import Plan


@dataclass(frozen=True)
class OwningTerms:
    """What owning one machine costs, in USD; what no price book says is None.

    Attributes
    ----------
    purchase_usd, life_years, residual_fraction, maintenance_fraction : float or None
        Maintenance is a year's, as a share of the purchase.
    hosting_usd_per_kw_month : float or None
        Space and cooling for a kW of rated power, what is charged by the rack unit included.
    book : str
        The price book, or why there is none.
    """

    purchase_usd: float | None = None
    life_years: float | None = None
    residual_fraction: float | None = None
    maintenance_fraction: float | None = None
    hosting_usd_per_kw_month: float | None = None
    book: str = "no price book sells it"


def owning_terms(plan: Plan, catalog: Catalog | None = None) -> dict[str, OwningTerms]:
    """Look up what price books say about owning the machines of a plan.

    Parameters
    ----------
    plan : Plan
    catalog : Catalog, optional
        Left out: the built-in one with the overlays of the plan's scenario, as far as they are still there.
    """
    catalog = catalog or _catalog_of(plan)
    machines = dict.fromkeys(pool.machine for pool in plan.pools)
    return {name: _terms(catalog, name, plan.scenario.get("prices") or ()) for name in machines}


def rack_units_of(plan: Plan, catalog: Catalog | None = None) -> dict[str, float] | None:
    """Rack units of each machine of a plan; None where the catalog has others than the plan was made with."""
    catalog = catalog or _catalog_of(plan)
    machines = {pool.machine for pool in plan.pools}
    if plan.rack_units is None or not {m.partition(GROUP_MARK)[0] for m in machines} <= set(catalog.names(Machine)):
        return None
    units = {name: float(catalog.machine(name).rack_units or 0) for name in machines}
    whole = sum(units[pool.machine] * (pool.count + pool.spares) for pool in plan.pools)
    return units if whole == plan.rack_units else None


def _catalog_of(plan: Plan) -> Catalog:
    try:
        return Catalog.default(plan.scenario.get("catalog") or ())
    except CatalogError:
        return Catalog.default()


def _terms(catalog: Catalog, name: str, books: Any) -> OwningTerms:
    there = catalog.names(PriceBook)
    single = name.partition(GROUP_MARK)[0]
    book = catalog.book_of(single, "owned", [book for book in books if book in there])
    if book is None or not catalog.files_of(Machine, single):
        return OwningTerms()
    terms, machine = book.owned[single], catalog.machine(name)  # a group is that many machines
    rate, _ = catalog.exchange_of(book, f"owned.{single}")
    by_the_unit = (terms.hosting_per_rack_unit or 0.0) * (machine.rack_units or 0)
    hosting = (terms.hosting_per_kw or 0.0) + by_the_unit / (machine.rated_power_w / 1e3)
    return OwningTerms(
        purchase_usd=terms.purchase * rate * machine.group,
        life_years=terms.life_months / 12.0,
        residual_fraction=terms.residual_fraction,
        maintenance_fraction=terms.maintenance_fraction_per_year,
        hosting_usd_per_kw_month=hosting * rate * HOURS_PER_YEAR / 12.0,
        book=f"{book.name}, {book.date.isoformat()}",
    )


_ABOVE_0: dict[str, Any] = {"validate": "decimal", "criteria": ">", "value": 0}
_SHARE: dict[str, Any] = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 1}
# Label, unit, field, number format, rule, message.
_INPUTS = (
    ("Purchase price", "USD", "purchase_usd", "money_whole", _ABOVE_0, "A price is a number above 0"),
    ("Life", "years", "life_years", "number", _ABOVE_0, "A number of years above 0"),
    ("Residual value", "of the purchase", "residual_fraction", "percent", _SHARE, "From 0 % to 100 %"),
    ("Maintenance", "of the purchase, a year", "maintenance_fraction", "percent", _SHARE, "From 0 % to 100 %"),
    ("Hosting", "USD a month and kW rated", "hosting_usd_per_kw_month", "money",
     {"validate": "decimal", "criteria": ">=", "value": 0}, "A number, 0 or more"),
)  # fmt: skip


def owning(book: Book, grid: CellGrid, plan: Plan, bill: Bill, terms: Mapping[str, OwningTerms], row: int) -> int:
    """Write the block; returns the row below it."""
    grid.text(row, 0, "Owning against renting, one machine of each type", "heading")
    grid.text(
        row + 1,
        0,
        "Cost of capital: the discount rate of Assumptions. Owned is paid for in all hours; rent (with energy, if "
        "billed on top) and electricity in those of Assumptions.",
        "note",
    )
    machines = list(bill.quantities)
    grid.table_head(row + 2, ["", "Unit", *machines], right=machines)
    labels = (
        *((label, unit) for label, unit, *_ in _INPUTS), ("Price book", ""), ("Rated", "kW"),
        ("Draw at this load", "kW"),
        ("Owned: capital, maintenance, hosting", "USD/h"), ("Owned: electricity, PUE applied", "USD/h"),
        ("Owned", "USD/h"), ("Rented", "USD/h"),
        ("Owning saves, all of this type", "USD/month"),
        ("Purchase price of a tie", "USD"),
    )  # fmt: skip
    for n, (label, unit) in enumerate(labels, row + 3):
        grid.text(n, 0, label)
        grid.text(n, 1, unit)
    for column, machine in enumerate(machines, 2):
        _column(book, grid, plan, bill, machine, terms.get(machine, OwningTerms()), row + 3, column)
    return row + 3 + len(labels)


def _column(
    book: Book, grid: CellGrid, plan: Plan, bill: Bill, machine: str, terms: OwningTerms, at: int, column: int
) -> None:
    names = book.names
    cells = {
        field: _asked(grid.input(at + n, column, getattr(terms, field), style, rule, message))
        for n, (_, _, field, style, rule, message) in enumerate(_INPUTS)
    }
    at += len(_INPUTS)
    grid.text(at, column, terms.book, "wrap", "right")
    grid.page.set_row(at, 28)
    pools = [pool for pool in plan.pools if pool.machine == machine]
    n_machines = sum(pool.count + pool.spares for pool in pools)
    rated = grid.number(at + 1, column, pools[0].power_w / 1e3 / (pools[0].count + pools[0].spares), "tenths")
    draw = grid.number(at + 2, column, sum(p.expected_power_w for p in pools) / 1e3 / n_machines, "tenths")
    rate, purchase, residual = names["discount_rate"], cells["purchase_usd"], cells["residual_fraction"]
    hosting = cells["hosting_usd_per_kw_month"] * 12 / HOURS_PER_YEAR * rated
    yearly = annual_payment(rate, cells["life_years"], purchase * (1 - residual))
    yearly = yearly + rate * residual * purchase + cells["maintenance_fraction"] * purchase
    fixed = grid.formula(at + 3, column, yearly / HOURS_PER_YEAR + hosting, "money")
    facility = draw if pools[0].power_scope == "facility" else draw * names["pue"]
    electricity = grid.formula(at + 4, column, facility * names["electricity_usd_per_kwh"], "money")
    grid.formula(at + 5, column, fixed + electricity, "money", "bold")
    price, on_top = bill.prices[machine], choose(bill.billed_on_top[machine], electricity, 0)
    rented = grid.formula(at + 6, column, price + on_top, "money", "bold")
    quantity, hours = bill.quantities[machine], names["hours_per_month"]
    # Rent and electricity are paid for the hours used; what is owned is paid for in all of them.
    a_month = (rented - electricity) * hours - fixed * (HOURS_PER_YEAR / 12)
    grid.formula(at + 7, column, a_month * quantity, "change")
    share = annual_payment(rate, cells["life_years"], 1 - residual) + rate * residual + cells["maintenance_fraction"]
    left = (rented - electricity) * hours * 12 - hosting * HOURS_PER_YEAR
    grid.formula(at + 8, column, left / share, "money_whole")


def annual_payment(rate_a_year: Formula, years: Formula, price: Formula) -> Formula:
    """What repays a price with interest, at the end of each year: `PMT(rate, years, -price)`."""
    return function("PMT", lambda r, n, p: -p * capital_recovery_factor(r, n), rate_a_year, years, price * -1)


def _asked(cell: Formula) -> Formula:
    """A cell that may be empty, as `#N/A` while it is."""
    return known(cell, cell) if cell.value is None else cell
