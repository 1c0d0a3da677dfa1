"""From a resolved problem to a plan: generate candidates, enumerate, choose, check, report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import (
    DoesNotFitError,
    InfeasibleError,
    NoPlanFoundError,
    ObjectiveUnreachableError,
    PlannerError,
    ScenarioError,
)
from planner.fleet.candidate import Candidate, needs_end_to_end, stable_rate_of_one
from planner.fleet.certificate import Certificate
from planner.fleet.configuration import Configuration, Rejection
from planner.fleet.correction import NOTHING_LEARNT, Cluster, Corrections
from planner.fleet.design import Design, design_name
from planner.fleet.generation import generate
from planner.fleet.limits import Limits, ObjectiveName, price_usd_per_hour, unit_cost
from planner.fleet.prediction import ClusterModel, Member, Route
from planner.optimization.selection import (
    Pair,
    Selection,
    Simple,
    best_simple,
    best_throughput,
    choose,
    enumerate_pairs,
    optimistic_throughput,
)
from planner.problem import Problem, configurations
from planner.serving.capacity import CapacityCurve
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Limit
from planner.units import format_data, format_money, format_power, format_time

Progress = Callable[[str], None]
_RATES_TRIED = 3  # for throughput within end-to-end limits
_TIGHTENINGS = 12  # rounds of lowering a capacity that the whole-cluster model does not confirm


@dataclass(frozen=True, eq=False)
class Solution:
    """Chosen pools with everything that led to them.

    Attributes
    ----------
    members, routes : lists
        The cluster, as `ClusterModel` takes it.
    keys : list of str
        Key of the candidate of each member.
    capacities : list of float
        Rate each member could carry within the objectives [requests/s].
    selection : Selection
    simples : dict
        Best plan of each design that enumeration found, by name.
    rejected : list of Rejection
    n_candidates : int
    rate_per_s : float
        Carried [requests/s].
    certificate : Certificate or None
        What simulation says of it, where it was asked.
    """

    members: list[Member]
    keys: list[str]
    routes: list[Route]
    capacities: list[float]
    selection: Selection
    simples: dict[str, Simple]
    rejected: list[Rejection]
    n_candidates: int
    rate_per_s: float
    certificate: Certificate | None = None

    @property
    def cluster(self) -> Cluster:
        """The candidates with their machines."""
        return frozenset((key, member.count) for key, member in zip(self.keys, self.members, strict=True))


@dataclass(frozen=True, eq=False)
class Search:
    """A problem with its candidate pools, ready to be solved, again and again if capacities are corrected.

    Attributes
    ----------
    posed : list of (Problem, list of Candidate)
        The problem; for throughput within end-to-end limits, at several rates.
    rejected : list of Rejection
    homogeneous : dict
        Best plans of one mixed pool, for comparison, where the design asked for does not include them.
    """

    posed: list[tuple[Problem, list[Candidate]]]
    rejected: list[Rejection]
    homogeneous: dict[str, Simple]


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
    return solve_search(prepare_search(problem, progress), progress=progress)


def prepare_search(problem: Problem, progress: Progress = quiet) -> Search:
    """Generate the candidate pools of a problem.

    Raises
    ------
    InfeasibleError
        No machine can hold the model, or none reaches an objective even unloaded.
    """
    found, rejected = configurations(problem)
    top = _largest_rate(problem, found)
    posed = list(_posed(problem, found, top, progress))
    return Search(posed, rejected, _homogeneous(problem, found, top))


def solve_search(search: Search, corrections: Corrections = NOTHING_LEARNT, progress: Progress = quiet) -> Solution:
    """Choose among prepared candidates, capacities corrected by what simulation taught; raises as `solve_problem`."""
    best: Solution | None = None
    refused: InfeasibleError | None = None
    for posed, candidates in search.posed:
        corrected = [corrections.applied_to(c) for c in candidates]
        try:
            solution = _solve(posed, corrected, search.rejected, corrections, progress)
        except InfeasibleError as error:
            refused = refused or error
            continue
        if best is None or (solution is not None and solution.rate_per_s > best.rate_per_s):
            best = solution
    if best is None:
        raise refused or PlannerError(
            "the chosen pools do not meet the objectives together", rule="report this scenario as a bug"
        )
    return replace(best, simples=search.homogeneous | best.simples)


def _posed(
    problem: Problem, found: Sequence[Configuration], top: float, progress: Progress
) -> Iterator[tuple[Problem, list[Candidate]]]:
    """The problem with its candidates; for throughput within end-to-end limits, for several rates that it may have.

    What a decode pool may take of an end-to-end limit depends on how long prompts wait in a pool that carries the
    demand, and for throughput the demand is the answer. So rates are tried, each the best plan of two pools at the
    one before, from the largest conceivable downwards; whatever is then chosen is confirmed at its own rate.
    """
    if problem.scenario.objective != "throughput" or not needs_end_to_end(problem.need):
        yield problem, _candidates(problem, found, top, progress)
        return
    tried: list[float] = []
    rate = top
    while len(tried) < _RATES_TRIED and not any(math.isclose(rate, other, rel_tol=0.01) for other in tried):
        tried.append(rate)
        posed = replace(problem, need=replace(problem.need, rate_per_s=rate))
        candidates = _candidates(posed, found, top, progress)
        yield posed, candidates
        best = _best(enumerate_designs(candidates, posed, posed.limits).values(), posed)
        rate = best.rate_per_s if best is not None else rate


def pools_of(
    problem: Problem, progress: Progress = quiet
) -> tuple[list[Configuration], list[Rejection], list[Candidate]]:
    """Configurations of a problem, those that cannot serve, and its candidate pools; none where nothing is reachable.

    For who solves a problem many times: with other budgets or objectives of the optimisation, or with some of the
    candidates. Those of throughput within end-to-end limits belong to one answer and cannot be used again.

    Raises
    ------
    InfeasibleError
        The model fits no machine.
    """
    found, rejected = configurations(problem)
    return found, rejected, generate(found, problem.need, problem.design, _largest_rate(problem, found), progress)


def best_among(
    problem: Problem, candidates: list[Candidate], rejected: list[Rejection], progress: Progress = quiet
) -> Solution | None:
    """Best cluster made of these candidates; None where there is none.

    Like `solve_problem` without the parts that cost time and tell why, or what else there is.

    Raises
    ------
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    try:
        return _solve(problem, candidates, rejected, NOTHING_LEARNT, progress, explain=False) if candidates else None
    except InfeasibleError:
        return None


