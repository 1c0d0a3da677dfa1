"""From a resolved problem to a plan: generate candidates, enumerate, choose, check, report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import InfeasibleError, ObjectiveUnreachableError, PlannerError
from planner.fleet.candidate import Candidate
from planner.fleet.configuration import Configuration, Rejection
from planner.fleet.design import design_name
from planner.fleet.generation import generate
from planner.fleet.limits import Limits, price_usd_per_hour
from planner.fleet.prediction import ClusterModel, Member, Route
from planner.optimization.selection import (
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
from planner.units import format_money, format_power, format_time

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
    best: dict[str, Simple] = {}
    for first, second in enumerate_pairs(candidates):
        name = design_name(first.configuration.machine.name, second.configuration.machine.name if second else None)
        if problem.scenario.objective == "throughput":
            simple = best_throughput((first, second), limits)
        else:
            simple = best_simple((first, second), problem.need.rate_per_s, problem.scenario.objective, limits)
        if simple is not None and (name not in best or _is_better(simple, best[name], problem)):
            best[name] = simple
    return dict(sorted(best.items()))


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
    """Turn chosen candidates into a cluster, sharing the load in proportion to what each part can carry."""
    exact = {key: by_key[key].with_counts([n]) for key, n in selection.counts.items()}
    capacity = {key: exact[key].curve.at(n) for key, n in selection.counts.items()}
    children = {
        key: [d for d, c in exact.items() if c.source == key] for key, c in exact.items() if c.role == "prefill"
    }
    branch = {key: capacity[key] for key, c in exact.items() if c.role == "mixed"}
    branch |= {key: min(capacity[key], sum(capacity[d] for d in below)) for key, below in children.items()}
    carried = sum(selection.rates_per_s[key] for key in branch)
    share = carried / sum(branch.values())
    keys = sorted(exact, key=lambda k: ({"prefill": 0, "decode": 1, "mixed": 2}[exact[k].role], k))
    rate = {key: value * share for key, value in branch.items()}
    for key, below in children.items():
        total = sum(capacity[d] for d in below)
        rate |= {d: rate[key] * capacity[d] / total for d in below}
    members = [Member(exact[k].role, exact[k].configuration, selection.counts[k], rate[k]) for k in keys]
    index = {k: i for i, k in enumerate(keys)}
    routes = [Route(index[k], None, rate[k]) for k in keys if exact[k].role == "mixed"]
    routes += [Route(index[p], index[d], rate[d]) for p, below in children.items() for d in below]
    return members, routes, [capacity[k] for k in keys]


# -- infeasible ----------------------------------------------------------------------------------------------------


def unreachable(problem: Problem, found: Sequence[Configuration]) -> InfeasibleError:
    """Name the objectives that no machine reaches even unloaded, with the value each can reach."""
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
            limits, max_cost_usd_per_hour=None, max_power_w=None, max_machines={}, max_total_machines=None
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
    for name in sorted(limits.max_machines):
        rest = {k: v for k, v in limits.max_machines.items() if k != name}
        lifted[f"max_machines {name}"] = replace(limits, max_machines=rest)
    return lifted


def _limit_text(name: str, limits: Limits) -> str:
    if name == "max_cost":
        return f"{format_money(limits.max_cost_usd_per_hour or 0)}/h"
    if name == "max_power":
        return format_power(limits.max_power_w or 0)
    if name == "max_total_machines":
        return str(limits.max_total_machines)
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
