"""What an engine is known to run on an accelerator, as its runtime says with sources: not all arithmetic is served."""

from __future__ import annotations

from collections.abc import Sequence

from planner.catalog.schema import Accelerator, CompressedAttention, Llm, Runtime, Support
from planner.errors import CatalogError
from planner.latency.layout import Layout


def require_supported(llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout) -> None:
    """Refuse a layout of a model that the engine is not known to run on an accelerator.

    A runtime that says nothing of support, such as one of the user's, is taken to run everything.

    Raises
    ------
    CatalogError
        With what is not known to run, what is, the source, and how to say otherwise.
    """
    if not runtime.support:
        return
    entries = [entry for entry in runtime.support.values() if entry.covers(accelerator)]
    missing = _missing(llm, layout, entries)
    if missing:
        what, stated = missing
        raise CatalogError(
            f"{runtime.name} is not known to run {llm.name} on {accelerator.name}: {what}",
            value=stated,
            rule="what an engine is not known to run is not planned" + _sources(entries),
            fix=f"choose another accelerator, --precision or --runtime; or add an entry under `support` of "
            f"runtimes/{runtime.name}.yaml in an overlay (planner catalog show {runtime.name})",
        )


def _missing(llm: Llm, layout: Layout, entries: Sequence[Support]) -> tuple[str, str] | None:
    """What no entry has, and what they have instead."""
    if not entries:
        return "no support of this accelerator is known", ""
    notes = "; ".join(entry.note for entry in entries if entry.note)

    def among(known: Sequence[str], of: str) -> str:
        said = f"{of} known there: {', '.join(known) or 'none'}"
        return f"{said} ({notes})" if notes else said

    precisions = {str(layout.precision)}
    if layout.precision == llm.weight_precision:
        precisions |= {str(p) for p in (llm.expert_precision, llm.mixer_precision) if p is not None}
    known = list(dict.fromkeys(str(p) for entry in entries for p in entry.precisions))
    if left := sorted(precisions - set(known)):
        return f"weights in {' and '.join(left)}", among(known, "precisions")
    kinds = list(dict.fromkeys(kind for entry in entries for kind in entry.layers))
    if lacking := sorted(layer_kinds(llm) - set(kinds)):
        return " and ".join(map(_words, lacking)), among(kinds, "kinds beside common attention")
    if layout.attention_data_parallel > 1 and not any(entry.spread for entry in entries):
        return "data-parallel attention with experts over all ranks", notes
    if layout.pipeline_parallel > 1 and not any(entry.pipeline for entry in entries):
        return "pipeline stages", notes
    return None


def _words(kind: str) -> str:
    return f"{kind} attention" if kind in ("latent", "indexed", "compressed") else f"{kind} layers"


def _sources(entries: Sequence[Support]) -> str:
    if not entries:
        return ""
    return f" ({'; '.join(dict.fromkeys(f'{entry.source}, read {entry.checked}' for entry in entries))})"


def layer_kinds(llm: Llm) -> set[str]:
    """Kinds of layers that engines need kernels of their own for.

    latent, indexed and compressed attention; linear attention, state-space layers and short convolutions by type.
    """
    found = set()
    for mixer in llm.mixers:
        if isinstance(mixer, CompressedAttention):
            found.add("compressed")
        elif mixer.type == "mla":
            found.add("latent")
        elif mixer.type not in ("mha", "gqa", "mqa"):
            found.add(str(mixer.type))
        if getattr(mixer, "top_k_tokens", None):
            found.add("indexed")
    return found
