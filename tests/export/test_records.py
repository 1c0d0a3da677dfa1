"""Records as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

from planner.export.records import csv_text, json_text


def test_csv_takes_columns_as_they_come() -> None:
    text = csv_text([{"a": 1, "b": None}, {"b": "x, y", "c": [1, 2]}])
    assert text.splitlines()[0] == "a,b,c"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows == [{"a": "1", "b": "", "c": ""}, {"a": "", "b": "x, y", "c": "[1, 2]"}]
    assert "\r" not in text


def test_json_keeps_names_as_they_are() -> None:
    text = json_text({"title": "café"})
    assert "café" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"title": "café"}
