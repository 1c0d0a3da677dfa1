"""What `planner frontier` finds: points that nothing beats, each with its plan.

`FRONTIER_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.errors import EXIT_INTERRUPTED, EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.plan import Plan, Result
from planner.studies.head import Head

FRONTIER_SCHEMA_VERSION = "1.0"

AxisUnit = Literal["USD/h", "W", "machines", "s", "x", "requests/s"]


class FrontierPoint(Result):
    """One plan that no other beats in both figures."""

    x: float = Field(description="Position in the unit of the frontier's x.")
    y: float = Field(description="The least there is at this x, in the unit of the frontier's y.")
    status: Literal["optimal", "limit"] = Field(
        description="Status; optimal: proven; limit: a plan, not proven to be least."
    )
    bound: float = Field(description="Bound: no plan has a y below this at this x.")
    gap: float = Field(description="(y - bound) / y.")
    design: str
    pools: str = Field(description="Machines by role, spares included.")
    machines: int
    rate_per_s: float = Field(description="Rate carried [requests/s].")
    cost_usd_per_hour: float | None
    cost_usd_per_million_tokens: float | None
    power_w: float = Field(description="Rated [W].")
    rack_units: int | None
    verified: str = Field(description="Proof of the plan: simulated, or predicted alone.")
    ttft_p99_s: float | None
    tbt_p99_s: float | None
    e2e_p99_s: float | None
    plan: Plan = Field(description="The plan whole.")


class Frontier(Head):
    """The points that nothing beats, from one end of x to the other."""

    schema_version: str = FRONTIER_SCHEMA_VERSION
    x: str = Field(description="power, cost, machines, rate, or an objective such as ttft.p99.")
    x_label: str
    x_unit: AxisUnit
    y: Literal["cost", "power", "machines"]
    y_label: str
    y_unit: AxisUnit
    tolerance: float = Field(description="Relative, to which x is known: where a point lies, and how close two may be.")
    method: str = Field(description="Method by which the points were found, and what that proves.")
    ends: str = Field(description="Reason why there are no further points.")
    complete: bool = Field(
        description="Completeness; false where it was interrupted or a time limit passed: points may be missing."
    )
    solves: int = Field(description="Optimisations that it took.")
    points: list[FrontierPoint]

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 130 interrupted, 4 something is not proven within the time limit, else 0."""
        if self.complete:
            return EXIT_OK
        return EXIT_INTERRUPTED if self.ends.startswith("interrupted") else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a point, without the plans: rows for a spreadsheet."""
        common = {
            "model": self.model, "workload": self.workload, "x_is": self.x, "x_unit": self.x_unit, "y_is": self.y,
            "y_unit": self.y_unit,
        }  # fmt: skip
        return [common | point.model_dump(exclude={"plan"}) for point in self.points]
