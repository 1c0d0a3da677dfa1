"""Any result as one HTML page: tables that scroll on a phone and print, without script or other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from planner.export.result_tables import ResultTable
from planner.export.style import STYLE

_MANY_ROWS = 500
_PAIRS = ".pairs { grid-template-columns: 1fr 1fr }\n"


def result_page(title: str, tables: Sequence[ResultTable]) -> str:
    """Return the tables of a result as a self-contained HTML page.

    Parameters
    ----------
    title : str
    tables : sequence of ResultTable
    """
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{_PAIRS}</style>\n</head>\n<body>\n"
        + result_body(title, tables)
        + "\n</body>\n</html>\n"
    )


def result_body(title: str, tables: Sequence[ResultTable]) -> str:
    """Return what is between the tags of the body of `result_page`, for another page to hold."""
    parts = [f"<h1>{escape(title)}</h1>"]
    for table in tables:
        if table.columns in (["figure", "value"], ["field", "value"]):
            parts.append(f"<h2>{escape(table.title)}</h2>\n{_pairs(table)}")
            continue
        columns = [c for c in table.columns if any(r.get(c) not in (None, "") for r in table.records)]
        head = "".join(f"<th>{escape(c.replace('_', ' '))}</th>" for c in columns)
        rows = "\n".join(
            "<tr>" + "".join(_cell(record.get(c)) for c in columns) + "</tr>" for record in table.records[:_MANY_ROWS]
        )
        parts.append(
            f'<h2>{escape(table.title)}</h2>\n<div class="scroll" tabindex="0"><table><tr>{head}</tr>\n'
            f"{rows}</table></div>"
        )
        if len(table.records) > _MANY_ROWS:
            parts.append(f'<p class="pale">and {len(table.records) - _MANY_ROWS:,} more rows: --csv lists all</p>')
    return "\n".join(parts)


def _pairs(table: ResultTable) -> str:
    """Names and values one below the other, which a phone shows whole."""
    name = table.columns[0]
    lines = [
        f"<dt>{escape(str(r[name]).replace('_', ' '))}</dt><dd>{escape(_text(r['value']))}</dd>"
        for r in table.records
        if r["value"] not in (None, "")
    ]
    return f'<dl class="pairs">{"".join(lines)}</dl>'


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if abs(value) >= 100 else f"{value:,.4g}"
    return str(value)


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    kind = ' class="number"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return f"<td{kind}>{escape(_text(value))}</td>"
