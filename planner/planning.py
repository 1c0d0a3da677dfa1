"""From a resolved problem to a plan: generate candidates, enumerate, choose, check, report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import DoesNotFitError, InfeasibleError, ObjectiveUnreachableError, PlannerError
from planner.fleet.candidate import Candidate
from planner.fleet.configuration import Configuration, Rejection
from planner.fleet.design import design_name
from planner.fleet.generation import generate
from planner.fleet.limits import Limits, price_usd_per_hour, unit_cost
from planner.fleet.prediction import ClusterModel, Member, Route
from planner.optimization.selection import (
    Pair,
    Selection,
    Simple,
    best_simple,
    best_throughput,
    choose,
    enumerate_pairs,
)
from planner.problem import Problem, configurations
from planner.serving.capacity import CapacityCurve
from planner.serving.requests import Limit
from planner.units import format_data, format_money, format_power, format_time

Progress = Callable[[str], None]
_TIGHTENINGS = 12  # rounds of lowering a capacity that the whole-cluster model does not confirm


@dataclass(frozen=True, eq=False)
class Solution:
    """Chosen pools with everything that led to them.

    Attributes
    ----------
    members, routes : lists
        The cluster, as `ClusterModel` takes it.
    capacities : list of float
        Rate each member could carry within the objectives [requests/s].
    selection : Selection
    simples : dict
        Best plan of each design that enumeration found, by name.
    rejected : list of Rejection
    n_candidates : int
    rate_per_s : float
        Carried [requests/s].
    """

    members: list[Member]
    routes: list[Route]
    capacities: list[float]
    selection: Selection
    simples: dict[str, Simple]
    rejected: list[Rejection]
    n_candidates: int
    rate_per_s: float


def quiet(_: str) -> None:
    """Report no progress."""


def solve_problem(problem: Problem, progress: Progress = quiet) -> Solution:
    """Find the best cluster.

    Raises
    ------
    InfeasibleError
        No cluster can meet the objectives within the limits; says which collide and the nearest that works.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    found, rejected = configurations(problem)
    top = _largest_rate(problem, found)
    candidates = _candidates(problem, found, top, progress)
    scenario, limits = problem.scenario, problem.limits
    for _ in range(_TIGHTENINGS):
        progress(f"choosing among {len(candidates)} pools")
        simples = enumerate_designs(candidates, problem, limits)
        incumbent = _best(simples.values(), problem)
        selection = choose(
            candidates,
            problem.need.rate_per_s,
            scenario.objective,
            limits,
            incumbent=incumbent,
            solver=scenario.solver,
            time_limit_s=scenario.time_limit_s,
            seed=scenario.seed,
        )
        if selection is None:
            raise explain_infeasible(problem, candidates)
        by_key = {c.key: c for c in candidates}
        members, routes, capacities = assemble(selection, by_key)
        model = ClusterModel(members, routes, problem.need)
        if all(model.meets(limit) for limit in problem.need.limits):
            total = sum(r.rate_per_s for r in routes)
            return Solution(members, routes, capacities, selection, simples, rejected, len(candidates), total)
        # The pools meet the objectives one by one but not together (an end-to-end limit near its edge).
        candidates = [_derated(c) if c.key in selection.counts else c for c in candidates]
    raise PlannerError(
        "the chosen pools do not meet the objectives together", rule="report this scenario as a bug"
    )


def _derated(candidate: Candidate, factor: float = 0.99) -> Candidate:
    def compute(n: np.ndarray, inner: Callable[[np.ndarray], CapacityCurve] = candidate.compute) -> CapacityCurve:
        curve = inner(n)
        return CapacityCurve(curve.n_machines, curve.rate_per_s * factor)

    curve = CapacityCurve(candidate.curve.n_machines, candidate.curve.rate_per_s * factor)
    return replace(candidate, curve=curve, compute=compute)


def _largest_rate(problem: Problem, found: Sequence[Configuration]) -> float:
    """Largest rate that one pool could be asked for: the demand, or what a budget could buy of the quickest."""
    if problem.scenario.objective != "throughput":
        return problem.need.rate_per_s
    most = 0.0
    for c in found:
        n = _affordable(c, problem.limits)
        lanes = c.layout.lanes_per_machine
        step_s = float(c.lane.decode_time_s(np.array([float(c.lane.max_batch)]), 1.0)[0])
        prefill_s = float(problem.need.traffic.weight @ c.lane.prefill_time_s(problem.need.traffic.prompt_tokens))
        decode = lanes * c.lane.max_batch / step_s / problem.need.traffic.mean_decode_steps
        most = max(most, n * min(decode, lanes / prefill_s))
    return most


