"""A regime map as text for a terminal: each cell the letter of the design that wins, and what every design wins by."""

from __future__ import annotations

import datetime

from planner.export.tables.head import PREDICTED
from planner.export.tables.plan_basis import priced
from planner.export.tables.text import INDENT, aligned, labelled, percent, wrapped
from planner.studies.regime_map import RegimeMap

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CLEAR = 0.1  # margin from which a win is written as a capital letter
_LABEL = 12


def regime_table(found: RegimeMap, today: datetime.date, *, width: int = 100) -> str:
    """Return a regime map as text, the age of its prices counted to `today`."""
    lines = [line for text in headline(found) for line in wrapped(text, width)]
    if not found.complete:
        cells = len(found.x.values) * len(found.y.values)
        lines += wrapped(f"INCOMPLETE: interrupted after {len(found.cells):,} of {cells:,} cells", width)
    letters = {name: _LETTERS[i % 26] for i, name in enumerate(found.designs())}
    lines += ["", *_grid(found, letters), "", *_wins(found, letters), ""]
    lines += _splitting(found, width)
    texts = [("Proof", PREDICTED), *priced(found.prices, today), *(("Notes", note) for note in found.notes)]
    lines += [line for label, text in texts for line in labelled(label, text, label_width=_LABEL, width=width)]
    return "\n".join(lines) + "\n"


def headline(found: RegimeMap) -> list[str]:
    """The scenario, and what is compared, in two lines."""
    least = {"cost": "least cost", "power": "least rated power", "machines": "fewest machines"}[found.objective]
    at = "" if "load" in (found.x.name, found.y.name) else f" at {found.rate_per_s:g} requests/s"
    ratio = f"; price ratio: {found.price_ratio_of[0]} over {found.price_ratio_of[1]}" if found.price_ratio_of else ""
    return [
        f"Which design wins for {found.model} ({found.precision}, {found.runtime}), {found.workload}{at}",
        f"By {least}, each design at its best plan of one or two pools, of {', '.join(found.machines)}{ratio}",
    ]


def _grid(found: RegimeMap, letters: dict[str, str]) -> list[str]:
    x, y = found.x, found.y
    marks = {}
    for c in found.cells:
        letter = letters[c.design] if c.design is not None else "-"
        marks[c.x, c.y] = letter if c.margin is None or c.margin >= _CLEAR else letter.lower()
    side = max(max(map(len, y.labels)), 4)
    lines = [f"{INDENT}{y.title}"]
    for value, label in reversed(list(zip(y.values, y.labels, strict=True))):
        lines.append(f"{INDENT}{label:>{side}} |{''.join(marks.get((v, value), ' ') for v in x.values)}")
    lines.append(f"{INDENT}{'':>{side}} +{'-' * len(x.values)}")
    between = max(len(x.values) - len(x.labels[0]) - len(x.labels[-1]), 2)
    lines.append(f"{INDENT}{'':>{side}}  {x.labels[0]}{' ' * between}{x.labels[-1]}  {x.title}")
    lines.append(f"{INDENT}capital: by {percent(_CLEAR)} or more; small: by less; -: no design serves")
    return lines


def _wins(found: RegimeMap, letters: dict[str, str]) -> list[str]:
    rows = []
    for name, letter in letters.items():
        won = [c for c in found.cells if c.design == name]
        margins = sorted(c.margin for c in won if c.margin is not None)
        middle = percent(margins[len(margins) // 2], 1) if margins else "-"
        rows.append(
            [letter, name, percent(len(won) / len(found.cells)), middle, percent(margins[-1]) if margins else "-"]
        )
    titles = ["", "design", "of the map", "by, median", "by, at most"]
    return aligned(titles, rows, right=titles[2:]) if rows else [f"{INDENT}no design serves anywhere on this map"]


def _splitting(found: RegimeMap, width: int) -> list[str]:
    both = [c for c in found.cells if c.best_mixed and c.best_split]
    if not both:
        return []
    pays = [c for c in both if c.best_split < c.best_mixed]  # type: ignore[operator]
    text = f"pays in {percent(len(pays) / len(found.cells))} of the map"
    if pays:
        most = max(pays, key=lambda c: c.best_mixed / c.best_split)  # type: ignore[operator]
        saving = 1.0 - most.best_split / most.best_mixed  # type: ignore[operator]
        x, y = found.x, found.y
        where = f"{x.title} {x.labels[x.values.index(most.x)]} and {y.title} {y.labels[y.values.index(most.y)]}"
        text += f", by up to {percent(saving)} of the best mixed design ({where}: {most.pools})"
    return labelled("Splitting", text, label_width=_LABEL, width=width)
