"""Replicas over several machines, planned: taken in groups where one cannot hold the model, counted and priced so."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.errors import CatalogError, PlannerError, ScenarioError

CATALOG = Catalog.default()
DEEPSEEK: dict[str, Any] = {
    "model": "deepseek-v3",
    "machines": ["dgx-h100"],
    "rate_per_s": 5.0,
    "slo": ["ttft=5s", "tbt=100ms"],
    "verify": False,
}


def plan(**changes: Any) -> Any:
    return planner.optimize(**{**DEEPSEEK, **changes})


def test_a_model_that_one_machine_cannot_hold_is_planned_over_two() -> None:
    found = plan()
    (pool,) = found.pools
    assert (pool.machine, pool.machines_per_replica, pool.replicas_per_machine) == ("dgx-h100@2", 2, 1)
    assert pool.tensor_parallel * pool.pipeline_parallel * pool.attention_data_parallel == 16
    single = CATALOG.price_of("dgx-h100")
    assert single is not None
    assert found.cost_usd_per_hour == pytest.approx(2 * single.usd_per_hour * pool.count)
    assert any("dgx-h100@2 is 2 x dgx-h100" in note for note in found.notes)


def test_a_stock_counts_machines_not_groups() -> None:
    assert plan(max_machines={"dgx-h100": 3}).pools[0].count == 1
    with pytest.raises(PlannerError):
        plan(max_machines={"dgx-h100": 1})
    with pytest.raises(ScenarioError, match="several sizes"):
        plan(machines=["dgx-h100@2", "dgx-h100@4"], max_machines={"dgx-h100": 8})


def test_latent_attention_is_planned_in_groups_with_sequences_of_their_own() -> None:
    found = plan(machines=["dgx-h200"], rate_per_s=60.0, objective="power")
    assert any(pool.attention_data_parallel == 8 for pool in found.pools)
    only_tensor = plan(machines=["dgx-h100"], rate_per_s=60.0, objective="power")
    assert found.power_w < only_tensor.power_w


def test_simulation_agrees_with_the_formula_on_groups_of_ranks() -> None:
    found = plan(machines=["dgx-h200"], rate_per_s=60.0, objective="power", verify=True)
    assert found.certificate is not None and found.certificate.status == "confirmed"
    assert found.certificate.rounds[0].confirmed  # nothing had to be corrected


@pytest.mark.parametrize("name", ["dgx-h100@1", "dgx-h100@x", "dgx-h100@999", "dgx-h100@"])
def test_groups_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(CatalogError, match="not a group"):
        CATALOG.machine(name)


def test_a_group_is_its_machines_together() -> None:
    one, four = CATALOG.machine("dgx-h100"), CATALOG.machine("dgx-h100@4")
    assert four.n_accelerators == 4 * one.n_accelerators
    assert four.rated_power_w == 4 * one.rated_power_w
    assert four.network.n_nics == 4 * one.network.n_nics
    assert four.single_name == one.name


def test_a_group_holds_the_longest_request_beside_the_model() -> None:
    """More machines in a group for longer requests, as many as the bytes of weights and KV cache ask for."""
    long: dict[str, Any] = {"model": "llama-3.1-405b", "rate_per_s": 0.002, "slo": ["ttft=1h", "tbt=2s"], "osl": 100}
    sizes = []
    for isl in (1_000, 500_000):
        pool = plan(**long, isl=isl).pools[0]
        sizes.append(pool.machines_per_replica)
        kv_bytes = (isl + 100) * 2 * 126 * 8 * 128 * 2  # keys and values, layers, heads, their width, bf16
        weights = 2 * 405.8e9
        assert pool.machines_per_replica * 8 * 80e9 > weights + kv_bytes
    assert sizes == [2, 3]
    with pytest.raises(PlannerError, match=r"longest request.*fits the KV memory of no machine"):
        plan(**long, isl=3_000_000)
