"""Thousands of damaged inputs at every door: `python benchmarks/fuzz_doors.py [--cases N] [--seed S] [AREA ...]`.

Prints a table: cases, how they ended, what was wrong, the slowest and the hungriest. Cases that fail are printed with
their seed, and their folders are kept.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fuzz.areas import AREAS
from fuzz.oracle import faults, run_apart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", default=list(AREAS), metavar="AREA")
    parser.add_argument("--cases", type=int, default=600, help="of each area")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PLANNER_")]:
        del os.environ[name]
    n_wrong = 0
    kept = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"{'area':14} {'cases':>6} {'answered':>9} {'refused':>8} {'wrong':>6} {'slowest s':>10} {'most MiB':>9}")
    for area in asked.areas:
        ends: collections.Counter[str] = collections.Counter()
        slowest = hungriest = 0.0
        for n in range(asked.cases):
            folder = kept / f"{area}-{n}"
            folder.mkdir()
            case = AREAS[area](random.Random(f"{area} {asked.seed} {n}"), folder)
            outcome = run_apart(case.arguments, folder)
            slowest, hungriest = max(slowest, outcome.seconds), max(hungriest, outcome.peak_bytes / 2**20)
            found = faults(outcome, folder, set())
            ends["wrong" if found else "answered" if outcome.code in (0, 4) else "refused"] += 1
            if found:
                print(f"  {area} {n}: {' '.join(case.arguments)}: {'; '.join(found)}\n    {folder}", file=sys.stderr)
            else:
                shutil.rmtree(folder)
        n_wrong += ends["wrong"]
        print(
            f"{area:14} {asked.cases:6} {ends['answered']:9} {ends['refused']:8} {ends['wrong']:6} {slowest:10.1f}"
            f" {hungriest:9.0f}",
            flush=True,
        )
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
