"""A batch step described by sufficient statistics, so that its cost is O(1) and vectorises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """One step, or an array of steps; all fields broadcast against each other.

    Attributes
    ----------
    prompt_tokens : ndarray
        New prompt tokens n_p computed in the step [tokens].
    attention_pairs : ndarray
        Query-key pairs of those tokens, sum s_i (h_i + (s_i + 1) / 2) over prompts of s_i new and h_i cached
        tokens [pairs].
    n_prompts : ndarray
        Prompts that end in this step, each of which yields a first token.
    decode_sequences : ndarray
        Sequences d that each decode one token.
    context_tokens : ndarray
        Context of those sequences, summed over them [tokens].
    """

    prompt_tokens: Floats
    attention_pairs: Floats
    n_prompts: Floats
    decode_sequences: Floats
    context_tokens: Floats


def prefill_batch(tokens: ArrayLike, n_prompts: ArrayLike = 1.0, cached_tokens: ArrayLike = 0.0) -> Batch:
    """Describe a step of `n_prompts` prompts of `tokens` new tokens each.

    Parameters
    ----------
    tokens, n_prompts, cached_tokens : float or array_like
        New tokens a prompt, prompts a step, and tokens of each prompt already in the KV cache; they broadcast.
    """
    return mixed_batch(tokens, n_prompts, 0.0, 0.0, cached_tokens)


def decode_batch(n_sequences: ArrayLike, context_tokens: ArrayLike) -> Batch:
    """Describe a step that decodes one token for each of `n_sequences` with `context_tokens` each."""
    return mixed_batch(0.0, 0.0, n_sequences, context_tokens)


def mixed_batch(
    tokens: ArrayLike,
    n_prompts: ArrayLike,
    n_sequences: ArrayLike,
    context_tokens: ArrayLike,
    cached_tokens: ArrayLike = 0.0,
) -> Batch:
    """Describe a step of prompts and decoding sequences together; arguments as in the two functions above."""
    s, b, h = (np.asarray(x, dtype=float) for x in (tokens, n_prompts, cached_tokens))
    d, c = (np.asarray(x, dtype=float) for x in (n_sequences, context_tokens))
    return Batch(b * s, b * s * (h + (s + 1.0) / 2.0), b, d, d * c)


def busiest_group(batch: Batch, n_groups: int, imbalance: float, token_budget: float) -> Batch:
    """The part of a step that falls on the busiest of the groups of attention data parallelism.

    Parameters
    ----------
    batch : Batch
        Of all groups together.
    n_groups : int
    imbalance : float
        Busiest group over the mean, where each has work.
    token_budget : float
        Most prompt tokens that one group computes in a step [tokens].

    Notes
    -----
    A prompt belongs to one group, and so does a decoding sequence. Of p prompt tokens the busiest group has the share
    max(imbalance / G, min(1 / prompts, budget / p)); of d sequences max(imbalance / G, 1 / d); at most all.
    """
    even = min(imbalance / n_groups, 1.0)
    alone = np.minimum(1.0 / np.maximum(batch.n_prompts, 1e-9), token_budget / np.maximum(batch.prompt_tokens, 1e-9))
    prompts = np.minimum(np.maximum(even, alone), 1.0)
    decodes = np.minimum(np.maximum(even, 1.0 / np.maximum(batch.decode_sequences, 1e-9)), 1.0)
    return Batch(
        batch.prompt_tokens * prompts,
        batch.attention_pairs * prompts,
        batch.n_prompts * prompts,
        batch.decode_sequences * decodes,
        batch.context_tokens * decodes,
    )
