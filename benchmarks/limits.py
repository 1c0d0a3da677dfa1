"""Time and memory of inputs at a tenth of each size limit, at it, and just beyond: `python benchmarks/limits.py`.

Each input is read by the command in a process of its own, whose wall time and largest resident memory are printed.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fuzz.oracle import run_apart

MODEL = ["--machine", "dgx-h100", "--no-verify", "--rate", "5/s", "--quiet"]


def nested(folder: Path, n: int) -> list[str]:
    """A scenario that nests so deeply."""
    (folder / "scenario.json").write_text('{"model": ' + "[" * (n - 1) + "]" * (n - 1) + "}")
    return ["optimize", "scenario.json", *MODEL]


def digits(folder: Path, n: int) -> list[str]:
    """A whole number of so many digits."""
    (folder / "scenario.json").write_text('{"seed": ' + "9" * n + "}")
    return ["optimize", "scenario.json", *MODEL]


def quote_rows(folder: Path, n: int) -> list[str]:
    """A quote of so many rows."""
    rows = "".join(f"dgx-h100,{30 + i % 7},{2000 + i % 20}-01-01\n" for i in range(n))
    (folder / "quote.csv").write_text("Machine,Price per hour (USD),Date\n" + rows)
    (folder / "catalog").mkdir()
    named = ["--book", "b", "--provider", "v", "--catalog", "catalog"]
    return ["catalog", "import-quotes", "quote.csv", *named, "--quiet"]


def trace_rows(folder: Path, n: int) -> list[str]:
    """A trace of so many requests; it has no limit but memory."""
    draw = random.Random(1)
    with (folder / "trace.csv").open("w") as file:
        file.write("arrival_s,prompt_tokens,output_tokens\n")
        for i in range(n):
            file.write(f"{i / 50:.2f},{draw.randrange(10, 4000)},{draw.randrange(2, 800)}\n")
    return ["workload", "describe", "trace.csv", "--format", "json"]


def scenarios(folder: Path, n: int) -> list[str]:
    """A sweep of so many scenarios, which is refused or begun; here only what is refused is run."""
    rates = json.dumps([f"{1 + i / 100:.2f}/s" for i in range(n)])
    (folder / "sweep.json").write_text('{"base": {"machines": ["dgx-h100"]}, "vary": {"rate": ' + rates + "}}")
    return ["sweep", "sweep.json", "--quiet"]


CASES: dict[str, tuple[Callable[[Path, int], list[str]], list[int]]] = {
    "levels of nesting": (nested, [10, 100, 101, 50_000]),
    "digits of a number": (digits, [31, 309, 310, 100_000]),
    "rows of a quote": (quote_rows, [1_999, 19_999, 20_000]),
    "requests of a trace": (trace_rows, [500_000, 5_000_000]),
    "scenarios of a sweep": (scenarios, [10_001]),
}


def measured() -> Iterator[str]:
    for what, (write, sizes) in CASES.items():
        for n in sizes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                outcome = run_apart(write(folder, n), folder)
            said = next((line for line in outcome.err.splitlines() if line.startswith("error")), "")
            mebibytes = outcome.peak_bytes / 2**20
            yield f"| {what} | {n:,} | {outcome.code} | {outcome.seconds:.1f} | {mebibytes:,.0f} | {said[:70]} |"


def main() -> None:
    print("| what | size | exit code | s | MiB | error |\n|---|---|---|---|---|---|")
    for line in measured():
        print(line, flush=True)


if __name__ == "__main__":
    main()
