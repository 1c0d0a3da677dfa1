"""Templates of the pages, and answers drawn with the tables, text and charts of `planner.export`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from planner._version import __version__
from planner.errors import PlannerError
from planner.export.style import STYLE
from planner.scenario.scenario import Scenario
from planner.serve.guard import csrf_token
from planner.serve.refusals import status_of_error
from planner.units import format_time

if TYPE_CHECKING:
    from planner.planning.plan import Plan

_MOST_LETTERS, _SHOWN_LETTERS = 400, 60


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("planner.serve.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@cache
def asset(name: str) -> str:
    """A style sheet or script of the pages; the sheet begins with that of the page that is taken away."""
    own = (files("planner.serve.pages") / "static" / name).read_text(encoding="utf-8")
    return STYLE + own if name.endswith(".css") else own


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Draw a page."""
    text = _environment().get_template(template).render(
        csrf=csrf_token(request), version=__version__, path=request.url.path, **values
    )  # fmt: skip
    return HTMLResponse(text, status)


def error_page(request: Request, error: PlannerError) -> HTMLResponse:
    """A refusal for whoever looks at a page."""
    return page(request, "error.html", status_of_error(error), error=error.to_record())


def is_plan(data: Any) -> bool:
    """Whether an answer is a plan."""
    return isinstance(data, Mapping) and "pools" in data and "scenario" in data and "solver" in data


def plan_of(data: Any) -> Plan:
    """The plan that an answer holds."""
    from planner.planning.plan import Plan

    return Plan.model_validate(data)


def answer_body(title: str, data: Any, picture: str | None = None) -> str:
    """An answer as HTML, without the tags around it; every text in it is escaped."""
    # Here, for the first page is shown before there is an answer.
    from planner.export.plan_page import plan_body
    from planner.export.result_page import result_body
    from planner.export.result_tables import ResultTable, tables_of
    from planner.export.tables.procurement import procurement_table
    from planner.portfolio.result import Procurement

    if is_plan(data):
        return plan_body(plan_of(data), datetime.date.today())
    if isinstance(data, Mapping) and "purchases" in data:
        text = procurement_table(Procurement.model_validate(data), datetime.date.today())
        whole = result_body("All figures", tables_of(data)).replace("<h1>", "<h2>").replace("</h1>", "</h2>")
        return (
            f'<h1>What to own, reserve and rent</h1><pre tabindex="0">{escape(text)}</pre>'
            f"<details><summary>All figures: payments, periods, pools, promises</summary>{whole}</details>"
        )
    if not data:
        return "<h1>Nothing was found</h1>"
    tables = [ResultTable(t.title, [{n: _short(v) for n, v in r.items()} for r in t.records]) for t in tables_of(data)]
    body = result_body(title, tables)
    if picture is None:
        return body
    figure = f'<figure><img src="{escape(picture)}" alt="{escape(title)}; the tables hold the same figures"></figure>'
    return body.replace("</h1>", f"</h1>{figure}", 1)


def _short(value: object) -> object:
    """Series are for the picture, and whole in the files that are taken away."""
    is_long = isinstance(value, str) and len(value) > _MOST_LETTERS
    return f"{str(value)[:_SHOWN_LETTERS]} ... (whole in the JSON)" if is_long else value


def python_text(data: Any, catalogs: list[str]) -> str:
    """The Python that asks the same of a plan's scenario: every field that is not as it is by default."""
    usual = Scenario(machines=("current",)).dump()
    asked = {name: value for name, value in data["scenario"].items() if name != "catalog" and value != usual.get(name)}
    if catalogs:
        asked["catalog"] = catalogs
    lines = "".join(f"    {name}={value!r},\n" for name, value in asked.items())
    return f"import planner\n\nplan = planner.optimize(\n{lines})\nprint(plan.model_dump_json(indent=2))\n"


def seconds(elapsed_s: float) -> str:
    """Time that has passed, in words."""
    return format_time(elapsed_s)
