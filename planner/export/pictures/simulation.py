"""A simulation as a picture: how it went over time, and how its latencies are distributed beside the limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from planner.export.pictures.charts import COLOURS, caption, picture
from planner.export.tables.text import counted, number, percent
from planner.simulation.report import DistributionReport, SimulationReport, TimelineReport
from planner.units import format_time
from planner.workload.objectives import METRIC_TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (7.2, 9.2)
_LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_LEFT, _WIDTH = 0.115, 0.855
_TOP, _PANEL, _GAP = 0.918, 0.12, 0.018  # of the timeline's panels, in shares of the figure
_CDF_BOTTOM, _CDF_HEIGHT, _CDF_GAP = 0.095, 0.19, 0.045
_HUNDREDTHS = tuple(d / 100 for d in range(100, 1000))
_FAILED: dict[str, Any] = {"color": "#999999", "alpha": 0.25, "linewidth": 0}
_LIMIT: dict[str, Any] = {"color": COLOURS[1], "linewidth": 1.3}


def simulation_picture(report: SimulationReport, suffix: str) -> bytes:
    """Draw a simulation.

    Parameters
    ----------
    report : SimulationReport
    suffix : str
        `.svg`, `.png` or `.html`.

    Returns
    -------
    bytes
        The whole file; the same for the same report and version of matplotlib.

    Notes
    -----
    Above, the first run in intervals of equal length, the warm-up included: arrivals, queueing and TTFT of the requests
    that arrived in each, and of each pool the sequences that decode on a lane and the share of KV memory reserved.
    Machines that are down are shaded. Below, the distributions of all runs after the warm-up, with absolute limits as
    lines at their percentile and the predicted percentiles as crosses.
    """
    return picture(lambda: figure_of(report), suffix, _headline(report))


def _headline(report: SimulationReport) -> str:
    return (
        f"{report.design} for {report.model}, {report.workload} at {number(report.arrivals.rate_per_s)} requests/s"
        + (" on average" if report.arrivals.kind == "rates" else "")
        + (f" ({number(report.load)}x load)" if report.load != 1.0 else "")
    )


def figure_of(report: SimulationReport) -> Figure:
    """Draw it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES)
    if report.timeline is not None:
        _timeline(figure, report, report.timeline)
    width = (_WIDTH - 2 * _CDF_GAP) / 3
    for n, distribution in enumerate(report.distributions):
        axes = figure.add_axes((_LEFT + n * (width + _CDF_GAP), _CDF_BOTTOM, width, _CDF_HEIGHT))
        _distribution(axes, report, distribution)
        if n:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("share of requests")
    pools = " + ".join(f"{p.count} x {p.machine} {p.role} ({p.layout})" for p in report.pools)
    verdict = "" if report.stable else "; UNSTABLE: it cannot keep up"
    verdict += "; INTERRUPTED" if report.interrupted else ""
    runs = counted(len(report.seeds), "run")
    under = f"{pools}; {report.policy_name}; {counted(report.n_requests, 'request')} in {runs}{verdict}"
    caption(figure, _headline(report), under, _note(report))
    return figure


def _note(report: SimulationReport) -> str:
    first = f"Above: the run of seed {report.timeline.seed}, warm-up included. " if report.timeline else ""
    note = f"{first}Below: all runs after the warm-up; lines: limits at their percentile; crosses: predicted."
    slow = [o.objective for o in report.objectives if o.unit == "x"]
    if slow:
        note += f" Limits as a slowdown are not lines: {', '.join(slow)}."
    if report.failures:
        note += " Shaded: a machine is down."
    return f"{note} planner {report.planner_version}, catalog {report.catalog_digest}."


