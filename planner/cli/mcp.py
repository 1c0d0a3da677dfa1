"""`planner mcp`: answer an assistant over the Model Context Protocol."""

from __future__ import annotations

from planner.errors import InputError


def mcp() -> None:
    """Answer an assistant: optimize, evaluate, cost, why and the catalog as tools, over stdin and stdout.

    For the settings of an assistant that speaks the Model Context Protocol: command `planner`, arguments `mcp`. Each
    tool takes the fields of a scenario file and answers with the JSON that the command prints. Needs the extra `mcp`.
    """
    try:
        from planner.serve.assistants import run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "anyio"):
            raise
        raise InputError(
            "the Model Context Protocol needs a package that is not installed", value=error.name,
            fix='pip install "splitwise-planner[mcp]"',
        ) from None  # fmt: skip
