"""Questions that run: so many at once, the others in a bounded queue, and nothing left of those that end."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from planner.serve.asked import Lane, lane_of
from planner.serve.process import Answer, answer
from planner.serve.questions import Question
from planner.serve.refusals import RequestError
from planner.serve.settings import Settings

State = Literal["waiting", "running", "done", "refused", "cancelled"]


@dataclass
class Job:
    """A question on its way to its answer.

    Attributes
    ----------
    id : str
        Not to be guessed.
    question : Question
    fields : mapping
    folder : Path
        With the files that came with it; gone once it has ended.
    state : str
        `refused` if the answer is an error.
    progress : str
        What the command said last.
    answer : Answer or None
        None until it has ended, and for ever if it was cancelled.
    started_s : float or None
        On the clock of `time.monotonic`; None while it waits.
    """

    id: str
    question: Question
    fields: Mapping[str, Any]
    folder: Path
    state: State = "waiting"
    progress: str = ""
    answer: Answer | None = None
    started_s: float | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def told(self, text: str) -> None:
        """Take what the command says of its progress."""
        self.progress = text

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("waiting", "running")


class Jobs:
    """All questions of a server.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs: dict[str, Job] = {}  # oldest first
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._root: Path | None = None
        self._is_closed = False
        self._lanes: dict[Lane, asyncio.Semaphore] = {
            "question": asyncio.Semaphore(settings.running), "lookup": asyncio.Semaphore(settings.lookups)
        }  # fmt: skip

    async def start(
        self,
        question: Question,
        fields: Mapping[str, Any],
        put_files: Callable[[Path], Awaitable[object]] | None = None,
    ) -> Job:
        """Begin to answer a question.

        Parameters
        ----------
        question : Question
        fields : mapping
        put_files : callable, optional
            Puts the files that came with the question into the folder given.

        Raises
        ------
        RequestError
            Too many questions wait (HTTP 429).
        """
        if self._is_closed:
            raise RequestError("the server is ending", 503, fix="start it again")
        lane = lane_of(question)
        waiting = sum(job.state == "waiting" and lane_of(job.question) == lane for job in self._jobs.values())
        if waiting >= self._settings.waiting:
            raise RequestError(
                "too many questions wait", 429, value=waiting,
                rule=f"{self._settings.running} run at once and {self._settings.waiting} wait",
                fix="ask again later",
            )  # fmt: skip
        name = secrets.token_urlsafe(18)
        if self._root is None or not os.path.isdir(self._root):
            self._root = Path(tempfile.mkdtemp(prefix="planner-serve-"))
        job = Job(name, question, dict(fields), self._root / name)
        self._jobs[job.id] = job
        try:
            job.folder.mkdir()
            if put_files is not None:
                await put_files(job.folder)
        except BaseException:
            del self._jobs[job.id]
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        self._tasks[job.id] = asyncio.create_task(self._run(job, self._lanes[lane]))
        return job

    def get(self, id: str) -> Job:
        """A question that was asked.

        Raises
        ------
        RequestError
            There is none of this name, or no longer (HTTP 404).
        """
        job = self._jobs.get(id)
        if job is None:
            raise RequestError(
                "no such job", 404, where="id",
                rule=f"the answers of the last {self._settings.kept} questions are kept",
                fix="ask the question again",
            )  # fmt: skip
        return job

    async def cancel(self, id: str) -> Job:
        """Stop a question, its processes killed and its files removed when this returns; no harm if it has ended."""
        job = self.get(id)
        task = self._tasks.get(id)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
            if not job.is_over:  # it was cancelled before it began
                self._end(job, "cancelled")
        return job

    async def answer(
        self,
        question: Question,
        fields: Mapping[str, Any],
        put_files: Callable[[Path], Awaitable[object]] | None = None,
    ) -> Answer:
        """Answer a question now; whoever stops waiting for it stops it, and it is not kept."""
        job = await self.start(question, fields, put_files)
        try:
            await job.ended.wait()
        finally:
            await self.cancel(job.id)
            self._jobs.pop(job.id, None)
        if job.answer is None:
            raise RequestError("the question was stopped", 503, fix="ask again")
        return job.answer

    async def close(self) -> None:
        """Stop everything and remove all files."""
        self._is_closed = True
        for id in list(self._tasks):
            await self.cancel(id)
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    async def _run(self, job: Job, lane: asyncio.Semaphore) -> None:
        state: State = "cancelled"
        try:
            async with lane:
                job.state, job.started_s = "running", time.monotonic()
                job.answer = await answer(
                    job.question, job.fields, folder=job.folder, bounds=self._settings.bounds,
                    catalogs=self._settings.catalogs, overlay=self._settings.overlay, progress=job.told,
                )  # fmt: skip
                state = "refused" if job.answer.is_error else "done"
        finally:
            self._end(job, state)

    def _end(self, job: Job, state: State) -> None:
        job.state = state
        shutil.rmtree(job.folder, ignore_errors=True)
        self._tasks.pop(job.id, None)
        job.ended.set()
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest answers beyond what is kept."""
        over = [job for job in self._jobs.values() if job.is_over]
        size = sum(_size(job) for job in over)
        for n, job in enumerate(over):
            if len(over) - n <= self._settings.kept and size <= self._settings.kept_bytes:
                return
            size -= _size(job)
            del self._jobs[job.id]


def _size(job: Job) -> int:
    return 0 if job.answer is None else len(job.answer.text) + len(job.answer.content or b"")
