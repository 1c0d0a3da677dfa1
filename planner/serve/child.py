"""Where an answering command begins: bounded, confined, and ended with whoever asked.

`python -P -m planner.serve.child TOLD WORDS...` is `planner WORDS...` with limits on its memory, with its life tied to
stdin (when that is closed, because the server ended in whichever way, the folder of the question is removed and the
whole process group killed), and, where somebody else asks, with no file within reach but those it needs.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mimetypes
import os
import runpy
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ENDING = threading.Event()


def main() -> None:
    """Take what is told, then become the command."""
    told = json.loads(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    folder = Path(told["folder"])
    threading.Thread(target=_end_with, args=(_taken_stdin(), folder), daemon=True).start()
    if told["memory_bytes"] is not None:
        _limit_memory(told["memory_bytes"])
    if told["confined"] is not None:
        _confine(folder, **told["confined"])
    runpy.run_module("planner", run_name="__main__", alter_sys=True)


def _limit_memory(n_bytes: int) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        n_bytes = min(n_bytes, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit and does not take it
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken_stdin() -> int:
    """Another descriptor of stdin, in whose place the command and its workers find nothing."""
    taken = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(taken, False)
    return taken


def _end_with(descriptor: int, folder: Path) -> None:
    while os.read(descriptor, 4096):
        pass
    _ENDING.set()
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()  # if the server is gone, whose own folder it is, and this was its last question
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _confine(folder: Path, read: Sequence[str], written: Sequence[str]) -> None:
    """Let the command open its own files alone, and connect to nothing.

    Files that came with the question and name others are refused first, with a message; what this misses, Python's
    audit events stop (https://docs.python.org/3/library/audit_events.html).
    """
    from planner.errors import InputError
    from planner.export.records import json_text
    from planner.serve.confinement import check_files

    try:
        check_files(folder)
    except InputError as error:
        sys.stdout.write(json_text({"error": error.to_record()}))
        sys.stdout.flush()
        os._exit(error.exit_code)
    system = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, "/usr", "/lib", "/lib64", "/opt", "/nix"]
    system += ["/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys", "/dev", "/etc/localtime"]
    system += map(str, mimetypes.knownfiles)
    own = _roots([folder, *written])
    readable = own + _roots([path for path in [*system, *read] if path])

    def is_beneath(path: Any, roots: tuple[str, ...]) -> bool:
        if isinstance(path, int) or path is None:  # a descriptor that is open already, or this folder
            return True
        whole = os.path.join(os.path.realpath(os.fsdecode(path)), "")
        return whole.startswith(roots)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if _ENDING.is_set():
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and not set(mode).isdisjoint("wax+")) or bool(
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            )
            if is_beneath(path, own) or (not writes and is_beneath(path, readable)) or path == os.devnull:
                return
        elif event in ("os.listdir", "os.scandir"):
            path = arguments[0]
            if is_beneath(path, readable):
                return
        elif event in ("os.remove", "os.mkdir", "os.rmdir", "os.rename", "os.symlink", "os.link", "os.chmod"):
            path = arguments[0]
            if is_beneath(path, own) and (event != "os.rename" or is_beneath(arguments[1], own)):
                return
        elif event in ("socket.connect", "socket.bind", "os.exec", "os.system"):
            path = event
        else:
            return
        raise PermissionError(errno.EACCES, "not within reach of a question", str(path))

    sys.addaudithook(watch)


def _roots(paths: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(os.path.join(os.path.realpath(path), "") for path in paths)


if __name__ == "__main__":
    main()
