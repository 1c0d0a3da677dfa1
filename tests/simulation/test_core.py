"""The compiled core against the Python engine, whose rules it repeats: the same bytes, over random clusters.

Two sources of one set of rules are only as good as this test: every policy, wires thin enough to be shared, memory
that runs full, failures and repairs, several ways through a cluster.
"""

from __future__ import annotations

import _thread
import signal
import threading
from dataclasses import fields, replace

import numpy as np
import pytest

from planner.simulation import core
from planner.simulation.arrivals import requests_of
from planner.simulation.closed_loop import Clients
from planner.simulation.engine import simulate_requests
from planner.simulation.lane import chunk_of
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Failure, LaneSpec, Policy, Way, Wire
from planner.simulation.steps import Spread

from .affine import WIRE, AffineSteps, lanes_of

N_CLUSTERS = 400
needs_core = pytest.mark.skipif(core.library() is None, reason="no compiled core was built here")


def random_case(seed: int) -> dict[str, object]:
    """A cluster with its requests, policy and failures, drawn at random."""
    rng = np.random.default_rng(seed)

    def pick(*values: object) -> object:
        return values[int(rng.integers(len(values)))]

    steps = [AffineSteps(pair_s=float(pick(0.0, 2e-9)), context_s=float(pick(3e-8, 2e-4)),  # type: ignore[arg-type]
                         prompt_s=float(pick(0.0, 3e-4))) for _ in range(2)]  # type: ignore[arg-type]  # fmt: skip
    lanes: list[LaneSpec] = []
    ways: list[Way] = []
    machine = 0

    def pool(role: str) -> int:
        nonlocal machine
        number = 1 + max((spec.pool for spec in lanes), default=-1)
        count = int(rng.integers(1, 5))
        lanes.extend(
            lanes_of(
                steps[int(rng.integers(2))], role, number, machine, count,  # type: ignore[arg-type]
                lanes_per_machine=int(rng.integers(1, 3)), kv_tokens=float(pick(1e9, 9000, 5200)),  # type: ignore[arg-type]
                max_batch=int(pick(256, 6)), token_budget=int(pick(2048, 700)),  # type: ignore[call-overload]
                own_nic=bool(rng.random() < 0.5), nic_bytes_per_s=float(pick(2e10, 2e9, 6e8)),  # type: ignore[arg-type]
            )
        )  # fmt: skip
        machine += count
        return number

    def spread(spec: LaneSpec) -> LaneSpec:
        """The same lane, its ranks in groups that compute prompts of their own."""
        table = spec.table
        together = [0.7 * x for x in table.prompt_s]
        groups = Spread(together, 1e-10, 600.0, [1.0, 0.55, 0.3, 0.1, 0.0])
        return replace(spec, table=replace(table, spread=groups))

    wires: dict[tuple[int, int], Wire] = {}
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.35:
            ways.append((pool("mixed"), None, float(rng.uniform(0.2, 1.0))))
            continue
        first, seconds = pool("prefill"), [pool("decode") for _ in range(int(rng.integers(1, 3)))]
        for second in seconds:
            ways.append((first, second, float(rng.uniform(0.2, 1.0))))
            wire = Wire(
                WIRE.bytes_per_token, float(pick(2e10, 2e9, 6e8)), WIRE.latency_s, WIRE.setup_s, WIRE.synchronisation_s,  # type: ignore[arg-type]
                bool(rng.random() < 0.6), WIRE.n_layers,
            )  # fmt: skip
            for a in (first, second):
                for b in (first, second):
                    wires[a, b] = wire
    if rng.random() < 0.3:
        like = {id(spec.table): spread(spec).table for spec in lanes}
        lanes = [replace(spec, table=like[id(spec.table)]) for spec in lanes]
    chunked = {spec.pool: bool(rng.random() < 0.4) for spec in lanes}
    paged = bool(rng.random() < 0.5)
    apart = {spec.pool: bool(rng.random() < 0.25) for spec in lanes}
    lanes = [
        replace(spec, chunked=chunked[spec.pool], apart=apart[spec.pool], paged=paged and spec.role == "mixed")
        for spec in lanes
    ]
    n = int(rng.integers(20, 200))
    rate = float(rng.uniform(2.0, 60.0)) * len({spec.machine for spec in lanes}) / 4.0
    gaps = rng.exponential(1.0 / rate, n) * (rng.random(n) > 0.1)  # some come together
    outputs = np.where(rng.random(n) < 0.15, 1, np.minimum(rng.geometric(1.0 / 40, n), 400))
    requests = requests_of(np.cumsum(gaps), np.clip(rng.lognormal(6.8, 0.9, n), 1, 5000), outputs)
    chunk = pick(None, None, 256)
    policy = Policy(
        routing=pick("pending_tokens", "pending_tokens", "least_loaded", "round_robin"),  # type: ignore[arg-type]
        decode_routing=pick("sequences", "memory"), chunk_tokens=chunk, overflow=bool(rng.random() < 0.3),  # type: ignore[arg-type]
        overflow_tokens=int(pick(8192, 1500)), shared_budget=chunk is None and bool(rng.random() < 0.3),  # type: ignore[call-overload]
        max_pauses=int(pick(4, 1)), long_prompts_wait=bool(rng.random() < 0.2), contention=bool(rng.random() < 0.8),  # type: ignore[call-overload]
        ties=pick("turns", "turns", "first"),  # type: ignore[arg-type]
    )  # fmt: skip
    failures = []
    if rng.random() < 0.4:
        end = float(requests.arrival_s[-1])
        by_pool = {spec.pool: {s.machine for s in lanes if s.pool == spec.pool} for spec in lanes}
        spared = [m for machines in by_pool.values() if len(machines) > 1 for m in list(machines)[:1]]
        for m in spared:
            at = float(rng.uniform(0.0, end))
            failures.append(
                Failure(m, at, at + float(rng.uniform(0.1, end + 0.2)) if rng.random() < 0.6 else float("inf"))
            )
    failures = [replace(failure, drains=(seed + n) % 3 == 0) for n, failure in enumerate(failures)]
    return {
        "lanes": lanes, "ways": ways, "wires": wires, "requests": requests, "policy": policy, "failures": failures,
        "seed": seed, "n_samples": int(pick(0, 7)),  # type: ignore[call-overload]
        "clients": pick(None, None, Clients(int(rng.integers(1, 40)), float(pick(0.0, 0.7)))),  # type: ignore[arg-type]
        "front_end_s": pick((0.0, 0.0, 0.0), (0.01, 0.002, 1e-6)),
    }  # fmt: skip


