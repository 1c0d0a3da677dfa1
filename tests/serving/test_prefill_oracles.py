"""Prefill pools against closed forms of queueing theory."""

from __future__ import annotations

import numpy as np
import pytest

from planner.serving.erlang import erlang_c
from planner.serving.prefill import PrefillQueue, full_steps
from planner.serving.requests import Lane, Traffic
from planner.workload.sizes import RequestSizes

from .brute_force import AffineStepTimes
from .pools import PLENTY, at, azure, exponential, fixed

STEP = AffineStepTimes(base_s=0.01, per_token_s=1e-4)
ONE_BY_ONE = Lane(STEP, PLENTY, 256, token_budget=1)


def mean_wait(queue: PrefillQueue, rate: float, lanes: int) -> float:
    wait = queue.wait(at(rate), at(lanes))
    return float(wait.probability[0] / wait.decay_per_s[0])


@pytest.mark.parametrize("utilisation", [0.2, 0.5, 0.8, 0.9])
@pytest.mark.parametrize("traffic", [fixed(1000, 2), exponential(1000, 2), azure("azure-conv-2023")])
def test_mean_wait_of_one_lane_against_pollaczek_khinchine(traffic: Traffic, utilisation: float) -> None:
    queue = PrefillQueue(ONE_BY_ONE, traffic)
    mean = float(traffic.weight @ queue.alone_s)
    second = float(traffic.weight @ queue.alone_s**2)
    rate = utilisation / mean
    assert mean_wait(queue, rate, 1) == pytest.approx(rate * second / (2 * (1 - utilisation)), rel=0.03)


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.85])
def test_mean_ttft_against_distserve(utilisation: float) -> None:
    """DistServe, arXiv 2401.09670, eq. 1: D + R D^2 / (2 (1 - R D)) for prompts of one length."""
    queue = PrefillQueue(ONE_BY_ONE, fixed(1000, 2))
    d = 0.01 + 0.1
    r = utilisation / d
    expected = d + r * d**2 / (2 * (1 - r * d))
    assert float(queue.alone_s[0]) + mean_wait(queue, r, 1) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("lanes", [1, 3, 20, 300])
@pytest.mark.parametrize("utilisation", [0.3, 0.7, 0.9])
def test_chance_of_waiting_against_erlang_c(lanes: int, utilisation: float) -> None:
    queue = PrefillQueue(ONE_BY_ONE, exponential(1000, 2))
    rate = float(queue.stable_rate_per_s(at(lanes))[0]) * utilisation
    assert float(queue.wait(at(rate), at(lanes)).probability[0]) == pytest.approx(
        float(erlang_c(lanes, utilisation * lanes)), rel=0.01, abs=1e-9
    )


def test_waiting_tail_of_one_lane_against_mm1() -> None:
    """Service that is exponential in the limit: P(W > t) = rho exp(-(1 - rho) t / E[S])."""
    traffic = exponential(2000, 2, points=400)
    traffic = Traffic(RequestSizes.equally_weighted(traffic.prompt_tokens[:400], np.full(400, 2.0), "exponential"))
    step = AffineStepTimes(base_s=1e-6, per_token_s=1e-4)
    queue = PrefillQueue(Lane(step, PLENTY, 256, 1), traffic)
    mean, rho = float(traffic.weight @ queue.alone_s), 0.7
    for t in (0.2, 0.5, 1.0, 2.0):
        # TTFT of M/M/1 is exponential with mean E[S] / (1 - rho).
        late = queue.exceeds(np.full(400, t), at(rho / mean), at(1))
        assert float(late[0]) == pytest.approx(np.exp(-(1 - rho) * t / mean), rel=0.12)


def test_a_light_load_sees_its_own_time_alone() -> None:
    traffic = azure("azure-code-2023")
    queue = PrefillQueue(Lane(STEP, PLENTY, 256, 8192), traffic)
    limit = np.full(traffic.weight.shape, 0.3)
    late = float(traffic.weight[queue.alone_s > 0.3].sum())
    assert queue.exceeds(limit, at(1e-6), at(4)) == pytest.approx(late, abs=1e-6)


def test_what_cannot_keep_up_is_late() -> None:
    queue = PrefillQueue(ONE_BY_ONE, fixed(1000, 2))
    stable = float(queue.stable_rate_per_s(at(3))[0])
    assert float(queue.exceeds(np.array([10.0]), at(1.01 * stable), at(3))[0]) == pytest.approx(1.0)
    assert float(queue.wait(at(1.01 * stable), at(3)).decay_per_s[0]) == 0.0


def test_full_steps_pack_prompts_first_come_first_served() -> None:
    steps = full_steps(fixed(600, 2), 2048.0)
    assert steps.n_prompts.tolist() == [3.0] * len(steps.n_prompts)
    assert steps.prompt_tokens == pytest.approx(1800.0)
    assert steps.attention_pairs == pytest.approx(3 * 600 * 601 / 2)


def test_full_steps_never_exceed_the_budget_but_for_a_lone_prompt() -> None:
    steps = full_steps(azure("azure-conv-2023"), 2048.0)
    assert np.all((steps.prompt_tokens <= 2048) | (steps.n_prompts == 1))
    assert np.any(steps.prompt_tokens > 2048)
    drawn = steps.prompt_tokens.sum() / steps.n_prompts.sum()
    assert drawn == pytest.approx(azure("azure-conv-2023").sizes.mean_prompt_tokens, rel=0.05)


def test_batching_raises_what_a_lane_sustains_by_its_fixed_cost() -> None:
    """Affine steps: b prompts of 200 tokens share one base time."""
    queue = PrefillQueue(Lane(STEP, PLENTY, 256, token_budget=2000), fixed(200, 2))
    assert queue.largest_batch == pytest.approx(10.0)
    assert queue.seconds_per_request() == pytest.approx(0.01 / 10 + 0.02, rel=1e-9)