def _affordable(configuration: Configuration, limits: Limits) -> float:
    n = float(limits.max_machines.get(configuration.machine.name, math.inf))
    n = min(n, limits.max_total_machines or math.inf)
    if limits.max_power_w is not None:
        n = min(n, limits.max_power_w / configuration.machine.rated_power_w)
    if limits.max_cost_usd_per_hour is not None and configuration.price:
        n = min(n, limits.max_cost_usd_per_hour / configuration.price.usd_per_hour)
    return min(n, 1e5)


def _candidates(
    problem: Problem, found: Sequence[Configuration], top: float, progress: Progress
) -> list[Candidate]:
    candidates = generate(found, problem.need, problem.design, top, progress)
    if not candidates:
        raise unreachable(problem, found)
    return candidates


def enumerate_designs(candidates: Sequence[Candidate], problem: Problem, limits: Limits) -> dict[str, Simple]:
    """Best plan of each design with one mixed type, or one prefill and one decode type."""
    pairs = enumerate_pairs(candidates)
    throughput = problem.scenario.objective == "throughput"
    if not throughput:
        # The likeliest first: what is beaten before its exact counts are known need not have them computed.
        optimistic = [_optimistic(pair, problem, limits) for pair in pairs]
        pairs = [pair for _, _, pair in sorted(zip(optimistic, range(len(pairs)), pairs, strict=True))]
        optimistic.sort()
    best: dict[str, Simple] = {}
    for i, (first, second) in enumerate(pairs):
        name = design_name(first.configuration.machine.name, second.configuration.machine.name if second else None)
        if throughput:
            simple = best_throughput((first, second), limits)
        elif not math.isfinite(optimistic[i]):
            continue
        elif name in best and optimistic[i] > best[name].objective:
            continue
        elif len(best) >= DESIGNS_COMPARED and not (second is None and not _has_baseline(best)):
            continue
        else:
            simple = best_simple((first, second), problem.need.rate_per_s, problem.scenario.objective, limits)
        if simple is not None and (name not in best or _is_better(simple, best[name], problem)):
            best[name] = simple
    return dict(sorted(best.items()))


DESIGNS_COMPARED = 8  # best designs whose exact plans are worked out, besides the best homogeneous one


def _has_baseline(designs: dict[str, Simple]) -> bool:
    return any(len(simple.pools) == 1 for simple in designs.values())


def _optimistic(pair: Pair, problem: Problem, limits: Limits) -> float:
    """Objective of a pair's plan at counts that are never too high."""
    return sum(
        unit_cost(c, problem.scenario.objective) * (c.optimistic_count(problem.need.rate_per_s) + limits.spares)
        for c in pair
        if c is not None
    )


def _is_better(a: Simple, b: Simple, problem: Problem) -> bool:
    if problem.scenario.objective == "throughput":
        return (-a.rate_per_s, a.objective) < (-b.rate_per_s, b.objective)
    return (a.objective, len(a.pools), _power(a)) < (b.objective, len(b.pools), _power(b))


def _power(simple: Simple) -> float:
    return sum(c.configuration.machine.rated_power_w * n for c, n in simple.pools)


def _best(simples: Sequence[Simple] | object, problem: Problem) -> Simple | None:
    best: Simple | None = None
    for simple in simples:  # type: ignore[attr-defined]
        if best is None or _is_better(simple, best, problem):
            best = simple
    return best


def assemble(
    selection: Selection, by_key: dict[str, Candidate]
) -> tuple[list[Member], list[Route], list[float]]:
    """Turn chosen candidates into a cluster."""
    exact = {key: by_key[key].with_counts([n]) for key, n in selection.counts.items()}
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    keys = sorted(exact, key=lambda k: (order[exact[k].role], k))
    index: dict[str | None, int | None] = {None: None, **{k: i for i, k in enumerate(keys)}}
    flows = sorted(selection.flows_per_s.items(), key=str)
    routes = [Route(keys.index(first), index[second], rate) for (first, second), rate in flows]
    rate = {k: sum(r for way, r in flows if k in way) for k in keys}
    members = [Member(exact[k].role, exact[k].configuration, selection.counts[k], rate[k]) for k in keys]
    return members, routes, [exact[k].curve.at(selection.counts[k]) for k in keys]


