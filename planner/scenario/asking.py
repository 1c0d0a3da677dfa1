"""What a caller asked for, as one scenario and one catalog that many problems are made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.catalog.catalog import Catalog
from planner.scenario.scenario import Scenario, load_scenario

Source = Scenario | Mapping[str, Any] | str | os.PathLike[str]
Path = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Asked:
    """A scenario with the catalog that its names are looked up in."""

    scenario: Scenario
    catalog: Catalog

    def with_fields(self, **fields: Any) -> Scenario:
        """The scenario with some fields changed."""
        return load_scenario(self.scenario, **fields)


def ask(source: Source | None, catalog: Catalog | Path | Sequence[Path] | None, fields: Mapping[str, Any]) -> Asked:
    """Read a scenario and open its catalog.

    Parameters
    ----------
    source : Scenario, mapping, or path of a YAML file, or None
    catalog : Catalog, or path of an overlay folder, or several, or None
        Paths win over the scenario's own.
    fields : mapping
        Fields of the scenario that win over the source's.

    Raises
    ------
    InputError
        Something in the scenario or the catalog is wrong.
    """
    own = dict(fields)
    if isinstance(catalog, (str, os.PathLike)):
        own["catalog"] = [os.fspath(catalog)]
    elif isinstance(catalog, Sequence):
        own["catalog"] = [os.fspath(path) for path in catalog]
    scenario = load_scenario(source if source is not None else {}, **own)
    opened = catalog if isinstance(catalog, Catalog) else Catalog.default(scenario.catalog)
    return Asked(scenario, opened.choosing(scenario.quotes))
