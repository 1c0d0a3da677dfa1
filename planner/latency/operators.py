"""What each operator of a step computes, moves and launches, as coefficients of the step's features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

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
from planner.latency.rates import ExpertRate, Rates
from planner.latency.recurrence import Scan, scans_of
from planner.latency.weights import ACTIVATION_BYTES, Matrix, expert_bytes_per_element, matrices

NORM_ACCESSES = 4.0  # a block's norm with its residual addition reads two vectors and writes two
QUANTISED_BYTES = 3.0  # quantising an activation reads 16 bits and writes 8
EXPERT_PADDING = 48.0  # columns that an expert costs beyond its own: tiles, and rows of scales
EXPERT_KERNELS = 6  # sort and gather tokens, gate-up, activation, down, combine
EXPERT_PRODUCTS = 2
ONCE = (STEP, PREFILLS, DECODING)  # features that do not grow with the batch
LATENT_MATRICES = ("qkv", "out-projection")
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
    fixed_s : dict
        Time beside both: launch, ramp-up and tail of its kernels, and routing [s].
    peak_flop_per_s : float
        Peak that `flop` is done at, for utilisations.
    """

    name: str
    flop: Coefficients
    bytes: Coefficients
    compute_s: Coefficients
    memory_s: Coefficients
    fixed_s: Coefficients
    peak_flop_per_s: float


def operators_of(llm: Llm, layout: Layout, rates: Rates, efficiency: Efficiency, rows: int = 1) -> list[Operator]:
    """Operators of one step, in the order they run; decoding sequences take part with `rows` tokens each."""
    dense = matrices(llm, layout)
    streaming = efficiency.weight_streaming * rates.bandwidth_bytes_per_s
    launch_s = efficiency.elementwise_launch_s
    launch_s = efficiency.kernel_launch_s if launch_s is None else launch_s
    found = [_product(m, rates, launch_s, streaming) for m in dense]
    attending = attending_of(llm, layout)
    found.append(_prefill_attention(attending, rates, efficiency, streaming))
    found.append(_decode_attention(attending, rates, efficiency, rows))
    if scans := scans_of(llm, layout):
        found.append(_recurrence(scans, rates, efficiency, rows))
    found.append(_elementwise(llm, dense, rates, launch_s, streaming))
    if rates.gemm.quantises or (rates.experts and rates.experts.gemm.quantises):
        found.append(_quantise(llm, layout, dense, rates, launch_s, streaming))
    if layout.attention_data_parallel > 1:
        found = [_of_group(operator) for operator in found]
    if rates.experts:
        bandwidth = rates.bandwidth_bytes_per_s
        found.insert(len(dense), _experts(llm, layout, rates.experts, bandwidth, efficiency.expert_imbalance))
    return found


def _of_group(operator: Operator) -> Operator:
    """An operator of one group of attention data parallelism, which has its part of the batch and whole weights."""
    return replace(
        operator,
        flop=of_group(operator.flop),
        bytes=of_group(operator.bytes),
        compute_s=of_group(operator.compute_s),
        memory_s=of_group(operator.memory_s),
        fixed_s=of_group(operator.fixed_s),
    )


def of_group(row: Coefficients) -> Coefficients:
    """The same coefficients, of the busiest group's features."""
    return {name if name in ONCE else GROUP + name: value for name, value in row.items()}


