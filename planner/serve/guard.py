"""Who may ask, and how much: checked before anything of a request is read.

Browsers send requests that nobody at them meant: forms of other sites, names that were bound anew to this machine (DNS
rebinding), images and scripts. What a browser says of a request decides: `Host`, `Origin`, `Sec-Fetch-Site`.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.export.records import json_text
from planner.serve.refusals import RequestError
from planner.serve.settings import Settings, is_loopback

_SAFE = ("GET", "HEAD")
_METHODS = (*_SAFE, "POST", "DELETE")
_BODY_S = 300.0  # from the head of a request to the end of its body
_DRAIN_S = 5.0  # of a body that is refused
_SECRET = secrets.token_bytes(32)

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none at all browsers call the origin of our own forms "null"
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets through what may be asked, and puts the headers of safety on every answer.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._names = frozenset(_names_of(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        body = _Body(receive, headers, self._settings.upload_bytes)
        safe = _with_headers(send, body)
        try:
            self._check(scope, headers)
            _check_length(headers, self._settings.upload_bytes)
            entry = self._entry(scope, headers)
        except RequestError as error:
            await refusal(error)(scope, receive, safe)
            return
        if entry is not None:
            await entry(scope, receive, safe)
            return
        await self._app(scope, body.receive, safe)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            raise RequestError(
                "this server does not go by that name", 421, where="Host", value=host[:200],
                rule=f"one of {', '.join(sorted(self._names))}",
                fix="open the address that planner serve printed, or start it with --name for another",
            )  # fmt: skip
        method = scope["method"]
        if method not in _METHODS:
            raise RequestError("no such method here", 405, value=method[:20], rule=", ".join(_METHODS))
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_foreign = (origin is not None and not _is_origin(origin, host)) or site in ("cross-site", "same-site")
        # Somebody may follow a link of another page to this one; nothing else of another page is for this server.
        follows = method in _SAFE and headers.get("sec-fetch-mode") == "navigate" and site is not None
        if is_foreign and not (follows and headers.get("sec-fetch-dest") == "document" and origin is None):
            raise RequestError(
                "another site sent this request", 403, where="Origin" if origin is not None else "Sec-Fetch-Site",
                value=origin if origin is not None else site,
                rule="pages of this server ask it, and programs that are no browser",
            )  # fmt: skip

    def _is_ours(self, host: str) -> bool:
        name = _name_in(host)
        if name is None:
            return False
        if name in self._names:
            return True
        # Names can be bound anew to this machine, addresses cannot: where all of this machine's are listened on, any.
        return self._settings.host in ("0.0.0.0", "::") and _is_address(name)

    def _entry(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the token is there or none is asked for; else the way in for a browser that has it in the address."""
        token = self._settings.token
        if token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and _same(given.strip(), token):
            return None
        if _same(_cookie(headers, self._cookie_name), token):
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and any(name == "token" and _same(value, token) for name, value in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # Not `//name`, which a browser would take for another site.
            path = "/" + scope["path"].lstrip("/\\")
            found = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
            found.set_cookie(self._cookie_name, token, httponly=True, samesite="strict", path="/")
            return found
        raise RequestError(
            "the token is missing or wrong", 401, where="Authorization",
            rule="Authorization: Bearer TOKEN, or once ?token=TOKEN in a browser",
            fix="take it from the address that planner serve printed",
        )  # fmt: skip

    @property
    def _cookie_name(self) -> str:
        return f"planner-{self._settings.port}"  # cookies are of a host, whatever the port


class _Body:
    """The body of a request, counted: a declared length may be left out or untrue."""

    def __init__(self, receive: Receive, headers: Headers, most_bytes: int) -> None:
        self._receive, self._most_bytes, self._bytes = receive, most_bytes, 0
        self._is_over = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._end_s = time.monotonic() + _BODY_S

    async def receive(self) -> Message:
        """The next part of it."""
        if self._is_over:  # what comes now is that the other side has gone
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._end_s - time.monotonic())
        except TimeoutError:
            raise RequestError("the request takes too long to come", 408, rule=f"{_BODY_S:.0f} s at most") from None
        self._bytes += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        if self._bytes > self._most_bytes:
            raise too_large(self._most_bytes)
        return message

    async def drain(self) -> None:
        """Read what is left of it and drop it, within reason.

        Who writes a whole request before he reads would otherwise find the connection closed, and not why.
        """
        end_s = time.monotonic() + _DRAIN_S
        while not self._is_over and self._bytes <= 2 * self._most_bytes and time.monotonic() < end_s:
            try:
                message = await asyncio.wait_for(self._receive(), end_s - time.monotonic())
            except TimeoutError:
                return
            self._bytes += len(message.get("body", b""))
            self._is_over = not message.get("more_body", False)


def too_large(most_bytes: int) -> RequestError:
    """The error of a body that is too long."""
    return RequestError(
        "the request is too large", 413, rule=f"{most_bytes / 2**20:,.0f} MiB at most",
        fix="send less, or start the server with a larger --max-upload",
    )  # fmt: skip


def refusal(error: RequestError) -> Response:
    """An error as an answer of HTTP."""
    more = {}
    if error.status == 401:
        more["www-authenticate"] = "Bearer"
    if error.status == 405:
        more["allow"] = ", ".join(_METHODS)
    text = json_text({"error": error.to_record()})
    return Response(text, status_code=error.status, media_type="application/json", headers=more)


def csrf_token(request: Request) -> str:
    """What a form of this server's pages must send back."""
    return hmac.new(_SECRET, b"form", "sha256").hexdigest()


def check_csrf(request: Request, given: object) -> None:
    """Refuse a form that no page of this server has sent.

    Raises
    ------
    RequestError
        HTTP 403.
    """
    if not isinstance(given, str) or not _same(given, csrf_token(request)):
        raise RequestError(
            "this form is not of this server's pages, or of before it was started", 403, fix="load the page again"
        )


def _check_length(headers: Headers, most_bytes: int) -> None:
    declared = headers.get("content-length")
    if declared is not None and declared.isascii() and declared.isdigit() and int(declared[:20]) > most_bytes:
        raise too_large(most_bytes)


def _with_headers(send: Send, body: _Body) -> Send:
    """Answers with the headers of safety; one that refuses has been read by who asked before the connection closes."""
    refuses = False

    async def sending(message: Message) -> None:
        nonlocal refuses
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            refuses = message["status"] >= 400
            if refuses:
                headers["connection"] = "close"
        elif refuses and not message.get("more_body", False):
            await send({**message, "more_body": True})
            await body.drain()
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return sending


def _names_of(settings: Settings) -> Iterator[str]:
    """Names of this server in `Host`, without ports."""
    yield from ("localhost", "127.0.0.1", "[::1]")
    for name in (settings.host, *settings.names):
        yield _bracketed(name)
    if not is_loopback(settings.host):
        yield socket.gethostname().casefold()


def _bracketed(name: str) -> str:
    bare = name.strip("[]").rstrip(".").casefold()
    return f"[{bare}]" if ":" in bare else bare


def _name_in(host: str) -> str | None:
    """Name in a `Host` header without its port, None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.hostname is None or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return _bracketed(parts.hostname)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_origin(origin: str, host: str) -> bool:
    """Whether an origin is that of the address asked; a proxy before this server may speak TLS."""
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.casefold() == host.casefold()


def _same(given: str | None, wanted: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found: Any = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if found is None else str(found.value)
