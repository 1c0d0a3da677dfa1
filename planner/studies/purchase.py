"""The cheapest machines to add to those that are there, where what is enough is only known by asking."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Extra = tuple[int, ...]  # machines of each type, beyond those owned
_TOLERANCE = 1e-9  # relative: purchases whose costs are this close cost the same


def least_purchase(is_enough: Callable[[Extra], bool], prices: Sequence[float], most: int) -> Extra | None:
    """The cheapest purchase that is enough.

    Parameters
    ----------
    is_enough : callable
        Whether so many machines of each type beyond those owned are enough; more machines are never worse.
    prices : sequence of float
        Of a machine of each type, above 0.
    most : int
        Machines of a type up to which it is looked.

    Returns
    -------
    tuple of int or None
        Of those that cost the same, one with fewer types; None where `most` machines of no single type are enough.

    Notes
    -----
    First the fewest of each single type, by doubling and halving. They bound the cost of mixed purchases, of which
    every vector of counts is looked at but for the last, whose least count follows by halving; what cannot be cheaper
    is not asked. So the answer is exact for any number of types.
    """
    n = len(prices)
    if is_enough((0,) * n):
        return (0,) * n
    best: Extra | None = None
    least_cost = math.inf

    def offer(extra: Extra) -> None:
        nonlocal best, least_cost
        cost = math.fsum(p * k for p, k in zip(prices, extra, strict=True))
        if cost < least_cost * (1 - _TOLERANCE):
            best, least_cost = extra, cost

    for i in range(n):
        count = _fewest(lambda k, i=i: is_enough(tuple(k if j == i else 0 for j in range(n))), most)  # type: ignore[misc]
        if count is not None:
            offer(tuple(count if j == i else 0 for j in range(n)))
    # The dearest types first: they have the fewest counts to try.
    order = sorted(range(n), key=lambda i: (-prices[i], i))

    def arranged(chosen: Extra) -> Extra:
        at = dict(zip(order, chosen, strict=True))
        return tuple(at[i] for i in range(n))

    def room(cost: float, price: float) -> int:
        """Machines that the cost of the best purchase leaves room for, to be cheaper."""
        if not math.isfinite(least_cost):
            return most
        return min(most, max(math.ceil((least_cost * (1 - _TOLERANCE) - cost) / price) - 1, -1))

    def search(chosen: Extra, cost: float) -> None:
        price = prices[order[len(chosen)]]
        if len(chosen) < n - 1:
            k = 0
            while k <= room(cost, price):
                search((*chosen, k), cost + k * price)
                k += 1
            return
        high = room(cost, price)
        if sum(count > 0 for count in chosen) == 0 or high < 0 or not is_enough(arranged((*chosen, high))):
            return
        low = -1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(arranged((*chosen, middle))) else (middle, high)
        offer(arranged((*chosen, high)))

    if n > 1:
        search((), 0.0)
    return best


def _fewest(is_enough: Callable[[int], bool], most: int) -> int | None:
    """Least k in 1..most that is enough, given that none is not; None if there is none."""
    low, high = 0, 1
    while not is_enough(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