def _solve(
    problem: Problem,
    candidates: list[Candidate],
    rejected: list[Rejection],
    corrections: Corrections,
    progress: Progress,
    explain: bool = True,
) -> Solution | None:
    """Choose among the candidates until the whole cluster meets the objectives; None if it never does.

    Pools that simulation has corrected are left to its judgement.
    """
    scenario, limits = problem.scenario, problem.limits
    first: Selection | None = None
    for tightening in range(_TIGHTENINGS):
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
            raise explain_infeasible(problem, candidates) if explain else InfeasibleError("no plan")
        by_key = {c.key: c for c in candidates}
        keys, members, routes, capacities = assemble(selection, by_key)
        first = first or selection
        model = ClusterModel(members, routes, problem.need)
        if corrections.concern(keys) or all(model.meets(limit) for limit in problem.need.limits):
            selection = _against(first, selection)
            total = sum(r.rate_per_s for r in routes)
            return Solution(members, keys, routes, capacities, selection, simples, rejected, len(candidates), total)
        # The pools meet the objectives one by one but not together (an end-to-end limit near its edge).
        factor = 1.0 - min(0.01 * 2**tightening, 0.1)
        candidates = [derated(c, factor) if c.key in selection.counts else c for c in candidates]
    return None


def _homogeneous(problem: Problem, found: Sequence[Configuration], top: float) -> dict[str, Simple]:
    """Best plans of one mixed pool, for comparison, where the design asked for does not include them."""
    if problem.design.mixed:
        return {}
    baseline = Design("baseline", mixed=True, split=False)
    return enumerate_designs(generate(found, problem.need, baseline, top), problem, problem.limits)


def _against(first: Selection, last: Selection) -> Selection:
    """The last selection, its bound that of the first: lowering capacities proves nothing about higher ones."""
    if last is first:
        return last
    gap = abs(last.objective - first.bound) / max(abs(last.objective), 1e-12)
    return replace(last, bound=first.bound, gap=gap, status="optimal" if gap <= 1e-6 else "limit")


def derated(candidate: Candidate, factor: float) -> Candidate:
    def compute(n: np.ndarray, inner: Callable[[np.ndarray], CapacityCurve] = candidate.compute) -> CapacityCurve:
        curve = inner(n)
        return CapacityCurve(curve.n_machines, curve.rate_per_s * factor)

    curve = CapacityCurve(candidate.curve.n_machines, candidate.curve.rate_per_s * factor)
    return replace(candidate, curve=curve, compute=compute)


