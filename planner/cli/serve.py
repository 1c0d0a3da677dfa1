"""`planner serve`: the page and the HTTP API on this machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from planner import units
from planner.errors import EXIT_OK, InputError, UnitError

_LEAST_MEMORY_BYTES = 512e6  # of address space: the libraries alone map half of it
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
        typer.Option(
            "--overlay",
            metavar="DIR",
            help="Overlay folder that prices edited on the page go into; made if it is not there.",
        ),
    ] = None,
    most_jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Questions that run at once. [default: one a core]"),
    ] = None,
    time_limit: Annotated[
        str, typer.Option("--time-limit", metavar="TIME", help="That a question may run.")
    ] = "15 min",
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="That each process of a question may take.")
    ] = "4 GiB",
    max_upload: Annotated[
        str, typer.Option("--max-upload", metavar="SIZE", help="Of a request with files.")
    ] = "64 MiB",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether a browser is opened.", show_default=False)
    ] = True,
) -> int:
    """Serve the page and the HTTP API (`/api/v1`, described on `/api/docs`) until Ctrl-C.

    Nobody but this machine can connect, unless --host says otherwise: then every request needs the token that is
    printed, or the one in PLANNER_TOKEN. Needs the extra `serve`.

    Exit codes: 0 stopped, 2 bad input.
    """
    if catalog is not None and not os.path.isdir(catalog):
        raise InputError("no such folder", where="--catalog", value=catalog, fix=f"planner catalog init {catalog}")
    if overlay is not None:
        try:
            overlay.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be a folder: {error.strerror}", where="--overlay", value=overlay) from None
    try:
        from planner.cli.forms import forms
        from planner.serve.server import run
        from planner.serve.settings import Settings
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        raise InputError(
            "the page needs a package that is not installed", value=error.name,
            fix='pip install "splitwise-planner[serve]"',
        ) from None  # fmt: skip
    settings = Settings(
        host=host, port=port, names=tuple(name or ()), catalog=catalog, overlay=overlay, forms=forms(),
        run_s=_quantity(time_limit, units.TIME, "--time-limit", 1.0),
        memory_bytes=int(_quantity(memory, units.DATA, "--memory", _LEAST_MEMORY_BYTES)),
        upload_bytes=int(_quantity(max_upload, units.DATA, "--max-upload", 1024.0)),
    )  # fmt: skip
    if most_jobs is not None:
        settings = replace(settings, running=most_jobs)
    run(settings, opens_browser=browser)
    return EXIT_OK


def _quantity(text: str, dimension: units.Dimension, option: str, least: float) -> float:
    try:
        found = units.parse(text, dimension)
    except UnitError as error:
        raise error.at(option) from None
    if found < least:
        raise InputError(
            "a limit that nothing could be done within",
            where=option,
            value=text,
            rule=f"{least:g} {dimension.base_unit} at least",
        )
    return found
