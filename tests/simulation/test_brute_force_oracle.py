"""The engine against stepping through every decode iteration, request by request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.simulation.arrivals import Requests, requests_of
from planner.simulation.engine import simulate_requests
from planner.simulation.outcome import Outcome
from planner.simulation.specification import LaneSpec, Policy, Way, Wire

from .affine import WIRE, AffineSteps, lanes_of
from .brute_force import Job, step_through

TOLERANCE_S = 1e-9
PLAIN = AffineSteps()
STEEP = AffineSteps(context_s=2e-4)  # steps grow long with short contexts: cutting a run is hard to get right
CURVED = AffineSteps(pair_s=2e-9, prompt_s=3e-4)


def draw(seed: int, n: int, rate: float, prompt: int = 1200, output: int = 40, single: float = 0.1) -> Requests:
    rng = np.random.default_rng(seed)
    outputs = np.where(rng.random(n) < single, 1, np.minimum(rng.geometric(1.0 / output, n), 400))
    prompts = np.clip(rng.lognormal(np.log(prompt), 0.8, n), 1, 4000)
    return requests_of(np.cumsum(rng.exponential(1.0 / rate, n)), prompts, outputs)


def both(
    lanes: list[tuple[AffineSteps, list[LaneSpec]]],
    ways: list[Way],
    requests: Requests,
    policy: Policy,
    wires: dict[tuple[int, int], Wire],
    seed: int = 5,
) -> tuple[Outcome, list[Job]]:
    """Both simulations of the same cluster."""
    specs = [spec for _, pool in lanes for spec in pool]
    steps = [step.scalar for step, pool in lanes for _ in pool]
    outcome = simulate_requests(specs, ways, wires, requests, policy=policy, seed=seed)
    weights = np.array([w for *_, w in ways])
    at = np.random.default_rng(seed).random(len(requests))
    way_of = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], at, side="right") if len(ways) > 1 else None
    which = [0] * len(requests) if way_of is None else way_of.tolist()
    return outcome, step_through(specs, steps, ways, which, wires, requests, policy)


def check_equal(outcome: Outcome, jobs: list[Job]) -> None:
    expected = {
        "first_token_s": [j.first_token for j in jobs],
        "finish_s": [j.finish for j in jobs],
        "prefill_start_s": [j.computing_since for j in jobs],
    }
    for name, values in expected.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(getattr(outcome, name), values, rtol=0.0, atol=TOLERANCE_S, err_msg=name)
    # Kept in single precision.
    np.testing.assert_allclose(outcome.largest_gap_s, [j.largest_gap for j in jobs], rtol=2e-7, atol=1e-7)
    transfer = [0.0 if j.arrived != j.arrived else j.arrived for j in jobs]
    assert ((outcome.transfer_s > 0) == (np.array(transfer) > 0)).all()


SPLIT = [(0, 1, 1.0)]


def split(step: AffineSteps = PLAIN, **decode: object) -> list[tuple[AffineSteps, list[LaneSpec]]]:
    return [
        (step, lanes_of(step, "prefill", 0, 0, 3, kv_tokens=9000)),
        (step, lanes_of(step, "decode", 1, 3, 2, **decode)),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("unlike", [False, True])
@pytest.mark.parametrize("overlapped", [True, False])
def test_split_cluster_whose_transfers_share_nics(overlapped: bool, unlike: bool) -> None:
    slow = replace(WIRE, bandwidth_bytes_per_s=4e9, overlapped=overlapped)
    lanes = [
        (PLAIN, lanes_of(PLAIN, "prefill", 0, 0, 3, kv_tokens=90000, nic_bytes_per_s=1.2e10 if unlike else 4e9)),
        (PLAIN, lanes_of(PLAIN, "decode", 1, 3, 3 if unlike else 2, nic_bytes_per_s=4e9 if unlike else 6e9)),
    ]
    outcome, jobs = both(lanes, SPLIT, draw(1, 700, 5.5), Policy(), {(0, 1): slow})
    check_equal(outcome, jobs)
    # The NICs are busy enough that transfers slow each other.
    alone = np.array([slow.times(int(p), 0.0)[1] for p in outcome.requests.prompt_tokens])
    assert np.mean(outcome.transfer_s > 1.2 * alone) > 0.2


@pytest.mark.parametrize("overlapped", [True, False])
def test_split_cluster_short_of_decode_memory(overlapped: bool) -> None:
    wires = {(0, 1): replace(WIRE, overlapped=overlapped)}
    outcome, jobs = both(split(CURVED, kv_tokens=9000), SPLIT, draw(2, 700, 9.0), Policy(), wires)
    check_equal(outcome, jobs)
    assert outcome.n_waited_for_memory > 100


def test_split_cluster_short_of_places_in_the_batch() -> None:
    outcome, jobs = both(split(max_batch=4), SPLIT, draw(3, 600, 10.0), Policy(), {(0, 1): WIRE})
    check_equal(outcome, jobs)
    assert outcome.n_waited_for_memory > 50


@pytest.mark.parametrize("routing", ["pending_tokens", "least_loaded", "round_robin"])
def test_mixed_pool(routing: str) -> None:
    lanes = [(CURVED, lanes_of(CURVED, "mixed", 0, 0, 3, kv_tokens=20000))]
    policy = Policy(routing=routing)  # type: ignore[arg-type]
    check_equal(*both(lanes, [(0, None, 1.0)], draw(4, 700, 14.0), policy, {}))


@pytest.mark.parametrize("chunk", [256, 700, 4096])
def test_chunked_prefill(chunk: int) -> None:
    lanes = [(CURVED, lanes_of(CURVED, "mixed", 0, 0, 2, kv_tokens=12000))]
    check_equal(*both(lanes, [(0, None, 1.0)], draw(5, 500, 7.0), Policy(chunk_tokens=chunk), {}))


@pytest.mark.parametrize("chunk", [None, 700])
def test_sequences_wait_while_prompts_are_computed(chunk: int | None) -> None:
    apart = [replace(spec, apart=True) for spec in lanes_of(CURVED, "mixed", 0, 0, 2, kv_tokens=20000)]
    check_equal(*both([(CURVED, apart)], [(0, None, 1.0)], draw(5, 500, 7.0), Policy(chunk_tokens=chunk), {}))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("chunk", [None, 300])
@pytest.mark.parametrize("routing", ["pending_tokens", "least_loaded"])
def test_paged_memory_with_pre_emption(routing: str, chunk: int | None, apart: bool) -> None:
    specs = lanes_of(CURVED, "mixed", 0, 0, 2, kv_tokens=5200, max_batch=40)
    paged = [replace(spec, paged=True, apart=apart) for spec in specs]
    policy = Policy(chunk_tokens=chunk, routing=routing)  # type: ignore[arg-type]
    outcome, jobs = both([(CURVED, paged)], [(0, None, 1.0)], draw(5, 500, 7.0, prompt=300, output=120), policy, {})
    check_equal(outcome, jobs)
    assert outcome.n_preempted > 30


@pytest.mark.parametrize("max_pauses", [0, 1, 4])
def test_sequences_pause_for_prompts(max_pauses: int) -> None:
    lanes = [(PLAIN, lanes_of(PLAIN, "mixed", 0, 0, 2, kv_tokens=20000))]
    policy = Policy(shared_budget=True, max_pauses=max_pauses)
    check_equal(*both(lanes, [(0, None, 1.0)], draw(6, 600, 9.0), policy, {}))


def test_ways_through_several_pools_with_lanes_that_share_machines() -> None:
    fast, slow = AffineSteps(base_s=0.01, token_s=3e-5), AffineSteps(base_s=0.03, sequence_s=1e-3)
    lanes = [
        (fast, lanes_of(fast, "prefill", 0, 0, 2, lanes_per_machine=2, kv_tokens=20000)),
        (slow, lanes_of(slow, "decode", 1, 2, 1, lanes_per_machine=2, kv_tokens=15000, own_nic=True)),
        (fast, lanes_of(fast, "decode", 2, 3, 1, kv_tokens=20000)),
        (slow, lanes_of(slow, "mixed", 3, 4, 2, kv_tokens=30000)),
    ]
    wires = {(0, 1): replace(WIRE, bandwidth_bytes_per_s=1e10), (0, 2): WIRE}
    ways = [(0, 1, 2.0), (0, 2, 1.0), (3, None, 1.5)]
    outcome, jobs = both(lanes, ways, draw(7, 900, 22.0), Policy(decode_routing="memory"), wires)
    check_equal(outcome, jobs)


def test_no_contention() -> None:
    slow = replace(WIRE, bandwidth_bytes_per_s=5e9)
    check_equal(*both(split(), SPLIT, draw(8, 500, 25.0), Policy(contention=False), {(0, 1): slow}))


def test_steps_that_grow_with_context() -> None:
    check_equal(*both(split(STEEP), SPLIT, draw(10, 500, 2.0, prompt=20, output=60), Policy(), {(0, 1): WIRE}))


def test_requests_that_come_together() -> None:
    requests = draw(9, 300, 20.0)
    together = requests_of(np.repeat(requests.arrival_s[::3], 3), requests.prompt_tokens, requests.output_tokens)
    check_equal(*both(split(), SPLIT, together, Policy(), {(0, 1): WIRE}))
