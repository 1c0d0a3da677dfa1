"""The kernels that `planner measure` times, and their time by the equations of the latency model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.catalog.schema import STORED_BYTES, Accelerator, Efficiency, Llm
from planner.errors import CatalogError, TraceError
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.collectives import all_reduce_lines, exchange_bytes_per_token, exchange_time_s
from planner.latency.features import DISTINCT, STEP, TOKENS, features
from planner.latency.layout import Layout
from planner.latency.operators import LATENT_MATRICES, ExpertShape, expert_operator, operators_of
from planner.latency.rates import compute_precision, expert_rate, gemm_rate, rates_of

Floats = NDArray[np.float64]

GEMM = "gemm"
WEIGHT_STREAMING = "weight-streaming"
PREFILL_ATTENTION = "prefill-attention"
DECODE_ATTENTION = "decode-attention"
LAUNCH = "launch"
ALL_REDUCE = "all-reduce"
EXPERTS = "experts"
LATENT_PREFILL = "latent-prefill"
LATENT_DECODE = "latent-decode"
DISPATCH = "dispatch"
COMBINE = "combine"

# Kind of kernel to the sizes that describe one.
SHAPES: dict[str, tuple[str, ...]] = {
    GEMM: ("m", "n", "k"),  # (m x k) activations times (k x n) weights
    WEIGHT_STREAMING: ("m", "n", "k"),  # the same with few rows: reading the weights is all of it
    PREFILL_ATTENTION: ("batch", "tokens", "heads", "kv_heads", "head_dim"),
    DECODE_ATTENTION: ("batch", "context", "heads", "kv_heads", "head_dim"),
    LAUNCH: (),  # a kernel that does nothing, among many in one CUDA graph
    ALL_REDUCE: ("ranks", "bytes"),
    # A layer's routed experts on one rank: of all tokens, calls are those at an expert of the rank, `distinct` the
    # experts they are at; `spread` is 1 where other ranks hold other experts, else 0; `columns`
    # of each expert lie on the rank.
    EXPERTS: ("tokens", "calls", "distinct", "hidden", "columns", "spread"),
    # A layer's latent attention with its projections, in the shape of DeepSeek-V3 with so many heads on the rank.
    LATENT_PREFILL: ("batch", "tokens", "cached", "heads"),
    LATENT_DECODE: ("batch", "context", "heads"),
    # Exchange of a rank's tokens with the ranks of their experts, in so many bytes an element; low_latency 1 or 0.
    DISPATCH: ("tokens", "hidden", "per_token", "ranks", "machines", "width", "low_latency"),
    COMBINE: ("tokens", "hidden", "per_token", "ranks", "machines", "width", "low_latency"),
}
ATTENTION_BYTES = 2.0  # attention and activations run in 16 bits
DECODE_ATTENTION_KERNELS = 2  # over pieces of the context, and their combination


def kernel_time_s(
    kind: str,
    shape: Mapping[str, ArrayLike],
    precision: str,
    accelerator: Accelerator,
    efficiency: Efficiency,
    link_bytes_per_s: float,
    *,
    kv_precision: str = "bf16",
    nic_bytes_per_s: float = 0.0,
) -> Floats:
    """Time of kernels of one kind at given efficiencies [s].

    Parameters
    ----------
    kind : str
        One of `SHAPES`.
    shape : mapping
        Its sizes, numbers or arrays; of an all-reduce the ranks are one number.
    precision : str
        Of the weights of a product; attention runs in 16 bits.
    accelerator : Accelerator
    efficiency : Efficiency
    link_bytes_per_s : float
        Bandwidth each way of a rank of an all-reduce or exchange [bytes/s].
    kv_precision : str
        Of latents in the cache.
    nic_bytes_per_s : float
        A rank's share of its machine's NICs [bytes/s].

    Raises
    ------
    TraceError
        The accelerator has no peak in the precision, or the runtime no figures for such a kernel.

    Notes
    -----
    gemm, weight-streaming:  max(2 (m + m_half) n k / (e_c peak), (n k b + 2 m (n + k)) / (e_m bw)) + launch   (1)
    prefill-attention:       max(4 a H d / (e_p peak), 4 (H + H_kv) t d / (e_m bw)) + launch                   (2)
    decode-attention:        4 H_kv d C / (e_d bw) + launch                                                    (3)

    with a = B t (t + 1) / 2 query-key pairs of B prompts of t tokens, and C = B c context tokens. All others are
    computed by the functions that steps are made of: `all_reduce_lines`, `expert_operator`, `operators_of` and
    `exchange_time_s`.
    """
    bandwidth = accelerator.memory_bandwidth_bytes_per_s
    size = {name: np.asarray(value, dtype=float) for name, value in shape.items()}
    if kind in (GEMM, WEIGHT_STREAMING):
        rows, weights = size["m"], size["n"] * size["k"]
        rate = gemm_rate(computed_in(accelerator, precision), accelerator, efficiency, precision)
        compute_s = 2.0 * (rows + rate.half_tokens) * weights / rate.flop_per_s
        traffic = weights * STORED_BYTES[precision] + ATTENTION_BYTES * rows * (size["n"] + size["k"])
        quantised_s = rate.input_bytes * rows * size["k"] / bandwidth
        return np.maximum(compute_s, traffic / (efficiency.weight_streaming * bandwidth)) + quantised_s + rate.launch_s
    attention_s = efficiency.attention_launch_s
    if kind == PREFILL_ATTENTION:
        n = size["batch"] * size["tokens"]
        pairs = n * (size["tokens"] + 1.0) / 2.0
        flop = 4.0 * pairs * size["heads"] * size["head_dim"]
        traffic = 2.0 * (size["heads"] + size["kv_heads"]) * n * size["head_dim"] * ATTENTION_BYTES
        compute_s = flop / (efficiency.prefill_attention * peak(accelerator, "bf16"))
        launch_s = efficiency.kernel_launch_s if attention_s is None else attention_s
        return np.maximum(compute_s, traffic / (efficiency.weight_streaming * bandwidth)) + launch_s
    if kind == DECODE_ATTENTION:
        context = size["batch"] * size["context"]
        traffic = 2.0 * size["kv_heads"] * size["head_dim"] * context * ATTENTION_BYTES
        launch_s = DECODE_ATTENTION_KERNELS * efficiency.kernel_launch_s if attention_s is None else attention_s
        return np.asarray(traffic / (efficiency.decode_attention * bandwidth) + launch_s)
    if kind == LAUNCH:
        return np.asarray(efficiency.kernel_launch_s)
    if kind == ALL_REDUCE:
        lines = all_reduce_lines(efficiency, int(size["ranks"]), link_bytes_per_s, direct=True)
        times = [fixed_s + byte_s * size["bytes"] for fixed_s, byte_s in lines]
        return np.asarray(np.minimum.reduce(times))
    if kind == EXPERTS:
        return _experts_s(size, precision, accelerator, efficiency)
    if kind in (DISPATCH, COMBINE):
        return _exchange_s(kind, size, efficiency, link_bytes_per_s, nic_bytes_per_s)
    return _latent_s(kind, size, precision, kv_precision, accelerator, efficiency)


def _experts_s(size: Mapping[str, Floats], precision: str, accelerator: Accelerator, efficiency: Efficiency) -> Floats:
    # Experts narrower than the model around them: MXFP4 is multiplied at the FP8 rate where there are FP4 units.
    wide = "fp8" if "fp4" in accelerator.peak else "int4"
    computed = computed_in(accelerator, wide if precision == "mxfp4" else precision)
    rate = expert_rate(computed, precision, accelerator, efficiency)
    # A "token" of this shape is a call: each goes to one expert. The moves for a token are spread over its calls.
    moves = rate.moves_per_token * size["tokens"] / size["calls"]
    rate = replace(rate, moves_per_token=moves)  # type: ignore[arg-type]
    shape = ExpertShape(1, size["hidden"], size["columns"], 1.0, 1.0, STORED_BYTES[precision], 3, size["spread"], 1.0)  # type: ignore[arg-type]
    operator = expert_operator(shape, rate, accelerator.memory_bandwidth_bytes_per_s)
    values: dict[str, Any] = {TOKENS: size["calls"], DISTINCT: size["distinct"], STEP: np.float64(1.0)}
    compute_s, memory_s, fixed_s = (
        sum((coefficient * values[name] for name, coefficient in row.items()), np.float64(0.0))
        for row in (operator.compute_s, operator.memory_s, operator.fixed_s)
    )
    return np.maximum(compute_s, memory_s) + fixed_s


def _exchange_s(
    kind: str,
    size: Mapping[str, Floats],
    efficiency: Efficiency,
    link_bytes_per_s: float,
    nic_bytes_per_s: float,
) -> Floats:
    low_latency = bool(np.all(size["low_latency"]))
    exchange = efficiency.low_latency_exchange if low_latency else efficiency.high_throughput_exchange
    if exchange is None:
        form = "low_latency" if low_latency else "high_throughput"
        raise TraceError(f"the runtime has no figures for {kind}", where=f"{form}_exchange")
    link_bytes, nic_bytes = exchange_bytes_per_token(
        size["ranks"],
        size["ranks"] / size["machines"],
        size["per_token"],
        size["hidden"] * size["width"],
        once_per_domain=not low_latency,
    )
    costs = exchange.dispatch if kind == DISPATCH else exchange.combine
    return exchange_time_s(
        size["tokens"], link_bytes, nic_bytes, size["machines"], costs, link_bytes_per_s, nic_bytes_per_s
    )


def _latent_s(
    kind: str,
    size: Mapping[str, Floats],
    precision: str,
    kv_precision: str,
    accelerator: Accelerator,
    efficiency: Efficiency,
) -> Floats:
    heads = np.broadcast_to(size["heads"], np.broadcast(*size.values()).shape)
    found = np.empty(heads.shape)
    if kind == LATENT_PREFILL:
        batch = prefill_batch(size["tokens"], size["batch"], size["cached"])
    else:
        batch = decode_batch(size["batch"], size["context"])
    for n_heads in np.unique(heads):
        llm = _latent_layer(int(n_heads))
        layout = Layout(tensor_parallel=1, precision=precision, kv_precision=kv_precision)  # type: ignore[arg-type]
        rates = rates_of(llm, accelerator, efficiency, layout)
        total = np.zeros(heads.shape)
        for operator in operators_of(llm, layout, rates, efficiency):
            if operator.name in (*LATENT_MATRICES, "attention-prefill", "attention-decode"):
                rows = (operator.compute_s, operator.memory_s, operator.fixed_s)
                compute_s, memory_s, fixed_s = (
                    np.tensordot(np.array(list(row.values())), features(llm, batch, tuple(row)), axes=1) for row in rows
                )
                total = total + np.maximum(compute_s, memory_s) + fixed_s
        found = np.where(heads == n_heads, total, found)
    return found


@cache
def _latent_layer(n_heads: int) -> Llm:
    """One layer in the shape of DeepSeek-V3 (arXiv 2412.19437, section 4.2) with other heads."""
    return Llm.model_validate(
        {
            "name": "latent-layer", "source": "arXiv 2412.19437", "kind": "datasheet", "title": "one layer",
            "n_layers": 1, "hidden_size": 7168, "vocabulary_size": 1, "tied_embeddings": True,
            "attention": {"type": "mla", "n_heads": n_heads, "kv_lora_rank": 512, "q_lora_rank": 1536,
                          "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
            "mlp": {"intermediate_size": 1, "gated": False},
            "weight_precision": "bf16", "kv_precision": "bf16", "max_context_tokens": 163840, "n_parameters": 1e6,
        }
    )  # fmt: skip


def computed_in(accelerator: Accelerator, precision: str) -> str:
    """The precision that products of such weights run in on the accelerator, or raise `TraceError`."""
    try:
        return compute_precision(precision, accelerator)
    except CatalogError:
        peak(accelerator, precision)
        raise


def peak(accelerator: Accelerator, precision: str) -> float:
    """Peak of the accelerator in a precision, bf16 and fp16 standing for each other [FLOP/s]."""
    table = {str(p): value for p, value in accelerator.peak.items()}
    found = table.get(precision) or table.get(twin(precision))
    if found is None:
        raise TraceError(
            f"{accelerator.name} has no peak rate in {precision}",
            where="precision",
            fix=f"it has {', '.join(sorted(table))}",
        )
    return found


def twin(precision: str) -> str:
    """The other 16-bit precision, or the precision itself."""
    return {"fp16": "bf16", "bf16": "fp16"}.get(precision, precision)
