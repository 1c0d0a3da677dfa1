"""One price offered for one machine, as it was read; and what holds where a file does not say."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from planner.catalog.imports.quote_words import PERIOD_HOURS
from planner.catalog.prices import PlanName


@dataclass(frozen=True)
class Quote:
    """One price offered for one machine.

    Attributes
    ----------
    row : int
        Row in the file, counted from 1.
    amount : float
        Of one machine, in `currency`, for `period`: `h`, `day`, `week`, `month` or `year`; empty for a purchase.
    quoted : str
        As it was quoted, where that is not the price of one machine for that time; else empty.
    life, residual, maintenance, lead_time : str or None
        As a catalog file writes them.
    tier : int or None
        Fewest machines that this price is for, where others are cheaper or dearer.
    """

    row: int
    machine: str
    plan: PlanName
    amount: float
    period: str
    currency: str
    provider: str
    date: datetime.date
    source: str
    quoted: str = ""
    minimum_order: int | None = None
    tier: int | None = None
    max_count: int | None = None
    lead_time: str | None = None
    available_from: datetime.date | None = None
    valid_until: datetime.date | None = None
    region: str | None = None
    life: str | None = None
    residual: str | None = None
    maintenance: str | None = None

    @property
    def amount_text(self) -> str:
        """As a catalog file writes it: `38.00 USD/h`, `270000.00 USD`."""
        digits = f"{self.amount:.2f}" if round(self.amount, 2) == self.amount else f"{self.amount:.12g}"
        return f"{digits} {self.currency}" + (f"/{self.period}" if self.period else "")

    @property
    def per_hour(self) -> float:
        """[currency/h]; of a purchase its price [currency]."""
        return self.amount / PERIOD_HOURS[self.period] if self.period else self.amount


@dataclass(frozen=True)
class QuoteDefaults:
    """What holds where the file has no column for it."""

    provider: str | None = None
    date: datetime.date | None = None
    currency: str | None = None
    period: str | None = None
    per: str | None = None
    plan: PlanName | None = None
    life: str | None = None
