"""The provisioning map against `optimize` and against the whole-cluster model at every cell."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError, PlannerError
from planner.export.tables.provisioning import provisioning_table
from planner.planning.search import solve_problem
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import configurations, resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies.provisioning_map import ProvisioningMap, map_provisioning

SCENARIOS: list[dict[str, Any]] = [
    {"slo": "ttft=1s", "design": "Splitwise-HA"},
    {"slo": ["ttft=500ms", "tbt=60ms"], "design": "Splitwise-HH", "rate": "300/s", "spares": 1},
    {"slo": ["ttft=1s", "tbt=100ms"], "design": "Splitwise-AA", "objective": "power"},
    {"slo": "ttft=1s", "design": "Splitwise-HA", "network": "2 x ethernet-25g", "rate": "20/s"},
    {"slo": "ttft=1s", "design": "splitwise", "objective": "machines", "model": "llama-3.1-8b"},
]


@pytest.fixture(scope="module")
def small() -> ProvisioningMap:
    return planner.provisioning_map(slo=["ttft=1s", "tbt.p99=100ms", "e2e.p50=2x"], design="Splitwise-HA", rate="40/s")


@pytest.mark.parametrize("fields", SCENARIOS, ids=lambda f: f"{f['design']}-{f.get('network', f.get('objective', ''))}")
def test_the_star_is_what_optimize_finds(fields: dict[str, Any]) -> None:
    problem = resolve(load_scenario(fields))
    found = map_provisioning(problem)
    best = solve_problem(replace(problem, limits=replace(problem.limits, max_pools=2)))
    assert found.optimum is not None
    counts = {m.role: m.count for m in best.members}
    value = {
        "cost": found.optimum.cost_usd_per_hour, "power": found.optimum.power_w, "machines": found.optimum.machines
    }[found.objective]  # fmt: skip
    assert value == pytest.approx(best.selection.objective)
    if found.objective != "machines":  # of which several pairs of counts may have as many
        assert counts == {"prefill": found.optimum.prefill_machines, "decode": found.optimum.decode_machines}
    assert found.notes == list(problem.notes)


def test_every_cell_is_judged_as_a_plan_is(small: ProvisioningMap) -> None:
    problem = resolve(load_scenario({k: v for k, v in small.scenario.items() if v is not None}))
    found, _ = configurations(problem)
    first, second = (
        next(c for c in found if (c.machine.name, c.layout.label) == (pool.machine, pool.layout))
        for pool in (small.prefill, small.decode)
    )
    rate = problem.need.rate_per_s
    assert any(c.feasible for c in small.cells) and not all(c.feasible for c in small.cells)
    for cell in small.cells:
        members = [
            Member("prefill", first, cell.prefill_machines, rate), Member("decode", second, cell.decode_machines, rate)
        ]  # fmt: skip
        model = ClusterModel(members, [Route(0, 1, rate)], problem.need)
        missed = [x.objective.label for x in problem.need.limits if not model.meets(x)]
        assert [rule for rule in cell.broken if rule in {x.objective.label for x in problem.need.limits}] == missed
        holds = not missed and model.is_stable() and model.utilisation(0) <= problem.need.most_busy * (1 + 1e-6)
        assert cell.feasible == holds
        assert cell.cost_usd_per_hour == pytest.approx(38.0 * cell.prefill_machines + 17.6 * cell.decode_machines)


def test_more_machines_never_break_anything(small: ProvisioningMap) -> None:
    broken = {(c.prefill_machines, c.decode_machines): set(c.broken) for c in small.cells}
    for (n, m), rules in broken.items():
        for more in ((n + 1, m), (n, m + 1)):
            assert broken.get(more, set()) <= rules


def test_the_star_is_the_cheapest_of_the_feasible_cells(small: ProvisioningMap) -> None:
    feasible = [c.cost_usd_per_hour for c in small.cells if c.feasible]
    assert small.optimum is not None and small.optimum.cost_usd_per_hour == min(feasible)  # type: ignore[type-var]


def test_a_budget_is_one_more_rule() -> None:
    found = planner.provisioning_map(slo="ttft=1s", design="Splitwise-HA", max_cost="100 USD/h")
    assert found.optimum is None
    assert "budgets and stock" in found.rules
    for cell in found.cells:
        assert ("budgets and stock" in cell.broken) == ((cell.cost_usd_per_hour or 0) > 100)
    assert "no cell" in found.notes[-1]
    assert "none on this map" in provisioning_table(found, datetime.date(2026, 11, 26))


def test_a_map_beside_the_best_plan_says_so() -> None:
    found = planner.provisioning_map(
        slo="ttft=1s", design="Splitwise-HA", prefill_machines=(5, 8), decode_machines=(4, 6)
    )
    assert len(found.cells) == 12
    assert found.optimum is not None and found.optimum.prefill_machines == 5
    assert "outside the map" in found.notes[-1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"prefill_machines": (9, 2)}, "backwards"),
        ({"decode_machines": (3, 3)}, "more than one count"),
        ({"decode_machines": (0, 3)}, "at least one machine"),
        ({"prefill_machines": (1, 1000), "decode_machines": (1, 1000)}, "too many"),
        ({"design": "baseline"}, "does not split"),
        ({"objective": "throughput", "max_cost": "500 USD/h"}, "given load"),
        ({"design": "Splitwise-aws-p5.48xlarge+dgx-a100", "objective": "power"}, "exchange KV caches"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_map_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(PlannerError) as caught:
        planner.provisioning_map(slo="ttft=1s", **{"design": "Splitwise-HA", **options})
    assert word in str(caught.value)


def test_machines_of_one_site_can_be_put_on_one_network() -> None:
    pair = {"design": "Splitwise-8x-l4+dgx-a100", "model": "llama-3.1-8b", "objective": "power", "slo": "ttft=1s"}
    with pytest.raises(InfeasibleError, match="exchange KV caches") as caught:
        planner.provisioning_map(**pair)
    assert "--network" in str(caught.value.fix)
    assert planner.provisioning_map(**pair, network="roce-100g").optimum is not None


def test_text_and_records_hold_the_same(small: ProvisioningMap) -> None:
    text = provisioning_table(small, datetime.date(2026, 11, 26))
    assert max(map(len, text.splitlines())) <= 100
    assert small.optimum is not None
    assert f"* {small.optimum.prefill_machines} prefill + {small.optimum.decode_machines} decode" in text
    records = small.to_records()
    assert len(records) == len(small.cells) and sum(bool(r["optimum"]) for r in records) == 1
    assert text.count(".") > 10 and ProvisioningMap.model_validate_json(small.model_dump_json()) == small


def test_pictures(small: ProvisioningMap) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    from planner.export.pictures.provisioning import provisioning_picture

    svg = provisioning_picture(small, ".svg")
    assert svg == provisioning_picture(small, ".svg") and b"<svg" in svg
    assert provisioning_picture(small, ".png").startswith(b"\x89PNG")
