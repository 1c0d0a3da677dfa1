"""The first and the last sheet: what a reader sees first, and how everything was found."""

from __future__ import annotations

import datetime
import functools
import json
import operator
from collections.abc import Iterator, Mapping

from planner.export.tables.plan import remarks
from planner.export.workbook.bill import Bill
from planner.export.workbook.cases import present_value
from planner.export.workbook.grid import BLUE, Book, CellGrid
from planner.planning.plan import Plan
from planner.workload.objectives import METRIC_TITLES

SUMMARY_WIDTHS = (36, 18, 16, 16, 16, 16, 16)
METHOD_WIDTHS = (34, 100)


def summary(book: Book, grid: CellGrid, plan: Plan, bill: Bill, units: Mapping[str, float] | None) -> None:
    """Write the key figures, the objectives, and what may be changed here."""
    grid.text(0, 0, f"{plan.design} for {plan.model}", "title")
    grid.text(
        1, 0, f"{plan.workload} at {plan.rate_per_s:,.6g} requests/s, {plan.precision}, {plan.runtime}", "subtitle"
    )
    row = _figures(book, grid, plan, bill, units, 3)
    row = _objectives(grid, plan, row + 1)
    row = _by_pool(grid, bill, row + 1)
    last = row - 1
    first = last - len(bill.pools) + 1
    chart = book.chart({"type": "column"}, "Cost a month by pool, energy billed on top included", "USD a month")
    chart.add_series({
        "categories": [grid.title, first, 0, last, 0], "values": [grid.title, first, 2, last, 2],
        "fill": {"color": BLUE}, "gap": 80, "data_labels": {"value": True, "num_format": "$#,##0", "font": {"size": 9}},
    })  # fmt: skip
    chart.set_size({"width": 560, "height": 250})
    grid.page.insert_chart(row + 1, 0, chart, {"x_offset": 4, "y_offset": 4})
    row += 16
    grid.text(row, 0, "What may be changed here, and what may not", "heading")
    grid.text(row + 1, 0, "Input: change it, and everything follows", "input")
    notes = (
        "Changed here, and every total follows: prices, whether energy is billed on top, electricity, PUE, carbon, "
        "hours, horizon, discount rate, spares in the bill, factors of the cases (coloured cells).",
        "Needs a new plan (planner optimize): load, request sizes, objectives, model, precision, serving software, "
        "machines, limits. Counts, latencies and draw here are values of this plan and do not move.",
        "A price that changes much can make another design the cheapest: the sheet Sensitivity names those prices.",
    )
    for n, text in enumerate(notes, row + 2):
        grid.paragraph(n, 0, 6, text)
    grid.print_from_top(frozen=2, last_column=6)


def _by_pool(grid: CellGrid, bill: Bill, row: int) -> int:
    grid.table_head(row, ["Pool", "Machines", "USD a month"], right=["Machines", "USD a month"])
    for n, (name, quantity, cost) in enumerate(bill.pools, row + 1):
        grid.text(n, 0, name)
        grid.formula(n, 1, quantity, "count")
        grid.formula(n, 2, cost, "money_whole")
    return row + 1 + len(bill.pools)


def _figures(book: Book, grid: CellGrid, plan: Plan, bill: Bill, units: Mapping[str, float] | None, row: int) -> int:
    names = book.names
    grid.table_head(row, ["Key figures", "", "Unit"])
    whole = names["total_usd_per_month"]
    value = present_value(names, whole)
    tonnes = names["energy_kwh_per_month"] * names["carbon_g_per_kwh"] / 1e6
    rows = (
        ("Machines, an hour", names["cost_usd_per_hour"], "money", "USD/h", None),
        ("Machines, a month", names["cost_usd_per_month"], "money", "USD/month", None),
        ("Energy billed on top, a month", names["energy_usd_per_month"], "money", "USD/month", None),
        ("Total, a month", whole, "money", "USD/month", None),
        ("Total, a year", whole * 12, "money", "USD/year", "total_usd_per_year"),
        ("Present value over the horizon", value, "money", "USD", "present_value_usd"),
        ("Cost of a million tokens", whole / names["million_tokens_per_month"], "money_small",
         "USD, prompts and answers", "usd_per_million_tokens"),
        ("Machines", names["total_machines"], "count", "spares included", None),
        ("Power, rated", names["rated_kw"], "tenths", "kW", None),
        ("Power, expected at this load", names["expected_kw"], "tenths", "kW", None),
        ("Energy, PUE included", names["energy_kwh_per_month"], "count", "kWh/month", None),
        ("Carbon", tonnes, "tenths", "t CO2/month", "carbon_tonnes_per_month"),
    )  # fmt: skip
    at = row + 1
    for label, formula, style, unit, name in rows:
        bold = ("bold",) if label.startswith("Total") else ()
        grid.text(at, 0, label, *bold)
        cell = grid.formula(at, 1, formula, style, *bold)
        if name:
            book.name(name, cell)
        grid.text(at, 2, unit, "unit")
        at += 1
    if plan.rack_units is not None:
        grid.text(at, 0, "Rack units")
        if units is None:
            grid.number(at, 1, plan.rack_units, "count")
        else:
            each = [quantity * units[machine] for machine, quantity in bill.quantities.items()]
            grid.formula(at, 1, functools.reduce(operator.add, each), "count")
        grid.text(at, 2, "U" if units is not None else "U, at the counts of the plan", "unit")
        at += 1
    return at


