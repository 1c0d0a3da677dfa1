"""A plan as one HTML page: tables and bars that need no script, no network and no other file."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from html import escape

from planner.catalog.schema import Currency
from planner.export.style import STYLE
from planner.export.tables.plan import NUMBERS, headline, objective_rows, pool_rows, remarks
from planner.planning.plan import Plan, PriceUsed
from planner.units import format_money, format_power


def plan_page(plan: Plan, today: datetime.date, currency: Currency | None = None) -> str:
    """Return a plan as a self-contained HTML page.

    Parameters
    ----------
    plan : Plan
        Optimised or evaluated.
    today : date
        What the age of the prices is counted to.
    currency : Currency, optional
        Adds the amounts in it, at its dated rate.

    Returns
    -------
    str
        The same for the same plan and day.
    """
    title = headline(plan)[0]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + plan_body(plan, today, currency)
        + "\n</body>\n</html>\n"
    )


def plan_body(plan: Plan, today: datetime.date, currency: Currency | None = None) -> str:
    """Return what is between the tags of the body of `plan_page`, for another page to hold; no style is in a tag."""
    first, verdict, size = headline(plan)
    parts = [
        f"<h1>{escape(first)}</h1>",
        f"<p>{escape(verdict)}</p>",
        f'<p class="pale">{escape(size)}</p>',
        _figures(plan),
        *([] if currency is None else _in_currency(plan, currency)),
        "<h2>What to buy</h2>", _table(*pool_rows(plan)),
        "<h2>Does it meet the objectives?</h2>", _table(*objective_rows(plan)),
        *_designs(plan),
        "<h2>What a buyer should know</h2>", _remarks(plan, today),
        *_prices(plan),
        _asked(plan),
        f'<p class="pale">planner {escape(plan.planner_version)}, catalog {escape(plan.catalog_digest)}, page of '
        f"{today.isoformat()}</p>",
    ]  # fmt: skip
    return "\n".join(parts)


def _figures(plan: Plan) -> str:
    figures = []
    if plan.cost_usd_per_hour is not None:
        figures.append((format_money(plan.cost_usd_per_hour), "an hour"))
    if plan.cost_usd_per_month is not None:
        figures.append((f"${plan.cost_usd_per_month:,.0f}", "a month of 730 hours"))
    if plan.cost_usd_per_million_tokens is not None:
        figures.append((f"${plan.cost_usd_per_million_tokens:,.3g}", "a million tokens"))
    figures += [
        (f"{plan.machines:,}", "machines, spares included"),
        (format_power(plan.power_w), "rated"),
        (format_power(plan.expected_power_w), "expected at this load"),
    ]
    boxes = (f'<div class="figure"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in figures)
    return f'<div class="figures">{"".join(boxes)}</div>'


def _in_currency(plan: Plan, currency: Currency) -> Iterator[str]:
    """What the plan costs in another currency, and at which rate."""
    code, rate = currency.name, currency.usd_per_unit
    amounts = [
        (plan.cost_usd_per_hour, "an hour", ",.2f"),
        (plan.cost_usd_per_month, "a month of 730 hours", ",.0f"),
        (plan.cost_usd_per_million_tokens, "a million tokens", ",.3g"),
    ]
    boxes = [
        f'<div class="figure"><b>{format(usd / rate, form)} {escape(code)}</b><span>{escape(label)}</span></div>'
        for usd, label, form in amounts
        if usd is not None
    ]
    yield f"<h2>In {escape(code)}</h2>"
    yield f'<div class="figures">{"".join(boxes)}</div>'
    told = f"1 {code} = {rate:g} USD, {currency.date.isoformat()}: {currency.source}. All else is in USD."
    yield f'<p class="pale">{escape(told)}</p>'


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th{_class(title)}>{escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>"
        + "".join(f"<td{_class(t, text)}>{escape(text)}</td>" for t, text in zip(titles, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(title: str, text: str = "") -> str:
    if title in NUMBERS:
        return ' class="number"'
    return f' class="{text.lower()}"' if title == "" and text in ("met", "MISSED") else ""


def _designs(plan: Plan) -> Iterator[str]:
    """The best plan of each other design beside this one, by cost where all costs are known, else by power."""
    if not plan.alternatives:
        return
    by_cost = plan.cost_usd_per_hour is not None and all(a.cost_usd_per_hour is not None for a in plan.alternatives)
    pools = " + ".join(f"{p.count + p.spares} x {p.machine} {p.role}" for p in plan.pools)
    options = [(f"{plan.design} (this plan)", pools, plan.cost_usd_per_hour if by_cost else plan.power_w)]
    options += [(a.design, a.pools, a.cost_usd_per_hour if by_cost else a.power_w) for a in plan.alternatives]
    most = max(value or 0.0 for _, _, value in options)
    rows = []
    for n, (design, what, value) in enumerate(options):
        share = 100.0 * (value or 0.0) / most if most else 0.0
        text = f"{format_money(value or 0.0)}/h" if by_cost else format_power(value or 0.0)
        own = ' class="own"' if n == 0 else ""
        bar = f'<svg class="bar" aria-hidden="true"><rect width="{share:.1f}%" height="100%"/></svg>'
        rows.append(
            f"<tr{own}><td>{escape(design)}</td><td>{escape(what)}</td>"
            f'<td class="number">{escape(text)}</td>'
            f'<td class="track">{bar}</td></tr>'
        )
    title = "cost" if by_cost else "rated power"
    yield f"<h2>What else would do{', as predicted' if plan.certificate is not None else ''}</h2>"
    yield (
        '<div class="scroll" tabindex="0"><table><thead><tr><th>design</th><th>machines</th>'
        f'<th class="number">{title}</th>'
        f"<td></td></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _remarks(plan: Plan, today: datetime.date) -> str:
    """Everything else; the other designs have their table above."""
    pairs, last = [], ""
    for label, text in remarks(plan, today):
        last = label or last
        if last != "Instead":
            pairs.append(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>")
    return f"<dl>{''.join(pairs)}</dl>"


def _prices(plan: Plan) -> Iterator[str]:
    if plan.prices:
        yield "<h2>Prices</h2>"
        rows = [_price(price) for price in plan.prices]
        yield _table(["machine", "$/h", "book", "provider", "date", "kind", "source"], rows)


def _price(price: PriceUsed) -> list[str]:
    return [
        price.machine, f"{price.usd_per_hour:,.2f}", price.book, price.provider, price.date.isoformat(), price.kind,
        price.source,
    ]  # fmt: skip


def _asked(plan: Plan) -> str:
    text = json.dumps(plan.scenario, indent=2, ensure_ascii=False)
    return (
        f"<details><summary>Everything that was asked, defaults filled in</summary><pre>{escape(text)}</pre></details>"
    )
