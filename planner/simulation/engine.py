"""The event loop.

Requests are integers over arrays; a lane is an index over lists. A run of decode steps until the next sequence ends
is one event: contexts grow by one a step, so its length is a closed form. Whoever arrives in between cuts the run at
the next step boundary, and the old event is recognised by its version and dropped. Everything happens in the one
function `simulate_requests`, because a function call costs as much as the rest of an event; what can be said outside
the loop is outside.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, inf, sqrt
from typing import Literal

import numpy as np

from planner.errors import ScenarioError
from planner.simulation.arrivals import Requests
from planner.simulation.steps import StepTable

Role = Literal["prefill", "decode", "mixed"]


@dataclass(frozen=True, eq=False)
class LaneSpec:
    """One lane of a simulated cluster.

    Attributes
    ----------
    role : str
    pool, machine : int
        Index of its pool and of its machine; lanes of a machine share its NICs and fail together.
    table : StepTable
    kv_tokens : float
        KV memory [tokens].
    max_batch, token_budget : int
        Most sequences decoding together, and most prompt tokens in a step.
    """

    role: Role
    pool: int
    machine: int
    table: StepTable
    kv_tokens: float
    max_batch: int
    token_budget: int


@dataclass(frozen=True, eq=False)
class Wire:
    """KV transfer from one pool to another.

    Attributes
    ----------
    bytes_per_token : float
        KV cache of one token [bytes].
    bandwidth_bytes_per_s : float
        From one replica to another [bytes/s].
    latency_s, setup_s, synchronisation_s : float
        Of the fabric; of a serialised transfer; left exposed by an overlapped one [s].
    overlapped : bool
        Whether layers may be sent while the rest of the prompt is computed.
    n_layers : int
    """

    bytes_per_token: float
    bandwidth_bytes_per_s: float
    latency_s: float
    setup_s: float
    synchronisation_s: float
    overlapped: bool
    n_layers: int


@dataclass(frozen=True)
class Failure:
    """A machine that stops at a time and, unless `repaired_s` is infinite, comes back empty [s]."""

    machine: int
    at_s: float
    repaired_s: float = inf


@dataclass(frozen=True)
class Policy:
    """How requests are routed and batched.

    Attributes
    ----------
    routing : str
        `pending_tokens`: prompts to the lane with fewest tokens waiting (join-shortest-queue); `least_loaded`: to
        the one with fewest requests; `round_robin`.
    chunk_tokens : int or None
        Chunked prefill: prompt tokens that a step with decoding sequences may carry; None computes whole prompts.
    overflow : bool
        The paper's mixed pool: a prompt that would wait behind more than `overflow_tokens` may run on a decode
        machine that has none, and a request that finds no decode memory free decodes where its prompt ran.
    overflow_tokens : int
    """

    routing: Literal["pending_tokens", "least_loaded", "round_robin"] = "pending_tokens"
    chunk_tokens: int | None = None
    overflow: bool = False
    overflow_tokens: int = 8192


@dataclass(frozen=True, eq=False)
class Outcome:
    """What happened to every request, in order of arrival.

    Attributes
    ----------
    requests : Requests
    first_token_s, finish_s : ndarray, shape (n,)
        When the first and last token were out; NaN for a request that did not get so far [s].
    prefill_start_s : ndarray, shape (n,)
        When its prompt began to be computed; NaN if it never did [s].
    transfer_s, largest_gap_s : ndarray, shape (n,)
        Delay between prefill's end and joining a decode batch, and the longest time between two tokens [s].
    pool_busy_s, pool_lanes, pool_batch_s : ndarray, shape (p,)
        Time that lanes of each pool were busy, summed; lanes; and the integral of sequences decoding [s].
    pool_kv_token_s : ndarray, shape (p,)
        Integral of the KV tokens reserved [token s].
    n_restarted, n_overflowed, n_waited_for_memory : int
    too_large : ndarray of int
        Requests that no lane of the right role can ever hold.
    end_s : float
        When the simulation ended.
    interrupted : bool
        Whether it was stopped before all requests were done.
    """

    requests: Requests
    first_token_s: np.ndarray
    finish_s: np.ndarray
    prefill_start_s: np.ndarray
    transfer_s: np.ndarray
    largest_gap_s: np.ndarray
    pool_busy_s: np.ndarray
    pool_lanes: np.ndarray
    pool_batch_s: np.ndarray
    pool_kv_token_s: np.ndarray
    n_restarted: int
    n_overflowed: int
    n_waited_for_memory: int
    too_large: np.ndarray
    end_s: float
    interrupted: bool


_BOUNDARY, _JOIN, _FAIL, _REPAIR = range(4)  # kinds of events
_QUEUED, _COMPUTING, _WAITING, _MOVING, _DECODING = range(5)  # stages of a request
_ARRIVALS_AT_ONCE = 50_000


@dataclass(eq=False, slots=True)
class _Lane:
    """What changes about a lane."""

    spec: LaneSpec
    up: bool = True
    version: int = 0
    running: int = 0  # 0 idle, 1 a step with prompts, 2 a run of decode steps
    since: float = 0.0  # when the step or run began
    steps: int = 0  # decode steps in the run
    first: float = 0.0  # time of the first of them
    cut: bool = False  # whether the run was cut at a boundary already
    done: int = 0  # decode steps the lane has ever taken
    batch: int = 0
    context: int = 0
    members: int = 0  # sequences decoding, joining or on their way
    reserved: int = 0  # KV tokens promised to requests
    reserved_since: float = 0.0
    ends: list[tuple[int, int]] = field(default_factory=list)  # heap of (step, request)
    queue: deque[int] = field(default_factory=deque)  # prompts waiting
    prompts: list[int] = field(default_factory=list)  # prompts in the running step
    computed: int = 0  # tokens of the first prompt in the queue that chunks have done
    joining: list[int] = field(default_factory=list)  # sequences that wait for the next boundary
    waiting: deque[int] = field(default_factory=deque)  # requests that wait for KV memory
    gap_steps: list[int] = field(default_factory=list)  # falling record of step times, for the largest gap
    gaps: list[float] = field(default_factory=list)


def simulate_requests(
    lanes: Sequence[LaneSpec],
    ways: Sequence[tuple[int, int | None, float]],
    wires: dict[tuple[int, int], Wire],
    requests: Requests,
    *,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    failures: Sequence[Failure] = (),
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Simulate requests on a cluster.

    Parameters
    ----------
    lanes : sequence of LaneSpec
    ways : sequence of (first pool, second pool or None, weight)
        Ways that requests take, each at random with its weight: a mixed pool, or a prefill and a decode pool.
    wires : mapping of (prefill pool, decode pool) to Wire
    requests : Requests
    policy : Policy
    failures : sequence of Failure
    seed : int
        Of the choice among ways.
    progress : callable, optional
        Called every 50,000 arrivals with the number so far and the simulated time [s].

    Returns
    -------
    Outcome
        Partial and marked so after Ctrl-C.

    Raises
    ------
    ScenarioError
        A way without lanes, or failures that leave a pool empty for good.
    """
    n_requests = len(requests)
    n_pools = 1 + max(spec.pool for spec in lanes)
    state = [_Lane(spec) for spec in lanes]
    pool_lanes: list[list[int]] = [[i for i, s in enumerate(lanes) if s.pool == p] for p in range(n_pools)]
    _check_ways(ways, pool_lanes)
    n_machines = 1 + max(spec.machine for spec in lanes)
    machine_lanes = [[i for i, s in enumerate(lanes) if s.machine == m] for m in range(n_machines)]
    place = [pool_lanes[s.pool].index(i) for i, s in enumerate(lanes)]
    # What the router compares, pool by pool: prompt tokens waiting and sequences decoding (or requests, by policy).
    prompt_load: list[list[float]] = [[0.0] * len(members) for members in pool_lanes]
    decode_load: list[list[float]] = [[0.0] * len(members) for members in pool_lanes]
    turn = [0] * n_pools
    by_tokens, in_turn = policy.routing == "pending_tokens", policy.routing == "round_robin"
    chunk, overflow, overflow_tokens = policy.chunk_tokens, policy.overflow, policy.overflow_tokens

    weights = np.array([w for _, _, w in ways], dtype=float)
    way_of: list[int] | None = None
    if len(ways) > 1:
        rng = np.random.default_rng(seed)
        way_of = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(n_requests)).tolist()

    nan = float("nan")
    prompt, output = array("q", requests.prompt_tokens.tobytes()), array("q", requests.output_tokens.tobytes())
    first_token, finish = array("d", [nan]) * n_requests, array("d", [nan]) * n_requests
    prefill_start, transfer = array("d", [nan]) * n_requests, array("f", [0.0]) * n_requests
    largest_gap = array("f", [0.0]) * n_requests
    to_lane: dict[int, int] = {}  # decode lane of a request on its way
    home: dict[int, int] = {}  # lane that computed its prompt
    moving: dict[int, int] = {}  # number of the event that ends a transfer
    stage = bytearray(n_requests)
    joined: dict[int, int] = {}  # step of its lane at which a request joined
    egress, ingress = [0.0] * n_machines, [0.0] * n_machines
    busy, batch_time, kv_time = [0.0] * n_pools, [0.0] * n_pools, [0.0] * n_pools
    too_large = _too_large(lanes, pool_lanes, ways, way_of, requests)
    n_restarted = n_overflowed = n_waited = 0
    heap: list[tuple[float, int, int, int, int]] = []
    number = 0

    def push(time: float, kind: int, a: int, b: int) -> None:
        nonlocal number
        number += 1
        heappush(heap, (time, number, kind, a, b))

    def reserve(lane: _Lane, tokens: int, t: float) -> None:
        kv_time[lane.spec.pool] += lane.reserved * (t - lane.reserved_since)
        lane.reserved_since = t
        lane.reserved += tokens

    def begin(i: int, t: float) -> None:
        """Start what a lane does next, at a step boundary."""
        lane = state[i]
        spec = lane.spec
        table = spec.table
        lane.cut = False
        fresh = lane.joining
        if fresh:
            for r in fresh:
                heappush(lane.ends, (lane.done + output[r] - 1, r))
                joined[r] = lane.done
                lane.context += prompt[r] + 1
            lane.batch += len(fresh)
            lane.joining = []
        batch, context = lane.batch, lane.context
        queue = lane.queue
        duration = 0.0
        if queue:
            total, pairs, taken = 0, 0.0, lane.prompts
            most = spec.token_budget if chunk is None else max(chunk - batch, 1)
            while queue:
                r = queue[0]
                left = prompt[r] - lane.computed
                if chunk is None:
                    if total and total + left > most:
                        break
                elif total >= most:
                    break
                if not lane.computed:
                    # Only now does the prompt take memory: for itself alone where it will be sent away.
                    need = prompt[r] if r in to_lane else prompt[r] + output[r]
                    if lane.reserved + need > spec.kv_tokens or (
                        r not in to_lane and lane.members >= spec.max_batch
                    ):
                        break
                    reserve(lane, need, t)
                    if r not in to_lane:
                        lane.members += 1
                    stage[r] = _COMPUTING
                    prefill_start[r] = t
                now = left if chunk is None else min(left, most - total)
                total += now
                pairs += now * (lane.computed + (now + 1) / 2.0)
                if now < left:
                    lane.computed += now
                    break
                lane.computed = 0
                taken.append(queue.popleft())
            if total:
                duration = table.prefill_s(total, pairs, max(len(taken), 1))
                if batch:
                    duration = table.mixed_s(duration, batch, context)
                lane.running, lane.steps = 1, 1
        if not duration:
            if not batch:
                lane.running = 0
                return
            first = table.decode_s[batch] + table.context_s * context
            steps = lane.ends[0][0] - lane.done
            duration = steps * first + table.context_s * batch * steps * (steps - 1) / 2.0
            lane.running, lane.steps, lane.first = 2, steps, first
        if fresh:
            next_token = t + (lane.first if lane.running == 2 else duration)
            for r in fresh:
                gap = next_token - first_token[r]
                if gap > largest_gap[r]:
                    largest_gap[r] = gap
        lane.since = t
        push(t + duration, _BOUNDARY, i, lane.version)

    def cut(i: int, t: float) -> None:
        """End a run of decode steps at the first boundary from `t` on."""
        lane = state[i]
        growth = lane.spec.table.context_s * lane.batch
        elapsed, first = t - lane.since, lane.first
        if growth > 1e-18:
            b = first - growth / 2.0
            n = ceil((sqrt(b * b + 2.0 * growth * elapsed) - b) / growth - 1e-9)
        else:
            n = ceil(elapsed / first - 1e-9)
        n = max(n, 1)
        lane.cut = True
        if n < lane.steps:
            lane.steps = n
            lane.version += 1
            push(lane.since + n * first + growth * n * (n - 1) / 2.0, _BOUNDARY, i, lane.version)

    def wake(i: int, t: float) -> None:
        lane = state[i]
        if lane.running == 0:
            begin(i, t)
        elif lane.running == 2 and not lane.cut:
            cut(i, t)

    def choose(pool: int, loads: list[list[float]]) -> int:
        """Lane of a pool for the next request."""
        load = loads[pool]
        if in_turn:
            for _ in load:
                at = turn[pool] % len(load)
                turn[pool] += 1
                if load[at] != inf:
                    return pool_lanes[pool][at]
        return pool_lanes[pool][load.index(min(load))]

    def enqueue(r: int, t: float) -> None:
        """Route a request that arrives, or starts again."""
        nonlocal n_overflowed
        first, second, _ = ways[way_of[r]] if way_of is not None else ways[0]
        i = choose(first, prompt_load)
        if second is not None and output[r] > 1:
            if overflow and prompt_load[first][place[i]] > overflow_tokens:
                other = choose(second, prompt_load)
                if not state[other].queue and state[other].reserved + prompt[r] + output[r] <= lanes[other].kv_tokens:
                    n_overflowed += 1
                    i, second = other, None
            if second is not None:
                j = choose(second, decode_load)
                to_lane[r] = j
                decode_load[second][place[j]] += 1.0
        home[r] = i
        stage[r] = _QUEUED
        prompt_load[lanes[i].pool][place[i]] += prompt[r] if by_tokens else 1.0
        state[i].queue.append(r)
        wake(i, t)

    def send(r: int, i: int, t: float) -> None:
        """Move a request's KV cache to its decode lane, which has room for it."""
        j = to_lane[r]
        source, target = lanes[i], lanes[j]
        state[j].members += 1
        reserve(state[j], prompt[r] + output[r], t)
        stage[r] = _MOVING
        wire = wires[source.pool, target.pool]
        on_wire = prompt[r] * wire.bytes_per_token / wire.bandwidth_bytes_per_s
        serial = wire.setup_s + wire.latency_s + on_wire
        exposed = serial
        computing = t - prefill_start[r]
        if wire.overlapped:
            hidden = computing * (1.0 - 1.0 / wire.n_layers)
            behind = wire.synchronisation_s + wire.latency_s + max(on_wire - hidden, on_wire / wire.n_layers)
            exposed = min(serial, behind)
        begun = t - computing if exposed < serial else t
        # The NICs of both machines carry one transfer at a time.
        free = max(egress[source.machine], ingress[target.machine], begun)
        egress[source.machine] = ingress[target.machine] = free + on_wire
        push(max(t + exposed, free + on_wire + wire.latency_s), _JOIN, j, r)
        moving[r] = number

    def stay(r: int, i: int) -> None:
        """Decode a request where its prompt was computed."""
        spec = lanes[i]
        stage[r] = _DECODING
        state[i].joining.append(r)
        prompt_load[spec.pool][place[i]] += 1.0
        if spec.role == "decode":
            decode_load[spec.pool][place[i]] += 1.0

    def hand_over(r: int, i: int, t: float) -> None:
        """A prompt is computed: decode here, or send it to its decode lane when that has memory."""
        lane = state[i]
        prompt_load[lane.spec.pool][place[i]] -= prompt[r] if by_tokens else 1.0
        if first_token[r] != first_token[r]:
            first_token[r] = t
        if output[r] == 1:
            finish[r] = t
            lane.members -= 1
            reserve(lane, -(prompt[r] + 1), t)
            del home[r]
            return
        j = to_lane.get(r)
        if j is None:
            stay(r, i)
            return
        place_decode(r, i, j, t)

    def place_decode(r: int, i: int, j: int, t: float) -> None:
        """Send a computed prompt to its decode lane `j`, or let it wait for memory there."""
        nonlocal n_waited, n_overflowed
        lane, target = state[i], state[j]
        if target.reserved + prompt[r] + output[r] <= target.spec.kv_tokens and target.members < target.spec.max_batch:
            send(r, i, t)
        elif overflow and lane.reserved + output[r] <= lane.spec.kv_tokens and lane.members < lane.spec.max_batch:
            n_overflowed += 1
            decode_load[target.spec.pool][place[j]] -= 1.0
            del to_lane[r]
            reserve(lane, output[r], t)
            lane.members += 1
            stay(r, i)
        else:
            n_waited += 1
            stage[r] = _WAITING
            target.waiting.append(r)

    def end(r: int, i: int, t: float) -> None:
        """A sequence is complete; its memory may let others in."""
        lane = state[i]
        spec = lane.spec
        finish[r] = t
        lane.batch -= 1
        lane.members -= 1
        lane.context -= prompt[r] + output[r]
        reserve(lane, -(prompt[r] + output[r]), t)
        worst = lane.gaps[bisect_left(lane.gap_steps, joined.pop(r) + 1)]
        if worst > largest_gap[r]:
            largest_gap[r] = worst
        if to_lane.pop(r, None) is None:
            prompt_load[spec.pool][place[i]] -= 1.0
            if spec.role == "decode":
                decode_load[spec.pool][place[i]] -= 1.0
        else:
            decode_load[spec.pool][place[i]] -= 1.0
        home.pop(r, None)
        waiting = lane.waiting
        while waiting:
            w = waiting[0]
            if lane.reserved + prompt[w] + output[w] > spec.kv_tokens or lane.members >= spec.max_batch:
                break
            waiting.popleft()
            send(w, home[w], t)

    def boundary(i: int, t: float) -> None:
        """A step with prompts, or a run of decode steps, is over."""
        lane = state[i]
        pool = lane.spec.pool
        duration = t - lane.since
        busy[pool] += duration
        batch = lane.batch
        if batch:
            batch_time[pool] += batch * duration
            lane.context += batch * lane.steps
            lane.done += lane.steps
            # Contexts grow, so the last step of a run is its longest.
            gap = duration if lane.running == 1 else lane.first + lane.spec.table.context_s * batch * (lane.steps - 1)
            gap_steps, gaps = lane.gap_steps, lane.gaps
            while gaps and gaps[-1] <= gap:
                gaps.pop()
                gap_steps.pop()
            gaps.append(gap)
            gap_steps.append(lane.done)
        if lane.running == 1:
            done, lane.prompts = lane.prompts, []
            for r in done:
                hand_over(r, i, t)
        ends = lane.ends
        while ends and ends[0][0] <= lane.done:
            end(heappop(ends)[1], i, t)
        if not lane.batch and lane.gaps:
            lane.gaps.clear()
            lane.gap_steps.clear()
        lane.running = 0
        begin(i, t)

    def join(r: int, j: int, t: float) -> None:
        """A KV cache has arrived."""
        stage[r] = _DECODING
        transfer[r] = t - first_token[r]
        source = home[r]
        reserve(state[source], -prompt[r], t)
        if state[source].queue and state[source].running == 0:
            begin(source, t)
        state[j].joining.append(r)
        wake(j, t)

    def fail(machine: int, t: float) -> None:
        """Stop a machine. What it held starts again elsewhere; what was only on its way there is sent elsewhere."""
        nonlocal n_restarted
        gone = set(machine_lanes[machine])
        touched = sorted(r for r, i in home.items() if i in gone or to_lane.get(r) in gone)
        for i in gone:
            lane, spec = state[i], lanes[i]
            reserve(lane, -lane.reserved, t)
            state[i] = _Lane(spec, up=False, version=lane.version + 1, reserved_since=t)
            prompt_load[spec.pool][place[i]] = decode_load[spec.pool][place[i]] = inf
        _check_pools_up(ways, pool_lanes, state, t)
        again: list[int] = []
        for r in touched:
            i, j, at = home[r], to_lane.get(r), stage[r]
            if at == _DECODING:
                if (i if j is None else j) in gone:
                    joined.pop(r, None)
                    again.append(r)
            elif i in gone:
                if j is not None and j not in gone:
                    decode_load[lanes[j].pool][place[j]] -= 1.0
                    if at == _MOVING:
                        state[j].members -= 1
                        reserve(state[j], -(prompt[r] + output[r]), t)
                    elif at == _WAITING:
                        state[j].waiting.remove(r)
                again.append(r)
            else:
                assert j is not None
                other = choose(lanes[j].pool, decode_load)
                decode_load[lanes[other].pool][place[other]] += 1.0
                to_lane[r] = other
                if at in (_WAITING, _MOVING):
                    moving.pop(r, None)
                    place_decode(r, i, other, t)
        for r in again:
            del home[r]
            to_lane.pop(r, None)
            moving.pop(r, None)
        n_restarted += len(again)
        for r in again:
            enqueue(r, t)

    for failure in failures:
        push(failure.at_s, _FAIL, failure.machine, 0)
        if failure.repaired_s < inf:
            push(failure.repaired_s, _REPAIR, failure.machine, 0)

    skip = set(too_large)
    now, r, interrupted = 0.0, 0, False
    times: list[float] = []
    offset = 0
    try:
        while True:
            if r - offset >= len(times):
                offset = r
                times = requests.arrival_s[r : r + _ARRIVALS_AT_ONCE].tolist()
                if progress is not None:
                    progress(r, now)
            next_arrival = times[r - offset] if times else inf
            if heap and heap[0][0] <= next_arrival:
                now, serial, kind, a, b = heappop(heap)
                if kind == _BOUNDARY:
                    if state[a].version == b:
                        boundary(a, now)
                elif kind == _JOIN:
                    if moving.get(b) == serial:
                        del moving[b]
                        join(b, a, now)
                elif kind == _FAIL:
                    fail(a, now)
                else:
                    for i in machine_lanes[a]:
                        state[i].up = True
                        prompt_load[lanes[i].pool][place[i]] = decode_load[lanes[i].pool][place[i]] = 0.0
            elif times:
                now = next_arrival
                if r not in skip:
                    enqueue(r, now)
                r += 1
            else:
                break
    except KeyboardInterrupt:
        interrupted = True
    for lane in state:
        reserve(lane, 0, now)
    return Outcome(
        requests=requests,
        first_token_s=np.frombuffer(first_token),
        finish_s=np.frombuffer(finish),
        prefill_start_s=np.frombuffer(prefill_start),
        transfer_s=np.frombuffer(transfer, dtype=np.float32),
        largest_gap_s=np.frombuffer(largest_gap, dtype=np.float32),
        pool_busy_s=np.array(busy),
        pool_lanes=np.array([len(members) for members in pool_lanes]),
        pool_batch_s=np.array(batch_time),
        pool_kv_token_s=np.array(kv_time),
        n_restarted=n_restarted,
        n_overflowed=n_overflowed,
        n_waited_for_memory=n_waited,
        too_large=np.array(too_large, dtype=np.int64),
        end_s=now,
        interrupted=interrupted,
    )


