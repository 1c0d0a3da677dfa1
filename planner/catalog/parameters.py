"""How many weights an LLM has, operator by operator, from its architecture alone.

Plain functions over the catalog's `Llm`. They count elements (one weight each), not bytes: the latency model
multiplies by the bytes of the precision it assumes. Biases, rotary tables and learnt position embeddings are left
out (below 0.1 % in every built-in model); norms are counted as two vectors a layer and one at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.schema import Attention, LatentAttention, Llm

N_NORMS_PER_LAYER = 2


@dataclass(frozen=True)
class LayerWeights:
    """Weights of one transformer layer [elements].

    `expert` is one routed expert, of which the layer stores `n_experts` and a token uses `n_experts_per_token`.
    A dense layer has `mlp` and zeros for the experts; a layer with experts has zero `mlp`.
    """

    qkv: int
    output_projection: int
    norms: int
    mlp: int = 0
    router: int = 0
    expert: int = 0
    n_experts: int = 0
    n_experts_per_token: int = 0
    shared_experts: int = 0

    @property
    def n_total(self) -> int:
        """Weights that the layer stores [elements]."""
        return self._always_used + self.n_experts * self.expert

    @property
    def n_active(self) -> int:
        """Weights that one token is multiplied with [elements]."""
        return self._always_used + self.n_experts_per_token * self.expert

    @property
    def _always_used(self) -> int:
        return self.qkv + self.output_projection + self.norms + self.mlp + self.router + self.shared_experts


def qkv_elements(attention: Attention, hidden_size: int) -> int:
    """Weights that turn a hidden vector into queries, keys and values, in one layer.

    Parameters
    ----------
    attention : MultiHeadAttention or LatentAttention
        As the catalog describes it.
    hidden_size : int
        Width h of the residual stream [elements].

    Returns
    -------
    int
        Number of weights [elements].

    Notes
    -----
    With n query heads, n_kv KV heads of width d:

    MHA, GQA, MQA:  h (n + 2 n_kv) d                                                         (1)

    MLA:  h q + q n (d_nope + d_rope) + h (c + d_rope) + c n (d_nope + d_v)                  (2)

    with q the rank of the query latent, c that of the KV latent. Without a query latent the first two terms
    are h n (d_nope + d_rope). The last term expands the latent; in decode it is absorbed into the query and
    output products, which reads the same weights.

    References
    ----------
    .. [1] Ainslie et al., GQA, arXiv 2305.13245.
    .. [2] DeepSeek-AI, DeepSeek-V2, arXiv 2405.04434, section 2.1 and appendix C.
    """
    if isinstance(attention, LatentAttention):
        query_width = attention.n_heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
        if attention.q_lora_rank is None:
            query = hidden_size * query_width
        else:
            query = attention.q_lora_rank * (hidden_size + query_width)
        compress = hidden_size * (attention.kv_lora_rank + attention.qk_rope_head_dim)
        expand = attention.kv_lora_rank * attention.n_heads * (attention.qk_nope_head_dim + attention.v_head_dim)
        return query + compress + expand
    return hidden_size * (attention.n_heads + 2 * attention.n_kv_heads) * attention.head_dim


def output_projection_elements(attention: Attention, hidden_size: int) -> int:
    """Weights that turn the heads' outputs back into a hidden vector, in one layer [elements]: n d_v h."""
    head_dim = attention.v_head_dim if isinstance(attention, LatentAttention) else attention.head_dim
    return attention.n_heads * head_dim * hidden_size


def mlp_elements(hidden_size: int, intermediate_size: int, *, gated: bool) -> int:
    """Weights of one feed-forward block [elements]: 3 h f when gated (gate, up, down), else 2 h f."""
    return (3 if gated else 2) * hidden_size * intermediate_size


def expert_elements(llm: Llm) -> int:
    """Weights of one routed expert [elements]: 3 h f (experts are gated); 0 without experts."""
    return mlp_elements(llm.hidden_size, llm.experts.intermediate_size, gated=True) if llm.experts else 0


def shared_experts_elements(llm: Llm) -> int:
    """Weights of all shared experts of one layer together [elements]: 3 h f_shared; 0 without."""
    return mlp_elements(llm.hidden_size, llm.experts.shared_intermediate_size, gated=True) if llm.experts else 0


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
    return min(llm.experts.n_dense_layers, llm.n_layers) if llm.experts else llm.n_layers


def dense_layer(llm: Llm) -> LayerWeights:
    """Weights of a layer with a dense feed-forward block (all zero in `mlp` if the model has no such layer)."""
    mlp = mlp_elements(llm.hidden_size, llm.mlp.intermediate_size, gated=llm.mlp.gated) if llm.mlp else 0
    return LayerWeights(mlp=mlp, **_attention_weights(llm))


def expert_layer(llm: Llm) -> LayerWeights:
    """Weights of a layer with experts (without any, if the model has none)."""
    return LayerWeights(
        router=router_elements(llm),
        expert=expert_elements(llm),
        n_experts=llm.experts.n_experts if llm.experts else 0,
        n_experts_per_token=llm.experts.n_experts_per_token if llm.experts else 0,
        shared_experts=shared_experts_elements(llm),
        **_attention_weights(llm),
    )


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
    N = L_dense N_dense + L_expert N_expert + h + V h (1 if tied else 2)                     (3)
    """
    n_dense = n_dense_layers(llm)
    layers = n_dense * dense_layer(llm).n_total + (llm.n_layers - n_dense) * expert_layer(llm).n_total
    head = 0 if llm.tied_embeddings else lm_head_elements(llm)
    return float(layers + llm.hidden_size + embedding_elements(llm) + head)


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
    n_dense = n_dense_layers(llm)
    layers = n_dense * dense_layer(llm).n_active + (llm.n_layers - n_dense) * expert_layer(llm).n_active
    return float(layers + llm.hidden_size + lm_head_elements(llm))


def _attention_weights(llm: Llm) -> dict[str, int]:
    return {
        "qkv": qkv_elements(llm.attention, llm.hidden_size),
        "output_projection": output_projection_elements(llm.attention, llm.hidden_size),
        "norms": N_NORMS_PER_LAYER * llm.hidden_size,
    }
