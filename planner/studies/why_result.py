"""What `planner why` says: for each machine or design asked about, the reason and what it would take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.planning.certificate import Result
from planner.planning.plan import Plan
from planner.studies.head import Head

WHY_SCHEMA_VERSION = "1.0"


class Reason(Result):
    """Why one machine or design is in the plan, or is not."""

    target: str = Field(description="Name of the machine or design.")
    status: str = Field(description="Kind of the reason, as of `standings` of a plan: chosen, dearer, unreachable, ...")
    reason: str = Field(description="Reason in one line.")
    pools: str | None = Field(
        default=None, description="Pools of its best plan, spares included; null where there is none."
    )
    value: float | None = Field(default=None, description="Objective of that plan; null where it has no price.")
    relative: float | None = Field(default=None, description="Excess of that over the plan's, as a share.")
    wins_below_usd_per_hour: float | None = Field(
        default=None, description="Price of a machine below which its plan costs less than the one chosen [USD/h]."
    )
    would_take: list[str] = Field(default=[], description="Changes that would let it be chosen, each by itself.")


class Why(Head):
    """The plan, and why what was asked about is not in it."""

    schema_version: str = WHY_SCHEMA_VERSION
    target: str = Field(description="Target asked about: a machine, a design, or `all` machines.")
    objective: Literal["cost", "power", "energy", "machines", "carbon", "throughput"]
    plan: Plan = Field(description="Best plan, which everything is held against.")
    reasons: list[Reason] = Field(description="A reason for each machine, or for the design.")
    changed_since: str = Field(
        default="", description="Plan that is chosen now where the plan that was handed over is not; empty where it is."
    )

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a machine or design: rows for a spreadsheet."""
        common = {"model": self.model, "workload": self.workload, "objective": self.objective}
        return [common | r.model_dump(exclude={"would_take"}) | {"would_take": "; ".join(r.would_take)}
                for r in self.reasons]  # fmt: skip
