"""Which column of a table of quotes means what: the usual titles are recognised, others are named; none is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.catalog.imports.quote_table import Cell, QuoteTable
from planner.catalog.imports.quote_titles import (
    REQUIRED,
    ROLE_OF,
    TITLES,
    is_price_like,
    plain,
    price_title,
    role_of,
    without_units,
)
from planner.catalog.imports.quote_words import Saying, said_aside, say
from planner.catalog.prices import PlanName
from planner.errors import InputError, UnknownNameError, near_misses

_HEAD_WITHIN = 60  # rows from the top
_PREFERRED_SHEETS = (
    "bill of materials",
    "quotes",
    "quote",
    "offers",
    "offer",
    "prices",
    "price list",
    "preise",
    "prix",
)
# What a file may say above its titles, as `Currency: EUR` or in two cells.
_OF_FILE = ("currency", "unit", "date", "expires", "provider", "source", "plan", "region")
_ABOUT_PRICES = re.compile(
    r"\b(?:prices?|rates?|amounts?|preise?|beträge|prix|tarifs?|montants?)\b[^.;\n]*", re.IGNORECASE
)


@dataclass(frozen=True)
class PriceColumn:
    """A column of prices.

    Attributes
    ----------
    column : int
    title : str
    saying : Saying
        What its title says of them.
    plan : str or None
        The price plan that its title names.
    """

    column: int
    title: str
    saying: Saying
    plan: PlanName | None


@dataclass(frozen=True)
class QuoteColumns:
    """The columns of a table.

    Attributes
    ----------
    table : Table
    head : int
        Row of the titles.
    place : dict
        Role to column.
    prices : list of PriceColumn
        One, or one for each of several price plans.
    of_file : dict
        Role to cell: what the rows above the titles say of all quotes.
    aside : Saying
        What remarks outside the rows say of all prices.
    unread : list of str
        Titles of columns that are not read.
    """

    table: QuoteTable
    head: int
    place: Mapping[str, int]
    prices: Sequence[PriceColumn]
    of_file: Mapping[str, Cell]
    aside: Saying
    unread: Sequence[str]

    def title(self, role: str) -> str:
        """The title of a column as written."""
        return self.table.rows[self.head][self.place[role]].text

    def cell(self, row: Sequence[Cell], role: str) -> Cell:
        """The cell of a role in a row; what the file says of all where there is no column; else an empty one."""
        column = self.place.get(role)
        if column is None:
            return self.of_file.get(role, Cell())
        return row[column] if column < len(row) else Cell()

    def unread_cells(self, row: Sequence[Cell]) -> list[tuple[str, str]]:
        """Titles of columns that are not read, and what stands there in a row."""
        titles = [cell.text for cell in self.table.rows[self.head]]
        return [
            (title, row[n].text)
            for n, title in enumerate(titles)
            if title in self.unread and n < len(row) and row[n].text
        ]


def parse_mapping(texts: Sequence[str], *, where: str = "--map") -> dict[str, str]:
    """Read `machine=Item,price=Unit price` as role to title.

    Raises
    ------
    InputError
        Not in that form, an unknown role (with near misses), or a role given twice.
    """
    mapping: dict[str, str] = {}
    for text in texts:
        for part in re.split(r",(?=\s*\w+\s*=)", text):
            role, equals, title = (piece.strip() for piece in part.partition("="))
            if not equals or not role or not title:
                raise InputError(
                    "not a column", where=where, value=part, rule="ROLE=TITLE", fix='write --map price="Unit price"'
                )
            if role not in TITLES:
                raise UnknownNameError.of("role of a column", role, TITLES, where=where)
            if role in mapping:
                raise InputError(f"the column of {role} is given twice", where=where, value=text)
            mapping[role] = title.strip("\"'")
    return mapping


def find_columns(tables: Sequence[QuoteTable], mapping: Mapping[str, str]) -> QuoteColumns:
    """Find the table and its titles: the first row that names machine and price.

    Sheets called bill of materials, quotes, offers or prices are looked at before others.

    Raises
    ------
    InputError
        No table has them (says which titles there are, with near misses), or two columns could be the same thing.
    """
    ranked = sorted(
        tables,
        key=lambda t: _PREFERRED_SHEETS.index(name) if (name := t.sheet.casefold()) in _PREFERRED_SHEETS else 99,
    )
    best: tuple[QuoteTable, int] | None = None
    most = 0
    for table in ranked:
        for n, row in enumerate(table.rows[:_HEAD_WITHIN]):
            place = _roles(row, mapping)
            if all(role in place for role in REQUIRED):
                _refuse_missing(table, n, place, mapping)
                return _columns(table, n, place, mapping)
            weight = 100 * len(place) + sum(bool(cell.text) for cell in row)
            if weight > most:
                best, most = (table, n), weight
    if best is None:
        raise InputError("there is nothing in this file", where=str(tables[0].path) if tables else None)
    raise _missing(*best, mapping)


def has_quotes(table: QuoteTable) -> bool:
    """Whether a table has a row that names machine and price."""
    return any(all(role in _roles(row, {}) for role in REQUIRED) for row in table.rows[:_HEAD_WITHIN])


def _columns(table: QuoteTable, head: int, place: dict[str, int], mapping: Mapping[str, str]) -> QuoteColumns:
    titles = [cell.text for cell in table.rows[head]]
    _refuse_twins(table, head, titles, mapping)
    prices = _prices(table, head, titles, place, mapping)
    used = {*place.values(), *(p.column for p in prices)}
    unread = [title for n, title in enumerate(titles) if title and n not in used]
    machine = place["machine"]
    above = table.rows[:head]
    below = [row for row in table.rows[head + 1 :] if machine >= len(row) or not row[machine].text]
    loose = [cell.text for row in [*above, *below] for cell in row if cell.text and not cell.is_number]
    # A note at the foot may stand in the column of the machine: long text without a price beside it.
    loose += [row[machine].text for row in table.rows[head + 1 :] if _is_remark(row, machine, prices)]
    aside = Saying()
    for text in loose:
        aside = _joined(aside, _of_remark(text))
    return QuoteColumns(table, head, place, prices, _said_above(above), aside, unread)


def _is_remark(row: Sequence[Cell], machine: int, prices: Sequence[PriceColumn]) -> bool:
    return (
        machine < len(row) and len(row[machine].text.split()) > 2
        and not any(p.column < len(row) and row[p.column].text for p in prices)
    )  # fmt: skip


def is_remark(columns: QuoteColumns, row: Sequence[Cell]) -> bool:
    """Whether a row is running text, such as a note below the table: no machine has so many words and no price."""
    return _is_remark(row, columns.place["machine"], columns.prices)


def _of_remark(text: str) -> Saying:
    saying = said_aside(text)
    if match := _ABOUT_PRICES.search(text):
        of_prices = say(match[0])
        saying = replace(
            saying, currency=of_prices.currency, period=of_prices.period, per=saying.per or of_prices.per,
            multiple=saying.multiple or of_prices.multiple, is_gross=saying.is_gross or of_prices.is_gross,
        )  # fmt: skip
    return saying


def _joined(one: Saying, other: Saying) -> Saying:
    """Both; where they contradict each other, `unknown` says so."""
    unknown = [*one.unknown]
    for name in ("currency", "period", "per", "multiple"):
        first, second = getattr(one, name), getattr(other, name)
        if first is not None and second is not None and first != second:
            unknown.append(f"{first} and {second}")
    return Saying(
        one.currency or other.currency, one.period or other.period, one.per or other.per,
        one.multiple or other.multiple, one.is_gross or other.is_gross, tuple(unknown),
    )  # fmt: skip


def _said_above(rows: Sequence[Sequence[Cell]]) -> dict[str, Cell]:
    """What `Currency: EUR`, in one cell or in two, says above the titles."""
    found: dict[str, Cell] = {}
    for row in rows:
        for n, cell in enumerate(row):
            if not cell.text or cell.is_number:
                continue
            label, colon, rest = cell.text.partition(":")
            role = role_of(label)[0]
            if role not in _OF_FILE or role in found:
                continue
            if colon and rest.strip():
                found[role] = Cell(rest.strip())
            elif n + 1 < len(row) and row[n + 1].text and plain(row[n + 1].text) not in ROLE_OF:
                found[role] = row[n + 1]
    return found


def _roles(row: Sequence[Cell], mapping: Mapping[str, str]) -> dict[str, int]:
    place: dict[str, int] = {}
    wanted = {title.casefold(): role for role, title in mapping.items()}
    for column, cell in enumerate(row):
        role = wanted.get(cell.text.casefold())
        if role is None and (usual := role_of(cell.text)[0] if cell.text else None) not in mapping:
            role = usual
        if role is not None:
            place.setdefault(role, column)
    return place


def _prices(
    table: QuoteTable, head: int, titles: Sequence[str], place: dict[str, int], mapping: Mapping[str, str]
) -> list[PriceColumn]:
    """The columns of prices: the one that is named, the only one, or one for each of several price plans."""
    if "price" in mapping:
        column = place["price"]
        saying, plan = price_title(titles[column])
        known = role_of(titles[column])[0] == "price"
        return [PriceColumn(column, titles[column], saying if known else replace(saying, unknown=()), plan)]
    found = []
    for column, title in enumerate(titles):
        if (title and column not in place.values()) or column == place["price"]:
            role = role_of(title)[0]
            if role == "price":
                found.append(PriceColumn(column, title, *price_title(title)))
            elif role is None and is_price_like(title):
                found.append(PriceColumn(column, title, Saying(), None))
    plans = [p.plan for p in found]
    if len(found) == 1 or (None not in plans and len(set(plans)) == len(plans)):
        return found
    raise InputError(
        f"{len(found)} columns could be the price",
        where=table.where(head),
        value="; ".join(p.title for p in found),
        rule="one column is the price that is paid, or each is that of another price plan",
        fix=f'name it: --map price="{_likeliest(found).title}"',
    )


def _likeliest(found: Sequence[PriceColumn]) -> PriceColumn:
    """The one that is paid, if a title says so: only for the example in a message."""
    return next(
        (p for p in found if re.search(r"net|offer|quoted|discount|angebot", p.title, re.IGNORECASE)), found[-1]
    )


def _refuse_twins(table: QuoteTable, head: int, titles: Sequence[str], mapping: Mapping[str, str]) -> None:
    """Refuse two columns of one role, but for prices, which `_prices` looks at, and remarks."""
    seen: dict[str, str] = {}
    for title in titles:
        role = role_of(title)[0] if title else None
        if role in (None, "price", "notes", "machine", "quantity") or role in mapping:
            continue
        first = seen.setdefault(str(role), title)
        if first is not title:
            raise InputError(
                f"two columns could be the {role}", where=table.where(head), value=f"{first}; {title}",
                fix=f'name it: --map {role}="{title}"',
            )  # fmt: skip


def _refuse_missing(table: QuoteTable, head: int, place: Mapping[str, int], mapping: Mapping[str, str]) -> None:
    for role in mapping:
        if role not in place:
            raise _missing(table, head, mapping)


def _missing(table: QuoteTable, head: int, mapping: Mapping[str, str]) -> InputError:
    titles = [cell.text for cell in table.rows[head] if cell.text]
    place = _roles(table.rows[head], mapping)
    role = next(r for r in (*mapping, *REQUIRED) if r not in place)
    if role in mapping:
        what, near = f"no column {mapping[role]!r}", near_misses(mapping[role], titles)
    else:
        what = f"no column for the {role}"
        near = list(dict.fromkeys(t for name in (role, *TITLES[role]) for t in near_misses(name, titles, 1)))[:3]
    shown = f'--map {role}="{near[0]}"' if near else f'--map {role}="TITLE"'
    near = [title for title in near if ROLE_OF.get(without_units(title)) in (None, role)]  # others mean something else
    return InputError(
        what,
        where=table.where(head),
        value=f"titles: {', '.join(titles[:20])}",
        rule=f"usual titles: {', '.join(TITLES[role][:6])}, ...",
        suggestions=near,
        fix=f"name it: {shown}",
    )


def rows_below(columns: QuoteColumns) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Yield the rows below the titles with their number, counted from 0."""
    yield from enumerate(columns.table.rows[columns.head + 1 :], columns.head + 1)
