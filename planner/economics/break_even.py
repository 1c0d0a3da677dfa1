"""When owning pays: the share of hours, and the months, from which it costs less than renting."""

from __future__ import annotations

import math

from planner.errors import ScenarioError


def break_even_use(
    fixed_usd_per_hour: float, usage_usd_per_hour: float, rent_usd_per_hour: float, rent_fixed_usd_per_hour: float = 0.0
) -> float | None:
    """Share of all hours switched on from which a commitment costs less than renting when needed.

    Parameters
    ----------
    fixed_usd_per_hour, usage_usd_per_hour : float
        Of the commitment: paid every hour, and more for each hour switched on [USD/h].
    rent_usd_per_hour, rent_fixed_usd_per_hour : float
        Of the alternative, likewise [USD/h]; a rent on demand has no fixed part.

    Returns
    -------
    float or None
        Between 0 (it always costs less) and 1; None where it never does.

    Notes
    -----
    u* = (f - f_r) / (r - c)                                                                        (1)

    where f + u c = f_r + u r.
    """
    extra, saved = fixed_usd_per_hour - rent_fixed_usd_per_hour, rent_usd_per_hour - usage_usd_per_hour
    if extra <= 0.0 and extra - saved <= 0.0:
        return 0.0
    if saved <= 0.0 or extra > saved:
        return None
    return max(extra / saved, 0.0)


def payback_months(
    purchase_usd: float, saving_usd_per_hour: float, cost_of_capital_per_year: float = 0.0
) -> float | None:
    """Months after which what a purchase saves has repaid it, with interest.

    Parameters
    ----------
    purchase_usd : float
        Paid at the start [USD].
    saving_usd_per_hour : float
        Rent avoided less the running costs of owning, over all hours [USD/h].
    cost_of_capital_per_year : float
        [1/year]; 0 gives the simple payback P / s.

    Returns
    -------
    float or None
        Months of 730 h; None where it never does. What the machine sells for is not counted.

    Notes
    -----
    The n at which P = S / CRF(i, n), with the saving S a year:

    n = -ln(1 - i P / S) / ln(1 + i)                                                                (2)
    """
    if not cost_of_capital_per_year > -1:
        raise ScenarioError(
            "a yearly rate must be above -100 %", where="cost_of_capital", value=f"{cost_of_capital_per_year:.4g}"
        )
    if saving_usd_per_hour <= 0.0:
        return None
    years = purchase_usd / (saving_usd_per_hour * 8760.0)
    if abs(cost_of_capital_per_year) < 1e-12:
        return 12.0 * years
    left = 1.0 - cost_of_capital_per_year * years
    return None if left <= 0.0 else -12.0 * math.log(left) / math.log1p(cost_of_capital_per_year)


def spot_usd_per_useful_hour(price_usd_per_hour: float, interruptions_per_hour: float, recovery_h: float) -> float:
    """Expected cost of an hour of work on a spot machine that is taken away now and then.

    Parameters
    ----------
    price_usd_per_hour : float
        [USD/h]
    interruptions_per_hour : float
        Chance an hour of losing a machine [1/h].
    recovery_h : float
        Paid time that each loss takes from the work: notice, start of a new machine, loading the model [h].

    Returns
    -------
    float
        [USD/h of work]

    Raises
    ------
    ScenarioError
        It is taken away more often than it can recover.

    Notes
    -----
    c = p / (1 - lambda t_r)                                                                        (3)

    A renewal argument: of an hour paid, lambda t_r is lost on average. Requests that are cut off are counted by
    simulation, not here.
    """
    lost = interruptions_per_hour * recovery_h
    if lost >= 1.0:
        raise ScenarioError(
            "a spot machine is taken away before it has recovered",
            where="spot_recovery",
            value=f"{interruptions_per_hour:g}/h x {recovery_h:g} h",
            rule="interruptions an hour times hours to recover must be below 1",
        )
    return price_usd_per_hour / (1.0 - lost)
