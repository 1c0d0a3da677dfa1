"""Questions whose answer, or whose subject, is a file: what is taken away, and what is dropped on a page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping

from planner.errors import InputError, UnknownNameError
from planner.serve.confinement import check_file_name
from planner.serve.option_fields import Fields, flag, object_of, options_of, text, texts
from planner.serve.questions import Parts, Places, Question, Result, written

_RESULT: Fields = {"result": {"type": "object", "description": "Result as another question answers it"}}
_CURRENCY = {"currency": text("Currency of amounts, such as EUR, at the dated rate of the catalog")}
_FORMS = {
    "xlsx": ("an Excel workbook", Result(
        "planner.xlsx", "planner.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    )),
    "html": ("an HTML page", Result("planner.html", "planner.html", "text/html; charset=utf-8")),
    "csv": ("tables in CSV", Result("planner", "planner-csv.zip", "application/zip")),
}  # fmt: skip
_PLAN: Fields = {"plan_result": {"type": "object", "description": "Plan as `optimize` answers it"}}
_TARGET = text("Target: vllm, sglang, trtllm, dynamo, llm-d or kserve")
_FILE = text("Name of the file that is sent with the question")
_QUOTES = {
    "book": text("Name of the price book"),
    "map": texts("Titles that are not recognised, such as machine=Item"),
    "machine_map": texts("Machines as the file calls them, THEIRS=OURS"),
    "sheet": text("Sheet of a workbook"),
    "provider": text("Provider, where the file has no such column"),
    "date": text("Date, such as 2026-11-20, where the file has no such column"),
    "currency": text("Currency, where the file does not say"),
    "unit": text("Unit of prices, where the file does not say: h, GPU/h, month"),
    "plan": text("Price plan, where the file has no such column"),
    "life": text("Time of use of purchases, where the file has no such column"),
    "decimal": text("Decimal sign of numbers: point or comma"),
    "accept_outliers": flag("Whether prices a factor of 3 from all others are taken as they are"),
    "default": flag("Whether plans use the book without being told to", default=True),
    "replace": flag("Whether a book that is there is overwritten"),
}
_SAVE = flag("Whether the book is written into the overlay of the server; else it is only shown what it would hold")
_FEED = {
    "from": text("Form of the feed: skypilot, gpuhunt or csv"),
    "book": text("Name of the price book; default PROVIDER-feed"),
    "provider": text("Provider, where neither a column nor the file's name says"),
    "date": text("Date, such as 2026-11-20, on which the prices were valid"),
    "region": text("Region of the feed whose prices are taken"),
    "machine_map": texts("Machines as the feed calls them, THEIRS=OURS"),
    "accept_jumps": flag("Whether prices that moved by more than 30 % are taken"),
    "accept_stale": flag("Whether prices over a year older than the newest of the catalog are taken"),
    "default": flag("Whether plans use the book without being told to", default=True),
    "replace": flag("Whether a book that is there is overwritten"),
}
_DESCRIBE = {
    "workload": text("Workload of the catalog, or the name of the trace that is sent with the question"),
    "columns": text("Columns of the trace, as for the option --columns"),
    "drop_failed": flag("Whether failed requests are left out"),
}


def questions_of_files() -> list[Question]:
    """In the order in which they are listed."""
    exports = [
        Question(
            f"export_{form}", f"Write a result as {what}", f"Write what another question answered as {what}.",
            object_of(_RESULT | _CURRENCY, ("result",)), f"export --quiet --{form}={result.path}",
            _of_result(_CURRENCY), None, result,
        )
        for form, (what, result) in _FORMS.items()
    ]  # fmt: skip
    return [
        *exports,
        Question(
            "deploy", "Write a plan as commands and manifests",
            "Write server commands, manifests, the load to check them with and a README that reproduce a plan.",
            object_of(_PLAN | {"target": _TARGET}, ("plan_result", "target")), "deploy --quiet --output=deployment",
            _of_deployment, None, Result("deployment", "planner-deployment.zip", "application/zip"),
        ),
        Question(
            "import_quotes", "Read a supplier's quote",
            "Read a workbook or CSV of quotes into a price book: what each row becomes, or why it is refused.",
            object_of({"file": _FILE, "save": _SAVE} | _QUOTES, ("file", "book")), "catalog import-quotes --quiet",
            _of_prices(_QUOTES), None, writes_overlay=True,
        ),
        Question(
            "import_prices", "Read a price feed",
            "Read the catalog of SkyPilot or gpuhunt, or a CSV, into a price book: what becomes of each row.",
            object_of({"file": _FILE, "save": _SAVE} | _FEED, ("file", "from")), "catalog import-prices --quiet",
            _of_prices(_FEED), None, writes_overlay=True,
        ),
        Question(
            "workload_describe", "Describe a workload",
            "Say what a trace or a workload of the catalog holds: sizes, rates, bursts, peaks.",
            object_of(_DESCRIBE, ("workload",)), "workload describe --quiet",
            lambda fields, places: (options_of(_DESCRIBE_OPTIONS, fields), [str(fields.pop("workload"))]), None,
        ),
    ]  # fmt: skip


_DESCRIBE_OPTIONS = {name: schema for name, schema in _DESCRIBE.items() if name != "workload"}


def _of_result(own: Mapping[str, Fields]) -> Callable[[Fields, Places], Parts]:
    return lambda fields, places: (
        options_of(own, fields), [written(places.folder / "result.json", fields.pop("result"))]
    )  # fmt: skip


def _of_deployment(fields: Fields, places: Places) -> Parts:
    options = [f"--for={_name(fields, 'target')}"]
    return options, [written(places.folder / "result.json", fields.pop("plan_result"))]


def _of_prices(own: Mapping[str, Fields]) -> Callable[[Fields, Places], Parts]:
    def parts(fields: Fields, places: Places) -> Parts:
        name = check_file_name(_name(fields, "file"))
        if not os.path.isfile(places.folder / name):
            raise UnknownNameError.of("file", name, [p.name for p in places.folder.iterdir()], where="file")
        folder = _price_folder(places, fields.pop("save", False))
        return [*options_of(own, fields), f"--catalog={folder}"], [name]

    return parts


def _price_folder(places: Places, saves: object) -> str:
    """The overlay that a price book is written into: that of the server, or a copy of it that goes."""
    if not isinstance(saves, bool):
        raise InputError("not a value of this field", where="save", value=json.dumps(saves)[:200], rule="true or false")
    if saves and places.overlay is None:
        raise InputError(
            "this server has no folder to write prices into", where="save",
            fix="start it with --overlay DIR, or leave `save` out to see what the quote would become",
        )  # fmt: skip
    if saves:
        return str(places.overlay)
    # What is there counts: a book of the same name is refused before it is saved, not then.
    overlay = "preview"
    if places.overlay is not None and os.path.isdir(places.overlay / "prices"):
        shutil.copytree(places.overlay / "prices", places.folder / overlay / "prices", dirs_exist_ok=True)
    return overlay


def _name(fields: Fields, field: str) -> str:
    value = fields.pop(field)
    if not isinstance(value, str):
        raise InputError("not a value of this field", where=field, value=json.dumps(value)[:200], rule="text")
    return value
