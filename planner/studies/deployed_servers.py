"""The servers that a plan stands for: what its certificate assumed, pool by pool, as an engine is told it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.catalog.schema import Llm, Runtime
from planner.engine.server_forms import FORMS, Engine, ServerSettings
from planner.engine.server_words import options_of, unsaid, words_of
from planner.engine.settings import sequence_limit, token_budget
from planner.errors import ScenarioError
from planner.latency.memory import MemoryFit, memory_fit
from planner.planning.evaluate import cluster_of, members_and_routes
from planner.planning.plan import Plan, PoolPlan
from planner.pools.configuration import Configuration
from planner.scenario.resolve import Problem

MOST_ON_NODE = 16  # accelerators that one node of a cluster has at most; a machine of more is a rack of trays
ON_TRAY = 4  # accelerators of a node of such a rack, as GB200 NVL72 has them
OPTIONS_FOLDER = "/etc/engine"
RESOURCES: Mapping[str, str] = {
    "nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "google": "google.com/tpu", "intel": "habana.ai/gaudi",
    "aws": "aws.amazon.com/neuron",
}  # fmt: skip
# What NVIDIA's GPU feature discovery labels nodes with (nvidia.com/gpu.product), to find the nodes by.
PRODUCTS: Mapping[str, str] = {
    "a100-sxm-40gb": "NVIDIA-A100-SXM4-40GB", "a100-sxm-80gb": "NVIDIA-A100-SXM4-80GB", "a10g": "NVIDIA-A10G",
    "b200-sxm": "NVIDIA-B200", "h100-nvl": "NVIDIA-H100-NVL", "h100-pcie": "NVIDIA-H100-PCIe",
    "h100-sxm": "NVIDIA-H100-80GB-HBM3", "h200-sxm": "NVIDIA-H200", "l4": "NVIDIA-L4", "l40s": "NVIDIA-L40S",
    "t4": "Tesla-T4",
}  # fmt: skip


@dataclass(frozen=True)
class PoolServers:
    """The servers of one pool.

    Attributes
    ----------
    name : str
        A Kubernetes name: `decode-dgx-h100`.
    pool : PoolPlan
    engine : str
    settings : ServerSettings
    machine : str
        Of one machine, also where a pool takes them in groups.
    accelerator, resource : str
    replicas : int
        Copies of the model over all machines that carry load.
    pods : int
        Nodes that one replica spans.
    per_pod : int
        Accelerators of a pod.
    """

    name: str
    pool: PoolPlan
    engine: Engine
    settings: ServerSettings
    machine: str
    accelerator: str
    resource: str
    replicas: int
    pods: int
    per_pod: int

    @property
    def words(self) -> list[str]:
        """The command of one server."""
        return words_of(self.engine, self.settings, f"{OPTIONS_FOLDER}/{self.name}.yaml")

    @property
    def options(self) -> dict[str, Any]:
        """Its file of options; empty where the command says all."""
        return options_of(self.engine, self.settings)


def engine_of_runtime(runtime: Runtime) -> Engine | None:
    """The engine that a runtime of the catalog describes, by its name; None where that is none known."""
    for engine in FORMS:
        if runtime.name.startswith(engine) or re.match(rf".*\b{engine}\b", runtime.name):
            return engine
    return "vllm" if runtime.name.startswith("splitwise") else None


def servers_of(plan: Plan, problem: Problem, engine: Engine) -> tuple[list[PoolServers], list[str]]:
    """The servers of a plan, and what the engine cannot be told or the plan leaves open.

    Parameters
    ----------
    plan : Plan
    problem : Problem
        Of its scenario, for its machines.
    engine : str

    Raises
    ------
    ScenarioError
        A plan whose steps are those of another engine.
    """
    runs = engine_of_runtime(problem.runtime)
    if runs is not None and runs != engine:
        raise ScenarioError(
            f"the plan assumes {problem.runtime.name}, which is {runs}, not {engine}", where="--for", value=engine,
            rule="a deployment runs what the certificate assumed",
            fix=f"plan again with --runtime {engine}-2026, or deploy for {runs}",
        )  # fmt: skip
    members, _ = members_and_routes(problem, cluster_of(plan))
    notes = [] if runs else [f"{problem.runtime.name} names no engine known: taken to describe {engine}"]
    found = []
    names: dict[str, int] = {}
    for pool, member in zip(plan.pools, members, strict=True):
        configuration = member.configuration
        settings = _settings(problem, pool, configuration, engine)
        notes += unsaid(engine, settings)
        base = _dns(f"{pool.role}-{pool.machine}")
        names[base] = names.get(base, 0) + 1
        name = base if names[base] == 1 else f"{base}-{names[base]}"
        found.append(_servers(name, pool, configuration, settings, engine))
        if configuration.machine.n_accelerators // configuration.machine.group > MOST_ON_NODE:
            notes.append(
                f"{pool.machine} is a rack: its pods are taken to hold {ON_TRAY} accelerators each, as its trays do"
            )
    shortcuts = problem.serving.shortcuts
    if shortcuts.draft_tokens:
        notes.append(
            f"the plan takes {shortcuts.draft_tokens} draft tokens a step as given and names no drafter: add the "
            "engine's speculative decoding with the drafter that was measured"
        )
    if not _hub_name(problem.llm):
        notes.append(f"{problem.llm.name} has no Hugging Face name in the catalog: put the path of its weights")
    if problem.runtime.name.startswith("splitwise"):
        notes.append("splitwise-2023 describes vLLM of 2023: a server of today is quicker than the plan says")
    return found, list(dict.fromkeys(notes))


def _servers(
    name: str, pool: PoolPlan, configuration: Configuration, settings: ServerSettings, engine: Engine
) -> PoolServers:
    machine, layout = configuration.machine, configuration.layout
    of_one = machine.n_accelerators // machine.group
    node = ON_TRAY if of_one > MOST_ON_NODE else of_one
    per_pod = min(layout.accelerators_per_replica, node)
    vendor = configuration.accelerator.vendor.casefold()
    return PoolServers(
        name=name, pool=pool, engine=engine, settings=settings, machine=machine.single_name,
        accelerator=configuration.accelerator.name, resource=RESOURCES.get(vendor, f"{vendor}.com/gpu"),
        replicas=pool.count * pool.replicas_per_machine,
        pods=math.ceil(layout.accelerators_per_replica / per_pod), per_pod=per_pod,
    )  # fmt: skip


def _settings(problem: Problem, pool: PoolPlan, configuration: Configuration, engine: Engine) -> ServerSettings:
    llm, runtime, layout = problem.llm, problem.runtime, configuration.layout
    accelerator = configuration.accelerator
    fit = memory_fit(llm, accelerator, runtime, layout)
    longest = math.ceil(min(problem.need.longest_request_tokens, llm.max_context_tokens))
    return ServerSettings(
        model=_hub_name(llm) or llm.name,
        role=pool.role,
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        data_parallel=layout.attention_data_parallel,
        expert_parallel=layout.expert_parallel,
        max_sequences=sequence_limit(runtime, accelerator),
        max_tokens=token_budget(runtime, accelerator),
        chunked=runtime.batching.prompts == "chunked",
        prefix_cache=problem.serving.caches_prefixes,
        memory_fraction=_memory_fraction(engine, runtime, fit),
        kv_precision="auto" if layout.kv_precision == llm.kv_precision else layout.kv_precision,
        quantization="none" if layout.precision == llm.weight_precision else layout.precision,
        max_length=longest,
    )


def _memory_fraction(engine: Engine, runtime: Runtime, fit: MemoryFit) -> float:
    """What the engine is told so that as much is left for KV cache as the plan took (`ServerSettings`)."""
    kv = max(fit.capacity_bytes - fit.needed_bytes, 0.0)
    if engine == "sglang":
        return round((fit.weight_bytes + kv) / fit.capacity_bytes, 3)
    if engine == "trtllm":
        return round(kv / max(fit.capacity_bytes - fit.weight_bytes - fit.activation_bytes, 1.0), 3)
    if runtime.memory_use.reserve_of == "memory" and runtime.memory_reserve > 0:
        return round(1.0 - runtime.memory_reserve, 3)
    return round(1.0 - fit.reserve_bytes / fit.capacity_bytes, 3)


def _hub_name(llm: Llm) -> str:
    """`meta-llama/Llama-3.1-70B` out of the source of a model's entry; empty where it has none."""
    found = re.search(r"huggingface\.co/([\w.-]+/[\w.-]+)", llm.source or "")
    return found[1] if found else ""


def _dns(text: str) -> str:
    """A text as a name that Kubernetes takes."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:48].strip("-")


def served_name(servers: Sequence[PoolServers]) -> str:
    """Name of the model as a Kubernetes name."""
    return _dns(servers[0].settings.model.rpartition("/")[2])
