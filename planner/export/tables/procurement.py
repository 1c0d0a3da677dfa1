"""A procurement as text for a terminal: what to have and how, what each period uses, whether promises are kept."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Sequence

from planner.export.tables.text import age, aligned, counted, labelled, number, percent, wrapped
from planner.portfolio.result import (
    FleetPool,
    PeriodUse,
    Procurement,
    PurchaseLine,
    WorkloadOutcome,
    WorkloadPrediction,
)
from planner.units import format_money, format_power, format_time
from planner.workload.objectives import parse_objective

WIDTH = 100
_LABEL_WIDTH = 10
_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_PLANS = {
    "kept": "own already", "owned": "buy", "reserved_3y": "reserve 3 years",
    "reserved_2y": "reserve 2 years", "reserved_1y": "reserve 1 year",
    "on_demand": "on demand", "spot": "spot",
}  # fmt: skip
_SHORT_PLANS = {
    "kept": "kept", "owned": "own", "reserved_3y": "3y", "reserved_2y": "2y", "reserved_1y": "1y", "on_demand": "rent",
    "spot": "spot",
}  # fmt: skip
_MANY_PERIODS = 26


def procurement_table(result: Procurement, today: datetime.date, *, width: int = WIDTH, colour: bool = False) -> str:
    """Return a procurement as text.

    Parameters
    ----------
    result : Procurement
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take; a table takes what it needs.
    colour : bool
        Whether to mark met and missed objectives in colour, for terminals.
    """
    blocks = [
        _headline(result, width),
        _purchases(result),
        _pure(result),
        _sites(result),
        _use(result, width),
        _pools(result),
        _promises(result, colour),
        _remarks(result, today, width),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _headline(result: Procurement, width: int) -> list[str]:
    names = [w.workload for w in result.workloads]
    first = f"Fleet for {counted(len(names), 'workload')} over {result.horizon}: {', '.join(names)}"
    head = "Least cost" if result.solver.status == "optimal" else "Least cost found, not proven"
    if result.solver.status == "optimal" and result.solver.gap > 0:
        head = f"Within {percent(result.solver.gap, 1)} of the least cost"
    money = (
        f"{head}: {format_money(result.cost_usd_per_hour)}/h on average, ${result.cost_usd_per_month:,.0f}/month, "
        f"${result.cost_usd:,.0f} over {result.horizon}, "
        f"{_small(result.cost_usd_per_million_tokens)} per million tokens"
    )
    most = max(result.periods, key=lambda p: p.machines_held_or_rented)
    power = max(p.power_w for p in result.periods)
    size = f"At most {counted(most.machines_held_or_rented, 'machine')} at a time, {format_power(power)} rated"
    return [*wrapped(first, width), *wrapped(money, width), *wrapped(size, width), *_paid(result, width)]


def _paid(result: Procurement, width: int) -> list[str]:
    """What is paid and when, and what serving oneself costs beside an API."""
    text = (
        f"Paid: ${result.upfront_usd:,.0f} at the start, most in a month "
        f"${max(m.cash_usd for m in result.months):,.0f}; present value ${result.present_value_usd:,.0f}"
    )
    if result.remaining_value_usd:
        text += f", ${result.remaining_value_usd:,.0f} of what is bought not yet repaid at the end"
    lines = wrapped(text, width)
    each = f"{_small(result.cost_usd_per_thousand_requests)} per thousand requests"
    if result.cost_usd_per_user_per_month is not None:
        each += f", {_small(result.cost_usd_per_user_per_month)} per user and month"
        each += " with what is beside machines" if result.overhead_usd else ""
    lines += wrapped(each, width)
    if result.overhead_usd:
        lines += wrapped(
            f"With ${result.overhead_usd:,.0f} beside machines: "
            f"{_small(result.usd_per_million_tokens_with_overhead)} per million tokens", width
        )  # fmt: skip
    if result.api_usd is not None:
        own = result.cost_usd + result.overhead_usd
        which = "less" if own < result.api_usd else "more"
        lines += wrapped(
            f"An API would ask ${result.api_usd:,.0f}: serving oneself costs "
            f"{percent(abs(own / result.api_usd - 1), 0)} {which}", width
        )  # fmt: skip
    return lines


def _small(usd: float) -> str:
    return format_money(usd) if usd >= 0.095 else f"${number(usd, 2)}"


def _purchases(result: Procurement) -> list[str]:
    titles = ["machine", "how", "machines", "in use", "$/h held", "$/h on", "$/month", "$ in all"]
    rows = [
        [
            line.machine,
            ", ".join(filter(None, (_PLANS.get(line.plan, line.plan), _when(line, result)))),
            f"{line.count:,}" if _is_held(line) else f"up to {line.count:,}",
            percent(line.machine_hours / (line.count * result.horizon_hours)),
            f"{line.fixed_usd_per_hour:,.2f}" if _is_held(line) else "",
            f"{line.usage_usd_per_hour:,.2f}",
            f"{line.cost_usd_per_hour * 730.0:,.0f}",
            f"{line.cost_usd:,.0f}",
        ]
        for line in result.purchases
    ]
    if result.change_cost_usd > 0:
        monthly = result.change_cost_usd / result.horizon_hours * 730.0
        rows.append(["changes in the day", "", "", "", "", "", f"{monthly:,.0f}", f"{result.change_cost_usd:,.0f}"])
    if result.egress_usd > 0:
        monthly = result.egress_usd / result.horizon_hours * 730.0
        rows.append(["what leaves the sites", "", "", "", "", "", f"{monthly:,.0f}", f"{result.egress_usd:,.0f}"])
    if len(rows) > 1:
        rows.append(["total", "", "", "", "", "", f"{result.cost_usd_per_month:,.0f}", f"{result.cost_usd:,.0f}"])
    return aligned(titles, rows, right=tuple(titles[2:]))


def _pure(result: Procurement) -> list[str]:
    """The fleet had in one way alone, beside the mix."""
    if not result.pure:
        return []
    titles = ["the same fleet", "$ in all", "over the mix", "present value", "$ at the start", "machines", "gap"]
    rows = [["the mix", f"{result.cost_usd:,.0f}", "", f"{result.present_value_usd:,.0f}", f"{result.upfront_usd:,.0f}",
             f"{max(p.machines_held_or_rented for p in result.periods):,}", percent(result.solver.gap, 1)]]  # fmt: skip
    for pure in result.pure:
        if pure.cost_usd is None:
            rows.append([f"all {pure.plans}", "none", "", "", "", "", ""])
            continue
        rows.append([
            f"all {pure.plans}", f"{pure.cost_usd:,.0f}", percent(pure.cost_usd / result.cost_usd - 1.0, 1),
            f"{pure.present_value_usd:,.0f}", f"{pure.upfront_usd:,.0f}", f"{pure.machines:,}",
            percent(pure.gap or 0.0, 1),
        ])  # fmt: skip
    reasons = [f"all {p.plans}: {p.reason}" for p in result.pure if p.reason]
    return [*aligned(titles, rows, right=tuple(titles[1:])), *(line for r in reasons for line in wrapped(r, WIDTH))]


def _sites(result: Procurement) -> list[str]:
    """What stands and is served at each site."""
    if not result.sites:
        return []
    names = [w.workload for w in result.workloads]
    titles = ["site", "machines", "kW", "rack units", "USD/kWh", "$ in all", *(f"{name} there" for name in names)]
    total = {name: sum(site.requests.get(name, 0.0) for site in result.sites) for name in names}
    rows = [
        [
            site.site, f"{site.machines:,}", f"{site.power_w / 1e3:,.1f}", f"{site.rack_units:,}",
            f"{site.electricity_usd_per_kwh:g}", f"{site.cost_usd:,.0f}",
            *(percent(site.requests.get(name, 0.0) / total[name]) if total[name] else "" for name in names),
        ]
        for site in result.sites
    ]  # fmt: skip
    return aligned(titles, rows, right=tuple(titles[1:]))


def _when(line: PurchaseLine, result: Procurement) -> str:
    """The months in which it is there, where these are not all of them, and what is paid beyond the horizon."""
    months = result.horizon_hours / 730.0
    text = "" if line.from_month == 0 and abs(line.to_month - months) < 1e-6 else (
        f"months {line.from_month + 1:.3g}-{line.to_month:.3g}" if line.to_month - line.from_month > 1
        else f"month {line.to_month:.3g}"
    )  # fmt: skip
    if line.plan.startswith("reserved") and line.paid_months > line.to_month - line.from_month + 1e-6:
        text = f"{text}, {line.paid_months:g} months paid".lstrip(", ")
    return text


def _is_held(line: PurchaseLine) -> bool:
    return line.plan not in ("on_demand", "spot")


def _use(result: Procurement, width: int) -> list[str]:
    """Requests and machines of each period; nothing where there is one alone."""
    if len(result.periods) == 1:
        return []
    machines = sorted({name for p in result.periods for name in p.machines_by_plan})
    names = [w.workload for w in result.workloads]
    titles = ["period", *names, *map(_short, machines), "kW"]
    with_stages = len({p.stage for p in result.periods}) > 1
    rows: list[list[str]] = []
    shown = _MANY_PERIODS if len(result.periods) > _MANY_PERIODS else len(result.periods)
    for p in result.periods[:shown]:
        rows.append([
            f"{p.stage}, {p.period}" if with_stages and p.stage else p.period,
            *(number(p.rates_per_s[name]) for name in names),
            *(str(p.machines_by_plan.get(name, 0) or "") for name in machines),
            f"{p.power_w / 1e3:,.1f}",
        ])  # fmt: skip
    caption = "Requests/s of each workload, machines on, and kW rated of all that is held or rented:"
    lines = [*textwrap.wrap(caption, width, initial_indent="  ", subsequent_indent="  "), ""]
    lines += aligned(titles, rows, right=tuple(titles[1:]))
    if shown < len(result.periods):
        lines.append(f"  and {len(result.periods) - shown} more periods (--format csv --rows periods lists all)")
    return lines


def _short(name: str) -> str:
    """`dgx-h100 own` for `dgx-h100 owned`."""
    machine, plan, *when = name.split(" ", 2)
    return " ".join([machine, _SHORT_PLANS.get(plan, plan), *when])


def _pools(result: Procurement) -> list[str]:
    """Pools of each group in its busiest period."""
    busiest: dict[str, tuple[float, PeriodUse | None, list[FleetPool]]] = {}
    for pool in result.pools:
        at = (pool.stage, pool.period)
        some = [p for p in result.pools if p.group == pool.group and (p.stage, p.period) == at]
        rate = sum(p.rate_per_s for p in some if p.role != "decode")
        if pool.group not in busiest or rate > busiest[pool.group][0] * (1 + 1e-9):
            busiest[pool.group] = (rate, None, some)
    several = len(result.periods) > 1
    titles = ["pools of", *(["at"] if several else []), "role", "machine", "count", "replicas", "busy", "requests/s"]
    rows = []
    for group, (_, _, pools) in busiest.items():
        for i, pool in enumerate(pools):
            spares = f" + {counted(pool.spares, 'spare')}" if pool.spares else ""
            at_text = ", ".join(filter(None, (pool.stage, pool.period)))
            rows.append([
                "" if i else group,
                *([("" if i else at_text)] if several else []),
                pool.role,
                pool.machine,
                f"{pool.count:,}{spares}",
                pool.layout,
                percent(pool.utilisation),
                number(pool.rate_per_s),
            ])  # fmt: skip
    return aligned(titles, rows, right=("count", "busy", "requests/s"))


def _promises(result: Procurement, colour: bool) -> list[str]:
    several = len(result.periods) > 1
    titles = ["workload", "promise", "limit", "predicted", "slack", *(["tightest at"] if several else []), ""]
    rows = []
    for p in result.predicted:
        rows.append([
            p.part,
            _title(p),
            _quantity(p.limit, p.unit),
            "grows without end" if p.predicted is None else _quantity(p.predicted, p.unit),
            "" if p.slack_fraction is None else percent(p.slack_fraction),
            *([", ".join(filter(None, (p.stage, p.period)))] if several else []),
            "met" if p.met else "MISSED",
        ])  # fmt: skip
    for w in result.workloads:
        if w.kind == "batch":
            done = f"done by {w.done_by}"
            promise = f"{number(w.requests_a_day, 6)} a day"
            rows.append([w.workload, promise, w.deadline or "", done, "", *([""] if several else []), "met"])
        elif w.kind == "throughput":
            rows.append([w.workload, "throughput only", "", "", "", *([""] if several else []), "met"])
    lines = aligned(titles, rows, right=("slack",))
    if not colour:
        return lines
    marked = [lines[0]]
    for line in lines[1:]:
        word = "MISSED" if line.endswith("MISSED") else "met"
        marked.append(f"{line.removesuffix(word)}{_GREEN if word == 'met' else _RED}{word}{_PLAIN}")
    return marked


def _title(prediction: WorkloadPrediction) -> str:
    return parse_objective(prediction.objective).label


def _quantity(value: float, unit: str) -> str:
    return format_time(value) if unit == "s" else f"{number(value, 3)}x"


def _remarks(result: Procurement, today: datetime.date, width: int) -> list[str]:
    lines: list[str] = []
    for label, text in _labels(result, today):
        lines += labelled(label, text, label_width=_LABEL_WIDTH, width=width)
    return lines


def _labels(result: Procurement, today: datetime.date) -> Iterator[tuple[str, str]]:
    shared = [g for g in result.groups if len(g.workloads) > 1]
    if len(result.groups) > 1 or shared:
        for n, g in enumerate(result.groups):
            yield (
                "" if n else "By group",
                f"{g.group}: {format_money(g.cost_usd_per_hour)}/h on average, "
                f"{_small(g.usd_per_million_tokens)} per million tokens",
            )
    yield "Proof", _proof(result)
    if result.binding:
        yield "Binding", "; ".join(result.binding)
    for w in result.workloads:
        if w.design_rates:
            yield "Per dollar", _per_dollar(w)
    yield "Trust", _trust(result, today)
    yield "Considered", _considered(result)
    for n, note in enumerate(result.notes):
        yield "" if n else "Notes", note


def _proof(result: Procurement) -> str:
    solver = result.solver
    if solver.status == "optimal":
        proven = "optimal (gap 0 %)" if solver.gap == 0 else f"gap {percent(solver.gap, 2)}"
        proven += "" if solver.gap == 0 else f", within the {percent(solver.gap_allowed, 1)} allowed"
    else:
        proven = f"NOT proven: stopped at a limit, gap {percent(solver.gap, 1)}"
    bound = "" if solver.gap == 0 else f"; nothing is cheaper than {format_money(solver.bound)}/h"
    return f"{proven}{bound}, {solver.solver}, every row rechecked; {result.verified}"


def _per_dollar(w: WorkloadOutcome) -> str:
    rates = ", ".join(f"{r.design} {number(r.requests_per_usd, 3)}" for r in w.design_rates)
    return f"{w.workload}, requests for a dollar of on-demand machines that are always busy: {rates}"


def _trust(result: Procurement, today: datetime.date) -> str:
    books = {(line.book, line.date): line for line in result.purchases if line.book and line.date is not None}
    texts = [f"modelled step times +/- {percent(result.step_time_error)}"]
    if result.padding_fraction > 5e-4:
        texts.append(f"machines are for {percent(result.padding_fraction, 1)} more requests than expected on average")
    for (book, date), line in sorted(books.items()):
        kind = ", an estimate" if line.kind == "estimate" else ""
        texts.append(f"prices {book} ({line.provider}, {date.isoformat()}{kind}), {age(date, today)}")
    return "; ".join(texts)


def _considered(result: Procurement) -> str:
    solver = result.solver
    machines: Sequence[str] = result.fleet.get("machines", ())
    names = "every machine of the catalog" if "all" in machines else ", ".join(machines)
    plans = ", ".join(_PLANS[p] for p in result.fleet.get("plans", ()))
    return (
        f"{names}; {plans}; {counted(solver.groups_considered, 'group')} of workloads, "
        f"{counted(solver.candidates, 'candidate pool')}, {counted(solver.periods, 'period')}"
    )
