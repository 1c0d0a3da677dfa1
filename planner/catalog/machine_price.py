"""The price of one machine under one plan: its book, its amount and its date."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, ConfigDict

from planner.catalog.prices import PlanName
from planner.catalog.schema import (
    SourceKind,
)


class MachinePrice(BaseModel):
    """What a machine costs an hour, and who says so."""

    model_config = ConfigDict(frozen=True)

    usd_per_hour: float
    plan: PlanName = "on_demand"
    book: str
    provider: str
    date: datetime.date
    kind: SourceKind
    source: str
    currency: str = "USD"
    usd_per_unit: float = 1.0
    exchange_date: datetime.date | None = None
