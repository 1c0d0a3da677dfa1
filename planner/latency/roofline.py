"""The operator roofline: the time of one batch step from a model's shape and an accelerator's peaks.

Every operator takes

    t_op = max( FLOP / (e_c(n) peak),  bytes / (e_m bandwidth) ) + launch                             (1)
    e_c(n) = e_gemm n / (n + n_half)                                                                  (2)

and a step is their sum over the layers, plus collectives, plus host overhead. (1) is the roofline of
Williams, Waterman and Patterson (CACM 52(4), 2009) with achieved in place of theoretical peaks; (2) is the
saturating rise of GEMM efficiency with the token dimension (tile and wave quantisation), one half-point wide.
All times are those of one rank; ranks of a tensor-parallel group are in step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.catalog import parameters
from planner.catalog.schema import (
    PRECISION_BYTES,
    Accelerator,
    LatentAttention,
    Llm,
    Machine,
    MultiHeadAttention,
    Runtime,
)
from planner.errors import CatalogError
from planner.latency import collectives, memory
from planner.latency.batch import Batch, Floats
from planner.latency.layout import Layout

ACTIVATION_BYTES = 2.0  # residual stream and attention run in 16 bits whatever the weights are stored in
NORM_ACCESSES = 8.0  # reads and writes of the residual stream in the two norms, residuals and rotary embedding


@dataclass(frozen=True, eq=False)
class OperatorCost:
    """What one operator costs over a whole step, on one rank.

    Attributes
    ----------
    name : str
        Such as `qkv`, `attention-decode`, `experts`, `all-reduce`, `overhead`.
    resource : str
        `roofline`, `network` or `overhead`.
    time_s, compute_time_s, memory_time_s : ndarray
        Elapsed time, and what compute alone and memory alone would take [s].
    flop, bytes : ndarray
        Work [FLOP] and memory traffic [bytes].
    """

    name: str
    resource: str
    time_s: Floats
    compute_time_s: Floats
    memory_time_s: Floats
    flop: Floats
    bytes: Floats


@dataclass(frozen=True)
class _Gemm:
    """A weight matrix (or several alike) on one rank."""

    name: str
    count: float
    elements: float
    bytes_per_element: float
    activation_width: float


def compute_precision(precision: str, accelerator: Accelerator) -> str:
    """The precision GEMMs run in, for weights stored in `precision`.

    Weights narrower than anything the chip computes in are widened on the fly: they save memory traffic, not
    FLOP. bf16 falls back to fp16 on chips without it (Volta, Turing) and the other way round.
    """
    wanted = {
        "fp8": ("fp8", "bf16", "fp16"),
        "int8": ("int8", "bf16", "fp16"),
        "fp4": ("fp4", "bf16", "fp16"),
        "int4": ("bf16", "fp16"),
        "bf16": ("bf16", "fp16"),
        "fp16": ("fp16", "bf16"),
        "fp32": ("fp32",),
    }[precision]
    for candidate in wanted:
        if candidate in accelerator.peak:
            return candidate
    raise CatalogError(
        f"{accelerator.name} has no peak rate for weights in {precision}",
        value=f"peaks: {', '.join(sorted(accelerator.peak))}",
        fix=f"choose another --precision, or add peak.{wanted[0]} to accelerators/{accelerator.name}.yaml",
    )


class RooflineLatency:
    """Step times of one model on one machine under one layout, from the operator roofline.

    Parameters
    ----------
    llm, machine, accelerator, runtime : catalog entries
    layout : Layout

    Raises
    ------
    CatalogError
        The accelerator cannot compute in the layout's precision, or ranks have no link between them.
    """

    def __init__(self, llm: Llm, machine: Machine, accelerator: Accelerator, runtime: Runtime, layout: Layout) -> None:
        self.llm = llm
        self.layout = layout
        self._efficiency = runtime.efficiency(accelerator)
        self._bandwidth = accelerator.memory_bandwidth_bytes_per_s
        gemm_precision = compute_precision(layout.precision, accelerator)
        self._gemm_peak = accelerator.peak[gemm_precision]  # type: ignore[index]
        self._attention_peak = accelerator.peak[compute_precision("bf16", accelerator)]  # type: ignore[index]
        self._gemm_efficiency = self._of_gemm(gemm_precision)
        self._link = self._link_bytes_per_s(machine, accelerator)
        cap = machine.power_cap
        self._prefill_factor = cap.prefill_time_factor if cap else 1.0
        self._decode_factor = cap.decode_time_factor if cap else 1.0
        self._gemms = self._dense_gemms()
        self._n_expert_layers = llm.n_layers - llm.experts.n_dense_layers if llm.experts else 0

    # -- public ------------------------------------------------------------------------------------------------

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s]; the shape is that of the batch's fields broadcast together."""
        roofline_s, network_s, overhead_s = np.float64(0.0), np.float64(0.0), np.float64(0.0)
        for operator in self.operators(batch):
            if operator.resource == "roofline":
                roofline_s = roofline_s + operator.time_s
            elif operator.resource == "network":
                network_s = network_s + operator.time_s
            else:
                overhead_s = overhead_s + operator.time_s
        return self._factor(batch) * (roofline_s + network_s + overhead_s)

    def operators(self, batch: Batch) -> list[OperatorCost]:
        """Cost of every operator over the step, in the order they run; their times sum to the step's.

        (The sum is before the factor of a power cap, which `step_time_s` applies.)
        """
        costs = [self._gemm_cost(gemm, batch) for gemm in self._gemms]
        if self._n_expert_layers:
            costs.append(self._experts_cost(batch))
        costs += [self._prefill_attention(batch), self._decode_attention(batch), self._norms(batch)]
        network = self._network(batch)
        busy_s = sum((c.time_s for c in costs + network), np.float64(0.0))
        return [*costs, *network, self._overhead(batch, busy_s)]

    def utilisation(self, batch: Batch) -> tuple[Floats, Floats]:
        """Fractions of peak FLOP/s and of memory bandwidth that the step keeps busy."""
        operators = self.operators(batch)
        time_s = self.step_time_s(batch)
        flop = sum((o.flop for o in operators), np.float64(0.0))
        traffic = sum((o.bytes for o in operators), np.float64(0.0))
        return flop / (time_s * self._gemm_peak), traffic / (time_s * self._bandwidth)

    # -- set-up ------------------------------------------------------------------------------------------------

    def _of_gemm(self, precision: str) -> float:
        table = self._efficiency.gemm
        twin = {"fp16": "bf16", "bf16": "fp16"}.get(precision)
        for name in (precision, twin):
            if name in table:
                return table[name]  # type: ignore[index]
        return min(table.values())

    def _link_bytes_per_s(self, machine: Machine, accelerator: Accelerator) -> float:
        if self.layout.accelerators_per_replica == 1:
            return float("inf")
        scale_up = machine.scale_up or accelerator.scale_up
        link = collectives.link_bytes_per_s(scale_up, self.layout.tensor_parallel) if scale_up else 0.0
        if not link:
            raise CatalogError(
                f"{machine.name} has no link between its accelerators",
                rule="tensor and pipeline parallelism need scale_up",
                fix="use tensor_parallel 1, or add scale_up to the machine",
            )
        return link

    def _dense_gemms(self) -> list[_Gemm]:
        llm, tp = self.llm, self.layout.tensor_parallel
        hidden, n_layers = llm.hidden_size, llm.n_layers
        width = PRECISION_BYTES[self.layout.precision]
        qkv = parameters.qkv_elements(llm.attention, hidden)
        out = parameters.output_projection_elements(llm.attention, hidden)
        gemms = [
            _Gemm("qkv", n_layers, qkv / tp, width, hidden + qkv / hidden / tp),
            _Gemm("out-projection", n_layers, out / tp, width, hidden + out / hidden / tp),
        ]
        n_dense = llm.experts.n_dense_layers if llm.experts else n_layers
        if llm.mlp and n_dense:
            inner = (3.0 if llm.mlp.gated else 2.0) * llm.mlp.intermediate_size
            elements = parameters.mlp_elements(hidden, llm.mlp.intermediate_size, gated=llm.mlp.gated)
            gemms.append(_Gemm("mlp", n_dense, elements / tp, width, 2 * hidden + inner / tp))
        if llm.experts and llm.experts.shared_intermediate_size:
            inner = 3.0 * llm.experts.shared_intermediate_size
            elements = parameters.shared_experts_elements(llm)
            gemms.append(_Gemm("shared-experts", n_layers - n_dense, elements / tp, width, 2 * hidden + inner / tp))
        if llm.experts:
            router = parameters.router_elements(llm)
            gemms.append(_Gemm("router", n_layers - n_dense, router, ACTIVATION_BYTES, hidden))
        head = parameters.lm_head_elements(llm)
        gemms.append(_Gemm("lm-head", 1, head / tp, max(width, 2.0), hidden + llm.vocabulary_size / tp))
        return gemms

    # -- operators ---------------------------------------------------------------------------------------------

    def _gemm_cost(self, gemm: _Gemm, batch: Batch) -> OperatorCost:
        # The head runs on the last token of each prompt only; every other matrix on every token.
        tokens = batch.prompt_tokens if gemm.name != "lm-head" else batch.n_prompts
        rows = tokens + batch.decode_sequences
        flop = gemm.count * 2.0 * gemm.elements * rows
        traffic = gemm.count * (
            gemm.elements * gemm.bytes_per_element + ACTIVATION_BYTES * gemm.activation_width * rows
        )
        peak = self._gemm_efficiency * self._gemm_peak
        compute_s = (flop + gemm.count * 2.0 * gemm.elements * self._efficiency.gemm_half_tokens) / peak
        return self._roofline(gemm.name, gemm.count, flop, traffic, compute_s, self._efficiency.weight_streaming)

    def _experts_cost(self, batch: Batch) -> OperatorCost:
        """Routed experts: E (1 - (1 - k/E)^n) distinct ones are read for n tokens, spread over the ranks."""
        experts = self.llm.experts
        assert experts is not None
        efficiency, layout, layers = self._efficiency, self.layout, self._n_expert_layers
        tokens = batch.prompt_tokens + batch.decode_sequences
        share = experts.n_experts_per_token / experts.n_experts
        distinct = experts.n_experts * -np.expm1(tokens * np.log1p(-min(share, 1 - 1e-12)))
        imbalance = efficiency.expert_imbalance if layout.expert_parallel > 1 else 1.0
        rank_share = imbalance / layout.tensor_parallel
        elements = float(parameters.expert_elements(self.llm))
        rows = tokens * experts.n_experts_per_token
        flop = layers * 2.0 * elements * rows * rank_share
        width = memory.expert_bytes_per_element(self.llm, layout)
        activations = ACTIVATION_BYTES * (2 * self.llm.hidden_size + 3 * experts.intermediate_size) * rows
        traffic = layers * rank_share * (elements * width * distinct + activations)
        padded = layers * 2.0 * elements * (rows + distinct * efficiency.gemm_half_tokens) * rank_share
        # With expert parallelism a rank keeps whole experts, so each of them sees full-width matrices; the half
        # point then applies to fewer, wider GEMMs, which the padding above already counts by distinct experts.
        compute_s = padded / (self._gemm_efficiency * self._gemm_peak)
        return self._roofline("experts", layers, flop, traffic, compute_s, efficiency.weight_streaming)

    def _prefill_attention(self, batch: Batch) -> OperatorCost:
        """FLOP = 4 a H d: two products, two FLOP each, over the a query-key pairs of the batch."""
        llm, tp = self.llm, self.layout.tensor_parallel
        attention = llm.attention
        pairs = batch.attention_pairs * llm.n_layers
        if isinstance(attention, MultiHeadAttention) and attention.window_tokens:
            n_window, window = attention.n_window_layers, float(attention.window_tokens)
            windowed = _pairs_in_window(batch.prompt_tokens, batch.attention_pairs, window)
            pairs = batch.attention_pairs * (llm.n_layers - n_window) + windowed * n_window
        if isinstance(attention, LatentAttention):
            per_pair = 2.0 * attention.n_heads * (
                attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim
            )  # fmt: skip
            width = attention.n_heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim)
        else:
            per_pair = 4.0 * attention.n_heads * attention.head_dim
            width = 2 * (attention.n_heads + attention.n_kv_heads) * attention.head_dim
        flop = pairs * per_pair / tp
        traffic = llm.n_layers * batch.prompt_tokens * width * ACTIVATION_BYTES / tp
        compute_s = flop / (self._efficiency.prefill_attention * self._attention_peak)
        cost = self._roofline("attention-prefill", llm.n_layers, flop, traffic, compute_s, 1.0)
        return _only_where(batch.prompt_tokens > 0, cost)

    def _decode_attention(self, batch: Batch) -> OperatorCost:
        """Reads the KV cache of every context token once a step."""
        llm, layout = self.llm, self.layout
        attention = llm.attention
        context = batch.context_tokens * llm.n_layers
        if isinstance(attention, MultiHeadAttention) and attention.window_tokens:
            n_window = attention.n_window_layers
            windowed = np.minimum(batch.context_tokens, batch.decode_sequences * float(attention.window_tokens))
            context = batch.context_tokens * (llm.n_layers - n_window) + windowed * n_window
        traffic = context * memory.kv_bytes_per_token_layer(llm, layout)
        if isinstance(attention, LatentAttention):
            per_token = 2.0 * attention.n_heads * (2 * attention.kv_lora_rank + attention.qk_rope_head_dim)
        else:
            per_token = 4.0 * attention.n_heads * attention.head_dim
        flop = context * per_token / layout.tensor_parallel
        compute_s = flop / (self._efficiency.prefill_attention * self._attention_peak)
        cost = self._roofline(
            "attention-decode", llm.n_layers, flop, traffic, compute_s, self._efficiency.decode_attention
        )
        return _only_where(batch.decode_sequences > 0, cost)

    def _norms(self, batch: Batch) -> OperatorCost:
        rows = batch.prompt_tokens + batch.decode_sequences
        traffic = self.llm.n_layers * NORM_ACCESSES * ACTIVATION_BYTES * self.llm.hidden_size * rows
        zero = np.zeros_like(traffic)
        return self._roofline("norms", self.llm.n_layers, zero, traffic, zero, self._efficiency.weight_streaming)

    def _roofline(
        self, name: str, count: float, flop: Floats, traffic: Floats, compute_s: Floats, memory_efficiency: float
    ) -> OperatorCost:
        memory_s = traffic / (memory_efficiency * self._bandwidth)
        time_s = np.maximum(compute_s, memory_s) + count * self._efficiency.kernel_launch_s
        return OperatorCost(name, "roofline", time_s, compute_s, memory_s, flop, traffic)

    def _network(self, batch: Batch) -> list[OperatorCost]:
        """Two all-reduces a layer; expert-parallel layers exchange tokens all-to-all in place of the second."""
        layout, llm, efficiency = self.layout, self.llm, self._efficiency
        tokens = batch.prompt_tokens + batch.decode_sequences
        message = tokens * llm.hidden_size * ACTIVATION_BYTES
        alpha, hop, bandwidth = efficiency.all_reduce_alpha_s, efficiency.all_reduce_hop_s, efficiency.link * self._link
        costs: list[OperatorCost] = []
        tp = layout.tensor_parallel
        if tp > 1:
            n_all_to_all = self._n_expert_layers if layout.expert_parallel > 1 else 0
            n_all_reduce = 2 * llm.n_layers - n_all_to_all
            time_s = n_all_reduce * (
                collectives.all_reduce_time_s(message, tp, bandwidth, alpha, hop) + self._slow_part_s(tokens)
            )
            costs.append(_network_cost("all-reduce", time_s))
            if n_all_to_all:
                assert llm.experts is not None
                held = message / tp * llm.experts.n_experts_per_token
                exchange_s = collectives.all_to_all_time_s(held, tp, bandwidth, alpha, hop)
                costs.append(_network_cost("all-to-all", 2.0 * n_all_to_all * exchange_s))
        if layout.pipeline_parallel > 1:
            hops = layout.pipeline_parallel - 1
            hand_over_s = collectives.point_to_point_time_s(message / tp, bandwidth, alpha)
            costs.append(_network_cost("pipeline", hops * hand_over_s))
        return costs

    def _slow_part_s(self, tokens: Floats) -> Floats:
        """Extra time of one all-reduce for tokens beyond the point where this runtime's collective slows down."""
        efficiency, tp = self._efficiency, self.layout.tensor_parallel
        if efficiency.slow_collective_tokens is None or efficiency.slow_collective_link is None:
            return np.zeros_like(tokens)
        excess = np.maximum(tokens - efficiency.slow_collective_tokens, 0.0)
        per_token = 2.0 * (tp - 1) / tp * self.llm.hidden_size * ACTIVATION_BYTES / self._link
        return excess * per_token * max(1 / efficiency.slow_collective_link - 1 / efficiency.link, 0.0)

    def _overhead(self, batch: Batch, busy_s: Floats) -> OperatorCost:
        """Host time: a step, a layer and a decoding sequence; at least the floor of a layer with prompts."""
        efficiency, n_layers = self._efficiency, self.llm.n_layers
        prompts, decodes = batch.prompt_tokens > 0, batch.decode_sequences > 0
        decode_layer_s = np.where(decodes | ~prompts, efficiency.layer_overhead_s, 0.0)
        layer_s = np.where(
            prompts, np.maximum(efficiency.prefill_layer_overhead_s, decode_layer_s), efficiency.layer_overhead_s
        )
        floor_s = np.where(prompts, n_layers * efficiency.prefill_layer_floor_s, 0.0)
        host_s = (
            efficiency.step_overhead_s + n_layers * layer_s + efficiency.sequence_overhead_s * batch.decode_sequences
        )
        time_s = host_s + np.maximum(floor_s - busy_s, 0.0)
        if self.layout.pipeline_parallel > 1:
            time_s = time_s + efficiency.pipeline_bubble * busy_s
        zero = np.zeros_like(time_s)
        return OperatorCost("overhead", "overhead", time_s, zero, zero, zero, zero)

    def _factor(self, batch: Batch) -> Floats:
        if self._prefill_factor == self._decode_factor == 1.0:
            return np.float64(1.0)  # type: ignore[return-value]
        return np.where(batch.prompt_tokens > 0, self._prefill_factor, self._decode_factor)


def _pairs_in_window(tokens: Floats, pairs: Floats, window: float) -> Floats:
    """Query-key pairs left by a sliding window, from a batch's own statistics.

    A prompt of s tokens has s(s+1)/2 pairs, of which a window w <= s keeps s w - w(w-1)/2. The batch knows its
    total n and pairs a, hence the mean length 2a/n - 1 weighted by tokens: exact for equal prompts.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.where(tokens > 0, 2.0 * pairs / np.where(tokens > 0, tokens, 1.0) - 1.0, 0.0)
        kept = tokens * (window - window * (window - 1.0) / (2.0 * np.maximum(length, 1.0)))
    return np.where(length > window, np.minimum(kept, pairs), pairs)


def _only_where(active: Floats | np.bool_, cost: OperatorCost) -> OperatorCost:
    """Zero the launch cost of an operator in steps that do not run it."""
    time_s = np.where(active, cost.time_s, 0.0)
    return OperatorCost(
        cost.name, cost.resource, time_s, cost.compute_time_s, cost.memory_time_s, cost.flop, cost.bytes
    )


def _network_cost(name: str, time_s: Floats) -> OperatorCost:
    zero = np.zeros_like(time_s)
    return OperatorCost(name, "network", time_s, zero, zero, zero, zero)
