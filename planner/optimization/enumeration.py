"""Plans of one mixed pool, or of one prefill and one decode pool, found without a solver.

With one type in each role the optimum is two monotone searches, for capacity never falls with the number of machines.
These plans seed the mixed-integer program, are held against its answer, and are what a plan is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.pools.candidate import Candidate
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost

LIMIT_TOLERANCE = 1e-9  # relative, by which a budget may be exceeded: the rounding of its sums

Pair = tuple[Candidate, Candidate | None]


@dataclass(frozen=True)
class Simple:
    """A plan of one mixed pool, or of one prefill and one decode pool, exact at its counts.

    Attributes
    ----------
    pools : tuple of (Candidate, int)
        With machines that carry the load, spares not included.
    objective : float
        What is minimised, spares included; for throughput the rated power, which breaks ties [W].
    rate_per_s : float
        Carried [requests/s].
    """

    pools: tuple[tuple[Candidate, int], ...]
    objective: float
    rate_per_s: float


def enumerate_pairs(candidates: Sequence[Candidate]) -> list[Pair]:
    """Every mixed candidate alone, and every decode candidate with each of its prefill sources."""
    by_key = {c.key: c for c in candidates}
    pairs: list[Pair] = [(c, None) for c in candidates if c.role == "mixed"]
    return pairs + [(by_key[p], c) for c in candidates for p in c.sources if p in by_key]


def within(pools: Sequence[tuple[Candidate, int]], limits: Limits) -> bool:
    """Whether pools of these counts (spares to be added) respect budgets and stock."""
    bought = [(c, n + limits.spares) for c, n in pools]
    slack = 1.0 + LIMIT_TOLERANCE
    for budget, most in limits.budgets:
        taken = math.fsum(budget.of_machine(c.configuration) * n for c, n in bought)
        if not taken <= most * slack:  # written so that a machine of which it is not known is not within
            return False
    if limits.max_pools is not None and len(pools) > limits.max_pools:
        return False
    by_type: dict[str, int] = {}
    for c, n in bought:
        by_type[c.configuration.machine.name] = by_type.get(c.configuration.machine.name, 0) + n
    if limits.max_bought is not None:
        new = sum(max(n - limits.owned.get(name, 0), 0) for name, n in by_type.items())
        if new > limits.max_bought:
            return False
    return all(limits.taken(name, by_type) <= most for name, most in limits.max_machines.items())


def most_affordable(candidate: Candidate, limits: Limits, beside: tuple[Candidate, int] | None = None) -> int:
    """Machines of a candidate that stock and budgets leave room for, spares deducted.

    Parameters
    ----------
    candidate : Candidate
    limits : Limits
    beside : (Candidate, int), optional
        Another pool that is bought first, its spares not counted in the number.

    Returns
    -------
    int
        At most 10^9; 0 or less if there is no room for any.
    """
    machine, slack = candidate.configuration.machine, 1.0 + LIMIT_TOLERANCE
    other, n = beside if beside is not None else (candidate, -limits.spares)
    taken, left = n + limits.spares, math.inf
    for budget, most in limits.budgets:
        each = budget.of_machine(candidate.configuration)
        room = most * slack - (budget.of_machine(other.configuration) * taken if taken else 0.0)
        left = min(left, room / each if each else math.inf)
    for stock, most in limits.max_machines.items():
        if weight := limits.weight(stock, machine.name):
            left = min(left, (most - limits.weight(stock, other.configuration.machine.name) * taken) / weight)
    if limits.max_bought is not None:
        same = other.configuration.machine.name == machine.name
        left = min(left, limits.owned.get(machine.name, 0) + limits.max_bought - (taken if same else 0))
    return math.floor(max(min(left, 1e9), 0.0)) - limits.spares


def best_simple(pair: Pair, rate_per_s: float, objective: ObjectiveOrWeights, limits: Limits) -> Simple | None:
    """Fewest machines of one pair that carry the rate, or None if none do within the limits."""
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
    return Simple(tuple(pools), _objective(pools, objective, limits), rate_per_s)


def best_throughput(pair: Pair, limits: Limits) -> Simple | None:
    """Largest rate of one pair within the limits, with the fewest machines that carry it; None if nothing fits.

    With n prefill machines, m(n) decode machines are left room for. The rate is min(cap_p(n), cap_d(m(n))), of which
    the first part rises with n and the second falls, so that the best n is beside their crossing.
    """
    first, second = pair
    while True:
        counts = _best_counts(first, second, limits)
        if not counts:
            return None
        unknown = [n for n in counts if n not in first.curve.n_machines]
        first = first.with_counts(counts)
        if second is not None:
            beside = [m for n in counts if (m := _most_of(second, limits, (first, n))) >= 1]
            unknown += [m for m in beside if m not in second.curve.n_machines]
            second = second.with_counts(beside)
        if not unknown:
            break
    rate = max(_straight_rate(first, second, n, limits) for n in counts)
    if rate <= 0:
        return None
    pools = []
    for candidate in (first, second):
        if candidate is not None:
            count, exact = candidate.cheapest_count(rate)
            if count is None:
                return None
            pools.append((exact, count))
    return Simple(tuple(pools), _objective(pools, "throughput", limits), rate) if within(pools, limits) else None


def optimistic_throughput(pair: Pair, limits: Limits) -> float:
    """What `best_throughput` would find if curves were straight between their known counts [requests/s]."""
    counts = _best_counts(*pair, limits)
    return max((_straight_rate(*pair, n, limits) for n in counts), default=0.0)


def _best_counts(first: Candidate, second: Candidate | None, limits: Limits) -> list[int]:
    """The one or two counts of `first` beside the crossing, by straight lines; empty if there is room for none."""
    if second is not None and limits.max_pools == 1:
        return []
    most = _most_of(first, limits, None if second is None else (second, 1))
    if most < 1:
        return []
    if second is None:
        return [most]
    lo, hi = 1, most
    while lo < hi:
        middle = (lo + hi + 1) // 2
        if _straight(first, middle) <= _straight(second, _most_of(second, limits, (first, middle))):
            lo = middle
        else:
            hi = middle - 1
    return [lo] if lo == most else [lo, lo + 1]


def _straight_rate(first: Candidate, second: Candidate | None, n: int, limits: Limits) -> float:
    rate = _straight(first, n)
    return rate if second is None else min(rate, _straight(second, _most_of(second, limits, (first, n))))


def _straight(candidate: Candidate, n: int) -> float:
    return float(np.interp(n, candidate.curve.n_machines, candidate.curve.rate_per_s)) if n >= 1 else 0.0


def _most_of(candidate: Candidate, limits: Limits, beside: tuple[Candidate, int] | None) -> int:
    """As `most_affordable`, but no more than the curve knows of: its last count carries all that can be asked."""
    return min(most_affordable(candidate, limits, beside), int(candidate.curve.n_machines[-1]))


def _objective(pools: Sequence[tuple[Candidate, int]], objective: ObjectiveOrWeights, limits: Limits) -> float:
    return math.fsum(unit_cost(c, objective) * (n + limits.spares) for c, n in pools)
