"""A value and how sure it is, as results print it."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _known(value: object) -> object:
    """NaN and infinity, which JSON cannot carry, as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_known)]


class IntervalReport(BaseModel):
    """A simulated value and its 95 % confidence interval; null where there is none."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True, defer_build=True
    )

    value: Number
    low: Number
    high: Number

    @classmethod
    def of(cls, interval: Any) -> IntervalReport:
        """From anything with `value`, `low` and `high`."""
        return cls(value=float(interval.value), low=float(interval.low), high=float(interval.high))

    @classmethod
    def unknown(cls) -> IntervalReport:
        """Where nothing can be said."""
        return cls(value=None, low=None, high=None)
