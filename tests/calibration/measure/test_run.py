"""The timing of kernels, on the processor: the logic is that of a GPU, the figures mean nothing.

Needs torch (its CPU build will do) and is skipped without it.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from planner.calibration import read_measurements
from planner.calibration.measure import Kernel, measure_kernels, require_gpu, table_text
from planner.calibration.measure.timing import Clock
from planner.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.filterwarnings("default")

SIZES = (("heads", 4), ("kv_heads", 2), ("head_dim", 16))
SMALL = [
    Kernel("launch", "bf16", ()),
    Kernel("gemm", "bf16", (("m", 64), ("n", 96), ("k", 32))),
    Kernel("weight-streaming", "fp16", (("m", 1), ("n", 96), ("k", 32))),
    Kernel("prefill-attention", "bf16", (("batch", 1), ("tokens", 32), *SIZES)),
    Kernel("decode-attention", "bf16", (("batch", 2), ("context", 64), *SIZES)),
]


def test_every_kind_is_timed_and_read_back(tmp_path: Path) -> None:
    timings, notes = measure_kernels(SMALL, "cpu", budget_s=20.0, flush_bytes=2**16)
    assert [t.kernel for t in timings] == SMALL and notes == []
    assert all(0 < t.latency_s < 1 and t.n_calls >= 7 and t.spread_s >= 0 for t in timings)
    path = tmp_path / "kernels.csv"
    path.write_text(table_text(timings, "dgx-h100", ["about"]))
    kernels = read_measurements(path).kernels
    assert [k.kind for k in kernels] == [k.kind for k in SMALL]
    assert [k.latency_s for k in kernels] == pytest.approx([t.latency_s for t in timings], rel=1e-5)


def test_a_launch_is_one_of_many() -> None:
    (timing,), _ = measure_kernels(SMALL[:1], "cpu", budget_s=5.0, flush_bytes=0)
    assert timing.latency_s < 50e-6, "the time of one, not of the whole chain"


def test_what_the_device_cannot_do_is_said_once() -> None:
    kernels = [Kernel("gemm", "fp4", (("m", m), ("n", 64), ("k", 64))) for m in (16, 32)]
    timings, notes = measure_kernels([*kernels, SMALL[1]], "cpu", budget_s=5.0, flush_bytes=0)
    assert len(timings) == 1
    assert notes == ["gemm in fp4 left out: no product of torch in this precision"]


def test_the_budget_is_kept() -> None:
    started = time.monotonic()
    timings, notes = measure_kernels(SMALL * 200, "cpu", budget_s=0.5, flush_bytes=0)
    assert time.monotonic() - started < 5.0
    assert "the budget of 0 s is spent" in notes[-1] and len(timings) < 1000


def test_more_work_takes_longer() -> None:
    small, large = (Kernel("gemm", "bf16", (("m", m), ("n", 512), ("k", 512))) for m in (8, 4096))
    timings, _ = measure_kernels([small, large], "cpu", budget_s=10.0, flush_bytes=0)
    assert timings[1].latency_s > 3 * timings[0].latency_s


def test_the_clock_takes_the_median() -> None:
    calls = iter(range(10_000))

    def sometimes_slow() -> None:
        time.sleep(0.02 if next(calls) % 5 == 0 else 0.001)

    median_s, _, n = Clock("cpu", 0).time_s(sometimes_slow, target_s=0.05)
    assert 0.0009 < median_s < 0.01 and n >= 7


def test_all_reduce_over_processes() -> None:
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("torch has no gloo backend here")
    kernels = [Kernel("all-reduce", "bf16", (("ranks", 2), ("bytes", size))) for size in (1024, 65536)]
    timings, notes = measure_kernels(kernels, "cpu", budget_s=90.0)
    assert notes == []
    assert [t.kernel for t in timings] == kernels and all(t.latency_s > 0 for t in timings)


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="no GPU that torch can use"):
        require_gpu()
