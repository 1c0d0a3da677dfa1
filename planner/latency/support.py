"""What an engine runs on an accelerator, as its runtime says with sources: not every sum that adds up is served."""

from __future__ import annotations

from planner.catalog.schema import Accelerator, CompressedAttention, Llm, Runtime
from planner.errors import CatalogError
from planner.latency.layout import Layout


def require_supported(llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout) -> None:
    """Refuse a model that the engine does not run on an accelerator.

    Raises
    ------
    CatalogError
        With the reason and its source.
    """
    precisions = {str(layout.precision)}
    if layout.precision == llm.weight_precision:
        precisions |= {str(p) for p in (llm.expert_precision, llm.mixer_precision) if p is not None}
    kinds = attention_kinds(llm)
    for rule in runtime.unsupported:
        if accelerator.architecture not in rule.architectures:
            continue
        precision = next((p for p in rule.precisions if p in precisions), None)
        kind = next((k for k in rule.attention if k in kinds), None)
        if precision is not None or kind is not None:
            what = f"{kind} attention" if precision is None else f"weights in {precision}"
            raise CatalogError(
                f"{runtime.name} does not run {llm.name} on {accelerator.name}: {what}, {accelerator.architecture}",
                value=rule.why,
                rule=f"what an engine does not run is not planned ({rule.source})",
                fix="choose another accelerator, --precision or --runtime; or overlay `unsupported` of the runtime",
            )


def attention_kinds(llm: Llm) -> set[str]:
    """Kinds of attention that engines need kernels of their own for: latent, indexed, compressed."""
    found = set()
    for mixer in llm.attentions:
        if isinstance(mixer, CompressedAttention):
            found.add("compressed")
        elif mixer.type == "mla":
            found.add("latent")
        if mixer.top_k_tokens:
            found.add("indexed")
    return found
