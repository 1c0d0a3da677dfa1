"""What each operator of a step computes, moves and launches, as coefficients of the step's features."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog import parameters
from planner.catalog.schema import Efficiency, LatentAttention, Llm
from planner.latency.features import (
    CONTEXT,
    DECODING,
    DISTINCT,
    LOGITS,
    PAIRS,
    PREFILLS,
    PROMPT_TOKENS,
    STEP,
    TOKENS,
    WINDOW_CONTEXT,
    WINDOW_PAIRS,
)
from planner.latency.layout import Layout
from planner.latency.memory import kv_bytes_per_token_layer
from planner.latency.rates import GemmRate, Rates
from planner.latency.weights import QUANTISED, Matrix, expert_bytes_per_element, matrices

ACTIVATION_BYTES = 2.0  # residual stream and attention run in 16 bits whatever the weights are stored in
NORM_ACCESSES = 8.0  # each of two norms with its residual addition reads two vectors and writes two
NORM_KERNELS = 2
QUANTISED_BYTES = 3.0  # quantising an activation reads 16 bits and writes 8
EXPERT_KERNELS = 6  # sort and gather tokens, gate-up, activation, down, combine
EXPERT_PRODUCTS = 2
DECODE_ATTENTION_KERNELS = 2  # over pieces of the context, and their combination

Coefficients = dict[str, float]


@dataclass(frozen=True)
class Operator:
    """One operator over all its layers on one rank; each field maps features to what one unit of them adds.

    Attributes
    ----------
    name : str
    flop, bytes : dict
        Work [FLOP] and memory traffic [bytes].
    compute_s, memory_s : dict
        Time of that at the achieved rates [s].
    launches : dict
        Kernels launched.
    peak_flop_per_s : float
        Peak that `flop` is done at, for utilisations.
    """

    name: str
    flop: Coefficients
    bytes: Coefficients
    compute_s: Coefficients
    memory_s: Coefficients
    launches: Coefficients
    peak_flop_per_s: float


def operators_of(llm: Llm, layout: Layout, rates: Rates, efficiency: Efficiency, rows: int = 1) -> list[Operator]:
    """Operators of one step, in the order they run; decoding sequences take part with `rows` tokens each."""
    dense = matrices(llm, layout)
    streaming = efficiency.weight_streaming * rates.bandwidth_bytes_per_s
    found = [_product(m, rates, efficiency.gemm_half_tokens, streaming) for m in dense]
    if llm.experts:
        found.append(_experts(llm, layout, rates.expert_gemm, efficiency, streaming))
    found.append(_prefill_attention(llm, layout, rates, efficiency, streaming))
    found.append(_decode_attention(llm, layout, rates, efficiency, rows))
    found.append(_elementwise(llm, dense, rates, streaming))
    if rates.gemm.precision in QUANTISED or rates.expert_gemm.precision in QUANTISED:
        found.append(_quantise(llm, layout, dense, rates, streaming))
    return found


def _product(matrix: Matrix, rates: Rates, half_tokens: float, streaming: float) -> Operator:
    # The head runs on the last token of each prompt only; every other matrix on every token.
    is_head = matrix.name == "lm-head"
    rows, rate = (LOGITS, rates.head_gemm) if is_head else (TOKENS, rates.gemm)
    flop = matrix.n_layers * 2.0 * matrix.elements
    weights = matrix.n_layers * matrix.elements * matrix.bytes_per_element
    activations = matrix.n_layers * ACTIVATION_BYTES * (matrix.input_width + matrix.output_width)
    return Operator(
        name=matrix.name,
        flop={rows: flop},
        bytes={STEP: weights, rows: activations},
        compute_s={rows: flop / rate.flop_per_s, STEP: flop * half_tokens / rate.flop_per_s},
        memory_s={STEP: weights / streaming, rows: activations / streaming},
        launches={STEP: float(matrix.n_layers * matrix.n_kernels)},
        peak_flop_per_s=rate.peak_flop_per_s,
    )


def _experts(llm: Llm, layout: Layout, rate: GemmRate, efficiency: Efficiency, streaming: float) -> Operator:
    """Routed experts: the distinct ones are read, each a product with its own share of the tokens.

    Divided over the ranks by columns (tensor parallel) or by experts (expert parallel), where the busiest rank
    has `expert_imbalance` times the mean.
    """
    experts = llm.experts
    assert experts is not None
    layers = llm.n_layers - parameters.n_dense_layers(llm)
    share = (efficiency.expert_imbalance if layout.expert_parallel > 1 else 1.0) / layout.tensor_parallel
    k = experts.n_experts_per_token
    elements = layers * share * float(parameters.expert_elements(llm))
    weights = elements * expert_bytes_per_element(llm, layout)
    # The hidden vector is gathered, read, written and combined for each expert a token goes to; within the
    # experts the activation function reads gate and up and writes their product.
    copies = 1.0 if layout.expert_parallel == 1 else share
    widths = 6.0 * llm.hidden_size * copies + 6.0 * experts.intermediate_size * share
    activations = layers * ACTIVATION_BYTES * k * widths
    half = efficiency.gemm_half_tokens
    return Operator(
        name="experts",
        flop={TOKENS: 2.0 * elements * k},
        bytes={DISTINCT: weights, TOKENS: activations},
        compute_s={
            TOKENS: 2.0 * elements * k / rate.flop_per_s,
            DISTINCT: 2.0 * elements * half / rate.flop_per_s,
        },
        memory_s={DISTINCT: weights / streaming, TOKENS: activations / streaming},
        launches={STEP: float(layers * EXPERT_KERNELS)},
        peak_flop_per_s=rate.peak_flop_per_s,
    )


def _window_layers(llm: Llm) -> int:
    return 0 if isinstance(llm.attention, LatentAttention) else llm.attention.n_window_layers


def _split(llm: Llm, whole: str, windowed: str, per_layer: float) -> Coefficients:
    """Coefficients of a cost over layers with and without a sliding window."""
    n_window = _window_layers(llm)
    found = {whole: per_layer * (llm.n_layers - n_window)}
    return found | {windowed: per_layer * n_window} if n_window else found


def _scaled(coefficients: Coefficients, factor: float) -> Coefficients:
    return {name: value * factor for name, value in coefficients.items()}


def _prefill_attention(llm: Llm, layout: Layout, rates: Rates, efficiency: Efficiency, streaming: float) -> Operator:
    """FLOP = 4 a H d: two products, two FLOP each, over the a query-key pairs of the batch.

    Latent attention is expanded to full heads in prefill: 2 a H (d_nope + d_rope + d_v).
    """
    attention, tp = llm.attention, layout.tensor_parallel
    heads = attention.n_heads / tp
    if isinstance(attention, LatentAttention):
        widths = attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim
        per_pair = 2.0 * heads * widths
        per_token = 2.0 * heads * widths
    else:
        per_pair = 4.0 * heads * attention.head_dim
        per_token = 2.0 * (heads + max(1.0, attention.n_kv_heads / tp)) * attention.head_dim
    flop = _split(llm, PAIRS, WINDOW_PAIRS, per_pair)
    traffic = {PROMPT_TOKENS: llm.n_layers * per_token * ACTIVATION_BYTES}
    return Operator(
        name="attention-prefill",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (efficiency.prefill_attention * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / streaming),
        launches={PREFILLS: float(llm.n_layers)},
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _decode_attention(llm: Llm, layout: Layout, rates: Rates, efficiency: Efficiency, rows: int) -> Operator:
    """Reads the KV cache of every context token once a step, whatever the number of its queries.

    FLOP: 4 H d a context token; latent attention runs on the latents themselves, 2 H (2 r_kv + d_rope)
    (DeepSeek-V2, arXiv 2405.04434, section 2.1.2: the expansions are absorbed into query and output products).
    """
    attention = llm.attention
    heads = attention.n_heads / layout.tensor_parallel
    if isinstance(attention, LatentAttention):
        per_token = 2.0 * heads * (2 * attention.kv_lora_rank + attention.qk_rope_head_dim)
    else:
        per_token = 4.0 * heads * attention.head_dim
    flop = _split(llm, CONTEXT, WINDOW_CONTEXT, rows * per_token)
    traffic = _split(llm, CONTEXT, WINDOW_CONTEXT, kv_bytes_per_token_layer(llm, layout))
    return Operator(
        name="attention-decode",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (efficiency.prefill_attention * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / (efficiency.decode_attention * rates.bandwidth_bytes_per_s)),
        launches={DECODING: float(DECODE_ATTENTION_KERNELS * llm.n_layers)},
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _elementwise(llm: Llm, dense: list[Matrix], rates: Rates, streaming: float) -> Operator:
    """Norms with their residual additions on every rank in full, rotary embedding and activation functions."""
    width = llm.n_layers * NORM_ACCESSES * llm.hidden_size + sum(m.n_layers * m.elementwise_width for m in dense)
    traffic = {TOKENS: width * ACTIVATION_BYTES}
    return Operator(
        name="elementwise",
        flop={},
        bytes=traffic,
        compute_s={},
        memory_s=_scaled(traffic, 1.0 / streaming),
        launches={STEP: float(NORM_KERNELS * llm.n_layers)},
        peak_flop_per_s=rates.gemm.peak_flop_per_s,
    )


def _quantise(llm: Llm, layout: Layout, dense: list[Matrix], rates: Rates, streaming: float) -> Operator:
    """Activations brought down to the precision of the products they enter."""
    width, launches = 0.0, 0.0
    if rates.gemm.precision in QUANTISED:
        width += sum(m.n_layers * m.input_width for m in dense if m.n_products)
        launches += sum(m.n_layers * m.n_products for m in dense)
    if llm.experts and rates.expert_gemm.precision in QUANTISED:
        layers = llm.n_layers - parameters.n_dense_layers(llm)
        inner = llm.experts.n_experts_per_token * llm.experts.intermediate_size / layout.tensor_parallel
        width += layers * (llm.hidden_size + inner)
        launches += layers * EXPERT_PRODUCTS
    traffic = {TOKENS: width * QUANTISED_BYTES}
    return Operator(
        name="quantise",
        flop={},
        bytes=traffic,
        compute_s={},
        memory_s=_scaled(traffic, 1.0 / streaming),
        launches={STEP: launches},
        peak_flop_per_s=rates.gemm.peak_flop_per_s,
    )
