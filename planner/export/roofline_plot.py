"""The roofline of one step as a picture: SVG, PNG, or HTML that holds the SVG.

Drawn by matplotlib, which comes with the extra `plot` and is imported when a picture is asked for, and not before.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import OutputError
from planner.estimation import Estimate, OperatorShare, RoofLimit
from planner.export.estimate_table import what_of
from planner.export.text import percent
from planner.units import format_bandwidth, format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".html")
_SIZE_INCHES = (7.2, 5.0)
_DOTS_PER_INCH = 200
# Blue and vermilion of Okabe and Ito, told apart in every colour vision; the shape says it again in black and white.
_LOOKS = {"memory": ("#0072B2", "o"), "compute": ("#D55E00", "s")}
_REACHED, _PEAK = "#222222", "#777777"
_LARGEST_POINT = 26.0  # points across of an operator that takes the whole step; areas go with shares
_SMALLEST_POINT = 5.0
_LABEL_POINTS = 8.5
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "planner",  # the same estimate gives the same bytes
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be made, before any work is done.

    Raises
    ------
    OutputError
        A file name that says no format, or matplotlib is not installed.
    """
    if path.suffix.casefold() not in SUFFIXES:
        raise OutputError(
            "a picture is SVG, PNG or HTML, as its name says",
            where="--plot",
            value=str(path),
            rule=f"a name that ends with {', '.join(SUFFIXES)}",
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(
            "matplotlib is not installed, and pictures are drawn with it",
            where="--plot",
            fix="pip install 'splitwise-planner[plot]'",
        ) from None


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
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        figure = _figure(estimate)
        stream = io.BytesIO()
        if suffix == ".png":
            figure.savefig(stream, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
            return stream.getvalue()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": _headline(estimate)})
    if suffix == ".svg":
        return stream.getvalue()
    return _page(estimate, stream.getvalue().decode("utf-8")).encode("utf-8")


def _page(estimate: Estimate, svg: str) -> str:
    title = html.escape(_headline(estimate))
    picture = svg[svg.index("<svg") :]
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        "<style>figure { margin: 1rem auto; max-width: 60rem } svg { width: 100%; height: auto }</style>\n"
        f"</head>\n<body>\n<figure>\n{picture}\n<figcaption>{title}</figcaption>\n</figure>\n</body>\n</html>\n"
    )


def _headline(estimate: Estimate) -> str:
    return f"{estimate.model} on {estimate.machine}, {estimate.layout}: {what_of(estimate)}"


def _figure(estimate: Estimate) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, FuncFormatter

    figure = Figure(figsize=_SIZE_INCHES)
    axes = figure.add_axes((0.115, 0.19, 0.865, 0.68))
    memory, *compute = estimate.roofs
    drawn = [row for row in estimate.breakdown if row.flop > 0 and row.flop_per_byte]
    ridge = compute[0].peak / memory.peak
    lowest_ridge = min(r.peak for r in compute) / memory.peak
    at = [row.flop_per_byte or 0.0 for row in drawn]
    left, right = min([lowest_ridge / 20, *(x / 3 for x in at)]), max([ridge * 8, *(x * 6 for x in at)])
    bottom = min([left * memory.achieved, *(row.flop_per_s / 3 for row in drawn)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, compute[0].peak * 2.6)
    axes.set_xlabel("arithmetic intensity, FLOP/byte")
    axes.set_ylabel("of one accelerator")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
    axes.yaxis.set_major_formatter(EngFormatter(unit="FLOP/s"))
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    taken = [*_roofs(axes, memory, compute, left, right)]
    _points(axes, drawn, taken)
    _legend(axes)
    _captions(figure, estimate, drawn)
    return figure


def _roofs(axes: Axes, memory: RoofLimit, compute: list[RoofLimit], left: float, right: float) -> list[Any]:
    """Draw and label the roofs; returns where the labels are, in points."""
    boxes = []
    for reached in (False, True):
        style: dict[str, Any] = (
            {"color": _REACHED, "linewidth": 1.6} if reached else {"color": _PEAK, "linewidth": 1.0, "linestyle": (0, (5, 3))}
        )
        slope = memory.achieved if reached else memory.peak
        flat = [roof.achieved if reached else roof.peak for roof in compute]
        axes.plot([left, max(flat) / slope], [left * slope, max(flat)], **style, zorder=2)
        for level in flat:
            axes.plot([level / slope, right], [level, level], **style, zorder=2)
    for roof in compute:
        word = f"{roof.name}: {roof.peak / 1e12:,.4g} TFLOP/s, reached {roof.achieved / 1e12:,.3g}"
        boxes.append(_along(axes, right, roof.peak, word, 0.0))
    start = left * 1.25
    (x0, y0), (x1, y1) = axes.transData.transform([(start, start * memory.peak), (start * 10, start * 10 * memory.peak)])
    import math

    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    word = f"{format_bandwidth(memory.peak)}, reached {format_bandwidth(memory.achieved)}"
    _along(axes, start, start * memory.peak, word, angle)
    return boxes


def _along(axes: Axes, x: float, y: float, word: str, angle: float) -> tuple[float, float, float, float]:
    """Write along a roof, just above it: to the left of `x` if it is level, else from there upwards."""
    level = angle == 0.0
    axes.annotate(
        word, (x, y), xytext=(0, 3) if level else (0, 5), textcoords="offset points", fontsize=7.5, color="#444444",
        rotation=angle, rotation_mode="anchor", ha="right" if level else "left", va="bottom",
    )  # fmt: skip
    px, py = axes.transData.transform((x, y)) * 72.0 / axes.figure.dpi
    return (px - 4.2 * len(word), py, px, py + 12.0)


def _points(axes: Axes, drawn: list[OperatorShare], taken: list[tuple[float, float, float, float]]) -> None:
    """Operators as points, and beside each its name and share where no other word or point is."""
    scale = 72.0 / axes.figure.dpi
    placed: list[tuple[OperatorShare, float, float, float]] = []
    for row in sorted(drawn, key=lambda r: -r.share):
        colour, marker = _LOOKS[row.bound]
        across = max(_LARGEST_POINT * row.share**0.5, _SMALLEST_POINT)
        axes.plot(
            [row.flop_per_byte], [row.flop_per_s], marker=marker, markersize=across, color=colour, alpha=0.8,
            markeredgecolor="white", markeredgewidth=0.8, linestyle="none", zorder=4,
        )  # fmt: skip
        x, y = axes.transData.transform((row.flop_per_byte, row.flop_per_s)) * scale
        placed.append((row, float(x), float(y), across / 2.0))
        taken.append((x - across / 2, y - across / 2, x + across / 2, y + across / 2))
    limit = axes.bbox.x1 * scale
    for row, x, y, radius in placed:
        word = f"{row.name} {percent(row.share, 1)}"
        width, height = 0.58 * _LABEL_POINTS * len(word), _LABEL_POINTS + 2.5
        box = _free(x, y, radius, width, height, limit, taken)
        taken.append(box)
        axes.annotate(
            word, (row.flop_per_byte or 0.0, row.flop_per_s), xytext=(box[0] - x, (box[1] + box[3]) / 2 - y),
            textcoords="offset points", fontsize=_LABEL_POINTS, va="center", ha="left", zorder=5,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkA": 0, "shrinkB": radius},
        )  # fmt: skip


def _free(
    x: float, y: float, radius: float, width: float, height: float, limit: float,
    taken: list[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:  # fmt: skip
    """A place for a word beside a point, as near as may be: to its right or left, then up and down."""
    places = []
    for shift in range(0, 120, 3):
        for sign in (1, -1):
            for side in (x + radius + 6, x - radius - 6 - width):
                middle = y + sign * shift
                places.append((side, middle - height / 2, side + width, middle + height / 2))
    for box in places:
        clear = all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken)
        if clear and box[2] < limit:
            return box
    return places[0]


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_REACHED, linewidth=1.6, label="reached by the runtime"),
        Line2D([], [], color=_PEAK, linewidth=1.0, linestyle=(0, (5, 3)), label="datasheet"),
    ]
    for bound, (colour, marker) in _LOOKS.items():
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7, label=f"{bound}-bound operator")
        )
    axes.legend(handles=handles, loc="lower right", frameon=True, framealpha=0.95, edgecolor="#dddddd", fontsize=8)


def _captions(figure: Figure, estimate: Estimate, drawn: list[OperatorShare]) -> None:
    import textwrap

    lines = textwrap.wrap(_headline(estimate), 88)
    for n, line in enumerate(lines[:2]):
        figure.text(0.02, 0.965 - 0.038 * n, line, fontsize=9.5, weight="bold", va="center")
    figure.text(
        0.02, 0.965 - 0.04 * len(lines[:2]),
        f"{estimate.precision}, {estimate.runtime}: {format_time(estimate.latency_s)} +/- "
        f"{percent(estimate.step_time_error)}, mostly {estimate.bound}-bound",
        fontsize=9.0, va="center",
    )  # fmt: skip
    others = [row for row in estimate.breakdown if row not in drawn]
    words = ", ".join(f"{row.name} {percent(row.share, 1)}" for row in sorted(others, key=lambda r: -r.share))
    note = "Points: FLOP/s achieved, kernel launches included; area and label: share of the step."
    if words:
        note += f" Without FLOP: {words}."
    for n, line in enumerate(textwrap.wrap(note, 112)):
        figure.text(0.02, 0.075 - 0.035 * n, line, fontsize=8.0, color="#333333", va="center")
