"""Price books out of quotes, the quotes of one machine side by side, and what a refresh would change."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import Quote
from planner.catalog.imports.quotes import Quotes, by_machine
from planner.catalog.precedence import PriceCandidate, ruling
from planner.catalog.prices import PLAN_NAMES, PlanName, PriceBook
from planner.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class QuotedOffer:
    """One of the prices of a machine under a price plan.

    Attributes
    ----------
    amount_text : str
        As quoted.
    usd : float
        USD an hour; of a purchase USD.
    counts : bool
        Whether plans use it, unless another book is named.
    why : str
        Why it counts or does not.
    relative : float or None
        Over the price that counts, less 1; None where none counts.
    """

    machine: str
    plan: PlanName
    amount_text: str
    usd: float
    provider: str
    date: str
    book: str
    row: int | None
    counts: bool
    why: str
    relative: float | None

    def to_record(self) -> dict[str, object]:
        """Return it as one flat JSON-ready record."""
        return dict(vars(self))


def books_of(found: Quotes, name: str) -> dict[str, list[Quote]]:
    """Divide quotes into price books: one for each provider, date, currency, region and tier of quantity.

    Returns
    -------
    dict of str to list of Quote
        `name` if one book holds them all, else `name-provider`, or what else tells them apart. Prices that hold from
        a larger quantity only are in a book `...-from-16`.

    Raises
    ------
    InputError
        A name that no file can have.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "not a name of a price book", where="--book", value=name, rule="letters, digits, `.`, `_` and `-`",
            fix=f"--book {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._') or 'quotes-2026-11'}",
        )  # fmt: skip
    groups: dict[tuple[str, ...], list[Quote]] = {}
    for quote in found.quotes:
        key = (
            _slug(quote.provider), str(quote.date), quote.currency.lower(), _slug(quote.region or ""),
            _tier_name(quote, found.quotes),
        )  # fmt: skip
        groups.setdefault(key, []).append(quote)
    if len(groups) == 1:
        return {name: found.quotes}
    # The fewest of provider, date, currency, region and tier that tell the books apart.
    choices = itertools.chain.from_iterable(itertools.combinations(range(5), n) for n in range(1, 6))
    parts = next(p for p in choices if len({tuple(key[n] for n in p) for key in groups}) == len(groups))
    return {"-".join([name, *(key[n] for n in parts if key[n])]): quotes for key, quotes in groups.items()}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")


def _tier_name(quote: Quote, quotes: Sequence[Quote]) -> str:
    """Empty of the lowest tier of a machine and plan, which is its price unless another book is named."""
    same = (quote.machine, quote.plan, quote.provider, quote.region)
    tiers = [q.tier or 1 for q in quotes if (q.machine, q.plan, q.provider, q.region) == same]
    return "" if (quote.tier or 1) == min(tiers) else f"from-{quote.tier}"


def book_text(quotes: Sequence[Quote], found: Quotes, *, default: bool) -> str:
    """Return the YAML of the price book of quotes that share provider, date and currency; it was checked."""
    first = quotes[0]
    sheet = f", sheet {found.sheet}" if found.sheet else ""
    data: dict[str, Any] = {
        "source": f"quotes imported from {found.path.name}{sheet}", "kind": "quote", "provider": first.provider,
        "date": first.date, "currency": first.currency,
    }  # fmt: skip
    if first.region is not None:
        data["region"] = first.region
    if not default or _tier_name(first, found.quotes):
        data["default"] = False
    provenance: dict[str, Any] = {}
    for plan in PLAN_NAMES:
        of_plan = [quote for quote in quotes if quote.plan == plan]
        for quote in of_plan:
            data.setdefault(plan, {})[quote.machine] = _entry(quote)
            source = "; ".join(part for part in (quote.source, quote.quoted and f"quoted as {quote.quoted}") if part)
            if len(source) >= 3:
                provenance[f"{plan}.{quote.machine}"] = {"source": source, "kind": "quote"}
            if terms := _terms(quote):
                data.setdefault("terms", {}).setdefault(plan, {})[quote.machine] = terms
    if provenance:
        data["provenance"] = provenance
    try:
        PriceBook.model_validate(data | {"name": "quotes"}, context={"from_file": True}, by_alias=True, by_name=False)
    except ValueError as error:
        raise InputError(f"these quotes make no price book: {error}", where=str(found.path)) from None
    stream = StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump(data, stream)
    return f"# By planner catalog import-quotes: import again rather than edit.\n{stream.getvalue()}"


def _terms(quote: Quote) -> dict[str, object]:
    least = [n for n in (quote.minimum_order, quote.tier) if n is not None]
    terms: dict[str, object | None] = {
        "minimum_order": max(least) if least else None, "max_count": quote.max_count, "lead_time": quote.lead_time,
        "available_from": quote.available_from, "valid_until": quote.valid_until,
    }  # fmt: skip
    return {name: value for name, value in terms.items() if value is not None}


