"""The kernels that `planner measure` times, and their time by the equations of the latency model."""

from __future__ import annotations

from collections.abc import Mapping

from planner.catalog.schema import PRECISION_BYTES, Accelerator, Efficiency
from planner.errors import TraceError
from planner.latency.collectives import all_reduce_time_s

GEMM = "gemm"
WEIGHT_STREAMING = "weight-streaming"
PREFILL_ATTENTION = "prefill-attention"
DECODE_ATTENTION = "decode-attention"
LAUNCH = "launch"
ALL_REDUCE = "all-reduce"

# Kind of kernel to the sizes that describe one.
SHAPES: dict[str, tuple[str, ...]] = {
    GEMM: ("m", "n", "k"),  # (m x k) activations times (k x n) weights
    WEIGHT_STREAMING: ("m", "n", "k"),  # the same with few rows: reading the weights is all of it
    PREFILL_ATTENTION: ("batch", "tokens", "heads", "kv_heads", "head_dim"),
    DECODE_ATTENTION: ("batch", "context", "heads", "kv_heads", "head_dim"),
    LAUNCH: (),  # a kernel that does nothing, among many in one CUDA graph
    ALL_REDUCE: ("ranks", "bytes"),
}
ATTENTION_BYTES = 2.0  # attention and activations run in 16 bits
DECODE_ATTENTION_KERNELS = 2  # over pieces of the context, and their combination


def kernel_time_s(
    kind: str,
    shape: Mapping[str, float],
    precision: str,
    accelerator: Accelerator,
    efficiency: Efficiency,
    link_bytes_per_s: float,
) -> float:
    """Time of one kernel at given efficiencies [s].

    Parameters
    ----------
    kind : str
        One of `SHAPES`.
    shape : mapping
        Its sizes.
    precision : str
        Of the weights of a product; attention runs in 16 bits.
    accelerator : Accelerator
    efficiency : Efficiency
    link_bytes_per_s : float
        Bandwidth each way of a rank of an all-reduce [bytes/s].

    Raises
    ------
    TraceError
        The accelerator has no peak in the precision.

    Notes
    -----
    gemm, weight-streaming:  max(2 (m + m_half) n k / (e_c peak), (n k b + 2 m (n + k)) / (e_m bw)) + launch   (1)
    prefill-attention:       max(4 a H d / (e_p peak), 4 (H + H_kv) t d / (e_m bw)) + launch                   (2)
    decode-attention:        4 H_kv d C / (e_d bw) + 2 launch                                                  (3)

    with a = B t (t + 1) / 2 query-key pairs of B prompts of t tokens, and C = B c context tokens.
    """
    bandwidth = accelerator.memory_bandwidth_bytes_per_s
    launch = efficiency.kernel_launch_s
    if kind in (GEMM, WEIGHT_STREAMING):
        rows, weights = shape["m"], shape["n"] * shape["k"]
        rate = gemm_efficiency(efficiency, precision) * peak(accelerator, precision)
        compute_s = 2.0 * (rows + efficiency.gemm_half_tokens) * weights / rate
        traffic = weights * PRECISION_BYTES[precision] + ATTENTION_BYTES * rows * (shape["n"] + shape["k"])
        return max(compute_s, traffic / (efficiency.weight_streaming * bandwidth)) + launch
    if kind == PREFILL_ATTENTION:
        n = shape["batch"] * shape["tokens"]
        pairs = n * (shape["tokens"] + 1.0) / 2.0
        flop = 4.0 * pairs * shape["heads"] * shape["head_dim"]
        traffic = 2.0 * (shape["heads"] + shape["kv_heads"]) * n * shape["head_dim"] * ATTENTION_BYTES
        compute_s = flop / (efficiency.prefill_attention * peak(accelerator, "bf16"))
        return max(compute_s, traffic / (efficiency.weight_streaming * bandwidth)) + launch
    if kind == DECODE_ATTENTION:
        context = shape["batch"] * shape["context"]
        traffic = 2.0 * shape["kv_heads"] * shape["head_dim"] * context * ATTENTION_BYTES
        return traffic / (efficiency.decode_attention * bandwidth) + DECODE_ATTENTION_KERNELS * launch
    if kind == LAUNCH:
        return launch
    return float(
        all_reduce_time_s(
            shape["bytes"],
            int(shape["ranks"]),
            efficiency.link * link_bytes_per_s,
            efficiency.all_reduce_alpha_s,
            efficiency.all_reduce_hop_s,
        )
    )


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


def gemm_efficiency(efficiency: Efficiency, precision: str) -> float:
    """Fraction of the peak that products reach; a precision nobody gave reaches as little as the worst."""
    table = {str(p): value for p, value in efficiency.gemm.items()}
    return table.get(precision) or table.get(twin(precision)) or min(table.values())


def twin(precision: str) -> str:
    """The other 16-bit precision, or the precision itself."""
    return {"fp16": "bf16", "bf16": "fp16"}.get(precision, precision)
