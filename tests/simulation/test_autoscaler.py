"""The autoscaler against its rule computed by hand, and machines that drain in the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.arrivals import requests_of
from planner.simulation.autoscaler import Orders, ScalingRule, absences, observed_rates, orders
from planner.simulation.engine import simulate_requests
from planner.simulation.specification import Failure

from .affine import AffineSteps, lanes_of

STEP_S = 15.0


def two_levels(rate_per_s: np.ndarray) -> np.ndarray:
    """One machine up to 1 request/s, three above."""
    return np.where(rate_per_s > 1.0, 3, 1)[:, None]


def test_rates_are_counted_over_the_window_and_known_before_the_day() -> None:
    arrival_s = np.arange(0.0, 120.0, 0.5) + 0.25  # two a second
    at_s = np.array([0.0, 30.0, 60.0, 120.0])
    found = observed_rates(arrival_s, at_s, 60.0, lambda t: np.full(t.shape, 4.0))
    assert found == pytest.approx([4.0, (60 + 30 * 4.0) / 60, 2.0, 2.0])


def test_a_rise_counts_at_once_and_a_fall_when_it_has_lasted() -> None:
    # Ten minutes at 0.5/s, five at 2/s, fifteen at 0.5/s.
    parts = [np.arange(0, 600, 2.0), 600 + np.arange(0, 300, 0.5), 900 + np.arange(0, 900, 2.0)]
    rule = ScalingRule(cold_start_s=120.0, hysteresis_s=300.0, window_s=60.0, interval_s=STEP_S)
    found = orders(np.concatenate(parts), 1800.0, rule, two_levels, lambda t: np.full(t.shape, 0.5))
    high = found.at_s[found.counts[:, 0] == 3]
    # 0.5/s and 2/s over 60 s pass 1/s when a third of the window is the new rate, so at the check 30 s after the rise;
    # the last window above 1/s is that of the check at 930 s, and five minutes later the machines go.
    assert (high[0], high[-1]) == (630.0, 900.0 + 30.0 + 300.0)
    assert np.all(np.diff(high) == STEP_S)
    assert found.machine_s()[0] == pytest.approx(1800.0 + 2 * (high.size * STEP_S))
    starting = found.at_s[found.starting(rule.cold_start_s)]
    assert (starting[0], starting[-1]) == (630.0, 630.0 + 120.0 - STEP_S)
    gone = absences(found, rule.cold_start_s, [0], [3])
    assert [(f.machine, f.at_s, f.repaired_s, f.drains) for f in gone] == [
        (m, at, back, True) for m in (1, 2) for at, back in ((0.0, 750.0), (1230.0 + STEP_S, np.inf))
    ]


def test_an_order_taken_back_before_the_machine_serves_is_paid_and_never_serves() -> None:
    counts = np.array([[1], [2], [1], [1]])
    found = Orders(np.arange(4) * STEP_S, counts, 60.0)
    assert absences(found, 100.0, [5], [2]) == [Failure(6, 0.0, drains=True)]
    assert found.machine_s()[0] == 75.0


def test_a_machine_that_drains_finishes_what_it_has_and_gets_nothing_new() -> None:
    """Two machines, long answers: one failed starts its requests again, one drained does not; neither gets new ones."""
    step = AffineSteps()
    n = 40
    requests = requests_of(np.arange(n) * 0.5, np.full(n, 300.0), np.full(n, 200.0))
    lanes = lanes_of(step, "mixed", 0, 0, 2)

    def run(*failures: Failure) -> object:
        return simulate_requests(lanes, [(0, None, 1.0)], {}, requests, failures=failures)

    drained, failed = run(Failure(1, 5.1, drains=True)), run(Failure(1, 5.1))
    assert failed.n_restarted > 0 and drained.n_restarted == 0  # type: ignore[attr-defined]
    assert drained.n_finished == n  # type: ignore[attr-defined]
    # What had come before goes on as if nothing had happened but for company; all that comes later shares one machine.
    both = run()
    before = int(np.searchsorted(requests.arrival_s, 5.1))
    assert drained.first_token_s[:before] == pytest.approx(both.first_token_s[:before])  # type: ignore[attr-defined]
    assert drained.finish_s[-1] > both.finish_s[-1]  # type: ignore[attr-defined]
    back = run(Failure(1, 5.1, 5.2, drains=True))
    assert back.n_finished == n and back.finish_s[-1] < drained.finish_s[-1]  # type: ignore[attr-defined]
