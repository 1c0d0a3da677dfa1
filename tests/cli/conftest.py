"""Commands run in this process, as a shell would see them: exit code, stdout and stderr."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from planner.cli.main import run


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


Planner = Callable[..., Finished]


@pytest.fixture
def planner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Planner:
    """`planner("optimize", "--slo", "ttft=1s")` runs the command line; `code` is what the exit code must be."""
    for name in [name for name in os.environ if name.startswith("PLANNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PLANNER_VERIFY", "no")  # proof by simulation takes seconds, and has tests of its own

    def invoke(*arguments: object, code: int = 0) -> Finished:
        capsys.readouterr()
        got = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert got == code, f"exit code {got}\n{out}\n{err}"
        return Finished(got, out, err)

    return invoke
