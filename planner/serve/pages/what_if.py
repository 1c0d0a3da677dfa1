"""The page What if: sliders over a plan's load, prices, electricity and limits; predicted at once, certified after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from planner.catalog.schema import Machine
from planner.errors import InputError
from planner.scenario.scenario import PAPER_MACHINES
from planner.serve.asked import questions
from planner.serve.jobs import Job
from planner.serve.pages.asking import Desk, link_of, posted
from planner.serve.pages.drawing import answer_body, is_plan, page
from planner.serve.pages.layout import groups_of, names_of
from planner.serve.pages.plan import STUDIES
from planner.serve.refusals import RequestError
from planner.units import format_money, format_power
from planner.workload.objectives import parse_objectives


@dataclass(frozen=True)
class Slider:
    """A factor of what a plan was made for."""

    name: str
    label: str
    about: str
    least: float
    most: float


SLIDERS = (
    Slider("load", "Load", "Rate, users or requests under way, over those of the plan.", 0.2, 4.0),
    Slider("price", "Prices of machines", "Price of every machine over that of the catalog.", 0.4, 2.5),
    Slider("electricity", "Electricity", "Its price over the region's; rented prices contain it.", 0.2, 4.0),
    Slider("limits", "Limits", "Latency limits over those of the plan: below 1 is stricter.", 0.3, 4.0),
)
_UNITS = {
    "rate_per_s": "/s", "prompt_tokens_per_s": "/s", "output_tokens_per_s": "/s", "total_tokens_per_s": "/s",
    "think_time_s": "s", "electricity_usd_per_kwh": "USD/kWh", "max_cost_usd_per_hour": "USD/h", "max_power_w": "W",
}  # fmt: skip
_STUDIES = ("sensitivity", "frontier", "map regime", "simulate")


def what_if_router(desk: Desk) -> APIRouter:
    """Routes of the page What if."""
    router = APIRouter(include_in_schema=False)

    @router.get("/what-if")
    async def begin(request: Request) -> Response:
        groups = groups_of(desk.form("optimize"), {}, desk.settings, None)
        return page(request, "what_if_begin.html", groups=groups)

    @router.get("/what-if/{id}")
    async def what_if(request: Request, id: str) -> Response:
        base = desk.jobs.get(id)
        if not base.is_over:
            return page(request, "what_if_wait.html", job=base)
        if base.answer is None or base.answer.is_error or not is_plan(base.answer.data):
            return RedirectResponse(f"/answer/{id}", 303)
        factors = factors_of(request.query_params)
        predicted, certified = (_kept(desk, request.query_params.get(name)) for name in ("predicted", "certified"))
        done = [job for job in (certified, predicted) if job is not None and job.answer is not None]
        pending = next((job for job in (predicted, certified) if job is not None and not job.is_over), None)
        shown = done[0] if done else None
        error = shown.answer.data["error"] if shown and shown.answer and shown.answer.is_error else None
        data = shown.answer.data if shown and shown.answer and error is None else None
        return page(
            request, "what_if.html", base=base, sliders=SLIDERS, factors=factors, pending=pending, error=error,
            is_certified=shown is not None and shown is certified, predicted=predicted, certified=certified,
            comparison=_comparison(base.answer.data, data), body=None if data is None else answer_body("What if", data),
            studies={name: STUDIES[name] for name in _STUDIES}, shown=shown,
        )  # fmt: skip

    @router.post("/what-if/{id}")
    async def move(request: Request, id: str) -> Response:
        form = await posted(request, desk.settings)
        base = desk.jobs.get(id)
        if base.answer is None or base.answer.is_error:
            raise RequestError("there is no plan to begin from", 409, value=base.state, fix="make one first")
        factors = factors_of({slider.name: str(form.get(slider.name) or 1) for slider in SLIDERS})
        for name in ("predicted", "certified"):  # what was asked before the slider moved on
            before = _kept(desk, str(form.get(name) or ""))
            if before is not None and not before.is_over:
                await desk.jobs.cancel(before.id)
        fields = supposed(base.answer.data["scenario"], factors, names_of(desk.settings, Machine))
        key = desk.of_file.get(id)
        predicted = await desk.start(questions()["optimize"], fields | {"verify": False}, key)
        certified = await desk.start(questions()["optimize"], fields | {"verify": True}, key)
        jobs = {"predicted": predicted.id, "certified": certified.id}
        return RedirectResponse(link_of(f"/what-if/{id}", {n: f"{f:g}" for n, f in factors.items()} | jobs), 303)

    return router


def factors_of(given: Mapping[str, str]) -> dict[str, float]:
    """Where the sliders are; 1 where nothing is said.

    Raises
    ------
    InputError
        No number, or beyond the ends of the slider.
    """
    found = {}
    for slider in SLIDERS:
        text = given.get(slider.name) or "1"
        rule = f"a number from {slider.least:g} to {slider.most:g}"
        try:
            value = float(text)
        except ValueError:
            raise InputError("not a factor", where=slider.name, value=text[:50], rule=rule) from None
        if not slider.least <= value <= slider.most:
            raise InputError("beyond the slider", where=slider.name, value=text[:50], rule=rule)
        found[slider.name] = value
    return found


def supposed(scenario: Mapping[str, Any], factors: Mapping[str, float], machines: list[str]) -> dict[str, Any]:
    """Fields of the scenario of a plan with its load, prices, electricity and limits changed."""
    # A file of a scenario says the unit of every quantity.
    fields = {
        name: f"{value!r} {_UNITS[name]}" if name in _UNITS else value
        for name, value in scenario.items() if name != "catalog" and value is not None
    }  # fmt: skip
    limits = []
    for objective in parse_objectives(scenario["slo"]):
        limit = objective.limit_s if objective.limit_s is not None else objective.slowdown
        limits.append(str(objective.at(float(limit or 0.0) * factors["limits"])))
    named = [name for name in scenario["machines"] if name in machines]
    if scenario.get("preset"):
        named = list(PAPER_MACHINES)
    suppose: dict[str, Any] = {}
    if factors["load"] != 1:
        suppose["load"] = factors["load"]
    if factors["price"] != 1:
        suppose["prices"] = dict.fromkeys(named or machines, factors["price"])
    if factors["electricity"] != 1:
        suppose["electricity"] = factors["electricity"]
    return fields | {"slo": limits} | ({"suppose": suppose} if suppose else {})


def _kept(desk: Desk, id: str | None) -> Job | None:
    try:
        return desk.jobs.get(id) if id else None
    except RequestError:
        return None


def _comparison(base: Mapping[str, Any], now: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """What the plan was, and what it becomes."""
    return [(label, read(base), "" if now is None else read(now)) for label, read in _COMPARED.items()]


def _money(plan: Mapping[str, Any]) -> str:
    usd = plan.get("cost_usd_per_hour")
    return "no price" if usd is None else f"{format_money(usd)}/h"


_COMPARED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "design": lambda plan: str(plan["design"]),
    "machines": lambda plan: " + ".join(
        f"{p['count'] + p['spares']} x {p['machine']} {p['role']}" for p in plan["pools"]
    ),
    "cost": _money,
    "rated power": lambda plan: format_power(plan["power_w"]),
}
