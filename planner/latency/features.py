"""A batch as the few numbers that all costs are linear in.

FLOP, bytes, launches and messages of every operator are linear in a handful of features of the step, so the
costs of a million steps are two matrix products and a maximum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.catalog.schema import Llm
from planner.latency.batch import Batch, Floats

STEP = "step"  # 1
TOKENS = "tokens"  # n = prompt tokens + tokens of decoding sequences
LOGITS = "logits"  # rows of the LM head: prompts that end, and tokens of decoding sequences
PROMPT_TOKENS = "prompt_tokens"
PAIRS = "pairs"  # query-key pairs of prompts
WINDOW_PAIRS = "window_pairs:"  # of them, inside the sliding window whose width follows [tokens]
CHUNK_PAIRS = "chunk_pairs:"  # of them, inside chunks whose width follows [tokens]
LONGEST = "longest"  # tokens of the longest prompt, as far as the batch knows
DECODES = "decodes"  # decoding sequences
CONTEXT = "context"  # their context tokens
WINDOW_CONTEXT = "window_context:"  # of them, inside the sliding window whose width follows [tokens]
DISTINCT = "distinct"  # experts that at least one token of the step is routed to
PREFILLS = "prefills"  # 1 in steps with prompts, else 0
DECODING = "decoding"  # 1 in steps with decoding sequences, else 0
MIXED = "mixed"  # 1 in steps with both, else 0
GROUP = "group."  # before a feature: of the busiest group of attention data parallelism alone


def features(llm: Llm, batch: Batch, names: tuple[str, ...], rows: int = 1) -> Floats:
    """Values of the features `names`, shape (number of names, *shape of the batch).

    Each decoding sequence takes part with `rows` tokens: the next one, and the draft tokens to verify.

    Notes
    -----
    Experts touched by n tokens of which each picks k of E: E (1 - (1 - k/E)^n).
    """
    p, d, c = batch.prompt_tokens, batch.decode_sequences, batch.context_tokens
    decoded = d if rows == 1 else rows * d
    n = p + decoded
    found = np.empty((len(names), *np.broadcast(p, batch.attention_pairs, batch.n_prompts, d, c).shape))
    for i, name in enumerate(names):
        value: Floats | NDArray[np.bool_] | float
        if name == STEP:
            value = 1.0
        elif name == TOKENS:
            value = n
        elif name == LOGITS:
            value = batch.n_prompts + decoded
        elif name == PROMPT_TOKENS:
            value = p
        elif name == PAIRS:
            value = batch.attention_pairs
        elif name == DECODES:
            value = d
        elif name == LONGEST:
            # 2a/p - 1, the mean length weighted by tokens: exact for equal prompts.
            value = np.clip(2.0 * batch.attention_pairs / np.maximum(p, 1.0) - 1.0, 0.0, p)
        elif name == CONTEXT:
            value = c
        elif name == PREFILLS:
            value = p > 0
        elif name == DECODING:
            value = d > 0
        elif name == MIXED:
            value = (p > 0) & (d > 0)
        elif name == DISTINCT:
            assert llm.experts is not None
            share = min(llm.experts.n_experts_per_token / llm.experts.n_experts, 1.0 - 1e-12)
            # exp is several times as fast as expm1; with whole tokens it loses no digit that matters.
            value = llm.experts.n_experts * (1.0 - np.exp(n * np.log1p(-share)))
        elif name.startswith(WINDOW_PAIRS):
            value = pairs_in_window(p, batch.attention_pairs, float(name.removeprefix(WINDOW_PAIRS)))
        elif name.startswith(CHUNK_PAIRS):
            value = np.minimum(batch.attention_pairs, p * (float(name.removeprefix(CHUNK_PAIRS)) + 1.0) / 2.0)
        else:
            value = np.minimum(c, d * float(name.removeprefix(WINDOW_CONTEXT)))
        found[i, ...] = value
    return found


def pairs_in_window(tokens: Floats, pairs: Floats, window: float) -> Floats:
    """Query-key pairs left by a sliding window, from a batch's own statistics.

    A prompt of s tokens has s(s+1)/2 pairs, of which a window w <= s keeps s w - w(w-1)/2. The batch knows its
    total n and pairs a, hence the mean length 2a/n - 1 weighted by tokens: exact for equal prompts.
    """
    kept = np.asarray(2.0 * pairs - tokens)  # tokens x length
    inside = kept <= window * tokens
    # In place, for this is the dearest feature: tokens (window - w(w-1)/2 / length).
    np.maximum(kept, 1.0, out=kept)
    np.divide(tokens, kept, out=kept)
    kept *= -0.5 * window * (window - 1.0)
    kept += window
    kept *= tokens
    np.copyto(kept, pairs, where=inside)
    return kept
