"""Cells, formats, names and inputs of an Excel workbook, over XlsxWriter: the only module that calls it.

Text goes in as text whatever it begins with, inputs are coloured and checked, and a formula goes in with its value.
"""

from __future__ import annotations

import datetime
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from planner.errors import OutputError
from planner.export.workbook.formulas import Formula, Range, Value, address
from planner.export.workbook.spreadsheet_text import may_run

_LONGEST_TEXT = 32_000  # Excel takes 32,767 characters a cell
_NUMBER_FORMATS = {
    "money": "$#,##0.00", "money_whole": "$#,##0", "money_small": "$#,##0.0000", "change": "+$#,##0;-$#,##0;$0",
    "plain": "#,##0.00", "plain_small": "#,##0.0000", "tenths": "#,##0.0", "percent": "0.0%",
    "signed_percent": "+0.0%;-0.0%;0.0%", "count": "#,##0",
    "number": "General",    "seconds": '0.000 "s"', "times": '0.00"x"', "date": "yyyy-mm-dd", "text": "@",
}  # fmt: skip
_INK, _INPUT_INK, _INPUT_FILL, _HEAD_FILL, _RULE = "#1A1A1A", "#0000C0", "#FFF7D1", "#E3ECF5", "#9AA5B1"
BLUE, ORANGE = "#0072B2", "#D55E00"


class Book:
    """A workbook in memory.

    Parameters
    ----------
    created : date
        What the file says it was created on; with it the same content gives the same bytes.
    title : str
        Of the document.
    inputs : mapping of (str, str) to value, optional
        Sheet and cell, such as `("Assumptions", "B6")`, to what is typed there in the place of the plan's own.
    """

    def __init__(
        self, created: datetime.date, title: str, inputs: Mapping[tuple[str, str], float | str] | None = None
    ) -> None:
        import xlsxwriter

        self._stream = io.BytesIO()
        self._book = xlsxwriter.Workbook(self._stream, {"in_memory": True, "strings_to_formulas": False})
        self._book.set_properties({
            "title": title,
            "author": "planner",
            "created": datetime.datetime.combine(created, datetime.time()),
        })  # fmt: skip
        self._book.set_calc_mode("auto")
        self._formats: dict[tuple[str, ...], Any] = {}
        self.names: dict[str, Formula] = {}
        self.inputs = dict(inputs or {})

    def sheet(self, title: str, widths: Sequence[float], pages_high: int) -> CellGrid:
        """Add a sheet with the widths of its columns [characters] and the pages it prints on (0: as many as needed)."""
        page = self._book.add_worksheet(title)
        for column, width in enumerate(widths):
            page.set_column(column, column, width)
        page.hide_gridlines(2)
        page.set_landscape()
        page.set_paper(9)  # A4
        page.fit_to_pages(1, pages_high)
        page.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
        page.set_footer("&L&8&F, &A&R&8page &P of &N")
        page.set_row(0, 24)
        return CellGrid(self, title, page, widths)

    def name(self, name: str, cell: Formula) -> Formula:
        """Name a cell; returns it under that name."""
        self._book.define_name(name, f"={cell.text}")
        self.names[name] = Formula(name, cell.value)
        return self.names[name]

    def chart(self, kind: dict[str, str], title: str, unit: str) -> Any:
        """A chart with a title and a named value axis; no legend yet."""
        chart = self._book.add_chart(kind)
        chart.set_title({"name": title, "name_font": {"size": 12, "bold": True}, "overlay": False})
        axis = {"name": unit, "name_font": {"size": 9, "bold": False}, "num_format": "$#,##0", "num_font": {"size": 9}}
        axis["major_gridlines"] = {"visible": True, "line": {"color": "#DDDDDD"}}
        if kind["type"] == "bar":  # the first row on top, the values below
            chart.set_x_axis(axis)
            chart.set_y_axis({"reverse": True, "crossing": "max", "label_position": "low", "num_font": {"size": 9}})
        else:
            chart.set_y_axis(axis)
            chart.set_x_axis({"num_font": {"size": 9}})
        chart.set_legend({"none": True})
        return chart

    def format(self, *styles: str) -> Any:
        """A cell format out of style words and at most one number format, made once."""
        if styles not in self._formats:
            fields: dict[str, Any] = {"font_name": "Calibri", "font_size": 10, "font_color": _INK, "valign": "top"}
            for style in styles:
                fields |= _STYLES.get(style) or {"num_format": _NUMBER_FORMATS[style]}
            self._formats[styles] = self._book.add_format(fields)
        return self._formats[styles]

    def to_bytes(self) -> bytes:
        """Return the whole file."""
        self._book.close()
        return self._stream.getvalue()


_STYLES: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 16},
    "subtitle": {"font_size": 11, "font_color": "#555555"},
    "heading": {"bold": True, "font_size": 12, "font_color": BLUE, "bottom": 1, "bottom_color": _RULE},
    "head": {"bold": True, "bg_color": _HEAD_FILL, "text_wrap": True, "bottom": 1, "bottom_color": _RULE},
    "right": {"align": "right"},
    "centre": {"align": "center"},
    "bold": {"bold": True},
    "total": {"bold": True, "top": 1, "top_color": _RULE},
    "note": {"italic": True, "font_color": "#555555"},
    "wrap": {"text_wrap": True},
    "input": {"font_color": _INPUT_INK, "bg_color": _INPUT_FILL, "border": 1, "border_color": "#D8C98A"},
    "unit": {"align": "left", "indent": 1},
    "quoted": {"quote_prefix": True},
    "good": {"font_color": "#00703C", "bold": True},
    "bad": {"font_color": "#B00020", "bold": True},
    "stale": {"font_color": "#B00020", "bold": True},
}


