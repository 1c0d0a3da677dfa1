"""A frontier as a staircase: what is least at every x, and the plan of each step."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.tables.frontier import frontier_scenario, frontier_title
from planner.export.tables.head import objectives_of
from planner.export.tables.text import percent
from planner.studies.frontier_result import Frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 7.2, 4.9  # inches
_HEAD, _FOOT, _LINE = 0.82, 1.25, 0.18  # above and below the axes, and of a further line of the caption
_COLUMNS = 98  # characters of a line of the caption
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SCALES = {"W": 1e-3, "s": 1.0}
_UNITS = {"USD/h": "$/h", "W": "kW", "machines": "", "s": "s", "x": "times the reference", "requests/s": "requests/s"}
_STEEP = 60.0  # ratio of the ends beyond which an axis is logarithmic


def frontier_picture(frontier: Frontier, suffix: str) -> bytes:
    """Draw a frontier.

    Parameters
    ----------
    frontier : Frontier
    suffix : str
        `.svg`, `.png` or `.html`.

    Returns
    -------
    bytes
        The whole file.
    """
    return picture(lambda: figure_of(frontier), suffix, f"{frontier_title(frontier)}: {frontier_scenario(frontier)}")


def figure_of(frontier: Frontier) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure

    slo = objectives_of(frontier, besides=frontier.x)
    under = frontier_scenario(frontier) + (f"; {slo}" if slo else "")
    further = _LINE * (len(textwrap.wrap(under, _COLUMNS)) - 1)
    height = _HEIGHT + further
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((0.115, _FOOT / height, 0.86, 1.0 - (_HEAD + further + _FOOT) / height))
    _draw(axes, frontier)
    proven = sum(point.status == "optimal" for point in frontier.points)
    stops = "" if frontier.complete else " NOT COMPLETE: points may be missing, or are not proven."
    within = "" if frontier.tolerance < 1e-4 else f", each placed within {percent(frontier.tolerance, 1)}"
    note = f"{len(frontier.points)} plans, {proven} proven optimal{within}. Ends: {frontier.ends}.{stops}"
    caption(figure, frontier_title(frontier), under, note, widths=(_COLUMNS, 112))
    return figure


def _draw(axes: Axes, frontier: Frontier) -> None:
    scale_x, scale_y = _SCALES.get(frontier.x_unit, 1.0), _SCALES.get(frontier.y_unit, 1.0)
    xs = [point.x * scale_x for point in frontier.points]
    ys = [point.y * scale_y for point in frontier.points]
    grows = frontier.x == "rate"
    # A load is carried by the plan of the next point; a budget or limit is kept by that of the point before.
    left, right = min(xs), max(xs)
    room = 0.06 * (right - left) or 0.06 * right
    line_x, line_y = ([*xs], [*ys]) if grows else ([*xs, right + 2 * room], [*ys, ys[-1]])
    if grows:
        line_x, line_y = [max(left - 2 * room, left * 0.5), *line_x], [ys[0], *line_y]
    axes.step(line_x, line_y, where="pre" if grows else "post", color="#777777", linewidth=1.0, zorder=2)
    designs = list(dict.fromkeys(point.design for point in frontier.points))
    for n, design in enumerate(designs):
        at = [i for i, point in enumerate(frontier.points) if point.design == design]
        look: dict[str, Any] = {"color": COLOURS[n % len(COLOURS)], "marker": _MARKERS[n % len(_MARKERS)]}
        axes.plot(
            [xs[i] for i in at], [ys[i] for i in at], linestyle="none", markersize=6, markeredgecolor="white",
            markeredgewidth=0.6, label=design, zorder=3, clip_on=False, **look,
        )  # fmt: skip
    for x, y, point in zip(xs, ys, frontier.points, strict=True):
        if point.status == "limit":
            axes.plot([x, x], [point.bound * scale_y, y], color="#222222", linewidth=0.8, zorder=1)
    axes.set_xlabel(_axis_label(frontier.x_label, frontier.x_unit))
    axes.set_title(_axis_label(frontier.y_label, frontier.y_unit), loc="left", fontsize=9.0, x=-0.09, pad=8)
    if left > 0 and right / left > _STEEP:
        axes.set_xscale("log")
    else:
        axes.set_xlim(min(*line_x, left - 0.5 * room), max(*line_x, right + 0.5 * room))
    if max(ys) / min(ys) > _STEEP:
        axes.set_yscale("log")
    else:
        lowest = 0.0 if min(ys) < 0.6 * max(ys) else min(ys) - 0.25 * (max(ys) - min(ys) or max(ys))
        axes.set_ylim(max(lowest, 0.0), max(ys) + 0.08 * (max(ys) - lowest))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.6g}")
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=min(4, len(designs)), frameon=False, fontsize=8,
        handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def _axis_label(label: str, unit: str) -> str:
    text = label[0].upper() + label[1:]
    return f"{text}, {_UNITS[unit]}" if _UNITS[unit] else text
