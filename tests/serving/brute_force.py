"""A pool of lanes simulated step by step: slow, short, and written without a look at the formulas it judges.

Each lane runs one batch step after another. A step takes as many waiting prompts, first come first served, as fit the
token budget (one at least), together with every sequence that decodes; sequences that arrive during a step join the
next one. Requests go to the lane with least pending work. Nothing is aggregated: every decode iteration is one event.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Batch
from planner.serving.requests import Traffic

Floats = NDArray[np.float64]
Role = Literal["prefill", "decode", "mixed"]
# What a lane's pending work is: prompt tokens not yet computed and one for each request that is not finished (as the
# Splitwise authors' simulator counts it); the same with every token still to decode; or the number of requests.
Steering = Literal["tokens", "remaining", "requests"]
# Time of a step [s] from prompt tokens, attention pairs, prompts, decoding sequences and their context tokens.
StepTime = Callable[[float, float, int, int, float], float]


@dataclass(frozen=True)
class AffineStepTimes:
    """Step times affine in everything; `per_pair_s` makes long prompts cost more than proportionally.

    A step takes `base_s` + `per_token_s` a prompt token + `per_pair_s` a query-key pair + `per_sequence_s` a decoding
    sequence + `per_context_s` a token of their context, all in seconds; steps with prompts take `prompt_s` more.
    """

    base_s: float = 0.02
    prompt_s: float = 0.0
    per_token_s: float = 4e-5
    per_pair_s: float = 0.0
    per_sequence_s: float = 2e-4
    per_context_s: float = 2e-8

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s], broadcast over the batch."""
        with_prompts = np.asarray(batch.n_prompts, dtype=float) > 0
        return np.asarray(
            self.base_s
            + self.prompt_s * with_prompts
            + self.per_token_s * batch.prompt_tokens
            + self.per_pair_s * batch.attention_pairs
            + self.per_sequence_s * batch.decode_sequences
            + self.per_context_s * batch.context_tokens
        )

    def scalar(self, tokens: float, pairs: float, prompts: int, sequences: int, context: float) -> float:
        """The same for one step, in plain floats."""
        return (
            self.base_s
            + self.prompt_s * (prompts > 0)
            + self.per_token_s * tokens
            + self.per_pair_s * pairs
            + self.per_sequence_s * sequences
            + self.per_context_s * context
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """What happened to each request, the first fifth left out; arrays of one length.

    Attributes
    ----------
    ttft_s, tbt_s, e2e_s : ndarray
        Seconds; in a decode pool TTFT is the wait for a place and E2E counts from the arrival there; TBT is NaN for
        single-token requests.
    point : ndarray of int
        Which point of the traffic the request is.
    busy : float
        Share of time that lanes run steps with a prompt (prefill, mixed) or any step (decode).
    mean_batch : float
        Sequences decoding on a lane, over time.
    waited_for_memory : float
        Share of requests that found no KV memory, or no place in the batch, on the lane they joined.
    overflow : float
        Share of time that a lane holds more KV tokens than it has.
    """

    ttft_s: Floats
    tbt_s: Floats
    e2e_s: Floats
    point: NDArray[np.int64]
    busy: float
    mean_batch: float
    waited_for_memory: float
    overflow: float


class _Lane:
    def __init__(self) -> None:
        self.waiting: deque[int] = deque()
        self.in_step: list[int] = []
        self.finishing: list[tuple[int, int]] = []  # heap of (step at which it ends, request)
        self.context = 0.0
        self.steps = 0
        self.running = False
        self.pending = 0.0


def gaps(rng: np.random.Generator, n: int, rate_per_s: float, cv2: float = 1.0) -> Floats:
    """Gaps between arrivals: Erlang below cv2 = 1, exponential at 1, two-phase hyperexponential above [s]."""
    if cv2 < 1.0:
        shape = max(round(1.0 / cv2), 1)
        return rng.gamma(shape, 1.0 / (shape * rate_per_s), n)
    # Balanced means: each phase brings half of the mean.
    p = 0.5 * (1.0 + np.sqrt((cv2 - 1.0) / (cv2 + 1.0)))
    first = rng.random(n) < p
    return rng.exponential(1.0, n) / (2.0 * rate_per_s * np.where(first, p, 1.0 - p))


def deal(rng: np.random.Generator, weight: Floats, n: int) -> NDArray[np.int64]:
    """`n` points in random order, each as often as its weight says, to within one."""
    cumulative = np.cumsum(weight) / weight.sum()
    drawn = np.searchsorted(cumulative, (np.arange(n) + rng.random()) / n)
    return rng.permutation(np.minimum(drawn, weight.size - 1))


def simulate(
    step_time: StepTime,
    traffic: Traffic,
    role: Role,
    rate_per_s: float,
    n_lanes: int,
    n_requests: int,
    seed: int,
    *,
    token_budget: float = 2048.0,
    kv_tokens: float = np.inf,
    max_batch: float = np.inf,
    steer: Steering = "tokens",
) -> Measured:
    """Serve `n_requests` drawn from the traffic.

    Parameters
    ----------
    step_time : callable
    traffic : Traffic
        Sizes are rounded to whole tokens.
    role : {"prefill", "decode", "mixed"}
        In a decode pool requests arrive with their prompt computed; in a prefill pool they leave with it.
    rate_per_s, n_lanes, n_requests, seed
        Arrivals at the pool [requests/s], its lanes, how many requests, and the random seed.
    token_budget : float
        Most prompt tokens in a step of several prompts [tokens].
    kv_tokens, max_batch : float
        Admission: a request starts when its prompt fits beside the tokens held now [tokens], and below the batch.
    steer : {"tokens", "remaining", "requests"}
        What makes a lane the one with least pending work.
    """
    rng = np.random.default_rng(seed)
    point = deal(rng, traffic.weight, n_requests)
    prompt = np.maximum(np.rint(traffic.prompt_tokens[point]), 1.0).tolist()
    steps_of = np.maximum(np.rint(traffic.decode_steps[point]), 0.0).astype(int).tolist()
    if role == "prefill":
        steps_of = [0] * n_requests
    between = gaps(rng, n_requests, rate_per_s, traffic.arrival_cv2)
    # Scaled so that the rate is exactly the one asked for, which takes most of the noise out of long averages.
    arrival = np.cumsum(between * (n_requests / rate_per_s / between.sum())).tolist()
    tie = rng.permutation(n_requests).tolist()
    first = [0.0] * n_requests
    last = [0.0] * n_requests
    computes = role != "decode"
    by_prompt = computes and steer != "requests"  # prompt tokens count until computed
    by_token = steer == "remaining"  # every token counts until decoded
    lanes = [_Lane() for _ in range(n_lanes)]
    events: list[tuple[float, int, int]] = []
    busy = batch_time = over = 0.0
    blocked: set[int] = set()
    serial = 0

    def weight(i: int) -> float:
        return (prompt[i] if by_prompt else 0.0) + (steps_of[i] if by_token else 1.0)

    def start(lane: _Lane, index: int, now: float) -> None:
        nonlocal busy, batch_time, over, serial
        tokens = pairs = 0.0
        joined: list[int] = []
        while lane.waiting:
            i = lane.waiting[0]
            size = prompt[i]
            if computes and joined and tokens + size > token_budget:
                break
            held = lane.context + tokens + size + 1.0
            present = len(lane.finishing) + len(joined)
            if present > 0 and (held > kv_tokens or present >= max_batch):
                blocked.update(lane.waiting)
                break
            lane.waiting.popleft()
            joined.append(i)
            if computes:
                tokens += size
                pairs += size * (size + 1.0) / 2.0
            else:
                first[i] = now
                _join(lane, i)
        if not joined and not lane.finishing:
            lane.running = False
            return
        lane.running = True
        lane.in_step = joined if computes else []
        sequences = len(lane.finishing)
        took = step_time(tokens, pairs, len(lane.in_step), sequences, lane.context)
        if lane.in_step or not computes:
            busy += took
        batch_time += sequences * took
        over += took * (lane.context + tokens > kv_tokens)
        serial += 1
        heapq.heappush(events, (now + took, serial, index))

    def _join(lane: _Lane, i: int) -> None:
        heapq.heappush(lane.finishing, (lane.steps + steps_of[i], i))
        lane.context += prompt[i] + 1.0

    def finish(lane: _Lane, now: float) -> None:
        lane.steps += 1
        lane.context += len(lane.finishing)
        if by_token:
            lane.pending -= len(lane.finishing)
        while lane.finishing and lane.finishing[0][0] <= lane.steps:
            _, i = heapq.heappop(lane.finishing)
            last[i] = now
            lane.context -= prompt[i] + 1.0 + steps_of[i]
            lane.pending -= 0.0 if by_token else 1.0
        for i in lane.in_step:
            first[i] = now
            lane.pending -= prompt[i] if by_prompt else 0.0
            if steps_of[i] > 0:
                _join(lane, i)
            else:
                last[i] = now
                lane.pending -= 0.0 if by_token else 1.0
        lane.in_step = []

    for i, now in enumerate(arrival):
        while events and events[0][0] <= now:
            ended, _, index = heapq.heappop(events)
            finish(lanes[index], ended)
            start(lanes[index], index, ended)
        if role == "decode" and steps_of[i] == 0:
            first[i] = last[i] = now
            continue
        offset = tie[i]
        index = min(range(n_lanes), key=lambda j: (lanes[j].pending, (j + offset) % n_lanes))
        lane = lanes[index]
        lane.pending += weight(i)
        lane.waiting.append(i)
        if not lane.running:
            start(lane, index, now)
    end = arrival[-1]
    while events:
        ended, _, index = heapq.heappop(events)
        finish(lanes[index], ended)
        start(lanes[index], index, ended)

    kept = slice(n_requests // 5, None)
    begin, one, done = (np.array(x)[kept] for x in (arrival, first, last))
    g = np.array(steps_of, dtype=float)[kept]
    since = begin if not computes else one  # a decode pool's first gap begins when the request arrives there
    with np.errstate(divide="ignore", invalid="ignore"):
        tbt = np.where(g > 0, (done - since) / g, np.nan)
    lane_time = end * n_lanes
    return Measured(
        ttft_s=one - begin,
        tbt_s=tbt,
        e2e_s=done - begin,
        point=point[kept],
        busy=busy / lane_time,
        mean_batch=batch_time / lane_time,
        waited_for_memory=len(blocked) / n_requests,
        overflow=over / lane_time,
    )
