"""From a resolved problem to a plan: generate candidates, enumerate, choose, check, report."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from planner.errors import (
    InfeasibleError,
    PlannerError,
    ScenarioError,
)
from planner.optimization.selection import (
    Selection,
    Simple,
    choose,
)
from planner.planning.certificate import Certificate
from planner.planning.correction import NOTHING_LEARNT, Corrections, Hopes, PoolCounts
from planner.planning.designs import best_of, enumerate_designs
from planner.planning.infeasible import explain_infeasible, unreachable
from planner.planning.links import check_links
from planner.planning.promises import Promises, is_promised, kept
from planner.planning.reuse import candidates_of, without
from planner.planning.twins import of_the_cheapest
from planner.planning.worth import NEAR, is_worth_asking, worthwhile_pairs
from planner.pools.candidate import Candidate, needs_end_to_end, stable_rate_of_one
from planner.pools.configuration import Configuration, Rejection
from planner.pools.design import Design
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.changes import setting
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed, configurations
from planner.serving.capacity import CapacityCurve, objectives_on
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue

BASELINE = Design("baseline", mixed=True, split=False)
_RATES_TRIED = 3  # for throughput within end-to-end limits
_TIGHTENINGS = 12  # rounds of lowering a capacity that the whole-cluster model does not confirm


@dataclass(frozen=True)
class NearTie:
    """The optimum, in whose place a simpler plan was chosen.

    Attributes
    ----------
    value : float
        Of the objective.
    n_machines, n_pools, n_types : int
    """

    value: float
    n_machines: int
    n_pools: int
    n_types: int


@dataclass(frozen=True, eq=False)
class Solution:
    """Chosen pools with everything that led to them.

    Attributes
    ----------
    members, routes : lists
        The cluster, as `ClusterModel` takes it.
    keys : list of str
        Key of the candidate of each member.
    capacities : list of float
        Rate each member could carry within the objectives [requests/s].
    selection : Selection
    simples : dict
        Best plan of each design that enumeration found, by name.
    rejected : list of Rejection
    n_candidates : int
    rate_per_s : float
        Carried [requests/s].
    certificate : Certificate or None
        What simulation says of it, where it was asked.
    near_tie : NearTie or None
        The optimum, where this is a simpler plan that is nearly as good.
    """

    members: list[Member]
    keys: list[str]
    routes: list[Route]
    capacities: list[float]
    selection: Selection
    simples: dict[str, Simple]
    rejected: list[Rejection]
    n_candidates: int
    rate_per_s: float
    certificate: Certificate | None = None
    near_tie: NearTie | None = None

    @property
    def cluster(self) -> PoolCounts:
        """The candidates with their machines."""
        return frozenset((key, member.count) for key, member in zip(self.keys, self.members, strict=True))


@dataclass(frozen=True, eq=False)
class Search:
    """A problem with its candidate pools, ready to be solved, again and again if capacities are corrected.

    Attributes
    ----------
    posed : list of (Problem, list of Candidate)
        The problem; for throughput within end-to-end limits, at several rates.
    rejected : list of Rejection
    homogeneous : dict
        Best plans of one mixed pool, for comparison, where the design asked for does not include them.
    most : float
        Of the objective: pairs of machines that only plans beyond it can have were left out.
    whole : callable
        Makes the search with all pairs, for the case that the best plan turns out to lie beyond that.
    promises : Promises, optional
        Decode pools that are computed once a plan would have them; `posed` is brought up to date then.
    """

    posed: list[tuple[Problem, list[Candidate]]]
    rejected: list[Rejection]
    homogeneous: dict[str, Simple]
    most: float = math.inf
    whole: Callable[[], Search] | None = None
    promises: Promises | None = None


def solve_problem(problem: Problem, progress: Progress = quiet) -> Solution:
    """Find the best cluster as the formulas see it, or a simpler one that is nearly as good unless all is wanted exact.

    Raises
    ------
    InfeasibleError
        No cluster can meet the objectives within the limits; says which collide and the nearest that works.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    from planner.planning.closed_loop import at_the_rate_of_clients, holds  # these two solve again, at other rates
    from planner.planning.near_ties import simpler  # and with less to choose among

    problem = at_the_rate_of_clients(problem, progress)
    search = prepare_search(problem, progress)
    best = solve_search(search, progress=progress)
    other = simpler(search, best, NOTHING_LEARNT, progress)
    return best if other is None or not holds(problem, other) else other


