"""The weight matrices that one accelerator of a replica holds and multiplies with.

Tensor parallelism divides heads and feed-forward columns over the ranks. What it cannot divide each rank keeps
whole: the router, the down-projections of latent attention, and KV heads where there are fewer than ranks
(Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3; vLLM does the same).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.catalog import parameters
from planner.catalog.layers import AnyMixer, CompressedAttention, LatentAttention, MultiHeadAttention
from planner.catalog.schema import STORED_BYTES, Llm
from planner.latency.layout import Layout

LEAST_HEAD_BYTES = 2.0  # embeddings and LM head are kept in 16 bits when the rest is quantised
ACTIVATION_BYTES = 2.0  # residual stream and attention run in 16 bits whatever the weights are stored in
MXFP4_TILE = 256  # elements of the width that experts take in
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
    mixing = width
    if llm.mixer_precision is not None and layout.precision == llm.weight_precision:
        mixing = STORED_BYTES[llm.mixer_precision]
    found = _merged([m for mixer in llm.mixers for m in mixing_matrices(llm, mixer, layout, mixing)])
    for mlp in llm.mlps:
        inner = mlp.intermediate_size / tp
        found.append(_feed_forward("mlp", llm.layers_of(mlp), hidden, inner, mlp.gated, width))
    if llm.experts:
        n_layers, experts = llm.n_expert_layers, llm.experts
        if experts.shared_intermediate_size:
            inner = experts.shared_intermediate_size / tp
            found.append(_feed_forward("shared-experts", n_layers, hidden, inner, experts.gated, width))
        if experts.latent_size:
            latent, both = float(parameters.latent_elements(llm)), hidden + experts.latent_size
            found.append(Matrix("latent", n_layers, latent, width, both, both, 0.0, 2, 2))
        router = float(parameters.router_elements(llm))
        found.append(Matrix("router", n_layers, router, 2.0, hidden, experts.n_experts, 0.0, 2, 0))
    if llm.other_parameters:
        other = llm.other_parameters / llm.n_layers
        found.append(Matrix("other", llm.n_layers, other, width, hidden, other / hidden, 0.0, 2, 1))
    head = parameters.lm_head_elements(llm) / tp
    columns = llm.vocabulary_size / tp
    found.append(Matrix("lm-head", 1, head, max(width, LEAST_HEAD_BYTES), hidden, columns, 0.0, 1, 0))
    return _merged(found)


def _merged(found: list[Matrix]) -> list[Matrix]:
    """Put alike matrices of several kinds of layer together, and tell apart those that share a name only."""
    merged: list[Matrix] = []
    for matrix in found:
        like = [i for i, m in enumerate(merged) if replace(m, n_layers=matrix.n_layers) == matrix]
        if like:
            merged[like[0]] = replace(matrix, n_layers=matrix.n_layers + merged[like[0]].n_layers)
        else:
            merged.append(matrix)
    counts: dict[str, int] = {}
    for i, matrix in enumerate(merged):
        n = counts[matrix.name] = counts.get(matrix.name, 0) + 1
        if n > 1:
            merged[i] = replace(matrix, name=f"{matrix.name}-{n}")
    return merged


def mixing_matrices(llm: Llm, mixer: AnyMixer, layout: Layout, width: float) -> list[Matrix]:
    """Matrices before and after the mixing of tokens in the layers of one kind, and those of its index."""
    hidden, tp, n_layers = llm.hidden_size, layout.tensor_parallel, llm.layers_of(mixer)
    index = getattr(mixer, "indexer", None)
    found = [_qkv(llm, mixer, layout, width)]
    if index is not None:
        query = getattr(mixer, "q_lora_rank", None) or hidden
        elements = float(parameters.indexer_elements(index, hidden, query))
        outputs = (index.n_heads + 1) * index.head_dim + index.n_heads
        # Every rank keeps the whole index. Queries, keys and weights; norm, rotary embedding and the key's write.
        found.append(Matrix("indexer", n_layers, elements, width, 2 * hidden + query, outputs, 2 * outputs, 5, 2))
    outputs = parameters.output_width(mixer, hidden) / tp
    out = parameters.output_projection_elements(mixer, hidden) / tp
    products = 2 if isinstance(mixer, CompressedAttention) else 1
    found.append(Matrix("out-projection", n_layers, out, width, outputs, hidden, 0.0, products, products))
    return found


def _qkv(llm: Llm, mixer: AnyMixer, layout: Layout, width: float) -> Matrix:
    hidden, tp, n_layers = llm.hidden_size, layout.tensor_parallel, llm.layers_of(mixer)
    if isinstance(mixer, MultiHeadAttention):
        kv = {"own": mixer.head_dim + mixer.value_dim, "keys-only": mixer.head_dim, "shared": 0}[mixer.kv]
        columns = mixer.n_heads / tp * mixer.head_dim + math.ceil(mixer.n_kv_heads / tp) * kv + mixer.gate_width / tp
        elements, rank = hidden * columns, mixer.q_lora_rank
        if rank is not None:
            elements += rank * hidden - (hidden - rank) * mixer.n_heads / tp * mixer.head_dim
        return Matrix("qkv", n_layers, elements, width, hidden + (rank or 0), columns + (rank or 0), 2 * columns, 2, 1)
    if isinstance(mixer, LatentAttention):
        heads = mixer.n_heads / tp
        query = heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim)
        expanded = heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
        rank, gate = mixer.q_lora_rank, mixer.gate_width / tp
        latent = mixer.kv_lora_rank + mixer.qk_rope_head_dim + (rank or 0)
        elements = hidden * (latent + gate) + (rank or hidden) * query + mixer.kv_lora_rank * expanded
        inputs = hidden + (rank or hidden) + mixer.kv_lora_rank
        outputs = latent + gate + query + expanded
        # The latents in one product and their norms, the expansions of query and KV, rotary embedding and KV write.
        return Matrix("qkv", n_layers, elements, width, inputs, outputs, 2 * (latent + query), 5, 2)
    index = mixer.indexer if isinstance(mixer, CompressedAttention) else None
    query_size = mixer.q_lora_rank if isinstance(mixer, CompressedAttention) else hidden
    total = float(parameters.qkv_elements(mixer, hidden) - parameters.indexer_elements(index, hidden, query_size))
    if isinstance(mixer, CompressedAttention):
        query = mixer.n_heads / tp * mixer.head_dim
        elements = total - mixer.q_lora_rank * (mixer.n_heads * mixer.head_dim - query)
        entries = 4 * mixer.head_dim if mixer.compress_ratio else 0
        outputs = mixer.q_lora_rank + query + mixer.head_dim + entries
        return Matrix("qkv", n_layers, elements, width, 2 * hidden + query_size, outputs, 2 * outputs, 6, 3)
    # A recurrence: one product, the convolution and the gated norm of its output.
    columns = total / hidden / tp
    return Matrix("qkv", n_layers, total / tp, width, hidden, columns, 3 * columns, 4, 1)


def _feed_forward(name: str, n_layers: int, hidden: int, inner: float, gated: bool, width: float) -> Matrix:
    n = 3 if gated else 2
    # Gate and up are one product of double width, which the activation function turns into the down product's input.
    return Matrix(name, n_layers, n * hidden * inner, width, hidden + inner, (n - 1) * inner + hidden, n * inner, 3, 2)


def expert_stored_precision(llm: Llm, layout: Layout) -> str:
    """Precision that experts are stored in: the released one where the model is served as released."""
    as_released = llm.expert_precision is not None and layout.precision == llm.weight_precision
    return str(llm.expert_precision) if as_released else layout.precision


def expert_bytes_per_element(llm: Llm, layout: Layout) -> float:
    """Bytes of one expert weight.

    Notes
    -----
    Kernels for MXFP4 experts want the hidden width in tiles of 256 and store it padded: 2,880 of gpt-oss become 3,072.
    With it weights are as vLLM logs them (gpt-oss-120b 64.38 GiB, gpt-oss-20b 13.47 GiB) to 0.3 %.
    """
    precision = expert_stored_precision(llm, layout)
    padding = 1.0
    if precision == "mxfp4" and llm.experts:
        width = llm.experts.latent_size or llm.hidden_size
        padding = math.ceil(width / MXFP4_TILE) * MXFP4_TILE / width
    return STORED_BYTES[precision] * padding


def rank_weight_bytes(llm: Llm, layout: Layout, redundant_experts: int = 0) -> float:
    """Weights held by the fullest accelerator of a replica [bytes], with copies of busy experts beside.

    Notes
    -----
    The fullest pipeline stage has ceil(layers / pp) layers and, when it is first or last, one of the two
    vocabulary tables (embedding and LM head); a single stage has both, or one if they are tied.
    """
    pp, tp = layout.pipeline_parallel, layout.tensor_parallel
    stage = math.ceil(llm.n_layers / pp) / llm.n_layers
    n_experts = _expert_layers_in_stage(llm, stage)
    total = 0.0
    for matrix in matrices(llm, layout):
        if matrix.name == "lm-head":
            n_tables = 1 if llm.tied_embeddings or pp > 1 else 2
            total += n_tables * matrix.elements * matrix.bytes_per_element
            continue
        n_layers = matrix.n_layers * stage
        if matrix.name in ("router", "shared-experts", "latent"):
            n_layers = n_experts
        elif matrix.name.startswith("mlp") and llm.experts:
            n_layers = max(n_layers - (n_experts - llm.n_expert_layers * stage), 0.0)
        total += n_layers * matrix.elements * matrix.bytes_per_element
    total += llm.looked_up_parameters / tp * LEAST_HEAD_BYTES
    norms = parameters.n_blocks(llm) * stage * llm.hidden_size * 2.0
    experts = 0.0
    if llm.experts:
        held = (llm.experts.n_experts + redundant_experts) / layout.ranks
        per_layer = held * parameters.expert_elements(llm)
        experts = n_experts * per_layer * expert_bytes_per_element(llm, layout)
    return total + norms + experts


def rank_layer_bytes(llm: Llm, layout: Layout, redundant_experts: int = 0) -> float:
    """Weights of one more layer on an accelerator [bytes]: with experts, if any has them; mixers as on average."""
    total = 0.0
    for matrix in matrices(llm, layout):
        if matrix.name == "lm-head" or (matrix.name.startswith("mlp") and llm.experts):
            continue
        share = 1.0 if matrix.name in ("router", "shared-experts", "latent") else matrix.n_layers / llm.n_layers
        total += share * matrix.elements * matrix.bytes_per_element
    if llm.experts:
        held = (llm.experts.n_experts + redundant_experts) / layout.ranks
        total += held * parameters.expert_elements(llm) * expert_bytes_per_element(llm, layout)
    return total


def _expert_layers_in_stage(llm: Llm, stage: float) -> float:
    """Layers with experts in the fullest pipeline stage: all of them where dense layers stand at one end."""
    if sum(map(llm.layers_of, llm.mixers)) + llm.n_expert_layers == llm.n_layers:  # a layer is one block only
        return llm.n_expert_layers * stage
    return min(stage * llm.n_layers, llm.n_expert_layers)
