"""The one road from a problem to a plan: every verb walks it.

What may not be planned is refused in `prepare_search`; candidates, the choice among them and its proof follow; here is
what proves it, and what is recorded.
"""

from __future__ import annotations

from planner.planning.plan import Plan
from planner.planning.record import plan_of
from planner.planning.search import Solution, solve_problem
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem


def plan(problem: Problem, progress: Progress = quiet) -> Plan:
    """Find the best cluster for a problem, prove it as far as its scenario asks, and record it.

    Parameters
    ----------
    problem : Problem
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Plan
        With `solver.status`, and with its certificate where `scenario.verify` asks for one. After Ctrl-C in a
        simulation with what had been found, its certificate `interrupted`.

    Raises
    ------
    InfeasibleError
        No cluster can meet the objectives within the limits, or none that simulation confirms; links that cannot
        carry the KV caches of a design that only splits.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    solution = solved(problem, progress)
    progress("predicting percentiles")
    return plan_of(problem, solution)


def solved(problem: Problem, progress: Progress = quiet) -> Solution:
    """The cluster of `plan`, before it is recorded; raises as `plan`."""
    if not problem.scenario.verify:
        return solve_problem(problem, progress)
    from planner.planning.certify import certified  # here, for who does not simulate need not load what does

    return certified(problem, progress)
