"""The error that is stated of step times: that of the kind that was measured, or a wide one where none was."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.layers import LatentAttention, MultiHeadAttention
from planner.catalog.schema import Accelerator, Llm, Runtime, StatedError
from planner.latency.layout import Layout
from planner.latency.weights import expert_stored_precision

PHASES = ("prefill", "decode")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Stated:
    """An error and what it rests on.

    Attributes
    ----------
    fraction : float
        Of a step time.
    basis : str
        For people: `dense, tensor parallel, fp8 under vllm-2026, 180 measurements`, or what was not measured.
    measured : bool
    """

    fraction: float
    basis: str
    measured: bool


def family_of(llm: Llm) -> str | None:
    """The family whose errors a model shares: None for layers of kinds that no table has."""
    mixers = llm.mixers
    if all(isinstance(m, LatentAttention) and m.indexer is None for m in mixers):
        return "latent-experts" if llm.experts else None
    if all(isinstance(m, MultiHeadAttention) for m in mixers):
        return "experts" if llm.experts else "dense"
    return None


def kind_of_layout(layout: Layout) -> str:
    """`one`, `tensor` or `spread`."""
    if layout.expert_parallel > 1 or layout.attention_data_parallel > 1:
        return "spread"
    return "one" if layout.accelerators_per_replica == 1 else "tensor"


def error_precision(llm: Llm, layout: Layout) -> str:
    """The precision that errors go by: of the experts where there are some, fp16 as bf16."""
    precision = expert_stored_precision(llm, layout) if llm.experts else str(layout.precision)
    return "bf16" if precision == "fp16" else precision


def stated_error(llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout, phase: str) -> Stated:
    """The error to state of the step times of one phase.

    Notes
    -----
    A model with experts never borrows from one without, nor one layout, precision or phase from another. Pipelines and
    replicas over several machines are not measured. On an accelerator that the runtime has no values of its own for,
    the error is at least the runtime's `step_time_error` there.
    """
    own = runtime.efficiency(accelerator).step_time_error
    if not runtime.stated_errors:
        return Stated(own, f"as {runtime.name} states for {accelerator.name}", runtime.is_measured_on(accelerator))
    family, kind = family_of(llm), kind_of_layout(layout)
    precision = error_precision(llm, layout)
    names = {"one": "one accelerator", "tensor": "tensor parallel", "spread": "experts or attention spread"}
    about = f"{family or 'such layers'}, {names[kind]}, {precision}, {phase} under {runtime.name}"
    found = [
        s
        for s in runtime.stated_errors.values()
        if (s.family, s.layout, s.precision, s.phase) == (family, kind, precision, phase)
        and s.accelerator in (None, accelerator.name)
    ]
    if not found or layout.machines > 1 or layout.pipeline_parallel > 1:
        more = ", over machines" if layout.machines > 1 else ", in a pipeline" if layout.pipeline_parallel > 1 else ""
        return Stated(max(runtime.unmeasured_error, own), f"{NOT_MEASURED}: {about}{more}", False)
    best = max(found, key=_specific)
    measured = runtime.is_measured_on(accelerator) or best.accelerator is not None
    fraction = best.error if measured else max(best.error, own)
    where = "" if measured else f", {accelerator.name} not measured"
    return Stated(fraction, f"{about}, {best.n_rows} measurements{where}", measured)


def _specific(stated: StatedError) -> bool:
    return stated.accelerator is not None


def largest_error(llm: Llm, accelerator: Accelerator, runtime: Runtime, layout: Layout) -> Stated:
    """What a plan states: the larger error of the phases that were measured, with the one that was not named beside."""
    both = [stated_error(llm, accelerator, runtime, layout, phase) for phase in PHASES]
    known = [s for s in both if not s.basis.startswith(NOT_MEASURED)]
    if not known or len(known) == len(both):
        return max(both, key=lambda s: s.fraction)
    [missing] = [phase for phase, s in zip(PHASES, both, strict=True) if s.basis.startswith(NOT_MEASURED)]
    wide = f"; {missing} not measured, +/- {runtime.unmeasured_error:.0%}"
    return Stated(known[0].fraction, known[0].basis + wide, known[0].measured)