def _product(matrix: Matrix, rates: Rates, launch_s: float, streaming: float) -> Operator:
    # The head runs on the last token of each prompt only; every other matrix on every token.
    rows, rate = (LOGITS, rates.head_gemm) if matrix.name == "lm-head" else (TOKENS, rates.gemm)
    # Latent attention is measured with its projections: `_decode_attention` has the launches of all of it.
    measured = rates.latent is not None and matrix.name in LATENT_MATRICES
    if measured:
        rate = rates.latent_gemm
    flop = matrix.n_layers * 2.0 * matrix.elements
    weights = matrix.n_layers * matrix.elements * matrix.bytes_per_element
    activations = matrix.n_layers * ACTIVATION_BYTES * (matrix.input_width + matrix.output_width)
    n_others = matrix.n_kernels - matrix.n_products
    kernels_s = 0.0 if measured else matrix.n_products * rate.launch_s + n_others * launch_s
    quantised = matrix.n_layers * matrix.input_width * rate.input_bytes if matrix.n_products and not measured else 0.0
    return Operator(
        name=matrix.name,
        flop={rows: flop},
        bytes={STEP: weights, rows: activations + quantised},
        compute_s={rows: flop / rate.flop_per_s, STEP: flop * rate.half_tokens / rate.flop_per_s},
        memory_s={STEP: weights / streaming, rows: activations / streaming},
        fixed_s={STEP: matrix.n_layers * kernels_s, rows: quantised / rates.bandwidth_bytes_per_s},
        peak_flop_per_s=rate.peak_flop_per_s,
    )


def _experts(llm: Llm, layout: Layout, rate: ExpertRate, bandwidth: float, imbalance: float) -> Operator:
    """Routed experts of all layers, on the busiest rank.

    Divided over the ranks by columns (tensor parallel) or by experts (expert parallel), where the busiest rank
    has `imbalance` times the mean.
    """
    experts, spread = llm.experts, layout.expert_parallel
    assert experts is not None
    shape = ExpertShape(
        n_layers=llm.n_expert_layers,
        hidden=experts.latent_size or llm.hidden_size,
        columns=experts.intermediate_size * spread / layout.ranks,
        per_token=experts.n_experts_per_token,
        share=imbalance / spread if spread > 1 else 1.0,
        bytes_per_element=expert_bytes_per_element(llm, layout),
        n_matrices=3 if experts.gated else 2,
        spread=float(spread > 1),
        # Without an exchange every rank has all tokens; with one, those that come to its experts.
        token_share=1.0 if layout.attention_data_parallel == 1 else imbalance / layout.ranks,
    )
    return expert_operator(shape, rate, bandwidth)


class ExpertShape(NamedTuple):
    """The routed experts that one rank computes.

    `columns` of each expert are on the rank; it has `share` of the calls (a call is a token at an expert) and of the
    distinct experts. `spread` is 1 where other ranks hold other experts, else 0; `token_share` of the
    tokens are given to it.
    """

    n_layers: int
    hidden: float
    columns: float
    per_token: float
    share: float
    bytes_per_element: float
    n_matrices: int
    spread: float
    token_share: float


