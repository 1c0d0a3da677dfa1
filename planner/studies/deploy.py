"""From a plan to what runs it: commands, manifests, the load to check it with, and what to expect."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from planner.engine.server_forms import FORMS, Engine
from planner.errors import ScenarioError, UnknownNameError
from planner.planning.evaluate import cluster_of
from planner.planning.plan import Plan
from planner.planning.plan_file import read_plan
from planner.scenario.bundle import PLAN_FILE
from planner.scenario.opened import CatalogLike, cluster_and_scenario
from planner.scenario.resolve import Problem
from planner.scenario.scenario_file import at_rate
from planner.studies.deploy_result import TARGETS, DeployedPool, Deployment, Target
from planner.studies.deployed_manifests import (
    DYNAMO_VERSION,
    Manifest,
    dynamo,
    kserve,
    llm_d,
    plain,
    router_file,
    shell_script,
    unserved_by_kserve,
)
from planner.studies.deployed_scaling import (
    read_scaling,
    refuse_another_plan,
    scaled_objects,
    scaling_notes,
    scaling_text,
)
from planner.studies.deployed_servers import PoolServers, engine_of_runtime, servers_of
from planner.studies.deployed_text import (
    LOAD_FILE,
    benchmark_text,
    inference_perf_config,
    load_text,
    readme_text,
    yaml_text,
)
from planner.studies.head import digest_of
from planner.studies.scaling_result import Scaling

# Platform -> engines that it runs, and its version.
_PLATFORMS: dict[str, tuple[tuple[Engine, ...], str]] = {
    "dynamo": (("vllm", "sglang", "trtllm"), f"Dynamo {DYNAMO_VERSION}, nvidia.com/v1beta1"),
    "llm-d": (("vllm", "sglang"), "llm-d 0.4, InferencePool inference.networking.k8s.io/v1"),
    "kserve": (("vllm",), "KServe 0.21, serving.kserve.io/v1alpha2"),
}
_WRITERS: dict[str, Callable[[Sequence[PoolServers]], dict[str, list[Manifest]]]] = {
    "dynamo": dynamo, "llm-d": llm_d, "kserve": kserve
}  # fmt: skip


def deploy(
    plan: Plan | str | os.PathLike[str],
    target: str,
    *,
    scaling: Scaling | str | os.PathLike[str] | None = None,
    catalog: CatalogLike = None,
) -> Deployment:
    """Write a plan as what runs it.

    Parameters
    ----------
    plan : Plan, or path of one in JSON
    target : str
        `vllm`, `sglang`, `trtllm`, `dynamo`, `llm-d` or `kserve`.
    scaling : Scaling, or path of one in JSON, optional
        A table of `scale` for this plan: replicas then follow the load, by KEDA.
    catalog : Catalog, or path of an overlay folder, or several, optional
        As in `optimize`; left out, that of the plan.

    Returns
    -------
    Deployment
        Files by path, with the version of the target and what it cannot be told.

    Raises
    ------
    InputError
        No such target, a plan that cannot be used, one whose engine the target does not run or whose pools it cannot
        hold, or a scaling table of another plan.
    """
    if target not in TARGETS:
        raise UnknownNameError.of("target", target, TARGETS, where="--for")
    found = plan if isinstance(plan, Plan) else read_plan(plan)
    _, asked = cluster_and_scenario(cluster_of(found), at_rate(dict(found.scenario), found.rate_per_s), catalog, {})
    problem = asked.resolved()
    engine = _engine(problem, target)
    servers, notes = servers_of(found, problem, engine)
    notes += _unsaid(servers, target)
    table = None if scaling is None else read_scaling(scaling)
    if table is not None:
        refuse_another_plan(table, found)
        notes += scaling_notes(target, table)  # type: ignore[arg-type]
    if found.model != problem.llm.name:
        raise ScenarioError("the plan is of another model than its scenario", where="PLAN", value=found.model)
    form = FORMS[engine]
    version = f"{engine} {form.version}"
    if target in _PLATFORMS:
        version = f"{_PLATFORMS[target][1]}, {version}"
    return Deployment(
        catalog_digest=digest_of(problem.catalog),
        target=target,
        version=version,
        source=f"{form.source}; looked up on {form.date}",
        pools=[_pool(s) for s in servers],
        files=_files(found, problem, servers, target, version, notes, table),
        notes=notes,
    )


def _engine(problem: Problem, target: str) -> Engine:
    """The engine that a target runs for a plan.

    Raises
    ------
    ScenarioError
        It does not run the one that the plan assumes.
    """
    if target not in _PLATFORMS:
        return target  # type: ignore[return-value]
    engines, name = _PLATFORMS[target]
    runs = engine_of_runtime(problem.runtime)
    if runs is not None and runs not in engines:
        raise ScenarioError(
            f"the plan assumes {problem.runtime.name}, which {target} does not run", where="--for", value=target,
            rule=f"{name} runs {', '.join(engines)}",
            fix=f"plan again with --runtime {engines[0]}-2026, or deploy for {runs} or dynamo",
        )  # fmt: skip
    return runs or engines[0]


def _unsaid(servers: Sequence[PoolServers], target: str) -> list[str]:
    """What a target leaves to whoever runs it."""
    notes = []
    split = any(s.pool.role != "mixed" for s in servers)
    senders = sum(s.pool.role == "prefill" for s in servers)
    if target in FORMS:
        router = FORMS[servers[0].engine].router
        if split:
            notes.append(f"a router sends each prompt to a prefill server and its answer to a decode server: {router}")
        elif len(servers) > 1 or servers[0].replicas > 1:
            notes.append(
                "the plan sends each request to the shortest queue, and a Service of Kubernetes to any: put a router "
                f"in front, such as {router}"
            )
    if senders > 1:
        notes.append("which prefill pool sends to which decode pool stands in an annotation: no router here takes it")
    shares = [s for s in servers if s.pool.role != "decode"]
    if len(shares) > 1:
        each = ", ".join(f"{s.name} {s.pool.rate_per_s:.4g}" for s in shares)
        notes.append(f"the load that pools take, in requests/s, is what shortest queues come to: {each}")
    if target == "kserve":
        notes += unserved_by_kserve(servers)
    if any(s.pods > 1 for s in servers) and servers[0].engine == "trtllm" and target != "dynamo":
        notes.append(
            "TensorRT-LLM starts a replica over several nodes by MPI (trtllm-llmapi-launch), not by these words"
        )
    return notes


def _pool(s: PoolServers) -> DeployedPool:
    return DeployedPool(
        name=s.name, role=s.pool.role, machine=s.pool.machine, machines=s.pool.count, replicas=s.replicas,
        nodes_per_replica=s.pods, command=s.words, options=s.options,
    )  # fmt: skip


def _files(
    plan: Plan, problem: Problem, servers: Sequence[PoolServers], target: Target, version: str, notes: Sequence[str],
    scaling: Scaling | None,
) -> dict[str, str]:  # fmt: skip
    model = servers[0].settings.model
    files: dict[str, str] = {
        "README.md": readme_text(
            plan, servers, target, version, notes, () if scaling is None else tuple(scaling_text(servers, scaling))
        ),
        PLAN_FILE: plan.model_dump_json(indent=2) + "\n",
        LOAD_FILE: load_text(plan, problem),
        "benchmark.sh": benchmark_text(plan, model),
        "inference-perf.yaml": yaml_text([inference_perf_config(plan, model)]),
    }
    for name, documents in _WRITERS.get(target, plain)(servers).items():
        files[f"manifests/{name}"] = yaml_text(documents)
    scaled = [] if scaling is None else scaled_objects(target, servers, scaling)
    if scaled:
        files["manifests/scaling.yaml"] = yaml_text(scaled)
    if target in FORMS:
        for s in servers:
            options = f"{s.name}.yaml" if s.options else ""
            files[f"servers/{s.name}.sh"] = shell_script(s, options)
            if s.options:
                files[f"servers/{options}"] = yaml_text([s.options])
        router: Any = router_file(servers)
        if router:
            files["servers/router.yaml"] = yaml_text([router])
    return files
