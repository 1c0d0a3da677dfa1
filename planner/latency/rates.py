"""What an accelerator reaches under a runtime: its peaks times the runtime's efficiencies."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.schema import PRECISION_BYTES, Accelerator, Efficiency, Llm, Machine
from planner.errors import CatalogError
from planner.latency import collectives
from planner.latency.layout import Layout


@dataclass(frozen=True)
class GemmRate:
    """The rate of matrix products of one kind of weights.

    Attributes
    ----------
    precision : str
        They are computed in.
    peak_flop_per_s : float
        Of the chip in that precision.
    efficiency : float
        Fraction of it reached with many tokens.
    """

    precision: str
    peak_flop_per_s: float
    efficiency: float

    @property
    def flop_per_s(self) -> float:
        """What is reached."""
        return self.efficiency * self.peak_flop_per_s


@dataclass(frozen=True)
class Rates:
    """Rates of one accelerator for one model, layout and runtime.

    Attributes
    ----------
    gemm, expert_gemm, head_gemm : GemmRate
        Of dense matrices, routed experts and the LM head.
    attention_flop_per_s : float
        Peak in which attention is computed: 16 bits whatever the weights are stored in.
    bandwidth_bytes_per_s : float
        Peak memory bandwidth.
    """

    gemm: GemmRate
    expert_gemm: GemmRate
    head_gemm: GemmRate
    attention_flop_per_s: float
    bandwidth_bytes_per_s: float


_FALLBACKS: dict[str, tuple[str, ...]] = {
    "fp8": ("fp8", "bf16", "fp16"),
    "int8": ("int8", "bf16", "fp16"),
    "fp4": ("fp4", "bf16", "fp16"),
    "mxfp4": ("fp4", "bf16", "fp16"),
    "int4": ("bf16", "fp16"),
    "bf16": ("bf16", "fp16"),
    "fp16": ("fp16", "bf16"),
    "fp32": ("fp32",),
}


def compute_precision(precision: str, accelerator: Accelerator) -> str:
    """The precision GEMMs run in, for weights stored in `precision`.

    Weights narrower than anything the chip computes in are widened on the fly: they save memory traffic, not
    FLOP. bf16 falls back to fp16 on chips without it (Volta, Turing) and the other way round.
    """
    wanted = _FALLBACKS[precision]
    for candidate in wanted:
        if candidate in accelerator.peak:
            return candidate
    raise CatalogError(
        f"{accelerator.name} has no peak rate for weights in {precision}",
        value=f"peaks: {', '.join(sorted(accelerator.peak))}",
        fix=f"choose another --precision, or add peak.{wanted[0]} to accelerators/{accelerator.name}.yaml",
    )


def expert_compute_precision(llm: Llm, accelerator: Accelerator, layout: Layout) -> str:
    """The precision routed experts are computed in.

    Experts released narrower than the rest of the model (gpt-oss: MXFP4 in a bf16 model) keep wider
    activations. A chip with FP4 units multiplies such pairs at its FP8 rate, any other widens the weights.
    """
    if llm.expert_precision is None or layout.precision != llm.weight_precision:
        return compute_precision(layout.precision, accelerator)
    narrower = PRECISION_BYTES[llm.expert_precision] < PRECISION_BYTES[llm.weight_precision]
    if llm.expert_precision in ("fp4", "mxfp4") and narrower:
        return compute_precision("fp8" if "fp4" in accelerator.peak else "int4", accelerator)
    return compute_precision(llm.expert_precision, accelerator)


def rates_of(llm: Llm, accelerator: Accelerator, efficiency: Efficiency, layout: Layout) -> Rates:
    """Rates of `accelerator` for `llm` in the layout's precisions.

    Raises
    ------
    CatalogError
        The accelerator cannot compute in the layout's precision.
    """
    dense = compute_precision(layout.precision, accelerator)
    head = dense if PRECISION_BYTES[layout.precision] > 2 else compute_precision("bf16", accelerator)
    attention = compute_precision("bf16", accelerator)
    return Rates(
        gemm=_gemm_rate(dense, accelerator, efficiency),
        expert_gemm=_gemm_rate(expert_compute_precision(llm, accelerator, layout), accelerator, efficiency),
        head_gemm=_gemm_rate(head, accelerator, efficiency),
        attention_flop_per_s=accelerator.peak[attention],  # type: ignore[index]
        bandwidth_bytes_per_s=accelerator.memory_bandwidth_bytes_per_s,
    )


def _gemm_rate(precision: str, accelerator: Accelerator, efficiency: Efficiency) -> GemmRate:
    table: dict[str, float] = {str(name): value for name, value in efficiency.gemm.items()}
    twin = {"fp16": "bf16", "bf16": "fp16"}.get(precision, precision)
    # A precision that the runtime says nothing about reaches as little as the worst of those it does.
    reached = table.get(precision, table.get(twin, min(table.values())))
    return GemmRate(precision, accelerator.peak[precision], reached)  # type: ignore[index]


def link_bytes_per_s(machine: Machine, accelerator: Accelerator, n_ranks: int) -> float:
    """Bandwidth each way of a rank among `n_ranks` [bytes/s]; infinite for one rank.

    Raises
    ------
    CatalogError
        There are several ranks and no link between them.
    """
    if n_ranks == 1:
        return float("inf")
    scale_up = machine.scale_up or accelerator.scale_up
    link = collectives.link_bytes_per_s(scale_up, n_ranks) if scale_up else 0.0
    if not link:
        raise CatalogError(
            f"{machine.name} has no link between its accelerators",
            rule="tensor and pipeline parallelism need scale_up",
            fix="use tensor_parallel 1, or add scale_up to the machine",
        )
    return link
