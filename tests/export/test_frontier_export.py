"""A frontier as text and as a picture."""

from __future__ import annotations

import datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from planner.export.pictures.frontier import figure_of, frontier_picture
from planner.export.tables.frontier import frontier_table
from planner.studies.frontier import frontier
from planner.studies.frontier_result import Frontier

TODAY = datetime.date(2026, 11, 26)


@pytest.fixture(scope="module")
def found() -> Frontier:
    return frontier(slo=["ttft=1s", "tbt=200ms"], rate="20/s", x="ttft", y="cost", start="250ms")


def test_each_point_is_a_row_with_units(found: Frontier) -> None:
    lines = frontier_table(found, TODAY).splitlines()
    assert lines[0].startswith("Least cost against limit of TTFT p99: llama-3.1-70b")
    assert "Objectives: TBT p99 <= 200 ms" in lines
    titles = next(line for line in lines if "TTFT p99 <=" in line and "$/h" in line)
    assert "kW rated" in titles and "machines" in titles
    for point in found.points:
        assert any(f"{point.y:,.2f}" in line and point.pools in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "1 % below it" in text and "the range begins at 250 ms" in text


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_to_the_terminal(found: Frontier, width: int) -> None:
    text = frontier_table(found, TODAY, width=min(width, 100), table_width=width)
    longest = max(len(point.pools) + len(point.design) for point in found.points) + 28
    assert max(map(len, text.splitlines())) <= max(width, longest)


def test_what_is_not_complete_or_proven_says_so(found: Frontier) -> None:
    point = found.points[0].model_copy(update={"status": "limit", "gap": 0.05})
    part = found.model_copy(update={"complete": False, "points": [point, *found.points[1:]], "ends": "interrupted"})
    text = frontier_table(part, TODAY)
    assert "NOT COMPLETE" in text and "NOT proven, gap 5.0 %" in text


@pytest.fixture
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")


def test_every_point_is_drawn_where_it_is(found: Frontier, matplotlib: Any) -> None:
    figure = figure_of(found)
    (axes,) = figure.axes
    drawn = {
        (x, y) for line in axes.lines if line.get_linestyle() == "None" for x, y in zip(*line.get_data(), strict=True)
    }
    assert drawn == {(p.x, p.y) for p in found.points}
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert all(left <= x <= right and bottom <= y <= top for x, y in drawn)
    words = " ".join(t.get_text() for t in [*figure.texts, *axes.texts])
    for word in ("llama-3.1-70b", "TBT p99 <= 200 ms", "20 requests/s", "Ends: "):
        assert word in words
    assert axes.get_xlabel() == "Limit of TTFT p99, s" and axes.get_title(loc="left") == "Cost, $/h"
    assert [t.get_text() for t in axes.get_legend().get_texts()] == list(dict.fromkeys(p.design for p in found.points))


def test_nothing_lies_outside_the_picture(found: Frontier, matplotlib: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figure_of(found)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for text in [*figure.texts, *figure.axes[0].get_legend().get_texts(), figure.axes[0].xaxis.label]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height


def test_the_same_frontier_gives_the_same_bytes(found: Frontier, matplotlib: Any) -> None:
    svg = frontier_picture(found, ".svg")
    assert svg == frontier_picture(found, ".svg")
    ElementTree.fromstring(svg)
