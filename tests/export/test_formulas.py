"""Formulas: the text says what the value is."""

from __future__ import annotations

import pytest

from planner.export.workbook.formulas import (
    Formula,
    Range,
    address,
    choose,
    column_name,
    function,
    known,
    sum_of_products,
    sum_where,
    total,
)

A, B, C, GONE = Formula("A1", 6.0), Formula("B1", 4.0), Formula("C1", 2.0), Formula("D1", None)


@pytest.mark.parametrize(
    ("formula", "text", "value"),
    [
        (A + B * C, "A1+B1*C1", 14.0),
        ((A + B) * C, "(A1+B1)*C1", 20.0),
        (A - (B - C), "A1-(B1-C1)", 4.0),
        (A - B - C, "A1-B1-C1", 0.0),
        (A / (B / C), "A1/(B1/C1)", 3.0),
        (A / B / C, "A1/B1/C1", 0.75),
        (2 * (1 - A), "2*(1-A1)", -10.0),
        (12 / (A + B), "12/(A1+B1)", 1.2),
        (A * -1, "A1*-1", -6.0),
        (A / (B - 4), "A1/(B1-4)", None),
        (A + GONE, "A1+D1", None),
        (choose(A.equals(6), B, "no"), 'IF(A1=6,B1,"no")', 4.0),
        (choose(A.equals(5), B, 'n"o'), 'IF(A1=5,B1,"n""o")', 'n"o'),
        (known(GONE, GONE), "IF(ISNUMBER(D1),D1,NA())", None),
        (function("MAX", max, A, 9), "MAX(A1,9)", 9.0),
    ],
)
def test_text_and_value(formula: Formula, text: str, value: object) -> None:
    assert (formula.text, formula.value) == (text, value)


def test_ranges() -> None:
    numbers, others, words = Range("A1:A3", (1.0, 2.0, 3.0)), Range("B1:B3", (4, 5, 6)), Range("C1:C3", ("x", "y", "x"))
    assert (total(numbers).text, total(numbers).value) == ("SUM(A1:A3)", 6.0)
    assert sum_of_products(numbers, others).value == 32.0
    assert (sum_where(words, "x", numbers).text, sum_where(words, "x", numbers).value) == (
        'SUMIF(C1:C3,"x",A1:A3)', 4.0,
    )  # fmt: skip
    assert total(Range("A1:A2", (1.0, None))).value is None
    assert sum_where(words, "y", Range("A1:A3", (None, 2.0, None))).value == 2.0


def test_addresses() -> None:
    assert [column_name(n) for n in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
    assert address(2, 27) == "$AB$3"
