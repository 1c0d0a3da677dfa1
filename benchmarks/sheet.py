"""What a sheet of a hundred rows costs: solving each load once against asking again, and against a fresh catalog.

python benchmarks/sheet.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import planner
from planner import sheet

ROWS = 100
LOADS = tuple(20 + 10 * n for n in range(10))  # ten rows of the sheet ask for each


def seconds(work: Callable[[], object]) -> float:
    """Time of one run [s]."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rows() -> None:
    """A sheet of a hundred rows: ten loads, ten times each."""
    for n in range(ROWS):
        assert isinstance(sheet.cost_per_hour(LOADS[n % len(LOADS)], "ttft=1s"), float)


def without_keeping() -> None:
    """The ten loads, each with a catalog of its own and solved anew."""
    for load in LOADS:
        planner.optimize(slo="ttft=1s", rate=f"{load}/s", verify=False)


planner.optimize(slo="ttft=1s", verify=False)  # imports
once = min(seconds(without_keeping) for _ in range(3)) / len(LOADS)
sheet.refresh()
first = seconds(rows)
again = min(seconds(rows) for _ in range(3))
print(f"one plan, catalog opened anew     {1e3 * once:8.1f} ms")
print(f"{ROWS} rows, {len(LOADS)} different, first time {1e3 * first:8.1f} ms = {first / once:6.1f} plans")
print(f"{ROWS} rows, asked again             {1e3 * again:8.2f} ms = {again / once:6.3f} plans")
