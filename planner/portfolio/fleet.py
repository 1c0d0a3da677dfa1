"""What is asked of a fleet: workloads with their own objectives or deadlines, and what may be had to serve them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)
from pydantic import field_validator as on_field
from pydantic import model_validator as on_model

from planner import units
from planner.catalog.precedence import QuoteChoice
from planner.catalog.prices import PLAN_NAMES, PlanName
from planner.catalog.quantities import (
    Fraction,
    FractionOrZero,
    InterruptionsPerHour,
    Months,
    PerS,
    Seconds,
    UsdPerHour,
    UsdPerKwh,
    Watts,
    read_quantity,
    schema_of,
)
from planner.catalog.schema import Precision
from planner.economics.finance import Payments
from planner.errors import TraceError, near_misses
from planner.portfolio.batch import DAY_MINUTES, BatchWork
from planner.scenario.scenario import DEFAULT_OBJECTIVES, MAX_RATE_PER_S, PAPER_MACHINES, Names, Scenario
from planner.scenario.scenario_file import is_trace_file
from planner.workload.day_shape import SHAPES
from planner.workload.objectives import Objective, parse_objectives
from planner.workload.traces import read_trace

STRICT = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)
NO_OBJECTIVES = ("none",)  # instead of a list: only utilisation and KV memory bound what a pool carries
# Fields of a scenario that every workload may have for itself, and that the fleet gives to those without.
SHARED = (
    "model", "runtime", "precision", "kv_precision", "machines", "design", "reference_machine", "max_utilisation",
    "profile", "network", "oversubscription", "prefix_cached", "tokens_per_step", "draft_tokens", "spares", "slo",
)  # fmt: skip


def _as_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _read_slo(value: object) -> object:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        if not value or tuple(v.strip().casefold() for v in value) == NO_OBJECTIVES:
            return ()
        return parse_objectives(value, where="slo")
    if value is None or isinstance(value, (list, tuple)):
        return value
    raise ValueError("must be an objective like ttft=1s, a list of them, or none")


Slo = Annotated[tuple[Objective, ...], BeforeValidator(_read_slo)]


def _reader(dimension: units.Dimension, low: float, high: float) -> BeforeValidator:
    """As the quantities of the catalog, within bounds that are only a fleet's."""

    def read(value: object, info: ValidationInfo) -> float:
        number = read_quantity(value, dimension, info)
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g} (got {value!r})")
        return number

    return BeforeValidator(read)


Growth = Annotated[float, _reader(units.FRACTION, -0.5, 1.0), schema_of(units.FRACTION)]
RateFactor = Annotated[float, Field(ge=0, le=1000)]


class DayPart(BaseModel):
    """Some hours of a day, and the rate in them over the stated one."""

    model_config = STRICT

    hours: float = Field(gt=0)
    rate: RateFactor


def _read_day(value: object) -> object:
    """A shape by name, 24 numbers, one an hour, or parts with hours and rate, as parts."""
    if isinstance(value, str):
        if value not in SHAPES:
            near = near_misses(value, SHAPES)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SHAPES)}; or give 24 numbers"
            raise ValueError(f"unknown shape of a day {value!r}; {hint}")
        value = SHAPES[value].weights
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
        if len(value) != 24:
            raise ValueError(f"a day has 24 hours, this one has {len(value)} numbers")
        return tuple({"hours": 1.0, "rate": v} for v in value)
    if isinstance(value, (list, tuple)) and value:
        return tuple(value)
    raise ValueError(
        "must be a shape (flat, office, consumer), 24 numbers, or parts such as "
        "[{hours: 8, rate: 1}, {hours: 16, rate: 0.4}]"
    )


def _whole_day(parts: tuple[DayPart, ...]) -> tuple[DayPart, ...]:
    hours = sum(p.hours for p in parts)
    if abs(hours - 24.0) > 1e-9:
        raise ValueError(f"a day has 24 hours, this one has {hours:g}")
    if any(abs(p.hours * 60.0 - round(p.hours * 60.0)) > 1e-9 for p in parts):
        raise ValueError("parts of a day are whole minutes long")
    if not any(p.rate > 0 for p in parts):
        raise ValueError("at some hour of the day the rate must be above 0")
    return parts


