"""How a cluster takes mishaps, as text for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from planner.export.tables.head import objectives_lines, remarks, trusted
from planner.export.tables.text import counted, fitted, labelled, number, percent, wrapped
from planner.studies.robustness_result import MishapRow, Robustness

WIDTH = 100
_LABEL_WIDTH = 10


def robustness_table(
    found: Robustness, today: datetime.date, *, width: int = WIDTH, table_width: int | None = None
) -> str:
    """Return the mishaps of a cluster as text.

    Parameters
    ----------
    found : Robustness
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take.
    table_width : int, optional
        Columns that a table may take, beyond which it goes on below; left out: what it needs.

    Returns
    -------
    str
        Lines, the last one ended; a row a mishap.
    """
    blocks = [_headline(found, width), *_rows(found, table_width), *_breaks(found, width)]
    blocks += [*_roles(found, width), *_wrong_mixes(found, width), remarks(_labels(found, today), _LABEL_WIDTH, width)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _headline(found: Robustness, width: int) -> list[str]:
    spares = f" and {counted(found.spares, 'spare')}" if found.spares else ""
    lines = wrapped(
        f"{found.pools}{spares}: {found.model} ({found.precision}, {found.runtime}), planned for {found.workload} at "
        f"{number(found.planned_rate_per_s)} requests/s",
        width,
    )
    lines += objectives_lines(found, width)
    return lines if found.complete else [*lines, "NOT COMPLETE: interrupted, mishaps are missing"]


def _rows(found: Robustness, width: int | None) -> list[list[str]]:
    titles = ["mishap", "requests/s", "holds", "carries", "roles free", "to add", "$/h more"]
    rows = [
        [
            row.title,
            number(row.rate_per_s),
            "yes" if row.holds else "NO",
            percent(row.carried_fraction),
            percent(row.flexible_carried_fraction),
            _to_add(row),
            "-" if row.cost_to_buy_usd_per_hour is None else f"{row.cost_to_buy_usd_per_hour:,.2f}",
        ]
        for row in found.rows
    ]
    return fitted(titles, rows, right=("requests/s", "carries", "roles free", "$/h more"), width=width)


def _to_add(row: MishapRow) -> str:
    return "no number does" if row.n_to_buy is None else row.to_buy or "nothing"


def _breaks(found: Robustness, width: int) -> list[list[str]]:
    return _listed("What breaks", [(row.title, "; ".join(row.breaks)) for row in found.rows if not row.holds], width)


def _roles(found: Robustness, width: int) -> list[list[str]]:
    """Roles that carry more than the ones bought for, where they are not those of the load planned for, and those after
    a purchase."""
    texts = []
    for n, row in enumerate(found.rows):
        parts = []
        known = (row.pools, found.rows[0].flexible_pools if n else "")
        if row.flexible_pools and row.flexible_pools not in known:
            parts.append(f"{percent(row.flexible_carried_fraction)} with {row.flexible_pools}")
        if row.pools_after:
            parts.append(f"whole again with {row.pools_after}")
        if parts:
            texts.append((row.title, "; ".join(parts)))
    return _listed("Roles", texts, width)


def _wrong_mixes(found: Robustness, width: int) -> list[list[str]]:
    texts = [
        (
            row.title,
            f"{number(row.flexible_carried_per_s, 3)} requests/s in free roles, {number(row.right_carried_per_s, 3)} "
            f"had the same money been spent for it: "
            + ("nothing is lost" if percent(row.loss_fraction) == "0 %" else f"{percent(row.loss_fraction)} lost"),
        )
        for row in found.rows
        if row.right_carried_per_s is not None and row.loss_fraction is not None
    ]
    return _listed("The wrong mix", texts, width)


def _listed(title: str, texts: list[tuple[str, str]], width: int) -> list[list[str]]:
    """One block: a title and a labelled text a line; no block where there are none."""
    if not texts:
        return []
    longest = max(len(label) for label, _ in texts)
    return [
        [title, *(line for label, text in texts for line in labelled(label, text, label_width=longest, width=width))]
    ]


def _labels(found: Robustness, today: datetime.date) -> Iterator[tuple[str, str]]:
    yield (
        "Columns",
        "carries: load within the objectives, as a share of the planned requests/s, each machine in its role; roles "
        "free: the same machines in whatever roles and layouts carry most; to add: the cheapest machines of the same "
        "types to hold, roles and layouts free",
    )
    unproven = [row.title for row in found.rows if not row.proven]
    simulated = any(row.simulated is not None for row in found.rows)
    yield (
        "Proof",
        ("free roles and purchases proven optimal" if not unproven else f"NOT proven: {', '.join(unproven)}")
        + ("; `holds` as simulated, the rest predicted" if simulated else ""),
    )
    yield from trusted(found, today)
