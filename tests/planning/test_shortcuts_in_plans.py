"""Cached prefixes and several tokens a step reach TTFT, TBT, capacity, cost, the notes and the simulation."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.errors import ScenarioError
from planner.latency.memory import memory_fit
from planner.latency.weights import rank_layer_bytes
from planner.planning.plan import Plan
from planner.pools.configuration import configure, make_layout
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.cluster import read_cluster
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import load_scenario
from planner.simulation.cluster import ClusterSimulation

CATALOG = Catalog.default()
# What the formulas say; proof by simulation has tests of its own.
optimize = functools.partial(planner.optimize, verify=False)

POOLS = [
    {"role": "prefill", "machine": "dgx-h100", "count": 3, "tensor_parallel": 8},
    {"role": "decode", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
]
MIXED = [{"role": "mixed", "machine": "dgx-h100", "count": 4, "tensor_parallel": 8}]


def evaluated(pools: list[dict[str, Any]], **fields: Any) -> Plan:
    return planner.evaluate(pools, {"rate": "20/s", **fields})


def p50(plan: Plan, metric: str) -> float:
    [found] = [p.p50_s for p in plan.percentiles if p.metric == metric]
    assert found is not None
    return found


@pytest.mark.parametrize("pools", [POOLS, MIXED], ids=["split", "mixed"])
def test_the_neutral_values_change_nothing(pools: list[dict[str, Any]]) -> None:
    plain = evaluated(pools)
    neutral = evaluated(pools, prefix_cached=0, tokens_per_step=1, draft_tokens=0)
    assert plain.model_dump(exclude={"scenario"}) == neutral.model_dump(exclude={"scenario"})


@pytest.mark.parametrize("pools", [POOLS, MIXED], ids=["split", "mixed"])
def test_more_cached_means_sooner_first_tokens_and_more_headroom(pools: list[dict[str, Any]]) -> None:
    plans = [evaluated(pools, prefix_cached=h) for h in (0.0, 0.366, 0.8)]
    ttft = [p50(plan, "ttft") for plan in plans]
    assert ttft == sorted(ttft, reverse=True) and ttft[1] < 0.85 * ttft[0]
    headroom = [plan.headroom for plan in plans]
    assert headroom == sorted(headroom)
    assert "36.6 % of the tokens of every prompt are taken as cached" in plans[1].notes


@pytest.mark.parametrize("pools", [POOLS, MIXED], ids=["split", "mixed"])
def test_more_tokens_a_step_mean_shorter_gaps(pools: list[dict[str, Any]]) -> None:
    plain, useless, useful = (
        evaluated(pools, tokens_per_step=y, draft_tokens=k) for y, k in ((1.0, 0), (1.0, 2), (2.2, 2))
    )
    assert p50(useful, "tbt") < 0.65 * p50(plain, "tbt")
    assert p50(useless, "tbt") > p50(plain, "tbt")
    assert p50(useful, "e2e") < p50(plain, "e2e")
    assert any("2.2 of the 3 tokens that a decode step computes" in note for note in useful.notes)


def test_capacity_and_cost_follow() -> None:
    def cost(**fields: Any) -> float:
        found = optimize(rate="60/s", machines=["dgx-h100"], **fields).cost_usd_per_hour
        assert found is not None
        return found

    plain = cost()
    assert cost(prefix_cached="50 %") < plain
    assert cost(draft_tokens=2, tokens_per_step=2.5) <= plain <= cost(draft_tokens=2)


def test_kv_memory_holds_the_whole_context() -> None:
    plain, cached = (problem(prefix_cached=h) for h in (0.0, 0.9))
    lanes = [lane(p) for p in (plain, cached)]
    assert lanes[0].kv_tokens == lanes[1].kv_tokens
    # Of the tokens that a step may compute, nine tenths of every prompt are there already.
    assert lanes[1].token_budget == pytest.approx(10 * lanes[0].token_budget, abs=10)


def problem(**fields: Any) -> Problem:
    return resolve(load_scenario({"rate": "20/s", "machines": ["dgx-h100"], **fields}))


def lane(p: Problem) -> Any:
    machine = p.machines[0]
    return configure(p.catalog, machine, p.serving, make_layout(machine, p.serving, 8)).lane


@pytest.mark.parametrize("pools", [POOLS, MIXED], ids=["split", "mixed"])
def test_simulation_and_formulas_agree(pools: list[dict[str, Any]]) -> None:
    p = problem(prefix_cached=0.5, draft_tokens=2, tokens_per_step=2.0)
    machine = p.machines[0]
    configuration = configure(p.catalog, machine, p.serving, make_layout(machine, p.serving, 8))
    cluster = read_cluster(pools)
    members = [Member(pool.role, configuration, pool.count, 20.0) for pool in cluster.pools]
    routes = [Route(0, 1 if len(members) == 2 else None, 20.0)]
    model = ClusterModel(members, routes, p.need)
    outcome = ClusterSimulation(members, routes, p.need, p.sizes, p.reference).simulate(n_requests=6000, seeds=(1,))
    for metric in ("ttft", "tbt"):
        predicted = model.percentile(metric, 50.0, 1.0)
        assert outcome.percentiles[metric, 50.0].value == pytest.approx(predicted, rel=0.12), metric


def test_workload_and_runtime_may_say_it(tmp_path: Path) -> None:
    for folder, name, text in (
        ("workloads", "azure-conv-2023", "prefix_cached: 36.6 %\n"),
        ("runtimes", "vllm-2026", "draft_tokens: 1\ntokens_per_step: 1.8\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text("source: measured by ourselves\nkind: measured\n" + text)
    found = problem(catalog=[str(tmp_path)]).serving.shortcuts
    assert (found.prefix_cached, found.draft_tokens, found.tokens_per_step) == (pytest.approx(0.366), 1, 1.8)
    overruled = problem(catalog=[str(tmp_path)], prefix_cached=0, tokens_per_step=1.5).serving.shortcuts
    assert (overruled.prefix_cached, overruled.draft_tokens, overruled.tokens_per_step) == (0, 1, 1.5)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"prefix_cached": 1.0}, "prefix_cached"),
        ({"tokens_per_step": 2.0}, "tokens_per_step"),
        ({"draft_tokens": -1}, "draft_tokens"),
        ({"speculate": 1}, "speculate"),  # llama ships no head
        ({"speculate": 1, "draft_tokens": 1}, "speculate"),
        ({"acceptance": 0.8}, "acceptance"),
        ({"model": "qwen3.5-27b", "speculate": 1}, "acceptance"),  # nobody states it
    ],
)
def test_impossible_ones_are_refused(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        problem(**fields)
    assert raised.value.where == where


def test_the_head_of_a_model_speculates_at_its_published_acceptance() -> None:
    """DeepSeek-V3, arXiv 2412.19437: acceptance of 85 to 90 %; the module's layer has 11.5B weights (model card)."""
    plain, speculating = problem(model="deepseek-v3"), problem(model="deepseek-v3", speculate=2)
    shortcuts = speculating.serving.shortcuts
    assert (shortcuts.draft_tokens, shortcuts.tokens_per_step) == (2, pytest.approx((1 - 0.85**3) / (1 - 0.85)))
    assert problem(model="deepseek-v3", speculate=1, acceptance=0.9).serving.shortcuts.tokens_per_step == 1.9
    assert problem(model="deepseek-v3", speculate=0).serving.shortcuts == plain.serving.shortcuts
    layout = make_layout(CATALOG.machine("dgx-h200"), plain.serving, 8)
    assert rank_layer_bytes(plain.llm, layout.model_copy(update={"tensor_parallel": 1})) == pytest.approx(
        11.5e9, rel=0.002
    )
    h200, vllm = CATALOG.accelerator("h200-sxm"), CATALOG.runtime("vllm-2026")
    without, with_head = (memory_fit(plain.llm, h200, vllm, layout, n) for n in (0, 1))
    assert with_head.weight_bytes - without.weight_bytes == pytest.approx(rank_layer_bytes(plain.llm, layout))
    assert with_head.kv_bytes_per_token == pytest.approx(without.kv_bytes_per_token * 62 / 61)
    held = [
        configure(CATALOG, CATALOG.machine("dgx-h200"), p.serving, layout).lane.kv_tokens for p in (plain, speculating)
    ]
    assert held[1] / held[0] == pytest.approx(with_head.resident_tokens / without.resident_tokens)


def test_windows_leave_room_for_more_requests() -> None:
    found = problem(model="gpt-oss-120b")
    ((window, kept),) = found.serving.residency.kept
    assert window == 128 and 0.0 < kept < 0.3
    assert problem().serving.residency.kept == ()
    assert np.isfinite(lane(found).kv_tokens)
