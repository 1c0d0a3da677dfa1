"""Ways to have machines: what price books offer, what is owned already, and how they enter the program."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.catalog.catalog import Catalog
from planner.catalog.prices import TERM_MONTHS
from planner.economics.finance import HOURS_PER_MONTH
from planner.economics.options import (
    OptionSource,
    PurchaseOption,
    energy_usd_per_hour,
    owned_running_per_hour,
    purchase_options,
)
from planner.errors import ScenarioError
from planner.optimization.portfolio_problem import Supply
from planner.portfolio.calendar import Stage
from planner.portfolio.fleet import Fleet
from planner.portfolio.sites import Place, catalog_name, place_of, places_of

_HOUR = 1.0 / HOURS_PER_MONTH
KEPT = "kept"  # plan of machines that are owned already
ELECTRIC = ("owned", KEPT)  # plans whose cost of use is their electricity


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
    places = places_of(fleet, catalog)
    offers: dict[str, list[PurchaseOption]] = {}
    for name in machines:
        single, place = catalog_name(name), places[place_of(name)]
        some = [
            replace(option, machine=name)
            for option in purchase_options(
                catalog, single, books=place.books, assumptions=place.assumptions, start=fleet.start
            )
        ]
        for plan in fleet.plans:
            notes += catalog.unused_quotes(single, plan, place.books)
        offers[name] = [o for o in (_allowed(fleet, option, notes) for option in some) if o is not None]
    return offers, list(dict.fromkeys(notes))


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

    def is_kept(machine: str) -> bool:
        owned = fleet.sites[place].owned if (place := place_of(machine)) else fleet.owned
        return bool(owned.get(catalog_name(machine)))

    unpriced = sorted(m for m, some in offers.items() if not some and not is_kept(m))
    had = {catalog_name(m) for m in offers if m not in unpriced}
    # A machine that some site offers is considered there.
    nowhere = [m for m in unpriced if catalog_name(m) not in had]
    asked = [m for m in nowhere if "all" not in fleet.machines or len(unpriced) == len(offers)]
    if asked:
        raise ScenarioError(
            f"no price book offers {', '.join(asked)} under the plans {', '.join(fleet.plans)}",
            where="machines",
            rule="what is bought needs a price",
            fix="write prices/NAME.yaml in a catalog folder, name a book under prices, allow more plans, or leave "
            "it out",
        )
    return unpriced


@dataclass(frozen=True)
class Holding:
    """A date at which machines may be had for some time.

    Attributes
    ----------
    order_month, first_month, last_month : float
        When it is ordered, when it is there, and when it ends: the end of the horizon, or of whole terms.
    paid_months : float
        Of a reservation its whole terms, the last of which may end after the horizon.
    terms : int
        0 where it has none.
    """

    order_month: float
    first_month: float
    last_month: float
    paid_months: float
    terms: int = 0

    @property
    def when(self) -> str:
        """`from month 12`, `2 terms`; empty of what holds from the first day to the last."""
        parts = [f"{self.terms} terms" if self.terms > 1 else ""]
        parts.append(f"ordered in month {self.order_month:g}" if self.order_month else "")
        return ", ".join(filter(None, parts))


def holdings_of(fleet: Fleet, option: PurchaseOption, *, is_steady: bool) -> list[Holding]:
    """When machines of one option may be had, and for how long.

    Parameters
    ----------
    fleet : Fleet
    option : PurchaseOption
        One that is committed to.
    is_steady : bool
        Whether demand and prices stay as they are and nothing else arrives: then terms that end earlier are no use.

    Notes
    -----
    A reservation is of whole terms T from the day it starts: 1, 2, ... up to the first that reaches the end of the
    horizon; what comes before and after is had otherwise.
    """
    found = []
    for order in (0.0, *fleet.orders_months):
        first = order + option.available_from_month
        left = fleet.horizon_months - first
        if left <= 0:
            continue
        term = TERM_MONTHS.get(option.plan)
        if term is None:
            found.append(Holding(order, first, fleet.horizon_months, left))
            continue
        most = max(math.ceil(left / term - 1e-9), 1)
        fewest = (most if abs(most * term - left) < 1e-9 else max(most - 1, 1)) if is_steady else 1
        found += [
            Holding(order, first, min(first + n * term, fleet.horizon_months), n * term, n)
            for n in range(fewest, most + 1)
        ]
    return found


def is_steady(fleet: Fleet, offers: Mapping[str, Sequence[PurchaseOption]]) -> bool:
    """Whether demand and prices stay as they are, and all that can be had is there from the first day."""
    grows = any(fleet.growth_of(name) for name in fleet.workloads)
    late = any(o.available_from_month > 0 for some in offers.values() for o in some)
    return not (grows or late or fleet.orders_months or fleet.prices_change)


def cuts_of(fleet: Fleet, offers: Mapping[str, Sequence[PurchaseOption]]) -> list[float]:
    """Months at which something arrives or ends, or prices change."""
    steady = is_steady(fleet, offers)
    cuts = {
        month
        for some in offers.values()
        for option in some
        for h in (holdings_of(fleet, option, is_steady=steady) if option.is_committed else ())
        for month in (h.first_month, h.last_month)
    }
    cuts |= {o.available_from_month for some in offers.values() for o in some}
    if fleet.prices_change:
        cuts |= {12.0 * year for year in range(1, math.ceil(fleet.horizon_months / 12.0))}
    return sorted(month for month in cuts if 0 < month < fleet.horizon_months)


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
    steady, places = is_steady(fleet, offers), places_of(fleet, catalog)
    for name in sorted(machines):
        if places[place_of(name)].owned.get(catalog_name(name)):
            supplies.append(_kept(fleet, catalog, name, places[place_of(name)]))
        for option in offers.get(name, ()):
            for supply in _supplies(fleet, option, stages, steady):
                supplies.append(supply)
                if option.source is not None:
                    sources[supply.name] = option.source
    return supplies, sources


def _supplies(fleet: Fleet, option: PurchaseOption, stages: Sequence[Stage], steady: bool) -> Iterator[Supply]:
    """One option at every date at which it may be had."""
    lost = (option.interruption_per_hour or 0.0) * fleet.spot_recovery_s / 3600.0

    def supply(first: float, last: float, paid_months: float, when: str, price_month: float) -> Supply:
        absent = frozenset(
            s for s, stage in enumerate(stages) if stage.first_month < first - _HOUR or stage.last_month > last + _HOUR
        )
        factor = fleet.price_factor(price_month)
        # Electricity keeps its price: what is bought later is cheaper to buy, not to run.
        usage = option.usage_usd_per_hour * (1.0 if option.plan == "owned" else factor)
        running = option.fixed_usd_per_hour - option.capital_usd_per_hour if option.plan == "owned" else 0.0
        return Supply(
            machine=option.machine,
            plan=option.plan,
            fixed_usd_per_hour=running + (option.fixed_usd_per_hour - running) * factor,
            usage_usd_per_hour=usage,
            is_held=option.is_committed,
            fixed_hours=paid_months * HOURS_PER_MONTH,
            most=option.max_count,
            minimum_order=option.minimum_order,
            absent=absent,
            availability=max(1.0 - lost, 0.01),
            is_spot=option.plan == "spot",
            when=when,
            stock=f"{catalog_name(option.machine)} {option.plan} {option.source.book if option.source else ''}",
        )

    end, begin = fleet.horizon_months, option.available_from_month
    if option.is_committed:
        for h in holdings_of(fleet, option, is_steady=steady):
            yield supply(h.first_month, h.last_month, h.paid_months, h.when, h.order_month)
    elif not fleet.prices_change:
        yield supply(begin, end, end - begin, "", 0.0)
    else:
        for year in range(math.floor(begin / 12.0), math.ceil(end / 12.0)):
            first, last = max(12.0 * year, begin), min(12.0 * (year + 1), end)
            if last > first:
                yield supply(first, last, last - first, f"year {year + 1}", 12.0 * year)


def _kept(fleet: Fleet, catalog: Catalog, name: str, place: Place) -> Supply:
    """Machines owned already: what they cost was paid; maintenance, hosting and electricity were not."""
    single = catalog_name(name)
    machine = catalog.machine(single)
    n = place.owned[single]
    fixed = 0.0
    book = catalog.book_of(single, "owned", place.books)
    if book is not None:
        terms = book.owned[single]
        per_unit, _ = catalog.exchange_of(book, f"owned.{single}")
        fixed = owned_running_per_hour(terms, machine) * per_unit
    return Supply(
        machine=name,
        plan=KEPT,
        fixed_usd_per_hour=fixed,
        usage_usd_per_hour=energy_usd_per_hour(machine, machine.rated_power_w, place.assumptions),
        is_held=True,
        fixed_hours=fleet.horizon_months * HOURS_PER_MONTH,
        least=n,
        most=n,
    )
