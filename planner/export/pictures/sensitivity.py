"""A sensitivity as a tornado chart: SVG, PNG, or HTML that holds the SVG."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.tables.sensitivity import plan_value
from planner.export.tables.text import load_text, percent
from planner.studies.sensitivity_report import InputEffect, Sensitivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = {
    "cost": ("least cost of a plan, USD/h", 1.0),
    "power": ("least rated power of a plan, kW", 1e3),
    "energy": ("least expected draw of a plan, kW, every machine full", 1e3),
    "machines": ("fewest machines of a plan", 1.0),
    "carbon": ("least carbon of a plan, kg CO2e/h at rated power", 1.0),
}
_WORDS = 42  # characters that fit into half of the axes


def tornado_picture(found: Sensitivity, suffix: str) -> bytes:
    """Draw the re-optimised value over each input's error, the largest swing on top.

    Parameters
    ----------
    found : Sensitivity
    suffix : str
        `.svg`, `.png` or `.html`.

    Returns
    -------
    bytes
        The whole file.
    """
    return picture(lambda: figure_of(found), suffix, f"Sensitivity of {found.design} for {found.scenario['model']}")


def _range(effect: InputEffect) -> str:
    error = percent(effect.error_fraction)
    return f"\u00b1{error}" if effect.note is None else f"\u2212{percent(1.0 - effect.low_factor)} +{error}"


def figure_of(found: Sensitivity) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    none, effects = list(reversed(found.no_effect)), list(reversed(found.inputs))
    n_rows = len(none) + len(effects)
    height = 2.3 + 0.34 * n_rows
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.34, 1.35 / height, 0.62, (height - 2.25) / height))
    title, unit = _AXES[found.objective]
    if found.electricity_usd_per_hour is not None:
        title = "cost of the best plan and its electricity, USD/h"
    now = found.value / unit
    values = [o.value / unit for e in effects for o in (e.low, e.high) if o.value is not None]
    low, high = min([now, *values]), max([now, *values])
    room = max(high - low, 0.02 * now) * 0.14
    axes.set_xlim(low - room, high + room)
    to_the_right = high - now >= now - low  # words stand beside the line, where there is more room
    for y, nothing in enumerate(none):
        axes.annotate(
            textwrap.fill(f"no effect: {nothing.reason}", _WORDS), (now, y), xytext=(4 if to_the_right else -4, 0),
            textcoords="offset points", va="center", ha="left" if to_the_right else "right", fontsize=7.5,
        )  # fmt: skip
    for y, effect in enumerate(effects, start=len(none)):
        for outcome, colour, hatch in ((effect.low, COLOURS[0], ""), (effect.high, COLOURS[1], "///")):
            if outcome.value is None:
                axes.text(high, y, "no plan", va="center", ha="right", fontsize=7.5)
                continue
            value = outcome.value / unit
            axes.barh(
                y, value - now, left=now, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0.6
            )
            if not outcome.bought_holds:  # beside the bar's end, or at the line where the bar has no length
                side = 1 if value >= now else -1
                axes.text(
                    value + side * 0.2 * room, y, "\u2717", va="center", ha="left" if side > 0 else "right", fontsize=9
                )
    axes.axvline(now, color="#222222", linewidth=1.0)
    axes.set_yticks(range(n_rows))
    axes.set_ylim(-0.6, n_rows - 0.4)
    labels = [e.title for e in none] + [f"{e.title}  {_range(e)}" for e in effects]
    axes.set_yticklabels(labels, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(title)
    axes.grid(True, axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(
        handles=[
            Patch(facecolor=COLOURS[0], edgecolor="white", label="input lower"),
            Patch(facecolor=COLOURS[1], edgecolor="white", hatch="///", label="input higher"),
        ],
        loc="center left", bbox_to_anchor=(0.01, 0.62 / height), ncols=2, frameon=False, fontsize=8,
    )  # fmt: skip
    s = found.scenario
    caption(
        figure,
        f"{found.design}: {found.pools}, {plan_value(found)}",
        f"{s['model']} ({s['runtime']}), {s['workload']} at {load_text(s)}, "
        f"{', '.join(s['slo'])}; {' or '.join(s['machines'])}",
        "Bars: the best plan had that input been known to differ. \u2717: the plan bought for the inputs as given "
        "would not carry the load within its objectives. Not simulated.",
    )  # fmt: skip
    return figure
