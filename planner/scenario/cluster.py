"""A cluster that is given: its pools as a caller, a file or a plan states them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from planner.catalog.loading import Layer, read_layer
from planner.catalog.validation import check, joined, where_of
from planner.errors import ScenarioError
from planner.scenario.scenario_file import at_rate


class PoolInput(BaseModel):
    """One pool of a cluster to evaluate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["prefill", "decode", "mixed"]
    machine: str
    count: int = Field(ge=1)
    tensor_parallel: int | None = Field(
        default=None, ge=1, description="Tensor-parallel degree; left out: the one that carries most."
    )
    pipeline_parallel: int = Field(default=1, ge=1)
    expert_parallel: int = Field(default=1, ge=1)
    attention_data_parallel: int = Field(default=1, ge=1, description="Groups of ranks with sequences of their own.")
    spares: int = Field(default=0, ge=0, description="Machines beside them, paid for and idle.")
    rate_per_s: float | None = Field(
        default=None, ge=0, description="Part of the load, as a weight; left out: what it can sustain."
    )
    takes_from: str | None = Field(
        default=None, description="Prefill machines that a decode pool serves, by comma; left out: any it can reach."
    )


class Cluster(BaseModel):
    """A given set of pools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pools: tuple[PoolInput, ...] = Field(json_schema_extra={"minItems": 1})

    @field_validator("pools")
    @classmethod
    def _not_empty(cls, pools: tuple[PoolInput, ...]) -> tuple[PoolInput, ...]:
        if not pools:
            raise ValueError("a cluster has at least one pool")
        return pools


def read_cluster_file(path: str | os.PathLike[str]) -> tuple[Cluster, dict[str, Any]]:
    """Read a cluster from a file: YAML or JSON with `pools`, or a plan as `--format json` prints it.

    Returns
    -------
    Cluster, dict
        Of a plan: its pools with their layouts, spares and parts of the load, and its scenario at the rate that it
        carries. Of another file the dict is empty.

    Raises
    ------
    ScenarioError
        Something in the file cannot be used; `where` is file:line.
    """
    layer = read_layer(Path(path), error=ScenarioError)
    data, scenario = dict(layer.data), {}
    if "schema_version" in data and isinstance(data.get("pools"), list):
        scenario = _scenario_of(layer)
        data = {"pools": [input_of(pool) if isinstance(pool, dict) else pool for pool in data["pools"]]}
    cluster, problems = check(Cluster, data, [layer], error=ScenarioError)
    if cluster is None:
        raise joined(problems)
    try:
        return read_cluster(cluster), scenario
    except ScenarioError as error:
        error.where = where_of(("pools",), [layer])
        raise


def _scenario_of(plan: Layer) -> dict[str, Any]:
    """The scenario of a plan at the rate that the plan carries."""
    fields, rate_per_s = plan.data.get("scenario") or {}, plan.data.get("rate_per_s")
    if not isinstance(fields, Mapping):
        raise ScenarioError("scenario must have the fields of a scenario", where=where_of(("scenario",), [plan]),
                            value=repr(fields))  # fmt: skip
    if isinstance(rate_per_s, bool) or not isinstance(rate_per_s, (int, float)) or not 0 < rate_per_s < math.inf:
        raise ScenarioError(
            "the plan has no rate", where=where_of(("rate_per_s",), [plan]),
            value=None if rate_per_s is None else repr(rate_per_s), rule="rate_per_s is a finite number above zero",
            fix="figures of a plan are not edited; write it again",
        )  # fmt: skip
    return at_rate(fields, rate_per_s)


def input_of(pool: Mapping[str, Any]) -> dict[str, Any]:
    """The pool of a plan without what was predicted of it."""
    return {key: value for key, value in pool.items() if key in PoolInput.model_fields}


def read_cluster(source: Cluster | Mapping[str, Any] | list[Any]) -> Cluster:
    """Turn what the caller has into a `Cluster`.

    Raises
    ------
    ScenarioError
        A field that is unknown or cannot be used, or a role that is missing.
    """
    if isinstance(source, Cluster):
        cluster = source
    else:
        try:
            cluster = Cluster.model_validate({"pools": source} if isinstance(source, list) else source)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            message = first["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
            raise ScenarioError(
                f"{'.'.join(map(str, first['loc']))}: {message}",
                where="cluster",
                value=repr(first.get("input")),
                fix="write pools like {role: prefill, machine: dgx-h100, count: 27}",
            ) from None
    roles = {pool.role for pool in cluster.pools}
    for role, other in (("prefill", "decode"), ("decode", "prefill")):
        if role in roles and other not in roles:
            raise ScenarioError(
                f"the cluster has a {role} pool and no {other} pool",
                where="cluster",
                rule="a request needs both phases",
                fix=f"add a {other} pool, or make the pool mixed",
            )
    return cluster
