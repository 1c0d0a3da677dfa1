"""Where results, notes and progress go: data on stdout or whole into a file, everything else on stderr."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from planner.cli.options import Format
from planner.errors import EXIT_INTERRUPTED as EXIT_INTERRUPTED
from planner.errors import OutputError
from planner.parsing import visible
from planner.serve import PROGRAM_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from planner.export.tables.text import Dated

_WIDEST = 100  # columns; a table for a wide terminal is no easier to read
_NARROWEST = 60
_SECONDS_A_LINE = 0.1  # at least, between lines of progress that a program reads
_PATIENCE_S = 0.3  # work that is done sooner shows no progress, so that nothing flickers


def emit(text: str, output: Path | None, *, quiet: bool = False) -> None:
    """Print a result, or write it whole into a file.

    Raises
    ------
    OutputError
        The file could not be written; what was there is left as it was.
    """
    if output is None:
        try:
            sys.stdout.write(visible(text))
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror or error}", where="stdout") from None
        return
    from planner.export.files import write_whole

    write_whole(output, text)
    note(f"wrote {output}", quiet=quiet)


class Printable(Protocol):
    """A result that every format can show."""

    def model_dump_json(self, *, indent: int) -> str:
        """All of it as JSON."""

    def to_records(self) -> list[dict[str, Any]]:
        """Flat rows."""


def show(
    found: Printable,
    table: str,
    format: Format | None,
    output: Path | None,
    *,
    quiet: bool = False,
    records: Callable[[], list[dict[str, Any]]] | None = None,
    prices: Iterable[Dated] | None = None,
) -> None:
    """Print a result, or write it into a file: the end of every command.

    Parameters
    ----------
    found : Printable
    table : str
        Module of `planner.export.tables` whose function `TABLE_table` draws it.
    format : Format or None
        As asked for; None: as the file's name says, else a table.
    output : Path or None
    quiet : bool
    records : callable, optional
        Rows of a CSV; left out, those of `to_records`.
    prices : iterable, optional
        What is warned of where it is old; left out, the result's `prices`, if it has any.
    """
    chosen = format_of(format, output)
    if chosen is Format.json:
        text = found.model_dump_json(indent=2) + "\n"
    elif chosen is Format.csv:
        from planner.export.records import csv_text

        text = csv_text((records or found.to_records)())
    else:
        text = _drawn(found, table, output)
    warn_of_old_prices(getattr(found, "prices", ()) if prices is None else prices, chosen, quiet=quiet)
    emit(text, output, quiet=quiet)


def _drawn(found: Printable, table: str, output: Path | None) -> str:
    """The result as a table of the width of the terminal, or of the table's own in a file."""
    import datetime
    import importlib
    import inspect

    draw = getattr(importlib.import_module(f"planner.export.tables.{table}"), f"{table}_table")
    wanted = inspect.signature(draw).parameters
    given: dict[str, Any] = {}
    if output is None:
        given = {"width": text_width(), "table_width": table_width()}
    given |= {"today": datetime.date.today(), "colour": wants_colour(sys.stdout, output)}
    return str(draw(found, **{name: value for name, value in given.items() if name in wanted}))


def note(text: str, *, quiet: bool = False) -> None:
    """Say something beside the result."""
    if not quiet:
        print(visible(text), file=sys.stderr)


def warn_of_old_prices(prices: Iterable[Dated], format: Format, *, quiet: bool = False) -> None:
    """Say on stderr which prices and exchange rates are stale, with their dates; a table says how old they are."""
    if quiet or format is Format.table:
        return
    import datetime

    from planner.export.tables.text import stale_prices

    for line in stale_prices(prices, datetime.date.today()):
        note(f"warning: {line}")


def check_output(output: Path | None) -> None:
    """Refuse a file that cannot be written before any work is done."""
    if output is not None:
        from planner.export.files import check_writable

        check_writable(output)


def format_of(chosen: Format | None, output: Path | None) -> Format:
    """The format asked for; else the one that the file's name says; else a table."""
    if chosen is not None:
        return chosen
    by_suffix = {".json": Format.json, ".csv": Format.csv}
    return by_suffix.get(output.suffix.casefold(), Format.table) if output is not None else Format.table


def text_width() -> int:
    """Columns that running text may take on stdout."""
    if not sys.stdout.isatty():
        return _WIDEST
    return min(max(shutil.get_terminal_size((_WIDEST, 24)).columns, _NARROWEST), _WIDEST)


def table_width() -> int | None:
    """Columns that a table may take on stdout; None where there is no terminal to be too narrow."""
    return shutil.get_terminal_size((_WIDEST, 24)).columns if sys.stdout.isatty() else None


def wants_colour(stream: TextIO, output: Path | None = None) -> bool:
    """Whether text on this stream may have colour: on a terminal, with NO_COLOR unset (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return output is None and stream.isatty() and not plain


class ProgressLine:
    """One line on stderr that says what is being done; nothing if stderr is no terminal, or quiet.

    A program that asks for lines in the environment gets one each time, without a terminal and quiet or not.

    >>> with Progress(quiet=True) as progress:
    ...     progress("solving")
    """

    def __init__(self, *, quiet: bool) -> None:
        self._as_lines = bool(os.environ.get(PROGRAM_VARIABLE))
        self._shown = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._started_s = time.monotonic()
        self._told_s = -math.inf
        self._dirty = False

    def __call__(self, text: str) -> None:
        """Show `text` in the place of what was shown before."""
        elapsed_s = time.monotonic() - self._started_s
        if self._as_lines:
            if elapsed_s - self._told_s >= _SECONDS_A_LINE:
                self._told_s = elapsed_s
                print(visible(text), file=sys.stderr, flush=True)
            return
        if self._shown and elapsed_s > _PATIENCE_S:
            columns = shutil.get_terminal_size((_WIDEST, 24)).columns
            sys.stderr.write(f"\r\x1b[2K{visible(text)[: columns - 5]} ...")
            sys.stderr.flush()
            self._dirty = True

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._dirty:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    """Print a table: drawn by rich on a terminal, plain aligned columns elsewhere."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for n, title in enumerate(titles):
            table.add_column(title, no_wrap=n == 0, overflow="fold")  # names are typed again: keep them whole
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (titles, *rows)]
    emit("\n".join(lines) + "\n", None)
