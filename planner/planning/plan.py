"""The plan: what a buyer signs, and what `--format json` prints.

`PLAN_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
Quantities are base-unit numbers with the unit in the field's name.
"""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import Field

from planner.catalog.prices import PlanName
from planner.catalog.schema import SourceKind
from planner.planning.certificate import Certificate, Result

PLAN_SCHEMA_VERSION = "1.0"
HOURS_PER_MONTH = 730.0


class Prediction(Result):
    """One objective against what the model predicts."""

    objective: str = Field(description="Canonical text, such as ttft.p99=1s.")
    metric: Literal["ttft", "tbt", "e2e"]
    percentile: float
    limit: float = Field(description="Limit in `unit`.")
    predicted: float | None = Field(description="Predicted percentile in `unit`; null where the queue is unstable.")
    unit: Literal["s", "x"] = Field(description="Seconds, or a slowdown against the reference machine.")
    slack_fraction: float | None = Field(
        description="Slack: 1 - predicted / limit; negative where the objective is missed."
    )
    met: bool = Field(description="Verdict as predicted; whether it holds in simulation is in `certificate`.")
    margin_low: float | None = Field(
        default=None,
        description="Before simulation, the simulated percentile is expected from 1 + margin_low to 1 + margin_high "
        "times the predicted one: the worst errors over simulated clusters like this one. Null where none is like it.",
    )
    margin_high: float | None = Field(default=None, description="See margin_low.")


class Percentiles(Result):
    """Predicted percentiles of one metric over all requests [s]."""

    metric: Literal["ttft", "tbt", "e2e"]
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None


class PoolPlan(Result):
    """One pool of like machines in one role."""

    role: Literal["prefill", "decode", "mixed"]
    machine: str
    count: int = Field(description="Machines that carry the load.")
    spares: int = Field(description="Machines beside them that may fail.")
    layout: str = Field(description="Replicas a machine and parallel degrees: 1 x TP8.")
    tensor_parallel: int
    pipeline_parallel: int
    expert_parallel: int
    attention_data_parallel: int = Field(default=1, description="Groups of ranks with sequences of their own.")
    replicas_per_machine: int
    machines_per_replica: int = Field(default=1, description="`count` is of groups of as many machines.")
    precision: str
    takes_from: str | None = Field(description="Machine of the prefill pool that a decode pool serves.")
    rate_per_s: float = Field(description="Requests it carries [requests/s].")
    capacity_per_s: float = Field(description="Requests it could carry within every objective [requests/s].")
    utilisation: float = Field(description="Share of the rate at which it would be busy all the time.")
    binding: str = Field(description="Limit that binds its capacity.")
    cost_usd_per_hour: float | None = Field(description="Spares included; null without a price.")
    power_w: float = Field(description="Power, rated, spares included [W].")
    expected_power_w: float = Field(description="Mean draw at this load, from the power model [W].")
    power_scope: Literal["machine", "facility"] = Field(
        description=(
            "Scope of these power figures; facility: they contain the facility's share, so PUE does not apply to them."
        )
    )
    accelerators_per_machine: int | None = Field(default=None, description="Accelerators of one machine.")
    prompt_time_fraction: float | None = Field(
        default=None, description="Share of its busy time that computes prompts: 1 of prefill, 0 of decode."
    )


class PriceUsed(Result):
    """A price the plan rests on."""

    machine: str
    usd_per_hour: float
    plan: PlanName = Field(default="on_demand", description="Price plan that it is of.")
    book: str
    provider: str
    date: datetime.date
    kind: SourceKind
    source: str
    currency: str = Field(default="USD", description="Currency of the price book.")
    usd_per_unit: float = Field(default=1.0, description="Exchange rate: US dollars for one unit of that currency.")
    exchange_date: datetime.date | None = Field(
        default=None, description="Date of the rate; null where the book is in USD."
    )


class SiteElectricity(Result):
    """Where the electricity of a site comes from."""

    site: str
    region: str
    carbon_g_per_kwh: float
    carbon_date: datetime.date
    usd_per_kwh: float
    pue: float = Field(description="Facility over machines; not applied to machines whose figures are of the facility.")
    kind: SourceKind = Field(description="Kind of the carbon intensity.")
    source: str


class EnergyUse(Result):
    """Electricity of a plan at its expected draw, the facility's share included."""

    facility_power_w: float = Field(description="Mean draw of the facility at this load [W].")
    energy_kwh_per_hour: float
    cost_usd_per_hour: float = Field(description="Cost of electricity. A rent contains it; who owns pays it.")
    carbon_kg_per_hour: float = Field(description="CO2-equivalent, location-based, at the expected draw [kg/h].")
    rated_carbon_kg_per_hour: float = Field(description="The same at rated power: the objective `carbon` [kg/h].")
    sites: list[SiteElectricity]


class NearTieReport(Result):
    """The optimum, in whose place a simpler plan was chosen."""

    value: float = Field(description="Value of the objective.")
    n_machines: int = Field(description="Machines, spares included.")
    n_pools: int
    n_types: int = Field(description="Machine types.")


class SolverReport(Result):
    """How the answer was found and proven."""

    status: Literal["optimal", "near_tie", "limit", "evaluated"] = Field(
        description="near_tie: a plan with fewer pools or machine types than the optimum, and nearly as good."
    )
    solver: str
    objective: str
    value: float
    bound: float
    gap: float
    rounds: int = Field(description="Solves until every chosen count was exact.")
    candidates: int = Field(description="Pools considered.")
    enumeration: float | None = Field(description="Best value of plans with one or two pools, found by enumeration.")
    rows_checked: bool = Field(description="Whether every row was recomputed independently of the solver.")
    near_tie: NearTieReport | None = Field(default=None, description="The optimum, where status is near_tie.")


