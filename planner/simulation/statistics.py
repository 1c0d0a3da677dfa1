"""Percentiles of simulated latencies, with confidence intervals; warm-up; and whether a cluster keeps up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sample = NDArray[np.float64] | NDArray[np.float32]
# Batches of each run, for the interval: correlation that outlasts a batch shows as variance that grows from the finest
# cut to the coarsest.
_CUTS = (40, 20, 10, 5)
_BATCHES_WITH_TREND = 40
_ENOUGH_RUNS = 3  # to take the interval from what differs between them
_MSER_GROUP = 5
_Z = 1.96  # 97.5 % quantile of the normal distribution
_ROUNDING = 1e-12
_HALVINGS = 8  # of the range in which the upper end of a percentile lies
_FEWEST_FOR_INTERVAL = 5  # values a batch must hold before its percentile says anything

# 97.5 % quantiles of Student's t by degrees of freedom (Abramowitz and Stegun, table 26.10).
_T = ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (7, 2.365), (8, 2.306), (9, 2.262),
      (10, 2.228), (12, 2.179), (15, 2.131), (20, 2.086), (30, 2.042), (60, 2.000), (120, 1.980))  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval, in the unit of the sample.

    NaN where there was no sample; bounds are infinite where it was too small to say.
    """

    value: float
    low: float
    high: float


