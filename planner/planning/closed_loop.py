"""Clients that wait: N users, or N requests under way, send what a plan lets them, by Little's law.

The rate of a closed loop is no input: it follows from how long answers take, and that from the plan. A plan is sought
that is sized for a rate at least as large as the one its own clients then send, the least such rate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from planner.errors import InfeasibleError
from planner.planning.search import Solution, prepare_search, solve_search
from planner.pools.candidate import Requirement
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.changes import without_limits
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed
from planner.units import format_time

_NEAR = 0.01  # of a rate, to which it is found
_LOWEST, _STEP = 0.3, 1.05  # of a rate that holds: where a lower one is looked for, and how far apart
_DOWN = 0.6  # of a rate that cannot be served: the next to try
_MOST_PLANS = 12
_LEAST_LOAD, _MOST_LOAD = 1e-3, 1e3  # of the rate of a problem, between which that of clients is sought


def rate_of_clients(
    members: Sequence[Member], routes: Sequence[Route], need: Requirement, n_clients: float, think_s: float
) -> float:
    """Rate that clients send to a cluster, each waiting for its answer and then thinking [requests/s].

    Notes
    -----
    The root of lambda (E(lambda) + Z) = N. E rises with lambda, without end where the cluster no longer keeps up, so
    the root lies between any lambda and N / (E(lambda) + Z): the bracket of all that were tried is halved.
    """
    low, high, load = 0.0, _MOST_LOAD, 1.0
    while high > low * (1.0 + _NEAR / 2.0) and load > _LEAST_LOAD:
        sent = n_clients / (ClusterModel(members, routes, need, load).mean_e2e_s() + think_s) / need.rate_per_s
        low, high = max(low, min(load, sent)), min(high, max(load, sent))
        load = (low * high) ** 0.5 if low else high / 2.0
    return need.rate_per_s * load


def at_the_rate_of_clients(
    problem: Problem, progress: Progress = quiet, forbidden: Collection[tuple[str, str]] = ()
) -> Problem:
    """The problem at the rate that its clients send to its best plan; the problem itself where it has a rate.

    Parameters
    ----------
    problem : Problem
        With users or requests under way, at a rate that they cannot exceed.
    progress : callable
    forbidden : collection of (str, str)
        Roles and machines that no pool may have.

    Raises
    ------
    InfeasibleError, NoPlanFoundError
        As `solve_problem`, at the rate that clients would send were there no limits.

    Notes
    -----
    A rate holds if the clients of its best plan send no more. It is approached from the ceiling, then from below, each
    time by what the clients of the last plan send; the least that holds is kept. So what makes answers slower, and
    thereby the rate lower, is allowed as far as the objectives allow it.
    """
    n_clients, think_s = problem.n_clients, problem.scenario.think_time_s or 0.0
    if not n_clients or problem.is_sized:
        return problem
    # Capacity curves do not depend on the demand: those of the ceiling are those of every lower rate.
    progress("clients: candidate pools")
    search = prepare_search(problem, compares=False, leaves_out=False)

    def sent_at(rate_per_s: float) -> float | None:
        """Rate that clients send to the best plan for a rate; None where there is no plan for it."""
        progress(f"clients: a plan for {rate_per_s:.4g} requests/s")
        posed = [(at_rate(p, rate_per_s), candidates) for p, candidates in search.posed]
        try:
            found = solve_search(replace(search, posed=posed), forbidden=forbidden, explains=False)
        except InfeasibleError:
            return None
        need = at_rate(problem, rate_per_s).need
        return rate_of_clients(found.members, found.routes, need, n_clients, think_s)

    rate_per_s = least_that_holds(problem.need.rate_per_s, sent_at)
    if rate_per_s is None:
        raise _too_many(problem, progress)
    return at_rate(problem, rate_per_s)


def least_that_holds(most_per_s: float, sent_at: Callable[[float], float | None]) -> float | None:
    """The least rate found that is at least what is sent to the best plan for it; None where none was found.

    Parameters
    ----------
    most_per_s : float
        Rate that cannot be exceeded [requests/s].
    sent_at : callable
        Of a rate: what is sent to its best plan [requests/s]; None where it has none.
    """

    def is_enough(rate_per_s: float, sent_per_s: float | None) -> bool:
        return sent_per_s is not None and sent_per_s <= rate_per_s * (1.0 + _NEAR)

    # Down to a rate that can be served; where its clients send more, up again, below what cannot.
    low, high, rate = 0.0, most_per_s, most_per_s
    sent = sent_at(rate)
    n_plans = 1
    while not is_enough(rate, sent):
        low, high = (low, rate) if sent is None else (rate, high)
        if n_plans == _MOST_PLANS or high <= low * (1.0 + _NEAR):
            return None
        rate = (low * high) ** 0.5 if low else high * _DOWN
        sent, n_plans = sent_at(rate), n_plans + 1
    # From there down, as long as a rate that was sent holds too.
    for _ in range(_MOST_PLANS):
        assert sent is not None
        lower = sent_at(sent) if sent < rate * (1.0 - 2.0 * _NEAR) else None
        if not is_enough(sent, lower):
            break
        rate, sent = sent, lower
    # From below: the clients of a plan that is small for them send more than it is sized for, perhaps what holds.
    small = rate * _LOWEST
    while small < rate * (1.0 - 2.0 * _NEAR):
        sent = sent_at(small)
        if is_enough(small, sent):
            return small
        small = sent if sent is not None and small < sent < small * _STEP else small * _STEP
    return rate


def holds(problem: Problem, solution: Solution) -> bool:
    """Whether the clients of a plan send no more than it is sized for; whoever has a rate keeps to it."""
    if not problem.n_clients:
        return True
    think_s = problem.scenario.think_time_s or 0.0
    sent = rate_of_clients(solution.members, solution.routes, problem.need, problem.n_clients, think_s)
    return sent <= problem.need.rate_per_s * (1.0 + _NEAR)


def _too_many(problem: Problem, progress: Progress) -> InfeasibleError:
    """Why no plan serves the clients: what limits would have to be at the rate that they send without them."""
    free = changed(problem, without_limits(spares=problem.limits.spares))
    try:
        if free is not problem:
            solve_search(prepare_search(at_rate(problem, at_the_rate_of_clients(free, progress).need.rate_per_s)))
    except InfeasibleError as error:
        return error
    return InfeasibleError(
        "no plan serves these clients", where="users" if problem.scenario.users else "concurrency",
        value=problem.rate_words, rule="a plan is sized for no less than its clients send, within its limits",
        fix="relax an objective or a limit, or plan for fewer",
    )  # fmt: skip


def at_rate(problem: Problem, rate_per_s: float) -> Problem:
    """The problem at another rate, which is no longer sought where clients send it."""
    return replace(problem, need=replace(problem.need, rate_per_s=rate_per_s), is_sized=True)


def as_solved(problem: Problem, solution: Solution) -> Problem:
    """The problem at the rate that its plan is for, which for clients is theirs; a note says how it came about."""
    n_clients, think_s = problem.n_clients, problem.scenario.think_time_s or 0.0
    if not n_clients:
        return problem
    need = at_rate(problem, solution.rate_per_s).need
    sent = min(rate_of_clients(solution.members, solution.routes, need, n_clients, think_s), need.rate_per_s)
    waits = format_time(n_clients / sent - think_s)
    verb = "are" if problem.scenario.concurrency else "send"
    note = f"{problem.rate_words} {verb} {sent:.4g} requests/s, as answers take {waits} on average: sized for that"
    return replace(at_rate(problem, solution.rate_per_s), notes=(*problem.notes, note))
