"""The results file of a sweep: one line a finished scenario, safe against being killed at any moment.

Line 1 says of which sweep the results are. Every further line is one finished scenario with the hash of what it was
computed from and a checksum of itself. A line is written at once, flushed and synchronised to the disk, so that what
counts as finished is on the disk; of a write that was cut off, the last line lacks its end and is dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from planner.errors import OutputError, ScenarioError
from planner.parsing import load_json

try:
    import fcntl
except ImportError:  # Windows: two sweeps on one file are not noticed there
    fcntl = None  # type: ignore[assignment]

FORM = "planner_sweep"
FORM_VERSION = 2
_RESTART = "begin anew with --restart, which deletes these results, or name another file with --results"


class ResultsFile:
    """Results of a sweep on the disk, open and locked; close it or use it in a `with`.

    Parameters
    ----------
    path : Path
        Made if it is not there; its folder must exist.
    sweep : mapping
        What the sweep is, JSON-ready: `planner_version`, `catalog_digest`, `base`, `vary`, ...
    keys : sequence of str
        Hash of each scenario, in the order of the grid.
    restart : bool
        Delete the results that are there.

    Attributes
    ----------
    rows : dict of int to dict
        Finished scenarios by their place in the grid.
    n_torn : int
        Lines that had no end and were dropped: 0 or 1.

    Raises
    ------
    OutputError
        The file cannot be written, or another sweep is writing it.
    ScenarioError
        The file holds something else: results of another sweep, version or catalog, or no results at all.
    """

    def __init__(self, path: Path, sweep: Mapping[str, Any], keys: Sequence[str], *, restart: bool = False) -> None:
        self.path, self._keys = path, keys
        self.rows: dict[int, dict[str, Any]] = {}
        self.n_torn = 0
        header = json.loads(_line({FORM: FORM_VERSION, **sweep}))
        is_new = not os.path.lexists(path)
        self._file = _open(path)
        try:
            _lock(self._file, path)
            self._read(header, restart)
        except BaseException:
            os.close(self._file)
            if is_new:  # nothing was written: leave nothing behind
                path.unlink(missing_ok=True)
            raise

    def add(self, index: int, row: Mapping[str, Any]) -> None:
        """Write one finished scenario, on the disk when this returns.

        Raises
        ------
        OutputError
            It could not be written; what was there before is as it was.
        """
        self._append(_sealed({"row": index, "scenario": self._keys[index], **row}))
        self.rows[index] = dict(row)

    def close(self) -> None:
        """Close the file and let go of its lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, data: Mapping[str, Any]) -> None:
        content = _line(data).encode("utf-8")
        try:
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                written = 0
                while written < len(content):
                    written += os.write(self._file, content[written:])
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, end)  # a full disk leaves no torn line behind
                raise
        except OSError as error:
            raise OutputError(
                f"cannot write the results: {error.strerror or error}", where=str(self.path),
                fix="what was finished before is in the file; the same command goes on from there",
            ) from None  # fmt: skip

    def _read(self, header: Mapping[str, Any], restart: bool) -> None:
        content = _content(self._file)
        whole, _, torn = content.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        written = _decoded(lines[0]) if lines else None
        if not lines:
            start = f'{{"{FORM}": '.encode()
            if not (start.startswith(torn) or torn.startswith(start)):
                raise self._foreign()
        elif written is None or FORM not in written:
            raise self._foreign()
        if restart or not lines:
            os.ftruncate(self._file, 0)
            self._append(header)
            _synchronise_folder(self.path)
            return
        assert written is not None
        _refuse_another(written, header, self.path)
        for number, line in enumerate(lines[1:], start=2):
            row = _decoded(line)
            if row is None and number == len(lines) and not torn:
                # Power was lost within the last line; its length was on the disk, and its content was not.
                torn = line + b"\n"
                break
            self._take(row, number)
        if torn:
            os.ftruncate(self._file, len(content) - len(torn))
            os.fsync(self._file)
            self.n_torn = 1

    def _take(self, row: dict[str, Any] | None, number: int) -> None:
        where = f"{self.path}:{number}"
        index = row.get("row") if row is not None else None
        if (
            row is None
            or not isinstance(index, int)
            or not 0 <= index < len(self._keys)
            or row.get("scenario") != self._keys[index]
        ):
            raise ScenarioError(
                "this line is not a result of this sweep", where=where,
                rule="a line has the place of its scenario in the grid and the hash of what it was computed from: "
                "catalog, version, trace files",
                fix=_RESTART,
            )  # fmt: skip
        if row.get("checksum") != _sealed(row)["checksum"]:
            raise ScenarioError(
                "this line was changed after it was written", where=where,
                rule="each result carries a checksum of itself", fix=_RESTART,
            )  # fmt: skip
        result = {name: value for name, value in row.items() if name not in ("row", "scenario", "checksum")}
        self.rows.setdefault(index, result)

    def _foreign(self) -> ScenarioError:
        return ScenarioError(
            "this file exists and holds no results of a sweep", where=str(self.path), fix="name another file"
        )


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    except FileNotFoundError:
        raise OutputError(
            "cannot write the results: the folder does not exist",
            where=str(path),
            fix=f"make it: mkdir -p {path.parent}",
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write the results: {error.strerror or error}", where=str(path), fix="choose another file"
        ) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OutputError(
            "results are kept in a file that can be read again", where=str(path), fix="name a file; --output prints"
        )
    return file


def _lock(file: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            "another sweep is writing these results now", where=str(path),
            fix="wait for it, or name another file with --results",
        ) from None  # fmt: skip
    except OSError:  # a file system without locks
        return


def _content(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _synchronise_folder(path: Path) -> None:
    """Make the name of a new file last as its content does."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(folder)
    except OSError:
        pass
    finally:
        os.close(folder)


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _sealed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the checksum of all else that it has."""
    rest = {name: value for name, value in row.items() if name != "checksum"}
    content = json.dumps(rest, sort_keys=True, ensure_ascii=True).encode()
    return rest | {"checksum": hashlib.sha256(content).hexdigest()[:16]}


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        data = load_json(line.decode(), "results", ScenarioError)
    except (ValueError, ScenarioError):
        return None
    return data if isinstance(data, dict) else None


def _refuse_another(written: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Refuse the results of another sweep, saying what differs."""
    differing = [name for name in (*wanted, *written) if written.get(name) != wanted.get(name)]
    if not differing:
        return
    name = next(n for n in (FORM, "planner_version", "catalog_digest", *differing) if n in differing)
    words = {
        FORM: "a newer or older form of this file",
        "planner_version": "another version of planner",
        "catalog_digest": "another catalog",
        "base": "another base scenario",
        "vary": "another grid",
    }
    before, now = written.get(name), wanted.get(name)
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [key for key in (*now, *before) if before.get(key) != now.get(key)]
        before, now = (
            {k: before.get(k) for k in dict.fromkeys(changed)},
            {k: now.get(k) for k in dict.fromkeys(changed)},
        )
    raise ScenarioError(
        f"these results are of {words.get(name, f'another {name}')}", where=str(path),
        value=f"there {before}, now {now}", rule="a results file belongs to one sweep", fix=_RESTART,
    )  # fmt: skip
