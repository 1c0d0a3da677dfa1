"""What a frontier runs along: budgets, the load, or the limit of one objective."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner import units
from planner.errors import ScenarioError, UnitError, UnknownNameError
from planner.planning.search import Solution
from planner.pools.configuration import Configuration
from planner.pools.limits import ObjectiveName
from planner.scenario.changes import Change, budget, limit, setting
from planner.scenario.scenario import Scenario
from planner.studies.frontier_result import AxisUnit
from planner.workload.objectives import ALIASES, METRICS, Objective, parse_objective

Y_AXES: tuple[ObjectiveName, ...] = ("cost", "power", "machines")
X_AXES = (*Y_AXES, "rate", *METRICS)
_LABELS = {"cost": "cost", "power": "rated power", "machines": "machines", "rate": "load"}
_UNITS: Mapping[str, AxisUnit] = {"cost": "USD/h", "power": "W", "machines": "machines", "rate": "requests/s"}


@dataclass(frozen=True)
class FrontierAxis:
    """One axis of a frontier.

    Attributes
    ----------
    name : str
        `cost`, `power`, `machines`, `rate`, or the objective: `ttft.p99`.
    label : str
        For people.
    unit : str
        Of its numbers.
    objective : Objective or None
        Of an axis of limits: the objective as the scenario has it.
    """

    name: str
    label: str
    unit: AxisUnit
    objective: Objective | None = None

    @property
    def kind(self) -> Literal["budget", "rate", "limit"]:
        """What is changed along it."""
        return "limit" if self.objective is not None else "rate" if self.name == "rate" else "budget"

    def read(self, text: str | float | None, where: str) -> float | None:
        """Read a position on the axis.

        Raises
        ------
        UnitError, ScenarioError
            Not a quantity of this axis, or not positive.
        """
        if text is None:
            return None
        try:
            value = self._read(text)
        except UnitError as error:
            raise error.at(where) from None
        if not (value > 0 and math.isfinite(value)):
            raise ScenarioError(f"a position on the axis {self.name} is above 0", where=where, value=text)
        return value

    def _read(self, text: str | float) -> float:
        slowdown = re.fullmatch(r"(.*\S)\s*[xX]\s*", str(text))
        if self.unit == "x":
            if isinstance(text, (int, float)) or not slowdown:
                if isinstance(text, (int, float)):
                    return float(text)
                raise UnitError("not a slowdown", value=repr(text), fix="write it like 2x, as the objective has it")
            return units.number(slowdown[1])
        dimension = {
            "USD/h": units.MONEY_PER_HOUR, "W": units.POWER, "machines": units.COUNT, "s": units.TIME,
            "requests/s": units.RATE,
        }[self.unit]  # fmt: skip
        return units.parse(text, dimension)

    def at(self, value: float) -> Change:
        """A scenario at a position: a budget, the load, or the limit of the axis's objective."""
        if self.objective is not None:
            return limit(self.objective.at(value))
        return setting(rate_per_s=value) if self.name == "rate" else budget(self.name, value)

    def words(self, value: float) -> str:
        """A position for people: `$152.00/h`, `40.8 kW`, `4 machines`, `434 ms`, `1.25x`, `70 requests/s`."""
        return {
            "USD/h": lambda: f"{units.format_money(value)}/h",
            "W": lambda: f"{value / 1e3:,.6g} kW",
            "machines": lambda: f"{value:,.0f} machines",
            "s": lambda: units.format_time(value),
            "x": lambda: f"{value:.3g}x",
            "requests/s": lambda: f"{value:,.4g} requests/s",
        }[self.unit]()


def read_axes(x: str, y: str, scenario: Scenario) -> tuple[FrontierAxis, FrontierAxis]:
    """Read the names of both axes.

    Raises
    ------
    UnknownNameError
        An unknown axis, with near misses.
    ScenarioError
        Both are the same, or `y` cannot be minimised.
    """
    name = y.strip().casefold()
    if name not in Y_AXES:
        error = UnknownNameError.of("axis", y, Y_AXES, where="y")
        if name in X_AXES:
            error.fix = f"what is least is one of {', '.join(Y_AXES)}; give {y} as x"
            error.suggestions = []
        raise error
    least = FrontierAxis(name, _LABELS[name], _UNITS[name])
    wanted = x.strip().casefold()
    if wanted == name:
        raise ScenarioError(
            f"x and y are both {name}", where="x", rule="a frontier is between two different figures",
            fix=f"choose another x: {', '.join(a for a in X_AXES if a != name)}",
        )  # fmt: skip
    if wanted in _LABELS:
        return FrontierAxis(wanted, _LABELS[wanted], _UNITS[wanted]), least
    metric = re.split(r"[.\s]", wanted)[0]
    if ALIASES.get(metric, metric) not in METRICS:
        raise UnknownNameError.of("axis", x, [*X_AXES, *ALIASES], where="x")
    objective = _objective(wanted, scenario)
    unit: AxisUnit = "s" if objective.limit_s is not None else "x"
    return FrontierAxis(str(objective).partition("=")[0], f"limit of {objective.label}", unit, objective), least


def _objective(wanted: str, scenario: Scenario) -> Objective:
    """The scenario's objective that an axis names; one it lacks is added, with no limit to speak of."""
    named = parse_objective(f"{wanted}=1s", where="x")
    same = [o for o in scenario.slo if o.metric == named.metric]
    if "." not in wanted and same:
        if len(same) > 1:
            raise ScenarioError(
                f"there are {len(same)} objectives on {named.metric}", where="x", value=wanted,
                fix=f"name one: {', '.join(str(o).partition('=')[0] for o in same)}",
            )  # fmt: skip
        return same[0]
    return next((o for o in same if o.percentile == named.percentile), named)


def measured(solution: Solution, spares: int, name: str) -> float:
    """Cost [USD/h], rated power [W] or machines of a plan, spares included; NaN for a cost without prices."""

    def each(configuration: Configuration) -> float:
        if name == "cost":
            return configuration.price.usd_per_hour if configuration.price else math.nan
        return configuration.machine.rated_power_w if name == "power" else 1.0

    return math.fsum(each(m.configuration) * (m.count + spares) for m in solution.members)
