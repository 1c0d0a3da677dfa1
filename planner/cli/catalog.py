"""`planner catalog`: look at what can be bought and served, check it, and add to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.import_prices import import_prices
from planner.cli.import_quotes import import_quotes
from planner.cli.options import CatalogOption, Format, FormatOption
from planner.cli.output import emit, print_table
from planner.errors import EXIT_BAD_INPUT, InputError, OutputError

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="List, show, check and extend what can be bought and served.")


_NO_PRICE = "No price book lists this machine: plans by cost leave it out (docs/catalog.md, Prices)."


@app.command("list")
def list_entries(
    kind: Annotated[str | None, typer.Argument(help="machines, models, ...; the names of all if left out.")] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
) -> None:
    """List the names of all entries, or one kind with its main figures."""
    from planner.export.catalog_records import BUILT_IN, FROM, kind_of, listing, overview

    layers = _open(catalog)
    rows = overview(layers) if kind is None else listing(layers, kind_of(kind))
    if format in (Format.json, Format.csv):
        _print_records([{column.name: column.value for column in row} for row in rows], format)
        return
    titles = list(dict.fromkeys(column.title for row in rows for column in row))
    if all(column.text == BUILT_IN for row in rows for column in row if column.title == FROM):
        titles = [title for title in titles if title != FROM]
    texts = [[dict((c.title, c.text) for c in row).get(title, "") for title in titles] for row in rows]
    print_table(titles, texts)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of an entry.")],
    kind: Annotated[str | None, typer.Option("--kind", help="Its kind, where several kinds have the name.")] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
) -> None:
    """Show every field of one entry with its unit, source and kind of source, and of a machine its prices."""
    from planner.catalog.catalog import LABELS
    from planner.catalog.offers import offers_of
    from planner.catalog.schema import Machine
    from planner.export.catalog_records import field_records, field_row, find, kind_of, offer_row, offer_titles

    layers = _open(catalog)
    entry = find(layers, name, kind_of(kind) if kind else None)
    records = field_records(layers, entry)
    files = [str(path) for path in layers.files_of(type(entry), name)]
    offers, broken = offers_of(layers, entry) if isinstance(entry, Machine) else ([], [])
    for line in broken:
        print(f"left out, it cannot be read: {line}", file=sys.stderr)
    if format is Format.json:
        shown = {"kind": type(entry).folder, "name": name, "files": files, "notes": entry.notes, "fields": records}
        if isinstance(entry, Machine):
            shown["prices"] = [offer.to_record() for offer in offers]
        _print_json(shown)
    elif format is Format.csv:
        _print_records(records, format)
    else:
        print(f"{LABELS[type(entry).folder]} {name}")
        for file in files:
            print(f"  {file}")
        if entry.notes:
            print(f"  {entry.notes.strip()}")
        print()
        print_table(["field", "value", "unit", "kind", "source"], [field_row(record) for record in records])
        if isinstance(entry, Machine):
            print()
            print_table(offer_titles(), [offer_row(offer) for offer in offers]) if offers else print(_NO_PRICE)


@app.command()
def lint(
    overlays: Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="Overlay folders to check.")] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
) -> None:
    """Check all files of the catalog with its overlays; exit code 2 if there are errors."""
    from planner.catalog.lint import lint as find_faults
    from planner.catalog.lint import machines_without_price

    layers = _open([*(catalog or []), *(overlays or [])])
    findings = find_faults(layers)
    if format not in (Format.json, Format.csv):
        for finding in findings:
            print(finding)
    else:
        _print_records([finding.to_record() for finding in findings], format)
    n_errors = sum(finding.severity == "error" for finding in findings)
    unpriced = machines_without_price(layers)
    note = f"errors: {n_errors}, warnings: {len(findings) - n_errors}, machines without a price: {len(unpriced)}"
    print(note, file=sys.stderr)
    if n_errors:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")]) -> None:
    """Write a small overlay to start from: a price, an accelerator and the schemas that editors check files with."""
    from planner.export.catalog_starter import starter_files
    from planner.export.files import write_together

    files = {directory / name: text for name, text in starter_files(_open([])).items()}
    for path in files:
        if os.path.lexists(path):
            raise OutputError("this file exists; nothing was written", where=str(path), fix="name a new folder")
    write_together(files)
    for path in files:
        print(path)
    print(f"Use it with --catalog {directory}, or set PLANNER_CATALOG={directory}", file=sys.stderr)


app.command("import-quotes")(import_quotes)
app.command("import-prices")(import_prices)


@app.command("import-model")
def import_model(
    config: Annotated[Path, typer.Argument(metavar="DIR", help="A Hugging Face model repository, or its config.json.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model in the catalog.")] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to this file.")] = None,
    catalog: Annotated[Path | None, typer.Option("--catalog", metavar="DIR", help="Write into this overlay.")] = None,
) -> None:
    """Turn the config.json of a Hugging Face model into a model of the catalog; printed unless told where to write."""
    from planner.catalog.imports.huggingface import import_hf_config, llm_to_yaml
    from planner.export.files import write_together, write_whole

    if output is not None and catalog is not None:
        raise InputError("--output and --catalog exclude each other", where="--output", fix="give one of them")
    llm = import_hf_config(config, name or (output.stem if output else None))
    text = llm_to_yaml(llm)
    if llm.notes:
        print(f"{llm.name}: {llm.notes}", file=sys.stderr)
    if catalog is not None:
        output = catalog / "models" / f"{llm.name}.yaml"
        if os.path.exists(output):
            raise OutputError("this model exists; nothing was written", where=str(output), fix="choose another --name")
        write_together({output: text})
    elif output is not None:
        write_whole(output, text)
    else:
        emit(text, None)
        return
    print(f"wrote {output}", file=sys.stderr)


def _open(overlays: Sequence[Path] | None) -> Catalog:
    from planner.catalog.catalog import Catalog

    return Catalog.default(overlays or [])


def _print_json(data: object) -> None:
    from planner.export.records import json_text

    emit(json_text(data), None)


def _print_records(records: Sequence[dict[str, object]] | Sequence[dict[str, str]], format: Format | None) -> None:
    if format is Format.json:
        _print_json(records)
        return
    from planner.export.records import csv_text

    emit(csv_text(records), None)
