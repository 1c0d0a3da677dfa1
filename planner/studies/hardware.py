"""Which machines can serve a model, how, and why not: the question before any plan.

A machine can serve where `configurations_of` finds a layout; plans are made of the same layouts, so both agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.catalog.schema import PRECISION_BYTES, Llm, Machine, Precision
from planner.errors import InfeasibleError, UnknownNameError
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.memory import memory_fit
from planner.pools.configuration import Configuration, Serving, configurations_of, make_layout
from planner.scenario.opened import CatalogLike, catalog_of

_CONTEXT_TOKENS = 1024.0  # of the step times shown


class Instead(BaseModel):
    """Something else that the machine can serve."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["precision", "model"] = Field(description="Lower precision, or a smaller model of the same family.")
    model: str
    precision: str
    layout: str


class MachineFit(BaseModel):
    """Whether one machine can serve the model."""

    model_config = ConfigDict(frozen=True)

    machine: str
    accelerator: str
    n_accelerators: int
    site: str
    usd_per_hour: float | None = Field(description="Null: no price book lists it, so plans by cost leave it out.")
    fits: bool
    layouts: list[str] = Field(description="Every layout that fits: replicas x degrees; fewest accelerators first.")
    accelerators_per_replica: int = Field(
        description="Accelerators of the layout whose bytes are told: the least that fits."
    )
    tensor_parallel: int
    pipeline_parallel: int
    needed_bytes: float = Field(
        description="Memory needed by one replica: weights, activations and reserve, before any KV cache."
    )
    weight_bytes: float
    available_bytes: float = Field(description="Memory of the replica's accelerators.")
    kv_tokens: float = Field(description="KV-cache tokens that a replica of that layout holds; 0 if none fits.")
    decode_step_s: float | None = Field(
        description="Decode step of one sequence, 1,024 tokens of context, in the quickest layout."
    )
    prefill_s: float | None = Field(description="A prompt of 1,024 tokens in the quickest layout.")
    step_time_error: float | None = Field(description="Error, stated and relative, of these times.")
    measured: bool = Field(description="Whether the runtime was measured on this accelerator.")
    reason: str | None = Field(description="Reason why it cannot serve, as plans say it.")
    instead: list[Instead] = Field(description="Models it can serve instead; empty where it fits, or nothing does.")


