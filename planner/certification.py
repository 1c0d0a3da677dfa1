"""Prove a plan on simulated requests, and find the smallest plan that the simulation confirms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.fleet.candidate import Candidate
from planner.fleet.prediction import Member, Route
from planner.problem import Problem
from planner.serving.capacity import CapacityCurve
from planner.simulation.cluster import ClusterSimulation, Simulated
from planner.simulation.engine import Failure

Progress = Callable[[str], None]
_BREAKS_AT = np.array([1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2.0])  # load multiples tried, upwards


@dataclass(frozen=True)
class Effort:
    """How much is simulated.

    Attributes
    ----------
    n_requests : int
        Of each run.
    seeds : tuple of int
        One run each.
    """

    n_requests: int = 30_000
    seeds: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True)
class Witness:
    """A pool with one machine fewer, and what then breaks.

    Attributes
    ----------
    pool : int
        Index into the members.
    breaks : str
        The objective that fails and its simulated value; empty if all hold, so that the plan is not minimal.
    """

    pool: int
    breaks: str


@dataclass(frozen=True, eq=False)
class Certificate:
    """What simulation says of a plan.

    Attributes
    ----------
    simulated : Simulated
        The plan itself.
    witnesses : list of Witness
    without_spares : Simulated or None
        The plan with its promised spares failed; None where it has none.
    breaks_at : dict of str to float
        Load multiple at which each objective first fails, of those tried; absent where it held at all.
    """

    simulated: Simulated
    witnesses: list[Witness]
    without_spares: Simulated | None
    breaks_at: dict[str, float]


def simulation_of(problem: Problem, members: Sequence[Member], routes: Sequence[Route]) -> ClusterSimulation:
    """The cluster, ready to simulate on the problem's own traffic."""
    return ClusterSimulation(members, routes, problem.need, problem.sizes, problem.reference)


def confirm(
    problem: Problem, members: Sequence[Member], routes: Sequence[Route], effort: Effort, progress: Progress
) -> Simulated:
    """Simulate a plan at its planned load."""
    simulation = simulation_of(problem, members, routes)
    return simulation.simulate(n_requests=effort.n_requests, seeds=effort.seeds, progress=progress)


def failing_pools(problem: Problem, members: Sequence[Member], simulated: Simulated) -> list[int]:
    """Pools whose capacity the failed objectives say is overrated.

    TTFT speaks of the pools that prompts enter, TBT of those that decode; E2E of both.
    """
    if not simulated.stable:
        busiest = int(np.argmax(simulated.busy))
        return [busiest]
    failed = {limit.objective.metric for limit, met in zip(problem.need.limits, simulated.met, strict=True) if not met}
    roles = {"ttft": ("prefill", "mixed"), "tbt": ("decode", "mixed"), "e2e": ("prefill", "decode", "mixed")}
    wanted = {role for metric in failed for role in roles[metric]}
    return [i for i, m in enumerate(members) if m.role in wanted]


def lowered(candidate: Candidate, count: int, rate_per_s: float) -> Candidate:
    """The candidate with its capacity at `count` machines lowered below a rate that the simulation refused.

    The whole curve is scaled, because what misjudged one count misjudges its neighbours.
    """
    known = candidate.with_counts([count])
    factor = min(rate_per_s * (1.0 - 1e-4) / known.curve.at(count), 1.0)
    inner = known.compute

    def compute(n: np.ndarray) -> CapacityCurve:
        curve = inner(n)
        return CapacityCurve(curve.n_machines, curve.rate_per_s * factor)

    curve = CapacityCurve(known.curve.n_machines, known.curve.rate_per_s * factor)
    return replace(known, curve=curve, compute=compute)


def with_one_fewer(members: Sequence[Member], pool: int) -> list[Member] | None:
    """The cluster with one machine fewer in a pool; None if that empties it."""
    member = members[pool]
    if member.count == 1:
        return None
    return [replace(m, count=m.count - 1) if i == pool else m for i, m in enumerate(members)]


def certify(
    problem: Problem,
    members: Sequence[Member],
    routes: Sequence[Route],
    simulated: Simulated,
    effort: Effort,
    progress: Progress,
) -> Certificate:
    """Everything a certificate says of a plan that the simulation confirmed."""
    witnesses = []
    for i in range(len(members)):
        smaller = with_one_fewer(members, i)
        progress(f"simulating with one {members[i].role} machine fewer")
        witnesses.append(Witness(i, _what_breaks(problem, smaller, routes, effort) if smaller else "the pool is empty"))
    without = _without_spares(problem, members, routes, effort) if problem.limits.spares else None
    return Certificate(simulated, witnesses, without, _breaks_at(problem, members, routes, effort, progress))


def _what_breaks(problem: Problem, members: Sequence[Member], routes: Sequence[Route], effort: Effort) -> str:
    simulated = confirm(problem, members, routes, effort, lambda _: None)
    if not simulated.stable:
        return "the cluster cannot keep up"
    missed = [
        (late.value / limit.allowed, limit, value)
        for limit, met, late, value in zip(
            problem.need.limits, simulated.met, simulated.late, simulated.objectives, strict=True
        )
        if not met
    ]
    if not missed:
        return ""
    _, limit, value = max(missed, key=lambda entry: entry[0])
    unit = " s" if limit.objective.limit_s is not None else "x"
    return f"{limit.objective.label} {value.value:.3g}{unit}"


def _without_spares(problem: Problem, members: Sequence[Member], routes: Sequence[Route], effort: Effort) -> Simulated:
    """The bought cluster, spares included, after as many machines of each pool have failed as there are spares."""
    spares = problem.limits.spares
    bought = [replace(m, count=m.count + spares) for m in members]
    simulation = simulation_of(problem, bought, routes)
    failures, first = [], 0
    for m in bought:
        failures += [Failure(first + i, 0.0) for i in range(spares)]
        first += m.count
    from planner.simulation.arrivals import draw_requests

    outcomes = []
    rate = sum(r.rate_per_s for r in routes)
    for seed in effort.seeds:
        requests = draw_requests(
            problem.sizes, rate, effort.n_requests, arrival_cv2=problem.need.traffic.arrival_cv2, seed=seed
        )
        outcomes.append(simulation.run(requests, failures=failures, seed=seed))
    return simulation.summarise(outcomes)


def _breaks_at(
    problem: Problem, members: Sequence[Member], routes: Sequence[Route], effort: Effort, progress: Progress
) -> dict[str, float]:
    simulation = simulation_of(problem, members, routes)
    found: dict[str, float] = {}
    for load in _BREAKS_AT.tolist():
        progress(f"simulating at {load:g} x load")
        result = simulation.simulate(n_requests=effort.n_requests, seeds=effort.seeds[:1], load=load)
        for limit, met in zip(problem.need.limits, result.met, strict=True):
            if not met:
                found.setdefault(str(limit.objective), load)
        if len(found) == len(problem.need.limits) or not result.stable:
            break
    return found
