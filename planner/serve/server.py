"""The server as a process: its socket, its token, the browser, its end."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import webbrowser
from dataclasses import replace

import uvicorn

from planner.errors import InputError
from planner.serve.app import application
from planner.serve.jobs import Jobs
from planner.serve.settings import Settings

TOKEN_VARIABLE = "PLANNER_TOKEN"
_SHORTEST_TOKEN = 24
_SHUTDOWN_S = 2  # that answers under way have to be sent; questions that run are stopped


class _Stopping(uvicorn.Server):
    """Stops the questions before it waits for those who wait for their answers."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self._questions = jobs

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        await self._questions.close()
        await super().shutdown(sockets)


def run(settings: Settings, *, opens_browser: bool) -> None:
    """Serve until a signal ends it.

    Raises
    ------
    InputError
        The address cannot be listened on.
    """
    with _listening(settings) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        settings = replace(settings, token=_token(settings))
        address = address_of(settings)
        print(f"planner serves on {address}", flush=True)
        if opens_browser:
            threading.Thread(target=_open, args=(address,), daemon=True).start()
        jobs = Jobs(settings)
        server = _Stopping(
            uvicorn.Config(
                application(settings, jobs),
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                limit_concurrency=settings.connections,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_SHUTDOWN_S,
            ),
            jobs,
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _token(settings: Settings) -> str | None:
    """The token that every request must have: of the environment, so that it outlives a restart, or a new one."""
    given = settings.token or os.environ.get(TOKEN_VARIABLE)
    if given is not None and not (len(given) >= _SHORTEST_TOKEN and given.isascii() and given.isprintable()):
        raise InputError(
            "not a token that is hard to guess", where=TOKEN_VARIABLE, value=f"{len(given)} characters",
            rule=f"{_SHORTEST_TOKEN} characters or more, of ASCII", fix="openssl rand -hex 32",
        )  # fmt: skip
    return given or (None if settings.is_loopback else secrets.token_urlsafe(32))


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
