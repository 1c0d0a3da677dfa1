"""A regime map of 30 x 30 cells against one uncertified `optimize`, in one run.

    python benchmarks/regime_map_speed.py

The unit is the whole command `planner optimize --no-verify` of the same scenario, as a shell runs it; beside it stands
its work alone, without start-up. The aim is 300 times the former, on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import planner
from planner.studies.parallel import available_cores

SCENARIOS = {
    "TTFT": ["--slo", "ttft=1s"],
    "TTFT + TBT": ["--slo", "ttft=500ms", "--slo", "tbt=60ms", "--rate", "300/s"],
    "the paper's nine": ["--slo", "splitwise"],
}
MAPS = [("price-ratio", "prompt-output-ratio"), ("load", "prompt-output-ratio"), ("ttft", "network")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--maps", type=int, default=1, help="How many pairs of axes, of three.")
    arguments = parser.parse_args()
    print(f"{arguments.points} x {arguments.points} cells on {available_cores()} cores")
    print(f"{'objectives':18} {'axes':34} {'optimize':>9} {'its work':>9} {'map':>8} {'ratio':>6}")
    for name, options in SCENARIOS.items():
        fields = dict(slo=[options[i + 1] for i in range(0, len(options), 2) if options[i] == "--slo"])
        if "--rate" in options:
            fields["rate"] = options[options.index("--rate") + 1]  # type: ignore[assignment]
        command = [sys.executable, "-m", "planner", "optimize", "--no-verify", *options, "--format", "json", "--quiet"]
        unit = least(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))  # noqa: B023
        work = least(lambda: planner.optimize(**fields, verify=False))  # type: ignore[arg-type]  # noqa: B023
        for x, y in MAPS[: arguments.maps]:
            started = time.perf_counter()
            planner.regime_map(**fields, x=x, y=y, points=arguments.points)  # type: ignore[arg-type]
            taken = time.perf_counter() - started
            print(
                f"{name:18} {x + ' x ' + y:34} {unit:7.2f} s {work:7.2f} s {taken:6.1f} s {taken / unit:6.0f}",
                flush=True,
            )


def least(action: object, times: int = 3) -> float:
    """Least time of several runs [s]."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        action()  # type: ignore[operator]
        found.append(time.perf_counter() - started)
    return min(found)


if __name__ == "__main__":
    main()
