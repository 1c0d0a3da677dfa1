"""Which column of a table of quotes means what: the usual titles are recognised, others are named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.catalog.imports.quote_table import Cell, Table
from planner.errors import InputError, UnknownNameError, near_misses

# Role of a column -> titles that mean it, in lower case, without unit and punctuation.
TITLES: dict[str, tuple[str, ...]] = {
    "machine": ("machine", "machine type", "item", "product", "instance", "instance type", "server", "system", "sku",
                "article", "configuration"),
    "price": ("price", "unit price", "price each", "rate", "unit rate", "quoted price", "net price", "list price"),
    "unit": ("unit", "price unit", "billing unit", "uom", "per"),
    "currency": ("currency", "ccy", "curr"),
    "date": ("date", "price date", "quote date", "offer date", "quoted on", "dated"),
    "expires": ("valid until", "expires", "expiry", "expiry date", "valid to", "offer valid until"),
    "provider": ("provider", "vendor", "supplier", "seller", "company"),
    "plan": ("plan", "price plan", "term", "commitment", "contract", "pricing model"),
    "source": ("source", "price source", "quote", "quote no", "quote number", "quote id", "offer", "offer no",
               "reference", "ref"),
    "minimum_order": ("minimum order", "moq", "min order", "minimum quantity", "min quantity"),
    "life": ("life", "useful life", "depreciation", "depreciation period"),
    "residual": ("residual", "residual value", "resale value"),
    "maintenance": ("maintenance", "support", "maintenance a year", "support a year"),
}  # fmt: skip
REQUIRED = ("machine", "price")
_ROLE_OF = {title: role for role, titles in TITLES.items() for title in titles}
_HEAD_WITHIN = 60  # rows from the top
_PERIODS = (
    ("h", r"/\s*(?:h|hr|hour)\b|per hour|an hour|hourly"),
    ("month", r"/\s*(?:mo|month)\b|per month|a month|monthly"),
    ("year", r"/\s*(?:yr|year|a)\b|per year|a year|yearly|annual(?:ly)?"),
)
_SIGNS = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP"}
_CURRENCY = re.compile(r"\bUS\$|[$€£]|\b[A-Z]{3}\b")
# What a price may say besides its currency and period: that of one machine, before tax.
_ASIDE = (
    r"\b(?:net|each|ea|(?:per|a) (?:machine|server|unit|instance)|excl(?:uding|\.)? (?:vat|tax))\b"
    r"|/\s*(?:machine|server)\b"
)
_PREFERRED_SHEETS = ("bill of materials", "quotes", "quote", "offers", "offer", "prices", "price list")


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes
    ----------
    table : Table
    head : int
        Row of the titles.
    place : dict
        Role to column.
    currency, period : str or None
        What the title of the price says: `EUR`, and `h`, `month` or `year`.
    """

    table: Table
    head: int
    place: Mapping[str, int]
    currency: str | None
    period: str | None

    def title(self, role: str) -> str:
        """The title of a column as written."""
        return self.table.rows[self.head][self.place[role]].text

    def cell(self, row: Sequence[Cell], role: str) -> Cell:
        """The cell of a role in a row; an empty one where the column or the cell is not there."""
        column = self.place.get(role)
        return row[column] if column is not None and column < len(row) else Cell()


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


def find_columns(tables: Sequence[Table], mapping: Mapping[str, str]) -> Columns:
    """Find the table and its titles: the first row that names machine and price.

    Sheets called bill of materials, quotes, offers or prices are looked at before others.

    Raises
    ------
    InputError
        No table has them; says which titles there are, with near misses.
    """
    ranked = sorted(
        tables,
        key=lambda t: _PREFERRED_SHEETS.index(name) if (name := t.sheet.casefold()) in _PREFERRED_SHEETS else 99,
    )
    best: tuple[Table, int] | None = None
    most = 0
    for table in ranked:
        for n, row in enumerate(table.rows[:_HEAD_WITHIN]):
            place = _roles(row, mapping)
            if all(role in place for role in REQUIRED):
                _refuse_missing(table, n, place, mapping)
                currency, period = unit_of(row[place["price"]].text)
                return Columns(table, n, place, currency, period)
            weight = 100 * len(place) + sum(bool(cell.text) for cell in row)
            if weight > most:
                best, most = (table, n), weight
    if best is None:
        raise InputError("there is nothing in this file", where=str(tables[0].path) if tables else None)
    raise _missing(*best, mapping)


def _roles(row: Sequence[Cell], mapping: Mapping[str, str]) -> dict[str, int]:
    place: dict[str, int] = {}
    wanted = {title.casefold(): role for role, title in mapping.items()}
    for column, cell in enumerate(row):
        role = wanted.get(cell.text.casefold())
        if role is None and (usual := _ROLE_OF.get(_plain(cell.text))) not in mapping:
            role = usual
        if role is not None:
            place.setdefault(role, column)
    return place


def _plain(title: str) -> str:
    """A title without its unit, case and punctuation: `Unit price (USD/h)` is `unit price`."""
    text = re.sub(r"\(.*?\)|\[.*?\]", " ", title)
    text = _CURRENCY.sub(" ", text) if not text.isupper() else text
    for _, pattern in _PERIODS:
        text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    text = re.sub(r"[^\w ]", " ", text.replace("_", " ")).casefold()
    return " ".join(text.split())


def unit_of(text: str) -> tuple[str | None, str | None]:
    """Return the currency and the period that a title or a unit names: `Price (EUR/month)` gives EUR and month."""
    period = next((p for p, pattern in _PERIODS if re.search(pattern, text, re.IGNORECASE)), None)
    match = _CURRENCY.search(text)
    return (_SIGNS.get(match[0], match[0]) if match else None), period


def says_only_unit(text: str) -> bool:
    """Whether words around a price name its currency and period and nothing else that could change what it means."""
    for pattern in (_ASIDE, *(pattern for _, pattern in _PERIODS)):
        text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return not re.search(r"[\w%$€£]", _CURRENCY.sub(" ", text, count=1))


def _refuse_missing(table: Table, head: int, place: Mapping[str, int], mapping: Mapping[str, str]) -> None:
    for role in mapping:
        if role not in place:
            raise _missing(table, head, mapping)


def _missing(table: Table, head: int, mapping: Mapping[str, str]) -> InputError:
    titles = [cell.text for cell in table.rows[head] if cell.text]
    place = _roles(table.rows[head], mapping)
    role = next(r for r in (*mapping, *REQUIRED) if r not in place)
    if role in mapping:
        what, near = f"no column {mapping[role]!r}", near_misses(mapping[role], titles)
    else:
        what = f"no column for the {role}"
        near = list(dict.fromkeys(t for name in (role, *TITLES[role]) for t in near_misses(name, titles, 1)))[:3]
    shown = f'--map {role}="{near[0]}"' if near else f'--map {role}="TITLE"'
    near = [title for title in near if _ROLE_OF.get(_plain(title)) in (None, role)]  # others mean something else
    return InputError(
        what,
        where=table.where(head),
        value=f"titles: {', '.join(titles[:20])}",
        rule=f"usual titles: {', '.join(TITLES[role][:6])}, ...",
        suggestions=near,
        fix=f"name it: {shown}",
    )
