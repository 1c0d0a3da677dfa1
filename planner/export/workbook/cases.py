"""The sheets that compare: other designs and plans, cases of money, and how far each input moves the total."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.economics.finance import monthly_present_value_factor
from planner.export.tables.plan import breaking_load, objective_rows
from planner.export.workbook.bill import Bill
from planner.export.workbook.formulas import Formula, choose, function, if_number, total
from planner.export.workbook.grid import BLUE, ORANGE, Book, CellGrid
from planner.export.workbook.owning import OwningTerms, owning
from planner.planning.plan import Plan

SCENARIO_WIDTHS = (34, 38, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12)
SENSITIVITY_WIDTHS = (34, 16, 13, 13, 15, 15, 15, 15, 15)


@dataclass(frozen=True)
class _Option:
    """A row of the comparison."""

    name: str
    pools: str
    counts: Mapping[str, int]
    rate_per_s: float
    power_w: float
    tokens: float


def present_value(names: Mapping[str, Formula], payment_a_month: Formula) -> Formula:
    """Today's value of a payment every month of the horizon: `PV((1+rate)^(1/12)-1, 12*years, -payment, 0, when)`."""
    monthly = function("POWER", pow, names["discount_rate"] + 1, 1 / 12) - 1
    return function(
        "PV", _present_value, monthly, names["horizon_years"] * 12, payment_a_month * -1, 0,
        names["payments_in_advance"],
    )  # fmt: skip


def _present_value(rate: float, months: float, payment: float, _: float, in_advance: float) -> float:
    yearly = math.expm1(12.0 * math.log1p(rate))
    return -payment * monthly_present_value_factor(yearly, months, "advance" if in_advance else "arrears")


def scenarios(
    book: Book, grid: CellGrid, plan: Plan, bill: Bill, others: Mapping[str, Plan], terms: Mapping[str, OwningTerms]
) -> None:
    """Write the comparison of designs and plans, and the cases of money below it."""
    grid.text(0, 0, "Scenarios", "title")
    grid.text(
        1,
        0,
        "Other designs and plans at the prices of the sheet Assumptions; energy billed on top is not in it.",
        "subtitle",
    )
    row = _comparison(book, grid, plan, bill, others)
    row = _cases(book, grid, row)
    owning(book, grid, plan, bill, terms, row + 2)
    grid.print_from_top(frozen=4)


def _comparison(book: Book, grid: CellGrid, plan: Plan, bill: Bill, others: Mapping[str, Plan]) -> int:
    names = book.names
    options = [_option("This plan", plan)]
    most_load = plan.solver.objective == "throughput"
    options += [
        _Option(
            a.design, a.pools, a.counts, a.value if most_load else plan.rate_per_s, a.power_w,
            plan.mean_prompt_tokens + plan.mean_output_tokens,
        )
        for a in plan.alternatives
    ]  # fmt: skip
    options += [_option(name, other, bill.keys[name]) for name, other in others.items()]
    machines = list(dict.fromkeys(m for option in options for m in option.counts))
    n = len(machines)
    after = ["Machines", "Cost (USD/h)", "Cost (USD/month)", "Difference (USD/month)", "Difference",
             "Rated (kW)", "Load (requests/s)", "USD a million tokens", "Tokens a request"]  # fmt: skip
    head = 3
    grid.table_head(head, ["Design or plan", "Pools", *machines, *after], right=[*machines, *after])
    grid.text(head + 1, 0, "Price (USD/h)", "note")
    priced = [bill.prices[machine] for machine in machines]
    price_cells = [grid.formula(head + 1, column, price, "money") for column, price in enumerate(priced, 2)]
    first = head + 2
    monthly: list[Formula] = []
    for row, option in enumerate(options, first):
        grid.text(row, 0, option.name, *(("bold",) if row == first else ()))
        grid.paragraph(row, 1, 1, option.pools)
        # The counts of this plan are those of the bill: spares that are changed there are counted here.
        counts = [
            grid.formula(row, 2 + i, bill.quantities[m], "count") if row == first and m in bill.quantities
            else grid.number(row, 2 + i, option.counts.get(m, 0), "count")
            for i, m in enumerate(machines)
        ]  # fmt: skip
        grid.formula(row, 2 + n, total(grid.range(counts)), "count")
        cost = grid.formula(row, 3 + n, _cost(counts, price_cells, grid), "money")
        monthly.append(grid.formula(row, 4 + n, cost * names["hours_per_month"], "money_whole"))
        if row > first:
            grid.formula(row, 5 + n, monthly[-1] - monthly[0], "change")
            grid.formula(row, 6 + n, monthly[-1] / monthly[0] - 1, "signed_percent")
        if row == first:
            grid.formula(row, 7 + n, names["rated_kw"], "tenths")
        else:
            grid.number(row, 7 + n, option.power_w / 1e3, "tenths")
        rate = grid.number(row, 8 + n, option.rate_per_s, "number")
        tokens = grid.number(row, 10 + n, option.tokens, "tenths")
        grid.formula(row, 9 + n, cost / (rate * tokens * 3600 / 1e6), "money_small")
    last = first + len(options) - 1
    chart = book.chart({"type": "bar"}, "Machines of each design at the prices of Assumptions", "USD a month")
    chart.add_series({
        "categories": [grid.title, first, 0, last, 0], "values": [grid.title, first, 4 + n, last, 4 + n],
        "fill": {"color": BLUE}, "gap": 60, "points": [{"fill": {"color": ORANGE}}],
        "data_labels": {"value": True, "num_format": "$#,##0", "font": {"size": 9}},
    })  # fmt: skip
    chart.set_size({"width": 860, "height": 90 + 40 * len(options)})
    grid.page.insert_chart(last + 2, 0, chart, {"x_offset": 4, "y_offset": 4})
    return last + 4 + (90 + 40 * len(options)) // 18


