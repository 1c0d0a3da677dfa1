"""Numbers that people wrote are read in one place: what could be meant otherwise is refused, with what to write."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UnitError
from planner.units import (
    COUNT,
    DATA,
    DURATION,
    FRACTION,
    MONEY,
    MONEY_PER_HOUR,
    RATE,
    TIME,
    Dimension,
    number,
    parse,
    split_number,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1,234.5s", TIME, 1234.5),
        ("1,234,567 s", TIME, 1234567.0),
        ("1_000s", TIME, 1000.0),
        ("1e3/s", RATE, 1000.0),
        ("1.5E-2 h", TIME, 54.0),
        ("70 requests per second", RATE, 70.0),
        ("70 1/s", RATE, 70.0),
        ("\uff11\uff0e\uff15\uff53", TIME, 1.5),
        ("\uff15\uff10\uff05", FRACTION, 0.5),
        ("36.6 percent", FRACTION, 0.366),
        ("\u22125s", TIME, -5.0),
        ("5\u00a0ms", TIME, 0.005),
        ("270 k USD", MONEY, 270e3),
        ("USD 270k", MONEY, 270e3),
        ("$1.2k/h", MONEY_PER_HOUR, 1200.0),
        ("1.2 k USD per hour", MONEY_PER_HOUR, 1200.0),
        ("0.5 M USD/year", MONEY_PER_HOUR, 0.5e6 / 8760),
        ("USD 31.50 per hour", MONEY_PER_HOUR, 31.5),
        ("$22,995.00/month", MONEY_PER_HOUR, 31.5),
        ("1k", COUNT, 1000.0),
    ],
)
def test_read(text: str, dimension: Dimension, value: float) -> None:
    assert parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "words", "fix"),
    [
        ("0,5s", TIME, "decimal comma", "write 0.5s"),
        ("0,500s", TIME, "decimal comma", "write 0.500s"),
        (",5s", TIME, "decimal comma", "write 0.5s"),
        ("1,5/s", RATE, "decimal comma", "write 1.5/s"),
        ("\uff11\uff0c\uff15/s", RATE, "decimal comma", "write 1.5/s"),
        ("31,50 USD/h", MONEY_PER_HOUR, "decimal comma", "write 31.50 USD/h"),
        ("$31,50/h", MONEY_PER_HOUR, "decimal comma", "31.50"),
        ("1,5e3 s", TIME, "decimal comma", "write 1.5e3 s"),
        ("36,6 %", FRACTION, "decimal comma", "write 36.6 %"),
        ("1.234,56 USD", MONEY, "groups of three", "write 1234.56 USD"),
        ("12,34,567 s", TIME, "groups of three", "write 1234567 s"),
        ("1,5,s", TIME, "groups of three", "1234.5"),
        ("1.234.567 s", TIME, "more than one decimal point", "write 1234567 s"),
        ("1 500 ms", TIME, "set apart", "write 1500 ms"),
        ("1\u202f500 ms", TIME, "set apart", "write 1500 ms"),
        ("1'500 ms", TIME, "set apart", "write 1500 ms"),
        ("1_0s", TIME, "set apart", "write 10s"),
        ("\u0663s", TIME, "digits other than", "0 to 9"),
        ("10\u00b2 s", TIME, "digits other than", "0 to 9"),
        ("1e3.5 s", TIME, "not a unit", "200ms"),
        ("1e999 s", TIME, "finite", None),
        ("3,5 years", DURATION, "decimal comma", "write 3.5 years"),
        ("80,5 GB", DATA, "decimal comma", "write 80.5 GB"),
    ],
)
def test_refused_with_what_to_write(text: str, dimension: Dimension, words: str, fix: str | None) -> None:
    with pytest.raises(UnitError, match=words) as caught:
        parse(text, dimension)
    assert repr(text) == caught.value.value
    assert fix is None or fix in str(caught.value.fix)


@given(st.floats(min_value=1e-6, max_value=1e12, allow_nan=False))
def test_a_decimal_comma_is_never_read_as_another_number(value: float) -> None:
    """Written with a comma for its point, a number is refused or worth what the commas say in groups of three."""
    for text in (repr(value), f"{value:.2f}", f"{value:.3f}"):
        assert number(text) == float(text)
        with_comma = text.replace(".", ",")
        if with_comma == text:
            continue
        grouped = re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", with_comma)
        if grouped:
            assert number(with_comma) == float(with_comma.replace(",", ""))
            continue
        with pytest.raises(UnitError) as caught:
            number(with_comma)
        assert float(str(caught.value.fix).removeprefix("write ")) == float(text)


@given(st.integers(min_value=0, max_value=10**15), st.sampled_from(["", ".5", ".25"]))
def test_groups_of_three_are_what_python_writes(whole: int, decimals: str) -> None:
    assert number(f"{whole:,}{decimals}") == float(f"{whole}{decimals}")


@given(st.text(alphabet="0123456789.,eE+-_' \uff11\uff0c\u0663", max_size=12))
def test_whatever_is_read_is_what_python_reads_without_its_groups(text: str) -> None:
    """Nothing is read but a plain number, in groups of three or without any."""
    try:
        found = split_number(text)
    except UnitError:
        return
    if found is None or found[1]:
        return
    plain = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in text).strip()
    assert re.search(r"[,_'](?!\d{3}(?!\d))", plain) is None
    assert found[0] == float(re.sub("[,_]", "", plain)) or not math.isfinite(found[0])
