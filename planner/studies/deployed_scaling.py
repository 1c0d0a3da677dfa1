"""A scaling table as settings of KEDA, which sets replicas of each pool by the load that Prometheus sees."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.engine.server_forms import Engine
from planner.errors import ScenarioError
from planner.planning.plan import Plan
from planner.studies.deploy_result import Target
from planner.studies.deployed_servers import PoolServers, served_name
from planner.studies.scaling_result import Scaling

Manifest = dict[str, Any]
PROMETHEUS = "http://prometheus-operated.monitoring.svc:9090"
_LONGEST_S = 3600  # stabilisation window that Kubernetes takes

# Requests that come a second, of series that the server or its front counts: what is answered, and by how much what is
# under way grows. Names as of the versions in `server_forms` and `deployed_manifests`.
_FRONTS: Mapping[str, str] = {
    "dynamo": "sum(rate(dynamo_frontend_requests_total[{w}])) + sum(deriv(dynamo_frontend_inflight_requests[{w}]))",
    "llm-d": "sum(rate(inference_objective_request_total[{w}]))",
}
_ENGINES: Mapping[Engine, str] = {
    "vllm": 'sum(rate(vllm:request_success_total{{pod=~"{pods}"}}[{w}])) + '
    'sum(deriv(vllm:num_requests_running{{pod=~"{pods}"}}[{w}])) + '
    'sum(deriv(vllm:num_requests_waiting{{pod=~"{pods}"}}[{w}]))',
    "sglang": 'sum(rate(sglang:num_requests_total{{pod=~"{pods}"}}[{w}])) + '
    'sum(deriv(sglang:num_running_reqs{{pod=~"{pods}"}}[{w}])) + '
    'sum(deriv(sglang:num_queue_reqs{{pod=~"{pods}"}}[{w}]))',
    "trtllm": 'sum(rate(trtllm_request_success_total{{pod=~"{pods}"}}[{w}]))',
}


def read_scaling(source: Scaling | str | os.PathLike[str]) -> Scaling:
    """A table as `planner scale --format json` prints it.

    Raises
    ------
    ScenarioError
        A file that cannot be read, or is none.
    """
    if isinstance(source, Scaling):
        return source
    fix = "write one: planner scale PLAN --format json --output scaling.json"
    try:
        return Scaling.model_validate_json(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror}", where=str(source), fix=fix) from None
    except (ValidationError, UnicodeDecodeError):
        raise ScenarioError("this file is not a scaling table", where=str(source), fix=fix) from None


def refuse_another_plan(scaling: Scaling, plan: Plan) -> None:
    """Raise `ScenarioError` where a table is of other pools than the plan's."""
    of_table = [(p.role, p.machine, p.most) for p in scaling.pools]
    of_plan = [(p.role, p.machine, p.count) for p in plan.pools]
    if of_table != of_plan or scaling.model != plan.model:

        def said(pools: Sequence[tuple[str, str, int]], model: str) -> str:
            return f"{' + '.join(f'{n} x {machine} {role}' for role, machine, n in pools)} of {model}"

        raise ScenarioError(
            "the scaling table is of another plan", where="--scaling", value=said(of_table, scaling.model),
            rule=f"the plan has {said(of_plan, plan.model)}", fix="planner scale PLAN --format json, with this plan",
        )  # fmt: skip


def scaling_notes(target: Target, scaling: Scaling) -> list[str]:
    """What is to be known of a table on a target."""
    if target == "kserve":
        return [
            "KServe sets the replicas of an LLMInferenceService by rules of its own (spec.scaling): it cannot be given "
            "the scaling table, which stands in the README for who scales by hand or on a schedule"
        ]
    notes = [
        "manifests/scaling.yaml asks Prometheus for the load: its address, and the names of the series, are to be "
        "checked against yours",
        "a server that is scaled down must finish what it has, as the simulated ones do: give its pods a preStop hook "
        "that sleeps for the longest request, and a termination grace period beyond it",
        "the autoscaler's tolerance of 10 % is set to 0, which Kubernetes takes from 1.35 on",
    ]
    if scaling.hysteresis_s > _LONGEST_S:
        notes.append(f"Kubernetes waits {_LONGEST_S} s at most before it scales down, the table assumes longer")
    if not scaling.held:
        notes.append("the scaling table did not hold every objective on its day")
    return notes


