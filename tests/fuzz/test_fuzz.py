"""Damaged input at every door: answered or refused, never a traceback, NaN, or a file half-written.

`benchmarks/fuzz_doors.py` runs thousands; here a few of each door, the same in every run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .areas import AREAS
from .oracle import faults, run_apart

N_CASES = int(os.environ.get("FUZZ_CASES", "3"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forks of this process")


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_damaged_input_is_answered_or_refused(area: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PLANNER_")]:
        monkeypatch.delenv(name)
    wrong = {}
    for seed in range(N_CASES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = AREAS[area](random.Random(f"{area} {seed}"), folder)
        outcome = run_apart(case.arguments, folder)
        if found := faults(outcome, folder, set()):
            wrong[seed] = (case.arguments, found)
    assert not wrong
