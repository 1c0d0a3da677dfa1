"""The cheapest purchase against brute force over every vector of counts."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.studies.purchase import least_purchase

MOST = 6


@given(
    st.integers(1, 3).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0.5, 40.0), min_size=n, max_size=n),
            st.lists(st.tuples(*[st.integers(0, MOST)] * n), min_size=1, max_size=4),
        )
    )
)
def test_it_is_the_cheapest_of_all_that_are_enough(case: tuple[list[float], list[tuple[int, ...]]]) -> None:
    """What is enough: at least one of some vectors, count by count; so more is never worse."""
    prices, corners = case
    corners = [*corners, (MOST,) + (0,) * (len(prices) - 1)]  # one type alone is enough

    def is_enough(extra: tuple[int, ...]) -> bool:
        return any(all(k >= c for k, c in zip(extra, corner, strict=True)) for corner in corners)

    def cost(extra: tuple[int, ...]) -> float:
        return math.fsum(p * k for p, k in zip(prices, extra, strict=True))

    found = least_purchase(is_enough, prices, MOST)
    every = itertools.product(range(MOST + 1), repeat=len(prices))
    assert found is not None and is_enough(found)
    assert cost(found) == pytest.approx(min(cost(e) for e in every if is_enough(e)))


def test_nothing_is_bought_where_nothing_is_needed() -> None:
    assert least_purchase(lambda _: True, [1.0, 2.0], 10) == (0, 0)


def test_none_where_no_number_is_enough() -> None:
    assert least_purchase(lambda _: False, [1.0], 100) is None
