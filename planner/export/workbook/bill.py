"""The sheets that hold what money and power are computed from: assumptions, and the bill of materials."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass

from planner.catalog.prices import STALE_AFTER_DAYS
from planner.economics.options import Assumptions
from planner.export.workbook.formulas import Formula, choose, known, sum_where, total
from planner.export.workbook.grid import Book, CellGrid
from planner.planning.plan import HOURS_PER_MONTH, Plan, PriceUsed

YES, NO = "yes", "no"

# Name, label, number format, least, most, unit.
_INPUTS: tuple[tuple[str, str, str, float, float, str], ...] = (
    ("hours_per_month", "Hours a month", "number", 1, 744, "h"),
    ("electricity_usd_per_kwh", "Electricity", "money_small", 0, 10, "USD/kWh"),
    ("pue", "Power usage effectiveness (PUE)", "number", 1, 5, "facility kWh / machine kWh"),
    ("carbon_g_per_kwh", "Carbon intensity of the grid", "tenths", 0, 3000, "g CO2/kWh"),
    ("horizon_years", "Horizon", "number", 0.1, 30, "years"),
    ("discount_rate", "Discount rate, cost of capital", "percent", 0, 1, "a year"),
    ("payments_in_advance", "Months are paid in advance", "count", 0, 1, "0: at their end; 1: at their begin"),
)


def _start_values(plan: Plan) -> dict[str, tuple[float | None, str]]:
    """What the inputs are before anybody changes them, and where that comes from; energy is the plan's own."""
    general = Assumptions()
    electricity, pue, carbon = general.electricity_usd_per_kwh, general.pue, None
    where = "general figure, docs/economics.md: put yours"
    emits = "not in this plan file: type your region's"
    if (energy := plan.energy) is not None and energy.sites and energy.energy_kwh_per_hour > 0:
        electricity = energy.cost_usd_per_hour / energy.energy_kwh_per_hour
        pue = energy.sites[0].pue
        carbon = 1e3 * energy.carbon_kg_per_hour / energy.energy_kwh_per_hour
        where = "the plan's own; another: planner optimize --electricity, --pue, or type it here"
        regions = dict.fromkeys(f"{s.region} ({s.carbon_date.isoformat()}): {s.source}" for s in energy.sites)
        emits = "region " + "; ".join(regions)
    return {
        "hours_per_month": (HOURS_PER_MONTH, "365 x 24 / 12"),
        "electricity_usd_per_kwh": (electricity, where),
        "pue": (pue, where),
        "carbon_g_per_kwh": (carbon, emits),
        "horizon_years": (3.0, "length of the commitment to look at"),
        "discount_rate": (general.cost_of_capital_per_year, "your cost of capital; also what a purchase has to earn"),
        "payments_in_advance": (0.0, "for present values, which discount by the month"),
    }


@dataclass(frozen=True)
class Bill:
    """What the other sheets compute with."""

    prices: dict[str, Formula]
    quantities: dict[str, Formula]
    pools: list[tuple[str, Formula, Formula]]  # name, quantity, total a month
    energy_under_pue: Formula
    keys: Mapping[str, Mapping[str, str]]  # other plan -> machine -> its name among the prices
    billed_on_top: Mapping[str, Formula]  # whether energy is billed on top of a machine's price


def keys_of(plan: Plan, others: Mapping[str, Plan]) -> dict[str, dict[str, str]]:
    """How other plans' machines are named among the prices: with the plan's name where their price is another one."""
    ours = {p.machine: p.usd_per_hour for p in (*plan.alternative_prices, *plan.prices)}
    return {
        name: {
            p.machine: p.machine if ours.get(p.machine, p.usd_per_hour) == p.usd_per_hour else f"{p.machine} ({name})"
            for p in other.prices
        }
        for name, other in others.items()
    }


