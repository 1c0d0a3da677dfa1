"""Draw of accelerators against published tables (benchmarks/power_tables.csv), with the catalog's values."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.latency.batch import mixed_batch
from planner.latency.layout import Layout
from planner.latency.power import step_power_w
from planner.latency.roofline import RooflineLatency

TABLES = Path(__file__).parents[2] / "benchmarks" / "power_tables.csv"
CATALOG = Catalog.default()


def _error(row: dict[str, str]) -> float:
    machine = CATALOG.machine(row["machine"])
    accelerator, runtime = CATALOG.accelerator_of(machine), CATALOG.runtime("vllm-2026")
    precision = row["precision"]
    layout = Layout(
        tensor_parallel=int(row["accelerators"]), expert_parallel=int(row["expert_parallel"]),
        precision=precision, kv_precision="fp16" if precision == "fp16" else "bf16",  # type: ignore[arg-type]
    )  # fmt: skip
    step = RooflineLatency(CATALOG.llm(row["model"]), machine, accelerator, runtime, layout)
    n, prompt, output = float(row["batch"]), float(row["prompt_tokens"] or 200.0), float(row["output_tokens"])
    batch = mixed_batch(prompt, n / output, n, prompt + output / 2.0)
    return step_power_w(step, batch, accelerator, runtime.efficiency(accelerator)) / float(row["power_w"]) - 1.0


@pytest.mark.parametrize("machine", ["dgx-a100", "dgx-h100", "dgx-h200", "dgx-b200", "8x-mi300x"])
def test_draw_is_within_what_it_states(machine: str) -> None:
    with TABLES.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["machine"] == machine and r["phase"] == "serving" and r["power_w"]]
    errors = np.abs([_error(row) for row in rows])
    stated = CATALOG.runtime("vllm-2026").efficiency(CATALOG.accelerator_of(machine)).power_error
    assert np.median(errors) <= 0.15
    assert np.mean(errors <= stated) >= 0.8 or len(errors) < 5
