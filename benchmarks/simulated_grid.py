"""Simulated percentiles of pools over a grid, kept in benchmarks/simulated_grid.csv.

    python benchmarks/simulated_grid.py            simulate what the file lacks; stop with Ctrl-C and go on later
    python benchmarks/simulated_grid.py --minutes 8
    python benchmarks/simulated_grid.py --again    forget the file and simulate everything anew (about an hour)

Role x utilisation x pool size x sizes x variability of arrivals x machine, one pool of interest a cluster. The pool is
loaded with a share of the rate that keeps it busy all the time, as the formulas of the day have it; the rate itself is
in the file, so formulas can change and be held against the same simulations (`simulation_against_analytic.py`). A
prefill or decode pool is given a partner at a third of its own capacity.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner.pools.candidate import Requirement, stable_rate_of_one
from planner.pools.configuration import Configuration, configure, make_layout
from planner.pools.prediction import Member, Route
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.simulation.cluster import ClusterSimulation

FILE = Path(__file__).with_name("simulated_grid.csv")
MODEL = "llama-2-70b"
UTILISATIONS = (0.3, 0.6, 0.8, 0.9, 0.95)
COUNTS = (1, 3, 10, 30, 100)
AZURE, LONG = ("azure-code-2023", "azure-conv-2023"), "long-context-chat"
H100, OTHERS = "dgx-h100", ("dgx-a100", "8x-l40s")
ROLES = ("prefill", "decode", "mixed")
METRICS, PERCENTILES = ("ttft", "tbt", "e2e"), (50.0, 90.0, 99.0)
FEEDER_UTILISATION = 0.33
SEEDS = (1, 2)
REQUESTS, REQUESTS_A_MACHINE = 20_000, 200  # of each run, at least
RELAXATIONS = 12.0  # mean remaining decode times that each run lasts, so that decoding batches settle early in it
VISITS = 400.0  # times that a run could fill and empty its queue: the wait forgets itself in (1 + CV^2)/2/(1-rho)^2
MOST_MACHINES = 3000  # larger clusters are left out: decode pools on coding sizes, whose partners are thirty times them
KINDS = {"prefill": PrefillQueue, "decode": DecodeQueue, "mixed": MixedQueue}
_HALF_WIDTH = "_half_width"


@dataclass(frozen=True)
class Case:
    """One cluster of the grid."""

    role: str
    sizes: str
    machine: str
    arrival_cv: float
    count: int
    utilisation: float


@dataclass(frozen=True)
class Cell:
    """What the simulation of a case said.

    `value` [s] and the larger half of its 95 % interval over it, by metric and percentile.
    """

    case: Case
    rate_per_s: float
    stable: bool
    busy: float
    value: dict[tuple[str, float], float]
    half_width: dict[tuple[str, float], float]


def cases() -> Iterator[Case]:
    """The grid: Poisson arrivals on DGX H100 in full, then the other axes about it."""
    for sizes in AZURE:
        for utilisation in UTILISATIONS:
            for count in COUNTS:
                for role in ROLES:
                    yield Case(role, sizes, H100, 1.0, count, utilisation)
    for cv in (3.0, 2.0):
        for sizes in AZURE:
            for utilisation in (0.3, 0.6, 0.8, 0.9):
                for count in (1, 3, 10, 100):
                    for role in ROLES:
                        yield Case(role, sizes, H100, cv, count, utilisation)
    for machine in OTHERS:
        for sizes in AZURE:
            for utilisation in (0.3, 0.6, 0.8):
                for count in (3, 30):
                    for role in ROLES:
                        yield Case(role, sizes, machine, 1.0, count, utilisation)
    for utilisation in UTILISATIONS[:-1]:
        for count in (1, 3, 10, 30):
            for role in ROLES:
                yield Case(role, LONG, H100, 1.0, count, utilisation)


class Grid:
    """Problems and configurations, resolved once."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self._configurations: dict[tuple[str, str], Configuration] = {}

    def problem(self, sizes: str) -> Problem:
        """Of a workload."""
        if sizes not in self._problems:
            self._problems[sizes] = resolve(Scenario(model=MODEL, workload=sizes, rate=1.0))
        return self._problems[sizes]

    def configuration(self, sizes: str, name: str) -> Configuration:
        """One replica a machine."""
        if (sizes, name) not in self._configurations:
            problem = self.problem(sizes)
            machine = problem.catalog.machine(name, where="benchmark")
            layout = make_layout(machine, problem.serving, 8)
            self._configurations[sizes, name] = configure(problem.catalog, machine, problem.serving, layout)
        return self._configurations[sizes, name]

    def rate_per_s(self, case: Case, role: str | None = None) -> float:
        """Rate that keeps one machine busy all the time, in the role of the case or another [requests/s]."""
        c = self.configuration(case.sizes, case.machine)
        traffic = replace(self.problem(case.sizes).need.traffic, arrival_cv2=case.arrival_cv**2)
        return stable_rate_of_one(c, KINDS[role or case.role](c.lane, traffic))

    def cluster(self, case: Case, rate_per_s: float) -> tuple[list[Member], list[Route], Requirement]:
        """Pools, ways through them and what they are to do; the pool of interest is the only mixed one, or of its role.

        `rate_per_s` is the pool's.
        """
        problem, c = self.problem(case.sizes), self.configuration(case.sizes, case.machine)
        traffic = replace(problem.need.traffic, arrival_cv2=case.arrival_cv**2)
        need = replace(problem.need, traffic=traffic, rate_per_s=rate_per_s)
        if case.role == "mixed":
            return [Member("mixed", c, case.count, rate_per_s)], [Route(0, None, rate_per_s)], need
        counts = {
            role: max(int(np.ceil(rate_per_s / self.rate_per_s(case, role) / FEEDER_UTILISATION)), 1)
            for role in ("prefill", "decode")
        }
        counts[case.role] = case.count
        members = [Member(role, c, n, rate_per_s) for role, n in counts.items()]
        return members, [Route(0, 1, rate_per_s)], need

    def _remaining_s(self, case: Case) -> float:
        """Mean time that a decoding request still has to go, on a full lane [s]."""
        lane, traffic = self.configuration(case.sizes, case.machine).lane, self.problem(case.sizes).need.traffic
        queue, g = DecodeQueue(lane, traffic), traffic.decode_steps
        steps = float(traffic.weight @ g**2) / (2.0 * traffic.mean_decode_steps)
        return steps * float(queue.step_time_s(queue.most_resident(np.ones(1)))[0])

    def simulate(self, case: Case, seeds: tuple[int, ...] = SEEDS, n_requests: int = REQUESTS) -> Cell | None:
        """Run the cluster of a case; None if it is too large."""
        rate = case.utilisation * case.count * self.rate_per_s(case)
        members, routes, need = self.cluster(case, rate)
        if sum(member.count for member in members) > MOST_MACHINES:
            return None
        problem = self.problem(case.sizes)
        n_requests = max(
            n_requests, REQUESTS_A_MACHINE * case.count, int(RELAXATIONS * rate * self._remaining_s(case)),
            0 if case.role == "decode" else int(VISITS * (1.0 + case.arrival_cv**2) / 2 / (1 - case.utilisation) ** 2),
        )  # fmt: skip
        simulation = ClusterSimulation(members, routes, need, problem.sizes, problem.reference)
        simulated = simulation.simulate(n_requests=n_requests, seeds=seeds)
        value, half_width = {}, {}
        for metric in METRICS:
            for p in PERCENTILES:
                interval = simulated.percentiles[metric, p]
                value[metric, p] = interval.value
                half = max(interval.high - interval.value, interval.value - interval.low)
                half_width[metric, p] = half / interval.value
        return Cell(case, rate, simulated.stable, simulated.busy[int(case.role == "decode")], value, half_width)