# -- infeasible ----------------------------------------------------------------------------------------------------


def unreachable(problem: Problem, found: Sequence[Configuration]) -> InfeasibleError:
    """Name the objectives that no machine reaches even unloaded, with the value each can reach."""
    if not any(problem.need.is_held_by(c, "mixed") for c in found):
        most = max(found, key=lambda c: c.lane.kv_tokens)
        longest = problem.need.longest_request_tokens
        per_token = most.kv_bytes_per_token
        return DoesNotFitError(
            f"the longest request of {problem.workload_name} ({longest:,.0f} tokens) fits the KV memory of no machine "
            "considered",
            where="workload",
            value=f"needs {longest * per_token:,.0f} bytes ({format_data(longest * per_token)}), has "
            f"{most.lane.kv_tokens * per_token:,.0f} bytes ({format_data(most.lane.kv_tokens * per_token)}, "
            f"{most.lane.kv_tokens:,.0f} tokens) on {most.label}",
            rule="one batch stream must hold the longest request beside the weights",
            fix="add machines with more memory, lower --precision or --kv-precision, or cut the trace",
        )
    missed: list[str] = []
    for limit in problem.need.limits:
        best, where = _best_unloaded(problem, found, limit)
        if best > limit.value:
            value = format_time(best) if limit.objective.limit_s is not None else f"{best:.3g}x"
            missed.append(f"{limit.objective.label} <= {limit.objective.limit_label}: at best {value}, unloaded, on {where}")
    if missed:
        return ObjectiveUnreachableError(
            f"no machine considered reaches {'these objectives' if len(missed) > 1 else 'this objective'}, even unloaded",
            where="slo",
            value="\n         ".join(missed),
            rule="a limit cannot be below the latency of a request alone on the quickest machine",
            fix="raise the limit to the value named, or add quicker machines with --machine",
        )
    each = "; ".join(str(limit.objective) for limit in problem.need.limits)
    return InfeasibleError(
        f"no pool of the design {problem.design.name} meets all objectives together at any load",
        where="slo",
        value=each,
        rule="each objective can be met alone; together they leave no room for a second request",
        fix="relax one of them, allow another --design, or add machines",
    )


def _best_unloaded(problem: Problem, found: Sequence[Configuration], limit: Limit) -> tuple[float, str]:
    """Least value of an objective over all configurations, each request alone."""
    traffic, best, where = problem.need.traffic, math.inf, ""
    for c in found:
        prompt, g = traffic.prompt_tokens, traffic.decode_steps
        ttft = c.lane.prefill_time_s(prompt)
        tbt = c.lane.decode_time_s(np.ones_like(prompt), prompt + 1.0 + g / 2.0)
        latency = {"ttft": ttft, "tbt": tbt, "e2e": ttft + g * tbt}[limit.objective.metric]
        weight = traffic.weight * (g > 0) if limit.objective.metric == "tbt" else traffic.weight
        value = _quantile(latency / limit.unit_s, weight, limit.objective.percentile / 100.0)
        if value < best:
            best, where = value, c.label
    return best, where


def _quantile(values: np.ndarray, weight: np.ndarray, p: float) -> float:
    if weight.sum() <= 0:
        return 0.0
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(cumulative, p - 1e-12)), values.size - 1)])