class HardwareFit(BaseModel):
    """Which machines of the catalog can serve a model."""

    model_config = ConfigDict(frozen=True)

    planner_version: str
    catalog_digest: str
    model: str
    runtime: str
    precision: str
    kv_precision: str
    machines: list[MachineFit] = Field(description="Those that fit first; then by name.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a machine."""
        head = {"model": self.model, "runtime": self.runtime, "precision": self.precision}
        rows = []
        for m in self.machines:
            row = m.model_dump(exclude={"layouts", "instead"})
            row["layouts"] = ", ".join(m.layouts)
            row["instead"] = "; ".join(describe(i, self.model) for i in m.instead)
            rows.append(head | row)
        return rows


def describe(instead: Instead, model: str) -> str:
    """`in fp8 as 1 x TP8`, or `llama-3.1-8b (bf16) as 4 x TP2`."""
    if instead.model == model:
        return f"in {instead.precision} as {instead.layout}"
    return f"{instead.model} ({instead.precision}) as {instead.layout}"


def hardware_fit(
    model: str = "llama-3.1-70b",
    machines: Sequence[str] = (),
    *,
    precision: Precision | None = None,
    kv_precision: Precision | None = None,
    runtime: str | None = None,
    catalog: CatalogLike = None,
) -> HardwareFit:
    """Say for every machine whether it can serve a model, how, and why not.

    Parameters
    ----------
    model : str
        Of the catalog.
    machines : sequence of str
        Left out: every machine of the catalog.
    precision, kv_precision : str, optional
        Of weights and KV cache; as the model's file says if left out.
    runtime : str, optional
        Default `vllm-2026`.
    catalog : Catalog, or path of an overlay folder, or several, optional
        Left out: the built-in one under PLANNER_CATALOG.

    Returns
    -------
    HardwareFit

    Raises
    ------
    InputError
        An unknown name.
    """
    for name, wanted in (("precision", precision), ("kv_precision", kv_precision)):
        if wanted is not None and wanted not in get_args(Precision):
            raise UnknownNameError.of("precision", wanted, get_args(Precision), where=name)
    catalog = catalog_of(catalog)
    llm = catalog.llm(model, where="model")
    software = catalog.runtime(runtime or "vllm-2026", where="runtime")
    serving = Serving(llm, software, precision, kv_precision)
    names = list(dict.fromkeys(machines)) or catalog.names(Machine)
    chosen = [catalog.machine(name, where="machine") for name in names]
    family = smaller_models(catalog, llm)
    rows = [_fit(catalog, machine, serving, family) for machine in chosen]
    return HardwareFit(
        planner_version=__version__,
        catalog_digest=catalog.digest()[:16],
        model=model,
        runtime=software.name,
        precision=precision or llm.weight_precision,
        kv_precision=kv_precision or llm.kv_precision,
        machines=sorted(rows, key=lambda row: (not row.fits, row.machine)),
    )


def smaller_models(catalog: Catalog, llm: Llm) -> list[Llm]:
    """Models of the same family with fewer parameters, the largest first.

    A family are the models of the catalog whose names differ in their sizes only: llama-3.1-8b, -70b and -405b.
    """
    others = [catalog.llm(name) for name in catalog.names(Llm) if _family(name) == _family(llm.name)]
    return sorted((o for o in others if o.n_parameters < llm.n_parameters), key=lambda o: (-o.n_parameters, o.name))


def _family(name: str) -> str:
    return re.sub(r"-\d+(\.\d+)?b(-a\d+(\.\d+)?b)?\b", "", name)


def _fit(catalog: Catalog, machine: Machine, serving: Serving, family: Sequence[Llm]) -> MachineFit:
    found, rejected = configurations_of(catalog, machine, serving)
    accelerator = catalog.accelerator_of(machine)
    price = catalog.price_of(machine.name)
    if found:
        least = min(found, key=lambda c: (c.layout.accelerators_per_replica, c.layout.pipeline_parallel, c.label))
        layout, tokens, reason = least.layout, least.lane.kv_tokens * least.layout.pipeline_parallel, None
    else:
        degree = 2 ** (machine.n_accelerators.bit_length() - 1)
        layout, tokens = make_layout(machine, serving, degree), 0.0
        error = rejected[0].error
        reason = f"{error.what}: {error.value}" if error.value else error.what
    fit = memory_fit(serving.llm, accelerator, serving.runtime, layout)
    n = layout.accelerators_per_replica
    decode, prefill = _times(found)
    return MachineFit(
        machine=machine.name,
        accelerator=accelerator.name,
        n_accelerators=machine.n_accelerators,
        site=machine.site,
        usd_per_hour=price.usd_per_hour if price else None,
        fits=bool(found),
        layouts=[c.layout.label for c in sorted(found, key=lambda c: (c.layout.accelerators_per_replica, c.label))],
        accelerators_per_replica=n,
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        needed_bytes=fit.needed_bytes * n,
        weight_bytes=fit.weight_bytes * n,
        available_bytes=fit.capacity_bytes * n,
        kv_tokens=tokens,
        decode_step_s=decode,
        prefill_s=prefill,
        step_time_error=max((c.step_time_error for c in found), default=None),
        measured=serving.runtime.is_measured_on(accelerator),
        reason=reason,
        instead=[] if found else _instead(catalog, machine, serving, family),
    )


def _times(found: Sequence[Configuration]) -> tuple[float | None, float | None]:
    """Quickest decode step and prefill over the layouts [s]."""
    if not found:
        return None, None
    decode, prefill = decode_batch(1.0, _CONTEXT_TOKENS), prefill_batch(_CONTEXT_TOKENS)
    return (
        min(float(c.lane.step.step_time_s(decode)) for c in found),
        min(float(c.lane.step.step_time_s(prefill)) for c in found),
    )


def _instead(catalog: Catalog, machine: Machine, serving: Serving, family: Sequence[Llm]) -> list[Instead]:
    """The highest precision that fits, and the largest smaller model of the family in its own precision."""
    llm, accelerator = serving.llm, catalog.accelerator_of(machine)
    wanted = serving.precision or llm.weight_precision
    other = [p for p in accelerator.peak if p != wanted and PRECISION_BYTES[p] <= PRECISION_BYTES[wanted]]
    other.sort(key=lambda p: (-PRECISION_BYTES[p], p))
    ways: list[Instead] = []
    for precision in other:
        layout = _layout(catalog, machine, Serving(llm, serving.runtime, precision, serving.kv_precision))
        if layout is not None:
            ways.append(Instead(kind="precision", model=llm.name, precision=precision, layout=layout))
            break
    for model in family:
        for precision in (model.weight_precision, *other):
            layout = _layout(catalog, machine, Serving(model, serving.runtime, precision, serving.kv_precision))
            if layout is not None:
                ways.append(Instead(kind="model", model=model.name, precision=precision, layout=layout))
                return ways
    return ways


def _layout(catalog: Catalog, machine: Machine, serving: Serving) -> str | None:
    """The layout of fewest accelerators that fits, or None."""
    try:
        found, _ = configurations_of(catalog, machine, serving)
    except InfeasibleError:
        return None
    best = min(found, key=lambda c: (c.layout.accelerators_per_replica, c.label), default=None)
    return None if best is None else best.layout.label
