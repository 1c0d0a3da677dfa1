"""What `planner alternatives` finds: plans nearly as good as the best, for reasons that prices do not know.

`ALTERNATIVES_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.errors import EXIT_INTERRUPTED, EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.plan import Plan, Result
from planner.studies.head import Head

ALTERNATIVES_SCHEMA_VERSION = "1.0"


class AlternativePlan(Result):
    """One plan near the best."""

    reasons: list[str] = Field(
        description="Reasons for which it is listed: best, another mix, fewest machine types, ..."
    )
    value: float = Field(description="Value of the objective: USD/h, W or machines.")
    relative: float = Field(description="value / best - 1.")
    status: Literal["optimal", "limit"] = Field(description="Whether it is proven best of its mix.")
    design: str
    pools: str = Field(description="Machines by role, spares included.")
    n_pools: int
    n_machine_types: int
    machines: int
    cost_usd_per_hour: float | None = Field(description="Cost of all machines, those owned at their price too.")
    power_w: float = Field(description="Rated [W].")
    rack_units: int | None
    bought: str = Field(description="Machines beyond those owned, such as `3 x dgx-h100`; empty for none.")
    n_bought: int
    cost_of_bought_usd_per_hour: float | None = Field(description="Cost of the machines beyond those owned.")
    idle: str = Field(description="Owned machines that the plan does not use; empty for none.")
    n_idle: int
    verified: str = Field(description="Proof of the plan: simulated, or predicted alone.")
    ttft_p99_s: float | None
    tbt_p99_s: float | None
    e2e_p99_s: float | None
    plan: Plan = Field(description="The plan whole.")


class Alternatives(Head):
    """The best plan and others nearly as good."""

    schema_version: str = ALTERNATIVES_SCHEMA_VERSION
    objective: Literal["cost", "power", "machines"]
    within_fraction: float = Field(description="Distance above the best that a plan may have, as a share.")
    owned: dict[str, int]
    all_mixes: bool = Field(
        description=(
            "Completeness of mixes; true: a mix that is not listed is beyond the range, or a listed "
            "one with further pools."
        )
    )
    complete: bool = Field(
        description="Completeness; false where it was interrupted or a time limit passed: plans may be missing."
    )
    ends: str = Field(description="Reason why there are no further plans.")
    solves: int = Field(description="Optimisations that it took.")
    plans: list[AlternativePlan] = Field(description="The best first, then by value.")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 130 interrupted, 4 something is not proven within the time limit, else 0."""
        if self.complete:
            return EXIT_OK
        return EXIT_INTERRUPTED if self.ends.startswith("interrupted") else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a plan, without the plan itself: rows for a spreadsheet."""
        common = {"model": self.model, "workload": self.workload, "objective": self.objective}
        return [
            common | plan.model_dump(exclude={"plan", "reasons"}) | {"reasons": "; ".join(plan.reasons)}
            for plan in self.plans
        ]
