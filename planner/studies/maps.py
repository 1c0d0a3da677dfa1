"""Maps of costs and of winning designs over what is unsure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from planner.scenario.opened import CatalogLike, ScenarioLike, ask
from planner.scenario.progress import quiet

if TYPE_CHECKING:
    from planner.studies.network_map import NetworkMap
    from planner.studies.provisioning_map import ProvisioningMap
    from planner.studies.regime_map import RegimeMap


def provisioning_map(
    scenario: ScenarioLike | None = None,
    *,
    prefill_machines: tuple[int, int] | None = None,
    decode_machines: tuple[int, int] | None = None,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> ProvisioningMap:
    """Judge every pair of prefill and decode machine counts: cost, and which objectives hold.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`. The design is a split one: `design="Splitwise-HA"`, or `splitwise` (the default here), whose
        best plan of two pools says which pair is mapped.
    prefill_machines, decode_machines : (int, int), optional
        First and last count, both included; left out, from 1 to a little beyond the best plan.

    Returns
    -------
    ProvisioningMap
        Its `optimum` is the best cell; `.to_records()` is one row a cell.

    Raises
    ------
    InputError
        A design that does not split, ranges that are reversed or too large, something wrong in the scenario.
    InfeasibleError
        The pair can serve at no count.
    """
    from planner.studies.provisioning_map import map_provisioning

    asked = ask(scenario, catalog, fields)
    if "design" not in asked.scenario.model_fields_set:
        asked = asked.with_fields(design="splitwise")
    return map_provisioning(asked.resolved(), prefill_machines, decode_machines, progress)


def regime_map(
    scenario: ScenarioLike | None = None,
    *,
    x: str = "price-ratio",
    y: str = "prompt-output-ratio",
    points: int = 30,
    price_ratio_of: tuple[str, str] | None = None,
    workers: int | None = None,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> RegimeMap:
    """Find which design wins, and by how much, at every crossing of two axes.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`.
    x, y : str
        `AXIS[=FROM..TO[:POINTS]]`, of price-ratio, prompt-output-ratio, load, ttft, tbt and network:
        `"ttft=200ms..5s:20"`.
    points : int
        Of an axis that does not say.
    price_ratio_of : (str, str), optional
        Machines whose prices the axis `price-ratio` compares; left out, the dearer and the cheaper of two.
    workers : int, optional
        Processes; left out, one a core. The map does not depend on it.

    Returns
    -------
    RegimeMap
        After Ctrl-C with the cells that were done, and `complete` false.

    Raises
    ------
    InputError
        Unknown or equal axes, ranges that are reversed or have one point, a map that is too large.
    """
    from planner.studies.axes import parse_axis
    from planner.studies.regime_map import map_regimes

    asked = ask(scenario, catalog, fields)
    axes = [parse_axis(text, points=points, where=where) for text, where in ((x, "x"), (y, "y"))]
    return map_regimes(asked, *axes, price_ratio_of=price_ratio_of, workers=workers, progress=progress)


def network_map(
    scenario: ScenarioLike | None = None,
    *,
    x: str = "network=1Gbit/s..400Gbit/s:19",
    workers: int | None = None,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> NetworkMap:
    """Compare splitting with mixed pools over the bandwidth of the network, and find where it breaks even.

    Parameters
    ----------
    scenario, catalog, progress, **fields
        As in `optimize`; the design may name the machines that split.
    x : str
        `network=FROM..TO[:POINTS]`, line rates of each NIC.
    workers : int, optional
        Processes; left out, one a core where plans are slow to find. The map does not depend on it.

    Returns
    -------
    NetworkMap
        Its `break_even` says for both ways of sending from which line rate on splitting pays.

    Raises
    ------
    InputError
        A range that is none, a design that does not split, something wrong in the scenario.
    InfeasibleError
        Nothing serves at all.
    """
    from planner.studies.axes import parse_axis
    from planner.studies.network_map import map_network

    asked = ask(scenario, catalog, fields)
    axis = parse_axis(x, points=25, where="x")
    return map_network(asked.resolved(), axis, workers=workers, progress=progress)
