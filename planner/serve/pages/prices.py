"""The page Prices: what machines cost, how old each price is and what it rests on; prices of one's own."""

from __future__ import annotations

import csv
import datetime
import io
import re
import secrets
from collections.abc import Mapping
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from planner.catalog.catalog import Catalog
from planner.catalog.offers import offers_of
from planner.catalog.prices import PLAN_NAMES
from planner.catalog.schema import Machine
from planner.errors import InputError
from planner.export.tables.text import age
from planner.serve.asked import questions
from planner.serve.pages.asking import Desk, posted
from planner.serve.pages.drawing import page
from planner.serve.pages.form import Form, fields_of
from planner.serve.pages.layout import overlays_of
from planner.serve.process import Answer
from planner.serve.settings import Settings

_EDITED_PLANS = tuple(plan for plan in PLAN_NAMES if plan != "owned")  # one that is bought has a life too: a quote
_MOST_ROWS = 500
_ROW = re.compile(r"\brow (\d+)\b")


def prices_router(desk: Desk) -> APIRouter:
    """Routes of the page Prices."""
    router = APIRouter(include_in_schema=False)
    tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}

    @router.get("/prices")
    async def prices(request: Request) -> Response:
        return await draw(request, {})

    async def draw(request: Request, values: Mapping[str, Any], status: int = 200, **found: Any) -> Response:
        offers = await run_in_threadpool(_offers, desk.settings, tables)
        wanted = {name: request.query_params.get(name, "").strip() for name in ("find", "machine", "plan")}
        shown = [offer for offer in offers if _is_shown(offer, wanted)]
        return page(
            request, "prices.html", status, shown=shown, total=len(offers), wanted=wanted, plans=_EDITED_PLANS,
            today=datetime.date.today().isoformat(), overlay=desk.settings.overlay, values=values,
            quote_form=desk.form("catalog import-quotes"), feed_form=desk.form("catalog import-prices"),
            **({"read": None, "of_read": "", "key": "", "saved": False, "error": None, "rows": ()} | found),
        )  # fmt: skip

    @router.post("/prices/edit")
    async def edit(request: Request) -> Response:
        form = await posted(request, desk.settings)
        given = {n: str(form.get(n) or "").strip() for n in ("machine", "plan", "price", "provider", "source")}
        today = datetime.date.today().isoformat()
        row = {
            "machine": given["machine"], "price": given["price"], "unit": "USD/h", "price plan": given["plan"],
            "provider": given["provider"] or "own", "date": today, "source": given["source"] or "edited on the page",
        }  # fmt: skip
        text = io.StringIO()
        csv.writer(text).writerows([list(row), list(row.values())])
        # A book for each price: to change one leaves the others as they are.
        book = re.sub(r"[^a-z0-9]+", "-", f"own-{given['machine']}-{given['plan']}".casefold()).strip("-")
        return await imported(
            request, "import_quotes", {"book": book, "replace": True, "save": True}, text.getvalue().encode(),
            "price.csv", given,
        )  # fmt: skip

    @router.post("/prices/quote")
    async def quote(request: Request) -> Response:
        return await taken_in(request, "import_quotes", "catalog import-quotes")

    @router.post("/prices/feed")
    async def feed(request: Request) -> Response:
        return await taken_in(request, "import_prices", "catalog import-prices")

    async def taken_in(request: Request, name: str, command: str) -> Response:
        form = await posted(request, desk.settings)
        key, file, content = await _sent(desk, form)
        options = desk.form(command)
        pairs = [(n, v) for n, v in form.multi_items() if isinstance(v, str)]
        fields = _typed(options, fields_of(options, pairs, ("csrf", "file", "text", "key", "named", "save")))
        saves = form.get("save") == "yes"
        return await imported(request, name, fields | {"save": saves}, content, file, fields, key)

    async def imported(
        request: Request, name: str, fields: dict[str, Any], content: bytes, file: str, values: Mapping[str, Any],
        key: str = "",
    ) -> Response:  # fmt: skip
        if not content:
            error = InputError(
                "there is nothing to read", where="file", fix="drop a file, or paste the rows of a table"
            )
            return await draw(request, values, 422, error=error.to_record(), of_read=name)

        async def put(folder: Any) -> object:
            return await run_in_threadpool((folder / file).write_bytes, content)

        asked = {("from" if n == "form" else n): value for n, value in fields.items()} | {"file": file}
        answer = await desk.jobs.answer(questions()[name], asked, put)
        error_record = answer.data["error"] if answer.is_error else None
        saved = bool(fields.get("save")) and error_record is None
        return await draw(
            request, values, 422 if error_record else 200, of_read=name, key=key, saved=saved, error=error_record,
            read=None if error_record else answer.data, rows=_rows(file, content, answer), file=file,
        )  # fmt: skip

    async def _sent(desk: Desk, form: FormData) -> tuple[str, str, bytes]:
        """Key, name and content of the file that was dropped, pasted, or kept from the preview."""
        file = form.get("file")
        if isinstance(file, UploadFile) and file.filename:
            key = secrets.token_urlsafe(12)
            name = await desk.uploads.keep(key, file)
        elif str(form.get("text") or "").strip():
            text = str(form["text"])
            key, name = secrets.token_urlsafe(12), "pasted.csv"
            await desk.uploads.keep(key, UploadFile(io.BytesIO(text.encode()), filename=name))
        else:
            key = str(form.get("key") or "")
            name = str(form.get("named") or "")
        path = desk.uploads.path(key)
        return (key, path.name, await run_in_threadpool(path.read_bytes)) if path is not None else ("", name, b"")

    return router


