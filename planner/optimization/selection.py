"""The choice of pools as a mixed-integer program.

Each candidate pool j has a capacity curve cap_j(k), known exactly at some counts and convex between them. Its
count is one of the known ones, or lies on the straight line between two neighbours, which is never below the
curve. The program is therefore a relaxation: its bound holds for the exact problem, and its answer is exact once
every chosen count is a known one. `choose` adds the chosen counts to the curves and solves again until they are.

Only the *first* solve is hard, so two exact reductions precede it. Enumeration (one mixed type, or one prefill and
one decode type: two monotone searches) gives an incumbent. Prices of the two phases bound every plan from below,
and counts whose reduced cost exceeds the incumbent cannot be in a better plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import NoPlanFoundError
from planner.fleet.candidate import Candidate
from planner.fleet.limits import Limits, ObjectiveName, price_usd_per_hour, unit_cost
from planner.optimization.solver import SolveOutcome, solve

MAX_ROUNDS = 30
_TOLERANCE = 1e-7  # relative, on objectives
_TIE_BREAK = 1e-6  # of the cheapest machine's objective, for each pool: what counts as equal


Way = tuple[str, str | None]


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
        Of the program's objective: USD/h, W, machines or requests/s.
    solver : str
    rounds : int
        Solves until every chosen count was exact.
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
class _Segment:
    """Counts from `first` to `last` of one candidate, with capacity on a straight line."""

    first: int
    last: int
    rate_at_first: float
    slope: float


Pair = tuple[Candidate, Candidate | None]


def enumerate_pairs(candidates: Sequence[Candidate]) -> list[Pair]:
    """Every mixed candidate alone, and every decode candidate with its prefill source."""
    by_key = {c.key: c for c in candidates}
    pairs: list[Pair] = [(c, None) for c in candidates if c.role == "mixed"]
    return pairs + [(by_key[p], c) for c in candidates for p in c.sources if p in by_key]


@dataclass(frozen=True)
class Simple:
    """A plan of one mixed pool, or of one prefill and one decode pool, exact at its counts."""

    pools: tuple[tuple[Candidate, int], ...]
    objective: float
    rate_per_s: float


def best_simple(pair: Pair, rate_per_s: float, objective: ObjectiveName, limits: Limits) -> Simple | None:
    """Cheapest counts of one pair that carry the rate, or None if none do within the limits."""
    pools: list[tuple[Candidate, int]] = []
    for candidate in pair:
        if candidate is None:
            continue
        count, exact = candidate.cheapest_count(rate_per_s)
        if count is None:
            return None
        pools.append((exact, count))
    if not within(pools, limits):
        return None
    total = sum(unit_cost(c, objective) * (n + limits.spares) for c, n in pools)
    return Simple(tuple(pools), total, rate_per_s)


def best_throughput(pair: Pair, limits: Limits) -> Simple | None:
    """Largest rate of one pair within the limits, or None if nothing fits in them.

    For each number of prefill machines, as many decode machines as the limits still allow; the objective of the
    result is its price, which breaks ties.
    """
    first, second = pair
    best: Simple | None = None
    for n in first.curve.n_machines.tolist():
        pools = [(first, int(n))]
        rate = first.curve.at(int(n))
        if second is not None:
            m = _most_beside(first, int(n), second, limits)
            counts = second.curve.n_machines
            at = int(np.searchsorted(counts, m, side="right")) - 1
            if at < 0:
                continue
            # No more of them than the prefill pool can feed.
            enough = int(np.searchsorted(second.curve.rate_per_s, rate))
            at = min(at, enough, counts.size - 1)
            pools.append((second, int(counts[at])))
            rate = min(rate, float(second.curve.rate_per_s[at]))
        if rate > 0 and within(pools, limits):
            cost = sum(price_usd_per_hour(c) * (k + limits.spares) for c, k in pools)
            if best is None or (rate, -cost) > (best.rate_per_s * (1 + 1e-12), -best.objective):
                best = Simple(tuple(pools), cost, rate)
    return best


def _most_beside(first: Candidate, n: int, second: Candidate, limits: Limits) -> int:
    """Machines of `second` that the limits leave beside `n` of `first`, spares deducted."""
    a, b, bought = first.configuration.machine, second.configuration.machine, n + limits.spares
    left = math.inf
    if limits.max_cost_usd_per_hour is not None:
        room = limits.max_cost_usd_per_hour * (1 + _TOLERANCE) - price_usd_per_hour(first) * bought
        left = min(left, room / price_usd_per_hour(second))
    if limits.max_power_w is not None:
        left = min(left, (limits.max_power_w * (1 + _TOLERANCE) - a.rated_power_w * bought) / b.rated_power_w)
    if limits.max_total_machines is not None:
        left = min(left, limits.max_total_machines - bought)
    if b.name in limits.max_machines:
        left = min(left, limits.max_machines[b.name] - (bought if a.name == b.name else 0))
    return int(max(min(left, 10**9), 0)) - limits.spares


def within(pools: Sequence[tuple[Candidate, int]], limits: Limits) -> bool:
    """Whether pools of these counts (spares to be added) respect budgets and stock."""
    bought = [(c, n + limits.spares) for c, n in pools]
    if limits.max_cost_usd_per_hour is not None:
        cost = sum(price_usd_per_hour(c) * n for c, n in bought)
        if not cost <= limits.max_cost_usd_per_hour * (1 + _TOLERANCE):
            return False
    if limits.max_power_w is not None:
        power = sum(c.configuration.machine.rated_power_w * n for c, n in bought)
        if power > limits.max_power_w * (1 + _TOLERANCE):
            return False
    if limits.max_total_machines is not None and sum(n for _, n in bought) > limits.max_total_machines:
        return False
    if limits.max_pools is not None and len(pools) > limits.max_pools:
        return False
    by_type: dict[str, int] = {}
    for c, n in bought:
        by_type[c.configuration.machine.name] = by_type.get(c.configuration.machine.name, 0) + n
    return all(by_type.get(name, 0) <= most for name, most in limits.max_machines.items())


def choose(
    candidates: Sequence[Candidate],
    rate_per_s: float,
    objective: ObjectiveName,
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
        Demand [requests/s]; for throughput, any positive scale.
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
    """
    pool = {c.key: c for c in sorted(candidates, key=lambda c: c.key)}
    best = incumbent
    left_s = time_limit_s
    bound = -math.inf if objective != "throughput" else math.inf
    outcome: SolveOutcome | None = None
    for number in range(1, MAX_ROUNDS + 1):
        program = _Program(list(pool.values()), rate_per_s, objective, limits, best)
        outcome = program.solve(solver, left_s, seed)
        left_s = max(left_s - outcome.seconds, 0.0)
        if outcome.status == "infeasible":
            if best is None:
                return None
            # Everything at least as good as the incumbent was fixed away: the incumbent is optimal.
            return _from_simple(best, "optimal", best.objective, outcome.solver, number, objective)
        if outcome.bound is not None:
            bound = max(bound, outcome.bound) if objective != "throughput" else min(bound, outcome.bound)
        if not outcome.has_solution:
            break
        counts, served = program.values()
        for key, n in counts.items():
            pool[key] = pool[key].with_counts([n, n + 1])
        chosen = {key: (pool[key], n) for key, n in counts.items()}
        if objective == "throughput":
            most, flows = _balanced(chosen, None)
            exact_enough = most >= served * (1 - 1e-6)
        else:
            busiest, flows = _balanced(chosen, rate_per_s)
            exact_enough = busiest <= 1 + 1e-9
        if exact_enough:
            value = outcome.objective if outcome.objective is not None else math.nan
            status = "optimal" if outcome.status == "optimal" else "limit"
            gap = abs(value - bound) / max(abs(value), 1e-12)
            if gap <= 1e-6:
                status, gap, bound = "optimal", 0.0, value
            simple = None
            if incumbent is not None:
                simple = incumbent.rate_per_s if objective == "throughput" else incumbent.objective
            return Selection(counts, flows, status, value, bound, gap, outcome.solver, number, simple)
        if left_s <= 0:
            break
    solver_name = outcome.solver if outcome else solver
    if best is not None:
        return _from_simple(best, "limit", bound, solver_name, number, objective)
    raise NoPlanFoundError(
        f"no plan was found within the time limit of {time_limit_s:g} s",
        where="--time-limit",
        fix="raise --time-limit, or narrow the search with --machine or --design",
    )