def same(a: Outcome, b: Outcome) -> list[str]:
    """Names of what differs, to the bit."""
    differ = []
    for field in fields(Outcome):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            if x.shape != y.shape or not np.array_equal(x, y, equal_nan=True):
                differ.append(field.name)
        elif field.name == "requests":
            if not np.array_equal(x.arrival_s, y.arrival_s):
                differ.append("arrival_s")
        elif x != y:
            differ.append(field.name)
    return differ


@needs_core
@pytest.mark.parametrize("part", range(4))
def test_the_compiled_core_gives_the_same_bytes(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for seed in range(part * N_CLUSTERS // 4, (part + 1) * N_CLUSTERS // 4):
        case = random_case(seed)
        monkeypatch.delenv(core.OFF, raising=False)
        assert core.is_used()
        compiled = simulate_requests(**case)  # type: ignore[arg-type]
        monkeypatch.setenv(core.OFF, "1")
        assert not core.is_used()
        stepped = simulate_requests(**case)  # type: ignore[arg-type]
        assert same(compiled, stepped) == [], f"seed {seed}"
        policy = case["policy"]
        seen |= {
            name
            for name in ("n_restarted", "n_overflowed", "n_waited_for_memory", "n_preempted")
            if getattr(stepped, name)
        }
        seen |= {"unlike chunks"} if len({chunk_of(spec, policy) for spec in case["lanes"]}) > 1 else set()  # type: ignore[arg-type,attr-defined]
        seen |= {"clients"} if case["clients"] is not None else set()
        seen |= {"apart"} if any(spec.apart for spec in case["lanes"]) else set()  # type: ignore[attr-defined]
        seen |= {f"{name}={getattr(policy, name)}" for name in ("routing", "ties", "contention", "shared_budget")}
    assert {
        "n_restarted",
        "n_overflowed",
        "n_waited_for_memory",
        "n_preempted",
        "routing=round_robin",
        "ties=first",
        "unlike chunks",
        "apart",
        "clients",
    } <= seen


@needs_core
def test_ctrl_c_leaves_what_had_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(core.OFF, raising=False)
    step = AffineSteps()
    n = 3 * core.ARRIVALS_AT_ONCE
    requests = requests_of(np.arange(n) * 0.05, np.full(n, 300.0), np.full(n, 5.0))

    def stop(done: int, now_s: float) -> None:
        if done == 2 * core.ARRIVALS_AT_ONCE:
            raise KeyboardInterrupt

    outcome = simulate_requests(lanes_of(step, "mixed", 0, 0, 2), [(0, None, 1.0)], {}, requests, progress=stop)
    assert outcome.interrupted and outcome.n_arrived == 2 * core.ARRIVALS_AT_ONCE
    assert 0 < outcome.n_finished <= outcome.n_arrived
    assert outcome.horizon_s == outcome.end_s < float(requests.arrival_s[-1])


@needs_core
def test_ctrl_c_is_heard_while_the_core_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of the core would take all the work, nearly all of it behind the last arrival."""
    monkeypatch.delenv(core.OFF, raising=False)
    monkeypatch.setattr(core, "ARRIVALS_AT_ONCE", 10**9)
    n = 4_000_000  # more than a second of work
    requests = requests_of(np.zeros(n), np.full(n, 300.0), np.full(n, 40.0))

    def soon(done: int, now_s: float) -> None:
        if done == 0:
            threading.Timer(0.05, _thread.interrupt_main).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore it
    try:
        outcome = simulate_requests(
            lanes_of(AffineSteps(), "mixed", 0, 0, 2), [(0, None, 1.0)], {}, requests, progress=soon
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.interrupted and outcome.n_finished < n
