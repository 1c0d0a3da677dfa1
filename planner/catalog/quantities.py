"""Pydantic field types that read strings with units and hold base-unit floats."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from planner import units
from planner.units import Dimension


def read_quantity(value: object, dimension: Dimension, info: ValidationInfo) -> float:
    """Read a field's value in base units; pydantic turns the ValueError into one that says where."""
    # A catalog or scenario file must spell its units; Python callers may pass base-unit floats.
    bare_ok = not (info.context or {}).get("from_file", False)
    try:
        return units.parse(value, dimension, bare_ok=bare_ok)  # type: ignore[arg-type]
    except units.UnitError as error:
        detail = f"{error.what} (got {value!r}); {error.fix}" if error.fix else f"{error.what} (got {value!r})"
        raise ValueError(detail) from None


def _reader(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(lambda value, info: read_quantity(value, dimension, info))


def schema_of(dimension: Dimension) -> WithJsonSchema:
    """The JSON Schema of a quantity: text with its unit."""
    accepted: dict[str, object] = {
        "type": ["string", "number"] if "" in dimension.units else "string",
        "description": f"A {dimension.name}, like {dimension.example}; read into {dimension.base_unit}.",
        "examples": [dimension.example.split(" or ")[0]],
        "x-unit": dimension.base_unit,
    }
    return WithJsonSchema(accepted, mode="validation")


Seconds = Annotated[float, Field(ge=0), _reader(units.TIME), schema_of(units.TIME)]
Bytes = Annotated[float, Field(gt=0), _reader(units.DATA), schema_of(units.DATA)]
BytesOrZero = Annotated[float, Field(ge=0), _reader(units.DATA), schema_of(units.DATA)]
BytesPerS = Annotated[float, Field(gt=0), _reader(units.BANDWIDTH), schema_of(units.BANDWIDTH)]
FlopPerS = Annotated[float, Field(gt=0), _reader(units.COMPUTE), schema_of(units.COMPUTE)]
Watts = Annotated[float, Field(gt=0), _reader(units.POWER), schema_of(units.POWER)]
UsdPerHour = Annotated[float, Field(gt=0), _reader(units.MONEY_PER_HOUR), schema_of(units.MONEY_PER_HOUR)]
PerS = Annotated[float, Field(gt=0), _reader(units.RATE), schema_of(units.RATE)]
Fraction = Annotated[float, Field(gt=0, le=1), _reader(units.FRACTION), schema_of(units.FRACTION)]
FractionOrZero = Annotated[float, Field(ge=0, le=1), _reader(units.FRACTION), schema_of(units.FRACTION)]
LargeCount = Annotated[float, Field(gt=0), _reader(units.COUNT), schema_of(units.COUNT)]
NParameters = Annotated[float, Field(gt=0), _reader(units.PARAMETERS), schema_of(units.PARAMETERS)]
UsdPerKwh = Annotated[float, Field(ge=0), _reader(units.MONEY_PER_KWH), schema_of(units.MONEY_PER_KWH)]
GramsPerKwh = Annotated[float, Field(ge=0), _reader(units.CARBON), schema_of(units.CARBON)]
Months = Annotated[float, Field(gt=0), _reader(units.DURATION), schema_of(units.DURATION)]
InterruptionsPerHour = Annotated[float, Field(ge=0), _reader(units.INTERRUPTIONS), schema_of(units.INTERRUPTIONS)]
