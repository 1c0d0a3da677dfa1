"""Mélange's problem, posed directly: which machines, how many, for requests of given sizes at the least cost.

Measured capacities stand in for a latency model. Mélange [1]_ cuts each size bucket into slices and gives each slice
to one machine; here the routing is fractional and only the counts are integers, so the cost is never above that of
any number of slices, and the model has one integer for each machine type:

    min  sum_g price_g n_g                                                                  (1)
    s.t. sum_g x_bg = 1                                      for each bucket b              (2)
         sum_b (rate_b / capacity_bg) x_bg <= n_g            for each machine type g        (3)
         n_g integer, 0 <= n_g <= max_count_g,  x_bg >= 0

x_bg is the share of bucket b that goes to type g. Rows (4) follow from (2), (3) and integrality, and tighten the
relaxation: the buckets b that only the types S can serve need

         sum_{g in S} n_g >= ceil( sum_b min_{g in S} rate_b / capacity_bg )                    (4)

References
----------
.. [1] Griggs et al., Mélange: Cost Efficient Large Language Model Serving by Exploiting GPU Heterogeneity,
   arXiv 2404.14527, section 5.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pulp
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from planner.errors import InfeasibleError, NoPlanFoundError, PlannerError
from planner.optimization.assignment_input import AssignmentInput, Floats, listed, read_input, refuse_unservable
from planner.optimization.solver import solve

LOAD_TOLERANCE = 1e-7  # share by which the load of a type may exceed its count


class Assignment(BaseModel):
    """Counts of machines, and which requests go where."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    counts: dict[str, int] = Field(description="Machines of each type, zeros included.")
    routing: dict[str, list[Any]] = Field(
        description="Requests/s of each bucket that each type serves, nested lists shaped like the request rates."
    )
    busy_fraction: dict[str, float] = Field(description="Load over count of each type; 0 where the count is 0.")
    prices_usd_per_hour: dict[str, float] = Field(description="Price of one machine, as given.")
    cost_usd_per_hour: float = Field(description="Cost of all machines.")
    bound: float = Field(description="Bound: no assignment costs less than this [USD/h].")
    gap: float = Field(description="(cost - bound) / cost.")
    status: Literal["optimal", "limit"] = Field(description="limit: stopped at the time limit, optimum not proven.")
    solver: str = Field(description="Name and version.")

    @property
    def cost(self) -> float:
        """Short for `cost_usd_per_hour`."""
        return self.cost_usd_per_hour

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat dict for each machine type that is used, by name."""
        return [
            {
                "machine": name,
                "count": count,
                "price_usd_per_hour": self.prices_usd_per_hour[name],
                "cost_usd_per_hour": count * self.prices_usd_per_hour[name],
                "busy_fraction": self.busy_fraction[name],
                "requests_per_s": float(np.sum(self.routing[name])),
            }
            for name, count in self.counts.items()
            if count
        ]


def assign(
    request_rates: ArrayLike,
    capacities: Mapping[str, ArrayLike],
    prices: Mapping[str, float],
    max_counts: Mapping[str, int] | None = None,
    *,
    time_limit_s: float | None = 60.0,
    solver: str = "highs",
) -> Assignment:
    """Choose the cheapest machines that serve all requests.

    Parameters
    ----------
    request_rates : array_like
        Requests in each size bucket, any shape, such as prompt sizes x output sizes [1/s].
    capacities : mapping
        Machine name to an array of the same shape: the highest rate that one machine sustains if it served only that
        bucket [1/s]; 0 or NaN where it cannot serve it. A machine's load is the sum of rate / capacity.
    prices : mapping
        Machine name to its price [USD/h]. More names than in `capacities` do no harm.
    max_counts : mapping, optional
        Machine name to the most that can be had; others are unlimited.
    time_limit_s : float, optional
        Limit on the search [s]; None means none.
    solver : str
        `highs`, or `cbc` as a second opinion.

    Returns
    -------
    Assignment
        Independent of the order of the machines. Of assignments that cost the same, one with the fewest machines,
        unless the time limit comes first.

    Raises
    ------
    ScenarioError
        Input that makes no sense, naming the entry.
    InfeasibleError
        A bucket that no machine can serve, or `max_counts` that are too low, with the nearest ones that suffice.
    NoPlanFoundError
        The time limit was hit before anything was found.
    """
    started_s = time.perf_counter()
    problem = read_input(request_rates, capacities, prices, {} if max_counts is None else max_counts)
    if not problem.rates.size:
        nothing = np.zeros((len(problem.names), 0))
        return _assignment(problem, nothing.sum(axis=1), nothing, 0.0, "optimal", "none needed")
    refuse_unservable(problem)
    kept = _undominated(problem)
    if not np.isfinite(problem.machines[kept]).any(axis=0).all():
        raise _infeasible(problem, solver)
    start = _greedy(problem, kept)
    model, counts, shares = _model(problem, kept, math.inf if start is None else float(problem.prices @ start[0]))
    outcome = solve(
        model,
        solver=solver,
        time_limit_s=time_limit_s,
        warm_start=None if start is None else _as_values(start, counts, shares),
        presolve=False,  # no slower here, and HiGHS's wrong optima came from its presolve
    )
    if outcome.status == "infeasible":
        raise _infeasible(problem, solver)
    candidates = [] if start is None else [start[0]]
    if outcome.has_solution:
        candidates.insert(0, counts_found(problem, counts))
    if not candidates:
        raise NoPlanFoundError(
            "the solver stopped before it found any assignment",
            where="time_limit_s",
            value=time_limit_s,
            fix="raise the time limit, or loosen max_counts",
        )
    found = min(candidates, key=lambda n: float(problem.prices @ n))
    status: Literal["optimal", "limit"] = "optimal" if outcome.status == "optimal" else "limit"
    bound = max(outcome.bound or 0.0, _relaxed_cost(problem))
    if status == "optimal":
        left_s = None if time_limit_s is None else time_limit_s - (time.perf_counter() - started_s)
        found = _fewest_machines(model, counts, found, problem, solver, left_s)
    routing = _route(problem, found, solver)
    return _assignment(problem, found, routing, bound, status, outcome.solver)


# ------------------------------------------------------------------------------------------------------------ model


def _most_needed(problem: AssignmentInput) -> Floats:
    """Return the count at which each type serves alone all it can; more is never needed."""
    load = np.where(np.isfinite(problem.machines), problem.machines, 0.0).sum(axis=1)
    return np.asarray(np.ceil(load))


def _undominated(problem: AssignmentInput) -> list[int]:
    """Return the types worth considering.

    Type g is out if one machine of another, unlimited type, no dearer, or k machines of it that cost strictly less
    than one g, serve every bucket at least as fast: then some cheapest assignment with the fewest machines has no g.
    Of types equal in everything the first by name stays.
    """
    price, machines, limits = problem.prices, problem.machines, problem.limits
    unlimited = limits >= _most_needed(problem)
    kept = [g for g in range(len(price)) if limits[g] > 0 and np.isfinite(machines[g]).any()]
    for g in list(kept):
        for other in kept:
            if other == g or not unlimited[other] or price[other] > price[g]:
                continue
            # The highest k with k price[other] < price[g], or one.
            k = max(1, math.ceil(price[g] / price[other] * (1 - 1e-12)) - 1)
            if not (machines[other] <= k * machines[g]).all():
                continue
            equal = price[other] == price[g] and (machines[other] == machines[g]).all()
            if not equal or other < g or not unlimited[g]:
                kept.remove(g)
                break
    return kept


def _model(
    problem: AssignmentInput, kept: list[int], known_cost: float
) -> tuple[pulp.LpProblem, dict[int, pulp.LpVariable], dict[tuple[int, int], pulp.LpVariable]]:
    """Return equations (1) to (4) over the kept types, with their counts and shares.

    No count is higher than an assignment of the known cost could pay for.
    """
    model = pulp.LpProblem("assignment", pulp.LpMinimize)
    payable = np.floor(known_cost / problem.prices * (1 + 1e-9))
    most = np.minimum(np.minimum(problem.limits, _most_needed(problem)), payable)
    counts = {g: model.add_variable(f"n_{g:04d}", 0, int(most[g]), cat="Integer") for g in kept}
    model += pulp.LpAffineExpression([(counts[g], float(problem.prices[g])) for g in kept])
    shares = _add_routing(model, problem, kept)
    for g in kept:
        load = [(shares[g, b], float(problem.machines[g, b])) for b in range(problem.rates.size) if (g, b) in shares]
        model += pulp.LpAffineExpression([*load, (counts[g], -1.0)]) <= 0, f"load_{g:04d}"
    for i, (group, least) in enumerate(_covers(problem, kept)):
        model += pulp.LpAffineExpression([(counts[g], 1.0) for g in group]) >= least, f"cover_{i:04d}"
    return model, counts, shares


def _add_routing(
    model: pulp.LpProblem, problem: AssignmentInput, types: list[int]
) -> dict[tuple[int, int], pulp.LpVariable]:
    """Add the shares of (2), and its rows."""
    can = np.isfinite(problem.machines)
    shares = {
        (g, b): model.add_variable(f"x_{g:04d}_{b:06d}", 0)
        for g in types
        for b in range(problem.rates.size)
        if can[g, b]
    }
    for b in range(problem.rates.size):
        servers = [(shares[g, b], 1.0) for g in types if can[g, b]]
        model += pulp.LpAffineExpression(servers) == 1, f"demand_{b:06d}"
    return shares


def _covers(problem: AssignmentInput, kept: list[int]) -> list[tuple[list[int], int]]:
    """Return (types, least count) of rows (4), one for each set of types that alone serve some bucket.

    They also keep a bucket of very few requests, whose load drowns in the solver's tolerance, from going unserved.
    """
    can = np.isfinite(problem.machines[kept])
    least_load = problem.machines[kept].min(axis=0)
    patterns = np.unique(can, axis=1).T
    rows = []
    for pattern in patterns:
        inside = ~(can & ~pattern[:, None]).any(axis=0)
        least = max(1, math.ceil(least_load[inside].sum() * (1 - 1e-9) - 1e-9))
        rows.append(([g for g, member in zip(kept, pattern, strict=True) if member], least))
    return rows


def _relaxed_cost(problem: AssignmentInput) -> float:
    """Return the cost with fractional counts and no limits, which no assignment can undercut [USD/h]."""
    return float((problem.prices[:, None] * problem.machines).min(axis=0).sum())


# ------------------------------------------------------------------------------------------------ start, ties, routing


def _greedy(problem: AssignmentInput, kept: list[int]) -> tuple[Floats, NDArray[np.intp]] | None:
    """Return counts and the type of each bucket: all types at first, dropping one while that is cheaper.

    Each bucket goes to the type that serves it cheapest. None if the limits forbid every stage.
    """
    cost_of = problem.prices[:, None] * problem.machines

    def trial(types: list[int]) -> tuple[float, Floats, NDArray[np.intp]] | None:
        choice = np.array(types)[np.argmin(cost_of[types], axis=0)]
        load = problem.machines[choice, np.arange(choice.size)]
        if not np.isfinite(load).all():
            return None
        counts = np.ceil(np.bincount(choice, weights=load, minlength=len(problem.names)))
        return float(problem.prices @ counts), counts, choice

    types = list(kept)
    best: tuple[float, Floats, NDArray[np.intp]] | None = None
    current = trial(types) if types else None
    while current is not None:
        if (current[1] <= problem.limits).all() and (best is None or current[0] < best[0]):
            best = current
        options = [
            (found[0], g, found) for g in types if len(types) > 1 and (found := trial([t for t in types if t != g]))
        ]
        if not options:
            break
        _, dropped, current = min(options, key=lambda o: (o[0], o[1]))
        types.remove(dropped)
    return None if best is None else (best[1], best[2])


def _as_values(
    start: tuple[Floats, NDArray[np.intp]],
    counts: Mapping[int, pulp.LpVariable],
    shares: Mapping[tuple[int, int], pulp.LpVariable],
) -> dict[str, float]:
    found, choice = start
    values = {variable.name: float(found[g]) for g, variable in counts.items()}
    return values | {variable.name: float(choice[b] == g) for (g, b), variable in shares.items()}


def _fewest_machines(
    model: pulp.LpProblem,
    counts: Mapping[int, pulp.LpVariable],
    found: Floats,
    problem: AssignmentInput,
    solver: str,
    left_s: float | None,
) -> Floats:
    """Return counts of the same cost with the fewest machines, or `found` if time runs out first."""
    cost = float(problem.prices @ found)
    if (left_s is not None and left_s <= 0) or found.sum() <= 1:
        return found
    values = {v.name: v.varValue for v in model.variables()}
    # The lower side is implied by the proof of the first solve, and speeds up the second.
    model += model.objective <= cost * (1 + 1e-9), "no_dearer"
    model += model.objective >= cost * (1 - 1e-9), "no_cheaper"
    model.setObjective(pulp.LpAffineExpression([(variable, 1.0) for variable in counts.values()]))
    outcome = solve(model, solver=solver, time_limit_s=left_s, warm_start=values, presolve=False)
    if outcome.status != "optimal":
        return found
    fewest = counts_found(problem, counts)
    return fewest if float(problem.prices @ fewest) <= cost * (1 + 1e-12) else found


def counts_found(problem: AssignmentInput, counts: Mapping[int, pulp.LpVariable]) -> Floats:
    """Machines of each type that a solved program bought."""
    return np.array([counts[g].varValue if g in counts else 0.0 for g in range(len(problem.names))])


def _route(problem: AssignmentInput, found: Floats, solver: str) -> Floats:
    """Return the shares (types, buckets) that load the busiest type least; among those, all types together."""
    types = [g for g in range(len(problem.names)) if found[g] > 0]
    model = pulp.LpProblem("routing", pulp.LpMinimize)
    shares = _add_routing(model, problem, types)
    loads: dict[int, list[tuple[pulp.LpVariable, float]]] = {g: [] for g in types}
    for (g, b), variable in shares.items():
        loads[g].append((variable, float(problem.machines[g, b])))
    busiest = model.add_variable("busiest", lowBound=0)
    for g in types:
        # Divided by the count, so that a row's terms stay near 1.
        terms = [(variable, load / float(found[g])) for variable, load in loads[g]]
        model += pulp.LpAffineExpression(terms) <= busiest, f"load_{g:04d}"
    everything = [(variable, 1e-4 * load / float(found.sum())) for g in types for variable, load in loads[g]]
    model += busiest + pulp.LpAffineExpression(everything)
    outcome = solve(model, solver=solver)
    if outcome.status != "optimal" or busiest.varValue > 1 + LOAD_TOLERANCE / 2:
        raise PlannerError("no routing fits the counts found", value=found.tolist(), fix="report this input as a bug")
    routed = np.zeros(problem.machines.shape)
    for (g, b), variable in shares.items():
        routed[g, b] = max(variable.varValue, 0.0)
    return np.asarray(routed / routed.sum(axis=0))


def _assignment(
    problem: AssignmentInput,
    found: Floats,
    shares: Floats,
    bound: float,
    status: Literal["optimal", "limit"],
    solver: str,
) -> Assignment:
    cost = math.fsum(float(p) * float(n) for p, n in zip(problem.prices, found, strict=True))
    load = np.where(shares > 0, shares * np.where(np.isfinite(problem.machines), problem.machines, 0.0), 0.0).sum(
        axis=1
    )
    if (load > found * (1 + LOAD_TOLERANCE)).any():
        raise PlannerError(
            "a machine type is loaded beyond its count", value=(load - found).max(), fix="report it as a bug"
        )
    routing = {}
    for g, name in enumerate(problem.names):
        full = np.zeros(math.prod(problem.shape))
        full[problem.where] = shares[g] * problem.rates
        routing[name] = full.reshape(problem.shape).tolist()
    bound = cost if status == "optimal" else min(bound, cost)
    return Assignment(
        counts={name: int(n) for name, n in zip(problem.names, found, strict=True)},
        routing=routing,
        busy_fraction={name: float(a / n) if n else 0.0 for name, a, n in zip(problem.names, load, found, strict=True)},
        prices_usd_per_hour={name: float(p) for name, p in zip(problem.names, problem.prices, strict=True)},
        cost_usd_per_hour=cost,
        bound=bound,
        gap=(cost - bound) / cost if cost else 0.0,
        status=status,
        solver=solver,
    )


# ------------------------------------------------------------------------------------------------------- infeasibility


def _infeasible(problem: AssignmentInput, solver: str) -> PlannerError:
    """Say which limits collide with the demand, what share they carry, and the fewest machines that would suffice."""
    extra = _fewest_extra(problem, solver)
    share, busy = _carried(problem, solver)
    if not extra and share > 1 - LOAD_TOLERANCE:
        return PlannerError("the solver calls an assignment infeasible that fits", fix="report this input as a bug")
    names, limits = problem.names, problem.limits
    raised = [f"{names[g]} from {limits[g]:.0f} to {limits[g] + n:.0f}" for g, n in sorted(extra.items())]
    carried = f"{math.floor(share * 1e4) / 100:g} %"
    return InfeasibleError(
        "the machines allowed cannot serve all requests",
        where="max_counts",
        value=listed([f"{names[g]}={limits[g]:.0f}" for g in sorted(busy | extra.keys())]),
        rule=f"within max_counts at most {carried} of every request rate can be served",
        fix=f"raise max_counts of {', '.join(raised)}"
        + (f", or serve {carried} of the rates" if share >= 1e-4 else ""),
    )


def _fewest_extra(problem: AssignmentInput, solver: str) -> dict[int, int]:
    types = list(range(len(problem.names)))
    model = pulp.LpProblem("relaxation", pulp.LpMinimize)
    shares = _add_routing(model, problem, types)
    most = np.maximum(_most_needed(problem) - problem.limits, 0.0)
    extra = {
        g: model.add_variable(f"extra_{g:04d}", 0, int(most[g]), cat="Integer")
        for g in types
        if math.isfinite(problem.limits[g])
    }
    # Fewest machines first; among equals the cheapest, by a price term that cannot outweigh one machine.
    weight = 0.5 / float(problem.prices.sum() * max(1.0, most.sum()))
    model += pulp.LpAffineExpression([(v, 1.0 + weight * float(problem.prices[g])) for g, v in extra.items()])
    for g, variable in extra.items():
        load = [(shares[g, b], float(problem.machines[g, b])) for b in range(problem.rates.size) if (g, b) in shares]
        model += pulp.LpAffineExpression([*load, (variable, -1.0)]) <= float(problem.limits[g]), f"load_{g:04d}"
    outcome = solve(model, solver=solver, time_limit_s=20.0, presolve=False)
    if not outcome.has_solution:
        return {}
    return {g: int(v.varValue) for g, v in extra.items() if v.varValue}


def _carried(problem: AssignmentInput, solver: str) -> tuple[float, set[int]]:
    """Return the largest share of all rates that the limits carry, and the types then fully busy."""
    model = pulp.LpProblem("carried", pulp.LpMaximize)
    can = np.isfinite(problem.machines)
    types, buckets = range(len(problem.names)), range(problem.rates.size)
    scale = model.add_variable("scale", 0, 1)
    shares = {(g, b): model.add_variable(f"x_{g:04d}_{b:06d}", 0) for g in types for b in buckets if can[g, b]}
    model += pulp.LpAffineExpression([(scale, 1.0)])
    for b in buckets:
        model += pulp.LpAffineExpression([*((shares[g, b], 1.0) for g in types if can[g, b]), (scale, -1.0)]) == 0
    load = {g: [(shares[g, b], float(problem.machines[g, b])) for b in buckets if can[g, b]] for g in types}
    for g in types:
        if math.isfinite(problem.limits[g]):
            model += pulp.LpAffineExpression(load[g]) <= float(problem.limits[g])
    outcome = solve(model, solver=solver, time_limit_s=20.0)
    if not outcome.has_solution:
        return 0.0, set()
    used = {g: math.fsum(v.varValue * a for v, a in terms) for g, terms in load.items()}
    return float(scale.varValue), {g for g in types if used[g] >= max(problem.limits[g] * (1 - 1e-6), 1e-9)}
