"""What a fleet costs month by month: what is paid, what it is worth today, and what is left of what was bought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.economics.finance import HOURS_PER_MONTH, Payments
from planner.portfolio.result import MonthCost, PeriodUse, PurchaseLine

_RENTED = ("on_demand", "spot")


@dataclass(frozen=True)
class CashFlow:
    """Payments of a fleet by month.

    Attributes
    ----------
    months : list of MonthCost
        The horizon, and what is paid after it for reservations that end later.
    present_value_usd : float
        Of all payments, less what is left of what was bought [USD].
    upfront_usd : float
        Paid on the first day for what is bought [USD].
    remaining_value_usd : float
        Of what was bought at the end of the horizon: what its annuities have not repaid yet [USD].
    """

    months: list[MonthCost]
    present_value_usd: float
    upfront_usd: float
    remaining_value_usd: float


def hours_on_by_month(line: PurchaseLine, periods: Sequence[PeriodUse], n_months: int) -> list[float]:
    """Hours switched on of all machines of a line, month by month [h]."""
    hours = [0.0] * n_months
    for period in periods:
        on = period.machines_by_plan.get(line.name, 0)
        if on:
            for month, share in _shares(period.from_month, period.to_month, n_months):
                hours[month] += on * period.hours * share
    return hours


def paid_hours_by_month(line: PurchaseLine, n_months: int) -> list[float]:
    """Hours of each month for which one machine of a line is paid for, used or not [h]."""
    hours = [0.0] * n_months
    for month in range(n_months):
        begin, end = line.from_month, line.from_month + line.paid_months
        hours[month] = max(min(month + 1.0, end) - max(float(month), begin), 0.0) * HOURS_PER_MONTH
    return hours


def _shares(first: float, last: float, n_months: int) -> list[tuple[int, float]]:
    """Months that a stretch of time lies in, with the share of it in each."""
    length = last - first
    return [
        (month, (min(month + 1.0, last) - max(float(month), first)) / length)
        for month in range(math.floor(first), min(math.ceil(last - 1e-9), n_months))
    ]


def cash_flow(
    lines: Sequence[PurchaseLine],
    periods: Sequence[PeriodUse],
    horizon_months: float,
    rate_per_year: float,
    change_usd: float = 0.0,
    payments: Payments = "arrears",
    egress: Sequence[tuple[float, float, float]] = (),
) -> CashFlow:
    """Lay out what a fleet costs month by month.

    Parameters
    ----------
    lines : sequence of PurchaseLine
    periods : sequence of PeriodUse
    horizon_months : float
    rate_per_year : float
        Cost of capital.
    change_usd : float
        Of machines that start or change, over the horizon [USD].
    payments : {"arrears", "advance"}
    egress : sequence of (float, float, float)
        What leaves the sites: from month, to month, and what it costs between them [USD].

    Notes
    -----
    The costs of all months add up to the cost of the fleet: what is bought costs its annuity there, as everywhere. What
    is paid is the purchase instead, and again when its life ends within the horizon (less its resale); at the end what
    the annuities have not repaid is left:

    B = A (1 - (1 + i)^-k) / i + R (1 + i)^-k                                                        (8)

    with k years of life left, the annuity A and the resale R.
    """
    ends = [horizon_months, *(line.from_month + line.paid_months for line in lines)]
    n = math.ceil(max(ends) - 1e-9)
    bought, running, reserved, rented, capital = ([0.0] * n for _ in range(5))
    remaining = 0.0
    for line in lines:
        on, paid = hours_on_by_month(line, periods, n), paid_hours_by_month(line, n)
        for month in range(n):
            usage = on[month] * line.usage_usd_per_hour
            held = line.count * paid[month]
            if line.plan in _RENTED:
                rented[month] += usage
            elif line.plan.startswith("reserved"):
                reserved[month] += held * line.fixed_usd_per_hour
            else:
                capital[month] += held * line.capital_usd_per_hour
                running[month] += held * (line.fixed_usd_per_hour - line.capital_usd_per_hour) + usage
        if line.capital_usd_per_hour and line.life_months:
            for when, usd in _purchases(line, horizon_months):
                bought[min(int(when), n - 1)] += line.count * usd
            remaining += line.count * _left(line, horizon_months, rate_per_year)
    leaving = [0.0] * n
    for first, last, usd in egress:
        for month, share in _shares(first, last, n):
            leaving[month] += usd * share
    changes = change_usd / horizon_months
    months = [
        MonthCost(
            month=m + 1,
            purchases_usd=bought[m],
            running_usd=running[m],
            reserved_usd=reserved[m],
            rented_usd=rented[m],
            changes_usd=(part := changes * max(min(horizon_months - m, 1.0), 0.0)),
            egress_usd=leaving[m],
            cash_usd=bought[m] + running[m] + reserved[m] + rented[m] + part + leaving[m],
            capital_usd=capital[m],
            cost_usd=capital[m] + running[m] + reserved[m] + rented[m] + part + leaving[m],
        )
        for m in range(n)
    ]
    growth = math.log1p(rate_per_year) / 12.0
    after = 0.0 if payments == "advance" else 1.0
    worth = math.fsum(
        m.purchases_usd * math.exp(-growth * (m.month - 1))
        + (m.cash_usd - m.purchases_usd) * math.exp(-growth * (m.month - 1 + after))
        for m in months
    )
    upfront = math.fsum(line.count * line.purchase_usd for line in lines if line.purchase_usd and line.from_month == 0)
    return CashFlow(months, worth - remaining * math.exp(-growth * horizon_months), upfront, remaining)


def _purchases(line: PurchaseLine, horizon_months: float) -> list[tuple[float, float]]:
    """Months and amounts of buying one machine, and anew when its life ends, less what the old one brings."""
    life, price, resale = line.life_months or 0.0, line.purchase_usd or 0.0, line.residual_usd or 0.0
    found = [(line.from_month, price)]
    month = line.from_month + life
    while month < horizon_months - 1e-9:
        found.append((month, price - resale))
        month += life
    return found


def _left(line: PurchaseLine, horizon_months: float, rate: float) -> float:
    """What is left of one machine at the end of the horizon: equation (8)."""
    life = line.life_months or 0.0
    used = math.fmod(horizon_months - line.from_month, life)
    left = (life - used) / 12.0 if used > 1e-9 else 0.0
    yearly = line.capital_usd_per_hour * 12.0 * HOURS_PER_MONTH
    resale = (line.residual_usd or 0.0) * (1.0 + rate) ** -left
    return resale + (yearly * left if abs(rate) < 1e-12 else yearly * -math.expm1(-left * math.log1p(rate)) / rate)
