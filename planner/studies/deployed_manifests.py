"""Manifests of a deployment: plain Kubernetes, Dynamo, KServe and llm-d, as plain dicts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from planner.engine.server_forms import FORMS
from planner.scenario.bundle import MACHINE_LABEL, PREFIX
from planner.studies.deployed_servers import OPTIONS_FOLDER, PoolServers, served_name

Manifest = dict[str, Any]
PORT = 8000
DYNAMO_VERSION = "1.6.1"
LLM_D_ROLE = "llm-d.ai/role"
_DYNAMO_IMAGES = {"vllm": "vllm-runtime", "sglang": "sglang-runtime", "trtllm": "tensorrtllm-runtime"}
_TRT_ROLES = {"prefill": "prefill", "decode": "decode"}


def plain(servers: Sequence[PoolServers]) -> dict[str, list[Manifest]]:
    """A workload and a service a pool, in the kinds of Kubernetes; replicas over several nodes as LeaderWorkerSet."""
    found: dict[str, list[Manifest]] = {}
    for s in servers:
        found[f"{s.name}.yaml"] = [*_config_maps(s), _workload(s, {}), _service(s)]
    return found


def llm_d(servers: Sequence[PoolServers]) -> dict[str, list[Manifest]]:
    """The same with the labels of llm-d, an InferencePool over all pods, and its endpoint picker."""
    name = served_name(servers)
    labels = {"llm-d.ai/inferenceServing": "true", "llm-d.ai/model": name}
    found: dict[str, list[Manifest]] = {}
    for s in servers:
        role = {LLM_D_ROLE: s.pool.role if s.pool.role != "mixed" else "both"}
        found[f"{s.name}.yaml"] = [*_config_maps(s), _workload(s, labels | role)]
    split = any(s.pool.role != "mixed" for s in servers)
    found["inference-pool.yaml"] = [_inference_pool(name, labels), *_endpoint_picker(name, split)]
    return found


def dynamo(servers: Sequence[PoolServers]) -> dict[str, list[Manifest]]:
    """One DynamoGraphDeployment with a frontend and a component a pool."""
    engine = servers[0].engine
    image = f"nvcr.io/nvidia/ai-dynamo/{_DYNAMO_IMAGES[engine]}:{DYNAMO_VERSION}"
    frontend = {
        "name": "Frontend",
        "type": "frontend",
        "replicas": 1,
        "podTemplate": {"spec": {"containers": [
            {"name": "main", "image": image, "command": ["python3", "-m", "dynamo.frontend"],
             "args": ["--router-mode", "least-loaded"]},
        ]}},
    }  # fmt: skip
    graph = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": served_name(servers), "labels": _labels(servers[0])},
        "spec": {"backendFramework": engine, "components": [frontend, *(_component(s, image) for s in servers)]},
    }
    maps = [m for s in servers for m in _config_maps(s)]
    return {"graph.yaml": [*maps, graph]}


def kserve(servers: Sequence[PoolServers]) -> dict[str, list[Manifest]]:
    """An LLMInferenceService for each mixed pool, and one for each prefill pool with its decode pool."""
    mixed = [s for s in servers if s.pool.role == "mixed"]
    prefill = [s for s in servers if s.pool.role == "prefill"]
    decode = [s for s in servers if s.pool.role == "decode"]
    found = {f"{s.name}.yaml": [*_config_maps(s), _llm_service(s, None)] for s in mixed}
    for d, p in zip(decode, prefill, strict=False):
        found[f"{d.name}.yaml"] = [*_config_maps(p), *_config_maps(d), _llm_service(d, p)]
    return found


def unserved_by_kserve(servers: Sequence[PoolServers]) -> list[str]:
    """What one LLMInferenceService cannot hold."""
    count = {role: sum(s.pool.role == role for s in servers) for role in ("mixed", "prefill", "decode")}
    said = []
    if count["prefill"] != count["decode"]:
        said.append(
            f"an LLMInferenceService pairs one prefill pool with one decode pool, and the plan has {count['prefill']} "
            f"and {count['decode']}"
        )
    if len(servers) > 1 and (count["mixed"] > 1 or (count["mixed"] and count["prefill"]) or count["prefill"] > 1):
        said.append(
            "an LLMInferenceService has one pool of each role: these are several services, and the gateway in front of "
            "them must share requests as the README says (HTTPRoute weights)"
        )
    return said


def router_file(servers: Sequence[PoolServers]) -> Mapping[str, Any]:
    """The file of `trtllm-serve disaggregated`; empty for other engines and for mixed pools alone."""
    split = [s for s in servers if s.pool.role != "mixed"]
    if not split or servers[0].engine != "trtllm":
        return {}
    names = {"prefill": "context_servers", "decode": "generation_servers"}
    found: dict[str, Any] = {"hostname": "0.0.0.0", "port": PORT, "backend": "pytorch"}
    for role, key in names.items():
        urls = [f"{s.name}:{PORT}" for s in split if s.pool.role == role]
        found[key] = {"num_instances": len(urls), "urls": urls}
    return found


def shell_script(s: PoolServers, options: str) -> str:
    """The command of one server of a pool, to start by hand."""
    lines = [
        "#!/bin/sh",
        f"# {s.replicas} of these for {s.pool.count} x {s.pool.machine} ({s.pool.layout}), {s.per_pod * s.pods} "
        f"accelerators each{f', over {s.pods} nodes' if s.pods > 1 else ''}; {FORMS[s.engine].image}",
    ]
    words = list(s.words)
    if options:
        words = [word.replace(f"{OPTIONS_FOLDER}/", "") for word in words]
    if s.pods > 1:
        words += _over_nodes(s, "$NODE_RANK", "$LEADER")
        lines.append("# on every node, with NODE_RANK from 0 and LEADER the address of the first")
    quoted = " ".join(word if word.startswith("$") else shlex.quote(word) for word in words)
    return "\n".join([*lines, f"exec {quoted}"]) + "\n"


def _labels(s: PoolServers) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": PREFIX, "app.kubernetes.io/name": s.settings.model.rpartition("/")[2][:63]}


def _notes(s: PoolServers) -> dict[str, str]:
    """What a manifest has no field for, so that it can be read back."""
    notes = {f"{PREFIX}/requests-per-s": repr(s.pool.rate_per_s), f"{PREFIX}/spares": str(s.pool.spares)}
    if s.pool.takes_from:
        notes[f"{PREFIX}/takes-from"] = s.pool.takes_from
    return notes


def _pod(s: PoolServers, words: Sequence[str], image: str, *, name: str = "main", ports: bool = True) -> Manifest:
    container: Manifest = {"name": name, "image": image, "command": list(words[:1]), "args": list(words[1:])}
    if ports:
        container["ports"] = [{"name": "http", "containerPort": PORT}]
        container["readinessProbe"] = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 10}
    container["resources"] = {"limits": {s.resource: str(s.per_pod)}, "requests": {s.resource: str(s.per_pod)}}
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
    volumes: list[Manifest] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if s.options:
        mounts.append({"name": "options", "mountPath": OPTIONS_FOLDER})
        volumes.append({"name": "options", "configMap": {"name": f"{s.name}-options"}})
    container["volumeMounts"] = mounts
    return {"nodeSelector": {MACHINE_LABEL: s.machine}, "containers": [container], "volumes": volumes}


def _config_maps(s: PoolServers) -> list[Manifest]:
    if not s.options:
        return []
    from planner.studies.deployed_text import yaml_text

    return [{
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{s.name}-options", "labels": _labels(s)},
        "data": {f"{s.name}.yaml": yaml_text([s.options])},
    }]  # fmt: skip


def _served(s: PoolServers) -> list[str]:
    """The command as a pod runs it: on every interface, at the port of its service."""
    return [*s.words, "--host", "0.0.0.0", "--port", str(PORT)]


def _workload(s: PoolServers, labels: Mapping[str, str]) -> Manifest:
    image, words = FORMS[s.engine].image, _served(s)
    own = {"app": s.name, **labels}
    if s.pods == 1:
        return {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": s.name, "labels": _labels(s) | own, "annotations": _notes(s)},
            "spec": {
                "replicas": s.replicas, "selector": {"matchLabels": {"app": s.name}},
                "template": {"metadata": {"labels": own}, "spec": _pod(s, words, image)},
            },
        }  # fmt: skip
    leader = [*words, *_over_nodes(s, "$(LWS_WORKER_INDEX)", "$(LWS_LEADER_ADDRESS)")]
    pod = {"metadata": {"labels": own}, "spec": _pod(s, leader, image)}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
        "metadata": {"name": s.name, "labels": _labels(s) | own, "annotations": _notes(s)},
        "spec": {
            "replicas": s.replicas,
            "leaderWorkerTemplate": {
                "size": s.pods, "restartPolicy": "RecreateGroupOnPodRestart", "workerTemplate": pod,
            },
        },
    }  # fmt: skip


def _over_nodes(s: PoolServers, rank: str, leader: str) -> list[str]:
    """Words that make servers on several nodes one replica."""
    if s.engine == "sglang":
        return ["--nnodes", str(s.pods), "--node-rank", rank, "--dist-init-addr", f"{leader}:20000"]
    if s.engine == "vllm":
        return ["--nnodes", str(s.pods), "--node-rank", rank, "--master-addr", leader]
    return []  # TensorRT-LLM starts its ranks by MPI


def _service(s: PoolServers) -> Manifest:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": s.name, "labels": _labels(s)},
        "spec": {"selector": {"app": s.name}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
    }  # fmt: skip


def _component(s: PoolServers, image: str) -> Manifest:
    words = s.words
    launch = ["python3", "-m", f"dynamo.{s.engine}"]
    own = words[len(FORMS[s.engine].launch) :]
    flag = "--model" if s.engine == "vllm" else "--model-path"
    own = own if own[0].startswith("--") else [flag, *own]
    if s.engine == "trtllm":
        own = ["--extra-engine-args" if w == FORMS["trtllm"].options_flag else w for w in own]
        own = own[: own.index("--server_role")] if "--server_role" in own else own
    if s.pool.role != "mixed" and "--disaggregation-mode" not in own:
        own = [*own, "--disaggregation-mode", _TRT_ROLES[s.pool.role]]
    pod = _pod(s, [*launch, *own], image, ports=False)
    pod["containers"][0] |= {"command": launch, "args": own}
    component: Manifest = {
        "name": s.name,
        "type": "worker" if s.pool.role == "mixed" else s.pool.role,
        "replicas": s.replicas,
        "scalingAdapter": {},  # lets an autoscaler set the replicas
        "podTemplate": {"metadata": {"annotations": _notes(s)}, "spec": pod},
    }
    if s.pods > 1:
        component["multinode"] = {"nodeCount": s.pods}
    return component


def _llm_service(s: PoolServers, prefill: PoolServers | None) -> Manifest:
    spec: Manifest = {
        "model": {"uri": f"hf://{s.settings.model}", "name": s.settings.model},
        "annotations": _notes(s),
        **_kserve_pool(s),
        "router": {"gateway": {}, "route": {}, "scheduler": {}},
    }
    if prefill is not None:
        spec["prefill"] = {"annotations": _notes(prefill), **_kserve_pool(prefill)}
    return {
        "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
        "metadata": {"name": s.name, "labels": _labels(s)}, "spec": spec,
    }  # fmt: skip


def _kserve_pool(s: PoolServers) -> Manifest:
    parallelism: Manifest = {"tensor": s.settings.tensor_parallel}
    if s.settings.pipeline_parallel > 1:
        parallelism["pipeline"] = s.settings.pipeline_parallel
    if s.settings.data_parallel > 1:
        parallelism |= {"data": s.settings.data_parallel, "dataLocal": max(s.settings.data_parallel // s.pods, 1)}
    if s.settings.expert_parallel > 1:
        parallelism["expert"] = True
    pool: Manifest = {"replicas": s.replicas, "parallelism": parallelism}
    image = FORMS[s.engine].image
    pool["template"] = _pod(s, _served(s), image)
    if s.pods > 1:
        pool["worker"] = _pod(s, [*_served(s), *(["--headless"] if s.engine == "vllm" else [])], image, ports=False)
    return pool


def _inference_pool(name: str, labels: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": dict(labels)}, "targetPorts": [{"number": PORT}],
            "endpointPickerRef": {"name": f"{name}-epp", "port": {"number": 9002}, "failureMode": "FailOpen"},
        },
    }  # fmt: skip


def _endpoint_picker(name: str, split: bool) -> list[Manifest]:
    """llm-d's inference scheduler: the shortest queue, as the simulator routes; prompts to servers of their phase."""
    from planner.studies.deployed_text import yaml_text

    plugins: list[Manifest] = [{"type": "queue-scorer"}, {"type": "max-score-picker"}]
    profile = {"name": "default", "plugins": [{"pluginRef": "queue-scorer"}, {"pluginRef": "max-score-picker"}]}
    profiles = [profile]
    if split:
        plugins += [{"type": "prefill-filter"}, {"type": "decode-filter"}, {"type": "pd-profile-handler"}]
        profiles = [
            {"name": role, "plugins": [{"pluginRef": f"{role}-filter"}, *profile["plugins"]]}
            for role in ("prefill", "decode")
        ]
    config = {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1", "kind": "EndpointPickerConfig", "plugins": plugins,
        "schedulingProfiles": profiles,
    }  # fmt: skip
    labels = {"app": f"{name}-epp"}
    container = {
        "name": "epp", "image": "ghcr.io/llm-d/llm-d-inference-scheduler:v0.4.0",
        "args": ["--pool-name", name, "--config-file", "/config/epp.yaml", "--grpc-port", "9002"],
        "ports": [{"name": "grpc", "containerPort": 9002}],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-epp"},
         "data": {"epp.yaml": yaml_text([config])}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"{name}-epp", "labels": labels},
         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
             "metadata": {"labels": labels},
             "spec": {"containers": [container], "volumes": [{"name": "config", "configMap": {"name": f"{name}-epp"}}]},
         }}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-epp", "labels": labels},
         "spec": {"selector": labels, "ports": [{"name": "grpc", "port": 9002, "targetPort": 9002}]}},
    ]  # fmt: skip
