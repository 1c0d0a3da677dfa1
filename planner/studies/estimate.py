"""One step or one request: what the roofline says, operator by operator."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from planner.catalog.schema import Precision
from planner.errors import ScenarioError, UnknownNameError
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.memory import memory_fit
from planner.latency.roofline import OperatorCost, RooflineLatency
from planner.latency.sequences import kv_share, residency_of
from planner.latency.shortcuts import Shortcuts, draft_layers, draft_share, without_cached
from planner.latency.stated import stated_error
from planner.pools.configuration import Serving, check_degrees, configure, make_layout
from planner.scenario.opened import CatalogLike, catalog_of


class OperatorShare(BaseModel):
    """One operator's part of a step."""

    model_config = ConfigDict(frozen=True)

    name: str
    time_s: float
    share: float = Field(description="Share of the step.")
    bound: Literal["compute", "memory", "network", "overhead"]
    flop: float = Field(description="Work on one rank [FLOP].")
    bytes: float = Field(description="Memory traffic of one rank [bytes].")
    flop_per_byte: float | None = Field(description="Arithmetic intensity; null without memory traffic.")
    flop_per_s: float = Field(description="Achieved on one rank [FLOP/s].")
    bytes_per_s: float = Field(description="Memory traffic achieved on one rank [bytes/s].")
    achieved_fraction: float | None = Field(
        description=(
            "Fraction of peak FLOP/s if bound by compute, of peak memory bandwidth if by memory; null for the others."
        )
    )


class RoofLimit(BaseModel):
    """A limit of one accelerator."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="`memory` in bytes/s, or the precision of products in FLOP/s.")
    peak: float
    achieved: float = Field(description="Rate that the runtime reaches of it in large steps.")


class Estimate(BaseModel):
    """Time of one step of one replica, and what it is made of."""

    model_config = ConfigDict(frozen=True)

    model: str
    machine: str
    runtime: str
    phase: Literal["prefill", "decode"]
    batch: int
    tokens: int
    precision: str
    layout: str
    latency_s: float
    bound: Literal["compute", "memory", "network", "overhead"] = Field(description="Part that takes most of the step.")
    breakdown: list[OperatorShare]
    tokens_per_s: float = Field(
        description="Throughput of one replica: prompt tokens, cached ones counted, or tokens generated [1/s]."
    )
    compute_utilisation: float
    memory_utilisation: float
    prefix_cached: float = Field(default=0.0, description="Share of the prompt tokens taken as cached.")
    draft_tokens: int = Field(default=0, description="Draft tokens verified for each sequence.")
    tokens_per_step: float = Field(default=1.0, description="Tokens that a sequence gets from a decode step.")
    time_per_token_s: float | None = Field(description="Time of a decode step, for each token that a sequence gets.")
    roofs: list[RoofLimit] = Field(description="Roofs of one accelerator: memory, and each precision used.")
    resident_tokens: float = Field(description="KV-cache tokens that one replica holds, of such sequences.")
    step_time_error: float = Field(description="Error, stated and relative, of this phase.")
    step_time_basis: str = Field(description="Basis: what was measured of such steps, or that nothing was.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict an operator."""
        head = self.model_dump(exclude={"breakdown", "roofs"})
        return [head | {f"operator_{k}": v for k, v in row.model_dump().items()} for row in self.breakdown]


