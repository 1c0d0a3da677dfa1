"""What callers may hand over, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as PathOnDisk
from typing import Any

from planner.catalog.catalog import Catalog
from planner.scenario.bundle import is_bundle, pools_of_bundle, scenario_of_bundle
from planner.scenario.bundle_settings import settings_asked_for
from planner.scenario.changes import Change, without_limits
from planner.scenario.cluster import Cluster, read_cluster, read_cluster_file
from planner.scenario.pricing import priced_catalog
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario

Path = str | os.PathLike[str]
ScenarioLike = Scenario | Mapping[str, Any] | str | os.PathLike[str]
CatalogLike = Catalog | Path | Sequence[Path] | None
ClusterLike = Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Asked:
    """A scenario with the catalog that its names are looked up in."""

    scenario: Scenario
    catalog: Catalog

    def with_fields(self, **fields: Any) -> Asked:
        """The same with some fields changed."""
        return Asked(load_scenario(self.scenario, **fields), self.catalog)

    def with_change(self, change: Change) -> Asked:
        """The same with something else in the scenario."""
        return Asked(change.applied(self.scenario), self.catalog)

    def resolved(self) -> Problem:
        """The problem.

        Raises
        ------
        PlannerError
            As `resolve`.
        """
        return resolve(self.scenario, self.catalog)


def ask(source: ScenarioLike | None, catalog: CatalogLike, fields: Mapping[str, Any]) -> Asked:
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
    opened, own = opened_catalog(catalog, fields)
    scenario = load_scenario(source if source is not None else {}, **own)
    return Asked(scenario, priced_catalog(opened or Catalog.default(scenario.catalog), scenario))


def catalog_of(catalog: CatalogLike, overlays: Sequence[str] = ()) -> Catalog:
    """A catalog that is open already, or the built-in one under overlays: those given, else those of a scenario."""
    opened, own = opened_catalog(catalog, {"catalog": overlays})
    return opened or Catalog.default(own["catalog"])


def opened_catalog(catalog: CatalogLike, fields: Mapping[str, Any]) -> tuple[Catalog | None, dict[str, Any]]:
    """A catalog that is open already, or its overlays as a field of the scenario."""
    if isinstance(catalog, (str, os.PathLike)):
        return None, dict(fields) | {"catalog": [os.fspath(catalog)]}
    if isinstance(catalog, Sequence):
        return None, dict(fields) | {"catalog": [os.fspath(path) for path in catalog]}
    return catalog, dict(fields)


def cluster_and_scenario(
    cluster: ClusterLike,
    scenario: ScenarioLike | None,
    catalog: CatalogLike,
    fields: Mapping[str, Any],
) -> tuple[Cluster, Asked]:
    """A given cluster, and the scenario it is to serve without what only matters to a search."""
    if isinstance(cluster, (str, os.PathLike)) and is_bundle(folder := PathOnDisk(cluster)):
        planned_for = scenario_of_bundle(folder)
        asked = ask(planned_for if scenario is None else scenario, catalog, fields)
        found, servers = pools_of_bundle(folder, asked.catalog)
        edited = settings_asked_for(servers, asked.scenario, asked.catalog)
        return _without_search(read_cluster(found), asked.with_fields(**edited))
    if isinstance(cluster, (str, os.PathLike)):
        pools, planned_for = read_cluster_file(cluster)
    else:
        pools, planned_for = read_cluster(cluster), {}
    return _without_search(pools, ask(planned_for if scenario is None else scenario, catalog, fields))


def _without_search(pools: Cluster, asked: Asked) -> tuple[Cluster, Asked]:
    """The scenario of a cluster without what only matters to a search."""
    names = tuple(dict.fromkeys(pool.machine for pool in pools.pools))
    change = without_limits(machines=names, design="auto", objective="machines")
    return pools, Asked(change.applied(asked.scenario), asked.catalog)
