"""Jobs over processes: the answers of one after the other, and an orderly end whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlannerError, ScenarioError
from planner.studies.parallel import Countdown, format_left, n_workers, run_all
from planner.studies.runner import run_in_order

Run = Any


def test_one_worker_works_in_this_process_and_in_order() -> None:
    # A lambda could not be sent anywhere.
    assert list(run_all(lambda x: x * x, [3, 1, 2], workers=1)) == [(0, 9), (1, 1), (2, 4)]
    assert list(run_all(lambda x: x, [])) == []


def test_several_workers_give_the_same_in_order() -> None:
    said: list[str] = []
    items = list(range(100, 0, -1))
    assert run_in_order(str, items, workers=2, progress=said.append, what="numbers") == [str(i) for i in items]
    assert said[0] == "0 of 100 numbers"
    assert said[-1] == "100 of 100 numbers"


def test_an_error_is_raised_here_as_it_was_there() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_all(int, ["1", "2", "three", "4"], workers=2))
    with pytest.raises(ScenarioError) as caught:
        list(run_all(n_workers, [1, 0], workers=2))
    assert (caught.value.where, caught.value.value) == ("workers", 0)


def test_a_worker_that_dies_is_an_error_and_not_a_wait_without_end() -> None:
    with pytest.raises(PlannerError, match="a worker process ended before its work"):
        list(run_all(os._exit, [3, 3], workers=2))


def test_closing_stops_the_workers() -> None:
    started = time.monotonic()
    answers = run_all(time.sleep, [0.0, 60.0, 60.0], workers=2)
    assert next(answers) == (0, None)
    answers.close()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("workers", [0, -2])
def test_fewer_than_one_worker_is_refused(workers: int) -> None:
    with pytest.raises(ScenarioError, match="at least one process"):
        next(run_all(str, [1], workers=workers))


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_script_leaves_no_process_behind(kind: int, commands: dict[str, str], tmp_path: Path) -> None:
    # A script without `if __name__ == "__main__":`, as people write them.
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from planner.studies.parallel import run_all
            for i, _ in run_all(time.sleep, [0.0, 60.0, 60.0], workers=2):
                print(i, flush=True)
            """
        ),
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [sys.executable, "-P", str(script)], env=commands, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        # Whoever runs the tests in the background may have Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    workers = _children(process.pid)
    assert workers
    process.send_signal(kind)
    assert process.wait(timeout=30) != 0
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_runs, workers))


def test_the_time_left_is_told_in_the_words_of_people() -> None:
    count = Countdown(40, "scenarios", lambda _: None)
    assert count.text(0.0) == "0 of 40 scenarios"
    count.add(10)
    assert count.text(60.0) == "10 of 40 scenarios, about 3 min left"
    resumed = Countdown(40, "scenarios", lambda _: None, done=30)
    assert resumed.text(0.1) == "30 of 40 scenarios"
    resumed.add(5)
    assert resumed.text(5.0) == "35 of 40 scenarios, about 5 s left"
    resumed.add(5)
    assert resumed.text(10.0) == "40 of 40 scenarios"
    assert [format_left(s) for s in (0.2, 89, 100, 7800)] == ["1 s", "89 s", "2 min", "2 h 10 min"]
