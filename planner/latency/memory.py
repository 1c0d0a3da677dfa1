"""What fits: weights, KV cache, activations and reserve against accelerator memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.catalog.parameters import output_width
from planner.catalog.schema import Accelerator, Llm, Runtime
from planner.engine.settings import sequence_limit, token_budget
from planner.errors import DoesNotFitError
from planner.latency.layout import Layout
from planner.latency.sequences import rank_kv_bytes_per_token
from planner.latency.weights import rank_layer_bytes, rank_weight_bytes
from planner.units import format_data

WIDE = 8  # ranks beyond which expert parallelism is called wide


@dataclass(frozen=True)
class MemoryFit:
    """Memory of one accelerator under a layout, and what it leaves for requests.

    Attributes
    ----------
    capacity_bytes, weight_bytes, activation_bytes, reserve_bytes : float
        Of one accelerator [bytes].
    kv_bytes_per_token : float
        KV cache of one token on one accelerator [bytes].
    resident_tokens : float
        Tokens of KV cache that one *replica* holds, each in all layers that keep them; 0 or less when the model does
        not fit.
    """

    capacity_bytes: float
    weight_bytes: float
    activation_bytes: float
    reserve_bytes: float
    kv_bytes_per_token: float
    resident_tokens: float

    @property
    def needed_bytes(self) -> float:
        """Memory of one accelerator needed before the first token [bytes]."""
        return self.weight_bytes + self.activation_bytes + self.reserve_bytes


def memory_fit(
    llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout, n_draft_layers: int = 0
) -> MemoryFit:
    """Divide the memory of each accelerator among weights, activations, what the engine keeps, and KV cache.

    A module that drafts tokens has `n_draft_layers` more layers like the model's in the last stage, with their cache;
    embeddings and LM head are shared (DeepSeek-V3, arXiv 2412.19437, section 2.2).

    Notes
    -----
    weights of the fullest rank + activations + reserve + KV <= capacity                           (3.1)

    The reserve is the engine's workspace, its communicators where there are several ranks, and the share
    `memory_reserve` of all memory (vLLM's `gpu_memory_utilization`) or of what is free beside weights, activations and
    workspace (TensorRT-LLM's `free_gpu_memory_fraction`).
    """
    weights, use = rank_weight_bytes(llm, layout, redundant_experts(runtime, layout)), runtime.memory_use
    weights += n_draft_layers * rank_layer_bytes(llm, layout, redundant_experts(runtime, layout))
    activations = activation_bytes(llm, accelerator, runtime, layout)
    capacity = accelerator.memory_bytes
    kept = use.workspace_bytes + (use.communicator_bytes if layout.accelerators_per_replica > 1 else 0.0)
    of = capacity if use.reserve_of == "memory" else max(capacity - weights - activations - kept, 0.0)
    reserve = kept + runtime.memory_reserve * of
    layers_per_stage = math.ceil(llm.n_layers / layout.pipeline_parallel)
    kv = rank_kv_bytes_per_token(llm, layout) * (layers_per_stage + n_draft_layers) / llm.n_layers
    free = capacity - weights - activations - reserve
    resident = free / kv * layout.attention_data_parallel
    return MemoryFit(capacity, weights, activations, reserve, kv, resident)


def redundant_experts(runtime: Runtime, layout: Layout) -> int:
    """Copies of busy experts that a replica of wide expert parallelism holds; 0 within a usual machine."""
    return runtime.redundant_experts if layout.expert_parallel > WIDE else 0


def activation_bytes(llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout) -> float:
    """Memory of the larger of a full step and the sampling of a full batch, which do not overlap [bytes].

    Notes
    -----
    A step of the runtime's token budget holds, in 16 bits, the residual stream twice and the widest intermediate of
    the feed-forward block and attention. Attention and dense blocks divide theirs over the ranks. Of k experts a token
    those of vLLM's fused kernel hold max(2 w / tp, h) + w / tp each: gate and up or, in the same buffer, the output,
    and the product between them.

    Sampling sorts the logits of every sequence, in 32 bits with 64-bit indices, and keeps copies: bytes_per_logit for
    each of them, over the whole vocabulary on every rank (vLLM's profile run samples as many sequences as may decode
    together).
    """
    use, tp = runtime.memory_use, layout.tensor_parallel
    budget = token_budget(runtime, accelerator)
    sampler = use.bytes_per_logit * sequence_limit(runtime, accelerator) * llm.vocabulary_size
    if use.bytes_per_budget_token is not None:
        return max(use.bytes_per_budget_token * budget, sampler)
    widest = [3 * output_width(m, llm.hidden_size) / tp for m in llm.mixers]
    if llm.mlp:
        widest.append(2 * llm.mlp.intermediate_size / tp)
    if llm.experts:
        inner = llm.experts.intermediate_size / tp
        hidden = llm.experts.latent_size or llm.hidden_size
        widest.append(llm.experts.n_experts_per_token * (max(2 * inner, hidden) + inner))
    return max(2.0 * budget * (2 * llm.hidden_size + max(widest)), sampler)


def require_fit(
    llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout, n_draft_layers: int = 0
) -> MemoryFit:
    """Return the fit, or raise `DoesNotFitError` with both byte counts when no token is left room for."""
    fit = memory_fit(llm, accelerator, runtime, layout, n_draft_layers)
    if fit.resident_tokens < 1:
        n = layout.accelerators_per_replica
        raise DoesNotFitError(
            f"{llm.name} in {layout.precision} does not fit {n} x {accelerator.name}",
            value=f"needs {fit.needed_bytes * n:,.0f} bytes ({format_data(fit.needed_bytes * n)}: weights "
            f"{format_data(fit.weight_bytes * n)}, activations {format_data(fit.activation_bytes * n)}, reserve "
            f"{format_data(fit.reserve_bytes * n)}), has {fit.capacity_bytes * n:,.0f} bytes "
            f"({format_data(fit.capacity_bytes * n)})",
            rule="weights + activations + reserve + KV cache <= memory",
            fix="use more or larger accelerators, a lower --precision, or a smaller model",
        )
    return fit
