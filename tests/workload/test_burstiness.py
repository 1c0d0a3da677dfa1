"""How arrivals vary, against processes whose variability is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.workload.burstiness import dispersion, minute_factors, step_of, variability
from planner.workload.describe import describe
from planner.workload.prefixes import PrefixBlocks, blocks_of
from planner.workload.traces import read_trace


def renewal(cv2: float, n: int = 40_000, rate: float = 5.0, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.gamma(1.0 / cv2, cv2 / rate, n))


def test_a_poisson_process_is_one_and_not_nearly_one() -> None:
    arrival = renewal(1.0)
    found = variability(arrival)
    assert found is not None and found.cv2 == 1.0
    for window in (1.0, 10.0, 60.0):
        assert dispersion(arrival, window) == pytest.approx(1.0, abs=0.25)
    assert step_of(arrival) is None


@pytest.mark.parametrize("cv2", [0.25, 2.0, 6.0])
def test_gamma_gaps_have_their_variability(cv2: float) -> None:
    found = variability(renewal(cv2))
    assert found is not None
    assert found.cv2 == pytest.approx(cv2, rel=0.1)


@pytest.mark.parametrize("step", [1.0, 3.0])
@pytest.mark.parametrize("cv2", [1.0, 4.0])
def test_timestamps_in_steps_do_not_pass_for_bursts(cv2: float, step: float) -> None:
    """Rounded to steps, the gaps say more; counts over ten steps still say what the process does."""
    arrival = np.floor(renewal(cv2) / step) * step
    gaps = np.diff(arrival)
    assert gaps.var() / gaps.mean() ** 2 > 1.4 * cv2
    assert step_of(arrival) == step
    found = variability(arrival)
    assert found is not None
    # Counts over a window tend to the variability of the gaps from below.
    assert found.cv2 == pytest.approx(cv2, rel=0.2)
    assert "steps" in found.source


def test_minutes_of_a_rate_that_doubles() -> None:
    """Half of the minutes at twice the rate of the others: the peak is 4/3 of the mean, as is P95."""
    rng = np.random.default_rng(5)
    minutes = np.repeat([600, 1200], 30)
    rng.shuffle(minutes)
    arrival = np.concatenate([60 * i + np.sort(rng.random(n)) * 60 for i, n in enumerate(minutes)])
    arrival = np.concatenate([arrival, [60.0 * minutes.size + 1]])
    factors = minute_factors(arrival - arrival[0])
    assert factors is not None
    assert factors["peak-minute"] == pytest.approx(4 / 3, rel=0.02)
    assert factors["p95-minute"] == pytest.approx(4 / 3, rel=0.02)
    whole, within = variability(arrival), variability(arrival, within_minutes=True)
    assert whole is not None and within is not None
    assert whole.cv2 > 1.05
    assert within.cv2 == pytest.approx(1.0, abs=0.03)
    assert dispersion(arrival, 60.0) > 50


def test_what_is_too_short_tells_nothing() -> None:
    assert variability(np.array([0.0, 1.0, 2.0])) is None
    assert minute_factors(np.arange(100.0)) is None
    assert dispersion(np.arange(100.0), 60.0) is None


def test_the_conversation_trace_hides_its_swings(data: Path) -> None:
    """Gaps of 1.2, and yet minutes that vary 16 times as much as a Poisson's and a peak of 1.52."""
    summary = describe(read_trace(data / "azure_2023_conv.csv"))
    assert summary.variability == pytest.approx(1.2, abs=0.01)
    assert summary.dispersion_1min == pytest.approx(16.4, abs=0.1)
    assert summary.peak_minute == pytest.approx(1.521, abs=0.001)


def test_the_mooncake_trace(data: Path) -> None:
    summary = describe(read_trace(data / "mooncake_conversation.jsonl"))
    assert summary.rate_per_s == pytest.approx(3.40, abs=0.01)
    assert summary.timestamp_unit == "milliseconds"
    assert summary.timestamp_step_s == pytest.approx(3.0, abs=0.01)
    assert summary.variability is not None and summary.variability < 3
    assert summary.prefix_shared == pytest.approx(0.366, abs=0.001)


# -- prefixes ---------------------------------------------------------------------------------------------------------


def brute_force(prompts: list[list[int]], capacity: int | None) -> list[int]:
    """Leading blocks of each prompt in a cache that is kept as a list, most recently used last."""
    kept: list[int] = []
    found = []
    for own in prompts:
        hits = 0
        while hits < len(own) and own[hits] in kept:
            hits += 1
        found.append(hits)
        for b in reversed(own):
            if b in kept:
                kept.remove(b)
            kept.append(b)
        if capacity is not None:
            kept = kept[max(len(kept) - capacity, 0) :]
    return found


@pytest.mark.parametrize("capacity", [None, 5, 40, 400])
def test_a_cache_against_brute_force(capacity: int | None) -> None:
    rng = np.random.default_rng(7)
    prompts = [[int(rng.integers(3)), *rng.integers(3, 60, rng.integers(0, 6)).tolist()] for _ in range(300)]
    prompts = [list(dict.fromkeys(p)) for p in prompts]
    first = np.concatenate(([0], np.cumsum([len(p) for p in prompts])))
    blocks = PrefixBlocks(np.concatenate(prompts), first, 16)
    found = blocks.cached_blocks(None if capacity is None else 16.0 * capacity)
    assert found.tolist() == brute_force(prompts, capacity)


def test_a_larger_cache_never_has_less(data: Path) -> None:
    trace = read_trace(data / "mooncake_conversation.jsonl")
    assert trace.blocks is not None
    shares = [trace.blocks.share(trace.prompt_tokens, tokens) for tokens in (1e5, 1e6, 1e7, 1e9)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(trace.blocks.share(trace.prompt_tokens))
    assert shares[0] < 0.3 * shares[-1]


def test_tokens_of_a_block_are_told_by_the_lengths() -> None:
    prompts = np.array([100.0, 513.0, 64.0])
    for size in (16, 64, 512):
        lists = [list(range(int(np.ceil(p / size)))) for p in prompts]
        blocks = blocks_of(lists, prompts, 512)
        assert blocks is not None and blocks.block_tokens == size
    assert blocks_of([[], None, []], prompts, 512) is None