def explain_infeasible(problem: Problem, candidates: Sequence[Candidate]) -> InfeasibleError:
    """Say which limits collide with the demand, and the nearest relaxation of each that works.

    Each limit is lifted alone and its least value found by optimising for it; if lifting one is not enough,
    all are lifted together. The load that fits within all limits is the other way out.
    """
    limits, scenario = problem.limits, problem.scenario
    lines: list[str] = []
    for name, lifted in _lifted_one_by_one(limits).items():
        found = _cheapest_of(candidates, problem, lifted, name)
        if found is not None:
            lines.append(f"{name}: {_limit_text(name, limits)} is too little; {found}")
    if not lines:
        nothing = replace(
            limits, max_cost_usd_per_hour=None, max_power_w=None, max_machines={}, max_total_machines=None, max_pools=None
        )
        simples = enumerate_designs(candidates, problem, nothing)
        best = _best(simples.values(), problem)
        if best is None:
            # No limit is to blame: no pool of the catalog carries the demand at any size.
            return InfeasibleError(
                "no number of the machines considered carries this load", where="rate", value=f"{problem.need.rate_per_s:g}/s"
            )
        lines.append(f"all limits together; without them: {_describe(best)}")
    most = _throughput_within(candidates, problem)
    if most is not None and most > 0:
        share = most / problem.need.rate_per_s
        lines.append(f"rate: {scenario.rate_per_s:g}/s is too much; within the limits {most:.3g}/s is served ({share:.0%})")
    objectives = ", ".join(str(o) for o in scenario.slo)
    return InfeasibleError(
        "no plan meets the objectives within the limits",
        where="limits",
        value="\n         ".join(lines),
        rule=f"objectives {objectives} at {scenario.rate_per_s:g} requests/s",
        fix="relax one of the limits to the value named, or relax the objectives",
    )


def _lifted_one_by_one(limits: Limits) -> dict[str, Limits]:
    lifted: dict[str, Limits] = {}
    if limits.max_cost_usd_per_hour is not None:
        lifted["max_cost"] = replace(limits, max_cost_usd_per_hour=None)
    if limits.max_power_w is not None:
        lifted["max_power"] = replace(limits, max_power_w=None)
    if limits.max_total_machines is not None:
        lifted["max_total_machines"] = replace(limits, max_total_machines=None)
    if limits.max_pools is not None:
        lifted["max_pools"] = replace(limits, max_pools=None)
    for name in sorted(limits.max_machines):
        rest = {k: v for k, v in limits.max_machines.items() if k != name}
        lifted[f"max_machines {name}"] = replace(limits, max_machines=rest)
    return lifted


def _limit_text(name: str, limits: Limits) -> str:
    if name == "max_cost":
        return f"{format_money(limits.max_cost_usd_per_hour or 0)}/h"
    if name == "max_power":
        return format_power(limits.max_power_w or 0)
    if name in ("max_total_machines", "max_pools"):
        return str(getattr(limits, name))
    return str(limits.max_machines[name.removeprefix("max_machines ")])


def _cheapest_of(
    candidates: Sequence[Candidate], problem: Problem, lifted: Limits, name: str
) -> str | None:
    """What the lifted limit would have to be, from the plan that needs least of it."""
    least = {"max_cost": "cost", "max_power": "power"}.get(name, "machines")
    scenario = problem.scenario
    selection = choose(
        candidates,
        problem.need.rate_per_s,
        least,  # type: ignore[arg-type]
        lifted,
        incumbent=None,
        solver=scenario.solver,
        time_limit_s=scenario.time_limit_s,
        seed=scenario.seed,
    )
    if selection is None:
        return None
    by_key = {c.key: c for c in candidates}
    bought = {k: n + lifted.spares for k, n in selection.counts.items()}
    pools = " + ".join(
        f"{n} x {by_key[k].configuration.machine.name} {by_key[k].role}" for k, n in sorted(bought.items(), reverse=True)
    )
    if name == "max_cost":
        need = f"{format_money(sum(price_usd_per_hour(by_key[k]) * n for k, n in bought.items()))}/h"
    elif name == "max_power":
        need = format_power(sum(by_key[k].configuration.machine.rated_power_w * n for k, n in bought.items()))
    elif name == "max_total_machines":
        need = str(sum(bought.values()))
    elif name == "max_pools":
        need = str(len(bought))
    else:
        machine = name.removeprefix("max_machines ")
        need = str(sum(n for k, n in bought.items() if by_key[k].configuration.machine.name == machine))
    return f"{need} is enough ({pools})"


def _throughput_within(candidates: Sequence[Candidate], problem: Problem) -> float | None:
    selection = choose(
        candidates,
        problem.need.rate_per_s,
        "throughput",
        problem.limits,
        incumbent=None,
        solver=problem.scenario.solver,
        time_limit_s=problem.scenario.time_limit_s,
        seed=problem.scenario.seed,
    )
    return selection.objective if selection else None


def _describe(simple: Simple) -> str:
    pools = " + ".join(f"{n} x {c.configuration.machine.name} {c.role}" for c, n in simple.pools)
    return pools