def _from_simple(
    simple: Simple,
    status: str,
    bound: float,
    solver: str,
    rounds: int,
    objective: ObjectiveName,
) -> Selection:
    counts = {c.key: n for c, n in simple.pools}
    value = simple.rate_per_s if objective == "throughput" else simple.objective
    keys = [c.key for c, _ in simple.pools]
    flows: dict[Way, float] = {(keys[0], keys[1] if len(keys) > 1 else None): simple.rate_per_s}
    if not math.isfinite(bound):
        bound = 0.0 if objective != "throughput" else math.inf
    gap = abs(value - bound) / max(abs(value), 1e-12)
    return Selection(counts, flows, status, value, bound, gap, solver, rounds, value)


def _balanced(
    chosen: Mapping[str, tuple[Candidate, int]], rate_per_s: float | None
) -> tuple[float, dict[Way, float]]:
    """Share the demand among pools of given counts so that the busiest is as little loaded as possible.

    Returns
    -------
    (float, dict)
        Load of the busiest pool over its capacity, or with `rate_per_s` None the largest rate they carry; and the
        flows [requests/s].
    """
    capacity = {key: c.curve.at(n) for key, (c, n) in chosen.items()}
    ways = _ways([c for c, _ in chosen.values()])
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
        return (0.0 if rate_per_s is None else math.inf), {}
    flows = {way: max(variable.value(), 0.0) * scale for way, variable in flow.items()}
    flows = {way: rate for way, rate in flows.items() if rate > 1e-9 * scale}
    return outcome.objective * (scale if rate_per_s is None else 1.0), flows


