"""What certificates are worth: certified plans, simulated again ten times as long with other seeds.

    python benchmarks/false_certificates.py [N] [--seed S]        default 40 plans

Scenarios are drawn at random: models, workloads, one to three objectives, 1 to 300 requests/s, designs, machines. Each
is certified as `planner optimize` does it, with its own choice of run lengths. Then the plan runs ten times as long
with seeds that the certificate did not see. Printed are

    false       certificates of which an objective's late share, its 95 % interval included, is above what is allowed
    outside     objectives whose long-run value lies outside the printed 95 % interval (of a perfect one 6 %)
    breaks at   how far the printed load is from that at which runs ten times as long break

and each such case. Exit code 1 if more than 1 % of the certificates are false, more than 10 % of the values lie
outside, or fewer than 90 % of the loads are within 1.5 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from planner.errors import PlannerError
from planner.planning.certify import certified
from planner.planning.search import Solution
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import load_scenario
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.summary import Simulated

LONGER = 10
MOST_REQUESTS = 2_000_000  # of a long run
LOAD_TOLERANCE = 0.015


def scenarios(seed: int) -> Iterator[dict[str, Any]]:
    """Fields of random scenarios, without end."""
    rng = np.random.default_rng(seed)

    def one(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    while True:
        ttft, tbt, e2e = rng.uniform(0.3, 3.0), rng.uniform(35, 160), rng.uniform(5, 40)
        slo = [f"ttft.p{one(50, 90, 95, 99)}={ttft:.3g}s"]
        slo += [f"tbt.p{one(50, 95, 99)}={tbt:.3g}ms"] if rng.random() < 0.6 else []
        slo += [f"e2e.p{one(50, 90)}={e2e:.3g}s"] if rng.random() < 0.4 else []
        yield {
            "slo": slo,
            "model": one("llama-3.1-70b", "llama-3.1-70b", "llama-2-70b", "llama-3.1-8b", "qwen2.5-72b"),
            "workload": one("azure-conv-2023", "azure-code-2023"),
            "rate": float(np.round(np.exp(rng.uniform(0.0, math.log(300.0))), 1)),
            "objective": one("cost", "power", "machines"),
            "machines": one(("dgx-a100", "dgx-h100"), ("dgx-h100",), ("lambda-8x-a100-80", "lambda-8x-h100")),
            "design": one("auto", "auto", "splitwise", "baseline"),
            "exact": True,
            "time_limit_s": 600.0,
        }


def long_run(problem: Problem, solution: Solution, load: float = 1.0, metrics: tuple[str, ...] = ()) -> Simulated:
    """The plan over again, ten times as long as it was simulated, with seeds of its own."""
    assert solution.certificate is not None
    n = solution.certificate.requests_per_run
    total = min(LONGER * n * len(solution.certificate.seeds), MOST_REQUESTS * 3)
    simulation = ClusterSimulation(solution.members, solution.routes, problem.need, problem.sizes, problem.reference)
    return simulation.simulate(n_requests=total // 3, seeds=(1001, 1002, 1003), load=load, metrics=metrics)


def main() -> int:
    """Certify, run on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plans", type=int, nargs="?", default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    n = false = values = outside = loads = off = 0
    started = time.process_time()
    for fields in scenarios(options.seed):
        if n >= options.plans:
            break
        try:
            problem = resolve(load_scenario(fields))
            solution = certified(problem)
        except PlannerError:
            continue  # nothing to certify
        certificate = solution.certificate
        if certificate is None or certificate.status != "confirmed":
            print(f"not confirmed: {fields}", file=sys.stderr)
            continue
        n += 1
        simulated = long_run(problem, solution)
        name = f"{' + '.join(f'{m.count} x {m.configuration.label} {m.role}' for m in solution.members)} {fields}"
        if not simulated.stable or any(
            late.low > limit.allowed for late, limit in zip(simulated.late, problem.need.limits, strict=True)
        ):
            false += 1
            print(f"FALSE: {name}")
        for limit, own, truth in zip(problem.need.limits, certificate.objectives, simulated.objectives, strict=True):
            values += 1
            low, high = own.simulated.low or 0.0, own.simulated.high or math.inf
            if not low <= truth.value <= high:
                outside += 1
                print(f"outside: {limit.objective} {truth.value:.4g}, printed {low:.4g} - {high:.4g}; {name}")
        print(
            f"{n}: {false} false, {outside} of {values} outside, {off} of {loads} loads off",
            file=sys.stderr,
            flush=True,
        )
        for i, own in enumerate(certificate.objectives):
            if own.breaks_at_load is None or own.breaks_at_load >= 15.9:
                continue
            loads += 1
            limit = problem.need.limits[i]
            above, below = (
                long_run(problem, solution, own.breaks_at_load * (1.0 + x)) for x in (LOAD_TOLERANCE, -LOAD_TOLERANCE)
            )
            breaks_above = not above.stable or above.late[i].value > limit.allowed
            holds_below = below.stable and below.late[i].value <= limit.allowed
            if not (breaks_above and holds_below):
                off += 1
                which = "earlier" if not holds_below else "later"
                print(f"breaks {which} than {own.breaks_at_load:.3f}: {limit.objective}; {name}")
    print(
        f"{n} certified plans: {false} false; {outside} of {values} values outside their interval "
        f"({outside / max(values, 1):.0%}); {loads - off} of {loads} loads within {LOAD_TOLERANCE:.1%}; "
        f"{time.process_time() - started:.0f} s of CPU"
    )
    return int(false > max(0.01 * n, 0) or outside > 0.1 * values or off > 0.1 * loads)


if __name__ == "__main__":
    raise SystemExit(main())
