"""Axes of maps: what a map may vary, over which range, and what that does to a scenario."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner import units
from planner.errors import ScenarioError, UnitError, UnknownNameError
from planner.pools.network import parse_bandwidth
from planner.scenario.changes import Change, nic_rate, only_limit, setting
from planner.scenario.scenario import Scenario

MOST_POINTS = 200


@dataclass(frozen=True)
class AxisKind:
    """Something that a map may vary.

    Attributes
    ----------
    title : str
        For people, without the unit.
    dimension : Dimension or None
        None: a plain number.
    logarithmic : bool
        Whether points are spaced, and drawn, by their ratios.
    usual : (str, str)
        The range where none is given.
    show : callable
        A value with its unit.
    """

    title: str
    dimension: units.Dimension | None
    logarithmic: bool
    usual: tuple[str, str]
    show: Callable[[float], str]


def _ratio(value: float) -> str:
    return f"{value:.3g}"


KINDS: dict[str, AxisKind] = {
    "price-ratio": AxisKind("price ratio", None, False, ("1", "4"), _ratio),
    "prompt-output-ratio": AxisKind("prompt : output tokens", None, True, ("0.5", "100"), _ratio),
    "load": AxisKind("load", units.RATE, True, ("7/s", "700/s"), lambda v: f"{v:,.3g}/s"),
    "ttft": AxisKind("TTFT limit", units.TIME, True, ("200ms", "10s"), units.format_time),
    "tbt": AxisKind("TBT limit", units.TIME, True, ("30ms", "500ms"), units.format_time),
    "network": AxisKind(
        "line rate of each NIC", units.BANDWIDTH, True, ("1 Gbit/s", "400 Gbit/s"), units.format_line_rate
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """One axis of a map: its kind by name, and its points.

    Attributes
    ----------
    name : str
    values : tuple of float
        Rising, in base units.
    """

    name: str
    values: tuple[float, ...]

    @property
    def kind(self) -> AxisKind:
        """What is varied."""
        return KINDS[self.name]


def parse_axis(text: str, *, points: int, where: str) -> Axis:
    """Read `price-ratio`, `ttft=200ms..5s` or `load=10/s..1000/s:40`.

    Parameters
    ----------
    text : str
        AXIS[=FROM..TO[:POINTS]].
    points : int
        Where the text does not say.

    Raises
    ------
    UnknownNameError
        No such axis, with near misses.
    InputError
        A range that is no range, runs backwards, or has one point or too many; a value that is not positive.
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*(?:=\s*(.+?)\s*\.\.\s*(.+?)\s*(?::\s*([+-]?\d+)\s*)?)?", text)
    name = (match[1] if match else text.partition("=")[0]).strip().casefold()
    if name not in KINDS:
        raise UnknownNameError.of("axis", name, KINDS, where=where)
    if match is None:
        raise ScenarioError(
            "not a range", where=where, value=text, rule="AXIS=FROM..TO[:POINTS]",
            fix=f"write it like {name}={'..'.join(KINDS[name].usual)}:{points}",
        )  # fmt: skip
    first, last = (_value(name, part, where) for part in (match[2], match[3])) if match[2] else _usual(name)
    n = int(match[4]) if match[4] else points
    if first == last or (match[4] and n == 1):
        raise ScenarioError(
            "an axis has more than one point", where=where, value=text,
            fix=f"write it like {name}={'..'.join(KINDS[name].usual)}",
        )  # fmt: skip
    if first > last:
        raise ScenarioError("this range runs backwards", where=where, value=text, fix="give the smaller end first")
    if not 2 <= n <= MOST_POINTS:
        raise ScenarioError(
            f"an axis has 2 to {MOST_POINTS} points", where=where if match[4] else "points", value=n,
            fix="such as 20",
        )  # fmt: skip
    space = np.geomspace if KINDS[name].logarithmic else np.linspace
    return Axis(name, tuple(float(v) for v in space(first, last, n)))


def _usual(name: str) -> tuple[float, float]:
    first, last = (_value(name, part, "") for part in KINDS[name].usual)
    return first, last


def _value(name: str, text: str, where: str) -> float:
    dimension = KINDS[name].dimension
    if dimension is units.BANDWIDTH:
        return parse_bandwidth(text, where=where)
    try:
        value = units.parse(text, dimension or units.COUNT)
    except UnitError as error:
        raise error.at(where) from None
    if value <= 0:
        raise ScenarioError(f"{name} is more than zero", where=where, value=text)
    return value


def change_of(name: str, value: float) -> Change:
    """A scenario at a value of an axis; a price ratio changes no scenario, which sizes no pool."""
    if name == "load":
        return setting(rate_per_s=value)
    if name == "prompt-output-ratio":
        return setting(prompt_output_ratio=value)
    if name == "network":
        return nic_rate(value)
    if name in ("ttft", "tbt"):
        return only_limit(name, value)
    return setting()


def own_value(scenario: Scenario, name: str, prompt_output_ratio: float) -> float | None:
    """Where the scenario itself lies on an axis; None where it does not say."""
    if name == "load":
        return scenario.rate_per_s
    if name == "prompt-output-ratio":
        return prompt_output_ratio
    if name in ("ttft", "tbt"):
        limits = [o.limit_s for o in scenario.slo if o.metric == name]
        return limits[0] if len(limits) == 1 else None
    return None


def check_crossing(x: Axis, y: Axis, most_cells: int, *, where: str = "y") -> None:
    """Refuse two axes of one kind, and a map that is too large.

    Raises
    ------
    ScenarioError
    """
    if x.name == y.name:
        raise ScenarioError(
            "both axes vary the same thing", where=where, value=y.name, rule=f"two of {', '.join(KINDS)}"
        )
    if len(x.values) * len(y.values) > most_cells:
        raise ScenarioError(
            f"{len(x.values)} x {len(y.values)} cells are too many for a map", where=where,
            rule=f"at most {most_cells:,} cells", fix="give fewer points, such as AXIS=FROM..TO:30",
        )  # fmt: skip
