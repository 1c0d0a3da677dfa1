"""What a plan minimises, and what it may not exceed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from planner.pools.candidate import Candidate

ObjectiveName = Literal["cost", "power", "machines", "carbon", "throughput"]
Objective = ObjectiveName | Mapping[str, float]


@dataclass(frozen=True)
class Limits:
    """Budgets and stock; None or absent means no limit.

    Attributes
    ----------
    max_cost_usd_per_hour, max_power_w : float or None
        Of all machines bought, spares included [USD/h], [W rated].
    max_machines : mapping of str to int
        Stock by machine type.
    max_total_machines : int or None
        Of all types together.
    max_pools : int or None
        Pools, however many machines each has.
    spares : int
        Machines of each pool that may fail with the objectives still met.
    owned : mapping of str to int
        Machines that are there already, by type.
    max_bought : int or None
        Machines beyond those owned, of all types together.
    """

    max_cost_usd_per_hour: float | None = None
    max_power_w: float | None = None
    max_machines: Mapping[str, int] = field(default_factory=dict)
    max_total_machines: int | None = None
    max_pools: int | None = None
    spares: int = 0
    owned: Mapping[str, int] = field(default_factory=dict)
    max_bought: int | None = None

    @property
    def any_budget(self) -> bool:
        """Whether anything bounds the size of a plan."""
        return (
            self.max_cost_usd_per_hour is not None
            or self.max_power_w is not None
            or self.max_total_machines is not None
            or bool(self.max_machines)
        )


def price_usd_per_hour(candidate: Candidate) -> float:
    """Price of one machine [USD/h]; NaN where it has none."""
    price = candidate.configuration.price
    return price.usd_per_hour if price else float("nan")


def unit_cost(candidate: Candidate, objective: Objective) -> float:
    """What one machine adds to the objective; for throughput, its rated power, which breaks ties [W].

    An objective that is not named is a price of each machine by its name.

    Carbon is that of rated power, as power is [kg/h].
    """
    if not isinstance(objective, str):
        return objective[candidate.configuration.machine.name]
    if objective == "cost":
        return price_usd_per_hour(candidate)
    if objective == "carbon":
        return candidate.configuration.rated_carbon_kg_per_hour
    return 1.0 if objective == "machines" else candidate.configuration.machine.rated_power_w
