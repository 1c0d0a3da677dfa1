"""A sweep as text for a terminal: one scenario a row, what differs first."""

from __future__ import annotations

import datetime
import textwrap
from collections import Counter
from typing import Any

from planner.export.tables.text import INDENT, age, counted, load_text, wrapped
from planner.scenario.grid import shown
from planner.studies.sweep import Sweep, SweepRow
from planner.units import format_time
from planner.workload.objectives import PRESETS, parse_objectives

WIDTH = 100
_TITLES = {
    "rate_per_s": "requests/s",
    "max_cost_usd_per_hour": "max $/h",
    "max_power_w": "max W",
    "time_limit_s": "time limit s",
}
_WORDS = {
    "optimal": ("has a proven plan", "have a proven plan"),
    "near_tie": ("has a simple plan near its optimum", "have simple plans near their optimum"),
    "limit": ("has a plan that is not proven in time", "have a plan that is not proven in time"),
    "infeasible": ("has none", "have none"),
    "none": ("found no plan in time", "found no plan in time"),
    "error": ("makes no sense", "make no sense"),
}
_NARROWEST_PLAN = 24  # columns
_FIGURES = ("$/h", "kW rated", "TTFT p99", "TBT p99", "breaks at")


def sweep_table(sweep: Sweep, today: datetime.date, *, width: int = WIDTH) -> str:
    """Return a sweep as text.

    Parameters
    ----------
    sweep : Sweep
    today : date
        What the age of the prices is counted to.
    width : int
        Columns to fill; rows wider than that are wrapped in their last column.

    Returns
    -------
    str
        Lines, the last one ended. Every number has its unit, in the text or in the title of its column.
    """
    fields = [name for name in sweep.vary]
    titles = [*(_TITLES.get(name, name.replace("_", " ")) for name in fields), *_FIGURES, "plan"]
    rows = [[*(_label(name, row.values[name]) for name in fields), *_figures(row), _plan(row)] for row in sweep.rows]
    right = {*_FIGURES, *(t for n, t in zip(fields, titles, strict=False) if _all_numbers(sweep, n))}
    lines = [*_headline(sweep, width), "", *_aligned(titles, rows, right, width)]
    oldest = sweep.oldest_price_date
    if oldest is not None:
        lines += ["", f"{INDENT}Prices  the oldest of {oldest.isoformat()}, {age(oldest, today)}"]
    return "\n".join(lines) + "\n"


def _headline(sweep: Sweep, width: int) -> list[str]:
    base = sweep.base
    fixed = {name: value for name, value in base.items() if name not in sweep.vary}
    words = [f"{fixed['model']}" if "model" in fixed else "several models"]
    if "workload" in fixed:
        words.append(str(fixed["workload"]))
    if any(fixed.get(name) is not None for name in ("rate_per_s", "users", "concurrency")):
        words.append(load_text(fixed))  # else each scenario's own, which its plan says
    if "slo" in fixed:
        words.append(" ".join(fixed["slo"]))
    if "machines" in fixed:
        words.append(" or ".join(fixed["machines"]))
    count = Counter(row.status for row in sweep.rows)
    status = ", ".join(f"{n} {_WORDS[s][n > 1]}" for s, n in count.items())
    grid = " x ".join(f"{len(values)} {name}" for name, values in sweep.vary.items())
    plans = [row for row in sweep.rows if row.plan_design is not None]
    unsure = sum(row.confirmed is False for row in plans)
    certainty = "; predicted, not simulated" if any(row.confirmed is None for row in plans) else ""
    certainty += f"; {unsure} not confirmed by simulation" if unsure else ""
    if plans and not certainty:
        certainty = "; confirmed by simulation"
    return [
        *wrapped(f"{counted(len(sweep.rows), 'scenario')} ({grid}): {', '.join(words)}", width),
        *wrapped(f"{status}{certainty}", width),
    ]


def _label(field: str, value: Any) -> str:
    if field == "slo":
        for name, texts in PRESETS.items():
            if value == [str(o) for o in parse_objectives(texts)]:
                return name
    return shown(value)


def _all_numbers(sweep: Sweep, field: str) -> bool:
    return all(isinstance(value, (int, float)) or value is None for value in sweep.vary[field])


def _figures(row: SweepRow) -> list[str]:
    """Figures of a plan; none where there is no plan."""
    if row.plan_design is None:
        return []
    return [
        "no price" if row.cost_usd_per_hour is None else f"{row.cost_usd_per_hour:,.2f}",
        "" if row.rated_power_w is None else f"{row.rated_power_w / 1e3:,.1f}",
        "" if row.ttft_p99_s is None else format_time(row.ttft_p99_s),
        "" if row.tbt_p99_s is None else format_time(row.tbt_p99_s),
        "" if row.headroom is None else f"{row.headroom:.2f}x",
    ]


def _plan(row: SweepRow) -> str:
    if row.plan_design is None:
        return f"{row.status}: {row.message}"
    unproven = f" (not proven: gap {100 * row.gap:.2g} %)" if row.status == "limit" and row.gap is not None else ""
    doubtful = " (not confirmed by simulation)" if row.confirmed is False else ""
    return f"{row.pools}{unproven}{doubtful}"


def _aligned(titles: list[str], rows: list[list[str]], right: set[str], width: int) -> list[str]:
    """Lines of aligned columns; the last column is wrapped, and begins early where a row has no figures."""
    whole = [row for row in (titles, *rows) if len(row) == len(titles)]
    n_fields = len(titles) - 1 - len(_FIGURES)
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(n_fields)]
    widths += [max(len(row[i]) for row in whole) for i in range(n_fields, len(titles) - 1)]
    lines = []
    for *cells, last in (titles, *rows):
        placed = [
            c.rjust(w) if title in right else c.ljust(w) for c, w, title in zip(cells, widths, titles, strict=False)
        ]
        before = len(INDENT) + sum(len(cell) + 2 for cell in placed)
        room = max(width - before, _NARROWEST_PLAN)
        first, *more = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append((INDENT + "  ".join([*placed, first])).rstrip())
        lines += [" " * before + line for line in more]
    return lines
