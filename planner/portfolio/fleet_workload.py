"""One workload of a fleet: what arrives, how it moves over the day, and what is promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic import field_validator as on_field
from pydantic import model_validator as on_model

from planner import units
from planner.catalog.quantities import (
    Bytes,
    Fraction,
    FractionOrZero,
    PerS,
    Seconds,
    read_quantity,
    schema_of,
)
from planner.catalog.schema import Precision
from planner.errors import near_misses
from planner.portfolio.batch import BatchWork
from planner.scenario.scenario import LOADS, MAX_RATE_PER_S, Names, ObjectivesInput, Scenario, with_token_rate
from planner.scenario.scenario_file import is_trace_file
from planner.workload.day_shape import SHAPES
from planner.workload.objectives import Objective, parse_objectives

STRICT = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)
NO_OBJECTIVES = ("none",)  # instead of a list: only utilisation and KV memory bound what a pool carries


# How much comes, in people's words, as a scenario has it.
LOAD_WORDS = (*LOADS, "think_time_s")


def as_names(value: object) -> object:
    """One name, or several."""
    return (value,) if isinstance(value, str) else value


def as_tuple(value: object) -> object:
    """One value, or several."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


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


Slo = Annotated[tuple[Objective, ...], BeforeValidator(_read_slo, json_schema_input_type=ObjectivesInput | None)]


def _reader(dimension: units.Dimension, low: float, high: float) -> BeforeValidator:
    """As the quantities of the catalog, within bounds that are only a fleet's."""

    def read(value: object, info: ValidationInfo) -> float:
        number = read_quantity(value, dimension, info)
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g} (got {value!r})")
        return number

    return BeforeValidator(read)


Growth = Annotated[float, _reader(units.FRACTION, -0.5, 1.0), schema_of(units.FRACTION)]
Usd = Annotated[float, _reader(units.MONEY, 0.0, 1e15), schema_of(units.MONEY)]
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
    isl: str | float | None = Field(
        default=None, description="Prompt tokens in place of the workload's: 3000, 3000+-500, 100..4000, p50=..,p90=.."
    )
    osl: str | float | None = Field(default=None, description="Output tokens in place of the workload's, as `isl`.")
    rate_per_s: PerS | None = Field(
        default=None,
        validation_alias=AliasChoices("rate_per_s", "rate"),
        description="Requests that come [1/s]; default a trace's own. A rate of tokens too, `5000 output tokens/s`.",
    )
    prompt_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in prompt tokens [tokens/s].")
    output_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in output tokens [tokens/s].")
    total_tokens_per_s: PerS | None = Field(default=None, description="Rate stated in tokens in and out [tokens/s].")
    users: int | None = Field(default=None, description="Users, each of whom sends, waits for the answer and thinks.")
    think_time_s: Seconds | None = Field(
        default=None,
        validation_alias=AliasChoices("think_time_s", "think_time"),
        description="Time from an answer to the user's next request [s].",
    )
    concurrency: int | None = Field(default=None, description="Requests under way at any time.")
    size_for: Literal["mean", "p95-minute", "peak-minute"] = Field(
        default="mean", description="Level of a trace's rate that the fleet is sized for."
    )
    drop_failed: bool = Field(default=False, description="Whether failed requests of a trace are left out.")
    batch: BatchWork | None = Field(
        default=None, description="Work with a deadline, in place of a rate and objectives."
    )
    arrival_cv2: float | None = Field(default=None, gt=0, le=1000)
    sites: Names | None = Field(
        default=None, description="Sites of the fleet where it may be served: data residency. Left out: all."
    )
    egress_bytes: Bytes | None = Field(
        default=None,
        description="Data that leaves the site for each request: answers and what goes with them, as 20 kB.",
    )
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
        if not isinstance(data, Mapping):
            return data
        for short, full in (("rate", "rate_per_s"), ("growth", "growth_per_month"), ("think_time", "think_time_s")):
            if short in data and full in data:
                raise ValueError(f"{short} and {full} are one field, given twice")
        if any(isinstance(data.get(name), str) for name in ("prompt_tokens", "output_tokens")):
            # Sizes in words are those of `isl` and `osl`, under the names that whole numbers have.
            moved = {"prompt_tokens": "isl", "output_tokens": "osl"}
            data = {moved.get(str(name), str(name)): value for name, value in data.items()}
        return with_token_rate(data)

    @property
    def load(self) -> dict[str, float]:
        """How much comes, as a scenario has it; empty where nothing says so."""
        return {name: value for name in LOAD_WORDS if (value := getattr(self, name)) is not None}

    @property
    def has_own_rate(self) -> bool:
        """Whether the workload is a file, which has a rate of its own."""
        return self.workload is not None and is_trace_file(self.workload)

    @on_model(mode="after")
    def _is_one_thing(self) -> FleetWorkload:
        if (not self.load) == (self.batch is None) and not (self.has_own_rate and not self.load):
            raise ValueError("give either a rate (requests that are answered at once) or batch (work with a deadline)")
        sizes, stated = (self.prompt_tokens, self.output_tokens), (self.isl, self.osl)
        whole = None not in sizes or (None not in stated and self.workload is None)
        if (self.workload is None) != whole or (any(sizes) and (self.workload is not None or any(stated))):
            raise ValueError(
                "give either a workload (a name of the catalog, or a trace), or prompt_tokens and output_tokens"
            )
        try:
            Scenario.model_validate({**self.load, "isl": self.isl, "osl": self.osl})
        except ValidationError as error:
            raise ValueError(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None
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
