"""A server of the Model Context Protocol on stdin and stdout: questions as tools of an assistant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from planner._version import __version__
from planner.serve.asked import OF_ASSISTANTS, questions
from planner.serve.process import answer

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.lowlevel import Server

_INSTRUCTIONS = (
    "planner finds which machines serve LLM traffic within latency objectives at the least cost. Begin with `optimize`;"
    " state `rate_per_s` or `users`, `model` and `slo` where they are known, for every default that is used is said in"
    " the notes of the answer. Answers are the JSON of the command line; a refusal is {\"error\": ...} with what is"
    " wrong, where, the rule and the fix."
)  # fmt: skip


def server() -> Server[Any]:
    """The server with its tools; as many questions are answered at once as there are processors."""
    import anyio
    from mcp import types
    from mcp.server.lowlevel import Server

    known = {name: questions()[name] for name in OF_ASSISTANTS}
    at_once = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def list_tools(_: object, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        read_only = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=q.name, title=q.title, description=q.description, input_schema=q.schema, annotations=read_only
                )
                for q in known.values()
            ]
        )

    async def call_tool(_: object, asked: types.CallToolRequestParams) -> types.CallToolResult:
        question = known.get(asked.name)
        if question is None:
            text = f"no such tool: {asked.name}; there are {', '.join(known)}"
            return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
        async with at_once:
            found = await answer(question, asked.arguments or {})
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=found.text)],
            structured_content=found.data if isinstance(found.data, dict) else None,  # which must be an object
            is_error=found.is_error,
            _meta={"exit_code": found.exit_code},
        )

    return Server(
        "planner", version=__version__, instructions=_INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


def run() -> None:
    """Serve until stdin is closed.

    Raises
    ------
    ModuleNotFoundError
        The extra `mcp` is not installed.
    """
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        made = server()
        async with stdio_server() as (read, write):
            await made.run(read, write, made.create_initialization_options())

    anyio.run(serve)
