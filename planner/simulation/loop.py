"""The event loop: the life of requests between lanes.

Requests are integers over flat arrays. Events are step boundaries, KV caches that arrive, failures and repairs;
arrivals are merged in from their array, so that the heap stays as small as the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from planner.errors import PlannerError
from planner.simulation import core
from planner.simulation.arrivals import Requests
from planner.simulation.closed_loop import Users
from planner.simulation.lane import COMPUTING, DECODE, DECODING, IDLE, MOVING, QUEUED, WAITING, Lane
from planner.simulation.outcome import Outcome, Records
from planner.simulation.preparation import choose_ways, tokens_per_sent, too_large
from planner.simulation.router import Router
from planner.simulation.sending import EARLY, JOIN, SENT, Sending
from planner.simulation.specification import (
    Failure,
    LaneSpec,
    Policy,
    Way,
    Wire,
)

_BOUNDARY, _FAIL, _REPAIR, _SAMPLE = 0, 4, 5, 6  # kinds of events, besides those of transfers


class Simulation:
    """Everything that changes while requests run."""

    def __init__(
        self,
        lanes: Sequence[LaneSpec],
        ways: Sequence[Way],
        wires: Mapping[tuple[int, int], Wire],
        requests: Requests,
        policy: Policy,
        failures: Sequence[Failure],
        seed: int,
        n_samples: int = 0,
    ) -> None:
        self._number = len(failures) * 2 + n_samples
        self._heap: list[tuple[float, int, int, int, int]] = []
        self._users: Users | None = None
        self._specs, self._ways, self._wires, self._requests, self._policy = lanes, ways, wires, requests, policy
        self._records = records = Records(requests)
        self._prompt, self._output, self._stage = records.prompt, records.output, records.stage
        self._prompt_lane: dict[int, int] = {}  # lane that computes a prompt, or holds its KV cache until it is sent
        self._decode_lane: dict[int, int] = {}  # lane where a request decodes, or will decode if that is another
        self._joined: dict[int, int] = {}
        self._lanes: list[Lane] = []
        for i in range(len(lanes)):
            self._lanes.append(self._new_lane(i))
        self._sending = Sending(
            lanes, wires, policy.contention, records, self._lanes, self._prompt_lane, self._decode_lane, self._push
        )
        per_sent = tokens_per_sent(lanes, wires) if policy.contention else []
        self._router = Router(lanes, self._lanes, policy, self._sending.nic, per_sent)
        self._n_pools = 1 + max(spec.pool for spec in lanes)
        self._way_of = choose_ways(ways, len(requests), seed)
        self._too_large = too_large(lanes, ways, self._way_of, requests, policy.overflow)
        self._n_restarted = self._n_overflowed = self._n_waited = self._n_preempted = 0
        self._lost = np.zeros((self._n_pools, 6))  # integrals of lanes that failed
        for n, failure in enumerate(failures):
            self._heap.append((failure.at_s, 2 * n, _FAIL, failure.machine, int(failure.drains)))
            if failure.repaired_s < inf:
                self._heap.append((failure.repaired_s, 2 * n + 1, _REPAIR, failure.machine, 0))
        times = np.linspace(0.0, float(requests.arrival_s[-1]), n_samples + 1)[1:].tolist()
        self._heap += [(t, 2 * len(failures) + n, _SAMPLE, 0, 0) for n, t in enumerate(times)]
        self._sample_s: list[float] = [0.0] if n_samples else []
        self._samples = [np.zeros((self._n_pools, 6))] if n_samples else []
        heapify(self._heap)

    def serve(self, users: Users) -> None:
        """Let requests come when users send them."""
        self._users = users

    def _push(self, at_s: float, kind: int, a: int, b: int) -> int:
        self._number += 1
        heappush(self._heap, (at_s, self._number, kind, a, b))
        return self._number

    def _new_lane(self, i: int) -> Lane:
        return Lane(i, self._specs[i], self._policy, self._records, self._lanes, self._decode_lane, self._joined)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self, progress: Callable[[int, float], None] | None) -> Outcome:
        """Run until every request is done, or Ctrl-C."""
        users = self._users
        heap, lanes, sending, requests = self._heap, self._lanes, self._sending, self._requests
        skip = set(self._too_large.tolist())
        n, r, offset, now = len(requests), 0, 0, 0.0
        times: list[float] = []
        next_arrival, interrupted = inf, False
        at_last_arrival: np.ndarray | None = None
        try:
            while True:
                if users is not None:
                    next_arrival = users.next_s
                elif next_arrival == inf and r < n:
                    if r - offset >= len(times):
                        offset = r
                        times = requests.arrival_s[r : r + core.ARRIVALS_AT_ONCE].tolist()
                        if progress is not None:
                            progress(r, now)
                    next_arrival = times[r - offset]
                if heap and heap[0][0] <= next_arrival:
                    now, serial, kind, a, b = heappop(heap)
                    if kind == _BOUNDARY:
                        if lanes[a].version == b:
                            self._boundary(a, now)
                    elif kind == JOIN:
                        if sending.moving.get(b) == serial:
                            del sending.moving[b]
                            self._join(b, a, now)
                    elif kind == SENT:
                        if sending.links.is_due(a, b):
                            sending.sent(a, now)
                    elif kind == EARLY:
                        if sending.early.get(b) == serial:
                            sending.start_early(b, a, now)
                    elif r == n and not self._prompt_lane and not self._decode_lane:
                        break
                    elif kind == _SAMPLE:
                        self._sample_s.append(now)
                        self._samples.append(self._integrals(now))
                    elif kind == _FAIL and b:
                        self._pass_over(a)
                    elif kind == _FAIL:
                        self._fail(a, now)
                    else:
                        self._repair(a, now)
                elif next_arrival < inf:
                    now = next_arrival if users is None else users.send()
                    if r not in skip:
                        self._enqueue(r, now)
                    elif users is not None:
                        users.answered(r, now)
                    r += 1
                    next_arrival = inf
                    if r == n:
                        at_last_arrival = self._integrals(now)
                else:
                    break
            if progress is not None:
                progress(r, now)
        except KeyboardInterrupt:
            interrupted = True
        if not interrupted and (self._prompt_lane or self._decode_lane):
            raise PlannerError(
                f"the simulation stalled at {now:g} s with {len(self._prompt_lane) + len(self._decode_lane)} requests",
                rule="report this scenario as a bug",
            )
        if users is not None:
            self._requests = requests = users.requests()
        if interrupted or at_last_arrival is None:
            horizon, totals = now, self._integrals(now)
        else:
            horizon, totals = float(requests.arrival_s[-1]), at_last_arrival
        if not interrupted:
            # Failures and repairs may be due later than everything else.
            now = max(horizon, float(np.nanmax(np.frombuffer(self._records.finish))) if len(skip) < n else horizon)
        return self._outcome(totals, r, horizon, now, interrupted)

    def _integrals(self, t: float) -> np.ndarray:
        totals = self._lost.copy()
        for lane in self._lanes:
            totals[lane.spec.pool] += lane.integrals(t)
        return totals

    def _outcome(self, totals: np.ndarray, n_arrived: int, horizon: float, end: float, interrupted: bool) -> Outcome:
        records = self._records
        pools = [spec.pool for spec in self._specs]
        return Outcome(
            requests=self._requests,
            first_token_s=np.frombuffer(records.first_token),
            finish_s=np.frombuffer(records.finish),
            prefill_start_s=np.frombuffer(records.prefill_start),
            transfer_s=np.frombuffer(records.transfer, dtype=np.float32),
            largest_gap_s=np.frombuffer(records.largest_gap, dtype=np.float32),
            pool_busy_s=totals[:, 0],
            pool_prompt_s=totals[:, 1],
            pool_lanes=np.bincount(pools, minlength=self._n_pools),
            pool_batch_s=totals[:, 2],
            pool_context_token_s=totals[:, 3],
            pool_kv_token_s=totals[:, 4],
            pool_prompt_tokens=totals[:, 5],
            sample_s=np.array(self._sample_s),
            samples=np.array(self._samples).reshape(-1, self._n_pools, 6),
            n_restarted=self._n_restarted,
            n_overflowed=self._n_overflowed,
            n_waited_for_memory=self._n_waited,
            n_preempted=self._n_preempted,
            too_large=self._too_large[self._too_large < n_arrived],
            n_arrived=n_arrived,
            horizon_s=horizon,
            end_s=end,
            interrupted=interrupted,
        )

    # -- the life of a request -----------------------------------------------------------------------------------

    def _enqueue(self, r: int, t: float) -> None:
        """Route a request that arrives, or starts again."""
        prompt, output, router = self._prompt[r], self._output[r], self._router
        first, second, _ = self._ways[self._way_of[r] if self._way_of is not None else 0]
        i: int
        j: int | None
        if output == 1:
            i, j = router.for_prompt(first), None
        elif second is None:
            i = router.for_prompt(first)
            j = i
        elif self._policy.overflow:
            i, j = router.with_overflow(first, second, prompt, prompt + output)
            if self._specs[i].pool != first or self._specs[j].pool != second:
                self._n_overflowed += 1
        else:
            i, j = router.for_prompt(first), router.for_decode(second)
        router.assign(i, j, prompt, output)
        if j is not None and j != i:
            self._decode_lane[r] = j
        self._prompt_lane[r] = i
        self._stage[r] = QUEUED
        lane = self._lanes[i]
        lane.queue.append(r)
        if self._policy.long_prompts_wait and prompt > lane.budget and lane.mode == DECODE and j != i:
            return
        self._wake(i, t)

    def _begin(self, i: int, t: float) -> None:
        lane = self._lanes[i]
        if lane.paged:
            self._make_room(lane, t)
        until = lane.begin(t)
        if until >= 0:
            self._number += 1
            heappush(self._heap, (until, self._number, _BOUNDARY, i, lane.version))
            if self._sending.starts_early and lane.prompts:
                self._sending.plan(lane, t, until)
        elif self._router.mixed and not lane.queue:
            self._router.drained(i)

    def _make_room(self, lane: Lane, t: float) -> None:
        """Pre-empt sequences of a lane until the next token of each of the others has room."""
        lane.crowded = False
        while (r := lane.last_in(t)) is not None:
            self._n_preempted += 1
            if self._stage[r] == DECODING:
                del self._decode_lane[r]
                self._prompt_lane[r] = lane.index
                self._router.again(lane.index, self._prompt[r])
            self._stage[r] = QUEUED
            lane.queue.appendleft(r)

    def _wake(self, i: int, t: float) -> None:
        """Something has come to a lane: it starts, or stops decoding at the next boundary to let it in."""
        lane = self._lanes[i]
        if lane.mode == IDLE:
            self._begin(i, t)
        elif lane.mode == DECODE and not lane.cut_already:
            until = lane.cut(t)
            if until >= 0:
                lane.version += 1
                self._number += 1
                heappush(self._heap, (until, self._number, _BOUNDARY, i, lane.version))

    def _boundary(self, i: int, t: float) -> None:
        """A step with prompts, or a run of decode steps, is over."""
        lane = self._lanes[i]
        for r in lane.finish_step(t):
            self._hand_over(r, i, t)
        ends, done = lane.ends, lane.done
        while ends and ends[0][0] <= done:
            self._end(heappop(ends)[1], i, t)
        self._begin(i, t)

    def _hand_over(self, r: int, i: int, t: float) -> None:
        """A prompt is computed: it is done, decodes here, or goes to its decode lane when that has memory."""
        records, lane = self._records, self._lanes[i]
        j = self._decode_lane.get(r)
        again = r in records.preempted
        self._router.prompt_done(i, self._prompt[r], j is None and (again or self._output[r] > 1))
        if records.first_token[r] != records.first_token[r]:
            records.first_token[r] = t
        if again:
            records.largest_gap[r] = max(records.largest_gap[r], t - records.preempted[r])
            records.preempted[r] = t
        if j is not None:
            self._place(r, i, j, t)
            return
        del self._prompt_lane[r]
        if self._output[r] == 1:
            records.finish[r] = t
            if self._users is not None:
                self._users.answered(r, t)
            lane.members -= 1
            whole = self._prompt[r] + 1
            lane.reserve(-whole, t)
            if again:
                del records.preempted[r]
                self._router.decode_off(i, whole)
            else:
                self._router.kept(i, whole)
            self._let_in(lane, t)
        else:
            self._stage[r] = DECODING
            self._decode_lane[r] = i
            lane.joining.append(r)

    def _place(self, r: int, i: int, j: int, t: float) -> None:
        """Send a computed prompt to its decode lane, or let it wait for memory there."""
        target = self._lanes[j]
        if self._policy.overflow:
            self._sending.send(r, i, j, t)
        elif not target.waiting and target.has_room(self._prompt[r] + self._output[r]):
            self._book(r, target, t)
            self._sending.send(r, i, j, t)
        else:
            self._sending.give_up(r, t)
            self._n_waited += 1
            self._stage[r] = WAITING
            target.waiting.append(r)

    def _book(self, r: int, target: Lane, t: float) -> None:
        target.members += 1
        target.reserve(self._prompt[r] + self._output[r], t)

    def _join(self, r: int, j: int, t: float) -> None:
        """A KV cache has arrived."""
        i = self._prompt_lane.pop(r)
        source = self._lanes[i]
        source.reserve(-self._prompt[r], t)
        self._router.sent(i, self._prompt[r])
        self._stage[r] = DECODING
        self._lanes[j].joining.append(r)
        self._wake(j, t)
        self._let_in(source, t)
        if source.queue:
            self._wake(i, t)

    def _end(self, r: int, i: int, t: float) -> None:
        """A sequence is complete; its memory may let others in."""
        lane = self._lanes[i]
        lane.leave(r, t)
        self._records.finish[r] = t
        if self._users is not None:
            self._users.answered(r, t)
        del self._decode_lane[r]
        self._router.decode_off(i, self._prompt[r] + self._output[r])
        if lane.waiting or lane.blocked:
            self._let_in(lane, t)

    def _let_in(self, lane: Lane, t: float) -> None:
        """Memory has come free on a lane: send what waits for it, and start lanes whose next prompt does."""
        while lane.waiting and lane.has_room(self._prompt[lane.waiting[0]] + self._output[lane.waiting[0]]):
            w = lane.waiting.popleft()
            self._book(w, lane, t)
            self._sending.send(w, self._prompt_lane[w], lane.index, t)
        if lane.blocked:
            blocked, lane.blocked = lane.blocked, []
            for k in blocked:
                self._wake(k, t)

    # -- failures ------------------------------------------------------------------------------------------------

    def _fail(self, machine: int, t: float) -> None:
        """Stop a machine. What it held starts again elsewhere; what was only to decode there goes elsewhere."""
        gone = {i for i, spec in enumerate(self._specs) if spec.machine == machine}
        touched = sorted({r for held in (self._prompt_lane, self._decode_lane) for r, i in held.items() if i in gone})
        for i in sorted(gone):
            old = self._lanes[i]
            self._lost[old.spec.pool] += old.integrals(t)
            lane = self._new_lane(i)
            self._lanes[i] = lane
            lane.version, lane.reserved_since = old.version + 1, t
            lane.blocked = old.blocked
            self._router.take_down(i)
        again = []
        freed = set(gone)
        for r in touched:
            holder = self._prompt_lane.get(r)
            if holder is None or holder in gone or self._policy.overflow:
                freed |= self._withdraw(r, gone, t)
                again.append(r)
            else:
                self._redirect(r, holder, t)
        self._n_restarted += len(again)
        for r in again:
            self._enqueue(r, t)
        for i in sorted(freed):
            self._let_in(self._lanes[i], t)
            if i not in gone and self._lanes[i].queue:
                self._wake(i, t)
        for i in list(self._router.mixed):
            if self._lanes[i].mode == IDLE and not self._router.pending[i]:
                self._router.drained(i)

    def _redirect(self, r: int, i: int, t: float) -> None:
        """The lane where a request was to decode has failed: choose another of its pool."""
        second = self._specs[self._decode_lane[r]].pool
        other = self._router.for_decode(second)
        self._router.decode_on(other, self._prompt[r] + self._output[r])
        self._decode_lane[r] = other
        self._sending.give_up(r, t)
        if self._stage[r] in (WAITING, MOVING):
            self._stage[r] = WAITING
            self._place(r, i, other, t)

    def _withdraw(self, r: int, gone: set[int], t: float) -> set[int]:
        """Undo everything that a request holds on lanes that are left; returns those lanes."""
        freed = set()
        stage = self._stage[r]
        i, j = self._prompt_lane.pop(r, None), self._decode_lane.pop(r, None)
        prompt, whole = self._prompt[r], self._prompt[r] + self._output[r]
        self._joined.pop(r, None)
        self._records.preempted.pop(r, None)
        self._sending.give_up(r, t)
        if i is not None and i not in gone:
            lane = self._lanes[i]
            freed.add(i)
            if stage <= COMPUTING:
                self._router.prompt_done(i, prompt, False)
            self._router.sent(i, prompt)
            if stage == QUEUED:
                lane.queue.remove(r)
            else:
                lane.reserve(-prompt, t)
                if r in lane.prompts:
                    lane.prompts.remove(r)
                elif stage == COMPUTING:
                    lane.queue.remove(r)
                    lane.computed = 0
        if j is not None and j not in gone:
            self._router.decode_off(j, whole)
            target = self._lanes[j]
            freed.add(j)
            if stage == WAITING:
                target.waiting.remove(r)
            elif stage == MOVING or (stage == COMPUTING and self._policy.overflow):
                target.members -= 1
                target.reserve(-whole, t)
        return freed

    def _pass_over(self, machine: int) -> None:
        """A machine is sent nothing more; what it has it finishes."""
        for i, spec in enumerate(self._specs):
            if spec.machine == machine:
                self._router.pass_over(i)

    def _repair(self, machine: int, t: float) -> None:
        for i, spec in enumerate(self._specs):
            if spec.machine == machine:
                self._router.bring_up(i)
