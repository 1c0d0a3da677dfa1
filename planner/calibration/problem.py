"""Measurements laid out on the catalog: what each row is of, and what the latency model says it takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.calibration import closed_loop
from planner.calibration.hardware import is_machine, machine_for, model_named
from planner.calibration.kernels import ALL_REDUCE, GEMM, WEIGHT_STREAMING, kernel_time_s, twin
from planner.calibration.measurements import KernelMeasurement, Measurements, ServingMeasurement, Setup, StepMeasurement
from planner.calibration.parameters import ideal, without_host
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Accelerator, Efficiency, Llm, Machine, Precision, Runtime
from planner.errors import ScenarioError, UnknownNameError
from planner.latency.batch import Batch, decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.rates import compute_precision, link_bytes_per_s
from planner.latency.roofline import RooflineLatency
from planner.latency.stated import error_precision, family_of, kind_of_layout
from planner.units import format_time

Floats = NDArray[np.float64]

# Standard deviation of one row around the model, in the logarithm: scatter and what the model leaves out.
STEP_SD, SERVING_SD, KERNEL_SD = 0.05, 0.10, 0.10
TPOT = "tpot"
_NOT_BOUND = ("elementwise", "quantise")  # operators that a good runtime fuses away


@dataclass(frozen=True)
class FitDefaults:
    """What the caller says about measurements whose files do not."""

    model: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    expert_parallel: int | None = None
    precision: Precision | None = None
    kv_precision: Precision | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the fit: the median of equal measurements.

    Attributes
    ----------
    phase : str
        `prefill`, `decode`, `tpot` or the kind of a kernel.
    label, source, column : str
        For people.
    measured_s, sd : float
        Latency [s] and its standard deviation in the logarithm.
    model, tensor_parallel : str, int
        Groups to hold out by; empty and 0 for kernels.
    """

    phase: str
    label: str
    source: str
    column: str
    measured_s: float
    sd: float
    model: str = ""
    tensor_parallel: int = 0


@dataclass(eq=False)
class _Group:
    """Rows of one model in one layout."""

    llm: Llm
    layout: Layout
    steps: list[tuple[int, StepMeasurement]] = field(default_factory=list)
    servings: list[tuple[int, ServingMeasurement]] = field(default_factory=list)

    @cached_property
    def batch(self) -> Batch:
        """All steps; asked for once they are all there."""
        return _batch(m for _, m in self.steps)


