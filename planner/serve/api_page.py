"""The page of the HTTP API, drawn from its OpenAPI description; it needs no script and fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


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
