"""Mixed pools against busy periods in closed form and the laws they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.serving.mixed import (
    PROMPTS_LOG_FACTORIAL,
    PROMPTS_MET,
    MixedQueue,
    gamma_tail,
    generalised_poisson,
    met_share,
    normal_tail,
)
from planner.serving.requests import Lane, Traffic
from planner.workload.sizes import RequestSizes

from .brute_force import AffineStepTimes, simulate
from .pools import PLENTY, at, azure, fixed

STEP = AffineStepTimes(base_s=0.02, per_token_s=1e-4, per_sequence_s=2e-4, per_context_s=1e-7)


def test_normal_tail_against_erfc() -> None:
    z = np.linspace(-6, 6, 61)
    assert normal_tail(z) == pytest.approx([0.5 * math.erfc(x / math.sqrt(2)) for x in z], abs=2e-7)


def test_gamma_tail_against_erlang() -> None:
    """A gamma law of shape 9: the sum of nine exponentials."""
    shape, mean = 9, 18.0
    for y in (8.0, 18.0, 30.0, 45.0):
        rate = shape / mean
        exact = math.exp(-rate * y) * sum((rate * y) ** j / math.factorial(j) for j in range(shape))
        approximate = gamma_tail(np.array(y), np.array(mean), np.array(mean**2 / shape))
        assert float(approximate) == pytest.approx(exact, abs=2e-3)


def test_log_factorials() -> None:
    tabulated = PROMPTS_LOG_FACTORIAL.tolist()
    assert tabulated == pytest.approx([math.lgamma(x + 1) for x in PROMPTS_MET], abs=5e-6)


@pytest.mark.parametrize(("theta", "h"), [(0.2, 0.0), (0.5, 0.5), (3.0, 0.3), (2.0, 0.7), (4.0, -0.15)])
def test_generalised_poisson_against_its_moments(theta: float, h: float) -> None:
    """Consul and Jain 1973: mean theta/(1 - h), variance theta/(1 - h)^3."""
    probability = generalised_poisson(np.array([[theta]]), np.array([[[h]]]).reshape(1, 1))[0]
    mean = float(probability @ PROMPTS_MET)
    assert mean == pytest.approx(theta / (1 - h), rel=0.02)
    variance = float(probability @ (PROMPTS_MET - mean) ** 2)
    assert variance == pytest.approx(theta / (1 - h) ** 3, rel=0.06)


def test_generalised_poisson_is_the_progeny_of_arrivals_during_service() -> None:
    """Prompts that arrive while prompts are computed: count them one by one."""
    rng = np.random.default_rng(5)
    theta, h = 0.8, 0.6
    total = []
    for _ in range(40_000):
        waiting = met = int(rng.poisson(theta))
        while waiting:
            waiting = int(rng.poisson(h * waiting))
            met += waiting
        total.append(met)
    probability = generalised_poisson(np.array([[theta]]), np.array([[h]]))[0]
    counted = np.bincount(total, minlength=9)[:9] / len(total)
    assert probability[:9] == pytest.approx(counted, abs=0.006)


def test_join_shortest_queue_meets_fewer() -> None:
    batch, none = np.array([0.0, 0.3, 1.0, 5.0, 50.0]), np.zeros(5)
    assert met_share(batch, none, np.ones(5), 1.0) == pytest.approx(np.ones(5))
    many = met_share(batch, none, np.full(5, 1e8), 1.0)
    assert many[1] == pytest.approx(0.0, abs=1e-3), "a lane is free"
    assert many[3:] == pytest.approx([4 / 5, 49 / 50])
    some = met_share(np.full(3, 5.0), np.zeros(3), np.array([2.0, 10.0, 100.0]), 1.0)
    assert np.all(np.diff(some) < 0)


@pytest.mark.parametrize(("lanes", "prompt_share"), [(40, 0.3), (40, 0.6), (4, 0.5)])
def test_prompts_met_under_join_shortest_queue_by_brute_force(lanes: int, prompt_share: float) -> None:
    """Sequences decoding beside each other on lanes that prompts choose by their queues."""
    traffic = fixed(1000, 25)
    step = AffineStepTimes(base_s=0.02, per_token_s=8e-5, per_sequence_s=1e-6, per_context_s=0.0)
    queue = MixedQueue(Lane(step, PLENTY, 256, 1), traffic)
    rate = prompt_share / float(queue.alone_s[0]) * lanes
    measured = simulate(step.scalar, traffic, "mixed", rate, lanes, 300 * lanes + 4000, 7, token_budget=1)
    batch = float(queue.batch_at(at(rate), at(lanes))[0])
    assert batch == pytest.approx(measured.mean_batch, rel=0.1)


@pytest.mark.parametrize("prompt_share", [0.2, 0.5, 0.7])
def test_decoding_time_of_one_lane_against_a_busy_period(prompt_share: float) -> None:
    """Long answers on one lane: each plain step is followed by the busy period of the prompts that came meanwhile.

    g steps, of which X carry a prompt, and X = l (g - X) t_d / (1 - r): the prompts of a step's busy period.
    """
    traffic = fixed(1000, 20_001)
    step = AffineStepTimes(base_s=0.02, per_token_s=1e-4, per_sequence_s=0.0, per_context_s=0.0)
    queue = MixedQueue(Lane(step, PLENTY, 8000, 1), traffic)
    decode_s, prompt_s = 0.02, 0.12
    rate = prompt_share / prompt_s
    plain = 20_000 / (1 + rate * decode_s / (1 - prompt_share))
    expected = rate * (plain * decode_s + (20_000 - plain) * prompt_s)
    assert float(queue.batch_at(at(rate), at(1))[0]) == pytest.approx(expected, rel=0.02)


def test_rate_and_batch_are_inverse() -> None:
    queue = MixedQueue(Lane(STEP, PLENTY, 256, 2048), azure("azure-conv-2023"))
    lanes = np.array([1.0, 2.0, 7.0, 40.0, 900.0])
    for batch in (0.3, 2.0, 17.0, 120.0):
        state = queue.state(np.full(5, batch), lanes)
        assert queue.batch_at(state.rate_per_s * lanes, lanes) == pytest.approx(np.full(5, batch), rel=1e-6)


def test_a_rate_that_cannot_be_carried_has_no_batch() -> None:
    queue = MixedQueue(Lane(STEP, PLENTY, 256, 2048), azure("azure-conv-2023"))
    too_much = queue.stable_rate_per_s(at(4)) * 1.01
    assert np.isinf(queue.batch_at(too_much, at(4))[0])


def test_light_load_is_unloaded_latency() -> None:
    traffic = fixed(1000, 101)
    queue = MixedQueue(Lane(STEP, PLENTY, 256, 2048), traffic)
    state = queue.state(at(1e-6), at(4))
    alone = STEP.scalar(1000, 500_500, 1, 0, 0)
    step = STEP.scalar(0, 0, 0, 1, traffic.decode_context_tokens)
    for late, unloaded in (
        (queue.exceeds_ttft, alone), (queue.exceeds_tbt, step), (queue.exceeds_e2e, alone + 100 * step)
    ):  # fmt: skip
        assert float(late(np.array([unloaded * 1.03]), state, at(4))[0]) < 1e-3
        assert float(late(np.array([unloaded * 0.99]), state, at(4))[0]) > 0.999


def test_prompts_met_on_one_lane_by_brute_force() -> None:
    """Mean time to decode, short answers: prompts behind one's own count."""
    traffic = Traffic(RequestSizes.equally_weighted([500, 1500], [13, 13], "short"))
    queue = MixedQueue(Lane(STEP, PLENTY, 256, 1), traffic)
    rate = 0.5 / float(traffic.weight @ queue.alone_s)
    measured = simulate(STEP.scalar, traffic, "mixed", rate, 1, 40_000, 7, token_budget=1)
    batch = float(queue.batch_at(at(rate), at(1))[0])
    assert batch == pytest.approx(measured.mean_batch, rel=0.1)
