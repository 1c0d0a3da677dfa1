"""Price books, exchange rates and regions: what machines cost, in which currency, and what electricity costs and emits.

A book is one provider, one date and one currency; a single price may be older than its book. Its amounts are read into
that currency, not converted: a conversion needs a dated rate, which is a catalog entry of its own
(`currencies/EUR.yaml`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from planner import units
from planner.catalog.entry import CatalogModel, Entry, Provenance
from planner.catalog.quantities import (
    FractionOrZero,
    GramsPerKwh,
    InterruptionsPerHour,
    Months,
    UsdPerKwh,
    read_quantity,
    schema_of,
)
from planner.units import Dimension

PlanName = Literal["owned", "reserved_3y", "reserved_2y", "reserved_1y", "on_demand", "spot"]
STALE_AFTER_DAYS = 365  # an older price or exchange rate is to be asked for again
PLAN_NAMES: tuple[PlanName, ...] = get_args(PlanName)
RENTED: tuple[PlanName, ...] = ("reserved_3y", "reserved_2y", "reserved_1y", "on_demand", "spot")
# Whole terms of reservations.
TERM_MONTHS: dict[str, float] = {"reserved_1y": 12.0, "reserved_2y": 24.0, "reserved_3y": 36.0}

# The currency of the book being read: pydantic tells a field nothing of the model around it.
_currency: ContextVar[str] = ContextVar("currency", default="USD")
_CODE = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])")


def _in_currency_of_book(dimension_of: Any) -> BeforeValidator:
    def read(value: object, info: ValidationInfo) -> float:
        currency = _currency.get()
        dimension: Dimension = dimension_of(currency)
        other = _CODE.search(value) if isinstance(value, str) else None
        if other and other[1] != currency:
            raise ValueError(
                f"a price in {other[1]} in a book of {currency} (got {value!r}); one book has one currency: write "
                f"`currency: {other[1]}` if all its prices are, or put this one into a book of its own"
            )
        amount = read_quantity(value, dimension, info)
        if amount <= 0:
            raise ValueError(f"a price must be above 0 (got {value!r}); leave it out: the machine then has no price")
        return amount

    return BeforeValidator(read)


Money = Annotated[float, Field(gt=0), _in_currency_of_book(units.money), schema_of(units.MONEY)]
MoneyPerHour = Annotated[
    float, Field(gt=0), _in_currency_of_book(units.money_per_hour), schema_of(units.MONEY_PER_HOUR)
]


class Ownership(CatalogModel):
    """What it costs to own one machine; amounts in the book's currency."""

    purchase: Money = Field(description="Price of one machine, delivered.")
    life_months: Months = Field(alias="life", description="Months over which it is paid off.")
    residual_fraction: FractionOrZero = Field(
        default=0.0, alias="residual", description="Resale value at the end of its life: 10 %, or an amount."
    )
    maintenance_fraction_per_year: FractionOrZero = Field(
        default=0.0, alias="maintenance", description="Support and repair a year, as a share of the purchase price."
    )
    hosting_per_kw: MoneyPerHour | None = Field(
        default=None, description="Space and cooling a kW of rated power, such as 184 USD/month; electricity is apart."
    )
    hosting_per_rack_unit: MoneyPerHour | None = Field(default=None, description="The same a rack unit.")

    @field_validator("residual_fraction", mode="before")
    @classmethod
    def _residual_of_purchase(cls, value: object, info: ValidationInfo) -> object:
        """Turn a residual that is an amount into a share of the purchase price."""
        purchase = info.data.get("purchase")
        if purchase is None or not isinstance(value, str) or "%" in value or re.fullmatch(r"[\s\d.]+", value):
            return value
        amount = read_quantity(value, units.money(_currency.get()), info)
        if amount > purchase:
            raise ValueError(f"a residual of {amount:,.2f} exceeds the purchase price of {purchase:,.2f}")
        return amount / purchase


class Terms(CatalogModel):
    """What goes with a price: how many, from when, until when, and how reliably."""

    minimum_order: int = Field(default=1, ge=1, description="Fewest machines that are sold or let.")
    max_count: int | None = Field(default=None, ge=0, description="Most machines: stock or quota.")
    available_from: datetime.date | None = Field(default=None, description="First day of use.")
    valid_until: datetime.date | None = Field(default=None, description="Last day on which the price is offered.")
    lead_time_months: Months | None = Field(
        default=None, alias="lead_time", description="Time from order to first use."
    )
    interruptions_per_hour: InterruptionsPerHour | None = Field(
        default=None,
        alias="interruptions",
        description="Interruption rate of a spot machine, such as 0.02/h or 5 %/month.",
    )