def assumptions(book: Book, grid: CellGrid, plan: Plan, others: Mapping[str, Plan]) -> dict[str, Formula]:
    """Write the inputs; returns the price cell of each machine, and of those of other plans at other prices."""
    grid.text(0, 0, "Assumptions", "title")
    grid.text(1, 0, "Coloured cells are inputs: change them and every sheet follows.", "subtitle")
    grid.table_head(3, ["Input", "Value", "Unit", "Where it comes from"], right=["Value"])
    row = 4
    start = _start_values(plan)
    for name, label, style, least, most, unit in _INPUTS:
        value, source = start[name]
        grid.text(row, 0, label)
        rule = {"validate": "decimal", "criteria": "between", "minimum": least, "maximum": most}
        cell = book.name(name, grid.input(row, 1, value, style, rule, f"{label}: a number from {least:g} to {most:g}"))
        if value is None:
            book.names[name] = known(cell, cell)
        grid.text(row, 2, unit, "unit")
        grid.text(row, 3, source, "note")
        row += 1
    prices = _prices(book, grid, plan, others, row)
    row += len(prices) + 4
    _from_the_plan(book, grid, plan, row)
    grid.print_from_top(frozen=4)
    return prices


def _prices(book: Book, grid: CellGrid, plan: Plan, others: Mapping[str, Plan], row: int) -> dict[str, Formula]:
    grid.text(row, 0, "Prices", "heading")
    titles = [
        "Machine",
        "Price (USD/h)",
        "Energy billed on top",
        "Price book",
        "Provider",
        "Price date",
        "Kind",
        "Source",
    ]
    grid.table_head(row + 1, titles, right=["Price (USD/h)", "Price date"])
    # Another plan keeps its own price of a machine, in a row of its own where it is another one.
    keys = keys_of(plan, others)
    listed = {keys[name][p.machine]: p for name, other in others.items() for p in other.prices}
    listed |= {p.machine: p for p in (*plan.alternative_prices, *plan.prices)}
    alternatives = [machine for a in plan.alternatives for machine in a.counts]
    theirs = [keys[n].get(pool.machine, pool.machine) for n, other in others.items() for pool in other.pools]
    machines = list(dict.fromkeys([*(pool.machine for pool in plan.pools), *theirs, *alternatives]))
    cells: dict[str, Formula] = {}
    for n, machine in enumerate(machines, row + 2):
        price = listed.get(machine)
        grid.text(n, 0, machine)
        rule = {"validate": "decimal", "criteria": ">", "value": 0}
        value = None if price is None else price.usd_per_hour
        cells[machine] = grid.input(n, 1, value, "money", rule, "A price is a number above 0, in USD an hour")
        rule = {"validate": "list", "source": [NO, YES]}
        on_top = grid.input(n, 2, NO, "text", rule, f"{NO}: the price includes energy; {YES}: it is billed on top")
        book.names[f"on_top {machine}"] = on_top
        if price is None:
            grid.text(n, 3, "no price book lists it: type a price", "bad")
        else:
            _provenance(grid, n, price)
    grid.page.conditional_format(row + 2, 5, row + 1 + len(machines), 5, {
        "type": "formula", "criteria": f"=AND(ISNUMBER($F{row + 3}),TODAY()-$F{row + 3}>{STALE_AFTER_DAYS})",
        "format": grid.book.format("stale"),
    })  # fmt: skip
    grid.text(row + 2 + len(machines), 0, "A date in red is more than a year old today: ask for a new quote.", "note")
    return cells


def _provenance(grid: CellGrid, row: int, price: PriceUsed) -> None:
    converted = ""
    if price.currency != "USD":
        converted = (
            f" (quoted in {price.currency}; 1 {price.currency} = {price.usd_per_unit:g} USD, {price.exchange_date})"
        )
    grid.text(row, 3, price.book)
    grid.text(row, 4, price.provider)
    grid.date(row, 5, price.date)
    grid.text(row, 6, price.kind, "unit")
    grid.paragraph(row, 7, 7, price.source + converted)


