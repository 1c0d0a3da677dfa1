"""The catalog with the prices that a scenario asks for: whose quotes count, and under which price plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.catalog.catalog import Catalog
from planner.catalog.prices import PLAN_NAMES, PlanName, PriceBook
from planner.catalog.schema import Machine
from planner.economics.break_even import spot_usd_per_useful_hour
from planner.economics.energy import electricity_supply
from planner.economics.options import Assumptions, energy_usd_per_hour, owned_fixed_per_hour
from planner.errors import ScenarioError, UnknownNameError
from planner.scenario.scenario import Scenario

SPOT_RECOVERY_H = 0.25  # paid time that an interruption takes from the work: notice, start, loading the model


def read_price_plans(texts: Sequence[str], machines: Sequence[str]) -> tuple[PlanName, dict[str, PlanName]]:
    """Read `reserved_1y`, or `dgx-h100=owned` for one machine; later ones win.

    Returns
    -------
    PlanName, dict of str to PlanName
        Of all machines, and of some.

    Raises
    ------
    UnknownNameError
        No such price plan, or no such machine, with near misses.
    """
    default: PlanName = "on_demand"
    by_machine: dict[str, PlanName] = {}
    for text in texts:
        machine, equals, name = (part.strip() for part in text.rpartition("="))
        if name not in PLAN_NAMES:
            raise UnknownNameError.of("price plan", name, PLAN_NAMES, where="plan")
        if equals and not machine:
            raise ScenarioError("not a price plan", where="plan", value=text, rule="PLAN, or MACHINE=PLAN")
        if machine and machine not in machines:
            raise UnknownNameError.of("machine", machine, machines, where="plan")
        if machine:
            by_machine[machine] = name
        else:
            default = name
    return default, by_machine


def priced_catalog(catalog: Catalog, scenario: Scenario) -> Catalog:
    """Return the catalog with the rule between vendors and the price plans of a scenario.

    Raises
    ------
    UnknownNameError
        An unknown price plan, machine or region.
    """
    chosen = catalog.choosing(scenario.quotes)
    if not scenario.plan:
        return chosen
    default, by_machine = read_price_plans(scenario.plan, chosen.names(Machine))
    supposed = scenario.suppose
    supply = electricity_supply(chosen, scenario.region, scenario.electricity_usd_per_kwh, scenario.pue)
    supply = supply.scaled(pue=supposed.pue, usd_per_kwh=supposed.electricity)

    def owned_usd_per_hour(machine_name: str, book: PriceBook, usd_per_unit: float) -> float:
        machine = chosen.machine(machine_name)
        here = supply.at(machine.site)
        assumptions = Assumptions(here.usd_per_kwh, here.pue)
        fixed = owned_fixed_per_hour(book.owned[machine_name], machine, assumptions) * usd_per_unit
        return fixed + energy_usd_per_hour(machine, machine.rated_power_w, assumptions)

    return chosen.priced_under(default, by_machine, owned_usd_per_hour, spot_usd_per_hour)


def spot_usd_per_hour(price: float, interruptions_per_hour: float | None) -> float:
    """Price of an hour of work on a spot machine: more than its rent where it is known to be taken away."""
    return spot_usd_per_useful_hour(price, interruptions_per_hour or 0.0, SPOT_RECOVERY_H)


def price_plan_notes(catalog: Catalog, machines: Sequence[str], books: Sequence[str]) -> list[str]:
    """Say which price plans are used where that is not on demand, and which prices of the user's own are not.

    A price of one's own under another plan is easily thought to count.
    """
    by_plan: dict[PlanName, list[str]] = {}
    unused: dict[PlanName, list[str]] = {}
    notes: list[str] = []
    for name in machines:
        plan = catalog.plan_of(name)
        if plan != "on_demand":
            by_plan.setdefault(plan, []).append(name)
        notes += catalog.unused_quotes(name, plan, books)
        for other in PLAN_NAMES:
            if other != plan and any(c.is_own for c in catalog.candidates(name, other)):
                unused.setdefault(other, []).append(name)
    said = [f"{', '.join(names)}: {_WORDS[plan]}" for plan, names in by_plan.items()]
    said += [
        f"your prices of {', '.join(names)} {plan.replace('_', ' ')} are not used: --plan {plan} does"
        for plan, names in unused.items()
    ]
    return [*notes, *said]


_WORDS: Mapping[PlanName, str] = {
    "owned": "priced as owned: annuity of the purchase at 8 % a year, maintenance, hosting, electricity at rated power",
    "reserved_3y": "priced as reserved for 3 years, paid whether used or not",
    "reserved_2y": "priced as reserved for 2 years, paid whether used or not",
    "reserved_1y": "priced as reserved for a year, paid whether used or not",
    "on_demand": "priced on demand",
    "spot": "priced as spot: an hour of work, with what interruptions lose where their rate is known",
}
