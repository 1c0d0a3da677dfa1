"""How far predicted percentiles of pools are from a simulation of every step: prints docs/serving_accuracy.md.

    python benchmarks/serving_accuracy.py > docs/serving_accuracy.md

The simulation is that of the tests (tests/serving/brute_force.py); it shares no formula with the predictions. It takes
a few minutes. Step times are affine, about those of a 70B model on eight H100; small prompts have a floor of 40 ms a
step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Lane, Traffic
from tests.serving.brute_force import AffineStepTimes, simulate
from tests.serving.pools import PERCENTILES, PLENTY, at, azure, exponential, fixed, mixed_rate, predicted

STEP = AffineStepTimes(base_s=0.02, per_token_s=1e-4, per_pair_s=1e-9, per_sequence_s=2e-4, per_context_s=1.2e-7)
STEEP = AffineStepTimes(base_s=0.01, per_sequence_s=2e-3, per_context_s=1e-7)
FLOOR = AffineStepTimes(base_s=0.04, per_token_s=1.2e-4)
LANES = (1, 4, 20)
_NONE = 100.0  # relative error of a percentile that does not exist, the batch being full for more requests
METRICS = {"prefill": ("ttft",), "decode": ("tbt", "e2e"), "mixed": ("ttft", "tbt", "e2e")}


@dataclass(frozen=True)
class Case:
    """A pool under a load: `utilisation` of the stable rate, or of time spent on prompts in a mixed pool."""

    label: str
    role: str
    traffic: Traffic
    step: AffineStepTimes
    token_budget: int
    max_batch: int
    n_lanes: int
    utilisation: float
    n_requests: int


def errors(case: Case, seeds: Sequence[int] = (1, 2, 3)) -> dict[tuple[str, float], tuple[float, float]]:
    """Simulated percentile [s] and relative error of the predicted one, by metric and percentile."""
    lane = Lane(case.step, PLENTY, case.max_batch, case.token_budget)
    if case.role == "mixed":
        rate = mixed_rate(MixedQueue(lane, case.traffic), case.utilisation, case.n_lanes)
    else:
        queue = (PrefillQueue if case.role == "prefill" else DecodeQueue)(lane, case.traffic)
        rate = float(queue.stable_rate_per_s(at(case.n_lanes))[0]) * case.utilisation
    percentile = predicted(case.role, lane, case.traffic, rate, case.n_lanes)
    runs = [
        simulate(
            case.step.scalar, case.traffic, case.role, rate, case.n_lanes, case.n_requests, seed,  # type: ignore[arg-type]
            token_budget=case.token_budget, max_batch=case.max_batch,
        )
        for seed in seeds
    ]  # fmt: skip
    table = {}
    for metric in METRICS[case.role]:
        for p in PERCENTILES:
            simulated = float(np.mean([np.nanpercentile(getattr(run, f"{metric}_s"), p) for run in runs]))
            table[metric, p] = simulated, percentile(metric, p) / simulated - 1.0
    return table


def cases() -> list[Case]:
    """Everything that the page shows."""
    conversation, coding = azure("azure-conv-2023"), azure("azure-code-2023")
    found = []
    for label, traffic, step, budget in (
        ("conversation, budget 2048", conversation, STEP, 2048),
        ("conversation, budget 8192", conversation, STEP, 8192),
        ("coding, budget 2048", coding, STEP, 2048),
        ("coding, budget 8192", coding, STEP, 8192),
        ("1000 tokens, one by one", fixed(1000, 2), STEP, 1),
        ("exponential 1000, budget 8192", exponential(1000, 2), STEP, 8192),
        ("exponential 200, budget 2048, floor", exponential(200, 2), FLOOR, 2048),
        ("conversation, arrival cv2 4", azure("azure-conv-2023", 4.0), STEP, 2048),
        ("conversation, arrival cv2 0.25", azure("azure-conv-2023", 0.25), STEP, 2048),
    ):
        found += [
            Case(label, "prefill", traffic, step, budget, 256, k, u, 30_000)
            for k in LANES
            for u in (0.3, 0.6, 0.8, 0.9)
        ]
    for label, traffic, step in (
        ("conversation", conversation, STEP), ("coding", coding, STEP), ("1000 + 100 tokens", fixed(1000, 100), STEP),
        ("conversation, steep", conversation, STEEP), ("coding, steep", coding, STEEP),
        ("conversation, arrival cv2 4", azure("azure-conv-2023", 4.0), STEP),
    ):  # fmt: skip
        found += [
            Case(label, "decode", traffic, step, 1, 96, k, u, 6000 + 800 * k) for k in LANES for u in (0.3, 0.6, 0.8)
        ]
    for label, traffic, n in (
        ("conversation", conversation, 5000), ("coding", coding, 12_000),
        ("exponential 1000 + 100", exponential(1000, 100), 5000),
        ("conversation, arrival cv2 4", azure("azure-conv-2023", 4.0), 5000),
    ):  # fmt: skip
        found += [
            Case(label, "mixed", traffic, STEP, 2048, 512, k, u, n + 700 * k)
            for k in LANES
            for u in (0.2, 0.4, 0.6, 0.75)
        ]
    return found


def main() -> None:
    """Print the page."""
    print(
        "# Accuracy of predicted percentiles\n\n"
        "Printed by `benchmarks/serving_accuracy.py`; do not edit. Cells are the predicted percentile over the\n"
        "simulated one, less one: positive is pessimistic (a plan buys too much), negative optimistic. The simulation\n"
        "steps every iteration (tests/serving/brute_force.py) of k lanes, join-shortest-queue on pending tokens\n"
        "(prompt tokens to compute and one for each request), three runs a row. Utilisation is the share of the\n"
        "stable rate (of time spent on prompts, in mixed pools). Noise is about 3 % at P99, 10 % from 0.9 up.\n"
        "*full*: the batch limit makes more requests wait than the percentile allows, which counts as late without\n"
        "end.\n"
    )
    all_errors: dict[tuple[str, str, float], list[tuple[float, Case]]] = {}
    text = []
    for role, metrics in METRICS.items():
        names = [f"{m.upper()} P{p:.0f}" for m in metrics for p in PERCENTILES]
        text.append(f"\n## {role.capitalize()} pools\n\n| requests | k | utilisation | {' | '.join(names)} |")
        text.append("|" + "---|" * (3 + len(names)))
        for case in (c for c in cases() if c.role == role):
            found = errors(case)
            for (metric, p), (_, error) in found.items():
                all_errors.setdefault((role, metric, p), []).append((error, case))
            cells = " | ".join("full" if error > _NONE else f"{error:+.0%}" for _, error in found.values())
            text.append(f"| {case.label} | {case.n_lanes} | {case.utilisation} | {cells} |")
    print("## Summary\n\nUp to utilisation 0.8, Poisson arrivals.\n")
    print("| pool | metric | median | 90 % within | most optimistic | most pessimistic |\n|---|---|---|---|---|---|")
    for (role, metric, p), both in all_errors.items():
        kept = [(e, c) for e, c in both if c.utilisation <= 0.8 and c.traffic.arrival_cv2 == 1.0]
        values = np.array([e for e, _ in kept])
        low, high = kept[int(values.argmin())], kept[int(values.argmax())]
        worst = " | ".join(f"{e:+.0%} ({c.label}, k = {c.n_lanes}, {c.utilisation})" for e, c in (low, high))
        most = np.quantile(np.abs(values), 0.9)
        print(f"| {role} | {metric.upper()} P{p:.0f} | {np.median(values):+.1%} | {most:.0%} | {worst} |")
    print("\n".join(text))


if __name__ == "__main__":
    main()
