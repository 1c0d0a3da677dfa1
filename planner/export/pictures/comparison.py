"""Designs side by side as bars: what each costs, draws and counts, or carries, stacked by role."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.tables.comparison import groups_of, merged_rows, section_title
from planner.export.tables.text import counted, number
from planner.planning.plan import PoolPlan
from planner.studies.comparison_result import Comparison, ComparisonRow
from planner.workload.objectives import parse_objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The hatch says it again in black and white.
_ROLES: dict[str, dict[str, Any]] = {
    "prefill": {"facecolor": COLOURS[0]},
    "decode": {"facecolor": COLOURS[1], "hatch": "////", "edgecolor": "white"},
    "mixed": {"facecolor": COLOURS[2], "hatch": "....", "edgecolor": "white"},
}
_METRICS: dict[str, tuple[str, str, str]] = {  # title, field of the row, relative field
    "rate": ("requests/s", "rate_per_s", "relative_rate"),
    "cost": ("cost, $/h", "cost_usd_per_hour", "relative_cost"),
    "power": ("power rated, kW", "power_w", "relative_power"),
    "machines": ("machines", "machines", "relative_machines"),
}
_WIDTH, _BAR, _HEAD, _TOP, _BOTTOM = 7.6, 0.27, 0.84, 0.5, 0.72  # inches
_LINE, _COLUMNS = 0.18, 102  # inches of a further line of the caption, and its characters
Section = tuple[str, list[tuple[ComparisonRow, str]], list[str]]


def comparison_picture(comparison: Comparison, suffix: str) -> bytes:
    """Draw a comparison.

    Parameters
    ----------
    comparison : Comparison
    suffix : str
        `.svg`, `.png` or `.html`.

    Returns
    -------
    bytes
        The whole file.
    """
    return picture(lambda: figure_of(comparison), suffix, _headline(comparison))


def _headline(comparison: Comparison) -> str:
    return (
        f"{counted(len(comparison.designs), 'design')} for {comparison.model} "
        f"({comparison.precision}, {comparison.runtime})"
    )


def _sections(comparison: Comparison) -> list[Section]:
    found: list[Section] = []
    for workload in comparison.workloads:
        for questions in groups_of(comparison):
            rows = [r for r in comparison.rows if r.workload == workload and r.question in questions]
            if not rows:
                continue
            bars = [
                (row, row.design if len(best) == len(questions) else f"{row.design} ({', '.join(best)})")
                for row, best in merged_rows(rows)
            ]
            throughput = rows[0].objective == "throughput"
            metrics = ["rate", "cost", "power"] if throughput else ["cost", "power", "machines"]
            found.append((section_title(workload, questions), bars, metrics))
    return found


def figure_of(comparison: Comparison) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure

    sections = _sections(comparison)
    heights = [_BAR * len(bars) for _, bars, _ in sections]
    slo = ", ".join(f"{o.label} <= {o.limit_label}" for o in map(parse_objective, comparison.scenario["slo"]))
    top = _TOP + _LINE * (len(textwrap.wrap(slo, _COLUMNS)) - 2)
    total = top + _BOTTOM + sum(heights) + _HEAD * len(sections)
    figure = Figure(figsize=(_WIDTH, total))
    longest = max(len(name) for _, bars, _ in sections for _, name in bars)
    left = min(0.05 + 0.0098 * longest, 0.45)
    panel = (0.985 - left) / 3
    at = total - top
    for (title, bars, metrics), height in zip(sections, heights, strict=True):
        at -= _HEAD
        figure.text(0.02, (at + 0.4) / total, title, fontsize=9.0, weight="bold", va="center")
        for n, metric in enumerate(metrics):
            axes = figure.add_axes((left + n * panel, (at - height) / total, panel * 0.8, height / total))
            _bars(axes, bars, metric, names=n == 0)
        at -= height
    _legend(figure, sections, total)
    stops = "" if comparison.complete else " INTERRUPTED: only what was done."
    note = f"In brackets: over {comparison.relative_to}.{stops}"
    caption(figure, _headline(comparison), slo, note, widths=(_COLUMNS, 112))
    return figure


def _bars(axes: Axes, bars: Sequence[tuple[ComparisonRow, str]], metric: str, *, names: bool) -> None:
    title, field, relative = _METRICS[metric]
    scale = 1e-3 if metric == "power" else 1.0
    values = [getattr(row, field) for row, _ in bars]
    most = max((v for v in values if v is not None), default=0.0) * scale or 1.0
    for y, ((row, _), value) in enumerate(zip(bars, values, strict=True)):
        start = 0.0
        for role, part in _parts(row, metric):
            axes.barh(y, part * scale, left=start, height=0.7, linewidth=0.0, **_ROLES[role])
            start += part * scale
        if metric == "rate" and value is not None:
            axes.barh(y, value, height=0.7, color="#666666")
        if value is None:
            word = "no price" if row.found else "no plan"
        else:
            ratio = getattr(row, relative)
            word = number(value * scale, 3) + ("" if ratio is None else f" ({ratio:.2f}x)")
        axes.annotate(
            word, ((value or 0.0) * scale, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(0, most * 1.62)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_yticks(range(len(bars)), [name for _, name in bars] if names else [""] * len(bars), fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(_few_ticks(most))
    axes.xaxis.set_major_formatter("{x:,.5g}")
    axes.tick_params(axis="x", labelsize=7.5)
    axes.set_title(title, loc="left", fontsize=8.5, pad=4)


def _few_ticks(most: float) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, integer=most >= 3)


def _parts(row: ComparisonRow, metric: str) -> list[tuple[str, float]]:
    """A figure of the row by role, in the order of the roles; none where it does not add up over pools."""
    if row.plan is None or metric == "rate":
        return []

    def of(pool: PoolPlan) -> float:
        if metric == "machines":
            return float(pool.count + pool.spares)
        return pool.power_w if metric == "power" else pool.cost_usd_per_hour or 0.0

    return [(role, sum(of(p) for p in row.plan.pools if p.role == role)) for role in _ROLES]


def _legend(figure: Figure, sections: Sequence[Section], total: float) -> None:
    from matplotlib.patches import Patch

    used = {p.role for _, bars, _ in sections for row, _ in bars if row.plan is not None for p in row.plan.pools}
    handles = [Patch(linewidth=0.0, label=f"{role} pool", **look) for role, look in _ROLES.items() if role in used]
    if handles:
        figure.legend(
            handles=handles, loc="center left", bbox_to_anchor=(0.012, 0.33 / total), ncols=len(handles), frameon=False,
            fontsize=8, handlelength=1.6,
        )  # fmt: skip
