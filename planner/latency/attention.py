"""What the attention of each kind of layer computes and reads, for each query-key pair and token of context."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.layers import Attention, CompressedAttention, Indexer, LatentAttention
from planner.catalog.llm import Llm
from planner.catalog.precision import STORED_BYTES
from planner.latency.features import CHUNK_PAIRS, CONTEXT, PAIRS, WINDOW_CONTEXT, WINDOW_PAIRS
from planner.latency.layout import Layout
from planner.latency.sequences import caches

SPARSE_HEADS = 64  # query heads of a rank that sparse latent attention computes at least


@dataclass(frozen=True)
class Attending:
    """One attention in all its layers, on one rank.

    Attributes
    ----------
    n_layers : int
    pairs, context : dict
        Features that count its query-key pairs in prompts, and the tokens (or entries) decoding queries attend to.
    flop_per_pair, flop_per_token : float
        Of prompts, and of decoding sequences [FLOP].
    bytes_per_token : float
        Read for each of the context's [bytes].
    prompt_width : float
        Queries, keys, values and outputs that a prompt token has in a layer [elements].
    """

    n_layers: int
    pairs: dict[str, float]
    context: dict[str, float]
    flop_per_pair: float
    flop_per_token: float
    bytes_per_token: float
    prompt_width: float


def attending_of(llm: Llm, layout: Layout) -> list[Attending]:
    """Every attention of the model, and the indexes beside them, which see the whole context.

    Notes
    -----
    4 H d FLOP a pair and context token: two products, two FLOP each.
    Latent attention is expanded to full heads in prefill: 2 H (d_nope + d_rope + d_v); in decode it runs on the
    latents themselves, 2 H (2 r_kv + d_rope) (DeepSeek-V2, arXiv 2405.04434, section 2.1.2: the expansions are
    absorbed into query and output products).
    With an index both run on the latents, and kernels pad a rank's query heads to 64 (vllm-project/vllm pull request
    46189; measured module times follow that too).
    An index: 2 H_i d_i a pair and token (DeepSeek-V3.2, arXiv 2512.02556, equation 1).
    """
    found = []
    for mixer in llm.attentions:
        n_layers = llm.layers_of(mixer)
        if isinstance(mixer, CompressedAttention):
            found += _compressed(mixer, n_layers, layout)
            continue
        found.append(_plain(mixer, n_layers, layout))
        if mixer.indexer:
            found.append(_index(mixer.indexer, n_layers, 1.0))
    return found


def _plain(mixer: Attention, n_layers: int, layout: Layout) -> Attending:
    assert not isinstance(mixer, CompressedAttention)
    tp = layout.tensor_parallel
    heads = mixer.n_heads / tp
    if isinstance(mixer, LatentAttention):
        widths = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim + mixer.v_head_dim
        per_pair = prompt_width = 2.0 * heads * widths
        per_token = 2.0 * heads * (2 * mixer.kv_lora_rank + mixer.qk_rope_head_dim)
        if mixer.top_k_tokens:  # no tokens in common to expand for: prompts run on the latents too, padded
            padded = max(heads, SPARSE_HEADS)
            per_pair = per_token = 2.0 * padded * (2 * mixer.kv_lora_rank + mixer.qk_rope_head_dim)
        span = chunk = None
    else:
        widths = mixer.head_dim + mixer.value_dim
        per_pair = per_token = 2.0 * heads * widths
        prompt_width = (heads + max(1.0, mixer.n_kv_heads / tp)) * widths
        span, chunk = mixer.window_tokens, mixer.chunk_tokens
    index = mixer.indexer.cache_bytes if mixer.indexer else 0.0
    shared = not isinstance(mixer, LatentAttention) and mixer.kv == "shared"
    source = mixer.model_copy(update={"kv": "own"}) if shared else mixer
    read = sum(cache.bytes_per_token for cache in caches(source, layout)) - index
    pairs, context = _counted(min((w for w in (span, mixer.top_k_tokens) if w), default=None), chunk)
    return Attending(n_layers, pairs, context, per_pair, per_token, read, prompt_width)


def _counted(window: float | None, chunk: float | None = None, share: float = 1.0) -> tuple[dict[str, float], ...]:
    """Features that count pairs and context: all, inside a window, or inside chunks."""
    if chunk:
        return {f"{CHUNK_PAIRS}{chunk}": share}, {f"{WINDOW_CONTEXT}{chunk}": share}
    if window:
        return {f"{WINDOW_PAIRS}{window}": share}, {f"{WINDOW_CONTEXT}{window}": share}
    return {PAIRS: share}, {CONTEXT: share}


def _compressed(mixer: CompressedAttention, n_layers: int, layout: Layout) -> list[Attending]:
    heads = mixer.n_heads / layout.tensor_parallel
    flop = 4.0 * heads * mixer.head_dim
    entry = mixer.head_dim * STORED_BYTES[layout.kv_precision]
    pairs, context = _counted(mixer.window_tokens)
    found = [Attending(n_layers, pairs, context, flop, flop, entry, (2 * heads + 2) * mixer.head_dim)]
    if mixer.compress_ratio:
        share = 1.0 / mixer.compress_ratio
        chosen = mixer.top_k_tokens * mixer.compress_ratio if mixer.top_k_tokens else None
        pairs, context = _counted(chosen, share=share)
        found.append(Attending(n_layers, pairs, context, flop, flop, entry, 2 * share * mixer.head_dim))
        if mixer.indexer:
            found.append(_index(mixer.indexer, n_layers, share))
    return found


def _index(indexer: Indexer, n_layers: int, share: float) -> Attending:
    flop = 2.0 * indexer.n_heads * indexer.head_dim
    width = (indexer.n_heads + share) * indexer.head_dim
    pairs, context = _counted(None, share=share)
    return Attending(n_layers, pairs, context, flop, flop, indexer.cache_bytes, width)
