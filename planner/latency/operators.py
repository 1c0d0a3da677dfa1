"""What each operator of a step computes, moves and launches, as coefficients of the step's features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from planner.catalog import parameters
from planner.catalog.schema import Efficiency, Llm
from planner.latency.attention import Attending, attending_of
from planner.latency.features import (
    DECODES,
    DECODING,
    DISTINCT,
    GROUP,
    LOGITS,
    LONGEST,
    PREFILLS,
    PROMPT_TOKENS,
    STEP,
    TOKENS,
)
from planner.latency.layout import Layout
from planner.latency.rates import GemmRate, Rates
from planner.latency.recurrence import Scan, scans_of
from planner.latency.weights import QUANTISED, Matrix, expert_bytes_per_element, matrices

ACTIVATION_BYTES = 2.0  # residual stream and attention run in 16 bits whatever the weights are stored in
NORM_ACCESSES = 4.0  # a block's norm with its residual addition reads two vectors and writes two
QUANTISED_BYTES = 3.0  # quantising an activation reads 16 bits and writes 8
EXPERT_KERNELS = 6  # sort and gather tokens, gate-up, activation, down, combine
EXPERT_PRODUCTS = 2
ONCE = (STEP, PREFILLS, DECODING)  # features that do not grow with the batch
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
    attending = attending_of(llm, layout)
    found.append(_prefill_attention(attending, rates, efficiency, streaming))
    found.append(_decode_attention(attending, rates, efficiency, rows))
    if scans := scans_of(llm, layout):
        found.append(_recurrence(scans, rates, efficiency, rows))
    found.append(_elementwise(llm, dense, rates, streaming))
    if rates.gemm.precision in QUANTISED or rates.expert_gemm.precision in QUANTISED:
        found.append(_quantise(llm, layout, dense, rates, streaming))
    if layout.attention_data_parallel > 1:
        found = [_of_group(operator) for operator in found]
    if llm.experts:
        found.insert(len(dense), _experts(llm, layout, rates.expert_gemm, efficiency, streaming))
    return found


def _of_group(operator: Operator) -> Operator:
    """An operator of one group of attention data parallelism, which has its part of the batch and whole weights."""
    return replace(
        operator,
        flop=of_group(operator.flop),
        bytes=of_group(operator.bytes),
        compute_s=of_group(operator.compute_s),
        memory_s=of_group(operator.memory_s),
    )


def of_group(row: Coefficients) -> Coefficients:
    """The same coefficients, of the busiest group's features."""
    return {name if name in ONCE else GROUP + name: value for name, value in row.items()}


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
    layers = llm.n_expert_layers
    share = (efficiency.expert_imbalance if layout.expert_parallel > 1 else 1.0) / layout.ranks
    k = experts.n_experts_per_token
    elements = layers * share * float(parameters.expert_elements(llm))
    weights = elements * expert_bytes_per_element(llm, layout)
    # The hidden vector is gathered, read, written and combined for each expert a token goes to; within the
    # experts the activation function reads gate and up and writes their product.
    copies = 1.0 if layout.expert_parallel == 1 else share
    hidden = experts.latent_size or llm.hidden_size
    widths = 6.0 * hidden * copies + (6.0 if experts.gated else 4.0) * experts.intermediate_size * share
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


def _scaled(coefficients: Coefficients, factor: float) -> Coefficients:
    return {name: value * factor for name, value in coefficients.items()}


def _summed(rows: Iterable[tuple[float, Coefficients]]) -> Coefficients:
    total: Coefficients = {}
    for factor, row in rows:
        for name, value in row.items():
            total[name] = total.get(name, 0.0) + factor * value
    return total


