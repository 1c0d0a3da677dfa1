"""Fleet files read into a fleet: aliases, paths beside the file, errors with their line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ValidationError,
)

from planner.catalog.loading import Layer, read_layer
from planner.errors import ScenarioError, near_misses
from planner.parsing import is_file
from planner.portfolio.batch import BatchWork
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_workload import DayPart, DemandScenario, FleetWorkload
from planner.portfolio.sites import Site
from planner.scenario.scenario_file import is_trace_file


def load_fleet(source: Fleet | Mapping[str, Any] | str | os.PathLike[str], **overrides: Any) -> Fleet:
    """Turn what the caller has into a Fleet.

    Parameters
    ----------
    source : Fleet, mapping, or path of a YAML file
    **overrides
        Fields that win over the source's.

    Raises
    ------
    ScenarioError
        An unknown field (with near misses), a value that cannot be used (with file:line and the rule).
    """
    if isinstance(source, (str, os.PathLike)):
        layer = read_layer(Path(source), error=ScenarioError)
        data = _resolve_paths(dict(layer.data), layer.path.parent)
        fleet = _validated(data, layer)
        return load_fleet(fleet, **overrides) if overrides else fleet
    if isinstance(source, Fleet):
        if not overrides:
            return source
        data = {k: getattr(source, k) for k in source.model_fields_set}
    elif isinstance(source, Mapping):
        data = dict(source)
    else:
        raise ScenarioError(
            "not a fleet", value=type(source).__name__, rule="a Fleet, a dict, or the path of a YAML file"
        )
    for name, value in overrides.items():
        for alias in (name, *(a for pair in _ALIASES if name in pair for a in pair)):
            data.pop(alias, None)
        data[name] = value
    return _validated(data, None)


_ALIASES = tuple(
    tuple(str(choice) for choice in field.validation_alias.choices[::-1])
    for field in Fleet.model_fields.values()
    if isinstance(field.validation_alias, AliasChoices)
)


def _validated(data: Mapping[str, Any], layer: Layer | None) -> Fleet:
    for short, full in _ALIASES:
        if short in data and full in data:
            raise ScenarioError(
                f"{short} and {full} are one field, given twice",
                where=f"{layer.path}:{layer.line_of((full,))}" if layer else full,
                fix="leave one of them out",
            )
    try:
        return Fleet.model_validate(data, context={"from_file": layer is not None})
    except ValidationError as error:
        raise _as_scenario_error(error, layer) from None


def _resolve_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths inside a file are relative to it."""

    def resolved(mapping: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(mapping)
        trace = found.get("workload")
        if isinstance(trace, str) and trace and (is_trace_file(trace) or is_file(folder / trace)):
            found["workload"] = str(folder / trace)
        if isinstance(found.get("profile"), str) and found["profile"]:
            found["profile"] = str(folder / found["profile"])
        return found

    data = resolved(data)
    if isinstance(data.get("workloads"), Mapping):
        data["workloads"] = {
            name: resolved(own) if isinstance(own, Mapping) else own for name, own in data["workloads"].items()
        }
    if "catalog" in data:
        overlays = data["catalog"] if isinstance(data["catalog"], (list, tuple)) else [data["catalog"]]
        data["catalog"] = [str(folder / v) if isinstance(v, str) and v else v for v in overlays]
    return data


def _as_scenario_error(error: ValidationError, layer: Layer | None) -> ScenarioError:
    """The first fault as an error; `where` is file:line if the value came from the file, else the field."""
    first = error.errors(include_url=False)[0]
    path = tuple(part for part in first["loc"] if part not in _BRANCHES)
    field = ".".join(str(part) for part in path) or "fleet"
    more = error.error_count() - 1
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    value = first.get("input")
    suggestions: list[str] = []
    if first["type"] == "extra_forbidden":
        suggestions = near_misses(str(path[-1]), _fields_at(path[:-1]))
        message = "unknown field"
    elif first["type"] == "literal_error":
        suggestions = near_misses(str(value), re.findall(r"'([^']+)'", message))
    elif first["type"] == "missing":
        message, value = "is missing", None
    line = None
    if layer:
        line = next((n for i in range(len(path), 0, -1) if (n := layer.line_of(path[:i])) is not None), 1)
    return ScenarioError(
        (f"{field}: {message}" if layer else message) + (f" (and {more} more)" if more else ""),
        where=f"{layer.path}:{line}" if layer else field,
        value=None if value is None or isinstance(value, (Mapping, BaseModel)) else repr(value),
        suggestions=list(dict.fromkeys(suggestions)),
    )


# What pydantic puts into a path for the branch of a union that it tried.
_BRANCHES = ("literal['separate','shared','auto']", "tuple[tuple[str, ...], ...]")


def _fields_at(path: tuple[str | int, ...]) -> list[str]:
    """Names that a field may have below `path`."""
    kind: type[BaseModel] = Fleet
    for part in path:
        if part == "workloads":
            kind = FleetWorkload
        elif part == "batch":
            kind = BatchWork
        elif part == "scenarios":
            kind = DemandScenario
        elif part == "sites":
            kind = Site
        elif part == "day":
            kind = DayPart
    aliases = [str(a) for f in kind.model_fields.values() if isinstance(f.validation_alias, AliasChoices)
               for a in f.validation_alias.choices]  # fmt: skip
    return [*kind.model_fields, *aliases]
