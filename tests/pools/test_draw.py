"""Draw of full machines, and the objective that counts it."""

from __future__ import annotations

import pytest

from planner import optimize
from planner.catalog.catalog import Catalog
from planner.planning.plan import Plan
from planner.scenario.resolve import Problem, configurations, resolve
from planner.scenario.scenario import Scenario

FIELDS = {
    "model": "llama-3.1-8b", "rate": "60/s", "slo": ("ttft=2s", "tbt=200ms"),
    "machines": ("coreweave-8x-h100", "coreweave-8x-h200", "coreweave-8x-l40s"),
}  # fmt: skip


@pytest.fixture(scope="module")
def problem() -> Problem:
    return resolve(Scenario(**FIELDS, objective="energy"), Catalog.default())  # type: ignore[arg-type]


def test_a_full_machine_draws_between_idle_and_rated(problem: Problem) -> None:
    for c in configurations(problem)[0]:
        e = problem.runtime.efficiency(c.accelerator)
        idle_w = c.machine.chassis_power_w + c.machine.n_accelerators * e.power_idle * c.accelerator.tdp_w
        low, high = sorted((c.full_draw_w["prefill"], c.full_draw_w["decode"]))
        assert idle_w <= low <= c.full_draw_w["mixed"] + 1e-6
        assert c.full_draw_w["mixed"] <= high + 1e-6 <= c.machine.rated_power_w + 2e-6


def test_least_draw_is_no_more_than_that_of_any_other_objective(problem: Problem) -> None:
    plans = {o: optimize(**FIELDS, objective=o, verify=False) for o in ("energy", "cost", "power")}  # type: ignore[arg-type]
    full = {o: _full_draw_w(plan, problem) for o, plan in plans.items()}
    assert plans["energy"].solver.value == pytest.approx(full["energy"])
    assert full["energy"] <= min(full["cost"], full["power"]) * 1.01  # a simpler plan may be so much more
    assert plans["energy"].expected_power_w <= full["energy"] * (1 + 1e-9)
    assert 0.0 < (plans["energy"].expected_power_error or 0.0) < 0.5


def _full_draw_w(plan: Plan, problem: Problem) -> float:
    """The objective of the plan's pools, worked out apart from it."""
    by_label = {
        (c.machine.name, c.layout.tensor_parallel, c.layout.replicas): c
        for c in configurations(problem)[0]
        if c.layout.pipeline_parallel == c.layout.expert_parallel == 1
    }
    return sum(
        by_label[p.machine, p.tensor_parallel, p.replicas_per_machine].full_draw_w[p.role] * (p.count + p.spares)
        for p in plan.pools
    )
