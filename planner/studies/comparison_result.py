"""What `planner compare` finds: a row a workload, question and design.

`COMPARISON_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from planner.errors import EXIT_INFEASIBLE, EXIT_INTERRUPTED, EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.plan import Plan, Result
from planner.studies.head import Head

COMPARISON_SCHEMA_VERSION = "1.0"

RowStatus = Literal["optimal", "limit", "unconfirmed", "infeasible", "unsolved"]


class ComparisonRow(Result):
    """One design, sized as well as can be for one workload and question."""

    workload: str
    question: str = Field(description="Question it is sized for, such as `least cost at 70 requests/s`.")
    objective: Literal["cost", "power", "energy", "machines", "carbon", "throughput"]
    budget: str | None = Field(description="Budget of throughput within it, as given.")
    design: str = Field(description="Design as asked for.")
    status: RowStatus = Field(
        description="optimal (proven), limit (a plan, not proven), unconfirmed (by simulation, where that was asked), "
        "infeasible, unsolved (no plan found in time)."
    )
    reason: str | None = Field(description="Reason why there is no plan.")
    exit_code: int = Field(description="Exit code that `planner optimize` ends with.")
    pools: str | None = Field(description="Machines by role, such as `27 x dgx-h100 prefill + 3 x dgx-h100 decode`.")
    machines: int | None = Field(description="Spares included, as everywhere here.")
    prefill_machines: int | None
    decode_machines: int | None
    mixed_machines: int | None
    rate_per_s: float | None = Field(description="Rate carried [requests/s].")
    cost_usd_per_hour: float | None
    cost_usd_per_million_tokens: float | None = Field(description="Prompt and output tokens together.")
    power_w: float | None = Field(description="Rated [W].")
    expected_power_w: float | None = Field(description="Mean draw at this load [W].")
    rack_units: int | None
    latencies: Literal["predicted", "simulated"] | None = Field(description="Source of percentiles and slack.")
    ttft_p50_s: float | None
    ttft_p90_s: float | None
    ttft_p99_s: float | None
    tbt_p50_s: float | None
    tbt_p90_s: float | None
    tbt_p99_s: float | None
    e2e_p50_s: float | None
    e2e_p90_s: float | None
    e2e_p99_s: float | None
    tightest_objective: str | None = Field(description="The objective with the least slack.")
    tightest_slack_fraction: float | None = Field(description="Slack: 1 - latency / limit of that objective.")
    verified: str | None = Field(description="Words on the proof: `not simulated`, or how the plan was simulated.")
    relative_rate: float | None = Field(description="Rate over that of `relative_to`, as all that is relative.")
    relative_cost: float | None
    relative_cost_per_token: float | None
    relative_power: float | None
    relative_machines: float | None
    relative_rack_units: float | None
    plan: Plan | None = Field(description="The plan whole.")

    @property
    def found(self) -> bool:
        """Whether there is a plan."""
        return self.plan is not None


class Comparison(Head):
    """Designs side by side."""

    schema_version: str = COMPARISON_SCHEMA_VERSION
    workloads: list[str]
    designs: list[str]
    questions: list[str]
    relative_to: str = Field(description="The design that relative figures are against.")
    complete: bool = Field(description="Completeness; false where it was interrupted: rows not begun are missing.")
    rows: list[ComparisonRow]

    def row(self, design: str, workload: str | None = None, question: str | None = None) -> ComparisonRow:
        """The row of a design; of the first workload and question unless told.

        Parameters
        ----------
        design, workload : str
            As in the row; a workload given as a file is named by its stem or path.
        question : str
            Some of the question's words, or the objective.

        Raises
        ------
        KeyError
            There is no such row.
        """
        for row in self.rows:
            asked = question is None or question in row.question or question == row.objective
            if row.design.casefold() == design.casefold() and workload in (None, row.workload) and asked:
                return row
        raise KeyError(f"no row for {design}, {workload}, {question}")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 130 interrupted, 3 no plan at all, 4 not proven or confirmed, else 0."""
        if not self.complete:
            return EXIT_INTERRUPTED
        if not any(row.found for row in self.rows):
            return EXIT_INFEASIBLE
        proven = all(row.status in ("optimal", "infeasible") for row in self.rows)
        return EXIT_OK if proven else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a row, without the plans: rows for a spreadsheet."""
        common = {"model": self.model, "runtime": self.runtime, "precision": self.precision}
        return [common | row.model_dump(exclude={"plan"}) | {"relative_to": self.relative_to} for row in self.rows]
