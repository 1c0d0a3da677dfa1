"""Posing Mélange's problem: against slices and a second solver, by its properties, and with bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InfeasibleError, NoPlanFoundError, PlannerError, ScenarioError
from planner.optimization import assignment as assignment_module
from planner.optimization.assignment import LOAD_TOLERANCE, Assignment, assign
from planner.optimization.solver import solve

Instance = tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]


def competitive(seed: int, n_types: int, shape: tuple[int, int], cost: float, spread: float = 0.15) -> Instance:
    """Types of about equal value, each best at some sizes: many types in the optimum, the hard kind.

    Capacity falls with prompt and output size, prices are 0.5 to 100 USD/h, some types cannot serve long requests.
    """
    draw = np.random.default_rng(seed)
    prompt, output = np.linspace(-2, 2, shape[0])[:, None], np.linspace(-2, 2, shape[1])[None, :]
    rates = np.exp(-((prompt - 0.2) ** 2) / 1.2 - (output + 0.1) ** 2 / 1.1) * draw.lognormal(0, 0.5, shape)
    capacities, prices = {}, {}
    for g in range(n_types):
        price = round(float(np.exp(draw.uniform(np.log(0.5), np.log(100)))), 2)
        tilt = draw.normal(0, spread, 2)
        noise = draw.normal(0, spread, shape)
        capacity = price * np.exp((tilt[0] - 0.8) * prompt + (tilt[1] - 0.9) * output + noise)
        if g and draw.random() < 0.4:
            capacity[(prompt + output) > draw.uniform(1, 3)] = 0.0
        capacities[f"m{g:02d}"], prices[f"m{g:02d}"] = capacity, price
    best = np.max([c / prices[name] for name, c in capacities.items()], axis=0)
    return rates * cost / (rates / best).sum(), capacities, prices


def melange(instance: Instance, slice_factor: int, time_limit_s: float) -> float:
    """Cost of Mélange's slices: each bucket cut into equal slices, each slice on one machine type; not below optimal.

    Slices of one bucket are alike, so their number on each type is the variable.
    """
    rates, capacities, prices = instance
    problem = pulp.LpProblem("slices", pulp.LpMinimize)
    counts = {name: problem.add_variable(f"n_{name}", 0, cat="Integer") for name in capacities}
    problem += pulp.lpSum(prices[name] * n for name, n in counts.items())
    slices = {}
    for b in np.flatnonzero(rates):
        for name, capacity in capacities.items():
            if capacity.ravel()[b] > 0:
                slices[name, b] = problem.add_variable(f"s_{name}_{b}", 0, slice_factor, cat="Integer")
        problem += pulp.lpSum(slices[name, b] for name in capacities if (name, b) in slices) == slice_factor
    for name, n in counts.items():
        load = [
            (slices[k], rates.ravel()[k[1]] / slice_factor / capacities[name].ravel()[k[1]])
            for k in slices
            if k[0] == name
        ]
        problem += pulp.LpAffineExpression(load) <= n
    outcome = solve(problem, time_limit_s=time_limit_s)
    assert outcome.objective is not None
    return outcome.objective


def check(answer: Assignment, instance: Instance) -> None:
    """Recompute what an assignment claims."""
    rates, capacities, prices = instance
    np.testing.assert_allclose(sum(np.array(r) for r in answer.routing.values()), rates, rtol=1e-9)
    for name, capacity in capacities.items():
        routed, can = np.array(answer.routing[name]), np.nan_to_num(capacity) > 0
        assert (routed[~can] == 0).all() and (routed >= 0).all()
        assert (routed[can] / capacity[can]).sum() <= answer.counts[name] * (1 + LOAD_TOLERANCE)
    assert answer.cost_usd_per_hour == pytest.approx(sum(prices[n] * c for n, c in answer.counts.items()))
    assert answer.bound <= answer.cost_usd_per_hour
    assert answer.gap == pytest.approx((answer.cost - answer.bound) / answer.cost)


# ------------------------------------------------------------------------------------------------------------- oracles


@pytest.mark.parametrize("seed", range(6))
def test_never_above_melange_slices(seed: int) -> None:
    instance = competitive(seed, 4, (4, 5), cost=8.0 * 2**seed, spread=0.25)
    answer = assign(*instance)
    assert answer.status == "optimal"
    check(answer, instance)
    for slice_factor in (1, 4, 8):
        assert answer.cost_usd_per_hour <= melange(instance, slice_factor, 1.0) + 1e-6


def test_full_size_is_proven_and_never_above_melange_slices() -> None:
    instance = competitive(5, 16, (20, 20), cost=40.0)
    answer = assign(*instance)
    assert answer.status == "optimal" and answer.gap == 0.0
    check(answer, instance)
    assert answer.cost_usd_per_hour <= melange(instance, 8, 2.0) + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_a_second_solver_agrees_on_the_cost(seed: int) -> None:
    instance = competitive(seed, 5, (4, 4), cost=30.0)
    limits = {"m00": 3} if seed % 2 else None
    try:
        second = assign(*instance, limits, solver="cbc")
    except ScenarioError as error:
        pytest.skip(str(error))
    first = assign(*instance, limits)
    assert second.status == first.status == "optimal"
    assert second.solver.startswith("CBC") and first.solver.startswith("HiGHS")
    assert second.cost_usd_per_hour == pytest.approx(first.cost_usd_per_hour, rel=1e-9)


def test_one_type_is_a_rounded_up_sum() -> None:
    rates = np.array([[3.0, 2.0], [0.0, 1.0]])
    capacity = np.array([[2.0, 1.0], [np.nan, 0.5]])
    answer = assign(rates, {"a": capacity}, {"a": 2.5})
    assert answer.counts == {"a": 6}  # 1.5 + 2 + 2 = 5.5 machines
    assert answer.cost_usd_per_hour == 15.0 and answer.cost == 15.0
    assert answer.busy_fraction["a"] == pytest.approx(5.5 / 6)
    assert answer.routing["a"] == rates.tolist()


def test_routing_is_fractional_where_slices_would_cost_more() -> None:
    # One bucket of 1.5 machines of a or of b: 1 a + half of the rest on a small b.
    answer = assign([3.0], {"a": [2.0], "b": [1.0]}, {"a": 10.0, "b": 5.5})
    assert answer.counts == {"a": 1, "b": 1}
    assert sum(answer.routing["a"] + answer.routing["b"]) == pytest.approx(3.0)


# ---------------------------------------------------------------------------------------------------------- properties

rate = st.floats(0.05, 20.0)
capacity = st.floats(0.2, 8.0) | st.just(0.0)
price = st.integers(50, 2000).map(lambda cents: cents / 100)


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    n_types, n_buckets = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rates = np.array(draw(st.lists(rate, min_size=n_buckets, max_size=n_buckets)))
    names = [f"m{g}" for g in range(n_types)]
    capacities = {n: np.array(draw(st.lists(capacity, min_size=n_buckets, max_size=n_buckets))) for n in names}
    capacities["m0"] = np.maximum(capacities["m0"], 0.2)  # somebody serves everything
    return rates, capacities, {n: draw(price) for n in names}


quick = settings(max_examples=25, deadline=None)


@quick
@given(instances(), st.data())
def test_a_higher_price_is_never_cheaper(instance: Instance, data: st.DataObject) -> None:
    rates, capacities, prices = instance
    name = data.draw(st.sampled_from(sorted(prices)))
    dearer = prices | {name: prices[name] * data.draw(st.floats(1.0, 5.0))}
    assert assign(rates, capacities, dearer).cost >= assign(*instance).cost - 1e-6


@quick
@given(instances(), st.data())
def test_more_requests_are_never_cheaper(instance: Instance, data: st.DataObject) -> None:
    rates, capacities, prices = instance
    more = rates.copy()
    more[data.draw(st.integers(0, len(rates) - 1))] *= data.draw(st.floats(1.0, 4.0))
    assert assign(more, capacities, prices).cost >= assign(*instance).cost - 1e-6


@quick
@given(instances(), st.data())
def test_more_capacity_is_never_dearer(instance: Instance, data: st.DataObject) -> None:
    rates, capacities, prices = instance
    name = data.draw(st.sampled_from(sorted(prices)))
    faster = capacities | {name: capacities[name] * data.draw(st.floats(1.0, 4.0))}
    assert assign(rates, faster, prices).cost <= assign(*instance).cost + 1e-6


@quick
@given(instances(), st.integers(0, 6))
def test_a_limit_is_kept_and_never_cheaper(instance: Instance, limit: int) -> None:
    rates, capacities, prices = instance
    try:
        limited = assign(rates, capacities, prices, {"m0": limit})
    except InfeasibleError:
        return
    assert limited.counts["m0"] <= limit
    assert limited.cost >= assign(*instance).cost - 1e-6


@quick
@given(instances(), st.randoms(use_true_random=False))
def test_the_order_of_machines_does_not_matter(instance: Instance, shuffle: Any) -> None:
    rates, capacities, prices = instance
    names = list(capacities)
    shuffle.shuffle(names)
    shuffled = assign(rates, {n: capacities[n] for n in names}, {n: prices[n] for n in reversed(names)})
    assert shuffled == assign(*instance)


@quick
@given(instances(), st.sampled_from([0.25, 0.5, 2.0, 1024.0]))
def test_scaling_all_prices_scales_the_cost(instance: Instance, factor: float) -> None:
    rates, capacities, prices = instance
    scaled = assign(rates, capacities, {n: p * factor for n, p in prices.items()})
    assert scaled.cost == pytest.approx(assign(*instance).cost * factor, rel=1e-9)


@quick
@given(instances(), st.sampled_from([1e-3, 0.5, 7.0, 3600.0]))
def test_the_unit_of_time_does_not_matter(instance: Instance, factor: float) -> None:
    rates, capacities, prices = instance
    scaled = assign(rates * factor, {n: c * factor for n, c in capacities.items()}, prices)
    assert scaled.cost == pytest.approx(assign(*instance).cost, rel=1e-9)


@quick
@given(instances())
def test_splitting_a_bucket_in_two_changes_nothing(instance: Instance) -> None:
    rates, capacities, prices = instance
    halves = np.concatenate([rates[:1] / 2, rates[:1] / 2, rates[1:]])
    doubled = {n: np.concatenate([c[:1], c]) for n, c in capacities.items()}
    assert assign(halves, doubled, prices).cost == pytest.approx(assign(*instance).cost, rel=1e-9)


@quick
@given(instances())
def test_every_claim_is_recomputed(instance: Instance) -> None:
    answer = assign(*instance)
    assert answer.status == "optimal"
    check(answer, instance)


# --------------------------------------------------------------------------------------------------------------- edges


def test_no_requests_need_no_machines() -> None:
    answer = assign(np.zeros((2, 3)), {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}, {"a": 1.0, "b": 2.0})
    assert answer.counts == {"a": 0, "b": 0}
    assert (answer.cost, answer.bound, answer.gap, answer.status) == (0.0, 0.0, 0.0, "optimal")
    assert answer.to_records() == []
    assert np.array(answer.routing["a"]).shape == (2, 3)


@pytest.mark.parametrize("scale", [1e-300, 1e-15, 1e-9, 1e-6])
def test_the_faintest_traffic_needs_a_machine_that_serves_it(scale: float) -> None:
    # The second bucket's load is far below any solver's tolerance, and only b can serve it.
    answer = assign([1.0, scale], {"a": [1.0, 0.0], "b": [0.0, 1.0]}, {"a": 1.0, "b": 7.0})
    assert answer.counts == {"a": 1, "b": 1}
    assert answer.routing["b"][1] == scale


def test_loads_that_fill_machines_exactly_need_no_more() -> None:
    # 0.1 / 0.3 sums to just above 1 in floats.
    answer = assign([0.1, 0.1, 0.1], {"a": [0.1, 0.1, 0.1]}, {"a": 1.0})
    assert answer.counts == {"a": 3}
    assert assign([0.1] * 10, {"a": [0.1] * 10}, {"a": 1.0}).counts == {"a": 10}
    assert assign([0.3], {"a": [0.1]}, {"a": 1.0}).counts == {"a": 3}


def test_buckets_of_any_shape_and_lists_will_do() -> None:
    for shape in ((4,), (2, 2), (1, 2, 2)):
        answer = assign(
            np.ones(shape).tolist(), {"a": np.full(shape, 2.0), "b": np.ones(shape, dtype=int)}, {"a": 3, "b": 2}
        )
        assert answer.counts == {"a": 2, "b": 0}
        assert np.array(answer.routing["a"]).shape == shape


def test_a_larger_box_at_a_proportional_price_wins_ties_by_fewer_machines() -> None:
    capacities = {"one": [1.0, 2.0], "four": [4.0, 8.0]}
    answer = assign([6.0, 4.0], capacities, {"one": 2.5, "four": 10.0})
    assert answer.cost == 20.0
    assert answer.counts == {"one": 0, "four": 2}
    assert assign([5.0, 0.0], capacities, {"one": 2.5, "four": 10.0}).counts == {"one": 1, "four": 1}


def test_a_twin_does_not_change_the_answer() -> None:
    instance = competitive(3, 4, (3, 3), cost=40.0)
    rates, capacities, prices = instance
    alone = assign(*instance)
    with_twin = assign(rates, capacities | {"zz": capacities["m00"]}, prices | {"zz": prices["m00"]})
    assert with_twin.counts == alone.counts | {"zz": 0}


def test_a_limited_favourite_does_not_drive_out_the_rest() -> None:
    # "good" beats "fair" in everything, but there is one only.
    answer = assign([4.0], {"good": [2.0], "fair": [1.0]}, {"good": 1.0, "fair": 1.5}, {"good": 1})
    assert answer.counts == {"good": 1, "fair": 2}


def test_records_are_flat_and_add_up() -> None:
    instance = competitive(1, 4, (3, 3), cost=60.0)
    answer = assign(*instance)
    records = answer.to_records()
    assert {r["machine"] for r in records} == {n for n, c in answer.counts.items() if c}
    assert sum(r["cost_usd_per_hour"] for r in records) == pytest.approx(answer.cost)
    assert sum(r["requests_per_s"] for r in records) == pytest.approx(instance[0].sum())
    assert all(isinstance(v, (str, int, float)) for r in records for v in r.values())
    assert Assignment.model_validate_json(answer.model_dump_json()) == answer


def test_the_same_input_gives_the_same_bytes() -> None:
    instance = competitive(2, 6, (6, 6), cost=80.0)
    assert assign(*instance).model_dump_json() == assign(*instance).model_dump_json()


# --------------------------------------------------------------------------------------------------------- time limits


def test_a_time_limit_of_ten_milliseconds_still_gives_a_plan_with_its_gap() -> None:
    instance = competitive(0, 16, (20, 20), cost=5000.0)
    answer = assign(*instance, time_limit_s=0.01)
    assert answer.status == "limit"
    check(answer, instance)
    assert 0 < answer.gap < 0.5
    assert answer.bound <= answer.cost


def test_a_time_limit_of_ten_milliseconds_without_a_plan_is_said() -> None:
    rates, capacities, prices = competitive(0, 16, (20, 20), cost=5000.0)
    # Just enough to share each bucket evenly: feasible, but not for any rule that sends a bucket to one type.
    n_servers = sum((c > 0).astype(int) for c in capacities.values())
    even = {name: np.where(c > 0, rates / n_servers / np.where(c > 0, c, 1.0), 0.0) for name, c in capacities.items()}
    limits = {name: int(np.ceil(load.sum())) for name, load in even.items()}
    with pytest.raises(NoPlanFoundError) as raised:
        assign(rates, capacities, prices, limits, time_limit_s=0.01)
    assert raised.value.exit_code == 5
    assert raised.value.where == "time_limit_s" and raised.value.value == 0.01 and raised.value.fix


def test_an_answer_that_overloads_machines_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = assignment_module.counts_found
    monkeypatch.setattr(assignment_module, "counts_found", lambda *a: np.maximum(honest(*a) - 1, 0))
    with pytest.raises(PlannerError, match="no routing fits"):
        assign([5.0], {"a": [1.0]}, {"a": 1.0})


# ---------------------------------------------------------------------------------------------------------- infeasible


def test_buckets_nobody_serves_are_named() -> None:
    rates = [[1.0, 2.0], [0.0, 4.0]]
    with pytest.raises(InfeasibleError, match="these 2 size buckets") as raised:
        assign(rates, {"a": [[1.0, 0.0], [0.0, np.nan]], "b": [[1.0, np.nan], [0, 0]]}, {"a": 1.0, "b": 1.0})
    assert raised.value.value == "[0, 1], [1, 1]"
    assert raised.value.exit_code == 3
    assert raised.value.fix is not None and "6 requests/s" in raised.value.fix


def test_limits_that_bind_are_named_with_the_nearest_relaxation() -> None:
    with pytest.raises(InfeasibleError) as raised:
        assign([10.0, 1.0], {"a": [2.0, 0.0], "b": [0.0, 1.0]}, {"a": 3.0, "b": 1.0}, {"a": 3, "b": 9})
    error = raised.value
    assert error.where == "max_counts" and error.value == "a=3"
    assert error.rule == "within max_counts at most 60 % of every request rate can be served"
    assert error.fix == "raise max_counts of a from 3 to 5, or serve 60 % of the rates"


def test_a_bucket_whose_only_servers_are_forbidden_is_infeasible() -> None:
    with pytest.raises(InfeasibleError) as raised:
        assign([1.0, 1.0], {"a": [2.0, 0.0], "b": [0.0, 1.0]}, {"a": 3.0, "b": 1.0}, {"b": 0})
    assert raised.value.fix == "raise max_counts of b from 0 to 1"
    assert raised.value.value == "b=0"


# ----------------------------------------------------------------------------------------------------------- bad input

GOOD: dict[str, Any] = {
    "request_rates": [[1.0, 2.0], [0.0, 3.0]],
    "capacities": {"dgx-a100": [[1.0, 2.0], [1.0, 1.0]], "dgx-h100": [[2.0, 2.0], [2.0, 2.0]]},
    "prices": {"dgx-a100": 1.0, "dgx-h100": 2.0},
}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "negative rate": ({"request_rates": [[1.0, 2.0], [-1.0, 3.0]]}, "request_rates[1, 0]", "negative"),
    "rate NaN": ({"request_rates": [[1.0, np.nan], [0.0, 3.0]]}, "request_rates[0, 1]", "not a number"),
    "rate infinite": ({"request_rates": [[1.0, 2.0], [0.0, np.inf]]}, "request_rates[1, 1]", "infinite"),
    "rates empty": ({"request_rates": []}, "request_rates", "no size buckets"),
    "rates text": ({"request_rates": ["1", "2"]}, "request_rates", "not an array of numbers"),
    "rates ragged": ({"request_rates": [[1.0, 2.0], [3.0]]}, "request_rates", "not an array of numbers"),
    "rate a scalar": ({"request_rates": 3.0}, "request_rates", "no size buckets"),
    "rates absurd": ({"request_rates": [[1e12, 1.0], [1.0, 1.0]]}, "request_rates", "absurd"),
    "no machines": ({"capacities": {}}, "capacities", "no machine"),
    "capacities an array": ({"capacities": [[1.0]]}, "capacities", "no machine"),
    "machine without a name": ({"capacities": {3: [[1.0]]}}, "capacities", "without a name"),
    "capacity negative": (
        {"capacities": {"dgx-a100": [[1.0, -2.0], [1.0, 1.0]]}},
        "capacities['dgx-a100'][0, 1]",
        "negative",
    ),
    "capacity infinite": (
        {"capacities": {"dgx-a100": [[1.0, 2.0], [np.inf, 1.0]]}},
        "capacities['dgx-a100'][1, 0]",
        "infinite",
    ),
    "shape": ({"capacities": {"dgx-a100": [1.0, 2.0]}}, "capacities['dgx-a100']", "differ in shape"),
    "price missing": ({"prices": {"dgx-a100": 1.0, "dgx-h1000": 2.0}}, "prices", "'dgx-h100' has no price"),
    "price zero": ({"prices": {"dgx-a100": 0.0, "dgx-h100": 2.0}}, "prices['dgx-a100']", "makes no sense"),
    "price negative": ({"prices": {"dgx-a100": -1.0, "dgx-h100": 2.0}}, "prices['dgx-a100']", "makes no sense"),
    "price NaN": ({"prices": {"dgx-a100": np.nan, "dgx-h100": 2.0}}, "prices['dgx-a100']", "makes no sense"),
    "price infinite": ({"prices": {"dgx-a100": 1.0, "dgx-h100": np.inf}}, "prices['dgx-h100']", "makes no sense"),
    "price text": ({"prices": {"dgx-a100": "$1", "dgx-h100": 2.0}}, "prices['dgx-a100']", "not a number"),
    "prices a list": ({"prices": [1.0, 2.0]}, "prices", "must name machines"),
    "limit of a stranger": ({"max_counts": {"dgx-h10": 3}}, "max_counts['dgx-h10']", "unknown machine"),
    "limit negative": ({"max_counts": {"dgx-h100": -1}}, "max_counts['dgx-h100']", "whole number"),
    "limit fractional": ({"max_counts": {"dgx-h100": 1.5}}, "max_counts['dgx-h100']", "whole number"),
    "limit NaN": ({"max_counts": {"dgx-h100": np.nan}}, "max_counts['dgx-h100']", "whole number"),
    "limit infinite": ({"max_counts": {"dgx-h100": np.inf}}, "max_counts['dgx-h100']", "whole number"),
    "limit a truth": ({"max_counts": {"dgx-h100": True}}, "max_counts['dgx-h100']", "not a number"),
    "limits a list": ({"max_counts": [3]}, "max_counts", "must name machines"),
    "time limit zero": ({"time_limit_s": 0.0}, "time_limit_s", "time limit"),
    "time limit NaN": ({"time_limit_s": np.nan}, "time_limit_s", "time limit"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_and_where(case: str) -> None:
    change, where, what = BAD[case]
    with pytest.raises(ScenarioError, match=what) as raised:
        assign(**(GOOD | change))
    error = raised.value
    assert error.exit_code == 2
    assert error.where == where
    assert error.rule or error.fix


def test_near_misses_are_offered() -> None:
    with pytest.raises(ScenarioError) as raised:
        assign(**GOOD, max_counts={"dgx-h10": 3})
    assert "dgx-h100" in raised.value.suggestions
    with pytest.raises(ScenarioError) as raised:
        assign(**(GOOD | {"prices": {"dgx-a100": 1.0, "dgx_h100": 2.0}}))
    assert "dgx_h100" in raised.value.suggestions


def test_good_input_is_good() -> None:
    assert assign(**GOOD, max_counts={"dgx-h100": np.int64(3), "dgx-a100": 2.0}).status == "optimal"  # type: ignore[dict-item]
