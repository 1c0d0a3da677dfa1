"""Fleets, held against `optimize` where they pose the same problem, and against each other where one is cheaper."""

from __future__ import annotations

import re
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError, InputError, ScenarioError, UnknownNameError
from planner.portfolio.result import Procurement

from .fleets import CHAT, CODE, DOCS, fleet


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def cost_of(found: Procurement) -> float:
    assert found.meets_objectives
    assert found.solver.status == "optimal"
    return found.cost_usd_per_hour


OPTIMIZE = {"slo": ["ttft.p99=1s", "tbt.p99=200ms"], "verify": False}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"slo": ["ttft=2s", "tbt.p99=75ms"], "spares": 1, "max_machines": {"dgx-h100": 4}},
        {"design": "Splitwise-HA"},
        {"machines": ["dgx-a100"], "max_utilisation": 0.7},
        {"slo": ["ttft.p90=500ms", "e2e.p90=25s"], "max_total_machines": 9},
    ],
    ids=str,
)
def test_one_workload_on_demand_is_what_optimize_buys(catalog: Catalog, fields: dict[str, Any]) -> None:
    plan = planner.optimize(OPTIMIZE | {"workload": "azure-conv-2023", "rate": "70/s"} | fields, catalog=catalog)
    found = planner.procure(fleet(**fields), catalog=catalog)
    assert cost_of(found) == pytest.approx(plan.cost_usd_per_hour, rel=1e-9)
    key = {(p.role, p.machine, p.count, p.spares, p.layout) for p in plan.pools}
    assert {(p.role, p.machine, p.count, p.spares, p.layout) for p in found.pools} == key
    for mine, theirs in zip(found.predicted, plan.predicted, strict=True):
        assert mine.predicted == pytest.approx(theirs.predicted, rel=1e-6)


def test_separate_workloads_cost_their_sum(catalog: Catalog) -> None:
    alone = [
        planner.optimize(OPTIMIZE | {"workload": w["workload"], "rate": w["rate"]}, catalog=catalog).cost_usd_per_hour
        for w in (CHAT, CODE)
    ]
    both = fleet(workloads={"chat": CHAT, "code": CODE})
    apart = planner.procure(both, catalog=catalog, sharing="separate")
    assert cost_of(apart) == pytest.approx(sum(c for c in alone if c), rel=1e-9)
    together = planner.procure(both, catalog=catalog, sharing="shared")
    best = planner.procure(both, catalog=catalog)
    assert cost_of(best) == pytest.approx(min(cost_of(apart), cost_of(together)), rel=1e-9)
    assert {p.part for p in together.predicted} == {"chat", "code"}
    told = planner.procure(both, catalog=catalog, sharing=[["chat", "code"]])
    assert cost_of(told) == cost_of(together)
    swapped = planner.procure(fleet(workloads={"code": CODE, "chat": CHAT}), catalog=catalog)
    assert cost_of(swapped) == pytest.approx(cost_of(best), rel=1e-9)


def test_two_halves_that_share_are_the_whole(catalog: Catalog) -> None:
    """Two workloads alike in everything, sharing pools, need the pools of one at the sum of their rates."""
    half = CHAT | {"rate": "50/s"}
    whole = planner.procure(fleet(workloads={"chat": CHAT | {"rate": "100/s"}}), catalog=catalog)
    halves = planner.procure(fleet(workloads={"a": half, "b": half}, sharing="shared"), catalog=catalog)
    assert cost_of(halves) == cost_of(whole)
    for mine, theirs in zip(halves.predicted[::2], whole.predicted[:1], strict=False):
        assert mine.predicted == pytest.approx(theirs.predicted, rel=0.05)  # each half keeps half as many points


def test_each_workload_keeps_its_own_objectives_in_shared_pools(catalog: Catalog) -> None:
    strict = CODE | {"slo": ["ttft=400ms", "tbt=200ms"]}
    both = fleet(workloads={"chat": CHAT, "code": strict}, sharing="shared")
    found = planner.procure(both, catalog=catalog)
    limits = {(p.part, p.objective): p for p in found.predicted}
    assert limits["code", "ttft.p99=400ms"].met and limits["chat", "ttft.p99=1s"].met
    lax = planner.procure(fleet(workloads={"chat": CHAT, "code": CODE}, sharing="shared"), catalog=catalog)
    assert cost_of(found) >= cost_of(lax) - 1e-9


