"""What reuse saves: many plans of one scenario against one plan, as ratios of processor time within one run.

    python benchmarks/exploration_speed.py

Prints the time of `planner.optimize` (uncertified) and, in multiples of it, that of the commands that solve many times.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import planner

RUNS = 2
COMMON = {"slo": ["ttft=1s", "tbt=200ms"], "rate": "70/s"}
END_TO_END = {"model": "bloom-176b", "runtime": "splitwise-2023", "slo": ["splitwise"], "workload": "azure-code-2023"}
SIX = ["Baseline-A100", "Baseline-H100", "Splitwise-AA", "Splitwise-HH", "Splitwise-HA", "Splitwise-AH"]


def seconds(run: Callable[[], object]) -> float:
    """Least processor time of a few runs [s]."""
    times = []
    for _ in range(RUNS):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return min(times)


def main() -> None:
    """Print the table."""
    planner.optimize(**COMMON, verify=False)  # the catalog is read and the solver loaded
    for name, fields in (("llama-3.1-70b, TTFT and TBT", COMMON), ("bloom-176b, nine objectives", END_TO_END)):
        one = seconds(lambda f=fields: planner.optimize(**f, verify=False))
        six = [seconds(lambda f=fields, d=d: planner.optimize(**f, design=d, verify=False)) for d in SIX]
        rows = [
            ("optimize of six designs, one by one", sum(six)),
            ("compare of six designs", seconds(lambda f=fields: planner.compare(**f, designs=SIX))),
            (
                "compare of six designs, three objectives",
                seconds(lambda f=fields: planner.compare(**f, designs=SIX, objectives=["cost", "power", "machines"])),
            ),
        ]
        print(f"{name}: one optimize {one:.2f} s")
        for what, taken in rows:
            print(f"  {what:45} {taken / one:5.1f} x")
        for what, found, taken in _many(fields):
            print(f"  {what:45} {taken / one:5.1f} x, {found.solves} solves")


def _many(fields: dict[str, object]) -> list[tuple[str, planner.Frontier | planner.Alternatives, float]]:
    runs: list[tuple[str, Callable[[], planner.Frontier | planner.Alternatives]]] = [
        ("frontier of cost against power", lambda: planner.frontier(**fields)),
        (
            "frontier of cost against load, 70 to 80/s",
            lambda: planner.frontier(**fields, x="rate", start="70/s", stop="80/s"),
        ),
        ("alternatives within 25 %", lambda: planner.alternatives(**fields, within="25 %", owned={"dgx-a100": 20})),
    ]
    return [(what, run(), seconds(run)) for what, run in runs]


if __name__ == "__main__":
    main()
