"""The time value of money: annuities, present values and payback. Rates are a year, compounded yearly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from planner.errors import ScenarioError

Payments = Literal["arrears", "advance"]
HOURS_PER_YEAR = 8760.0
HOURS_PER_MONTH = HOURS_PER_YEAR / 12.0


def capital_recovery_factor(rate_per_year: float, years: float) -> float:
    """Share of a loan that repays it with interest when paid at the end of each year.

    Parameters
    ----------
    rate_per_year : float
        Interest or cost of capital [1/year], above -1; 0 gives 1/n.
    years : float
        Number of years n, positive; need not be whole.

    Returns
    -------
    float
        Yearly payment over the loan [1/year].

    Raises
    ------
    ScenarioError
        A rate of -100 % or less, or no years.

    Notes
    -----
    CRF(i, n) = i / (1 - (1 + i)^-n)                                                                (1)

    References
    ----------
    .. [1] Brealey, Myers and Allen, Principles of Corporate Finance, chapter 2: annuities.
    """
    _check_rate(rate_per_year)
    if not years > 0 or not math.isfinite(years):
        raise ScenarioError("a life must be positive", where="life", value=f"{years:g} years")
    if abs(rate_per_year) < 1e-12:
        return 1.0 / years
    return rate_per_year / -math.expm1(-years * math.log1p(rate_per_year))


def annuity(price: float, residual: float, rate_per_year: float, years: float) -> float:
    """Yearly payment that a purchase is worth: its price repaid with interest, less what it sells for in the end.

    Parameters
    ----------
    price : float
        Paid at the start [currency].
    residual : float
        Received at the end of the last year [currency].
    rate_per_year, years : float
        As in `capital_recovery_factor`.

    Returns
    -------
    float
        Payment at the end of each year [currency/year].

    Raises
    ------
    ScenarioError
        A negative price, a residual below 0 or above the price, or as `capital_recovery_factor`.

    Notes
    -----
    A = (P - R) CRF(i, n) + i R                                                                     (2)

    which is P CRF - R SFF with the sinking-fund factor SFF = CRF - i.
    """
    if not price >= 0 or not math.isfinite(price):
        raise ScenarioError("a purchase price must not be negative", where="purchase", value=f"{price:g}")
    if not 0 <= residual <= price:
        raise ScenarioError(
            "a residual value lies between 0 and the purchase price",
            where="residual",
            value=f"{residual:,.2f}",
            rule=f"the purchase price is {price:,.2f}",
        )
    return (price - residual) * capital_recovery_factor(rate_per_year, years) + rate_per_year * residual


def net_present_value(rate_per_year: float, payments: Sequence[float]) -> float:
    """Value today of payments a year apart, the first of them today.

    Parameters
    ----------
    rate_per_year : float
        Discount rate [1/year], above -1.
    payments : sequence of float
        Payments at the start and at the end of each year [currency].

    Returns
    -------
    float
        [currency]

    Notes
    -----
    NPV = sum_t c_t / (1 + i)^t                                                                     (3)
    """
    _check_rate(rate_per_year)
    return math.fsum(c * (1.0 + rate_per_year) ** -t for t, c in enumerate(payments))


def present_value_factor(rate_per_year: float, years: float) -> float:
    """Value today of 1 a year, paid at the end of each of `years` years: 1 / CRF. Years need not be whole [years]."""
    return 1.0 / capital_recovery_factor(rate_per_year, years)


def monthly_present_value_factor(rate_per_year: float, months: float, payments: Payments = "arrears") -> float:
    """Value today of 1 a month over so many months, paid at the end of each, or in advance [months].

    Parameters
    ----------
    rate_per_year : float
        Discount rate [1/year], above -1.
    months : float
        Need not be whole: the last part is paid in proportion.
    payments : str
        `arrears` or `advance`.

    Raises
    ------
    ScenarioError
        A rate of -100 % or less.

    Notes
    -----
    With the rate a month j = (1 + i)^(1/12) - 1 and v = 1 / (1 + j),

    a = (1 - v^n) / j                in arrears
    a = (1 - v^n) / j (1 + j)        in advance                                                     (6)

    Twelve such payments are worth i / (12 j) times one of their sum at the end of the year: 1.036 at 8 %.
    """
    _check_rate(rate_per_year)
    monthly = math.expm1(math.log1p(rate_per_year) / 12.0)
    if abs(monthly) < 1e-12:
        return months
    in_arrears = -math.expm1(-months * math.log1p(monthly)) / monthly
    return in_arrears * (1.0 + monthly) if payments == "advance" else in_arrears


def _check_rate(rate_per_year: float) -> None:
    if not rate_per_year > -1 or not math.isfinite(rate_per_year):
        raise ScenarioError("a yearly rate must be above -100 %", where="cost_of_capital", value=f"{rate_per_year:.4g}")
