"""Print the CPU time of step times beside that of numpy.exp: a million in one call, and one in a call.

python benchmarks/step_time_speed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from planner.catalog.catalog import Catalog
from planner.latency.batch import Batch, decode_batch, mixed_batch, prefill_batch
from planner.latency.layout import Layout
from planner.latency.roofline import RooflineLatency

N = 1_000_000
N_CALLS = 2_000
N_REPEATS = 5


def best_s(work: Callable[[], object]) -> float:
    """Least CPU time of a few repetitions [s]."""
    times = []
    for _ in range(N_REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print one line a model and kind of step."""
    catalog, rng = Catalog.default(), np.random.default_rng(1)
    machine = catalog.machine("dgx-h100")
    x = rng.random(N)
    exp_s = best_s(lambda: np.exp(x))
    print(f"numpy.exp on {N:,} floats: {exp_s * 1e3:.2f} ms; target: at most 60 of these")
    batches: dict[str, Batch] = {
        "prefill": prefill_batch(rng.integers(1, 8192, N)),
        "decode": decode_batch(rng.integers(1, 256, N), rng.integers(1, 8192, N)),
        "mixed": mixed_batch(rng.integers(1, 8192, N), 1, rng.integers(1, 256, N), rng.integers(1, 8192, N)),
    }
    one = decode_batch(8, 1000.0)
    for name in ("llama-3.1-70b", "deepseek-v3", "gpt-oss-120b"):
        llm = catalog.llm(name)
        layout = Layout(tensor_parallel=8, precision=llm.weight_precision, kv_precision=llm.kv_precision)
        accelerator = catalog.accelerator_of(machine)
        step = RooflineLatency(llm, machine, accelerator, catalog.runtime("vllm-2026"), layout)
        for kind, batch in batches.items():
            ratio = best_s(lambda step=step, batch=batch: step.step_time_s(batch)) / exp_s  # type: ignore[misc]
            print(f"{name:14} {kind:8} {ratio:5.1f} x exp")
        calls_s = best_s(lambda step=step: [step.step_time_s(one) for _ in range(N_CALLS)])  # type: ignore[misc]
        print(f"{name:14} one call {calls_s / N_CALLS * 1e6:5.1f} us")


if __name__ == "__main__":
    main()