def _from_the_plan(book: Book, grid: CellGrid, plan: Plan, row: int) -> None:
    grid.text(row, 0, "From the plan: to change any of these, make a new plan", "heading")
    grid.table_head(row + 1, ["What", "Value", "Unit"], right=["Value"])
    figures = (
        ("requests_per_s", "Load carried", plan.rate_per_s, "requests/s"),
        ("prompt_tokens", "Mean prompt", plan.mean_prompt_tokens, "tokens a request"),
        ("output_tokens", "Mean answer", plan.mean_output_tokens, "tokens a request"),
    )
    for n, (name, label, value, unit) in enumerate(figures, row + 2):
        grid.text(n, 0, label)
        book.name(name, grid.number(n, 1, value, "tenths"))
        grid.text(n, 2, unit, "unit")
    names = book.names
    tokens = names["requests_per_s"] * (names["prompt_tokens"] + names["output_tokens"]) * 3600 / 1e6
    at = row + 2 + len(figures)
    grid.text(at, 0, "Tokens, prompts and answers")
    book.name("million_tokens_per_month", grid.formula(at, 1, tokens * names["hours_per_month"], "count"))
    grid.text(at, 2, "million a month, at this load all the time", "unit")
    texts = (
        ("Model", plan.model), ("Precision", plan.precision), ("Serving software", plan.runtime),
        ("Workload", plan.workload), ("Objectives", ", ".join(p.objective for p in plan.predicted)),
    )  # fmt: skip
    for n, (label, text) in enumerate(texts, at + 1):
        grid.text(n, 0, label)
        grid.text(n, 1, text)


_COLUMNS = (
    "Role", "Machine", "In use", "Spares", "Quantity", "Replicas a machine", "Price (USD/h)", "Cost (USD/h)",
    "Cost (USD/month)", "Rated, each (kW)", "Rated (kW)", "Expected draw (kW)", "PUE",
    "Energy (kWh/month)", "Energy on top (USD/month)", "Total (USD/month)", "Currency", "Price date", "Provider",
    "Price source",
)  # fmt: skip
_PRINTED = 16  # columns; where prices come from is printed with the assumptions
ASSUMPTION_WIDTHS = (34, 14, 22, 20, 14, 12, 10, 60)
BILL_WIDTHS = (9, 20, 8, 8, 9, 11, 11, 12, 14, 11, 11, 11, 7, 13, 13, 15, 9, 11, 14, 46)


