"""Many plans: over the cores of this machine or a Dask cluster, and resumed where they were stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from planner.scenario.progress import Progress, quiet
from planner.studies.parallel import Countdown, n_workers, run_all
from planner.studies.results_file import ResultsFile

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_many(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    keys: Sequence[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = quiet,
    what: str = "scenarios",
) -> Iterator[tuple[int, Answer]]:
    """Yield the index of each item and what the function makes of it, in the order in which they are finished.

    Parameters
    ----------
    function, items
        As `parallel.run_all` takes them.
    keys : sequence of str, optional
        One an item, to know it by on the dashboard of a Dask scheduler; left out, numbers.
    workers : int, optional
        Processes on this machine; left out, one a core.
    dask : str, optional
        Address of a Dask scheduler; its workers do the work then.
    progress : callable
        Told how many are done and about how long the rest will take.
    what : str
        What the items are, for `progress`.

    Raises
    ------
    Exception
        As `parallel.run_all` and `dask_cluster.run_on_dask`.
    """
    n_workers(workers)
    if dask is None:
        yield from run_all(function, items, workers=workers, progress=progress, what=what)
        return
    from planner.studies.dask_cluster import run_on_dask

    count = Countdown(len(items), what, progress)
    names = keys if keys is not None else [f"{what}-{i}" for i in range(len(items))]
    for i, answer in run_on_dask(function, items, dask, names=names, progress=progress):
        yield i, answer
        count.add()


def run_in_order(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = quiet,
    what: str = "scenarios",
) -> list[Answer]:
    """Return what the function makes of every item, in the order of the items; otherwise as `run_many`."""
    found = dict(run_many(function, items, workers=workers, dask=dask, progress=progress, what=what))
    return [found[i] for i in range(len(items))]


def run_resumed(
    function: Callable[[Item], dict[str, Any]],
    items: Sequence[Item],
    keys: Sequence[str],
    results: Path | None,
    about: Mapping[str, Any],
    *,
    restart: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = quiet,
    what: str = "scenarios",
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `run_many`, with a file that keeps what is finished: first those that it has, then the others.

    Parameters
    ----------
    keys : sequence of str
        Hash of what each answer depends on.
    results : Path or None
        The file; None keeps nothing.
    about : mapping
        What the whole is, JSON-ready: a file of something else is refused.
    restart : bool
        Delete the results that are there.

    Raises
    ------
    OutputError, ScenarioError
        As `ResultsFile`.
    """
    n_workers(workers)
    if results is None:
        yield from run_many(function, items, keys=keys, workers=workers, dask=dask, progress=progress, what=what)
        return
    with ResultsFile(results, about, keys, restart=restart) as kept:
        yield from sorted(kept.rows.items())
        todo = [i for i in range(len(items)) if i not in kept.rows]
        count = Countdown(len(items), what, progress, len(items) - len(todo))
        count.show()
        pending = [items[i] for i in todo]
        for place, row in run_many(function, pending, keys=[keys[i] for i in todo], workers=workers, dask=dask):
            kept.add(todo[place], row)
            count.add()
            yield todo[place], row