def _typed(options: Form, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as the API takes them: flags are true or false there."""
    flags = {field.name for field in options if field.is_flag}
    return {name: value == "yes" if name in flags else value for name, value in fields.items()}


def _is_shown(offer: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    if wanted["machine"]:
        return bool(offer["machine"] == wanted["machine"])
    words = wanted["find"].casefold().split()
    text = " ".join(str(offer[name]) for name in ("machine", "plan", "provider", "book", "kind")).casefold()
    return offer["counts"] and all(word in text for word in words)


def _offers(settings: Settings, tables: dict[tuple[Any, ...], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All prices of all machines; read again only after a file of the overlays changed."""
    overlays = overlays_of(settings)
    today = datetime.date.today()
    files = [p for folder in overlays for p in sorted((folder / "prices").glob("*.yaml"))]
    state = (today, *((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in files))
    if state not in tables:
        catalog = Catalog.default(overlays)
        found = []
        for name in sorted(catalog.names(Machine)):
            offers, _ = offers_of(catalog, catalog.machine(name))
            for offer in offers:
                record = offer.to_record()
                per = "" if offer.plan == "owned" else "/h"
                price = f"{offer.amount:,.2f} {offer.currency}{per}"
                found.append(record | {"machine": name, "age": age(offer.date, today), "price": price})
        tables.clear()
        tables[state] = found
    return tables[state]


def _rows(file: str, content: bytes, answer: Answer) -> list[dict[str, Any]]:
    """Every row of a table of text with what became of it; none of a workbook, whose answer names its cells."""
    if not file.casefold().endswith((".csv", ".tsv", ".txt")) or not isinstance(answer.data, (dict, list)):
        return []
    said: dict[int, list[str]] = {}
    if answer.is_error:
        error = cast(dict[str, Any], answer.data)["error"]
        whole = f"{error['where']}: {error['what']}" + (f"; {error['fix']}" if error["fix"] else "")
        for line in (whole, *(error.get("also") or ())):
            found = _ROW.search(line)
            if found:
                said.setdefault(int(found[1]), []).append(line.partition("row " + found[1])[2].strip(" ,:"))
        if not said:
            return []
    elif not isinstance(answer.data, list) or not all("row" in record for record in answer.data):
        return []
    records = [] if answer.is_error else cast(list[dict[str, Any]], answer.data)
    taken = {record["row"]: record for record in records if record["row"] is not None}
    lines = content.decode("utf-8-sig", "replace").splitlines()[: _MOST_ROWS + 1]
    rows = []
    for n, line in enumerate(lines, 1):
        if not line.strip() or (n == 1 and n not in said):
            continue
        if n in said:
            rows.append({"row": n, "text": line, "fate": "refused", "why": "; ".join(said[n])})
        elif n in taken:
            record = taken[n]
            why = f"{record['machine']}, {record['plan'].replace('_', ' ')}: {record['amount_text']}; {record['why']}"
            rows.append({"row": n, "text": line, "fate": "accepted", "why": why})
        else:
            rows.append({"row": n, "text": line, "fate": "not taken", "why": "could be read" if said else "no price"})
    return rows
