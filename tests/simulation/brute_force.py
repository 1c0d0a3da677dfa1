"""A cluster simulated one decode iteration at a time: slow, short, and written without a look at the engine.

Nothing is aggregated and no load is counted up or down: what a lane holds, owes or has promised is summed up afresh
from its requests whenever it is asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from planner.simulation.arrivals import Requests
from planner.simulation.specification import LaneSpec, Policy, Wire

# Time of a step [s] from prompt tokens, query-key pairs, prompts that end, decoding sequences, their context tokens.
StepTime = Callable[[float, float, int, int, float], float]


@dataclass(eq=False)
class Job:
    """A request and where it stands."""

    number: int
    prompt: int
    output: int
    prompt_lane: int = -1
    decode_lane: int = -1  # -1: none
    computed: int = 0  # prompt tokens
    tokens_out: int = 0
    holds_prompt: bool = False  # KV memory on its prompt lane
    holds_decode: bool = False  # KV memory for all of it on its decode lane
    computing_since: float = float("nan")
    first_token: float = float("nan")
    prompt_done: float = float("nan")
    arrived: float = float("nan")  # of its KV cache
    last_token: float = float("nan")
    finish: float = float("nan")
    largest_gap: float = 0.0
    no_sooner: float = float("nan")  # its KV cache arrives


@dataclass(eq=False)
class Flow:
    """A KV cache on its way: the ports it uses, what is left of it and how fast it may go at most [bytes, bytes/s]."""

    job: Job
    ports: tuple[tuple[str, object], tuple[str, object]]
    left: float
    most: float
    rate: float = 0.0
    early: bool = False  # its prompt is still being computed


def share(flows: list[Flow], capacity: dict[object, float]) -> None:
    """Raise the rates of all alike; who meets its own limit or a full port stays where it is."""
    rising = list(flows)
    for flow in flows:
        flow.rate = 0.0
    while rising:
        more = min(flow.most - flow.rate for flow in rising)
        for port in {port for flow in rising for port in flow.ports}:
            used = sum(flow.rate for flow in flows if port in flow.ports)
            more = min(more, (capacity[port] - used) / sum(port in flow.ports for flow in rising))
        for flow in rising:
            flow.rate += more
        full = {
            port
            for port in {port for flow in rising for port in flow.ports}
            if sum(flow.rate for flow in flows if port in flow.ports) >= capacity[port] * (1 - 1e-12)
        }
        rising = [f for f in rising if f.rate < f.most * (1 - 1e-12) and not full.intersection(f.ports)]


@dataclass(eq=False)
class BruteLane:
    """A lane and who is on it."""

    spec: LaneSpec
    step_time: StepTime
    queue: list[Job] = field(default_factory=list)
    ending: list[Job] = field(default_factory=list)  # prompts that end with the running step
    decoding: list[Job] = field(default_factory=list)
    stepping: list[Job] = field(default_factory=list)  # those of them that get a token in the running step
    joining: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    running: bool = False
    began: float = 0.0
    pauses: int = 0


def step_through(
    lanes: Sequence[LaneSpec],
    step_times: Sequence[StepTime],
    ways: Sequence[tuple[int, int | None, float]],
    way_of: Sequence[int],
    wires: dict[tuple[int, int], Wire],
    requests: Requests,
    policy: Policy,
) -> list[Job]:
    """Every request, served. `step_times` is one for each lane, `way_of` the index of each request's way."""
    cluster = [BruteLane(spec, time) for spec, time in zip(lanes, step_times, strict=True)]
    jobs = [
        Job(r, int(p), int(g))
        for r, (p, g) in enumerate(zip(requests.prompt_tokens, requests.output_tokens, strict=True))
    ]
    live: list[Job] = []
    flows: list[Flow] = []
    turns: dict[int, int] = {}
    events: list[tuple[float, int, str, int, Job | None]] = []
    serial = 0

    def at(time: float, what: str, lane: int, job: Job | None = None) -> None:
        nonlocal serial
        serial += 1
        heapq.heappush(events, (time, serial, what, lane, job))

    # -- what lanes hold and owe, summed up from their requests ----------------------------------------------------

    def held(i: int) -> int:
        tokens = 0
        for job in live:
            if job.prompt_lane == i and job.holds_prompt and cluster[i].spec.paged:
                tokens += job.prompt + max(job.tokens_out, 1)
            elif job.prompt_lane == i and job.holds_prompt:
                tokens += job.prompt + (job.output if job.decode_lane in (-1, i) else 0)
            if job.decode_lane == i and job.prompt_lane != i and job.holds_decode:
                tokens += job.prompt + job.output
        return tokens

    def members(i: int) -> int:
        here = [j for j in live if j.prompt_lane == i and j.holds_prompt and j.decode_lane in (-1, i)]
        return len(here) + sum(j.decode_lane == i and j.prompt_lane != i and j.holds_decode for j in live)

    def pending(i: int) -> int:
        if policy.routing == "least_loaded":
            unfinished = [j for j in live if j.decode_lane == i and j.prompt_lane in (-1, i)]
            away = [j for j in live if j.decode_lane == i and j.prompt_lane not in (-1, i)]
            prompts = [j for j in live if j.prompt_lane == i and j.decode_lane != i and j.prompt_done != j.prompt_done]
            return len({j.number for j in unfinished + prompts}) + len(away)
        tokens = sum(j.prompt for j in live if j.prompt_lane == i and j.prompt_done != j.prompt_done)
        return tokens + sum(j.decode_lane == i for j in live)

    def promised(i: int) -> int:
        tokens = 0
        for j in live:
            if j.decode_lane == i:
                tokens += j.prompt + j.output
            elif j.prompt_lane == i and j.arrived != j.arrived:
                tokens += j.prompt + (j.output if j.decode_lane == -1 else 0)
        return tokens

    def load(i: int) -> float:
        """What lane `i` has to compute, and in the same unit what its NICs have to send."""
        spec = cluster[i].spec
        rates = [w.bytes_per_token / w.bandwidth_bytes_per_s for (p, _), w in wires.items() if p == spec.pool]
        if policy.routing != "pending_tokens" or not policy.contention or not rates:
            return pending(i)
        budget = spec.token_budget
        computed = step_times[i](budget, budget * (budget + 1) / 2, 1, 0, 0.0) / budget
        to_send = [
            j.prompt
            for j in live
            if j.prompt_lane >= 0 and nic(j.prompt_lane) == nic(i) and j.decode_lane not in (-1, j.prompt_lane)
        ]
        return pending(i) + max(rates) / computed * sum(to_send)

    def pick(pool: int, load: Callable[[int], float]) -> int:
        ids = [i for i, lane in enumerate(cluster) if lane.spec.pool == pool]
        start = turns.get(pool, 0) % len(ids)
        if policy.routing == "round_robin":
            at = start
        else:
            loads = [load(i) for i in ids]
            at = next(k for k in (*range(start, len(ids)), *range(start)) if loads[k] == min(loads))
        turns[pool] = at + 1
        return ids[at]

    # -- transfers -----------------------------------------------------------------------------------------------------

    def nic(i: int) -> object:
        spec = cluster[i].spec
        return spec.machine if spec.nic is None else ("replica", spec.nic)

    capacity = {(way, nic(i)): lane.spec.nic_bytes_per_s for i, lane in enumerate(cluster) for way in ("out", "in")}

    def flow_of(job: Job) -> Flow | None:
        return next((flow for flow in flows if flow.job is job), None)

    def begin_flow(job: Job, most: float, early: bool) -> None:
        wire = wire_of(job)
        ports = ("out", nic(job.prompt_lane)), ("in", nic(job.decode_lane))
        flows.append(Flow(job, ports, job.prompt * wire.bytes_per_token, most, early=early))
        share(flows, capacity)

    def wire_of(job: Job) -> Wire:
        return wires[cluster[job.prompt_lane].spec.pool, cluster[job.decode_lane].spec.pool]

    def ways_to_send(job: Job, computing: float) -> tuple[float, float]:
        """Delay of a serialised and of an overlapped transfer with nothing in the way."""
        wire = wire_of(job)
        on_wire = job.prompt * wire.bytes_per_token / wire.bandwidth_bytes_per_s
        hidden = computing * (1 - 1 / wire.n_layers)
        behind = wire.synchronisation_s + wire.latency_s + max(on_wire - hidden, on_wire / wire.n_layers)
        return wire.setup_s + wire.latency_s + on_wire, behind if wire.overlapped else float("inf")

    # -- steps -------------------------------------------------------------------------------------------------------

    def start(i: int, now: float) -> None:
        lane = cluster[i]
        lane.decoding += lane.joining
        lane.joining = []
        preempted = lane.spec.paged and make_room(i)
        limit = lane.spec.token_budget
        if policy.chunk_tokens is not None:
            limit = max(policy.chunk_tokens - (0 if lane.spec.apart else len(lane.decoding)), 1)
        tokens, pairs = 0, 0.0
        starved = bool(lane.decoding) and lane.pauses >= policy.max_pauses and not lane.spec.apart
        while lane.queue and not starved and not preempted:
            job = lane.queue[0]
            left = job.prompt - job.computed
            if tokens >= limit or (tokens and policy.chunk_tokens is None and tokens + left > limit):
                break
            if not job.holds_prompt:
                stays = job.decode_lane in (-1, i)
                need = job.prompt + (job.output if stays else 0)
                if stays and lane.spec.paged:  # beside the next token of everybody
                    need = job.prompt + 1 + len(lane.decoding)
                if held(i) + need > lane.spec.kv_tokens or (stays and members(i) >= lane.spec.max_batch):
                    break
                job.holds_prompt = True
                job.computing_since = now
            part = left if policy.chunk_tokens is None else min(left, limit - tokens)
            pairs += sum(job.computed + k for k in range(1, part + 1))
            tokens += part
            job.computed += part
            if job.computed == job.prompt:
                lane.ending.append(lane.queue.pop(0))
        lane.stepping = list(lane.decoding)
        if not tokens and not lane.decoding:
            lane.running = False
            return
        crowded = policy.shared_budget and tokens + len(lane.decoding) > lane.spec.token_budget
        if tokens and lane.decoding and (lane.spec.apart or crowded):
            lane.stepping = []
            lane.pauses += 1
        else:
            lane.pauses = 0
        lane.running = True
        context = sum(job.prompt + job.tokens_out for job in lane.stepping)
        n_ending = max(len(lane.ending), 1) if tokens else 0
        took = lane.step_time(tokens, pairs, n_ending, len(lane.stepping), context)
        lane.began = now
        at(now + took, "step", i)
        for job in lane.ending:
            if job.decode_lane not in (-1, i) and policy.contention:
                serialised, overlapped = ways_to_send(job, took)
                if overlapped < serialised and wire_of(job).n_layers > 1:
                    at(now + took / wire_of(job).n_layers, "early", i, job)

    def make_room(i: int) -> bool:
        """Whether somebody had to go so that everybody else's next token has room."""
        lane, gone = cluster[i], False
        while lane.decoding and held(i) + len(lane.decoding) > lane.spec.kv_tokens:
            gone = True
            if lane.queue and lane.queue[0].computed:
                job = lane.queue.pop(0)
            else:
                job = lane.decoding.pop()
                job.prompt, job.output = job.prompt + job.tokens_out, job.output - job.tokens_out
                job.prompt_done = float("nan")
            job.computed, job.tokens_out, job.holds_prompt = 0, 0, False
            lane.queue.insert(0, job)
        return gone

    def finish(i: int, now: float) -> None:
        lane = cluster[i]
        for job in lane.stepping:
            job.tokens_out += 1
            job.largest_gap = max(job.largest_gap, now - job.last_token)
            job.last_token = now
        ending, lane.ending = lane.ending, []
        for job in ending:
            if job.first_token == job.first_token:  # it has been pre-empted
                job.largest_gap = max(job.largest_gap, now - job.last_token)
            else:
                job.first_token = now
            job.last_token = job.prompt_done = now
            job.tokens_out = 1
            if job.output == 1:
                done(job, now)
                release(i, now)
            elif job.decode_lane == i:
                lane.joining.append(job)
            else:
                target = cluster[job.decode_lane]
                target.waiting.append(job)
                if len(target.waiting) == 1:
                    release(job.decode_lane, now)
                early = flow_of(job)
                if early is not None and early.early:  # there is no memory to send to
                    flows.remove(early)
                    share(flows, capacity)
        for job in sorted((j for j in lane.stepping if j.tokens_out == j.output), key=lambda j: j.number):
            lane.decoding.remove(job)
            done(job, now)
            release(i, now)
        start(i, now)

    def done(job: Job, now: float) -> None:
        job.finish = now
        live.remove(job)

    def release(i: int, now: float) -> None:
        """Send what waits for memory on lane `i` and now fits."""
        lane = cluster[i]
        while lane.waiting:
            job = lane.waiting[0]
            if held(i) + job.prompt + job.output > lane.spec.kv_tokens or members(i) >= lane.spec.max_batch:
                return
            lane.waiting.pop(0)
            job.holds_decode = True
            send(job, now)

    def send(job: Job, now: float) -> None:
        wire, flow = wire_of(job), flow_of(job)
        computing = now - cluster[job.prompt_lane].began if job.prompt_done == now else 0.0
        job.no_sooner = now + min(ways_to_send(job, computing))
        if not policy.contention:
            at(job.no_sooner, "arrive", job.decode_lane, job)
        elif flow is not None:
            flow.most, flow.early = wire.bandwidth_bytes_per_s, False
            share(flows, capacity)
        else:
            begin_flow(job, wire.bandwidth_bytes_per_s, False)

    def start_early(job: Job, now: float) -> None:
        wire = wire_of(job)
        took = (now - cluster[job.prompt_lane].began) * wire.n_layers
        begin_flow(job, min(job.prompt * wire.bytes_per_token / took, wire.bandwidth_bytes_per_s), True)

    def sent(flow: Flow, now: float) -> None:
        flows.remove(flow)
        share(flows, capacity)
        arrives = max(flow.job.no_sooner, now + wire_of(flow.job).latency_s)
        at(arrives, "arrive", flow.job.decode_lane, flow.job)

    def arrive(job: Job, j: int, now: float) -> None:
        i = job.prompt_lane
        job.holds_prompt = False
        job.arrived = now
        job.prompt_lane = -1
        cluster[j].joining.append(job)
        if not cluster[j].running:
            start(j, now)
        release(i, now)
        if not cluster[i].running and cluster[i].queue:
            start(i, now)

    def come(job: Job, now: float) -> None:
        first, second, _ = ways[way_of[job.number]]
        i = pick(first, load)
        if job.output > 1 and second is not None:
            job.decode_lane = pick(second, promised if policy.decode_routing == "memory" else load)
        elif job.output > 1:
            job.decode_lane = i
        job.prompt_lane = i
        live.append(job)
        cluster[i].queue.append(job)
        if not cluster[i].running:
            start(i, now)

    clock = 0.0

    def run_until(end: float) -> None:
        """Everything that happens up to a time, and bytes that flow meanwhile."""
        nonlocal clock
        while True:
            ready = min(flows, key=lambda f: f.left / f.rate, default=None)
            soonest = clock + ready.left / ready.rate if ready is not None else float("inf")
            event = events[0][0] if events else float("inf")
            now = min(soonest, event, end)
            if now == float("inf"):
                return
            for flow in flows:
                flow.left = max(flow.left - flow.rate * (now - clock), 0.0)
            clock = now
            if event <= min(soonest, end):
                _, _, what, lane, job = heapq.heappop(events)
                if what == "step":
                    finish(lane, now)
                elif what == "early":
                    start_early(job, now)
                else:
                    arrive(job, lane, now)
            elif ready is not None and soonest <= end:
                sent(ready, now)
            else:
                return

    for job, now in zip(jobs, requests.arrival_s.tolist(), strict=True):
        run_until(now)
        come(job, now)
    run_until(float("inf"))
    return jobs
