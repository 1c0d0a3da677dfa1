"""Percentiles of whole pools against a simulation of every step.

`benchmarks/serving_accuracy.py` prints the full table, which docs/serving_accuracy.md keeps.
"""

from __future__ import annotations

import numpy as np
import pytest

from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Lane, Traffic

from .brute_force import AffineStepTimes, Measured, simulate
from .pools import PLENTY, at, azure, exponential, fixed, mixed_rate, predicted

STEP = AffineStepTimes(base_s=0.02, per_token_s=1e-4, per_pair_s=1e-9, per_sequence_s=2e-4, per_context_s=1.2e-7)
SMALL_PROMPTS = AffineStepTimes(base_s=0.04, per_token_s=1.2e-4)
STEEP = AffineStepTimes(base_s=0.01, per_sequence_s=2e-3, per_context_s=1e-7)

CONVERSATION, CODING = azure("azure-conv-2023"), azure("azure-code-2023")


def check(measured: Measured, percentile: object, tolerance: dict[str, tuple[float, float, float]]) -> None:
    for metric, allowed in tolerance.items():
        values = getattr(measured, f"{metric}_s")
        for p, tol in zip((50.0, 90.0, 99.0), allowed, strict=True):
            expected = float(np.nanpercentile(values, p))
            assert percentile(metric, p) == pytest.approx(expected, rel=tol), f"{metric} P{p:.0f}"  # type: ignore[operator]


@pytest.mark.parametrize("utilisation", [0.4, 0.8])
@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize(
    ("traffic", "step", "budget"),
    [
        (CONVERSATION, STEP, 2048), (CODING, STEP, 8192), (fixed(1000, 2), STEP, 1),
        (exponential(200, 2), SMALL_PROMPTS, 2048),
    ],
    ids=["conversation", "coding", "fixed", "small prompts"],
)  # fmt: skip
def test_prefill(traffic: Traffic, step: AffineStepTimes, budget: int, lanes: int, utilisation: float) -> None:
    lane = Lane(step, PLENTY, 256, budget)
    rate = float(PrefillQueue(lane, traffic).stable_rate_per_s(at(lanes))[0]) * utilisation
    measured = simulate(step.scalar, traffic, "prefill", rate, lanes, 16_000, 1, token_budget=budget)
    check(measured, predicted("prefill", lane, traffic, rate, lanes), {"ttft": (0.14, 0.12, 0.14)})


@pytest.mark.parametrize("arrival_cv2", [0.25, 3.0])
def test_prefill_of_other_arrivals(arrival_cv2: float) -> None:
    traffic, lane, lanes = azure("azure-conv-2023", arrival_cv2), Lane(STEP, PLENTY, 256, 2048), 4
    rate = float(PrefillQueue(lane, traffic).stable_rate_per_s(at(lanes))[0]) * 0.6
    measured = simulate(STEP.scalar, traffic, "prefill", rate, lanes, 25_000, 3, token_budget=2048)
    check(measured, predicted("prefill", lane, traffic, rate, lanes), {"ttft": (0.15, 0.1, 0.12)})


@pytest.mark.parametrize("utilisation", [0.3, 0.75])
@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("step", [STEP, STEEP], ids=["flat", "steep"])
@pytest.mark.parametrize("traffic", [CODING, exponential(1000, 60)], ids=["coding", "exponential"])
def test_decode(traffic: Traffic, step: AffineStepTimes, lanes: int, utilisation: float) -> None:
    lane = Lane(step, PLENTY, 72, 1)
    rate = float(DecodeQueue(lane, traffic).stable_rate_per_s(at(lanes))[0]) * utilisation
    measured = simulate(step.scalar, traffic, "decode", rate, lanes, 12_000, 2)
    tolerance = {"tbt": (0.08, 0.08, 0.15), "e2e": (0.1, 0.1, 0.12)}
    check(measured, predicted("decode", lane, traffic, rate, lanes), tolerance)


@pytest.mark.parametrize("lanes", [2, 10])
def test_decode_short_of_memory(lanes: int) -> None:
    """Rates at which the formulas have memory full for 1 % of arrivals."""
    mean, _ = CONVERSATION.resident_tokens()
    lane = Lane(STEP, 30 * mean, 256, 1)
    queue = DecodeQueue(lane, CONVERSATION)
    lo, hi = 0.0, float(queue.stable_rate_per_s(at(lanes))[0])
    for _ in range(30):
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if queue.state(at(middle), at(lanes)).memory_full[0] <= 0.01 else (lo, middle)
    measured = simulate(STEP.scalar, CONVERSATION, "decode", lo, lanes, 12_000, 4, kv_tokens=lane.kv_tokens)
    assert measured.waited_for_memory < 0.025
    assert measured.overflow < 0.005


@pytest.mark.parametrize("prompt_share", [0.3, 0.6])
@pytest.mark.parametrize("lanes", [1, 4, 12])
@pytest.mark.parametrize("traffic", [CONVERSATION, CODING], ids=["conversation", "coding"])
def test_mixed(traffic: Traffic, lanes: int, prompt_share: float) -> None:
    lane = Lane(STEP, PLENTY, 512, 2048)
    rate = mixed_rate(MixedQueue(lane, traffic), prompt_share, lanes)
    requests = (8000 if traffic is CODING else 3500) + 500 * lanes
    measured = simulate(STEP.scalar, traffic, "mixed", rate, lanes, requests, 1, token_budget=2048)
    tolerance = {"ttft": (0.1, 0.12, 0.22), "tbt": (0.12, 0.15, 0.2), "e2e": (0.12, 0.12, 0.15)}
    if traffic is CODING:
        # Short answers: a few prompts more or less decide, and light pools steer prompts past them.
        tolerance |= {"tbt": (0.2, 0.15, 0.27), "e2e": (0.15, 0.12, 0.12)}
    check(measured, predicted("mixed", lane, traffic, rate, lanes), tolerance)


def test_mixed_short_of_memory() -> None:
    mean, _ = CONVERSATION.resident_tokens()
    lane = Lane(STEP, 30 * mean, 256, 8192)
    queue, lanes = MixedQueue(lane, CONVERSATION), 4
    lo, hi = 0.0, queue.largest_batch
    for _ in range(30):
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if queue.state(at(middle), at(lanes)).memory_full[0] <= 0.01 else (lo, middle)
    rate = float(queue.state(at(lo), at(lanes)).rate_per_s[0]) * lanes
    measured = simulate(
        STEP.scalar, CONVERSATION, "mixed", rate, lanes, 8000, 4, token_budget=8192, kv_tokens=lane.kv_tokens
    )
    assert measured.mean_batch == pytest.approx(lo, rel=0.05)
    assert measured.waited_for_memory < 0.03
    assert measured.overflow < 0.005
