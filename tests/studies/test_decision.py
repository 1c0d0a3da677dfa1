"""What flips a decision: the lower envelope of lines against brute force, loads against functions that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InfeasibleError
from planner.studies.decision import LOAD_TOLERANCE, OfferOfMachine, breakpoints, design_flips, load_flips

Lines = list[tuple[float, float]]


def _best(lines: Lines, factor: float) -> OfferOfMachine:
    i = min(range(len(lines)), key=lambda i: (lines[i][0] + lines[i][1] * factor, i))
    return OfferOfMachine(f"design {i}", f"{i}", *lines[i])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=7))
def test_every_breakpoint_of_the_least_cost_is_found_and_no_other(pairs: list[tuple[int, int]]) -> None:
    lines = [(float(a), float(b)) for a, b in pairs]
    found = breakpoints(lambda f: _best(lines, f), 0.25, 4.0)
    at = [factor for factor, _, _ in found]
    assert at == sorted(at)
    # Between breakpoints one line is best throughout; at them two are.
    for factor, before, after in found:
        least = min(a + b * factor for a, b in lines)
        assert before.at(factor) == pytest.approx(least, abs=1e-9)
        assert after.at(factor) == pytest.approx(least, abs=1e-9)
        assert before.slope_usd_per_hour > after.slope_usd_per_hour
    ends = [0.25, *at, 4.0]
    for low, high in itertools.pairwise(ends):
        inside = np.linspace(low, high, 7)
        values = [min(a + b * f for a, b in lines) for f in inside]
        assert np.allclose(values, np.interp(inside, [low, high], [values[0], values[-1]]), atol=1e-9)


def test_two_designs_flip_where_their_lines_cross() -> None:
    lines = [(0.0, 152.0), (193.6, 0.0)]
    flips = design_flips(lambda f: _best(lines, f))
    assert flips["lower"] is None
    assert flips["higher"] is not None
    factor, beyond = flips["higher"]
    assert factor == pytest.approx(193.6 / 152.0, rel=1e-12)
    assert beyond.design == "design 1"


def test_a_plan_that_does_not_contain_the_machine_flips_only_where_it_becomes_cheaper() -> None:
    flips = design_flips(lambda f: _best([(100.0, 0.0), (0.0, 150.0)], f))
    assert flips["higher"] is None
    assert flips["lower"] is not None
    assert flips["lower"][0] == pytest.approx(2.0 / 3.0)


def test_the_load_of_a_flip_is_found_from_both_sides() -> None:
    def design(load: float) -> str:
        return "small" if load < 0.7 else "now" if load < 2.345 else "large"

    flips = load_flips(design)
    assert flips["lower"] is not None and flips["higher"] is not None
    assert flips["lower"][1] == "small"
    assert 0.7 * (1 - 2 * LOAD_TOLERANCE) < flips["lower"][0] < 0.7
    assert flips["higher"][1] == "large"
    assert 2.345 <= flips["higher"][0] < 2.345 * (1 + 2 * LOAD_TOLERANCE)


def test_never_within_the_range_is_an_answer_and_so_is_no_plan() -> None:
    assert load_flips(lambda _: "one") == {"lower": None, "higher": None}

    def bounded(load: float) -> str:
        if load > 3.0:
            raise InfeasibleError("too much")
        return "one"

    flips = load_flips(bounded)
    assert flips["lower"] is None
    assert flips["higher"] is not None and flips["higher"][1] == "no plan"
    assert flips["higher"][0] == pytest.approx(3.0, rel=2 * LOAD_TOLERANCE)
