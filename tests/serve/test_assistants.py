"""`planner mcp` driven by the official SDK's own client: list, call, refuse, cancel; the JSON is the command's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra [mcp] is not installed")

import anyio
import mcp

SCENARIO: dict[str, Any] = {
    "model": "llama-3.1-8b", "machines": ["dgx-h100"], "rate_per_s": "20/s", "slo": ["ttft=1s"], "verify": False,
}  # fmt: skip
POOLS = [{"role": "mixed", "machine": "dgx-h100", "count": 1}]


def environment(**more: str) -> dict[str, str]:
    """That of this process without options in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PLANNER_")} | more


def asked(ask: Callable[[mcp.Client], Awaitable[None]]) -> None:
    """Start `planner mcp` as an assistant does, ask, and close it."""

    async def whole() -> None:
        started = mcp.StdioServerParameters(
            command=sys.executable, args=["-m", "planner", "mcp"], env=environment(PLANNER_RATE="1/s")
        )
        with anyio.fail_after(120):
            async with mcp.Client(started) as client:
                await ask(client)

    anyio.run(whole)


def printed(*words: str) -> str:
    """What the command prints."""
    return subprocess.run(
        [sys.executable, "-m", "planner", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    ).stdout


def test_tools_are_listed_with_the_fields_of_a_scenario() -> None:
    async def ask(client: mcp.Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"optimize", "evaluate", "cost", "why", "catalog_list", "catalog_show"}
        for name in ("optimize", "evaluate", "cost", "why"):
            fields = tools[name].input_schema["properties"]
            assert {"model", "slo", "rate_per_s", "users", "machines"} <= set(fields)
            assert tools[name].description
        assert tools["evaluate"].input_schema["required"] == ["pools"]

    asked(ask)


def test_answers_are_the_bytes_of_the_command(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(SCENARIO), encoding="utf-8")
    cluster = tmp_path / "cluster.json"
    cluster.write_text(json.dumps({"pools": POOLS}), encoding="utf-8")
    end = ["--scenario", str(file), "--format", "json"]
    cases: list[tuple[str, dict[str, Any], list[str]]] = [
        ("optimize", SCENARIO, ["optimize", str(file), "--format", "json"]),
        ("evaluate", SCENARIO | {"pools": POOLS}, ["evaluate", str(cluster), *end]),
        ("cost", SCENARIO | {"pools": POOLS, "horizon": "2 years"}, ["cost", str(cluster), "--horizon=2 years", *end]),
        ("why", SCENARIO | {"subject": "dgx-a100"}, ["why", "dgx-a100", str(file), "--format", "json"]),
        ("catalog_list", {"kind": "models"}, ["catalog", "list", "models", "--format", "json"]),
        ("catalog_show", {"name": "dgx-h100"}, ["catalog", "show", "dgx-h100", "--format", "json"]),
    ]  # fmt: skip
    wanted = [printed(*words) for _, _, words in cases]
    assert all(wanted)

    async def ask(client: mcp.Client) -> None:
        for (name, fields, _), text in zip(cases, wanted, strict=True):
            found = await client.call_tool(name, fields)
            assert not found.is_error, name
            assert found.content[0].text == text, name  # type: ignore[union-attr]
            data = json.loads(text)
            assert found.structured_content == (data if isinstance(data, dict) else None)

    asked(ask)


def test_refusals_are_the_error_envelope() -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("optimize", {"slo": ["ttft=0,5s"]}, "0,5"),
        ("optimize", {"model": "llama-3.1-7b"}, "llama-3.1-7b"),
        ("optimize", {"rat": "3/s"}, "rat"),
        ("evaluate", {"model": "llama-3.1-8b"}, "pools"),
        ("cost", {"pools": POOLS, "plan_result": {}}, "once"),
        ("why", {"subject": "--output=/tmp/x"}, "--output=/tmp/x"),
        ("catalog_show", {"name": "dgx-h1000"}, "dgx-h1000"),
        ("catalog_list", {"knd": "models"}, "knd"),
    ]

    async def ask(client: mcp.Client) -> None:
        for name, fields, named in cases:
            found = await client.call_tool(name, fields)
            assert found.is_error, (name, fields)
            text = found.content[0].text  # type: ignore[union-attr]
            error = json.loads(text)["error"]
            assert named in text and error["what"], text
            assert "/tmp/planner-" not in text, text
        assert (await client.call_tool("destroy", {})).is_error

    asked(ask)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_a_cancelled_question_leaves_nothing_running() -> None:
    long = {"slo": ["ttft=1s", "tbt=200ms"], "rate_per_s": "300/s", "machines": "all", "time_limit_s": 600}

    def planning() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if "optimize" in words and any("planner-" in word for word in words):
                    found.append(entry.name)
        return found

    before = set(planning())

    async def ask(client: mcp.Client) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "optimize", long)
            until = time.monotonic() + 30.0
            while not set(planning()) - before and time.monotonic() < until:
                await anyio.sleep(0.05)
            assert set(planning()) - before
            tasks.cancel_scope.cancel()
        until = time.monotonic() + 30.0
        while set(planning()) - before and time.monotonic() < until:
            await anyio.sleep(0.05)
        assert not set(planning()) - before
        listed = await client.call_tool("catalog_list", {})
        assert not listed.is_error

    asked(ask)