class Alternative(Result):
    """The best plan of another design."""

    design: str
    pools: str
    value: float = Field(description="Value of the plan's objective.")
    cost_usd_per_hour: float | None
    power_w: float
    machines: int
    counts: dict[str, int] = Field(description="Machines of each type, spares included.")
    relative: float = Field(description="Excess of its objective over the plan's, as a share.")


class RejectedMachine(Result):
    """A machine that cannot serve, and why."""

    machine: str
    reason: str


class Standing(Result):
    """Why a machine is in a plan, or is not. As predicted: no simulation stands behind it."""

    machine: str
    status: Literal[
        "chosen", "dearer", "near", "equal", "refused", "limits", "unreachable", "does_not_fit", "unsupported",
        "no_price", "old_price", "no_stock", "not_named", "broken", "unknown",
    ] = Field(description="Kind of the reason.")  # fmt: skip
    reason: str = Field(description="Reason in one line.")
    pools: str | None = Field(default=None, description="Best plan with it, spares included; null where there is none.")
    machines: int | None = Field(default=None, description="Machines of it in that plan, or in the plan chosen.")
    value: float | None = Field(default=None, description="Objective of that plan; null where it has no price.")
    relative: float | None = Field(default=None, description="Excess of that over the plan's, as a share.")
    wins_below_usd_per_hour: float | None = Field(
        default=None, description="Price of a machine below which its plan costs less than the one chosen [USD/h]."
    )
    would_take: list[str] = Field(default=[], description="Changes that would let it be chosen, each by itself.")


class Plan(Result):
    """A cluster with its predictions, costs and proof."""

    schema_version: str = PLAN_SCHEMA_VERSION
    planner_version: str
    catalog_digest: str
    design: str = Field(description="Baseline-H100, Splitwise-HA, ...; `mixed fleet` where several types share a role.")
    model: str
    runtime: str
    precision: str
    workload: str
    rate_words: str = Field(default="", description="Words for a rate that was not asked for: `its own rate`.")
    demand_rate_per_s: float
    rate_per_s: float = Field(description="Carried: the demand, or the largest throughput.")
    mean_prompt_tokens: float = Field(description="Prompt tokens of a request.")
    mean_output_tokens: float = Field(description="Output tokens of a request.")
    meets_objectives: bool = Field(
        description="Verdict on all objectives: as simulated where it was, else as predicted."
    )
    pools: list[PoolPlan]
    machines: int
    cost_usd_per_hour: float | None
    cost_usd_per_month: float | None = Field(description="Cost of 730 hours.")
    cost_usd_per_million_tokens: float | None = Field(description="Prompt and output tokens together.")
    prompt_tokens_per_hour: float | None = Field(default=None, description="Served at this load.")
    output_tokens_per_hour: float | None = None
    accelerators: int | None = Field(default=None, description="Accelerators of all machines, spares included.")
    output_tokens_per_s_per_accelerator: float | None = Field(
        default=None, description="Output tokens of one accelerator at this load [tokens/s]."
    )
    output_tokens_per_s_per_user: float | None = Field(
        default=None, description="Output tokens of one user, at the median time between tokens [tokens/s]."
    )
    cost_usd_per_million_prompt_tokens: float | None = Field(
        default=None, description="Cost of a million prompt tokens: that of the time spent on prompts [USD]."
    )
    cost_usd_per_million_output_tokens: float | None = Field(
        default=None, description="Cost of a million output tokens: that of the rest of the time [USD]."
    )
    power_w: float = Field(description="Rated [W].")
    expected_power_w: float = Field(description="Mean draw at this load [W].")
    expected_power_error: float | None = Field(
        default=None,
        description="Error, stated and relative, of that draw; null in plans of versions that did not know it.",
    )
    rack_units: int | None
    energy: EnergyUse | None = Field(
        default=None, description="Energy; null in plans of versions that did not know it."
    )
    predicted: list[Prediction]
    percentiles: list[Percentiles]
    too_large_fraction: float = Field(
        default=0.0,
        description="Share of requests that the machines on their way can never hold; they miss every objective.",
    )
    headroom: float = Field(description="Load multiple at which the first objective breaks.")
    verified: str = Field(description="Words on the proof: `not simulated`, or how the plan was simulated.")
    certificate: Certificate | None = Field(
        description="Certificate: what simulation says; null where it was not asked."
    )
    solver: SolverReport
    alternatives: list[Alternative]
    rejected: list[RejectedMachine]
    standings: list[Standing] = Field(
        default=[], description="Reasons, as predicted, why each machine that was named is not chosen."
    )
    prices: list[PriceUsed]
    alternative_prices: list[PriceUsed] = Field(description="Prices of machines that only the alternatives use.")
    step_time_error: float = Field(description="Largest stated error of the step times used, as a fraction.")
    step_time_basis: str = Field(default="", description="Basis of that error, or what was not measured.")
    notes: list[str]
    scenario: dict[str, Any] = Field(description="Scenario: everything that was asked for, defaults filled in.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a pool, with the plan's totals repeated: rows for a spreadsheet."""
        totals = {
            "design": self.design,
            "model": self.model,
            "workload": self.workload,
            "demand_rate_per_s": self.demand_rate_per_s,
            "plan_cost_usd_per_hour": self.cost_usd_per_hour,
            "plan_power_w": self.power_w,
        }
        return [totals | pool.model_dump() for pool in self.pools]
