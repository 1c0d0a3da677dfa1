"""How commands are told a cluster: a file, a plan, or --pool options."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.errors import PlannerError, ScenarioError
from planner.scenario.pool_text import POOL_FORM, read_pool

ClusterArgument = Annotated[
    Path | None,
    typer.Argument(metavar="CLUSTER", help="YAML or JSON with `pools`, or a plan from optimize --format json."),
]
PoolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pool",
        metavar=POOL_FORM,
        help="A pool in the place of a file, such as prefill=dgx-h100:27 or "
        "mixed=dgx-a100:10:tp4 (tpN, ppN, epN in a row; left out: the best). Repeatable.",
    ),
]
ScenarioOption = Annotated[
    Path | None, typer.Option("--scenario", metavar="FILE", help="A file with the fields of a scenario.")
]


def cluster_of(cluster: Path | None, pool: list[str] | None) -> Path | list[dict[str, Any]]:
    """The cluster that a command was given, as `planner.evaluate` takes it.

    Raises
    ------
    ScenarioError
        Neither a file nor pools, both, or a pool that is not one.
    """
    if (cluster is None) == (not pool):
        raise ScenarioError(
            "no cluster is given" if cluster is None else "a cluster file and --pool are both given",
            where="CLUSTER",
            rule="a file, or one --pool option a pool",
            fix="write it like --pool prefill=dgx-h100:27 --pool decode=dgx-h100:3",
        )
    return cluster if cluster is not None else [read_pool(text) for text in pool or []]


@contextlib.contextmanager
def locating_cluster(cluster: Path | None) -> Iterator[None]:
    """Make errors about the cluster name its file, or --pool."""
    try:
        yield
    except PlannerError as error:
        if error.where in ("cluster", "machines"):
            error.where = "--pool" if cluster is None else str(cluster)
        raise