def test_buckets_are_an_offer_and_never_cost_more(catalog: Catalog) -> None:
    long = {"workload": "azure-code-2023", "rate": "40/s", "slo": ["ttft=600ms", "tbt=200ms"]}
    plain = planner.procure(fleet(workloads={"code": long}), catalog=catalog)
    cut = planner.procure(fleet(workloads={"code": long | {"size_buckets": [1024, 4096]}}), catalog=catalog)
    assert cut.solver.groups_considered == 6
    assert cost_of(cut) <= cost_of(plain) + 1e-9
    served = sum(p.rate_per_s for p in cut.pools if p.role != "decode")
    assert served == pytest.approx(40.0, rel=1e-6)


def test_without_objectives_only_throughput_counts(catalog: Catalog) -> None:
    free = planner.procure(fleet(workloads={"chat": CHAT | {"slo": "none"}}), catalog=catalog)
    assert free.predicted == []
    assert free.workloads[0].kind == "throughput"
    rates = [r.requests_per_usd for r in free.workloads[0].design_rates]
    assert rates == sorted(rates, reverse=True) and len(rates) >= 3
    assert cost_of(free) <= cost_of(planner.procure(fleet(), catalog=catalog)) + 1e-9
    # No plan serves more for a dollar than the best design does in pools of any size.
    assert 70.0 * 3600.0 / cost_of(free) <= rates[0] * (1 + 1e-6)


def test_batch_work_is_done_between_arrival_and_deadline(catalog: Catalog) -> None:
    found = planner.procure(fleet(workloads={"docs": DOCS}), catalog=catalog)
    used = {p.period: p.rates_per_s["docs"] for p in found.periods}
    assert set(used) == {"06:00-12:00", "12:00-18:00", "18:00-24:00", "00:00-06:00"}
    assert used["06:00-12:00"] == used["12:00-18:00"] == 0.0
    assert sum(used.values()) * 6 * 3600 == pytest.approx(1e6, rel=1e-5)
    assert found.workloads[0].done_by in ("24:00", "06:00")
    longer = planner.procure(
        fleet(workloads={"docs": DOCS | {"batch": {"requests": 1e6, "arrives": "18:00", "within_s": 86400.0}}}),
        catalog=catalog,
    )
    assert cost_of(longer) <= cost_of(found) + 1e-9


def test_batch_work_fills_the_valleys_of_machines_that_are_there(catalog: Catalog) -> None:
    """Chat by day, documents by night: bought machines do both, so together they cost less than apart."""
    day = CHAT | {"day": [{"hours": 6, "rate": 0.1}, {"hours": 12, "rate": 1.0}, {"hours": 6, "rate": 0.1}]}
    bought: dict[str, Any] = {"plans": ["owned", "on_demand"], "sharing": "separate", "gap": 0.002}
    small = DOCS | {"batch": DOCS["batch"] | {"requests": 400_000}}
    chat, docs, both = (
        planner.procure({"workloads": some, **bought}, catalog=catalog)
        for some in ({"chat": day}, {"docs": small}, {"chat": day, "docs": small})
    )
    assert cost_of(both) < 0.85 * (cost_of(chat) + cost_of(docs))
    owned = {p.machine: p.count for p in both.purchases if p.plan == "owned"}
    for period in both.periods:
        for name, n in period.machines_by_plan.items():
            assert not name.endswith(" owned") or n <= owned[name.removesuffix(" owned")]
    assert sum(g.cost_usd_per_hour for g in both.groups) == pytest.approx(both.cost_usd_per_hour, rel=1e-9)


def test_models_never_share(catalog: Catalog) -> None:
    small = CHAT | {"model": "llama-3.1-8b"}
    found = planner.procure(fleet(workloads={"large": CHAT, "small": small}), catalog=catalog)
    assert {w.group for w in found.workloads} == {"large", "small"}
    with pytest.raises(ScenarioError, match="cannot share pools"):
        planner.procure(fleet(workloads={"large": CHAT, "small": small}, sharing=[["large", "small"]]), catalog=catalog)
    with pytest.raises(ScenarioError, match="batch work and shares no pools"):
        planner.procure(fleet(workloads={"chat": CHAT, "docs": DOCS}, sharing=[["chat", "docs"]]), catalog=catalog)


