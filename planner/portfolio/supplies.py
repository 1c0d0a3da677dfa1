"""Ways to have machines: what price books offer, what is owned already, and how they enter the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.catalog.catalog import Catalog
from planner.catalog.prices import TERM_MONTHS
from planner.economics.finance import HOURS_PER_MONTH, annuity
from planner.economics.options import (
    Assumptions,
    OptionSource,
    PurchaseOption,
    energy_usd_per_hour,
    owned_fixed_per_hour,
    purchase_options,
)
from planner.errors import ScenarioError
from planner.optimization.model import Supply
from planner.portfolio.calendar import Stage
from planner.portfolio.fleet import Fleet

KEPT = "kept"  # plan of machines that are owned already


def offers_of(
    fleet: Fleet, catalog: Catalog, machines: Sequence[str]
) -> tuple[dict[str, list[PurchaseOption]], list[str]]:
    """What can be had of each machine under the plans allowed, and notes on what is left out.

    Raises
    ------
    ScenarioError
        A machine named in the fleet that no price book offers; spot without an interruption rate.
    """
    notes: list[str] = []
    offers: dict[str, list[PurchaseOption]] = {}
    for name in machines:
        some = purchase_options(catalog, name, books=fleet.prices, assumptions=_assumptions(fleet), start=fleet.start)
        for plan in fleet.plans:
            notes += catalog.unused_quotes(name, plan, fleet.prices)
        offers[name] = [o for o in (_allowed(fleet, option, notes) for option in some) if o is not None]
    return offers, list(dict.fromkeys(notes))


def _assumptions(fleet: Fleet) -> Assumptions:
    return Assumptions(fleet.electricity_usd_per_kwh, fleet.pue, fleet.cost_of_capital_per_year)


def _allowed(fleet: Fleet, option: PurchaseOption, notes: list[str]) -> PurchaseOption | None:
    """The option as the fleet takes it, or None."""
    if option.plan not in fleet.plans:
        return None
    term = TERM_MONTHS.get(option.plan)
    if term is not None and fleet.horizon_months < term:
        notes.append(f"{option.plan} is not considered: the horizon of {fleet.horizon_months:g} months is shorter")
        return None
    if option.available_from_month >= fleet.horizon_months:
        notes.append(f"{option.machine} {option.plan} is not considered: it comes after the horizon")
        return None
    if option.plan == "spot":
        if not fleet.allows_spot:
            return None
        if option.interruption_per_hour is None:
            if fleet.spot_interruptions_per_hour is None:
                raise ScenarioError(
                    f"no price book says how often spot machines of type {option.machine} are taken away",
                    where="spot_interruptions",
                    fix="give it, such as spot_interruptions: 0.02/h, or leave max_spot at 0",
                )
            option = replace(option, interruption_per_hour=fleet.spot_interruptions_per_hour)
    return option


def refuse_unpriced(fleet: Fleet, offers: Mapping[str, Sequence[PurchaseOption]]) -> list[str]:
    """Machines that cannot be had; an error if one of them was asked for by name.

    Raises
    ------
    ScenarioError
    """
    unpriced = sorted(m for m, some in offers.items() if not some and not fleet.owned.get(m))
    asked = [m for m in unpriced if "all" not in fleet.machines or len(unpriced) == len(offers)]
    if asked:
        raise ScenarioError(
            f"no price book offers {', '.join(asked)} under the plans {', '.join(fleet.plans)}",
            where="machines",
            rule="what is bought needs a price",
            fix="write prices/NAME.yaml in a catalog folder, name a book under prices, allow more plans, or leave "
            "it out",
        )
    return unpriced


def deliveries(offers: Mapping[str, Sequence[PurchaseOption]]) -> list[float]:
    """Months at which something that can be ordered arrives."""
    return sorted({o.available_from_month for some in offers.values() for o in some if o.available_from_month > 0})


def supplies_of(
    fleet: Fleet,
    catalog: Catalog,
    offers: Mapping[str, Sequence[PurchaseOption]],
    machines: Sequence[str],
    stages: Sequence[Stage],
) -> tuple[list[Supply], dict[str, OptionSource]]:
    """Every way to have each machine, in a fixed order, and where its price comes from."""
    supplies: list[Supply] = []
    sources: dict[str, OptionSource] = {}
    for name in sorted(machines):
        if fleet.owned.get(name):
            supplies.append(_kept(fleet, catalog, name))
        for option in offers.get(name, ()):
            supply = _supply(fleet, option, stages)
            supplies.append(supply)
            if option.source is not None:
                sources[supply.name] = option.source
    return supplies, sources


def _supply(fleet: Fleet, option: PurchaseOption, stages: Sequence[Stage]) -> Supply:
    later = frozenset(s for s, stage in enumerate(stages) if stage.first_month < option.available_from_month)
    lost = (option.interruption_per_hour or 0.0) * fleet.spot_recovery_s / 3600.0
    return Supply(
        machine=option.machine,
        plan=option.plan,
        fixed_usd_per_hour=option.fixed_usd_per_hour,
        usage_usd_per_hour=option.usage_usd_per_hour,
        is_held=option.is_committed,
        fixed_hours=(fleet.horizon_months - option.available_from_month) * HOURS_PER_MONTH,
        most=option.max_count,
        minimum_order=option.minimum_order,
        absent=later,
        availability=max(1.0 - lost, 0.01),
        is_spot=option.plan == "spot",
    )


def _kept(fleet: Fleet, catalog: Catalog, name: str) -> Supply:
    """Machines owned already: what they cost was paid; maintenance, hosting and electricity were not."""
    machine = catalog.machine(name)
    n = fleet.owned[name]
    fixed = 0.0
    book = catalog.book_of(name, "owned", fleet.prices)
    if book is not None:
        terms = book.owned[name]
        assumptions = _assumptions(fleet)
        per_unit, _ = catalog.exchange_of(book, f"owned.{name}")
        paid = annuity(
            terms.purchase, terms.residual_fraction * terms.purchase, assumptions.cost_of_capital_per_year,
            terms.life_months / 12.0,
        )  # fmt: skip
        fixed = (owned_fixed_per_hour(terms, machine, assumptions) - paid / (12.0 * HOURS_PER_MONTH)) * per_unit
    return Supply(
        machine=name,
        plan=KEPT,
        fixed_usd_per_hour=max(fixed, 0.0),
        usage_usd_per_hour=energy_usd_per_hour(machine, machine.rated_power_w, _assumptions(fleet)),
        is_held=True,
        fixed_hours=fleet.horizon_months * HOURS_PER_MONTH,
        least=n,
        most=n,
    )
