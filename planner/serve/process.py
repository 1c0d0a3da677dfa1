"""A question answered by the command in a process of its own, which leaves nothing behind however it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from planner.catalog.catalog import ENVIRONMENT_VARIABLE as CATALOG_VARIABLE
from planner.errors import EXIT_OK, NoPlanFoundError, PlannerError
from planner.export.records import json_text
from planner.serve import PROGRAM_VARIABLE
from planner.serve.questions import Places, Question, command_of

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
    content : bytes or None
        The file that was asked for; text and data are then empty, unless the file is one beside them.
    """

    text: str
    data: Any
    exit_code: int
    content: bytes | None = None

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
        Bytes that it may print, and those of a file that it may write.
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
    overlay: Path | None = None,
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
    overlay : Path, optional
        The overlay folder over them, which a question may write into if that is what it is for.
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
            return await _answer(question, fields, Places(Path(name), overlay), bounds, catalogs, progress)
    return await _answer(question, fields, Places(folder, overlay), bounds, catalogs, progress)


async def _answer(
    question: Question, fields: Mapping[str, Any], places: Places, bounds: Bounds, catalogs: Sequence[Path],
    progress: Callable[[str], object],
) -> Answer:  # fmt: skip
    if places.overlay is not None and not question.writes_overlay and any(places.overlay.iterdir()):
        catalogs = [*catalogs, places.overlay]
    try:
        words = command_of(question, fields, places, is_confined=bounds.is_confined)
        text, exit_code = await _printed(words, places, bounds, catalogs, progress, question.writes_overlay)
        content = None
        if question.result is not None and exit_code == EXIT_OK:
            content = await to_thread.run_sync(_content, places.folder / question.result.path, bounds.answer_bytes)
            if not question.result.is_beside:
                return Answer("", None, exit_code, content)
    except PlannerError as error:
        return refused(error)
    with suppress(ValueError):
        return Answer(text, json.loads(text), exit_code, content)
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


def _content(path: Path, most_bytes: int) -> bytes:
    """A file that the command wrote, or an archive of a folder."""
    files = sorted(p for p in path.rglob("*") if os.path.isfile(p)) if os.path.isdir(path) else [path]
    if sum(file.stat().st_size for file in files) > most_bytes:
        raise _too_long(most_bytes)
    if not os.path.isdir(path):
        return path.read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            # A date of its own: the same answer is then the same bytes.
            entry = zipfile.ZipInfo(file.relative_to(path).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _too_long(most_bytes: int) -> PlannerError:
    return NoPlanFoundError(
        "the answer is too long", rule=f"{most_bytes / 2**20:,.0f} MiB at most", fix="ask for less"
    )  # fmt: skip


async def _printed(
    words: list[str], places: Places, bounds: Bounds, catalogs: Sequence[Path], progress: Callable[[str], object],
    writes_overlay: bool,
) -> tuple[str, int]:  # fmt: skip
    """What the command prints on stdout, and its exit code; however this ends, its whole process group is killed."""
    environment = _environment(catalogs)
    told: dict[str, Any] = {"memory_bytes": bounds.memory_bytes, "folder": str(places.folder), "confined": None}
    if bounds.is_confined:
        environment["TMPDIR"] = str(places.folder)
        read = environment.get(CATALOG_VARIABLE, "").split(os.pathsep)
        written = [str(places.overlay)] if writes_overlay and places.overlay is not None else []
        told["confined"] = {"read": [path for path in read if path], "written": written}
    process = await anyio.open_process(
        # -P: a file that came with the question is no module to import.
        [sys.executable, "-P", "-m", "planner.serve.child", json.dumps(told), *words], stdin=subprocess.PIPE,
        cwd=places.folder, env=environment, start_new_session=sys.platform != "win32",
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
                raise _too_long(bounds.answer_bytes)
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
    overlays = [p for p in os.environ.get(CATALOG_VARIABLE, "").split(os.pathsep) if p]
    if overlays or catalogs:
        found[CATALOG_VARIABLE] = os.pathsep.join(os.path.abspath(path) for path in (*overlays, *map(str, catalogs)))
    ours = Path(__file__).resolve().parents[2]
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    found["PYTHONPATH"] = os.pathsep.join([str(ours), *map(os.path.abspath, others)])
    return found | {PROGRAM_VARIABLE: "1"}


def _kill(process: Process) -> None:
    """Kill what is left of the group, the workers of a command that ended or was killed among it."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            if process.returncode is None:
                process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