def _entry(quote: Quote) -> object:
    if quote.plan != "owned":
        if quote.period == "week":  # which price books do not know
            return replace(quote, amount=float(f"{quote.per_hour:.12g}"), period="h").amount_text
        return quote.amount_text
    fields = {"purchase": quote.amount_text, "life": quote.life, "residual": quote.residual,
              "maintenance": quote.maintenance}  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def compare(
    books: Mapping[str, Sequence[Quote]], catalog: Catalog, *, default: bool, today: datetime.date | None = None
) -> list[QuotedOffer]:
    """Put all prices of each quoted machine side by side: the quotes, and what the catalog has without them.

    The rule is the catalog's own (`planner.catalog.precedence`), the quotes taken as prices of the user.
    """
    offers: list[QuotedOffer] = []
    book_of = {id(quote): name for name, quotes in books.items() for quote in quotes}
    for machine, plan, members in by_machine([q for quotes in books.values() for q in quotes]):
        quoted = {book_of[id(q)]: (q, q.per_hour * _rate(catalog, q.currency)) for q in members}
        new = [
            PriceCandidate(name, q.provider, q.region, q.date, q.valid_until, is_own=True, kind="quote")
            for name, (q, _) in quoted.items()
        ]
        old = [c for c in catalog.candidates(machine, plan) if c.book not in books]

        def usd_of(c: PriceCandidate, machine: str = machine, plan: PlanName = plan, quoted: Any = quoted) -> float:
            usd: float = quoted[c.book][1] if c.book in quoted else catalog.amount_usd(c.book, machine, plan)
            return usd

        on = [*(new if default else ()), *(c for c in old if catalog.price_book(c.book).default)]
        ruled = ruling(on, usd_of, today or catalog.today, catalog.quotes)
        reasons = {id(c): why for c, why in ruled.others}
        if ruled.counting is not None:
            reasons[id(ruled.counting)] = ruled.because
        best = ruled.counting
        shown = [c for c in (best, *(c for c, _ in ruled.others)) if c is not None]
        shown += [c for c in new if not any(c is other for other in shown)]
        for c in shown:
            quote = quoted[c.book][0] if c.book in quoted else None
            usd = usd_of(c)
            offers.append(QuotedOffer(
                machine, plan, quote.amount_text if quote else _amount_text(catalog, c.book, machine, plan), usd,
                c.provider, str(c.date), c.book, quote.row if quote else None, c is best,
                reasons.get(id(c), "counts only when its book is named"), usd / usd_of(best) - 1 if best else None,
            ))  # fmt: skip
    return offers


def _rate(catalog: Catalog, currency: str) -> float:
    return 1.0 if currency == "USD" else catalog.currency(currency).usd_per_unit


def _amount_text(catalog: Catalog, book_name: str, machine: str, plan: PlanName) -> str:
    book = catalog.price_book(book_name)
    return f"{_amount(book, plan, machine):,.2f} {book.currency}" + ("" if plan == "owned" else "/h")


def differences(old: PriceBook, quotes: Sequence[Quote]) -> list[str]:
    """Say what changes where a book is replaced, one line a price."""
    before = {(plan, machine): _amount(old, plan, machine) for plan, machine in old.listed()}
    after = {(q.plan, q.machine): q.per_hour for q in quotes}
    currency = quotes[0].currency if quotes else old.currency
    lines = []
    if (old.provider, old.date, old.currency) != (quotes[0].provider, quotes[0].date, currency):
        lines.append(
            f"{old.provider}, {old.date}, {old.currency} -> {quotes[0].provider}, {quotes[0].date}, {currency}"
        )
    for key in dict.fromkeys([*before, *after]):
        plan, machine = key
        unit = "" if plan == "owned" else "/h"
        was, now = before.get(key), after.get(key)
        if was is None and now is not None:
            lines.append(f"{machine} {plan}: new, {now:,.2f} {currency}{unit}")
        elif now is None and was is not None:
            lines.append(f"{machine} {plan}: gone, was {was:,.2f} {old.currency}{unit}")
        elif was is not None and now is not None and abs(was - now) > 1e-9 * was:
            change = f" ({100 * (now / was - 1):+.1f} %)" if old.currency == currency else ""
            lines.append(f"{machine} {plan}: {was:,.2f} {old.currency}{unit} -> {now:,.2f} {currency}{unit}{change}")
    return lines or ["no price changes"]


def _amount(book: PriceBook, plan: PlanName, machine: str) -> float:
    return book.owned[machine].purchase if plan == "owned" else book.prices(plan)[machine]
