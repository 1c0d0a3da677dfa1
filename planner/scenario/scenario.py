"""One validated object that holds everything the user asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from planner import units
from planner.catalog.precedence import QuoteChoice
from planner.catalog.quantities import (
    Fraction,
    FractionOrZero,
    PerS,
    Seconds,
    UsdPerHour,
    UsdPerKwh,
    Watts,
    read_quantity,
)
from planner.catalog.schema import Precision
from planner.economics.energy import DEFAULT_PUE, DEFAULT_REGION
from planner.errors import PlannerError, UnitError
from planner.scenario.supposition import NOTHING_SUPPOSED, Supposition
from planner.workload.objectives import Objective, parse_objectives
from planner.workload.rates import is_token_rate, read_token_rate
from planner.workload.stated import read_tokens

ALL_MACHINES = "all"
CURRENT_MACHINES = "current"
DEFAULT_MACHINES = (CURRENT_MACHINES,)
PAPER_MACHINES = ("dgx-a100", "dgx-h100")  # of the Splitwise paper, at its prices of 2023
MACHINES_VARIABLE = "PLANNER_MACHINE"
DEFAULT_OBJECTIVES = ("ttft.p99=1s", "tbt.p99=200ms")
TRACE_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json", ".gz", ".txt", ".tsv")
DEFAULT_RATE_PER_S = 70.0  # of a workload that has no rate of its own
# Fields that say how much comes; a scenario has one of them.
LOADS = (
    "rate_per_s", "prompt_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s", "users", "concurrency",
)  # fmt: skip
MAX_RATE_PER_S = 1e7  # above this a "request rate" is a slip of the keyboard


def default_machines() -> tuple[str, ...]:
    """The machines that the environment names, for the shell and for Python alike; else every current one."""
    return tuple(os.environ.get(MACHINES_VARIABLE, "").split()) or DEFAULT_MACHINES


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, (str, Path)) else value


# Objectives as text, such as ttft=1s, or field by field.
ObjectivesInput = str | tuple[str, ...] | tuple[Objective, ...]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...])]


def with_token_rate(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields with a rate of tokens under the name that says whose tokens they are.

    Raises
    ------
    ValueError
        A rate of tokens of which it is not said whether they go in or out.
    """
    for name in ("rate", "rate_per_s"):
        if is_token_rate(data.get(name)):
            try:
                rate, side = read_token_rate(str(data[name]), where=name)
            except UnitError as error:
                raise ValueError(f"{error.what} (got {data[name]!r}); {error.fix}") from None
            return {k: v for k, v in data.items() if k != name} | {f"{side}_tokens_per_s": f"{rate!r}/s"}
    return data