def _cost(counts: Sequence[Formula], prices: Sequence[Formula], grid: CellGrid) -> Formula:
    """Cost an hour, machine by machine: a price that is missing is missed by the designs that need it only."""
    used = [count * price for count, price in zip(counts, prices, strict=True) if count.value]
    return functools.reduce(operator.add, used)


def _option(name: str, plan: Plan, keys: Mapping[str, str] | None = None) -> _Option:
    """A plan as a row; `keys` name its machines where their price is another one than that of the first plan."""
    counts: dict[str, int] = {}
    for pool in plan.pools:
        key = (keys or {}).get(pool.machine, pool.machine)
        counts[key] = counts.get(key, 0) + pool.count + pool.spares
    pools = " + ".join(f"{p.count + p.spares} x {p.machine} {p.role}" for p in plan.pools)
    return _Option(name, f"{pools} ({plan.design})", counts, plan.rate_per_s, plan.power_w,
                   plan.mean_prompt_tokens + plan.mean_output_tokens)  # fmt: skip


# Title, factor on prices, factor on electricity, factor on PUE, factor on draw.
_CASES: tuple[tuple[str, float, float, float], ...] = (
    ("Prices 20 % lower", 0.8, 1.0, 1.0),
    ("Prices 20 % higher", 1.2, 1.0, 1.0),
    ("Electricity 50 % dearer", 1.0, 1.5, 1.0),
    ("Yours", 1.0, 1.0, 1.0),
)