class FitProblem:
    """Rows and their predictions.

    Parameters
    ----------
    catalog : Catalog
    measurements : Measurements
    runtime : Runtime
        The base of the fit.
    machine : Machine or None
        What it was measured on; None takes what the files say.
    defaults : FitDefaults
    device_only : bool
        The step times are sums of kernels, without host time.

    Raises
    ------
    ScenarioError
        The hardware, the model or the tensor degree is not known, or hardware is mixed.
    UnknownNameError
        A model or machine that is not in the catalog.
    """

    def __init__(
        self,
        catalog: Catalog,
        measurements: Measurements,
        runtime: Runtime,
        machine: Machine | None,
        defaults: FitDefaults,
        *,
        device_only: bool = False,
    ) -> None:
        self._catalog, self._runtime, self._defaults = catalog, runtime, defaults
        self._device_only = device_only
        self.notes: list[str] = list(measurements.notes)
        every: list[StepMeasurement | ServingMeasurement | KernelMeasurement] = [
            *measurements.steps,
            *measurements.servings,
            *measurements.kernels,
        ]
        self.machine: Machine = machine or self._named_machine(every)
        self.accelerator: Accelerator = catalog.accelerator_of(self.machine)
        self.rows: list[Row] = []
        self._groups: dict[tuple[str, Layout], _Group] = {}
        self._kernels: list[tuple[int, KernelMeasurement, str]] = []
        steps = self._of_machine(measurements.steps)
        servings = self._of_machine(measurements.servings)
        kernels = self._of_machine(measurements.kernels)
        self._warn_of_skipped(every, len(steps) + len(servings) + len(kernels))
        self._add_steps(steps)
        self._add_servings(servings)
        self._add_kernels(kernels)
        self.measured_s: Floats = np.array([row.measured_s for row in self.rows])
        self.sd: Floats = np.array([row.sd for row in self.rows])

    # -- predictions -------------------------------------------------------------------------------------------

    def predict_s(self, efficiency: Efficiency) -> Floats:
        """Latency of every row at given efficiencies [s]."""
        found = np.empty(len(self.rows))
        for group in self._groups.values():
            if group.steps:
                numbers = [i for i, _ in group.steps]
                shown = without_host(efficiency) if self._device_only else efficiency
                found[numbers] = self._latency(group, shown).step_time_s(group.batch)
            if group.servings:
                numbers = [i for i, _ in group.servings]
                found[numbers] = _tpot_s(self._latency(group, efficiency), [m for _, m in group.servings])
        for i, kernel, precision in self._kernels:
            found[i] = kernel_time_s(
                kernel.kind, kernel.shape, precision, self.accelerator, efficiency, self._link(kernel)
            )
        return found

    def bounds_s(self, efficiency: Efficiency) -> Floats:
        """Least time that the hardware's peaks allow for every row [s]: all FLOP, or all weights and KV cache."""
        best = ideal(efficiency)
        found = np.empty(len(self.rows))
        for group in self._groups.values():
            latency = self._latency(group, best)
            for i, step in group.steps:
                found[i] = _bound_s(latency, _batch([step]))
            for i, run in group.servings:
                found[i] = _bound_s(latency, decode_batch(1.0, run.input_tokens))
        for i, kernel, precision in self._kernels:
            found[i] = kernel_time_s(kernel.kind, kernel.shape, precision, self.accelerator, best, self._link(kernel))
        return found

    def precisions(self) -> set[str]:
        """Precisions that products of the rows are computed in."""
        found = {compute_precision(g.layout.precision, self.accelerator) for g in self._groups.values()}
        found |= {precision for _, kernel, precision in self._kernels if kernel.kind in (GEMM, WEIGHT_STREAMING)}
        table = {str(p): value for p, value in self._runtime.efficiency(self.accelerator).gemm.items()}
        # bf16 and fp16 are one parameter where the runtime gives them one value, and stand in for each other.
        shared = table.get("bf16") == table.get("fp16")
        return {"bf16" if p == "fp16" and shared else p if p in table else twin(p) for p in found}

    def _latency(self, group: _Group, efficiency: Efficiency) -> RooflineLatency:
        update = {"defaults": efficiency, "architectures": {}, "accelerators": {}, "machines": {}}
        runtime = self._runtime.model_copy(update=update)
        return RooflineLatency(group.llm, self.machine, self.accelerator, runtime, group.layout)

    def kinds(self) -> dict[tuple[str, str, str, str], list[tuple[int, float]]]:
        """Rows of whole steps by family, layout, precision and phase, each with the batch that it is of."""
        found: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
        for group in self._groups.values():
            family, layout = family_of(group.llm), kind_of_layout(group.layout)
            if family is None:
                continue
            precision = error_precision(group.llm, group.layout)
            for i, step in group.steps:
                found.setdefault((family, layout, precision, step.phase), []).append((i, step.batch))
            for i, serving in group.servings:
                found.setdefault((family, layout, precision, "decode"), []).append((i, serving.concurrency or 1.0))
        return found

    def _link(self, kernel: KernelMeasurement) -> float:
        if kernel.kind != ALL_REDUCE:
            return float("inf")
        return link_bytes_per_s(self.machine, self.accelerator, int(kernel.shape["ranks"]))

    # -- hardware ----------------------------------------------------------------------------------------------

    def _named_machine(self, every: list[Any]) -> Machine:
        names = sorted({m.setup.hardware for m in every if m.setup.hardware})
        silent = next((m.setup.source for m in every if not m.setup.hardware), None)
        if silent is not None:
            raise ScenarioError(
                "the file does not say what hardware was measured",
                where=silent,
                rule="hardware is never guessed",
                fix="say it with --machine",
            )
        if len(names) > 1:
            raise ScenarioError(
                "mixed hardware: the rows are of several kinds, and a fit is of one",
                where=every[0].setup.source.rpartition(":")[0],
                value=", ".join(names),
                fix="choose the rows of one with --machine",
            )
        ranks = max([m.setup.tensor_parallel or 1 for m in every if not isinstance(m, KernelMeasurement)] or [1])
        return machine_for(self._catalog, names[0], ranks, every[0].setup.source)

    def _of_machine(self, every: Iterable[Any]) -> list[Any]:
        known: dict[str, bool] = {}

        def same(name: str | None) -> bool:
            if name is None:
                return True
            if name not in known:
                known[name] = is_machine(self._catalog, name, self.machine)
            return known[name]

        return [m for m in every if same(m.setup.hardware)]

    def _warn_of_skipped(self, every: list[Any], n_kept: int) -> None:
        if n_kept == len(every):
            return
        others = sorted({m.setup.hardware for m in every if m.setup.hardware} - {self.machine.name})
        others = [name for name in others if not is_machine(self._catalog, name, self.machine)]
        if n_kept == 0:
            raise ScenarioError(
                f"no row is of {self.machine.name}",
                where="--machine",
                value=f"the rows name {', '.join(others)}",
                fix=f"give the machine they were measured on; {self.machine.name} holds {self.machine.accelerator}",
            )
        self.notes.append(f"{len(every) - n_kept} rows of other hardware left out: {', '.join(others)}")

    # -- rows --------------------------------------------------------------------------------------------------

    def _add_steps(self, steps: list[StepMeasurement]) -> None:
        repeats: dict[tuple[Any, ...], list[StepMeasurement]] = {}
        for step in steps:
            group = self._group(step.setup)
            repeats.setdefault((group.llm.name, group.layout, step.phase, step.batch, step.tokens), []).append(step)
        for (name, layout, *_), same in repeats.items():
            first = same[0]
            size = f"{first.batch:g} x {first.tokens:g}"
            more = f" and {len(same) - 1} more" if len(same) > 1 else ""
            self._groups[name, layout].steps.append((len(self.rows), first))
            self.rows.append(
                Row(
                    phase=first.phase,
                    label=f"{name} {layout.precision} TP{layout.tensor_parallel} {first.phase} {size}",
                    source=first.setup.source + more,
                    column=first.column,
                    measured_s=float(np.median([m.latency_s for m in same])),
                    sd=STEP_SD,
                    model=name,
                    tensor_parallel=layout.tensor_parallel,
                )
            )

    def _add_servings(self, servings: list[ServingMeasurement]) -> None:
        n_unknown = 0
        for run in servings:
            if run.concurrency is None or run.tpot_s is None or run.output_tokens < 2:
                n_unknown += 1
                continue
            group = self._group(run.setup)
            group.servings.append((len(self.rows), run))
            layout = group.layout
            self.rows.append(
                Row(
                    phase=TPOT,
                    label=f"{group.llm.name} {layout.precision} TP{layout.tensor_parallel} TPOT, "
                    f"{run.input_tokens:.0f} + {run.output_tokens:.0f} tokens x {run.concurrency:.3g}",
                    source=run.setup.source,
                    column=run.column,
                    measured_s=run.tpot_s,
                    sd=SERVING_SD,
                    model=group.llm.name,
                    tensor_parallel=layout.tensor_parallel,
                )
            )
        if n_unknown:
            self.notes.append(f"{n_unknown} serving runs left out: concurrency or TPOT unknown, or single tokens")
        if n_unknown < len(servings):
            self.notes.append("serving runs: TTFT is not fitted, it holds queue, network and tokeniser")

    def _add_kernels(self, kernels: list[KernelMeasurement]) -> None:
        repeats: dict[tuple[Any, ...], list[KernelMeasurement]] = {}
        for kernel in kernels:
            precision = kernel.setup.precision or "bf16"
            repeats.setdefault((kernel.kind, precision, *sorted(kernel.shape.items())), []).append(kernel)
        for (kind, precision, *_), same in repeats.items():
            first = same[0]
            self._kernels.append((len(self.rows), first, precision))
            sizes = " ".join(f"{name}={value:g}" for name, value in first.shape.items())
            seconds = float(np.median([m.latency_s for m in same]))
            self.rows.append(
                Row(kind, f"{kind} {precision} {sizes}".rstrip(), first.setup.source, first.column, seconds, KERNEL_SD)
            )

    def _group(self, setup: Setup) -> _Group:
        defaults = self._defaults
        llm = self._llm(setup)
        tensor = setup.tensor_parallel or defaults.tensor_parallel
        if tensor is None:
            raise ScenarioError(
                "the file does not say over how many accelerators the model was divided",
                where=setup.source,
                fix="say it with --tensor-parallel",
            )
        layout = Layout(
            tensor_parallel=tensor,
            pipeline_parallel=setup.pipeline_parallel or defaults.pipeline_parallel or 1,
            expert_parallel=setup.expert_parallel or defaults.expert_parallel or 1,
            precision=setup.precision or defaults.precision or llm.weight_precision,  # type: ignore[arg-type]
            kv_precision=setup.kv_precision or defaults.kv_precision or llm.kv_precision,  # type: ignore[arg-type]
        )
        if layout.accelerators_per_replica > self.machine.n_accelerators:
            raise ScenarioError(
                f"measured on {layout.accelerators_per_replica} accelerators",
                where=setup.source,
                rule=f"{self.machine.name} has {self.machine.n_accelerators}",
                fix="give the machine it was measured on with --machine",
            )
        return self._groups.setdefault((llm.name, layout), _Group(llm, layout))

    def _llm(self, setup: Setup) -> Llm:
        if setup.model is None and self._defaults.model is None:
            raise ScenarioError("the file does not name the model", where=setup.source, fix="say it with --model")
        if self._defaults.model is None or setup.model is None:
            return model_named(self._catalog, setup.model or self._defaults.model or "", setup.source)
        try:
            return model_named(self._catalog, setup.model, setup.source)
        except UnknownNameError:
            # A path or an alias that only the caller can read.
            return model_named(self._catalog, self._defaults.model, "--model")


