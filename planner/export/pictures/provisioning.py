"""The provisioning map as a picture: cost as shade, where each objective holds as an edge, the best plan as a star."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.tables.provisioning import describe_cell
from planner.studies.provisioning_map import ProvisioningMap

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_WIDTH, _MAP_HEIGHT, _ABOVE, _BELOW = 7.2, 3.2, 1.0, 0.95  # inches; the legend comes below
_LEGEND_COLUMNS = 2
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def provisioning_picture(found: ProvisioningMap, suffix: str) -> bytes:
    """Draw a provisioning map.

    Parameters
    ----------
    found : ProvisioningMap
    suffix : str
        `.svg`, `.png` or `.html`.

    Notes
    -----
    The paper's figure 12. Grey cells break an objective or limit. Each line is the edge of the cells at which
    one of them holds; rules with the same edge share a line.
    """
    return picture(lambda: figure_of(found), suffix, f"{found.design}: provisioning map for {found.model}")


def figure_of(found: ProvisioningMap) -> Figure:
    """Draw it."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    p, d = found.prefill, found.decode
    shape = (p.last - p.first + 1, d.last - d.first + 1)
    feasible = np.array([c.feasible for c in found.cells]).reshape(shape).T
    what, unit, values = _shaded(found)
    value = np.array(values).reshape(shape).T
    held = _grouped(found, shape)
    legend = 0.2 + 0.19 * -(-len(held) // _LEGEND_COLUMNS)
    height = _ABOVE + _MAP_HEIGHT + _BELOW + legend
    bottom, top = (_BELOW + legend) / height, _MAP_HEIGHT / height
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((0.09, bottom, 0.76, top))
    edges = np.arange(p.first, p.last + 2) - 0.5, np.arange(d.first, d.last + 2) - 0.5
    shade = axes.pcolormesh(*edges, np.where(feasible, value, np.nan), cmap="Blues", rasterized=False)
    axes.pcolormesh(*edges, np.where(feasible, np.nan, 1.0), cmap="Greys", vmin=0, vmax=7)
    if feasible.any():
        bar = figure.colorbar(shade, cax=figure.add_axes((0.865, bottom, 0.022, top)))
        bar.set_label(f"{what} [{unit}], spares included", fontsize=8.5)
        bar.outline.set_visible(False)
    _isolines(axes, found, value)
    _edges(axes, found, held, (bottom - 0.55 / height))
    if found.optimum is not None:
        at = (found.optimum.prefill_machines, found.optimum.decode_machines)
        axes.plot(
            [at[0]], [at[1]], marker="*", markersize=17, color=COLOURS[5], markeredgecolor="black", zorder=6,
            linestyle="none", clip_on=False,
        )  # fmt: skip
    axes.set_xlim(p.first - 0.5, p.last + 0.5)
    axes.set_ylim(d.first - 0.5, d.last + 0.5)
    axes.set_xlabel(f"prefill machines ({p.machine}, {p.layout})")
    axes.set_ylabel(f"decode machines ({d.machine}, {d.layout})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _caption(figure, found)
    return figure


def _shaded(found: ProvisioningMap) -> tuple[str, str, list[float]]:
    """What is shaded: the objective, or power where there is no price."""
    priced = all(c.cost_usd_per_hour is not None for c in found.cells)
    if found.objective == "machines":
        return "machines", "count", [float(c.machines) for c in found.cells]
    if found.objective == "cost" and priced:
        return "cost", "USD/h", [c.cost_usd_per_hour or 0.0 for c in found.cells]
    return "rated power", "kW", [c.power_w / 1e3 for c in found.cells]


def _isolines(axes: Axes, found: ProvisioningMap, value: object) -> None:
    """Lines of equal cost, through feasible and infeasible cells alike."""
    import numpy as np

    p, d = found.prefill, found.decode
    lines = axes.contour(
        np.arange(p.first, p.last + 1), np.arange(d.first, d.last + 1), value, levels=7, colors="#555555",
        linewidths=0.5, zorder=3,
    )  # fmt: skip
    axes.clabel(lines, fontsize=7, fmt=lambda v: f"{v:,.0f}")


def _grouped(found: ProvisioningMap, shape: tuple[int, int]) -> list[tuple[Mask, list[str]]]:
    """Where each rule holds; rules that hold at the same cells together, those that hold everywhere left out."""
    import numpy as np

    held: dict[bytes, tuple[Mask, list[str]]] = {}
    for rule in found.rules:
        mask = np.array([rule not in c.broken for c in found.cells]).reshape(shape).T
        if not mask.all():
            held.setdefault(mask.tobytes(), (mask, []))[1].append(rule)
    return list(held.values())


def _edges(axes: Axes, found: ProvisioningMap, held: list[tuple[Mask, list[str]]], legend_top: float) -> None:
    """The edge of where each rule holds, named below the map."""
    import numpy as np

    p, d = found.prefill, found.decode
    handles = []
    for number, (mask, rules) in enumerate(held):
        look: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": _DASHES[(number + number // len(COLOURS)) % len(_DASHES)],
            "linewidth": 2.0,
        }
        xs: list[float] = []
        ys: list[float] = []
        for row, column, length in _runs(mask[1:, :] != mask[:-1, :]):
            xs += [p.first + column - 0.5, p.first + column + length - 0.5, np.nan]
            ys += [d.first + row + 0.5] * 2 + [np.nan]
        for column, row, length in _runs((mask[:, 1:] != mask[:, :-1]).T):
            xs += [p.first + column + 0.5] * 2 + [np.nan]
            ys += [d.first + row - 0.5, d.first + row + length - 0.5, np.nan]
        label = ", ".join(rules) + (" (nowhere here)" if not mask.any() else "")
        handles += axes.plot(xs or [np.nan], ys or [np.nan], label=label, zorder=4, **look)
    if handles:
        axes.figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.02, legend_top), ncols=_LEGEND_COLUMNS, frameon=False,
            fontsize=8, title="holds to the right of, or above, its line", title_fontsize=8, alignment="left",
        )  # fmt: skip


def _runs(change: Mask) -> list[tuple[int, int, int]]:
    """Row, first column and length of each run of true cells along a row."""
    runs: list[tuple[int, int, int]] = []
    for row, line in enumerate(change):
        start = None
        for column, here in enumerate([*line, False]):
            if here and start is None:
                start = column
            elif not here and start is not None:
                runs.append((row, start, column - start))
                start = None
    return runs


def _caption(figure: Figure, found: ProvisioningMap) -> None:
    head = f"{found.design} for {found.model} ({found.precision}, {found.runtime})"
    best = "no feasible cell" if found.optimum is None else f"star: {describe_cell(found.optimum, found)}"
    slo = ", ".join(found.scenario["slo"])
    if len(slo) > 150:
        slo = f"{len(found.scenario['slo'])} objectives ({', '.join(found.scenario['slo'][:2])}, ...)"
    under = f"{found.workload} at {found.rate_per_s:g} requests/s, {slo}; {best}"
    note = "Grey: an objective or limit breaks. Thin lines: equal " + ("cost" if found.objective == "cost" else "value")
    caption(figure, head, under, f"{note}. planner {found.planner_version}, catalog {found.catalog_digest}.")