def _cases(book: Book, grid: CellGrid, row: int) -> int:
    names = book.names
    grid.text(row, 0, "Cases of money for this plan", "heading")
    grid.text(
        row + 1, 0, "The factors are only a start: put your own. Load, objectives and model need a new plan.", "note"
    )
    titles = ["Case", "", "As assumed", *(title for title, *_ in _CASES)]
    grid.table_head(row + 2, titles, right=titles[2:])
    inputs = ("Prices of machines, times", "Electricity price, times", "Expected draw, times")
    results = ("Machines (USD/month)", "Energy on top (USD/month)", "Total (USD/month)", "Against as assumed",
               "Present value over the horizon (USD)", "USD a million tokens")  # fmt: skip
    for n, label in enumerate((*inputs, *results), row + 3):
        grid.text(n, 0, label)
    base: Formula | None = None
    for column, (_, *factors) in enumerate((("As assumed", 1.0, 1.0, 1.0), *_CASES), 2):
        rule = {"validate": "decimal", "criteria": ">=", "value": 0}
        put = [grid.input(row + 3 + i, column, f, "times", rule, "A factor is a number, 0 or more") if column > 2
               else grid.number(row + 3 + i, column, f, "times") for i, f in enumerate(factors)]  # fmt: skip
        at = row + 3 + len(inputs)
        machines = grid.formula(at, column, names["cost_usd_per_month"] * put[0], "money_whole")
        energy = grid.formula(at + 1, column, names["energy_usd_per_month"] * put[1] * put[2], "money_whole")
        whole = grid.formula(at + 2, column, machines + energy, "money_whole", "bold")
        if base is None:
            base = whole
        else:
            grid.formula(at + 3, column, whole / base - 1, "signed_percent")
        value = present_value(names, whole)
        grid.formula(at + 4, column, value, "money_whole")
        grid.formula(at + 5, column, whole / names["million_tokens_per_month"], "money_small")
    return row + 3 + len(inputs) + len(results)


def sensitivity(book: Book, grid: CellGrid, plan: Plan, bill: Bill) -> None:
    """Write how far each input moves the total, and the prices at which another design costs the same."""
    grid.text(0, 0, "Sensitivity", "title")
    grid.text(
        1,
        0,
        "One input at a time, the others as assumed: total a month, machines and energy billed on top.",
        "subtitle",
    )
    head = 3
    titles = ["Input", "Change (+/-)", "Low value", "High value", "Total at low (USD/month)",
              "Total at high (USD/month)", "Change at low (USD/month)", "Change at high (USD/month)",
              "Swing (USD/month)"]  # fmt: skip
    grid.table_head(head, titles, right=titles[1:])
    rows = _swings(book, bill)
    whole = book.names["total_usd_per_month"]
    for row, (label, change, now, moved, style, floor) in enumerate(rows, head + 1):
        grid.text(row, 0, label)
        rule = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 1}
        by = grid.input(row, 1, change, "percent", rule, "A change is from 0 % to 100 %")
        low = now * (1 - by)
        if floor is not None:
            low = function("MAX", max, floor, low)
        low = grid.formula(row, 2, low, style)
        high = grid.formula(row, 3, now * (by + 1), style)
        # Where the input has a floor, what it changes by depends on where it is; else it is the share itself.
        down = moved * (low / now - 1) if floor is not None else moved * by * -1
        up = moved * (high / now - 1) if floor is not None else moved * by
        at_low = grid.formula(row, 4, whole + down, "money_whole")
        at_high = grid.formula(row, 5, whole + up, "money_whole")
        change_low = grid.formula(row, 6, at_low - whole, "change")
        change_high = grid.formula(row, 7, at_high - whole, "change")
        grid.formula(row, 8, function("ABS", abs, change_high - change_low), "money_whole")
    last = head + len(rows)
    _tornado(book, grid, head + 1, last)
    row = last + 4 + (110 + 34 * len(rows)) // 18
    row = _flips(book, grid, plan, bill, row)
    _needs_a_new_plan(grid, plan, row + 2)
    grid.print_from_top(frozen=head + 1)


_Row = tuple[
    str, float, Formula, Formula, str, float | None
]  # label, change, now, what of the total moves, style, floor


def _swings(book: Book, bill: Bill) -> list[_Row]:
    """The inputs by how far they move the total now."""
    names = book.names
    rows: list[_Row] = []
    for machine, quantity in bill.quantities.items():
        price = bill.prices[machine]
        moved = quantity * price * names["hours_per_month"]
        rows.append((f"Price of {machine} (USD/h)", 0.2, price, moved, "money", None))
    energy = names["energy_usd_per_month"]
    rows += [
        ("Electricity (USD/kWh)", 0.2, names["electricity_usd_per_kwh"], energy, "money_small", None),
        ("PUE", 0.2, names["pue"], bill.energy_under_pue, "number", 1.0),
        ("Expected draw (kW)", 0.2, names["expected_kw"], energy, "tenths", None),
    ]
    return sorted(rows, key=lambda row: -(row[1] * row[3].value if isinstance(row[3].value, float) else 0.0))


