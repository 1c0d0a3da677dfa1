"""Step times are monotone over the whole catalog: faster parts never slow a step, more work never speeds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Accelerator, Llm, Machine, Precision, Runtime
from planner.errors import CatalogError
from planner.latency.batch import Batch, decode_batch, mixed_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency

CATALOG = Catalog.default()
MODELS = sorted(CATALOG.names(Llm))
MACHINES = sorted(CATALOG.names(Machine))
RUNTIMES = sorted(CATALOG.names(Runtime))
PRECISIONS: list[Precision | None] = [None, "bf16", "fp8", "fp4", "int4", "mxfp4"]  # None: as the model is published
SLACK = 1 + 1e-9  # rounding of sums

LAYOUTS = [(1, 1, False), (2, 1, False), (2, 2, False), (4, 1, True), (8, 1, False), (8, 1, True)]


def roofline(
    model: str,
    machine: Machine,
    accelerator: Accelerator,
    runtime: str,
    degrees: tuple[int, int, bool],
    precision: Precision | None = None,
) -> RooflineLatency:
    llm = CATALOG.llm(model)
    tp, pp, spread = degrees
    layout = Layout(
        tensor_parallel=tp,
        pipeline_parallel=pp,
        expert_parallel=tp if spread and llm.experts else 1,
        precision=precision or llm.weight_precision,
        kv_precision=llm.kv_precision,
    )
    return RooflineLatency(llm, machine, accelerator, CATALOG.runtime(runtime), layout)


Case = tuple[str, str, str, tuple[int, int, bool], Precision | None]


@st.composite
def steps(draw: st.DrawFn) -> Case:
    return (
        draw(st.sampled_from(MODELS)),
        draw(st.sampled_from(MACHINES)),
        draw(st.sampled_from(RUNTIMES)),
        draw(st.sampled_from(LAYOUTS)),
        draw(st.sampled_from(PRECISIONS)),
    )


def build(case: Case, **faster: float) -> RooflineLatency:
    model, name, runtime, degrees, precision = case
    machine = CATALOG.machine(name)
    accelerator = CATALOG.accelerator_of(machine)
    update: dict[str, Any] = {}
    if "bandwidth" in faster:
        update["memory_bandwidth_bytes_per_s"] = accelerator.memory_bandwidth_bytes_per_s * faster["bandwidth"]
    if "compute" in faster:
        update["peak"] = {k: v * faster["compute"] for k, v in accelerator.peak.items()}
    if "link" in faster:
        link = machine.scale_up or accelerator.scale_up
        assert link is not None
        wider = {"bandwidth_bytes_per_s": link.bandwidth_bytes_per_s * faster["link"]}
        if link.pcie_bandwidth_bytes_per_s:
            wider["pcie_bandwidth_bytes_per_s"] = link.pcie_bandwidth_bytes_per_s * faster["link"]
        machine = machine.model_copy(update={"scale_up": link.model_copy(update=wider)})
    return roofline(model, machine, accelerator.model_copy(update=update), runtime, degrees, precision)


def can_be_built(case: Case) -> bool:
    """Whether the chip computes in that precision and its ranks have a link."""
    try:
        build(case)
    except CatalogError:
        return False
    return True


work = st.tuples(st.integers(1, 9000), st.integers(1, 8), st.integers(0, 300), st.integers(1, 20_000))


@settings(max_examples=250, deadline=None)
@given(steps(), work, st.sampled_from(["bandwidth", "compute", "link"]), st.floats(1.0, 8.0))
def test_faster_parts_never_slow_a_step(case: Case, size: tuple[int, int, int, int], part: str, factor: float) -> None:
    tokens, prompts, sequences, context = size
    if not can_be_built(case):
        return
    for batch in (prefill_batch(tokens, prompts), decode_batch(sequences + 1, context), mixed_batch(*size)):
        slow, fast = build(case).step_time_s(batch), build(case, **{part: factor}).step_time_s(batch)
        assert np.isfinite(slow) and slow > 0
        assert fast <= slow * SLACK


@settings(max_examples=250, deadline=None)
@given(steps(), work, st.integers(1, 5000))
def test_more_work_never_speeds_a_step(case: Case, size: tuple[int, int, int, int], more: int) -> None:
    if not can_be_built(case):
        return
    step = build(case)
    tokens, prompts, sequences, context = size
    cached = more / 2

    def longer(less: Batch, greater: Batch) -> None:
        assert step.step_time_s(less) <= step.step_time_s(greater) * SLACK

    longer(prefill_batch(tokens, prompts), prefill_batch(tokens + more, prompts))
    longer(prefill_batch(tokens, prompts), prefill_batch(tokens, prompts + 1))
    longer(prefill_batch(tokens, prompts), prefill_batch(tokens, prompts, cached))
    longer(decode_batch(sequences + 1, context), decode_batch(sequences + 2, context))
    longer(decode_batch(sequences + 1, context), decode_batch(sequences + 1, context + more))
    longer(decode_batch(sequences + 1, context), mixed_batch(tokens, prompts, sequences + 1, context))
    longer(mixed_batch(tokens, prompts, sequences, context), mixed_batch(tokens, prompts, sequences + 1, context))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_step_time_on_every_machine(model: str) -> None:
    batch = mixed_batch([0.0, 100.0, 3000.0], 1.0, [5.0, 0.0, 40.0], 500.0)
    for name in CATALOG.names(Machine):
        machine = CATALOG.machine(name)
        try:
            step = roofline(model, machine, CATALOG.accelerator_of(machine), "vllm-2026", (1, 1, False))
        except CatalogError:
            continue
        times = step.step_time_s(batch)
        assert times.shape == (3,) and np.all(np.isfinite(times)) and np.all(times > 0)


def test_arrays_give_what_single_steps_give_across_chunks() -> None:
    for model in ("gpt-oss-120b", "deepseek-v3", "llama-3.1-8b"):
        step = build((model, "dgx-h100", "vllm-2026", (8, 1, False), None))
        rng = np.random.default_rng(3)
        n, c = rng.integers(1, 200, 20_000), rng.integers(1, 9000, 20_000)
        together = step.step_time_s(decode_batch(n, c))
        for i in (0, 8191, 8192, 19_999):
            np.testing.assert_allclose(together[i], step.step_time_s(decode_batch(n[i], c[i])), rtol=1e-12)
        grid = step.step_time_s(decode_batch(n[:150, None], c[None, :150]))
        assert grid.shape == (150, 150)
        np.testing.assert_allclose(grid[7, 9], step.step_time_s(decode_batch(n[7], c[9])), rtol=1e-12)
