"""A deployment as text for a terminal: the command of each pool, and what is left to do."""

from __future__ import annotations

import shlex

from planner.export.tables.text import aligned, labelled, wrapped
from planner.studies.deploy_result import Deployment

WIDTH = 100
_LABEL_WIDTH = 10


def deployment_table(found: Deployment, *, width: int = WIDTH) -> str:
    """Return the pools of a deployment with the command of one server each.

    Parameters
    ----------
    found : Deployment
    width : int
        Columns that running text may take; a command stays on its line.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    titles = ["pool", "role", "machines", "replicas", "nodes of one"]
    rows = [
        [p.name, p.role, f"{p.machines:,} x {p.machine}", f"{p.replicas:,}", str(p.nodes_per_replica)]
        for p in found.pools
    ]
    blocks = [
        wrapped(f"{found.target}: {found.version}", width),
        aligned(titles, rows, right=("replicas", "nodes of one")),
    ]
    for pool in found.pools:
        blocks.append([f"{pool.name}:", f"  {shlex.join(pool.command)}"])
        if pool.options:
            blocks[-1] += [f"  {name}: {value}" for name, value in pool.options.items()]
    ends = [line for n, text in enumerate(found.notes) for line in _labelled("" if n else "Left to do", text, width)]
    ends += _labelled("Source", found.source, width)
    ends += _labelled("Files", f"{', '.join(found.files)} (--output DIR writes them)", width)
    return "\n\n".join("\n".join(block) for block in [*blocks, ends]) + "\n"


def _labelled(label: str, text: str, width: int) -> list[str]:
    return labelled(label, text, label_width=_LABEL_WIDTH, width=width)
