"""A provisioning map as text for a terminal: what each rule asks for, the best cell, and every cell as a letter."""

from __future__ import annotations

import datetime

from planner.export.tables.head import PREDICTED
from planner.export.tables.plan_basis import priced
from planner.export.tables.text import INDENT, aligned, labelled, wrapped
from planner.studies.provisioning_map import ProvisioningCell, ProvisioningMap
from planner.units import format_money, format_power

_WIDEST_MAP = 90  # counts; a wider map has every second or third column left out
_LABEL = 14


def provisioning_table(found: ProvisioningMap, today: datetime.date, *, width: int = 100) -> str:
    """Return a provisioning map as text, the age of its prices counted to `today`."""
    p, d = found.prefill, found.decode
    head = [
        f"{found.design} for {found.model} ({found.precision}, {found.runtime}), {found.workload} at "
        f"{found.rate_per_s:g} requests/s",
        f"{p.first}-{p.last} x {p.machine} prefill ({p.layout}) against {d.first}-{d.last} x {d.machine} decode "
        f"({d.layout}), {len(found.cells):,} cells",
    ]
    lines = [line for text in head for line in wrapped(text, width)]
    letters = _letters(found)
    rows = []
    for rule, letter in letters.items():
        least = found.least[rule]
        counts = ["nowhere", "nowhere"] if least is None else [str(n) for n in least]
        rows.append([letter, rule, *counts])
    titles = ["", "objective or limit", "prefill from", "decode from"]
    lines += ["", *aligned(titles, rows, right=titles[2:]), "", *_grid(found, letters), ""]
    lines += _best(found, width)
    texts = [("Proof", PREDICTED), *priced(found.prices, today), *(("Notes", note) for note in found.notes)]
    lines += [line for label, text in texts for line in labelled(label, text, label_width=_LABEL, width=width)]
    return "\n".join(lines) + "\n"


def describe_cell(cell: ProvisioningCell, found: ProvisioningMap) -> str:
    """`27 prefill + 3 decode, $1,140.00/h, 306 kW rated`."""
    cost = "" if cell.cost_usd_per_hour is None else f", {format_money(cell.cost_usd_per_hour)}/h"
    return (
        f"{cell.prefill_machines} prefill + {cell.decode_machines} decode machines{cost}, {format_power(cell.power_w)} "
        "rated"
    )


def _best(found: ProvisioningMap, width: int) -> list[str]:
    best = found.optimum
    if best is None:
        return labelled("Best", "none on this map", label_width=_LABEL, width=width)
    by_counts = {(c.prefill_machines, c.decode_machines): c for c in found.cells}
    texts = [("Best", f"* {describe_cell(best, found)} (least {found.objective})")]
    for role, fewer in (("prefill", (-1, 0)), ("decode", (0, -1))):
        less = by_counts.get((best.prefill_machines + fewer[0], best.decode_machines + fewer[1]))
        if less is not None and less.broken:
            texts.append((f"1 {role} less", "breaks " + ", ".join(less.broken)))
    return [line for label, text in texts for line in labelled(label, text, label_width=_LABEL, width=width)]


def _letters(found: ProvisioningMap) -> dict[str, str]:
    return {rule: "abcdefghijklmnopqrstuvwxyz"[i % 26] for i, rule in enumerate(found.rules)}


def _grid(found: ProvisioningMap, letters: dict[str, str]) -> list[str]:
    """Each cell as a mark: feasible, best, or the first thing that breaks; decode counts upwards."""
    p, d = found.prefill, found.decode
    step = -(-(p.last - p.first + 1) // _WIDEST_MAP)
    rise = -(-(d.last - d.first + 1) // 40)
    best = found.optimum
    at = (best.prefill_machines, best.decode_machines) if best else (p.first, d.first)
    columns = [n for n in range(p.first, p.last + 1) if (n - at[0]) % step == 0]
    rows = [m for m in range(d.first, d.last + 1) if (m - at[1]) % rise == 0]
    marks = {}
    for c in found.cells:
        mark = "*" if c == best else "." if c.feasible else letters[c.broken[0]]
        marks[c.prefill_machines, c.decode_machines] = mark
    side = max(len(str(d.last)), 6)
    lines = [f"{INDENT}{'decode':>{side}}"]
    lines += [f"{INDENT}{m:>{side}} |{''.join(marks[n, m] for n in columns)}" for m in reversed(rows)]
    lines.append(f"{INDENT}{'':>{side}} +{'-' * len(columns)}")
    left, right = str(columns[0]), str(columns[-1])
    scale = left + right.rjust(len(columns) - len(left)) if len(columns) > len(left) + len(right) else left
    lines.append(f"{INDENT}{'':>{side}}  {scale}  prefill machines")
    shown = f"; every {step}. prefill and {rise}. decode count" if max(step, rise) > 1 else ""
    lines.append(f"{INDENT}* best   . feasible   letter: the first that breaks{shown}")
    return lines
