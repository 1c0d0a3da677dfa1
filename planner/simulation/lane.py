"""One lane: which prompts its next step takes, how long its steps are, and what it has done so far.

A run of decode steps until the next sequence ends is one event: contexts grow by one a step, so its length is a closed
form. Who arrives in between cuts the run at the next step boundary; the version number tells the old event from the
new one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from heapq import heapify, heappush
from math import ceil, sqrt

import numpy as np

from planner.simulation.outcome import Records
from planner.simulation.specification import LaneSpec, Policy

IDLE, PROMPTS, DECODE, PAUSED = range(4)  # what a lane runs; in PROMPTS sequences decode along, in PAUSED they wait
QUEUED, COMPUTING, WAITING, MOVING, DECODING = range(5)  # stages of a request
_IMMEDIATE = -1.0


def chunk_of(spec: LaneSpec, policy: Policy) -> int | None:
    """Tokens of a step of chunked prefill on a lane; None where it computes whole prompts."""
    if policy.chunk_tokens is None and spec.chunked and not policy.shared_budget:
        return spec.token_budget
    return policy.chunk_tokens


class Lane:
    """State of a lane.

    Parameters
    ----------
    index : int
    spec : LaneSpec
    policy : Policy
    records : Records
    lanes : list of Lane
        All lanes of the cluster, by index.
    decode_lane : dict of int to int
        Shared by all: the lane where a request decodes, absent for one that stays where its prompt is computed.
    joined : dict of int to int
        Shared by all: the decode step of its lane after which the gaps of a request are the lane's.
    """

    __slots__ = (
        "ahead",
        "apart",
        "batch",
        "batch_time",
        "blocked",
        "budget",
        "busy",
        "chunk",
        "computed",
        "context",
        "context_s",
        "context_time",
        "crowded",
        "cut_already",
        "decode_lane",
        "decode_s",
        "done",
        "ends",
        "first",
        "fresh",
        "gap_steps",
        "gaps",
        "index",
        "joined",
        "joining",
        "kv_time",
        "kv_tokens",
        "lanes",
        "last_token",
        "max_batch",
        "max_pauses",
        "members",
        "mode",
        "order",
        "paged",
        "pauses",
        "prompt_time",
        "prompt_tokens",
        "prompts",
        "queue",
        "records",
        "reserved",
        "reserved_since",
        "shared",
        "since",
        "spec",
        "step_tokens",
        "steps",
        "table",
        "version",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        spec: LaneSpec,
        policy: Policy,
        records: Records,
        lanes: list[Lane],
        decode_lane: dict[int, int],
        joined: dict[int, int],
    ) -> None:
        self.index, self.spec, self.records, self.lanes = index, spec, records, lanes
        self.decode_lane, self.joined = decode_lane, joined
        self.table, self.decode_s, self.context_s = spec.table, spec.table.decode_s, spec.table.context_s
        self.kv_tokens, self.max_batch, self.budget = spec.kv_tokens, spec.max_batch, spec.token_budget
        self.chunk, self.shared, self.apart = chunk_of(spec, policy), policy.shared_budget, spec.apart
        self.max_pauses, self.ahead = policy.max_pauses, policy.overflow
        self.paged = spec.paged
        self.crowded = False  # sequences have been pre-empted before the step that comes next
        self.order: list[int] = []  # sequences that decode, as they joined
        self.version = 0
        self.mode = IDLE
        self.since = 0.0  # when the step or run began
        self.steps = 0  # decode steps in it
        self.first = 0.0  # time of the first of them
        self.step_tokens = 0  # prompt tokens in it
        self.cut_already = False
        self.done = 0  # decode steps ever taken
        self.batch = 0  # sequences decoding
        self.context = 0  # tokens of context of theirs
        self.members = 0  # sequences decoding, joining or on their way
        self.pauses = 0  # steps in a row in which sequences paused
        self.last_token = 0.0  # when the batch last gave out tokens
        self.reserved = 0  # KV tokens
        self.reserved_since = 0.0
        self.ends: list[tuple[int, int]] = []  # heap of (step, request)
        self.queue: deque[int] = deque()  # prompts waiting
        self.prompts: list[int] = []  # prompts that end with the running step
        self.computed = 0  # tokens of the first prompt in the queue that chunks have computed
        self.joining: list[int] = []  # sequences that wait for the next boundary
        self.fresh: list[int] = []  # sequences that have not decoded a token yet
        self.waiting: deque[int] = deque()  # requests, computed elsewhere, that wait for KV memory here
        self.blocked: list[int] = []  # lanes whose next prompt waits for KV memory here
        self.gap_steps: list[int] = []  # falling record of the gaps between tokens, for the largest since any step
        self.gaps: list[float] = []
        self.busy = self.prompt_time = self.batch_time = self.context_time = self.kv_time = 0.0
        self.prompt_tokens = 0

    # -- memory --------------------------------------------------------------------------------------------------

    def reserve(self, tokens: int, t: float) -> None:
        """Take KV memory, or give it back if negative [tokens]."""
        self.kv_time += self.reserved * (t - self.reserved_since)
        self.reserved_since = t
        self.reserved += tokens

    def has_room(self, tokens: int) -> bool:
        """Whether one more sequence with so many tokens of KV cache can come in."""
        return self.reserved + tokens <= self.kv_tokens and self.members < self.max_batch

    @property
    def has_work_waiting(self) -> bool:
        """Whether prompts wait, or sequences that have come, have paused or will come of the prompts in this step."""
        if self.queue or self.joining or self.mode == PAUSED:
            return True
        return any(r not in self.decode_lane for r in self.prompts)

    def takes(self, r: int) -> int:
        """KV memory that a request which stays takes as its prompt starts [tokens]."""
        return self.records.prompt[r] + (1 if self.paged else self.records.output[r])

    def last_in(self, t: float) -> int | None:
        """The request that started last gives its memory back, where the next token of each sequence has no room.

        Returns
        -------
        int or None
            The request, whose prompt is now all that it has; None where there is room.
        """
        if self.joining:
            self._let_in(t)
        if not self.batch or self.reserved + self.batch <= self.kv_tokens:
            return None
        records, self.crowded = self.records, True
        self.members -= 1
        if self.computed:
            r = self.queue.popleft()
            self.computed = 0
            self.reserve(-self.takes(r), t)
            return r
        r = self.order.pop()
        out = self.done + 2 - self.joined.pop(r)
        records.preempted[r] = records.preempted.get(r, records.first_token[r]) if r in self.fresh else self.last_token
        records.prompt[r] += out
        records.output[r] -= out
        self.ends = [end for end in self.ends if end[1] != r]
        heapify(self.ends)
        if r in self.fresh:
            self.fresh.remove(r)
        self.batch -= 1
        self.context -= records.prompt[r]
        self.reserve(-records.prompt[r], t)
        return r

    # -- steps ---------------------------------------------------------------------------------------------------

    def begin(self, t: float) -> float:
        """Start what comes next at a step boundary; returns when it ends, or a negative number if there is nothing."""
        self.cut_already = False
        if self.joining:
            self._let_in(t)
        batch = self.batch
        self.since = t
        if self.queue and not self.crowded and (self.apart or not (batch and self.pauses >= self.max_pauses)):
            taken = self._take_prompts(t)
            if taken is not None:
                total, pairs, n_prompts = taken
                self.step_tokens = total
                duration = self.table.prefill_s(total, pairs, n_prompts)
                if batch and (self.apart or (self.shared and total + batch > self.budget)):
                    self.mode, self.steps = PAUSED, 0
                    self.pauses += not self.apart
                    return t + duration
                if batch:
                    duration = self.table.mixed_s(duration, batch, self.context)
                self.mode, self.steps, self.pauses = PROMPTS, 1, 0
                return t + duration
        if not batch:
            self.mode = IDLE
            return _IMMEDIATE
        growth = self.context_s
        self.first = first = self.decode_s[batch] + growth * self.context
        # A paused batch gets one step before prompts come first again.
        steps = 1 if self.pauses else self.ends[0][0] - self.done
        if self.paged:
            steps = min(steps, int(self.kv_tokens - self.reserved) // batch)
        self.mode, self.steps, self.pauses = DECODE, steps, 0
        return t + steps * first + growth * batch * steps * (steps - 1) / 2.0

    def _let_in(self, t: float) -> None:
        joining, output, prompt = self.joining, self.records.output, self.records.prompt
        if not self.batch:
            self.last_token = t
        for r in joining:
            heappush(self.ends, (self.done + output[r] - 1, r))
            # Its first gap is its own, from the first token on; the lane's count from the second on.
            self.joined[r] = self.done + 1
            self.context += prompt[r] + 1
        self.batch += len(joining)
        self.fresh += joining
        if self.paged:
            self.order += joining
        self.joining = []

    def _take_prompts(self, t: float) -> tuple[int, float, int] | None:
        """Prompt tokens of the next step, their query-key pairs and how many prompts end in it; None: no prompts."""
        queue, prompt, chunk = self.queue, self.records.prompt, self.chunk
        most = self.budget if chunk is None else chunk if self.apart else max(chunk - self.batch, 1)
        total, pairs, taken = 0, 0.0, self.prompts
        while queue:
            r = queue[0]
            left = prompt[r] - self.computed
            if total and (total >= most or (chunk is None and total + left > most)):
                break
            if not self.computed and not self._admit(r, t):
                break
            now = left if chunk is None else min(left, most - total)
            total += now
            pairs += now * (self.computed + (now + 1) / 2.0)
            if now < left:
                self.computed += now
                break
            self.computed = 0
            taken.append(queue.popleft())
        return (total, pairs, len(taken) or 1) if total else None

    def _admit(self, r: int, t: float) -> bool:
        """Reserve the memory a prompt needs: for itself alone where it will be sent away."""
        need, j = self.records.prompt[r], self.decode_lane.get(r)
        if j is None:
            need = self.takes(r)
            if not self.has_room(need + self.batch if self.paged else need):
                return False
            self.members += 1
        else:
            if self.reserved + need > self.kv_tokens:
                return False
            if self.ahead:
                target, whole = self.lanes[j], need + self.records.output[r]
                if not target.has_room(whole):
                    if self.index not in target.blocked:
                        target.blocked.append(self.index)
                    return False
                target.reserve(whole, t)
                target.members += 1
        self.reserve(need, t)
        self.records.stage[r] = COMPUTING
        self.records.prefill_start[r] = t
        return True

    def cut(self, t: float) -> float:
        """End a run of decode steps at the first boundary from `t` on; returns when, or below 0 if no sooner."""
        self.cut_already = True
        growth, first = self.context_s * self.batch, self.first
        elapsed = t - self.since
        if growth > 1e-18:
            b = first - growth / 2.0
            n = ceil((sqrt(b * b + 2.0 * growth * elapsed) - b) / growth - 1e-9)
        else:
            n = ceil(elapsed / first - 1e-9)
        n = max(n, 1)
        if n >= self.steps:
            return _IMMEDIATE
        self.steps = n
        return self.since + n * first + growth * n * (n - 1) / 2.0

    def finish_step(self, t: float) -> list[int]:
        """Account for the step or run that ends at `t`; returns the prompts that it computed."""
        duration, batch, mode, steps = t - self.since, self.batch, self.mode, self.steps
        self.busy += duration
        self.mode = IDLE
        if batch:
            self.batch_time += batch * duration
            self.context_time += (self.context + batch * (steps - 1) / 2.0 if steps else self.context) * duration
            if steps:
                self._give_tokens(t, self.first if mode == DECODE else duration)
                if self.paged:
                    self.kv_time += batch * (steps - 1) / 2.0 * duration
                    self.reserve(batch * steps, t)
        if mode == DECODE:
            return []
        self.prompt_time += duration
        self.prompt_tokens += self.step_tokens
        done, self.prompts = self.prompts, []
        return done

    def _give_tokens(self, t: float, first: float) -> None:
        """Every sequence got `steps` tokens, the first of them after `first` seconds."""
        steps, gap_steps, gaps, done = self.steps, self.gap_steps, self.gaps, self.done
        next_token = self.since + first
        gap = next_token - self.last_token
        # Contexts grow, so the last step of a run is its longest; only a pause before it can make the first gap longer.
        if steps > 1:
            last = first + self.context_s * self.batch * (steps - 1)
            if gap > last:
                while gaps and gaps[-1] <= gap:
                    gaps.pop()
                    gap_steps.pop()
                gaps.append(gap)
                gap_steps.append(done + 1)
            gap = last
        elif gap < first:
            gap = first
        while gaps and gaps[-1] <= gap:
            gaps.pop()
            gap_steps.pop()
        gaps.append(gap)
        gap_steps.append(done + steps)
        if self.fresh:
            first_token, largest_gap = self.records.first_token, self.records.largest_gap
            again = self.records.preempted
            for r in self.fresh:
                gap = next_token - (again.pop(r) if r in again else first_token[r])
                if gap > largest_gap[r]:
                    largest_gap[r] = gap
            self.fresh = []
        self.done = done + steps
        self.context += self.batch * steps
        self.last_token = t

    def leave(self, r: int, t: float) -> None:
        """A sequence is complete."""
        records = self.records
        whole = records.prompt[r] + records.output[r]
        self.batch -= 1
        self.members -= 1
        if self.paged:
            self.order.remove(r)
        self.context -= whole
        self.kv_time += self.reserved * (t - self.reserved_since)
        self.reserved_since = t
        self.reserved -= whole
        at = bisect_left(self.gap_steps, self.joined.pop(r) + 1)
        if at < len(self.gaps) and self.gaps[at] > records.largest_gap[r]:
            records.largest_gap[r] = self.gaps[at]
        if not self.batch:
            self.gaps.clear()
            self.gap_steps.clear()

    def integrals(self, t: float) -> np.ndarray:
        """Seconds busy, seconds with prompts, and integrals of the batch, its context and the memory, up to `t`."""
        running = t - self.since if self.mode != IDLE else 0.0
        prompts = 0.0 if self.mode == DECODE else running
        return np.array(
            [
                self.busy + running,
                self.prompt_time + prompts,
                self.batch_time + self.batch * running,
                self.context_time + self.context * running,
                self.kv_time + self.reserved * (t - self.reserved_since),
                self.prompt_tokens,
            ]
        )
