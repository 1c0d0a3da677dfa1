"""Alternatives against brute force: every vector of machine counts of a small catalog."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError, PlannerError, ScenarioError, UnitError, UnknownNameError
from planner.planning.record import NOT_SIMULATED
from planner.planning.search import prepare_search
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies.alternatives import alternatives
from planner.studies.alternatives_result import Alternatives

from ..optimization.pools import carried

MOST = 5  # machines of a plan in the brute force
SMALL: dict[str, Any] = {"slo": ["ttft=1s", "tbt=200ms"], "rate": "40/s", "max_total_machines": MOST}
PRICE = {"dgx-a100": 17.6, "dgx-h100": 38.0}
Plan = tuple[frozenset[tuple[str, str]], Counter[str], int]  # mix, machines by type, pools


@pytest.fixture(scope="module")
def every_plan() -> list[Plan]:
    """All plans of up to MOST machines that carry the load."""
    ((_, candidates),) = prepare_search(resolve(load_scenario({}, **SMALL))).posed
    found = []
    for size in range(1, MOST + 1):
        for chosen in itertools.combinations_with_replacement(range(len(candidates)), size):
            pools = [(candidates[i], chosen.count(i)) for i in sorted(set(chosen))]
            if carried(pools) >= 40.0 * (1 - 1e-6):
                counts: Counter[str] = Counter()
                for c, n in pools:
                    counts[c.configuration.machine.name] += n
                mix = frozenset((c.role, c.configuration.machine.name) for c, _ in pools)
                found.append((mix, counts, len(pools)))
    return found


def cost(counts: Counter[str]) -> float:
    return math.fsum(PRICE[m] * n for m, n in counts.items())


def mix_of(plan: planner.Plan) -> frozenset[tuple[str, str]]:
    return frozenset((p.role, p.machine) for p in plan.pools)


@pytest.mark.parametrize("within", [0.05, 0.3, 0.7])
def test_mixes_are_those_of_brute_force(every_plan: list[Plan], within: float) -> None:
    best = min(cost(counts) for _, counts, _ in every_plan)
    cheapest: dict[frozenset[tuple[str, str]], float] = {}
    for mix, counts, _ in every_plan:
        cheapest[mix] = min(cheapest.get(mix, math.inf), cost(counts))
    expected: dict[frozenset[tuple[str, str]], float] = {}
    for mix, value in sorted(cheapest.items(), key=lambda entry: (entry[1], len(entry[0]))):
        if value <= best * (1 + within) + 1e-9 and not any(mix >= other for other in expected):
            expected[mix] = value
    found = alternatives(**SMALL, within=within, most=20)
    assert found.all_mixes and found.complete
    listed = [p for p in found.plans if {"best", "another mix"} & set(p.reasons)]
    assert {mix_of(p.plan): round(p.value, 6) for p in listed} == {m: round(v, 6) for m, v in expected.items()}
    assert [p.value for p in listed] == sorted(p.value for p in listed)
    assert all(p.relative == pytest.approx(p.value / best - 1, abs=1e-9) for p in listed)


def test_fewest_types_and_pools_are_those_of_brute_force(every_plan: list[Plan]) -> None:
    found = alternatives(**SMALL, within=0.5, most=20)
    near = [p for p in every_plan if cost(p[1]) <= found.plans[0].value * 1.5 + 1e-9]
    (types,) = [p for p in found.plans if "fewest machine types" in p.reasons]
    assert types.n_machine_types == min(len(counts) for _, counts, _ in near)
    assert types.value == pytest.approx(
        min(cost(counts) for _, counts, _ in near if len(counts) == types.n_machine_types)
    )
    (pools,) = [p for p in found.plans if "fewest pools" in p.reasons]
    assert pools.n_pools == min(n for _, _, n in near)
    assert pools.value == pytest.approx(min(cost(counts) for _, counts, n in near if n == pools.n_pools))


@pytest.mark.parametrize("owned", [{"dgx-a100": 1}, {"dgx-a100": 3}, {"dgx-a100": 2, "dgx-h100": 1}, {"dgx-h100": 9}])
@pytest.mark.parametrize("within", [0.05, 0.4])
def test_least_change_is_that_of_brute_force(every_plan: list[Plan], owned: dict[str, int], within: float) -> None:
    def bought(counts: Counter[str]) -> int:
        return sum(max(n - owned.get(m, 0), 0) for m, n in counts.items())

    found = alternatives(**SMALL, within=within, owned=owned)
    near = [counts for _, counts, _ in every_plan if cost(counts) <= found.plans[0].value * (1 + within) + 1e-9]
    (change,) = [p for p in found.plans if "least change from what is owned" in p.reasons]
    fewest = min(map(bought, near))
    assert change.n_bought == fewest
    assert change.value == pytest.approx(min(cost(counts) for counts in near if bought(counts) == fewest))
    counts = Counter({p.machine: 0 for p in change.plan.pools})
    for p in change.plan.pools:
        counts[p.machine] += p.count
    assert change.n_idle == sum(max(n - counts[m], 0) for m, n in owned.items())
    anywhere = min(bought(counts) for _, counts, _ in every_plan)
    beyond = [p for p in found.plans if any("beyond" in reason for reason in p.reasons)]
    assert bool(beyond) == (anywhere < fewest)
    if beyond:
        assert beyond[0].n_bought == anywhere


def test_where_not_all_mixes_are_listed_fewest_types_is_still_right(every_plan: list[Plan]) -> None:
    few, all_of = (alternatives(**SMALL, within=0.7, most=most) for most in (1, 20))
    assert not few.all_mixes and all_of.all_mixes

    def types(found: Alternatives) -> tuple[int, float]:
        (plan,) = [p for p in found.plans if "fewest machine types" in p.reasons]
        return plan.n_machine_types, round(plan.value, 6)

    assert types(few) == types(all_of)
    assert len([p for p in few.plans if {"best", "another mix"} & set(p.reasons)]) == 1


def test_the_best_is_that_of_optimize_and_every_plan_meets_the_objectives() -> None:
    for objective in ("cost", "power", "machines"):
        found = alternatives(**SMALL, objective=objective, within="20 %", owned={"dgx-a100": 2}, spares=1)
        plan = planner.optimize(**SMALL, objective=objective, spares=1, verify=False)
        assert found.plans[0].value == pytest.approx(plan.solver.value)
        assert all(p.plan.meets_objectives for p in found.plans)
        assert all(p.plan.scenario["max_total_machines"] == MOST for p in found.plans)


def test_records_json_and_what_is_bought() -> None:
    found = alternatives(**SMALL, within="30 %", owned={"dgx-a100": 2})
    assert Alternatives.model_validate_json(found.model_dump_json()) == found
    for record, plan in zip(found.to_records(), found.plans, strict=True):
        assert record["reasons"] == "; ".join(plan.reasons) and "plan" not in record
        assert plan.cost_of_bought_usd_per_hour == pytest.approx(
            plan.cost_usd_per_hour - sum(17.6 * min(n, 2) for n in [_a100(plan.plan)])
        )


def _a100(plan: planner.Plan) -> int:
    return sum(p.count for p in plan.pools if p.machine == "dgx-a100")


def test_owned_machines_are_considered_even_if_not_named() -> None:
    found = alternatives(slo=["ttft=1s"], rate="20/s", machines="dgx-h100", owned={"dgx-a100": 9}, within="100 %")
    (change,) = [p for p in found.plans if "least change from what is owned" in p.reasons]
    assert change.n_bought == 0 and {p.machine for p in change.plan.pools} == {"dgx-a100"}


def test_an_interruption_keeps_what_is_done() -> None:
    def progress(text: str) -> None:
        if text.startswith("2 solves"):
            raise KeyboardInterrupt

    found = alternatives(**SMALL, progress=progress)
    assert [p.reasons for p in found.plans] == [["best"]] and not found.complete
    assert found.ends.startswith("interrupted")


@pytest.mark.parametrize(
    ("given", "kind", "where", "says"),
    [
        ({"within": "-5 %"}, ScenarioError, "within", "from 0 %"),
        ({"within": "5 kW"}, UnitError, "within", "fraction"),
        ({"owned": {"dgx-a10": 2}}, UnknownNameError, "owned", "dgx-a100"),
        ({"owned": {"dgx-a100": -1}}, ScenarioError, "owned", "dgx-a100=-1"),
        ({"most": 0}, ScenarioError, "most", "at least one"),
        ({"objective": "throughput", "max_power": "100 kW"}, ScenarioError, "objective", "cost, power, machines"),
        ({"max_power": "1 kW"}, InfeasibleError, "limits", "is enough"),
    ],
)
def test_bad_input(given: dict[str, Any], kind: type[PlannerError], where: str, says: str) -> None:
    with pytest.raises(kind) as caught:
        alternatives(**given)
    assert caught.value.where == where
    assert says in str(caught.value)


SCENARIOS = [
    {"rate": "30/s"}, {"rate": "12/s", "slo": ["ttft=500ms", "tbt=60ms"]},
    {"rate": "45/s", "workload": "azure-code-2023"},
]  # fmt: skip


@pytest.mark.parametrize("asked", SCENARIOS)
def test_simulated_alternatives_cost_what_each_costs_when_it_is_asked_for(asked: dict[str, Any]) -> None:
    """The same mix, the same price, whichever command names it: alternatives, compare, optimize."""
    machines = ["dgx-a100", "dgx-h100"]
    found = planner.alternatives(**asked, machines=machines, within="60 %", verify=True)
    assert found.plans[0].cost_usd_per_hour == planner.optimize(**asked, machines=machines).cost_usd_per_hour
    assert found.verified != NOT_SIMULATED
    by_mix = {mix_of(p.plan): p for p in found.plans}
    assert len(by_mix) == len(found.plans) and all("simulated" in p.verified for p in found.plans)
    assert all(p.plan.certificate is not None and p.plan.certificate.status == "confirmed" for p in found.plans)
    designs = [p.plan.design for p in found.plans if p.plan.design != "mixed fleet"]
    rows = planner.compare(**asked, machines=machines, designs=designs, verify=True).rows
    for row in rows:
        assert row.plan is not None
        assert by_mix[mix_of(row.plan)].cost_usd_per_hour == pytest.approx(row.cost_usd_per_hour), row.design
    predicted = planner.alternatives(**asked, machines=machines, within="60 %")
    assert all(p.verified == NOT_SIMULATED for p in predicted.plans)
