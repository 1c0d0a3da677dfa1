"""Pydantic field types that read strings with units and hold base-unit floats."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from planner import units
from planner.units import Dimension


def _reader(dimension: Dimension) -> BeforeValidator:
    def read(value: object, info: ValidationInfo) -> float:
        # A catalog or scenario file must spell its units; Python callers may pass base-unit floats.
        bare_ok = not (info.context or {}).get("from_file", False)
        try:
            return units.parse(value, dimension, bare_ok=bare_ok)  # type: ignore[arg-type]
        except units.UnitError as error:
            detail = f"{error.what} (got {value!r}); {error.fix}" if error.fix else f"{error.what} (got {value!r})"
            raise ValueError(detail) from None

    return BeforeValidator(read)


def _schema(dimension: Dimension) -> WithJsonSchema:
    accepted: dict[str, object] = {
        "type": ["string", "number"] if "" in dimension.units else "string",
        "description": f"A {dimension.name}, like {dimension.example}; read into {dimension.base_unit}.",
        "examples": [dimension.example.split(" or ")[0]],
        "x-unit": dimension.base_unit,
    }
    return WithJsonSchema(accepted, mode="validation")


Seconds = Annotated[float, Field(ge=0), _reader(units.TIME), _schema(units.TIME)]
Bytes = Annotated[float, Field(gt=0), _reader(units.DATA), _schema(units.DATA)]
BytesPerS = Annotated[float, Field(gt=0), _reader(units.BANDWIDTH), _schema(units.BANDWIDTH)]
FlopPerS = Annotated[float, Field(gt=0), _reader(units.COMPUTE), _schema(units.COMPUTE)]
Watts = Annotated[float, Field(gt=0), _reader(units.POWER), _schema(units.POWER)]
UsdPerHour = Annotated[float, Field(gt=0), _reader(units.MONEY_PER_HOUR), _schema(units.MONEY_PER_HOUR)]
PerS = Annotated[float, Field(gt=0), _reader(units.RATE), _schema(units.RATE)]
Fraction = Annotated[float, Field(gt=0, le=1), _reader(units.FRACTION), _schema(units.FRACTION)]
FractionOrZero = Annotated[float, Field(ge=0, le=1), _reader(units.FRACTION), _schema(units.FRACTION)]
NParameters = Annotated[float, Field(gt=0), _reader(units.PARAMETERS), _schema(units.PARAMETERS)]
