"""Quotes that are far from every other price of the same thing: mostly a unit that was read wrongly."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import Quote
from planner.catalog.prices import RENTED, PlanName
from planner.catalog.schema import Machine, PriceBook

FACTOR = 3.0
# Between these a price an accelerator lies whatever it is: a T4 rents for cents, a GB300 for less than 30 USD/h.
_RENT_USD_PER_HOUR = (0.03, 60.0)
_PURCHASE_USD = (300.0, 250_000.0)


@dataclass(frozen=True)
class Outlier:
    """A quote, and what it is compared with."""

    quote: Quote
    usd: float
    usual: float
    of: str

    @property
    def ratio(self) -> float:
        """Its price over the usual one."""
        return self.usd / self.usual


def outliers(quotes: Sequence[Quote], catalog: Catalog) -> list[Outlier]:
    """Find quotes a factor of three from the median of the other prices of their accelerator.

    The others are those of the file and of the catalog under the same price plan; where there are none, of all ways to
    rent, of which the lowest and the highest are taken; where there are none either, bounds that hold for any
    accelerator.
    """
    known = _known(catalog)
    chip_of = {name: catalog.machine(name) for name in {q.machine for q in quotes}}
    usd = {id(q): _usd(catalog, q) / float(chip_of[q.machine].n_accelerators) for q in quotes}
    found = []
    for quote in quotes:
        chip = chip_of[quote.machine].accelerator
        others = [
            usd[id(q)] for q in quotes
            if q is not quote and q.plan == quote.plan and chip_of[q.machine].accelerator == chip
        ] + known.get((chip, quote.plan), [])  # fmt: skip
        low, high, of = _usual(chip, quote.plan, others, known)
        if not low / FACTOR < usd[id(quote)] < high * FACTOR:
            usual = low if usd[id(quote)] < low else high
            found.append(Outlier(quote, usd[id(quote)], usual, of))
    return found


def _usual(
    chip: str, plan: PlanName, others: Sequence[float], known: dict[tuple[str, PlanName], list[float]]
) -> tuple[float, float, str]:
    if others:
        middle = statistics.median(others)
        return middle, middle, f"the median of {len(others)} other prices" if len(others) > 1 else "the other price"
    if plan != "owned":
        rents = [price for p in RENTED for price in known.get((chip, p), [])]
        if rents:
            return min(rents), max(rents), "other ways to rent it"
    low, high = _PURCHASE_USD if plan == "owned" else _RENT_USD_PER_HOUR
    return low * FACTOR, high / FACTOR, "any accelerator"


def _usd(catalog: Catalog, quote: Quote) -> float:
    return quote.per_hour * (1.0 if quote.currency == "USD" else catalog.currency(quote.currency).usd_per_unit)


def _known(catalog: Catalog) -> dict[tuple[str, PlanName], list[float]]:
    """Prices an accelerator of the catalog in USD, by accelerator and price plan."""
    found: dict[tuple[str, PlanName], list[float]] = {}
    machines = set(catalog.names(Machine))
    for name in catalog.names(PriceBook):
        book = catalog.price_book(name)
        if not book.default:
            continue
        for plan, machine_name in book.listed():
            if machine_name in machines:
                machine = catalog.machine(machine_name)
                usd = catalog.amount_usd(name, machine_name, plan) / float(machine.n_accelerators)
                found.setdefault((machine.accelerator, plan), []).append(usd)
    return found
