"""What a given cluster costs, and how it takes what it was not planned for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from planner.planning.plan import Plan
from planner.scenario.opened import CatalogLike, ClusterLike, ScenarioLike, cluster_and_scenario
from planner.scenario.progress import quiet

if TYPE_CHECKING:
    import datetime

    from planner.studies.cost_report import CostReport
    from planner.studies.robustness_result import Robustness


def cost(
    cluster: Plan | ClusterLike,
    scenario: ScenarioLike | None = None,
    *,
    catalog: CatalogLike = None,
    horizon: str | float = "3 years",
    use: str | float = 1.0,
    cost_of_capital: str | float = "8 %",
    spot_recovery: str | float = "15 min",
    payments: str = "arrears",
    start: datetime.date | str | None = None,
    **fields: Any,
) -> CostReport:
    """Cost a plan or cluster under every price plan, over a horizon, for each token, and against owning it.

    Parameters
    ----------
    cluster : Plan, or a cluster as `evaluate` takes it
        What is bought. It is evaluated anew, so that what it draws and serves is of this scenario.
    scenario, catalog, **fields
        As in `evaluate`; `prices`, `region`, `electricity` and `pue` matter most. Of a plan left out: its own.
    horizon : str or float
        `"3 years"`; a number is in months of 730 h.
    use : str or float
        Share of all hours that the machines are switched on; commitments are paid all the same.
    cost_of_capital : str or float
        A year.
    spot_recovery : str or float
        Paid time that an interruption of a spot machine takes from the work; a number is in seconds.
    payments : str
        Whether months are paid for at their end (`arrears`) or in `advance`, for present values.
    start : date or ISO text, optional
        First day, from which delivery is counted. Left out: the date of each price.

    Returns
    -------
    CostReport
        Price plans with the least cost first; `to_records()` gives a row a price plan and pool.

    Raises
    ------
    InputError
        As `evaluate`; a quantity that cannot be read, a horizon or share out of range, a price in a currency without
        a rate, no price at all.
    """
    from planner.planning.evaluate import cluster_of, evaluate_cluster
    from planner.planning.plan_file import is_plan_file, read_plan
    from planner.scenario.scenario_file import at_rate
    from planner.studies.costs import cost_report, read_assumptions, read_date

    assumptions = read_assumptions(horizon, use, cost_of_capital, spot_recovery, payments)
    if isinstance(cluster, (str, os.PathLike)) and is_plan_file(cluster):
        read_plan(cluster)  # a plan is signed with its figures: they must agree, though they are computed anew
    if isinstance(cluster, Plan):
        scenario = scenario if scenario is not None else at_rate(cluster.scenario, cluster.rate_per_s)
        cluster = cluster_of(cluster)
    pools, asked = cluster_and_scenario(cluster, scenario, catalog, fields)
    problem = asked.resolved()
    plan = evaluate_cluster(problem, pools)
    return cost_report(plan, problem.catalog, problem.scenario, assumptions, start=read_date(start))


def robustness(
    cluster: Plan | ClusterLike,
    scenario: ScenarioLike | None = None,
    *,
    mixes: Sequence[str] | None = None,
    growth: Sequence[float] | None = None,
    bursts: Sequence[float] | None = None,
    rack: int | None = None,
    only: Sequence[str] | None = None,
    verify: bool = False,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Robustness:
    """Say how a cluster takes what it was not planned for, and what it would take to be whole again.

    Parameters
    ----------
    cluster : Plan, or a cluster as `evaluate` takes it
        Its layouts stay as they are for the load planned for.
    scenario, catalog, **fields
        As in `evaluate`: the load planned for. Of a plan left out: its own.
    mixes : sequence of str, optional
        Workloads that come in the place of the one planned for, at the same rate, wholly and as every other request;
        left out, the other Azure trace.
    growth : sequence of float, optional
        Shares by which the load grows, or with a minus shrinks; left out, 0.1, 0.25 and 0.5.
    bursts : sequence of float, optional
        Coefficients of variation of the gaps between arrivals; left out, 2 and 3.
    rack : int, optional
        Machines of a rack, which are lost together; left out, as many as fill 42 rack units. A pool that has fewer is
        lost whole.
    only : sequence of str, optional
        Kinds of mishaps: mix, growth, burst, machine (one of each pool is lost), rack; left out, all.
    verify : bool
        Whether the cluster is simulated under each of them. Other roles and purchases are not.
    progress : callable
        Told what is being done.

    Returns
    -------
    Robustness
        A row a mishap, the load as planned first; after Ctrl-C those that were done, and `complete` false.

    Raises
    ------
    InputError
        As `evaluate`; an unknown workload or kind, with near misses; a growth of -100 % or less, a burst of no CV, a
        rack larger than every pool.
    NoPlanFoundError
        A time limit passed before any plan was found.
    """
    from planner.planning.evaluate import cluster_of
    from planner.scenario.scenario_file import at_rate
    from planner.studies.robustness import examine

    if isinstance(cluster, Plan):
        scenario = scenario if scenario is not None else at_rate(cluster.scenario, cluster.rate_per_s)
        cluster = cluster_of(cluster)
    pools, asked = cluster_and_scenario(cluster, scenario, catalog, fields)
    return examine(
        asked.resolved(), pools,
        mixes=mixes, growth=growth, bursts=bursts, rack=rack, only=only, verify=verify, progress=progress,
    )  # fmt: skip
