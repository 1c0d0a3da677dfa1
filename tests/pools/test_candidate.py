"""A candidate's curve: known at some counts, exact where it is asked."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog.catalog import Catalog
from planner.pools.candidate import MOST_MACHINES, Candidate
from planner.pools.generation import generate
from planner.scenario.resolve import configurations, resolve
from planner.scenario.scenario_file import load_scenario
from planner.serving.capacity import CapacityCurve


def made(rates: list[float], known: list[int]) -> tuple[Candidate, list[int]]:
    """A candidate with these rates for 1, 2, ... machines, and the counts it computes, as it does."""
    table, computed = np.maximum.accumulate(np.array(rates)), []

    def compute(n: np.ndarray) -> CapacityCurve:
        computed.extend(n.tolist())
        return CapacityCurve(n, table[np.minimum(n, table.size) - 1])

    fake: Any = SimpleNamespace()
    curve = CapacityCurve(np.array(known), table[np.array(known) - 1])
    return Candidate("mixed/x", "mixed", fake, (), curve, compute), computed


@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=40),
    st.sets(st.integers(1, 40)),
    st.floats(0, 200),
)
@settings(max_examples=200, deadline=None)
def test_the_fewest_machines_are_found_whatever_the_shape_and_the_known_counts(
    steps: list[float], known: set[int], rate: float
) -> None:
    rates = np.cumsum(steps).tolist()
    candidate, computed = made(rates, sorted({1, len(rates)} | {n for n in known if n <= len(rates)}))
    count, exact = candidate.cheapest_count(rate)
    expected = next((n for n, r in enumerate(rates, 1) if r >= rate), None)
    assert count == expected
    assert len(computed) == len(set(computed))  # nothing is computed twice
    if count is not None:
        assert exact.curve.at(count) >= rate


def test_few_counts_of_a_convex_curve_are_looked_at() -> None:
    n = np.arange(1, 2001)
    rates = np.maximum(0, 3.0 * n - 1.5 * np.sqrt(n))
    for rate in (5.0, 100.0, 2222.2, 5900.0):
        candidate, computed = made(rates.tolist(), [1, 10, 100, 1000, 2000])
        count, _ = candidate.cheapest_count(rate)
        assert count == int(np.searchsorted(rates, rate)) + 1
        assert len(computed) < 40


@given(st.lists(st.floats(0.01, 10), min_size=3, max_size=30), st.floats(0.01, 250))
@settings(max_examples=100, deadline=None)
def test_the_optimistic_count_of_a_convex_curve_is_never_too_high(steps: list[float], rate: float) -> None:
    rates = np.cumsum(sorted(steps)).tolist()
    candidate, _ = made(rates, [1, len(rates)])
    count, _ = candidate.cheapest_count(rate)
    hoped = candidate.optimistic_count(rate)
    assert hoped <= (np.inf if count is None else count)


def test_counts_that_are_known_are_not_computed_again() -> None:
    candidate, computed = made([1.0, 2.0, 3.0, 4.0], [1, 4])
    again = candidate.with_counts([4, 1])
    assert again is candidate and not computed
    more = candidate.with_counts([3, 3, 2, 1])
    assert computed == [2, 3]
    assert more.curve.n_machines.tolist() == [1, 2, 3, 4]
    assert candidate.curve.n_machines.tolist() == [1, 4]  # the first one is as it was


# -- candidates of the catalog -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offered() -> list[Candidate]:
    found: list[Candidate] = []
    for rate, slo in ((60.0, ["ttft=1s", "tbt=100ms"]), (400.0, ["ttft=1s", "e2e.p90=40s"])):
        problem = resolve(load_scenario({"rate": rate, "slo": slo}), Catalog())
        found += generate(configurations(problem)[0], problem.need, problem.design, rate)
    return found


def test_curves_start_at_one_machine_rise_and_carry_the_demand(offered: list[Candidate]) -> None:
    assert {c.role for c in offered} == {"prefill", "decode", "mixed"}
    for c in offered:
        n, rate = c.curve.n_machines, c.curve.rate_per_s
        assert n[0] == 1 and np.all(np.diff(n) > 0) and n[-1] < MOST_MACHINES
        assert np.all(np.diff(rate) >= 0)
        assert rate[-1] >= 60.0


def test_capacity_of_a_count_does_not_depend_on_what_else_is_computed(offered: list[Candidate]) -> None:
    draw = random.Random(1)
    for c in offered:
        n = np.array(sorted(draw.sample(range(1, int(c.curve.n_machines[-1])), 3)))
        together = c.compute(n).rate_per_s
        alone = np.maximum.accumulate([c.compute(n[i : i + 1]).rate_per_s[0] for i in range(3)])
        assert together == pytest.approx(alone, rel=1e-12)


def test_machines_pooled_carry_no_less_than_apart(offered: list[Candidate]) -> None:
    """cap(a + b) >= cap(a) + cap(b), up to the precision of capacities: dominance of layouts rests on it."""
    for c in offered:
        full = c.compute(np.arange(1, 31)).rate_per_s
        for a in (1, 2, 5, 13):
            for b in (1, 3, 14):
                assert full[a + b - 1] >= (full[a - 1] + full[b - 1]) * (1 - 3e-3), (c.key, a, b)


def test_a_curve_rises_above_its_straight_lines_by_less_than_is_allowed_for(offered: list[Candidate]) -> None:
    """The proof of a plan rests on it: between known counts, less than KINK of a machine above the line."""
    from planner.optimization.reduction import KINK

    for c in offered:
        n = c.curve.n_machines
        every = np.arange(1, n[-1] + 1)
        rate = c.compute(every).rate_per_s
        line = np.interp(every, n, c.curve.rate_per_s)
        excess = (rate - line) / (rate / every)
        assert excess.max() < KINK, (c.key, int(every[excess.argmax()]))
