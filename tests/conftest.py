"""What all tests share: where the repository is, which `planner` is tested, and a `planner` command to run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import planner

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = Path(planner.__file__).resolve().parent

# Machines of tests that name none: the paper's pair, with which most oracles were computed by hand. Tests of the
# default itself, the examples and the README run without it.
PAPER_PAIR = "dgx-a100 dgx-h100"
os.environ["PLANNER_MACHINE"] = PAPER_PAIR

Run = Callable[..., subprocess.CompletedProcess[str]]

# The same examples in every run: a change is judged by what it does, not by the draw. No deadline on busy machines.
settings.register_profile("planner", deadline=None, derandomize=True, database=None)
settings.load_profile("planner")


def pytest_report_header() -> str:
    """Say which package the tests exercise: the installed one, or the sources beside them."""
    which = "sources" if PACKAGE == REPOSITORY / "planner" else "installed"
    return f"planner {planner.__version__} ({which}): {PACKAGE}"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose PATH finds `planner` and `python`, the ones under test, whatever is installed.

    PLANNER_* variables of whoever runs the tests are left out, for they would change what commands do.
    """
    folder = tmp_path_factory.mktemp("bin")
    start = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); from planner.cli.main import run"
    installed = Path(sys.executable).parent / "planner"
    if PACKAGE == REPOSITORY / "planner" or not installed.exists():
        command = f'exec "{sys.executable}" -P -c "{start}; sys.exit(run())" "$@"'
    else:
        command = f'exec "{installed}" "$@"'
    for name, line in (("planner", command), ("python", f'exec "{sys.executable}" -P "$@"')):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLANNER_")}
    kept["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    if PACKAGE == REPOSITORY / "planner":
        kept["PYTHONPATH"] = str(PACKAGE.parent)
    return kept


@pytest.fixture
def shell(commands: dict[str, str]) -> Run:
    """Run one line of shell as a reader of the documentation would, in a folder of choice."""

    def run(line: str, *, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=cwd, env=commands, capture_output=True, text=True, timeout=300
        )
        if check and done.returncode:
            pytest.fail(f"{line!r} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run
