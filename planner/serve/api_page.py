"""The page of the HTTP API, drawn from its OpenAPI description; it needs no script and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from planner.serve.questions import Question


@cache
def environment() -> Environment:
    """Templates of the server, every value escaped."""
    return Environment(loader=PackageLoader("planner.serve"), autoescape=True, undefined=StrictUndefined)


def api_page(description: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    routes = [
        {"method": method.upper(), "path": path, "summary": route.get("summary", ""),
         "description": route.get("description", ""), "fields": _fields(route)}
        for path, methods in description["paths"].items() for method, route in methods.items()
    ]  # fmt: skip
    return environment().get_template("api.html").render(info=description["info"], routes=routes)


def _fields(route: Mapping[str, Any]) -> list[dict[str, str]]:
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return [
        {"name": name, "description": str(schema.get("description", "")), "default": _default(schema)}
        for name, schema in body.get("properties", {}).items()
    ]


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    return "" if value in (None, [], {}) else str(value)[:80]


def body_of(question: Question) -> dict[str, Any]:
    """The body of a question as OpenAPI describes it, with what it refers to left to `with_components`."""
    schema = {name: part for name, part in question.schema.items() if name != "$defs"}
    return {"content": {"application/json": {"schema": _referring(schema)}}}


def with_components(description: dict[str, Any], asked: Iterable[Question]) -> dict[str, Any]:
    """An OpenAPI description with the definitions that the bodies of questions refer to."""
    components = description.setdefault("components", {}).setdefault("schemas", {})
    for question in asked:
        components.update(_referring(question.schema.get("$defs", {})))
    return description


def _referring(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _referring(value)
            for key, value in schema.items()
        }
    return [_referring(entry) for entry in schema] if isinstance(schema, list) else schema
