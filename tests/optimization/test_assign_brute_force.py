"""Oracle: every combination of counts, each tried by an independent linear program (scipy)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planner.errors import InfeasibleError
from planner.optimization.assignment import LOAD_TOLERANCE, Assignment, assign

scipy_optimize = pytest.importorskip("scipy.optimize")

MOST = 4


def fits(rates: np.ndarray, capacities: np.ndarray, counts: tuple[int, ...]) -> bool:
    """Whether some fractional routing serves `rates` with these counts: one feasibility LP in requests/s."""
    n_types, n_buckets = capacities.shape
    inverse = np.where(capacities > 0, 1 / np.where(capacities > 0, capacities, 1.0), 0.0)
    serve = np.tile(np.eye(n_buckets), n_types)
    load = np.zeros((n_types, n_types * n_buckets))
    for g in range(n_types):
        load[g, g * n_buckets : (g + 1) * n_buckets] = inverse[g]
    bounds = [(0, None if c > 0 else 0) for c in capacities.ravel()]
    result = scipy_optimize.linprog(
        np.zeros(n_types * n_buckets), A_ub=load, b_ub=counts, A_eq=serve, b_eq=rates, bounds=bounds, method="highs"
    )
    return bool(result.status == 0)


def cheapest(
    rates: np.ndarray, capacities: np.ndarray, prices: np.ndarray, limits: tuple[int, ...]
) -> tuple[float, int] | None:
    """Return the least cost and, at that cost, the least number of machines."""
    combinations = itertools.product(*(range(limit + 1) for limit in limits))
    for counts in sorted(combinations, key=lambda n: (round(float(prices @ n), 9), sum(n))):
        if fits(rates, capacities, counts):
            return float(prices @ counts), sum(counts)
    return None


def check_routing(
    answer: Assignment, rates: np.ndarray, capacities: dict[str, np.ndarray], prices: dict[str, float]
) -> None:
    """Recompute everything an assignment claims from the input alone."""
    routed = {name: np.array(answer.routing[name]) for name in capacities}
    assert all(r.shape == rates.shape and (r >= 0).all() for r in routed.values())
    np.testing.assert_allclose(sum(routed.values()), rates, rtol=1e-9, atol=0)
    for name, capacity in capacities.items():
        served = np.nan_to_num(capacity) > 0
        assert (routed[name][~served] == 0).all()
        load = (routed[name][served] / capacity[served]).sum()
        assert load <= answer.counts[name] * (1 + LOAD_TOLERANCE) + 1e-12
        if answer.counts[name]:
            assert answer.busy_fraction[name] == pytest.approx(load / answer.counts[name], abs=1e-9)
    assert answer.cost_usd_per_hour == pytest.approx(sum(prices[n] * c for n, c in answer.counts.items()))
    assert answer.bound <= answer.cost_usd_per_hour


def instance(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float], tuple[int, ...]]:
    draw = np.random.default_rng(seed)
    n_types, n_buckets = int(draw.integers(2, 4)), int(draw.integers(3, 5))
    capacities = draw.uniform(0.5, 4.0, (n_types, n_buckets))
    capacities[draw.random(capacities.shape) < 0.2] = 0.0
    # Every third has round numbers, so that loads fill machines exactly and costs tie.
    if seed % 3 == 0:
        capacities = np.round(capacities)
        prices, rates = draw.integers(1, 5, n_types).astype(float), draw.integers(0, 4, n_buckets).astype(float)
    else:
        prices = np.round(draw.uniform(0.5, 6.0, n_types), 2)
        rates = draw.lognormal(0, 0.7, n_buckets) * float(draw.choice([0.3, 1.0, 1.6]))
        rates[draw.random(n_buckets) < 0.15] = 0.0
    names = [f"m{g}" for g in range(n_types)]
    limits = tuple(int(n) for n in draw.integers(0, MOST + 1, n_types)) if seed % 2 else (MOST,) * n_types
    return rates, dict(zip(names, capacities, strict=True)), dict(zip(names, map(float, prices), strict=True)), limits


@pytest.mark.parametrize("seed", range(60))
def test_cost_count_and_feasibility_against_enumeration(seed: int) -> None:
    rates, capacities, prices, limits = instance(seed)
    max_counts = dict(zip(capacities, limits, strict=True))
    expected = cheapest(rates, np.array(list(capacities.values())), np.array(list(prices.values())), limits)
    if expected is None:
        with pytest.raises(InfeasibleError):
            assign(rates, capacities, prices, max_counts)
        return
    answer = assign(rates, capacities, prices, max_counts)
    assert answer.status == "optimal"
    assert answer.cost_usd_per_hour == pytest.approx(expected[0], abs=1e-9)
    assert answer.bound == pytest.approx(expected[0], abs=1e-9)
    assert all(answer.counts[name] <= max_counts[name] for name in capacities)
    check_routing(answer, rates, capacities, prices)


def test_of_equal_costs_the_fewest_machines() -> None:
    n_checked = 0
    for seed in range(0, 90, 3):
        rates, capacities, prices, _ = instance(seed)
        limits = (MOST,) * len(capacities)
        expected = cheapest(rates, np.array(list(capacities.values())), np.array(list(prices.values())), limits)
        if expected is not None:
            answer = assign(rates, capacities, prices, dict.fromkeys(capacities, MOST))
            assert (answer.cost, sum(answer.counts.values())) == (pytest.approx(expected[0]), expected[1]), seed
            n_checked += 1
    assert n_checked >= 10


def test_the_instances_cover_both_outcomes() -> None:
    def feasible(seed: int) -> bool:
        rates, capacities, prices, limits = instance(seed)
        return cheapest(rates, np.array(list(capacities.values())), np.array(list(prices.values())), limits) is not None

    outcomes = [feasible(seed) for seed in range(60)]
    assert 15 <= sum(outcomes) <= 55


def test_the_relaxation_offered_when_infeasible_is_the_smallest() -> None:
    n_checked = 0
    for seed in range(1, 80, 2):
        rates, capacities, prices, limits = instance(seed)
        table = np.array(list(capacities.values()))
        if (table.max(axis=0)[rates > 0] <= 0).any() or fits(rates, table, limits):
            continue
        with pytest.raises(InfeasibleError) as raised:
            assign(rates, capacities, prices, dict(zip(capacities, limits, strict=True)))
        error = raised.value
        assert error.where == "max_counts" and error.exit_code == 3 and error.fix is not None
        raised_to = dict(zip(capacities, limits, strict=True))
        for part in error.fix.removeprefix("raise max_counts of ").split(", or ")[0].split(", "):
            name, _, old, _, new = part.split()
            assert raised_to[name] == int(old)
            raised_to[name] = int(new)
        added = sum(raised_to.values()) - sum(limits)
        assert added >= 1
        assert fits(rates, table, tuple(raised_to.values())), "what it offers works"
        for fewer in itertools.product(range(added), repeat=len(limits)):
            if sum(fewer) == added - 1:
                assert not fits(rates, table, tuple(n + e for n, e in zip(limits, fewer, strict=True)))
        n_checked += 1
    assert n_checked >= 8
