"""The roofline of one step as a picture: SVG, PNG, or HTML that holds the SVG.

Drawn by matplotlib, which comes with the extra `plot` and is imported when a picture is asked for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, picture
from planner.export.tables.estimate import what_of
from planner.export.tables.text import percent
from planner.studies.estimate import Estimate, OperatorShare, RoofLimit
from planner.units import format_bandwidth, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (7.2, 5.8)
# Blue and vermilion of Okabe and Ito, told apart in every colour vision; the shape says it again in black and white.
LOOKS = {"memory": (COLOURS[0], "o"), "compute": (COLOURS[1], "s")}
_REACHED_LINE: dict[str, Any] = {"color": "#222222", "linewidth": 1.6}
_PEAK_LINE: dict[str, Any] = {"color": "#777777", "linewidth": 1.0, "linestyle": (0, (5, 3))}
Box = tuple[float, float, float, float]  # left, bottom, right, top
_LARGEST_POINT = 26.0  # points across of an operator that takes the whole step; areas go with shares
_SMALLEST_POINT = 5.0
_LABEL_POINTS = 8.5


def roofline_picture(estimate: Estimate, suffix: str) -> bytes:
    """Draw an estimate as a roofline.

    Parameters
    ----------
    estimate : Estimate
    suffix : str
        `.svg`, `.png` or `.html`.

    Returns
    -------
    bytes
        The whole file; the same for the same estimate and version of matplotlib.

    Notes
    -----
    Attainable FLOP/s over arithmetic intensity, both logarithmic, of one accelerator. Dashed lines are its datasheet,
    solid ones what the runtime reaches. Points are operators at the FLOP/s they achieve, kernel launches included, with
    their share of the step as area and label. Operators without FLOP are named below.

    References
    ----------
    .. [1] Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009.
    """
    return picture(lambda: figure_of(estimate), suffix, _headline(estimate))


def _headline(estimate: Estimate) -> str:
    return f"{estimate.model} on {estimate.machine}, {estimate.layout}: {what_of(estimate)}"


def figure_of(estimate: Estimate) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, FuncFormatter

    figure = Figure(figsize=_SIZE_INCHES)
    axes = figure.add_axes((0.135, 0.305, 0.795, 0.545))
    memory, *compute = estimate.roofs
    drawn = [row for row in estimate.breakdown if row.flop > 0 and row.flop_per_byte]
    at = [row.flop_per_byte or 0.0 for row in drawn]
    ridges = [roof.peak / memory.peak for roof in compute]
    left, right = min([min(ridges) / 20, *(x / 3 for x in at)]), max([max(ridges) * 8, *(x * 14 for x in at)])
    bottom = min([left * memory.achieved, *(row.flop_per_s / 3 for row in drawn)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, compute[0].peak * 2.0)
    axes.set_xlabel("arithmetic intensity, FLOP a byte of memory traffic")
    axes.set_title("FLOP/s of one accelerator", loc="left", fontsize=8.5, x=-0.1447, pad=9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
    axes.yaxis.set_major_formatter(EngFormatter(unit="FLOP/s"))
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    _points(axes, drawn, _roofs(axes, memory, compute, left, right))
    _legend(figure, memory, compute)
    _captions(figure, estimate, drawn)
    return figure


def _roofs(axes: Axes, memory: RoofLimit, compute: list[RoofLimit], left: float, right: float) -> list[Box]:
    """Draw the roofs, named at their right end; returns small boxes along them, in points."""
    import numpy as np

    scale = 72.0 / axes.figure.dpi
    boxes: list[Box] = []
    names: list[tuple[float, str, str]] = []
    for reached, style in ((False, _PEAK_LINE), (True, _REACHED_LINE)):
        slope = memory.achieved if reached else memory.peak
        flat = {roof.name: roof.achieved if reached else roof.peak for roof in compute}
        top = max(flat.values())
        axes.plot([left, top / slope], [left * slope, top], **style, zorder=2)
        lines = [([left, top / slope], [left * slope, top])]
        for name, level in flat.items():
            lines.append(([level / slope, right], [level, level]))
            axes.plot(*lines[-1], **style, zorder=2)
            names.append((float(axes.transData.transform((right, level))[1]) * scale, name, style["color"]))
        for xs, ys in lines:
            (x0, y0), (x1, y1) = axes.transData.transform(list(zip(xs, ys, strict=True))) * scale
            boxes += [(x - 1, y - 1, x + 1, y + 1) for x, y in np.linspace((x0, y0), (x1, y1), 120)]
    height = 0.0
    for at, name, colour in sorted(names):
        height = max(at, height + 8.5)
        axes.annotate(
            name, (1.0, 0.0), xycoords="axes fraction", xytext=(4, height - axes.bbox.y0 * scale), va="center",
            textcoords="offset points", fontsize=8, color=colour, annotation_clip=False,
        )  # fmt: skip
    return boxes


def _points(axes: Axes, drawn: list[OperatorShare], taken: list[Box]) -> None:
    """Operators as points, and beside each its name and share where no other word or point is."""
    scale = 72.0 / axes.figure.dpi
    placed: list[tuple[OperatorShare, float, float, float]] = []
    for row in sorted(drawn, key=lambda r: -r.share):
        colour, marker = LOOKS[row.bound]
        intensity = row.flop_per_byte or 0.0
        across = max(_LARGEST_POINT * row.share**0.5, _SMALLEST_POINT)
        axes.plot(
            [intensity], [row.flop_per_s], marker=marker, markersize=across, color=colour, alpha=0.8,
            markeredgecolor="white", markeredgewidth=0.8, linestyle="none", zorder=4,
        )  # fmt: skip
        x, y = axes.transData.transform((intensity, row.flop_per_s)) * scale
        placed.append((row, float(x), float(y), across / 2.0))
        taken.append((x - across / 2, y - across / 2, x + across / 2, y + across / 2))
    frame = (axes.bbox.x0 * scale + 3, axes.bbox.y0 * scale + 2, axes.bbox.x1 * scale, axes.bbox.y1 * scale)
    # The names that have least room first.
    for row, x, y, radius in sorted(placed, key=lambda p: -p[2]):
        word = f"{row.name} {percent(row.share, 1)}"
        width, height = 0.58 * _LABEL_POINTS * len(word), _LABEL_POINTS + 2.5
        box = free_place(x, y, radius, width, height, frame, taken)
        taken.append(box)
        axes.annotate(
            word, (row.flop_per_byte or 0.0, row.flop_per_s), xytext=(box[0] - x, (box[1] + box[3]) / 2 - y),
            textcoords="offset points", fontsize=_LABEL_POINTS, va="center", ha="left", zorder=5,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkA": 1, "shrinkB": radius,
                        "relpos": (0.0 if box[0] > x else 1.0, 0.5)},
        )  # fmt: skip


def free_place(
    x: float, y: float, radius: float, width: float, height: float, frame: Box,
    taken: list[Box],
) -> Box:  # fmt: skip
    """A place for a word beside a point, as near as may be: to its right or left, then up and down."""
    first, lowest, last, _ = frame
    places: list[Box] = []
    for shift in range(0, 160, 3):
        for away in (6, 24, 48):
            for side in (x + radius + away, x - radius - away - width):
                for middle in (y - shift, y + shift):
                    places.append((side, middle - height / 2, side + width, middle + height / 2))
    places.sort(key=lambda box: abs((box[1] + box[3]) / 2 - y) + max(box[0] - x, x - box[2]) / 2)
    for box in places:
        clear = all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken)
        if clear and first < box[0] and box[2] < last and box[1] > lowest:
            return box
    return places[0]


def _legend(figure: Figure, memory: RoofLimit, compute: list[RoofLimit]) -> None:
    from matplotlib.lines import Line2D

    def words(what: str, reached: bool) -> str:
        rates = ", ".join(f"{r.name} {(r.achieved if reached else r.peak) / 1e12:,.0f}" for r in compute)
        return f"{what}: {format_bandwidth(memory.achieved if reached else memory.peak)}, {rates} TFLOP/s"

    handles = [
        Line2D([], [], **_PEAK_LINE, label=words("datasheet", False)),
        Line2D([], [], **_REACHED_LINE, label=words("reached in large steps", True)),
    ]
    for bound, (colour, marker) in LOOKS.items():
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7, label=f"{bound}-bound operator")
        )
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.01, 0.155), ncols=2, frameon=False, fontsize=8,
        columnspacing=1.5,
    )  # fmt: skip


def _captions(figure: Figure, estimate: Estimate, drawn: list[OperatorShare]) -> None:
    import textwrap

    where = f"{estimate.model} ({estimate.precision}, {estimate.runtime}) on {estimate.machine}, {estimate.layout}"
    what = (
        f"{what_of(estimate)}: {format_time(estimate.latency_s)} +/- {percent(estimate.step_time_error)}, "
        f"mostly {estimate.bound}-bound"
    )
    figure.text(0.02, 0.965, where, fontsize=9.5, weight="bold", va="center")
    for n, line in enumerate(textwrap.wrap(what, 105)):
        figure.text(0.02, 0.93 - 0.031 * n, line, fontsize=9.0, va="center")
    others = [row for row in estimate.breakdown if row not in drawn]
    words = ", ".join(f"{row.name} {percent(row.share, 1)}" for row in sorted(others, key=lambda r: -r.share))
    note = "Points: FLOP/s achieved, kernel launches included; area and label: share of the step."
    if words:
        note += f" Without FLOP: {words}."
    for n, line in enumerate(textwrap.wrap(note, 112)):
        figure.text(0.02, 0.088 - 0.03 * n, line, fontsize=8.0, color="#333333", va="center")
