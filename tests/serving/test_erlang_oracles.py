"""Waiting formulas against closed forms and exact sums."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from planner.serving.erlang import blocking_integral, blocking_recursion, erlang_b, erlang_c, ggk_wait


def exact_blocking(k: int, load: Fraction) -> float:
    """B(k, a) = (a^k/k!) / sum_{j<=k} a^j/j! in rational numbers."""
    term, total = Fraction(1), Fraction(1)
    for j in range(1, k + 1):
        term = term * load / j
        total += term
    return float(term / total)


def slow_blocking(k: int, load: float) -> float:
    """The same from logarithms, summed without loss."""
    logs = [j * math.log(load) - math.lgamma(j + 1.0) for j in range(k + 1)]
    top = max(logs)
    return math.exp(logs[k] - top) / math.fsum(math.exp(x - top) for x in logs)


@pytest.mark.parametrize("k", [1, 2, 5, 9, 12, 13, 20, 60])
@pytest.mark.parametrize("load_of", [Fraction(1, 50), Fraction(3, 10), Fraction(4, 5), Fraction(1), Fraction(13, 10)])
def test_erlang_b_against_exact_fractions(k: int, load_of: Fraction) -> None:
    load = load_of * k
    assert float(erlang_b(k, float(load))) == pytest.approx(exact_blocking(k, load), rel=1e-11)


@pytest.mark.parametrize("k", [200, 1000, 5000, 50_000])
@pytest.mark.parametrize("load_of", [0.5, 0.9, 0.99, 0.9999, 1.05])
def test_erlang_b_of_many_servers_against_a_slow_sum(k: int, load_of: float) -> None:
    # lgamma of 5e4 has lost six digits to size; nothing cancels beyond that.
    assert float(erlang_b(k, load_of * k)) == pytest.approx(slow_blocking(k, load_of * k), rel=1e-8, abs=1e-290)


@pytest.mark.parametrize("k", [12, 100, 500, 2000])
def test_the_integral_agrees_with_the_recursion(k: int) -> None:
    load = np.array([0.25, 0.5, 0.8, 0.95, 1.0, 1.2]) * k
    servers = np.full(load.shape, float(k))
    assert blocking_integral(servers, load) == pytest.approx(blocking_recursion(servers, load), rel=1e-11)


def test_erlang_c_against_mm1_and_mm2() -> None:
    load = np.array([0.0, 0.1, 0.5, 0.9, 0.999])
    assert erlang_c(1, load) == pytest.approx(load, rel=1e-12)
    # M/M/2: 2 rho^2 / (1 + rho).
    assert erlang_c(2, 2 * load) == pytest.approx(2 * load**2 / (1 + load), rel=1e-12)


def test_erlang_c_is_certain_where_the_queue_grows() -> None:
    assert erlang_c([1, 3, 400], [1.0, 3.5, 401.0]).tolist() == [1.0, 1.0, 1.0]


def test_erlang_c_by_brute_force_states() -> None:
    """Stationary distribution of M/M/7 by iterating its birth and death rates."""
    k, load = 7, 5.5
    states = [1.0]
    for n in range(1, 4000):
        states.append(states[-1] * load / min(n, k))
    total = math.fsum(states)
    assert float(erlang_c(k, load)) == pytest.approx(math.fsum(states[k:]) / total, rel=1e-12)


def test_waiting_tail_against_mm1() -> None:
    """P(W > t) = rho exp(-mu (1 - rho) t)."""
    rate, mean = 4.0, 0.2
    wait = ggk_wait(rate, 1, mean, 1.0, 1.0)
    t = np.array([0.0, 0.1, 1.0, 5.0])
    assert wait.exceeds(t) == pytest.approx(0.8 * np.exp(-(1 / mean - rate) * t), rel=1e-12)
    assert float(wait.exceeds(np.array(-0.1))) == 1.0


def test_waiting_tail_against_mmk() -> None:
    """P(W > t) = C(k, a) exp(-(k mu - lambda) t)."""
    k, mean, rate = 5, 0.5, 8.0
    wait = ggk_wait(rate, k, mean, 1.0, 1.0)
    expected = float(erlang_c(k, rate * mean)) * math.exp(-(k / mean - rate) * 0.7)
    assert float(wait.exceeds(np.array(0.7))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cv2", [0.0, 0.4, 1.0, 3.0])
def test_mean_wait_against_pollaczek_khinchine(cv2: float) -> None:
    rate, mean = 3.0, 0.25
    wait = ggk_wait(rate, 1, mean, cv2, 1.0)
    second = mean**2 * (1 + cv2)
    expected = rate * second / (2 * (1 - rate * mean))
    assert float(wait.probability / wait.decay_per_s) == pytest.approx(expected, rel=1e-12)
