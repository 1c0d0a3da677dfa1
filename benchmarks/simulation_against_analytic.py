"""Analytic percentiles (`ClusterModel`) against the simulated ones of benchmarks/simulated_grid.csv.

    python benchmarks/simulation_against_analytic.py            tables for the terminal, half a minute
    python benchmarks/simulation_against_analytic.py --markdown those of docs/simulation.md
    python benchmarks/simulation_against_analytic.py --margins  rewrite planner/serving/percentile_margins.csv

A prefill pool is judged by TTFT, a decode pool by TBT, a mixed one by both; E2E by all. The error is analytic over
simulated, less one: above zero the formula is pessimistic. The half-width of the simulated 95 % interval says how much
of an error is chance. Left out: pools short of KV memory by the formulas, which no plan contains, and clusters that did
not settle in the simulation.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulated_grid import METRICS, PERCENTILES, ROLES, Case, Cell, Grid, read

from planner.pools.prediction import ClusterModel
from planner.serving.margin import (
    ARRIVAL_CVS,
    COLUMNS,
    FILE,
    LANES,
    LONG_ANSWER_TOKENS,
    SHORT_ANSWER_TOKENS,
    UTILISATIONS,
)

JUDGED = {"prefill": ("ttft", "e2e"), "decode": ("tbt", "e2e"), "mixed": METRICS}
_SAME = 0.03  # utilisations this close count as those of the grid, which were computed with the formulas of their day


@dataclass(frozen=True)
class Result:
    """Predicted over simulated, less one, by metric and percentile; and whether the formulas keep memory free."""

    cell: Cell
    error: dict[tuple[str, float], float]
    utilisation: float
    fits: bool
    mean_output_tokens: float

    @property
    def case(self) -> Case:
        """Cluster."""
        return self.cell.case


def evaluate(grid: Grid, cell: Cell) -> Result:
    """Predict the percentiles of a simulated cluster."""
    members, routes, need = grid.cluster(cell.case, cell.rate_per_s)
    model, at = ClusterModel(members, routes, need), int(cell.case.role == "decode")
    error = {}
    for metric in JUDGED[cell.case.role]:
        for p in PERCENTILES:
            predicted = model.percentile(metric, p, 1.0)
            error[metric, p] = float("inf") if predicted is None else predicted / cell.value[metric, p] - 1.0
    mean = need.traffic.sizes.mean_output_tokens
    return Result(cell, error, model.utilisation(at), model.keeps_up(at), mean)


def _row(label: Sequence[str], chosen: Sequence[Result], metric: str) -> list[str]:
    cells = []
    for p in PERCENTILES:
        errors = np.array([r.error[metric, p] for r in chosen])
        cells.append(f"{np.median(errors):+.0%} / {errors.min():+.0%} to {errors.max():+.0%}")
    return [*label, str(len(chosen)), *cells]


def show(results: Sequence[Result], markdown: bool, title: str, values: Callable[[Case], str]) -> None:
    """Errors by role, metric and one axis of the grid: the median and the extremes."""
    rows = [["pool", "metric", title, "clusters", *(f"P{p:.0f} median / from to" for p in PERCENTILES)]]
    for role in ROLES:
        for metric in JUDGED[role]:
            of_role = [r for r in results if r.case.role == role]
            for value in dict.fromkeys(values(r.case) for r in of_role):
                chosen = [r for r in of_role if values(r.case) == value]
                rows.append(_row([role, metric.upper(), value], chosen, metric))
    _print(rows, markdown)


def _print(rows: Sequence[Sequence[str]], markdown: bool) -> None:
    if markdown:
        print("\n".join("| " + " | ".join(row) + " |" for row in (rows[0], *rows[1:])).replace(
            "|\n", "|\n|" + "---|" * len(rows[0]) + "\n", 1))  # fmt: skip
    else:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print()


def show_worst(results: Sequence[Result], markdown: bool, n: int = 12) -> None:
    """What is beyond 10 % at P90 or 20 % at P99 below 0.9 utilisation, the worst first."""
    below = [r for r in results if r.case.utilisation < 0.9]
    for p, allowed in ((90.0, 0.10), (99.0, 0.20)):
        pairs = [(r, metric) for r in below for metric in JUDGED[r.case.role]]
        beyond = [(r, m) for r, m in pairs if abs(r.error[m, p]) > allowed + r.cell.half_width[m, p]]
        print(f"Below 0.9, {len(beyond)} of {len(pairs)} are off by more than {allowed:.0%} and chance at P{p:.0f}.\n")
        rows = [["pool", "metric", "machine", "count", "sizes", "utilisation", "arrival CV", "error", "chance"]]
        for r, m in sorted(beyond, key=lambda both: -abs(both[0].error[both[1], p]))[:n]:
            c = r.case
            rows.append([c.role, m.upper(), c.machine, str(c.count), c.sizes, f"{c.utilisation:g}", f"{c.arrival_cv:g}",
                         f"{r.error[m, p]:+.0%}", f"{r.cell.half_width[m, p]:.0%}"])  # fmt: skip
        _print(rows, markdown)


def write_margins(results: Sequence[Result], path: Path) -> None:
    """Worst simulated over predicted, less one, of both signs, in each class of `planner.serving.margin`."""
    answers = {
        "short": lambda r: r.mean_output_tokens <= SHORT_ANSWER_TOKENS,
        "long": lambda r: r.mean_output_tokens >= LONG_ANSWER_TOKENS,
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for role in ROLES:
            for metric in JUDGED[role]:
                for name, matches in answers.items():
                    of_kind = [r for r in results if r.case.role == role and matches(r)]
                    for row in _margins_of(of_kind, metric):
                        writer.writerow([role, metric, name, *row])


def _margins_of(results: Sequence[Result], metric: str) -> list[list[str]]:
    rows = []
    for cv_from, cv in zip((1.0, *ARRIVAL_CVS), ARRIVAL_CVS, strict=False):
        for few, many in itertools.pairwise(LANES):
            for idle, busy in zip((0.0, *UTILISATIONS), UTILISATIONS, strict=False):
                like = [
                    r for r in results
                    if cv_from <= r.case.arrival_cv <= cv and few <= r.case.count <= many
                    and idle - _SAME <= r.utilisation <= busy + _SAME
                ]  # fmt: skip
                # A class is known only if its upper half was simulated, though memory may be short there.
                if any(r.case.arrival_cv == cv and r.utilisation >= (idle + busy) / 2.0 for r in like):
                    held = [r for r in like if r.fits]
                    rows.append([f"{cv:g}", str(few), str(many), f"{busy:g}", *_extremes(held, metric)])
    return rows


def _extremes(results: Sequence[Result], metric: str) -> list[str]:
    """Lowest and highest of each percentile, rounded outwards to whole per cents."""
    texts = []
    for p in PERCENTILES:
        off = [1.0 / (1.0 + r.error[metric, p]) - 1.0 for r in results]
        texts += [f"{np.floor(100 * min(*off, 0.0)) / 100:.2f}", f"{np.ceil(100 * max(*off, 0.0)) / 100:.2f}"]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--margins", action="store_true")
    options = parser.parse_args()
    grid = Grid()
    everything = [evaluate(grid, cell) for cell in read()]
    settled = sorted(
        (r for r in everything if r.cell.stable),
        key=lambda r: (r.case.sizes, r.case.arrival_cv, r.case.utilisation, r.case.machine, r.case.count),
    )
    results = [r for r in settled if r.fits]
    if options.margins:
        write_margins(settled, FILE)
    usual = [r for r in results if r.case.arrival_cv == 1.0]
    by_utilisation = sorted(usual, key=lambda r: r.case.utilisation)
    print("Poisson arrivals, all machines.\n")
    show(by_utilisation, options.markdown, "utilisation", lambda c: f"{c.utilisation:g}")
    below = [r for r in results if r.case.utilisation < 0.9]
    print("Below 0.9 utilisation.\n")
    show(below, options.markdown, "sizes, arrival CV", lambda c: f"{c.sizes}, {c.arrival_cv:g}")
    show(sorted((r for r in usual if r.case.utilisation < 0.9), key=lambda r: r.case.machine), options.markdown,
         "machine", lambda c: c.machine)  # fmt: skip
    show_worst(results, options.markdown)
    short = [r for r in everything if not r.fits]
    moving = [r for r in everything if r.fits and not r.cell.stable]
    print(f"{len(results)} clusters; left out: {len(short)} short of KV memory, {len(moving)} that did not settle")


if __name__ == "__main__":
    main()
