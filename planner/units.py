"""Quantities with units at the edge, base-unit floats inside.

A quantity is read *by dimension*: the caller says what kind of thing it expects, and a quantity of another
kind is an error that names the right form. GB is 10^9 bytes, GiB is 2^30, Gbit/s is bits; a bare `Gb` is
refused as ambiguous. Numbers that people wrote are read here and nowhere else: decimals come after a point, commas
stand between groups of three digits, and what could be meant otherwise is refused with what to write.

>>> parse("200ms", TIME)
0.2
>>> parse("400 Gbit/s", BANDWIDTH)
50000000000.0
>>> number("1,234.5")
1234.5
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from planner.errors import UnitError

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
# Full-width forms of ASCII, other minus signs and blanks: one reading each.
_ASCII = {0xFF01 + i: 0x21 + i for i in range(94)} | dict.fromkeys(map(ord, "\u2212\u2012\u2013"), "-")
_ASCII |= dict.fromkeys(map(ord, "\u3000\u00a0\u2009\u202f"), " ")
# All that a person may have meant as one number, and the part of it that is read.
_WRITTEN = re.compile(
    r"\s*([+-]?[0-9.,_'\u2019](?:[0-9.,_'\u2019]| (?=[0-9]{3}(?![0-9])))*(?:[eE][+-]?[0-9]+)?)\s*(.*?)\s*$", re.DOTALL
)
_NUMBER = re.compile(
    r"[+-]?(?:[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:_[0-9]{3})+)(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]+)?"
)
NUMBER_RULE = "decimals come after a point; commas stand between groups of three digits"


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its name, base unit, the units it is read in and an example."""

    name: str
    base_unit: str
    example: str
    units: dict[str, float] = field(repr=False, hash=False, compare=False)

    def __str__(self) -> str:
        return self.name


def _data_units() -> dict[str, float]:
    units = {p + "B": f for p, f in {**_DECIMAL, **_BINARY}.items()}
    units |= {p + unit: f / 8 for p, f in {**_DECIMAL, **_BINARY}.items() for unit in ("bit", "bits")}
    return units | {"bytes": 1.0, "byte": 1.0}


def _per_second(units: dict[str, float]) -> dict[str, float]:
    return {u + "/s": f for u, f in units.items()} | {u[:-3] + "bps": f for u, f in units.items() if u.endswith("bit")}


