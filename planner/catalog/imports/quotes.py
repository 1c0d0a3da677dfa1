"""Quotes for machines as suppliers send them: rows of a workbook or CSV, each checked, all faults together."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote_columns import Columns, find_columns
from planner.catalog.imports.quote_rows import Defaults, Quote, RowReader
from planner.catalog.imports.quote_table import read_tables
from planner.catalog.prices import PlanName
from planner.catalog.validation import joined
from planner.errors import InputError

STALE_DAYS = 365


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
    defaults: Defaults | None = None,
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
    defaults : Defaults, optional
        For what has no column.

    Returns
    -------
    Quotes
        In the order of the file; repeated rows once, expired ones left out and noted.

    Raises
    ------
    InputError
        The file cannot be used (see `read_tables`, `find_columns`), or rows have faults: the first in full, the others
        as one line each, all with row and column.
    """
    columns = find_columns(read_tables(path, sheet), mapping or {})
    for theirs, ours in (machine_names or {}).items():
        catalog.machine(ours, where=f"--machine-map {theirs}={ours}")
    reader = RowReader(columns, catalog, machine_names or {}, defaults or Defaults(), today)
    found = Quotes(path, columns.table.sheet)
    problems: list[InputError] = []
    skipped: list[int] = []
    for n, row in enumerate(columns.table.rows[columns.head + 1 :], columns.head + 1):
        machine, price = (columns.cell(row, role) for role in ("machine", "price"))
        if not machine.text and not price.text and not (machine.is_formula or price.is_formula):
            skipped += [n + 1] if any(cell.text for cell in row) else []
            continue
        if machine.text == columns.title("machine"):  # the titles once more, on a new page
            continue
        quote = reader.quote(n, row)
        problems += reader.problems
        if quote is not None and reader.expired is None:
            found.quotes.append(quote)
        elif quote is not None:
            found.notes.append(f"row {n + 1}: the quote for {quote.machine} expired on {reader.expired}: left out")
    if skipped:
        found.notes.append(f"rows with neither machine nor price left out: {', '.join(map(str, skipped))}")
    _without_repetitions(found, problems, columns)
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


def _without_repetitions(found: Quotes, problems: list[InputError], columns: Columns) -> None:
    seen: dict[tuple[object, ...], Quote] = {}
    for quote in found.quotes:
        key = (quote.machine, quote.plan, quote.provider, quote.date, quote.currency)
        first = seen.setdefault(key, quote)
        if first is quote:
            continue
        if first.per_hour == quote.per_hour:
            found.notes.append(f"row {quote.row} repeats row {first.row} ({quote.machine}): counted once")
        else:
            problems.append(InputError(
                f"a second price for {quote.machine} from {quote.provider} on {quote.date}",
                where=columns.table.where(quote.row - 1, columns.place["price"], columns.title("price")),
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
