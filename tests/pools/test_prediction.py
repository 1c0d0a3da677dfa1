"""What a cluster's requests experience, what binds a pool and how much load it has room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.planning.search import Solution, solve_problem
from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route, binding_of, capacity_of, headroom
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import load_scenario


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def solved(catalog: Catalog, **fields: Any) -> tuple[Problem, Solution]:
    problem = resolve(load_scenario({"slo": ["ttft=1s", "tbt=100ms"]} | fields), catalog)
    return problem, solve_problem(problem)


SPLIT = {"design": "Splitwise-HA", "rate": 60.0}


def test_percentiles_rise_with_the_percentile_and_the_load(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    for metric in ("ttft", "tbt", "e2e"):
        by_load = []
        for load in (0.2, 0.7, 1.0):
            model = ClusterModel(solution.members, solution.routes, problem.need, load)
            values = [model.percentile(metric, p, 1.0) for p in (50.0, 90.0, 99.0)]
            assert all(v is not None and v > 0 for v in values)
            assert values == sorted(values)  # type: ignore[type-var]
            by_load.append(values[-1])
        assert by_load == sorted(by_load)  # type: ignore[type-var]


def test_the_percentile_is_where_the_share_of_late_requests_passes_what_is_allowed(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    model = ClusterModel(solution.members, solution.routes, problem.need)
    ones = np.ones_like(problem.need.traffic.weight)
    for metric in ("ttft", "tbt", "e2e"):
        for percentile in (50.0, 90.0, 99.0):
            value = model.percentile(metric, percentile, 1.0)
            assert value is not None
            allowed = 1 - percentile / 100
            assert model.late(metric, value * 1.002 * ones) <= allowed + 1e-9
            assert model.late(metric, value * 0.99 * ones) >= allowed - 1e-9


def test_headroom_is_the_load_at_which_the_first_objective_breaks(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    most = headroom(solution.members, solution.routes, problem.need)
    assert most >= 1.0

    def holds(load: float) -> bool:
        model = ClusterModel(solution.members, solution.routes, problem.need, load)
        return model.is_stable() and all(model.meets(limit) for limit in problem.need.limits)

    assert holds(most)
    assert not holds(most * 1.02)


def test_an_overloaded_cluster_has_no_percentiles_and_headroom_below_one(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    few = [Member(m.role, m.configuration, 1, m.rate_per_s) for m in solution.members]
    model = ClusterModel(few, solution.routes, problem.need)
    assert not model.is_stable()
    assert model.utilisation(0) > 1
    assert model.percentile("ttft", 99.0, 1.0) is None
    assert 0 < headroom(few, solution.routes, problem.need) < 1


def test_the_capacity_of_a_pool_is_where_it_breaks_the_others_as_they_are(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    for i, (member, capacity) in enumerate(zip(solution.members, solution.capacities, strict=True)):
        found = capacity_of(solution.members, solution.routes, problem.need, i)
        assert found >= member.rate_per_s * (1 - 2e-3)
        assert found == pytest.approx(capacity, rel=5e-3)


@pytest.mark.parametrize(
    ("fields", "role", "binding"),
    [
        ({"slo": ["ttft=400ms", "tbt=1s"], "design": "Splitwise-HH"}, "prefill", "TTFT p99"),
        ({"slo": ["ttft=60s", "tbt=1s"], "design": "Splitwise-HH"}, "prefill", "utilisation"),
        ({"slo": ["ttft=1s", "tbt=20ms"], "design": "Splitwise-HH"}, "decode", "TBT p99"),
        ({"slo": ["ttft=10s", "tbt=10s"], "model": "bloom-176b", "design": "Splitwise-AA"}, "decode", "KV memory"),
        ({"slo": ["ttft=1s", "tbt=30ms"], "design": "Baseline-H100"}, "mixed", "TBT p99"),
    ],
)  # fmt: skip
def test_what_binds_a_pool_is_named(catalog: Catalog, fields: dict[str, Any], role: str, binding: str) -> None:
    problem, solution = solved(catalog, **fields)
    at = [m.role for m in solution.members].index(role)
    found = binding_of(solution.members, solution.routes, problem.need, at, solution.capacities[at])
    assert found == binding


def test_short_requests_meet_the_batch_limit_before_memory_is_full(catalog: Catalog, tmp_path: Path) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "0.5,40,200\n" * 40 + "1.0,60,300\n")
    problem, solution = solved(
        catalog, workload=str(trace), model="llama-3.1-8b", slo=["ttft=60s", "tbt=60s"], design="Splitwise-HH"
    )
    decode = [m.role for m in solution.members].index("decode")
    found = binding_of(solution.members, solution.routes, problem.need, decode, solution.capacities[decode])
    assert found == "batch limit"


def test_a_route_without_load_changes_nothing(catalog: Catalog) -> None:
    problem, solution = solved(catalog, **SPLIT)
    routes = [*solution.routes, Route(0, 1, 0.0)]
    need: Requirement = problem.need
    a, b = (ClusterModel(solution.members, r, need).percentile("e2e", 90.0, 1.0) for r in (solution.routes, routes))
    assert a == b
