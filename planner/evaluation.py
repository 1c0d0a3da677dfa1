"""Predict what a given cluster does with a scenario."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from planner.catalog.loading import read_layer
from planner.catalog.validation import check, joined, where_of
from planner.errors import ScenarioError
from planner.fleet.candidate import stable_rate_of_one
from planner.fleet.configuration import Configuration, check_degrees, configurations_of, configure, make_layout
from planner.fleet.plan import Cluster, Plan, PoolInput, SolverReport
from planner.fleet.prediction import Member, Route, capacity_of
from planner.problem import Problem
from planner.reporting import build_plan
from planner.serving.capacity import mixed_capacity, prefill_capacity
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue


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
        scenario = dict(data.get("scenario") or {}) | {"rate_per_s": data.get("rate_per_s")}
        data = {"pools": [_input_of(pool) if isinstance(pool, dict) else pool for pool in data["pools"]]}
    cluster, problems = check(Cluster, data, [layer], error=ScenarioError)
    if cluster is None:
        raise joined(problems)
    try:
        return read_cluster(cluster), scenario
    except ScenarioError as error:
        error.where = where_of(("pools",), [layer])
        raise


def _input_of(pool: Mapping[str, Any]) -> dict[str, Any]:
    """The pool of a plan without what was predicted of it."""
    return {key: value for key, value in pool.items() if key in PoolInput.model_fields}


def cluster_of(plan: Plan) -> Cluster:
    """The pools of a plan, with their layouts, spares and parts of the load."""
    return read_cluster([_input_of(pool.model_dump()) for pool in plan.pools])


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


def evaluate_cluster(problem: Problem, cluster: Cluster) -> Plan:
    """Predict percentiles, utilisation, cost and headroom of a given cluster.

    Raises
    ------
    ScenarioError
        A prefill pool that can reach no decode pool.
    """
    members, routes = members_and_routes(problem, cluster)
    capacities = [capacity_of(members, routes, problem.need, i) for i in range(len(members))]
    value = float(sum(pool.count for pool in cluster.pools))
    report = SolverReport(
        status="evaluated", solver="none", objective="none", value=value, bound=value, gap=0.0, rounds=0,
        candidates=len(members), enumeration=None, rows_checked=False,
    )  # fmt: skip
    return build_plan(
        problem, members, routes, capacities, report,
        spares=[pool.spares for pool in cluster.pools], rejected=[], alternatives=[],
    )  # fmt: skip


def members_and_routes(problem: Problem, cluster: Cluster) -> tuple[list[Member], list[Route]]:
    """The pools of a given cluster with their layouts, and the ways that requests take through them.

    Load is shared as the pools say (`rate_per_s`), or else in proportion to the rate that each can sustain; every
    prefill pool sends to every decode pool that it can reach and that takes from it.

    Raises
    ------
    ScenarioError
        A prefill pool that can reach no decode pool.
    """
    configurations = [_configuration(problem, pool) for pool in cluster.pools]
    stable = [
        pool.count * _stable_rate(problem, pool, c) for pool, c in zip(cluster.pools, configurations, strict=True)
    ]
    given = [pool.rate_per_s for pool in cluster.pools]
    weights = stable if None in given else [w or 0.0 for w in given]
    routes = _routes(problem, cluster, configurations, weights)
    rate = [0.0] * len(stable)
    for route in routes:
        rate[route.first] += route.rate_per_s
        if route.second is not None:
            rate[route.second] += route.rate_per_s
    members = [
        Member(pool.role, c, pool.count, r) for pool, c, r in zip(cluster.pools, configurations, rate, strict=True)
    ]
    return members, routes


def _configuration(problem: Problem, pool: PoolInput) -> Configuration:
    machine = problem.catalog.machine(pool.machine, where="cluster")
    books = problem.scenario.prices
    if pool.tensor_parallel is not None:
        layout = make_layout(
            machine, problem.serving, pool.tensor_parallel, pool.pipeline_parallel, pool.expert_parallel
        )
        try:
            check_degrees(problem.llm, layout)
        except ScenarioError as error:
            error.where = "cluster"
            raise
        return configure(problem.catalog, machine, problem.serving, layout, books)
    found, rejected = configurations_of(problem.catalog, machine, problem.serving, books)
    if not found:
        raise rejected[0].error
    # The layout that carries most within the objectives at this count; where none carries anything, the quickest.
    # One that holds the longest request goes before all that do not.
    return max(found, key=lambda c: (problem.need.is_held_by(c, pool.role), *_capacity(problem, pool, c), c.label))


def _queue(problem: Problem, role: str, c: Configuration) -> PrefillQueue | DecodeQueue | MixedQueue:
    kinds: dict[str, type[PrefillQueue] | type[DecodeQueue] | type[MixedQueue]] = {
        "prefill": PrefillQueue, "decode": DecodeQueue, "mixed": MixedQueue
    }  # fmt: skip
    return kinds[role](c.lane, problem.need.traffic)


def _stable_rate(problem: Problem, pool: PoolInput, c: Configuration) -> float:
    return stable_rate_of_one(c, _queue(problem, pool.role, c))


def _capacity(problem: Problem, pool: PoolInput, c: Configuration) -> tuple[float, float]:
    """Rate within the objectives, and the stable rate, of this many machines in this layout."""
    need, queue = problem.need, _queue(problem, pool.role, c)
    stable = pool.count * stable_rate_of_one(c, queue)
    count, lanes = np.array([pool.count]), c.layout.lanes_per_machine
    if isinstance(queue, PrefillQueue):
        return float(prefill_capacity(queue, need.limits, count, lanes, need.most_busy).rate_per_s[0]), stable
    if isinstance(queue, MixedQueue):
        return float(mixed_capacity(queue, need.limits, count, lanes, need.most_busy).rate_per_s[0]), stable
    # A decode pool's limits depend on who sends to it; by itself, judge it on pace.
    return stable, stable


def _takes(decode: PoolInput, sender: Configuration, receiver: Configuration) -> bool:
    wanted = decode.takes_from is None or sender.machine.name in decode.takes_from.replace(",", " ").split()
    return wanted and sender.can_send_to(receiver)


def _routes(
    problem: Problem, cluster: Cluster, configurations: list[Configuration], weight: list[float]
) -> list[Route]:
    by_role = {
        role: [i for i, pool in enumerate(cluster.pools) if pool.role == role]
        for role in ("prefill", "decode", "mixed")
    }
    reach = {
        p: [d for d in by_role["decode"] if _takes(cluster.pools[d], configurations[p], configurations[d])]
        for p in by_role["prefill"]
    }
    for p, reached in reach.items():
        if not reached:
            name = configurations[p].machine.name
            raise ScenarioError(
                f"the prefill pool of {name} can reach no decode pool",
                where="cluster",
                rule="KV caches cross within one site and one kind of network",
                fix="put both pools on machines of one site and fabric family",
            )
    split = min(sum(weight[i] for i in by_role["prefill"]), sum(weight[i] for i in by_role["decode"]))
    mixed = sum(weight[i] for i in by_role["mixed"])
    if split + mixed <= 0:
        raise ScenarioError("the cluster has no room for a single request", where="cluster", rule="KV memory")
    demand = problem.need.rate_per_s
    routes = [Route(i, None, demand * weight[i] / (split + mixed)) for i in by_role["mixed"]]
    total_prefill = sum(weight[i] for i in by_role["prefill"]) or 1.0
    for p, reached in reach.items():
        share = demand * split / (split + mixed) * weight[p] / total_prefill
        total = sum(weight[d] for d in reached) or 1.0
        routes += [Route(p, d, share * weight[d] / total) for d in reached]
    return routes
