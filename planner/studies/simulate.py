"""Simulate a given cluster under a scenario, and report it beside what the queueing formulas predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from planner._version import __version__
from planner.errors import ScenarioError
from planner.planning.evaluate import members_and_routes
from planner.planning.record import design_of
from planner.pools.prediction import ClusterModel, Member
from planner.scenario.cluster import Cluster
from planner.scenario.resolve import Problem
from planner.serving.requests import Limit
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.energy import pool_power
from planner.simulation.failures import failures_of
from planner.simulation.outcome import Outcome
from planner.simulation.policies import policy_name
from planner.simulation.report import (
    ArrivalReport,
    FailureReport,
    IntervalReport,
    LatencyReport,
    ObjectiveReport,
    PercentileReport,
    PoolReport,
    SimulationReport,
)
from planner.simulation.summary import LATENCIES, METRICS, Simulated
from planner.simulation.timeline import distributions_of, timeline_of
from planner.studies.arrivals import Arrivals, Trial

TIMELINE_INTERVALS = 120
_PILOT_REQUESTS = 40  # a user, from which the rate of a closed loop is known
_TOO_LARGE_NAMED = 5


def simulate_cluster(
    cluster: Cluster, arrivals: Arrivals, trial: Trial, progress: Callable[[str], None]
) -> SimulationReport:
    """Simulate a cluster.

    Raises
    ------
    ScenarioError
        A failure of a machine that does not exist or that leaves a role empty; too few requests to outlast the
        warm-up.
    """
    problem = arrivals.problem
    members, routes = members_and_routes(problem, cluster)
    if arrivals.clients is not None:
        # How many requests a second they send is an answer; formulas and power are then given at that rate.
        pilot = ClusterSimulation(members, routes, problem.need, problem.sizes).run(
            arrivals.draw(trial.seeds[0]).first(_PILOT_REQUESTS * arrivals.clients.count), policy=trial.policy,
            clients=arrivals.clients, seed=trial.seeds[0],
        )  # fmt: skip
        span_s = float(np.nanmax(pilot.finish_s))
        arrivals = arrivals.at_rate(pilot.n_finished / span_s)
        problem = arrivals.problem
        members, routes = members_and_routes(problem, cluster)
    simulation = ClusterSimulation(
        members, routes, problem.need, problem.sizes, problem.reference, pool_power(problem.llm, problem.runtime)
    )
    simulated = simulation.simulate_drawn(
        arrivals.draw, seeds=trial.seeds, policy=trial.policy, failures=failures_of(trial.failures, members),
        stationary=trial.is_stationary, n_samples=TIMELINE_INTERVALS, progress=progress, clients=arrivals.clients,
    )  # fmt: skip
    if not simulated.enough and not simulated.interrupted and simulated.outlasted < simulated.needed:
        raise _too_short(simulated, trial)
    progress("predicting percentiles")
    # The formulas speak of one rate throughout.
    model = None if trial.rates_per_s else ClusterModel(members, routes, problem.need, trial.load)
    return _report(simulated, members, model, arrivals, trial)


def _too_short(simulated: Simulated, trial: Trial) -> ScenarioError:
    where = "workload" if trial.replay else "rates" if trial.rates_per_s else "n_requests"
    what = "trace is" if trial.replay else "runs are"
    fix = "add --repeat, or give a longer trace" if trial.replay else "simulate more requests"
    return ScenarioError(
        f"the {what} shorter than the warm-up: too few requests are left to judge an objective", where=where,
        value=f"{simulated.n_requests:,} requests, {sum(simulated.warm_up):,} of them in the warm-up",
        rule=f"at least {simulated.needed} after the warm-up", fix=fix,
    )  # fmt: skip


def _report(
    simulated: Simulated, members: Sequence[Member], model: ClusterModel | None, arrivals: Arrivals, trial: Trial
) -> SimulationReport:
    problem = arrivals.problem
    need, outcomes = problem.need, simulated.outcomes
    seeds = trial.seeds[: len(outcomes)]
    power = simulated.power_w or [float("nan")] * len(members)
    total_w = sum(power)
    n_ended = sum(o.n_finished for o in outcomes)
    report = SimulationReport(
        planner_version=__version__,
        catalog_digest=problem.catalog.digest()[:16],
        design=design_of(members),
        model=problem.llm.name,
        runtime=problem.runtime.name,
        precision=problem.scenario.precision or problem.llm.weight_precision,
        workload=problem.sizes.name,
        arrivals=ArrivalReport(
            kind=arrivals.kind, rate_per_s=arrivals.rate_per_s, cv2=need.traffic.arrival_cv2,
            rates_per_s=tuple(rate * trial.load for rate in trial.rates_per_s), period_s=trial.period_s,
            rescaled=trial.rescaled, repeat=trial.repeat,
        ),
        load=trial.load,
        policy_name=policy_name(trial.policy),
        policy={name: getattr(trial.policy, name) for name in trial.policy.__dataclass_fields__},
        failures=tuple(
            FailureReport(
                machine=f"{f.pool}:{f.number}", at_s=f.at_s, repaired_s=f.repaired_s if isfinite(f.repaired_s) else None
            )
            for f in trial.failures
        ),
        seeds=seeds,
        meets_objectives=all(simulated.met),
        stable=simulated.stable,
        interrupted=simulated.interrupted,
        n_requests=simulated.n_requests,
        n_counted=simulated.n_counted,
        warm_up_requests=tuple(simulated.warm_up),
        n_unfinished=sum(o.n_in_flight for o in outcomes),
        n_too_large=simulated.n_too_large,
        too_large=tuple(_too_large(outcomes)),
        n_overflowed=simulated.n_overflowed,
        n_restarted=simulated.n_restarted,
        n_waited_for_memory=simulated.n_waited_for_memory,
        n_preempted=simulated.n_preempted,
        n_together=sum(o.requests.n_together for o in outcomes),
        simulated_s=simulated.simulated_s,
        power_w=total_w,
        energy_j=total_w * simulated.simulated_s,
        energy_per_request_j=total_w * simulated.simulated_s / n_ended if n_ended else None,
        latencies=tuple(_latency(simulated, metric, model) for metric in METRICS),
        objectives=tuple(_objective(simulated, i, limit, model) for i, limit in enumerate(need.limits)),
        pools=tuple(_pool(simulated, i, member, power[i]) for i, member in enumerate(members)),
        distributions=distributions_of(simulated),
        timeline=timeline_of(outcomes[0], members, seeds[0]),
        step_time_error=max(m.configuration.step_time_error for m in members),
        notes=tuple(_notes(simulated, problem, trial)),
        scenario=problem.scenario.dump(),
    )  # fmt: skip
    report._outcomes = tuple(outcomes)
    return report


def _latency(simulated: Simulated, metric: str, model: ClusterModel | None) -> LatencyReport:
    def percentile(p: float) -> PercentileReport:
        predicted = model.percentile(metric, p, 1.0) if model is not None and metric in LATENCIES else None
        return PercentileReport.beside(simulated.percentiles[metric, p] if simulated.stable else None, predicted)

    mean = IntervalReport.of(simulated.means[metric]) if simulated.stable else IntervalReport.unknown()
    return LatencyReport(metric=metric, mean=mean, p50=percentile(50.0), p90=percentile(90.0), p99=percentile(99.0))


def _objective(simulated: Simulated, i: int, limit: Limit, model: ClusterModel | None) -> ObjectiveReport:
    objective = limit.objective
    predicted = None
    if model is not None:
        predicted = model.percentile(objective.metric, objective.percentile, limit.unit_s)
    return ObjectiveReport(
        objective=str(objective), metric=objective.metric, percentile=objective.percentile,
        unit="s" if objective.limit_s is not None else "x", limit=limit.value,
        simulated=PercentileReport.beside(simulated.objectives[i] if simulated.stable else None, predicted),
        late=IntervalReport.of(simulated.late[i]) if simulated.stable else IntervalReport.unknown(),
        allowed=limit.allowed, met=simulated.met[i],
    )  # fmt: skip


def _pool(simulated: Simulated, i: int, member: Member, power_w: float) -> PoolReport:
    return PoolReport(
        role=member.role, machine=member.configuration.machine.name, layout=member.configuration.layout.label,
        count=member.count, busy=simulated.busy[i], prompt_share=simulated.prompt_share[i], batch=simulated.batch[i],
        memory_used=simulated.memory_used[i], power_w=power_w, energy_j=power_w * simulated.simulated_s,
    )  # fmt: skip


def _too_large(outcomes: Sequence[Outcome]) -> list[str]:
    named = [
        f"run {run} request {r}: {o.requests.prompt_tokens[r]} + {o.requests.output_tokens[r]} tokens"
        for run, o in enumerate(outcomes, start=1)
        for r in o.too_large[:_TOO_LARGE_NAMED].tolist()
    ]
    return named[:_TOO_LARGE_NAMED]


def _notes(simulated: Simulated, problem: Problem, trial: Trial) -> list[str]:
    notes = list(problem.notes)
    if simulated.growing and not simulated.stable:
        notes.append("unstable: latency grew throughout, so percentiles would only say how long the runs were")
    elif simulated.growing:
        notes.append("latency rose throughout: if the load stays as it was at the end, it will rise further")
    if simulated.interrupted:
        notes.append("interrupted: this is what the requests that had ended until then say")
        if not simulated.enough:
            notes.append(f"{simulated.n_counted} requests ended after the warm-up, too few to judge an objective")
    close = [
        limit.objective.label
        for limit, met, value in zip(problem.need.limits, simulated.met, simulated.objectives, strict=True)
        if simulated.stable and not met and value.value <= limit.value
    ]
    if close and not simulated.n_too_large:
        notes.append(f"{', '.join(close)}: within the limit, but chance may be to thank; more requests can tell")
    if simulated.n_too_large:
        notes.append(
            f"{simulated.n_too_large:,} requests are larger than the KV memory of the machines on their way and miss "
            "every objective"
        )
    ended = min(o.end_s for o in simulated.outcomes)
    late = [f.text for f in trial.failures if f.at_s >= ended]
    if late:
        notes.append(f"the simulated time was over before {', '.join(late)}")
    return notes