def _largest_rate(problem: Problem, found: Sequence[Configuration]) -> float:
    """Largest rate that one pool could be asked for: the demand, or for throughput what the limits could buy.

    Each phase is served by machines at their best; a budget spent on the best type bounds what it buys, and so does
    the stock of all types together. No cluster carries more than either phase.

    Raises
    ------
    ScenarioError
        Nothing bounds the throughput.
    """
    if problem.scenario.objective != "throughput":
        return problem.need.rate_per_s
    traffic, limits = problem.need.traffic, problem.limits
    best: dict[str, list[float]] = {"prefill": [], "decode": []}
    for role, rates in best.items():
        by_machine: dict[str, float] = {}
        for c in found:
            mixed = stable_rate_of_one(c, MixedQueue(c.lane, traffic)) if problem.design.mixed else 0.0
            alone = PrefillQueue(c.lane, traffic) if role == "prefill" else DecodeQueue(c.lane, traffic)
            rate = max(mixed, stable_rate_of_one(c, alone) if problem.design.split else 0.0)
            by_machine[c.machine.name] = max(by_machine.get(c.machine.name, 0.0), rate)
        each = [(c, by_machine[c.machine.name]) for c in {c.machine.name: c for c in found}.values()]
        if limits.max_cost_usd_per_hour is not None:
            rates.append(max(limits.max_cost_usd_per_hour / c.price.usd_per_hour * r for c, r in each if c.price))
        if limits.max_power_w is not None:
            rates.append(max(limits.max_power_w / c.machine.rated_power_w * r for c, r in each))
        if limits.max_total_machines is not None:
            rates.append(limits.max_total_machines * max(r for _, r in each))
        if all(c.machine.name in limits.max_machines for c, _ in each):
            rates.append(sum(limits.max_machines[c.machine.name] * r for c, r in each))
        if not rates:
            unlimited = sorted(c.machine.name for c, _ in each if c.machine.name not in limits.max_machines)
            raise ScenarioError(
                f"nothing bounds the throughput: {', '.join(unlimited)} can be bought without end",
                where="objective",
                rule="the largest throughput is that of a given budget or stock",
                fix="add --max-cost, --max-power or --max-total-machines, or --max-machines for each machine",
            )
    return max(min(min(rates) for rates in best.values()), 1e-9)


def _candidates(problem: Problem, found: Sequence[Configuration], top: float, progress: Progress) -> list[Candidate]:
    candidates = generate(found, problem.need, problem.design, top, progress)
    if not candidates:
        raise unreachable(problem, found)
    return candidates


def enumerate_designs(
    candidates: Sequence[Candidate], problem: Problem, limits: Limits, objective: ObjectiveName | None = None
) -> dict[str, Simple]:
    """Best plan of each design with one mixed type, or one prefill and one decode type.

    The likeliest pairs come first: what is beaten before its exact counts are known need not have them computed.
    The objective is the scenario's unless told.
    """
    rate, objective = problem.need.rate_per_s, objective or problem.scenario.objective
    pairs = enumerate_pairs(candidates)
    # The smaller the better; a plan that is found is no better than this.
    hoped = [_optimistic(pair, rate, objective, limits) for pair in pairs]
    best: dict[str, Simple] = {}
    for i in sorted(range(len(pairs)), key=lambda i: (hoped[i], i)):
        first, second = pairs[i]
        name = design_name(first.configuration.machine.name, second.configuration.machine.name if second else None)
        if not hoped[i] < math.inf or (name in best and hoped[i] > _value(best[name], objective)):
            continue
        if name not in best and len(best) >= DESIGNS_COMPARED and not (second is None and not _has_baseline(best)):
            continue
        if objective == "throughput":
            simple = best_throughput((first, second), limits)
        else:
            simple = best_simple((first, second), rate, objective, limits)
        if simple is not None and (name not in best or _is_better(simple, best[name], objective)):
            best[name] = simple
    return dict(sorted(best.items()))


DESIGNS_COMPARED = 8  # best designs whose exact plans are worked out, besides the best homogeneous one


def _has_baseline(designs: dict[str, Simple]) -> bool:
    return any(len(simple.pools) == 1 for simple in designs.values())


