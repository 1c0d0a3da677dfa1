"""Reading a deployment back: the pools of a bundle out of its own manifests, whoever edited them.

What `planner deploy` writes is plain Kubernetes, Dynamo, KServe and llm-d; here any of them is searched for pods that
start a serving engine, so that machines, counts, degrees and settings are those that would run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.catalog.catalog import Catalog
from planner.engine.server_forms import ServerSettings
from planner.engine.server_words import engine_of, settings_of
from planner.errors import PlannerError, ScenarioError
from planner.parsing import check_text, load_json, read_bytes

PLAN_FILE = "plan.json"
MOST_VALUES = 100_000  # of a manifest; a bundle has hundreds
PREFIX = "splitwise-planner"  # of labels and annotations
MACHINE_LABEL = f"{PREFIX}/machine"
NOTES = ("count", "spares", "requests-per-s", "takes-from", "machine")


@dataclass(frozen=True)
class Server:
    """The servers of one pool as a manifest has them.

    Attributes
    ----------
    where : str
        File and object.
    settings : ServerSettings
    replicas : int
        Copies of the model.
    machine : str
        From the node selector.
    notes : mapping of str to str
        Annotations of this planner: spares, load, senders.
    """

    where: str
    settings: ServerSettings
    replicas: int
    machine: str
    notes: Mapping[str, str] = field(default_factory=dict)


def is_bundle(path: Path) -> bool:
    """Whether a path is a folder that a deployment may lie in."""
    return os.path.isdir(path)


def scenario_of_bundle(folder: Path) -> dict[str, Any]:
    """The scenario of the plan that a deployment was made from, at the rate that it carries; empty without a plan.

    Raises
    ------
    ScenarioError
        A plan that cannot be read.
    """
    path = folder / PLAN_FILE
    if not os.path.isfile(path):
        return {}
    try:
        data = load_json(_text(path), str(path), ScenarioError)
        scenario, rate_per_s = dict(data["scenario"]), float(data["rate_per_s"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ScenarioError("the plan of this deployment cannot be read", where=str(path), value=repr(error),
                            fix="write the bundle again, or give --scenario") from None  # fmt: skip
    from planner.scenario.scenario_file import at_rate

    return at_rate(scenario, rate_per_s)


def pools_of_bundle(folder: Path, catalog: Catalog) -> tuple[list[dict[str, Any]], list[Server]]:
    """The pools that a deployment would run, as `Cluster` takes them, and what each was read from.

    Raises
    ------
    ScenarioError
        No server in it; a machine that is not known or not named; replicas that fill no whole machine.
    """
    servers = list(servers_in(folder))
    if not servers:
        raise ScenarioError(
            "no pod in this folder starts a serving engine that is known", where=str(folder),
            rule="manifests as planner deploy writes them", fix="planner deploy plan.json --for vllm --output FOLDER",
        )  # fmt: skip
    return [_pool(server, catalog) for server in servers], servers


def _pool(server: Server, catalog: Catalog) -> dict[str, Any]:
    machine = catalog.machine(server.machine, where=server.where)
    settings = server.settings
    of_replica = settings.ranks * settings.pipeline_parallel
    if of_replica > machine.n_accelerators:
        group, rest = divmod(of_replica, machine.n_accelerators)
        name, count, left = f"{server.machine}@{group}", server.replicas, rest
    else:
        of_machine = machine.n_accelerators // of_replica
        name = server.machine
        count, left = divmod(server.replicas, of_machine)
    if left or not count:
        raise ScenarioError(
            f"{server.replicas} replicas of {of_replica} accelerators fill no whole number of {server.machine}",
            where=server.where, rule=f"one holds {machine.n_accelerators} accelerators",
        )  # fmt: skip
    pool: dict[str, Any] = {
        "role": settings.role, "machine": name, "count": count, "tensor_parallel": settings.tensor_parallel,
        "pipeline_parallel": settings.pipeline_parallel, "expert_parallel": settings.expert_parallel,
        "attention_data_parallel": settings.data_parallel,
    }  # fmt: skip
    try:
        if "spares" in server.notes:
            pool["spares"] = int(server.notes["spares"])
        if "requests-per-s" in server.notes:
            pool["rate_per_s"] = float(server.notes["requests-per-s"])
    except ValueError as error:
        raise ScenarioError("an annotation that is no number", where=server.where, value=str(error)) from None
    if server.notes.get("takes-from"):
        pool["takes_from"] = server.notes["takes-from"]
    return pool


def servers_in(folder: Path) -> Iterator[Server]:
    """Yield the servers of every manifest of a folder, in the order of their files.

    Raises
    ------
    ScenarioError
        A file that is no YAML, or a command that cannot be read; `where` is the file and the object.
    """
    documents = [(path, d) for path in sorted(folder.rglob("*.yaml")) for d in _documents(path) if isinstance(d, dict)]
    files = {
        (_name(d), str(name)): str(text)
        for _, d in documents
        if d.get("kind") == "ConfigMap"
        for name, text in _mapping(d.get("data")).items()
    }
    for path, document in documents:
        where = f"{path.relative_to(folder.parent)}: {document.get('kind')} {_name(document)}"
        for found in _pods(document, {"replicas": None, "notes": {}}):
            server = _server(found, where, files)
            if server is not None:
                yield server


def _documents(path: Path) -> list[Any]:
    documents = _loaded(_text(path), str(path))
    waiting, n_values = list(documents), 0
    while waiting:  # an alias counts as often as it stands for something, and one to what holds it without end
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        n_values += 1
        if n_values > MOST_VALUES:
            raise ScenarioError("more values than a manifest has", where=str(path), rule=f"at most {MOST_VALUES:,}")
    return documents


def _text(path: Path) -> str:
    try:
        return read_bytes(path, ScenarioError).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ScenarioError(f"cannot read the file: {reason}", where=str(path)) from None


def _loaded(text: str, where: str) -> list[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    check_text(text, where, ScenarioError)
    try:
        # Not the pure one: that of C reads several times faster, where it is installed.
        return list(YAML(typ="safe").load_all(text))
    except (YAMLError, ValueError, TypeError) as error:  # a date that is none; a list as a key
        raise ScenarioError("not YAML", where=where, value=(str(error).splitlines() or [""])[0]) from None


def _mapping(value: object) -> dict[Any, Any]:
    """What should be a mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list[Any]:
    """What should be a list, or an empty one."""
    return value if isinstance(value, list) else []