def best_or_none(
    problem: Problem,
    progress: Progress = quiet,
    *,
    forbidden: Collection[tuple[str, str]] = (),
    top_rate_per_s: float | None = None,
) -> Solution | None:
    """The same for who asks many times and needs no reasons: None where there is no plan.

    Parameters
    ----------
    problem : Problem
    progress : callable
    forbidden : collection of (str, str)
        Roles and machines that no pool may have.
    top_rate_per_s : float, optional
        Largest rate of all that are asked, so that they share candidates; left out, the problem's.

    Raises
    ------
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    from planner.planning.closed_loop import at_the_rate_of_clients

    try:
        problem = at_the_rate_of_clients(problem, progress, forbidden)
        search = prepare_search(problem, progress, top_rate_per_s=top_rate_per_s, compares=False)
        return solve_search(search, progress=progress, forbidden=forbidden, explains=False)
    except InfeasibleError:
        return None


def every_pool(problem: Problem) -> set[tuple[str, str]]:
    """Roles and machines that pools of a problem may have."""
    found, _ = configurations(problem)
    return {(role, c.machine.name) for c in found for role in ("prefill", "decode", "mixed")}


def prepare_search(
    problem: Problem,
    progress: Progress = quiet,
    *,
    top_rate_per_s: float | None = None,
    compares: bool = True,
    leaves_out: bool = True,
) -> Search:
    """Refuse what cannot be served, and make the candidate pools of a problem.

    Parameters
    ----------
    problem : Problem
    progress : callable
    top_rate_per_s : float, optional
        Largest rate a pool could be asked for; left out, `largest_rate`.
    leaves_out : bool
        Whether pairs of machines that no plan near the best can have may be left out (`planning/worth.py`).
    compares : bool
        Whether the best plans of one mixed pool are worked out for comparison, where the design does not include them.

    Raises
    ------
    InfeasibleError
        No machine can hold the model, or none reaches an objective even unloaded; links that cannot carry the KV
        caches of a design that only splits.
    ScenarioError
        Nothing bounds the throughput.
    """
    found, rejected = configurations(problem)
    check_links(problem, found)
    top = largest_rate(problem, found) if top_rate_per_s is None else top_rate_per_s
    homogeneous = _homogeneous(problem, found, top) if compares else {}
    if leaves_out and is_worth_asking(problem):
        mixed = candidates_of(problem, found, top, progress, design=BASELINE)
        best = best_of(enumerate_designs(mixed, problem, problem.limits).values(), problem)
        if best is not None:
            most = best.objective * NEAR
            pairs = worthwhile_pairs(problem, found, most)
            promises = None
            if objectives_on(problem.need.limits, "tbt"):  # otherwise pools are those of any source anyway
                promises = Promises(
                    pairs, lambda own, rest: candidates_of(problem, found, top, progress, pairs=own, promised=rest)
                )
                candidates = promises.candidates()
            else:
                candidates = candidates_of(problem, found, top, progress, pairs=pairs)

            @cache
            def whole() -> Search:
                return prepare_search(
                    problem, progress, top_rate_per_s=top_rate_per_s, compares=compares, leaves_out=False
                )

            return Search([(problem, candidates)], rejected, homogeneous, most, whole, promises)
    posed = list(_posed(problem, found, top, progress))
    return Search(posed, rejected, homogeneous)


def solve_search(
    search: Search,
    corrections: Corrections | Hopes = NOTHING_LEARNT,
    progress: Progress = quiet,
    *,
    forbidden: Collection[tuple[str, str]] = (),
    explains: bool = True,
) -> Solution:
    """Choose among prepared candidates, capacities corrected by what simulation taught; raises as `solve_problem`."""
    if search.whole is not None:
        try:
            narrow = solve_search(
                replace(search, whole=None), corrections, progress, forbidden=forbidden, explains=False
            )
            if narrow.selection.objective <= search.most:
                return narrow
        except PlannerError as error:
            # What was left out may do, or says why nothing does; other errors are not of what there is to choose.
            if not isinstance(error, InfeasibleError) and type(error) is not PlannerError:
                raise
        return solve_search(search.whole(), corrections, progress, forbidden=forbidden, explains=explains)
    return kept(search, lambda now: _best_posed(now, corrections, progress, forbidden, explains))


def _best_posed(
    search: Search,
    corrections: Corrections | Hopes,
    progress: Progress,
    forbidden: Collection[tuple[str, str]],
    explains: bool,
) -> Solution:
    best: Solution | None = None
    refused: InfeasibleError | None = None
    for posed, candidates in search.posed:
        allowed = without(candidates, forbidden) if forbidden else candidates
        corrected = [corrections.applied_to(c) for c in allowed]
        try:
            solution = _solve(posed, corrected, search.rejected, corrections, progress, explains)
        except InfeasibleError as error:
            refused = refused or error
            continue
        if best is None or (solution is not None and solution.rate_per_s > best.rate_per_s):
            best = solution
    if best is None:
        raise refused or PlannerError(
            "the chosen pools do not meet the objectives together", rule="report this scenario as a bug"
        )
    return replace(best, simples=search.homogeneous | best.simples)


def _posed(
    problem: Problem, found: Sequence[Configuration], top: float, progress: Progress
) -> Iterator[tuple[Problem, list[Candidate]]]:
    """The problem with its candidates; for throughput within end-to-end limits, for several rates that it may have.

    What a decode pool may take of an end-to-end limit depends on how long prompts wait in a pool that carries the
    demand, and for throughput the demand is the answer. So rates are tried, each the best plan of two pools at the
    one before, from the largest conceivable downwards; whatever is then chosen is confirmed at its own rate.
    """
    if problem.scenario.objective != "throughput" or not needs_end_to_end(problem.need):
        yield problem, _reachable(problem, found, top, progress)
        return
    tried: list[float] = []
    rate = top
    while len(tried) < _RATES_TRIED and not any(math.isclose(rate, other, rel_tol=0.01) for other in tried):
        tried.append(rate)
        posed = changed(problem, setting(rate_per_s=rate))
        candidates = _reachable(posed, found, top, progress)
        yield posed, candidates
        best = best_of(enumerate_designs(candidates, posed, posed.limits).values(), posed)
        rate = best.rate_per_s if best is not None else rate


def _solve(
    problem: Problem,
    candidates: list[Candidate],
    rejected: list[Rejection],
    corrections: Corrections | Hopes,
    progress: Progress,
    explains: bool,
) -> Solution | None:
    """Choose among the candidates until the whole cluster meets the objectives; None if it never does.

    Pools that simulation has corrected are left to its judgement.
    """
    scenario, limits = problem.scenario, problem.limits
    first: Selection | None = None
    for tightening in range(_TIGHTENINGS):
        progress(f"choosing among {len(candidates)} pools")
        simples = enumerate_designs(candidates, problem, limits)
        incumbent = best_of(simples.values(), problem)
        selection = choose(
            candidates,
            problem.need.rate_per_s,
            scenario.objective,
            limits,
            incumbent=incumbent,
            solver=scenario.solver,
            time_limit_s=scenario.time_limit_s,
            seed=scenario.seed,
        )
        if selection is None:
            raise explain_infeasible(problem, candidates) if explains else InfeasibleError("no plan")
        selection = of_the_cheapest(selection, candidates, scenario.objective, limits)
        by_key = {c.key: c for c in candidates}
        keys, members, routes, capacities = assemble(selection, by_key)
        first = first or selection
        if any(map(is_promised, keys)):  # not one that there is
            total = sum(r.rate_per_s for r in routes)
            return Solution(members, keys, routes, capacities, selection, simples, rejected, len(candidates), total)
        model = ClusterModel(members, routes, problem.need)
        simulated = corrections.concern(keys)
        confirmed = simulated or all(model.meets(limit) for limit in problem.need.limits)
        # Clients who wait for answers send no more than is answered, whatever the rate that was sized for.
        if confirmed and ((simulated and problem.n_clients) or not model.grows_without_end()):
            selection = _against(first, selection)
            total = sum(r.rate_per_s for r in routes)
            return Solution(members, keys, routes, capacities, selection, simples, rejected, len(candidates), total)
        # The pools meet the objectives one by one but not together (an end-to-end limit near its edge).
        factor = 1.0 - min(0.01 * 2**tightening, 0.1)
        candidates = [derated(c, factor) if c.key in selection.counts else c for c in candidates]
    return None


def _homogeneous(problem: Problem, found: Sequence[Configuration], top: float) -> dict[str, Simple]:
    """Best plans of one mixed pool, for comparison, where the design asked for does not include them."""
    if problem.design.mixed:
        return {}
    return enumerate_designs(candidates_of(problem, found, top, design=BASELINE), problem, problem.limits)


def _against(first: Selection, last: Selection) -> Selection:
    """The last selection, its bound that of the first: lowering capacities proves nothing about higher ones."""
    if last is first:
        return last
    gap = abs(last.objective - first.bound) / max(abs(last.objective), 1e-12)
    return replace(last, bound=first.bound, gap=gap, status="optimal" if gap <= 1e-6 else "limit")


def derated(candidate: Candidate, factor: float) -> Candidate:
    def compute(n: np.ndarray, inner: Callable[[np.ndarray], CapacityCurve] = candidate.compute) -> CapacityCurve:
        curve = inner(n)
        return CapacityCurve(curve.n_machines, curve.rate_per_s * factor)

    curve = CapacityCurve(candidate.curve.n_machines, candidate.curve.rate_per_s * factor)
    return replace(candidate, curve=curve, compute=compute)


def largest_rate(problem: Problem, found: Sequence[Configuration]) -> float:
    """Largest rate that one pool could be asked for: the demand, or for throughput what the limits could buy.

    Each phase is served by machines at their best; a budget spent on the best type bounds what it buys, and so does
    the stock of all types together. No cluster carries more than either phase.

    Raises
    ------
    ScenarioError
        Nothing bounds the throughput.
    """
    if problem.scenario.objective != "throughput":
        return problem.need.rate_per_s
    traffic, limits = problem.need.traffic, problem.limits
    best: dict[str, list[float]] = {"prefill": [], "decode": []}
    for role, rates in best.items():
        by_machine: dict[str, float] = {}
        for c in found:
            mixed = stable_rate_of_one(c, MixedQueue(c.lane, traffic)) if problem.design.mixed else 0.0
            alone = PrefillQueue(c.lane, traffic) if role == "prefill" else DecodeQueue(c.lane, traffic)
            rate = max(mixed, stable_rate_of_one(c, alone) if problem.design.split else 0.0)
            by_machine[c.machine.name] = max(by_machine.get(c.machine.name, 0.0), rate)
        each = [(c, by_machine[c.machine.name]) for c in {c.machine.name: c for c in found}.values()]
        for budget, most in limits.budgets:
            rates.append(max(most / taken * r for c, r in each if (taken := budget.of_machine(c)) > 0))
        if all(math.isfinite(limits.most_of(c.machine.name)) for c, _ in each):
            rates.append(sum(limits.most_of(c.machine.name) * r for c, r in each))
        if not rates:
            unlimited = sorted(c.machine.name for c, _ in each if math.isinf(limits.most_of(c.machine.name)))
            raise ScenarioError(
                f"nothing bounds the throughput: {', '.join(unlimited)} can be bought without end",
                where="objective",
                rule="the largest throughput is that of a given budget or stock",
                fix="add --max-cost, --max-power or --max-total-machines, or --max-machines for each machine",
            )
    return max(min(min(rates) for rates in best.values()), 1e-9)


def _reachable(problem: Problem, found: Sequence[Configuration], top: float, progress: Progress) -> list[Candidate]:
    candidates = candidates_of(problem, found, top, progress)
    if not candidates:
        raise unreachable(problem, found)
    return candidates


def assemble(
    selection: Selection, by_key: dict[str, Candidate]
) -> tuple[list[str], list[Member], list[Route], list[float]]:
    """Turn chosen candidates into a cluster: their keys, members, routes, and what each member could carry."""
    exact = {key: by_key[key].with_counts([n]) for key, n in selection.counts.items()}
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    keys = sorted(exact, key=lambda k: (order[exact[k].role], k))
    index: dict[str | None, int | None] = {None: None, **{k: i for i, k in enumerate(keys)}}
    flows = sorted(selection.flows_per_s.items(), key=str)
    routes = [Route(keys.index(first), index[second], rate) for (first, second), rate in flows]
    rate = {k: sum(r for way, r in flows if k in way) for k in keys}
    members = [Member(exact[k].role, exact[k].configuration, selection.counts[k], rate[k]) for k in keys]
    return keys, members, routes, [exact[k].curve.at(selection.counts[k]) for k in keys]
