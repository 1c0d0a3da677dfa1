"""Decode pools against processor sharing in closed form and product forms summed without approximation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from planner.serving import decode
from planner.serving.decode import DecodeQueue, Upstream
from planner.serving.erlang import WaitTail, erlang_c
from planner.serving.requests import Lane

from .brute_force import AffineStepTimes
from .pools import PLENTY, at, azure, exponential, fixed

PROPORTIONAL = AffineStepTimes(base_s=0.0, per_sequence_s=1e-3, per_context_s=0.0)
CONSTANT = AffineStepTimes(base_s=0.02, per_sequence_s=0.0, per_context_s=0.0)
AFFINE = AffineStepTimes(base_s=0.02, per_sequence_s=5e-4, per_context_s=1e-7)


@pytest.mark.parametrize("rho", [0.2, 0.6, 0.9])
def test_steps_proportional_to_the_batch_against_mg1_ps(rho: float) -> None:
    """M/G/1 processor sharing: the number in system is geometric, whatever the output lengths."""
    traffic = exponential(500, 100)
    queue = DecodeQueue(Lane(PROPORTIONAL, PLENTY, 250, 1), traffic)
    rate = rho / (traffic.mean_decode_steps * 1e-3)
    state = queue.state(at(rate), at(1))
    n = np.arange(40)
    assert state.probability[0, :40] == pytest.approx((1 - rho) * rho**n, rel=1e-9)
    # Batch n + 1 is what an arrival sees.
    assert state.step_s[0, :40] == pytest.approx(1e-3 * (n + 1), rel=1e-9)


@pytest.mark.parametrize("lanes", [1, 4])
def test_constant_steps_against_mm_infinity(lanes: int) -> None:
    """Nobody slows anybody: the number in system is Poisson."""
    traffic = azure("azure-conv-2023")
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 60, 1), traffic)
    mean = 12.0 * lanes
    rate = mean / (traffic.mean_decode_steps * 0.02)
    probability = queue.state(at(rate), at(lanes)).probability[0]
    poisson = [math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(len(probability))]
    assert probability[: 50 * lanes] == pytest.approx(poisson[: 50 * lanes], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("utilisation", [0.4, 0.8, 0.95])
@pytest.mark.parametrize("lanes", [1, 3, 40, 200])
def test_one_sequence_a_lane_against_erlang_c(lanes: int, utilisation: float) -> None:
    """Lanes that hold one sequence are the servers of M/M/k: KV memory is full when all are busy."""
    traffic = fixed(100, 51)
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 1, 1), traffic)
    rate = utilisation * lanes / (50 * 0.02)
    full = float(queue.state(at(rate), at(lanes)).memory_full[0])
    assert full == pytest.approx(float(erlang_c(lanes, utilisation * lanes)), rel=1e-9)


@pytest.mark.parametrize(("lanes", "most", "rate"), [(1, 6, 0.5), (2, 5, 1.2), (5, 8, 6.0), (7, 30, 40.0)])
def test_product_form_by_brute_force(lanes: int, most: int, rate: float) -> None:
    """pi(n) ~ prod lambda E[g] tbt(b(i/k))/i by factorials, the tail beyond memory summed term by term."""
    traffic = fixed(300, 41)
    queue = DecodeQueue(Lane(AFFINE, PLENTY, most, 1), traffic)

    def seen(i: int) -> float:
        # Lanes hold m or m + 1 of i requests: what a request finds, itself included.
        m, more = divmod(i, lanes)
        return ((lanes - more) * m * m + more * (m + 1) ** 2) / i

    def pace(i: int) -> float:
        held = min(i, lanes * most)
        step = 0.02 + min(seen(held), most) * (5e-4 + 1e-7 * traffic.decode_context_tokens)
        return held / step

    weight = [1.0]
    for i in range(1, 6000):
        weight.append(weight[-1] * rate * 40 / pace(i))
    total = math.fsum(weight)
    state = queue.state(at(rate), at(lanes))
    limit = lanes * most
    assert state.probability[0, :limit] == pytest.approx([w / total for w in weight[:limit]], rel=1e-9)
    assert float(state.memory_full[0]) == pytest.approx(math.fsum(weight[limit:]) / total, rel=1e-6)


@pytest.mark.parametrize("lanes", [30, 100])
@pytest.mark.parametrize("utilisation", [0.3, 0.7, 0.95, 0.99])
def test_the_window_agrees_with_the_exact_sum(monkeypatch: pytest.MonkeyPatch, lanes: int, utilisation: float) -> None:
    traffic = exponential(500, 80)
    lane = Lane(AFFINE, PLENTY, 16, 1)

    def at_a_point() -> tuple[float, float, float]:
        queue = DecodeQueue(lane, traffic)
        rate = queue.stable_rate_per_s(at(lanes)) * utilisation
        state = queue.state(rate, at(lanes))
        limit = np.full(traffic.weight.shape, 0.0253)
        late = state.share(queue.late_tbt(limit, np.zeros_like(limit)))
        return float(state.mean_batch()[0]), float(late[0]), float(state.memory_full[0])

    windowed = at_a_point()
    monkeypatch.setattr(decode, "STATES_AT_ONCE", 4096)
    exact = at_a_point()
    assert windowed[0] == pytest.approx(exact[0], rel=2e-3)
    assert windowed[1] == pytest.approx(exact[1], abs=0.01)
    assert windowed[2] == pytest.approx(exact[2], rel=0.1, abs=1e-5)


def test_no_jump_where_the_window_takes_over() -> None:
    traffic = azure("azure-conv-2023")
    queue = DecodeQueue(Lane(AFFINE, PLENTY, 16, 1), traffic)
    lanes = np.arange(10.0, 24.0)
    state = queue.state(queue.stable_rate_per_s(lanes) * 0.8, lanes)
    batch = state.mean_batch()
    assert np.ptp(batch) / batch.mean() < 0.02
    assert np.all(np.abs(np.diff(batch)) < 0.01 * batch[1:])


def test_a_single_gap_waits_for_the_running_step() -> None:
    """Requests of two tokens: TBT is their step and the rest of the one that ran when they came."""
    traffic = fixed(100, 2)
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 64, 1), traffic)
    state = queue.state(at(20.0 / 0.02), at(1))  # always busy
    limits = (0.0199, 0.025, 0.035, 0.0401)
    late = [float(state.share(queue.late_tbt(np.array([limit]), np.zeros(1)))[0]) for limit in limits]
    assert late == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0], abs=0.01)


def test_transfer_lengthens_the_first_gap_only() -> None:
    traffic = fixed(100, 11)
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 64, 1), traffic)
    state = queue.state(at(1e-6), at(1))
    transfer = np.array([0.05])
    late = [float(state.share(queue.late_tbt(np.array([limit]), transfer))[0]) for limit in (0.0249, 0.0251)]
    assert late == pytest.approx([1.0, 0.0], abs=1e-3)


def test_end_to_end_adds_up() -> None:
    traffic = fixed(100, 11)
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 64, 1), traffic)
    upstream = Upstream(WaitTail(np.float64(0.5), np.float64(10.0)), np.array([0.1]), np.array([0.05]))
    state = queue.state(at(1e-6), at(1))
    unloaded = 0.1 + 0.05 + 10 * 0.02
    for beyond in (0.0, 0.1, 0.3):
        late = float(state.share(queue.late_e2e(np.array([unloaded + beyond + 1e-9]), upstream))[0])
        assert late == pytest.approx(0.5 * math.exp(-10 * beyond), abs=2e-3)


def test_requests_of_one_token_need_no_decoding() -> None:
    traffic = fixed(100, 1)
    queue = DecodeQueue(Lane(CONSTANT, PLENTY, 64, 1), traffic)
    upstream = Upstream(WaitTail(np.float64(0.0), np.float64(1.0)), np.array([0.1]), np.array([0.05]))
    state = queue.state(at(5.0), at(1))
    assert float(state.share(queue.late_tbt(np.array([1e-6]), np.zeros(1)))[0]) == pytest.approx(0.0, abs=1e-9)
    # Neither transfer nor a step: the prompt is all there is.
    assert float(state.share(queue.late_e2e(np.array([0.11]), upstream))[0]) == pytest.approx(0.0, abs=1e-6)


def test_burstier_arrivals_spread_the_batch() -> None:
    """Peakedness z: the variance of the number in system is z times as large."""
    smooth, bursty = azure("azure-conv-2023"), azure("azure-conv-2023", 3.0)
    spread = []
    for traffic in (smooth, bursty):
        queue = DecodeQueue(Lane(replace(CONSTANT), PLENTY, 200, 1), traffic)
        state = queue.state(at(60.0 / (traffic.mean_decode_steps * 0.02)), at(1))
        mean = state.mean_batch()[0]
        spread.append(float(((state.batch - mean) ** 2 * state.probability).sum()))
    assert spread[1] / spread[0] == pytest.approx(2.0, rel=0.02)
