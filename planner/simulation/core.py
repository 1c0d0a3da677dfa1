"""The compiled twin of the engine, where one was built: the same bytes, many times sooner.

`core.c` is compiled when the package is installed (`hatch_build.py`); where that could not be, `library` is None and
`planner.simulation.loop` runs in Python.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np

from planner.errors import PlannerError
from planner.simulation.arrivals import Requests
from planner.simulation.closed_loop import Users, sent_at
from planner.simulation.lane import chunk_of
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Failure, LaneSpec, Policy, Way, Wire
from planner.simulation.steps import StepTable

ARRIVALS_AT_ONCE = 20_000  # between two calls of `progress`
EVENTS_AT_ONCE = 10_000  # between two chances for Ctrl-C: some hundredths of a second
OFF = "PLANNER_PYTHON_ENGINE"  # set to anything: run in Python though a compiled core is there
_NAME = "_core.dll" if sys.platform == "win32" else "_core.so"
_DONE, _PAUSED_AT_ARRIVAL, _OUT_OF_MEMORY, _PAUSED_AT_EVENT = range(4)
_N_INTEGRALS = 6
_f64, _i64, _i32 = ctypes.c_double, ctypes.c_int64, ctypes.c_int32
_pointer = ctypes.c_void_p


class _Table(ctypes.Structure):
    _fields_ = [
        *(
            (name, _pointer)
            for name in (
                "decode_s",
                "prompt_s",
                "mixed_offset_s",
                "mixed_slope",
                "together_s",
                "on_one",
            )
        ),
        *((name, _f64) for name in ("context_s", "pair_s", "extra_prompt_s", "spread_pair_s", "pairs_per_token")),
        ("prompt_stride", _i64),
        ("n_on_one", _i64),
    ]


class _LaneSpec(ctypes.Structure):
    _fields_ = [
        ("kv_tokens", _f64), ("max_batch", _i64), ("token_budget", _i64), ("chunk_tokens", _i64),
        *((name, _i32) for name in ("pool", "machine", "table", "nic", "apart", "paged")),
    ]  # fmt: skip


class _Wire(ctypes.Structure):
    _fields_ = [
        *((name, _f64) for name in ("bytes_per_token", "bandwidth_bytes_per_s", "latency_s", "setup_s")),
        ("synchronisation_s", _f64), ("n_layers", _i64), ("overlapped", _i32), ("exists", _i32),
    ]  # fmt: skip


class _Policy(ctypes.Structure):
    _fields_ = [
        *((name, _i64) for name in ("overflow_tokens", "max_pauses")),
        *((name, _i32) for name in (
            "by_tokens", "round_robin", "by_memory", "overflow", "shared_budget", "long_prompts_wait", "contention",
            "in_turns",
        )),
    ]  # fmt: skip


class _Job(ctypes.Structure):
    _fields_ = [
        ("n_requests", _i64),
        *((name, _pointer) for name in ("arrival_s", "prompt", "output", "skip", "way_of")),
        *((name, _i32) for name in ("n_lanes", "n_pools", "n_nics", "n_ways", "n_samples", "n_failures")),
        *((name, _pointer) for name in (
            "specs", "tables", "wires", "ways", "nic_bytes_per_s", "per_sent", "sample_times", "failed_machine",
            "failed_at_s", "repaired_s", "first_due_s", "pause_s", "work_s",
        )),
        ("n_clients", _i64),
        ("policy", _Policy),
        *((name, _pointer) for name in (
            "first_token", "finish", "prefill_start", "transfer", "largest_gap", "totals", "sample_s", "samples",
            "sent_s",
        )),
        *((name, _i64) for name in (
            "n_restarted", "n_overflowed", "n_waited", "n_preempted", "n_sampled", "r", "n_held", "totals_known",
        )),
        ("now", _f64),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled core; None where none was built, or it cannot be loaded here.

    One that was compiled from other sources is left alone, with a warning.
    """
    file = Path(__file__).with_name(_NAME)
    if not os.path.isfile(file):
        return None
    try:
        found = ctypes.CDLL(str(file))
    except OSError:
        return None
    told = getattr(found, "planner_core_job_bytes", None)
    if told is not None:
        told.restype = _i64
    if told is None or told() != ctypes.sizeof(_Job):
        warnings.warn(
            f"{file} was compiled from other sources: simulations run in Python, many times slower, until "
            "`python hatch_build.py` compiles it anew", stacklevel=2,
        )  # fmt: skip
        return None
    found.planner_core_new.restype = _pointer
    found.planner_core_new.argtypes = [ctypes.POINTER(_Job)]
    found.planner_core_run.argtypes = [_pointer, _i64, _i64]
    found.planner_core_totals.argtypes = [_pointer]
    found.planner_core_totals.restype = found.planner_core_free.restype = None
    found.planner_core_free.argtypes = [_pointer]
    return found


