"""Lanes that are queues with known closed forms: M/M/1, M/M/k, M/D/1, M/G/1-PS, M/M/1/K."""

from __future__ import annotations

from math import exp, factorial, log

import numpy as np
import pytest

from planner.simulation.arrivals import Requests, requests_of
from planner.simulation.engine import simulate_requests
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Policy, Wire
from planner.simulation.statistics import Interval, mean_interval, percentile_interval, share_interval
from planner.simulation.summary import values_of

from .affine import AffineSteps, lanes_of

SEEDS = (1, 2, 3)
# Twenty batches or more and a dozen oracles: some 95 % intervals miss by chance, none by twice its width.
WIDENING = 1.6
INSTANT = Wire(1.0, 1e15, 0.0, 0.0, 0.0, False, 1)


def assert_within(interval: Interval, expected: float, *, relative: float = 0.002) -> None:
    """The closed form lies in the confidence interval, which is narrow; `relative` is what discrete tokens cost."""
    half = WIDENING * max(interval.high - interval.value, interval.value - interval.low) + relative * expected
    assert abs(interval.value - expected) <= half, f"{interval} does not hold {expected:.5g}"
    assert half < 0.3 * expected


def poisson(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    return np.cumsum(rng.exponential(1.0 / rate, n))


class PromptQueue:
    """One prefill lane, one prompt a step: service of `token_s` seconds a token."""

    token_s = 1e-4
    mean_tokens = 5000

    def waits(self, utilisation: float, sizes: str, n: int = 60_000) -> list[np.ndarray]:
        runs = []
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            if sizes == "exponential":
                tokens = np.maximum(np.rint(rng.exponential(self.mean_tokens, n)), 1)
            else:
                tokens = np.full(n, self.mean_tokens)
            arrival = poisson(rng, n, utilisation / (self.mean_tokens * self.token_s))
            requests = requests_of(arrival, tokens, np.ones(n))
            step = AffineSteps(base_s=0.0, token_s=self.token_s)
            lanes = lanes_of(step, "prefill", 0, 0, 1, token_budget=1, longest_prompt=int(tokens.max()))
            outcome = simulate_requests(lanes, [(0, None, 1.0)], {}, requests)
            runs.append(values_of(outcome, "ttft")[n // 10 :])
        return runs


@pytest.mark.parametrize("utilisation", [0.5, 0.7])
def test_prefill_against_mm1(utilisation: float) -> None:
    """Sojourn is exponential with rate mu - lambda."""
    runs = PromptQueue().waits(utilisation, "exponential")
    mean = PromptQueue.mean_tokens * PromptQueue.token_s / (1.0 - utilisation)
    assert_within(mean_interval(runs), mean)
    for p in (50.0, 90.0, 99.0):
        assert_within(percentile_interval(runs, p), -mean * log(1.0 - p / 100.0))


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_prefill_against_md1(utilisation: float) -> None:
    """Mean by Pollaczek and Khinchine; the distribution by Erlang (1909)."""
    service = PromptQueue.mean_tokens * PromptQueue.token_s
    runs = PromptQueue().waits(utilisation, "constant")
    assert_within(mean_interval(runs), service * (1.0 + utilisation / (2.0 * (1.0 - utilisation))))

    def no_longer(wait: float) -> float:
        total = 0.0
        for i in range(int(wait / service) + 1):
            x = utilisation / service * (wait - i * service)
            total += (-x) ** i / factorial(i) * exp(x)
        return (1.0 - utilisation) * total

    for multiple in (0.5, 1.5, 3.0):
        late = share_interval([run > (1.0 + multiple) * service + 1e-9 for run in runs])
        assert_within(late, 1.0 - no_longer(multiple * service), relative=0.01)


def decode_only(
    step: AffineSteps, rate: float, outputs: np.ndarray, rng: np.random.Generator, **lane: float
) -> tuple[Outcome, Requests]:
    """A decode lane behind prefill and transfer that take next to no time."""
    n = outputs.size
    requests = requests_of(poisson(rng, n, rate), np.ones(n), outputs)
    nothing = AffineSteps(base_s=1e-9, token_s=0.0)
    lanes = [
        *lanes_of(nothing, "prefill", 0, 0, 1),
        *lanes_of(step, "decode", 1, 1, 1, **lane),  # type: ignore[arg-type]
    ]
    return simulate_requests(lanes, [(0, 1, 1.0)], {(0, 1): INSTANT}, requests), requests


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.7), (4, 0.8), (16, 0.9)])
def test_decode_slots_against_mmk(servers: int, utilisation: float) -> None:
    """A lane of k places whose step takes the same whatever the batch: k servers behind one queue."""
    step_s, mean_steps = 0.001, 400.0
    step = AffineSteps(base_s=step_s, sequence_s=0.0, context_s=0.0)
    service = mean_steps * step_s
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        outputs = 1 + rng.geometric(1.0 / mean_steps, 50_000)
        outcome, _ = decode_only(step, utilisation * servers / service, outputs, rng, max_batch=servers)
        runs.append(values_of(outcome, "e2e")[2_000:])
    load = utilisation * servers
    tail = load**servers / factorial(servers) / (1.0 - utilisation)
    waits = tail / (sum(load**i / factorial(i) for i in range(servers)) + tail)
    # Joining at the next step costs half a step, whatever the queue.
    expected = service + waits * service / (servers * (1.0 - utilisation)) + step_s / 2.0
    assert_within(mean_interval(runs), expected)


