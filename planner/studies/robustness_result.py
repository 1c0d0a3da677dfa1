"""What `planner robustness` finds: how a cluster takes each mishap, and what it would take to be whole again.

`ROBUSTNESS_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.errors import EXIT_INFEASIBLE, EXIT_INTERRUPTED, EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.certificate import SimulatedObjective
from planner.planning.plan import Prediction, Result
from planner.studies.head import Head

ROBUSTNESS_SCHEMA_VERSION = "1.0"


class MishapRow(Result):
    """One mishap."""

    mishap: Literal["none", "mix", "growth", "burst", "machine", "rack"]
    title: str
    workload: str
    rate_per_s: float = Field(description="Asked for [requests/s].")
    arrival_cv2: float
    pools: str = Field(description="Pools that are left of the cluster; empty for nothing.")
    holds: bool = Field(description="Whether the cluster as it is meets every objective: as simulated, else predicted.")
    breaks: list[str] = Field(description="Objective that it misses, with the value; empty where it holds.")
    predicted: list[Prediction] = Field(
        description="Value of each objective, predicted; empty where a role has no machine left."
    )
    simulated: list[SimulatedObjective] | None = Field(
        description=(
            "Value of each objective as simulated; null where it was not asked, or a pool is surely overloaded."
        )
    )
    carried_per_s: float = Field(description="Largest load within the objectives, the cluster as it is [requests/s].")
    carried_fraction: float = Field(description="Share of the planned load that it carries.")
    flexible_carried_per_s: float = Field(description="The same with machines in whatever role is best [requests/s].")
    flexible_carried_fraction: float = Field(
        description="Share of the planned load that it carries with roles as needed."
    )
    flexible_holds: bool
    flexible_pools: str = Field(description="Roles that carry it; empty where nothing is carried.")
    to_buy: str = Field(description="Cheapest machines to add, in free roles, to hold; empty for none.")
    n_to_buy: int | None = Field(description="Machines to buy; null where no number of them is enough.")
    cost_to_buy_usd_per_hour: float | None = Field(
        description="Cost of those to buy; null without a price, or where nothing is enough."
    )
    pools_after: str = Field(description="Roles then; empty where nothing need be bought, or nothing is enough.")
    right_carried_per_s: float | None = Field(
        description="Other mixes: what the same money would carry, had it been spent for that mix on the same types of "
        "machine [requests/s]; null otherwise, and without a price."
    )
    loss_fraction: float | None = Field(description="Cost of the wrong mix: 1 - flexible_carried / right_carried.")
    proven: bool = Field(description="Whether every optimisation of the row was proven.")


class Robustness(Head):
    """A cluster under mishaps."""

    schema_version: str = ROBUSTNESS_SCHEMA_VERSION
    design: str
    pools: str = Field(description="Pools as bought, spares apart.")
    spares: int = Field(description="Machines beside them, all pools together.")
    planned_rate_per_s: float
    owned: dict[str, int] = Field(description="Machines of each type, spares included.")
    cost_usd_per_hour: float | None = Field(description="Cost of the cluster.")
    complete: bool = Field(description="Completeness; false where it was interrupted: rows are missing.")
    rows: list[MishapRow] = Field(description="The first is the load as planned.")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 130 interrupted, 3 an objective is missed, 4 not proven, else 0."""
        if not self.complete:
            return EXIT_INTERRUPTED
        if not self.rows[0].holds:
            return EXIT_INFEASIBLE
        return EXIT_OK if all(row.proven for row in self.rows) else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a mishap, objectives left to `breaks`: rows for a spreadsheet."""
        common = {"design": self.design, "model": self.model, "planned_rate_per_s": self.planned_rate_per_s}
        return [
            common | row.model_dump(exclude={"predicted", "simulated", "breaks"}) | {"breaks": "; ".join(row.breaks)}
            for row in self.rows
        ]