def test_infeasible_names_what_collides_and_what_is_enough(catalog: Catalog) -> None:
    tight = fleet(max_machines={"dgx-h100": 1, "dgx-a100": 2}, max_power_w=60e3)
    with pytest.raises(InfeasibleError) as caught:
        planner.procure(tight, catalog=catalog)
    lines = str(caught.value.value)
    enough = re.search(r"max_machines dgx-h100: 1 is too little; (\d+) is enough", lines)
    assert enough, lines
    n = int(enough[1])
    planner.procure(tight | {"max_machines": {"dgx-h100": n, "dgx-a100": 2}}, catalog=catalog)
    with pytest.raises(InfeasibleError):
        planner.procure(tight | {"max_machines": {"dgx-h100": n - 1, "dgx-a100": 2}}, catalog=catalog)
    with pytest.raises(InfeasibleError, match=r"chat: .*even unloaded"):
        planner.procure(fleet(workloads={"chat": CHAT | {"slo": "ttft=1ms"}}), catalog=catalog)


def test_names_that_do_not_exist(catalog: Catalog) -> None:
    for field, value in (("model", "llama-3.1-71b"), ("workload", "azure-conv-2024"), ("machines", "dgx-h101")):
        with pytest.raises(UnknownNameError) as caught:
            planner.procure(fleet(workloads={"chat": CHAT | {field: value}}), catalog=catalog)
        assert caught.value.suggestions
        assert "workloads.chat" in str(caught.value.where)
    with pytest.raises(ScenarioError, match="no price book offers dgx-b200"):
        planner.procure(fleet(machines=["dgx-h100", "dgx-b200"]), catalog=catalog)
    with pytest.raises(ScenarioError, match="no request of chat has a prompt of more than 100000"):
        planner.procure(fleet(workloads={"chat": CHAT | {"size_buckets": [100000]}}), catalog=catalog)


def test_the_same_input_gives_the_same_bytes_and_records_are_flat(catalog: Catalog) -> None:
    some = fleet(workloads={"chat": CHAT, "docs": DOCS})
    first, second = (planner.procure(some, catalog=catalog) for _ in range(2))
    assert first.model_dump_json() == second.model_dump_json()
    for of in ("purchases", "pools", "periods", "predicted"):
        rows = first.to_records(of)  # type: ignore[arg-type]
        assert rows and not any(isinstance(v, (dict, list)) for row in rows for v in row.values())
    assert sum(r["cost_usd"] for r in first.to_records()) == pytest.approx(first.cost_usd)
    assert Procurement.model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize("field", ["max_machines", "max_rented", "owned"])
def test_a_stock_under_a_name_that_is_no_machine_is_refused(catalog: Catalog, field: str) -> None:
    """It would limit nothing, in silence."""
    with pytest.raises(InputError, match=r"did you mean(?s:.*)dgx-h100") as caught:
        planner.procure(fleet(**{field: {"dgx-h10": 3}}), catalog=catalog)
    assert caught.value.where == field


@pytest.mark.parametrize("kind", ["h100", "h100-sxm"])
def test_a_stock_in_accelerators_is_one_of_the_machines_that_hold_them(catalog: Catalog, kind: str) -> None:
    few = fleet(max_machines={"dgx-h100": 1})
    told = planner.procure(fleet(max_machines={kind: 15}), catalog=catalog)
    assert told.purchases == planner.procure(few, catalog=catalog).purchases
    assert f"max_machines {kind} 15" in told.binding
    kept = planner.procure(fleet(owned={kind: 24}), catalog=catalog)
    assert kept.purchases == planner.procure(fleet(owned={"dgx-h100": 3}), catalog=catalog).purchases
    assert f"owned: 24 {kind} are taken as 3 dgx-h100" in kept.notes


def test_accelerators_owned_that_several_machines_hold_are_asked_about(catalog: Catalog) -> None:
    both = fleet(machines=["dgx-h100", "coreweave-8x-h100"], owned={"h100": 16})
    with pytest.raises(ScenarioError, match=r"which machines hold the 16 h100(?s:.*)coreweave-8x-h100, dgx-h100 does"):
        planner.procure(both, catalog=catalog)