def _timeline(figure: Figure, report: SimulationReport, timeline: TimelineReport) -> None:
    scale, unit = _time_unit(timeline.start_s[-1] + timeline.interval_s)
    edges = [t * scale for t in (*timeline.start_s, timeline.start_s[-1] + timeline.interval_s)]
    panels = [figure.add_axes((_LEFT, _TOP - _PANEL - n * (_PANEL + _GAP), _WIDTH, _PANEL)) for n in range(4)]
    arrivals, latency, batch, memory = panels
    _stairs(arrivals, timeline.arrivals_per_s, edges, COLOURS[0], _LINES[0], "arrivals")
    arrivals.set_ylabel("requests/s")
    for n, (values, name) in enumerate(
        (
            (timeline.ttft_p99_s, "TTFT p99"),
            (timeline.ttft_p50_s, "TTFT p50"),
            (timeline.queueing_mean_s, "queueing, mean"),
        )
    ):
        _stairs(latency, values, edges, COLOURS[n], _LINES[n], name)
    latency.set_ylabel("latency, s")
    several = len({pool.role for pool in timeline.pools}) < len(timeline.pools)
    for n, pool in enumerate(timeline.pools):
        name = f"{pool.role} {pool.machine}" if several else pool.role
        look = (COLOURS[n % len(COLOURS)], _LINES[n % len(_LINES)], name)
        if any(pool.batch):
            _stairs(batch, pool.batch, edges, *look)
        _stairs(memory, [None if v is None else 100.0 * v for v in pool.memory_used], edges, *look)
    batch.set_ylabel("sequences\ndecoding a lane")
    memory.set_ylabel("KV memory\nreserved, %")
    for axes in panels:
        axes.set_ylim(bottom=0.0)
        axes.margins(x=0.0)
        axes.set_xlim(edges[0], edges[-1])
        axes.grid(True, color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_label_coords(-0.075, 0.5)
        if axes is not memory:
            axes.set_xticklabels([])
        for failure in report.failures:
            end = edges[-1] if failure.repaired_s is None else min(failure.repaired_s * scale, edges[-1])
            if failure.at_s * scale < edges[-1]:
                axes.axvspan(failure.at_s * scale, end, **_FAILED)
        if axes is not arrivals and axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="lower right", bbox_to_anchor=(1.0, 0.93), ncols=4, frameon=False, fontsize=7.5, borderpad=0,
                handlelength=2.4, columnspacing=1.2,
            )  # fmt: skip
    memory.set_xlabel(f"time since the first request could come, {unit}", labelpad=2)


def _stairs(axes: Axes, values: Any, edges: list[float], colour: str, line: Any, name: str) -> None:
    known = [float("nan") if v is None else v for v in values]
    axes.stairs(known, edges, baseline=None, color=colour, linestyle=line, linewidth=1.1, label=name)


def _time_unit(seconds: float) -> tuple[float, str]:
    if seconds < 600:
        return 1.0, "s"
    return (1 / 60, "minutes") if seconds < 4 * 3600 else (1 / 3600, "hours")


def _distribution(axes: Axes, report: SimulationReport, distribution: DistributionReport) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    metric, title = distribution.metric, METRIC_TITLES[distribution.metric]
    axes.plot(distribution.values_s, [100.0 * s for s in distribution.shares], color=COLOURS[0], linewidth=1.4)
    at = [v for v in distribution.values_s if v > 0]
    limits = [o for o in report.objectives if o.metric == metric and o.unit == "s"]
    for objective in limits:
        axes.plot([objective.limit] * 2, [0.0, objective.percentile], **_LIMIT)
        axes.plot([objective.limit], [objective.percentile], marker="v", markersize=5, color=_LIMIT["color"])
        axes.annotate(
            f"{format_time(objective.limit)} at p{number(objective.percentile, 6)}",
            (objective.limit, objective.percentile / 2), xytext=(-3, 0), textcoords="offset points", rotation=90,
            fontsize=7.5, color=_LIMIT["color"], ha="right", va="center",
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip
        at.append(objective.limit)
    for latency in report.latencies:
        if latency.metric == metric:
            for p, found in ((50.0, latency.p50), (90.0, latency.p90), (99.0, latency.p99)):
                if found.predicted is not None:
                    axes.plot([found.predicted], [p], marker="x", markersize=5, color="#000000", zorder=4)
                    at.append(found.predicted)
    axes.set_ylim(0.0, 103.0)
    axes.set_title(title, loc="left", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: percent(y / 100.0)))
    if at:
        left, right = min(at) / 1.15, max(at) * 1.15
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        axes.xaxis.set_major_locator(FixedLocator(round_ticks(left, right)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))


def round_ticks(left: float, right: float, most: int = 4) -> list[float]:
    """Round values inside a logarithmic axis, as many as their labels have room for."""
    decades = range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1)
    found: list[float] = []
    for digits in (
        (1,),
        (1, 3),
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 7),
        tuple(d / 10 for d in range(10, 100)),
        _HUNDREDTHS,
    ):
        finer = [d * 10.0**e for e in decades for d in digits if left < d * 10.0**e < right]
        if len(finer) <= most:
            found = finer
        elif len(found) < 2:
            return finer[:: math.ceil(len(finer) / most)]
    return found


def _short(seconds: float) -> str:
    return f"{number(seconds * 1e3, 3)} ms" if seconds < 0.9995 else f"{number(seconds, 3)} s"
