"""Plans nearly as good as the best, as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.text import counted, fitted, load_text, percent, wrapped
from planner.planning.record import NOT_SIMULATED
from planner.studies.alternatives_result import AlternativePlan, Alternatives
from planner.units import format_time

WIDTH = 100
_LABEL_WIDTH = 10
_WORDS = {"cost": "least cost", "power": "least power", "machines": "fewest machines"}


def alternatives_table(
    found: Alternatives, today: datetime.date, *, width: int = WIDTH, table_width: int | None = None
) -> str:
    """Return the best plan and those near it as text.

    Parameters
    ----------
    found : Alternatives
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.
    table_width : int, optional
        Columns that a table may take, beyond which it goes on below; left out: what it needs.

    Returns
    -------
    str
        Lines, the last one ended; a row a plan.
    """
    blocks = [_headline(found, width), *_plans(found, table_width), remarks(_labels(found, today), _LABEL_WIDTH, width)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _headline(found: Alternatives, width: int) -> list[str]:
    first = (
        f"Plans within {percent(found.within_fraction, 0 if found.within_fraction >= 0.01 else 2)} of the "
        f"{_WORDS[found.objective]}: {found.model} ({found.precision}, {found.runtime}), {found.workload} at "
        f"{load_text(found.scenario)}"
    )
    lines = wrapped(first, width) + objectives_lines(found, width)
    if found.owned:
        lines += wrapped("Owned: " + ", ".join(f"{n:,} x {m}" for m, n in sorted(found.owned.items())), width)
    return lines if found.complete else [*lines, "NOT COMPLETE: plans may be missing, or are not proven"]


def _plans(found: Alternatives, width: int | None) -> list[list[str]]:
    titles = ["n", "above best", "$/h", "kW rated", "machines", "plan", "listed for"]
    titles += ["to buy", "left idle"] if found.owned else []
    titles += ["TTFT p99", "TBT p99", "E2E p99"]
    if any(plan.status == "limit" for plan in found.plans):
        titles.append("proof")
    rows = []
    for n, plan in enumerate(found.plans, 1):
        cells = [str(n), f"{100 * plan.relative:+.1f} %", *_figures(plan), plan.pools, "; ".join(plan.reasons)]
        if found.owned:
            cells += [_to_buy(plan), plan.idle or "none"]
        cells += ["-" if v is None else format_time(v) for v in (plan.ttft_p99_s, plan.tbt_p99_s, plan.e2e_p99_s)]
        if "proof" in titles:
            cells.append("optimal" if plan.status == "optimal" else "NOT proven")
        rows.append(cells)
    right = ("n", "above best", "$/h", "kW rated", "machines", "TTFT p99", "TBT p99", "E2E p99")
    return fitted(titles, rows, right=right, width=width)


def _figures(plan: AlternativePlan) -> list[str]:
    cost = "-" if plan.cost_usd_per_hour is None else f"{plan.cost_usd_per_hour:,.2f}"
    return [cost, f"{plan.power_w / 1e3:,.1f}", f"{plan.machines:,}"]


def _to_buy(plan: AlternativePlan) -> str:
    if not plan.bought:
        return "nothing"
    cost = plan.cost_of_bought_usd_per_hour
    return plan.bought + ("" if cost is None else f" (${cost:,.2f}/h)")


def _labels(found: Alternatives, today: datetime.date) -> Iterator[tuple[str, str]]:
    if found.all_mixes:
        yield (
            "Mixes",
            (
                "all there are: any other set of machine types and roles within the range has all pools of one above, "
                "and more" + ("" if found.verified == NOT_SIMULATED else ", as predicted")
            ),
        )
    else:
        yield "Mixes", f"{found.ends}; there are more"
    proven = sum(plan.status == "optimal" for plan in found.plans)
    yield (
        "Proof",
        f"{proven} of {counted(len(found.plans), 'plan')} proven best of its kind, in {counted(found.solves, 'solve')}",
    )
    if found.verified != NOT_SIMULATED:
        yield "Simulated", "; ".join(sorted({plan.verified for plan in found.plans}))
    yield from trusted(found, today)
