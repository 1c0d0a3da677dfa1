"""What to buy, reserve and rent for a fleet, and what each period does with it.

`PROCUREMENT_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
"""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import Field

from planner.catalog.schema import SourceKind
from planner.planning.plan import Result

PROCUREMENT_SCHEMA_VERSION = "1.0"


class PurchaseLine(Result):
    """Machines of one type under one plan, over the whole horizon."""

    machine: str
    plan: str = Field(
        description="owned, reserved_3y, reserved_2y, reserved_1y, on_demand or spot; `kept` is owned already."
    )
    site: str = Field(default="", description="Site where they stand; empty where the fleet has none.")
    count: int = Field(description="Machines held; of rented ones the most at any time.")
    machine_hours: float = Field(description="Hours switched on, all machines together, over the horizon.")
    fixed_usd_per_hour: float = Field(description="Cost of one machine held, in use or not.")
    usage_usd_per_hour: float = Field(description="Cost of one machine switched on.")
    fixed_usd: float = Field(description="Cost of holding, over the horizon.")
    usage_usd: float = Field(description="Cost of use, over the horizon.")
    cost_usd: float = Field(description="Cost over the horizon.")
    cost_usd_per_hour: float = Field(description="Mean over all hours.")
    when: str = Field(description="Which of several dates or terms it is; empty where there is one.")
    from_month: float = Field(description="Month at whose begin it is there; 0 is the first.")
    to_month: float = Field(description="Month at whose begin it ends, or the horizon.")
    paid_months: float = Field(description="Months paid whether used or not, whole terms to their end; 0 where rented.")
    capital_usd_per_hour: float = Field(description="Part of the fixed cost that repays a purchase [USD/h].")
    purchase_usd: float | None = Field(description="Price of one machine that is bought; null of others.")
    residual_usd: float | None = Field(description="Resale value at the end of its life; null of others.")
    life_months: float | None = Field(description="Months over which it is repaid; null of others.")
    book: str | None = Field(description="Price book.")
    provider: str | None
    date: datetime.date | None = Field(description="Date of the price.")
    kind: SourceKind | None
    source: str | None
    currency: str = Field(default="USD", description="Currency of the price book.")
    exchange_date: datetime.date | None = Field(
        default=None, description="Date of the rate; null where the book is in USD."
    )

    @property
    def name(self) -> str:
        """As periods name it: `dgx-h100 owned`."""
        return " ".join(filter(None, (self.machine, self.plan, self.when)))


class MonthCost(Result):
    """What one month costs, and what is paid in it."""

    month: int = Field(description="Month of 730 h, counted from 1; after the horizon where a reservation ends later.")
    purchases_usd: float = Field(description="Payments for machines that are bought, and bought anew, less resale.")
    running_usd: float = Field(description="Maintenance, hosting and electricity of what is owned.")
    reserved_usd: float
    rented_usd: float = Field(description="Rents on demand and spot.")
    changes_usd: float = Field(description="Machines that start or change group or role.")
    egress_usd: float = Field(default=0.0, description="Data that leaves the sites.")
    cash_usd: float = Field(description="Sum of the above: what is paid.")
    capital_usd: float = Field(description="Annuity of what is bought, in the place of its purchase.")
    cost_usd: float = Field(description="Cost of the month; all months add up to the cost of the fleet.")


class PeriodUse(Result):
    """One period: what is asked of the fleet, and how many machines of each type and plan are on."""

    period: str
    stage: str = Field(description="The day that it is part of, where several stand for the horizon.")
    hours_a_day: float
    hours: float = Field(description="Hours of the horizon, weighted by probability.")
    from_month: float = Field(description="Month at whose begin the days that it stands for begin; 0 is the first.")
    to_month: float = Field(description="Month at whose begin they end.")
    rates_per_s: dict[str, float] = Field(description="Requests served of each workload [requests/s].")
    machines_on: dict[str, int] = Field(description="Machines that are on, by machine.")
    machines_by_plan: dict[str, int] = Field(description="Machines that are on, by `machine plan`.")
    machines_held_or_rented: int
    power_w: float = Field(description="Power, rated, of all machines held or rented [W].")


class FleetPool(Result):
    """One pool in one period."""

    period: str
    stage: str
    group: str
    role: Literal["prefill", "decode", "mixed"]
    machine: str
    count: int
    spares: int
    layout: str
    precision: str
    rate_per_s: float
    capacity_per_s: float
    utilisation: float = Field(description="Share of the rate at which it would be busy all the time.")


class WorkloadPrediction(Result):
    """One objective of a workload (or of one of its size buckets) in the period where it is closest to its limit."""

    workload: str
    part: str = Field(description="The workload, or its bucket.")
    objective: str
    limit: float
    predicted: float | None
    unit: Literal["s", "x"]
    slack_fraction: float | None
    met: bool
    period: str
    stage: str


class DesignRate(Result):
    """What a design does for its money where only throughput counts."""

    design: str
    requests_per_s_per_usd_per_hour: float = Field(
        description="Requests a second for a dollar an hour, at the on-demand price."
    )
    requests_per_usd: float


