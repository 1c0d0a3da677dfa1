"""Analytic percentiles (`ClusterModel`) against simulated ones, over a grid.

    python benchmarks/simulation_against_analytic.py            a grid of some 120 clusters, minutes
    python benchmarks/simulation_against_analytic.py --full     all combinations
    python benchmarks/simulation_against_analytic.py --markdown the table of docs/simulation.md

Role x utilisation x pool size x sizes x variability of arrivals x machine. A prefill or mixed pool is judged by TTFT,
a decode or mixed pool by TBT. A decode pool is fed by a prefill pool at a third of its capacity. The error is analytic
over simulated, less one: above zero the formula is pessimistic. The half-width of the simulated 95 % interval,
relative, says how much of an error is chance.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.fleet.candidate import stable_rate_of_one
from planner.fleet.configuration import Configuration, configure, make_layout
from planner.fleet.prediction import ClusterModel, Member, Route
from planner.problem import Problem, resolve
from planner.scenario import Scenario
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.simulation.cluster import ClusterSimulation

UTILISATIONS = (0.3, 0.6, 0.8, 0.9, 0.95)
COUNTS = (1, 3, 10, 30, 100)
SIZES = ("azure-code-2023", "azure-conv-2023")
ARRIVAL_CVS = (1.0, 2.0, 3.0)
MACHINES = ("dgx-h100", "dgx-a100")
ROLES = ("prefill", "decode", "mixed")
PERCENTILES = (50.0, 90.0, 99.0)
FEEDER_UTILISATION = 0.33


@dataclass(frozen=True)
class Case:
    """One cluster of the grid."""

    role: str
    utilisation: float
    count: int
    sizes: str
    arrival_cv: float
    machine: str


@dataclass(frozen=True)
class Result:
    """Errors of one case by metric and percentile, the relative half-width of the simulation, and how busy it was."""

    case: Case
    error: dict[tuple[str, float], float]
    chance: dict[tuple[str, float], float]
    busy: float
    stable: bool


def cases(full: bool) -> Iterator[Case]:
    """The grid; without `full` each factor varies around the middle, and the two that matter most together."""
    for role in ROLES:
        for sizes in SIZES:
            for utilisation in UTILISATIONS:
                for count in COUNTS:
                    for cv in ARRIVAL_CVS:
                        for machine in MACHINES:
                            usual = cv == 1.0 and machine == MACHINES[0]
                            middle = count == 10 and utilisation in (0.6, 0.9)
                            if full or usual or (middle and (cv == 1.0 or machine == MACHINES[0])):
                                yield Case(role, utilisation, count, sizes, cv, machine)


class Grid:
    """Problems and configurations, resolved once."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self._configurations: dict[tuple[str, str], Configuration] = {}

    def problem(self, sizes: str) -> Problem:
        """Of a workload."""
        if sizes not in self._problems:
            self._problems[sizes] = resolve(Scenario(model="llama-2-70b", workload=sizes, rate=1.0))
        return self._problems[sizes]

    def configuration(self, sizes: str, name: str) -> Configuration:
        """One replica a machine."""
        if (sizes, name) not in self._configurations:
            problem = self.problem(sizes)
            machine = problem.catalog.machine(name, where="benchmark")
            layout = make_layout(machine, problem.serving, 8)
            self._configurations[sizes, name] = configure(problem.catalog, machine, problem.serving, layout)
        return self._configurations[sizes, name]

    def run(self, case: Case, n_requests: int, seeds: tuple[int, ...]) -> Result:
        """Both predictions of one case."""
        problem, c = self.problem(case.sizes), self.configuration(case.sizes, case.machine)
        traffic = replace(problem.need.traffic, arrival_cv2=case.arrival_cv**2)
        kinds = {"prefill": PrefillQueue, "decode": DecodeQueue, "mixed": MixedQueue}
        one = {role: stable_rate_of_one(c, kind(c.lane, traffic)) for role, kind in kinds.items()}
        rate = case.utilisation * case.count * one[case.role]
        need = replace(problem.need, traffic=traffic, rate_per_s=rate)
        if case.role == "mixed":
            members, routes, at = [Member("mixed", c, case.count, rate)], [Route(0, None, rate)], 0
        else:
            feeders = max(int(np.ceil(rate / one["prefill"] / FEEDER_UTILISATION)), 1)
            takers = max(int(np.ceil(rate / one["decode"] / FEEDER_UTILISATION)), 1)
            n_prefill, n_decode = (case.count, takers) if case.role == "prefill" else (feeders, case.count)
            members = [Member("prefill", c, n_prefill, rate), Member("decode", c, n_decode, rate)]
            routes, at = [Route(0, 1, rate)], int(case.role == "decode")
        model = ClusterModel(members, routes, need)
        simulation = ClusterSimulation(members, routes, need, problem.sizes, problem.reference)
        simulated = simulation.simulate(n_requests=max(n_requests, 400 * case.count), seeds=seeds)
        metrics = {"prefill": ("ttft",), "decode": ("tbt",), "mixed": ("ttft", "tbt")}[case.role]
        error, chance = {}, {}
        for metric in metrics:
            for p in PERCENTILES:
                predicted = model.percentile(metric, p, 1.0)
                interval = simulated.percentiles[metric, p]
                error[metric, p] = float("inf") if predicted is None else predicted / interval.value - 1.0
                chance[metric, p] = max(interval.high - interval.value, interval.value - interval.low) / interval.value
        return Result(case, error, chance, simulated.busy[at], simulated.stable)


