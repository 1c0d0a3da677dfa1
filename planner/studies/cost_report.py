"""The costs of a plan under each price plan, as records."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import Field

from planner.catalog.prices import PlanName
from planner.catalog.schema import SourceKind
from planner.economics.finance import Payments
from planner.planning.plan import EnergyUse, Result


class CostAssumptions(Result):
    """What the figures rest on beside prices."""

    horizon_months: float
    hours_used_fraction: float = Field(description="Share of all hours that the machines are switched on.")
    cost_of_capital_per_year: float
    spot_recovery_h: float = Field(
        description="Hours, paid, that an interruption of a spot machine takes from the work."
    )
    payments: Payments = Field(description="Whether months are paid for at their end (arrears) or in advance.")


class PoolCost(Result):
    """One pool under one price plan."""

    plan: PlanName
    role: str
    machine: str
    count: int = Field(description="Machines, spares included.")
    fixed_usd_per_hour: float = Field(description="Cost of the pool, every hour.")
    usage_usd_per_hour: float = Field(description="Cost of the pool, for each hour switched on.")
    usd_per_hour: float = Field(description="Mean over all hours.")
    upfront_usd: float = Field(description="Payment at the start: the purchase.")
    reserved_months: float = Field(description="Months paid for whole terms of a reservation, used or not; else 0.")
    on_demand_months: float = Field(description="Months before and after the terms of a reservation; else 0.")
    total_usd: float = Field(description="Cost of the pool over the horizon, whole terms to their end.")
    present_value_usd: float = Field(description="The same, discounted.")
    book: str
    provider: str
    date: datetime.date
    currency: str
    usd_per_unit: float
    exchange_date: datetime.date | None
    kind: SourceKind
    source: str


class PricePlanCost(Result):
    """The whole plan under one price plan."""

    plan: PlanName
    usd_per_hour: float = Field(description="Mean over all hours of the horizon.")
    usd_per_month: float = Field(description="Cost of 730 hours.")
    usd_per_accelerator_hour: float = Field(description="Cost of an hour, over all accelerators bought.")
    electricity_usd_per_hour: float = Field(
        description="Part of it that pays electricity; 0 where the rent contains it."
    )
    upfront_usd: float
    committed_months: float = Field(
        description="Months paid whether used or not: whole terms of a reservation; else 0."
    )
    total_usd: float = Field(
        description=(
            "Cost over the horizon; whole terms of reservations, the rest on demand, owned machines by annuity."
        )
    )
    present_value_usd: float = Field(description="The same, discounted at the cost of capital by the month.")
    usd_per_million_tokens: float = Field(description="Prompt and output tokens together.")
    usd_per_million_prompt_tokens: float | None
    usd_per_million_output_tokens: float | None
    prompt_cost_fraction: float | None = Field(
        description="Share of the cost that prompts bear, by the time they take."
    )
    notes: list[str]


class MissingPlan(Result):
    """A price plan under which not every machine of the plan can be had."""

    plan: PlanName
    machines: list[str]


class OwningBreakEven(Result):
    """Owning one machine of the plan against renting it or one like it."""

    machine: str
    rented_machine: str = Field(description="The same, or one with as many of the same accelerator.")
    plan: PlanName
    rent_usd_per_hour: float = Field(description="Rent for an hour switched on, or reserved.")
    owned_fixed_usd_per_hour: float
    owned_usage_usd_per_hour: float
    purchase_usd: float
    use_fraction: float | None = Field(description="Share of hours from which owning costs less; null: never.")
    payback_months: float | None = Field(
        description="Months until it has paid for itself at the use assumed, without interest; null: never."
    )
    discounted_payback_months: float | None = Field(description="The same with the cost of capital.")
    life_months: float = Field(description="Months over which the purchase is paid off.")
    book: str = Field(description="Price book of the rent.")
    date: datetime.date
    currency: str
    exchange_date: datetime.date | None


class CostReport(Result):
    """Costs of a plan under each price plan."""

    planner_version: str
    catalog_digest: str
    design: str
    model: str
    workload: str
    rate_per_s: float
    machines: int
    n_accelerators: int
    meets_objectives: bool
    assumptions: CostAssumptions
    plans: list[PricePlanCost]
    pools: list[PoolCost]
    missing: list[MissingPlan]
    break_even: list[OwningBreakEven]
    energy: EnergyUse | None = Field(description="Energy while switched on, at the expected draw.")
    prompt_tokens_per_hour: float = Field(description="Prompt tokens an hour while switched on.")
    output_tokens_per_hour: float
    notes: list[str]
    scenario: dict[str, Any]

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a price plan and pool, with the totals of the price plan: rows for a spreadsheet."""
        totals = {
            p.plan: {f"all_{k}": v for k, v in p.model_dump(exclude={"plan", "notes"}).items()} for p in self.plans
        }
        return [pool.model_dump() | totals.get(pool.plan, {}) for pool in self.pools]
