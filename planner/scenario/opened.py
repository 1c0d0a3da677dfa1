"""What callers may hand over, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.scenario.cluster import Cluster, read_cluster, read_cluster_file
from planner.scenario.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

Path = str | os.PathLike[str]
ScenarioLike = Scenario | Mapping[str, Any] | str | os.PathLike[str]
ClusterLike = Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str]


def quiet(_: str) -> None:
    """Report no progress."""


def opened_catalog(
    catalog: Catalog | Path | Sequence[Path] | None, fields: dict[str, Any]
) -> tuple[Catalog | None, dict[str, Any]]:
    """A catalog that is open already, or its overlays as a field of the scenario."""
    if isinstance(catalog, (str, os.PathLike)):
        return None, fields | {"catalog": [os.fspath(catalog)]}
    if isinstance(catalog, Sequence):
        return None, fields | {"catalog": [os.fspath(path) for path in catalog]}
    return catalog, fields


def cluster_and_scenario(
    cluster: Cluster | Mapping[str, Any] | list[Any] | str | os.PathLike[str],
    scenario: ScenarioLike | None,
    catalog: Catalog | Path | Sequence[Path] | None,
    fields: dict[str, Any],
) -> tuple[Cluster, Scenario, Catalog | None]:
    """A given cluster, and the scenario it is to serve without what only matters to a search."""
    if isinstance(cluster, (str, os.PathLike)):
        pools, planned_for = read_cluster_file(cluster)
    else:
        pools, planned_for = read_cluster(cluster), {}
    opened, fields = opened_catalog(catalog, fields)
    loaded = load_scenario(planned_for if scenario is None else scenario, **fields)
    names = tuple(dict.fromkeys(pool.machine for pool in pools.pools))
    overrides: dict[str, Any] = {
        "machines": names, "design": "auto", "objective": "machines",
        "max_machines": {}, "max_pools": None, "max_total_machines": None,
        "max_cost_usd_per_hour": None, "max_power_w": None,
    }  # fmt: skip
    return pools, load_scenario(loaded, **overrides), opened