def _ways(candidates: Sequence[Candidate]) -> list[Way]:
    """Ways that a request can take through these pools."""
    present = {c.key for c in candidates}
    ways: list[Way] = [(c.key, None) for c in candidates if c.role == "mixed"]
    return ways + [(p, c.key) for c in candidates for p in c.sources if p in present]


class _Program:
    """One mixed-integer program over the candidates' curves as they are known now."""

    def __init__(
        self,
        candidates: list[Candidate],
        rate_per_s: float,
        objective: ObjectiveName,
        limits: Limits,
        incumbent: Simple | None,
    ) -> None:
        import pulp  # here, not at the top: importing it costs a tenth of a second

        self._pulp = pulp
        self._objective = objective
        self._limits = limits
        self._scale = rate_per_s  # flows are fractions of the demand, so that rows stay near unit scale
        self._maximise = objective == "throughput"
        self.problem = pulp.LpProblem("fleet", pulp.LpMaximize if self._maximise else pulp.LpMinimize)
        segments = {c.key: _segments(c, limits) for c in candidates}
        if not self._maximise and incumbent is not None:
            segments = _fix_by_reduced_cost(candidates, segments, rate_per_s, objective, limits, incumbent)
        self._candidates = [c for c in candidates if segments[c.key]]
        self._ways = _ways(self._candidates)
        used = {key for way in self._ways for key in way}
        self._candidates = [c for c in self._candidates if c.key in used]
        self._segments = segments
        self._declare()
        self._define_capacity()
        self._define_demand()
        self._define_limits()
        self._define_objective()

    def _declare(self) -> None:
        """One binary for each segment of each candidate; an integer beside it where it holds several counts."""
        self._on: dict[str, list] = {}
        self._beyond: dict[str, list] = {}
        add = self.problem.add_variable
        self._flow = {way: add(f"flow_{i}", lowBound=0) for i, way in enumerate(self._ways)}
        for i, c in enumerate(self._candidates):
            parts = self._segments[c.key]
            self._on[c.key] = [add(f"on_{i}_{s}", cat="Binary") for s in range(len(parts))]
            self._beyond[c.key] = [
                add(f"beyond_{i}_{s}", 0, part.last - part.first, cat="Integer")
                if part.last > part.first
                else None
                for s, part in enumerate(parts)
            ]

    def _define_capacity(self) -> None:
        """Flow through j <= cap_j(k_j);  at most one segment on;  k_j within the segment that is on."""
        lp = self._pulp.lpSum
        for c in self._candidates:
            parts, on, beyond = self._segments[c.key], self._on[c.key], self._beyond[c.key]
            capacity = lp(
                [part.rate_at_first / self._scale * y for part, y in zip(parts, on, strict=True)]
                + [part.slope / self._scale * b for part, b in zip(parts, beyond, strict=True) if b is not None]
            )
            self.problem += lp([self._flow[way] for way in self._ways if c.key in way]) <= capacity
            if len(on) > 1:
                self.problem += lp(on) <= 1
            for part, y, b in zip(parts, on, beyond, strict=True):
                if b is not None:
                    self.problem += b <= (part.last - part.first) * y

    def _define_demand(self) -> None:
        """sum of flows = demand (or throughput). A flow passes one mixed, or a prefill and a decode pool."""
        self._served = self._pulp.lpSum(self._flow.values())
        if not self._maximise:
            self.problem += self._served == 1

    def _bought(self, c: Candidate) -> object:
        """Machines of a candidate, spares included."""
        parts, on, beyond = self._segments[c.key], self._on[c.key], self._beyond[c.key]
        return self._pulp.lpSum(
            [(part.first + self._limits.spares) * y for part, y in zip(parts, on, strict=True)]
            + [b for b in beyond if b is not None]
        )

    def _define_limits(self) -> None:
        """Budgets of cost, power and machines, and stock by type; each row divided by its limit."""
        lp, limits = self._pulp.lpSum, self._limits
        bought = {c.key: self._bought(c) for c in self._candidates}
        if limits.max_cost_usd_per_hour is not None:
            cost = lp([price_usd_per_hour(c) / limits.max_cost_usd_per_hour * bought[c.key] for c in self._candidates])
            self.problem += cost <= 1 + 1e-9
        if limits.max_power_w is not None:
            power = lp(
                [c.configuration.machine.rated_power_w / limits.max_power_w * bought[c.key] for c in self._candidates]
            )
            self.problem += power <= 1 + 1e-9
        if limits.max_total_machines is not None:
            self.problem += lp([bought[c.key] for c in self._candidates]) <= limits.max_total_machines
        if limits.max_pools is not None:
            self.problem += lp([y for on in self._on.values() for y in on]) <= limits.max_pools
        for name, most in sorted(limits.max_machines.items()):
            of_type = [bought[c.key] for c in self._candidates if c.configuration.machine.name == name]
            if of_type:
                self.problem += lp(of_type) <= most

    def _define_objective(self) -> None:
        """Least objective; among equals the fewest pools, then the least power.

        The tie-break adds at most `_TIE_BREAK` of the objective, which is the precision of "equal".
        """
        lp = self._pulp.lpSum
        pools = lp([y for on in self._on.values() for y in on])
        if self._maximise:
            self.problem += self._served * self._scale - _TIE_BREAK * self._scale * pools
            return
        self._cost = lp([unit_cost(c, self._objective) * self._bought(c) for c in self._candidates])
        power = {c.key: c.configuration.machine.rated_power_w for c in self._candidates}
        most_power = sum(power[c.key] * (self._segments[c.key][-1].last + self._limits.spares) for c in self._candidates)
        size = min(unit_cost(c, self._objective) for c in self._candidates) * _TIE_BREAK
        drawn = lp([power[c.key] / max(most_power, 1.0) * self._bought(c) for c in self._candidates])
        self.problem += self._cost + size * (pools + drawn)

    def solve(self, solver: str, time_limit_s: float, seed: int) -> SolveOutcome:
        """Solve; objective and bound are those of the plan, without the tie-break."""
        if not self._candidates:
            return SolveOutcome("infeasible", None, None, None, 0.0, solver)
        outcome = solve(self.problem, solver=solver, time_limit_s=max(time_limit_s, 1e-3), seed=seed)
        if not outcome.has_solution or outcome.objective is None:
            return outcome
        value = self._served.value() * self._scale if self._maximise else self._cost.value()
        bound = None if outcome.bound is None else outcome.bound - (outcome.objective - value)
        return replace(outcome, objective=value, bound=bound)

    def values(self) -> tuple[dict[str, int], float]:
        """Chosen counts by key, and the rate served [requests/s]."""
        used = {key for way, flow in self._flow.items() if flow.value() > 1e-9 for key in way}
        counts: dict[str, int] = {}
        for c in self._candidates:
            for part, y, b in zip(self._segments[c.key], self._on[c.key], self._beyond[c.key], strict=True):
                if y.value() > 0.5 and c.key in used:
                    counts[c.key] = part.first + (round(b.value()) if b is not None else 0)
        return counts, self._served.value() * self._scale


