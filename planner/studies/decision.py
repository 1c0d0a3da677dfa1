"""What would change the decision: the price and the load at which another design becomes the best one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from planner.errors import InfeasibleError

RANGE = (0.25, 4.0)  # multiples of today's price and load that are looked at
LOAD_TOLERANCE = 1e-3  # relative, to which the load of a flip is found
NO_PLAN = "no plan"  # stands for a design where nothing carries the load
_LOAD_STEP = 2.0**0.25  # the search for another design looks at loads this factor apart
_SAME = 1e-9
_MOST_SOLVED = 200


@dataclass(frozen=True)
class OfferOfMachine:
    """A best plan, as far as a price matters: what it costs as a line over the price's factor.

    Attributes
    ----------
    design, pools : str
    fixed_usd_per_hour : float
        Of everything but the machine whose price changes.
    slope_usd_per_hour : float
        Of that machine, at its price of today.
    """

    design: str
    pools: str
    fixed_usd_per_hour: float
    slope_usd_per_hour: float

    def at(self, factor: float) -> float:
        """Cost at a multiple of the price [USD/h]."""
        return self.fixed_usd_per_hour + self.slope_usd_per_hour * factor


def breakpoints(
    best: Callable[[float], OfferOfMachine], low: float, high: float
) -> list[tuple[float, OfferOfMachine, OfferOfMachine]]:
    """Every multiple of a price, between two, at which another plan becomes the best one.

    Parameters
    ----------
    best : callable
        The best plan at a multiple of the price.
    low, high : float

    Returns
    -------
    list of (float, Offer, Offer)
        Multiple, the best plan just below it and the one just above it, in order.

    Notes
    -----
    The least cost over all plans is concave and piecewise linear in a price, for each plan costs a line. Where the
    lines of the best plans at both ends cross, either both are best, and the crossing is a breakpoint exactly; or a
    third plan is better there, and each half is looked at likewise [1]_. Every step is a proven optimum, and if both
    ends have one line, nothing beats it in between.

    References
    ----------
    .. [1] Eisner, Severance, Mathematical techniques for efficient record segmentation in large shared databases,
       J. ACM 23(4), 1976.
    """
    solved = 0

    def between(
        f0: float, a: OfferOfMachine, f1: float, b: OfferOfMachine
    ) -> list[tuple[float, OfferOfMachine, OfferOfMachine]]:
        nonlocal solved
        scale = max(a.at(f0), b.at(f1))
        if abs(a.at(f0) - b.at(f0)) <= _SAME * scale and abs(a.at(f1) - b.at(f1)) <= _SAME * scale:
            return []
        steeper = a.slope_usd_per_hour - b.slope_usd_per_hour
        crossing = (b.fixed_usd_per_hour - a.fixed_usd_per_hour) / steeper if steeper else math.nan
        if not f0 < crossing < f1 or solved >= _MOST_SOLVED:
            return [(min(max(crossing, f0), f1), a, b)] if math.isfinite(crossing) else []
        solved += 1
        third = best(crossing)
        if third.at(crossing) >= a.at(crossing) * (1 - 1e-7):
            return [(crossing, a, b)]
        return between(f0, a, crossing, third) + between(crossing, third, f1, b)

    return between(low, best(low), high, best(high))


def design_flips(best: Callable[[float], OfferOfMachine]) -> dict[str, tuple[float, OfferOfMachine] | None]:
    """The nearest multiples of a price below and above today's at which another design wins; None within the range.

    Returns
    -------
    dict
        `lower` and `higher` -> the multiple and the best plan beyond it.
    """
    now = best(1.0)
    found: dict[str, tuple[float, OfferOfMachine] | None] = {"lower": None, "higher": None}
    for factor, _, after in breakpoints(best, 1.0, RANGE[1]):
        if after.design != now.design:
            found["higher"] = (factor, after)
            break
    for factor, before, _ in reversed(breakpoints(best, RANGE[0], 1.0)):
        if before.design != now.design:
            found["lower"] = (factor, before)
            break
    return found


def load_flips(design_at: Callable[[float], str]) -> dict[str, tuple[float, str] | None]:
    """The nearest multiples of the load, below and above today's, at which another design wins.

    Parameters
    ----------
    design_at : callable
        Name of the best design at a multiple of the load; raises `InfeasibleError` where nothing carries it.

    Returns
    -------
    dict
        `lower` and `higher` -> the multiple, to `LOAD_TOLERANCE` on the far side, and the design there; None where it
        is the same throughout the range.

    Notes
    -----
    Machines come in whole numbers, so designs may change with the load and change back. Loads 19 % apart are looked at;
    within the first of those steps at whose ends the designs differ, the flip is found by bisection. What changes and
    changes back within a step is not seen.
    """

    @cache
    def at(factor: float) -> str:
        try:
            return design_at(factor)
        except InfeasibleError:
            return NO_PLAN

    now = at(1.0)
    found: dict[str, tuple[float, str] | None] = {}
    for name, step in (("lower", 1.0 / _LOAD_STEP), ("higher", _LOAD_STEP)):
        found[name] = None
        near, far = 1.0, step
        while RANGE[0] * (1 - _SAME) <= far <= RANGE[1] * (1 + _SAME):
            if at(far) != now:
                while abs(far - near) > LOAD_TOLERANCE * near:
                    middle = (near + far) / 2.0
                    near, far = (near, middle) if at(middle) != now else (middle, far)
                found[name] = (far, at(far))
                break
            near, far = far, far * step
    return found
