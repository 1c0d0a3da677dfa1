"""How the fields of a form are laid out: groups, and what the catalog or the scenario lets one choose."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Llm, Machine, Runtime, Workload
from planner.scenario.scenario import Scenario
from planner.serve.pages.form import Form, OptionField
from planner.serve.settings import Settings

# The first three groups are open, the others are opened by who wants them; what no group names goes into the last.
_GROUPS = (
    ("What is served", ("model", "workload", "rate", "isl", "osl", "users", "think_time")),
    ("How well", ("slo",)),
    ("On what", ("machine", "plan", "objective", "design", "max_cost")),
    ("More of the load", ("concurrency", "day", "size_for", "columns", "drop_failed", "prompt_output_ratio",
                          "arrival_cv2", "prefix_cached")),
    ("Prices and energy", ("prices", "quotes", "region", "electricity", "pue")),
    ("Limits", ("max_power", "max_machines", "max_total_machines", "max_rack_units", "max_pools", "spares",
                "preset")),
    ("Proof and solver", ("verify", "verify_runs", "verify_requests", "arrivals", "exact", "time_limit", "solver",
                          "seed")),
)  # fmt: skip
_OPEN = 3
_OTHERS = "Serving software and network"
_OF_CATALOG: dict[str, type] = {"model": Llm, "workload": Workload, "runtime": Runtime, "reference_machine": Machine}

Widget = Literal["text", "choice", "flag", "machines"]


@dataclass(frozen=True)
class Drawn:
    """A field as a page draws it.

    Attributes
    ----------
    field : OptionField
    widget : str
    value : str
        What was written; several values are separated by spaces.
    chosen : tuple of str
        The same, one by one.
    choices : tuple of str
        Of a choice.
    error : str
        Why the value was refused; empty if it was not.
    """

    field: OptionField
    widget: Widget
    value: str
    chosen: tuple[str, ...]
    choices: tuple[str, ...]
    error: str

    @property
    def label(self) -> str:
        """Name of the field as its label says it."""
        name = self.field.name
        return name.upper() if len(name) <= 3 else name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Group:
    """Fields that belong together."""

    title: str
    is_open: bool
    fields: tuple[Drawn, ...]


def groups_of(
    form: Form, values: Mapping[str, Any], settings: Settings, error: Mapping[str, Any] | None
) -> list[Group]:
    """The form of a plan, filled in.

    Parameters
    ----------
    form : tuple of OptionField
    values : mapping
        Fields that were written.
    settings : Settings
    error : mapping or None
        What the command refused, as its JSON says.
    """
    by_name = {field.name: field for field in form}
    named = {name for _, names in _GROUPS for name in names}
    others = tuple(field.name for field in form if field.name not in named)
    catalog = _catalog(settings)
    found = []
    for n, (title, names) in enumerate((*_GROUPS, (_OTHERS, others))):
        drawn = tuple(_drawn(by_name[name], values, catalog, error) for name in names if name in by_name)
        is_open = n < _OPEN or any(field.value or field.error for field in drawn)
        found.append(Group(title, is_open, drawn))
    return found


def _drawn(field: OptionField, values: Mapping[str, Any], catalog: Catalog, error: Mapping[str, Any] | None) -> Drawn:
    value = values.get(field.name, "")
    chosen = tuple(map(str, value)) if isinstance(value, list) else (str(value),) if value else ()
    choices = list(field.choices) or list(_choices(field.name, catalog))
    if field.name == "machine":
        widget: Widget = "machines"
        choices.sort(key=lambda name: name not in chosen)  # stable: those that are chosen are seen first
    elif field.is_flag:
        widget = "flag"
    else:
        widget = "choice" if choices and not field.is_repeatable else "text"
    if widget == "choice" and chosen and chosen[0] not in choices:
        choices.append(chosen[0])  # so that the page shows what was refused
    wrong = error is not None and str(error.get("where") or "").split("=")[0] == field.option
    said = str(error.get("what") or "refused") if wrong and error is not None else ""
    return Drawn(field, widget, " ".join(chosen), chosen, tuple(choices), said)


def _choices(name: str, catalog: Catalog) -> Iterator[str]:
    kind = Machine if name == "machine" else _OF_CATALOG.get(name)
    if kind is not None:
        yield from sorted(catalog.names(kind))
    else:
        yield from _literals().get(name, ())


@cache
def _literals() -> dict[str, tuple[str, ...]]:
    """Words of the fields of a scenario that take no others."""
    schema = Scenario.model_json_schema(mode="validation")
    found: dict[str, tuple[str, ...]] = {}
    for name, part in schema["properties"].items():
        options = [part, *part.get("anyOf", ())]
        options += [schema["$defs"][o["$ref"].rpartition("/")[2]] for o in options if "$ref" in o]
        words = [word for option in options for word in option.get("enum", ()) if isinstance(word, str)]
        words += [option["const"] for option in options if isinstance(option.get("const"), str)]
        if words:
            found[name] = tuple(words)
    return found


def _catalog(settings: Settings) -> Catalog:
    """The catalog of this server; names are those of files, so that nothing is read."""
    return Catalog.default(overlays_of(settings))


def overlays_of(settings: Settings) -> list[Path]:
    """Overlay folders that questions are answered with: one that nothing was written into is none yet."""
    overlay = settings.overlay
    is_used = overlay is not None and os.path.isdir(overlay) and any(overlay.iterdir())
    return [*settings.catalogs, *([overlay] if is_used and overlay is not None else [])]


def names_of(settings: Settings, kind: type) -> list[str]:
    """Names of one kind of entries, in order."""
    return sorted(_catalog(settings).names(kind))
