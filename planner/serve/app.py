"""The server put together: guard, jobs, questions over HTTP, and the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request

from planner._version import __version__
from planner.errors import PlannerError
from planner.export.records import json_text
from planner.serve.api import PREFIX, api_router
from planner.serve.api_page import api_page, with_components
from planner.serve.asked import questions
from planner.serve.guard import Guard
from planner.serve.jobs import Jobs
from planner.serve.pages.drawing import error_page
from planner.serve.pages.router import pages_router
from planner.serve.refusals import RequestError, status_of_error
from planner.serve.settings import Settings


def application(settings: Settings, jobs: Jobs) -> FastAPI:
    """The server as an application of ASGI.

    Parameters
    ----------
    settings : Settings
    jobs : Jobs
        Closed when the application ends.

    Raises
    ------
    ModuleNotFoundError
        The extra `serve` is not installed.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await jobs.close()

    app = FastAPI(
        title="planner", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        lifespan=life, description="Questions about clusters for LLM inference, answered with the JSON of the command.",
    )  # fmt: skip
    app.include_router(api_router(jobs, settings))
    app.include_router(pages_router(jobs, settings))

    described = app.openapi
    app.openapi = lambda: with_components(described(), questions().values())  # type: ignore[method-assign]

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    for kind in (PlannerError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _as_envelope)
    app.add_middleware(Guard, settings=settings)
    return app


_SAID = {404: "there is nothing here", 405: "no such method here"}


def _as_envelope(request: Request, error: Any) -> Response:
    """Every error as the envelope that the command prints; of a page, for people."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        what = _SAID.get(error.status_code, str(error.detail))
        error = RequestError(what, error.status_code, value=request.url.path[:200], fix=f"see {PREFIX[:4]}/docs")
    elif isinstance(error, RequestValidationError):
        error = RequestError("the request cannot be read", 422, value=str(error.errors()[0].get("msg"))[:200])
    elif not isinstance(error, PlannerError):
        error = PlannerError(f"planner failed: {type(error).__name__}", rule="this is a fault of planner")
    if not request.url.path.startswith(("/api", "/static")) and "text/html" in request.headers.get("accept", ""):
        return error_page(request, error)
    text = json_text({"error": error.to_record()})
    return Response(text, status_code=status_of_error(error), media_type="application/json", headers=headers)
