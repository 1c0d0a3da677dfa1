"""Quotes for machines as suppliers send them: rows of a workbook or CSV, each checked, all faults together."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import Quote, QuoteDefaults
from planner.catalog.imports.quote_columns import QuoteColumns, find_columns, has_quotes, is_remark, rows_below
from planner.catalog.imports.quote_machines import MachineNames
from planner.catalog.imports.quote_numbers import Decimal, find_number
from planner.catalog.imports.quote_outliers import FACTOR, outliers
from planner.catalog.imports.quote_rows import RowReader
from planner.catalog.imports.quote_table import Cell, QuoteTable, read_tables
from planner.catalog.prices import PlanName
from planner.catalog.validation import joined
from planner.errors import InputError

STALE_DAYS = 365
_TOTALS = re.compile(
    r"(?:sub-?\s?|grand )?totals?|summe|gesamt(?:summe)?|zwischensumme|endsumme|sous-total|total (?:ht|ttc|général)|"
    r"sum|vat|mwst\.?|tva|shipping|versand|frais de port",
    re.IGNORECASE,
)


@dataclass
class Quotes:
    """Quotes of a file, and what is worth knowing about them."""

    path: Path
    sheet: str
    quotes: list[Quote] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_quotes(
    path: Path,
    catalog: Catalog,
    *,
    today: datetime.date,
    mapping: Mapping[str, str] | None = None,
    machine_names: Mapping[str, str] | None = None,
    sheet: str | None = None,
    defaults: QuoteDefaults | None = None,
    decimal: Decimal | None = None,
    accept_outliers: bool = False,
) -> Quotes:
    """Read quotes from a workbook or CSV.

    Parameters
    ----------
    path : Path
    catalog : Catalog
        Knows the machines, and the rates of currencies other than USD.
    today : date
        What the age of prices is counted to.
    mapping : mapping of str to str, optional
        Role of a column to its title, for titles that are not recognised.
    machine_names : mapping of str to str, optional
        What the file calls a machine to its name in the catalog.
    sheet : str, optional
        The sheet of a workbook. Left out: the first with the titles of quotes.
    defaults : QuoteDefaults, optional
        For what has no column.
    decimal : str, optional
        `point` or `comma`. Left out: what the numbers of the file say.
    accept_outliers : bool
        Whether to take prices a factor of three from the others as they are.

    Returns
    -------
    Quotes
        In the order of the file; repeated rows once; what is left out, and columns that are not read, in `notes`.

    Raises
    ------
    InputError
        The file cannot be used (see `read_tables`, `find_columns`), or rows have faults: the first in full, the others
        as one line each, all with row and column.
    """
    tables = read_tables(path, sheet)
    columns = find_columns(tables, mapping or {})
    for theirs, ours in (machine_names or {}).items():
        catalog.machine(ours, where=f"--machine-map {theirs}={ours}")
    machines = MachineNames(catalog, machine_names or {})
    found = Quotes(path, columns.table.sheet)
    found.notes += columns.table.notes
    reader = RowReader(
        columns, catalog, machines, defaults or QuoteDefaults(), today, decimal or _decimal_of(columns, found.notes)
    )
    problems: list[InputError] = []
    if columns.aside.unknown:
        problems.append(InputError(
            "remarks outside the rows contradict each other", where=columns.table.where(columns.head),
            value=", ".join(columns.aside.unknown), fix="keep the one that holds",
        ))  # fmt: skip
    skipped: list[int] = []
    for n, row in rows_below(columns):
        if _is_no_quote(columns, row):
            skipped += [n + 1] if any(cell.text for cell in row) else []
            continue
        quotes = reader.quotes(n, row)
        problems += reader.problems
        found.quotes += quotes
        found.notes += [f"row {n + 1}: {note}" for note in reader.notes]
        found.notes += [f"row {q.row}: {q.quoted} = {q.amount_text}" for q in quotes if q.quoted]
    _note_what_is_not_read(found, columns, tables, skipped, sheet)
    _without_repetitions(found, problems, columns)
    if not problems:
        problems += _far_from_others(found, catalog, columns, accept_outliers)
    if problems:
        raise joined(problems)
    if not found.quotes:
        raise InputError(
            "no quote that counts", where=columns.table.where(columns.head), also=found.notes,
            fix="check the sheet and the titles",
        )  # fmt: skip
    for quote in found.quotes:
        if (days := (today - quote.date).days) > STALE_DAYS:
            found.notes.append(f"row {quote.row}: the price of {quote.machine} is {days} days old: ask for a new one")
    return found


def _is_no_quote(columns: QuoteColumns, row: Sequence[Cell]) -> bool:
    """Whether a row is empty, a total, a remark, or the titles once more."""
    machine = columns.cell(row, "machine")
    prices = [row[p.column] for p in columns.prices if p.column < len(row)]
    has_price = any(cell.text or cell.is_formula for cell in prices)
    if not machine.text and not has_price and not machine.is_formula:
        return True
    if machine.text == columns.title("machine") or _TOTALS.fullmatch(machine.text.rstrip(" :.")):
        return True
    return is_remark(columns, row)


def _decimal_of(columns: QuoteColumns, notes: list[str]) -> Decimal:
    """Which decimal sign the numbers of a file have: what those say that can be read in one way."""
    said: set[Decimal] = set()
    unsure = 0
    for _, row in rows_below(columns):
        cells = [row[p.column] for p in columns.prices if p.column < len(row)]
        cells += [columns.cell(row, role) for role in ("upfront", "total")]
        for cell in cells:
            if isinstance(cell.value, str) and (number := find_number(cell.value)) is not None:
                if number.says is not None:
                    said.add(number.says)
                unsure += number.says is None and number.as_point != number.as_comma
    if said == {"comma"}:
        notes.append("decimals come after a comma in this file")
        return "comma"
    if unsure and not said and columns.table.delimiter == ";":
        raise InputError(
            "numbers such as 3,100 that could be read in two ways", where=columns.table.where(columns.head),
            rule="in a file divided by semicolons a comma may stand before decimals or between thousands",
            fix="--decimal comma or --decimal point",
        )  # fmt: skip
    return "point"


def _note_what_is_not_read(
    found: Quotes, columns: QuoteColumns, tables: Sequence[QuoteTable], skipped: Sequence[int], sheet: str | None
) -> None:
    if columns.unread:
        found.notes.append(f"columns not read: {', '.join(columns.unread)}")
    if skipped:
        found.notes.append(f"rows without a quote left out: {', '.join(map(str, skipped))}")
    if sheet is None and columns.table.sheet:
        others = [t.sheet for t in tables if t is not columns.table and has_quotes(t)]
        if others:
            found.notes.append(f"sheets with quotes that are not read: {', '.join(others)}: name one with --sheet")


def _far_from_others(found: Quotes, catalog: Catalog, columns: QuoteColumns, accepted: bool) -> list[InputError]:
    problems = []
    for outlier in outliers(found.quotes, catalog):
        quote = outlier.quote
        ratio = outlier.ratio if outlier.ratio > 1 else 1.0 / outlier.ratio
        side = "above" if outlier.ratio > 1 else "below"
        text = f"{ratio:.3g} times {side} {outlier.of} of this accelerator"
        if accepted:
            found.notes.append(f"row {quote.row}: {quote.amount_text} is {text}, and is taken as it is")
            continue
        unit = "" if quote.plan == "owned" else "/h"
        column = columns.prices[0]
        problems.append(InputError(
            f"a price far from the others: {text}",
            where=columns.table.where(quote.row - 1, column.column, column.title),
            value=f"{quote.amount_text}, {outlier.usd:,.2f} USD{unit} an accelerator against {outlier.usual:,.2f}",
            rule=f"within a factor of {FACTOR:g}: is it for one machine, and in the unit that the title says?",
            fix="--unit GPU/h if it is the price of one accelerator, or --accept-outliers if it is right",
        ))  # fmt: skip
    return problems


def _without_repetitions(found: Quotes, problems: list[InputError], columns: QuoteColumns) -> None:
    seen: dict[tuple[object, ...], Quote] = {}
    for quote in found.quotes:
        key = (quote.machine, quote.plan, quote.provider, quote.date, quote.currency, quote.region, quote.tier)
        first = seen.setdefault(key, quote)
        if first is quote:
            continue
        if first.per_hour == quote.per_hour:
            found.notes.append(f"row {quote.row} repeats row {first.row} ({quote.machine}): counted once")
        else:
            problems.append(InputError(
                f"a second price for {quote.machine} from {quote.provider} on {quote.date}",
                where=columns.table.where(quote.row - 1, columns.prices[0].column, columns.prices[0].title),
                value=f"{first.amount_text} in row {first.row}, {quote.amount_text} here",
                rule="a provider has one price for a machine and plan on one day",
                fix="remove one of them, or correct its date, provider or plan",
            ))  # fmt: skip
    found.quotes[:] = seen.values()


def by_machine(quotes: Sequence[Quote]) -> Iterator[tuple[str, PlanName, list[Quote]]]:
    """Yield machine, plan and its quotes, in the order of the file."""
    groups: dict[tuple[str, PlanName], list[Quote]] = {}
    for quote in quotes:
        groups.setdefault((quote.machine, quote.plan), []).append(quote)
    for (machine, plan), members in groups.items():
        yield machine, plan, members
