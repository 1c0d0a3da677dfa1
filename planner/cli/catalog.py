"""`planner catalog`: look at what can be bought and served, check it, and add to it."""

from __future__ import annotations

import csv
import enum
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import EXIT_BAD_INPUT, InputError, OutputError

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="List, show, check and extend what can be bought and served.")


class Format(enum.StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


CatalogOption = Annotated[
    list[Path],
    typer.Option("--catalog", metavar="DIR", help="Overlay folder; repeatable, later ones win. Also PLANNER_CATALOG."),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


@app.command("list")
def list_entries(
    kind: Annotated[str | None, typer.Argument(help="machines, models, ...; the names of all if left out.")] = None,
    catalog: CatalogOption = [],  # noqa: B006 (typer's form of a repeatable option)
    format: FormatOption = Format.table,
) -> None:
    """List the names of all entries, or one kind with its main figures."""
    from planner.export.catalog_records import BUILT_IN, FROM, kind_of, listing, overview

    layers = _open(catalog)
    rows = overview(layers) if kind is None else listing(layers, kind_of(kind))
    if format is not Format.table:
        _print_records([{column.name: column.value for column in row} for row in rows], format)
        return
    titles = list(dict.fromkeys(column.title for row in rows for column in row))
    if all(column.text == BUILT_IN for row in rows for column in row if column.title == FROM):
        titles = [title for title in titles if title != FROM]
    texts = [[dict((c.title, c.text) for c in row).get(title, "") for title in titles] for row in rows]
    _print_table(titles, texts)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of an entry.")],
    kind: Annotated[str | None, typer.Option("--kind", help="Its kind, where several kinds have the name.")] = None,
    catalog: CatalogOption = [],  # noqa: B006
    format: FormatOption = Format.table,
) -> None:
    """Show every field of one entry with its unit, source and kind of source."""
    from planner.catalog.catalog import LABELS
    from planner.export.catalog_records import field_records, field_row, find, kind_of

    layers = _open(catalog)
    entry = find(layers, name, kind_of(kind) if kind else None)
    records = field_records(layers, entry)
    files = [str(path) for path in layers.files_of(type(entry), name)]
    if format is Format.json:
        _print_json({"kind": type(entry).folder, "name": name, "files": files, "notes": entry.notes, "fields": records})
    elif format is Format.csv:
        _print_records(records, format)
    else:
        print(f"{LABELS[type(entry).folder]} {name}")
        for file in files:
            print(f"  {file}")
        if entry.notes:
            print(f"  {entry.notes.strip()}")
        print()
        _print_table(["field", "value", "unit", "kind", "source"], [field_row(record) for record in records])


@app.command()
def lint(
    overlays: Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="Overlay folders to check.")] = None,
    catalog: CatalogOption = [],  # noqa: B006
    format: FormatOption = Format.table,
) -> None:
    """Check all files of the catalog with its overlays; exit code 2 if there are errors."""
    from planner.catalog.lint import lint as find_faults
    from planner.catalog.lint import machines_without_price

    layers = _open([*catalog, *(overlays or [])])
    findings = find_faults(layers)
    if format is Format.table:
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
    """Write a small overlay to start from: one price and one accelerator, each in a few lines."""
    from planner.export.catalog_starter import starter_files
    from planner.export.files import write_whole

    files = {directory / name: text for name, text in starter_files(_open([])).items()}
    for path in files:
        if path.exists():
            raise OutputError("this file exists; nothing was written", where=str(path), fix="name a new folder")
    for path, text in files.items():
        _make_folder(path.parent)
        write_whole(path, text)
        print(path)
    print(f"Use it with --catalog {directory}, or set PLANNER_CATALOG={directory}", file=sys.stderr)


@app.command("import-model")
def import_model(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.json", help="A Hugging Face config.json.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model in the catalog.")] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write to this file.")] = None,
    catalog: Annotated[Path | None, typer.Option("--catalog", metavar="DIR", help="Write into this overlay.")] = None,
) -> None:
    """Turn a Hugging Face config.json into a model of the catalog; printed unless told where to write."""
    from planner.catalog.huggingface import import_hf_config, llm_to_yaml
    from planner.export.files import write_whole

    if output is not None and catalog is not None:
        raise InputError("--output and --catalog exclude each other", where="--output", fix="give one of them")
    llm = import_hf_config(config, name or (output.stem if output else None))
    text = llm_to_yaml(llm)
    if catalog is not None:
        output = catalog / "models" / f"{llm.name}.yaml"
        if output.exists():
            raise OutputError("this model exists; nothing was written", where=str(output), fix="choose another --name")
        _make_folder(output.parent)
    if output is None:
        sys.stdout.write(text)
        return
    write_whole(output, text)
    print(f"wrote {output}", file=sys.stderr)


def _open(overlays: Sequence[Path]) -> Catalog:
    from planner.catalog.catalog import Catalog

    return Catalog.default(overlays)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder: {error.strerror}", where=str(folder)) from None


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


def _print_records(records: Sequence[dict[str, object]] | Sequence[dict[str, str]], format: Format) -> None:
    if format is Format.json:
        _print_json(records)
        return
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in record.items()})
    sys.stdout.write(text.getvalue())


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn by rich on a terminal, plain aligned columns elsewhere."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for n, title in enumerate(titles):
            table.add_column(title, no_wrap=n == 0, overflow="fold")  # names are typed again: keep them whole
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