def is_used() -> bool:
    """Whether simulations run in the compiled core."""
    return not os.environ.get(OFF) and library() is not None


def simulate(
    lanes: Sequence[LaneSpec],
    ways: Sequence[Way],
    wires: Mapping[tuple[int, int], Wire],
    requests: Requests,
    policy: Policy,
    failures: Sequence[Failure],
    *,
    nic: Sequence[int],
    nic_bytes_per_s: Sequence[float],
    per_sent: Sequence[float],
    way_of: np.ndarray | None,
    too_large: np.ndarray,
    n_samples: int,
    progress: Callable[[int, float], None] | None,
    users: Users | None = None,
) -> Outcome:
    """Run requests through a cluster; arguments as `planner.simulation.engine` prepares them.

    With `users`, each request comes when one of them sends it.
    """
    core = library()
    assert core is not None
    keep: list[Any] = []  # what the core reads must live as long as it runs

    def given(values: Any, kind: Any) -> Any:
        array = np.ascontiguousarray(values, dtype=kind)
        keep.append(array)
        return array.ctypes.data if array.size else None

    def filled(shape: int | tuple[int, ...], kind: Any, value: float) -> np.ndarray:
        return np.full(shape, value, dtype=kind)

    n, n_pools = len(requests), 1 + max(spec.pool for spec in lanes)
    skip = np.zeros(n, dtype=np.uint8)
    skip[too_large] = 1
    first_token, finish, start = (filled(n, np.float64, np.nan) for _ in range(3))
    transfer, largest_gap = (filled(n, np.float32, 0.0) for _ in range(2))
    totals, sent_s = np.zeros((n_pools, _N_INTEGRALS)), np.zeros(n if users is not None else 0)
    sample_s = np.zeros(n_samples + 1)
    samples = np.zeros((n_samples + 1, n_pools, _N_INTEGRALS))
    tables, table_of = _tables(lanes, given)
    specs = (_LaneSpec * len(lanes))(*(
        _LaneSpec(
            s.kv_tokens, s.max_batch, s.token_budget, -1 if (chunk := chunk_of(s, policy)) is None else chunk,
            s.pool, s.machine, table_of[id(s.table)], nic[i], s.apart, s.paged,
        )
        for i, s in enumerate(lanes)
    ))  # fmt: skip
    job = _Job(
        n_requests=n,
        arrival_s=given(requests.arrival_s, np.float64),
        prompt=given(requests.prompt_tokens, np.int32),
        output=given(requests.output_tokens, np.int32),
        skip=skip.ctypes.data,
        way_of=None if way_of is None else given(way_of, np.int16),
        n_lanes=len(lanes), n_pools=n_pools, n_nics=len(nic_bytes_per_s), n_ways=len(ways), n_samples=n_samples,
        n_failures=len(failures),
        specs=ctypes.addressof(specs), tables=ctypes.addressof(tables),
        wires=ctypes.addressof(_wires(wires, n_pools, keep)),
        ways=given([[first, -1 if second is None else second] for first, second, _ in ways], np.int32),
        nic_bytes_per_s=given(nic_bytes_per_s, np.float64),
        per_sent=given(per_sent, np.float64),
        sample_times=given(np.linspace(0.0, float(requests.arrival_s[-1]), n_samples + 1)[1:], np.float64),
        failed_machine=given([-1 - f.machine if f.drains else f.machine for f in failures], np.int32),
        failed_at_s=given([f.at_s for f in failures], np.float64),
        repaired_s=given([f.repaired_s for f in failures], np.float64),
        first_due_s=None if users is None else given(users.first_due_s, np.float64),
        pause_s=None if users is None else given(users.pause_s, np.float64),
        work_s=None if users is None else given(users.work_s, np.float64),
        n_clients=0 if users is None else users.first_due_s.size,
        sent_s=sent_s.ctypes.data,
        policy=_policy(policy),
        first_token=first_token.ctypes.data, finish=finish.ctypes.data, prefill_start=start.ctypes.data,
        transfer=transfer.ctypes.data, largest_gap=largest_gap.ctypes.data, totals=totals.ctypes.data,
        sample_s=sample_s[1:].ctypes.data, samples=samples[1:].ctypes.data,
    )  # fmt: skip
    state = core.planner_core_new(ctypes.byref(job))
    if not state:
        raise MemoryError
    interrupted = False
    try:
        try:
            for at in range(0, n, ARRIVALS_AT_ONCE):
                if progress is not None:
                    progress(at, job.now)
                until = min(at + ARRIVALS_AT_ONCE, n)
                while (told := core.planner_core_run(state, until, EVENTS_AT_ONCE)) == _PAUSED_AT_EVENT:
                    pass  # a Ctrl-C is raised here
                if told == _OUT_OF_MEMORY:
                    raise MemoryError
            if progress is not None:
                progress(n, job.now)
        except KeyboardInterrupt:
            interrupted = True
        if not interrupted and job.n_held:
            raise PlannerError(
                f"the simulation stalled at {job.now:g} s with {job.n_held} requests",
                rule="report this scenario as a bug",
            )
        if not job.totals_known or interrupted:
            core.planner_core_totals(state)
    finally:
        core.planner_core_free(state)
    if users is not None:
        requests = sent_at(requests, sent_s[: job.r])
    horizon = job.now if interrupted else float(requests.arrival_s[-1])
    end = job.now if interrupted else horizon
    if not interrupted and too_large.size < n:
        end = max(horizon, float(np.nanmax(finish)))
    return Outcome(
        requests=requests, first_token_s=first_token, finish_s=finish, prefill_start_s=start, transfer_s=transfer,
        largest_gap_s=largest_gap, pool_busy_s=totals[:, 0], pool_prompt_s=totals[:, 1],
        pool_lanes=np.bincount([spec.pool for spec in lanes], minlength=n_pools), pool_batch_s=totals[:, 2],
        pool_context_token_s=totals[:, 3], pool_kv_token_s=totals[:, 4], pool_prompt_tokens=totals[:, 5],
        sample_s=sample_s[: job.n_sampled + 1] if n_samples else np.array([]),
        samples=samples[: job.n_sampled + 1] if n_samples else np.array([]).reshape(-1, n_pools, _N_INTEGRALS),
        n_restarted=job.n_restarted, n_overflowed=job.n_overflowed, n_waited_for_memory=job.n_waited,
        n_preempted=job.n_preempted,
        too_large=too_large[too_large < job.r], n_arrived=job.r, horizon_s=horizon, end_s=end, interrupted=interrupted,
    )  # fmt: skip