class PriceBook(Entry):
    """Prices of one provider on one date in one currency, by price plan and machine."""

    folder: ClassVar[str] = "prices"

    provider: str = Field(description="Vendor.")
    date: datetime.date = Field(description="Day on which the prices were valid; `provenance` may date one apart.")
    collected: datetime.date | None = Field(default=None, description="Day on which they were read, if another.")
    valid_until: datetime.date | None = Field(
        default=None, description="Last day on which they are offered; after it they count only when the book is named."
    )
    region: str | None = Field(default=None, description="Region of the offers; left out: everywhere.")
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="ISO 4217 code of every amount in the book.")
    default: bool = Field(
        default=True, description="Use without being asked for; false: only when named with --prices."
    )
    on_demand: dict[str, MoneyPerHour] = Field(default={}, description="Price by the hour, without commitment.")
    reserved_1y: dict[str, MoneyPerHour] = Field(
        default={}, description="Price of a one-year term, paid every hour; fees paid at the start spread over it."
    )
    reserved_2y: dict[str, MoneyPerHour] = Field(default={}, description="The same over two years.")
    reserved_3y: dict[str, MoneyPerHour] = Field(default={}, description="The same over three years.")
    spot: dict[str, MoneyPerHour] = Field(
        default={}, description="Price by the hour, until the provider wants it back."
    )
    owned: dict[str, Ownership] = Field(
        default={}, description="Purchase: price and terms of a machine that is bought."
    )
    terms: dict[PlanName, dict[str, Terms]] = Field(default={}, description="Terms by price plan and machine.")

    @model_validator(mode="wrap")
    @classmethod
    def _read_in_its_currency(cls, data: Any, handler: ModelWrapValidatorHandler[PriceBook]) -> PriceBook:
        currency = data.get("currency", "USD") if isinstance(data, Mapping) else "USD"
        token = _currency.set(currency if isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency) else "USD")
        try:
            return handler(data)
        finally:
            _currency.reset(token)

    def prices(self, plan: PlanName) -> dict[str, float]:
        """Machine to amount of one rented plan [currency/h]."""
        found: dict[str, float] = getattr(self, plan) if plan in RENTED else {}
        return found

    def terms_of(self, plan: PlanName, machine: str) -> Terms:
        """Terms of a price; the usual ones where the book has none."""
        return self.terms.get(plan, {}).get(machine) or Terms()

    def origin_of(self, plan: PlanName, machine: str) -> Provenance:
        """Where a price comes from; of a purchase its price, not its life or hosting."""
        path = f"{plan}.{machine}"
        return self.provenance_of(f"{path}.purchase" if plan == "owned" else path)

    def date_of(self, plan: PlanName, machine: str) -> datetime.date:
        """Day on which a price was valid: its own where `provenance` dates it, else the book's."""
        return self.origin_of(plan, machine).date or self.date

    def valid_until_of(self, plan: PlanName, machine: str) -> datetime.date | None:
        """Last day on which a price is offered; None where neither its terms nor the book say."""
        return self.terms_of(plan, machine).valid_until or self.valid_until

    def listed(self) -> Iterator[tuple[PlanName, str]]:
        """Yield every plan and machine that the book has a price for."""
        for plan in PLAN_NAMES:
            for machine in getattr(self, plan):
                yield plan, machine


class Currency(Entry):
    """What one unit of a currency is worth, on one date. The file bears its ISO 4217 code."""

    folder: ClassVar[str] = "currencies"

    date: datetime.date
    usd_per_unit: float = Field(gt=0, description="Exchange rate: US dollars for one unit.")


class Region(Entry):
    """Where electricity comes from: what a kWh emits, and what it costs."""

    folder: ClassVar[str] = "regions"

    title: str
    date: datetime.date = Field(description="Date of the carbon intensity; of a year its last day.")
    carbon_g_per_kwh: GramsPerKwh = Field(alias="carbon", description="CO2-equivalent of electricity generated.")
    electricity_usd_per_kwh: UsdPerKwh | None = Field(default=None, alias="electricity")