def _optimistic(pair: Pair, rate_per_s: float, objective: ObjectiveName, limits: Limits) -> float:
    """Value of a pair's plan, the smaller the better, at counts that are never too high; inf if nothing fits."""
    if objective == "throughput":
        return -optimistic_throughput(pair, limits) or math.inf
    return sum(
        unit_cost(c, objective) * (c.optimistic_count(rate_per_s) + limits.spares) for c in pair if c is not None
    )


def _value(simple: Simple, objective: ObjectiveName) -> float:
    """What enumeration compares, the smaller the better."""
    return -simple.rate_per_s if objective == "throughput" else simple.objective


def _is_better(a: Simple, b: Simple, objective: ObjectiveName) -> bool:
    return (_value(a, objective), len(a.pools), _power(a)) < (_value(b, objective), len(b.pools), _power(b))


def _power(simple: Simple) -> float:
    return sum(c.configuration.machine.rated_power_w * n for c, n in simple.pools)


def _best(simples: Iterable[Simple], problem: Problem, objective: ObjectiveName | None = None) -> Simple | None:
    best: Simple | None = None
    for simple in simples:
        if best is None or _is_better(simple, best, objective or problem.scenario.objective):
            best = simple
    return best


def assemble(
    selection: Selection, by_key: dict[str, Candidate]
) -> tuple[list[str], list[Member], list[Route], list[float]]:
    """Turn chosen candidates into a cluster: their keys, members, routes, and what each member could carry."""
    exact = {key: by_key[key].with_counts([n]) for key, n in selection.counts.items()}
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    keys = sorted(exact, key=lambda k: (order[exact[k].role], k))
    index: dict[str | None, int | None] = {None: None, **{k: i for i, k in enumerate(keys)}}
    flows = sorted(selection.flows_per_s.items(), key=str)
    routes = [Route(keys.index(first), index[second], rate) for (first, second), rate in flows]
    rate = {k: sum(r for way, r in flows if k in way) for k in keys}
    members = [Member(exact[k].role, exact[k].configuration, selection.counts[k], rate[k]) for k in keys]
    return keys, members, routes, [exact[k].curve.at(selection.counts[k]) for k in keys]


# -- infeasible ----------------------------------------------------------------------------------------------------


