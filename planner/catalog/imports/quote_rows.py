"""One row of a table of quotes: read cell by cell, with everything that is wrong with it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner import units
from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote_columns import Columns, says_only_unit, unit_of
from planner.catalog.imports.quote_table import Cell
from planner.catalog.prices import RENTED, PlanName
from planner.catalog.schema import Currency, Machine
from planner.errors import InputError, near_misses

# What people call a price plan, looked for in this order.
_PLANS: tuple[tuple[PlanName, str], ...] = (
    ("reserved_3y", r"\b(3|three)[ -]?y|36[ -]?mo|reserved_3y"),
    ("reserved_1y", r"\b(1|one)[ -]?y|12[ -]?mo|reserved_1y"),
    ("spot", r"spot|preempt|interrupt"),
    ("owned", r"own|purchase|buy|sale|capex"),
    ("on_demand", r"on[ _-]?demand|pay[ -]?as|payg|hourly|rent"),
)
_BEFORE_NUMBER = re.compile(r"[^\d+.,-]*")
# `270 k USD`, `1.2k$`; a code such as KRW or MXN is none.
_MULTIPLE = re.compile(r"(?![A-Z]{3}\b)[kKM](?=\s|$|/|[A-Z]{3}\b|[$€£])")
_DATE_FORMS = ("%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")


@dataclass(frozen=True)
class Quote:
    """One price offered for one machine.

    Attributes
    ----------
    row : int
        Row in the file, counted from 1.
    amount : float
        In `currency`, for `period`: `h`, `month` or `year`; empty for a purchase.
    life, residual, maintenance : str or None
        Of a purchase, as a catalog file writes them.
    """

    row: int
    machine: str
    plan: PlanName
    amount: float
    period: str
    currency: str
    provider: str
    date: datetime.date
    source: str
    minimum_order: int | None = None
    valid_until: datetime.date | None = None
    region: str | None = None
    life: str | None = None
    residual: str | None = None
    maintenance: str | None = None

    @property
    def amount_text(self) -> str:
        """As a catalog file writes it: `38.00 USD/h`, `270000.00 USD`."""
        digits = f"{self.amount:.2f}" if round(self.amount, 2) == self.amount else f"{self.amount:.15g}"
        return f"{digits} {self.currency}" + (f"/{self.period}" if self.period else "")

    @property
    def per_hour(self) -> float:
        """[currency/h]; of a purchase its price [currency]."""
        if not self.period:
            return self.amount
        return units.parse(f"{self.amount!r} {self.currency}/{self.period}", units.money_per_hour(self.currency))


@dataclass(frozen=True)
class Defaults:
    """What holds where the file has no column for it."""

    provider: str | None = None
    date: datetime.date | None = None
    currency: str | None = None
    period: str | None = None
    plan: PlanName = "on_demand"
    life: str | None = None


class RowReader:
    """Turns rows into quotes and keeps what is wrong with the last one."""

    def __init__(
        self, columns: Columns, catalog: Catalog, names: Mapping[str, str], defaults: Defaults, today: datetime.date
    ) -> None:
        self._columns, self._catalog, self._defaults, self._today = columns, catalog, defaults, today
        self._machines = {name.casefold(): name for name in catalog.names(Machine)}
        self._machines |= {theirs.casefold(): ours for theirs, ours in names.items()}
        self._row: Sequence[Cell] = ()
        self._n = 0
        self.problems: list[InputError] = []
        self.expired: datetime.date | None = None

    def quote(self, n: int, row: Sequence[Cell]) -> Quote | None:
        """The quote of a row, or None and its faults in `problems`."""
        self._n, self._row, self.problems = n, row, []
        machine = self._machine()
        plan = self._plan()
        price = self._price()
        currency, period = self._unit(price, plan)
        provider = self._text("provider") or self._defaults.provider
        if not provider and not self.problems_of("provider"):
            self._fault("provider", "no provider", fix="add a column Provider, or --provider NAME")
        date = self._date("date") or (None if self._has("date") else self._defaults.date)
        if date is None and not self.problems_of("date"):
            self._fault("date", "no date", fix="add a column Date, or --date 2026-11-20")
        elif date is not None and date > self._today:
            self._fault("date", "a price dated in the future", value=date)
        self.expired = None
        expires = self._date("expires")
        if expires is not None and expires < self._today:
            self.expired = expires
        life = self._life() if plan == "owned" else None
        minimum = self._count("minimum_order")
        source = self._text("source")
        residual, maintenance = (self._text(role) or None for role in ("residual", "maintenance"))
        if self.problems or None in (machine, plan, price, currency, period, date) or not provider:
            return None
        assert machine and plan and price and currency and period is not None and date
        return Quote(
            row=n + 1, machine=machine, plan=plan, amount=price[0], period=period, currency=currency, provider=provider,
            date=date, source=source, minimum_order=minimum, valid_until=expires, life=life,
            residual=residual if plan == "owned" else None, maintenance=maintenance if plan == "owned" else None,
        )  # fmt: skip

    def problems_of(self, role: str) -> bool:
        """Whether this row has a fault in a column already."""
        where = self._where(role)
        return any(problem.where == where for problem in self.problems)

    def _where(self, role: str) -> str:
        if not self._has(role):
            return self._columns.table.where(self._n)
        return self._columns.table.where(self._n, self._columns.place[role], self._columns.title(role))

    def _has(self, role: str) -> bool:
        return role in self._columns.place

    def _fault(
        self, role: str, what: str, *, value: object = None, rule: str | None = None, fix: str | None = None,
        near: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.problems.append(
            InputError(what, where=self._where(role), value=value, rule=rule, fix=fix, suggestions=near)
        )

    def _text(self, role: str) -> str:
        cell = self._columns.cell(self._row, role)
        if cell.is_formula:
            self._fault(
                role, "a formula where a text is expected", rule="only prices, numbers and dates may be formulas",
                fix="put the text itself into the cell",
            )  # fmt: skip
            return ""
        return " ".join(cell.text.split())

    def _machine(self) -> str | None:
        text = self._text("machine")
        if not text:
            if not self.problems_of("machine"):
                self._fault("machine", "no machine")
            return None
        name = self._machines.get(text.casefold())
        if name is None:
            near = near_misses(text, self._machines.values())
            self._fault(
                "machine", f"unknown machine {text!r}", near=near,
                fix=f'name it: --machine-map "{text}={near[0] if near else "NAME"}"',
            )  # fmt: skip
        return name

    def _plan(self) -> PlanName | None:
        text = self._text("plan")
        if not text:
            return self._defaults.plan
        for plan, pattern in _PLANS:
            if re.search(pattern, text, re.IGNORECASE):
                return plan
        self._fault("plan", "unknown price plan", value=text, rule=f"one of {', '.join((*RENTED, 'owned'))}")
        return None

    def _price(self) -> tuple[float, str | None, str | None] | None:
        """Amount, and the currency and period that its cell names."""
        cell = self._columns.cell(self._row, "price")
        value, unit = cell.value, ""
        if value is None and cell.is_formula:
            self._fault(
                "price", "a formula without its value", fix="open the workbook in Excel or LibreOffice and save it"
            )
            return None
        if not cell.text:
            self._fault("price", "no price")
            return None
        if isinstance(value, str):
            before = _BEFORE_NUMBER.match(value)[0]  # type: ignore[index]
            try:
                found = units.split_number(value[len(before) :])
            except units.UnitError as error:
                self._fault("price", error.what, value=value, rule=error.rule, fix=error.fix)
                return None
            multiple = _MULTIPLE.match(found[1]) if found else None
            unit = f"{before} {found[1][multiple.end() if multiple else 0 :]}".strip() if found else ""
            if found is None or not says_only_unit(unit):
                self._no_price(value)
                return None
            value = found[0] * ({"k": 1e3, "K": 1e3, "M": 1e6}[multiple[0]] if multiple else 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._no_price(cell.text)
            return None
        if not 0 < value < 1e12:
            self._fault("price", "a price must be above 0", value=cell.text)
            return None
        return (float(value), *unit_of(unit))

    def _no_price(self, value: object) -> None:
        self._fault("price", "not a price", value=repr(value), fix="write a number such as 31.50, or 31.50 USD/h")

    def _unit(
        self, price: tuple[float, str | None, str | None] | None, plan: PlanName | None
    ) -> tuple[str | None, str | None]:
        """Currency and period, of which everything that names one must say the same."""
        of_column = unit_of(self._text("unit"))
        currency_cell = self._text("currency")
        named = unit_of(currency_cell)[0] if currency_cell else None
        if currency_cell and named is None:
            near = ["USD"] if currency_cell.casefold() in ("usd", "dollar", "dollars", "us dollar") else []
            self._fault(
                "currency", "not a currency", value=currency_cell, near=near, rule="three letters, such as USD or EUR"
            )
            return None, None
        own = price[1:] if price else (None, None)
        columns = (self._columns.currency, self._columns.period)
        currency = self._agreed(
            "currency", (own[0], named, of_column[0], columns[0]), self._defaults.currency, price is not None
        )
        if currency is not None and currency != "USD" and not self._catalog.files_of(Currency, currency):
            self._fault(
                "currency" if self._has("currency") else "price",
                f"a price in {currency}, and the catalog has no rate to turn it into USD",
                rule="prices of several currencies are compared at explicit, dated rates",
                fix=f"add currencies/{currency}.yaml to the catalog: source, kind, date, usd_per_unit",
            )
        if plan == "owned":
            return currency, ""
        return currency, self._agreed(
            "unit", (own[1], of_column[1], columns[1]), self._defaults.period, price is not None
        )

    def _agreed(self, role: str, said: Sequence[str | None], default: str | None, has_price: bool) -> str | None:
        values = list(dict.fromkeys(v for v in said if v is not None))
        place = role if self._has(role) else "price"
        if len(values) > 1:
            self._fault(place, f"two {'currencies' if role == 'currency' else 'units'}", value=" and ".join(values),
                        fix="cell, column and title must say the same")  # fmt: skip
            return None
        if values or default:
            return values[0] if values else default
        if has_price:
            if role == "currency":
                fix = "add a column Currency, or --currency USD"
            else:
                fix = "write the title like Price (USD/h), or give --unit h, --unit month or --unit year"
            self._fault(place, f"a price without its {role}", fix=fix)
        return None

    def _date(self, role: str) -> datetime.date | None:
        cell = self._columns.cell(self._row, role)
        if isinstance(cell.value, datetime.datetime):
            return cell.value.date()
        if isinstance(cell.value, datetime.date):
            return cell.value
        text = cell.text
        if not text:
            return None
        for form in _DATE_FORMS:
            try:
                return datetime.datetime.strptime(text, form).date()
            except ValueError:
                continue
        rule = "day and month could be either way round" if re.fullmatch(r"\d+/\d+/\d+", text) else None
        self._fault(role, "not a date", value=text, rule=rule, fix="write it like 2026-11-20")
        return None

    def _count(self, role: str) -> int | None:
        cell = self._columns.cell(self._row, role)
        if not cell.text:
            return None
        if re.fullmatch(r"\d+(\.0*)?", cell.text) and float(cell.text) >= 1:
            return int(float(cell.text))
        self._fault(role, "not a number of machines", value=cell.text, rule="a whole number, 1 or more")
        return None

    def _life(self) -> str | None:
        text = self._text("life") or self._defaults.life
        if not text:
            self._fault(
                "life", "a purchase without a life", rule="the price is spread over the time that the machine serves",
                fix="add a column Life such as `4 years`, or --life '4 years'",
            )  # fmt: skip
            return None
        if re.fullmatch(r"[\d.]+", text) and self._has("life"):
            title = self._columns.title("life").casefold()
            text = f"{text} {'months' if 'month' in title else 'years' if 'year' in title else ''}".strip()
        try:
            units.parse(text, units.DURATION, bare_ok=False)
        except units.UnitError as error:
            self._fault("life", error.what, value=text, fix="write it like `4 years` or `48 months`")
            return None
        return text
