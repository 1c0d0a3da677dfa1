"""The regime map as a picture: the colour says which design wins, its strength by how much."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, NOTE_WIDTH, caption, picture
from planner.export.tables.regime import headline
from planner.export.tables.text import percent
from planner.studies.axes import KINDS
from planner.studies.regime_map import MapAxis, RegimeMap
from planner.units import format_money, format_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _MAP_HEIGHT, _ABOVE, _BELOW = 7.2, 3.7, 0.85, 0.62  # inches; the legend comes below
_FULL = 0.3  # margin at which a colour is at its strongest
_PALEST = 0.18
_CONTOURS = (0.05, 0.1, 0.2)
_NOWHERE = "#dddddd"


def regime_picture(found: RegimeMap, suffix: str) -> bytes:
    """Draw a regime map.

    Parameters
    ----------
    found : RegimeMap
    suffix : str
        `.svg`, `.png` or `.html`.

    Notes
    -----
    Lines are the margins 5, 10 and 20 % to the second design. A cross marks the scenario itself, where both axes hold
    it. Cells of an incomplete map that were not done are white.
    """
    return picture(lambda: figure_of(found), suffix, headline(found)[0])


def figure_of(found: RegimeMap) -> Figure:
    """Draw it."""
    import numpy as np
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    designs = found.designs()
    colour = {name: np.array(to_rgb(COLOURS[i % len(COLOURS)])) for i, name in enumerate(designs)}
    columns = {v: i for i, v in enumerate(found.x.values)}
    rows = {v: i for i, v in enumerate(found.y.values)}
    shape = (len(rows), len(columns))
    image, margin = np.ones((*shape, 3)), np.full(shape, np.nan)
    won = np.full(shape, -1)
    for c in found.cells:
        at = rows[c.y], columns[c.x]
        if c.design is None:
            image[at] = to_rgb(_NOWHERE)
            continue
        margin[at] = np.inf if c.margin is None else c.margin
        strength = _PALEST + (1 - _PALEST) * min(margin[at] / _FULL, 1.0)
        image[at] = 1.0 - strength * (1.0 - colour[c.design])
        won[at] = designs.index(c.design)
    head, under = headline(found)
    note = _note(found)
    below = 0.2 + 0.17 * len(textwrap.wrap(note, NOTE_WIDTH))
    legend = 0.24 + 0.2 * -(-(len(designs) + 1) // 2)
    height = _ABOVE + _MAP_HEIGHT + _BELOW + legend + below
    figure = Figure(figsize=(_WIDTH, height))
    bottom = (_BELOW + legend + below) / height
    left = (0.55 + 0.065 * max(map(len, found.y.labels))) / _WIDTH
    axes = figure.add_axes((left, bottom, 0.965 - left, _MAP_HEIGHT / height))
    axes.pcolormesh(_edges(found.x), _edges(found.y), image)
    _scale(axes.set_xscale, found.x)
    _scale(axes.set_yscale, found.y)
    _margins(axes, found, margin)
    _names(axes, found, designs, won, shape)
    if found.x.own is not None and found.y.own is not None:
        axes.plot(
            [found.x.own], [found.y.own], marker="X", markersize=11, color="white", markeredgecolor="black", zorder=6,
            linestyle="none", scalex=False, scaley=False,
        )  # fmt: skip
    _ticks(axes.xaxis, found.x)
    _ticks(axes.yaxis, found.y)
    ratio = f" ({' / '.join(found.price_ratio_of)})" if found.price_ratio_of else ""
    axes.set_xlabel(found.x.title + (ratio if found.x.name == "price-ratio" else ""))
    axes.set_ylabel(found.y.title + (ratio if found.y.name == "price-ratio" else ""))
    _legend(figure, found, designs, (bottom - (_BELOW - 0.08) / height))
    caption(figure, head, under, note)
    return figure


def _note(found: RegimeMap) -> str:
    varied = {found.x.name, found.y.name}
    slo = ", ".join(o for o in found.scenario["slo"] if o.partition(".")[0] not in varied) or "as the axes say"
    end = "" if found.complete else " INCOMPLETE: interrupted; white cells were not done."
    return (
        f"Objectives {slo}. Lines: the second design needs 5, 10 or 20 % more. planner {found.planner_version}, "
        f"catalog {found.catalog_digest}.{end}"
    )


def _edges(axis: MapAxis) -> Any:
    """Edges of the cells, half way between the points."""
    import numpy as np

    values = np.log(axis.values) if KINDS[axis.name].logarithmic else np.array(axis.values)
    middles = (values[1:] + values[:-1]) / 2.0
    edges = np.concatenate(([2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]))
    return np.exp(edges) if KINDS[axis.name].logarithmic else edges


def _scale(set_scale: Any, axis: MapAxis) -> None:
    set_scale("log" if KINDS[axis.name].logarithmic else "linear")


def _ticks(axis: Any, values: MapAxis) -> None:
    """Ticks with units; on a logarithmic axis at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    kind = KINDS[values.name]
    if kind.logarithmic:
        if values.name == "network":
            line_rate_ticks(axis, values.values[0], values.values[-1])
            return
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda v, _: kind.show(v)))


