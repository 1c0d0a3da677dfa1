"""What a notebook, a sheet or the command line calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.fleet.plan import Cluster, Plan
from planner.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    import datetime

    from planner.catalog.catalog import Catalog
    from planner.exploration.cost_report import CostReport
    from planner.exploration.network_map import NetworkMap
    from planner.exploration.provisioning_map import ProvisioningMap
    from planner.exploration.regime_map import RegimeMap
    from planner.exploration.robustness_result import Robustness
    from planner.portfolio.fleet import Fleet
    from planner.portfolio.result import Procurement
    from planner.simulation.report import SimulationReport

    FleetLike = Fleet | Mapping[str, Any] | str | os.PathLike[str]

Path = str | os.PathLike[str]
ScenarioLike = Scenario | Mapping[str, Any] | str | os.PathLike[str]


def _quiet(_: str) -> None:
    return None


def optimize(
    scenario: ScenarioLike | None = None,
    *,
    catalog: Catalog | Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
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
    from planner.problem import resolve
    from planner.reporting import plan_of

    opened, fields = _opened(catalog, fields)
    problem = resolve(load_scenario(scenario if scenario is not None else {}, **fields), opened)
    if not problem.design.mixed:
        from planner.exploration.network import check_links

        check_links(problem)
    if problem.scenario.verify:
        from planner.certification import certified

        solution = certified(problem, progress)
    else:
        from planner.planning import solve_problem

        solution = solve_problem(problem, progress)
    progress("predicting percentiles")
    return plan_of(problem, solution)


def evaluate(
    cluster: Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
    scenario: ScenarioLike | None = None,
    *,
    catalog: Catalog | Path | Sequence[Path] | None = None,
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
    from planner.evaluation import evaluate_cluster
    from planner.problem import resolve

    pools, loaded, opened = _cluster_and_scenario(cluster, scenario, catalog, fields)
    return evaluate_cluster(resolve(loaded, opened), pools)


def cost(
    cluster: Plan | Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
    scenario: ScenarioLike | None = None,
    *,
    catalog: Catalog | Path | Sequence[Path] | None = None,
    horizon: str | float = "3 years",
    use: str | float = 1.0,
    cost_of_capital: str | float = "8 %",
    spot_recovery: str | float = "15 min",
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
    from planner.evaluation import cluster_of, evaluate_cluster
    from planner.exploration.costs import cost_report, read_assumptions, read_date
    from planner.problem import resolve

    assumptions = read_assumptions(horizon, use, cost_of_capital, spot_recovery)
    if isinstance(cluster, Plan):
        scenario = scenario if scenario is not None else cluster.scenario | {"rate_per_s": cluster.rate_per_s}
        cluster = cluster_of(cluster)
    pools, loaded, opened = _cluster_and_scenario(cluster, scenario, catalog, fields)
    problem = resolve(loaded, opened)
    plan = evaluate_cluster(problem, pools)
    return cost_report(plan, problem.catalog, problem.scenario, assumptions, start=read_date(start))


def simulate(
    cluster: Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
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
    catalog: Catalog | Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
    **fields: Any,
) -> SimulationReport:
    """Simulate every request and step of a given cluster under a scenario.

    Parameters
    ----------
    cluster, scenario, catalog, **fields
        As in `evaluate`. `arrival_cv2` makes arrivals burstier than Poisson.
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
    from planner.catalog.catalog import Catalog
    from planner.simulating import simulate_cluster
    from planner.trial import Arrivals, read_trial

    # A rate or a variability that only a plan's own scenario has does not contradict a replay.
    trial = read_trial(
        seeds=seeds, n_requests=n_requests, load=load, replay=replay, repeat=repeat, rates=rates, period=period,
        policy=policy, routing=routing, chunk_tokens=chunk_tokens, overflow=overflow, failures=failures,
        has_rate=not {"rate", "rate_per_s"}.isdisjoint(fields), has_cv2="arrival_cv2" in fields,
    )  # fmt: skip
    pools, loaded, opened = _cluster_and_scenario(cluster, scenario, catalog, fields)
    arrivals = Arrivals(loaded, trial, opened or Catalog.default(loaded.catalog))
    return simulate_cluster(pools, arrivals, trial, progress)


