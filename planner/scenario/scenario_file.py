"""Scenario files read: aliases, paths beside the file, and errors with the line of the field."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from planner.catalog.loading import Layer, read_layer
from planner.errors import ScenarioError, near_misses
from planner.parsing import is_file
from planner.scenario.scenario import LOADS, TRACE_SUFFIXES, Scenario


def load_scenario(source: Scenario | Mapping[str, Any] | str | os.PathLike[str], **overrides: Any) -> Scenario:
    """Turn what the caller has into a Scenario.

    Parameters
    ----------
    source : Scenario, mapping, or path of a YAML file
    **overrides
        Fields that win over the source's.

    Raises
    ------
    ScenarioError
        An unknown field (with near misses), a value that cannot be used (with the field and the rule).
    """
    if isinstance(source, Scenario):
        if not overrides:
            return source
        data: dict[str, Any] = {k: getattr(source, k) for k in source.model_fields_set}
    elif isinstance(source, Mapping):
        data = dict(source)
    elif isinstance(source, (str, os.PathLike)):
        _refuse_trace(Path(source))
        layer = read_layer(Path(source), error=ScenarioError)
        # Paths inside a scenario file are relative to it.
        return load_scenario(_validated(resolve_paths(dict(layer.data), layer.path.parent), layer), **overrides)
    else:
        raise ScenarioError(
            "not a scenario", value=type(source).__name__, rule="a Scenario, a dict, or the path of a YAML file"
        )
    _refuse_twins(overrides)
    loads = {name for field in LOADS for name in ALIASES.get(field, (field,))}
    if loads & set(overrides):
        # What is given anew takes the place of any load that the source has, in whichever words.
        for name in loads | (set() if "users" in overrides else {"think_time", "think_time_s"}):
            data.pop(name, None)
    for name, value in overrides.items():
        for alias in ALIASES.get(name, (name,)):
            data.pop(alias, None)
        data[name] = value
    return _validated(data, None)


def at_rate(fields: Mapping[str, Any], rate_per_s: float) -> dict[str, Any]:
    """Fields of a scenario at a rate of requests, in whichever words they say how much comes."""
    others = {name for field in (*LOADS, "think_time_s") for name in ALIASES.get(field, (field,))}
    return {name: value for name, value in fields.items() if name not in others} | {"rate_per_s": rate_per_s}


def _refuse_trace(path: Path) -> None:
    """Refuse a file of requests where a scenario belongs, before it is read as one."""
    if path.suffix.casefold() in (".csv", ".jsonl") and is_file(path):
        raise ScenarioError(
            "this is a trace, not a scenario", where=str(path), rule="a scenario is a YAML file of its fields",
            fix=f"give it as the workload: --workload {path}",
        )  # fmt: skip


def scenario_in(layer: Layer, field: str) -> Scenario:
    """The scenario whose fields lie under one field of a file; left out, every default.

    Raises
    ------
    ScenarioError
        As `load_scenario`.
    """
    data = layer.data.get(field, {})
    if not isinstance(data, dict):
        raise ScenarioError(
            f"{field} must have the fields of a scenario", where=f"{layer.path}:{layer.line_of((field,))}",
            value=repr(data),
        )  # fmt: skip
    return _validated(resolve_paths(dict(data), layer.path.parent), layer, (field,))


def canonical_value(field: str, value: object, *, from_file: bool = False) -> Any:
    """A value of a field of a scenario as `Scenario.dump` has it; in files, quantities must have their units.

    Raises
    ------
    ScenarioError
        The field cannot have it.
    """
    try:
        return Scenario.model_validate({field: value}, context={"from_file": from_file, "alone": True}).dump()[field]
    except ValidationError as error:
        raise _as_scenario_error(error, None) from None


def _validated(data: Mapping[str, Any], layer: Layer | None, under: tuple[str, ...] = ()) -> Scenario:
    _refuse_twins(data, layer, under)
    try:
        return Scenario.model_validate(data, context={"from_file": layer is not None})
    except ValidationError as error:
        raise _as_scenario_error(error, layer, under) from None


# Name -> every name of the same field, the short one first and the field's own last.
ALIASES = {
    "rate": ("rate", "rate_per_s"),
    "rate_per_s": ("rate", "rate_per_s"),
    "max_cost": ("max_cost", "max_cost_usd_per_hour"),
    "max_power": ("max_power", "max_power_w"),
    "electricity": ("electricity", "electricity_usd_per_kwh"),
    "think_time": ("think_time", "think_time_s"),
}


def _refuse_twins(data: Mapping[str, Any], layer: Layer | None = None, under: tuple[str, ...] = ()) -> None:
    """Refuse a field that is given under both of its names."""
    for short, names in ALIASES.items():
        if names[0] == short and all(name in data for name in names):
            raise ScenarioError(
                f"{names[0]} and {names[1]} are one field, given twice",
                where=f"{layer.path}:{layer.line_of((*under, names[1]))}" if layer else names[1],
                value=f"{data[names[0]]} and {data[names[1]]}",
                fix="leave one of them out",
            )


def is_trace_file(workload: str) -> bool:
    """Whether a workload must be the path of a trace, by its look; what does not look like one may still be one."""
    return Path(workload).suffix.lower() in TRACE_SUFFIXES or "/" in workload


def resolve_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fields of a scenario as a file in `folder` has them, with paths relative to it made whole."""

    def resolve(value: Any) -> Any:
        return str(folder / value) if isinstance(value, str) and value else value

    workload = data.get("workload")
    if isinstance(workload, str) and workload and (is_trace_file(workload) or is_file(folder / workload)):
        data["workload"] = resolve(workload)
    if "profile" in data:
        data["profile"] = resolve(data["profile"])
    if "catalog" in data:
        overlays = data["catalog"] if isinstance(data["catalog"], (list, tuple)) else [data["catalog"]]
        data["catalog"] = [resolve(v) for v in overlays]
    return data


def _as_scenario_error(error: ValidationError, layer: Layer | None, under: tuple[str, ...] = ()) -> ScenarioError:
    """The first fault as an error; `where` is file:line if the value came from the file, else the field."""
    first = error.errors(include_url=False)[0]
    path = first["loc"]
    field = ".".join(str(part) for part in path) or "scenario"
    more = error.error_count() - 1
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    value = first.get("input")
    suggestions: list[str] = []
    if first["type"] == "extra_forbidden":
        suggestions = near_misses(field, [*Scenario.model_fields, *(a for names in ALIASES.values() for a in names)])
        message = "unknown field"
    elif first["type"] == "tuple_type":
        message = "must be text, or a list of texts"
    elif first["type"] == "literal_error":
        suggestions = near_misses(str(value), re.findall(r"'([^']+)'", message))
    line = (layer.line_of((*under, *path)) or layer.line_of((*under, *path[:1])) or 1) if layer else None
    return ScenarioError(
        (f"{field}: {message}" if layer else message) + (f" (and {more} more)" if more else ""),
        where=f"{layer.path}:{line}" if layer else field,
        value=None if isinstance(value, (Mapping, BaseModel)) else repr(value),
        suggestions=list(dict.fromkeys(suggestions)),
    )
