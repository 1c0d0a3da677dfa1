"""Sweeps on a real local Dask cluster: a scheduler and two worker processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import ScenarioError
from planner.studies import dask_cluster
from planner.studies.dask_cluster import run_on_dask

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
# Its own deprecations are its own business.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

QUICK: dict[str, Any] = {"machines": "dgx-h100", "design": "baseline"}
VARY: dict[str, Any] = {"rate": "5/s..24/s:20"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as local:
        yield local


def test_it_gives_the_same_as_one_after_the_other(cluster: Any, tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    serial = planner.sweep(QUICK, vary=VARY, workers=1).without_times()
    assert planner.sweep(QUICK, vary=VARY, dask=cluster.scheduler_address, results=results).without_times() == serial
    # Everything is kept: nothing is asked of the scheduler again.
    assert planner.sweep(QUICK, vary=VARY, results=results, workers=1).without_times() == serial


def test_a_worker_killed_in_the_middle_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    pids = list(cluster.scheduler_info["workers"].values())
    killed: list[str] = []

    def kill_one(text: str) -> None:
        if text.startswith("3 of") and not killed:
            with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
                pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(text)

    assert len(pids) == 2
    found = planner.sweep(
        QUICK, vary=VARY, dask=cluster.scheduler_address, results=tmp_path / "r.jsonl", progress=kill_one
    )
    assert killed
    assert found.without_times() == planner.sweep(QUICK, vary=VARY, workers=1).without_times()
    rows = (tmp_path / "r.jsonl").read_text().splitlines()[1:]
    assert len(rows) == len({row.split(",")[0] for row in rows}) == 20


def test_an_error_of_a_job_is_raised_here(cluster: Any) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_on_dask(int, ["1", "x"], cluster.scheduler_address, names=["a", "b"]))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "nonsense://x", "tcp://"])
def test_an_address_that_does_not_answer_is_an_error_in_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(dask_cluster, "PATIENCE_S", 0.5)
        started = time.monotonic()
        with pytest.raises(ScenarioError, match=r"no Dask scheduler answers within 0\.5 s") as caught:
            planner.sweep(QUICK, vary=VARY, dask=address.format(port=taken.getsockname()[1]))
    assert caught.value.where == "--dask"
    assert "dask scheduler" in (caught.value.fix or "")
    assert time.monotonic() - started < 20
