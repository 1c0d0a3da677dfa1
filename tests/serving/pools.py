"""Traffic and lanes that the tests of this folder share, and percentiles of a pool by the formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from planner.catalog.catalog import Catalog
from planner.serving.decode import DecodeQueue, Upstream
from planner.serving.erlang import WaitTail
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Lane, Traffic
from planner.workload.library import sizes_of
from planner.workload.sizes import RequestSizes

Floats = NDArray[np.float64]
PLENTY = 1e12  # KV tokens that never run out
PERCENTILES = (50.0, 90.0, 99.0)


def azure(name: str, arrival_cv2: float = 1.0) -> Traffic:
    """A built-in workload, as plans see it."""
    return Traffic(sizes_of(Catalog.default().workload(name)).compressed(512), arrival_cv2)


def fixed(prompt: float, output: float, arrival_cv2: float = 1.0) -> Traffic:
    """Requests of one size."""
    return Traffic(RequestSizes.equally_weighted([prompt], [output], "fixed"), arrival_cv2)


def exponential(prompt: float, output: float, arrival_cv2: float = 1.0, points: int = 20) -> Traffic:
    """Prompts and outputs that are independent and nearly exponential."""
    quantile = -np.log(1.0 - (np.arange(points) + 0.5) / points)
    prompts, outputs = (np.maximum(np.rint(mean * quantile), 2.0) for mean in (prompt, output))
    prompts, outputs = np.meshgrid(prompts, outputs)
    return Traffic(RequestSizes.equally_weighted(prompts.ravel(), outputs.ravel(), "exponential"), arrival_cv2)


def at(value: float) -> Floats:
    """One operating point, as the array that queues take."""
    return np.array([float(value)])


def predicted(
    role: str, lane: Lane, traffic: Traffic, rate_per_s: float, n_lanes: int
) -> Callable[[str, float], float]:
    """Percentiles that the formulas predict, as a function of metric and percentile [s]."""
    one = np.ones_like(traffic.weight)
    rate, lanes = at(rate_per_s), at(n_lanes)
    late: dict[str, Callable[[float], float]] = {}
    if role == "prefill":
        prefill = PrefillQueue(lane, traffic)
        late["ttft"] = lambda v: float(prefill.exceeds(v * one, rate, lanes)[0])
    elif role == "decode":
        decode = DecodeQueue(lane, traffic)
        found, none = decode.state(rate, lanes), np.zeros_like(one)
        upstream = Upstream(WaitTail(np.float64(0.0), np.float64(1.0)), none, none)
        late["tbt"] = lambda v: float(found.share(decode.late_tbt(v * one, none))[0])
        late["e2e"] = lambda v: float(found.share(decode.late_e2e(v * one, upstream))[0])
    else:
        mixed = MixedQueue(lane, traffic)
        state = mixed.state(mixed.batch_at(rate, lanes), lanes)
        late["ttft"] = lambda v: float(mixed.exceeds_ttft(v * one, state, lanes)[0])
        late["tbt"] = lambda v: float(mixed.exceeds_tbt(v * one, state, lanes)[0])
        late["e2e"] = lambda v: float(mixed.exceeds_e2e(v * one, state, lanes)[0])

    def percentile(metric: str, p: float) -> float:
        lo, hi = 1e-6, 1e5
        for _ in range(50):
            middle = (lo * hi) ** 0.5
            lo, hi = (lo, middle) if late[metric](middle) <= 1.0 - p / 100.0 else (middle, hi)
        return hi

    return percentile


def mixed_rate(queue: MixedQueue, prompt_share: float, n_lanes: int) -> float:
    """Rate of a mixed pool at which prompts take `prompt_share` of its time [requests/s]."""
    lo, hi = 1e-6, queue.largest_batch
    for _ in range(40):
        middle = (lo + hi) / 2
        below = float(queue.state(at(middle), at(n_lanes)).prompt_share[0]) < prompt_share
        lo, hi = (middle, hi) if below else (lo, middle)
    return float(queue.state(at(lo), at(n_lanes)).rate_per_s[0]) * n_lanes
