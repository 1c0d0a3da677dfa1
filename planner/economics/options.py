"""The ways to have a machine: owned, reserved, on demand or spot, each as a fixed and a usage cost an hour."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from planner.catalog.catalog import Catalog
from planner.catalog.prices import PLAN_NAMES, TERM_MONTHS, Ownership, PlanName, PriceBook, Terms
from planner.catalog.schema import Machine, SourceKind
from planner.economics.energy import (
    DEFAULT_PUE,
    DEFAULT_USD_PER_KWH,
    check_pue,
    check_usd_per_kwh,
    energy_cost_usd_per_hour,
    facility_power_w,
)
from planner.economics.finance import HOURS_PER_MONTH, HOURS_PER_YEAR, annuity
from planner.errors import ScenarioError

DAYS_PER_MONTH = HOURS_PER_MONTH / 24.0


@dataclass(frozen=True)
class Assumptions:
    """What the cost of owning depends on beside the price book. Rented prices contain all of it.

    Attributes
    ----------
    electricity_usd_per_kwh : float
        [USD/kWh]. Default: the mean of US industrial customers in 2025 (EIA, Electric Power Monthly).
    pue : float
        Power usage effectiveness: what the facility draws over what its machines draw, at least 1. Default: the mean
        of the Uptime Institute's survey of 2025.
    cost_of_capital_per_year : float
        [1/year]
    """

    electricity_usd_per_kwh: float = DEFAULT_USD_PER_KWH
    pue: float = DEFAULT_PUE
    cost_of_capital_per_year: float = 0.08

    def __post_init__(self) -> None:
        check_pue(self.pue)
        check_usd_per_kwh(self.electricity_usd_per_kwh)


@dataclass(frozen=True)
class OptionSource:
    """Where a price comes from."""

    book: str
    provider: str
    date: datetime.date
    currency: str
    usd_per_unit: float
    exchange_date: datetime.date | None
    kind: SourceKind
    source: str


@dataclass(frozen=True)
class PurchaseOption:
    """One way to have machines of one type.

    Attributes
    ----------
    machine : str
        Name in the catalog.
    plan : str
        `owned`, `reserved_3y`, `reserved_2y`, `reserved_1y`, `on_demand` or `spot`.
    fixed_usd_per_hour : float
        Paid every hour of the horizon for each machine held, used or not: a reservation; of an owned machine the
        annuity of its purchase less its residual, maintenance and hosting [USD/h]. 0 on demand and spot.
    usage_usd_per_hour : float
        Paid for each hour that a machine is switched on: the price on demand and spot, electricity where it is owned
        [USD/h]. 0 where reserved.
    max_count : int or None
        Stock or quota; None where the book gives none.
    minimum_order : int
        Fewest machines that can be had, if any are.
    available_from_month : float
        Months from the start after which it can be used; 0 is at once.
    interruption_per_hour : float or None
        Chance an hour that a running spot machine is taken away. None where the book does not say (only of spot);
        0 for all others.
    source : OptionSource or None
        None where the option does not come from a price book.
    capital_usd_per_hour : float
        Part of the fixed cost that repays a purchase: its annuity [USD/h].
    purchase_usd, residual_usd, life_months : float or None
        Of one machine that is bought; None of others.
    """

    machine: str
    plan: PlanName
    fixed_usd_per_hour: float
    usage_usd_per_hour: float
    max_count: int | None
    minimum_order: int
    available_from_month: float
    interruption_per_hour: float | None
    source: OptionSource | None = None
    capital_usd_per_hour: float = 0.0
    purchase_usd: float | None = None
    residual_usd: float | None = None
    life_months: float | None = None

    @property
    def is_committed(self) -> bool:
        """Whether it is paid for when it is not used."""
        return self.plan == "owned" or self.plan in TERM_MONTHS

    def usd_per_hour_at(self, hours_used_fraction: float) -> float:
        """Cost of one machine that is switched on for a share of the time [USD/h]."""
        return self.fixed_usd_per_hour + hours_used_fraction * self.usage_usd_per_hour


def purchase_options(
    catalog: Catalog,
    machine: Machine | str,
    *,
    books: Sequence[str] = (),
    assumptions: Assumptions = Assumptions(),
    start: datetime.date | None = None,
    power_w: float | None = None,
) -> list[PurchaseOption]:
    """Return every way that the price books offer to have a machine, in the order of `PlanName`.

    Parameters
    ----------
    catalog : Catalog
    machine : Machine or str
    books : sequence of str
        Price books that go before the default ones, plan by plan.
    assumptions : Assumptions
        For owned machines.
    start : date, optional
        First day of the horizon, from which delivery is counted. Left out: the day of the price book, so that only
        lead times count.
    power_w : float, optional
        Mean draw of one machine while switched on [W]. Left out: its rated power, the most it can be.

    Raises
    ------
    UnknownNameError
        An unknown machine or book.
    CatalogError
        A price in a currency that the catalog has no rate for.
    """
    if isinstance(machine, str):
        machine = catalog.machine(machine)
    found = []
    for plan in PLAN_NAMES:
        book = catalog.book_of(machine.name, plan, books)
        if book is not None:
            found.append(_option(catalog, machine, plan, book, assumptions, start, power_w))
    return found


def _option(
    catalog: Catalog,
    machine: Machine,
    plan: PlanName,
    book: PriceBook,
    assumptions: Assumptions,
    start: datetime.date | None,
    power_w: float | None,
) -> PurchaseOption:
    path = f"{plan}.{machine.name}"
    usd_per_unit, exchange_date = catalog.exchange_of(book, path)
    terms = book.terms_of(plan, machine.name)
    origin = book.origin_of(plan, machine.name)
    date = book.date_of(plan, machine.name)
    capital, bought = 0.0, {}
    if plan == "owned":
        terms_of_own = book.owned[machine.name]
        capital = annuity_per_hour(terms_of_own, assumptions) * usd_per_unit
        price = terms_of_own.purchase * usd_per_unit
        bought = {
            "purchase_usd": price, "residual_usd": terms_of_own.residual_fraction * price,
            "life_months": terms_of_own.life_months,
        }  # fmt: skip
        fixed = owned_fixed_per_hour(book.owned[machine.name], machine, assumptions) * usd_per_unit
        usage = energy_usd_per_hour(machine, machine.rated_power_w if power_w is None else power_w, assumptions)
    else:
        price = book.prices(plan)[machine.name] * usd_per_unit
        fixed, usage = (price, 0.0) if plan.startswith("reserved") else (0.0, price)
    return PurchaseOption(
        machine=machine.name,
        plan=plan,
        fixed_usd_per_hour=fixed,
        usage_usd_per_hour=usage,
        max_count=terms.max_count,
        minimum_order=terms.minimum_order,
        available_from_month=_available_from_month(terms, start or date),
        interruption_per_hour=terms.interruptions_per_hour if plan == "spot" else 0.0,
        capital_usd_per_hour=capital,
        **bought,
        source=OptionSource(
            book.name, book.provider, date, book.currency, usd_per_unit, exchange_date, origin.kind, origin.source
        ),
    )


def owned_fixed_per_hour(terms: Ownership, machine: Machine, assumptions: Assumptions) -> float:
    """Cost of holding one owned machine an hour, switched on or not, in the currency of `terms`.

    Notes
    -----
    c = A(P, R, i, n) / 8760 + m P / 8760 + h_kW P_rated / 1 kW + h_u U                              (4)

    with the annuity A of (2), maintenance m a year, hosting h a kW of rated power and a rack unit.

    Raises
    ------
    ScenarioError
        Hosting is charged by the rack unit and the machine does not say how many it has.
    """
    return annuity_per_hour(terms, assumptions) + owned_running_per_hour(terms, machine)


def annuity_per_hour(terms: Ownership, assumptions: Assumptions) -> float:
    """What repays a purchase, less what it sells for, over its life: the annuity of (2) an hour."""
    yearly = annuity(
        terms.purchase,
        terms.residual_fraction * terms.purchase,
        assumptions.cost_of_capital_per_year,
        terms.life_months / 12.0,
    )
    return yearly / HOURS_PER_YEAR


def owned_running_per_hour(terms: Ownership, machine: Machine) -> float:
    """Maintenance and hosting of one owned machine an hour: what is left of (4) once it is paid for.

    Raises
    ------
    ScenarioError
        Hosting is charged by the rack unit and the machine does not say how many it has.
    """
    hosting = (terms.hosting_per_kw or 0.0) * machine.rated_power_w / 1e3
    if terms.hosting_per_rack_unit is not None:
        if machine.rack_units is None:
            raise ScenarioError(
                f"hosting of {machine.name} is charged by the rack unit, and the machine has no `rack_units`",
                where="hosting_per_rack_unit",
                fix="add rack_units to the machine, or charge hosting by the kW",
            )
        hosting += terms.hosting_per_rack_unit * machine.rack_units
    return terms.maintenance_fraction_per_year * terms.purchase / HOURS_PER_YEAR + hosting


def energy_usd_per_hour(machine: Machine, power_w: float, assumptions: Assumptions) -> float:
    """Electricity of one machine that draws `power_w` [USD/h].

    Notes
    -----
    c = P / 1 kW * PUE * p_el                                                                       (5)

    PUE does not apply where the machine's figures are of the whole facility (`power_scope: facility`).
    """
    return energy_cost_usd_per_hour(
        facility_power_w(machine, power_w, assumptions.pue), assumptions.electricity_usd_per_kwh
    )


def _available_from_month(terms: Terms, start: datetime.date) -> float:
    waits = [0.0, terms.lead_time_months or 0.0]
    if terms.available_from is not None:
        waits.append((terms.available_from - start).days / DAYS_PER_MONTH)
    return max(waits)