def _segments(candidate: Candidate, limits: Limits) -> list[_Segment]:
    """The curve as segments, cut at the stock and budgets of this type alone."""
    n, rate = candidate.curve.n_machines, candidate.curve.rate_per_s
    most = _most_affordable(candidate, limits)
    parts: list[_Segment] = []
    for i in range(n.size):
        if rate[i] <= 0 or n[i] > most:
            continue
        last, slope = int(n[i]), 0.0
        if i + 1 < n.size and n[i + 1] > n[i] + 1:
            slope = float((rate[i + 1] - rate[i]) / (n[i + 1] - n[i]))
            last = min(int(n[i + 1]) - 1, most)
        parts.append(_Segment(int(n[i]), last, float(rate[i]), slope))
    return parts


def _most_affordable(candidate: Candidate, limits: Limits) -> int:
    """Machines of this type that stock and budgets allow if nothing else is bought, less spares."""
    configuration = candidate.configuration
    most = float(limits.max_machines.get(configuration.machine.name, math.inf))
    if limits.max_total_machines is not None:
        most = min(most, limits.max_total_machines)
    if limits.max_power_w is not None:
        most = min(most, limits.max_power_w / configuration.machine.rated_power_w * (1 + _TOLERANCE))
    if limits.max_cost_usd_per_hour is not None:
        most = min(most, limits.max_cost_usd_per_hour / price_usd_per_hour(candidate) * (1 + _TOLERANCE))
    return int(min(most, 10**9)) - limits.spares


