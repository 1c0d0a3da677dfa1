"""The network map as a picture: what splitting costs over the bandwidth of the links, either way of sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.pictures.regime import line_rate_ticks
from planner.export.tables.network import break_even_text, headline
from planner.studies.network_map import WAYS, NetworkMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_INCHES = (7.2, 5.7)
_LOOKS: dict[str, dict[str, Any]] = {
    "overlapped": {"color": COLOURS[0], "marker": "o", "linestyle": "-"},
    "serialised": {"color": COLOURS[1], "marker": "s", "linestyle": "--"},
}
_TALLEST = 3.0  # times the cost of the mixed design; above, splitting is off the picture
_UNITS = {"cost": ("cost", "USD/h", 1.0), "power": ("rated power", "kW", 1e-3), "machines": ("machines", "count", 1.0)}


def network_picture(found: NetworkMap, suffix: str) -> bytes:
    """Draw a network map.

    Parameters
    ----------
    found : NetworkMap
    suffix : str
        `.svg`, `.png` or `.html`.
    """
    return picture(lambda: figure_of(found), suffix, headline(found)[0])


def figure_of(found: NetworkMap) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    what, unit, scale = _UNITS[found.objective]
    figure = Figure(figsize=_SIZE_INCHES)
    axes = figure.add_axes((0.11, 0.31, 0.85, 0.52))
    axes.set_xscale("log")
    tops = []
    for way in ("serialised", "overlapped"):
        plans = [(p.nic_bandwidth_bytes_per_s, getattr(p, way)) for p in found.points]
        drawn = [(rate, plan.value * scale) for rate, plan in plans if plan is not None]
        tops += [value for _, value in drawn]
        if drawn:
            axes.plot(
                *zip(*drawn, strict=True), markersize=4, linewidth=1.6, label=f"split, {way}", zorder=3, **_LOOKS[way]
            )
        at = found.break_even[way].pays_at_bytes_per_s  # type: ignore[index]
        if at is not None:
            axes.axvline(at, color=_LOOKS[way]["color"], linewidth=1.0, linestyle=":", zorder=2)
    if found.mixed is not None:
        level = found.mixed.value * scale
        axes.axhline(
            level, color="#222222", linewidth=1.6, linestyle="-.", label=f"mixed, {found.mixed.design}", zorder=2
        )
        tops.append(level)
        axes.set_ylim(0, min(max(tops) * 1.08, _TALLEST * level))
    first, last = found.points[0].nic_bandwidth_bytes_per_s, found.points[-1].nic_bandwidth_bytes_per_s
    axes.set_xlim(first, last)
    line_rate_ticks(axes.xaxis, first, last)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.6g}"))
    axes.set_xlabel("line rate of each NIC")
    axes.set_ylabel(f"{what} [{unit}], spares included")
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    above = [x for x in found.links if first <= x.line_rate_bytes_per_s <= last and x.fabric.startswith("ethernet")]
    for link in above:
        axes.annotate(
            link.fabric, (link.line_rate_bytes_per_s, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=7, color="#555555",
        )  # fmt: skip
    figure.legend(loc="upper left", bbox_to_anchor=(0.02, 0.215), ncols=3, frameon=False, fontsize=8)
    head, under = headline(found)
    slo = ", ".join(found.scenario["slo"])
    breaks = ". ".join(f"{way.capitalize()}: {break_even_text(found.break_even[way], way)}" for way in WAYS)
    note = (
        f"{breaks} (dotted, exact). Objectives {slo}. planner {found.planner_version}, catalog {found.catalog_digest}."
    )
    caption(figure, head, under, note)
    return figure
