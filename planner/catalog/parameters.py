"""How many weights an LLM has, operator by operator, from its architecture alone.

Plain functions over the catalog's `Llm`. They count elements (one weight each), not bytes: the latency model
multiplies by the bytes of the precision it assumes. Biases, rotary tables and learnt position embeddings are left
out (below 0.1 % in every built-in model); norms are counted as one vector a block and one at the end.
"""

from __future__ import annotations

from planner.catalog.layers import (
    AnyMixer,
    CompressedAttention,
    Indexer,
    LatentAttention,
    LinearAttention,
    Mamba,
    MultiHeadAttention,
    ShortConvolution,
)
from planner.catalog.llm import Llm


def qkv_elements(mixer: AnyMixer, hidden_size: int) -> int:
    """Weights of one layer that a hidden vector meets before its tokens are mixed: queries, keys, values and gates.

    Parameters
    ----------
    mixer : AnyMixer
        As the catalog describes it.
    hidden_size : int
        Width h of the residual stream [elements].

    Returns
    -------
    int
        Number of weights [elements].

    Notes
    -----
    With n query heads, n_kv KV heads of width d and values of width d_v:

    MHA, GQA, MQA:  h (n d + n_kv (d + d_v)); without n_kv d_v where keys are values, without both where shared  (1)

    MLA:  h q + q n (d_nope + d_rope) + h (c + d_rope) + c n (d_nope + d_v)                  (2)

    with q the rank of the query latent, c that of the KV latent. Without a query latent the first two terms
    are h n (d_nope + d_rope). The last term expands the latent; in decode it is absorbed into the query and
    output products, which reads the same weights.

    Compressed [4]_:  h q + q n d + h d, and h 2 d for a ratio with index, twice that as pairs of entries overlap,
    h 2 d for one without, each with a bias by position in the entry.

    An output gate adds h times its columns, an index its own queries, keys and head weights. Recurrences have
    queries, keys, values, output gate, decay and step by head, and the convolution before them.

    References
    ----------
    .. [1] Ainslie et al., GQA, arXiv 2305.13245.
    .. [2] DeepSeek-AI, DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix C.
    .. [3] DeepSeek-AI, DeepSeek-V3.2, arXiv 2512.02556, section 2.1: the index.
    .. [4] transformers 5.24, modeling_deepseek_v4.py.
    .. [5] Yang et al., Gated Delta Networks, arXiv 2412.06464; Kimi Team, Kimi Linear, arXiv 2510.26692.
    .. [6] Dao and Gu, Mamba-2, arXiv 2405.21060; Gu and Dao, Mamba, arXiv 2312.00752.
    """
    h = hidden_size
    if isinstance(mixer, MultiHeadAttention):
        columns = {"own": mixer.head_dim + mixer.value_dim, "keys-only": mixer.head_dim, "shared": 0}[mixer.kv]
        query_width, rank = mixer.n_heads * mixer.head_dim, mixer.q_lora_rank
        query = h * query_width if rank is None else rank * (h + query_width)
        return query + h * (mixer.n_kv_heads * columns + mixer.gate_width) + indexer_elements(mixer.indexer, h, h)
    if isinstance(mixer, LatentAttention):
        query_width = mixer.n_heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim)
        rank = mixer.q_lora_rank
        query = h * query_width if rank is None else rank * (h + query_width)
        compress = h * (mixer.kv_lora_rank + mixer.qk_rope_head_dim + mixer.gate_width)
        expand = mixer.kv_lora_rank * mixer.n_heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
        return query + compress + expand + indexer_elements(mixer.indexer, h, rank or h)
    if isinstance(mixer, CompressedAttention):
        overlap = 2 if mixer.indexer else 1
        entries = overlap * mixer.head_dim * (2 * h + mixer.compress_ratio) if mixer.compress_ratio else 0
        index = mixer.indexer
        index_entries = overlap * index.head_dim * (2 * h + mixer.compress_ratio) - h * index.head_dim if index else 0
        query = mixer.q_lora_rank * (h + mixer.n_heads * mixer.head_dim)
        return query + h * mixer.head_dim + entries + index_entries + indexer_elements(index, h, mixer.q_lora_rank)
    if isinstance(mixer, LinearAttention):
        return _linear_elements(mixer, h)
    if isinstance(mixer, Mamba):
        return _mamba_elements(mixer, h)
    return h * 3 * h + h * mixer.conv_kernel


def indexer_elements(indexer: Indexer | None, hidden_size: int, query_size: int) -> int:
    """Weights of an index in one layer [elements]: queries out of `query_size`, one key head, head weights."""
    if indexer is None:
        return 0
    weights = hidden_size * indexer.n_heads if indexer.weighted else 0
    return query_size * indexer.n_heads * indexer.head_dim + hidden_size * indexer.head_dim + weights


def _linear_elements(mixer: LinearAttention, h: int) -> int:
    keys = mixer.n_key_heads * mixer.key_head_dim
    values = mixer.n_heads * mixer.value_head_dim
    gate = mixer.gate_rank * (h + values) if mixer.gate_rank else h * values
    found = h * (2 * keys + values) + gate + mixer.conv_kernel * (2 * keys + values)
    if mixer.type == "gated-delta":
        return found + 2 * h * mixer.n_heads  # decay and step of each head
    if mixer.type == "kda":  # a decay of each channel, and the step of each head
        decay = mixer.decay_rank * (h + keys) if mixer.decay_rank else h * keys
        return found + decay + h * mixer.n_heads
    return found