def _name(document: Mapping[str, Any]) -> str:
    return str(_mapping(document.get("metadata")).get("name"))


def _pods(node: Any, above: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every pod specification below, with the replicas and annotations nearest above it."""
    if isinstance(node, list):
        for item in node:
            yield from _pods(item, above)
        return
    if not isinstance(node, dict):
        return
    here = dict(above)
    if isinstance(node.get("replicas"), int) and not isinstance(node["replicas"], bool):
        here["replicas"] = node["replicas"]
    for holder in (node.get("metadata"), node):
        notes = holder.get("annotations") if isinstance(holder, dict) else None
        if isinstance(notes, dict):
            own = {k.partition("/")[2]: str(v) for k, v in notes.items() if str(k).startswith(f"{PREFIX}/")}
            here["notes"] = {**here["notes"], **own}
    if isinstance(node.get("containers"), list):
        yield here | {"pod": node}
        return
    # The leader of a group has the whole command; its workers say it again.
    skipped = {"workerTemplate"} if "leaderTemplate" in node else {"worker"} if "template" in node else set()
    for key, value in node.items():
        if key not in skipped and key not in ("annotations", "labels"):
            inner = here
            if key == "prefill" and isinstance(value, dict):  # KServe: a pool of its own, with replicas of its own
                inner = here | {"replicas": None, "notes": {}}
            yield from _pods(value, inner)


def _server(found: Mapping[str, Any], where: str, files: Mapping[tuple[str, str], str]) -> Server | None:
    pod = found["pod"]
    for container in map(_mapping, pod["containers"]):
        words = [str(w) for w in [*_listed(container.get("command")), *_listed(container.get("args"))]]
        if engine_of(words) is None:
            continue
        machine = _mapping(pod.get("nodeSelector")).get(MACHINE_LABEL)
        if not machine:
            raise ScenarioError(
                "the pods name no machine", where=where, rule=f"nodeSelector has the label {MACHINE_LABEL}",
                fix=f"add it, such as {MACHINE_LABEL}: dgx-h100",
            )  # fmt: skip
        try:
            settings = settings_of(words, _options(pod, words, files))
        except (ValueError, TypeError, OverflowError, PlannerError) as error:
            raise ScenarioError("the server's command cannot be read", where=where, value=str(error)) from None
        replicas = 1 if found["replicas"] is None else int(found["replicas"])
        return Server(where, settings, replicas, str(machine), found["notes"])
    return None


def _options(pod: Mapping[str, Any], words: list[str], files: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The file of options that a command names, out of the ConfigMap that is mounted there."""
    mounted = {str(_mapping(_mapping(v).get("configMap")).get("name")) for v in _listed(pod.get("volumes"))}
    for word in words:
        name = word.rpartition("/")[2]
        for (config, file), text in files.items():
            if config in mounted and file == name:
                return _mapping(next(iter(_loaded(text, f"{config}: {file}")), None))
    return {}