def _tornado(book: Book, grid: CellGrid, first: int, last: int) -> None:
    chart = book.chart({"type": "bar"}, "How far one input moves the total", "change, USD a month")
    for column, name, colour in ((6, "input at its low value", BLUE), (7, "input at its high value", ORANGE)):
        chart.add_series({
            "name": name, "categories": [grid.title, first, 0, last, 0],
            "values": [grid.title, first, column, last, column],
            "fill": {"color": colour}, "gap": 50, "overlap": 100,
        })  # fmt: skip
    chart.set_legend({"position": "bottom"})
    chart.set_size({"width": 900, "height": 110 + 34 * (last - first + 1)})
    grid.page.insert_chart(last + 2, 0, chart, {"x_offset": 4, "y_offset": 4})


def _flips(book: Book, grid: CellGrid, plan: Plan, bill: Bill, row: int) -> int:
    grid.text(row, 0, "Prices at which another design costs the same", "heading")
    grid.text(
        row + 1, 0, "One price moves, the others stay. Counts stay too: near such a price, make a new plan.", "note"
    )
    titles = ["Other design", "Machine", "Price now (USD/h)", "Price of a tie (USD/h)", "Change", "Cheapest there"]
    grid.table_head(row + 2, titles, right=titles[2:])
    at = row + 3
    ours = _option("", plan).counts
    for alternative in plan.alternatives if plan.solver.objective != "throughput" else ():
        machines = list(dict.fromkeys([*ours, *alternative.counts]))
        if any(m not in bill.prices for m in machines):
            continue
        difference: Formula | None = None  # alternative less plan, USD/h
        for machine in machines:
            more = alternative.counts.get(machine, 0) - ours.get(machine, 0)
            if more:
                term = bill.prices[machine] * more
                difference = term if difference is None else difference + term
        for machine in machines:
            more = ours.get(machine, 0) - alternative.counts.get(machine, 0)
            if not more or difference is None:
                continue
            grid.text(at, 0, alternative.design)
            grid.text(at, 1, machine)
            now = grid.formula(at, 2, bill.prices[machine], "money")
            tie = now + difference / more
            price = grid.formula(at, 3, choose(tie.above(0), tie, "no price"), "money", "right")
            # "no price" is text, and so its share of the price now is nothing.
            change = if_number(price, price / now - 1)
            grid.formula(at, 4, change, "signed_percent")
            thirds = [a for a in plan.alternatives if a is not alternative and all(m in bill.prices for m in a.counts)]
            tied = _cost_at(ours, bill, machine, tie)
            less: list[Formula] = [_cost_at(a.counts, bill, machine, tie) for a in thirds]
            if less:
                least = function("MIN", lambda *values: min(values), *less)
                there = choose(tied.above(least + 0.005), "no: a third costs less", "yes")
                grid.formula(at, 5, if_number(price, there), "text")
            else:
                grid.formula(at, 5, if_number(price, Formula('"yes"', "yes")), "text")
            at += 1
    if at == row + 3:
        grid.text(at, 0, "The plan names no other design to compare with.", "note")
        at += 1
    return at


def _cost_at(counts: Mapping[str, int], bill: Bill, machine: str, price: Formula) -> Formula:
    """Cost an hour of some machines when the price of one of them is another."""
    terms = [(price if name == machine else bill.prices[name]) * n for name, n in counts.items()]
    return functools.reduce(operator.add, terms)


def _needs_a_new_plan(grid: CellGrid, plan: Plan, row: int) -> None:
    grid.text(row, 0, "What needs a new plan, and how near it is", "heading")
    titles, rows = objective_rows(plan)
    slack = titles.index("slack")
    facts = (
        ("Load", f"the plan breaks at {breaking_load(plan)}"),
        ("Step times", f"stated error +/- {plan.step_time_error:.0%}"),
        *((r[0], f"{r[slack]} of the limit to spare" if r[slack] else "its queue grows without end") for r in rows),
    )
    for n, (label, text) in enumerate(facts, row + 1):
        grid.text(n, 0, label)
        grid.text(n, 1, text)