def bill_of_materials(
    book: Book, grid: CellGrid, plan: Plan, prices: dict[str, Formula], others: Mapping[str, Plan]
) -> Bill:
    """Write one row a pool and their totals."""
    names = book.names
    grid.text(0, 0, "Bill of materials", "title")
    grid.text(
        1,
        0,
        f"{plan.design} for {plan.model}, {plan.workload}. Prices are changed on the sheet Assumptions.",
        "subtitle",
    )
    head = 3
    grid.table_head(head, _COLUMNS, right=[*_COLUMNS[2:5], *_COLUMNS[6:16]])
    by_machine = {p.machine: p for p in plan.prices}
    columns: dict[str, list[Formula]] = {title: [] for title in _COLUMNS}
    with_pue: list[Formula] = []
    for row, pool in enumerate(plan.pools, head + 1):
        put: dict[str, Formula] = {}
        put["Role"] = grid.text(row, 0, pool.role)
        put["Machine"] = grid.text(row, 1, pool.machine)
        put["In use"] = grid.number(row, 2, pool.count, "count")
        put["Spares"] = grid.number(row, 3, pool.spares, "count")
        put["Quantity"] = grid.formula(row, 4, put["In use"] + put["Spares"], "count")
        put["Replicas a machine"] = grid.text(row, 5, pool.layout, "unit")
        price = prices[pool.machine]
        put["Price (USD/h)"] = grid.formula(row, 6, known(price, price), "money")
        put["Cost (USD/h)"] = grid.formula(row, 7, put["Quantity"] * put["Price (USD/h)"], "money")
        put["Cost (USD/month)"] = grid.formula(row, 8, put["Cost (USD/h)"] * names["hours_per_month"], "money")
        put["Rated, each (kW)"] = grid.number(row, 9, pool.power_w / 1e3 / (pool.count + pool.spares), "tenths")
        put["Rated (kW)"] = grid.formula(row, 10, put["Quantity"] * put["Rated, each (kW)"], "tenths")
        put["Expected draw (kW)"] = grid.number(row, 11, pool.expected_power_w / 1e3, "tenths")
        # PUE is no use where the figures of a machine are of the whole facility.
        own = Formula("1", 1.0) if pool.power_scope == "facility" else names["pue"]
        put["PUE"] = grid.formula(row, 12, own, "number")
        energy = put["Expected draw (kW)"] * names["hours_per_month"] * put["PUE"]
        put["Energy (kWh/month)"] = grid.formula(row, 13, energy, "count")
        # The cell that says whether energy is billed on top is beside the price.
        billed = names[f"on_top {pool.machine}"].equals(YES)
        cost = choose(billed, put["Energy (kWh/month)"] * names["electricity_usd_per_kwh"], 0)
        put["Energy on top (USD/month)"] = grid.formula(row, 14, cost, "money")
        if pool.power_scope == "machine":
            with_pue.append(put["Energy on top (USD/month)"])
        whole = put["Cost (USD/month)"] + put["Energy on top (USD/month)"]
        put["Total (USD/month)"] = grid.formula(row, 15, whole, "money")
        grid.text(row, 16, "USD", "unit")
        if (used := by_machine.get(pool.machine)) is not None:
            grid.date(row, 17, used.date)
            grid.text(row, 18, used.provider, "unit")
            grid.text(row, 19, used.source)
        for title, cell in put.items():
            columns[title].append(cell)
    sums = head + 1 + len(plan.pools)
    grid.text(sums, 0, "Total", "total")
    for column, title in enumerate(_COLUMNS[1:16], 1):
        name, style = _TOTALS.get(title, (None, "text"))
        if title in _TOTALS:
            cell = grid.formula(sums, column, total(grid.range(columns[title])), style, "total")
            if name:
                book.name(name, cell)
        else:
            grid.text(sums, column, "", "total")
    notes = (
        "Quantity = in use + spares. Energy = expected draw x hours x PUE; it costs extra only where Assumptions says "
        "that it is billed on top of the price.",
        "Counts, replicas and draw come from the plan. planner catalog import-quotes reads this sheet back as quotes.",
    )
    for n, note in enumerate(notes, sums + 2):
        grid.text(n, 0, note, "note")
    grid.print_from_top(frozen=head + 1, repeat=head, last_column=_PRINTED - 1)
    machine_cells, quantity_cells = grid.range(columns["Machine"]), grid.range(columns["Quantity"])
    # An empty cell counts as 0 in a sheet: where no price is known, the others ask first.
    return Bill(
        prices={m: known(price, price) for m, price in prices.items()},
        quantities={
            m: sum_where(machine_cells, m, quantity_cells) for m in dict.fromkeys(p.machine for p in plan.pools)
        },
        pools=[
            (f"{pool.role} {pool.machine}", quantity, cost)
            for pool, quantity, cost in zip(plan.pools, columns["Quantity"], columns["Total (USD/month)"], strict=True)
        ],
        keys=keys_of(plan, others),
        billed_on_top={m: names[f"on_top {m}"].equals(YES) for m in prices},
        energy_under_pue=functools.reduce(operator.add, with_pue) if with_pue else Formula("0", 0.0),
    )


# Title -> name of its total, number format.
_TOTALS: dict[str, tuple[str | None, str]] = {
    "Quantity": ("total_machines", "count"),
    "Cost (USD/h)": ("cost_usd_per_hour", "money"),
    "Cost (USD/month)": ("cost_usd_per_month", "money"),
    "Rated (kW)": ("rated_kw", "tenths"),
    "Expected draw (kW)": ("expected_kw", "tenths"),
    "Energy (kWh/month)": ("energy_kwh_per_month", "count"),
    "Energy on top (USD/month)": ("energy_usd_per_month", "money"),
    "Total (USD/month)": ("total_usd_per_month", "money"),
}
