"""The weight matrices that one accelerator of a replica holds and multiplies with.

Tensor parallelism divides heads and feed-forward columns over the ranks. What it cannot divide each rank keeps
whole: the router, the down-projections of latent attention, and KV heads where there are fewer than ranks
(Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3; vLLM does the same).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.catalog import parameters
from planner.catalog.schema import STORED_BYTES, LatentAttention, Llm
from planner.latency.layout import Layout

LEAST_HEAD_BYTES = 2.0  # embeddings and LM head are kept in 16 bits when the rest is quantised
MXFP4_TILE = 256  # hidden elements
QUANTISED = ("fp8", "int8", "fp4")  # precisions whose activations are quantised before each product


@dataclass(frozen=True)
class Matrix:
    """A weight matrix, or several alike multiplied one after another, in one layer of one rank.

    Attributes
    ----------
    name : str
        Operator it belongs to.
    n_layers : int
        Layers that have it.
    elements : float
        Weights on one rank [elements].
    bytes_per_element : float
    input_width, output_width : float
        Activations that the products read and write for each token on one rank [elements].
    elementwise_width : float
        Activations that the element-wise kernels beside them (activation function, rotary embedding, KV write)
        read and write for each token on one rank [elements].
    n_kernels : int
        Kernels launched for it, products and element-wise ones.
    n_products : int
        Products with separately quantised inputs.
    """

    name: str
    n_layers: int
    elements: float
    bytes_per_element: float
    input_width: float
    output_width: float
    elementwise_width: float
    n_kernels: int
    n_products: int


def matrices(llm: Llm, layout: Layout) -> list[Matrix]:
    """Every matrix that all tokens of a step are multiplied with, in the order they run; the LM head is the last."""
    tp, hidden = layout.tensor_parallel, llm.hidden_size
    width = STORED_BYTES[layout.precision]
    found = [_qkv(llm, layout, width)]
    out = parameters.output_projection_elements(llm.attention, hidden) / tp
    found.append(Matrix("out-projection", llm.n_layers, out, width, out / hidden, hidden, 0.0, 1, 1))
    n_dense = parameters.n_dense_layers(llm)
    if llm.mlp and n_dense:
        found.append(_feed_forward("mlp", n_dense, hidden, llm.mlp.intermediate_size / tp, llm.mlp.gated, width))
    if llm.experts:
        n_layers = llm.n_layers - n_dense
        if llm.experts.shared_intermediate_size:
            inner = llm.experts.shared_intermediate_size / tp
            found.append(_feed_forward("shared-experts", n_layers, hidden, inner, True, width))
        router = float(parameters.router_elements(llm))
        found.append(Matrix("router", n_layers, router, 2.0, hidden, llm.experts.n_experts, 0.0, 2, 0))
    head = parameters.lm_head_elements(llm) / tp
    columns = llm.vocabulary_size / tp
    found.append(Matrix("lm-head", 1, head, max(width, LEAST_HEAD_BYTES), hidden, columns, 0.0, 1, 0))
    return found


def _qkv(llm: Llm, layout: Layout, width: float) -> Matrix:
    attention, hidden, tp = llm.attention, llm.hidden_size, layout.tensor_parallel
    if not isinstance(attention, LatentAttention):
        columns = (attention.n_heads / tp + 2 * math.ceil(attention.n_kv_heads / tp)) * attention.head_dim
        return Matrix("qkv", llm.n_layers, hidden * columns, width, hidden, columns, 2 * columns, 2, 1)
    heads = attention.n_heads / tp
    query = heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
    expanded = heads * (attention.qk_nope_head_dim + attention.v_head_dim)
    rank = attention.q_lora_rank
    latent = attention.kv_lora_rank + attention.qk_rope_head_dim + (rank or 0)
    elements = hidden * latent + (rank or hidden) * query + attention.kv_lora_rank * expanded
    inputs = hidden + (rank or hidden) + attention.kv_lora_rank
    outputs = latent + query + expanded
    # The latents in one product and their norms, the expansions of query and KV, rotary embedding and KV write.
    return Matrix("qkv", llm.n_layers, elements, width, inputs, outputs, 2 * (latent + query), 5, 2)


def _feed_forward(name: str, n_layers: int, hidden: int, inner: float, gated: bool, width: float) -> Matrix:
    n = 3 if gated else 2
    # Gate and up are one product of double width, which the activation function turns into the down product's input.
    return Matrix(name, n_layers, n * hidden * inner, width, hidden + inner, (n - 1) * inner + hidden, n * inner, 3, 2)


def expert_bytes_per_element(llm: Llm, layout: Layout) -> float:
    """Bytes of one expert weight: the released expert precision where the model is served as released.

    Notes
    -----
    Kernels for MXFP4 experts want the hidden width in tiles of 256 and store it padded: 2,880 of gpt-oss become 3,072.
    With it weights are as vLLM logs them (gpt-oss-120b 64.38 GiB, gpt-oss-20b 13.47 GiB) to 0.3 %.
    """
    as_released = llm.expert_precision is not None and layout.precision == llm.weight_precision
    precision = str(llm.expert_precision) if as_released else layout.precision
    padding = 1.0
    if precision == "mxfp4":
        padding = math.ceil(llm.hidden_size / MXFP4_TILE) * MXFP4_TILE / llm.hidden_size
    return STORED_BYTES[precision] * padding


def rank_weight_bytes(llm: Llm, layout: Layout) -> float:
    """Weights held by the fullest accelerator of a replica [bytes].

    Notes
    -----
    The fullest pipeline stage has ceil(layers / pp) layers and, when it is first or last, one of the two
    vocabulary tables (embedding and LM head); a single stage has both, or one if they are tied.
    """
    pp, tp = layout.pipeline_parallel, layout.tensor_parallel
    stage_layers = math.ceil(llm.n_layers / pp)
    n_dense = parameters.n_dense_layers(llm)
    n_experts = min(stage_layers, llm.n_layers - n_dense)
    total = 0.0
    for matrix in matrices(llm, layout):
        if matrix.name == "lm-head":
            n_tables = 1 if llm.tied_embeddings or pp > 1 else 2
            total += n_tables * matrix.elements * matrix.bytes_per_element
            continue
        in_stage = {"mlp": stage_layers - n_experts, "router": n_experts, "shared-experts": n_experts}
        total += in_stage.get(matrix.name, stage_layers) * matrix.elements * matrix.bytes_per_element
    norms = parameters.N_NORMS_PER_LAYER * llm.hidden_size * stage_layers * 2.0
    experts = 0.0
    if llm.experts:
        per_layer = llm.experts.n_experts * parameters.expert_elements(llm) / tp
        experts = n_experts * per_layer * expert_bytes_per_element(llm, layout)
    return total + norms + experts
