"""A comparison as text and as a picture."""

from __future__ import annotations

import datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from planner.export.pictures.comparison import comparison_picture, figure_of
from planner.export.tables.comparison import comparison_table
from planner.studies.comparison import compare
from planner.studies.comparison_result import Comparison

TODAY = datetime.date(2026, 11, 26)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(
        slo=["ttft=1s"], rate="20/s", designs=["Baseline-H100", "Splitwise-HA", "auto", "Baseline-8x-t4"],
        workloads=["azure-conv-2023", "azure-code-2023"], objectives=["cost", "machines"], budgets=["power=100kW"],
    )  # fmt: skip


def test_every_design_has_a_line_with_its_figures(comparison: Comparison) -> None:
    text = comparison_table(comparison, TODAY)
    lines = text.splitlines()
    assert "azure-conv-2023: least cost, fewest machines at 20 requests/s" in lines
    assert "azure-code-2023: most load for 100 kW rated" in lines
    row = comparison.row("Splitwise-HA", "azure-conv-2023", "cost")
    line = next(line for line in lines if line.startswith("  Splitwise-HA"))
    assert f"{row.prefill_machines} + {row.decode_machines}" in line
    assert f"{row.cost_usd_per_hour:,.2f} ({row.relative_cost:.2f}x)" in line
    assert any(line.startswith("  Baseline-8x-t4  no plan: ") for line in lines)
    assert any(line.startswith("  auto ") and "x dgx-" in line for line in lines), "what auto has come to"
    assert "not simulated" in text and "splitwise-2023" in text
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_to_the_terminal_and_repeat_what_names_a_row(comparison: Comparison, width: int) -> None:
    text = comparison_table(comparison, TODAY, width=min(width, 100), table_width=width)
    assert max(map(len, text.splitlines())) <= width
    whole = comparison_table(comparison, TODAY)
    assert set(text.split()) == set(whole.split())


def test_an_interrupted_comparison_says_so(comparison: Comparison) -> None:
    part = comparison.model_copy(update={"rows": comparison.rows[:1], "complete": False})
    assert "INTERRUPTED" in comparison_table(part, TODAY)


# -- picture ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")


def test_bars_add_up_to_the_figures_and_carry_them(comparison: Comparison, matplotlib: Any) -> None:
    figure = figure_of(comparison)
    costs = [a for a in figure.axes if a.get_title(loc="left") == "cost, $/h"]
    assert len(costs) == 4  # two workloads, each with a rate and a budget
    names = [t.get_text() for t in costs[0].get_yticklabels() or figure.axes[0].get_yticklabels()]
    at = names.index("Splitwise-HA")
    ends = [p.get_x() + p.get_width() for p in costs[0].patches if round(p.get_y() + p.get_height() / 2) == at]
    row = comparison.row("Splitwise-HA", "azure-conv-2023", "cost")
    assert max(ends) == pytest.approx(row.cost_usd_per_hour)
    words = [t.get_text() for t in costs[0].texts]
    assert f"{row.cost_usd_per_hour:.3g} ({row.relative_cost:.2f}x)" in words
    assert "no plan" in words
    captions = " ".join(t.get_text() for t in figure.texts)
    for word in ("llama-3.1-70b", "TTFT p99 <= 1.00 s", "azure-code-2023", "20 requests/s", "100 kW"):
        assert word in captions


def test_nothing_lies_outside_the_picture(comparison: Comparison, matplotlib: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figure_of(comparison)
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    for text in [*figure.texts, *(t for a in figure.axes for t in [*a.texts, *a.get_yticklabels()])]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text.get_text()


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison, matplotlib: Any) -> None:
    svg = comparison_picture(comparison, ".svg")
    assert svg == comparison_picture(comparison, ".svg")
    ElementTree.fromstring(svg)
    assert comparison_picture(comparison, ".html").startswith(b"<!DOCTYPE html>")
