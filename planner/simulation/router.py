"""Which lane a request goes to."""

from __future__ import annotations

from collections.abc import Sequence

from planner.simulation.lane import Lane
from planner.simulation.specification import LaneSpec, Policy


class Router:
    """What the cluster scheduler knows of the lanes, and its choices.

    Parameters
    ----------
    specs : sequence of LaneSpec
    lanes : list of Lane
        By index; only their queues are looked at.
    policy : Policy
    nic : sequence of int, optional
        Index of the NICs that each lane sends by; left out: nothing is ever sent.
    tokens_per_sent : sequence of float, optional
        Of each lane, prompt tokens that it computes in the time that its NICs take to send the KV cache of one.

    Attributes
    ----------
    pending : list of int
        Of each lane: prompt tokens assigned and not yet computed, and one for each sequence assigned to decode there;
        or requests, by policy.
    to_send : list of int
        Of each set of NICs: tokens of KV cache that are assigned to its lanes and must still be sent away.
    promised : list of int
        KV tokens of all requests assigned to each lane.
    """

    def __init__(
        self,
        specs: Sequence[LaneSpec],
        lanes: list[Lane],
        policy: Policy,
        nic: Sequence[int] = (),
        tokens_per_sent: Sequence[float] = (),
    ) -> None:
        self._specs, self._lanes = specs, lanes
        self._nic = nic or list(range(len(specs)))
        self._per_sent = tokens_per_sent if policy.routing == "pending_tokens" else ()
        self._in_turns = policy.ties == "turns"
        self._in_turn, self._by_tokens = policy.routing == "round_robin", policy.routing != "least_loaded"
        self._by_memory, self._long = policy.decode_routing == "memory", policy.overflow_tokens
        n_pools = 1 + max(spec.pool for spec in specs)
        self.pools: list[list[int]] = [[i for i, s in enumerate(specs) if s.pool == p] for p in range(n_pools)]
        self.mixed: list[int] = []
        self.pending = [0] * len(specs)
        self.promised = [0] * len(specs)
        self.to_send = [0] * (max(self._nic) + 1)
        self._turn = [0] * n_pools

    # -- choices -------------------------------------------------------------------------------------------------

    def for_prompt(self, pool: int) -> int:
        """Lane of a pool for the next prompt."""
        ids = self.pools[pool] or self._mixed_of(pool)
        return self._next(pool, ids) if self._in_turn else self._least_pending(ids)

    def for_decode(self, pool: int) -> int:
        """Lane of a pool for the next sequence to decode."""
        ids = self.pools[pool] or self._mixed_of(pool)
        if self._in_turn:
            return self._next(pool, ids)
        return self._least(ids, [self.promised[i] for i in ids]) if self._by_memory else self._least_pending(ids)

    def _next(self, pool: int, ids: list[int]) -> int:
        self._turn[pool] += 1
        return ids[(self._turn[pool] - 1) % len(ids)]

    def _least_pending(self, ids: Sequence[int]) -> int:
        """The lane with least to compute and to send."""
        if len(ids) == 1:
            return ids[0]
        pending = self.pending
        if not self._per_sent:
            return self._least(ids, [pending[i] for i in ids])
        nic, to_send, per_sent = self._nic, self.to_send, self._per_sent
        return self._least(ids, [pending[i] + per_sent[i] * to_send[nic[i]] for i in ids])

    def _least(self, ids: Sequence[int], loads: Sequence[float]) -> int:
        """The lane with the least load; of several the one whose turn it is, counted from the last one chosen."""
        least = min(loads)
        at = loads.index(least)
        if self._in_turns:
            pool = self._specs[ids[at]].pool
            start = self._turn[pool] % len(ids)
            if at < start and least in loads[start:]:
                at = loads.index(least, start)
            self._turn[pool] = at + 1
        return ids[at]

    def with_overflow(self, first: int, second: int, prompt: int, whole: int) -> tuple[int, int]:
        """Lanes for a prompt and for its decoding, from either pool if its own is full.

        Parameters
        ----------
        first, second : int
            Prefill and decode pool.
        prompt, whole : int
            Tokens of the prompt, and with the output.
        """
        i = self._short(self.pools[first], prompt)
        if i is None:
            i = self._short(self._mixed_of(first, second), prompt)
        j = self._roomy(self.pools[second], whole)
        if j is None:
            j = self._roomy(self._mixed_of(first, second), whole)
        if i is None and self.pools[second]:
            i = self._least_pending(self.pools[second])
            self._mix(i, second)
        if j is None:
            fitting = [k for k in self.pools[first] if self._specs[k].kv_tokens >= whole]
            if fitting:
                j = self._least(fitting, [self.promised[k] for k in fitting])
                self._mix(j, first)
        if i is not None and j is not None:
            return i, j
        # Both pools are full: batch both phases on the shortest queue that can hold the request at all.
        both = (*self.pools[first], *self._mixed_of(first, second), *self.pools[second])
        i = self._least_pending([k for k in both if self._specs[k].kv_tokens >= whole])
        return i, i

    def _short(self, ids: Sequence[int], prompt: int) -> int | None:
        """The lane with the shortest queue, unless even that is long."""
        if not ids:
            return None
        i = self._least_pending(ids)
        return None if self._lanes[i].has_work_waiting and self.pending[i] + prompt > self._long else i

    def _roomy(self, ids: Sequence[int], whole: int) -> int | None:
        """The lane with the least memory promised, unless even that has not enough left."""
        if not ids:
            return None
        j = self._least(ids, [self.promised[k] for k in ids])
        return None if self.promised[j] + whole > self._specs[j].kv_tokens else j

    # -- the mixed pool ------------------------------------------------------------------------------------------

    def _mixed_of(self, *pools: int) -> list[int]:
        return [i for i in self.mixed if self._specs[i].pool in pools] if self.mixed else []

    def _mix(self, i: int, pool: int) -> None:
        self.pools[pool].remove(i)
        self.mixed.append(i)

    def drained(self, i: int) -> None:
        """A lane has run empty: if it is in the mixed pool it returns to its own."""
        if i in self.mixed:
            self.mixed.remove(i)
            self.pools[self._specs[i].pool].append(i)

    def take_down(self, i: int) -> None:
        """A lane has failed, and nothing is assigned to it any more."""
        self.pass_over(i)
        self.pending[i] = self.promised[i] = self.to_send[self._nic[i]] = 0

    def pass_over(self, i: int) -> None:
        """A lane is to get nothing more; what is assigned to it stays."""
        (self.mixed if i in self.mixed else self.pools[self._specs[i].pool]).remove(i)

    def bring_up(self, i: int) -> None:
        """A lane has been repaired, or is sent requests again."""
        self.pools[self._specs[i].pool].append(i)
        self.pools[self._specs[i].pool].sort()

    # -- what is assigned ----------------------------------------------------------------------------------------

    def assign(self, i: int, j: int | None, prompt: int, output: int) -> None:
        """A request computes its prompt on lane `i` and decodes on lane `j`; None: it does not decode."""
        by_tokens = self._by_tokens
        if j is None:
            self.pending[i] += prompt if by_tokens else 1
            self.promised[i] += prompt + output
        elif j == i:
            self.pending[i] += prompt + 1 if by_tokens else 1
            self.promised[i] += prompt + output
        else:
            self.pending[i] += prompt if by_tokens else 1
            self.promised[i] += prompt
            self.to_send[self._nic[i]] += prompt
            self.decode_on(j, prompt + output)

    def decode_on(self, j: int, whole: int) -> None:
        """A sequence is assigned to decode on lane `j`."""
        self.pending[j] += 1
        self.promised[j] += whole

    def again(self, i: int, prompt: int) -> None:
        """A sequence on lane `i` gave its memory back, and a prompt of so many tokens is to be computed again."""
        if self._by_tokens:
            self.pending[i] += prompt

    def prompt_done(self, i: int, prompt: int, stays: bool) -> None:
        """The prompt of a request is computed, or will not be; `stays` if it decodes on the same lane."""
        if self._by_tokens:
            self.pending[i] -= prompt
        elif not stays:
            self.pending[i] -= 1

    def sent(self, i: int, tokens: int) -> None:
        """A KV cache of so many tokens has left lane `i`, or will not."""
        self.promised[i] -= tokens
        self.to_send[self._nic[i]] -= tokens

    def kept(self, i: int, tokens: int) -> None:
        """A request that never decodes has left lane `i`, which held so many tokens for it."""
        self.promised[i] -= tokens

    def decode_off(self, j: int, whole: int) -> None:
        """A sequence has ended on lane `j`, or will not decode there after all."""
        self.pending[j] -= 1
        self.promised[j] -= whole
