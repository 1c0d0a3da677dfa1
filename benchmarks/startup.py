"""What `planner` takes from the shell, against what importing its libraries takes.

    python benchmarks/startup.py [RUNS] [--only TEXT]        default 5 runs of each

Every figure is the median CPU time, user and system, of whole processes, because others may share the machine; memory
is the largest resident set. Processes are run alternately with the yardstick, so that a machine that slows down slows
both. Proof by simulation runs in the compiled core where one was built; the first line says so.

It runs the `planner` of the interpreter that runs this file, the installed one or, from the repository, the sources.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile

YARDSTICK = "import numpy, pulp, pydantic, typer, rich, highspy"
PLANNER = "import sys; from planner.cli.main import run; sys.exit(run())"
CORE = "from planner.simulation import core; print('compiled' if core.is_used() else 'Python')"
PAPER = ["optimize", "--preset", "splitwise", "--time-limit", "10min"]
ALL = ["optimize", "--machine", "all", "--time-limit", "10min"]
TIGHT = [*ALL, "--slo", "ttft=500ms", "--slo", "tbt.p95=40ms", "--precision", "fp8", "--rate", "50/s"]

# What is run, and the most that it may take, in multiples of the yardstick. The paper's pair of machines and every
# machine of the catalog; `--slo ttft=1s` alone looks at every machine with a current price.
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "--help": (["--help"], None),
    "catalog list": (["catalog", "list"], None),
    "pair, ttft=1s, uncertified": ([*PAPER, "--slo", "ttft=1s", "--no-verify"], 2.5),
    "pair, ttft=1s, certified": ([*PAPER, "--slo", "ttft=1s"], 5.0),
    "default, ttft=1s, uncertified": (["optimize", "--slo", "ttft=1s", "--no-verify"], None),
    "default, ttft=1s, certified": (["optimize", "--slo", "ttft=1s", "--time-limit", "10min"], None),
    "all, fp8, two objectives, uncertified": ([*TIGHT, "--no-verify"], 6.0),
    "all, fp8, two objectives, certified": (TIGHT, 10.0),
    "pair, nine slowdowns, certified": (
        [*PAPER, "--slo", "splitwise", "--model", "bloom-176b", "--runtime", "splitwise-2023"], 12.0
    ),
    "pair, 1,000 requests/s, certified": ([*PAPER, "--slo", "ttft=1s", "--rate", "1000/s"], 12.0),
    "all, 10,000 requests/s, certified": ([*ALL, "--slo", "ttft=1s", "--rate", "10000/s"], 30.0),
}  # fmt: skip


def measured(arguments: list[str], folder: str) -> tuple[float, float, int]:
    """CPU time of one process [s], its largest memory [MiB] and its exit code; what it prints goes nowhere."""
    # As on anybody's machine, where `pip` has compiled what it installed.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PLANNER_", "PYTHONDONTWRITE"))}
    nowhere = os.open(os.devnull, os.O_RDWR)
    files = [(os.POSIX_SPAWN_DUP2, nowhere, n) for n in (0, 1, 2)]
    here = os.getcwd()
    os.chdir(folder)
    try:
        pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], environment, file_actions=files)
    finally:
        os.chdir(here)
        os.close(nowhere)
    _, status, used = os.wait4(pid, 0)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024.0, os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run, and print a table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int, nargs="?", default=5)
    parser.add_argument("--only", default="", help="commands whose name contains this")
    options = parser.parse_args()
    repository = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    width, missed = max(map(len, COMMANDS)), False
    with tempfile.TemporaryDirectory() as elsewhere:
        # An installed planner is run away from the repository, whose folder of that name would hide it.
        installed = measured(["-P", "-c", "import planner"], elsewhere)[2] == 0
        folder = elsewhere if installed else repository
        if not installed:
            measured(["-m", "compileall", "-q", "planner"], folder)
        core = os.popen(f'cd {folder} && {sys.executable} -c "{CORE}"').read().strip()
        print(f"{'the installed planner' if installed else 'the sources'}, {core} simulator, {options.runs} runs")
        print(f"{'':{width}}  {'CPU':>8}  {'imports':>8}  {'ratio':>6}  {'memory':>8}  bar")
        for name, (command, bar) in COMMANDS.items():
            if options.only not in name:
                continue
            times, imports, memory, codes = [], [], 0.0, set()
            for _ in range(options.runs):
                imports.append(measured(["-c", YARDSTICK], folder)[0])
                cpu_s, mib, code = measured(["-c", PLANNER, *command], folder)
                times.append(cpu_s)
                memory = max(memory, mib)
                codes.add(code)
            ratio = statistics.median(times) / statistics.median(imports)
            late = bar is not None and ratio > bar * (1 + 1e-9)
            missed |= late
            told = "" if bar is None else f"<= {bar:g}{'  missed' if late else ''}"
            told += "" if codes == {0} else f"  exit codes {sorted(codes)}"
            print(
                f"{name:{width}}  {statistics.median(times):6.2f} s  {statistics.median(imports):6.2f} s  "
                f"{ratio:6.2f}  {memory:4.0f} MiB  {told}",
                flush=True,
            )
    print(f"imports: python -c '{YARDSTICK}'")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