def robustness(
    cluster: Plan | Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
    scenario: ScenarioLike | None = None,
    *,
    mixes: Sequence[str] | None = None,
    growth: Sequence[float] | None = None,
    bursts: Sequence[float] | None = None,
    rack: int | None = None,
    only: Sequence[str] | None = None,
    verify: bool = False,
    catalog: Catalog | Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
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
    from planner.evaluation import cluster_of
    from planner.exploration.robustness import examine
    from planner.problem import resolve

    if isinstance(cluster, Plan):
        scenario = scenario if scenario is not None else cluster.scenario | {"rate_per_s": cluster.rate_per_s}
        cluster = cluster_of(cluster)
    pools, loaded, opened = _cluster_and_scenario(cluster, scenario, catalog, fields)
    return examine(
        resolve(loaded, opened), pools,
        mixes=mixes, growth=growth, bursts=bursts, rack=rack, only=only, verify=verify, progress=progress,
    )  # fmt: skip


def _cluster_and_scenario(
    cluster: Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
    scenario: ScenarioLike | None,
    catalog: Catalog | Path | Sequence[Path] | None,
    fields: dict[str, Any],
) -> tuple[Cluster, Scenario, Catalog | None]:
    """A given cluster, and the scenario it is to serve without what only matters to a search."""
    from planner.evaluation import read_cluster, read_cluster_file

    if isinstance(cluster, (str, os.PathLike)):
        pools, planned_for = read_cluster_file(cluster)
    else:
        pools, planned_for = read_cluster(cluster), {}
    opened, fields = _opened(catalog, fields)
    loaded = load_scenario(planned_for if scenario is None else scenario, **fields)
    names = tuple(dict.fromkeys(pool.machine for pool in pools.pools))
    overrides: dict[str, Any] = {
        "machines": names, "design": "auto", "objective": "machines",
        "max_machines": {}, "max_pools": None, "max_total_machines": None,
        "max_cost_usd_per_hour": None, "max_power_w": None,
    }  # fmt: skip
    return pools, load_scenario(loaded, **overrides), opened


def provisioning_map(
    scenario: ScenarioLike | None = None,
    *,
    prefill_machines: tuple[int, int] | None = None,
    decode_machines: tuple[int, int] | None = None,
    catalog: Catalog | Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
    **fields: Any,
) -> ProvisioningMap:
    """Judge every pair of prefill and decode machine counts: cost, and which objectives hold.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`. The design is a split one: `design="Splitwise-HA"`, or `splitwise` (the default here), whose
        best plan of two pools says which pair is mapped.
    prefill_machines, decode_machines : (int, int), optional
        First and last count, both included; left out, from 1 to a little beyond the best plan.

    Returns
    -------
    ProvisioningMap
        Its `optimum` is the best cell; `.to_records()` is one row a cell.

    Raises
    ------
    InputError
        A design that does not split, ranges that are reversed or too large, something wrong in the scenario.
    InfeasibleError
        The pair can serve at no count.
    """
    from planner.exploration.provisioning_map import map_provisioning
    from planner.problem import resolve

    opened, fields = _opened(catalog, fields)
    loaded = load_scenario(scenario if scenario is not None else {}, **fields)
    if "design" not in loaded.model_fields_set:
        loaded = load_scenario(loaded, design="splitwise")
    return map_provisioning(resolve(loaded, opened), prefill_machines, decode_machines, progress)


def regime_map(
    scenario: ScenarioLike | None = None,
    *,
    x: str = "price-ratio",
    y: str = "prompt-output-ratio",
    points: int = 30,
    price_ratio_of: tuple[str, str] | None = None,
    workers: int | None = None,
    catalog: Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
    **fields: Any,
) -> RegimeMap:
    """Find which design wins, and by how much, at every crossing of two axes.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`.
    x, y : str
        `AXIS[=FROM..TO[:POINTS]]`, of price-ratio, prompt-output-ratio, load, ttft, tbt and network:
        `"ttft=200ms..5s:20"`.
    points : int
        Of an axis that does not say.
    price_ratio_of : (str, str), optional
        Machines whose prices the axis `price-ratio` compares; left out, the dearer and the cheaper of two.
    workers : int, optional
        Processes; left out, one a core. The map does not depend on it.

    Returns
    -------
    RegimeMap
        After Ctrl-C with the cells that were done, and `complete` false.

    Raises
    ------
    InputError
        Unknown or equal axes, ranges that are reversed or have one point, a map that is too large.
    """
    from planner.exploration.axes import parse_axis
    from planner.exploration.regime_map import map_regimes

    _, fields = _opened(catalog, fields)
    loaded = load_scenario(scenario if scenario is not None else {}, **fields)
    axes = [parse_axis(text, points=points, where=where) for text, where in ((x, "x"), (y, "y"))]
    return map_regimes(loaded, *axes, price_ratio_of=price_ratio_of, workers=workers, progress=progress)


def network_map(
    scenario: ScenarioLike | None = None,
    *,
    x: str = "network=1Gbit/s..400Gbit/s:19",
    workers: int | None = None,
    catalog: Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
    **fields: Any,
) -> NetworkMap:
    """Compare splitting with mixed pools over the bandwidth of the network, and find where it breaks even.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`; the design may name the machines that split.
    x : str
        `network=FROM..TO[:POINTS]`, line rates of each NIC.
    workers : int, optional
        Processes; left out, one a core where plans are slow to find. The map does not depend on it.

    Returns
    -------
    NetworkMap
        Its `break_even` says for both ways of sending from which line rate on splitting pays.

    Raises
    ------
    InputError
        A range that is none, a design that does not split, something wrong in the scenario.
    InfeasibleError
        Nothing serves at all.
    """
    from planner.exploration.axes import parse_axis
    from planner.exploration.network_map import map_network
    from planner.problem import resolve

    _, fields = _opened(catalog, fields)
    loaded = load_scenario(scenario if scenario is not None else {}, **fields)
    axis = parse_axis(x, points=25, where="x")
    return map_network(resolve(loaded), axis, workers=workers, progress=progress)


def _opened(
    catalog: Catalog | Path | Sequence[Path] | None, fields: dict[str, Any]
) -> tuple[Catalog | None, dict[str, Any]]:
    """A catalog that is open already, or its overlays as a field of the scenario."""
    if isinstance(catalog, (str, os.PathLike)):
        return None, fields | {"catalog": [os.fspath(catalog)]}
    if isinstance(catalog, Sequence):
        return None, fields | {"catalog": [os.fspath(path) for path in catalog]}
    return catalog, fields


def procure(
    fleet: FleetLike,
    *,
    catalog: Catalog | Path | Sequence[Path] | None = None,
    progress: Callable[[str], None] = _quiet,
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
    from planner.portfolio.fleet import load_fleet
    from planner.portfolio.reporting import procurement_of
    from planner.portfolio.solving import solve_fleet

    opened, fields = _opened(catalog, fields)
    return procurement_of(solve_fleet(load_fleet(fleet, **fields), opened, progress))
