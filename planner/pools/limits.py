"""What a plan minimises, and what it may not exceed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from planner.pools.candidate import Candidate
from planner.pools.configuration import Configuration
from planner.units import format_money, format_number, format_power

ObjectiveName = Literal["cost", "power", "energy", "machines", "carbon", "throughput"]
ObjectiveOrWeights = ObjectiveName | Mapping[str, float]


def objective_words(value: float, objective: str) -> str:
    """The value of an objective for people, with its unit."""
    if objective == "power":
        return format_power(value)
    if objective == "energy":
        return f"{format_power(value)} drawn with every machine full"
    if objective == "machines":
        return f"{format_number(value)} machines"
    if objective == "throughput":
        return f"{format_number(value)} requests/s"
    if objective == "carbon":
        return f"{format_number(value)} kg CO2e/h at rated power"
    return f"{format_money(value)}/h"


@dataclass(frozen=True)
class Budget:
    """Something of which every machine takes a share, and all machines together no more than a limit.

    Attributes
    ----------
    name : str
        Of the limit, as people say it: `max_cost` of `--max-cost`.
    field : str
        Of `Limits` and of a scenario.
    of_machine : callable
        What one machine takes; NaN where that is not known.
    words : callable
        An amount for people.
    is_whole : bool
        Whether amounts are whole numbers.
    objective : str or None
        The objective that makes it least, where there is one.
    """

    name: str
    field: str
    of_machine: Callable[[Configuration], float]
    words: Callable[[float], str]
    is_whole: bool = False
    objective: Literal["cost", "power", "machines"] | None = None


def _price(configuration: Configuration) -> float:
    return configuration.price.usd_per_hour if configuration.price else math.nan


def _rack_units(configuration: Configuration) -> float:
    units = configuration.machine.rack_units
    return math.nan if units is None else float(units)


def _whole(amount: float) -> str:
    return f"{amount:.0f}"


# The one list of budgets: enumeration, program, refusals and explanations go through it.
BUDGETS = (
    Budget("max_cost", "max_cost_usd_per_hour", _price, lambda usd: f"{format_money(usd)}/h", objective="cost"),
    Budget("max_power", "max_power_w", lambda c: c.machine.rated_power_w, format_power, objective="power"),
    Budget("max_total_machines", "max_total_machines", lambda _: 1.0, _whole, True, "machines"),
    Budget("max_rack_units", "max_rack_units", _rack_units, _whole, True),
)


@dataclass(frozen=True)
class Limits:
    """Budgets and stock; None or absent means no limit.

    Attributes
    ----------
    max_cost_usd_per_hour, max_power_w : float or None
        Of all machines bought, spares included [USD/h], [W rated].
    max_machines : mapping of str to int
        Stock by machine type, or in accelerators by the name of a kind of them.
    max_total_machines, max_rack_units : int or None
        Of all types together.
    max_pools : int or None
        Pools, however many machines each has.
    spares : int
        Machines of each pool that may fail with the objectives still met.
    kinds : mapping of str to mapping of str to int
        Of a stock in accelerators: machine -> accelerators of that kind in it.
    owned : mapping of str to int
        Machines that are there already, by type.
    max_bought : int or None
        Machines beyond those owned, of all types together.
    """

    max_cost_usd_per_hour: float | None = None
    max_power_w: float | None = None
    max_machines: Mapping[str, int] = field(default_factory=dict)
    max_total_machines: int | None = None
    max_rack_units: int | None = None
    max_pools: int | None = None
    spares: int = 0
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    owned: Mapping[str, int] = field(default_factory=dict)
    max_bought: int | None = None

    def weight(self, stock: str, machine: str) -> int:
        """What one machine takes of a stock: its accelerators of that kind, or of a stock of machines itself."""
        kind = self.kinds.get(stock)
        return int(stock == machine) if kind is None else kind.get(machine, 0)

    def taken(self, stock: str, by_machine: Mapping[str, int]) -> int:
        """What machines take of a stock together."""
        return sum(self.weight(stock, machine) * n for machine, n in by_machine.items())

    def most_of(self, machine: str) -> float:
        """Most machines of a type that every stock leaves, by itself; infinite where none bounds it."""
        bounds = [most // w for stock, most in self.max_machines.items() if (w := self.weight(stock, machine))]
        return min(bounds, default=math.inf)

    @property
    def any_budget(self) -> bool:
        """Whether anything bounds the size of a plan."""
        return bool(self.budgets) or bool(self.max_machines)

    @property
    def budgets(self) -> list[tuple[Budget, float]]:
        """Each budget that is given, and its amount."""
        given = [(budget, getattr(self, budget.field)) for budget in BUDGETS]
        return [(budget, float(most)) for budget, most in given if most is not None]


def price_usd_per_hour(candidate: Candidate) -> float:
    """Price of one machine [USD/h]; NaN where it has none."""
    return _price(candidate.configuration)


def unit_cost(candidate: Candidate, objective: ObjectiveOrWeights) -> float:
    """What one machine adds to the objective; for throughput, its rated power, which breaks ties [W].

    An objective that is not named is a price of each machine by its name.

    Carbon is that of rated power, as power is [kg/h]; energy is the expected draw of a machine that is full [W].
    """
    if not isinstance(objective, str):
        return objective[candidate.configuration.machine.name]
    if objective == "cost":
        return price_usd_per_hour(candidate)
    if objective == "energy":
        return candidate.configuration.full_draw_w[candidate.role]
    if objective == "carbon":
        return candidate.configuration.rated_carbon_kg_per_hour
    return 1.0 if objective == "machines" else candidate.configuration.machine.rated_power_w
