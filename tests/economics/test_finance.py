"""Annuities and present values against numpy-financial and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.economics.finance import (
    annuity,
    capital_recovery_factor,
    monthly_present_value_factor,
    net_present_value,
    present_value_factor,
)
from planner.errors import ScenarioError

RATES = (0.0, 0.01, 0.08, 0.25)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("years", [1, 4, 7.5])
def test_annuity_against_numpy_financial(rate: float, years: float) -> None:
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    assert annuity(270e3, 27e3, rate, years) == pytest.approx(-financial.pmt(rate, years, 270e3, -27e3), rel=1e-12)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("months", [1, 13, 36, 60])
def test_monthly_present_value_against_numpy_financial(rate: float, months: int) -> None:
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    monthly = (1 + rate) ** (1 / 12) - 1
    for payments, when in (("arrears", "end"), ("advance", "begin")):
        with np.errstate(invalid="ignore"):  # at no interest it also divides by it
            expected = -financial.pv(monthly, months, 1.0, when=when)
        assert monthly_present_value_factor(rate, months, payments) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("rate", RATES)
def test_present_value_against_numpy_financial(rate: float) -> None:
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    payments = [-270e3, 90e3, 85e3, 80e3, 75e3 + 27e3]
    assert net_present_value(rate, payments) == pytest.approx(financial.npv(rate, payments), rel=1e-12)
    with np.errstate(invalid="ignore"):  # at no interest it also divides by it
        assert present_value_factor(rate, 4) == pytest.approx(-financial.pv(rate, 4, 1.0), rel=1e-12)


def test_the_factor_that_the_catalog_states() -> None:
    assert capital_recovery_factor(0.08, 4) == pytest.approx(0.3019, abs=5e-5)


def test_no_interest_spreads_the_price_evenly() -> None:
    assert annuity(100.0, 20.0, 0.0, 4.0) == pytest.approx(20.0)
    assert capital_recovery_factor(1e-13, 4) == pytest.approx(capital_recovery_factor(1e-9, 4), rel=1e-8)


@given(
    price=st.floats(1.0, 1e7), share=st.floats(0.0, 1.0), rate=st.floats(-0.2, 0.5), years=st.integers(1, 12)
)  # fmt: skip
def test_an_annuity_is_worth_the_purchase_less_the_residual(
    price: float, share: float, rate: float, years: int
) -> None:
    """The closed form: payments and residual, discounted, repay the price."""
    residual = share * price
    yearly = annuity(price, residual, rate, years)
    worth = net_present_value(rate, [-price, *[yearly] * (years - 1), yearly + residual])
    assert worth == pytest.approx(0.0, abs=1e-9 * price * max(1.0, (1 + rate) ** -years))


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ((-1.0, 0.0, 0.08, 4.0), "purchase"),
        ((math.nan, 0.0, 0.08, 4.0), "purchase"),
        ((100.0, 101.0, 0.08, 4.0), "residual"),
        ((100.0, -1.0, 0.08, 4.0), "residual"),
        ((100.0, 0.0, -1.0, 4.0), "cost_of_capital"),
        ((100.0, 0.0, 0.08, 0.0), "life"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[float, float, float, float], where: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        annuity(*arguments)
    assert caught.value.where == where
