"""Measurements made from known efficiencies, and the data that may lie beside the project."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from planner.calibration import Measurements, StepMeasurement
from planner.calibration.measurements import Setup
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency
from planner.latency.batch import decode_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def data_file() -> Callable[[str], Path]:
    """A file of the data beside the project; the test is skipped where it is not."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"{path} is not there")
        return path

    return find


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog()


def _made_steps(
    catalog: Catalog,
    efficiency: Efficiency,
    *,
    machine: str = "dgx-h100",
    models: tuple[str, ...] = ("llama-3.1-8b",),
    degrees: tuple[int, ...] = (1, 4),
    runtime: str = "vllm-2026",
    noise: float = 0.0,
    seed: int = 0,
) -> Measurements:
    """Steps that take exactly what the model says with `efficiency`, times log-normal noise."""
    rng = np.random.default_rng(seed)
    entry = catalog.machine(machine)
    accelerator = catalog.accelerator_of(entry)
    base = catalog.runtime(runtime)
    made = base.model_copy(update={"defaults": efficiency, "architectures": {}, "accelerators": {}})
    steps = []
    for name in models:
        llm = catalog.llm(name)
        for tp in degrees:
            layout = Layout(tensor_parallel=tp, precision=llm.weight_precision, kv_precision=llm.kv_precision)
            latency = RooflineLatency(llm, entry, accelerator, made, layout)
            points = [("prefill", n, t) for n, t in ((1, 128), (1, 512), (1, 2048), (2, 4096), (1, 8192))]
            points += [("decode", n, c) for n in (1, 8, 32, 128, 256) for c in (512, 4096)]
            for line, (phase, n, tokens) in enumerate(points):
                batch = prefill_batch(tokens, n) if phase == "prefill" else decode_batch(n, tokens)
                seconds = float(latency.step_time_s(batch)) * float(np.exp(rng.normal(0.0, noise)))
                setup = Setup(name, machine, tp, None, None, None, None, f"made-{name}.csv:{100 * tp + line}")
                steps.append(StepMeasurement(setup, phase, n, tokens, seconds, "latency_ms (ms)"))  # type: ignore[arg-type]
    return Measurements(steps=tuple(steps), files=("made.csv",))


@pytest.fixture
def made_steps(catalog: Catalog) -> Callable[..., Measurements]:
    """Make measurements from efficiencies: `made_steps(efficiency, ...)`."""
    return partial(_made_steps, catalog)
