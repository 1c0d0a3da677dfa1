"""The page Buy: what to own, reserve, rent and take on spot over time, of a few fields or of a fleet file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from planner.errors import InputError
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_workload import FleetWorkload
from planner.serve.asked import questions
from planner.serve.pages.asking import Desk, link_of, posted
from planner.serve.pages.drawing import page
from planner.serve.pages.form import divided
from planner.serve.refusals import RequestError

# Fields of the form, by where they are in a fleet file; an example of what is written into each.
_OF_WORKLOAD = {"workload": "azure-conv-2023", "rate": "70/s", "day": "office", "slo": "ttft=1s tbt=200ms"}
_OF_FLEET = {
    "model": "llama-3.1-70b", "machines": "dgx-a100 dgx-h100", "owned": "dgx-a100=4", "plans": "owned reserved_1y",
    "horizon": "3 years", "growth": "2 %", "price_change": "-10 %",
}  # fmt: skip
_LISTS = ("slo", "machines", "plans")
_FULL_NAMES = {
    "rate": "rate_per_s", "horizon": "horizon_months", "growth": "growth_per_month",
    "price_change": "price_change_per_year",
}  # fmt: skip


def buy_router(desk: Desk) -> APIRouter:
    """Routes of the page Buy."""
    router = APIRouter(include_in_schema=False)

    @router.get("/buy")
    async def buy(request: Request) -> Response:
        text = ""
        with contextlib.suppress(RequestError):  # the answer is no longer kept: the form is empty
            text = str(desk.jobs.get(request.query_params.get("again", "")).fields.get("fleet_text", ""))
        return draw(request, dict(request.query_params), text)

    def draw(request: Request, values: Mapping[str, str], text: str, error: Any = None, status: int = 200) -> Response:
        fields = [
            {"name": name, "label": name.replace("_", " ").capitalize(), "value": values.get(name, ""),
             "example": example, "about": _about()[name]}
            for name, example in (_OF_WORKLOAD | _OF_FLEET).items()
        ]  # fmt: skip
        return page(request, "buy.html", status, fields=fields, text=text, error=error, pure=bool(values.get("pure")))

    @router.post("/buy")
    async def ask(request: Request) -> Response:
        form = await posted(request, desk.settings)
        given = {name: str(form.get(name) or "").strip() for name in (*_OF_WORKLOAD, *_OF_FLEET, "pure")}
        given = {name: value for name, value in given.items() if value}
        text, file = str(form.get("fleet_text") or "").strip(), form.get("fleet_file")
        if isinstance(file, UploadFile) and file.filename:
            try:
                text = (await file.read()).decode("utf-8-sig")
            except UnicodeDecodeError:
                error = InputError("not a text", where="fleet_file", value=file.filename[:100], rule="YAML in UTF-8")
                return draw(request, given, "", error.to_record(), 422)
        if not text:
            try:
                text = fleet_text(given)
            except InputError as error:
                return draw(request, given, "", error.to_record(), 422)
        job = await desk.start(questions()["procure"], {"fleet_text": text + "\n"})
        return RedirectResponse(link_of(f"/answer/{job.id}", given), 303)

    return router


def fleet_text(given: Mapping[str, str]) -> str:
    """A fleet file of the fields of the form, which `planner procure` reads.

    Raises
    ------
    InputError
        No load, or machines that are owned written in another way than NAME=N.
    """
    if "rate" not in given:
        raise InputError("there is no load", where="rate", fix="write how much comes, such as 70/s")
    lines = []
    for name in _OF_FLEET:
        if name in given:
            lines.append(f"{name}: {_value(name, given[name])}")
    if "pure" in given:
        lines.append("pure: true")
    lines += ["workloads:", "  load:"]
    workload = {"workload": _OF_WORKLOAD["workload"]} | {n: v for n, v in given.items() if n in _OF_WORKLOAD}
    lines += [f"    {name}: {_value(name, value)}" for name, value in workload.items()]
    return "\n".join(lines)


def _value(name: str, value: str) -> str:
    if name == "owned":
        found = {}
        for part in divided(value):
            machine, equals, count = (piece.strip() for piece in part.partition("="))
            if not equals or not count.isdecimal():
                raise InputError("not a stock", where="owned", value=part[:100], rule="NAME=N", fix="write dgx-h100=40")
            found[machine] = int(count)
        return json.dumps(found)
    parts = divided(value) if name in _LISTS else []
    return json.dumps(parts if len(parts) > 1 else value, ensure_ascii=False)


@cache
def _about() -> dict[str, str]:
    """What each field means, as the schema of a fleet file says."""
    own = {name: Fleet.model_json_schema(mode="validation")["properties"] for name in _OF_FLEET}
    own |= {name: FleetWorkload.model_json_schema(mode="validation")["properties"] for name in _OF_WORKLOAD}
    found = {}
    for name, properties in own.items():
        part = properties.get(name) or properties.get(_FULL_NAMES.get(name, name), {})
        found[name] = str(part.get("description") or "")
    return found
