"""Many small jobs over the cores of this machine, with the same answers as one after the other.

Every job runs in a process of its own choosing, so a job may depend on nothing but its item: what it needs besides is
read there, and cached there if it is worth it. Results come as they are finished, each with the place of its item.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from planner.errors import PlannerError, ScenarioError
from planner.scenario.progress import quiet

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_AHEAD = 4  # jobs handed out for each worker: enough that none waits, few enough that stopping is quick


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def n_workers(workers: int | None) -> int:
    """How many processes to use: those asked for, or one a core.

    Raises
    ------
    ScenarioError
        Fewer than one.
    """
    if workers is None:
        return available_cores()
    if workers < 1:
        raise ScenarioError("at least one process does the work", where="workers", value=workers)
    return workers


def run_all(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    progress: Callable[[str], None] = quiet,
    what: str = "scenarios",
) -> Iterator[tuple[int, Answer]]:
    """Yield the index of each item and what the function makes of it, in the order in which they are finished.

    Parameters
    ----------
    function : callable
        Takes one item. With several workers it runs in other processes, so it must be importable: a function of a
        module, or a `functools.partial` of one. The same for items and answers, which are pickled.
    items : sequence
    workers : int, optional
        Processes; left out, one a core. With one worker, or one item, everything runs in this process.
    progress : callable
        Told how many are done and about how long the rest will take.
    what : str
        What the items are, for `progress`.

    Yields
    ------
    (int, object)

    Raises
    ------
    Exception
        Whatever the function raises, at the first item for which it does; the others are given up.
    PlannerError
        A worker was killed, as the system does where memory runs out.

    Notes
    -----
    Closing the iterator, Ctrl-C and errors stop the workers at once. Workers end by themselves if this process is
    killed. Which answer comes first depends on timing; the answers do not.
    """
    counted = Countdown(len(items), what, progress)
    n = min(n_workers(workers), len(items))
    if n <= 1:
        for i, item in enumerate(items):
            counted.show()
            yield i, function(item)
            counted.add()
        return
    executor = ProcessPoolExecutor(n, multiprocessing.get_context("spawn"), _begin_worker)
    waiting = iter(enumerate(items))
    running: dict[Future[Answer], int] = {}
    try:
        while True:
            with _without_main():
                for i, item in itertools.islice(waiting, _AHEAD * n - len(running)):
                    running[executor.submit(function, item)] = i
            if not running:
                return
            counted.show()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: running[f]):
                yield running.pop(future), future.result()
                counted.add()
    except BrokenProcessPool:
        raise PlannerError(
            f"a worker process ended before its work, with {counted.done} of {len(items)} {what} done",
            rule="the system kills processes where memory runs out",
            fix="use fewer workers",
        ) from None
    finally:
        _stop(executor)


class Countdown:
    """Says how many of so many are done, and about how long the rest will take.

    Parameters
    ----------
    total : int
    what : str
        What is counted, in the plural.
    progress : callable
        Where to say it.
    done : int
        How many were done before the clock started.
    """

    def __init__(self, total: int, what: str, progress: Callable[[str], None], done: int = 0) -> None:
        self.total, self.what, self.done = total, what, done
        self._progress, self._before, self._started_s = progress, done, time.monotonic()

    def add(self, n: int = 1) -> None:
        """So many more are done."""
        self.done += n
        self.show()

    def show(self) -> None:
        """Say where things stand."""
        self._progress(self.text(time.monotonic() - self._started_s))

    def text(self, elapsed_s: float) -> str:
        """`12 of 40 scenarios, about 2 min left`."""
        text = f"{self.done:,} of {self.total:,} {self.what}"
        new = self.done - self._before
        if new <= 0 or self.done >= self.total:
            return text
        left_s = elapsed_s / new * (self.total - self.done)
        return f"{text}, about {format_left(left_s)} left"


def format_left(seconds: float) -> str:
    """A time to wait, as people say it: `40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    # Without it the workers of a process that was killed would wait for work for ever.
    threading.Thread(target=follow, daemon=True).start()


def _stop(executor: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are at."""
    # From Python 3.14 on `executor.terminate_workers()` does this.
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        process.terminate()
    executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that start here not import the script that the user runs.

    They need nothing of it, and it may do its work whenever it is imported (no `if __name__ == "__main__":`), which
    would start it again in every worker.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file
