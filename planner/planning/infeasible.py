"""Why there is no plan: what no machine reaches, which limits collide, and the nearest values that work."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from planner.errors import DoesNotFitError, InfeasibleError, NoPlanFoundError, ObjectiveUnreachableError
from planner.optimization.selection import Selection, choose
from planner.planning.designs import best_of, enumerate_designs
from planner.pools.candidate import Candidate
from planner.pools.configuration import Configuration, configurations_of
from planner.pools.limits import BUDGETS, Budget, Limits, ObjectiveOrWeights, price_usd_per_hour
from planner.scenario.changes import setting
from planner.scenario.resolve import Problem, changed
from planner.serving.requests import Limit, reference_latencies
from planner.units import format_data, format_money, format_power, format_time

BEYOND_LIMITS = "no plan meets the objectives within the limits"


def unreachable(problem: Problem, found: Sequence[Configuration]) -> InfeasibleError:
    """Name the objectives that no machine reaches even unloaded, with the value each can reach.

    Of machines that were taken in groups it says why: what the model needs and what one of them has.
    """
    error = _unreachable(problem, found)
    alone = _too_small_alone(problem, found)
    if alone:
        error.value = "\n         ".join([str(error.value), *alone])
    return error


def _too_small_alone(problem: Problem, found: Sequence[Configuration]) -> list[str]:
    """Why machines that replicas span several of do not hold the model one by one, a line each."""
    lines = []
    for name, size in dict.fromkeys((c.machine.single_name, c.machine.group) for c in found if c.machine.group > 1):
        _, rejected = configurations_of(problem.catalog, problem.catalog.machine(name), problem.serving)
        lines += [f"{name} is taken {size} at a time: {r.error.what}: {r.error.value}" for r in rejected[:1]]
    return lines


def _unreachable(problem: Problem, found: Sequence[Configuration]) -> InfeasibleError:
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
    if problem.design.split and not problem.design.mixed and (apart := _apart(problem, found)):
        return InfeasibleError(
            f"no two machines of the design {problem.design.name} can exchange KV caches: {'; '.join(apart[:3])}",
            where="design",
            rule="a prefill pool sends its KV caches within one site and over one family of fabrics",
            fix="choose machines of one site and fabric, put all on one with --network, or allow --design auto",
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


def _apart(problem: Problem, found: Sequence[Configuration]) -> list[str]:
    """Why no machine of the design can send to another or to its like; empty where one can."""
    design = problem.design
    each = list({c.machine.name: c for c in found}.values())
    senders = [c for c in each if design.prefill_machine in (None, c.machine.name)]
    receivers = [c for c in each if design.decode_machine in (None, c.machine.name)]
    reasons = [sender.apart_from(receiver) for sender in senders for receiver in receivers]
    return list(dict.fromkeys(reasons)) if all(reasons) else []


def _best_unloaded(problem: Problem, found: Sequence[Configuration], limit: Limit) -> tuple[float, str]:
    """Least value of an objective over all configurations, each request alone."""
    traffic, best, where = problem.need.traffic, math.inf, ""
    for c in found:
        latency = reference_latencies(c.lane, traffic)[limit.objective.metric]
        several = traffic.decode_steps > 0
        weight = traffic.weight * several if limit.objective.metric == "tbt" else traffic.weight
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
        problem = changed(problem, setting(rate_per_s=1e-3))
    rate = problem.need.rate_per_s
    lines: list[str] = []
    for name, lifted in _lifted_one_by_one(limits).items():
        found = _nearest(candidates, problem, lifted, name)
        if found is not None:
            lines.append(f"{name}: {_limit_text(name, limits)} is too little; {found}")
    if not lines:
        nothing = Limits(spares=limits.spares)
        objective = "machines" if throughput else scenario.objective
        best = best_of(enumerate_designs(candidates, problem, nothing, objective).values(), problem, objective)
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
        BEYOND_LIMITS,
        where="limits",
        value="\n         ".join(lines),
        rule=f"objectives {objectives} at {'any rate' if throughput else f'{rate:g} requests/s'}",
        fix="relax one of the limits to the value named, or relax the objectives",
    )


def _lifted_one_by_one(limits: Limits) -> dict[str, Limits]:
    lifted: dict[str, Limits] = {}
    for budget, _ in limits.budgets:
        lifted[budget.name] = replace(limits, **{budget.field: None})  # type: ignore[arg-type]
    if limits.max_pools is not None:
        lifted["max_pools"] = replace(limits, max_pools=None)
    for name in sorted(limits.max_machines):
        rest = {k: v for k, v in limits.max_machines.items() if k != name}
        lifted[f"max_machines {name}"] = replace(limits, max_machines=rest)
    return lifted


def _limit_text(name: str, limits: Limits) -> str:
    given = {budget.name: budget.words(most) for budget, most in limits.budgets}
    return given[name] if name in given else str(_count_limit(name, limits))


def _count_limit(name: str, limits: Limits) -> int:
    if name == "max_pools":
        return int(limits.max_pools or 0)
    return limits.max_machines[name.removeprefix("max_machines ")]


def _choose(
    candidates: Sequence[Candidate], problem: Problem, objective: ObjectiveOrWeights, limits: Limits
) -> Selection | None:
    """Best plan for another objective or limits; None where there is none, or none was found in time."""
    scenario = problem.scenario
    try:
        return choose(
            candidates,
            problem.need.rate_per_s,
            objective,
            limits,
            incumbent=best_of(enumerate_designs(candidates, problem, limits, objective).values(), problem, objective),
            solver=scenario.solver,
            time_limit_s=scenario.time_limit_s,
            seed=scenario.seed,
        )
    except NoPlanFoundError:
        return None


def _nearest(candidates: Sequence[Candidate], problem: Problem, lifted: Limits, name: str) -> str | None:
    """What the lifted limit would have to be at the least, and the plan that it then allows."""
    by_key = {c.key: c for c in candidates}
    budget = next((b for b in BUDGETS if b.name == name), None)
    if budget is not None:
        # A mapping of machine to what it takes is an objective too.
        each = {c.configuration.machine.name: budget.of_machine(c.configuration) for c in candidates}
        selection = _choose(candidates, problem, budget.objective or each, lifted)
        return None if selection is None else _is_enough(budget, selection, by_key, lifted)
    selection = _choose(candidates, problem, "machines", lifted)
    if selection is None:
        return None
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
    return f"{_count_used(name, selection, by_key, lifted)} is enough ({plan})"


def _is_enough(budget: Budget, selection: Selection, by_key: dict[str, Candidate], limits: Limits) -> str:
    """The least amount of a budget, rounded so that it is enough, and its plan."""
    pools = {by_key[k]: n for k, n in selection.counts.items()}
    amount = math.fsum(budget.of_machine(c.configuration) * (n + limits.spares) for c, n in pools.items())
    if budget.name == "max_cost":
        text = f"{format_money(_rounded_cents(amount))}/h"
    elif budget.name == "max_power":
        text = f"{_rounded(amount, 4, math.ceil) / 1e3:,.10g} kW"
    else:
        text = budget.words(math.ceil(amount - 1e-9))
    return f"{text} is enough ({_described(pools, limits.spares)})"


def _count_used(name: str, selection: Selection, by_key: dict[str, Candidate], limits: Limits) -> int:
    bought = {by_key[k]: n + limits.spares for k, n in selection.counts.items()}
    if name == "max_pools":
        return len(bought)
    stock = name.removeprefix("max_machines ")
    return sum(limits.weight(stock, c.configuration.machine.name) * n for c, n in bought.items())


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
