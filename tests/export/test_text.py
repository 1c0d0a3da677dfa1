"""Aligned columns, labelled lines and short forms of numbers."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.export.tables.text import (
    age,
    aligned,
    counted,
    fitted,
    in_words,
    labelled,
    number,
    percent,
    stacked,
    wrapped,
)


def test_columns_are_aligned() -> None:
    assert aligned(["name", "n"], [["a", "10"], ["long", "9"]], right=("n",)) == [
        "  name   n",
        "  a     10",
        "  long   9",
    ]


@given(st.lists(st.lists(st.text("abc ", max_size=9), min_size=3, max_size=3), max_size=5))
def test_every_cell_of_a_left_column_begins_at_the_same_place(rows: list[list[str]]) -> None:
    cells = [[f"[{cell}]" for cell in row] for row in rows]
    lines = aligned(["one", "two", "three"], cells)
    assert len({line.index("[", 6) if "[" in line[6:] else None for line in lines[1:]}) <= 1 or len(rows) == 0
    for line, row in zip(lines[1:], cells, strict=True):
        assert all(cell.strip() in line for cell in row)


def test_labelled_lines_hang_under_their_beginning() -> None:
    lines = labelled("Label", "one two three four", label_width=6, width=32)
    assert lines == ["  Label   one two three four"]
    assert labelled("", "x", label_width=6, width=32) == ["          x"]
    narrow = labelled("Label", "one two three four five six", label_width=6, width=30)
    assert len(narrow) == 2
    assert narrow[1].startswith(" " * 10)
    assert all(len(line) <= 30 for line in narrow)


def test_tables_too_wide_are_stacked() -> None:
    wide = fitted(["a", "b", "c"], [["one", "two", "three"]], width=12)
    assert stacked(wide) == ["  a    b", "  one  two", "", "  a    c", "  one  three"]
    assert stacked([]) == []


def test_wrapped_text_keeps_every_word() -> None:
    lines = wrapped("a " * 80, 40)
    assert all(len(line) <= 40 for line in lines)
    assert " ".join(lines).split() == ["a"] * 80


TODAY = datetime.date(2026, 11, 22)


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ((2026, 11, 22), "of today"),
        ((2026, 11, 21), "1 day old"),
        ((2026, 11, 2), "20 days old"),
        ((2026, 10, 20), "one month old"),
        ((2026, 8, 26), "three months old"),
        ((2025, 11, 22), "twelve months old"),
        ((2025, 7, 22), "16 months old"),
        ((2024, 11, 22), "two years old"),
        ((2023, 11, 30), "three years old"),
        ((2027, 1, 1), "dated in the future"),
    ],
)
def test_age_in_words(date: tuple[int, int, int], words: str) -> None:
    assert age(datetime.date(*date), TODAY) == words


def test_numbers_in_short() -> None:
    assert [number(v) for v in (0, 70, 0.5, 243.567, 10000, 12345.6, 1e7)] == [
        "0", "70", "0.5", "243.6", "10,000", "12,346", "10,000,000",
    ]  # fmt: skip
    assert [percent(v) for v in (0.14, -0.001, 1.2, 12.5)] == ["14 %", "0 %", "120 %", "1,250 %"]
    assert percent(-0.234, 1) == "-23.4 %"
    assert [counted(n, "machine") for n in (0, 1, 1200)] == ["0 machines", "1 machine", "1,200 machines"]
    assert [in_words(n) for n in (0, 3, 12, 13)] == ["no", "three", "twelve", "13"]


@given(st.floats(1e-6, 1e15))
def test_numbers_are_right_to_three_digits(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=1e-3)