Day = Annotated[tuple[DayPart, ...], BeforeValidator(_read_day), AfterValidator(_whole_day)]


class DemandScenario(BaseModel):
    """One course that demand may take."""

    model_config = STRICT

    probability: Fraction
    rate: RateFactor = Field(default=1.0, description="Demand of all workloads over the stated one.")
    rates: dict[str, RateFactor] = Field(default={}, description="The same by workload, where they differ.")


class FleetWorkload(BaseModel):
    """One workload: what arrives, and what is promised. Fields left out are those of the fleet."""

    model_config = STRICT

    workload: str | None = Field(default=None, description="A workload of the catalog, or a trace file.")
    workload_columns: dict[str, str] | None = Field(default=None, description="Columns of a trace, as in a scenario.")
    prompt_tokens: int | None = Field(default=None, ge=1, description="Tokens of every prompt, without a workload.")
    output_tokens: int | None = Field(default=None, ge=1, description="Tokens of every answer, without a workload.")
    rate_per_s: PerS | None = Field(default=None, validation_alias=AliasChoices("rate_per_s", "rate"))
    drop_failed: bool = Field(default=False, description="Whether failed requests of a trace are left out.")
    batch: BatchWork | None = Field(
        default=None, description="Work with a deadline, in place of a rate and objectives."
    )
    arrival_cv2: float | None = Field(default=None, gt=0, le=1000)
    size_buckets: tuple[int, ...] = Field(
        default=(), description="Prompt tokens at which requests may be routed to pools of their own."
    )
    slo: Slo | None = Field(default=None, description="Latency objectives; `none` for throughput alone.")
    day: Day | None = Field(default=None, description="Rate through the day, over the stated one.")
    growth_per_month: Growth | None = Field(
        default=None,
        validation_alias=AliasChoices("growth_per_month", "growth"),
        description="Growth of the rate a month, such as 2 %.",
    )
    max_spot: FractionOrZero | None = Field(default=None, description="Share of its machines that may be spot.")
    model: str | None = None
    runtime: str | None = None
    precision: Precision | None = None
    kv_precision: Precision | None = None
    machines: Names | None = None
    design: str | None = None
    reference_machine: str | None = None
    max_utilisation: Fraction | None = None
    profile: str | None = Field(default=None, description="Table of measured step times.")
    network: str | None = Field(default=None, description="Network of all machines, in place of the catalog's.")
    oversubscription: float | None = Field(default=None, ge=1, le=1000)
    prefix_cached: FractionOrZero | None = None
    tokens_per_step: float | None = Field(default=None, ge=1)
    draft_tokens: int | None = Field(default=None, ge=0, le=64)
    spares: int | None = Field(default=None, ge=0, le=1000, description="Machines of each pool that may fail.")

    @on_model(mode="before")
    @classmethod
    def _given_once(cls, data: object) -> object:
        for short, full in (("rate", "rate_per_s"), ("growth", "growth_per_month")):
            if isinstance(data, Mapping) and short in data and full in data:
                raise ValueError(f"{short} and {full} are one field, given twice")
        return data

    @on_model(mode="after")
    def _is_one_thing(self) -> FleetWorkload:
        own = self.workload is not None and is_trace_file(self.workload)  # a trace has a rate of its own
        if (self.rate_per_s is None) == (self.batch is None) and not (own and self.rate_per_s is None):
            raise ValueError("give either a rate (requests that are answered at once) or batch (work with a deadline)")
        sizes = (self.prompt_tokens, self.output_tokens)
        if (self.workload is None) == (None in sizes) or (self.workload is not None and any(sizes)):
            raise ValueError(
                "give either a workload (a name of the catalog, or a trace), or prompt_tokens and output_tokens"
            )
        if self.batch is not None and self.slo:
            raise ValueError("batch work has its deadline in place of latency objectives: leave slo out")
        if self.batch is not None and self.size_buckets:
            raise ValueError("batch work is not cut into size_buckets: leave them out")
        if self.batch is not None and self.day is not None:
            raise ValueError("batch work has its arrivals and deadline in place of a day: leave day out")
        if self.rate_per_s is not None and self.rate_per_s > MAX_RATE_PER_S:
            raise ValueError(f"{self.rate_per_s:g} requests/s is more than all the world sends; at most 1e7/s")
        return self

    @on_field("size_buckets", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @on_field("size_buckets", mode="after")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in zip((0, *value), value, strict=False)):
            raise ValueError("must rise from above 0, such as [1024, 4096]")
        return value


