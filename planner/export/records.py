"""Flat records as CSV and data as JSON: the same input gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from planner.export.workbook.spreadsheet_text import csv_cell


def json_text(data: object) -> str:
    """Return JSON for people and programs: two blanks a level, names as they are, a line end."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def csv_text(records: Sequence[Mapping[str, object]]) -> str:
    """Return records as CSV with a header line.

    Parameters
    ----------
    records : sequence of mapping
        Column to value. Columns come in the order in which they first appear; a list or mapping becomes JSON,
        None an empty field. Text that a spreadsheet would run as a formula (it begins with `=`, `+`, `-`, `@`, a tab
        or a line end) gets an apostrophe before it; numbers stay numbers.
    """
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerow({column: csv_cell(column) for column in columns})
    for record in records:
        writer.writerow({k: _cell(v) for k, v in record.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else csv_cell(value)