def warm_up(values: Sample) -> int:
    """Observations to drop from the start of a run, by the MSER-5 rule.

    Parameters
    ----------
    values : ndarray, shape (n,)
        A latency of each request, in order of arrival; finite.

    Returns
    -------
    int
        At most half of n.

    Notes
    -----
    The truncation d that minimises the standard error of the mean of what is left, over means of groups of five:
    sum_{i>d} (y_i - mean_d)^2 / (m - d)^2.

    References
    ----------
    .. [1] White, An effective truncation heuristic for bias reduction in simulation output, Simulation 69(6), 1997.
    """
    m = values.size // _MSER_GROUP
    if m < 4:
        return 0
    groups = values[: m * _MSER_GROUP].reshape(m, _MSER_GROUP).mean(axis=1, dtype=float)
    groups -= groups.mean()  # keeps the difference of large sums below exact
    left = np.arange(m, 0, -1.0)
    total = np.cumsum(groups[::-1])[::-1]
    square = np.cumsum((groups**2)[::-1])[::-1]
    error = (square - total**2 / left) / left**2
    return int(np.argmin(error[: m // 2 + 1])) * _MSER_GROUP


def percentile_interval(runs: Sequence[Sample], percentile: float, *, trend: bool = False) -> Interval:
    """One percentile; see `percentile_intervals`."""
    return percentile_intervals(runs, (percentile,), trend=trend)[0]


def percentile_intervals(
    runs: Sequence[Sample], percentiles: Sequence[float], *, trend: bool = False
) -> list[Interval]:
    """Percentiles of several independent runs, warm-up removed.

    Parameters
    ----------
    runs : sequence of ndarray
        Values of each run in order of arrival.
    percentiles : sequence of float
        In (0, 100).
    trend : bool
        Whether values rise and fall over a run for a reason that is no chance, such as its load.

    Returns
    -------
    list of Interval
        The percentiles of all values, with intervals from batch means; see `mean_interval`. With a trend from what
        differs between three runs or more, or else from one batch to the next.

    Notes
    -----
    The percentile of a batch is biased where the batch has few requests beyond it, and a queue's tail is where it
    matters most. The share of requests above a fixed value is not biased, so its interval p_hat +/- h is taken and
    mapped through the pooled sample's own quantiles: [x(1 - p - h), x(1 - p + h)].
    """
    return [_interval_and_half(run, p, trend)[0] for run, p in _pooled_once(runs, percentiles)]


def objective_interval(
    runs: Sequence[Sample], percentile: float, limit: float, *, trend: bool = False
) -> tuple[Interval, ShareInterval]:
    """A percentile and the share of values beyond a limit, so that both say the same of the limit.

    Parameters
    ----------
    runs : sequence of ndarray
        Values of each run in order of arrival; infinite for who never gets there.
    percentile : float
        In (0, 100).
    limit : float
        In the unit of the values.
    trend : bool
        As for `percentile_intervals`.

    Returns
    -------
    (Interval, ShareInterval)
        The upper end of the first is within the limit exactly where that of the second is within 1 - percentile/100.

    Notes
    -----
    The upper end of the percentile is the least value x of the sample where the upper end of the share beyond x is
    within what is allowed. That end is p(x) + h(x) with h of the batches of {value > x}, or, where few or none lie
    beyond x, Wilson's [1]_ for so many independent values as the scatter at the percentile itself is worth: values that
    move together (n of them scatter as n_eff would) never count as more than n_eff. Latencies that drift slowly within
    a narrow band have next to no n_eff, yet a limit far above the band is safe: where the stricter percentile
    (p + 100)/2 of a batch, with twice the margin that foretells another batch, is within the limit, so is the share.

    References
    ----------
    .. [1] Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    return objective_intervals(runs, [(percentile, limit)], trend=trend)[0]


def objective_intervals(
    runs: Sequence[Sample], asked: Sequence[tuple[float, float]], *, trend: bool = False
) -> list[tuple[Interval, ShareInterval]]:
    """The same for several percentiles and limits of one sample, which is sorted once."""
    runs = [run for run in runs if run.size]
    if not runs:
        return [(_NOTHING, share_interval([])) for _ in asked]
    pooled = _pooled_once(runs, [percentile for percentile, _ in asked])
    return [
        _objective_interval(sample, percentile, limit, trend)
        for (sample, percentile), (_, limit) in zip(pooled, asked, strict=True)
    ]


def _objective_interval(
    sample: _Pooled, percentile: float, limit: float, trend: bool
) -> tuple[Interval, ShareInterval]:
    runs = sample[0]
    ordered, allowed = sample[1], 1.0 - percentile / 100.0
    interval, half = _interval_and_half(sample, percentile, trend)
    size = ordered.size
    late = float(size - np.searchsorted(ordered, limit, side="right")) / size
    if not np.isfinite(half):
        return interval, ShareInterval(late, 0.0, 1.0, half)
    independent = min(size, _Z**2 * allowed * percentile / 100.0 / half**2)

    def beyond(x: float) -> ShareInterval:
        share = float(size - np.searchsorted(ordered, x, side="right")) / size
        h = _half_width([run > x for run in runs], trend)
        high = min(max(share + h, _wilson_upper(share, independent)), 1.0)
        return ShareInterval(share, max(share - h, 0.0), high, h)

    at_limit = beyond(limit)
    if at_limit.high > allowed + _ROUNDING and interval.value <= limit and not trend:
        band = _foretold(runs, percentile)
        if band <= limit:
            at_limit = replace(at_limit, high=allowed)
            return Interval(interval.value, interval.low, max(band, interval.value)), at_limit
    holds = at_limit.high <= allowed + _ROUNDING
    if holds is (interval.high <= limit):
        return interval, at_limit
    # The two ends differ in what scatters at the percentile and at the limit: look for where the share is allowed.
    low, high = (interval.value, limit) if holds else (limit, float(ordered[-1]))
    if not holds and beyond(high).high > allowed:
        return Interval(interval.value, interval.low, float("inf")), at_limit
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if beyond(middle).high <= allowed else (middle, high)
    return Interval(interval.value, min(interval.low, high), high), at_limit


_Pooled = tuple[Sequence[Sample], Sample]


def _pooled_once(runs: Sequence[Sample], percentiles: Sequence[float]) -> list[tuple[_Pooled, float]]:
    """The runs with their values pooled and sorted, for each percentile."""
    runs = [run for run in runs if run.size]
    pooled: Sample = np.concatenate(runs) if runs else np.zeros(0)  # type: ignore[assignment]
    pooled.sort()
    return [((runs, pooled), p) for p in percentiles]


def _interval_and_half(sample: _Pooled, percentile: float, trend: bool) -> tuple[Interval, float]:
    """Interval of a percentile, and the half width of the share beyond it."""
    runs, pooled = sample
    if not pooled.size:
        return _NOTHING, float("nan")
    share = percentile / 100.0
    value = _quantile(pooled, share)
    half = _half_width([run > value for run in runs], trend)
    if not np.isfinite(half):
        return Interval(value, float("-inf"), float("inf")), half
    # Not fewer than the pooled sample itself would scatter if its values were independent.
    half = max(half, _Z * float(np.sqrt(share * (1.0 - share) / pooled.size)))
    # The least value beyond which no more than 1 - share - half of the sample lies.
    most_beyond = int(np.floor((1.0 - share - half) * pooled.size + 1e-9))
    high = float(pooled[pooled.size - 1 - most_beyond]) if most_beyond >= 0 else float("inf")
    return Interval(value, _quantile(pooled, max(share - half, 0.0)), max(high, value)), half


def _quantile(ordered: Sample, share: float) -> float:
    """Quantile of sorted values, linear between them."""
    at = share * (ordered.size - 1)
    low = int(at)
    high = min(low + 1, ordered.size - 1)
    below, above = float(ordered[low]), float(ordered[high])
    return below if below == above else below + (above - below) * (at - low)


@dataclass(frozen=True)
class ShareInterval(Interval):
    """A share; `half_width` before it was cut to [0, 1]."""

    half_width: float


_NOTHING = Interval(float("nan"), float("nan"), float("nan"))


def _foretold(runs: Sequence[Sample], percentile: float) -> float:
    """What a percentile stricter by half will not pass in another batch; the largest over the cuts of a run.

    Mean plus twice Student's t times the standard deviation over batches that hold a value beyond the percentile.
    """
    strict, bound = (percentile + 100.0) / 200.0, float("-inf")
    for cut in _CUTS:
        parts = [part for run in runs for part in np.array_split(run, cut)]
        if min(part.size for part in parts) * (1.0 - percentile / 100.0) < 1.0 - _ROUNDING:
            continue
        seen = np.array([np.quantile(part.astype(float), strict, method="higher") for part in parts])
        if not np.isfinite(seen).all():
            return float("inf")
        bound = max(bound, float(seen.mean() + 2.0 * _t_quantile(seen.size - 1) * seen.std(ddof=1)))
    return bound if np.isfinite(bound) else float("inf")


def _wilson_upper(share: float, n: float) -> float:
    """Upper end of the 95 % score interval of a share that was seen in n independent values."""
    z2 = _Z**2 / n
    spread = _Z * float(np.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n)))
    return (share + z2 / 2.0 + spread) / (1.0 + z2)


def share_interval(runs: Sequence[NDArray[np.bool_]], *, trend: bool = False) -> ShareInterval:
    """Share of True over several runs and its 95 % interval, as that of percentiles.

    With no True at all the interval still ends above 0, at what would show up once in three samples of this size
    (the rule of three).
    """
    runs = [run for run in runs if run.size]
    if not runs:
        return ShareInterval(float("nan"), float("nan"), float("nan"), float("nan"))
    size = sum(run.size for run in runs)
    value = sum(int(run.sum()) for run in runs) / size
    half = _half_width(runs, trend)
    least = 3.0 / size if value == 0.0 else 0.0
    return ShareInterval(value, max(value - half, 0.0), min(max(value + half, least), 1.0), half)


def mean_interval(runs: Sequence[Sample], *, trend: bool = False) -> Interval:
    """Mean of several runs and its 95 % interval: Student's t over batch means; see `percentile_intervals`."""
    runs = [run for run in runs if run.size]
    if not runs:
        return Interval(float("nan"), float("nan"), float("nan"))
    value = sum(float(run.sum(dtype=float)) for run in runs) / sum(run.size for run in runs)
    half = _half_width(runs, trend)
    return Interval(value, value - half, value + half)


def _half_width(runs: Sequence[Sample] | Sequence[NDArray[np.bool_]], trend: bool) -> float:
    """Half of the 95 % interval of a mean: Student's t times the standard error over the means of batches.

    The largest over cuts of each run into 40, 20, 10 and 5: while correlation outlasts a batch, finer cuts see too
    little of it. Where there is a trend, its swings must not count as chance. Runs that share it are compared as
    wholes. A single run is cut finer and the variance taken from the differences of neighbours [1]_:
    sum (x_i+1 - x_i)^2 / (2 (n - 1)).

    References
    ----------
    .. [1] von Neumann, Distribution of the ratio of the mean square successive difference to the variance, Annals of
       Mathematical Statistics 12(4), 1941.
    """
    if trend and len(runs) >= _ENOUGH_RUNS:
        return _standard_error(np.array([float(run.mean(dtype=float)) for run in runs]))
    if not trend:
        totals = [_Totals(run) for run in runs]
        return max(_standard_error(np.concatenate([t.means(n) for t in totals])) for n in _CUTS)
    batches = [_Totals(run).means(_BATCHES_WITH_TREND) for run in runs]
    differences = np.concatenate([np.diff(means) for means in batches])
    n = sum(means.size for means in batches)
    if not differences.size:
        return float("inf")
    return _t_quantile(differences.size) * float(np.sqrt(np.mean(differences**2) / 2.0 / n))


class _Totals:
    """A run summed up once, so that the means of any batches of it are differences."""

    def __init__(self, run: Sample | NDArray[np.bool_]) -> None:
        self._upto = np.zeros(run.size + 1, dtype=np.int32 if run.dtype == np.bool_ else np.float64)
        np.cumsum(run, out=self._upto[1:])

    def means(self, n_batches: int) -> Floats:
        """Means of so many batches, as even as can be; none of batches too small to say anything."""
        each, more = divmod(self._upto.size - 1, n_batches)
        sizes = np.full(n_batches, each)
        sizes[:more] += 1
        sizes = sizes[sizes >= _FEWEST_FOR_INTERVAL]  # the small ones come last
        ends = np.cumsum(sizes)
        return np.asarray((self._upto[ends] - self._upto[ends - sizes]) / sizes, dtype=float)


def _standard_error(means: Floats) -> float:
    n = means.size
    return _t_quantile(n - 1) * float(np.std(means, ddof=1)) / float(n**0.5) if n > 1 else float("inf")


def _t_quantile(degrees: int) -> float:
    for df, t in reversed(_T):
        if degrees >= df:
            return t
    return _T[0][1]


def is_growing(values: Sample, n_batches: int = 20) -> bool:
    """Whether a latency keeps growing over a run: the mark of a cluster that cannot keep up.

    Parameters
    ----------
    values : ndarray, shape (n,)
        A latency of each request, in order of arrival, warm-up included.

    Notes
    -----
    Both of: Mann-Kendall's test for a trend in the means of `n_batches` batches at three standard deviations, and the
    last quarter half as long again as the second quarter. A burst that the cluster works off does not rise throughout;
    a slow drift of a cluster near its capacity does not rise by half.
    """
    if values.size < 10 * n_batches:
        return False
    means = np.array([part.mean(dtype=float) for part in np.array_split(values, n_batches)])
    signs = np.sign(means[None, :] - means[:, None])
    s = float(np.triu(signs, 1).sum())
    sd = np.sqrt(n_batches * (n_batches - 1) * (2 * n_batches + 5) / 18.0)
    quarter = n_batches // 4
    return bool(s > 3.0 * sd and means[-quarter:].mean() > 1.5 * means[quarter : 2 * quarter].mean())
