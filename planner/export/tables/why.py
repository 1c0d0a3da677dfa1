"""Why machines or a design were not chosen, as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.plan import headline
from planner.export.tables.text import labelled, wrapped
from planner.planning.record import NOT_SIMULATED
from planner.studies.why_result import Reason, Why

WIDTH = 100
_LABEL_WIDTH = 10


def why_table(found: Why, today: datetime.date, *, width: int = WIDTH) -> str:
    """Return the plan in two lines and a paragraph for each machine or design asked about.

    Parameters
    ----------
    found : Why
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    first, verdict, _ = headline(found.plan)
    pools = ", ".join(f"{p.count:,} x {p.machine} {p.role}" for p in found.plan.pools)
    lines = [*wrapped(first, width), *wrapped(f"{verdict}: {pools}", width), *objectives_lines(found, width)]
    blocks = [lines, *(_paragraph(reason, width) for reason in found.reasons)]
    blocks.append(remarks(_labels(found, today), _LABEL_WIDTH, width))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _paragraph(reason: Reason, width: int) -> list[str]:
    lines = wrapped(f"{reason.target}: {reason.reason}", width)
    for n, change in enumerate(reason.would_take):
        lines += labelled("" if n else "It takes", change, label_width=_LABEL_WIDTH, width=width)
    return lines


def _labels(found: Why, today: datetime.date) -> Iterator[tuple[str, str]]:
    if found.changed_since:
        yield "Plan", found.changed_since
    if found.verified != NOT_SIMULATED:
        yield "Proof", f"of the plan: {found.verified}; the reasons are predicted"
    yield from trusted(found, today)
