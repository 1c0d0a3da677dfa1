"""The settings that a server is run with: a runtime's defaults by accelerator, changed by what was asked for."""

from __future__ import annotations

from planner.catalog.schema import Accelerator, Precision, Runtime
from planner.units import format_time

_HALF_WIDE = ("bf16", "fp16", "fp32")


def is_small(runtime: Runtime, accelerator: Accelerator) -> bool:
    """Whether an accelerator counts as small to the runtime, which then batches less."""
    use = runtime.memory_use
    return accelerator.memory_bytes < use.few_below_bytes or accelerator.architecture in use.few_on


def sequence_limit(runtime: Runtime, accelerator: Accelerator) -> int:
    """Most sequences that a replica on this accelerator decodes together."""
    few = runtime.memory_use.few_sequences
    return min(runtime.max_batch, few) if few and is_small(runtime, accelerator) else runtime.max_batch


def token_budget(runtime: Runtime, accelerator: Accelerator) -> int:
    """Most tokens in a step of a replica on this accelerator."""
    batching, budget = runtime.batching, runtime.prefill_token_budget
    if batching.few_budget and is_small(runtime, accelerator):
        return min(budget, batching.few_budget)
    if batching.large_budget and accelerator.memory_bytes >= batching.large_from_bytes:
        return max(budget, batching.large_budget)
    return budget


def front_end_s(runtime: Runtime) -> tuple[float, float, float]:
    """What the front end adds to the first token: latency, work a request, and work a prompt token [s]."""
    front = runtime.batching.front_end
    return front.latency_s, front.request_s, front.prompt_token_s


def kv_precision(runtime: Runtime, weights: Precision | None, released: Precision) -> Precision:
    """Precision of the KV cache where nobody says: the model's own, or the engine's where its weights are quantised.

    Parameters
    ----------
    runtime : Runtime
    weights : str or None
        Precision that the weights are brought to; None: as released.
    released : str
        Of the KV cache, as the model was released.
    """
    quantised = runtime.batching.quantised_kv
    return released if weights is None or weights in _HALF_WIDE or quantised is None else quantised


def with_settings(
    runtime: Runtime, *, max_batch: int | None = None, batched_tokens: int | None = None, chunked: bool | None = None
) -> Runtime:
    """The runtime, its server started with other settings than the defaults.

    Parameters
    ----------
    runtime : Runtime
    max_batch : int, optional
        Most sequences decoding together.
    batched_tokens : int, optional
        Most tokens in a step.
    chunked : bool, optional
        Whether prompts are computed in chunks; otherwise whole.
    """
    batching, use = runtime.batching, runtime.memory_use
    if max_batch is not None:
        use = use.model_copy(update={"few_sequences": None})
    if batched_tokens is not None:
        batching = batching.model_copy(update={"few_budget": None, "large_budget": None})
    if chunked is not None:
        batching = batching.model_copy(update={"prompts": "chunked" if chunked else "whole"})
    return runtime.model_copy(
        update={
            "batching": batching,
            "memory_use": use,
            "max_batch": max_batch or runtime.max_batch,
            "prefill_token_budget": batched_tokens or runtime.prefill_token_budget,
        }
    )


def settings_text(runtime: Runtime) -> str:
    """What a server is assumed to run with, in a line."""
    batching = runtime.batching
    few = runtime.memory_use.few_sequences
    sequences = f"{runtime.max_batch:,} sequences" + (f" ({few:,} on small accelerators)" if few else "")
    others = ((batching.few_budget, "small"), (batching.large_budget, "large"))
    unlike = ", ".join(f"{n:,} on {size} accelerators" for n, size in others if n)
    budget = f"{runtime.prefill_token_budget:,} tokens" + (f" ({unlike})" if unlike else "")
    prompts = f"{batching.prompts} prompts" + (", for which sequences wait" if batching.steps == "apart" else "")
    parts = [f"at most {sequences} and {budget} a step", prompts, f"KV memory {batching.kv_memory}"]
    latency, request, token = front_end_s(runtime)
    if latency or request or token:
        parts.append(f"a front end of {format_time(latency + request + 1000.0 * token)} for a prompt of 1,000 tokens")
    return f"servers are assumed to run {runtime.name} with {', '.join(parts)}"