def _tables(lanes: Sequence[LaneSpec], given: Callable[[Any, Any], Any]) -> tuple[Any, dict[int, int]]:
    different: dict[int, StepTable] = {id(spec.table): spec.table for spec in lanes}
    arrays = (_Table * len(different))()
    for n, t in enumerate(different.values()):
        columns = [given(x, np.float64) for x in (t.decode_s, t.prompt_s, t.mixed_offset_s, t.mixed_slope)]
        times = t.context_s, t.pair_s, t.extra_prompt_s
        if t.spread is None:
            arrays[n] = _Table(*columns, None, None, *times, 0.0, 0.0, t.prompt_stride, 0)
        else:
            together, on_one = (given(x, np.float64) for x in (t.spread.together_s, t.spread.on_one))
            spread = t.spread.pair_s, t.spread.pairs_per_token
            arrays[n] = _Table(*columns, together, on_one, *times, *spread, t.prompt_stride, len(t.spread.on_one))
    return arrays, {key: n for n, key in enumerate(different)}


def _wires(wires: Mapping[tuple[int, int], Wire], n_pools: int, keep: list[Any]) -> Any:
    found = (_Wire * (n_pools * n_pools))()
    for (first, second), w in wires.items():
        if first < n_pools and second < n_pools:
            found[first * n_pools + second] = _Wire(
                w.bytes_per_token, w.bandwidth_bytes_per_s, w.latency_s, w.setup_s, w.synchronisation_s, w.n_layers,
                w.overlapped, 1,
            )  # fmt: skip
    keep.append(found)
    return found


def _policy(policy: Policy) -> _Policy:
    return _Policy(
        overflow_tokens=_whole(policy.overflow_tokens), max_pauses=_whole(policy.max_pauses),
        by_tokens=policy.routing != "least_loaded", round_robin=policy.routing == "round_robin",
        by_memory=policy.decode_routing == "memory", overflow=policy.overflow, shared_budget=policy.shared_budget,
        long_prompts_wait=policy.long_prompts_wait, contention=policy.contention, in_turns=policy.ties == "turns",
    )  # fmt: skip


def _whole(value: float) -> int:
    return 2**62 if isinf(value) or value > 2**62 else int(value)
