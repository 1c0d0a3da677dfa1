"""Step times as look-up tables, for millions of scalar calls.

A source of step times is probed once; a step then costs a list look-up and a multiplication. Within a table's
range a decode step is exact in the batch and linear in the context (which it is for every attention without a
window); a prompt alone is exact; prompts batched together are corrected for the query-key pairs they do not share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.latency import StepTimes
from planner.latency.batch import Batch, Floats, decode_batch, mixed_batch, prefill_batch

_MANY_TOKENS = 16384  # up to here a prompt's time is looked up token by token, beyond it is interpolated
_COARSE_STEP = 64
MANY_PROMPTS = 256.0  # beyond which one prompt more changes nothing in how evenly groups are filled


@dataclass(frozen=True, eq=False)
class Spread:
    """How steps of several prompts differ where groups of ranks compute prompts of their own.

    Attributes
    ----------
    together_s : list of float
        Time of many prompts of so many tokens in all, evenly spread over the groups [s].
    pair_s : float
        Then, the time of one query-key pair [s].
    pairs_per_token : float
        Query-key pairs a token that `together_s` contains.
    on_one : list of float
        For 1, 2, ... prompts, how far the step is from the even one (0) to that of one prompt alone (1).
    """

    together_s: list[float]
    pair_s: float
    pairs_per_token: float
    on_one: list[float]


@dataclass(frozen=True, eq=False)
class StepTable:
    """Step times of one kind of lane.

    Attributes
    ----------
    decode_s : list of float
        Step time of a batch of each size from 0, at no context [s].
    context_s : float
        More for each token of context of the whole batch [s].
    prompt_s : list of float
        Time of one prompt of each size from 0, in steps of `prompt_stride` tokens [s].
    prompt_stride : int
    pair_s : float
        Time of one query-key pair [s].
    extra_prompt_s : float
        More for each further prompt in a step (its share of the LM head) [s].
    mixed_offset_s, mixed_slope : list of float
        A step of prompts that take P alone takes offset[B] + slope[B] P with B sequences of no context [s].
    """

    decode_s: list[float]
    context_s: float
    prompt_s: list[float]
    prompt_stride: int
    pair_s: float
    extra_prompt_s: float
    mixed_offset_s: list[float]
    mixed_slope: list[float]
    spread: Spread | None = None

    def prefill_s(self, tokens: int, pairs: float, n_prompts: int) -> float:
        """Time of a step of `n_prompts` prompts with `tokens` and `pairs` in all [s]."""
        alone = self._looked_up(self.prompt_s, tokens)
        if self.spread is not None and n_prompts > 1:
            return self._spread_s(self.spread, alone, tokens, pairs, n_prompts)
        # Chunks attend to what was computed before them; prompts in one step do not attend to each other.
        extra = self.pair_s * (pairs - tokens * (tokens + 1.0) / 2.0)
        if extra < 0.0:
            extra = max(extra, -0.5 * alone)
        return alone + extra + self.extra_prompt_s * (n_prompts - 1)

    def _looked_up(self, table: list[float], tokens: int) -> float:
        if self.prompt_stride == 1:
            return table[tokens]
        at, beyond = divmod(tokens, self.prompt_stride)
        low = table[at]
        return low + (table[at + 1] - low) * beyond / self.prompt_stride

    def _spread_s(self, spread: Spread, alone: float, tokens: int, pairs: float, n_prompts: int) -> float:
        together = self._looked_up(spread.together_s, tokens)
        together += spread.pair_s * (pairs - tokens * spread.pairs_per_token)
        on_one = spread.on_one[min(n_prompts, len(spread.on_one)) - 1]
        # As if one group had this part of the step and the others the rest evenly.
        return together + on_one * max(alone - together, 0.0)

    def mixed_s(self, prefill_s: float, batch: int, context_tokens: float) -> float:
        """Time of a step of prompts that take `prefill_s` alone, with `batch` sequences decoding along [s]."""
        if batch == 0:
            return prefill_s
        return self.mixed_offset_s[batch] + self.mixed_slope[batch] * prefill_s + self.context_s * context_tokens


def tabulate(step: StepTimes, max_batch: int, largest_step_tokens: int, typical_context: float) -> StepTable:
    """Probe a source of step times.

    Parameters
    ----------
    step : StepTimes
    max_batch : int
        Largest batch ever decoded together.
    largest_step_tokens : int
        Most prompt tokens ever computed in one step.
    typical_context : float
        Context around which a windowed attention is taken as linear [tokens].
    """
    batch = np.arange(0.0, max_batch + 1)
    at = np.maximum(batch, 1.0)
    near, far = (np.broadcast_to(step.step_time_s(decode_batch(at, c)), at.shape) for c in _around(typical_context))
    low, high = _around(typical_context)
    per_token = (far - near) / (at * (high - low))
    context_s = float(np.median(per_token))
    decode = near - context_s * at * low
    stride = 1 if largest_step_tokens <= _MANY_TOKENS else _COARSE_STEP
    tokens = np.arange(0, largest_step_tokens + 2 * stride, stride, dtype=float)
    prompt = np.broadcast_to(step.step_time_s(prefill_batch(np.maximum(tokens, 1.0))), tokens.shape).copy()
    prompt[0] = 0.0
    two_sizes = np.array([max(largest_step_tokens / 8.0, 1.0), max(largest_step_tokens / 2.0, 2.0)])
    alone = np.broadcast_to(step.step_time_s(prefill_batch(two_sizes)), (2,))
    with_low, with_high = (
        np.broadcast_to(step.step_time_s(mixed_batch(size, 1.0, at, typical_context)), at.shape) for size in two_sizes
    )
    spread = float(alone[1] - alone[0])
    slope = (with_high - with_low) / spread if spread > 1e-12 else np.ones_like(at)
    offset = with_low - slope * alone[0] - context_s * at * typical_context
    return StepTable(
        decode_s=decode.tolist(),
        context_s=context_s,
        prompt_s=prompt.tolist(),
        prompt_stride=stride,
        pair_s=_pair_s(step, float(two_sizes[1])),
        extra_prompt_s=_extra_prompt_s(step, float(two_sizes[0])),
        mixed_offset_s=offset.tolist(),
        mixed_slope=np.asarray(slope).tolist(),
        spread=_spread(step, tokens, typical_context),
    )


def _spread(step: StepTimes, tokens: Floats, typical_prompt: float) -> Spread | None:
    """Probe whether a step depends on how many prompts it has; None where only tokens and pairs count."""
    size, pairs_per_token = max(typical_prompt, 2.0), (max(typical_prompt, 2.0) + 1.0) / 2.0
    pairs = size * pairs_per_token

    def at(n_prompts: float) -> float:
        return float(_one_step(step, size, pairs, n_prompts))

    # The LM head runs for each prompt: what it adds is no sign of groups, and these steps get faster with prompts.
    if at(1.0) <= at(MANY_PROMPTS):
        return None
    counts = np.arange(1.0, MANY_PROMPTS + 1)
    zero = np.zeros(())
    of_counts = step.step_time_s(Batch(np.asarray(size), np.asarray(pairs), counts, zero, zero))
    least = float(of_counts.min())
    many = np.asarray(MANY_PROMPTS)
    every = np.maximum(tokens, 1.0)
    together = step.step_time_s(Batch(every, every * pairs_per_token, many, zero, zero))
    together = np.broadcast_to(together, tokens.shape).copy()
    together[0] = 0.0
    largest = float(tokens[-1])
    more, less = (
        float(_one_step(step, largest, share * largest * pairs_per_token, MANY_PROMPTS)) for share in (1.0, 0.75)
    )
    return Spread(
        together_s=together.tolist(),
        pair_s=max(more - less, 0.0) / (0.25 * largest * pairs_per_token),
        pairs_per_token=pairs_per_token,
        on_one=((of_counts - least) / (float(of_counts[0]) - least)).tolist(),
    )


def _around(context: float) -> tuple[float, float]:
    return max(0.5 * context, 1.0), max(1.5 * context, 3.0)


def _pair_s(step: StepTimes, tokens: float) -> float:
    """Slope of a step in its query-key pairs, between three quarters of a prompt's own and all of them."""
    pairs = tokens * (tokens + 1.0) / 2.0
    full, less = (_one_step(step, tokens, share * pairs, 1.0) for share in (1.0, 0.75))
    return max(float(full - less) / (0.25 * pairs), 0.0)


def _extra_prompt_s(step: StepTimes, tokens: float) -> float:
    pairs = tokens * (tokens + 1.0) / 2.0
    one, nine = (_one_step(step, tokens, pairs, n) for n in (1.0, 9.0))
    return max(float(nine - one) / 8.0, 0.0)


def _one_step(step: StepTimes, tokens: float, pairs: float, n_prompts: float) -> Floats:
    zero = np.zeros(())
    return step.step_time_s(Batch(np.asarray(tokens), np.asarray(pairs), np.asarray(n_prompts), zero, zero))
