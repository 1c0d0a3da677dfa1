"""The fit's minimiser: bounds, priors, outliers, and scipy's own soft-L1 loss where there is no prior."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.calibration.least_squares import minimise

scipy_optimize = pytest.importorskip("scipy.optimize")


def roofline(x: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """A small roofline: max of compute and memory, plus overhead."""
    rate, stream, overhead = np.exp(x)
    return np.maximum(tokens / rate, 1.0 / stream) + overhead  # type: ignore[no-any-return]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), outliers=st.integers(0, 3))
def test_minimum_is_that_of_scipy(seed: int, outliers: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = np.geomspace(1, 8192, 24)
    truth = np.log([4000.0, 6.0, 0.02])
    measured = np.log(roofline(truth, tokens)) + rng.normal(0, 0.03, tokens.size)
    measured[rng.choice(tokens.size, outliers, replace=False)] += 1.0
    lower, upper = np.log([100.0, 0.1, 1e-5]), np.log([1e5, 1e3, 1.0])
    start = np.log([2000.0, 3.0, 0.05])

    def residuals(x: np.ndarray) -> np.ndarray:
        return (np.log(roofline(x, tokens)) - measured) / 0.05  # type: ignore[no-any-return]

    free = np.full(3, np.inf)
    found = minimise(residuals, start, lower, upper, start, free)
    # Outliers make several minima, so scipy starts where the fit ended, and must find nothing better there.
    inside = np.clip(found.values, lower + 1e-9, upper - 1e-9)
    oracle = scipy_optimize.least_squares(residuals, inside, bounds=(lower, upper), loss="soft_l1", xtol=1e-12)
    assert found.cost <= oracle.cost * 1.0001 + 1e-9
    assert np.all((found.values >= lower) & (found.values <= upper))


def test_bounds_hold_and_bind() -> None:
    lower, upper = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    found = minimise(
        lambda x: np.array([x[0] - 5.0, x[1] - 0.25]), np.array([0.5, 0.5]), lower, upper,
        np.array([0.5, 0.5]), np.full(2, np.inf),
    )  # fmt: skip
    assert found.values == pytest.approx([1.0, 0.25], abs=1e-6)


def test_prior_alone_is_kept() -> None:
    prior, sd = np.array([0.3, -2.0]), np.array([0.1, 2.0])
    found = minimise(lambda x: np.zeros(3), np.zeros(2), np.full(2, -9.0), np.full(2, 9.0), prior, sd)
    assert found.values == pytest.approx(prior, abs=1e-6)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(sd)


def test_the_search_is_loaded_when_a_fit_begins_and_not_before() -> None:
    code = "import sys, planner, planner.calibration, planner.cli.main; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
