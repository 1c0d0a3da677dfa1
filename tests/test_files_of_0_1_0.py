"""Files that were written for 0.1.0, as its examples had them, are read, and mean what they meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.schema import BY_FOLDER
from planner.portfolio.fleet_file import load_fleet
from planner.scenario.cluster import read_cluster_file
from planner.scenario.grid import make_grid, read_sweep_file
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario

FILES = Path(__file__).resolve().parent / "files_of_0_1_0"
OVERLAYS = sorted(FILES.glob("*/overlay"))


def test_scenarios() -> None:
    found = load_scenario(FILES / "conversation_on_a100_and_h100" / "scenario.yaml")
    assert (found.model, found.workload, found.rate_per_s, found.spares) == (
        "llama-3.1-70b", "azure-conv-2023", 200.0, 1,
    )  # fmt: skip
    assert found.machines == ("dgx-a100", "dgx-h100") and found.max_machines == {"dgx-h100": 8}
    assert [str(o) for o in found.slo] == ["ttft.p99=2s", "tbt.p99=75ms"]
    problem = resolve(found)
    assert problem.need.rate_per_s == 200.0 and [m.name for m in problem.machines] == ["dgx-a100", "dgx-h100"]
    slowdowns = resolve(load_scenario(FILES / "slowdown_objectives" / "scenario.yaml"))
    assert len(slowdowns.need.limits) >= 9


def test_a_sweep() -> None:
    base, axes = read_sweep_file(FILES / "sweep_with_resume" / "sweep.yaml")
    grid = make_grid(base, axes)
    assert len(grid) == 8
    assert sorted({s.rate_per_s for s in grid.scenarios()}) == [20.0, 60.0, 100.0, 140.0]


def test_a_cluster() -> None:
    cluster, _ = read_cluster_file(FILES / "peak_hour_with_a_failure" / "cluster.yaml")
    assert [(p.role, p.machine, p.count) for p in cluster.pools] == [
        ("prefill", "dgx-h100", 3), ("decode", "dgx-h100", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["batch_work_per_dollar", "fleet_with_batch_work"])
def test_fleets(name: str) -> None:
    assert load_fleet(FILES / name / "fleet.yaml").workloads


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda p: p.parent.name)
def test_overlays(overlay: Path) -> None:
    catalog = Catalog([overlay])
    files = sorted(overlay.glob("*/*.yaml"))
    assert files and not catalog.strays
    for file in files:
        assert catalog.get(BY_FOLDER[file.parent.name], file.stem)
