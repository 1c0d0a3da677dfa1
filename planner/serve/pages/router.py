"""All pages together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from fastapi.responses import Response

from planner.serve.jobs import Jobs
from planner.serve.pages.asking import Desk
from planner.serve.pages.buy import buy_router
from planner.serve.pages.drawing import asset
from planner.serve.pages.plan import plan_router
from planner.serve.pages.prices import prices_router
from planner.serve.pages.take_away import take_away_router
from planner.serve.pages.what_if import what_if_router
from planner.serve.settings import Settings

_ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}


def pages_router(jobs: Jobs, settings: Settings) -> APIRouter:
    """Routes of the pages.

    Parameters
    ----------
    jobs : Jobs
    settings : Settings
    """
    desk = Desk(jobs, settings)
    router = APIRouter(include_in_schema=False, on_shutdown=[desk.uploads.close])
    for part in (plan_router, what_if_router, prices_router, buy_router, take_away_router):
        router.include_router(part(desk))

    for name, kind in _ASSETS.items():
        router.add_api_route(f"/static/{name}", _asset(name, kind), methods=["GET"])
    return router


def _asset(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(asset(name), media_type=kind)

    return send
