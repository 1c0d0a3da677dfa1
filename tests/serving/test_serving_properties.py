"""What must hold of pools whatever their requests and lanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.serving.capacity import decode_capacity, mixed_capacity, prefill_capacity
from planner.serving.decode import DecodeQueue, Upstream
from planner.serving.erlang import WaitTail
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Lane, Limit, Traffic
from planner.workload.objectives import parse_objectives
from planner.workload.sizes import RequestSizes

from .brute_force import AffineStepTimes
from .pools import at, azure

Floats = NDArray[np.float64]
LATE_TOLERANCE = 2e-3  # of a share: states are summed over grids


@st.composite
def lanes_of(draw: st.DrawFn) -> Lane:
    step = AffineStepTimes(
        base_s=draw(st.floats(1e-3, 0.1)),
        per_token_s=draw(st.floats(1e-6, 1e-3)),
        per_pair_s=draw(st.floats(0.0, 1e-8)),
        per_sequence_s=draw(st.floats(0.0, 3e-3)),
        per_context_s=draw(st.floats(0.0, 1e-6)),
    )
    kv_tokens = draw(st.floats(2e4, 1e7))
    return Lane(step, kv_tokens, draw(st.integers(4, 512)), draw(st.sampled_from([1, 2048, 8192])))


@st.composite
def traffics(draw: st.DrawFn) -> Traffic:
    n = draw(st.integers(1, 12))
    prompts = draw(st.lists(st.integers(1, 8000), min_size=n, max_size=n))
    outputs = draw(st.lists(st.integers(1, 1000), min_size=n, max_size=n))
    weight = np.array(draw(st.lists(st.floats(0.05, 1.0), min_size=n, max_size=n)))
    cv2 = draw(st.sampled_from([0.25, 1.0, 1.0, 4.0]))
    return Traffic(RequestSizes(np.array(prompts), np.array(outputs), weight / weight.sum(), "drawn"), cv2)


@settings(max_examples=25, deadline=None)
@given(lanes_of(), traffics(), st.integers(1, 300), st.floats(1.0, 10.0))
def test_prefill_lateness_is_a_probability_and_monotone(lane: Lane, traffic: Traffic, k: int, factor: float) -> None:
    queue = PrefillQueue(lane, traffic)
    lanes = np.full(9, float(k))
    rates = queue.stable_rate_per_s(lanes) * np.linspace(0.05, 0.97, 9)
    late = queue.exceeds(factor * queue.alone_s, rates, lanes)
    assert np.all((late >= 0) & (late <= 1 + 1e-9))
    assert np.all(np.diff(late) >= -LATE_TOLERANCE), "more requests, fewer late"
    later = queue.exceeds(1.3 * factor * queue.alone_s, rates, lanes)
    assert np.all(later <= late + LATE_TOLERANCE), "a looser limit, more late"


@settings(max_examples=25, deadline=None)
@given(lanes_of(), traffics(), st.integers(1, 300), st.floats(1.05, 10.0))
def test_decode_lateness_is_a_probability_and_monotone(lane: Lane, traffic: Traffic, k: int, factor: float) -> None:
    queue = DecodeQueue(lane, traffic)
    lanes = np.full(7, float(k))
    state = queue.state(queue.stable_rate_per_s(lanes) * np.linspace(0.05, 0.97, 7), lanes)
    total = state.probability.sum(axis=1) + state.memory_full
    assert total == pytest.approx(np.ones(7), abs=1e-9)
    transfer = np.full(traffic.weight.shape, 0.01)
    upstream = Upstream(WaitTail(np.float64(0.3), np.float64(2.0)), transfer, transfer)
    alone = queue.step_time_s(np.float64(1.0))
    for curve_of in (
        lambda v: queue.late_tbt(v * np.full(traffic.weight.shape, alone), transfer),
        lambda v: queue.late_e2e(v * (alone * (traffic.decode_steps + 1.0) + 0.1), upstream),
    ):
        late = state.share(curve_of(factor))
        assert np.all((late >= -1e-9) & (late <= 1 + 1e-9))
        assert np.all(np.diff(late) >= -LATE_TOLERANCE)
        assert np.all(state.share(curve_of(1.3 * factor)) <= late + 1e-9)


@settings(max_examples=25, deadline=None)
@given(lanes_of(), traffics(), st.integers(1, 300), st.floats(1.05, 10.0))
def test_mixed_lateness_is_a_probability_and_monotone_in_the_limit(
    lane: Lane, traffic: Traffic, k: int, factor: float
) -> None:
    queue = MixedQueue(lane, traffic)
    lanes = np.full(7, float(k))
    state = queue.state(queue.largest_batch * np.linspace(0.02, 0.98, 7), lanes)
    assert np.all((state.memory_full >= 0) & (state.memory_full <= 1))
    assert np.all(np.diff(state.rate_per_s) >= -1e-9)
    limit = factor * np.full(traffic.weight.shape, 1.0)
    for late_of in (queue.exceeds_ttft, queue.exceeds_tbt, queue.exceeds_e2e):
        late = late_of(limit, state, lanes)
        assert np.all((late >= -1e-6) & (late <= 1 + 1e-6))
        assert np.all(late_of(1.3 * limit, state, lanes) <= late + LATE_TOLERANCE)


@settings(max_examples=25, deadline=None)
@given(lanes_of(), traffics(), st.integers(1, 60), st.sampled_from([0.1, 10.0]))
def test_nothing_depends_on_the_unit_of_time(lane: Lane, traffic: Traffic, k: int, scale: float) -> None:
    assert isinstance(lane.step, AffineStepTimes)
    slower = replace(
        lane.step,
        base_s=lane.step.base_s * scale, per_token_s=lane.step.per_token_s * scale,
        per_pair_s=lane.step.per_pair_s * scale, per_sequence_s=lane.step.per_sequence_s * scale,
        per_context_s=lane.step.per_context_s * scale,
    )  # fmt: skip
    other = replace(lane, step=slower)
    limit, lanes = np.full(traffic.weight.shape, 1.0), at(k)
    prefill, scaled = PrefillQueue(lane, traffic), PrefillQueue(other, traffic)
    rate = prefill.stable_rate_per_s(lanes) * 0.7
    assert scaled.exceeds(limit * scale, rate / scale, lanes) == pytest.approx(
        prefill.exceeds(limit, rate, lanes), abs=1e-6
    )
    decode, scaled_decode = DecodeQueue(lane, traffic), DecodeQueue(other, traffic)
    rate = decode.stable_rate_per_s(lanes) * 0.7
    assert scaled_decode.state(rate / scale, lanes).mean_batch() == pytest.approx(
        decode.state(rate, lanes).mean_batch(), rel=1e-6
    )
    mixed, scaled_mixed = MixedQueue(lane, traffic), MixedQueue(other, traffic)
    batch = at(mixed.largest_batch / 2)
    a, b = mixed.state(batch, lanes), scaled_mixed.state(batch, lanes)
    assert b.rate_per_s * scale == pytest.approx(a.rate_per_s, rel=1e-6)
    late = mixed.exceeds_tbt(limit, a, lanes)
    assert scaled_mixed.exceeds_tbt(limit * scale, b, lanes) == pytest.approx(late, abs=1e-6)


STEP = AffineStepTimes(base_s=0.02, per_token_s=1e-4, per_sequence_s=2e-4, per_context_s=1.2e-7)


def limits(traffic: Traffic, *texts: str) -> list[Limit]:
    return [Limit(o, np.ones_like(traffic.weight)) for o in parse_objectives(texts)]


def curves(name: str) -> dict[str, Floats]:
    """Capacity of 1..60 lanes in each role."""
    traffic = azure(name)
    lane = Lane(STEP, 4e5, 256, 8192)
    counts = np.arange(1, 61)
    none = np.zeros_like(traffic.weight)
    upstream = Upstream(WaitTail(np.float64(0.2), np.float64(4.0)), none + 0.15, none)
    all_limits = limits(traffic, "ttft.p99=2s", "tbt.p99=150ms", "e2e.p90=40s")
    return {
        "prefill": prefill_capacity(PrefillQueue(lane, traffic), all_limits, counts, 1, 0.9).rate_per_s,
        "decode": decode_capacity(DecodeQueue(lane, traffic), all_limits, [(1.0, upstream)], counts, 1).rate_per_s,
        "mixed": mixed_capacity(MixedQueue(lane, traffic), all_limits, counts, 1, 0.9).rate_per_s,
    }


@pytest.fixture(scope="module", params=["azure-conv-2023", "azure-code-2023"])
def capacity(request: pytest.FixtureRequest) -> dict[str, Floats]:
    return curves(request.param)


@pytest.mark.parametrize("role", ["prefill", "decode", "mixed"])
def test_capacity_grows_faster_than_the_pool(capacity: dict[str, Floats], role: str) -> None:
    """Two pools never carry more than one pool of all their machines."""
    curve = np.concatenate([[0.0], capacity[role]])
    assert curve[-1] > 0
    assert np.all(np.diff(curve) >= 0)
    together = np.array([[curve[a + b] - curve[a] - curve[b] for b in range(1, 30)] for a in range(1, 30)])
    assert together.min() >= -0.005 * curve[30]


@pytest.mark.parametrize("role", ["prefill", "decode", "mixed"])
def test_capacity_is_nearly_convex_for_large_pools(capacity: dict[str, Floats], role: str) -> None:
    """Between points of the curve the straight line is no more than a per cent below it."""
    curve = capacity[role]
    for k in range(24, 52):
        assert (curve[k - 8] + curve[k + 8]) / 2 >= 0.99 * curve[k]


def test_capacity_is_the_edge_of_the_objective() -> None:
    traffic = azure("azure-conv-2023")
    lane, counts = Lane(STEP, 4e5, 256, 8192), np.array([1, 2, 5, 20])
    queue, lanes = PrefillQueue(lane, traffic), counts.astype(float)
    (limit,) = limits(traffic, "ttft.p99=2s")
    rate = prefill_capacity(queue, [limit], counts, 1, 0.95).rate_per_s
    assert np.all(queue.exceeds(limit.limit_s, rate, lanes) <= 0.01)
    above = rate * 1.003
    assert np.all((queue.exceeds(limit.limit_s, above, lanes) > 0.01) | (queue.utilisation(above, lanes) > 0.95))


def test_an_objective_that_no_light_load_meets_has_no_capacity() -> None:
    traffic = azure("azure-conv-2023")
    lane, counts = Lane(STEP, 4e5, 256, 8192), np.array([1, 50])
    impossible = limits(traffic, "ttft.p99=30ms", "tbt.p50=10ms")
    assert prefill_capacity(PrefillQueue(lane, traffic), impossible, counts, 1, 0.9).rate_per_s.tolist() == [0, 0]
    assert mixed_capacity(MixedQueue(lane, traffic), impossible, counts, 1, 0.9).rate_per_s.tolist() == [0, 0]


def test_a_pool_without_ttft_objective_is_bounded_by_utilisation() -> None:
    traffic = azure("azure-conv-2023")
    queue, counts = PrefillQueue(Lane(STEP, 4e5, 256, 8192), traffic), np.array([1, 7])
    rate = prefill_capacity(queue, limits(traffic, "tbt.p99=1s"), counts, 1, 0.9).rate_per_s
    assert rate == pytest.approx(0.9 * queue.stable_rate_per_s(counts.astype(float)))
