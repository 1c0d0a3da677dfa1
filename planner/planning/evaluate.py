"""Predict what a given cluster does with a scenario."""

from __future__ import annotations

import numpy as np

from planner.errors import ScenarioError
from planner.planning.closed_loop import at_rate, rate_of_clients
from planner.planning.plan import Plan, SolverReport
from planner.planning.record import build_plan
from planner.pools.candidate import stable_rate_of_one
from planner.pools.configuration import Configuration, check_degrees, configure, make_layout
from planner.pools.draw import with_full_draw
from planner.pools.prediction import Member, Route, capacity_of
from planner.scenario.cluster import Cluster, PoolInput, input_of, read_cluster
from planner.scenario.resolve import Problem, configurations_on
from planner.serving.capacity import mixed_capacity, prefill_capacity
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue


def cluster_of(plan: Plan) -> Cluster:
    """The pools of a plan, with their layouts, spares and parts of the load."""
    return read_cluster([input_of(pool.model_dump()) for pool in plan.pools])


def evaluate_cluster(problem: Problem, cluster: Cluster) -> Plan:
    """Predict percentiles, utilisation, cost and headroom of a given cluster.

    Raises
    ------
    ScenarioError
        A prefill pool that can reach no decode pool.
    """
    members, routes = members_and_routes(problem, cluster)
    if clients := problem.n_clients:
        think_s = problem.scenario.think_time_s or 0.0
        problem = at_rate(problem, rate_of_clients(members, routes, problem.need, clients, think_s))
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
            machine, problem.serving, pool.tensor_parallel, pool.pipeline_parallel, pool.expert_parallel,
            pool.attention_data_parallel,
        )  # fmt: skip
        try:
            check_degrees(problem.llm, layout)
        except ScenarioError as error:
            error.where = "cluster"
            raise
        configuration = configure(problem.catalog, machine, problem.serving, layout, books)
        return with_full_draw(configuration, problem.need.traffic, problem.llm, problem.runtime)
    found, rejected = configurations_on(problem, machine)
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