def _objectives(grid: CellGrid, plan: Plan, row: int) -> int:
    """Each objective as predicted, and as simulated where the plan was."""
    titles = ["Objective", "Limit", "Predicted", "To spare", "Simulated", "95 % interval", ""]
    grid.table_head(row, titles, right=titles[1:6])
    simulated = {} if plan.certificate is None else {o.objective: o for o in plan.certificate.objectives}
    at = row + 1
    for p in plan.predicted:
        style = "seconds" if p.unit == "s" else "times"
        found = simulated.get(p.objective)
        value, slack, met = None, p.slack_fraction, p.met
        if found is not None:  # simulation has the last word
            value, met = found.simulated.value, found.met
            slack = slack if value is None else 1.0 - value / p.limit
        grid.text(at, 0, f"{METRIC_TITLES[p.metric]} p{p.percentile:g}")
        grid.number(at, 1, p.limit, style)
        if p.predicted is None:
            grid.text(at, 2, "beyond formula" if found and met else "grows without end", "right")
        else:
            grid.number(at, 2, p.predicted, style)
        grid.number(at, 3, slack, "percent")
        if found is not None:
            grid.number(at, 4, value, style)
            if found.simulated.low is not None and found.simulated.high is not None:
                interval = f"{found.simulated.low:.3g} - {found.simulated.high:.3g} {p.unit}"
                grid.text(at, 5, interval, "right")
        grid.text(at, 6, "met" if met else "MISSED", *(("good", "unit") if met else ("bad", "unit")))
        at += 1
    note = f"{plan.verified[0].upper()}{plan.verified[1:]}; step times +/- {plan.step_time_error:.0%}"
    grid.text(at, 0, note, "note")
    return at + 1


_METHOD = (
    ("Formulas", "Cost = quantity x price; month = hour x hours a month; year = 12 months. Energy = expected draw x "
                 "hours x PUE, and its cost counts only where it is billed on top of the price."),
    ("Present value", "Of equal yearly payments at the end of each year: P (1 - (1 + r)^-n) / r, r being the discount "
                      "rate, n the years. Excel: PV."),
    ("Owning", "An hour: (annuity of the purchase less its residual + interest on the residual + maintenance) / 8760 + "
               "hosting; and electricity. Annuity: Excel PMT. Equations: docs/economics.md."),
    ("Million tokens", "Total a month over the tokens of a month, prompts and answers, the load being there all the "
                       "time. A load that comes and goes makes each token dearer."),
    ("Carbon", "Energy of a month x carbon intensity of the grid; making the machines is not in it."),
    ("Price of a tie", "Cost is linear in each price at fixed counts: p + (other - this) / (count here - there)."),
    ("Values", "Counts, replicas, draw and latencies come from the plan: docs/method.md has the equations, "
               "docs/accuracy.md and docs/serving_accuracy.md how far they hold."),
)  # fmt: skip


# What of the remarks of a plan goes here; prices, alternatives and notes have their own places.
_SAID = ("Latency", "Slowdown", "Proof", "Corrected", "Binding", "Minimal", "Spares", "Breaks at", "Considered")
_NO_DAY = datetime.date(1980, 1, 1)  # none of them speaks of ages


def method_and_sources(grid: CellGrid, plan: Plan) -> None:
    """Write how each figure is found, the sources, and everything that was asked."""
    grid.text(0, 0, "Method and sources", "title")
    row = 2
    for title, rows in (
        ("How it is computed", _METHOD),
        ("This plan", tuple(_identity(plan))),
        ("Prices", tuple(_sources(plan))),
        ("Notes of the plan", tuple(("", note) for note in plan.notes)),
        ("Machines that cannot serve", tuple((r.machine, r.reason) for r in plan.rejected)),
        ("What was asked, defaults filled in", tuple(_asked(plan))),
    ):
        if not rows:
            continue
        grid.text(row, 0, title, "heading")
        grid.text(row, 1, "", "heading")
        row += 1
        for label, text in rows:
            grid.text(row, 0, label)
            grid.paragraph(row, 1, 1, text)
            row += 1
        row += 1
    grid.print_from_top(frozen=1)


def _identity(plan: Plan) -> Iterator[tuple[str, str]]:
    solver = plan.solver
    yield "planner", f"version {plan.planner_version}, plan form {plan.schema_version}"
    yield "Catalog", f"SHA-256 {plan.catalog_digest}"
    if solver.status == "evaluated":
        yield "Found by", "the cluster was given, and evaluated"
    else:
        proof = {"optimal": "proven optimal", "near_tie": "a simple plan near the proven optimum"}.get(
            solver.status, "not proven: stopped at a limit"
        )
        yield "Found by", f"{solver.solver}, objective {solver.objective}: {proof}, gap {solver.gap:.2%}"
    yield "Objectives", "all met" if plan.meets_objectives else "NOT all met"
    last = ""
    for label, text in remarks(plan, _NO_DAY):
        last = label or last
        if last in _SAID:
            yield label, text


def _sources(plan: Plan) -> Iterator[tuple[str, str]]:
    for p in (*plan.prices, *plan.alternative_prices):
        yield (
            p.machine,
            f"{p.usd_per_hour:,.2f} USD/h, book {p.book}, {p.provider}, {p.date.isoformat()}, {p.kind}: {p.source}",
        )


def _asked(plan: Plan) -> Iterator[tuple[str, str]]:
    for field, value in plan.scenario.items():
        if value is None or value in ([], {}):
            continue
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            yield field, ", ".join(value)
        else:
            yield field, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