class CellGrid:
    """One sheet. Rows and columns count from 0."""

    def __init__(self, book: Book, title: str, page: Any, widths: Sequence[float]) -> None:
        self.book, self.title, self.page, self._widths = book, title, page, widths
        self._prefix = title if re.fullmatch(r"\w+", title) else f"'{title}'"
        self._last = (0, 0)

    def text(self, row: int, column: int, text: str, *styles: str) -> Formula:
        """Write text; it stays text whatever it begins with, also when somebody edits the cell."""
        if len(text) > _LONGEST_TEXT:
            text = text[:_LONGEST_TEXT] + " ... (cut here)"
        if may_run(text):
            styles = (*styles, "quoted")
        self.page.write_string(row, column, text, self.book.format(*styles))
        return self._cell(row, column, text)

    def paragraph(self, row: int, column: int, last_column: int, text: str, *styles: str) -> None:
        """Write text that runs over several columns and as many lines as it needs."""
        width = sum(self._widths[column : last_column + 1])
        if last_column > column:
            self.page.merge_range(row, column, row, last_column, "", self.book.format("wrap", *styles))
        self.text(row, column, text, "wrap", *styles)
        self.page.set_row(row, 13.5 * math.ceil(0.98 * len(text) / width))

    def number(self, row: int, column: int, value: float | None, *styles: str) -> Formula:
        """Write a number; nothing where it is None."""
        value = self._typed(row, column, value)  # type: ignore[assignment]
        if value is None:
            self.page.write_blank(row, column, None, self.book.format(*styles))
        else:
            self.page.write_number(row, column, value, self.book.format(*styles))
        return self._cell(row, column, value)

    def date(self, row: int, column: int, value: datetime.date, *styles: str) -> Formula:
        """Write a date."""
        self.page.write_datetime(row, column, value, self.book.format("date", *styles))
        return self._cell(row, column, (value - datetime.date(1899, 12, 30)).days)

    def formula(self, row: int, column: int, formula: Formula, *styles: str) -> Formula:
        """Write a formula with its value; returns the cell."""
        value: Any = "#N/A" if formula.value is None else formula.value
        self.page.write_formula(row, column, "=" + self._local(formula.text), self.book.format(*styles), value)
        return self._cell(row, column, formula.value)

    def input(
        self, row: int, column: int, value: float | str | None, style: str, rule: dict[str, Any], message: str
    ) -> Formula:
        """Write a cell that is meant to be changed: coloured, and checked by `rule` when it is."""
        if isinstance(value, str):
            cell = self.text(row, column, str(self._typed(row, column, value)), style, "input", "centre")
        else:
            cell = self.number(row, column, value, style, "input")
        self.page.data_validation(
            row, column, row, column, rule | {"error_title": "Not accepted", "error_message": message}
        )
        return cell

    def table_head(self, row: int, titles: Sequence[str], *, right: Sequence[str] = ()) -> None:
        """Write the head of a table, as high as its longest title needs."""
        lines = (math.ceil(1.05 * len(title) / width) for title, width in zip(titles, self._widths, strict=False))
        self.page.set_row(row, 1 + 14 * max(lines, default=1))
        for column, title in enumerate(titles):
            self.text(row, column, title, "head", *(("right",) if title in right else ()))

    def range(self, cells: Sequence[Formula]) -> Range:
        """The range from the first cell to the last, which lie in one row or column with nothing else between."""
        first, last = (cell.text.rpartition("!")[2] for cell in (cells[0], cells[-1]))
        return Range(f"{self._prefix}!{first}:{last}", tuple(cell.value for cell in cells))

    def print_from_top(self, *, frozen: int, repeat: int | None = None, last_column: int | None = None) -> None:
        """Set the print area to what was written, or to `last_column`, and freeze the rows above `frozen`."""
        self.page.print_area(0, 0, self._last[0], self._last[1] if last_column is None else last_column)
        self.page.freeze_panes(frozen, 0)
        if repeat is not None:
            self.page.repeat_rows(repeat)

    def _typed(self, row: int, column: int, value: float | str | None) -> float | str | None:
        return self.book.inputs.get((self.title, address(row, column).replace("$", "")), value)

    def _cell(self, row: int, column: int, value: Value) -> Formula:
        self._last = (max(self._last[0], row), max(self._last[1], column))
        return Formula(f"{self._prefix}!{address(row, column)}", value)

    def _local(self, text: str) -> str:
        """The formula with the cells of this sheet as a person would write them: `E7*G7`."""
        pattern = re.escape(self._prefix) + r"!(\$[A-Z]+\$\d+(?::\$[A-Z]+\$\d+)?)"
        return re.sub(pattern, lambda m: m[1].replace("$", ""), text)


def check_xlsx(what: str) -> None:
    """Refuse to go on without the libraries that read and write workbooks.

    Raises
    ------
    OutputError
        With the command that installs them.
    """
    try:
        import openpyxl  # noqa: F401
        import xlsxwriter  # noqa: F401
    except ImportError as error:
        raise OutputError(
            f"{error.name} is not installed, and workbooks are read and written with it",
            where=what,
            fix="pip install 'splitwise-planner[xlsx]'",
        ) from None
