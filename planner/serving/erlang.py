"""Waiting in a multi-server queue: Erlang C and the two-moment tail of G/G/k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from planner.latency.batch import Floats
from planner.serving.gamma_arrivals import burstiness, wait_probability

_RECURSION_LIMIT = 12  # above this many servers the integral form is as exact (1e-13) and much quicker
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def erlang_c(n_servers: ArrayLike, offered_load: ArrayLike) -> Floats:
    """Probability that an arrival at an M/M/k queue has to wait.

    Parameters
    ----------
    n_servers : int or array_like
        Servers k.
    offered_load : float or array_like
        a = arrival rate x mean service time [erlang]; broadcasts with `n_servers`.

    Returns
    -------
    ndarray
        C(k, a) in [0, 1]; 1 where a >= k.

    Notes
    -----
    B(0) = 1,  B(j) = a B(j-1) / (j + a B(j-1)),  C = B / (1 - a/k (1 - B))                            (1)
    1/B(k) = a int_0^inf (1+u)^k exp(-a u) du     (many servers)                                       (2)

    References
    ----------
    .. [1] Cooper, Introduction to Queueing Theory, 2nd ed., 1981, eq. 3.4-3.6.
    .. [2] Jagerman, Bell System Technical Journal 53(3), 1974, for (2).
    """
    k, a = _as_arrays(n_servers, offered_load)
    blocking = erlang_b(k, a)
    with np.errstate(divide="ignore", invalid="ignore"):
        waiting = blocking / (1.0 - a / k * (1.0 - blocking))
    return np.where(a < k, waiting, 1.0)


def erlang_b(n_servers: ArrayLike, offered_load: ArrayLike) -> Floats:
    """Probability that all k servers are busy where nobody waits, M/M/k/k; arguments as in `erlang_c`."""
    k, a = _as_arrays(n_servers, offered_load)
    shape, k, a = k.shape, k.ravel(), a.ravel()
    blocking = np.zeros(k.shape)
    few = k <= _RECURSION_LIMIT
    if few.any():
        blocking[few] = blocking_recursion(k[few], a[few])
    many = ~few & (a > 0)
    if many.any():
        blocking[many] = blocking_integral(k[many], a[many])
    return blocking.reshape(shape)


def _as_arrays(n_servers: ArrayLike, offered_load: ArrayLike) -> tuple[Floats, Floats]:
    k, a = np.broadcast_arrays(np.asarray(n_servers, dtype=float), np.asarray(offered_load, dtype=float))
    return k, np.maximum(a, 0.0)


def blocking_recursion(k: Floats, a: Floats) -> Floats:
    """Blocking of `k` servers at offered load `a`, by recursion over the servers: exact, and quick for few."""
    # 1/B = 1 + k/a (1 + (k-1)/a (1 + ...)), (1) upside down; fewer servers start later.
    most = int(k.max())
    with np.errstate(divide="ignore", over="ignore"):
        factors = np.maximum(k - most + np.arange(1.0, most + 1.0)[:, None], 0.0) / np.maximum(a, 1e-300)
        inverse = np.ones(k.shape)
        for factor in factors:
            inverse = 1.0 + factor * inverse
    return 1.0 / inverse


def blocking_integral(k: Floats, a: Floats) -> Floats:
    """Blocking of `k` servers at offered load `a`, by an integral: as quick for a million servers as for ten."""
    # The exponent k ln(1+u) - a u peaks at u0 = k/a - 1, or at 0, and has curvature a^2/k there; 12 widths hold it.
    peak = np.maximum(k / a - 1.0, 0.0)
    width = np.sqrt(k) / a
    lo, hi = np.maximum(peak - 12.0 * width, 0.0), peak + 14.0 * width
    u = lo[:, None] + (hi - lo)[:, None] * (_NODES + 1.0) / 2.0
    top = k * np.log1p(peak) - a * peak
    exponent = k[:, None] * np.log1p(u) - a[:, None] * u - top[:, None]
    integral = (np.exp(exponent) * _WEIGHTS).sum(axis=1) * (hi - lo) / 2.0
    return np.exp(-top) / (a * integral)


@dataclass(frozen=True, eq=False)
class WaitTail:
    """Distribution of a queueing delay: P(W > t) = probability exp(-decay (t - least)), from t = least on.

    Attributes
    ----------
    probability : ndarray
        Probability of waiting at all.
    decay_per_s : ndarray
        Decay of the tail [1/s]; 0 where the queue is unstable.
    least_s : ndarray or float
        What those who wait wait at least [s].
    """

    probability: Floats
    decay_per_s: Floats
    least_s: Floats | float = 0.0

    def exceeds(self, t_s: Floats) -> Floats:
        """P(W > t); 1 for negative t [s]. `t_s` broadcasts against the attributes."""
        # Where there is no limit t is infinite, and 0 x infinity is no number.
        tail = self.probability * np.exp(-self.decay_per_s * np.clip(t_s - self.least_s, 0.0, 1e300))
        return np.where(t_s < 0, 1.0, tail)

    def mean_s(self) -> Floats:
        """Mean of the delay, of those who do not wait too [s]; infinite where the queue is unstable."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.probability > 0, self.probability * (self.least_s + 1.0 / self.decay_per_s), 0.0)


def ggk_wait(
    rate_per_s: ArrayLike, n_servers: ArrayLike, service_mean_s: ArrayLike, service_cv2: ArrayLike, arrival_cv2: float
) -> WaitTail:
    """Waiting time of G/G/k, first come first served.

    Parameters
    ----------
    rate_per_s : float or array_like
        Arrivals [1/s].
    n_servers : int or array_like
        Servers.
    service_mean_s, service_cv2 : float or array_like
        Mean [s] and squared coefficient of variation of service.
    arrival_cv2 : float
        Squared coefficient of variation of the gaps between arrivals; 1 is Poisson.

    Returns
    -------
    WaitTail

    Notes
    -----
    P(W > t) ~ C exp(-k (1-rho) t / (z E[S])),  z = z_a + (c_s^2 - 1)/2                                (1)

    C and z_a are those of gamma arrivals and exponential service: Erlang's C and 1 for Poisson arrivals
    (`wait_probability`, `Burstiness`). Exact for GI/M/k with such gaps; for Poisson arrivals the mean is that of Allen
    and Cunneen, C/(k(1-rho)) E[S] (1 + c_s^2)/2.

    References
    ----------
    .. [1] Whitt, Approximations for the GI/G/m queue, Production and Operations Management 2(2), 1993.
    """
    rate, k, mean = (np.asarray(x, dtype=float) for x in (rate_per_s, n_servers, service_mean_s))
    load = rate * mean
    bursts = burstiness(arrival_cv2)
    z = bursts.decay(load / k) + (np.asarray(service_cv2, dtype=float) - 1.0) / 2.0
    decay = np.maximum(k - load, 0.0) / (mean * np.maximum(z, 1e-9))
    waits = erlang_c(k, load) if bursts.poisson else wait_probability(k, load, arrival_cv2)
    return WaitTail(waits, decay)
