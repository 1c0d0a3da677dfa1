"""Where the `planner` command begins: nothing that takes time is imported here, so Ctrl-C is quiet from the start."""

from __future__ import annotations

import sys


def run() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        from planner.cli.main import run as run_commands
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return run_commands()
