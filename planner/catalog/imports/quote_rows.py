"""One row of a table of quotes: read cell by cell, with everything that is wrong with it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from planner import units
from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import Quote, QuoteDefaults
from planner.catalog.imports.quote_columns import PriceColumn, QuoteColumns
from planner.catalog.imports.quote_machines import MachineNames
from planner.catalog.imports.quote_numbers import Decimal, find_number, read_date
from planner.catalog.imports.quote_remarks import doubts
from planner.catalog.imports.quote_table import Cell
from planner.catalog.imports.quote_terms import duration_text, lead_time_text
from planner.catalog.imports.quote_titles import plan_of
from planner.catalog.imports.quote_words import PERIOD_HOURS, Saying, said_aside, say
from planner.catalog.prices import RENTED, TERM_MONTHS, PlanName
from planner.catalog.schema import Currency
from planner.errors import InputError, near_misses

T = TypeVar("T")

_NO_OFFER = re.compile(
    r"(?:on request|upon request|request a quote|call|tbd|tba|n/?a|-+|–|—|auf anfrage|sur demande|nicht verfügbar|"
    r"not available|sold out|no bid)\.?",
    re.IGNORECASE,
)
_FORMAT_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]|\"([^\"]*)\"|([$€£])")


class RowReader:
    """Turns rows into quotes and keeps what is wrong with the last one.

    Attributes
    ----------
    problems : list of InputError
        What is wrong with the last row.
    notes : list of str
        What is worth knowing about it.
    """

    def __init__(
        self, columns: QuoteColumns, catalog: Catalog, machines: MachineNames, defaults: QuoteDefaults,
        today: datetime.date, decimal: Decimal,
    ) -> None:  # fmt: skip
        self._columns, self._catalog, self._machines = columns, catalog, machines
        self._defaults, self._today, self._decimal = defaults, today, decimal
        self._row: Sequence[Cell] = ()
        self._n = 0
        self._price_column = columns.prices[0]
        self._contradicted: set[str] = set()
        self.problems: list[InputError] = []
        self.notes: list[str] = []
        self._left_out: str | None = None  # why a quote does not count, though nothing is wrong with it

    def quotes(self, n: int, row: Sequence[Cell]) -> list[Quote]:
        """The quotes of a row, one for each column of prices that has one; its faults are in `problems`."""
        self._n, self._row, self.problems, self.notes = n, row, [], []
        filled = [p for p in self._columns.prices if self._at(p).text or self._at(p).is_formula]
        found = []
        for column in filled or [self._columns.prices[0]]:
            self._price_column, self._contradicted = column, set()
            faults, self._left_out = len(self.problems), None
            quote = self._quote()
            if self._left_out is not None and len(self.problems) == faults:
                name = quote.machine if quote is not None else self._columns.cell(row, "machine").text
                self.notes.append(f"the quote for {name} is left out: {self._left_out}")
            elif quote is not None:
                found.append(quote)
        # Several columns of prices repeat the faults of their row.
        self.problems = list({(p.where, p.what, str(p.value)): p for p in self.problems}.values())
        return found

    def _quote(self) -> Quote | None:
        provider = self._text("provider") or self._defaults.provider
        machine = self._machine(provider or "")
        price = self._price()
        if price is None and not self.problems:
            return None
        units_said = self._unit(price[1] if price else Saying())
        plan = self._plan(units_said)
        currency = self._currency(units_said, price is not None)
        period = self._period(units_said, plan, price is not None)
        amount, quoted = self._of_one_machine(price, units_said, machine, currency, period)
        if not provider and not self._has_problem("provider"):
            self._fault("provider", "no provider", fix="add a column Provider, or --provider NAME")
        date = self._date("date") or (None if self._has("date") else self._defaults.date)
        starts = self._date("valid_from")
        if date is None and starts is not None and starts <= self._today and not self._has_problem("date"):
            date = starts
        if date is None and not self._has_problem("date"):
            self._fault("date", "no date", fix="add a column Date, or --date 2026-11-20")
        elif date is not None and date > self._today:
            self._fault("date", "a price dated in the future", value=date)
        expires = self._expires(date)
        if expires is not None and expires < self._today:
            self._left_out = f"expired on {expires}"
        if starts is not None and starts > self._today:
            self._left_out = f"holds from {starts} only"
        self._check_remarks(plan, machine, currency)
        self._check_total(price)
        amount = self._with_upfront(amount, plan, period)
        life = self._life() if plan == "owned" else None
        minimum, tier, stock = (self._count(role) for role in ("minimum_order", "tier", "stock"))
        lead_time, source = self._lead_time(), self._text("source")
        available = self._date("available_from")
        residual, maintenance, region = (self._text(role) or None for role in ("residual", "maintenance", "region"))
        if self.problems or None in (machine, plan, amount, currency, period, date) or not provider:
            return None
        assert machine and plan and amount and currency and period is not None and date
        return Quote(
            row=self._n + 1, machine=machine, plan=plan, amount=amount, period=period, currency=currency,
            provider=provider, date=date, source=source, quoted=quoted, minimum_order=minimum, tier=tier,
            max_count=stock, lead_time=lead_time, available_from=available, valid_until=expires, region=region,
            life=life,
            residual=residual if plan == "owned" else None, maintenance=maintenance if plan == "owned" else None,
        )  # fmt: skip

    # -- cells ---------------------------------------------------------------------------------------------------------

    def _at(self, column: PriceColumn) -> Cell:
        return self._row[column.column] if column.column < len(self._row) else Cell()

    def _has_problem(self, role: str) -> bool:
        where = self._where(role)
        return any(problem.where == where for problem in self.problems)

    def _where(self, role: str) -> str:
        if role == "price":
            return self._columns.table.where(self._n, self._price_column.column, self._price_column.title)
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

    # -- what and how --------------------------------------------------------------------------------------------------

    def _machine(self, provider: str) -> str | None:
        text = self._text("machine")
        if not text:
            if not self._has_problem("machine"):
                self._fault("machine", "no machine")
            return None
        gpus = self._columns.cell(self._row, "gpus").text
        count = int(float(gpus)) if re.fullmatch(r"\d+(\.0*)?", gpus) else None
        found, candidates = self._machines.find(text, provider, count)
        if found is not None:
            machine = self._catalog.machine(found)
            if count is not None and count != machine.n_accelerators:
                self._fault("gpus", f"{found} has {machine.n_accelerators:g} accelerators", value=gpus)
            if text.casefold() != found.casefold() and text.casefold() not in self._machines.given:
                self.notes.append(f"{text!r} is taken as {found}")
            return found
        near = candidates[:6] or near_misses(text, self._machines.names)
        self._fault(
            "machine", f"{text!r} could be several machines" if candidates else f"unknown machine {text!r}", near=near,
            fix=f'name it: --machine-map "{text}={near[0] if near else "NAME"}"',
        )  # fmt: skip
        return None

    def _plan(self, said: Saying) -> PlanName | None:
        text = self._text("plan")
        of_title = self._price_column.plan
        if not text:
            return of_title or self._defaults.plan or ("owned" if said.period == "once" else "on_demand")
        plan, rest = plan_of(text)
        if plan is None and say(text) == Saying(period="h"):  # billed by the hour, without a term
            plan, rest = "on_demand", ""
        if plan is None or rest:
            self._fault(
                "plan",
                "unknown price plan",
                value=text,
                rule=f"one of {', '.join((*RENTED, 'owned'))}, and nothing else",
            )
            return None
        if of_title is not None and of_title != plan:
            self._fault("plan", "two price plans", value=f"{text}, and {self._price_column.title} is {of_title}")
            return None
        return plan

    # -- the price -----------------------------------------------------------------------------------------------------

    def _price(self) -> tuple[float, Saying] | None:
        """Amount, and what its cell says of its unit; None where there is no offer or a fault."""
        cell = self._at(self._price_column)
        value = cell.value
        if value is None and cell.is_formula:
            self._fault(
                "price", "a formula without its value", fix="open the workbook in Excel or LibreOffice and save it"
            )
            return None
        if not cell.text:
            self._fault("price", "no price")
            return None
        if isinstance(value, str):
            if _NO_OFFER.fullmatch(value.strip()):
                self._left_out = f"no price: {value.strip()}"
                return None
            return self._price_in_text(value)
        if not cell.is_number:
            self._no_price(cell.text)
            return None
        if "%" in cell.number_format:
            self._fault("price", "a percentage where a price is expected", value=cell.text)
            return None
        amount = float(value)  # type: ignore[arg-type]
        return (amount, self._of_format(cell)) if self._is_positive(amount, cell.text) else None

    def _price_in_text(self, text: str) -> tuple[float, Saying] | None:
        found = find_number(text)
        if found is None:
            self._no_price(text)
            return None
        saying = say(f"{found.before} {found.after}", self._machines.accelerator_words)
        if saying.unknown:
            self._fault(
                "price", "words around a price that are not understood", value=text, rule=", ".join(saying.unknown),
                fix="write a price such as 31.50 USD/h, or 3.94 USD/GPU/h",
            )  # fmt: skip
            return None
        value = found.value(self._decimal)
        if value is None:
            other = found.value("comma" if self._decimal == "point" else "point")
            fix = (
                f"--decimal {'comma' if self._decimal == 'point' else 'point'}, or write {other:.2f}" if other else None
            )
            self._fault("price", f"not a number with a decimal {self._decimal}", value=text, fix=fix,
                        rule="numbers of one file have one decimal sign")  # fmt: skip
            return None
        return (value, saying) if self._is_positive(value, text) else None

    def _is_positive(self, value: float, shown: str) -> bool:
        if not 0 < value < 1e12:
            self._fault("price", "a price must be above 0", value=shown)
            return False
        return True

    def _no_price(self, value: object) -> None:
        self._fault("price", "not a price", value=repr(value), fix="write a number such as 31.50, or 31.50 USD/h")

    def _of_format(self, cell: Cell) -> Saying:
        """What the number format of a workbook shows beside the number: `[$€-407]`, `"USD/h"`."""
        parts = [
            next(part for part in match if part) for match in _FORMAT_CURRENCY.findall(cell.number_format) if any(match)
        ]
        saying = say(" ".join(dict.fromkeys(p for p in parts if p.strip())), self._machines.accelerator_words)
        return replace(saying, unknown=()) if saying.says_something else Saying()

    def _unit(self, of_cell: Saying) -> Saying:
        """What cell, columns, title and the file say together; they may not contradict each other."""
        words = self._machines.accelerator_words
        unit_text, currency_text = self._text("unit"), self._text("currency")
        of_unit, of_currency = say(unit_text, words), say(currency_text)
        for role, text, saying in (("unit", unit_text, of_unit), ("currency", currency_text, of_currency)):
            wrong = saying.unknown or (text and role == "currency" and saying.currency is None)
            if wrong:
                self._contradicted.add(role)
                usd = role == "currency" and text.casefold() in ("dollar", "dollars")
                self._fault(
                    role, "not a currency" if role == "currency" else "a unit that is not understood", value=text,
                    near=["USD"] if usd else [], rule="three letters, such as USD or EUR" if role == "currency"
                    else "a time, per machine or per GPU, such as USD/h or USD/GPU/h",
                )  # fmt: skip
        title = self._price_column.saying
        if title.unknown:
            self._fault("price", "a title that is not understood", value=self._price_column.title,
                        rule=", ".join(title.unknown), fix="--map price=TITLE takes it as it is")  # fmt: skip
        remark = said_aside(self._text("notes"))
        sayings = [of_cell, of_unit, of_currency, title, remark]
        if any(s.is_gross for s in (*sayings, self._columns.aside)):
            self._fault("price", "a price with tax in it", rule="prices are compared before tax",
                        fix="ask for the net price")  # fmt: skip
        of_file = self._columns.aside
        return Saying(
            currency=self._agreed("currency", [s.currency for s in sayings], of_file.currency),
            period=self._agreed("unit", [s.period for s in sayings], of_file.period),
            per=self._agreed("unit", [*(s.per for s in sayings), of_file.per], None),  # type: ignore[arg-type]
            multiple=self._agreed("price", [*(s.multiple for s in sayings), of_file.multiple], None),
        )

    def _agreed(self, role: str, said: Sequence[T | None], otherwise: T | None) -> T | None:
        values = list(dict.fromkeys(v for v in said if v is not None))
        if len(values) > 1:
            place = role if self._has(role) else "price"
            what = "currencies" if role == "currency" else "units"
            self._contradicted.add(role)
            self._fault(place, f"two {what}", value=" and ".join(map(str, values)),
                        fix="cell, column, title and remarks must say the same")  # fmt: skip
            return None
        return values[0] if values else otherwise

    def _currency(self, said: Saying, has_price: bool) -> str | None:
        currency = said.currency or self._defaults.currency
        place = "currency" if self._has("currency") else "price"
        if currency is None:
            if has_price and "currency" not in self._contradicted:
                self._fault(place, "a price without its currency", fix="add a column Currency, or --currency USD")
        elif currency != "USD" and not self._catalog.files_of(Currency, currency):
            self._fault(
                place, f"a price in {currency}, and the catalog has no rate to turn it into USD",
                rule="prices of several currencies are compared at explicit, dated rates",
                fix=f"add currencies/{currency}.yaml to the catalog: source, kind, date, usd_per_unit",
            )  # fmt: skip
        return currency

    def _period(self, said: Saying, plan: PlanName | None, has_price: bool) -> str | None:
        """Time that the price is for; empty of a purchase."""
        place = "unit" if self._has("unit") else "price"
        period = said.period or (None if plan == "owned" else self._defaults.period)
        if plan == "owned":
            if period not in (None, "once"):
                self._fault(place, "a purchase with a price for a time", value=period,
                            rule="a purchase is paid once; a lease is a rent",
                            fix="correct the plan, or the unit")  # fmt: skip
            return ""
        if period == "once":
            self._fault(place, "a rent that is paid once", fix="correct the plan to purchase, or the unit")
            return None
        if period is None and has_price and "unit" not in self._contradicted:
            fix = "write the title like Price (USD/h), or give --unit h, --unit GPU/h, --unit month or --unit year"
            self._fault(place, "a price without its unit", fix=fix)
        return period

    def _of_one_machine(
        self,
        price: tuple[float, Saying] | None,
        said: Saying,
        machine: str | None,
        currency: str | None,
        period: str | None,
    ) -> tuple[float | None, str]:
        """The price of one machine, and how it was quoted where that is another figure."""
        if price is None:
            return None, ""
        amount, quoted = price[0], ""
        per = said.per or self._defaults.per
        unit = f"{currency}/{period}" if period else f"{currency}"
        if said.multiple:
            quoted = f"{amount:g} x {said.multiple:,.0f} {unit}"
            amount *= said.multiple
        if per == "accelerator" and machine is not None:
            n = int(self._catalog.machine(machine).n_accelerators)
            quoted = f"{amount:g} {unit} an accelerator x {n}"
            amount = float(f"{amount * n:.12g}")
        return amount, quoted

    def _with_upfront(self, amount: float | None, plan: PlanName | None, period: str | None) -> float | None:
        """The rent of a reservation with what is paid at its start spread over its term."""
        cell = self._columns.cell(self._row, "upfront")
        if not cell.text or amount is None or period is None or plan is None:
            return amount
        fee = self._plain_number("upfront", cell)
        if not fee:
            return amount
        term = TERM_MONTHS.get(plan)
        if term is None:
            self._fault("upfront", f"a payment at the start of {plan.replace('_', ' ')}", value=cell.text,
                        rule="only a reservation has one, and its term spreads it")  # fmt: skip
            return None
        hours = term * PERIOD_HOURS["month"]
        spread = fee / hours * PERIOD_HOURS[period]
        self.notes.append(f"{fee:,.2f} at the start is spread over {hours:,.0f} h")
        return float(f"{amount + spread:.12g}")

    def _check_total(self, price: tuple[float, Saying] | None) -> None:
        """Refuse a price that is that of all machines ordered, where quantity and total are told."""
        total, quantity = (self._columns.cell(self._row, role) for role in ("total", "quantity"))
        if price is None or not total.text or not quantity.text:
            return
        n, whole = self._plain_number("quantity", quantity), self._plain_number("total", total)
        if n and whole and n > 1 and abs(price[0] * n / whole - 1) > 0.02 and abs(price[0] / whole - 1) < 0.02:
            self._fault("price", "this is the price of all machines together", value=f"{price[0]:g}, for {n:g}",
                        fix="give the price of one")  # fmt: skip

    def _check_remarks(self, plan: PlanName | None, machine: str | None, currency: str | None) -> None:
        """Refuse what other columns say that would change the price: a discount, a commitment."""
        discount = self._columns.cell(self._row, "discount").text
        paid = re.search(
            r"\b(?:net|netto|nettopreis|discounted|after|final|our)\b", self._price_column.title, re.IGNORECASE
        )
        if discount and not re.fullmatch(r"[-–0.,%\s]*", discount) and not paid:
            self._fault("discount", "a discount: is the price before it or after it?", value=discount,
                        fix='name the column that is paid, with "net" in its title, or leave it out')  # fmt: skip
        n = int(self._catalog.machine(machine).n_accelerators) if machine else None
        texts = [("notes", self._text("notes"))] if self._text("notes") else []
        texts += [("price", f"{title}: {text}") for title, text in self._columns.unread_cells(self._row)]
        for role, text in texts:
            for what, fix in doubts(text, plan, currency, n):
                self._fault(role, what, value=text, fix=fix)
        support = self._text("maintenance")
        if (
            support
            and plan not in (None, "owned")
            and not re.fullmatch(r"(?i)0?\s*%?|incl\w*\.?|inkl\w*\.?|yes|none|no", support)
        ):
            self._fault("maintenance", "support beside a rented price", value=support,
                        fix="add it to the price, and leave the column out")  # fmt: skip

    # -- terms ---------------------------------------------------------------------------------------------------------

    def _date(self, role: str) -> datetime.date | None:
        cell = self._columns.cell(self._row, role)
        if not cell.text:
            return None
        found, rule = read_date(cell.value, epoch=self._columns.table.epoch)
        if found is None:
            self._fault(role, "not a date", value=cell.text, rule=rule or None, fix="write it like 2026-11-20")
        return found

    def _expires(self, date: datetime.date | None) -> datetime.date | None:
        """Last day of an offer: a date, or so many days from that of the quote."""
        text = self._columns.cell(self._row, "expires").text
        if date is not None and (match := re.fullmatch(r"(\d{1,3})\s*(?:days?|d|tage?n?|jours?)", text, re.IGNORECASE)):
            return date + datetime.timedelta(days=int(match[1]))
        return self._date("expires")

    def _plain_number(self, role: str, cell: Cell) -> float | None:
        if cell.is_number:
            return float(cell.value)  # type: ignore[arg-type]
        found = find_number(cell.text)
        value = None if found is None or say(f"{found.before} {found.after}").unknown else found.value(self._decimal)
        if value is None:
            self._fault(role, "not a number", value=cell.text)
        return value

    def _count(self, role: str) -> int | None:
        cell = self._columns.cell(self._row, role)
        text = cell.text.rstrip("+ ")
        if not text:
            return None
        if match := re.fullmatch(r"(\d+)\s*[-–]\s*\d+", text):  # a tier of 8-15 begins at 8
            text = match[1] if role == "tier" else text
        if re.fullmatch(r"\d+(\.0*)?", text) and float(text) >= (0 if role == "stock" else 1):
            return int(float(text))
        if role == "stock" and text.casefold() in ("yes", "ja", "oui", "in stock", "ab lager", "en stock"):
            return None
        self._fault(role, "not a number of machines", value=cell.text, rule="a whole number, 1 or more")
        return None

    def _lead_time(self) -> str | None:
        text = self._text("lead_time")
        if not text:
            return None
        title = self._columns.title("lead_time") if self._has("lead_time") else ""
        lower = lead_time_text(text, title)
        return lower and self._duration("lead_time", lower, text, "write it like `12 weeks`")

    def _life(self) -> str | None:
        text = self._text("life") or self._defaults.life
        if not text:
            self._fault(
                "life", "a purchase without a life", rule="the price is spread over the time that the machine serves",
                fix="add a column Life such as `4 years`, or --life '4 years'",
            )  # fmt: skip
            return None
        lower = duration_text(text, self._columns.title("life") if self._has("life") else "")
        return self._duration("life", lower, text, "write it like `4 years` or `48 months`")

    def _duration(self, role: str, lower: str, shown: str, fix: str) -> str | None:
        try:
            units.parse(lower, units.DURATION, bare_ok=False)
        except units.UnitError as error:
            self._fault(role, error.what, value=shown, fix=fix)
            return None
        return lower
