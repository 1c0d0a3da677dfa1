"""Clients that wait for their answers: the rate that they send, against Little's law and what is the same load."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.planning.closed_loop import (
    as_solved,
    at_the_rate_of_clients,
    holds,
    least_that_holds,
    rate_of_clients,
)
from planner.planning.search import solve_problem
from planner.pools.prediction import ClusterModel
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import load_scenario

CATALOG = Catalog()
FIELDS: dict[str, Any] = {"isl": 1000, "osl": 300, "machines": ("dgx-h100",), "design": "baseline", "verify": False}


def problem(**load: Any) -> Problem:
    return resolve(load_scenario({}, **FIELDS, **load), CATALOG)


@pytest.fixture(scope="module")
def users() -> Problem:
    return at_the_rate_of_clients(problem(users=500, think_time="20s"))


def test_little_holds_at_the_rate_found(users: Problem) -> None:
    found = solve_problem(users)
    answer_s = ClusterModel(found.members, found.routes, users.need).mean_e2e_s()
    assert users.need.rate_per_s * (answer_s + 20.0) == pytest.approx(500, rel=0.03)
    assert "500 users who think 20.0 s send" in as_solved(users, found).notes[-1]


def test_the_mean_answer_is_that_of_its_percentiles(users: Problem) -> None:
    """The mean by integration against the mean of finely sampled percentiles."""
    found = solve_problem(users)
    model, ones = ClusterModel(found.members, found.routes, users.need), np.ones_like(users.need.traffic.weight)
    middles = [model.percentile("e2e", 100 * (i + 0.5) / 100, ones) for i in range(100)]
    mean = float(np.mean([m for m in middles if m is not None]))
    assert model.mean_e2e_s() == pytest.approx(mean, rel=0.03)


def test_the_same_load_in_other_words_is_the_same_plan(users: Problem) -> None:
    """Of N users, lambda E wait for an answer at any time: as many requests under way make the same plan."""
    found = solve_problem(users)
    rate = users.need.rate_per_s
    under_way = round(rate * ClusterModel(found.members, found.routes, users.need).mean_e2e_s())
    other = at_the_rate_of_clients(problem(concurrency=under_way))
    assert other.need.rate_per_s == pytest.approx(rate, rel=0.05)
    same = solve_problem(other)
    assert [(m.role, m.configuration.label, m.count) for m in same.members] == [
        (m.role, m.configuration.label, m.count) for m in found.members
    ]


def test_more_users_never_send_less() -> None:
    rates = [at_the_rate_of_clients(problem(users=n, think_time="20s")).need.rate_per_s for n in (50, 200, 800)]
    assert rates == sorted(rates)
    # Few users hardly wait for each other: N over the time of an answer on a quiet machine and the thinking.
    assert 50 / 27 < rates[0] < 50 / 20


def test_a_cluster_is_judged_at_the_rate_of_its_clients() -> None:
    plans = [
        planner.evaluate([{"role": "mixed", "machine": "dgx-h100", "count": n}], **FIELDS, users=500, think_time="20s")
        for n in (1, 4)
    ]
    # More machines answer sooner, and so the same users send more.
    assert plans[0].rate_per_s < plans[1].rate_per_s < 500 / 20
    for plan in plans:
        e2e = next(p for p in plan.percentiles if p.metric == "e2e")
        assert plan.rate_per_s * (20.0 + (e2e.p50_s or 0.0)) == pytest.approx(500, rel=0.05)


def test_a_rate_is_left_as_it_is() -> None:
    posed = problem(rate="20/s")
    assert at_the_rate_of_clients(posed) is posed


def test_clients_of_a_cluster_that_is_too_small_send_what_it_carries(users: Problem) -> None:
    """However many wait, the rate stays below what the machines can carry."""
    found = solve_problem(users)
    many = rate_of_clients(found.members, found.routes, users.need, 50_000, 0.0)
    more = rate_of_clients(found.members, found.routes, users.need, 100_000, 0.0)
    assert more == pytest.approx(many, rel=0.05)


@pytest.fixture(scope="module")
def proven() -> planner.Plan:
    return planner.optimize(**FIELDS | {"verify": True}, users=500, think_time="20s", slo=["ttft=1s", "tbt=50ms"])


def under_way(plan: planner.Plan) -> float:
    """Of requests of one length, by Little's law; the median answer is about the mean one."""
    e2e = next(p for p in plan.certificate.percentiles if p.metric == "e2e")  # type: ignore[union-attr]
    return plan.rate_per_s * (e2e.p50_s.value or 0.0)


