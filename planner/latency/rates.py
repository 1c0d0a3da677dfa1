"""What an accelerator reaches under a runtime: its peaks times the runtime's efficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from planner.catalog.schema import (
    PRECISION_BYTES,
    Accelerator,
    Efficiency,
    LatentAttention,
    LatentCosts,
    Llm,
    Machine,
)
from planner.errors import CatalogError
from planner.latency import collectives
from planner.latency.layout import Layout
from planner.latency.weights import QUANTISED, expert_stored_precision

T = TypeVar("T")


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
    half_tokens : float
        Tokens at which half of that is reached.
    launch_s : float
        Of one product, beside its work [s].
    quantises : bool
        Whether the product's input is quantised by kernels of their own, not counted in `launch_s`.
    input_bytes : float
        Moved for each element of the input beside the product [bytes].
    """

    precision: str
    peak_flop_per_s: float
    efficiency: float
    half_tokens: float
    launch_s: float
    quantises: bool
    input_bytes: float = 0.0

    @property
    def flop_per_s(self) -> float:
        """What is reached."""
        return self.efficiency * self.peak_flop_per_s


@dataclass(frozen=True)
class Rates:
    """Rates of one accelerator for one model, layout and runtime.

    Attributes
    ----------
    gemm, head_gemm, latent_gemm : GemmRate
        Of dense matrices, the LM head, and the projections of latent attention.
    experts : ExpertRate or None
        Of routed experts, if the model has them.
    latent : LatentCosts or None
        Of latent attention, if the model has it and the runtime figures for it.
    attention_flop_per_s : float
        Peak in which attention is computed: 16 bits whatever the weights are stored in.
    bandwidth_bytes_per_s : float
        Peak memory bandwidth.
    """

    gemm: GemmRate
    head_gemm: GemmRate
    latent_gemm: GemmRate
    experts: ExpertRate | None
    latent: LatentCosts | None
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
    gemm = gemm_rate(dense, accelerator, efficiency, layout.precision)
    latent = (
        latent_costs(layout, dense, efficiency) if all(isinstance(m, LatentAttention) for m in llm.mixers) else None
    )
    experts = None
    if llm.experts:
        stored = expert_stored_precision(llm, layout)
        experts = expert_rate(expert_compute_precision(llm, accelerator, layout), stored, accelerator, efficiency)
    return Rates(
        gemm=gemm,
        head_gemm=gemm_rate(head, accelerator, efficiency),
        latent_gemm=gemm if latent is None else replace(gemm, efficiency=latent.gemm, half_tokens=latent.half_tokens),
        experts=experts,
        latent=latent,
        attention_flop_per_s=accelerator.peak[attention],  # type: ignore[index]
        bandwidth_bytes_per_s=accelerator.memory_bandwidth_bytes_per_s,
    )


def gemm_rate(precision: str, accelerator: Accelerator, efficiency: Efficiency, stored: str | None = None) -> GemmRate:
    """Rate of the products of dense matrices in a precision that the chip computes in.

    What the runtime says of weights `stored` in another precision, which are widened on the fly, goes first.
    """
    names = (stored or precision, precision)
    tables = (efficiency.gemm_launch_s, efficiency.gemm_half, efficiency.gemm, efficiency.gemm_input_bytes)
    launch_s, half, reached, input_bytes = (
        next((x for x in (_in_precision(table, name) for name in names) if x is not None), None) for table in tables
    )
    if efficiency.fused_quantisation and precision in QUANTISED:
        launch_s, input_bytes = efficiency.kernel_launch_s, 0.0
    return GemmRate(
        precision,
        accelerator.peak[precision],  # type: ignore[index]
        # A precision that the runtime says nothing about reaches as little as the worst of those it does.
        min(efficiency.gemm.values()) if reached is None else reached,
        efficiency.gemm_half_tokens if half is None else half,
        efficiency.kernel_launch_s if launch_s is None else launch_s,
        precision in QUANTISED and launch_s is None,
        input_bytes or 0.0,
    )


@dataclass(frozen=True)
class ExpertRate:
    """What a layer of routed experts reaches.

    Attributes
    ----------
    gemm : GemmRate
        Of their products; its `launch_s` is of one kernel and serves where there is no `layer_s`.
    bytes_per_s : float
        At which weights and activations stream.
    layer_s : float or None
        Of the whole layer, beside its work [s]; None: kernel by kernel.
    spread_s : float
        Added where experts are spread over ranks [s].
    moves_per_call, moves_per_token : float
        Times a hidden vector is moved beside the products, for each expert of a token on the rank and for each token.
    """

    gemm: GemmRate
    bytes_per_s: float
    layer_s: float | None
    spread_s: float = 0.0
    moves_per_call: float = 0.0
    moves_per_token: float = 0.0


def expert_rate(precision: str, stored: str, accelerator: Accelerator, efficiency: Efficiency) -> ExpertRate:
    """Rate of routed experts stored in one precision and computed in another.

    Without figures for the stored precision those of the computed one serve, and without these the dense products'.
    """
    costs = _in_precision(efficiency.experts, stored) or _in_precision(efficiency.experts, precision)
    bandwidth = accelerator.memory_bandwidth_bytes_per_s
    dense = gemm_rate(precision, accelerator, efficiency, stored)
    if costs is None:
        return ExpertRate(dense, efficiency.weight_streaming * bandwidth, None)
    rate = GemmRate(precision, dense.peak_flop_per_s, costs.gemm, costs.half_tokens, dense.launch_s, False)
    moves = efficiency.expert_moves_per_call, efficiency.expert_moves_per_token
    return ExpertRate(rate, costs.streaming * bandwidth, costs.launch_s, costs.spread_s, *moves)


def latent_costs(layout: Layout, precision: str, efficiency: Efficiency) -> LatentCosts | None:
    """What latent attention with projections in the layout's precision reaches, or None if the runtime does not say."""
    return _in_precision(efficiency.latent, layout.precision) or _in_precision(efficiency.latent, precision)


def _in_precision(table: Mapping[Any, T], precision: str) -> T | None:
    named = {str(name): value for name, value in table.items()}
    return named.get(precision, named.get({"fp16": "bf16", "bf16": "fp16"}.get(precision, precision)))


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
