"""Robust, bounded nonlinear least squares with a Gaussian prior, for a handful of parameters.

Levenberg-Marquardt with a numerical Jacobian. scipy's `least_squares` is its oracle in the tests; the package itself
does without scipy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEP = 1e-5  # of the numerical derivative, in the logarithm of a parameter


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

    The step solves (J' W J + P + mu D) s = -(J' W r + P (x - prior)), W = diag(1 / sqrt(1 + r^2)), for the
    parameters that are not held at a bound, and is cut back to the bounds.

    References
    ----------
    .. [1] Triggs et al., Bundle adjustment: a modern synthesis, 2000, section 4.3.
    """
    precision = 1.0 / np.square(prior_sd)

    def cost_of(x: Floats, r: Floats) -> float:
        return float(np.sum(np.sqrt(1.0 + r * r) - 1.0) + 0.5 * np.sum(precision * (x - prior) ** 2))

    x = np.clip(start, lower, upper)
    r = residuals(x)
    cost, damping, taken = cost_of(x, r), 1e-3, 0
    while taken < n_steps:
        taken += 1
        jacobian = _jacobian(residuals, x, r, lower, upper)
        weights = 1.0 / np.sqrt(1.0 + r * r)
        gradient = jacobian.T @ (weights * r) + precision * (x - prior)
        curvature = (jacobian.T * weights) @ jacobian + np.diag(precision)
        held = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
        free = np.flatnonzero(~held)
        if free.size == 0:
            break
        fell = 0.0
        for _ in range(20):
            damped = curvature[np.ix_(free, free)] + damping * np.diag(np.diag(curvature)[free] + 1e-12)
            trial = x.copy()
            trial[free] -= np.linalg.solve(damped, gradient[free])
            trial = np.clip(trial, lower, upper)
            trial_r = residuals(trial)
            trial_cost = cost_of(trial, trial_r)
            if trial_cost < cost:
                fell, x, r, cost = cost - trial_cost, trial, trial_r, trial_cost
                damping = max(damping / 10.0, 1e-12)
                break
            damping *= 10.0
        if fell <= tolerance * max(cost, 1e-12):
            break
    jacobian = _jacobian(residuals, x, r, lower, upper)
    curvature = (jacobian.T / np.sqrt(1.0 + r * r)) @ jacobian + np.diag(precision)
    covariance = np.asarray(np.linalg.pinv(curvature), dtype=np.float64)
    return Minimum(x, cost, covariance, taken)


def _jacobian(residuals: Callable[[Floats], Floats], x: Floats, r: Floats, lower: Floats, upper: Floats) -> Floats:
    columns = np.empty((r.size, x.size))
    for i in range(x.size):
        moved = x.copy()
        moved[i] += _STEP if x[i] + _STEP <= upper[i] else -_STEP
        columns[:, i] = (residuals(moved) - r) / (moved[i] - x[i])
    return columns
