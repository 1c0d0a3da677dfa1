"""Files that were dropped on a page, kept as long as further questions may be about them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from planner.serve.confinement import RESERVED, check_file_name

_KEPT = 16
_CHUNK_BYTES = 2**20


class Uploads:
    """The files of the last questions that came with one, by the question's name; all go when the server ends."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._files: dict[str, Path] = {}  # oldest first

    async def keep(self, key: str, file: UploadFile) -> str:
        """Keep a file; returns the name that questions call it by.

        Raises
        ------
        InputError
            A name that no file can have here.
        """
        name = plain_name(file.filename or "")
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="planner-uploads-"))
        folder = self._root / key
        folder.mkdir()
        with (folder / name).open("xb") as target:
            while part := await file.read(_CHUNK_BYTES):
                await run_in_threadpool(target.write, part)
        await file.close()
        self._files[key] = folder / name
        while len(self._files) > _KEPT:
            oldest = next(iter(self._files))
            shutil.rmtree(self._files.pop(oldest).parent, ignore_errors=True)
        return name

    def path(self, key: str) -> Path | None:
        """Where a file is kept; None if it is no longer."""
        return self._files.get(key)

    def putting(self, key: str | None) -> Callable[[Path], Awaitable[object]] | None:
        """What puts the file of a question into the folder of one that is asked after it; None if there is none."""
        path = self._files.get(key or "")
        if path is None:
            return None

        async def put(folder: Path) -> object:
            return await run_in_threadpool(shutil.copy, path, folder / path.name)

        return put

    def close(self) -> None:
        """Remove all of them."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)


def plain_name(name: str) -> str:
    """The name of a file as questions can call it: people's files have names of every kind."""
    name = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", re.split(r"[/\\]", name)[-1]).lstrip("._ ()+-")[-100:] or "file"
    return check_file_name(f"sent-{name}" if name in RESERVED else name)
