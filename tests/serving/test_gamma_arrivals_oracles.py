"""Gamma arrivals at exponential servers against closed forms and a simulation."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from planner.serving.erlang import erlang_c, ggk_wait
from planner.serving.gamma_arrivals import Burstiness, found_ratio, wait_probability

LOADS = np.array([0.05, 0.3, 0.6, 0.9, 0.98])


def test_poisson_arrivals_find_what_is_there() -> None:
    assert found_ratio(LOADS, 1.0) == pytest.approx(LOADS, rel=1e-9)
    for k in (1, 2, 5, 12, 40, 200):
        assert wait_probability(k, k * LOADS, 1.0) == pytest.approx(erlang_c(k, k * LOADS), rel=2e-4, abs=1e-12)


def test_even_arrivals_against_the_table_of_d_m_1() -> None:
    """sigma = exp(-(1 - sigma)/rho): 0.2032 at rho = 0.5 and 0.8069 at 0.9."""
    assert found_ratio([0.5, 0.9], 0.0) == pytest.approx([0.2032, 0.8069], abs=1e-4)


def test_two_stages_of_arrival_against_the_root_of_a_cubic() -> None:
    """E2/M/1: sigma (1 + (1 - sigma)/(2 rho))^2 = 1."""
    for rho in (0.2, 0.5, 0.85):
        y = 1.0 / (2.0 * rho)
        roots = np.roots([y * y, -2.0 * y * (1.0 + y), (1.0 + y) ** 2, -1.0])
        expected = min(r.real for r in roots if abs(r.imag) < 1e-9 and 0 < r.real < 1 - 1e-6)
        assert float(found_ratio(rho, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_heavy_traffic_is_kingmans() -> None:
    for cv2 in (0.25, 4.0, 9.0):
        sigma = float(found_ratio(0.9999, cv2))
        assert (1.0 - 0.9999) / (1.0 - sigma) == pytest.approx((1.0 + cv2) / 2.0, rel=0.01)
        bursts = Burstiness(cv2)
        for z in (bursts.queue(np.array(1.0)), bursts.decay(np.array(1.0))):
            assert float(z) == pytest.approx((1.0 + cv2) / 2.0)


@pytest.mark.parametrize(
    ("servers", "utilisation", "cv2"), [(1, 0.3, 9.0), (3, 0.6, 9.0), (10, 0.8, 4.0), (5, 0.7, 0.25)]
)
def test_waiting_against_a_simulation(servers: int, utilisation: float, cv2: float) -> None:
    rng, n = np.random.default_rng(3), 60_000
    arrivals = np.cumsum(rng.gamma(1.0 / cv2, cv2 / (utilisation * servers), n)).tolist()
    service = rng.exponential(1.0, n).tolist()
    free, waits = [0.0] * servers, np.empty(n)
    for i in range(n):
        start = max(free[0], arrivals[i])
        waits[i] = start - arrivals[i]
        heapq.heapreplace(free, start + service[i])
    wait = ggk_wait(utilisation * servers, servers, 1.0, 1.0, cv2)
    assert float(wait.probability) == pytest.approx(float((waits > 0).mean()), rel=0.04)
    assert float(wait.probability / wait.decay_per_s) == pytest.approx(waits.mean(), rel=0.1)
    assert float(wait.exceeds(np.quantile(waits, 0.95))) == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize("cv2", [0.25, 2.0, 9.0, 25.0])
def test_more_load_or_fewer_servers_wait_more(cv2: float) -> None:
    servers = np.array([1.0, 2.0, 5.0, 17.0, 90.0, 255.0, 257.0, 1000.0, 20_000.0])
    loads = np.linspace(0.02, 0.999, 60)
    waits = wait_probability(servers[:, None], servers[:, None] * loads, cv2)
    assert np.all((waits >= 0) & (waits <= 1))
    assert np.all(np.diff(waits, axis=1) >= -1e-9)
    assert np.all(np.diff(waits, axis=0) <= 1e-6)
    assert np.all(wait_probability(servers, servers * 1.2, cv2) == 1.0)
    ratio = found_ratio(loads, cv2)
    assert np.all(np.diff(ratio) > 0)
    assert np.all(ratio >= loads) if cv2 > 1 else np.all(ratio <= loads)
