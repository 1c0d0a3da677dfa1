"""Electricity of machines: what the facility draws, what that costs, and what it emits where it stands."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine, Region, SourceKind
from planner.errors import ScenarioError, UnknownNameError, near_misses

# Mean of US industrial customers in 2025: EIA, Electric Power Monthly, table 5.3 (0.0861).
DEFAULT_USD_PER_KWH = 0.086
# Mean of the Uptime Institute's global survey of 2025.
DEFAULT_PUE = 1.54
DEFAULT_REGION = "world"


@dataclass(frozen=True)
class Electricity:
    """The electricity of one place.

    Attributes
    ----------
    region : str
        Of the catalog.
    carbon_g_per_kwh : float
        CO2-equivalent of what is generated there [g/kWh].
    carbon_date : date
        What that is of.
    usd_per_kwh : float
        Price [USD/kWh].
    pue : float
        Power usage effectiveness: what the facility draws over what its machines draw.
    kind, source : str
        Of the carbon intensity.
    """

    region: str
    carbon_g_per_kwh: float
    carbon_date: datetime.date
    usd_per_kwh: float
    pue: float
    kind: SourceKind
    source: str


@dataclass(frozen=True)
class ElectricitySupply:
    """The electricity of every site: one place for all, others for the sites named."""

    default: Electricity
    by_site: Mapping[str, Electricity] = field(default_factory=dict)

    def at(self, site: str) -> Electricity:
        """The electricity of a site."""
        return self.by_site.get(site, self.default)

    def scaled(
        self, *, pue: float = 1.0, usd_per_kwh: float = 1.0, carbon: Mapping[str, float] | None = None
    ) -> ElectricitySupply:
        """The same with its figures times factors, carbon by region; a PUE goes no lower than 1."""
        by_region = carbon or {}

        def at(e: Electricity) -> Electricity:
            return replace(
                e,
                pue=max(e.pue * pue, 1.0),
                usd_per_kwh=e.usd_per_kwh * usd_per_kwh,
                carbon_g_per_kwh=e.carbon_g_per_kwh * by_region.get(e.region, 1.0),
            )

        return ElectricitySupply(at(self.default), {site: at(e) for site, e in self.by_site.items()})


def electricity_supply(
    catalog: Catalog, regions: Sequence[str], usd_per_kwh: float | None = None, pue: float = DEFAULT_PUE
) -> ElectricitySupply:
    """Look up where electricity comes from.

    Parameters
    ----------
    catalog : Catalog
    regions : sequence of str
        `france` for every site, `aws=germany` for the machines of one site; later ones win.
    usd_per_kwh : float, optional
        Price everywhere [USD/kWh]. Left out: the region's own, else 0.086.
    pue : float
        Everywhere.

    Raises
    ------
    UnknownNameError
        A region that is not in the catalog, or a site that no machine stands at, with near misses.
    ScenarioError
        A PUE below 1, a negative price.
    """
    check_pue(pue)
    check_usd_per_kwh(usd_per_kwh if usd_per_kwh is not None else DEFAULT_USD_PER_KWH)
    default, by_site = DEFAULT_REGION, {}
    for text in regions:
        site, equals, name = (part.strip() for part in text.rpartition("="))
        if equals and not site:
            raise ScenarioError("not a region", where="region", value=text, rule="REGION, or SITE=REGION")
        if site:
            by_site[site] = name
        else:
            default = name
    if by_site:
        sites = {catalog.machine(name).site for name in catalog.names(Machine)}
        for site in by_site:
            if site not in sites:
                raise UnknownNameError.of("site", site, sites, where="region")
    found = {name: _of_region(catalog, name, usd_per_kwh, pue) for name in {default, *by_site.values()}}
    return ElectricitySupply(found[default], {site: found[name] for site, name in by_site.items()})


def _of_region(catalog: Catalog, name: str, usd_per_kwh: float | None, pue: float) -> Electricity:
    known = catalog.names(Region)
    if name not in known:
        near = near_misses(name, known)
        raise UnknownNameError(
            f"unknown region {name!r}",
            where="region",
            suggestions=near,
            fix=None if near else f"known: {', '.join(known)}; or write regions/NAME.yaml in a --catalog folder",
        )
    region = catalog.region(name, where="region")
    origin = region.provenance_of("carbon")
    price = usd_per_kwh if usd_per_kwh is not None else region.electricity_usd_per_kwh
    return Electricity(
        region=name,
        carbon_g_per_kwh=region.carbon_g_per_kwh,
        carbon_date=region.date,
        usd_per_kwh=DEFAULT_USD_PER_KWH if price is None else price,
        pue=pue,
        kind=origin.kind,
        source=origin.source,
    )


def facility_power_w(machine: Machine, power_w: float, pue: float) -> float:
    """Draw of the facility for machines of a type that draw `power_w` together [W].

    Notes
    -----
    P_facility = PUE * P                                                                            (1)

    and P itself where the machine's figures are of the whole facility (`power_scope: facility`).
    """
    return power_w if machine.power_scope == "facility" else power_w * pue


def energy_cost_usd_per_hour(facility_w: float, usd_per_kwh: float) -> float:
    """Price of drawing a power for an hour [USD/h].

    Notes
    -----
    c = P_facility / 1 kW * p_el                                                                    (2)
    """
    return facility_w / 1e3 * usd_per_kwh


def carbon_kg_per_hour(facility_w: float, carbon_g_per_kwh: float) -> float:
    """What drawing a power for an hour emits, CO2-equivalent [kg/h].

    Notes
    -----
    m = P_facility / 1 kW * c_el / 1000 g/kg                                                        (3)

    Location-based scope 2: what the grid emits on average; neither contracts for green electricity nor the making of
    the machines are in it.
    """
    return facility_w / 1e3 * carbon_g_per_kwh / 1e3


def rated_carbon_kg_per_hour(machine: Machine, electricity: Electricity) -> float:
    """What one machine at its rated power emits [kg/h]: what the objective `carbon` counts, linear in machines."""
    return carbon_kg_per_hour(
        facility_power_w(machine, machine.rated_power_w, electricity.pue), electricity.carbon_g_per_kwh
    )


def check_pue(pue: float) -> None:
    """Refuse a PUE below 1."""
    if not pue >= 1 or not math.isfinite(pue):
        raise ScenarioError(
            "a PUE below 1 would be a facility that draws less than its machines",
            where="pue",
            value=f"{pue:g}",
            rule="1 or more; 1.54 is the mean of 2025, 1.1 a new hyperscale site",
        )


def check_usd_per_kwh(usd_per_kwh: float) -> None:
    """Refuse a negative price of electricity."""
    if not usd_per_kwh >= 0 or not math.isfinite(usd_per_kwh):
        raise ScenarioError(
            "a price of electricity must not be negative", where="electricity_usd_per_kwh", value=f"{usd_per_kwh:g}"
        )
