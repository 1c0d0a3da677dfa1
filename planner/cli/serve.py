"""`planner serve`: the page and the HTTP API on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.errors import EXIT_OK, InputError

_PACKAGES = ("anyio", "fastapi", "jinja2", "multipart", "python_multipart", "starlette", "uvicorn")


def serve(
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="TCP port; 0 for any.")] = 8350,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on. Others than this machine need a token."),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Further name of this machine, such as a proxy's. Repeatable."),
    ] = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="Overlay folder of the catalog, read only.")
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", metavar="DIR", help="Overlay folder that prices edited on the page go into."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether a browser is opened.", show_default=False)
    ] = True,
) -> int:
    """Serve the page and the HTTP API (`/api/v1`, described on `/api/docs`) until Ctrl-C.

    Nobody but this machine can connect, unless --host says otherwise: then every request needs the token that is
    printed. Needs the extra `serve`.

    Exit codes: 0 stopped, 2 bad input.
    """
    from planner.serve.settings import Settings

    for option, folder in (("--catalog", catalog), ("--overlay", overlay)):
        if folder is not None and not folder.is_dir():
            raise InputError("no such folder", where=option, value=folder, fix=f"planner catalog init {folder}")
    settings = Settings(host=host, port=port, names=tuple(name or ()), catalog=catalog, overlay=overlay)
    try:
        from planner.serve.server import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        raise InputError(
            "the page needs a package that is not installed", value=error.name,
            fix='pip install "splitwise-planner[serve]"',
        ) from None  # fmt: skip
    run(settings, opens_browser=browser)
    return EXIT_OK
