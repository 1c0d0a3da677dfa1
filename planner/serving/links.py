"""KV transfers that share NICs: how much slower one is than alone."""

from __future__ import annotations

from itertools import pairwise
from math import log

MOST_SENT = 0.8  # share of what its NICs carry that a pool may be planned to send or receive
_HARDLY_USED = 0.02
_ENDS = (0.0, 0.5, 0.8, 0.95, 1.0)  # classes of the law of the slow-down
_FULLEST = 0.99


def slowdowns(utilisation: float) -> list[tuple[float, float]]:
    """Factors on the time on the wire, and the share of transfers that each is for.

    Parameters
    ----------
    utilisation : float
        KV caches sent over what the NICs carry, of the busier end of the transfer.

    Returns
    -------
    list of (share, factor)
        Shares sum to 1.

    Notes
    -----
    Transfers that share a NIC max-min fairly are processor sharing: one takes on average

        1/(1 - rho)                                                                                  (4.4)

    times as long as alone, whatever the sizes [1]_. The excess rho/(1 - rho) is taken as exponentially distributed (in
    simulations its coefficient of variation is 0.5, between many machines, to 1.3) and cut into classes.

    References
    ----------
    .. [1] Kleinrock, Queueing Systems II, 1976, section 4.4.
    """
    rho = min(max(utilisation, 0.0), _FULLEST)
    mean = rho / (1.0 - rho)
    if rho < _HARDLY_USED:
        return [(1.0, 1.0 + mean)]
    # Below its p-quantile an exponential variable of mean 1 has the integral p + (1 - p) log(1 - p).
    below = [p + (1.0 - p) * log(1.0 - p) if p < 1.0 else 1.0 for p in _ENDS]
    classes = zip(pairwise(_ENDS), pairwise(below), strict=True)
    return [(p2 - p1, 1.0 + mean * (to - since) / (p2 - p1)) for (p1, p2), (since, to) in classes]