def estimate(
    *,
    model: str = "llama-3.1-70b",
    machine: str = "dgx-h100",
    phase: Literal["prefill", "decode"] = "decode",
    batch: int = 1,
    tokens: int = 1024,
    tensor_parallel: int | None = None,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    attention_data_parallel: int = 1,
    precision: Precision | None = None,
    kv_precision: Precision | None = None,
    runtime: str | None = None,
    prefix_cached: float = 0.0,
    tokens_per_step: float | None = None,
    draft_tokens: int | None = None,
    catalog: CatalogLike = None,
) -> Estimate:
    """Estimate the time of one step.

    Parameters
    ----------
    model, machine : str
        Catalog names.
    phase : str
        `prefill` computes `batch` prompts of `tokens` tokens each; `decode` generates one token for each of
        `batch` sequences with `tokens` tokens of context.
    batch, tokens : int
        At least 1.
    tensor_parallel, pipeline_parallel, expert_parallel, attention_data_parallel : int
        Left out, the tensor degree is that of the whole machine. `machine` may be a group, such as `dgx-h100@4`.
    precision, kv_precision : str, optional
        Of weights and KV cache; as the model's file says if left out.
    runtime : str, optional
        Default `vllm-2026`.
    prefix_cached : float
        Share of each prompt's tokens whose KV cache is there already.
    tokens_per_step, draft_tokens : float, int, optional
        Tokens that a sequence gets from a decode step, and draft tokens that the step verifies for it; the runtime's
        if left out. Drafting is then part of the step.
    catalog : Catalog, or path of an overlay folder, or several, optional
        Left out: the built-in one under PLANNER_CATALOG.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        An unknown name or an impossible value.
    DoesNotFitError
        The model does not fit, with both byte counts.
    """
    degrees = {
        "pipeline_parallel": pipeline_parallel,
        "expert_parallel": expert_parallel,
        "attention_data_parallel": attention_data_parallel,
    }
    if tensor_parallel is not None:
        degrees["tensor_parallel"] = tensor_parallel
    for name, value in {"batch": batch, "tokens": tokens, **degrees}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ScenarioError("must be a whole number of at least 1", where=name, value=repr(value))
    if phase not in ("prefill", "decode"):
        raise ScenarioError("phase is prefill or decode", where="phase", value=repr(phase))
    for name, chosen in (("precision", precision), ("kv_precision", kv_precision)):
        if chosen is not None and chosen not in get_args(Precision):
            raise UnknownNameError.of("precision", chosen, get_args(Precision), where=name)
    catalog = catalog_of(catalog)
    software = catalog.runtime(runtime or "vllm-2026", where="runtime")
    shortcuts = Shortcuts(
        prefix_cached,
        software.tokens_per_step if tokens_per_step is None else tokens_per_step,
        software.draft_tokens if draft_tokens is None else draft_tokens,
    )
    serving = Serving(catalog.llm(model, where="model"), software, precision, kv_precision)
    machine_entry = catalog.machine(machine, where="machine")
    degree = tensor_parallel
    if degree is None:
        degree = machine_entry.n_accelerators // (pipeline_parallel * attention_data_parallel)
        degree = 2 ** (max(degree, 1).bit_length() - 1)
        while degree > 1 and not serving.llm.divides_heads(degree):
            degree //= 2
    layout = make_layout(
        machine_entry, serving, max(degree, 1), pipeline_parallel, expert_parallel, attention_data_parallel
    )
    check_degrees(serving.llm, layout)
    configuration = configure(catalog, machine_entry, serving, layout)
    stated = stated_error(serving.llm, configuration.accelerator, serving.runtime, layout, phase)
    roofline = RooflineLatency(
        serving.llm, machine_entry, configuration.accelerator, serving.runtime, layout, shortcuts.draft_tokens
    )
    if phase == "prefill":
        step = without_cached(prefill_batch(tokens, batch), shortcuts.prefix_cached)
    else:
        step = decode_batch(batch, tokens)
    device_s = float(roofline.step_time_s(step))
    drafting_s = shortcuts.draft_tokens * draft_share(serving.llm) * device_s if phase == "decode" else 0.0
    latency_s = device_s + drafting_s
    costs = roofline.operators(step)
    # A power cap stretches the whole step; the operators keep their proportions.
    stretch = device_s / sum(float(np.max(c.time_s)) for c in costs)
    bandwidth = configuration.accelerator.memory_bandwidth_bytes_per_s
    rows = [_share(c, stretch, latency_s, bandwidth) for c in costs if float(np.max(c.time_s)) > 0]
    by_bound: dict[str, float] = {}
    for row in rows:
        by_bound[row.bound] = by_bound.get(row.bound, 0.0) + row.time_s
    compute, memory = roofline.utilisation(step)
    if drafting_s:
        rows.append(_drafting(drafting_s, latency_s, max(by_bound, key=lambda name: by_bound[name])))
    done = float(batch * tokens) if phase == "prefill" else batch * shortcuts.tokens_per_step
    fit = memory_fit(
        serving.llm, configuration.accelerator, serving.runtime, layout, draft_layers(serving.llm, shortcuts)
    )
    return Estimate(
        model=model,
        machine=machine,
        runtime=serving.runtime.name,
        phase=phase,
        batch=batch,
        tokens=tokens,
        precision=layout.precision,
        layout=layout.label,
        latency_s=latency_s,
        bound=max(sorted(by_bound), key=lambda name: by_bound[name]),  # type: ignore[arg-type]
        breakdown=rows,
        tokens_per_s=done * layout.pipeline_parallel / latency_s,
        compute_utilisation=float(compute),
        memory_utilisation=float(memory),
        prefix_cached=shortcuts.prefix_cached,
        draft_tokens=shortcuts.draft_tokens,
        tokens_per_step=shortcuts.tokens_per_step,
        time_per_token_s=latency_s / shortcuts.tokens_per_step if phase == "decode" else None,
        roofs=[RoofLimit(name=r.name, peak=r.peak, achieved=r.achieved) for r in roofline.roofs()],
        resident_tokens=fit.resident_tokens / kv_share(serving.llm, layout, residency_of(serving.llm, tokens)),
        step_time_error=stated.fraction,
        step_time_basis=stated.basis,
    )


def _drafting(time_s: float, latency_s: float, bound: str) -> OperatorShare:
    """Passes of the draft module, which are small steps and bound by what the step is."""
    return OperatorShare(
        name="drafting", time_s=time_s, share=time_s / latency_s, bound=bound,  # type: ignore[arg-type]
        flop=0.0, bytes=0.0, flop_per_byte=None, flop_per_s=0.0, bytes_per_s=0.0, achieved_fraction=None,
    )  # fmt: skip


def _share(cost: OperatorCost, stretch: float, latency_s: float, bandwidth_bytes_per_s: float) -> OperatorShare:
    time_s, flop, traffic = (float(np.max(x)) for x in (cost.time_s, cost.flop, cost.bytes))
    bound = cost.resource
    if bound == "roofline":
        bound = "compute" if float(np.max(cost.compute_time_s)) >= float(np.max(cost.memory_time_s)) else "memory"
    flop_per_s, bytes_per_s = flop / (time_s * stretch), traffic / (time_s * stretch)
    achieved = None
    if bound == "compute":
        achieved = flop_per_s / cost.peak_flop_per_s
    elif bound == "memory":
        achieved = bytes_per_s / bandwidth_bytes_per_s
    return OperatorShare(
        name=cost.name,
        time_s=time_s * stretch,
        share=time_s * stretch / latency_s,
        bound=bound,  # type: ignore[arg-type]
        flop=flop,
        bytes=traffic,
        flop_per_byte=flop / traffic if traffic > 0 else None,
        flop_per_s=flop_per_s,
        bytes_per_s=bytes_per_s,
        achieved_fraction=achieved,
    )
