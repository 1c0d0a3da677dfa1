"""`python -m planner` is the `planner` command."""

from planner.cli.entry import run

raise SystemExit(run())
