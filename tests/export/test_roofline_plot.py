"""The roofline picture: every operator in it, the same bytes each time, readable without colour."""

from __future__ import annotations

import builtins
import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from planner.errors import OutputError
from planner.export.pictures.charts import check_plot
from planner.export.pictures.roofline import LOOKS, figure_of, free_place, roofline_picture
from planner.studies.estimate import Estimate, estimate

CASES: list[dict[str, Any]] = [
    {"batch": 32},
    {"phase": "prefill", "tokens": 2048, "precision": "fp8"},
    {"model": "deepseek-v3", "machine": "dgx-b200", "batch": 128, "draft_tokens": 1, "tokens_per_step": 1.8},
    {"model": "llama-3.1-8b", "machine": "8x-t4", "tensor_parallel": 4, "precision": "int8"},
]


@pytest.fixture(autouse=True)
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")


@pytest.fixture(params=CASES, ids=lambda case: case.get("model", case.get("phase", "decode")))
def step(request: pytest.FixtureRequest) -> Estimate:
    return estimate(**request.param)


def texts(figure: Any) -> list[str]:
    axes = figure.axes[0]
    return [t.get_text() for t in [*figure.texts, *axes.texts, *figure.legends[0].get_texts()]]


def test_it_has_every_operator_roof_and_the_scenario(step: Estimate) -> None:
    figure = figure_of(step)
    words = " ".join(texts(figure))
    for row in step.breakdown:
        assert f"{row.name} {100 * row.share:.1f} %" in words
    for roof in step.roofs[1:]:
        assert f"{roof.name} {roof.peak / 1e12:,.0f}" in words
        assert f"{roof.name} {roof.achieved / 1e12:,.0f}" in words
    assert step.model in words and step.machine in words and step.layout in words
    axes = figure.axes[0]
    points = {(x[0], y[0]) for x, y in (line.get_data() for line in axes.lines) if len(x) == 1}
    drawn = [row for row in step.breakdown if row.flop]
    assert points == {(row.flop_per_byte, row.flop_per_s) for row in drawn}
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert all(left < x < right and bottom < y < top for x, y in points)


def test_words_do_not_lie_on_each_other_or_outside(step: Estimate) -> None:
    figure = figure_of(step)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    labels = [t for t in figure.axes[0].texts if "%" in t.get_text()]
    # Of an annotation the words alone, without its line to the point.
    boxes = [Text.get_window_extent(t, renderer) for t in [*labels, *figure.texts]]
    boxes.append(figure.legends[0].get_window_extent(renderer))
    for n, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        for other in boxes[n + 1 :]:
            assert not box.overlaps(other)


def test_points_lie_below_the_datasheet_roofs(step: Estimate) -> None:
    memory, *compute = step.roofs
    peak = max(roof.peak for roof in compute)
    for row in step.breakdown:
        if row.flop_per_byte:
            assert row.flop_per_s <= min(peak, row.flop_per_byte * memory.peak) * (1 + 1e-9)
    assert all(roof.achieved <= roof.peak for roof in step.roofs)


def test_bounds_differ_in_shape_as_well_as_colour() -> None:
    colours, shapes = zip(*LOOKS.values(), strict=True)
    assert len(set(colours)) == len(set(shapes)) == len(LOOKS)


def test_formats() -> None:
    step = estimate(batch=8)
    svg = roofline_picture(step, ".svg")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == roofline_picture(step, ".svg")
    png = roofline_picture(step, ".png")
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width >= 1400 and height >= 1000
    page = roofline_picture(step, ".html").decode("utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<svg" in page and "<?xml" not in page
    assert not re.search(r'(?:src|href)="https?:', page), "the page must not need the network"


def test_a_word_with_no_room_still_gets_a_place() -> None:
    everywhere = [(-1000.0, -1000.0, 1000.0, 1000.0)]
    assert free_place(50.0, 50.0, 3.0, 60.0, 10.0, (0.0, 0.0, 100.0, 100.0), everywhere)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(OutputError, match="SVG, PNG or HTML"):
        check_plot(Path("roofline.pdf"))


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(OutputError) as raised:
        check_plot(Path("roofline.svg"))
    assert raised.value.fix == "pip install 'splitwise-planner[plot]'"
