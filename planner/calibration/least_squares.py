"""Robust, bounded nonlinear least squares with a Gaussian prior, for a handful of parameters.

`scipy.optimize.least_squares` searches; it is imported when a fit begins and not before, so that nothing but
`planner calibrate` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEP = 1e-5  # of the numerical derivative: absolute here, relative to the logarithm of a parameter in the search


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search ended.

    Attributes
    ----------
    values : ndarray, shape (p,)
    cost : float
    covariance : ndarray, shape (p, p)
        Of the values, from the curvature of data and prior at the minimum.
    n_steps : int
    """

    values: Floats
    cost: float
    covariance: Floats
    n_steps: int


def minimise(
    residuals: Callable[[Floats], Floats],
    start: Floats,
    lower: Floats,
    upper: Floats,
    prior: Floats,
    prior_sd: Floats,
    *,
    n_steps: int = 60,
    tolerance: float = 1e-9,
) -> Minimum:
    """Minimise a soft-L1 loss of residuals plus a Gaussian prior within bounds.

    Parameters
    ----------
    residuals : callable
        Parameters, shape (p,), to residuals in units of their standard deviation, shape (n,).
    start, lower, upper, prior : ndarray, shape (p,)
    prior_sd : ndarray, shape (p,)
        Infinite for a parameter without a prior.
    n_steps : int
        Most steps taken.
    tolerance : float
        Relative fall of the cost that ends the search.

    Notes
    -----
    cost = sum (sqrt(1 + r_i^2) - 1) + 1/2 sum ((x - prior) / sd)^2                                    (1)

    The prior joins the residuals as one row a parameter, whose loss is linear while that of the data is soft-L1. The
    covariance is that of the weighted Jacobian at the minimum, W = diag(1 / sqrt(1 + r^2)).

    References
    ----------
    .. [1] Triggs et al., Bundle adjustment: a modern synthesis, 2000, section 4.3.
    """
    from scipy.optimize import least_squares

    precision = 1.0 / np.square(prior_sd)
    root = np.sqrt(precision)
    n = residuals(start).size

    def every(x: Floats) -> Floats:
        return np.concatenate([residuals(x), root * (x - prior)])

    def loss(squares: Floats) -> Floats:
        """Values of the loss and its two derivatives: soft-L1 of the data, none of the prior."""
        data, rho = 1.0 + squares[:n], np.empty((3, squares.size))
        rho[:, n:] = np.stack([squares[n:], np.ones(squares.size - n), np.zeros(squares.size - n)])
        rho[:, :n] = np.stack([2.0 * (np.sqrt(data) - 1.0), data**-0.5, -0.5 * data**-1.5])
        return rho

    # Floors and maxima of the model are kinks, at which one method may rest short of what the other finds.
    margin = 1e-9 * np.maximum(upper - lower, 1e-9)  # the search keeps inside, and may start on a bound
    begin = np.clip(start, lower + margin, upper - margin)
    scale = np.where(np.isfinite(prior_sd), prior_sd, 1.0)
    solutions = [
        least_squares(
            every, begin, bounds=(lower, upper), loss=loss, diff_step=_STEP, ftol=tolerance, xtol=tolerance, gtol=None,
            max_nfev=n_steps, method=method, x_scale=scale,
        )
        for method in ("trf", "dogbox")
    ]  # fmt: skip
    found = min(solutions, key=lambda solution: solution.cost)
    x = np.where(found.x <= lower + 2e-6, lower, np.where(found.x >= upper - 2e-6, upper, found.x))
    r = residuals(x)
    cost = float(np.sum(np.sqrt(1.0 + r * r) - 1.0) + 0.5 * np.sum(precision * (x - prior) ** 2))
    jacobian = _jacobian(residuals, x, r, lower, upper)
    curvature = (jacobian.T / np.sqrt(1.0 + r * r)) @ jacobian + np.diag(precision)
    covariance = np.asarray(np.linalg.pinv(curvature), dtype=np.float64)
    return Minimum(x, cost, covariance, int(found.nfev))


def _jacobian(residuals: Callable[[Floats], Floats], x: Floats, r: Floats, lower: Floats, upper: Floats) -> Floats:
    columns = np.empty((r.size, x.size))
    for i in range(x.size):
        moved = x.copy()
        moved[i] += _STEP if x[i] + _STEP <= upper[i] else -_STEP
        columns[:, i] = (residuals(moved) - r) / (moved[i] - x[i])
    return columns
