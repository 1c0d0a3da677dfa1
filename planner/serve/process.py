"""A question answered by the command in a process of its own, which leaves nothing behind when it is cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.export.records import json_text
from planner.serve.questions import Question, command_of

if TYPE_CHECKING:
    from anyio.abc import Process


@dataclass(frozen=True)
class Answer:
    """What a command printed.

    Attributes
    ----------
    text : str
        JSON, of a result or of an error.
    data : object
        The text read.
    exit_code : int
        Of the command.
    """

    text: str
    data: Any
    exit_code: int

    @property
    def is_error(self) -> bool:
        """Whether the command refused."""
        return isinstance(self.data, dict) and set(self.data) == {"error"}


async def answer(question: Question, fields: Mapping[str, Any]) -> Answer:
    """Run the command that answers a question.

    Parameters
    ----------
    question : Question
    fields : mapping

    Returns
    -------
    Answer
        The bytes that the command prints with `--format json`; errors speak of the fields, not of the files that the
        command read them from.
    """
    with tempfile.TemporaryDirectory(prefix="planner-") as name:
        folder = Path(name)
        try:
            words = command_of(question, fields, folder)
        except PlannerError as error:
            return _refused(error)
        text, exit_code = await _printed(words)
        with suppress(ValueError):
            data = json.loads(text)
            if str(folder) in text and isinstance(data, dict) and "error" in data:
                data = _without_paths(data, folder)
                text = json_text(data)
            return Answer(text, data, exit_code)
    return _refused(PlannerError("the command ended without an answer", value=f"exit code {exit_code}"))


def _refused(error: PlannerError) -> Answer:
    data = {"error": error.to_record()}
    return Answer(json_text(data), data, error.exit_code)


async def _printed(words: list[str]) -> tuple[str, int]:
    """What the command prints on stdout, and its exit code; cancelled, its whole process group is killed."""
    import anyio

    process = await anyio.open_process(
        [sys.executable, "-m", "planner", *words], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=_environment(), start_new_session=sys.platform != "win32",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        parts = [part async for part in process.stdout]
        return b"".join(parts).decode("utf-8"), await process.wait()
    finally:
        _kill(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _environment() -> dict[str, str]:
    """That of this process without options, which would win over the fields that were asked; the catalog stays."""
    return {name: v for name, v in os.environ.items() if not name.startswith("PLANNER_") or name == "PLANNER_CATALOG"}


def _kill(process: Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _without_paths(value: Any, folder: Path) -> Any:
    """An error whose texts name `scenario.json:3`, not the folder that it lay in."""
    if isinstance(value, dict):
        return {key: _without_paths(entry, folder) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_paths(entry, folder) for entry in value]
    return value.replace(f"{folder}{os.sep}", "") if isinstance(value, str) else value
