"""One step or one request: what the roofline says, operator by operator."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Precision
from planner.errors import ScenarioError, UnknownNameError
from planner.fleet.configuration import Serving, check_degrees, configure, make_layout
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.memory import memory_fit
from planner.latency.roofline import OperatorCost, RooflineLatency


class OperatorShare(BaseModel):
    """One operator's part of a step."""

    model_config = ConfigDict(frozen=True)

    name: str
    time_s: float
    share: float = Field(description="Of the step.")
    bound: Literal["compute", "memory", "network", "overhead"]
    flop: float = Field(description="On one rank [FLOP].")
    bytes: float = Field(description="Memory traffic of one rank [bytes].")
    flop_per_byte: float | None = Field(description="Arithmetic intensity; null without memory traffic.")


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
    bound: Literal["compute", "memory", "network", "overhead"] = Field(description="What takes most of the step.")
    breakdown: list[OperatorShare]
    tokens_per_s: float = Field(description="Of one replica: prompt tokens computed, or tokens generated [1/s].")
    compute_utilisation: float
    memory_utilisation: float
    resident_tokens: float = Field(description="KV-cache tokens that one replica holds.")
    step_time_error: float = Field(description="Stated relative error.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict an operator."""
        head = self.model_dump(exclude={"breakdown"})
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
    precision: Precision | None = None,
    kv_precision: Precision | None = None,
    runtime: str | None = None,
    catalog: Catalog | None = None,
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
    tensor_parallel, pipeline_parallel, expert_parallel : int
        Left out, the tensor degree is that of the whole machine.
    precision, kv_precision : str, optional
        Of weights and KV cache; as the model's file says if left out.
    runtime : str, optional
        Default `vllm-2026`.
    catalog : Catalog, optional
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
    degrees = {"pipeline_parallel": pipeline_parallel, "expert_parallel": expert_parallel}
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
    catalog = catalog or Catalog.default()
    software = catalog.runtime(runtime or "vllm-2026", where="runtime")
    serving = Serving(catalog.llm(model, where="model"), software, precision, kv_precision)
    machine_entry = catalog.machine(machine, where="machine")
    degree = tensor_parallel
    if degree is None:
        degree = 2 ** (machine_entry.n_accelerators.bit_length() - 1) // pipeline_parallel
        while degree > 1 and serving.llm.attention.n_heads % degree:
            degree //= 2
    layout = make_layout(machine_entry, serving, max(degree, 1), pipeline_parallel, expert_parallel)
    check_degrees(serving.llm, layout)
    configuration = configure(catalog, machine_entry, serving, layout)
    roofline = RooflineLatency(
        serving.llm, machine_entry, configuration.accelerator, serving.runtime, configuration.layout
    )
    step = prefill_batch(tokens, batch) if phase == "prefill" else decode_batch(batch, tokens)
    latency_s = float(roofline.step_time_s(step))
    costs = roofline.operators(step)
    # A power cap stretches the whole step; the operators keep their proportions.
    stretch = latency_s / sum(float(np.max(c.time_s)) for c in costs)
    rows = [_share(c, stretch, latency_s) for c in costs if float(np.max(c.time_s)) > 0]
    by_bound: dict[str, float] = {}
    for row in rows:
        by_bound[row.bound] = by_bound.get(row.bound, 0.0) + row.time_s
    compute, memory = roofline.utilisation(step)
    done = batch * tokens if phase == "prefill" else batch
    fit = memory_fit(serving.llm, configuration.accelerator, serving.runtime, layout)
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
        resident_tokens=fit.resident_tokens,
        step_time_error=configuration.step_time_error,
    )


def _share(cost: OperatorCost, stretch: float, latency_s: float) -> OperatorShare:
    time_s, flop, traffic = (float(np.max(x)) for x in (cost.time_s, cost.flop, cost.bytes))
    bound = cost.resource
    if bound == "roofline":
        bound = "compute" if float(np.max(cost.compute_time_s)) >= float(np.max(cost.memory_time_s)) else "memory"
    return OperatorShare(
        name=cost.name,
        time_s=time_s * stretch,
        share=time_s * stretch / latency_s,
        bound=bound,  # type: ignore[arg-type]
        flop=flop,
        bytes=traffic,
        flop_per_byte=flop / traffic if traffic > 0 else None,
    )
