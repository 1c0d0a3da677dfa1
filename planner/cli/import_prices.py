"""`planner catalog import-prices`: a price book out of a price feed that the user downloaded."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.import_quotes import machine_names
from planner.cli.options import Format, FormatOption, QuietOption
from planner.cli.output import emit, note, print_table
from planner.errors import InputError, OutputError, UnknownNameError

_FORMS = ("skypilot", "gpuhunt", "csv")
# What stops a price is told in full; what is as it should be is counted.
_EXPECTED = ("used", "repeated", "other region", "no accelerator")


def import_prices(
    feed: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A feed that you downloaded; nothing is fetched.")],
    form: Annotated[str, typer.Option("--from", metavar="FORM", help="skypilot, gpuhunt or csv.")],
    catalog: Annotated[Path, typer.Option("--catalog", metavar="DIR", help="Overlay folder to write the book into.")],
    book: Annotated[
        str | None, typer.Option("--book", metavar="NAME", help="Name of the price book. [default: PROVIDER-feed]")
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="Whose prices, where neither a column nor the file's name says.")
    ] = None,
    date: Annotated[
        str | None, typer.Option("--date", metavar="2026-11-20", help="Day on which the prices were valid.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", metavar="NAME", help="Region of the feed whose prices are taken.")
    ] = None,
    machine_map: Annotated[
        list[str] | None,
        typer.Option("--machine-map", metavar="THEIRS=OURS", help="What the feed calls a machine. Repeatable."),
    ] = None,
    accept_jumps: Annotated[
        bool, typer.Option("--accept-jumps", help="Take prices that moved by more than 30 %.")
    ] = False,
    accept_stale: Annotated[
        bool, typer.Option("--accept-stale", help="Take prices over a year older than the newest of the catalog.")
    ] = False,
    default: Annotated[
        bool, typer.Option("--default/--no-default", help="Whether plans use the book without --prices NAME.")
    ] = True,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a book that is there.")] = False,
    format: FormatOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn the catalog of SkyPilot or gpuhunt, or a CSV, into a price book, with every row accounted for.

    Machines are known by provider and instance name, else by accelerator and count at that provider. Rows that match
    none, prices of 0, jumps over 30 % and stale prices are left out and listed; two prices for one thing are an error.
    """
    from planner.catalog.catalog import Catalog
    from planner.catalog.folders import is_begun
    from planner.catalog.imports.feed_books import feed_book_text, settle
    from planner.catalog.imports.feed_rows import read_feed
    from planner.catalog.schema import Machine, PriceBook
    from planner.export.files import write_whole
    from planner.export.records import csv_text, json_text

    if form not in _FORMS:
        raise UnknownNameError.of("form of a feed", form, _FORMS, where="--from")
    layers = Catalog.default([catalog] if is_begun(catalog) else [])
    sites = sorted({layers.machine(name).site for name in layers.names(Machine)})
    offers, n_rows = read_feed(feed, form, provider=provider, date=_day(date), providers=sites)  # type: ignore[arg-type]
    found = settle(
        offers, layers, region=region, machine_map=machine_names(machine_map or []), accept_jumps=accept_jumps,
        accept_stale=accept_stale, where=str(feed),
    )  # fmt: skip
    if format in (Format.json, Format.csv):
        records = [fate.to_record() for fate in found.fates]
        emit(json_text(records) if format is Format.json else csv_text(records), None)
    else:
        print_table(["what became of it", "offers"], [[what, str(n)] for what, n in found.counts().items()])
        odd = [fate for fate in found.fates if fate.fate not in _EXPECTED]
        if odd:
            print()
            rows = [[str(f.line), f.instance, f.plan, f.price or "-", f.fate, f.detail] for f in odd]
            print_table(["line", "instance", "price plan", "price", "", "why"], rows)
    note(f"{n_rows} rows, {len(found.fates)} offers of {found.provider} of {found.date}", quiet=quiet)
    if not found.prices:
        raise InputError(
            "no row of this feed makes a price; nothing was written", where=str(feed),
            fix="see what became of each above; --machine-map says which machine a row is",
        )  # fmt: skip
    name = book or f"{found.provider}-feed"
    path = catalog / "prices" / f"{name}.yaml"
    there = layers.files_of(PriceBook, name)
    if any(other.resolve() != path.resolve() for other in there):
        raise OutputError(
            f"there is a price book {name} in another layer of the catalog, and this one would merge with it",
            where="--book", value=str(there[0]), fix="choose another name",
        )  # fmt: skip
    if there and not replace:
        raise OutputError("this price book is there already; nothing was written", where=str(path), fix="--replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, feed_book_text(found, source=f"{feed.name}, a {form} catalog", default=default))
    note(f"wrote {path}: {len(found.prices)} prices", quiet=quiet)


def _day(text: str | None) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError("not a date", where="--date", value=text, fix="write it like 2026-11-20") from None