def phase_prices(candidates: Sequence[Candidate], objective: ObjectiveName) -> tuple[float, float]:
    """Prices of a request/s of prefill and of decode that no candidate undercuts.

    Notes
    -----
    With u_j = min_k c_j k / cap_j(k), any (pi_p, pi_d) with pi_p <= u of every prefill, pi_d <= u of every decode and
    pi_p + pi_d <= u of every mixed candidate makes demand x (pi_p + pi_d) a lower bound on every plan: the dual of
    the relaxation in which capacity is linear.
    """
    least = {"prefill": math.inf, "decode": math.inf, "mixed": math.inf}
    for c in candidates:
        rate = c.curve.rate_per_s
        some = rate > 0
        if some.any():
            per_rate = unit_cost(c, objective) * c.curve.n_machines[some] / rate[some]
            least[c.role] = min(least[c.role], float(per_rate.min()))
    split, mixed = least["prefill"] + least["decode"], least["mixed"]
    if split <= mixed:
        return (least["prefill"], least["decode"]) if math.isfinite(split) else (0.0, 0.0)
    if not math.isfinite(split):
        return mixed / 2.0, mixed / 2.0
    return least["prefill"] * mixed / split, least["decode"] * mixed / split


def _fix_by_reduced_cost(
    candidates: Sequence[Candidate],
    segments: Mapping[str, list[_Segment]],
    rate_per_s: float,
    objective: ObjectiveName,
    limits: Limits,
    incumbent: Simple,
) -> dict[str, list[_Segment]]:
    """Drop counts that no plan as good as the incumbent can contain.

    A plan with k machines of j costs at least LB + c_j (k + s) - pi_j min(cap_j(k), demand), LB = demand x
    (pi_p + pi_d): the rest of the demand is served at no less than the phase prices.
    """
    prefill, decode = phase_prices(candidates, objective)
    price = {"prefill": prefill, "decode": decode, "mixed": prefill + decode}
    room = incumbent.objective - rate_per_s * (prefill + decode)
    room += _TOLERANCE * max(abs(incumbent.objective), 1.0)
    kept: dict[str, list[_Segment]] = {}
    for c in candidates:
        cost = unit_cost(c, objective)

        def reduced(k: int, rate: float, cost: float = cost, pi: float = price[c.role]) -> float:
            return cost * (k + limits.spares) - pi * min(rate, rate_per_s)

        # Reduced cost is piecewise linear in k along a segment, so its least value is at an end or at full demand.
        kept[c.key] = []
        for part in segments[c.key]:
            k_full = part.last
            if part.slope > 0:
                k_full = int(
                    np.clip(part.first + (rate_per_s - part.rate_at_first) / part.slope, part.first, part.last)
                )
            ends = {part.first, k_full, min(k_full + 1, part.last), part.last}
            least = min(reduced(k, part.rate_at_first + part.slope * (k - part.first)) for k in ends)
            if least <= room:
                kept[c.key].append(part)
    return kept
