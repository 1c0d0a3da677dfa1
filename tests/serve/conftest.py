"""A server as a process, asked over its socket as any program asks."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


def environment(**more: str) -> dict[str, str]:
    """That of this process without options in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")} | more


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.data) == {"error"}, self.body[:500]
        return dict(self.data["error"])


@dataclass(frozen=True)
class Server:
    """A running `planner serve`."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path  # where it keeps files

    @property
    def port(self) -> int:
        return int(self.address.partition("//")[2].partition("/")[0].rpartition(":")[2])

    def connection(self, timeout_s: float = 120.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; fields that are no text go as JSON, `_` in the names of headers is `-`."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            own.setdefault("content-type", "application/json")
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, own)
            found = connection.getresponse()
            return Reply(found.status, {k.casefold(): v for k, v in found.getheaders()}, found.read())

    def send(self, question: str, fields: Any, *files: tuple[str, bytes]) -> Reply:
        """A question with files, as a form sends them."""
        edge = "0f3c9a"
        parts = [f'--{edge}\r\nContent-Disposition: form-data; name="fields"\r\n\r\n{json.dumps(fields)}\r\n'.encode()]
        for name, content in files:
            head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            parts.append(head.encode() + content + b"\r\n")
        body = b"".join([*parts, f"--{edge}--\r\n".encode()])
        return self.ask("POST", f"/api/v1/{question}", body, content_type=f"multipart/form-data; boundary={edge}")

    def post(self, question: str, fields: Any, **headers: str) -> Reply:
        return self.ask("POST", f"/api/v1/{question}", fields, **headers)


@contextlib.contextmanager
def serving(temporary: Path, *options: str, **variables: str) -> Iterator[Server]:
    """Start a server on any free port, and end it."""
    temporary.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "planner", "serve", "--no-browser", "--port", "0", *options],
        stdout=subprocess.PIPE, text=True, env=environment(TMPDIR=str(temporary), **variables),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, f"the server printed {line!r} and ended with {process.poll()}"
        yield Server(process, line.split()[-1], temporary)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for name in ("fastapi", "uvicorn", "jinja2", "python_multipart"):
        pytest.importorskip(name, reason="the extra [serve] is not installed")
    with serving(tmp_path_factory.mktemp("files")) as found:
        yield found


@pytest.fixture(scope="session")
def start() -> Any:
    """How to start a server with options of its own."""
    for name in ("fastapi", "uvicorn", "jinja2", "python_multipart"):
        pytest.importorskip(name, reason="the extra [serve] is not installed")
    return serving


@pytest.fixture(scope="session")
def printed() -> Any:
    """What a command prints, run in a folder."""

    def run(*words: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            [sys.executable, "-m", "planner", *words], capture_output=True, text=True, timeout=120, check=False,
            env=environment(), cwd=cwd,
        ).stdout  # fmt: skip

    return run
