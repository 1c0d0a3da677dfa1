"""The mean-value form of a closed loop against stepping through one."""

from __future__ import annotations

import numpy as np
import pytest

from planner.calibration import closed_loop
from planner.latency.batch import Batch, Floats


class Linear:
    """Step times that are linear in what a step does."""

    def step_time_s(self, batch: Batch) -> Floats:
        decode = 5e-3 * (batch.decode_sequences > 0) + 2e-5 * batch.decode_sequences + 2e-8 * batch.context_tokens
        return np.asarray(2e-3 + decode + 2e-5 * batch.prompt_tokens)


def stepped_tpot_s(n: int, s: int, m: int, rounds: int = 40_000) -> tuple[float, float]:
    """Mean TPOT and TTFT of n requests held in a server that computes one waiting prompt a step with its decodes."""
    step = Linear()
    waiting = [(0.0, i) for i in range(n)]  # when it came
    left = np.zeros(n)
    first = np.zeros(n)
    now, tpots, ttfts = 0.0, [], []
    for k in range(rounds):
        running = left > 0
        prompt = waiting.pop(0) if waiting else None
        d = float(running.sum())
        context = float((s + m - left[running]).sum())
        pairs = s * (s + 1) / 2 if prompt else 0.0
        one = 1.0 if prompt else 0.0
        batch = Batch(*(np.asarray(x, dtype=float) for x in (one * s, pairs, one, d, context)))
        now += float(step.step_time_s(batch))
        left[running] -= 1
        for i in np.flatnonzero(running & (left == 0)):
            if k > rounds // 4:
                tpots.append((now - first[i]) / (m - 1))
            waiting.append((now, int(i)))
        if prompt:
            came, i = prompt
            first[i], left[i] = now, m - 1
            if k > rounds // 4:
                ttfts.append(now - came)
    return float(np.mean(tpots)), float(np.mean(ttfts))


@pytest.mark.parametrize(("n", "s", "m"), [(1, 1000, 50), (8, 1000, 100), (32, 2000, 200), (64, 500, 300)])
def test_against_stepping(n: int, s: int, m: int) -> None:
    measured_s, ttft_s = stepped_tpot_s(n, s, m, rounds=8000)
    sizes = (np.array([float(s)]), np.array([float(m)]))
    apart = np.array([False])
    decoding = closed_loop.mean_decoding(np.array([float(n)]), sizes[1], np.array([ttft_s]), np.array([measured_s]))
    by_ttft_s = closed_loop.tpot_at_s(Linear(), decoding, *sizes, apart)
    alone_s = closed_loop.tpot_s(Linear(), np.array([float(n)]), *sizes, apart)
    assert by_ttft_s == pytest.approx(measured_s, rel=0.02)
    assert alone_s == pytest.approx(measured_s, rel=0.02)


def test_disaggregated_decoding_meets_no_prompts() -> None:
    sizes = (np.array([1000.0]), np.array([100.0]))
    found = closed_loop.tpot_at_s(Linear(), np.array([8.0]), *sizes, np.array([True]))
    assert found == pytest.approx(2e-3 + 5e-3 + 8 * 2e-5 + 2e-8 * 8 * 1050)