def line_rate_ticks(axis: Any, first: float, last: float) -> None:
    """Ticks at 1, 2 and 5 of each decade of bits/s, which links are sold in."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    rates = [f * 10.0**d / 8.0 for d in range(3, 18) for f in (1, 2, 5)]
    axis.set_ticks([rate for rate in rates if first * 0.99 <= rate <= last * 1.01])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda v, _: KINDS["network"].show(v)))


def _margins(axes: Axes, found: RegimeMap, margin: Any) -> None:
    import numpy as np

    known = margin[np.isfinite(margin)]
    if min(margin.shape) < 3 or not known.size or known.min() >= _CONTOURS[-1] or known.max() <= _CONTOURS[0]:
        return
    lines = axes.contour(
        found.x.values, found.y.values, np.where(np.isfinite(margin), margin, np.nan), levels=_CONTOURS,
        colors="#333333", linewidths=0.6, zorder=3,
    )  # fmt: skip
    axes.clabel(lines, fontsize=7, fmt=lambda v: percent(v))


def _names(axes: Axes, found: RegimeMap, designs: list[str], won: Any, shape: tuple[int, int]) -> None:
    """The name of each design on its largest area, so that the map reads without colour."""
    import numpy as np

    for number, name in enumerate(designs):
        cells = np.argwhere(won == number)
        if len(cells) < 0.03 * won.size:
            continue
        # The cell that is farthest from every cell of another design.
        others = np.argwhere(won != number)
        edge = np.minimum(cells + 1, np.array(shape) - cells).min(axis=1)
        if others.size:
            gap = np.abs(cells[:, None, :] - others[None, :, :])
            edge = np.minimum(edge, np.maximum(gap[..., 0], gap[..., 1]).min(axis=1))
        row, column = cells[int(np.argmax(edge))]
        axes.annotate(
            name, (found.x.values[column], found.y.values[row]), ha="center", va="center", fontsize=9, weight="bold",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "#555555", "linewidth": 0.6,
                  "alpha": 0.92}, zorder=5,
        )  # fmt: skip


def _legend(figure: Figure, found: RegimeMap, designs: list[str], top: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for number, name in enumerate(designs):
        won = [c for c in found.cells if c.design == name]
        values = [c.value for c in won if c.value is not None]
        low, high = min(values), max(values)
        span = {
            "cost": f"{format_money(low)} to {format_money(high)}/h",
            "power": f"{format_power(low)} to {format_power(high)}",
            "machines": f"{low:,.0f} to {high:,.0f} machines",
        }[found.objective]
        handles.append(
            Patch(
                color=COLOURS[number % len(COLOURS)],
                label=f"{name}: {percent(len(won) / len(found.cells))} of the map, {span}",
            )
        )
    if any(c.design is None for c in found.cells):
        handles.append(Patch(color=_NOWHERE, label="no design serves"))
    if found.x.own is not None and found.y.own is not None:
        handles.append(
            Line2D([], [], marker="X", color="white", markeredgecolor="black", markersize=9, linestyle="none",
                   label="the scenario itself")
        )  # fmt: skip
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.02, top), ncols=1 if len(handles) < 3 else 2,
        title=f"strong colour: wins by {percent(_FULL)} or more; pale: by little", title_fontsize=8, alignment="left",
        frameon=False, fontsize=8,
    )  # fmt: skip