def _mamba_elements(mixer: Mamba, h: int) -> int:
    inner = mixer.inner_size
    if mixer.type == "mamba1":
        steps = inner * (mixer.time_step_rank + 2 * mixer.state_size) + mixer.time_step_rank * inner
        return h * 2 * inner + inner * mixer.conv_kernel + steps + inner * mixer.state_size
    convolved = inner + 2 * mixer.n_groups * mixer.state_size
    return h * (inner + convolved + mixer.n_heads) + convolved * mixer.conv_kernel


def output_projection_elements(mixer: AnyMixer, hidden_size: int) -> int:
    """Weights that turn the heads' outputs back into a hidden vector, in one layer [elements]: n d_v h."""
    if isinstance(mixer, CompressedAttention):
        outputs = mixer.n_heads * mixer.head_dim
        return mixer.o_lora_rank * (outputs + mixer.o_groups * hidden_size)
    return output_width(mixer, hidden_size) * hidden_size


def output_width(mixer: AnyMixer, hidden_size: int) -> int:
    """Width of what all heads of one layer give together [elements]."""
    if isinstance(mixer, LinearAttention):
        return mixer.n_heads * mixer.value_head_dim
    if isinstance(mixer, Mamba):
        return mixer.inner_size
    return hidden_size if isinstance(mixer, ShortConvolution) else mixer.n_heads * mixer.value_dim


def mlp_elements(hidden_size: int, intermediate_size: int, *, gated: bool) -> int:
    """Weights of one feed-forward block [elements]: 3 h f when gated (gate, up, down), else 2 h f."""
    return (3 if gated else 2) * hidden_size * intermediate_size


def expert_elements(llm: Llm) -> int:
    """Weights of one routed expert [elements]: 3 h f, 2 h f if not gated; 0 without experts.

    Experts in a latent space have its width in place of h.
    """
    experts = llm.experts
    if experts is None:
        return 0
    return mlp_elements(experts.latent_size or llm.hidden_size, experts.intermediate_size, gated=experts.gated)


def latent_elements(llm: Llm) -> int:
    """Weights that bring tokens down to the experts' latent space and back in one layer [elements]: 2 h l."""
    return 2 * llm.hidden_size * llm.experts.latent_size if llm.experts else 0


def shared_experts_elements(llm: Llm) -> int:
    """Weights of all shared experts of one layer together [elements]: 3 h f_shared, 2 if not gated; 0 without."""
    experts = llm.experts
    return mlp_elements(llm.hidden_size, experts.shared_intermediate_size, gated=experts.gated) if experts else 0


def router_elements(llm: Llm) -> int:
    """Weights that choose the experts in one layer [elements]: h E; 0 without experts."""
    return llm.hidden_size * llm.experts.n_experts if llm.experts else 0


def embedding_elements(llm: Llm) -> int:
    """Weights of the token embedding table [elements]: V h. Read by look-up, one row a token."""
    return llm.vocabulary_size * llm.hidden_size


def lm_head_elements(llm: Llm) -> int:
    """Weights of the product that gives the logits [elements]: V h, whether or not stored a second time."""
    return llm.vocabulary_size * llm.hidden_size


def n_dense_layers(llm: Llm) -> int:
    """Layers with a dense feed-forward block."""
    return sum(map(llm.layers_of, llm.mlps))


def n_blocks(llm: Llm) -> int:
    """Blocks that add to the residual stream, over all layers: each mixes tokens or is a feed-forward."""
    return sum(map(llm.layers_of, llm.mixers)) + n_dense_layers(llm) + llm.n_expert_layers


def n_parameters(llm: Llm) -> float:
    """Weights of the whole model, embeddings included, tied ones counted once.

    Parameters
    ----------
    llm : Llm
        The architecture; its own `n_parameters` is not looked at.

    Returns
    -------
    float
        Number of weights [elements]. Multi-token-prediction heads and vision towers are not part of it.

    Notes
    -----
    N = sum over mixers L (in + out) + sum over dense blocks L (3 or 2) h f
        + L_expert (E N_expert + N_shared + 2 h l + h E) + h (blocks + 1) + V h (1 if tied else 2) + other     (3)
    """
    head = 0 if llm.tied_embeddings else lm_head_elements(llm)
    n_experts = llm.experts.n_experts if llm.experts else 0
    used = _always_used(llm) + llm.n_expert_layers * n_experts * expert_elements(llm)
    return float(used + embedding_elements(llm) + head + llm.looked_up_parameters)


def n_active_parameters(llm: Llm) -> float:
    """Weights that one token is multiplied with in a forward pass.

    Parameters
    ----------
    llm : Llm
        The architecture.

    Returns
    -------
    float
        Number of weights [elements]: the LM head counts, the embedding look-up does not.

    Notes
    -----
    As (3), with the k chosen experts of E and V h once. This is OpenAI's convention [3]_; Qwen and Mistral
    also count the embedding table, which adds V h.

    References
    ----------
    .. [3] OpenAI, gpt-oss model card, arXiv 2508.10925, table 1.
    """
    chosen = llm.experts.n_experts_per_token if llm.experts else 0
    return float(_always_used(llm) + llm.n_expert_layers * chosen * expert_elements(llm) + lm_head_elements(llm))


def _always_used(llm: Llm) -> int:
    h = llm.hidden_size
    mixed = sum(llm.layers_of(m) * (qkv_elements(m, h) + output_projection_elements(m, h)) for m in llm.mixers)
    dense = sum(llm.layers_of(m) * mlp_elements(h, m.intermediate_size, gated=m.gated) for m in llm.mlps)
    beside_experts = shared_experts_elements(llm) + latent_elements(llm) + router_elements(llm)
    norms = h * (n_blocks(llm) + 1)
    return mixed + dense + llm.n_expert_layers * beside_experts + norms + llm.other_parameters