def unreachable(problem: Problem, found: Sequence[Configuration]) -> InfeasibleError:
    """Name the objectives that no machine reaches even unloaded, with the value each can reach."""
    if not any(problem.need.is_held_by(c, "mixed") for c in found):
        most = max(found, key=lambda c: c.lane.kv_tokens)
        longest = problem.need.longest_request_tokens
        per_token = most.kv_bytes_per_token
        return DoesNotFitError(
            f"the longest request of {problem.sizes.name} ({longest:,.0f} tokens) fits the KV memory of no machine "
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
            wanted = f"{limit.objective.label} <= {limit.objective.limit_label}"
            missed.append(f"{wanted}: at best {value}, unloaded, on {where}")
    if missed:
        these = "these objectives" if len(missed) > 1 else "this objective"
        return ObjectiveUnreachableError(
            f"no machine considered reaches {these}, even unloaded",
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

    Each limit is lifted alone and the least value of it that suffices is found; if lifting one is not enough,
    all are lifted together. The load that fits within all limits is the other way out.
    """
    limits, scenario = problem.limits, problem.scenario
    throughput = scenario.objective == "throughput"
    if throughput:  # not even the first request is served; how many are asked for does not matter
        problem = replace(problem, need=replace(problem.need, rate_per_s=1e-3))
    rate = problem.need.rate_per_s
    lines: list[str] = []
    for name, lifted in _lifted_one_by_one(limits).items():
        found = _nearest(candidates, problem, lifted, name)
        if found is not None:
            lines.append(f"{name}: {_limit_text(name, limits)} is too little; {found}")
    if not lines:
        nothing = Limits(spares=limits.spares)
        objective = "machines" if throughput else scenario.objective
        best = _best(enumerate_designs(candidates, problem, nothing, objective).values(), problem, objective)
        if best is None:
            # No limit is to blame: no pool of the catalog carries the demand at any size.
            return InfeasibleError(
                "no number of the machines considered carries this load", where="rate", value=f"{rate:g}/s"
            )
        lines.append(f"all limits together; without them: {_described(dict(best.pools), limits.spares)}")
    most = None if throughput else _choose(candidates, problem, "throughput", limits)
    if most is not None and most.objective > 0:
        share = most.objective / rate
        lines.append(
            f"rate: {rate:g}/s is too much; within the limits {_rounded(most.objective, 3, math.floor):g}/s is served "
            f"({share:.0%})"
        )
    objectives = ", ".join(str(o) for o in scenario.slo)
    return InfeasibleError(
        "no plan meets the objectives within the limits",
        where="limits",
        value="\n         ".join(lines),
        rule=f"objectives {objectives} at {'any rate' if throughput else f'{rate:g} requests/s'}",
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
    return str(_count_limit(name, limits))


def _count_limit(name: str, limits: Limits) -> int:
    if name in ("max_total_machines", "max_pools"):
        return int(getattr(limits, name))
    return limits.max_machines[name.removeprefix("max_machines ")]


def _choose(
    candidates: Sequence[Candidate], problem: Problem, objective: ObjectiveName, limits: Limits
) -> Selection | None:
    """Best plan for another objective or limits; None where there is none, or none was found in time."""
    scenario = problem.scenario
    try:
        return choose(
            candidates,
            problem.need.rate_per_s,
            objective,
            limits,
            incumbent=_best(enumerate_designs(candidates, problem, limits, objective).values(), problem, objective),
            solver=scenario.solver,
            time_limit_s=scenario.time_limit_s,
            seed=scenario.seed,
        )
    except NoPlanFoundError:
        return None


def _nearest(candidates: Sequence[Candidate], problem: Problem, lifted: Limits, name: str) -> str | None:
    """What the lifted limit would have to be at the least, and the plan that it then allows."""
    by_key = {c.key: c for c in candidates}
    objectives: dict[str, ObjectiveName] = {"max_cost": "cost", "max_power": "power"}
    selection = _choose(candidates, problem, objectives.get(name, "machines"), lifted)
    if selection is None:
        return None
    if name not in objectives and name != "max_total_machines":
        # Stock of one type and pools are no objectives: the least of them is found by halving.
        low, high = _count_limit(name, problem.limits), _count_used(name, selection, by_key, lifted)
        while high - low > 1:
            middle = (low + high) // 2
            tried = _choose(candidates, problem, "machines", _with_count(name, problem.limits, middle))
            if tried is None:
                low = middle
            else:
                selection, high = tried, _count_used(name, tried, by_key, lifted)
    plan = _described({by_key[k]: n for k, n in selection.counts.items()}, lifted.spares)
    if name == "max_cost":
        return f"{format_money(_rounded_cents(selection.objective))}/h is enough ({plan})"
    if name == "max_power":
        return f"{_rounded(selection.objective, 4, math.ceil) / 1e3:,.10g} kW is enough ({plan})"
    return f"{_count_used(name, selection, by_key, lifted)} is enough ({plan})"


def _count_used(name: str, selection: Selection, by_key: dict[str, Candidate], limits: Limits) -> int:
    bought = {by_key[k]: n + limits.spares for k, n in selection.counts.items()}
    if name == "max_pools":
        return len(bought)
    machine = name.removeprefix("max_machines ")
    return sum(n for c, n in bought.items() if name == "max_total_machines" or c.configuration.machine.name == machine)


def _with_count(name: str, limits: Limits, value: int) -> Limits:
    if name == "max_pools":
        return replace(limits, max_pools=value)
    return replace(limits, max_machines={**limits.max_machines, name.removeprefix("max_machines "): value})


def _rounded(value: float, digits: int, direction: Callable[[float], int]) -> float:
    """Rounded to significant digits in one direction; a value that has so few stays as it is."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    nearest = round(value / unit)
    return unit * (nearest if abs(value / unit - nearest) < 1e-9 else direction(value / unit))


def _rounded_cents(usd: float) -> float:
    return math.ceil(usd * 100 - 1e-6) / 100


def _described(pools: Mapping[Candidate, int], spares: int) -> str:
    bought = sorted((c.role, c.key, c, n + spares) for c, n in pools.items())
    text = " + ".join(f"{n} x {c.configuration.machine.name} {c.role}" for _, _, c, n in reversed(bought))
    cost = sum(price_usd_per_hour(c) * n for _, _, c, n in bought)
    power = sum(c.configuration.machine.rated_power_w * n for _, _, c, n in bought)
    return text + (f", {format_money(cost)}/h" if math.isfinite(cost) else "") + f", {format_power(power)}"
