"""A question answered by the command in a process of its own, which leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import NoPlanFoundError, PlannerError
from planner.export.records import json_text
from planner.serve import PROGRESS_VARIABLE
from planner.serve.questions import Question, command_of

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, Process


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


@dataclass(frozen=True)
class Bounds:
    """What a question may take.

    Attributes
    ----------
    run_s : float or None
        Time; None: any.
    memory_bytes : int or None
        Address space of each of its processes; None: any.
    answer_bytes : int
        Bytes that it may print.
    is_confined : bool
        Whether whoever asks may name no file but those that came with the question.
    """

    run_s: float | None = None
    memory_bytes: int | None = None
    answer_bytes: int = 256 * 2**20
    is_confined: bool = False


FREE = Bounds()


async def answer(
    question: Question,
    fields: Mapping[str, Any],
    *,
    folder: Path | None = None,
    bounds: Bounds = FREE,
    catalogs: Sequence[Path] = (),
    progress: Callable[[str], object] = lambda text: None,
) -> Answer:
    """Run the command that answers a question.

    Parameters
    ----------
    question : Question
    fields : mapping
    folder : Path, optional
        With the files that came with the question; it is the folder that the command runs in, and the caller's to
        remove. Left out: a temporary one.
    bounds : Bounds
        What the question may take.
    catalogs : sequence of Path
        Overlay folders, over those of PLANNER_CATALOG.
    progress : callable
        Told what the command says of its progress.

    Returns
    -------
    Answer
        The bytes that the command prints with `--format json`; errors speak of the fields, or of a line of the file
        that the command read them from.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="planner-") as name:
            return await _answer(question, fields, Path(name), bounds, catalogs, progress)
    return await _answer(question, fields, folder, bounds, catalogs, progress)


async def _answer(
    question: Question, fields: Mapping[str, Any], folder: Path, bounds: Bounds, catalogs: Sequence[Path],
    progress: Callable[[str], object],
) -> Answer:  # fmt: skip
    try:
        words = command_of(question, fields, folder, is_confined=bounds.is_confined)
        text, exit_code = await _printed(words, folder, bounds, catalogs, progress)
    except PlannerError as error:
        return refused(error)
    with suppress(ValueError):
        return Answer(text, json.loads(text), exit_code)
    return refused(_silent(exit_code, bounds))


def refused(error: PlannerError) -> Answer:
    """An error as an answer."""
    data = {"error": error.to_record()}
    return Answer(json_text(data), data, error.exit_code)


def _silent(exit_code: int, bounds: Bounds) -> PlannerError:
    """The command ended with no answer: killed, or out of memory where no message could be made."""
    memory = bounds.memory_bytes
    return NoPlanFoundError(
        "the command ended without an answer", value=f"exit code {exit_code}",
        rule=None if memory is None else f"a question may take {memory / 2**20:,.0f} MiB of memory",
        fix="ask for fewer machines or a smaller trace",
    )  # fmt: skip


async def _printed(
    words: list[str], folder: Path, bounds: Bounds, catalogs: Sequence[Path], progress: Callable[[str], object]
) -> tuple[str, int]:
    """What the command prints on stdout, and its exit code; however this ends, its whole process group is killed."""
    import anyio

    told = json.dumps({"memory_bytes": bounds.memory_bytes, "folder": str(folder)})
    process = await anyio.open_process(
        # -P: a file that came with the question is no module to import.
        [sys.executable, "-P", "-m", "planner.serve.child", told, *words], stdin=subprocess.PIPE,
        cwd=folder, env=_environment(catalogs), start_new_session=sys.platform != "win32",
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stderr is not None
        parts: list[bytes] = []
        with anyio.fail_after(bounds.run_s):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_follow, process.stderr, progress)
                size = 0
                async for part in process.stdout:
                    size += len(part)
                    if size <= bounds.answer_bytes:
                        parts.append(part)
                    else:
                        tasks.cancel_scope.cancel()
            if size > bounds.answer_bytes:
                raise NoPlanFoundError(
                    "the answer is too long", rule=f"{bounds.answer_bytes / 2**20:,.0f} MiB at most", fix="ask for less"
                )
            return b"".join(parts).decode("utf-8"), await process.wait()
    except TimeoutError:
        raise NoPlanFoundError(
            "the question was stopped before it was answered", rule=f"a question may run {bounds.run_s:,.0f} s",
            fix="ask for fewer machines, or without verify; or give the server a longer --time-limit",
        ) from None  # fmt: skip
    finally:
        _kill(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _follow(stderr: ByteReceiveStream, progress: Callable[[str], object]) -> None:
    """Tell the last line that was written."""
    left = b""
    async for part in stderr:
        *lines, left = (left + part).split(b"\n")
        left = left[-4096:]
        told = [line for line in lines if line.strip()]
        if told:
            progress(told[-1].decode("utf-8", "replace").strip())


def _environment(catalogs: Sequence[Path]) -> dict[str, str]:
    """That of this process without options, which would win over the fields that were asked; the catalog stays.

    The command runs in another folder, so that what was relative to this one is made whole.
    """
    found = {name: value for name, value in os.environ.items() if not name.startswith("PLANNER_")}
    overlays = [p for p in os.environ.get("PLANNER_CATALOG", "").split(os.pathsep) if p]
    if overlays or catalogs:
        found["PLANNER_CATALOG"] = os.pathsep.join(os.path.abspath(path) for path in (*overlays, *map(str, catalogs)))
    ours = Path(__file__).resolve().parents[2]
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    found["PYTHONPATH"] = os.pathsep.join([str(ours), *map(os.path.abspath, others)])
    return found | {PROGRESS_VARIABLE: "lines"}


def _kill(process: Process) -> None:
    """Kill what is left of the group, the workers of a command that ended or was killed among it."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            if process.returncode is None:
                process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
