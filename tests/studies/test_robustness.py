"""Mishaps against `evaluate` and `optimize` asked the same directly, and against brute force over purchases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import planner
from planner.errors import InfeasibleError, ScenarioError, UnknownNameError
from planner.scenario.cluster import Cluster
from planner.scenario.resolve import changed, resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies.mishaps import AS_PLANNED, Mishap, cluster_under, owned_under
from planner.studies.robustness_result import MishapRow, Robustness

HA: list[dict[str, Any]] = [
    {"role": "prefill", "machine": "dgx-h100", "count": 3, "tensor_parallel": 4},
    {"role": "decode", "machine": "dgx-a100", "count": 4, "tensor_parallel": 4},
]
OWNED = {"dgx-h100": 3, "dgx-a100": 4}
PRICE = {"dgx-a100": 17.6, "dgx-h100": 38.0}
RATE = 60.0


@pytest.fixture(scope="module")
def found() -> Robustness:
    return planner.robustness(HA, rate_per_s=RATE, bursts=[3.0])


@pytest.fixture
def row(found: Robustness) -> Callable[[str], MishapRow]:
    return lambda title: next(r for r in found.rows if r.title == title)


def with_counts(prefill: int, decode: int) -> list[dict[str, Any]]:
    return [HA[0] | {"count": prefill}, HA[1] | {"count": decode}]


@pytest.mark.parametrize(
    ("title", "cluster", "fields"),
    [
        ("as planned", HA, {}),
        ("azure-code-2023 instead", HA, {"workload": "azure-code-2023"}),
        ("load +25 %", HA, {"rate_per_s": 75.0}),
        ("arrivals of CV 3", HA, {"arrival_cv2": 9.0}),
        ("1 of 3 dgx-h100 prefill lost", with_counts(2, 4), {}),
        ("1 of 4 dgx-a100 decode lost", with_counts(3, 3), {}),
    ],
)
def test_a_row_is_what_evaluate_says(
    title: str, cluster: Any, fields: dict[str, Any], row: Callable[[str], MishapRow]
) -> None:
    plan = planner.evaluate(cluster, **({"rate_per_s": RATE} | fields))
    found = row(title)
    assert found.holds == plan.meets_objectives and found.predicted == plan.predicted
    assert found.carried_per_s == pytest.approx(plan.headroom * plan.rate_per_s, rel=0.012)  # each search to 0.5 %
    assert found.carried_fraction == pytest.approx(found.carried_per_s / RATE)
    assert bool(found.breaks) != found.holds


@pytest.mark.parametrize(
    ("title", "stock", "fields"),
    [
        ("azure-code-2023 instead", OWNED, {"workload": "azure-code-2023"}),
        ("all 4 dgx-a100 decode lost", {"dgx-h100": 3}, {}),
    ],
)
def test_free_roles_are_what_optimize_finds(
    title: str, stock: dict[str, int], fields: dict[str, Any], row: Callable[[str], MishapRow]
) -> None:
    plan = planner.optimize(
        objective="throughput", max_machines=stock, machines=sorted(stock), verify=False, **fields
    )  # fmt: skip
    found = row(title)
    assert found.flexible_carried_per_s == pytest.approx(plan.rate_per_s, rel=1e-3)
    assert plan.rate_per_s > found.carried_per_s


def test_purchases_are_the_cheapest_of_brute_force(row: Callable[[str], MishapRow]) -> None:
    """Every purchase of up to four machines of each type, cheapest first, until one carries the load."""
    found = row("azure-code-2023 instead")

    def carries(extra: tuple[int, int]) -> bool:
        stock = {"dgx-a100": 4 + extra[0], "dgx-h100": 3 + extra[1]}
        try:
            planner.optimize(
                rate_per_s=RATE,
                workload="azure-code-2023",
                objective="machines",
                max_machines=stock,
                verify=False,
                exact=True,
            )
        except InfeasibleError:
            return False
        return True

    def cost(extra: tuple[int, int]) -> float:
        return extra[0] * PRICE["dgx-a100"] + extra[1] * PRICE["dgx-h100"]

    cheapest = next(e for e in sorted(itertools.product(range(5), repeat=2), key=cost) if carries(e))
    assert found.cost_to_buy_usd_per_hour == pytest.approx(cost(cheapest))
    assert found.n_to_buy == sum(cheapest)
    assert not found.flexible_holds and found.pools_after


def test_the_cost_of_the_wrong_mix(row: Callable[[str], MishapRow], found: Robustness) -> None:
    mix = row("azure-code-2023 instead")
    right = planner.optimize(
        workload="azure-code-2023", objective="throughput", max_cost=found.cost_usd_per_hour, verify=False
    )
    assert mix.right_carried_per_s == pytest.approx(right.rate_per_s)
    assert mix.loss_fraction == pytest.approx(1 - mix.flexible_carried_per_s / right.rate_per_s)
    assert all(r.loss_fraction is None for r in found.rows if r.mishap != "mix")


def test_growth_is_monotone(found: Robustness) -> None:
    rows = [found.rows[0], *(r for r in found.rows if r.mishap == "growth")]
    assert [r.rate_per_s for r in rows] == pytest.approx([60.0, 66.0, 75.0, 90.0])
    for before, after in itertools.pairwise(rows):
        assert before.holds >= after.holds and before.flexible_holds >= after.flexible_holds
        assert (before.cost_to_buy_usd_per_hour or 0) <= (after.cost_to_buy_usd_per_hour or 0)
        # What is carried has nothing to do with what is asked.
        assert after.carried_per_s == pytest.approx(before.carried_per_s, rel=1e-9)
        assert after.flexible_carried_per_s == pytest.approx(before.flexible_carried_per_s, rel=1e-9)
    assert [r.holds for r in rows] == [r.carried_per_s >= r.rate_per_s for r in rows]


def test_free_roles_carry_no_less_and_what_holds_needs_nothing(found: Robustness) -> None:
    for r in found.rows:
        assert r.flexible_carried_per_s >= r.carried_per_s and r.proven
        assert (r.n_to_buy == 0) == r.flexible_holds == (r.to_buy == "")
    assert [r.title for r in found.rows][-2:] == ["all 3 dgx-h100 prefill lost", "all 4 dgx-a100 decode lost"]
    assert found.rows[-1].breaks == ["the cluster has a prefill pool and no decode pool"]


def test_a_plan_is_taken_with_its_own_scenario_and_spares_take_over() -> None:
    plan = planner.optimize(rate="40/s", spares=1, verify=False, design="baseline", machines="dgx-h100")
    found = planner.robustness(plan, only=["machine"])
    assert found.planned_rate_per_s == 40.0 and found.spares == 1
    assert [r.holds for r in found.rows] == [True, True]
    assert found.rows[1].pools == found.rows[0].pools


def test_simulation_has_the_last_word_where_it_is_asked() -> None:
    cluster = [HA[0] | {"machine": "dgx-h100", "role": "mixed", "count": 1}]
    asked: dict[str, Any] = {"rate_per_s": 14.0, "verify_runs": 1, "verify_requests": 500}
    found = planner.robustness(cluster, only=["growth"], growth=[0.1, 4.0], verify=True, **asked)
    planned, grown, far = found.rows
    assert planned.simulated is not None and grown.simulated is not None
    assert planned.holds == all(o.met for o in planned.simulated)
    assert far.simulated is None and not far.holds  # overloaded beyond doubt
    simulated = planner.simulate(cluster, rate_per_s=14.0, seeds=[1], n_requests=500)
    assert planned.simulated[0].simulated.value == pytest.approx(simulated.objectives[0].simulated.value)


def test_an_interrupted_one_keeps_its_rows() -> None:
    def stop(text: str) -> None:
        if text.startswith("load +"):
            raise KeyboardInterrupt

    found = planner.robustness([HA[0] | {"role": "mixed"}], only=["growth"], rate_per_s=10.0, progress=stop)
    assert not found.complete and [r.title for r in found.rows] == ["as planned"]


def test_half_of_another_mix_has_the_requests_of_both() -> None:
    planned = resolve(load_scenario({}))
    half = changed(planned, Mishap("mix", "", workload="azure-code-2023", share=0.5).change)
    other = resolve(load_scenario({"workload": "azure-code-2023"}))
    for name in ("mean_prompt_tokens", "mean_output_tokens"):
        expected = np.mean([getattr(p.sizes, name) for p in (planned, other)])
        assert getattr(half.sizes, name) == pytest.approx(expected)
    assert half.sizes.name == "50% azure-conv-2023, 50% azure-code-2023"


def test_losses_take_spares_first_and_share_the_load_of_what_is_left() -> None:
    cluster = Cluster.model_validate(
        {
            "pools": [
                {"role": "mixed", "machine": "dgx-h100", "count": 4, "spares": 1, "rate_per_s": 8.0},
                {"role": "mixed", "machine": "dgx-a100", "count": 1},
            ]
        }
    )
    one, three = Mishap("machine", "", lost={0: 1}), Mishap("rack", "", lost={0: 3})
    assert owned_under(AS_PLANNED, cluster) == {"dgx-h100": 5, "dgx-a100": 1}
    assert owned_under(three, cluster) == {"dgx-h100": 2, "dgx-a100": 1}
    left = cluster_under(one, cluster)
    assert left is not None and (left.pools[0].count, left.pools[0].spares) == (4, 0)
    left = cluster_under(three, cluster)
    assert left is not None and (left.pools[0].count, left.pools[0].rate_per_s) == (2, 4.0)
    left = cluster_under(Mishap("machine", "", lost={1: 1}), cluster)
    assert left is not None and len(left.pools) == 1
    assert cluster_under(Mishap("rack", "", lost={0: 5, 1: 1}), cluster) is None


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"mixes": ["azure-cod-2023"]}, UnknownNameError, "azure-code-2023"),
        ({"mixes": ["azure-conv-2023"]}, ScenarioError, "that is the mix planned for"),
        ({"growth": [-1.0]}, ScenarioError, "above -100 %"),
        ({"growth": [25.0]}, ScenarioError, "write 25 %"),
        ({"growth": [math.nan]}, ScenarioError, "not a growth"),
        ({"bursts": [0.0]}, ScenarioError, "above 0"),
        ({"bursts": [-2.0]}, ScenarioError, "above 0"),
        ({"rack": 5}, ScenarioError, "1 to 4 machines"),
        ({"rack": 0}, ScenarioError, "not a number of machines"),
        ({"only": ["racks"]}, UnknownNameError, "rack"),
        ({"only": ["mix"], "growth": [0.1]}, ScenarioError, "growth is described and left out"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        planner.robustness(HA, rate_per_s=RATE, **arguments)