def show(results: list[Result], markdown: bool) -> None:
    """Errors by role, metric and utilisation: the median and the worst over the grid."""
    bar = "|" if markdown else " "
    head = ["role", "metric", "utilisation", "clusters"] + [f"P{p:.0f} median / worst" for p in PERCENTILES]
    print(bar, f" {bar} ".join(head), bar)
    if markdown:
        print("|" + "---|" * len(head))
    for role in ROLES:
        for metric in ("ttft", "tbt"):
            for utilisation in UTILISATIONS:
                chosen = [
                    r for r in results
                    if r.case.role == role and r.case.utilisation == utilisation
                    and (metric, 50.0) in r.error and r.stable
                ]  # fmt: skip
                if not chosen:
                    continue
                cells = []
                for p in PERCENTILES:
                    errors = np.array([r.error[metric, p] for r in chosen])
                    cells.append(f"{np.median(errors):+.0%} / {errors[np.argmax(np.abs(errors))]:+.0%}")
                row = [role, metric, f"{utilisation:g}", str(len(chosen)), *cells]
                print(bar, f" {bar} ".join(row), bar)
    below = [r for r in results if r.case.utilisation < 0.9 and r.stable]
    print()
    for p, allowed in ((90.0, 0.10), (99.0, 0.20)):
        pairs = [(r, m) for r in below for m in ("ttft", "tbt") if (m, p) in r.error]
        beyond = [(r, m) for r, m in pairs if abs(r.error[m, p]) > allowed + r.chance[m, p]]
        print(f"below 0.9: {len(beyond)} of {len(pairs)} are off by more than {allowed:.0%} and chance at P{p:.0f}")
        for r, m in sorted(beyond, key=lambda rm: -abs(rm[0].error[rm[1], p]))[:8]:
            c = r.case
            print(
                f"  {c.role} {m} {c.machine} x {c.count}, {c.sizes}, {c.utilisation:g} busy, CV {c.arrival_cv:g}: "
                f"{r.error[m, p]:+.0%} (chance {r.chance[m, p]:.0%})"
            )
    unstable = [r for r in results if not r.stable]
    print(f"not stable in the simulation: {len(unstable)} of {len(results)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    grid, results, start = Grid(), [], time.perf_counter()
    for case in cases(options.full):
        results.append(grid.run(case, options.requests, tuple(range(1, options.seeds + 1))))
    show(results, options.markdown)
    print(f"{len(results)} clusters in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
