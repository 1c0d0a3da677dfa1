"""A batch as the few numbers that all costs are linear in.

FLOP, bytes, launches and messages of every operator are linear in a handful of features of the step, so the
costs of a million steps are two matrix products and a maximum.
"""

from __future__ import annotations

import numpy as np

from planner.catalog.schema import Llm, MultiHeadAttention
from planner.latency.batch import Batch, Floats

STEP = "step"  # 1
TOKENS = "tokens"  # n = prompt tokens + decoding sequences
LOGITS = "logits"  # rows of the LM head: prompts that end, and decoding sequences
PROMPT_TOKENS = "prompt_tokens"
PAIRS = "pairs"  # query-key pairs of prompts
WINDOW_PAIRS = "window_pairs"  # of them, inside the sliding window
DECODES = "decodes"  # decoding sequences
CONTEXT = "context"  # their context tokens
WINDOW_CONTEXT = "window_context"  # of them, inside the sliding window
DISTINCT = "distinct"  # experts that at least one token of the step is routed to
PREFILLS = "prefills"  # 1 in steps with prompts, else 0
DECODING = "decoding"  # 1 in steps with decoding sequences, else 0
MIXED = "mixed"  # 1 in steps with both, else 0

_ALWAYS = (STEP, TOKENS, LOGITS, PROMPT_TOKENS, PAIRS, DECODES, CONTEXT, PREFILLS, DECODING, MIXED)


def names_for(llm: Llm) -> tuple[str, ...]:
    """The features that costs of `llm` depend on."""
    windowed = isinstance(llm.attention, MultiHeadAttention) and llm.attention.window_tokens is not None
    return _ALWAYS + (WINDOW_PAIRS, WINDOW_CONTEXT) * windowed + (DISTINCT,) * (llm.experts is not None)


def features(llm: Llm, batch: Batch) -> Floats:
    """Values of the features that `names_for` names, shape (number of features, *shape of the batch).

    Notes
    -----
    Experts touched by n tokens of which each picks k of E: E (1 - (1 - k/E)^n).
    """
    p, a, b, d, c = np.broadcast_arrays(
        batch.prompt_tokens, batch.attention_pairs, batch.n_prompts, batch.decode_sequences, batch.context_tokens
    )
    n = p + d
    prefills, decoding = p > 0, d > 0
    values = [np.ones_like(n), n, b + d, p, a, d, c, prefills, decoding, prefills & decoding]
    if isinstance(llm.attention, MultiHeadAttention) and llm.attention.window_tokens is not None:
        window = float(llm.attention.window_tokens)
        values += [pairs_in_window(p, a, window), np.minimum(c, d * window)]
    if llm.experts is not None:
        share = min(llm.experts.n_experts_per_token / llm.experts.n_experts, 1.0 - 1e-12)
        values.append(-llm.experts.n_experts * np.expm1(n * np.log1p(-share)))
    found = np.empty((len(values), *n.shape))
    for row, value in zip(found if n.ndim else found[:, None], values, strict=True):
        row[...] = value
    return found


def pairs_in_window(tokens: Floats, pairs: Floats, window: float) -> Floats:
    """Query-key pairs left by a sliding window, from a batch's own statistics.

    A prompt of s tokens has s(s+1)/2 pairs, of which a window w <= s keeps s w - w(w-1)/2. The batch knows its
    total n and pairs a, hence the mean length 2a/n - 1 weighted by tokens: exact for equal prompts.
    """
    length = 2.0 * pairs / np.maximum(tokens, 1.0) - 1.0
    kept = tokens * (window - window * (window - 1.0) / (2.0 * np.maximum(length, 1.0)))
    return np.where(length > window, kept, pairs)
