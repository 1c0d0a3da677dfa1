"""What a reservation costs: whole terms from the day it starts, renewed, and the rest on demand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.economics.finance import HOURS_PER_MONTH

_WHOLE = 1e-9  # of a term: rounding of months


@dataclass(frozen=True)
class TermCover:
    """How one machine is had by reservation over a horizon.

    Attributes
    ----------
    terms : int
        Whole terms that are paid, the last of which may end after the horizon.
    start_month : float
        When the first begins.
    reserved_months : float
        Paid as reserved, used or not.
    on_demand_months : float
        Of the horizon, before the first term and after the last.
    usd : float
        Of all of it.
    """

    terms: int
    start_month: float
    reserved_months: float
    on_demand_months: float
    usd: float


def term_cover(
    horizon_months: float,
    term_months: float,
    reserved_usd_per_hour: float,
    on_demand_usd_per_hour: float | None = None,
    *,
    hours_used_fraction: float = 1.0,
    start_month: float = 0.0,
) -> TermCover:
    """Find the cheapest way to have one machine by reservation.

    Parameters
    ----------
    horizon_months, term_months : float
    reserved_usd_per_hour : float
        Paid every hour of a term [USD/h].
    on_demand_usd_per_hour : float, optional
        Of an hour switched on [USD/h]. Left out: it is not offered, and terms are renewed to the end.
    hours_used_fraction : float
        Share of the hours on demand that the machine is switched on.
    start_month : float
        When it can begin; before that the machine is on demand, or not there.

    Notes
    -----
    cost(n) = n T c_r + max(H - n T, 0) u c_d        n in {floor(H/T), ceil(H/T)}, at least 1             (7)

    over the H months from the start of the first term, and the months before it at u c_d. Terms that end within the
    horizon are all reserved; whether the last, which ends after it, is worth its price is what is chosen.
    """
    left = max(horizon_months - start_month, 0.0)
    most = max(math.ceil(left / term_months - _WHOLE), 1)
    overhangs = most * term_months > left * (1.0 + _WHOLE)
    choices = {most, max(most - 1, 1)} if overhangs and on_demand_usd_per_hour is not None else {most}
    rent = (on_demand_usd_per_hour or 0.0) * hours_used_fraction

    def months_and_cost(n: int) -> tuple[float, float]:
        rented = start_month + max(left - n * term_months, 0.0)
        return rented, (n * term_months * reserved_usd_per_hour + rented * rent) * HOURS_PER_MONTH

    terms = min(choices, key=lambda n: (months_and_cost(n)[1], n))
    rented, usd = months_and_cost(terms)
    return TermCover(
        terms, start_month, terms * term_months, rented if on_demand_usd_per_hour is not None else 0.0, usd
    )
