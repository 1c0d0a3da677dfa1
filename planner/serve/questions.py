"""Questions as data: the fields that each takes, and the command that answers it.

Whoever asks with fields gets what who types the command gets, byte for byte: it is the command that answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from planner.errors import InputError, UnknownNameError
from planner.scenario.cluster import Cluster
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import resolve_paths

Fields = dict[str, Any]
Parts = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Question:
    """One thing that can be asked.

    Attributes
    ----------
    name, title, description : str
        As an assistant reads them.
    schema : dict
        JSON Schema of the fields.
    command : str
        Words of the command that answers.
    parts : callable
        Options and arguments of the command, of the fields, which it takes out of the mapping given, and of the folder
        that files for the command are written into. What is left over is a scenario.
    scenario : "argument", "option" or None
        How the command takes the file of a scenario; None: it takes none.
    """

    name: str
    title: str
    description: str
    schema: Fields
    command: str
    parts: Callable[[Fields, Path], Parts]
    scenario: Literal["argument", "option"] | None


def command_of(question: Question, fields: Mapping[str, Any], folder: Path) -> list[str]:
    """Words of the command that answers a question, after the files that it reads are written.

    Parameters
    ----------
    question : Question
    fields : mapping
    folder : Path
        Empty, of this question alone.

    Raises
    ------
    InputError
        A field that the question does not have, or one that it needs and is not there.
    """
    left = dict(fields)
    for name in question.schema.get("required", ()):
        if left.get(name) in (None, ""):
            raise InputError("missing field", where=name, rule=question.schema["properties"][name]["description"])
    options, arguments = question.parts(left, folder)
    if question.scenario is None:
        for name in left:
            raise UnknownNameError.of("field", name, list(question.schema["properties"]), where=name)
    elif left:
        file = _written(folder / "scenario.json", resolve_paths(left, Path.cwd()))
        if question.scenario == "option":
            options = [*options, f"--scenario={file}"]
        else:
            arguments = [*arguments, file]
    return [*question.command.split(), "--format", "json", *options, "--", *arguments]


def questions() -> dict[str, Question]:
    """All questions by name."""
    scenario = Scenario.model_json_schema(mode="validation")
    pools = Cluster.model_json_schema(mode="validation")
    definitions = pools.get("$defs", {}) | scenario.get("$defs", {})
    of_pools = {"pools": {**pools["properties"]["pools"], "description": "Pools of the cluster"}}
    plan = {"plan_result": {"type": "object", "description": "Plan as `optimize` answers it, in the place of pools"}}

    def schema(own: Fields, required: tuple[str, ...] = ()) -> Fields:
        return {
            "type": "object",
            "properties": own | scenario["properties"],
            "$defs": definitions,
            "required": list(required),
            "additionalProperties": False,
        }

    found = [
        Question(
            "optimize", "Find the best cluster",
            "Find the machines, counts and roles that serve a workload within latency objectives at the least cost or"
            " power, proven and simulated. Takes the fields of a scenario; all may be left out.",
            schema({}), "optimize --quiet", lambda fields, folder: ([], []), "argument",
        ),
        Question(
            "evaluate", "Predict what a cluster does",
            "Predict latencies, utilisation, cost and headroom of a given cluster under a workload.",
            schema(of_pools, ("pools",)), "evaluate --quiet",
            lambda fields, folder: ([], [_file_of(fields, folder)]), "option",
        ),
        Question(
            "cost", "Cost a cluster",
            "Cost a cluster or plan owned, reserved, on demand and spot over a horizon, and when owning pays.",
            schema(of_pools | plan | _COST_FIELDS), "cost --quiet",
            lambda fields, folder: (_cost_options(fields), [_file_of(fields, folder)]), "option",
        ),
        Question(
            "why", "Why a machine or design was not chosen",
            "Say why a machine or a design is not in the best plan for a scenario, and what it would take.",
            schema({"subject": {"type": "string", "description": "Machine or design of the catalog, or `all`"}},
                   ("subject",)),
            "why --quiet", lambda fields, folder: ([], [str(fields.pop("subject"))]), "argument",
        ),
        Question(
            "catalog_list", "List the catalog",
            "List the names of all entries of the hardware and model catalog, or one kind with its main figures.",
            {
                "type": "object",
                "properties": {
                    "kind": {"type": "string", "description": "Kind of entries, such as machines, models or prices"}
                },
                "additionalProperties": False,
            },
            "catalog list", lambda fields, folder: ([], _given(fields.pop("kind", None))), None,
        ),
        Question(
            "catalog_show", "Show an entry of the catalog",
            "Show every field of one entry of the catalog with its unit and source, and the prices of a machine.",
            {
                "type": "object",
                "properties": {"name": {"type": "string", "description": "Name of the entry"}},
                "required": ["name"],
                "additionalProperties": False,
            },
            "catalog show", lambda fields, folder: ([], _given(fields.pop("name"))), None,
        ),
    ]  # fmt: skip
    return {question.name: question for question in found}


_COST_FIELDS: Fields = {
    "horizon": {"type": "string", "description": "Time of the totals, such as `3 years` or `18 months`"},
    "use": {"type": "string", "description": "Share of all hours that machines are on, such as `60 %`"},
    "cost_of_capital": {"type": "string", "description": "Rate a year for present values, such as `8 %`"},
    "start": {"type": "string", "description": "First day as a date, such as 2027-01-31"},
}


def _cost_options(fields: Fields) -> list[str]:
    words = []
    for name in _COST_FIELDS:
        value = fields.pop(name, None)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    return words


def _file_of(fields: Fields, folder: Path) -> str:
    """File with the pools or the plan that a question is about."""
    pools, plan = fields.pop("pools", None), fields.pop("plan_result", None)
    if (pools is None) is (plan is None):
        raise InputError("a cluster is given once", where="pools", rule="either `pools` or `plan_result`")
    return _written(folder / "cluster.json", {"pools": pools} if plan is None else plan)


def _given(value: object) -> list[str]:
    return [] if value is None else [str(value)]


def _written(path: Path, data: object) -> str:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return str(path)
