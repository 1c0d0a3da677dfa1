"""Break-even, payback and spot against closed forms, numpy-financial and a drawn renewal process."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planner.economics.break_even import break_even_use, payback_months, spot_usd_per_useful_hour
from planner.economics.tokens import token_cost
from planner.errors import ScenarioError

PRICES = st.floats(0.0, 100.0)


def test_break_even_by_hand() -> None:
    # 12 + u 2 = u 38 at u = 1/3; never against a rent of 13; always against a dearer reservation.
    assert break_even_use(12.0, 2.0, 38.0) == pytest.approx(1 / 3)
    assert break_even_use(12.0, 2.0, 13.0) is None
    assert break_even_use(12.0, 2.0, 0.0, 15.0) == 0.0
    assert break_even_use(12.0, 2.0, 0.0, 13.0) is None


@given(fixed=PRICES, usage=PRICES, rent=PRICES)
def test_at_break_even_both_cost_the_same_and_beyond_it_owning_costs_less(
    fixed: float, usage: float, rent: float
) -> None:
    use = break_even_use(fixed, usage, rent)
    if use is None:
        assert fixed + usage >= rent - 1e-9
        return
    assert 0.0 <= use <= 1.0
    assume(fixed > 0)
    assert fixed + use * usage == pytest.approx(use * rent, abs=1e-6)
    assert fixed + usage <= rent + 1e-9


@pytest.mark.parametrize("rate", [0.02, 0.08, 0.2])
def test_payback_against_numpy_financial(rate: float) -> None:
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    months = payback_months(270e3, 20.0, rate)
    assert months is not None
    assert months / 12 == pytest.approx(float(financial.nper(rate, 20.0 * 8760, -270e3)), rel=1e-9)


def test_payback_without_interest_is_price_over_saving() -> None:
    assert payback_months(8760.0, 2.0) == pytest.approx(6.0)
    assert payback_months(8760.0, 2.0, 1e-9) == pytest.approx(6.0)


def test_what_never_pays() -> None:
    assert payback_months(270e3, 0.0) is None
    assert payback_months(270e3, -1.0, 0.08) is None
    assert payback_months(100.0, 0.5 * 8.0 / 8760, 0.08) is None  # half the interest
    with pytest.raises(ScenarioError):
        payback_months(100.0, 1.0, -1.0)


def test_spot_against_a_drawn_process() -> None:
    """Interruptions at a rate, each costing a recovery that is paid for: useful share of the paid time."""
    rng = np.random.default_rng(3)
    rate, recovery_h, hours = 0.05, 0.5, 400_000.0
    interruptions = rng.poisson(rate * hours)
    useful = hours - interruptions * recovery_h
    assert spot_usd_per_useful_hour(10.0, rate, recovery_h) == pytest.approx(10.0 * hours / useful, rel=1e-3)
    assert spot_usd_per_useful_hour(10.0, 0.0, 1.0) == 10.0
    with pytest.raises(ScenarioError, match="before it has recovered"):
        spot_usd_per_useful_hour(10.0, 2.0, 0.5)


@given(
    costs=st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    prompt=st.floats(1.0, 1e9),
    output=st.floats(1.0, 1e9),
)
def test_tokens_bear_the_whole_cost(costs: list[tuple[float, float]], prompt: float, output: float) -> None:
    found = token_cost([c for c, _ in costs], [q for _, q in costs], prompt, output)
    assert found.usd_per_million_prompt_tokens is not None and found.usd_per_million_output_tokens is not None
    borne = found.usd_per_million_prompt_tokens * prompt + found.usd_per_million_output_tokens * output
    assert borne / 1e6 == pytest.approx(sum(c for c, _ in costs))


def test_tokens_of_split_pools_by_hand() -> None:
    # A prefill pool of 100 $/h and a decode pool of 50 $/h; 400 M prompt and 25 M output tokens an hour.
    found = token_cost([100.0, 50.0], [1.0, 0.0], 400e6, 25e6)
    assert found.usd_per_million_prompt_tokens == pytest.approx(0.25)
    assert found.usd_per_million_output_tokens == pytest.approx(2.0)
    assert found.prompt_share == pytest.approx(2 / 3)
    assert token_cost([1.0], [1.0], 10.0, 0.0).usd_per_million_output_tokens is None
