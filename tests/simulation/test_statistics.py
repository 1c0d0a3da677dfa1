"""Intervals hold the truth about as often as they say; warm-up is found; growth is told from chance."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.statistics import (
    is_growing,
    mean_interval,
    objective_interval,
    percentile_interval,
    share_interval,
    warm_up,
)


def autocorrelated(rng: np.random.Generator, n: int, phi: float = 0.9) -> np.ndarray:
    """A stationary Gaussian series with correlation phi between neighbours and variance 1."""
    noise = rng.normal(0.0, np.sqrt(1.0 - phi * phi), n)
    values = np.empty(n)
    values[0] = rng.normal()
    for i in range(1, n):
        values[i] = phi * values[i - 1] + noise[i]
    return values


def test_intervals_cover_the_truth() -> None:
    """Of 120 experiments on correlated data; independent-sample formulas would cover less than half."""
    rng = np.random.default_rng(1)
    truth = {50.0: 0.0, 90.0: 1.2816, 99.0: 2.3263}
    held = {"mean": 0, "share": 0} | {p: 0 for p in truth}
    for _ in range(120):
        runs = [autocorrelated(rng, 4000) for _ in range(3)]
        interval = mean_interval(runs)
        held["mean"] += interval.low <= 0.0 <= interval.high
        late = share_interval([run > 1.2816 for run in runs])
        held["share"] += late.low <= 0.1 <= late.high
        for p, value in truth.items():
            interval = percentile_interval(runs, p)
            assert interval.low <= interval.value <= interval.high
            held[p] += interval.low <= value <= interval.high
    assert all(count >= 0.88 * 120 for count in held.values()), held
    assert held["mean"] < 120, "intervals that always hold are too wide"


@pytest.mark.parametrize("n_runs", [1, 4])
def test_a_trend_is_no_chance(n_runs: int) -> None:
    """A swing of three standard deviations over each run: the interval is that of the noise around it."""
    rng = np.random.default_rng(4)
    swing = 3.0 * np.sin(np.linspace(0.0, 7.0, 4000))
    truth, held, widths = float(swing.mean()), 0, []
    for _ in range(150):
        runs = [swing + autocorrelated(rng, 4000, 0.5) for _ in range(n_runs)]
        interval = mean_interval(runs, trend=True)
        held += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    assert held >= 0.9 * 150
    assert np.mean(widths) < 0.6 * (mean_interval(runs).high - mean_interval(runs).low)


def test_interval_of_a_heavy_tail_is_wider_above() -> None:
    rng = np.random.default_rng(2)
    interval = percentile_interval([rng.pareto(1.5, 5000) for _ in range(3)], 99.0)
    assert interval.high - interval.value > interval.value - interval.low > 0


def test_too_little_data_says_so() -> None:
    assert np.isnan(percentile_interval([np.zeros(0)], 99.0).value)
    assert np.isnan(share_interval([]).value)
    few = percentile_interval([np.array([1.0, 2.0, 3.0])], 50.0)
    assert (few.low, few.high) == (-np.inf, np.inf)
    assert share_interval([np.zeros(20, dtype=bool)]).high == 1.0
    # Nothing late among 3,000 does not prove that nothing ever is.
    assert share_interval([np.zeros(3000, dtype=bool)]).high == pytest.approx(1e-3)


def test_percentile_beyond_the_sample_has_no_upper_bound() -> None:
    rng = np.random.default_rng(3)
    assert percentile_interval([rng.exponential(1.0, 60)], 99.0).high == np.inf


def test_warm_up_is_found() -> None:
    rng = np.random.default_rng(4)
    series = 10.0 + autocorrelated(rng, 10_000, 0.5)
    series[:1500] -= 8.0 * np.exp(-np.arange(1500) / 300.0)
    assert 600 <= warm_up(series) <= 2500
    assert warm_up(10.0 + rng.normal(size=10_000)) <= 500
    assert warm_up(np.arange(10.0)) == 0
    assert warm_up(1e9 + np.ones(1000)) == 0
    # Never more than half.
    assert warm_up(np.linspace(0.0, 1.0, 1000)) <= 500


def test_growth() -> None:
    rng = np.random.default_rng(5)
    steady = 1.0 + 0.3 * np.abs(autocorrelated(rng, 20_000, 0.99))
    assert not is_growing(steady)
    assert is_growing(steady + np.linspace(0.0, 20.0, 20_000))
    burst = steady.copy()
    burst[8000:11_000] += 30.0
    assert not is_growing(burst)
    assert not is_growing(np.linspace(0.0, 9.0, 100)), "too few to say"


def test_a_percentile_and_the_share_beyond_a_limit_give_one_verdict() -> None:
    """The upper end is within the limit exactly where the share that may be late is within what is allowed."""
    rng = np.random.default_rng(6)
    verdicts = set()
    for _ in range(60):
        runs = [np.exp(autocorrelated(rng, 1500)) for _ in range(3)]
        percentile = float(rng.choice([50.0, 90.0, 95.0]))
        for limit in np.quantile(np.concatenate(runs), rng.uniform(percentile / 100.0 - 0.1, 1.0, 5)):
            value, late = objective_interval(runs, percentile, float(limit))
            allowed = 1.0 - percentile / 100.0
            assert value.low <= value.value <= value.high
            assert (value.high <= limit) == (late.high <= allowed + 1e-12)
            verdicts.add(value.high <= limit)
    assert verdicts == {True, False}


def test_correlation_that_outlasts_a_fine_batch_widens_the_interval() -> None:
    """Runs of fifty correlation times: forty batches a run alone would cover about three in four."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(120):
        runs = [autocorrelated(rng, 4000, 0.975) for _ in range(3)]  # 40 to the e-fold
        interval = percentile_interval(runs, 90.0)
        held += interval.low <= 1.2816 <= interval.high
    assert held >= 0.92 * 120


def test_a_limit_far_beyond_every_value_is_met() -> None:
    """None late of 1,000, or of values that move together slowly, are few enough late."""
    rng = np.random.default_rng(5)
    independent = rng.exponential(1.0, 1000)
    value, late = objective_interval([independent], 99.0, 100.0)
    assert late.value == 0.0
    assert 0.0 < late.high <= 0.01 and value.high <= 100.0
    together = [48.0 + 0.1 * autocorrelated(rng, 8_000, 0.995) for _ in range(3)]
    value, late = objective_interval(together, 95.0, 50.0)
    assert late.value == 0.0 and 3.0 / 24_000 < late.high <= 0.05
    assert value.high <= 50.0
    # Fewer than can say anything of P99 say nothing of it.
    value, late = objective_interval([independent[:150]], 99.0, 100.0)
    assert late.high > 0.01 and value.high > 100.0


@pytest.mark.parametrize("phi", [0.0, 0.95])
def test_a_limit_that_is_missed_by_a_hair_is_seldom_met(phi: float) -> None:
    """At the true percentile itself the upper end is within the limit in about 2.5 % of samples."""
    rng = np.random.default_rng(11)
    samples, percentile, truth, met = 100, 95.0, 1.6449, 0
    for _ in range(samples):
        runs = [autocorrelated(rng, 4_000, phi) for _ in range(3)]
        value, late = objective_interval(runs, percentile, truth)
        assert (value.high <= truth) is (late.high <= 1.0 - percentile / 100.0 + 1e-12)
        met += value.high <= truth
    assert met / samples <= 0.06
