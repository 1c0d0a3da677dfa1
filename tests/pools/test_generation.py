"""Which pools are offered: what is left out could not have made a plan better."""

from __future__ import annotations

from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError
from planner.planning.search import Search, largest_rate, prepare_search, solve_problem, solve_search
from planner.pools.candidate import Candidate
from planner.pools.generation import Known, generate
from planner.scenario.resolve import Problem, configurations, resolve
from planner.scenario.scenario_file import load_scenario


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def problem_of(catalog: Catalog, **fields: Any) -> Problem:
    return resolve(load_scenario({"rate": 30.0, "model": "llama-3.1-8b"} | fields), catalog)


def offered(problem: Problem) -> list[Candidate]:
    return generate(configurations(problem)[0], problem.need, problem.design, problem.need.rate_per_s)


def search_among(problem: Problem, known: Known) -> Search:
    found, rejected = configurations(problem)
    top = largest_rate(problem, found)
    return Search([(problem, generate(found, problem.need, problem.design, top, known=known))], rejected, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"slo": ["ttft=1s", "tbt=200ms"]},
        {"slo": ["ttft=300ms", "tbt=30ms"], "objective": "machines"},
        {"slo": ["ttft=2s", "tbt.p90=60ms"], "model": "llama-3.1-70b", "rate": 60.0},
        {"slo": ["ttft=2s", "e2e.p90=40s"], "rate": 60.0, "machines": "dgx-a100"},
        {"slo": ["ttft=1s"], "objective": "throughput", "max_cost": 120.0, "design": "splitwise"},
        {"slo": ["ttft=1s"], "objective": "power", "model": "qwen3-30b-a3b"},
    ],
)
def test_leaving_out_dominated_layouts_changes_no_optimum(catalog: Catalog, fields: dict[str, Any]) -> None:
    problem = problem_of(catalog, **fields)
    pruned = solve_search(prepare_search(problem))
    full = solve_search(search_among(problem, Known(keeps_dominated=True)))
    assert full.n_candidates > pruned.n_candidates
    assert pruned.selection.objective == pytest.approx(full.selection.objective, rel=1e-5)


def test_the_order_of_configurations_does_not_matter(catalog: Catalog) -> None:
    problem = problem_of(catalog, slo=["ttft=1s", "e2e.p90=40s"])
    found = configurations(problem)[0]
    rate = problem.need.rate_per_s
    ahead, back = (generate(order, problem.need, problem.design, rate) for order in (found, found[::-1]))
    assert [(c.key, c.sources) for c in ahead] == [(c.key, c.sources) for c in back]
    for a, b in zip(ahead, back, strict=True):
        assert a.curve.rate_per_s.tolist() == b.curve.rate_per_s.tolist()


@pytest.mark.parametrize(
    ("design", "roles"),
    [
        ("auto", {"prefill", "decode", "mixed"}),
        ("baseline", {"mixed"}),
        ("splitwise", {"prefill", "decode"}),
        ("Baseline-A100", {"mixed"}),
        ("Splitwise-HA", {"prefill", "decode"}),
    ],
)
def test_a_design_allows_its_roles_and_machines(catalog: Catalog, design: str, roles: set[str]) -> None:
    problem = problem_of(catalog, design=design)
    found = offered(problem)
    assert {c.role for c in found} == roles
    by_role = {role: {c.configuration.machine.name for c in found if c.role == role} for role in roles}
    if design == "Splitwise-HA":
        assert by_role == {"prefill": {"dgx-h100"}, "decode": {"dgx-a100"}}
    elif design == "Baseline-A100":
        assert by_role == {"mixed": {"dgx-a100"}}
    else:
        assert all(machines == {"dgx-a100", "dgx-h100"} for machines in by_role.values())


def test_every_decode_pool_has_a_source_and_every_prefill_pool_a_taker(catalog: Catalog) -> None:
    found = offered(problem_of(catalog, machines="all", slo=["ttft=1s", "tbt=100ms"]))
    by_key = {c.key: c for c in found}
    assert len(by_key) == len(found)
    taken = set()
    for c in found:
        assert bool(c.sources) == (c.role == "decode")
        for key in c.sources:
            assert by_key[key].role == "prefill"
            # One site and one kind of network: no cache crosses from one cloud into another.
            assert by_key[key].configuration.can_send_to(c.configuration)
            taken.add(key)
    assert taken == {c.key for c in found if c.role == "prefill"}


def test_end_to_end_limits_offer_prefill_pools_at_several_loads(catalog: Catalog) -> None:
    def loads(slo: list[str]) -> set[str]:
        found = offered(problem_of(catalog, slo=slo, design="splitwise"))
        return {c.key.rsplit("/", 1)[1] for c in found if c.role == "prefill"}

    assert len(loads(["ttft=1s"])) == 1
    assert len(loads(["ttft=1s", "e2e=60s"])) > 1


def test_a_layout_without_room_for_the_longest_request_is_not_offered(catalog: Catalog, tmp_path: Any) -> None:
    trace = tmp_path / "long.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "0.5,500,50\n" * 50 + "1.0,300000,20\n")
    problem = problem_of(catalog, workload=str(trace), slo="ttft=600s", model="llama-3.1-70b", rate=0.1)
    for c in offered(problem):
        assert c.configuration.lane.kv_tokens >= 300_020
    with pytest.raises(InfeasibleError):
        solve_problem(problem_of(catalog, workload=str(trace), slo="ttft=1s", model="llama-3.1-70b", rate=0.1))
