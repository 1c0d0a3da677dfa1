"""The choice of pools: enumeration, then a mixed-integer program, then a proof.

Each candidate pool j has a capacity curve cap_j(k), known exactly at some counts. The program draws straight lines
between them and is solved again, with the chosen counts added to the curves, until every chosen count is a known one.
Its bound holds if the curves nowhere rise above their lines. That is checked, not assumed: every count that a better
plan could contain is computed exactly, and where it lies above its line the program is solved again with it. Which
counts those are follows from prices of the two phases, which bound every plan from below (`reduction`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import NoPlanFoundError, PlannerError
from planner.optimization.enumeration import (
    Pair,
    Simple,
    best_simple,
    best_throughput,
    enumerate_pairs,
    optimistic_throughput,
    within,
)
from planner.optimization.program import Program, Way, ways_through
from planner.optimization.reduction import (
    KINK,
    Pieces,
    Resource,
    least_use,
    pieces_of,
    possible,
    resources,
    unknown_counts,
)
from planner.optimization.solver import solve
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost

__all__ = [
    "Pair", "Selection", "Simple", "Way", "balanced", "best_simple", "best_throughput", "choose", "enumerate_pairs",
    "optimistic_throughput", "within",
]  # fmt: skip

MAX_ROUNDS = 40
MOST_CHECKED = 3000  # counts computed for the proof; beyond, the lines are raised by KINK instead and solved again
_PROVEN = 1e-6  # relative gap that counts as none
_CAPACITY_PRECISION = 3e-5  # relative, to which capacities are computed
_LOAD_TOLERANCE = 1e-6  # relative, by which flow may exceed a capacity: below the precision of capacities


@dataclass(frozen=True)
class Selection:
    """Chosen pools.

    Attributes
    ----------
    counts : mapping of str to int
        Machines of each chosen candidate by key, spares not included.
    flows_per_s : mapping of (str, str or None) to float
        Requests from each prefill to each decode candidate, or through a mixed one alone, shared so that the
        busiest pool is as far from its capacity as can be [requests/s].
    status : str
        `optimal` or `limit`.
    objective, bound, gap : float
        Of the program's objective: USD/h, W, machines or requests/s; the gap is relative.
    solver : str
    rounds : int
        Solves until every chosen count was exact and the bound held.
    enumeration : float or None
        Best objective found by enumeration, the cross-check.
    """

    counts: Mapping[str, int]
    flows_per_s: Mapping[Way, float]
    status: str
    objective: float
    bound: float
    gap: float
    solver: str
    rounds: int
    enumeration: float | None


@dataclass(frozen=True)
class _Answer:
    """A plan that carries what it says, with its objective."""

    counts: Mapping[str, int]
    flows: Mapping[Way, float]
    value: float


class _Selecting:
    """What is known so far: the curves, the best plan and the bound."""

    def __init__(
        self, candidates: Sequence[Candidate], rate_per_s: float, objective: ObjectiveOrWeights, limits: Limits,
        incumbent: Simple | None,
    ) -> None:  # fmt: skip
        self.pool = {c.key: c for c in sorted(candidates, key=lambda c: c.key)}
        self.objective, self.limits = objective, limits
        self.maximise = objective == "throughput"
        self._rate = rate_per_s
        self.best: _Answer | None = None
        self.kink = 0.0
        if incumbent is not None:
            self.pool |= {c.key: c for c, _ in incumbent.pools}
            first, *rest = (c.key for c, _ in incumbent.pools)
            flows: dict[Way, float] = {(first, rest[0] if rest else None): incumbent.rate_per_s}
            value = incumbent.rate_per_s if self.maximise else incumbent.objective
            self.best = _Answer({c.key: n for c, n in incumbent.pools}, flows, value)

    @property
    def candidates(self) -> list[Candidate]:
        return list(self.pool.values())

    @property
    def demand_per_s(self) -> float:
        """What a plan must carry to be as good as the best one known [requests/s]."""
        if not self.maximise:
            return self._rate
        return self.best.value * (1 - _LOAD_TOLERANCE) if self.best else 0.0

    def program(self) -> Program:
        """The program over the counts that may be in a plan as good as the best one known."""
        return Program(
            self.candidates,
            self._possible(),
            None if self.maximise else self._rate,
            self._scale_per_s(),
            self.objective,
            self.limits,
            self._usual_power_w(),
        )

    def most_carried_per_s(self) -> float:
        """Capacity of everything that the limits allow of each candidate alone: no plan carries more."""
        most = {"prefill": 0.0, "decode": 0.0, "mixed": 0.0}
        for c in self.candidates:
            p = pieces_of(c, self.limits, self.kink or KINK)
            if p.first.size:
                most[c.role] += float((p.rate_per_s + p.slope * (p.last - p.first)).max())
        return min(most["prefill"], most["decode"]) + most["mixed"]

    def bound_without_solver(self) -> float:
        """What the prices of the phases say that no plan beats."""
        pieces = {c.key: pieces_of(c, self.limits, KINK) for c in self.candidates}
        supplies = resources(self.candidates, self.objective, self.limits, math.inf)
        if not self.maximise:
            return least_use(self.candidates, pieces, supplies[-1], self._rate, self.limits.spares)
        bound = self.most_carried_per_s()
        for supply in supplies:
            # With no demand to cap it, least use is linear in the rate.
            per_rate = least_use(self.candidates, pieces, supply, bound, self.limits.spares) / bound if bound else 0.0
            bound = min(bound, supply.most / per_rate) if per_rate > 0 else bound
        return bound

    def answer(self, counts: Mapping[str, int], served_per_s: float) -> tuple[_Answer | None, bool]:
        """The plan with these counts, and whether it does all that the program said; adds them to the curves."""
        for key, n in counts.items():
            self.pool[key] = self.pool[key].with_counts([n, n + 1])
        chosen = {key: (self.pool[key], n) for key, n in counts.items()}
        if not chosen:  # only where nothing can be carried at all
            return None, self.maximise
        if self.maximise:
            most, flows = balanced(chosen, None)
            answer = _Answer(counts, flows, most) if most > 0 else None
            return answer, most >= served_per_s * (1 - _LOAD_TOLERANCE)
        busiest, flows = balanced(chosen, self._rate)
        if busiest > 1 + _LOAD_TOLERANCE:
            return None, False
        bought = [unit_cost(self.pool[k], self.objective) * (n + self.limits.spares) for k, n in counts.items()]
        return _Answer(counts, flows, math.fsum(bought)), True

    def take(self, answer: _Answer) -> None:
        """Keep the better one."""
        sign = -1.0 if self.maximise else 1.0
        if self.best is None or sign * answer.value <= sign * self.best.value:
            self.best = answer

    def is_refuted(self) -> bool | None:
        """Whether a count that a better plan could contain carries more than its line says; None if too many to say.

        The counts looked at become known.
        """
        unknown = unknown_counts(self.candidates, self.limits, self._supplies(), self.demand_per_s)
        if sum(map(len, unknown.values())) > MOST_CHECKED:
            return None
        above: dict[str, NDArray[np.int64]] = {}
        for key, counts in unknown.items():
            old = self.pool[key].curve
            self.pool[key] = self.pool[key].with_counts(counts)
            new = self.pool[key].curve
            line = np.interp(new.n_machines, old.n_machines, old.rate_per_s)
            above[key] = new.n_machines[new.rate_per_s > line * (1 + _CAPACITY_PRECISION)]
        # Of those, some were only looked at because nothing was known of them.
        kept = self._possible()
        return any(bool(np.isin(counts, kept[key].first).any()) for key, counts in above.items())

    def faults(self, answer: _Answer) -> list[str]:
        """What is wrong with a plan, recomputed from the curves alone."""
        pools = [(self.pool[key], n) for key, n in answer.counts.items()]
        found = [] if within(pools, self.limits) else ["the limits are exceeded"]
        carried = math.fsum(answer.flows.values())
        wanted = answer.value if self.maximise else self._rate
        if abs(carried - wanted) > _LOAD_TOLERANCE * wanted:
            found.append(f"{carried:.9g} of {wanted:.9g} requests/s are routed")
        allowed = set(ways_through([c for c, _ in pools]))
        found += [f"no way {way}" for way in answer.flows if way not in allowed]
        for c, n in pools:
            load = math.fsum(rate for way, rate in answer.flows.items() if c.key in way)
            if n not in c.curve.n_machines or load > c.curve.at(n) * (1 + 2 * _LOAD_TOLERANCE):
                found.append(f"{c.key} carries {load:.9g} requests/s, more than {n} machines can")
        return found

    def _possible(self) -> dict[str, Pieces]:
        pieces = {c.key: pieces_of(c, self.limits, self.kink) for c in self.candidates}
        return possible(self.candidates, pieces, self._supplies(), self.demand_per_s, self.limits.spares)

    def _supplies(self) -> list[Resource]:
        best = self.best.value if self.best and not self.maximise else None
        return resources(self.candidates, self.objective, self.limits, best)

    def _scale_per_s(self) -> float:
        if not self.maximise:
            return self._rate
        return self.best.value if self.best else max(self.most_carried_per_s(), 1e-9)

    def _usual_power_w(self) -> float:
        if self.best:
            return math.fsum(unit_cost(self.pool[k], "power") * n for k, n in self.best.counts.items())
        return 100.0 * max((unit_cost(c, "power") for c in self.candidates), default=1.0)


def choose(
    candidates: Sequence[Candidate],
    rate_per_s: float,
    objective: ObjectiveOrWeights,
    limits: Limits,
    *,
    incumbent: Simple | None,
    solver: str,
    time_limit_s: float,
    seed: int = 0,
) -> Selection | None:
    """Choose pools at least cost, power or machines, or at most throughput within budgets.

    Parameters
    ----------
    candidates : sequence of Candidate
        Those with a source need that source among them.
    rate_per_s : float
        Demand [requests/s]; has no meaning for throughput.
    objective : str
    limits : Limits
    incumbent : Simple or None
        A plan known to be feasible, from enumeration; None if there is none.
    solver, time_limit_s, seed
        `highs` or `cbc`; limit for all rounds together [s].

    Returns
    -------
    Selection or None
        None when no plan exists (proven).

    Raises
    ------
    NoPlanFoundError
        The time limit passed before any plan was found.
    PlannerError
        The answer fails its recomputation, or the solver's answer breaks the model.
    """
    deadline = time.perf_counter() + time_limit_s
    search = _Selecting(candidates, rate_per_s, objective, limits, incumbent)
    bound, number, name, proven = math.inf if search.maximise else -math.inf, 0, solver, False
    while number < MAX_ROUNDS and not proven and (number == 0 or time.perf_counter() < deadline):
        number += 1
        program = search.program()
        start = (search.best.counts, search.best.flows) if search.best else None
        outcome = program.solve(solver, deadline - time.perf_counter(), seed, start)
        name = outcome.solver
        if outcome.bound is not None:
            bound = min(bound, outcome.bound) if search.maximise else max(bound, outcome.bound)
        if outcome.has_solution:
            answer, exact = search.answer(program.counts(), program.served_per_s())
            if answer is not None:
                search.take(answer)
            if outcome.status == "limit":
                break
            if not exact:
                continue
        elif outcome.status != "infeasible":
            break
        # Nothing better is left in the program; infeasible: nothing as good as the best plan, or nothing at all.
        if search.kink:
            proven = True
            continue
        refuted = search.is_refuted()
        proven = refuted is False
        if not proven:
            bound = math.inf if search.maximise else -math.inf
        if refuted is None:
            search.kink = KINK
    best = search.best
    if best is None:
        if proven:
            return None
        raise NoPlanFoundError(
            f"no plan was found within the time limit of {time_limit_s:g} s",
            where="--time-limit",
            fix="raise --time-limit, or narrow the search with --machine or --design",
        )
    faults = search.faults(best)
    if faults:
        raise PlannerError(
            "the chosen plan fails its recomputation", value="; ".join(faults), rule="report this scenario as a bug"
        )
    if not proven:
        free = search.bound_without_solver()
        bound = min(bound, free) if search.maximise else max(bound, free)
        # A plan is never better than a bound by more than rounding.
        bound = max(bound, best.value) if search.maximise else min(bound, best.value)
    gap = 0.0 if proven else abs(best.value - bound) / max(abs(best.value), 1e-12)
    proven = proven or gap <= _PROVEN
    known = None
    if incumbent is not None:
        known = incumbent.rate_per_s if search.maximise else incumbent.objective
    return Selection(
        best.counts,
        best.flows,
        "optimal" if proven else "limit",
        best.value,
        best.value if proven else bound,
        0.0 if proven else gap,
        name,
        number,
        known,
    )


def balanced(chosen: Mapping[str, tuple[Candidate, int]], rate_per_s: float | None) -> tuple[float, dict[Way, float]]:
    """Share the demand among pools of given counts so that the busiest is as little loaded as possible.

    Returns
    -------
    (float, dict)
        Load of the busiest pool over its capacity, or with `rate_per_s` None the largest rate they carry; and the
        flows [requests/s].
    """
    capacity = {key: c.curve.at(n) for key, (c, n) in chosen.items()}
    ways = ways_through([c for c, _ in chosen.values() if capacity[c.key] > 0])
    none: tuple[float, dict[Way, float]] = (0.0 if rate_per_s is None else math.inf, {})
    if not ways:
        return none
    if len(ways) == 1:
        most = min(capacity[key] for key in ways[0] if key is not None)
        return (most, {ways[0]: most}) if rate_per_s is None else (rate_per_s / most, {ways[0]: rate_per_s})
    import pulp

    scale = sum(capacity.values())
    problem = pulp.LpProblem("routing", pulp.LpMaximize if rate_per_s is None else pulp.LpMinimize)
    flow = {way: problem.add_variable(f"flow_{i}", lowBound=0) for i, way in enumerate(ways)}
    busiest = problem.add_variable("busiest", lowBound=0)
    for key, most in sorted(capacity.items()):
        through = pulp.lpSum([flow[way] for way in ways if key in way])
        problem += through <= most / scale * (1.0 if rate_per_s is None else busiest)
    total = pulp.lpSum(flow.values())
    if rate_per_s is None:
        problem += busiest <= 1
        problem += total
    else:
        problem += total == rate_per_s / scale
        problem += busiest
    outcome = solve(problem)
    if not outcome.has_solution or outcome.objective is None:
        return none
    flows = {way: max(variable.value(), 0.0) * scale for way, variable in flow.items()}
    flows = {way: rate for way, rate in flows.items() if rate > 1e-9 * scale}
    return outcome.objective * (scale if rate_per_s is None else 1.0), flows
