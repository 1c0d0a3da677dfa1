"""What must hold of every answer: each command runs in a process of its own, its time and memory measured."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXIT_CODES = (0, 2, 3, 4, 5)
MOST_SECONDS = 60
MOST_BYTES = 2**30
# Figures that no answer may have below zero.
_NEVER_NEGATIVE = re.compile(
    r"(cost|usd|power|_w|count|machines|rate|requests|tokens|_s|bytes|utilisation|price)", re.I
)
# A slack, a margin, a difference or a benefit may have either sign.
_MAY_BE_NEGATIVE = re.compile(
    r"(slack|margin|relative|change|saving|correlation|npv|difference|delta|low|bound|gap|error)", re.I
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes
    ----------
    code : int
        Exit code; negative where a signal ended it.
    out, err : str
    seconds : float
        Wall-clock time [s].
    peak_bytes : int
        Largest resident memory beyond what the process had when it began [bytes].
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int


def run_apart(arguments: Sequence[str], folder: Path) -> Outcome:
    """Run a command in a fork of this process, which has `planner` loaded."""
    out, err = folder / "stdout", folder / "stderr"
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pid = os.fork()
    if pid == 0:
        _child(arguments, folder, out, err)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    peak = max(0, usage.ru_maxrss - before) * 1024
    return Outcome(code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace"), seconds, peak)


def _child(arguments: Sequence[str], folder: Path, out: Path, err: Path) -> None:
    code = 99
    try:
        os.chdir(folder)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(MOST_SECONDS + 5)
        for path, number in ((out, 1), (err, 2)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        from planner.cli.main import run

        code = run(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def faults(outcome: Outcome, folder: Path, before: Callable[[], set[str]] | set[str]) -> list[str]:
    """Everything that is wrong with an answer; empty where all holds."""
    found = []
    if outcome.code not in EXIT_CODES:
        found.append(f"exit code {outcome.code}: {outcome.err.strip().splitlines()[:1]}")
    if "Traceback" in outcome.err or "planner failed" in outcome.err:
        found.append(f"traceback: {outcome.err.strip().splitlines()[-1:]}")
    if outcome.code == 2 and not outcome.err.strip() and not outcome.out.strip():
        found.append("refused without a word")
    if outcome.seconds > MOST_SECONDS:
        found.append(f"{outcome.seconds:.0f} s")
    if outcome.peak_bytes > MOST_BYTES:
        found.append(f"{outcome.peak_bytes / 2**20:.0f} MiB")
    if re.search(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]", outcome.out + outcome.err):
        found.append("a control character on the screen")
    names = before if isinstance(before, set) else before()
    left = {p.name for p in folder.rglob("*") if p.name.endswith(".part")} - names
    if left:
        found.append(f"half-written: {sorted(left)}")
    if outcome.code in (0, 4):
        found += _bad_figures(outcome.out)
    return found


def _bad_figures(text: str) -> list[str]:
    if text.lstrip()[:1] not in "{[" or not text.strip():
        words = re.findall(r"(?<![A-Za-z])(?:nan|NaN|inf|Infinity)(?![A-Za-z])|\$-[0-9]", text)
        return [f"printed {words[0]}"] if words else []
    try:
        data = json.loads(text, parse_constant=float)
    except ValueError as error:
        return [f"not JSON: {error}"]
    return list(dict.fromkeys(_bad_in(data, "")))[:3]


def _bad_in(data: Any, name: str) -> list[str]:
    if isinstance(data, dict):
        # What was asked is given back as it was; its figures are the asker's.
        return [fault for key, value in data.items() if key != "scenario" for fault in _bad_in(value, f"{name}.{key}")]
    if isinstance(data, list):
        return [fault for value in data for fault in _bad_in(value, name)]
    if isinstance(data, float) and not math.isfinite(data):
        return [f"{name} is {data}"]
    last = name.rpartition(".")[2]
    is_below_zero = isinstance(data, (int, float)) and not isinstance(data, bool) and data < -1e-9
    if is_below_zero and _NEVER_NEGATIVE.search(last) and not _MAY_BE_NEGATIVE.search(last):
        return [f"{name} is {data}"]
    return []
