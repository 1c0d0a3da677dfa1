"""What must hold in every cluster: requests end or are reported, memory and loads come back, integrals agree."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulation.arrivals import Requests, requests_of
from planner.simulation.engine import simulate_requests
from planner.simulation.loop import Simulation
from planner.simulation.outcome import Outcome
from planner.simulation.specification import SPLITWISE, Failure, LaneSpec, Policy, Way, Wire
from planner.simulation.summary import values_of

from .affine import WIRE, AffineSteps, lanes_of

STEP = AffineSteps()
SPLIT: list[Way] = [(0, 1, 1.0)]
WIRES = {(i, j): WIRE for i in (0, 1) for j in (0, 1)}


def draw(seed: int, n: int, rate: float, longest: int = 4000) -> Requests:
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1.0 / rate, n))
    prompts = np.clip(rng.lognormal(6.5, 1.0, n), 1, longest)
    return requests_of(arrival, prompts, np.minimum(rng.geometric(0.04, n), 300))


def run_and_inspect(
    lanes: list[LaneSpec],
    ways: list[Way],
    wires: dict[tuple[int, int], Wire],
    requests: Requests,
    policy: Policy,
    failures: tuple[Failure, ...] = (),
) -> Outcome:
    """Simulate, and check that nothing is left over."""
    simulation = Simulation(lanes, ways, wires, requests, policy, failures, 1)
    outcome = simulation.run(None)
    router = simulation._router
    assert not any(router.pending)
    assert not any(router.promised)
    assert not router.mixed
    assert not simulation._joined
    assert not simulation._sending.moving
    assert not simulation._sending.links.transfers
    for lane in simulation._lanes:
        left = (lane.batch, lane.members, lane.context, lane.reserved, lane.computed, len(lane.ends), len(lane.fresh))
        assert left == (0,) * len(left)
        assert not (lane.queue or lane.waiting or lane.joining or lane.prompts or lane.gaps)
    check_each_request(outcome)
    return outcome


def check_each_request(outcome: Outcome) -> None:
    never = np.zeros(len(outcome.requests), dtype=bool)
    never[outcome.too_large] = True
    assert (np.isfinite(outcome.finish_s) == ~never).all()
    assert outcome.n_finished + outcome.too_large.size == len(outcome.requests)
    assert outcome.n_in_flight == 0
    arrival, output = outcome.requests.arrival_s[~never], outcome.requests.output_tokens[~never]
    start, first, finish = (x[~never] for x in (outcome.prefill_start_s, outcome.first_token_s, outcome.finish_s))
    assert (arrival <= start).all()
    assert (first <= finish).all()
    if outcome.n_restarted == 0:
        assert (start < first).all()
    assert ((finish > first) == (output > 1)).all()
    # No request decodes faster than a batch of one without context, and its longest gap is no shorter than its mean.
    assert (finish - first >= (output - 1) * STEP.base_s - 1e-9).all()
    gaps = np.maximum(output - 1, 1)
    assert (outcome.largest_gap_s[~never] >= (finish - first) / gaps * (1 - 1e-6) - 1e-9).all()


policies = st.builds(
    Policy,
    routing=st.sampled_from(["pending_tokens", "least_loaded", "round_robin"]),
    decode_routing=st.sampled_from(["sequences", "memory"]),
    overflow=st.booleans(),
    overflow_tokens=st.sampled_from([0, 1500, 8192]),
    contention=st.booleans(),
)
batching = st.sampled_from(
    [
        {},
        {"chunk_tokens": 64},
        {"chunk_tokens": 1000},
        {"shared_budget": True},
        {"shared_budget": True, "max_pauses": 0},
        {"shared_budget": True, "max_pauses": 1000, "long_prompts_wait": True},
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 2)),
    memory=st.sampled_from([4500, 9000, 40000]),
    max_batch=st.sampled_from([1, 3, 64]),
    rate=st.sampled_from([1.0, 12.0, 60.0]),
    policy=policies,
    batch=batching,
    fail=st.booleans(),
)
def test_split_clusters(
    seed: int,
    shape: tuple[int, int, int],
    memory: int,
    max_batch: int,
    rate: float,
    policy: Policy,
    batch: dict[str, int],
    fail: bool,
) -> None:
    n_prefill, n_decode, per_machine = shape
    lanes = [
        *lanes_of(
            STEP, "prefill", 0, 0, n_prefill, lanes_per_machine=per_machine, kv_tokens=memory, max_batch=max_batch
        ),
        *lanes_of(STEP, "decode", 1, n_prefill, n_decode, kv_tokens=memory, max_batch=max_batch),
    ]
    requests = draw(seed, 120, rate, longest=6000)
    failures: list[Failure] = []
    if fail:
        rng = np.random.default_rng(seed)
        end = float(requests.arrival_s[-1])
        if n_prefill > 1:
            failures.append(Failure(int(rng.integers(n_prefill)), float(rng.uniform(0, end)), inf))
        if n_decode > 1:
            at = float(rng.uniform(0, end))
            failures.append(Failure(n_prefill + int(rng.integers(n_decode)), at, at + float(rng.uniform(0.01, end))))
    run_and_inspect(lanes, SPLIT, WIRES, requests, replace(policy, **batch), tuple(failures))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    memory=st.sampled_from([4500, 9000, 40000]),
    max_batch=st.sampled_from([1, 3, 64]),
    rate=st.sampled_from([1.0, 12.0, 60.0]),
    policy=policies,
    batch=batching,
    fail_at=st.one_of(st.none(), st.floats(0.0, 5.0)),
)
def test_mixed_beside_split_pools(
    seed: int, memory: int, max_batch: int, rate: float, policy: Policy, batch: dict[str, int], fail_at: float | None
) -> None:
    lanes = [
        *lanes_of(STEP, "prefill", 0, 0, 2, kv_tokens=memory, max_batch=max_batch),
        *lanes_of(STEP, "decode", 1, 2, 2, kv_tokens=memory, max_batch=max_batch),
        *lanes_of(STEP, "mixed", 2, 4, 2, kv_tokens=memory, max_batch=max_batch),
    ]
    failures = () if fail_at is None else tuple(Failure(m, fail_at) for m in (0, 2, 4))
    ways: list[Way] = [(0, 1, 1.0), (2, None, 1.0)]
    policy = replace(policy, **batch)  # type: ignore[arg-type]
    run_and_inspect(lanes, ways, WIRES, draw(seed, 120, rate), policy, failures)


def alone_at_the_end(requests: Requests) -> Requests:
    """The same with one more request long after all others are done, so that integrals cover their whole stay."""
    return requests_of(
        np.append(requests.arrival_s, requests.arrival_s[-1] + 1000.0),
        np.append(requests.prompt_tokens, 10),
        np.append(requests.output_tokens, 2),
    )


def test_integrals_of_a_mixed_pool_are_the_stays_of_its_requests() -> None:
    lanes = lanes_of(STEP, "mixed", 0, 0, 3, kv_tokens=30000)
    requests = alone_at_the_end(draw(3, 500, 10.0))
    outcome = simulate_requests(lanes, [(0, None, 1.0)], {}, requests)
    own = slice(0, 500)
    decoding = (outcome.finish_s - outcome.first_token_s)[own].sum()
    whole = (requests.prompt_tokens + requests.output_tokens)[own]
    held = (whole * (outcome.finish_s - outcome.prefill_start_s)[own]).sum()
    assert outcome.pool_batch_s[0] == pytest.approx(decoding, rel=1e-9)
    assert outcome.pool_kv_token_s[0] == pytest.approx(held, rel=1e-9)
    assert outcome.pool_prompt_tokens[0] == requests.prompt_tokens[own].sum()
    assert outcome.pool_prompt_s[0] < outcome.pool_busy_s[0] < 3 * outcome.horizon_s


def test_integrals_of_split_pools_are_the_stays_of_their_requests() -> None:
    lanes = [*lanes_of(STEP, "prefill", 0, 0, 2), *lanes_of(STEP, "decode", 1, 2, 2)]
    requests = alone_at_the_end(draw(4, 500, 15.0))
    outcome = simulate_requests(lanes, SPLIT, WIRES, requests)
    own = slice(0, 500)
    arrived = (outcome.first_token_s + outcome.transfer_s)[own]
    split = (requests.output_tokens > 1)[own]
    held = requests.prompt_tokens[own] * (arrived - outcome.prefill_start_s[own])
    single = (requests.prompt_tokens + 1)[own] * (outcome.first_token_s - outcome.prefill_start_s)[own]
    assert outcome.pool_kv_token_s[0] == pytest.approx(np.where(split, held, single).sum(), rel=1e-6)
    whole = (requests.prompt_tokens + requests.output_tokens)[own]
    # Memory waits for nobody here: it is reserved when the prompt is done.
    there = (whole * (outcome.finish_s - outcome.first_token_s)[own])[split].sum()
    assert outcome.pool_kv_token_s[1] == pytest.approx(there, rel=1e-9)
    assert outcome.pool_batch_s[0] == 0.0
    assert outcome.pool_prompt_s[0] == outcome.pool_busy_s[0]
    assert outcome.pool_prompt_s[1] == 0.0


def test_same_seed_same_result() -> None:
    lanes = [
        *lanes_of(STEP, "prefill", 0, 0, 2),
        *lanes_of(STEP, "decode", 1, 2, 2),
        *lanes_of(STEP, "mixed", 2, 4, 2),
    ]
    ways: list[Way] = [(0, 1, 1.0), (2, None, 1.0)]

    def outcome(seed: int) -> Outcome:
        return simulate_requests(lanes, ways, WIRES, draw(5, 400, 20.0), policy=SPLITWISE, seed=seed)

    one, again, other = outcome(1), outcome(1), outcome(2)
    for name in ("first_token_s", "finish_s", "prefill_start_s", "transfer_s", "largest_gap_s"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
    assert one.finish_s.tobytes() != other.finish_s.tobytes()


def test_failed_machine_loses_no_request_and_its_work_starts_again() -> None:
    lanes = [*lanes_of(STEP, "prefill", 0, 0, 2), *lanes_of(STEP, "decode", 1, 2, 2)]
    requests = draw(6, 600, 15.0)
    whole = simulate_requests(lanes, SPLIT, WIRES, requests)
    at = float(requests.arrival_s[300])
    outcome = simulate_requests(
        lanes, SPLIT, WIRES, requests, failures=[Failure(0, at, at + 10.0), Failure(2, at + 1.0)]
    )
    check_each_request(outcome)
    assert outcome.n_restarted > 0
    # Until then nothing differs, and afterwards requests wait longer.
    done = whole.finish_s < at
    np.testing.assert_array_equal(whole.finish_s[done], outcome.finish_s[done])
    assert values_of(outcome, "e2e").mean() > 1.1 * values_of(whole, "e2e").mean()
    restarted = outcome.prefill_start_s > outcome.first_token_s
    assert restarted.sum() > 0, "sequences that decoded on the failed machine compute their prompt again"


def test_overflow_moves_work_to_the_idle_pool_and_machines_return() -> None:
    lanes = [*lanes_of(STEP, "prefill", 0, 0, 1), *lanes_of(STEP, "decode", 1, 1, 3)]
    requests = draw(7, 800, 14.0)
    plain = simulate_requests(lanes, SPLIT, WIRES, requests)
    mixed = run_and_inspect(lanes, SPLIT, WIRES, requests, SPLITWISE)
    assert mixed.n_overflowed > 40
    assert np.percentile(values_of(mixed, "ttft"), 90) < 0.5 * np.percentile(values_of(plain, "ttft"), 90)
    assert mixed.pool_prompt_s[1] > 0.0, "decode machines computed prompts"


def test_overflow_when_decode_memory_is_short() -> None:
    lanes = [
        *lanes_of(STEP, "prefill", 0, 0, 3, kv_tokens=60000),
        *lanes_of(STEP, "decode", 1, 3, 1, kv_tokens=8000),
    ]
    outcome = run_and_inspect(lanes, SPLIT, WIRES, draw(8, 500, 8.0), SPLITWISE)
    assert outcome.n_overflowed > 40
    assert outcome.pool_batch_s[0] > 0.0, "prefill machines decoded"


def test_requests_that_no_machine_can_hold_are_named() -> None:
    lanes = [*lanes_of(STEP, "prefill", 0, 0, 1), *lanes_of(STEP, "decode", 1, 1, 1, kv_tokens=3000)]
    requests = requests_of([0.0, 1.0, 2.0, 3.0], [2900, 100, 2999, 3500], [100, 10, 2, 1])
    outcome = simulate_requests(lanes, SPLIT, WIRES, requests)
    # The third takes 3,001 tokens; the fourth is done with its prompt and never decodes.
    assert outcome.too_large.tolist() == [2]
    assert np.isnan(outcome.finish_s[outcome.too_large]).all()
    assert np.isfinite(outcome.finish_s[[1, 3]]).all()


def test_interrupted_run_is_a_valid_part() -> None:
    lanes = [*lanes_of(STEP, "prefill", 0, 0, 3), *lanes_of(STEP, "decode", 1, 3, 2)]
    requests = draw(9, 60_000, 20.0)

    def stop(arrived: int, _: float) -> None:
        if arrived == 20_000:
            raise KeyboardInterrupt

    whole = simulate_requests(lanes, SPLIT, WIRES, requests)
    part = simulate_requests(lanes, SPLIT, WIRES, requests, progress=stop)
    assert part.interrupted
    assert not whole.interrupted
    assert part.n_arrived == 20_000
    assert 0 < part.n_in_flight < 500
    assert part.n_finished + part.n_in_flight == 20_000
    done = np.isfinite(part.finish_s)
    np.testing.assert_array_equal(part.finish_s[done], whole.finish_s[done])
    assert part.horizon_s == pytest.approx(requests.arrival_s[19_999], rel=0.01)
    assert (part.pool_busy_s <= part.pool_lanes * part.horizon_s).all()