class Fleet(BaseModel):
    """Workloads to serve together, and what may be had for it. Every field but `workloads` has a default."""

    model_config = STRICT

    workloads: dict[str, FleetWorkload] = Field(description="Loads by name.", json_schema_extra={"minProperties": 1})
    sharing: Literal["separate", "shared", "auto"] | tuple[tuple[str, ...], ...] = Field(
        default="auto",
        description="Whether workloads of one model may be served by common pools: `separate`, `shared`, `auto` "
        "(whichever costs least), or lists of names that share.",
    )
    model: str = Field(default="llama-3.1-70b", description="An LLM of the catalog, for workloads that name none.")
    runtime: str = "vllm-2026"
    precision: Precision | None = None
    kv_precision: Precision | None = None
    machines: Names = Field(default=PAPER_MACHINES, description="Machines to consider; `all` is every one.")
    design: str = "auto"
    slo: Slo = parse_objectives(DEFAULT_OBJECTIVES)
    reference_machine: str = "dgx-a100"
    max_utilisation: Fraction = 0.9
    profile: str | None = None
    network: str | None = Field(default=None, description="Network of all machines, in place of the catalog's.")
    oversubscription: float | None = Field(default=None, ge=1, le=1000)
    prefix_cached: FractionOrZero | None = None
    tokens_per_step: float | None = Field(default=None, ge=1)
    draft_tokens: int | None = Field(default=None, ge=0, le=64)
    spares: int = Field(default=0, ge=0, le=1000)
    day: Day | None = Field(default=None, description="Rate through the day over the stated one; left out: constant.")
    weekend: FractionOrZero = Field(
        default=1.0, description="Rates on Saturdays and Sundays over those of other days; batch work comes every day."
    )
    periods_a_day: int | None = Field(
        default=None, ge=1, le=1440, description="Parts of a day at most; neighbours are merged at their highest rate."
    )
    horizon_months: Months = Field(default=12.0, validation_alias=AliasChoices("horizon_months", "horizon"), le=240)
    stage_months: Months | None = Field(
        default=None,
        validation_alias=AliasChoices("stage_months", "stage"),
        description="Months that one day stands for, at the demand of the last of them; default 1, or as many more as "
        "keep the periods few.",
    )
    orders_months: Annotated[tuple[Months, ...], BeforeValidator(_as_names)] = Field(
        default=(),
        validation_alias=AliasChoices("orders_months", "orders"),
        description="Months at which machines may be bought or reserved beside the first day: [1 year, 2 years].",
    )
    overhead_usd_per_month: float = Field(
        default=0.0,
        ge=0,
        description="Overhead of serving oneself beside machines: staff, storage, network [USD/month].",
    )
    api_usd_per_million_tokens: float | None = Field(
        default=None,
        gt=0,
        description="Price that an API asks for a million tokens, prompts and answers, to compare with [USD].",
    )
    payments: Payments = Field(default="arrears", description="Whether months are paid at their end, or in advance.")
    price_change_per_year: Growth = Field(
        default=0.0,
        validation_alias=AliasChoices("price_change_per_year", "price_change"),
        description="Change of all prices, such as -10 %: later purchases cost so much less; rents follow each year.",
    )
    growth_per_month: Growth = Field(default=0.0, validation_alias=AliasChoices("growth_per_month", "growth"))
    scenarios: dict[str, DemandScenario] = Field(
        default={}, description="Courses of demand by name: what is owned and reserved serves all of them."
    )
    plans: Annotated[tuple[PlanName, ...], BeforeValidator(_as_names)] = Field(
        default=PLAN_NAMES, min_length=1, description="Price plans that may be used."
    )
    owned: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={}, description="Machines that are owned already, and are kept."
    )
    roles: Literal["flexible", "fixed"] = Field(
        default="flexible",
        description="Whether machines that are owned or reserved may change group and role between parts of a day.",
    )
    change_cost_usd: float = Field(
        default=0.0,
        ge=0,
        description="Cost of each machine that starts, or changes group or role, between parts of a day.",
    )
    start: datetime.date | None = Field(default=None, description="First day, from which deliveries are counted.")
    max_spot: FractionOrZero = Field(default=0.0, description="Share of a group's machines that may be spot.")
    on_demand_floor: FractionOrZero = Field(
        default=0.0, description="Share of the rented machines of a type that must not be spot."
    )
    spot_interruptions_per_hour: InterruptionsPerHour | None = Field(
        default=None,
        validation_alias=AliasChoices("spot_interruptions_per_hour", "spot_interruptions"),
        description="Interruption rate where the price book does not say, such as 0.02/h.",
    )
    spot_recovery_s: Seconds = Field(
        default=900.0,
        validation_alias=AliasChoices("spot_recovery_s", "spot_recovery"),
        description="Time that an interruption costs until another machine serves.",
    )
    electricity_usd_per_kwh: UsdPerKwh = Field(
        default=0.086, validation_alias=AliasChoices("electricity_usd_per_kwh", "electricity")
    )
    pue: float = Field(default=1.54, ge=1)
    cost_of_capital_per_year: FractionOrZero = Field(
        default=0.08, validation_alias=AliasChoices("cost_of_capital_per_year", "cost_of_capital")
    )
    prices: Names = Field(default=(), description="Price books that go before the default ones.")
    quotes: QuoteChoice = Field(
        default="cheapest",
        description="Choice between vendors: the cheapest price that has not expired, or the newest.",
    )
    max_rented: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={}, description="Most of a machine on demand and spot at any time: quota."
    )
    max_machines: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={}, description="Most of a machine at any time, however it is had."
    )
    max_total_machines: int | None = Field(default=None, ge=1, description="Most of all together at any time.")
    max_power_w: Watts | None = Field(
        default=None,
        validation_alias=AliasChoices("max_power_w", "max_power"),
        description="Rated power of all machines at any time.",
    )
    max_rack_units: int | None = Field(default=None, ge=1, description="Rack units of all machines at any time.")
    max_cost_usd_per_hour: UsdPerHour | None = Field(
        default=None,
        validation_alias=AliasChoices("max_cost_usd_per_hour", "max_cost"),
        description="Budget: mean cost over all hours.",
    )
    catalog: Names = Field(default=(), description="Catalog overlays.")
    solver: Literal["highs", "cbc"] = "highs"
    gap: FractionOrZero = Field(default=0.0, lt=1, description="Relative gap to the bound at which to stop.")
    time_limit_s: float = Field(default=300.0, gt=0, le=86400)
    seed: int = Field(default=0, ge=0)

    @on_field("workloads", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        if value is None or (isinstance(value, (Mapping, list, tuple)) and not value):
            raise ValueError("there are no workloads: give at least one, as name: {workload: ..., rate: ...}")
        if isinstance(value, (list, tuple)):
            raise ValueError("must be names with fields, as chat: {workload: azure-conv-2023, rate: 70/s}")
        return value

    @on_field("machines", mode="after")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must not be empty")
        return value

    @on_model(mode="after")
    def _names_are_those_of_workloads(self) -> Fleet:
        for name, scenario in self.scenarios.items():
            for workload in scenario.rates:
                if workload not in self.workloads:
                    near = near_misses(workload, self.workloads)
                    hint = f"; did you mean {', '.join(near)}?" if near else ""
                    raise ValueError(f"scenario {name} names {workload!r}, which is no workload{hint}")
        total = sum(s.probability for s in self.scenarios.values())
        if self.scenarios and abs(total - 1.0) > 1e-6:
            raise ValueError(f"probabilities of the scenarios sum to {total:g}, not to 1")
        for machine, n in self.owned.items():
            if machine in self.max_machines and self.max_machines[machine] < n:
                raise ValueError(
                    f"max_machines allows {self.max_machines[machine]} of {machine}, and {n} are owned already: "
                    "raise it, or own fewer"
                )
        dated = [name for name, own in self.workloads.items() if own.batch is not None and own.batch.is_dated]
        if dated and self.horizon_months > 12.0:
            raise ValueError(
                f"{dated[0]} is one job of a certain day: plan it without a horizon, or give times of day for work "
                "that comes every day"
            )
        return self

    @on_model(mode="after")
    def _groups_name_workloads(self) -> Fleet:
        if isinstance(self.sharing, str):
            return self
        named = [name for group in self.sharing for name in group]
        for name in named:
            if name not in self.workloads:
                near = near_misses(name, self.workloads)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise ValueError(f"sharing names {name!r}, which is no workload{hint}")
            if named.count(name) > 1:
                raise ValueError(f"sharing names {name!r} twice: a workload is in one group")
        return self

    def scenario_of(self, name: str) -> Scenario:
        """The scenario of one workload by itself: its own fields before those of the fleet."""
        own = self.workloads[name]
        fields = {
            field: mine if (mine := getattr(own, field)) is not None else getattr(self, field) for field in SHARED
        }
        if not fields["slo"]:
            fields["slo"] = parse_objectives(DEFAULT_OBJECTIVES)  # a scenario has some; they are dropped later
        return Scenario(
            **fields,
            workload=own.workload or "azure-conv-2023",
            workload_columns=own.workload_columns,
            drop_failed=own.drop_failed,
            arrival_cv2=own.arrival_cv2,
            rate_per_s=own.rate_per_s or 1.0,
            prices=self.prices,
            quotes=self.quotes,
            objective="machines",  # prices are looked up by plan, not on demand alone
            max_machines={machine: 0 for machine, most in self.max_machines.items() if most == 0},
            catalog=self.catalog,
            solver=self.solver,
            seed=self.seed,
        )

    @property
    def allows_spot(self) -> bool:
        """Whether any workload may run on spot machines."""
        return any(self.spot_share_of(name) > 0 for name in self.workloads)

    def spot_share_of(self, name: str) -> float:
        """Share of a workload's machines that may be spot."""
        own = self.workloads[name].max_spot
        return self.max_spot if own is None else own

    def growth_of(self, name: str) -> float:
        """Growth of a workload's demand a month."""
        own = self.workloads[name].growth_per_month
        return self.growth_per_month if own is None else own

    def shape_of(self, name: str) -> list[tuple[int, float]]:
        """Rate of a workload through the day, as minutes and factor."""
        day = self.workloads[name].day or self.day
        return [(round(p.hours * 60.0), p.rate) for p in day] if day else [(DAY_MINUTES, 1.0)]

    def has_objectives(self, name: str) -> bool:
        """Whether a workload has latency objectives."""
        own = self.workloads[name]
        return own.batch is None and bool(self.slo if own.slo is None else own.slo)

    def dump(self) -> dict[str, Any]:
        """JSON-ready form that `Fleet.model_validate` reads back; objectives as text."""
        data = self.model_dump(mode="json")
        data["slo"] = [str(o) for o in self.slo]
        for name, workload in self.workloads.items():
            if workload.slo is not None:
                data["workloads"][name]["slo"] = [str(o) for o in workload.slo]
        return data


def at_their_own_rates(fleet: Fleet) -> Fleet:
    """The fleet with the rate of each trace that has none stated.

    Raises
    ------
    TraceError
        A trace that has no rate of its own.
    """
    rates: dict[str, float] = {}
    for name, own in fleet.workloads.items():
        if own.rate_per_s is None and own.batch is None and own.workload is not None:
            trace = read_trace(own.workload, columns=own.workload_columns, drop_failed=own.drop_failed)
            if not trace.rate_per_s:
                raise TraceError(
                    "this trace has no rate of its own", where=own.workload, rule="timestamps that differ",
                    fix=f"give workloads.{name} a rate, or name the timestamps in workload_columns",
                )  # fmt: skip
            rates[name] = trace.rate_per_s
    if not rates:
        return fleet
    workloads = {
        name: own.model_copy(update={"rate_per_s": rates[name]}) if name in rates else own
        for name, own in fleet.workloads.items()
    }
    return fleet.model_copy(update={"workloads": workloads})
