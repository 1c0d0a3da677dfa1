"""Sites of a fleet: what stands where, what may be had there, and what leaves it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from planner.catalog.catalog import Catalog
from planner.catalog.hardware import PLACE_MARK
from planner.catalog.quantities import UsdPerKwh, Watts
from planner.economics.energy import electricity_supply
from planner.economics.options import Assumptions
from planner.scenario.scenario import Names

if TYPE_CHECKING:
    from planner.portfolio.fleet import Fleet
    from planner.scenario.resolve import Problem

SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Counts = dict[str, Annotated[int, Field(ge=0)]]


class Site(BaseModel):
    """One place where machines may stand. Fields left out are those of the fleet."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    prices: Names = Field(default=(), description="Price books of this site, which go before those of the fleet.")
    region: str | None = Field(
        default=None, description="Region of the catalog that the electricity comes from, for its price."
    )
    electricity_usd_per_kwh: UsdPerKwh | None = Field(
        default=None, validation_alias=AliasChoices("electricity_usd_per_kwh", "electricity")
    )
    pue: float | None = Field(default=None, ge=1, description="Power usage effectiveness.")
    egress_usd_per_gb: float = Field(
        default=0.0, ge=0, description="Price of what leaves the site: `egress_bytes` of each request [USD/GB]."
    )
    owned: Counts = Field(default={}, description="Machines that stand here already, and are kept.")
    max_machines: Counts = Field(default={}, description="Most of a machine here at any time, however it is had.")
    max_rented: Counts = Field(default={}, description="Most of a machine on demand and spot here at any time: quota.")
    max_total_machines: int | None = Field(default=None, ge=0, description="Most of all together here at any time.")
    max_power_w: Watts | None = Field(
        default=None,
        validation_alias=AliasChoices("max_power_w", "max_power"),
        description="Rated power of all machines here at any time.",
    )
    max_rack_units: int | None = Field(default=None, ge=0, description="Rack units of all machines here at any time.")


@dataclass(frozen=True)
class Place:
    """What a site means for the prices of its machines."""

    books: tuple[str, ...]
    assumptions: Assumptions
    owned: Mapping[str, int]


def places_of(fleet: Fleet, catalog: Catalog) -> dict[str, Place]:
    """Every site by its name, with the fleet's own terms where it has none; of a fleet without sites one without name.

    Raises
    ------
    UnknownNameError
        A region that is not in the catalog.
    """
    here = Place(
        fleet.prices, Assumptions(fleet.electricity_usd_per_kwh, fleet.pue, fleet.cost_of_capital_per_year), fleet.owned
    )
    if not fleet.sites:
        return {"": here}
    return {
        name: Place(
            (*site.prices, *fleet.prices),
            replace(
                here.assumptions,
                electricity_usd_per_kwh=_usd_per_kwh(fleet, site, catalog),
                pue=fleet.pue if site.pue is None else site.pue,
            ),
            site.owned,
        )
        for name, site in fleet.sites.items()
    }


def _usd_per_kwh(fleet: Fleet, site: Site, catalog: Catalog) -> float:
    """The site's own price of electricity, or that of its region, or the fleet's."""
    if site.region is None:
        return fleet.electricity_usd_per_kwh if site.electricity_usd_per_kwh is None else site.electricity_usd_per_kwh
    supply = electricity_supply(catalog, [site.region], site.electricity_usd_per_kwh)
    told = site.electricity_usd_per_kwh is not None or catalog.region(site.region).electricity_usd_per_kwh is not None
    return supply.default.usd_per_kwh if told else fleet.electricity_usd_per_kwh


def in_its_sites(fleet: Fleet, workload: str, problem: Problem) -> Problem:
    """The problem of a workload over the machines of every site where it may be served."""
    if not fleet.sites:
        return problem
    sites = fleet.sites_of(workload)
    return replace(problem, machines=tuple(m.standing_in(site) for site in sites for m in problem.machines))


def place_of(machine: str) -> str:
    """The site in the name of a machine; empty where there are none."""
    return machine.partition(PLACE_MARK)[2]


def catalog_name(machine: str) -> str:
    """The name of a machine without its site."""
    return machine.partition(PLACE_MARK)[0]


def egress_usd_per_request(fleet: Fleet, workload: str, site: str) -> float:
    """What leaves a site for one request costs there."""
    if not site:
        return 0.0
    return (fleet.workloads[workload].egress_bytes or 0.0) / 1e9 * fleet.sites[site].egress_usd_per_gb


def least_egress_usd(fleet: Fleet, requests: Mapping[str, float]) -> float:
    """What leaves at the least, if every request is served where that costs least [USD].

    Parameters
    ----------
    fleet : Fleet
    requests : mapping of str to float
        Of each workload over the horizon.
    """
    if not fleet.sites:
        return 0.0
    return sum(
        n * min(egress_usd_per_request(fleet, name, site) for site in fleet.sites_of(name))
        for name, n in requests.items()
    )