def _check_ways(ways: Sequence[tuple[int, int | None, float]], pool_lanes: Sequence[Sequence[int]]) -> None:
    for first, second, weight in ways:
        for pool in (first, second):
            if pool is not None and not (pool < len(pool_lanes) and pool_lanes[pool]):
                raise ScenarioError("a way leads through a pool without machines", where="cluster", value=f"pool {pool}")
        if not weight >= 0:
            raise ScenarioError("the weight of a way must not be negative", where="cluster", value=weight)
    if not sum(weight for *_, weight in ways) > 0:
        raise ScenarioError("no way leads through the cluster", where="cluster", rule="at least one of positive weight")


def _check_pools_up(
    ways: Sequence[tuple[int, int | None, float]],
    pool_lanes: Sequence[Sequence[int]],
    state: Sequence[_Lane],
    t: float,
) -> None:
    for pool in sorted({p for first, second, _ in ways for p in (first, second) if p is not None}):
        if not any(state[i].up for i in pool_lanes[pool]):
            role = state[pool_lanes[pool][0]].spec.role
            raise ScenarioError(
                f"the failure at {t:g} s leaves no {role} machine",
                where="failures",
                rule="each pool keeps at least one machine",
                fix="fail fewer machines at a time, or add spares",
            )


def _too_large(
    lanes: Sequence[LaneSpec],
    pool_lanes: Sequence[Sequence[int]],
    ways: Sequence[tuple[int, int | None, float]],
    way_of: Sequence[int] | None,
    requests: Requests,
) -> list[int]:
    """Requests that the smallest lane on their way could never hold."""
    whole = requests.prompt_tokens + requests.output_tokens
    bad = np.zeros(len(requests), dtype=bool)
    chosen = np.zeros(len(requests), dtype=np.int64) if way_of is None else np.asarray(way_of)
    for index, (first, second, _) in enumerate(ways):
        room = min(lanes[i].kv_tokens for i in pool_lanes[first])
        over = (whole if second is None else requests.prompt_tokens + 1) > room
        if second is not None:
            over |= whole > min(lanes[i].kv_tokens for i in pool_lanes[second])
        bad |= over & (chosen == index)
    return np.flatnonzero(bad).tolist()
