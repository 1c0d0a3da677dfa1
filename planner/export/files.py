"""Writing result files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from planner.errors import OutputError


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a file so that readers see either the old content or all of the new one.

    The content goes to a new file in the same folder, which then takes the place of `path`. A link is
    followed; a device or pipe (`/dev/stdout`) is written directly, for it cannot be replaced.

    Parameters
    ----------
    path : Path or str
        Where to write; its folder must exist.
    content : str or bytes
        Text is written as UTF-8, with its line ends as they are.

    Raises
    ------
    OutputError
        A missing or unwritable folder, a folder in the place of the file, a read-only file, a full disk.
        What was there before is left as it was.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with whole_file(path) as stream:
        stream.write(data)


def write_together(contents: Mapping[Path, str]) -> None:
    """Write several files that belong together, with the folders they need: all of them or none.

    Parameters
    ----------
    contents : mapping of Path to str
        Text of each file.

    Raises
    ------
    OutputError
        As `write_whole`, or a folder cannot be made; files and folders are as they were before.
    """
    made: list[Path] = []
    before: dict[Path, bytes | None] = {}
    try:
        for folder in dict.fromkeys(path.parent for path in contents):
            _make_folder(folder, made)
        for path in contents:
            check_writable(path)
        for path, content in contents.items():
            old = path.read_bytes() if os.path.isfile(path) else None
            write_whole(path, content)
            before[path] = old
    except BaseException:
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, old)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, adding each to `made`."""
    try:
        missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
        for place in reversed(missing):
            place.mkdir()
            made.append(place)
        if not os.path.isdir(folder):
            raise OutputError("this is not a folder", where=str(folder), fix="name a new folder")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot make the folder: {reason}", where=str(folder)) from None


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """A stream to write a file that is too long to hold: it takes its place when the block ends well, and not before.

    Yields
    ------
    binary stream
        Of a new file in the same folder; or of a device or pipe itself, for it cannot be replaced.

    Raises
    ------
    OutputError
        As `write_whole`.
    """
    shown = str(path)
    target = Path(os.path.realpath(path))
    try:
        mode = _checked_mode(target, shown)
        if mode is not None and not stat.S_ISREG(mode):
            with open(target, "wb") as stream:
                yield stream
            return
        with _replacing(target, mode) as stream:
            yield stream
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", where=shown, fix="choose another file") from None


def check_writable(path: Path | str) -> None:
    """Find out before the work whether `write_whole` will be able to write, as far as that can be told.

    Raises
    ------
    OutputError
        As `write_whole`; nothing was written or changed.
    """
    shown = str(path)
    target = Path(os.path.realpath(path))
    try:
        mode = _checked_mode(target, shown)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", where=shown, fix="choose another file") from None
    if (mode is None or stat.S_ISREG(mode)) and not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError("cannot write: the folder is read-only", where=shown, fix="choose another folder")


def _checked_mode(target: Path, shown: str) -> int | None:
    """Return the mode of what is there now, or None if nothing is."""
    folder = target.parent
    if not os.path.exists(folder):
        raise OutputError("cannot write: the folder does not exist", where=shown, fix=f"make it: mkdir -p {folder}")
    if not os.path.isdir(folder):
        raise OutputError(f"cannot write: {folder} is not a folder", where=shown, fix="choose another file")
    if os.path.isdir(target):
        raise OutputError("cannot write: this is a folder", where=shown, fix="name a file in it")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not os.access(target, os.W_OK):
        raise OutputError("cannot write: the file is read-only", where=shown, fix="choose another file")
    return mode


@contextlib.contextmanager
def _replacing(target: Path, mode: int | None) -> Iterator[IO[bytes]]:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
