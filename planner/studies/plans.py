"""Find plans, predict and simulate clusters, and decide what to own and rent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.planning.plan import Plan
from planner.scenario.opened import CatalogLike, ClusterLike, ScenarioLike, ask, cluster_and_scenario, opened_catalog
from planner.scenario.progress import quiet

if TYPE_CHECKING:
    from planner.portfolio.fleet import Fleet
    from planner.portfolio.result import Procurement
    from planner.simulation.report import SimulationReport

    FleetLike = Fleet | Mapping[str, Any] | str | os.PathLike[str]


def optimize(
    scenario: ScenarioLike | None = None,
    *,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Plan:
    """Find the cluster that serves a scenario at least cost, power or machines, or at most throughput.

    Parameters
    ----------
    scenario : Scenario, mapping, or path of a YAML file, optional
        Left out: the default scenario.
    catalog : Catalog, or path of an overlay folder, or several, optional
        Paths win over the scenario's own. Left out: the built-in one under PLANNER_CATALOG and the scenario's
        overlays.
    progress : callable
        Told in a few words what is being done.
    **fields
        Fields of the scenario that win over `scenario`: `planner.optimize(slo="ttft=1s", rate="200/s")`.

    Returns
    -------
    Plan
        Proven optimal, or with `solver.status == "limit"` and its bound; with its certificate by simulation unless
        the scenario says `verify=False`.

    Raises
    ------
    InputError
        Something in the scenario, trace or catalog is wrong.
    InfeasibleError
        No cluster can do it; says what collides and the nearest relaxation that works. A design that only splits, on
        links that cannot carry its KV caches: says which link would.
    NoPlanFoundError
        The time limit passed before any plan was found.
    """
    from planner.planning.road import plan

    return plan(ask(scenario, catalog, fields).resolved(), progress)


def evaluate(
    cluster: ClusterLike,
    scenario: ScenarioLike | None = None,
    *,
    catalog: CatalogLike = None,
    **fields: Any,
) -> Plan:
    """Predict what a given cluster does with a scenario.

    Parameters
    ----------
    cluster : Cluster, mapping, list or path
        Pools as `{"role": "prefill", "machine": "dgx-h100", "count": 27}`; a mapping has them under `pools`, and so
        has a YAML or JSON file. The file may be a plan as `planner optimize --format json` prints it.
    scenario, catalog, **fields
        As in `optimize`; the scenario's machines, design and budgets do not matter here. With the file of a plan and
        no scenario: that of the plan.

    Returns
    -------
    Plan
        With `solver.status == "evaluated"`; `meets_objectives` says whether every objective holds.

    Raises
    ------
    InputError
        A pool that names an unknown machine, or a cluster that lacks a role.
    DoesNotFitError
        The model does not fit a pool's layout.
    """
    from planner.planning.evaluate import evaluate_cluster

    pools, asked = cluster_and_scenario(cluster, scenario, catalog, fields)
    return evaluate_cluster(asked.resolved(), pools)


def simulate(
    cluster: ClusterLike,
    scenario: ScenarioLike | None = None,
    *,
    seeds: int | Sequence[int] | None = None,
    n_requests: int | None = None,
    load: float = 1.0,
    replay: bool = False,
    repeat: int = 1,
    rates: Sequence[float | str] = (),
    period: float | str | None = None,
    policy: str = "jsq",
    routing: str | None = None,
    chunk_tokens: int | None = None,
    overflow: bool | None = None,
    failures: Sequence[str] = (),
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> SimulationReport:
    """Simulate every request and step of a given cluster under a scenario.

    Parameters
    ----------
    cluster, scenario, catalog, **fields
        As in `evaluate`. `arrival_cv2` makes arrivals burstier than Poisson. With `concurrency` or `users` in the
        place of a rate, each user's next request comes when the last one is answered.
    seeds : int or sequence of int, optional
        How many runs, or the seed of each; three, or one of a replay. The same seed gives the same requests.
    n_requests : int, optional
        Of each run; 100,000, or all that the trace or the rates have.
    load : float
        Multiple of the rate.
    replay : bool
        Play the trace that is the workload, with its own timestamps; a `rate` stretches them to that rate. Requests may
        have the same timestamp: they come together.
    repeat : int
        How often the trace is played, one after the other.
    rates : sequence of float or str
        Rates that follow each other in place of one, `["10/s", "40/s"]`.
    period : float or str, optional
        How long each of them lasts: `"1h"`, or seconds.
    policy : str
        `jsq` (join the shortest queue), or `splitwise` (the scheduling of that paper, with its mixed pool).
    routing : str, optional
        `pending-tokens`, `least-loaded` or `round-robin`, in place of the policy's.
    chunk_tokens : int, optional
        Chunked prefill with so many tokens a step, decoding sequences counted.
    overflow : bool, optional
        Whether machines of one pool may serve the other phase when its own pool is full; default the policy's.
    failures : sequence of str
        Machines that stop, as `"decode:0@120s-300s"`: the first decode machine is down from 120 s to 300 s; without an
        end, for good. `decode.dgx-a100:0` where several types share the role. What they held starts again elsewhere.
    progress : callable
        Told about once a second how far it is, and an estimate of the time left.

    Returns
    -------
    SimulationReport
        Percentiles with 95 % intervals beside the predicted ones; `meets_objectives` says whether every objective
        holds, up to its upper confidence limit. After Ctrl-C of what was simulated until then, marked `interrupted`.

    Raises
    ------
    InputError
        As `evaluate`; arrivals, policies or failures that make no sense; a trace shorter than the warm-up.
    DoesNotFitError
        The model does not fit a pool's layout.
    """
    from planner.studies.arrivals import Arrivals, read_trial
    from planner.studies.simulate import simulate_cluster

    # A rate or a variability that only a plan's own scenario has does not contradict a replay.
    trial = read_trial(
        seeds=seeds, n_requests=n_requests, load=load, replay=replay, repeat=repeat, rates=rates, period=period,
        policy=policy, routing=routing, chunk_tokens=chunk_tokens, overflow=overflow, failures=failures,
        has_rate=not {"rate", "rate_per_s"}.isdisjoint(fields), has_cv2="arrival_cv2" in fields,
    )  # fmt: skip
    pools, asked = cluster_and_scenario(cluster, scenario, catalog, fields)
    arrivals = Arrivals(asked.scenario, trial, asked.catalog)
    return simulate_cluster(pools, arrivals, trial, progress)


def procure(
    fleet: FleetLike,
    *,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Procurement:
    """Find what to own, reserve and rent to serve several workloads over time at the least cost.

    Parameters
    ----------
    fleet : Fleet, mapping, or path of a YAML file
        Workloads with their rates and objectives, or batch work with its deadline; price plans, limits, horizon.
    catalog : Catalog, or path of an overlay folder, or several, optional
        As in `optimize`.
    progress : callable
        Told in a few words what is being done.
    **fields
        Fields of the fleet that win over `fleet`: `planner.procure("fleet.yaml", gap=0.01)`.

    Returns
    -------
    Procurement
        Within `gap` of the proven bound, or with `solver.status == "limit"` and its bound. Not simulated.

    Raises
    ------
    InputError
        Something in the fleet, a trace or the catalog is wrong.
    InfeasibleError
        Nothing can serve it; says what collides and the nearest relaxation that works.
    NoPlanFoundError
        The time limit passed before any plan was found.
    """
    from planner.portfolio.fleet_file import load_fleet
    from planner.portfolio.pure import with_pure
    from planner.portfolio.reporting import procurement_of
    from planner.portfolio.solving import solve_fleet

    opened, fields = opened_catalog(catalog, fields)
    asked = load_fleet(fleet, **fields)
    found = procurement_of(solve_fleet(asked, opened, progress))
    return with_pure(asked, opened, found, progress) if asked.pure else found
