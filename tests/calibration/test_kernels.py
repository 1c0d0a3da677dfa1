"""Kernels by the equations of the model: what `planner measure` writes gives the efficiencies it was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.calibration import calibrate, read_measurements
from planner.calibration.kernels import SHAPES, kernel_time_s
from planner.calibration.measure import Kernel, Timing, kernels_for, table_text
from planner.catalog.catalog import Catalog
from planner.errors import TraceError
from planner.latency.rates import link_bytes_per_s


def made_table(catalog: Catalog, factor: float = 1.0, unit: str = "latency_us") -> tuple[str, dict[str, float]]:
    """The CSV of an H100 that has other efficiencies than the catalog says."""
    machine = catalog.machine("dgx-h100")
    accelerator = catalog.accelerator_of(machine)
    efficiency = catalog.runtime("vllm-2026").efficiency(accelerator)
    truth = efficiency.model_copy(
        update={
            "gemm": {p: 0.65 for p in efficiency.gemm}, "weight_streaming": 0.8, "prefill_attention": 0.4,
            "decode_attention": 0.7, "kernel_launch_s": 3e-6, "link": 0.95, "all_reduce_alpha_s": 20e-6,
        }
    )  # fmt: skip
    timings = []
    for kernel in kernels_for(catalog.llm("llama-3.1-8b"), 1, ("bf16", "fp8"), n_gpus=8):
        link = link_bytes_per_s(machine, accelerator, kernel.size("ranks")) if kernel.kind == "all-reduce" else 1.0
        seconds = kernel_time_s(kernel.kind, dict(kernel.shape), kernel.precision, accelerator, truth, link)
        timings.append(Timing(kernel, factor * seconds, 0.0, 30))
    text = table_text(timings, "NVIDIA H100 80GB HBM3", ["planner measure: made", "torch 2"])
    expected = {
        "gemm.bf16": 0.65, "gemm.fp8": 0.65, "weight_streaming": 0.8, "prefill_attention": 0.4,
        "decode_attention": 0.7, "kernel_launch": 3e-6, "link": 0.95, "all_reduce_alpha": 20e-6,
    }  # fmt: skip
    return text.replace("latency_us", unit), expected


# Read from published tables (benchmarks/kernel_tables.py), and not timed by `planner measure`.
NOT_TIMED = {"experts", "latent-prefill", "latent-decode", "dispatch", "combine"}


def test_every_kind_of_the_plan_is_one_that_calibrate_reads(catalog: Catalog) -> None:
    kernels = kernels_for(catalog.llm("llama-3.1-8b"), 2, ("bf16",), n_gpus=2)
    assert {k.kind for k in kernels} == set(SHAPES) - NOT_TIMED
    for kernel in kernels:
        assert tuple(name for name, _ in kernel.shape) == SHAPES[kernel.kind]


def test_kernels_give_efficiencies_directly(catalog: Catalog, tmp_path: Path) -> None:
    text, expected = made_table(catalog)
    path = tmp_path / "kernels.csv"
    path.write_text(text)
    found = calibrate(catalog, read_measurements(path), catalog.runtime("vllm-2026"))
    values = {p.path: p for p in found.parameters}
    for name, value in expected.items():
        # Beside direct all-reduces the ring shows in the largest messages only.
        assert values[name].value == pytest.approx(value, rel=0.15 if name == "all_reduce_alpha" else 0.06), name
    assert values["layer_overhead"].status == "not identified" if "layer_overhead" in values else True
    assert values["step_overhead"].status == "not identified", "kernels say nothing of the host"
    assert found.accelerator == "h100-sxm", "the driver's name says what it is"
    base = catalog.runtime("vllm-2026").efficiency(catalog.accelerator("h100-sxm"))
    assert found.step_time_error >= base.step_time_error, "kernels say nothing of whole steps"


def test_units_of_kernels(catalog: Catalog, tmp_path: Path) -> None:
    text, _ = made_table(catalog, unit="latency_ms")  # microseconds in a column of milliseconds
    path = tmp_path / "kernels.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match="read as milliseconds but look like microseconds"):
        calibrate(catalog, read_measurements(path), catalog.runtime("vllm-2026"))


def test_a_kernel_faster_than_the_peak(catalog: Catalog, tmp_path: Path) -> None:
    text, _ = made_table(catalog)
    row = next(line for line in text.splitlines() if "gemm,bf16,m=8192 n=28672" in line)
    fields = row.split(",")
    fields[4] = "1500"  # 2 * 8192 * 28672 * 4096 FLOP at 989 TFLOP/s take 1946 us
    path = tmp_path / "kernels.csv"
    path.write_text(text.replace(row, ",".join(fields)))
    with pytest.raises(TraceError, match="faster than the hardware's peak") as caught:
        calibrate(catalog, read_measurements(path), catalog.runtime("vllm-2026"))
    assert "at least 1.95 ms" in str(caught.value.rule)


@pytest.mark.parametrize("shape", ["m=1 n=2", "m=1 n=2 k=x", "m 1 n 2 k 3", "m=1 n=2 k=3 l=4"])
def test_bad_shapes(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "k.csv"
    path.write_text(f"machine,kind,precision,shape,latency_us\nh100-sxm,gemm,bf16,{shape},3\n")
    with pytest.raises(TraceError):
        read_measurements(path)
    path.write_text("machine,kind,precision,shape,latency_us\nh100-sxm,gemmm,bf16,m=1,3\n")
    with pytest.raises(TraceError) as caught:
        read_measurements(path)
    assert caught.value.suggestions == ["gemm"]


def test_a_kernel_names_its_sizes() -> None:
    assert Kernel("all-reduce", "bf16", (("ranks", 4), ("bytes", 1024))).size("ranks") == 4
