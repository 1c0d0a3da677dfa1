"""How long `planner` takes from the shell, against the time to import what it and its tests are built on.

    python benchmarks/startup.py [RUNS]        default 7

Every figure is the median wall-clock time of whole processes, run alternately so that a machine that slows down
slows all of them. Three ratios matter:

    planned    planner optimize --slo ttft=1s --no-verify                        aim: at most  1.5 x the imports
    large      the same over every machine at 10,000 requests/s                  aim: at most 10   x the imports
    main job   planner optimize --slo ttft=1s, proven by simulation              aim: at most  5   x without the proof

It runs the `planner` of the interpreter that runs this file, the installed one or, from the repository, the sources.
scipy is imported by the yardstick only (extra `test`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

YARDSTICK = "import numpy, scipy.optimize, pulp, pydantic, typer, rich, highspy"
PLANNER = "import sys; from planner.cli.main import run; sys.exit(run())"
MAIN_JOB = ["optimize", "--slo", "ttft=1s"]
PLANNED = [*MAIN_JOB, "--no-verify"]
LARGE = [*PLANNED, "--machine", "all", "--rate", "10000/s"]

# What is run, the most that its ratio may be, and to what.
COMMANDS: dict[str, tuple[list[str], float | None, str]] = {
    "python -c pass": (["-c", "pass"], None, "imports"),
    "imports": (["-c", YARDSTICK], None, "imports"),
    "planner --help": (["-c", PLANNER, "--help"], None, "imports"),
    "planner catalog list": (["-c", PLANNER, "catalog", "list"], None, "imports"),
    "planned": (["-c", PLANNER, *PLANNED], 1.5, "imports"),
    "large": (["-c", PLANNER, *LARGE], 10.0, "imports"),
    "main job": (["-c", PLANNER, *MAIN_JOB], 5.0, "planned"),
}


def seconds(arguments: list[str], folder: str) -> float:
    """Wall-clock time of one process [s]; what it prints goes nowhere."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")}
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd=folder)
    return time.perf_counter() - started


def main(arguments: list[str]) -> int:
    """Run, and print a table; exit code 1 if a ratio misses its aim."""
    n_runs = int(arguments[0]) if arguments else 7
    repository = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as elsewhere:
        # An installed planner is run away from the repository, whose folder of that name would hide it.
        found = subprocess.run([sys.executable, "-P", "-c", "import planner"], capture_output=True, cwd=elsewhere)
        folder = elsewhere if found.returncode == 0 else repository
        print(
            f"{'the installed planner' if folder == elsewhere else 'the sources'}, median of {n_runs} runs", end="\n\n"
        )
        for arguments_of, *_ in COMMANDS.values():  # once to warm up: byte code and file caches
            seconds(arguments_of, folder)
        times = {name: [] for name in COMMANDS}  # type: dict[str, list[float]]
        for _ in range(n_runs):
            for name, (arguments_of, *_) in COMMANDS.items():
                times[name].append(seconds(arguments_of, folder))
    median = {name: statistics.median(values) for name, values in times.items()}
    width = max(map(len, COMMANDS))
    print(f"{'':{width}}  {'median':>8}  {'fastest':>8}  {'ratio':>6}  aim")
    missed = False
    for name, (_, aim, unit) in COMMANDS.items():
        ratio = median[name] / median[unit]
        late = aim is not None and ratio > aim * (1 + 1e-9)
        missed |= late
        told = "" if aim is None else f"<= {aim:g} x {unit}" + ("  missed" if late else "")
        print(f"{name:{width}}  {median[name]:6.2f} s  {min(times[name]):6.2f} s  {ratio:6.2f}  {told}")
    print(f"\nimports: python -c '{YARDSTICK}'")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