class Scenario(BaseModel):
    """What to serve, on what, how well and to which end. Every field has a default.

    Quantities may be strings with units (`rate="70/s"`) or base-unit numbers under the name that carries the unit
    (`rate_per_s=70.0`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, defer_build=True)

    model: str = Field(default="llama-3.1-70b", description="An LLM of the catalog.")
    workload: str = Field(default="azure-conv-2023", description="A workload of the catalog, or a trace file.")
    workload_columns: dict[str, str] | None = Field(
        default=None, description="Columns of a trace: prompt, output, timestamp -> name in the file."
    )
    prompt_output_ratio: float | None = Field(
        default=None,
        ge=1e-3,
        le=1e5,
        description="Scale the workload to this ratio of mean prompt to mean output tokens, with as many tokens a "
        "request as it has.",
    )
    rate_per_s: PerS | None = Field(
        default=None,
        validation_alias=AliasChoices("rate_per_s", "rate"),
        description="Requests that come [1/s]; default the trace's own rate, or 70/s. In a file also a rate of tokens, "
        "`5000 output tokens/s`.",
    )
    prompt_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in prompt tokens [tokens/s].")
    output_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in output tokens [tokens/s].")
    total_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in tokens in and out [tokens/s].")
    users: int | None = Field(
        default=None, le=10_000_000, description="Users, each of whom sends, waits for the answer and thinks."
    )
    think_time_s: Seconds | None = Field(
        default=None,
        validation_alias=AliasChoices("think_time_s", "think_time"),
        description="Time from an answer to the user's next request [s].",
    )
    concurrency: int | None = Field(
        default=None, le=10_000_000, description="Requests under way at any time: a new one whenever one is answered."
    )
    day: str | tuple[float, ...] | None = Field(
        default=None,
        description="Shape of the day over which the rate is the mean: flat, office, consumer, 24 numbers or a trace "
        "of a day; the plan is sized for the busiest hour.",
    )
    size_for: Literal["mean", "p95-minute", "peak-minute"] = Field(
        default="mean", description="Level of a trace's rate that the plan is sized for."
    )
    isl: str | float | None = Field(
        default=None,
        description="Prompt tokens in place of the workload's: 3000, 3000+-500, 100..4000, p50=1020,p90=2734,p99=4142.",
    )
    osl: str | float | None = Field(default=None, description="Output tokens in place of the workload's, as `isl`.")
    drop_failed: bool = Field(default=False, description="Whether failed requests of a trace are left out.")
    arrival_cv2: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Squared CV of gaps between arrivals: 0 is even; default the workload's, or 1.",
    )
    slo: tuple[Objective, ...] = Field(default=parse_objectives(DEFAULT_OBJECTIVES), min_length=1)
    machines: Names = Field(
        default_factory=default_machines,
        description="Machines to consider; `current` is every one with a current price, `all` every one.",
    )
    preset: Literal["splitwise"] | None = Field(
        default=None, description="Set of machines where none is named: `splitwise`, the paper's dgx-a100 and dgx-h100."
    )
    design: str = "auto"
    objective: Literal["cost", "power", "energy", "machines", "carbon", "throughput"] = "cost"
    runtime: str = "vllm-2026"
    prefix_cached: FractionOrZero | None = Field(
        default=None,
        description="Share of prompt tokens whose KV cache is there already; default the workload's, or 0.",
    )
    tokens_per_step: float | None = Field(
        default=None, ge=1, description="Tokens a sequence gets from a decode step; default the runtime's."
    )
    draft_tokens: int | None = Field(
        default=None, ge=0, le=64, description="Draft tokens verified a sequence and step; default the runtime's."
    )
    speculate: int | None = Field(
        default=None, ge=0, le=16, description="Draft tokens of the model's own head, at the acceptance; 0: none."
    )
    acceptance: FractionOrZero | None = Field(
        default=None, description="Probability that a draft token is accepted; default what the model's file states."
    )
    precision: Precision | None = Field(default=None, description="Precision of the weights; default as released.")
    kv_precision: Precision | None = None
    max_batch: int | None = Field(
        default=None, ge=1, le=100_000, description="Sequences that a server decodes together; default the runtime's."
    )
    batched_tokens: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Tokens in a step of a server; default the runtime's."
    )
    chunked: bool | None = Field(
        default=None, description="Whether servers compute prompts in chunks, not whole; default as the runtime does."
    )
    derate: float = Field(
        default=1.0,
        ge=0.01,
        le=1.0,
        description="Speed of the servers over the model's: 0.8 where they are known slower.",
    )
    network: str | None = Field(
        default=None,
        description="Put every machine on this network: a fabric (`ethernet-25g`), a NIC's line rate (`25Gbit/s`), or "
        "either with a number of ports (`2 x ethernet-25g`). Default each machine's own.",
    )
    oversubscription: float | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Bandwidth of all ports over what the switches above them carry; default the fabric's, mostly 1.",
    )
    reference_machine: str = Field(default="dgx-a100", description="Reference against which slowdowns are measured.")
    prices: Names = Field(default=(), description="Price books that go before the default ones.")
    plan: Names = Field(
        default=(),
        description="Price plan of all machines (`reserved_1y`), or of one (`dgx-h100=owned`); default on_demand.",
    )
    quotes: QuoteChoice = Field(
        default="cheapest",
        description="Choice between vendors: the cheapest price that has not expired, or the newest.",
    )
    region: Names = Field(
        default=(DEFAULT_REGION,),
        description="Region where electricity comes from, or `SITE=REGION` for one site's machines.",
    )
    electricity_usd_per_kwh: UsdPerKwh | None = Field(
        default=None,
        validation_alias=AliasChoices("electricity_usd_per_kwh", "electricity"),
        description="Price of electricity; default the region's, else 0.086 USD/kWh. Rented prices contain it.",
    )
    pue: float = Field(default=DEFAULT_PUE, ge=1, le=10, description="Power of the facility over that of its machines.")
    max_machines: dict[str, Annotated[int, Field(ge=0)]] = Field(default={}, description="Stock by machine.")
    max_total_machines: int | None = Field(default=None, ge=1)
    max_rack_units: int | None = Field(default=None, ge=1, description="Rack units of all machines, spares included.")
    max_cost_usd_per_hour: UsdPerHour | None = Field(
        default=None, validation_alias=AliasChoices("max_cost_usd_per_hour", "max_cost")
    )
    max_power_w: Watts | None = Field(default=None, validation_alias=AliasChoices("max_power_w", "max_power"))
    max_pools: int | None = Field(default=None, ge=1, description="Most pools; 1 or 2 keeps a plan simple.")
    spares: int = Field(default=0, ge=0, le=1000, description="Machines of each pool that may fail.")
    max_utilisation: Fraction = Field(default=0.9, description="Highest utilisation of prefill work.")
    profile: str | None = Field(default=None, description="Table of measured step times, in place of the roofline.")
    catalog: Names = Field(default=(), description="Catalog overlays.")
    exact: bool = Field(
        default=False,
        description="Whether the very optimum is wanted, though a plan of fewer pools or machine types is within 1 %.",
    )
    solver: Literal["highs", "cbc"] = "highs"
    time_limit_s: float = Field(default=60.0, gt=0, le=86400)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    verify: bool = Field(default=True, description="Whether a plan is proven by simulation.")
    arrivals: Literal["trace", "poisson"] | None = Field(
        default=None,
        description=(
            "Arrivals of a trace: whether a plan is also proven on its own arrivals, stretched to the "
            "rate, or on random ones alone. Default: also on its own; with the preset splitwise, "
            "whose paper draws them, on random."
        ),
    )
    verify_runs: int = Field(default=3, ge=1, le=1000, description="Simulations of a plan, each with its own seed.")
    verify_requests: int | None = Field(
        default=None, ge=100, le=100_000_000, description="Requests of each; default as many as the traffic calls for."
    )
    suppose: Supposition = Field(
        default=NOTHING_SUPPOSED,
        description="Inputs that differ from what catalog, trace and runtime say.",
    )

    @model_validator(mode="before")
    @classmethod
    def _rate_of_tokens(cls, data: object) -> object:
        """Move a rate of tokens to the field that says whose tokens they are."""
        return with_token_rate(data) if isinstance(data, Mapping) else data

    @field_validator("users", "concurrency", mode="after")
    @classmethod
    def _some(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < 1:
            what = "users" if info.field_name == "users" else "requests under way"
            raise ValueError(f"{value} {what} send nothing; write 1 or more, or give a rate")
        return value

    @field_validator("think_time_s", mode="before")
    @classmethod
    def _not_negative(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and read_quantity(value, units.TIME, info) < 0:
            raise ValueError("nobody thinks for less than no time; write 0s for requests that follow at once")
        return value

    @field_validator("isl", "osl", mode="after")
    @classmethod
    def _tokens(cls, value: str | float | None, info: ValidationInfo) -> str | float | None:
        if value is not None:
            try:
                read_tokens(value, where=str(info.field_name))
            except PlannerError as error:
                raise ValueError(f"{error.what}; {error.fix}" if error.fix else error.what) from None
        return value

    @field_validator("day", mode="before")
    @classmethod
    def _hours(cls, value: object) -> object:
        if isinstance(value, str) and "," in value:
            try:
                value = [units.number(part.strip()) for part in value.split(",")]
            except UnitError as error:
                raise ValueError(f"{error.what} (got {error.value}); {error.fix}") from None
        if isinstance(value, (list, tuple)):
            if len(value) != 24 or not all(isinstance(v, int | float) and 0 <= v < float("inf") for v in value):
                raise ValueError(f"a day has 24 hours of numbers from 0 on (got {len(value)}); or write office")
            if not any(value):
                raise ValueError("nothing comes on this day; one hour is above 0")
            return tuple(float(v) for v in value)
        return value

    @model_validator(mode="after")
    def _one_load(self, info: ValidationInfo) -> Scenario:
        if (info.context or {}).get("alone"):  # one field of a scenario, whose others are elsewhere
            return self
        given = [name for name in LOADS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are two loads: give one rate, a number of users, or concurrency")
        if self.think_time_s is not None and self.users is None:
            raise ValueError("a think time is that of users: give --users, or leave it out")
        if self.users is not None and self.think_time_s is None:
            raise ValueError("users need their think time: --think-time 20s; without one they are --concurrency")
        if self.day is not None and not given:
            raise ValueError("a day needs the rate that is its mean, such as --rate 1M/day")
        if self.day is not None and (self.users is not None or self.concurrency is not None):
            raise ValueError("the shape of a day goes with a rate, not with users or concurrency")
        return self

    @field_validator("slo", mode="before", json_schema_input_type=ObjectivesInput)
    @classmethod
    def _read_objectives(cls, value: object) -> object:
        value = _as_tuple(value)
        if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return parse_objectives(value, where="slo")
        if not isinstance(value, (list, tuple)):
            raise ValueError("must be an objective like ttft=1s, or a list of them")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _not_empty(cls, value: object, info: ValidationInfo) -> object:
        empty = (isinstance(value, str) and not value.strip()) or (info.field_name == "machines" and not value)
        if empty or (isinstance(value, tuple) and any(isinstance(v, str) and not v.strip() for v in value)):
            raise ValueError("must not be empty")
        return value

    @field_validator("rate_per_s", mode="after")
    @classmethod
    def _plausible(cls, value: float | None) -> float | None:
        if value is not None and value > MAX_RATE_PER_S:
            raise ValueError(f"{value:g} requests/s is more than all the world sends; the largest accepted is 1e7/s")
        return value

    def dump(self) -> dict[str, Any]:
        """JSON-ready form that `Scenario.model_validate` reads back; objectives as text."""
        data = self.model_dump(mode="json", exclude={"suppose"})
        data["slo"] = [str(o) for o in self.slo]
        return data | ({"suppose": self.suppose.dump()} if self.suppose != NOTHING_SUPPOSED else {})
