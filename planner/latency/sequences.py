"""What a model keeps of a sequence while it is served: a cache that grows with its tokens, a state that does not.

Memory of a sequence = fixed state + bytes a token over the layers that keep them: all tokens in full attention, at
most the window or chunk where there is one, one entry for several tokens where they are compressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from planner.catalog.layers import (
    AnyMixer,
    CompressedAttention,
    LatentAttention,
    LinearAttention,
    Mamba,
    MultiHeadAttention,
    ShortConvolution,
)
from planner.catalog.llm import Llm
from planner.catalog.precision import STORED_BYTES
from planner.latency.layout import Layout

CONVOLUTION_BYTES = 2.0  # the last inputs of a convolution are kept in 16 bits


@dataclass(frozen=True)
class Cache:
    """Bytes that each token adds in one layer of one rank, and the most tokens kept (infinite: all).

    Attributes
    ----------
    bytes_per_token : float
    span_tokens : float
    """

    bytes_per_token: float
    span_tokens: float = math.inf


def caches(mixer: AnyMixer, layout: Layout) -> tuple[Cache, ...]:
    """What one layer of a kind caches on one rank of the tensor-parallel group; empty for a recurrence.

    Notes
    -----
    MHA, GQA, MQA: ceil(n_kv / tp) (d + d_v) b; KV heads are replicated where tp exceeds them; nothing in layers
    that read the cache of another.
    MLA: (r_kv + d_rope) b on each rank: the latent is shared by all heads, so it is not divided.
    Compressed: d b a token of the window, and d b for each entry of `compress_ratio` tokens, on each rank.
    An index adds its keys, on each rank.
    """
    width = STORED_BYTES[layout.kv_precision]
    if isinstance(mixer, MultiHeadAttention):
        if mixer.kv == "shared":
            return ()
        heads = math.ceil(mixer.n_kv_heads / layout.tensor_parallel)
        index = mixer.indexer.cache_bytes if mixer.indexer else 0.0
        found = heads * (mixer.head_dim + mixer.value_dim) * width + index
        return (Cache(found, mixer.span_tokens or math.inf),)
    if isinstance(mixer, LatentAttention):
        index = mixer.indexer.cache_bytes if mixer.indexer else 0.0
        return (Cache((mixer.kv_lora_rank + mixer.qk_rope_head_dim) * width + index),)
    if isinstance(mixer, CompressedAttention):
        window = Cache(mixer.head_dim * width, mixer.window_tokens)
        if not mixer.compress_ratio:
            return (window,)
        index = mixer.indexer.cache_bytes if mixer.indexer else 0.0
        return window, Cache((mixer.head_dim * width + index) / mixer.compress_ratio)
    return ()


def layer_state_bytes(mixer: AnyMixer, hidden_size: int) -> float:
    """State that one layer of a kind keeps of a sequence, over all ranks [bytes]; 0 for attention.

    Notes
    -----
    Linear attention: n d_k d_v elements; Mamba: n d N; and the last k - 1 inputs of the convolution before it.
    """
    if isinstance(mixer, LinearAttention):
        keys, values = mixer.n_key_heads * mixer.key_head_dim, mixer.n_heads * mixer.value_head_dim
        state = values * mixer.key_head_dim * mixer.state_bytes_per_element
        return state + max(mixer.conv_kernel - 1, 0) * (2 * keys + values) * CONVOLUTION_BYTES
    if isinstance(mixer, Mamba):
        convolved = mixer.inner_size + (2 * mixer.n_groups * mixer.state_size if mixer.type == "mamba2" else 0)
        state = mixer.inner_size * mixer.state_size * mixer.state_bytes_per_element
        return state + max(mixer.conv_kernel - 1, 0) * convolved * CONVOLUTION_BYTES
    if isinstance(mixer, ShortConvolution):
        return (mixer.conv_kernel - 1) * hidden_size * CONVOLUTION_BYTES
    return 0.0


def state_bytes(llm: Llm) -> float:
    """State of one sequence over all layers, whatever its length [bytes]; 0 where every layer is attention."""
    return sum(llm.layers_of(m) * layer_state_bytes(m, llm.hidden_size) for m in llm.mixers)


def kv_bytes_per_token_layer(llm: Llm, layout: Layout) -> float:
    """KV-cache bytes that one token adds in one layer of the main attention, on one rank."""
    return sum(cache.bytes_per_token for cache in caches(llm.attention, layout))


def rank_kv_bytes_per_token(llm: Llm, layout: Layout) -> float:
    """KV-cache bytes of one token over all layers, on one rank of a single pipeline stage [bytes]."""
    return sum(llm.layers_of(m) * cache.bytes_per_token for m in llm.mixers for cache in caches(m, layout))


def kv_bytes_per_token(llm: Llm, layout: Layout) -> float:
    """KV-cache bytes of one token over all layers, counted once however many ranks hold a copy [bytes].

    With the state of the sequence, this is what crosses the network when a request moves from a prefill to a
    decode machine.
    """
    return rank_kv_bytes_per_token(llm, layout.model_copy(update={"tensor_parallel": 1}))


def sent_bytes_per_token(llm: Llm, layout: Layout, residency: Residency) -> float:
    """Bytes that cross the network for each prompt token when a request moves to a decode machine [bytes].

    The KV cache, and the state of the sequence spread over the tokens of the mean prompt.
    """
    return kv_bytes_per_token(llm, layout) + state_bytes(llm) / residency.mean_prompt_tokens


@dataclass(frozen=True)
class Residency:
    """Tokens of the sequences that are in memory together.

    Attributes
    ----------
    mean_tokens : float
        Of a sequence found at a random moment [tokens].
    mean_prompt_tokens : float
        That a request begins with [tokens].
    kept : tuple of (int, float)
        Span w of a layer [tokens] -> E[min(s, w)] / E[s], for each window or chunk of the model.
    """

    mean_tokens: float = math.inf
    mean_prompt_tokens: float = math.inf
    kept: tuple[tuple[float, float], ...] = ()


def residency_of(
    llm: Llm, prompt_tokens: ArrayLike, decode_steps: ArrayLike = 0.0, weight: ArrayLike = 1.0
) -> Residency:
    """What sequences hold on average, of requests as they decode.

    Parameters
    ----------
    llm : Llm
    prompt_tokens, decode_steps, weight : float or array_like, shape (n,)
        Tokens a sequence begins with and decode steps it takes [tokens]; how many such sequences there are.

    Notes
    -----
    A sequence of L tokens and g steps is found at s = L + U g, U uniform, and with probability proportional to g:

    E[min(s, w)] = E[s] - E[max(s - w, 0)],  int max(s - w, 0) ds = max(s - w, 0)^2 / 2               (2)
    """
    start, g, weight = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (prompt_tokens, decode_steps, weight)))
    decodes = float((weight * g).sum()) > 0
    time = weight * g if decodes else weight
    whole = float((time * (start + g / 2.0)).sum()) if decodes else float((time * start).sum())
    kept = []
    for w in sorted({float(span) for m in llm.mixers if (span := _span_of(m))}):
        if decodes:
            beyond = (np.maximum(start + g - w, 0.0) ** 2 - np.maximum(start - w, 0.0) ** 2) / 2.0
        else:
            beyond = np.maximum(start - w, 0.0)
        kept.append((w, 1.0 - float((weight * beyond).sum()) / whole))
    begun = float((weight * start).sum() / weight.sum())
    return Residency(whole / float(time.sum()), begun, tuple(kept))


def _span_of(mixer: AnyMixer) -> int | None:
    if isinstance(mixer, MultiHeadAttention):
        return mixer.span_tokens
    return mixer.window_tokens if isinstance(mixer, CompressedAttention) else None


def kv_share(llm: Llm, layout: Layout, residency: Residency) -> float:
    """Memory that sequences hold, over their tokens times the bytes a token adds where every layer keeps them all.

    Returns
    -------
    float
        1 for a model that is attention over the whole context; less with windows, more with a state.

    Notes
    -----
    share = (sum_i b_i E[min(s, w_i)] + state) / (sum_i b_i E[s]) over the layers i of a rank        (3.2)
    """
    spans = dict(residency.kept)
    whole = rank_kv_bytes_per_token(llm, layout)
    held = sum(
        llm.layers_of(m) * cache.bytes_per_token * spans.get(cache.span_tokens, 1.0)
        for m in llm.mixers
        for cache in caches(m, layout)
    )
    state = state_bytes(llm) / layout.tensor_parallel
    return (held + state / residency.mean_tokens) / whole