def test_a_certificate_is_of_the_clients_themselves(proven: planner.Plan) -> None:
    """N = X (R + Z) in what was simulated, at the rate that the plan then says."""
    assert proven.certificate is not None and proven.certificate.status == "confirmed"
    assert under_way(proven) + 20.0 * proven.rate_per_s == pytest.approx(500, rel=0.01)
    assert any("simulated as 500 users who think 20.0 s" in note for note in proven.notes)


def test_clients_in_other_words_have_the_same_proven_plan(proven: planner.Plan) -> None:
    n = round(under_way(proven))
    other = planner.optimize(**FIELDS | {"verify": True}, concurrency=n, slo=["ttft=1s", "tbt=50ms"])
    assert [(p.machine, p.layout, p.count) for p in other.pools] == [
        (p.machine, p.layout, p.count) for p in proven.pools
    ]
    assert other.rate_per_s == pytest.approx(proven.rate_per_s, rel=0.01)
    ttft = [next(p for p in plan.certificate.percentiles if p.metric == "ttft").p99_s.value for plan in (proven, other)]  # type: ignore[union-attr]
    assert other.predicted[0].predicted == pytest.approx(ttft[0], rel=0.15)
    # Who never thinks and has answers of one length comes more regularly than who thinks by chance, and queues less.
    assert 0.7 * ttft[0] <= ttft[1] <= 1.05 * ttft[0]


def test_fewer_machines_make_clients_wait_not_queues_grow() -> None:
    """One machine holds all that may be under way: at the rate of two it could not keep up."""
    plan = planner.optimize(
        **FIELDS | {"verify": True, "machines": ("dgx-a100",)}, concurrency=64, slo=["ttft=1s", "tbt=50ms"]
    )
    assert [p.count for p in plan.pools] == [1]
    assert plan.certificate is not None
    assert [r.finding for r in plan.certificate.rounds][-1] == "confirmed"
    assert plan.certificate.objectives[1].breaks_at_load == pytest.approx(1.14, abs=0.03)


def test_a_budget_that_the_best_plan_keeps_changes_nothing() -> None:
    """The rate that clients could send at most is beyond such a budget; the one that they do send is not."""
    free = planner.optimize(**FIELDS, concurrency=100)
    assert free.cost_usd_per_hour is not None
    kept = planner.optimize(**FIELDS, concurrency=100, max_cost_usd_per_hour=free.cost_usd_per_hour)
    assert kept.cost_usd_per_hour == free.cost_usd_per_hour
    with pytest.raises(planner.InfeasibleError, match="within the limits") as refused:
        planner.optimize(**FIELDS, concurrency=100, max_cost_usd_per_hour=free.cost_usd_per_hour - 1.0)
    assert f"${free.cost_usd_per_hour:.2f}/h is enough" in str(refused.value)


def test_the_least_rate_that_holds_is_found_beyond_rates_that_cannot_be_served() -> None:
    """Plans that serve no more than 10/s and whose clients send 8/s, or just what they are sized for."""

    def steady(rate_per_s: float) -> float | None:
        return None if rate_per_s > 10.0 else 8.0

    found = least_that_holds(100.0, steady)
    assert found is not None and 8.0 * 0.99 <= found <= 8.0 * 1.03
    assert least_that_holds(100.0, lambda rate: None if rate > 10.0 else 20.0) is None


def test_no_lower_rate_holds_than_the_one_found() -> None:
    """Of plans whose clients send what they are sized for at 3 and at 8/s, but for gaps, the one at 3/s is found."""

    def sent(rate_per_s: float) -> float:
        return 3.0 if 3.0 <= rate_per_s < 3.2 else 8.0 if rate_per_s >= 8.0 else rate_per_s * 1.1

    found = least_that_holds(10.0, sent)
    assert found is not None and 3.0 * 0.99 <= found <= 3.2


def test_clients_of_the_plan_send_no_more_than_it_is_for() -> None:
    """The simpler plan that is nearly as good too."""
    fields = {"workload": "azure-code-2023", "machines": ("dgx-a100", "dgx-h100"), "verify": False}
    posed = at_the_rate_of_clients(resolve(load_scenario(fields, concurrency=200), CATALOG))
    assert holds(posed, solve_problem(posed))