def expert_operator(shape: ExpertShape, rate: ExpertRate, bandwidth_bytes_per_s: float) -> Operator:
    """Routed experts: the distinct ones are read, each a product with its own share of the calls.

    Notes
    -----
    With n tokens in the step, of which the rank has c calls to x distinct experts of 3 h w elements (gated; else
    2 h w), w = columns + 48,

        t = max( 6 h w (c + x half) / (e_x peak),  (3 h w b x + 2 (2 h + 3 columns) c) / (e_s bw) )
            + 2 h (r_c c + r_n n) / bw + launch                                                        (2.1a)

    The last two lie outside the maximum: tokens are sorted, gathered and combined by kernels of their own, which move
    the hidden vector r_c times for each call and r_n times for each token that the rank is given. Where the
    runtime has no figures for expert layers, w = columns, an expert layer takes six launches, and its calls move
    6 h + 6 columns elements inside the maximum.
    """
    measured = rate.layer_s is not None
    columns = shape.columns + (EXPERT_PADDING if measured else 0.0)
    elements = shape.n_layers * shape.share * shape.n_matrices * shape.hidden * columns
    calls = shape.n_layers * shape.share * shape.per_token
    weights = elements * shape.bytes_per_element
    # Unmeasured: the hidden vector is gathered and combined too, and the activation function is a kernel of its own.
    inner = shape.n_matrices * shape.columns
    widths = 2.0 * shape.hidden + inner if measured else 6.0 * shape.hidden + 2.0 * inner
    activations = ACTIVATION_BYTES * calls * widths
    moved = rate.moves_per_call * calls + rate.moves_per_token * shape.n_layers * shape.token_share
    routed = ACTIVATION_BYTES * shape.hidden * moved
    flop, flop_per_s = 2.0 * elements * shape.per_token, rate.gemm.flop_per_s
    launch_s = EXPERT_KERNELS * rate.gemm.launch_s if rate.layer_s is None else rate.layer_s
    launch_s = launch_s + shape.spread * rate.spread_s
    return Operator(
        name="experts",
        flop={TOKENS: flop},
        bytes={DISTINCT: weights, TOKENS: activations + routed},
        compute_s={TOKENS: flop / flop_per_s, DISTINCT: 2.0 * elements * rate.gemm.half_tokens / flop_per_s},
        memory_s={DISTINCT: weights / rate.bytes_per_s, TOKENS: activations / rate.bytes_per_s},
        fixed_s={STEP: shape.n_layers * launch_s, TOKENS: routed / bandwidth_bytes_per_s},
        peak_flop_per_s=rate.gemm.peak_flop_per_s,
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
    reached, launch_s = efficiency.prefill_attention, efficiency.attention_launch_s
    if rates.latent is not None:
        reached, launch_s = rates.latent.prefill, 0.0
    elif launch_s is None:
        launch_s = efficiency.kernel_launch_s
    return Operator(
        name="attention-prefill",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (reached * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / streaming),
        fixed_s={PREFILLS: sum(a.n_layers for a in attending) * launch_s},
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _decode_attention(attending: list[Attending], rates: Rates, efficiency: Efficiency, rows: int) -> Operator:
    """Reads the KV cache of every context token attended to once a step, whatever the number of its queries."""
    flop = _summed((a.n_layers * rows * a.flop_per_token, a.context) for a in attending)
    traffic = _summed((a.n_layers * a.bytes_per_token, a.context) for a in attending)
    reached, streamed = efficiency.prefill_attention, efficiency.decode_attention
    launch_s, when = efficiency.attention_launch_s, DECODING
    if rates.latent is not None:
        reached, streamed, launch_s, when = rates.latent.prefill, rates.latent.decode, rates.latent.launch_s, STEP
    elif launch_s is None:
        launch_s = DECODE_ATTENTION_KERNELS * efficiency.kernel_launch_s
    return Operator(
        name="attention-decode",
        flop=flop,
        bytes=traffic,
        compute_s=_scaled(flop, 1.0 / (reached * rates.attention_flop_per_s)),
        memory_s=_scaled(traffic, 1.0 / (streamed * rates.bandwidth_bytes_per_s)),
        fixed_s={when: sum(a.n_layers for a in attending) * launch_s},
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
        fixed_s={
            PREFILLS: sum(s.n_layers * s.n_prompt_kernels for s in scans) * efficiency.kernel_launch_s,
            DECODING: sum(s.n_layers * s.n_update_kernels for s in scans) * efficiency.kernel_launch_s,
        },
        peak_flop_per_s=rates.attention_flop_per_s,
    )


def _elementwise(llm: Llm, dense: list[Matrix], rates: Rates, launch_s: float, streaming: float) -> Operator:
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
        fixed_s={STEP: blocks * launch_s},
        peak_flop_per_s=rates.gemm.peak_flop_per_s,
    )


def _quantise(
    llm: Llm, layout: Layout, dense: list[Matrix], rates: Rates, launch_s: float, streaming: float
) -> Operator:
    """Activations brought down to the precision of the products they enter."""
    width, launches = 0.0, 0.0
    if rates.gemm.quantises:
        width += sum(m.n_layers * m.input_width for m in dense if m.n_products)
        launches += sum(m.n_layers * m.n_products for m in dense)
    if llm.experts and rates.experts and rates.experts.gemm.quantises:
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
        fixed_s={STEP: launches * launch_s},
        peak_flop_per_s=rates.gemm.peak_flop_per_s,
    )
