"""`planner serve` as a command: what it refuses before it listens, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")} | more


def refused(*options: str, code: int = 2, **variables: str) -> str:
    """What the command says when it does not start."""
    found = subprocess.run(
        [sys.executable, "-m", "planner", "serve", "--no-browser", *options],
        capture_output=True, text=True, timeout=60, check=False, env=environment(**variables),
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    assert not found.stdout
    return found.stderr


@pytest.fixture(autouse=True)
def extra() -> None:
    for name in ("fastapi", "uvicorn", "jinja2", "python_multipart"):
        pytest.importorskip(name, reason="the extra [serve] is not installed")


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = refused("--port", str(taken.getsockname()[1]))
    assert "--port" in text and "--port 0" in text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--host", "999.1.1.1"), "--host"),
        (("--catalog", "/no/such/folder"), "--catalog"),
        (("--overlay", "/dev/null/x"), "--overlay"),
        (("--memory", "1 MB"), "--memory"),
        (("--memory", "4"), "--memory"),
        (("--time-limit", "0s"), "--time-limit"),
        (("--jobs", "0"), "--jobs"),
        (("--port", "70000"), "--port"),
    ],
)
def test_what_cannot_be_is_refused(options: tuple[str, ...], named: str) -> None:
    assert named in refused(*options)


def test_a_token_that_is_easily_guessed_is_refused() -> None:
    text = refused("--port", "0", PLANNER_TOKEN="secret")
    assert "PLANNER_TOKEN" in text and "secret" not in text


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from planner.cli.main import run; sys.exit(run(['serve']))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
                           env=environment())  # fmt: skip
    assert found.returncode == 2 and "splitwise-planner[serve]" in found.stderr, found.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_and_leaves_nothing(how: signal.Signals, tmp_path: Path) -> None:
    """Though a question runs and its reader waits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "planner", "serve", "--no-browser", "--port", "0"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(TMPDIR=str(tmp_path)),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line.startswith("planner serves on http://127.0.0.1:")
    port = int(line.rstrip("/\n").rpartition(":")[2])
    body = json.dumps({"rate_per_s": "300/s", "machines": "all", "verify_runs": 100})
    with socket.create_connection(("127.0.0.1", port), timeout=30) as waiting:
        head = "POST /api/v1/optimize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        waiting.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until = time.monotonic() + 20
        while not list(tmp_path.glob("*/*/scenario.json")) and time.monotonic() < until:
            time.sleep(0.05)
        assert list(tmp_path.glob("*/*/scenario.json"))
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    assert process.returncode in (0, -how) and not out
    assert "Traceback" not in err, err
    assert list(tmp_path.rglob("*")) == []
