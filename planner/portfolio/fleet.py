"""What is asked of a fleet: workloads with their own objectives or deadlines, and what may be had to serve them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
)
from pydantic import field_validator as on_field
from pydantic import model_validator as on_model

from planner.catalog.precedence import QuoteChoice
from planner.catalog.prices import PLAN_NAMES, PlanName
from planner.catalog.quantities import (
    Fraction,
    FractionOrZero,
    InterruptionsPerHour,
    Months,
    Seconds,
    UsdPerHour,
    UsdPerKwh,
    Watts,
)
from planner.catalog.schema import Precision
from planner.economics.finance import Payments
from planner.errors import near_misses
from planner.portfolio.batch import DAY_MINUTES
from planner.portfolio.fleet_workload import (
    STRICT,
    Day,
    DemandScenario,
    FleetWorkload,
    Growth,
    Slo,
    Usd,
    as_names,
    as_tuple,
)  # fmt: skip
from planner.portfolio.sites import SITE_NAME, Site
from planner.scenario.scenario import DEFAULT_OBJECTIVES, PAPER_MACHINES, Names, Scenario
from planner.workload.objectives import parse_objectives

# Fields of a scenario that every workload may have for itself, and that the fleet gives to those without.
SHARED = (
    "model", "runtime", "precision", "kv_precision", "machines", "design", "reference_machine", "max_utilisation",
    "profile", "network", "oversubscription", "prefix_cached", "tokens_per_step", "draft_tokens", "spares", "slo",
)  # fmt: skip


class Fleet(BaseModel):
    """Workloads to serve together, and what may be had for it. Every field but `workloads` has a default."""

    model_config = STRICT

    workloads: dict[str, FleetWorkload] = Field(description="Loads by name.", json_schema_extra={"minProperties": 1})
    sites: dict[str, Site] = Field(
        default={}, description="Places where machines may stand, by name; left out: one, with the fields of the fleet."
    )
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
    orders_months: Annotated[
        tuple[Months, ...], BeforeValidator(as_names, json_schema_input_type=Months | tuple[Months, ...])
    ] = Field(
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
    price_change_per_year: Annotated[
        tuple[Growth, ...], BeforeValidator(as_tuple, json_schema_input_type=Growth | tuple[Growth, ...])
    ] = Field(
        default=(),
        validation_alias=AliasChoices("price_change_per_year", "price_change"),
        description="Change of all prices, such as -10 %, or one for each year, the last of which holds on: later "
        "purchases cost so much less; rents follow each year.",
    )
    budget_by_year: Annotated[
        tuple[Usd, ...], BeforeValidator(as_tuple, json_schema_input_type=Usd | tuple[Usd, ...])
    ] = Field(
        default=(),
        description="Payments of each year at most, of the horizon, purchases at their price; the last holds on [USD].",
    )
    pure: bool = Field(
        default=False, description="Whether the fleet is also found all rented, all reserved and all owned."
    )
    users: int | None = Field(default=None, ge=1, description="People served, for the cost of one.")
    growth_per_month: Growth = Field(default=0.0, validation_alias=AliasChoices("growth_per_month", "growth"))
    scenarios: dict[str, DemandScenario] = Field(
        default={}, description="Courses of demand by name: what is owned and reserved serves all of them."
    )
    plans: Annotated[
        tuple[PlanName, ...], BeforeValidator(as_names, json_schema_input_type=PlanName | tuple[PlanName, ...])
    ] = Field(default=PLAN_NAMES, min_length=1, description="Price plans that may be used.")
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

    @on_field("sites", mode="after")
    @classmethod
    def _site_names(cls, value: dict[str, Site]) -> dict[str, Site]:
        for name in value:
            if not SITE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a site: letters, digits, dots, dashes, as eu-west-1")
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
        if self.sites and self.owned:
            raise ValueError("machines that are owned stand somewhere: give `owned` to their sites")
        for name, own in self.workloads.items():
            if own.sites is None:
                continue
            if not own.sites:
                raise ValueError(f"{name} may be served nowhere: give it a site, or leave sites out")
            for site in own.sites:
                if site not in self.sites:
                    near = near_misses(site, self.sites)
                    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(self.sites) or 'none'}"
                    raise ValueError(f"workload {name} names {site!r}, which is no site; {hint}")
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

    @on_model(mode="after")
    def _each_workload_is_a_scenario(self) -> Fleet:
        for name in self.workloads:
            try:
                self.scenario_of(name)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(map(str, first["loc"]))
                what = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"{field} of {name}: {what}" if field else f"{name}: {what}") from None
        return self

    def scenario_of(self, name: str) -> Scenario:
        """The scenario of one workload by itself: its own fields before those of the fleet."""
        own = self.workloads[name]
        fields = {
            field: mine if (mine := getattr(own, field)) is not None else getattr(self, field) for field in SHARED
        }
        if not fields["slo"]:
            fields["slo"] = parse_objectives(DEFAULT_OBJECTIVES)  # a scenario has some; they are dropped later
        load = own.load
        if not load and not own.has_own_rate:
            load = {"rate_per_s": 1.0}
        if own.workload is not None:
            fields["workload"] = own.workload
        return Scenario(
            **fields,
            **load,
            isl=own.isl,
            osl=own.osl,
            size_for=own.size_for,
            workload_columns=own.workload_columns,
            drop_failed=own.drop_failed,
            arrival_cv2=own.arrival_cv2,
            prices=self.prices,
            quotes=self.quotes,
            objective="machines",  # prices are looked up by plan, not on demand alone
            max_machines={machine: 0 for machine, most in self.max_machines.items() if most == 0},
            catalog=self.catalog,
            solver=self.solver,
            seed=self.seed,
        )

    def sites_of(self, name: str) -> tuple[str, ...]:
        """Sites where a workload may be served."""
        own = self.workloads[name].sites
        return tuple(self.sites) if own is None else tuple(dict.fromkeys(own))

    @property
    def prices_change(self) -> bool:
        """Whether prices are others in later years."""
        return any(self.price_change_per_year)

    def price_factor(self, month: float) -> float:
        """Prices of a month over those of the first day."""
        changes = self.price_change_per_year or (0.0,)
        years = int(month // 12)
        factor = 1.0
        for year in range(years):
            factor *= 1.0 + changes[min(year, len(changes) - 1)]
        return float(factor * (1.0 + changes[min(years, len(changes) - 1)]) ** (month / 12.0 - years))

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
