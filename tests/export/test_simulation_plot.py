"""The picture of a simulation: every pool, limit and failure in it, the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import planner
from planner.export.pictures.simulation import figure_of, round_ticks, simulation_picture
from planner.simulation.report import SimulationReport


@pytest.fixture(autouse=True)
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")


@pytest.fixture(scope="module")
def report() -> SimulationReport:
    pools = [
        {"role": "prefill", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
        {"role": "decode", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
    ]
    return planner.simulate(
        pools, rate="20/s", slo=["ttft=1s", "tbt.p90=30ms", "e2e=5x"], n_requests=3000, seeds=1,
        failures=["decode:1@30s-90s", "prefill:0@9h"],
    )  # fmt: skip


def words(figure: Any) -> str:
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts] + [axes.get_title(loc="left"), axes.get_ylabel(), axes.get_xlabel()]
        found += [t.get_text() for t in axes.get_legend().get_texts()] if axes.get_legend() else []
    return " ".join(found)


def test_it_has_the_scenario_the_limits_and_the_failures(report: SimulationReport) -> None:
    figure = figure_of(report)
    assert len(figure.axes) == 7
    text = words(figure)
    for word in ("llama-3.1-70b", "azure-conv-2023 at 20 requests/s", "2 x dgx-h100 prefill (1 x TP8)", "TTFT p99"):
        assert word in text
    for word in ("1.00 s at p99", "30 ms at p90", "e2e.p99=5x", "requests/s", "latency, s", "KV memory", "TBT", "E2E"):
        assert word in text
    assert report.catalog_digest in " ".join(text.split())
    assert "a machine is down" in " ".join(text.split())
    # Only the failure within the time shown is shaded, in each of the four panels.
    assert [len(axes.patches) for axes in figure.axes[:4]] == [2, 4, 2, 3]


def test_its_curves_are_those_of_the_report(report: SimulationReport) -> None:
    figure = figure_of(report)
    for axes, distribution in zip(figure.axes[4:], report.distributions, strict=True):
        xs, ys = axes.lines[0].get_data()
        assert list(xs) == list(distribution.values_s)
        assert list(ys) == [100.0 * share for share in distribution.shares]


def test_formats_and_the_same_bytes(report: SimulationReport) -> None:
    svg = simulation_picture(report, ".svg")
    assert svg == simulation_picture(SimulationReport.model_validate_json(report.model_dump_json()), ".svg")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"<figcaption>" in simulation_picture(report, ".html")


def test_an_unstable_or_cut_run_says_so(report: SimulationReport) -> None:
    cut = report.model_copy(update={"stable": False, "interrupted": True, "timeline": None, "distributions": ()})
    figure = figure_of(cut)
    assert not figure.axes
    assert "UNSTABLE" in words(figure) and "INTERRUPTED" in words(figure)


@pytest.mark.parametrize("axis", [(0.01, 300.0), (0.02, 0.03), (0.9, 40.0), (1e-4, 1e4), (0.0201, 0.0215)])
def test_ticks_are_few_and_inside(axis: tuple[float, float]) -> None:
    ticks = round_ticks(*axis)
    assert 2 <= len(ticks) <= 4
    assert all(axis[0] < tick < axis[1] for tick in ticks)


def test_the_command_draws(tmp_path: Path) -> None:
    from planner.cli.main import run

    file = tmp_path / "p.png"
    pools = ["--pool", "mixed=dgx-h100:2:tp8", "--rate", "10/s", "--requests", "4000", "--seeds", "1"]
    assert run(["simulate", *pools, "--plot", str(file), "--quiet"]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert run(["simulate", *pools, "--plot", "p.gif", "--quiet"]) == 2
