"""Catalog workloads as request sizes: a deterministic sample of a Gaussian copula with tabulated marginals."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from planner.catalog.schema import TokenDistribution, Workload
from planner.errors import ScenarioError
from planner.workload.sizes import FloatArray, RequestSizes

# The real root of x^3 = x + 1; its inverse powers generate the R2 sequence.
_PLASTIC = 1.3247179572447460


def sizes_of(workload: Workload, n_points: int = 1024) -> RequestSizes:
    """Return the request sizes of a catalog workload.

    Parameters
    ----------
    workload : Workload
        Marginal quantile functions of prompt and output tokens, and the correlation of their normal scores.
    n_points : int
        Number of points, at least 1. More points resolve the joint tail better; the marginal means are right with
        any number.

    Returns
    -------
    RequestSizes
        Whole tokens, at least 1; weights differ from point to point. The same input gives the same points.

    Notes
    -----
    Points (t_1, t_2) of the low-discrepancy R2 sequence [1]_ are moved towards both upper tails and weighted for it,

        u = 1 - (1 - t_1)^2,  v = 1 - (1 - t_2)^2,  w ~ (1 - t_1)(1 - t_2),                                    (1)

    so that a tenth of the points lies beyond P99 of each. Under the Gaussian copula with correlation r the rank of
    the prompt is that of u and the rank of the output that of r Phi^-1(u) + sqrt(1 - r^2) Phi^-1(v). A point that
    takes the probabilities a..b in such a ranking gets the mean of the quantile function over them,

        x = 1/(b - a) * integral from a to b of Q(p) dp,                                                       (2)

    rounded to whole tokens. So each marginal mean is that of its table, whatever `n_points`.

    Between tabulated probabilities ln Q is linear in p. Token counts are right-skewed and Q is convex in the tail,
    where a straight line lies above it: on the Azure coding trace it makes the mean square output 9 % too large,
    the log-linear one 5 %.

    References
    ----------
    .. [1] M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    if n_points < 1:
        raise ScenarioError("a workload cannot be sampled at no points", value=n_points, rule="at least 1 point")
    sample = CopulaSample(n_points)
    return RequestSizes(
        _rounded(cell_means(workload.prompt_tokens, sample.prompt_order, sample.weight)),
        _rounded(cell_means(workload.output_tokens, sample.output_order(workload.correlation), sample.weight)),
        sample.weight,
        workload.name,
    )


class CopulaSample:
    """The weighted points of (1), before they get token counts: shared by all correlations and marginals."""

    def __init__(self, n_points: int) -> None:
        index = np.arange(n_points)
        away_1, away_2 = (1 - np.mod(0.5 + index / _PLASTIC**power, 1.0) for power in (1, 2))
        weight = away_1 * away_2
        self.weight: FloatArray = weight / weight.sum()
        self.prompt_order = np.argsort(-away_1, kind="stable")
        inverse = NormalDist().inv_cdf
        # Phi^-1(1 - q) = -Phi^-1(q) keeps the digits of the upper tail.
        self._prompt_score = np.array([-inverse(q) for q in (away_1**2).tolist()])
        self._free_score = np.array([-inverse(q) for q in (away_2**2).tolist()])

    def output_order(self, correlation: float) -> np.ndarray:
        """Indices of the points by rising output, under the Gaussian copula with `correlation`."""
        score = correlation * self._prompt_score + np.sqrt(1 - correlation**2) * self._free_score
        return np.argsort(score, kind="stable")


def cell_means(table: TokenDistribution, order: np.ndarray, weight: FloatArray) -> FloatArray:
    """Mean of the quantile function over the probabilities that each point takes in `order`: (2)."""
    upper = np.cumsum(weight[order])
    upper[-1] = 1.0
    integral = _integral(table, np.concatenate(([0.0], upper)))
    means = np.empty_like(weight)
    means[order] = np.diff(integral) / np.diff(np.concatenate(([0.0], upper)))
    return means


def _integral(table: TokenDistribution, p: FloatArray) -> FloatArray:
    """Integral of the quantile function from 0 to `p`, ln Q being linear between the tabulated probabilities.

    Over a segment of width d from q_0 to q_1, with f the share of it covered and s = ln(q_1/q_0), it is
    d q_0 (exp(s f) - 1)/s.
    """
    at = np.array(table.probabilities)
    q = np.array(table.tokens)
    width, slope = np.diff(at), np.diff(np.log(q))
    flat = np.abs(slope) < 1e-9
    safe = np.where(flat, 1.0, slope)

    def covered(segment: np.ndarray, share: FloatArray) -> FloatArray:
        curved = np.expm1(safe[segment] * share) / safe[segment]
        return np.asarray(width[segment] * q[segment] * np.where(flat[segment], share, curved))

    whole = covered(np.arange(width.size), np.ones(width.size))
    before = np.concatenate(([0.0], np.cumsum(whole)))
    segment = np.clip(np.searchsorted(at, p, side="right") - 1, 0, width.size - 1)
    return np.asarray(before[segment] + covered(segment, (p - at[segment]) / width[segment]))


def _rounded(tokens: FloatArray) -> FloatArray:
    return np.maximum(np.rint(tokens), 1.0)
