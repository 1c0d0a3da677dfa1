"""A frontier as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.text import counted, fitted, load_text, number, percent, wrapped
from planner.planning.record import NOT_SIMULATED
from planner.studies.frontier_result import Frontier, FrontierPoint
from planner.units import format_time
from planner.workload.objectives import parse_objective

WIDTH = 100
_LABEL_WIDTH = 10
_TITLES = {"USD/h": "$/h", "W": "kW rated", "machines": "machines", "x": "x", "requests/s": "requests/s"}
_SHOWN = (("cost", "$/h"), ("power", "kW rated"), ("machines", "machines"))


def frontier_table(
    frontier: Frontier, today: datetime.date, *, width: int = WIDTH, table_width: int | None = None
) -> str:
    """Return a frontier as text.

    Parameters
    ----------
    frontier : Frontier
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.
    table_width : int, optional
        Columns that a table may take, beyond which it goes on below; left out: what it needs.

    Returns
    -------
    str
        Lines, the last one ended; a row a plan.
    """
    blocks = [
        frontier_headline(frontier, width),
        *_points(frontier, table_width),
        remarks(_labels(frontier, today), _LABEL_WIDTH, width),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def frontier_title(frontier: Frontier) -> str:
    """`Least cost against rated power`."""
    return f"Least {frontier.y_label} against {frontier.x_label}"


def frontier_scenario(frontier: Frontier) -> str:
    """Model, workload and load of a frontier."""
    rate = "" if frontier.x == "rate" else f" at {load_text(frontier.scenario)}"
    return f"{frontier.model} ({frontier.precision}, {frontier.runtime}), {frontier.workload}{rate}"


def frontier_headline(frontier: Frontier, width: int) -> list[str]:
    """Title, scenario and objectives as lines."""
    lines = wrapped(f"{frontier_title(frontier)}: {frontier_scenario(frontier)}", width)
    lines += objectives_lines(frontier, width, besides=frontier.x)
    if not frontier.complete:
        lines.append("NOT COMPLETE: points may be missing, or are not proven")
    return lines


def _points(frontier: Frontier, width: int | None) -> list[list[str]]:
    objective = "." in frontier.x
    x_title = parse_objective(f"{frontier.x}=1s").label + " <=" if objective else _TITLES[frontier.x_unit]
    y_title = _TITLES[frontier.y_unit]
    rest = [(name, title) for name, title in _SHOWN if name not in (frontier.x, frontier.y)]
    titles = [x_title, y_title, *(title for _, title in rest), "plan", "TTFT p99", "TBT p99", "E2E p99"]
    if any(point.status == "limit" for point in frontier.points):
        titles.append("proof")
    rows = []
    for point in frontier.points:
        cells = [_figure(point.x, frontier.x_unit), _figure(point.y, frontier.y_unit)]
        cells += [_other(point, name) for name, _ in rest]
        cells.append(_plan(point))
        cells += [_time(value) for value in (point.ttft_p99_s, point.tbt_p99_s, point.e2e_p99_s)]
        if "proof" in titles:
            cells.append("optimal" if point.status == "optimal" else f"NOT proven, gap {percent(point.gap, 1)}")
        rows.append(cells)
    return fitted(titles, rows, right=titles[: 2 + len(rest)] + titles[-4:], keys=2, width=width)


def _plan(point: FrontierPoint) -> str:
    return f"{point.pools} ({point.design})" if point.design != "mixed fleet" else point.pools


def _figure(value: float, unit: str) -> str:
    return {
        "USD/h": lambda: f"{value:,.2f}",
        "W": lambda: f"{value / 1e3:,.1f}",
        "machines": lambda: f"{value:,.0f}",
        "s": lambda: format_time(value),
        "x": lambda: f"{number(value, 3)}x",
        "requests/s": lambda: number(value),
    }[unit]()


def _other(point: FrontierPoint, name: str) -> str:
    if name == "cost":
        return "-" if point.cost_usd_per_hour is None else f"{point.cost_usd_per_hour:,.2f}"
    return f"{point.power_w / 1e3:,.1f}" if name == "power" else f"{point.machines:,}"


def _time(value: float | None) -> str:
    return "-" if value is None else format_time(value)


def _labels(frontier: Frontier, today: datetime.date) -> Iterator[tuple[str, str]]:
    proven = sum(point.status == "optimal" for point in frontier.points)
    yield "Method", frontier.method
    yield (
        "Proof",
        f"{proven} of {counted(len(frontier.points), 'point')} proven, in {counted(frontier.solves, 'solve')}",
    )
    yield "Ends", frontier.ends
    if frontier.verified != NOT_SIMULATED:
        yield "Simulated", "; ".join(sorted({point.verified for point in frontier.points}))
    yield from trusted(frontier, today)
