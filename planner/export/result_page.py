"""Any result as one HTML page: tables that scroll on a phone and print, without script or other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from planner.export.plan_page import STYLE
from planner.export.result_tables import ResultTable

_MANY_ROWS = 500


def result_page(title: str, tables: Sequence[ResultTable]) -> str:
    """Return the tables of a result as a self-contained HTML page.

    Parameters
    ----------
    title : str
    tables : sequence of ResultTable
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    for table in tables:
        columns = [c for c in table.columns if any(r.get(c) not in (None, "") for r in table.records)]
        head = "".join(f"<th>{escape(c.replace('_', ' '))}</th>" for c in columns)
        rows = "\n".join(
            "<tr>" + "".join(_cell(record.get(c)) for c in columns) + "</tr>" for record in table.records[:_MANY_ROWS]
        )
        parts.append(
            f'<h2>{escape(table.title)}</h2>\n<div class="scroll"><table><tr>{head}</tr>\n{rows}</table></div>'
        )
        if len(table.records) > _MANY_ROWS:
            parts.append(f'<p class="pale">and {len(table.records) - _MANY_ROWS:,} more rows: --csv lists all</p>')
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return f"<td>{'' if value is None else 'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if abs(value) >= 100 else f"{value:,.4g}"
        return f'<td class="number">{text}</td>'
    return f"<td>{escape(str(value))}</td>"