def _batch(steps: Iterable[StepMeasurement]) -> Batch:
    """Rows of both phases as one array of batches."""
    every = list(steps)
    n, tokens = np.array([m.batch for m in every]), np.array([m.tokens for m in every])
    prefill = np.array([m.phase == "prefill" for m in every])
    first = prefill_batch(np.where(prefill, tokens, 0.0), np.where(prefill, n, 0.0))
    second = decode_batch(np.where(prefill, 0.0, n), np.where(prefill, 0.0, tokens))
    return Batch(
        first.prompt_tokens,
        first.attention_pairs,
        first.n_prompts,
        second.decode_sequences,
        second.context_tokens,
    )


def _tpot_s(latency: RooflineLatency, runs: list[ServingMeasurement]) -> Floats:
    n, s, m = (np.array([getattr(r, name) for r in runs]) for name in ("concurrency", "input_tokens", "output_tokens"))
    apart = np.array([r.disaggregated for r in runs])
    # With its TTFT a run says itself how many sequences were decoding, whatever the others waited for.
    known = np.array([r.ttft_s is not None for r in runs])
    ttft = np.array([r.ttft_s or 1.0 for r in runs])
    tpot = np.array([r.tpot_s or 1.0 for r in runs])
    found = closed_loop.tpot_at_s(latency, closed_loop.mean_decoding(n, m, ttft, tpot), s, m, apart)
    if not known.all():
        found = np.where(known, found, closed_loop.tpot_s(latency, n, s, m, apart))
    return found


def _bound_s(latency: RooflineLatency, batch: Batch) -> float:
    costs = [c for c in latency.operators(batch) if c.resource == "roofline" and c.name not in _NOT_BOUND]
    compute_s = sum(float(np.max(c.compute_time_s)) for c in costs)
    memory_s = sum(float(np.max(c.memory_time_s)) for c in costs)
    return max(compute_s, memory_s)


def describe(row: Row) -> str:
    """A row for an error message: what it is of and what was measured."""
    return f"{row.label}: {format_time(row.measured_s)}"