@pytest.mark.parametrize("law", ["geometric", "two_sizes"])
def test_decode_against_mg1_ps(law: str) -> None:
    """A step that takes as long as its batch is large shares one processor: E[T | size] = size / (1 - rho)."""
    share_s, utilisation, mean = 1e-3, 0.75, 200.0
    step = AffineSteps(base_s=0.0, sequence_s=share_s, context_s=0.0)
    all_runs, long_runs, batch = [], [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = 24_000
        steps = rng.geometric(1.0 / mean, n) if law == "geometric" else np.where(rng.random(n) < 0.9, 100, 1100)
        outcome, requests = decode_only(step, utilisation / (mean * share_s), steps + 1, rng, max_batch=500)
        e2e = values_of(outcome, "e2e")
        kept = np.arange(n) >= n // 10
        long = (requests.output_tokens - 1 > 2 * mean) & kept
        all_runs.append(e2e[kept])
        long_runs.append((e2e / (requests.output_tokens - 1))[long])
        batch.append(outcome.pool_batch_s[1] / outcome.horizon_s)
    assert_within(mean_interval(all_runs), mean * share_s / (1.0 - utilisation), relative=0.01)
    assert_within(mean_interval(long_runs), share_s / (1.0 - utilisation), relative=0.01)
    # Little's law.
    mean_e2e = np.mean(np.concatenate(all_runs))
    assert np.mean(batch) == pytest.approx(utilisation / (mean * share_s) * mean_e2e, rel=0.05)


@pytest.mark.parametrize(("utilisation", "places"), [(0.7, 4), (1.3, 6)])
def test_overflow_against_mm1k(utilisation: float, places: int) -> None:
    """A shared processor with K places, and the requests that find them taken sent to the other pool: M/M/1/K."""
    share_s, mean, whole = 1e-3, 150.0, 3000
    decode = AffineSteps(base_s=0.0, sequence_s=share_s, context_s=0.0)
    other = AffineSteps(base_s=1e-9, token_s=0.0, sequence_s=0.0, context_s=0.0)
    runs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        n = 24_000
        outputs = np.minimum(1 + rng.geometric(1.0 / mean, n), whole - 1)
        # Every request takes the same KV memory, so that memory is a number of places.
        requests = requests_of(poisson(rng, n, utilisation / (mean * share_s)), whole - outputs, outputs)
        lanes = [
            *lanes_of(other, "prefill", 0, 0, 1),
            *lanes_of(decode, "decode", 1, 1, 1, kv_tokens=places * whole, max_batch=500),
        ]
        wires = {(i, j): INSTANT for i in (0, 1) for j in (0, 1)}
        policy = Policy(overflow=True, decode_routing="memory", overflow_tokens=10**9)
        outcome = simulate_requests(lanes, [(0, 1, 1.0)], wires, requests, policy=policy)
        # What decodes elsewhere is over at once.
        runs.append(values_of(outcome, "e2e")[n // 10 :] < 0.5 * share_s)
        assert runs[-1].mean() == pytest.approx(outcome.n_overflowed / n, abs=0.01)
    blocked = (1.0 - utilisation) * utilisation**places / (1.0 - utilisation ** (places + 1))
    assert_within(share_interval(runs), blocked, relative=0.01)
