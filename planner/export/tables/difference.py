"""What changed from one plan to another, as text for a terminal."""

from __future__ import annotations

from typing import Any

from planner.export.tables.text import aligned, number, wrapped
from planner.studies.diff import Changed, Difference
from planner.units import format_money, format_power, format_time

WIDTH = 100
_TITLES = {"input": "input", "catalog": "catalog", "price": "price, $/h", "pool": "machines", "figure": "figure",
           "percentile": "latency", "objective": "objective", "proof": "proof"}  # fmt: skip
_MOST = 48  # characters of a value in the table; the JSON has it whole


def difference_table(found: Difference, *, width: int = WIDTH) -> str:
    """Return the two plans in a line each, and a row for each thing that is otherwise.

    Parameters
    ----------
    found : Difference
    width : int
        Columns that running text may take; the table takes what it needs.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    head = [*wrapped(f"Before: {found.before}", width), *wrapped(f"After:  {found.after}", width)]
    if not found.changes:
        return "\n".join([*head, "", "Nothing changed."]) + "\n"
    rows = [
        [_TITLES[c.part], c.name.replace("_", " "), _value(c, c.before), _value(c, c.after),
         "" if c.relative is None else f"{100 * c.relative:+.1f} %"]
        for c in found.changes
    ]  # fmt: skip
    return (
        "\n".join([*head, "", *aligned(["part", "what", "before", "after", "change"], rows, right=("change",))]) + "\n"
    )


def _value(change: Changed, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
    if change.part == "percentile" or (
        change.part == "input" and change.name.endswith("_s") and "per" not in change.name
    ):
        return format_time(float(value))
    if change.part == "price" or change.name.startswith("cost_usd"):
        return format_money(float(value))
    return format_power(float(value)) if change.name.endswith("power_w") else number(float(value))
