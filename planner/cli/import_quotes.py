"""`planner catalog import-quotes`: a price book out of a workbook or CSV of quotes."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from planner.cli.options import Format, FormatOption, QuietOption
from planner.cli.output import emit, note
from planner.errors import InputError, OutputError, UnknownNameError

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.catalog.imports.quote import Quote, QuoteDefaults
    from planner.catalog.imports.quote_books import QuotedOffer
    from planner.catalog.imports.quote_numbers import Decimal


def import_quotes(
    quotes: Annotated[Path, typer.Argument(metavar="QUOTES.xlsx|csv", help="A workbook or CSV with a row a quote.")],
    book: Annotated[str, typer.Option("--book", metavar="NAME", help="Name of the price book.")],
    catalog: Annotated[Path, typer.Option("--catalog", metavar="DIR", help="Overlay folder to write it into.")],
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=TITLE,...",
            help='Titles that are not recognised: --map machine=Item,price="Unit price". Roles: machine, price, unit, '
            "currency, date, valid_from, expires, provider, plan, source, region, minimum_order, tier, stock, "
            "lead_time, available_from, upfront, quantity, total, discount, gpus, life, residual, maintenance, "
            "notes. Repeatable.",
        ),
    ] = None,
    machine_map: Annotated[
        list[str] | None,
        typer.Option(
            "--machine-map",
            metavar="THEIRS=OURS",
            help='What the file calls a machine: --machine-map "DGX H100 640GB=dgx-h100". Repeatable.',
        ),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="NAME", help="Sheet. [default: the first with such titles]")
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Where the file has no such column.")] = None,
    date: Annotated[
        str | None, typer.Option("--date", metavar="2026-11-20", help="Where the file has no such column.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", help="Where the file does not say, such as USD.")
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option("--unit", metavar="h|GPU/h|month|...", help="Of prices, where the file does not say."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan",
            help="Where the file has no such column: on_demand, reserved_1y, spot, owned, ... [default: on_demand]",
        ),
    ] = None,
    life: Annotated[
        str | None, typer.Option("--life", metavar="TIME", help="Of purchases, where the file has no such column.")
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option("--decimal", metavar="point|comma", help="Of numbers. [default: what the file says]"),
    ] = None,
    accept_outliers: Annotated[
        bool, typer.Option("--accept-outliers", help="Take prices a factor of 3 from all others as they are.")
    ] = False,
    default: Annotated[
        bool, typer.Option("--default/--no-default", help="Whether plans use the book without --prices NAME.")
    ] = True,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a book that is there.")] = False,
    format: FormatOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn quotes into a price book, and show all prices of each machine side by side.

    The usual titles are recognised (Machine, Unit price, Currency, Date, Vendor, ...). Every fault of every row is
    reported, and nothing is written if there is one. A book that is there is replaced with --replace only, and what
    changes is shown. The bill of materials of `planner export --xlsx` can be read as it is.
    """
    from planner.catalog.catalog import Catalog
    from planner.catalog.folders import is_begun
    from planner.catalog.imports.quote_books import book_text, books_of, compare
    from planner.catalog.imports.quote_columns import parse_mapping
    from planner.catalog.imports.quotes import read_quotes
    from planner.export.files import write_together

    layers = Catalog.default([catalog] if is_begun(catalog) else [])
    found = read_quotes(
        quotes,
        layers,
        today=datetime.date.today(),
        mapping=parse_mapping(map or []),
        machine_names=machine_names(machine_map or []),
        sheet=sheet,
        defaults=_defaults(provider, date, currency, unit, plan, life),
        decimal=_decimal(decimal),
        accept_outliers=accept_outliers,
    )
    books = books_of(found, book)
    files = {name: catalog / "prices" / f"{name}.yaml" for name in books}
    _check_refresh(layers, books, files, replace=replace, quiet=quiet)
    offers = compare(books, layers, default=default)
    texts = {name: book_text(members, found, default=default) for name, members in books.items()}
    write_together({files[name]: text for name, text in texts.items()})
    _show(offers, format)
    for line in [*found.notes, *(f"wrote {path}" for path in files.values())]:
        note(line, quiet=quiet)


def machine_names(texts: Sequence[str]) -> dict[str, str]:
    """Read `THEIRS=OURS` of --machine-map."""
    names: dict[str, str] = {}
    for text in texts:
        theirs, equals, ours = (part.strip() for part in text.rpartition("="))
        if not equals or not theirs or not ours:
            raise InputError(
                "not a pair of names", where="--machine-map", value=text, rule="THEIRS=OURS",
                fix='write --machine-map "DGX H100 640GB=dgx-h100"',
            )  # fmt: skip
        names[theirs] = ours
    return names


def _defaults(
    provider: str | None, date: str | None, currency: str | None, unit: str | None, plan: str | None, life: str | None
) -> QuoteDefaults:
    from planner.catalog.imports.quote import QuoteDefaults
    from planner.catalog.imports.quote_words import say
    from planner.catalog.prices import PLAN_NAMES, PlanName

    if plan is not None and plan not in PLAN_NAMES:
        raise UnknownNameError.of("price plan", plan, get_args(PlanName), where="--plan")
    of_unit = say(unit or "")
    if unit is not None and (of_unit.unknown or of_unit.currency or not (of_unit.period or of_unit.per)):
        raise InputError(
            "not a unit of prices",
            where="--unit",
            value=unit,
            rule="h, day, week, month or year, of a machine or as GPU/h",
        )
    if currency is not None and not (len(currency) == 3 and currency.isalpha() and currency.isupper()):
        raise InputError("not a currency", where="--currency", value=currency, rule="three letters, such as USD or EUR")
    day = None
    if date is not None:
        try:
            day = datetime.date.fromisoformat(date)
        except ValueError:
            raise InputError("not a date", where="--date", value=date, fix="write it like 2026-11-20") from None
    return QuoteDefaults(provider, day, currency, of_unit.period, of_unit.per, plan, life)


def _decimal(text: str | None) -> Decimal | None:
    if text not in (None, "point", "comma"):
        raise InputError("not a decimal sign", where="--decimal", value=text, rule="point or comma")
    return text  # type: ignore[return-value]


def _check_refresh(
    layers: Catalog, books: Mapping[str, Sequence[Quote]], files: Mapping[str, Path], *, replace: bool, quiet: bool
) -> None:
    """Refuse to change a book unless told to; say what changes."""
    from planner.catalog.imports.quote_books import differences
    from planner.catalog.schema import PriceBook

    for name, members in books.items():
        there = layers.files_of(PriceBook, name)
        if any(path.resolve() != files[name].resolve() for path in there):
            raise OutputError(
                f"there is a price book {name} in another layer of the catalog, and this one would merge with it",
                where="--book", value=str(there[0]), fix="choose another name",
            )  # fmt: skip
        if not there:
            continue
        lines = differences(layers.price_book(name), members)
        if not replace:
            raise OutputError(
                "this price book is there already; nothing was written", where=str(files[name]), also=lines,
                rule="prices are refreshed on purpose only", fix="--replace overwrites it",
            )  # fmt: skip
        for line in lines:
            note(f"{name}: {line}", quiet=quiet)


def _show(offers: Sequence[QuotedOffer], format: Format | None) -> None:
    if format in (Format.json, Format.csv):
        from planner.export.records import csv_text, json_text

        records = [offer.to_record() for offer in offers]
        emit(json_text(records) if format is Format.json else csv_text(records), None)
        return
    from planner.export.tables.quotes import quotes_table

    emit(quotes_table(offers), None)
