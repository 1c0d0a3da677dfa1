"""In the place of the best plan, one with fewer pools or machine types that is nearly as good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from planner.errors import InfeasibleError, NoPlanFoundError
from planner.optimization.selection import best_simple, enumerate_pairs
from planner.planning.correction import Corrections
from planner.planning.promises import kept
from planner.planning.search import NearTie, Search, Solution, solve_search
from planner.pools.candidate import Candidate
from planner.pools.limits import unit_cost
from planner.scenario.resolve import Problem

TOLERANCE = 0.01  # what fewer pools or machine types may cost more, as a share
TOLERANCE_OF_TWO_POOLS = 0.05  # the same of two pools or one in the place of more


def simpler(
    search: Search, best: Solution, corrections: Corrections, progress: Callable[[str], None]
) -> Solution | None:
    """The simplest plan within the tolerances of the best one; None where it is the best one, or all are wanted exact.

    Parameters
    ----------
    search : Search
    best : Solution
        The optimum.
    corrections : Corrections
    progress : callable

    Returns
    -------
    Solution or None
        The fewest pools, among these the fewest types, among these the best, with `near_tie` saying what the optimum
        is. The largest throughput has none: what it is worth to carry less, nobody said.
    """
    return kept(search, lambda now: _simpler(now, best, corrections, progress))


def _simpler(
    search: Search, best: Solution, corrections: Corrections, progress: Callable[[str], None]
) -> Solution | None:
    problem, candidates = search.posed[0]
    scenario = problem.scenario
    n_pools, n_types = len(best.members), _n_types(best)
    if scenario.exact or scenario.objective == "throughput" or n_pools == 1:
        return None
    progress("looking for a simpler plan that is nearly as good")
    optimum = best.selection.objective
    corrected = [corrections.applied_to(c) for c in candidates]
    found: list[tuple[int, int, float, Solution]] = []

    def consider(among: Sequence[Candidate], most_pools: int) -> None:
        keys = {c.key for c in among}
        limits = replace(problem.limits, max_pools=min(most_pools, problem.limits.max_pools or most_pools))
        posed = replace(problem, limits=limits)
        try:
            solution = solve_search(
                replace(
                    search,
                    posed=[(posed, [c for c in candidates if c.key in keys])],
                    homogeneous={},
                    whole=None,
                    promises=None,
                ),
                corrections,
            )
        except (InfeasibleError, NoPlanFoundError):
            return
        pools, types, value = len(solution.members), _n_types(solution), solution.selection.objective
        if (pools, types) != (n_pools, n_types) and value <= optimum * (1.0 + _tolerance(pools, n_pools)):
            found.append((pools, types, value, solution))

    pairs = sorted(_near_pairs(problem, corrected, n_pools, n_types, optimum), key=lambda p: p[:3])
    if pairs:
        consider(pairs[0][3], 2)
    for most_pools in range(2, n_pools):
        if not found:
            consider(corrected, most_pools)
    names = sorted({m.configuration.machine.name for m in best.members})
    if n_types > 1 and not found:
        for name in names:
            consider([c for c in corrected if c.configuration.machine.name == name], n_pools)
    if not found:
        return None
    *_, solution = min(found, key=lambda entry: entry[:3])
    machines = sum(m.count for m in best.members) + problem.limits.spares * n_pools
    tie = NearTie(value=optimum, n_machines=machines, n_pools=n_pools, n_types=n_types)
    return replace(solution, simples=best.simples, n_candidates=best.n_candidates, near_tie=tie)


def _near_pairs(
    problem: Problem, candidates: Sequence[Candidate], n_pools: int, n_types: int, optimum: float
) -> Iterator[tuple[int, int, float, list[Candidate]]]:
    """Simpler plans of one mixed pool, or of one prefill and one decode pool, that are near: pools, types, value."""
    rate, objective, limits = problem.need.rate_per_s, problem.scenario.objective, problem.limits
    for pair in enumerate_pairs(candidates):
        pools = [c for c in pair if c is not None]
        types = len({c.configuration.machine.name for c in pools})
        if len(pools) > n_pools or types > n_types or (len(pools), types) == (n_pools, n_types):
            continue
        most = optimum * (1.0 + _tolerance(len(pools), n_pools))
        if sum(unit_cost(c, objective) * (c.optimistic_count(rate) + limits.spares) for c in pools) > most:
            continue
        simple = best_simple(pair, rate, objective, limits)
        if simple is not None and simple.objective <= most:
            yield len(pools), types, simple.objective, pools


def _tolerance(n_pools: int, n_pools_of_the_best: int) -> float:
    return TOLERANCE_OF_TWO_POOLS if n_pools <= 2 < n_pools_of_the_best else TOLERANCE


def _n_types(solution: Solution) -> int:
    return len({m.configuration.machine.name for m in solution.members})