_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SECONDS |= {"minute": 60.0, "minutes": 60.0, "hr": 3600.0}
_SECONDS |= {"min": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0}
_MULTIPLES = (("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6))
_HOURS = {"/h": 1.0, "/hr": 1.0, "/hour": 1.0, "/day": 1 / 24, "/month": 12 / 8760, "/year": 1 / 8760}
_EVENTS = ("", "1", "req", "request", "requests")

TIME = Dimension("time", "s", "200ms", _SECONDS)
DATA = Dimension("data size", "bytes", "80 GB", _data_units())
BANDWIDTH = Dimension("bandwidth", "bytes/s", "400 Gbit/s or 50 GB/s", _per_second(_data_units()))
RATE = Dimension(
    "rate",
    "1/s",
    "70/s",
    {f"{p}{e}/{u}": f / s for p, f in _MULTIPLES for e in _EVENTS for u, s in _SECONDS.items()}
    | {"rps": 1.0, "qps": 1.0, "Hz": 1.0, "rpm": 1 / 60, "rph": 1 / 3600},
)
COMPUTE = Dimension(
    "compute rate",
    "FLOP/s",
    "989 TFLOP/s",
    {p + u: f for p, f in _DECIMAL.items() for u in ("FLOP/s", "FLOPS", "FLOPs", "flops", "OP/s", "OPS")},
)
POWER = Dimension("power", "W", "10.2 kW", {"W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9, "mW": 1e-3})
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def _names_of(currency: str) -> tuple[str, ...]:
    return (currency, _SIGNS[currency]) if currency in _SIGNS else (currency,)


def money_per_hour(currency: str) -> Dimension:
    """Return the dimension of a price per hour in a currency (ISO 4217 code)."""
    units = {p + c + h: f * g for c in _names_of(currency) for p, g in _MULTIPLES for h, f in _HOURS.items()}
    return Dimension("price per hour", f"{currency}/h", f"38.00 {currency}/h", units)


def money(currency: str) -> Dimension:
    """Return the dimension of an amount of money in a currency (ISO 4217 code)."""
    units = {p + c: f for c in _names_of(currency) for p, f in _MULTIPLES}
    return Dimension("amount of money", currency, f"270,000 {currency}", units)


MONEY_PER_HOUR = money_per_hour("USD")
MONEY = money("USD")
MONEY_PER_KWH = Dimension(
    "price of electricity",
    "USD/kWh",
    "0.086 USD/kWh",
    {c + e: f for c in ("USD", "$") for e, f in (("/kWh", 1.0), ("/MWh", 1e-3))},
)
CARBON = Dimension(
    "carbon intensity",
    "g/kWh",
    "481 g/kWh",
    {m + e: f * g for m, f in (("g", 1.0), ("kg", 1e3)) for e, g in (("/kWh", 1.0), ("/MWh", 1e-3))},
)
_MONTHS = {"month": 1.0, "months": 1.0, "year": 12.0, "years": 12.0, "week": 168 / 730, "weeks": 168 / 730}
DURATION = Dimension("duration", "months", "4 years", _MONTHS | {"day": 24 / 730, "days": 24 / 730})
INTERRUPTIONS = Dimension(
    "interruption rate", "1/h", "0.02/h", {p + u: f * g for p, g in (("", 1.0), ("%", 0.01)) for u, f in _HOURS.items()}
)
FRACTION = Dimension("fraction", "1", "0.7 or 70 %", {"": 1.0, "%": 0.01, "percent": 0.01})
COUNT = Dimension("count", "1", "8", {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12})
PARAMETERS = Dimension("number of parameters", "1", "70.6 B", {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12})

DIMENSIONS = (
    TIME, DATA, BANDWIDTH, RATE, COMPUTE, POWER, MONEY_PER_HOUR, MONEY, MONEY_PER_KWH, CARBON, DURATION, FRACTION,
    COUNT, PARAMETERS,
)  # fmt: skip


def parse(text: str | float, dimension: Dimension, *, bare_ok: bool = True) -> float:
    """Read a quantity of a known dimension.

    Parameters
    ----------
    text : str, int or float
        `"200ms"`, `"$38/h"`. An int or float (never a numeric string) is taken to be in the base unit.
    dimension : Dimension
        What the quantity must be.
    bare_ok : bool
        If False, a number without a unit is refused for every dimension that has one.

    Returns
    -------
    float
        The value in the base unit of `dimension`; finite.

    Raises
    ------
    UnitError
        Not a number, not finite, a missing, ambiguous or wrong unit.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError(f"not a {dimension}", value=repr(text), fix=f"write it like {dimension.example}")
    if isinstance(text, (int, float)):
        if not bare_ok and "" not in dimension.units:
            raise UnitError(
                f"a {dimension} needs its unit", value=text, fix=f"write it with a unit, like {dimension.example}"
            )
        return _finite(float(text), text, dimension)
    try:
        found = split_number(_currency_last(text.translate(_ASCII)))
    except UnitError as error:
        error.value = repr(text)
        raise
    if found is None:
        raise UnitError(f"not a {dimension}", value=repr(text), fix=f"write it like {dimension.example}")
    value = _finite(found[0], text, dimension)
    unit = re.sub(r"\s+", "", re.sub(r"\bper\b", "/", found[1]))
    factor = dimension.units.get(unit)
    if factor is None:
        raise _wrong_unit(text, unit, dimension)
    return _finite(value * factor, text, dimension)


def parse_argument(value: str | float, dimension: Dimension, *, where: str) -> float:
    """Read an argument of a function; an error names it."""
    try:
        return parse(value, dimension)
    except UnitError as error:
        raise error.at(where) from None


def split_number(text: str) -> tuple[float, str] | None:
    """Read the number that a text begins with.

    Parameters
    ----------
    text : str
        `"1,234.5 USD/h"`, `"1e3/s"`, full-width digits included.

    Returns
    -------
    tuple of float and str, or None
        The number and what stands behind it; None where the text does not begin with a number.

    Raises
    ------
    UnitError
        What begins the text is meant as a number and could be read in two ways, or in none: a comma that is not
        between groups of three digits, two decimal points, digits set apart by blanks or apostrophes.
    """
    plain = text.translate(_ASCII)
    match = _WRITTEN.match(plain)
    if not match or not any("0" <= c <= "9" for c in match[1]):
        if any(c.isdigit() and not "0" <= c <= "9" for c in plain):
            raise UnitError("digits other than 0 to 9", value=repr(text), rule=NUMBER_RULE, fix="write 0 to 9")
        return None
    if not _NUMBER.fullmatch(match[1]):
        meant = _meant(match[1])
        raise UnitError(
            _fault_of(match[1]), value=repr(text), rule=NUMBER_RULE,
            fix=f"write {text.translate(_ASCII).strip().replace(match[1], meant)}" if meant else "write it like 1234.5",
        )  # fmt: skip
    if any(c.isdigit() and not "0" <= c <= "9" for c in match[2]):
        raise UnitError("digits other than 0 to 9", value=repr(text), rule=NUMBER_RULE, fix="write 0 to 9")
    return float(match[1].replace(",", "").replace("_", "")), match[2]


def number(text: str) -> float:
    """Read a plain number that a person wrote.

    Raises
    ------
    UnitError
        Not a number, not finite, or one that could be read in two ways.
    """
    found = split_number(text)
    if found is None or found[1]:
        raise UnitError("not a number", value=repr(text), fix="write it like 1234.5")
    if not math.isfinite(found[0]):
        raise UnitError("not a finite number", value=repr(text))
    return found[0]


def _fault_of(written: str) -> str:
    if "," in written and "." not in written and written.count(",") == 1:
        return "a decimal comma"
    if "," in written:
        return "commas that are not between groups of three digits"
    if written.count(".") > 1:
        return "more than one decimal point"
    return "digits set apart by something other than commas"


def _meant(written: str) -> str | None:
    """What a number in another country's form was probably meant to be, in ours."""
    bare = re.sub(r"[ '\u2019_]", "", written)
    mantissa, *exponent = re.split(r"(?=[eE])", bare)
    last = max(mantissa.rfind(","), mantissa.rfind("."))
    if last == len(mantissa) - 1:
        return None
    if last < 0 or mantissa.count(mantissa[last]) > 1:  # 1 234 567, 1.234.567 and 12,34,567: only groups
        meant = re.sub(r"[.,]", "", mantissa)
    else:
        meant = f"{re.sub(r'[.,]', '', mantissa[:last]) or '0'}.{mantissa[last + 1 :]}"
    meant += "".join(exponent)
    return meant if _NUMBER.fullmatch(meant) else None


def _currency_last(text: str) -> str:
    """Rewrite `$38/h` as `38 $/h`, so that the number comes first."""
    match = re.match(
        r"\s*([$€£]|[A-Z]{3})\s*([+-]?[0-9.][0-9.,_'\u2019 ]*?(?:[eE][+-]?[0-9]+)?)\s*([kKM]?)\s*(/.*| ?per .*)?$", text
    )
    return f"{match[2]} {match[3]}{match[1]} {match[4] or ''}" if match else text


def _finite(value: float, text: object, dimension: Dimension) -> float:
    if not math.isfinite(value):
        raise UnitError(f"a {dimension} must be a finite number", value=repr(text))
    return value


def _wrong_unit(text: str, unit: str, dimension: Dimension) -> UnitError:
    fix = f"write it like {dimension.example}"
    if not unit:
        return UnitError(f"a {dimension} needs its unit", value=repr(text), fix=fix)
    if re.fullmatch(r"[kKMGTP]i?b(/s)?", unit):
        prefix = unit.split("b")[0]
        tail = "/s" if dimension is BANDWIDTH else ""
        return UnitError(
            f"{unit!r} is ambiguous: bits or bytes?",
            value=repr(text),
            fix=f"write {prefix}bit{tail} for bits or {prefix}B{tail} for bytes",
        )
    others = [d for d in DIMENSIONS if unit in d.units]
    if others:
        return UnitError(f"expected a {dimension}, got {unit!r}, which is a {others[0]}", value=repr(text), fix=fix)
    if dimension is MONEY_PER_HOUR and re.fullmatch(r"[A-Z]{3}/\w+", unit):
        return UnitError(
            f"currency {unit[:3]} is not supported", value=repr(text), rule="prices are in USD", fix="convert it to USD"
        )
    return UnitError(f"{unit!r} is not a unit of {dimension}", value=repr(text), fix=fix)


def format_time(seconds: float) -> str:
    """Render a time for people: `61 ms`, `0.84 s`, `2.5 min`."""
    if seconds < 0:
        return "-" + format_time(-seconds)
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} us"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def format_data(n_bytes: float) -> str:
    """Render an amount of data in decimal units: `141 GB`."""
    return _si(n_bytes, "B")


def format_bandwidth(bytes_per_s: float) -> str:
    """Render a bandwidth in decimal bytes: `50 GB/s`."""
    return _si(bytes_per_s, "B/s")


def format_line_rate(bytes_per_s: float) -> str:
    """Render the line rate of a network port, which is sold in bits: `25 Gbit/s`."""
    return _si(8.0 * bytes_per_s, "bit/s")


def format_power(watts: float) -> str:
    """Render a power: `306 kW`."""
    return _si(watts, "W")


def format_number(value: float, digits: int = 4) -> str:
    """Render a number to so many significant digits, with thousands separated and no trailing zeros."""
    if value == 0:
        return "0"
    if abs(value) >= 10.0**digits:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


def format_money(usd: float) -> str:
    """Render an amount of US dollars: `$1,140.00`."""
    return f"${usd:,.2f}"


def _si(value: float, unit: str) -> str:
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * 0.9995:
            return (
                f"{value / factor:.3g} {prefix}{unit}"
                if abs(value) < 1000 * factor
                else f"{value / factor:,.0f} {prefix}{unit}"
            )
    return f"{value:.3g} {unit}"


def clients_text(users: int | None, concurrency: int | None, think_time_s: float | None) -> str:
    """`500 users who think 20 s` or `64 requests under way`; empty where the load is a rate."""
    if users is not None:
        return f"{users:,} users who think {format_time(think_time_s or 0.0)}"
    return "" if concurrency is None else f"{concurrency:,} requests under way"
