"""Costs of a plan as text for a terminal: each price plan in a row, owning against renting, and what it rests on."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from planner.catalog.prices import PlanName
from planner.export.tables.text import age, aligned, counted, labelled, number, percent, wrapped
from planner.studies.cost_report import CostReport, OwningBreakEven, PoolCost
from planner.units import format_money

WIDTH = 100
_LABEL_WIDTH = 12
PLAN_TITLES: dict[PlanName, str] = {
    "owned": "owned",
    "reserved_3y": "reserved 3 years",
    "reserved_2y": "reserved 2 years",
    "reserved_1y": "reserved 1 year",
    "on_demand": "on demand",
    "spot": "spot",
}


def cost_table(report: CostReport, today: datetime.date, *, width: int = WIDTH) -> str:
    """Return costs as text.

    Parameters
    ----------
    report : CostReport
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take; a table takes what it needs.

    Returns
    -------
    str
        Lines, the last one ended. Every number has its unit, in the text or in the title of its column.
    """
    blocks = [_headline(report, width)]
    if report.plans:
        blocks += [_plans(report), _per_unit(report)]
    for machine in dict.fromkeys(row.machine for row in report.break_even):
        blocks.append(_break_even(machine, [row for row in report.break_even if row.machine == machine]))
    blocks.append(_remarks(report, today, width))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _headline(report: CostReport, width: int) -> list[str]:
    first = (
        f"{report.design} for {report.model}, {report.workload} at {number(report.rate_per_s)} requests/s: "
        f"{counted(report.machines, 'machine')}"
    )
    a = report.assumptions
    second = (
        f"Over {duration(a.horizon_months)}, switched on {percent(a.hours_used_fraction)} of the hours, capital at "
        f"{number(100 * a.cost_of_capital_per_year, 3)} % a year"
    )
    return [*wrapped(first, width), *wrapped(second, width)]


def _plans(report: CostReport) -> list[str]:
    total = f"$ over {duration(report.assumptions.horizon_months)}"
    titles = ["price plan", "$/h", "$/month", total, "present value $", "$ at the start"]
    rows = [
        [
            PLAN_TITLES[p.plan],
            f"{p.usd_per_hour:,.2f}",
            f"{p.usd_per_month:,.0f}",
            f"{p.total_usd:,.0f}",
            f"{p.present_value_usd:,.0f}",
            f"{p.upfront_usd:,.0f}",
        ]
        for p in report.plans
    ]
    return aligned(titles, rows, right=titles[1:])


def _per_unit(report: CostReport) -> list[str]:
    titles = ["price plan", "$/accelerator-h", "$/M tokens", "$/M prompt tokens", "$/M output tokens"]
    rows = [
        [
            PLAN_TITLES[p.plan],
            f"{p.usd_per_accelerator_hour:,.2f}",
            _small(p.usd_per_million_tokens),
            _small(p.usd_per_million_prompt_tokens),
            _small(p.usd_per_million_output_tokens),
        ]
        for p in report.plans
    ]
    return aligned(titles, rows, right=titles[1:])


def _small(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:,.3f}" if usd < 10 else f"{usd:,.2f}"


def _break_even(machine: str, rows: Sequence[OwningBreakEven]) -> list[str]:
    first = rows[0]
    heading = (
        f"Owning a {machine}: {format_money(first.owned_fixed_usd_per_hour)}/h and "
        f"{format_money(first.owned_usage_usd_per_hour)}/h switched on"
    )
    titles = ["against renting", "as", "$/h", "own from", "months", "+ interest"]
    table = aligned(
        titles,
        [
            [
                row.rented_machine,
                PLAN_TITLES[row.plan],
                f"{row.rent_usd_per_hour:,.2f}",
                _use(row.use_fraction),
                _months(row.payback_months, row.life_months),
                _months(row.discounted_payback_months, row.life_months),
            ]
            for row in rows
        ],
        right=titles[2:],
    )
    return [heading, *table]


def _use(fraction: float | None) -> str:
    if fraction is None:
        return "never"
    return "any use" if fraction == 0 else f"{percent(fraction)} use"


def _months(months: float | None, life_months: float) -> str:
    if months is None:
        return "never"
    return f"{months:,.1f}" if months <= life_months else f"over {life_months:,.0f}"


def duration(months: float) -> str:
    """Return `3 years`, `18 months`, `1 year`."""
    if months % 12 == 0:
        return counted(round(months / 12), "year")
    return f"{number(months, 3)} {'month' if months == 1 else 'months'}"


def _remarks(report: CostReport, today: datetime.date, width: int) -> list[str]:
    lines: list[str] = []
    for label, text in _labels(report, today):
        lines += labelled(label, text, label_width=_LABEL_WIDTH, width=width)
    return lines


def _labels(report: CostReport, today: datetime.date) -> Iterator[tuple[str, str]]:
    shares = [p.prompt_cost_fraction for p in report.plans if p.prompt_cost_fraction is not None]
    if shares:
        yield (
            "Tokens",
            f"prompt and output tokens bear the machine time that each takes: prompts "
            f"{_range([percent(s) for s in shares])} of the cost",
        )
    if report.energy is not None:
        e, site = report.energy, report.energy.sites[0]
        places = ", ".join(dict.fromkeys(f"{s.region} {s.carbon_g_per_kwh:g} g/kWh" for s in e.sites))
        yield (
            "Energy",
            f"{number(e.energy_kwh_per_hour, 3)} kWh an hour switched on (PUE {site.pue:g}): "
            f"{format_money(e.cost_usd_per_hour)}/h at ${site.usd_per_kwh:g}/kWh, in the price where it is rented; "
            f"{number(e.carbon_kg_per_hour, 3)} kg CO2e/h ({places})",
        )
    committed = [p for p in report.plans if p.committed_months]
    if committed:
        yield "Committed", "; ".join(f"{PLAN_TITLES[p.plan]}: {duration(p.committed_months)}" for p in committed)
    if report.break_even:
        yield (
            "Own from",
            "the share of hours switched on from which owning costs less; months until it has paid itself back at the "
            "use assumed, without and with interest, what it sells for not counted",
        )
    if any(p.plan == "owned" for p in report.plans):
        yield (
            "Owned",
            "purchase less residual as an annuity over its life, maintenance, hosting and electricity, as far as the "
            "price book has them; staff and networks are not in it",
        )
    for n, (machines, plans) in enumerate(_missing(report)):
        yield "" if n else "Not offered", f"{', '.join(plans)}: no price book lists {', '.join(machines)}"
    yield "Prices", "; ".join(_books(report.pools, today))
    notes = [f"{PLAN_TITLES[p.plan]}: {note}" for p in report.plans for note in p.notes] + report.notes
    for n, note in enumerate(notes):
        yield "" if n else "Notes", note


def _missing(report: CostReport) -> list[tuple[tuple[str, ...], list[str]]]:
    """Price plans that lack the same machines, together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for missing in report.missing:
        together.setdefault(tuple(missing.machines), []).append(PLAN_TITLES[missing.plan])
    return list(together.items())


def _range(texts: Sequence[str]) -> str:
    distinct = sorted(set(texts))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} to {distinct[-1]}"


def _books(pools: Sequence[PoolCost], today: datetime.date) -> Iterator[str]:
    """Each book once, with the price plans that it speaks for."""
    plans: dict[tuple[str, datetime.date], list[str]] = {}
    first: dict[tuple[str, datetime.date], PoolCost] = {}
    for pool in pools:
        first.setdefault((pool.book, pool.date), pool)
        title = PLAN_TITLES[pool.plan]
        if title not in plans.setdefault((pool.book, pool.date), []):
            plans[pool.book, pool.date].append(title)
    for (book, date), pool in first.items():
        kind = ", an estimate" if pool.kind == "estimate" else ""
        rate = ""
        if pool.exchange_date is not None:
            rate = f", {pool.usd_per_unit:g} USD/{pool.currency} of {pool.exchange_date.isoformat()}"
        yield (
            f"{', '.join(plans[book, date])} {book} ({pool.provider}, {pool.date.isoformat()}{kind}{rate}), "
            f"{age(pool.date, today)}"
        )
