"""Requests and tokens of a solved fleet: those that are expected, and those that machines are for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.portfolio.solving import FleetSolution, Served


def rates_of(served: Served) -> dict[str, float]:
    """Requests of each workload that a group serves in a period [requests/s]."""
    total = math.fsum(r.rate_per_s for r in served.routes)
    rates: dict[str, float] = {}
    for part, share in zip(served.group.parts, served.shares, strict=True):
        rates[part.workload] = rates.get(part.workload, 0.0) + total * share
    return rates


def _requests(solution: FleetSolution, name: str, *, mean: bool) -> float:
    """Requests of a workload over the horizon: those that are expected, or those that are planned for."""
    own = solution.fleet.workloads[name]
    if own.batch is not None:
        a_day = math.fsum(lot.requests for lot in own.batch.lots())
        return math.fsum(
            a_day * stage.hours / 24.0 * (stage.mean_factors if mean else stage.factors).get(name, 1.0)
            for stage in solution.stages
        )
    return math.fsum(
        (own.rate_per_s or 0.0) * 3600.0 * p.hours * (p.mean_factors if mean else p.factors).get(name, 1.0)
        for p in solution.periods
    )


def mean_requests(solution: FleetSolution) -> float:
    """Requests of all workloads that are expected over the horizon."""
    return math.fsum(_requests(solution, name, mean=True) for name in solution.fleet.workloads)


def mean_requests_of(solution: FleetSolution, name: str) -> float:
    """Requests of one workload that are expected over the horizon."""
    return _requests(solution, name, mean=True)


def planned_requests(solution: FleetSolution) -> float:
    """Requests of all workloads that machines are for."""
    return math.fsum(_requests(solution, name, mean=False) for name in solution.fleet.workloads)


def tokens_of(solution: FleetSolution, name: str) -> float:
    """Prompt and output tokens of a workload over the horizon, as expected and not as planned for."""
    sizes = solution.problems[name].sizes
    return _requests(solution, name, mean=True) * (sizes.mean_prompt_tokens + sizes.mean_output_tokens)


def tokens(solution: FleetSolution, served: Sequence[Served]) -> float:
    """Expected tokens of some groups: those planned for, less the padding of each workload."""
    hours = {id(p): s.hours for p, s in zip(solution.periods, solution.given.spans, strict=True)}
    padding = {
        name: _requests(solution, name, mean=True) / planned
        if (planned := _requests(solution, name, mean=False))
        else 1.0
        for name in solution.fleet.workloads
    }
    total = 0.0
    for s in served:
        sizes = s.problem.need.traffic.sizes
        tokens = 3600.0 * hours[id(s.period)] * (sizes.mean_prompt_tokens + sizes.mean_output_tokens)
        total += math.fsum(rate * padding[name] * tokens for name, rate in rates_of(s).items())
    return total
