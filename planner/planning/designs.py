"""The best plan of each design with one or two pools, found by enumeration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from planner.optimization.selection import (
    Pair,
    Simple,
    best_simple,
    best_throughput,
    enumerate_pairs,
    optimistic_throughput,
)
from planner.pools.candidate import Candidate
from planner.pools.design import design_name
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost
from planner.scenario.resolve import Problem

DESIGNS_COMPARED = 8  # best designs whose exact plans are worked out, besides the best homogeneous one


def enumerate_designs(
    candidates: Sequence[Candidate], problem: Problem, limits: Limits, objective: ObjectiveOrWeights | None = None
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


def _has_baseline(designs: dict[str, Simple]) -> bool:
    return any(len(simple.pools) == 1 for simple in designs.values())


def _optimistic(pair: Pair, rate_per_s: float, objective: ObjectiveOrWeights, limits: Limits) -> float:
    """Value of a pair's plan, the smaller the better, at counts that are never too high; inf if nothing fits."""
    if objective == "throughput":
        return -optimistic_throughput(pair, limits) or math.inf
    return sum(
        unit_cost(c, objective) * (c.optimistic_count(rate_per_s) + limits.spares) for c in pair if c is not None
    )


def _value(simple: Simple, objective: ObjectiveOrWeights) -> float:
    """What enumeration compares, the smaller the better."""
    return -simple.rate_per_s if objective == "throughput" else simple.objective


def _is_better(a: Simple, b: Simple, objective: ObjectiveOrWeights) -> bool:
    return (_value(a, objective), len(a.pools), _power(a)) < (_value(b, objective), len(b.pools), _power(b))


def _power(simple: Simple) -> float:
    return sum(c.configuration.machine.rated_power_w * n for c, n in simple.pools)


def best_of(simples: Iterable[Simple], problem: Problem, objective: ObjectiveOrWeights | None = None) -> Simple | None:
    """The best of some plans; None of none. The objective is the scenario's unless told."""
    best: Simple | None = None
    for simple in simples:
        if best is None or _is_better(simple, best, objective or problem.scenario.objective):
            best = simple
    return best
