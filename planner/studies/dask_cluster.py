"""Jobs on the workers of a Dask cluster, in the form of `parallel.run_all`.

`distributed` comes with the extra `dask` and is imported when an address is given, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from uuid import uuid4

from planner.errors import PlannerError, ScenarioError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
PATIENCE_S = 10.0  # for the scheduler to answer
_KEPT = "what was finished is kept in the results file, if one was given"


def run_on_dask(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    address: str,
    *,
    names: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, Answer]]:
    """Yield the index of each item and what the function makes of it, in the order in which they are finished.

    Parameters
    ----------
    function : callable
        A function of a module that the workers can import.
    items : sequence
    address : str
        Of the scheduler, such as `tcp://10.0.0.5:8786`.
    names : sequence of str
        One an item, to know it by on the scheduler's dashboard.
    progress : callable
        Told when no worker is there.

    Raises
    ------
    ScenarioError
        `distributed` is not installed, or no scheduler answers at the address.
    PlannerError
        The scheduler went away, or a job's workers died time and again.
    Exception
        Whatever the function raises, at the first item for which it does; the others are given up.

    Notes
    -----
    The scheduler gives the jobs of a worker that dies to another one. It gives up a job whose workers died more often
    than its `allowed-failures` (3).
    """
    client = _client(address)
    try:
        from distributed import as_completed

        run = uuid4().hex[:8]  # answers of an earlier run, still on the cluster, are not those of this one
        futures = [
            client.submit(function, item, key=f"planner-{name}-{run}", pure=False)
            for item, name in zip(items, names, strict=True)
        ]
        index = {future.key: i for i, future in enumerate(futures)}
        if not client.scheduler_info()["workers"]:
            progress(f"the Dask scheduler at {address} has no worker yet")
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            if future.status == "finished":
                yield index[future.key], future.result()
                future.release()
                continue
            raise _failure(future, address)
    finally:
        client.close()


def _client(address: str):  # type: ignore[no-untyped-def]
    try:
        from distributed import Client
    except ImportError:
        raise ScenarioError(
            "distributed is not installed, and it is what talks to Dask", where="--dask",
            fix="pip install 'splitwise-planner[dask]'",
        ) from None  # fmt: skip
    import logging

    # It warns of an address that does not answer; the error below says it once.
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=PATIENCE_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (
        OSError,
        ValueError,
        TypeError,
    ) as error:  # no answer in time is an OSError; a malformed address a ValueError
        raise ScenarioError(
            f"no Dask scheduler answers within {PATIENCE_S:g} s", where="--dask", value=address,
            rule=f"{type(error).__name__}: {error}",
            fix="start one with `dask scheduler`, and give the address that it prints, such as tcp://10.0.0.5:8786",
        ) from None  # fmt: skip
    finally:
        logger.setLevel(level)


def _failure(future, address: str) -> BaseException:  # type: ignore[no-untyped-def]
    """The error of a job that did not finish."""
    from distributed import KilledWorker

    if future.status != "error":
        return PlannerError(
            "the Dask scheduler went away, or gave the work up", where="--dask", value=f"{address}: {future.status}",
            rule=_KEPT,
        )  # fmt: skip
    error = future.exception()
    if isinstance(error, KilledWorker):
        return PlannerError(
            "Dask gave up a scenario whose workers died again and again", where="--dask", value=str(error), rule=_KEPT,
            fix="look into the workers' logs: memory, most likely",
        )  # fmt: skip
    if isinstance(error, ImportError):
        return PlannerError(
            "the Dask workers cannot import planner", where="--dask", value=str(error),
            fix="install the same version of splitwise-planner on them",
        )  # fmt: skip
    return error  # type: ignore[no-any-return]
