"""Clients that wait: N users, or N requests under way, send what a plan lets them, by Little's law.

The rate of a closed loop is no input: it follows from how long answers take, and that from the plan. A plan is sought
that is sized for a rate at least as large as the one its own clients then send, the least such rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.errors import InfeasibleError
from planner.planning.search import Solution, prepare_search, solve_search
from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem
from planner.units import format_time

_NEAR = 0.01  # of a rate, to which it is found
_LOWER = (0.85, 0.7, 0.55, 0.4)  # rates tried below one that holds
_MOST_PLANS = 12
# Multiples of the median answer at which their distribution is summed: closest where most of them are.
_OF_MEDIAN = np.concatenate(
    [np.geomspace(0.02, 0.5, 10)[:-1], np.linspace(0.5, 2.0, 31)[:-1], np.geomspace(2.0, 40.0, 24)]
)
_LEAST_LOAD, _MOST_LOAD = 1e-3, 1e3  # of the rate of a problem, between which that of clients is sought


def mean_answer_s(members: Sequence[Member], routes: Sequence[Route], need: Requirement, load: float = 1.0) -> float:
    """Mean time from a request to the end of its answer [s]; infinite where the cluster does not keep up.

    Notes
    -----
    E = integral from 0 to infinity of P(T > t) dt, of the end-to-end times that the queues predict.
    """
    model = ClusterModel(members, routes, need, load)
    if not all(model.utilisation(i) < 1.0 for i in range(len(members))):
        return float("inf")
    ones = np.ones_like(need.traffic.weight)
    median = model.percentile("e2e", 50.0, ones)
    if median is None or not np.isfinite(median):
        return float("inf")
    at = np.concatenate(([0.0], median * _OF_MEDIAN))
    above = np.array([1.0, *(model.late("e2e", t * ones) for t in at[1:])])
    return float(np.trapezoid(above, at))


def rate_of_clients(
    members: Sequence[Member], routes: Sequence[Route], need: Requirement, n_clients: float, think_s: float
) -> float:
    """Rate that clients send to a cluster, each waiting for its answer and then thinking [requests/s].

    Notes
    -----
    The root of lambda (E(lambda) + Z) = N, by bisection: the left side rises with lambda, without end where the cluster
    no longer keeps up.
    """
    low, high = _LEAST_LOAD, 1.0

    def asks_more(load: float) -> bool:
        answer_s = mean_answer_s(members, routes, need, load)
        return load * need.rate_per_s * (answer_s + think_s) < n_clients

    while asks_more(high) and high < _MOST_LOAD:
        low, high = high, 2.0 * high
    while high / low > 1.0 + _NEAR / 2.0:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if asks_more(middle) else (low, middle)
    return need.rate_per_s * (low * high) ** 0.5


def at_the_rate_of_clients(problem: Problem, progress: Progress = quiet) -> Problem:
    """The problem at the rate that its clients send to its best plan; the problem itself where it has a rate.

    Parameters
    ----------
    problem : Problem
        With users or requests under way, at a rate that they cannot exceed.
    progress : callable

    Raises
    ------
    InfeasibleError, NoPlanFoundError
        As `solve_problem`, at the rate that clients send to the slowest plan that was tried.

    Notes
    -----
    A rate holds if the clients of its best plan send no more. From the ceiling downwards, rates are tried that the last
    plan's clients send, then ones below; the least that holds is kept. So what makes answers slower, and thereby the
    rate lower, is allowed as far as the objectives allow it.
    """
    n_clients, think_s = problem.n_clients, problem.scenario.think_time_s or 0.0
    if not n_clients:
        return problem
    # Capacity curves do not depend on the demand: those of the ceiling are those of every lower rate.
    progress("clients: candidate pools")
    search = prepare_search(problem, compares=False, leaves_out=False)
    n_plans = 0
    refused: InfeasibleError | None = None

    def tried(rate_per_s: float) -> tuple[float, float] | None:
        """The rate and the one that clients of its best plan send, where it holds."""
        nonlocal n_plans, refused
        n_plans += 1
        progress(f"clients: a plan for {rate_per_s:.4g} requests/s")
        posed = [(at_rate(p, rate_per_s), candidates) for p, candidates in search.posed]
        try:
            found: Solution = solve_search(replace(search, posed=posed), explains=False)
        except InfeasibleError as error:
            refused = refused or error
            return None
        need = at_rate(problem, rate_per_s).need
        sent = rate_of_clients(found.members, found.routes, need, n_clients, think_s)
        return (rate_per_s, sent) if sent <= rate_per_s * (1.0 + _NEAR) else None

    best = tried(problem.need.rate_per_s)
    while n_plans < _MOST_PLANS:
        if best is not None and best[1] < best[0] * (1.0 - 2.0 * _NEAR):
            lower = tried(best[1])
            if lower is not None:
                best = lower
                continue
        top = best[0] if best is not None else problem.need.rate_per_s
        lower = None
        for factor in _LOWER:
            lower = tried(top * factor) if n_plans < _MOST_PLANS else None
            if lower is not None:
                break
        if lower is None:
            break
        best = lower
    if best is None:
        raise refused or InfeasibleError(
            "no plan serves these clients", where="users" if problem.scenario.users else "concurrency",
            rule="a plan sized for no less than its clients send", fix="give a rate, or relax an objective or a limit",
        )  # fmt: skip
    rate, sent = best[0], min(best[1], best[0])
    waits = format_time(n_clients / sent - think_s)
    verb = "are" if problem.scenario.concurrency else "send"
    note = f"{problem.rate_words} {verb} {sent:.4g} requests/s, as answers take {waits} on average: sized for that"
    return replace(at_rate(problem, rate), notes=(*problem.notes, note))


def at_rate(problem: Problem, rate_per_s: float) -> Problem:
    """The problem at another rate."""
    return replace(problem, need=replace(problem.need, rate_per_s=rate_per_s))


def at_the_rate_simulated(problem: Problem, solution: Solution) -> Problem:
    """The problem at the rate that simulated clients sent to the plan; itself where it has a rate, or no proof."""
    return at_rate(problem, solution.rate_per_s) if problem.n_clients and solution.certificate else problem
