"""Every verb is asked what `optimize` is asked, refusals and certificates included, and must say the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "agreement.py"
pytestmark = pytest.mark.skipif(not PATH.is_file(), reason="not run from a source tree: benchmarks/ is absent")


def _loaded() -> ModuleType | None:
    if not PATH.is_file():
        return None
    spec = importlib.util.spec_from_file_location("agreement", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agreement"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


AGREEMENT = _loaded()
# What takes longest is asked by `benchmarks/agreement.py` alone, as are most certificates.
LONG = ("slowdowns", "throughput within end-to-end limits", "end to end", "two pools", "carbon", "machines", "spares")
CERTIFIED = ("one machine", "thin network", "infeasible")


@pytest.mark.parametrize("case", [] if AGREEMENT is None else [c for c in AGREEMENT.CASES if c not in LONG])
def test_every_verb_says_what_optimize_says(case: str) -> None:
    assert AGREEMENT is not None
    found = {
        (verb, "simulated" if verify else "predicted"): said
        for verb in AGREEMENT.VERBS
        for verify in (False, True)[: 1 + (case in CERTIFIED)]
        if (said := AGREEMENT.disagreements(verb, case, verify=verify, few=True))
    }
    assert not found


def test_the_questions_have_answers_of_every_kind() -> None:
    assert AGREEMENT is not None
    answers = {
        case: AGREEMENT.optimize(AGREEMENT.PAIR | dict(fields) | {"verify": False})
        for case, fields in AGREEMENT.CASES.items()
        if case not in LONG
    }
    assert len(answers) >= 12
    assert {answer.exit_code for answer in answers.values()} == {0, 2, 3}
    assert len({machine for _, machine, _ in answers["two machine types"].pools}) == 2
    assert answers["thin network"].exit_code == 3 and "network cannot carry" in (answers["thin network"].reason or "")
