"""Where an answering command begins: bounded, and ended with whoever asked.

`python -P -m planner.serve.child BOUNDS WORDS...` is `planner WORDS...` with limits on its memory, and with its life
tied to stdin: when that is closed, because the server ended in whichever way, the folder of the question is removed and
the whole process group killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import shutil
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    """Take the bounds, then become the command."""
    bounds = json.loads(sys.argv[1])
    if bounds["memory_bytes"] is not None:
        _limit_memory(bounds["memory_bytes"])
    threading.Thread(target=_end_with, args=(_taken_stdin(), Path(bounds["folder"])), daemon=True).start()
    sys.argv[1:] = sys.argv[2:]
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
    shutil.rmtree(folder, ignore_errors=True)
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
