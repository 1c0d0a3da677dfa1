"""How commands are told a cluster: a file, a plan, or --pool options."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.errors import PlannerError, ScenarioError, UnknownNameError

ROLES = ("prefill", "decode", "mixed")
POOL_FORM = "ROLE=MACHINE:COUNT[:LAYOUT]"
_DEGREES = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "ep": "expert_parallel"}

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


def read_pool(text: str) -> dict[str, Any]:
    """Read `prefill=dgx-h100:27` or `mixed=dgx-a100:10:tp4pp2` as the fields of a pool.

    Raises
    ------
    ScenarioError
        Not in that form, with the form.
    UnknownNameError
        An unknown role, with near misses.
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([^:]+?)\s*:\s*(\d+)\s*(?::\s*((?:[a-zA-Z]{2}\d+)+)\s*)?", text)
    if not match:
        raise ScenarioError(
            "not a pool", where="--pool", value=text, rule=POOL_FORM, fix="write it like prefill=dgx-h100:27:tp8"
        )
    role, machine, count, layout = match.groups()
    if role not in ROLES:
        raise UnknownNameError.of("role", role, ROLES, where="--pool")
    if int(count) < 1:
        raise ScenarioError("a pool has at least one machine", where="--pool", value=text)
    pool: dict[str, Any] = {"role": role, "machine": machine, "count": int(count)}
    for letters, degree in re.findall(r"([a-zA-Z]{2})(\d+)", layout or ""):
        name = _DEGREES.get(letters.lower())
        if name is None or name in pool:
            raise ScenarioError(
                f"{letters}{degree} is not a parallel degree" if name is None else f"{letters} is given twice",
                where="--pool", value=text, rule="tpN, ppN and epN: tensor, pipeline and expert parallel",
            )  # fmt: skip
        pool[name] = int(degree)
    if layout and "tensor_parallel" not in pool:
        raise ScenarioError(
            "a layout needs its tensor degree", where="--pool", value=text, fix="write it like tp8 or tp4pp2"
        )
    return pool