class WorkloadOutcome(Result):
    """How one workload is served."""

    workload: str
    kind: Literal["interactive", "throughput", "batch"] = Field(
        description="With latency objectives; without any; or with a deadline."
    )
    model: str
    traffic: str
    group: str = Field(description="Groups whose pools serve it, `;` between them.")
    rate_per_s: float | None = Field(description="Rate as stated; null for batch work.")
    requests_a_day: float
    deadline: str | None = Field(description="Deadline of batch work.")
    done_by: str | None = Field(description="End of the last period that serves batch work.")
    design_rates: list[DesignRate] = Field(
        description="Rates that designs give work without latency objectives: requests for a dollar."
    )


class GroupCost(Result):
    """Pools of one group: machine-hours, and their part of the cost by type of machine."""

    group: str
    workloads: list[str]
    machine_hours: float
    cost_usd_per_hour: float
    usd_per_million_tokens: float


class PortfolioReport(Result):
    """How the answer was found and proven."""

    status: Literal["optimal", "limit"]
    solver: str
    value: float = Field(description="Mean cost [USD/h].")
    bound: float = Field(description="Bound: no plan of the pools considered costs less [USD/h].")
    gap: float
    gap_allowed: float
    rounds: int
    groups_considered: int
    candidates: int
    periods: int
    rows_checked: bool


class PureFleet(Result):
    """The fleet with all its machines had in one way."""

    plans: str = Field(description="Ways: rented, reserved or owned.")
    cost_usd: float | None = Field(description="Cost over the horizon; null where it cannot be had so.")
    present_value_usd: float | None
    upfront_usd: float | None
    machines: int | None = Field(description="Machines at most at any time.")
    gap: float | None = Field(description="Gap to its bound.")
    reason: str = Field(description="Reason why there is none; empty where there is one.")


class SiteUse(Result):
    """One site: what stands there at the busiest time, what it costs, and what is served."""

    site: str
    machines: int = Field(description="Machines held or rented, the most at any time.")
    power_w: float = Field(description="Power, rated, of those [W].")
    rack_units: int
    electricity_usd_per_kwh: float
    pue: float
    cost_usd: float = Field(description="Cost of its machines over the horizon, and of data that leaves it.")
    egress_usd: float
    requests: dict[str, float] = Field(description="Requests expected of each workload over the horizon.")


class Procurement(Result):
    """What to have, under which plan, and what each period does with it."""

    schema_version: str = PROCUREMENT_SCHEMA_VERSION
    planner_version: str
    catalog_digest: str
    horizon: str
    horizon_hours: float
    cost_usd_per_hour: float = Field(description="Mean over all hours.")
    cost_usd_per_month: float = Field(description="Mean; 730 hours.")
    cost_usd: float = Field(description="Cost over the horizon.")
    change_cost_usd: float = Field(description="Part of it: machines that start or change group or role in the day.")
    egress_usd: float = Field(default=0.0, description="Part of it: data that leaves the sites.")
    cost_usd_per_million_tokens: float = Field(
        description="Cost of a million of the tokens expected, not of those planned for."
    )
    padding_fraction: float = Field(description="Requests planned for over those expected, less 1.")
    cost_usd_per_thousand_requests: float = Field(description="Cost of a thousand of the requests expected.")
    cost_usd_per_user_per_month: float | None = Field(
        default=None,
        description="Cost of one user with overhead; null where the fleet does not say how many there are.",
    )
    present_value_usd: float = Field(description="Present value of all payments, less what is left of what was bought.")
    upfront_usd: float = Field(description="Payments on the first day for what is bought.")
    remaining_value_usd: float = Field(description="Value of what was bought, at the end of the horizon.")
    overhead_usd: float = Field(description="Staff, storage, network and the like over the horizon, as stated.")
    usd_per_million_tokens_with_overhead: float
    api_usd: float | None = Field(
        description="Price that an API would ask for the tokens expected; null where none is stated."
    )
    pure: list[PureFleet] = Field(default=[], description="Fleets had in one way alone, where asked for (`pure`).")
    sites: list[SiteUse] = Field(
        default=[], description="Sites, with what stands and is served there; empty where the fleet has none."
    )
    months: list[MonthCost]
    purchases: list[PurchaseLine]
    periods: list[PeriodUse]
    pools: list[FleetPool]
    groups: list[GroupCost]
    workloads: list[WorkloadOutcome]
    predicted: list[WorkloadPrediction]
    meets_objectives: bool
    binding: list[str] = Field(description="Limits that are reached.")
    verified: str = "not simulated"
    solver: PortfolioReport
    step_time_error: float
    notes: list[str]
    fleet: dict[str, Any] = Field(description="Fleet as asked for, defaults filled in.")

    def to_records(
        self, of: Literal["purchases", "pools", "periods", "predicted"] = "purchases"
    ) -> list[dict[str, Any]]:
        """Flat dicts for a sheet: one for each purchase, or for each pool and period, period, or objective."""
        if of == "periods":
            return [
                {k: v for k, v in p.model_dump().items() if not isinstance(v, dict)}
                | {f"requests_per_s {name}": rate for name, rate in p.rates_per_s.items()}
                | {f"machines {name}": n for name, n in p.machines_by_plan.items()}
                for p in self.periods
            ]
        return [row.model_dump() for row in getattr(self, of)]