def _columns() -> list[str]:
    each = [f"{metric}_p{p:.0f}" for metric in METRICS for p in PERCENTILES]
    fields = ["role", "sizes", "machine", "arrival_cv", "count", "utilisation", "rate_per_s", "stable", "busy"]
    return fields + [f"{name}_s" for name in each] + [name + _HALF_WIDTH for name in each]


def read(path: Path = FILE) -> list[Cell]:
    """Cells of the file, none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_cell(row) for row in csv.DictReader(file)]


def _cell(row: dict[str, str]) -> Cell:
    case = Case(
        row["role"], row["sizes"], row["machine"], float(row["arrival_cv"]), int(row["count"]),
        float(row["utilisation"]),
    )  # fmt: skip
    keys = [(metric, p) for metric in METRICS for p in PERCENTILES]
    value = {(m, p): float(row[f"{m}_p{p:.0f}_s"]) for m, p in keys}
    half_width = {(m, p): float(row[f"{m}_p{p:.0f}{_HALF_WIDTH}"]) for m, p in keys}
    return Cell(case, float(row["rate_per_s"]), row["stable"] == "yes", float(row["busy"]), value, half_width)


def _row(cell: Cell) -> list[str]:
    c = cell.case
    head = [c.role, c.sizes, c.machine, f"{c.arrival_cv:g}", str(c.count), f"{c.utilisation:g}"]
    head += [f"{cell.rate_per_s:.9g}", "yes" if cell.stable else "no", f"{cell.busy:.3f}"]
    return head + [f"{x:.5g}" for x in cell.value.values()] + [f"{x:.3f}" for x in cell.half_width.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    if options.again or not FILE.exists():
        FILE.write_text(",".join(_columns()) + "\n")
    known = {cell.case for cell in read()}
    grid, start, left = Grid(), time.perf_counter(), [case for case in cases() if case not in known]
    for done, case in enumerate(left):
        if time.perf_counter() - start > options.minutes * 60:
            print(f"{len(left) - done} clusters are left")
            return
        began = time.perf_counter()
        cell = grid.simulate(case)
        if cell is None:
            continue
        with FILE.open("a") as file:
            file.write(",".join(_row(cell)) + "\n")
        print(f"{done + 1}/{len(left)} {case} {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