def _prefill_attention(attending: list[Attending], rates: Rates, efficiency: Efficiency, streaming: float) -> Operator:
    """Products of queries with keys and of their weights with values, over the query-key pairs of the batch."""
    flop = _summed((a.n_layers * a.flop_per_pair, a.pairs) for a in attending)
    traffic = {PROMPT_TOKENS: sum(a.n_layers * a.prompt_width for a in attending) * ACTIVATION_BYTES}
    return Operator(
        name="attention-prefill",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (efficiency.prefill_attention * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / streaming),
        launches={PREFILLS: float(sum(a.n_layers for a in attending))},
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _decode_attention(attending: list[Attending], rates: Rates, efficiency: Efficiency, rows: int) -> Operator:
    """Reads the KV cache of every context token attended to once a step, whatever the number of its queries."""
    flop = _summed((a.n_layers * rows * a.flop_per_token, a.context) for a in attending)
    traffic = _summed((a.n_layers * a.bytes_per_token, a.context) for a in attending)
    return Operator(
        name="attention-decode",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (efficiency.prefill_attention * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / (efficiency.decode_attention * rates.bandwidth_bytes_per_s)),
        launches={DECODING: float(DECODE_ATTENTION_KERNELS * sum(a.n_layers for a in attending))},
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _recurrence(scans: list[Scan], rates: Rates, efficiency: Efficiency, rows: int) -> Operator:
    """Recurrences: a scan in chunks over prompts, and one update of the state a decoding sequence.

    Products, traffic and the chain of chunks add up: each kernel does one of them.
    """
    flop = {
        PROMPT_TOKENS: sum(s.n_layers * s.flop_per_prompt_token for s in scans),
        DECODES: sum(s.n_layers * s.flop_per_update * rows for s in scans),
    }
    traffic = {
        PROMPT_TOKENS: sum(s.n_layers * s.bytes_per_prompt_token for s in scans),
        DECODES: sum(s.n_layers * s.bytes_per_update for s in scans),
    }
    moved = _scaled(traffic, 1.0 / (efficiency.state_update * rates.bandwidth_bytes_per_s))
    computed = {PROMPT_TOKENS: flop[PROMPT_TOKENS] / (efficiency.recurrence * rates.attention_flop_per_s)}
    chained = {LONGEST: sum(s.n_layers * s.chunks_per_token for s in scans) * efficiency.recurrence_chunk_s}
    return Operator(
        name="recurrence",
        flop=flop,
        bytes=traffic,
        compute_s={},
        memory_s=_summed([(1.0, moved), (1.0, computed), (1.0, chained)]),
        launches={
            PREFILLS: float(sum(s.n_layers * s.n_prompt_kernels for s in scans)),
            DECODING: float(sum(s.n_layers * s.n_update_kernels for s in scans)),
        },
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _elementwise(llm: Llm, dense: list[Matrix], rates: Rates, streaming: float) -> Operator:
    """Norms with their residual additions on every rank in full, rotary embedding and activation functions."""
    blocks = parameters.n_blocks(llm)
    width = blocks * NORM_ACCESSES * llm.hidden_size + sum(m.n_layers * m.elementwise_width for m in dense)
    traffic = {TOKENS: width * ACTIVATION_BYTES}
    return Operator(
        name="elementwise",
        flop={},
        bytes=traffic,
        compute_s={},
        memory_s=_scaled(traffic, 1.0 / streaming),
        launches={STEP: float(blocks)},
        peak_flop_per_s=rates.gemm.peak_flop_per_s,
    )


def _quantise(llm: Llm, layout: Layout, dense: list[Matrix], rates: Rates, streaming: float) -> Operator:
    """Activations brought down to the precision of the products they enter."""
    width, launches = 0.0, 0.0
    if rates.gemm.precision in QUANTISED:
        width += sum(m.n_layers * m.input_width for m in dense if m.n_products)
        launches += sum(m.n_layers * m.n_products for m in dense)
    if llm.experts and rates.expert_gemm.precision in QUANTISED:
        layers = llm.n_expert_layers
        inner = llm.experts.n_experts_per_token * llm.experts.intermediate_size / layout.tensor_parallel
        width += layers * ((llm.experts.latent_size or llm.hidden_size) + inner)
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
