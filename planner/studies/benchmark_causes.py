"""Which single change of the servers explains a measured run best, among few; none where none does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from planner.errors import PlannerError
from planner.latency.scaled import scaled
from planner.latency.shortcuts import Shortcuts
from planner.pools.configuration import Configuration, Serving, configure
from planner.pools.network import parse_network
from planner.scenario.resolve import Problem
from planner.studies.benchmark_trial import Alteration, BenchmarkTrial, Figures, Served

EXPLAINED = 0.4  # of the distance that no change leaves, below which one explains a run
CLOSE = 0.06  # distance that explains it anyway: about what seeds differ by
CLEARER = 1.3  # times nearer than the next cause, from which on one is named alone
SEEDS_DIFFER = 0.03  # distance that two causes must be apart in any case
_STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
_SHARES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
_MEMORY = (0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
_LATENCIES_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_WORKS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
_LINKS = ("1Gbit/s", "2.5Gbit/s", "5Gbit/s", "10Gbit/s", "25Gbit/s", "50Gbit/s", "100Gbit/s")
_FEWEST_SEQUENCES = 4
_REFINED = 2
_NOTHING = {"kernels": 1.0}  # size at which a change is none, where that is not 0


@dataclass(frozen=True)
class Attempt:
    """One change, at one size.

    Attributes
    ----------
    cause : str
    words : str
        What is changed, for people.
    alter : callable
    size : float
        Of the change; along it neighbours are tried.
    fields : dict
        Of a scenario that would plan with it; empty where none can.
    """

    cause: str
    words: str
    alter: Alteration
    size: float
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """A change with how far it leaves the run from what was measured."""

    attempt: Attempt
    distance: float


def distance(measured: Figures, predicted: Figures) -> float:
    """How far figures are from measured ones: root of the mean square of ln(measured / predicted), metrics alike."""
    by_metric: dict[str, list[float]] = {}
    for (metric, statistic), value in measured.items():
        other = predicted.get((metric, statistic))
        if other is not None and other > 0 and value > 0:
            by_metric.setdefault(metric, []).append(math.log(value / other) ** 2)
    if not by_metric:
        return math.inf
    return math.sqrt(sum(sum(v) / len(v) for v in by_metric.values()) / len(by_metric))


def nearest(measured: Figures, served: Served) -> float:
    """How far the nearest of simulated runs, all together or one by one, is from a measured one."""
    return min(distance(measured, figures) for figures in (served.figures, *served.each))


def explanations(trial: BenchmarkTrial, measured: Figures, progress: Callable[[str], None]) -> list[Explained]:
    """Each cause at the size that explains a run best, the nearest first."""
    best: dict[str, Explained] = {}
    sizes: dict[str, list[float]] = {}
    for attempt in _attempts(trial):
        sizes.setdefault(attempt.cause, []).append(attempt.size)
        _keep(best, trial, attempt, measured, progress)
    for cause, make in _continuous(trial).items():  # between the neighbours of the best size, and again of that
        known = {_NOTHING.get(cause, 0.0), *sizes.get(cause, ())}
        for _ in range(_REFINED if cause in best else 0):
            for size in list(_between(sorted(known), best[cause].attempt.size)):
                attempt = make(size)
                known.add(attempt.size)
                _keep(best, trial, attempt, measured, progress)
    return sorted(best.values(), key=lambda e: e.distance)


def likely(found: Sequence[Explained], unchanged: float) -> list[Explained]:
    """The causes that explain a run: one, or those that cannot be told apart; none where none comes near."""
    if unchanged < 2.0 * CLOSE:  # seeds and sampling explain as much
        return []
    near = [e for e in found if e.distance <= max(EXPLAINED * unchanged, CLOSE)]
    return [e for e in near if e.distance < max(CLEARER * near[0].distance, near[0].distance + SEEDS_DIFFER)]


def _keep(
    best: dict[str, Explained], trial: BenchmarkTrial, attempt: Attempt, measured: Figures,
    progress: Callable[[str], None],
) -> None:  # fmt: skip
    progress(f"what if {attempt.words}")
    try:
        off = nearest(measured, trial.served(attempt.alter))
    except PlannerError:  # a change under which the servers do not run at all explains no run
        return
    if attempt.cause not in best or off < best[attempt.cause].distance:
        best[attempt.cause] = Explained(attempt, off)


def _between(sizes: Sequence[float], near: float) -> Iterator[float]:
    at = sizes.index(near)
    for other in (sizes[at - 1] if at else None, sizes[at + 1] if at + 1 < len(sizes) else None):
        if other is not None:
            yield from (near + (other - near) * share for share in (1 / 3, 2 / 3))


def _attempts(trial: BenchmarkTrial) -> Iterator[Attempt]:
    problem = trial.problem
    lanes = [m.configuration for m in trial.members]
    for factor in _STEPS:
        yield _kernels(factor)
    cached = problem.serving.shortcuts.prefix_cached
    if cached:
        yield _prefix(problem, 0.0)
    else:
        for share in _SHARES:
            yield _prefix(problem, share)
    limit = max(c.lane.max_batch // c.layout.attention_data_parallel for c in lanes)
    while (limit := limit // 2) >= _FEWEST_SEQUENCES:
        yield _batch_limit(limit)
    for share in _MEMORY:
        yield _memory(share)
    for seconds in _LATENCIES_S:
        yield _front_end_latency(seconds)
    for seconds in _WORKS_S:
        yield _front_end_work(seconds)
    yield _prompts(problem, chunked=not lanes[0].lane.chunked)
    if any(m.role == "prefill" for m in trial.members):
        for rate in _LINKS:
            yield _links(problem, rate)


def _continuous(trial: BenchmarkTrial) -> dict[str, Callable[[float], Attempt]]:
    """Causes whose size is a number of any value."""
    problem = trial.problem
    causes: dict[str, Callable[[float], Attempt]] = {"kernels": _kernels, "memory": _memory}
    causes |= {"front end": _front_end_latency, "front end work": _front_end_work}
    causes["batch limit"] = lambda limit: _batch_limit(max(round(limit), 1))
    if not problem.serving.shortcuts.prefix_cached:
        causes["prefix cache"] = lambda share: _prefix(problem, share)
    return causes


def _kernels(factor: float) -> Attempt:
    slower = factor > 1
    words = f"steps took {factor:.3g} times as long" if slower else f"steps took {factor:.3g} of their time"

    def alter(c: Configuration) -> Configuration:
        return replace(c, lane=replace(c.lane, step=scaled(c.lane.step, factor)))

    return Attempt("kernels", words, alter, factor, {"derate": round(1.0 / factor, 4)} if slower else {})


def _prefix(problem: Problem, share: float) -> Attempt:
    words = f"{100 * share:.3g} % of prompt tokens were cached" if share else "no prefixes were cached"
    own = problem.serving.shortcuts
    shortcuts = Shortcuts(share, own.tokens_per_step, own.draft_tokens)
    serving = replace(problem.serving, shortcuts=shortcuts, prefix_shares={})
    return Attempt("prefix cache", words, _laid_out(problem, serving), share, {"prefix_cached": round(share, 4)})


def _batch_limit(limit: int) -> Attempt:
    def alter(c: Configuration) -> Configuration:
        most = min(c.lane.max_batch, limit * c.layout.attention_data_parallel)
        return replace(c, lane=replace(c.lane, max_batch=most))

    return Attempt("batch limit", f"servers took {limit} sequences at most", alter, float(limit), {"max_batch": limit})


def _memory(share: float) -> Attempt:
    def alter(c: Configuration) -> Configuration:
        return replace(c, lane=replace(c.lane, kv_tokens=c.lane.kv_tokens * share))

    return Attempt("memory", f"servers had {100 * share:.3g} % of the KV memory", alter, share)


def _front_end_latency(seconds: float) -> Attempt:
    def alter(c: Configuration) -> Configuration:
        latency, request, token = c.lane.front_end_s
        return replace(c, lane=replace(c.lane, front_end_s=(latency + seconds, request, token)))

    return Attempt("front end", f"{1e3 * seconds:.3g} ms passed before each first token", alter, seconds)


def _front_end_work(seconds: float) -> Attempt:
    def alter(c: Configuration) -> Configuration:
        latency, request, token = c.lane.front_end_s
        return replace(c, lane=replace(c.lane, front_end_s=(latency, request + seconds, token)))

    words = f"the front end worked {1e3 * seconds:.3g} ms more on each request"
    return Attempt("front end work", words, alter, seconds)


def _prompts(problem: Problem, *, chunked: bool) -> Attempt:
    def alter(c: Configuration) -> Configuration:
        return replace(c, lane=replace(c.lane, chunked=chunked))

    words = "prompts were computed in chunks" if chunked else "prompts were computed whole"
    return Attempt("chunking", words, alter, float(chunked), {"chunked": chunked})


def _links(problem: Problem, rate: str) -> Attempt:
    serving = replace(problem.serving, network=parse_network(rate, None, problem.catalog))
    gbit = float(rate.removesuffix("Gbit/s"))
    return Attempt("links", f"each NIC carried {rate}", _laid_out(problem, serving), gbit, {"network": rate})


def _laid_out(problem: Problem, serving: Serving) -> Alteration:
    """The same machine and layout, served otherwise."""

    def alter(c: Configuration) -> Configuration:
        machine = problem.catalog.machine(c.machine.single_name)
        machine = machine.in_groups_of(c.machine.group) if c.machine.group > 1 else machine
        return configure(problem.catalog, machine, serving, c.layout, problem.scenario.prices)

    return alter