def scaled_objects(target: Target, servers: Sequence[PoolServers], scaling: Scaling) -> list[Manifest]:
    """A ScaledObject a pool whose replicas change; none for a target that takes none."""
    if target == "kserve":
        return []
    return [
        _scaled(target, servers, s, [step.replicas[n] for step in scaling.steps], scaling)
        for n, s in enumerate(servers)
        if len({step.replicas[n] for step in scaling.steps}) > 1
    ]


def _scaled(
    target: Target, servers: Sequence[PoolServers], s: PoolServers, replicas: Sequence[int], scaling: Scaling
) -> Manifest:
    query = _FRONTS.get(target, _ENGINES[s.engine]).format(
        w=f"{max(round(scaling.window_s), 1)}s", pods="|".join(f"{p.name}-.*" for p in servers if _takes_prompts(p))
    )
    interval_s = max(round(scaling.interval_s), 1)
    hold = min(round(scaling.hysteresis_s), _LONGEST_S)
    return {
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": s.name},
        "spec": {
            "scaleTargetRef": _target(target, servers, s),
            "minReplicaCount": min(replicas), "maxReplicaCount": max(replicas),
            "pollingInterval": interval_s,
            "advanced": {
                # The formula is the number of replicas: a target of 1 a replica makes the autoscaler set just that.
                "scalingModifiers": {
                    "formula": formula([step.measured_up_to_per_s for step in scaling.steps], replicas),
                    "target": "1", "metricType": "AverageValue",
                },
                "horizontalPodAutoscalerConfig": {"behavior": {
                    direction: {
                        "stabilizationWindowSeconds": wait_s, "tolerance": "0",
                        "policies": [{"type": "Pods", "value": max(replicas), "periodSeconds": interval_s}],
                    }
                    for direction, wait_s in (("scaleUp", 0), ("scaleDown", hold))
                }},
            },
            "triggers": [{
                "type": "prometheus", "name": "load",
                "metadata": {"serverAddress": PROMETHEUS, "query": query, "threshold": "1"},
            }],
        },
    }  # fmt: skip


def formula(up_to_per_s: Sequence[float], replicas: Sequence[int]) -> str:
    """The table as an expression of `load`: `load <= 8.1 ? 2 : load <= 12.5 ? 3 : 4`."""
    last = len(replicas) - 1
    parts = [
        f"load <= {load:.5g} ? {n} : "
        for k, (load, n) in enumerate(zip(up_to_per_s, replicas, strict=True))
        if k < last and replicas[k + 1] != n
    ]
    return "".join(parts) + str(replicas[last])


def _takes_prompts(s: PoolServers) -> bool:
    return s.pool.role != "decode"


def _target(target: Target, servers: Sequence[PoolServers], s: PoolServers) -> Manifest:
    if target == "dynamo":
        name = f"{served_name(servers)}-{s.name}"
        return {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeploymentScalingAdapter", "name": name}
    if s.pods > 1:
        return {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": s.name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": s.name}


def scaling_text(servers: Sequence[PoolServers], scaling: Scaling) -> Iterator[str]:
    """The table for the README of a bundle."""
    yield "| load, requests/s | " + " | ".join(f"replicas of {s.name}" for s in servers) + " | $/h |"
    yield "|---|" + "---|" * (len(servers) + 1)
    for step in scaling.steps:
        cells = " | ".join(f"{n:,}" for n in step.replicas)
        cost = "-" if step.cost_usd_per_hour is None else f"{step.cost_usd_per_hour:,.2f}"
        yield f"| up to {step.measured_up_to_per_s:.4g} | {cells} | {cost} |"
    yield ""
    cost = "" if scaling.cost_usd is None else f" at ${scaling.cost_usd:,.2f} a day of {scaling.day_s / 3600:.3g} h"
    yield (
        f"Load is that of the last {scaling.window_s:g} s, looked at every {scaling.interval_s:g} s; servers take "
        f"{scaling.cold_start_s:g} s to start and go when the load has been lower for {scaling.hysteresis_s:g} s. "
        f"Simulated on the day `{scaling.day}`: objectives {'held' if scaling.held else 'MISSED'}{cost}."
    )
