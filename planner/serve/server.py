"""The server as a process: its socket, its token, the browser, its end."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import webbrowser
from dataclasses import replace

import uvicorn

from planner.errors import InputError
from planner.serve.app import application
from planner.serve.settings import Settings


def run(settings: Settings, *, opens_browser: bool) -> None:
    """Serve until a signal ends it.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """
    with _listening(settings) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        if not settings.is_loopback and settings.token is None:
            settings = replace(settings, token=secrets.token_urlsafe(32))
        address = address_of(settings)
        print(f"planner serves on {address}", flush=True)
        if opens_browser:
            threading.Thread(target=_open, args=(address,), daemon=True).start()
        server = uvicorn.Server(
            uvicorn.Config(
                application(settings),
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                limit_concurrency=settings.connections,
                timeout_keep_alive=30,
            )
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def address_of(settings: Settings) -> str:
    """Where a browser of this machine finds the server; with the token, if it asks for one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host).strip("[]")
    bare = f"http://[{host}]:{settings.port}/" if ":" in host else f"http://{host}:{settings.port}/"
    return bare if settings.token is None else f"{bare}?token={settings.token}"


def _listening(settings: Settings) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, settings.port), family=family, backlog=128)
    except OSError as error:
        is_taken = getattr(error, "errno", None) in (98, 48, 10048)
        raise InputError(
            f"cannot listen: {error.strerror or error}", where="--port" if is_taken else "--host",
            value=f"{settings.host}:{settings.port}",
            fix="give another --port, or --port 0 for any that is free" if is_taken else "--host 127.0.0.1",
        ) from None  # fmt: skip


def _open(address: str) -> None:
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(address)
