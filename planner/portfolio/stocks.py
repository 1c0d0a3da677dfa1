"""Limits of a fleet on what is had at any time and on what is paid, as rows of the program; counts in accelerators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.economics.finance import HOURS_PER_MONTH
from planner.economics.options import PurchaseOption
from planner.optimization.portfolio_problem import Cap, MachineFacts, Span, Spending, Supply
from planner.portfolio.calendar import Stage
from planner.portfolio.fleet import Fleet
from planner.portfolio.sites import Site, catalog_name, place_of
from planner.scenario.machines import machines_of_kind, owned_machines


def in_machines(fleet: Fleet, catalog: Catalog) -> tuple[Fleet, list[str]]:
    """The fleet with what it owns counted in machines, where it says accelerators; and notes on what that means.

    Raises
    ------
    UnknownNameError
        A stock, a quota or a possession under a name that is no machine and no accelerator: it would limit nothing.
    ScenarioError
        Accelerators owned that no machine considered holds, or that several do.
    """
    for where in ("max_machines", "max_rented"):
        for _, counts in _of_places(fleet, where):
            for name in counts:
                _held(name, catalog, where)
    notes: list[str] = []

    def counted(owned: Mapping[str, int], where: str) -> dict[str, int]:
        for name in set(owned) - set(catalog.names(Machine)):
            ((machine, count),) = owned_machines({name: owned[name]}, catalog, fleet.machines).items()
            left = owned[name] - count * catalog.machine(machine).n_accelerators
            told = f"{where}: {owned[name]} {name} are taken as {count} {machine}"
            notes.append(told + (f"; {left} fill none and are left out" if left else ""))
        return owned_machines(owned, catalog, fleet.machines)

    sites = {
        name: site.model_copy(update={"owned": counted(site.owned, f"sites.{name}.owned")}) if site.owned else site
        for name, site in fleet.sites.items()
    }
    owned = counted(fleet.owned, "owned") if fleet.owned else {}
    return fleet.model_copy(update={"owned": owned, "sites": sites}), notes


def _of_places(fleet: Fleet, field: str) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Counts of the fleet, and of each site, with where they are."""
    yield field, getattr(fleet, field)
    for name, site in fleet.sites.items():
        yield f"sites.{name}.{field}", getattr(site, field)


def _held(name: str, catalog: Catalog, where: str) -> dict[str, int] | None:
    """Accelerators of a kind in each machine; None where the name is that of a machine."""
    if name.partition("@")[0] in catalog.names(Machine):
        return None
    return machines_of_kind(name, catalog, where=where)


def caps_of(fleet: Fleet, catalog: Catalog, facts: Mapping[str, MachineFacts]) -> list[Cap]:
    """Every limit on what is had at any time.

    Parameters
    ----------
    fleet : Fleet
    catalog : Catalog
    facts : mapping of str to MachineFacts
        Of every machine that can be had, by its name with its site.
    """
    caps = []
    for where, some in (("", facts), *((name, _at(facts, name)) for name in fleet.sites)):
        limits: Fleet | Site = fleet.sites[where] if where else fleet
        before = f"sites.{where}." if where else ""
        for field, is_rented in (("max_machines", False), ("max_rented", True)):
            for name, most in sorted(getattr(limits, field).items()):
                weights = _weights(name, catalog, some, field)
                if weights:
                    caps.append(Cap(f"{before}{field} {name}", weights, float(most), is_rented))
        totals = (
            ("max_total_machines", limits.max_total_machines, dict.fromkeys(some, 1.0)),
            ("max_power", limits.max_power_w, {m: f.rated_power_w for m, f in some.items()}),
            ("max_rack_units", limits.max_rack_units, {m: float(f.rack_units) for m, f in some.items()}),
        )
        caps += [Cap(f"{before}{name}", weights, float(most)) for name, most, weights in totals if most is not None]
    return caps


def _at(facts: Mapping[str, MachineFacts], site: str) -> dict[str, MachineFacts]:
    return {m: f for m, f in facts.items() if place_of(m) == site}


def _weights(name: str, catalog: Catalog, machines: Mapping[str, MachineFacts], where: str) -> dict[str, float]:
    """What each machine takes of a stock: itself, the machines of a group, or its accelerators of that kind."""
    held = _held(name, catalog, where)
    weights = {}
    for machine in machines:
        single = catalog_name(machine)
        if held is None:
            taken = 1 if single == name else catalog.machine(single).group if single.partition("@")[0] == name else 0
        else:
            taken = held.get(single.partition("@")[0], 0) * catalog.machine(single).group
        if taken:
            weights[machine] = float(taken)
    return weights


def spending_of(
    fleet: Fleet,
    supplies: Sequence[Supply],
    options: Mapping[str, PurchaseOption],
    stages: Sequence[Stage],
    spans: Sequence[Span],
) -> list[Spending]:
    """Budgets of the years of the horizon, each on what is paid in it as `planner.portfolio.cash` lays it out."""
    found = []
    years = math.ceil(fleet.horizon_months / 12.0 - 1e-9) if fleet.budget_by_year else 0
    for year in range(years):
        first, last = 12.0 * year, min(12.0 * (year + 1), fleet.horizon_months)
        of_held, of_used = {}, {}
        for i, supply in enumerate(supplies):
            if supply.is_held:
                of_held[i] = _paid_for_holding(fleet, supply, options.get(supply.name), stages, first, last)
            for t, span in enumerate(spans):
                stage = stages[span.stage]
                part = _overlap(stage.first_month, stage.last_month, first, last)
                part /= stage.last_month - stage.first_month
                if part > 0 and supply.usage_usd_per_hour > 0 and span.stage not in supply.absent:
                    of_used[i, t] = supply.usage_usd_per_hour * span.hours * part
        most = fleet.budget_by_year[min(year, len(fleet.budget_by_year) - 1)]
        share = (last - first) / fleet.horizon_months
        found.append(Spending(f"budget of year {year + 1}", of_held, of_used, share, most))
    return found


def _paid_for_holding(
    fleet: Fleet, supply: Supply, option: PurchaseOption | None, stages: Sequence[Stage], first: float, last: float
) -> float:
    """What one machine costs between two months, switched on or not: its purchase, running cost, or reservation."""
    begin = min(stage.first_month for s, stage in enumerate(stages) if s not in supply.absent)
    held = _overlap(begin, begin + supply.fixed_hours / HOURS_PER_MONTH, first, last) * HOURS_PER_MONTH
    if supply.plan != "owned" or option is None or not option.capital_usd_per_hour or not option.life_months:
        return supply.fixed_usd_per_hour * held
    running = option.fixed_usd_per_hour - option.capital_usd_per_hour
    factor = (supply.fixed_usd_per_hour - running) / option.capital_usd_per_hour
    bought, month = 0.0, begin
    while month < fleet.horizon_months - 1e-9:
        if first <= month < last:
            resale = 0.0 if month == begin else (option.residual_usd or 0.0)
            bought += ((option.purchase_usd or 0.0) - resale) * factor
        month += option.life_months
    return running * held + bought


def _overlap(begin: float, end: float, first: float, last: float) -> float:
    return max(min(end, last) - max(begin, first), 0.0)
