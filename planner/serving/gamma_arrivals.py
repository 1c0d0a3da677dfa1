"""Arrivals burstier or more even than Poisson: what they find, where gaps are gamma distributed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from planner.latency.batch import Floats

_MOST_SERVERS = 256  # summed over one by one; beyond, the limit of many servers is as good
_BISECTIONS = 48


def found_ratio(utilisation: ArrayLike, arrival_cv2: float) -> Floats:
    """Ratio sigma of the geometric queue that arrivals find at GI/M/k while all servers are busy.

    Parameters
    ----------
    utilisation : float or array_like
        rho, arrival rate over the rate of k servers.
    arrival_cv2 : float
        Squared coefficient of variation c^2 of the gaps between arrivals.

    Returns
    -------
    ndarray
        In [0, 1); 1 where rho is not below 1. Equal to rho for Poisson arrivals.

    Notes
    -----
    sigma = A(k mu (1 - sigma)),  A(s) = (1 + s c^2/lambda)^(-1/c^2)                                (6.2a)

    A is the Laplace transform of gamma gaps. For rho near 1, sigma = 1 - 2 (1 - rho)/(1 + c^2): Kingman's tail. Far
    below, bursts are more than their variance: at c = 3 and rho = 0.3, sigma is 0.81 where variance alone says 0.68.

    References
    ----------
    .. [1] Kleinrock, Queueing Systems I, 1975, section 6.2.
    """
    rho = np.asarray(utilisation, dtype=float)
    # The root 1 - y > 0 is the only one; g is positive below it.
    lo, hi = np.zeros(rho.shape), np.ones(rho.shape)
    for _ in range(_BISECTIONS):
        y = (lo + hi) / 2.0
        above = 1.0 - y < _transform(y / np.maximum(rho, 1e-12), arrival_cv2)
        lo, hi = np.where(above, lo, y), np.where(above, y, hi)
    return np.where(rho < 1.0, 1.0 - hi, 1.0)


def wait_probability(n_servers: ArrayLike, offered_load: ArrayLike, arrival_cv2: float) -> Floats:
    """Probability that an arrival at GI/M/k has to wait, for gamma gaps; Erlang C where they are exponential.

    Parameters
    ----------
    n_servers, offered_load : array_like
        Servers k, and a = arrival rate x mean service time [erlang]; they broadcast.
    arrival_cv2 : float
        Squared coefficient of variation of the gaps.

    Returns
    -------
    ndarray
        In [0, 1]; 1 where a >= k.

    Notes
    -----
    A/(1 - sigma),  1/A = 1/(1-sigma) + sum_{n=1}^k C(k,n)/(C_n (1-f_n)) (k(1-f_n) - n)/(k(1-sigma) - n)      (1)

    with f_n = A(n mu) and C_n = prod_{j<=n} f_j/(1-f_j) [1]_. Beyond 256 servers, those of 256 with the same
    (1 - rho) sqrt(k) [2]_.

    References
    ----------
    .. [1] Takacs, Introduction to the Theory of Queues, 1962, chapter 2, theorem 3.
    .. [2] Halfin and Whitt, Heavy-traffic limits for queues with many exponential servers, Operations Research 29(3),
       1981.
    """
    k, a = np.broadcast_arrays(np.asarray(n_servers, dtype=float), np.asarray(offered_load, dtype=float))
    shape, k, a = k.shape, k.ravel(), np.maximum(a.ravel(), 1e-9)
    free = np.maximum(1.0 - a / k, 0.0) * np.sqrt(np.maximum(k / _MOST_SERVERS, 1.0))
    k = np.minimum(k, float(_MOST_SERVERS))
    a = k * np.maximum(1.0 - free, 1e-3)
    sigma = found_ratio(a / k, arrival_cv2)
    n = np.arange(1.0, max(float(k.max(initial=1.0)), 1.0) + 1.0)
    found = _transform(n / a[:, None], arrival_cv2)
    left = np.maximum(k[:, None] - n + 1.0, 0.0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_terms = np.cumsum(np.log(left / n) + np.log((1.0 - found) / found), axis=1)
        # Both differences vanish at n = k (1 - sigma), where their ratio is that of their slopes.
        over, under = k[:, None] * (1.0 - found) - n, k[:, None] * (1.0 - sigma[:, None]) - n
        step = 1e-4
        slope = 1.0 - k[:, None] * (_transform((n - step) / a[:, None], arrival_cv2) - found) / step
        ratio = np.where(np.abs(under) > 1e-3, over / under, slope)
        others = (np.where(left > 0, np.exp(log_terms), 0.0) / (1.0 - found) * ratio).sum(axis=1)
        waits = 1.0 / (1.0 + (1.0 - sigma) * others)
    return np.where(free > 0, np.clip(waits, 0.0, 1.0), 1.0).reshape(shape)


def _transform(s: Floats, arrival_cv2: float) -> Floats:
    """Laplace transform of gaps of mean 1."""
    if arrival_cv2 < 1e-6:
        return np.exp(-s)
    return np.exp(-np.log1p(arrival_cv2 * s) / arrival_cv2)


class Burstiness:
    """How much longer than with Poisson arrivals the queue is, by utilisation; tabulated once for a traffic.

    Notes
    -----
    A queue found with the ratio r = 1/(1 + (1/rho - 1)/z) has z times the mean of M/M/k, and a wait that decays at
    (1 - rho)/z of the service rate z times that: (6.2a), by `found_ratio`, gives

        z_queue = (1/rho - 1)/(1/sigma - 1),  z_decay = (1 - rho)/(1 - sigma)

    both 1 for Poisson arrivals, and (1 + c^2)/2 where rho is near 1 or above.
    """

    def __init__(self, arrival_cv2: float) -> None:
        self.cv2 = arrival_cv2
        self.poisson = abs(arrival_cv2 - 1.0) < 1e-9
        self.most = 1.0  # the largest of either at any utilisation
        if self.poisson:
            return
        limit = (1.0 + arrival_cv2) / 2.0
        self._rho = np.concatenate([np.linspace(0.02, 0.98, 49), [1.0]])
        rho = self._rho[:-1]
        sigma = np.maximum(found_ratio(rho, arrival_cv2), 1e-12)
        self._queue = np.append((1.0 / rho - 1.0) / (1.0 / sigma - 1.0), limit)
        self._decay = np.append((1.0 - rho) / (1.0 - sigma), limit)
        self.most = float(max(self._queue.max(), self._decay.max()))

    def queue(self, utilisation: Floats) -> Floats | float:
        """z_queue."""
        return 1.0 if self.poisson else np.interp(utilisation, self._rho, self._queue)

    def decay(self, utilisation: Floats) -> Floats | float:
        """z_decay."""
        return 1.0 if self.poisson else np.interp(utilisation, self._rho, self._decay)


@lru_cache(maxsize=64)
def burstiness(arrival_cv2: float) -> Burstiness:
    """The tables of a traffic, computed once."""
    return Burstiness(arrival_cv2)
