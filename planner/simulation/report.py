"""What a simulation says, ready for JSON: `planner simulate --format json` prints a `SimulationReport`.

`SIMULATION_SCHEMA_VERSION` rises when a field changes its meaning or goes away; new fields may come without notice.
Quantities are base-unit numbers with the unit in the field's name or its description.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from planner.errors import ScenarioError
from planner.simulation.interval import IntervalReport, Number
from planner.simulation.outcome import Outcome
from planner.simulation.statistics import Interval

SIMULATION_SCHEMA_VERSION = "1.0"
ArrivalKind = Literal["poisson", "gamma", "even", "rates", "replay", "closed"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class PercentileReport(IntervalReport):
    """A simulated percentile beside what the queueing formulas predict."""

    predicted: Number = Field(description="Value by the formulas, in the same unit; None where they say nothing.")
    prediction_error: Number = Field(
        description="Predicted over simulated, less 1: above 0 the formula is pessimistic."
    )

    @classmethod
    def beside(cls, interval: Interval | None, predicted: float | None) -> PercentileReport:
        """From an interval, None if the cluster was unstable, and the prediction."""
        measured = IntervalReport.unknown() if interval is None else IntervalReport.of(interval)
        error = predicted / measured.value - 1.0 if predicted is not None and measured.value else None
        return cls(**measured.model_dump(), predicted=predicted, prediction_error=error)


class LatencyReport(_Model):
    """One latency of the requests after the warm-up [s]; all None if the cluster was unstable.

    `metric` is `ttft`, `tbt` (mean time between the tokens of a request), `e2e`, `largest_gap` (longest time between
    two tokens), `queueing` (arrival to start of the prompt) or `transfer` (of the KV cache).
    """

    metric: str
    mean: IntervalReport
    p50: PercentileReport
    p90: PercentileReport
    p99: PercentileReport


class ObjectiveReport(_Model):
    """One objective: its percentile in `unit`, the share of requests that miss its limit, and the share that may."""

    objective: str = Field(description="Canonical text, such as ttft.p99=1s.")
    metric: Literal["ttft", "tbt", "e2e"]
    percentile: float
    unit: Literal["s", "x"] = Field(description="Seconds, or a slowdown against the reference machine.")
    limit: float
    simulated: PercentileReport
    late: IntervalReport = Field(description="Share of requests beyond the limit; too large ones are beyond it.")
    allowed: float
    met: bool = Field(description="Whether the upper confidence limit of `late` is within `allowed`, and it is stable.")


class PoolReport(_Model):
    """One pool over the simulated time, up to the last arrival."""

    role: str
    machine: str
    layout: str
    count: int
    busy: Number = Field(description="Share of time that its lanes had work.")
    prompt_share: Number = Field(description="Share of time that its lanes computed prompts.")
    batch: Number = Field(description="Sequences decoding on a lane, on average.")
    memory_used: Number = Field(description="Mean share of its KV memory that was reserved.")
    power_w: Number = Field(description="Mean power of all its machines [W].")
    energy_j: Number = Field(description="Energy over the simulated time, all runs together [J].")


class ArrivalReport(_Model):
    """How requests came."""

    kind: ArrivalKind
    rate_per_s: float = Field(description="Mean over a run, the load multiple included [requests/s].")
    cv2: float = Field(description="Squared coefficient of variation of the gaps; of a replay, as its trace has it.")
    rates_per_s: tuple[float, ...] = Field(description="Rate of each period, where the rate changes [requests/s].")
    period_s: float | None = Field(description="Duration of each of those rates [s].")
    rescaled: bool = Field(description="Stretch of a replay: whether its timestamps were stretched to a rate.")
    repeat: int = Field(description="Number of times the trace is played.")


class FailureReport(_Model):
    """A machine that stopped."""

    machine: str = Field(description="Pool and number, such as decode:0.")
    at_s: float
    repaired_s: float | None = Field(description="Time when it came back [s]; None if it did not.")


class DistributionReport(_Model):
    """Quantiles of one latency after the warm-up, all runs together: `values_s[i]` at `shares[i]`."""

    metric: str
    shares: tuple[float, ...]
    values_s: tuple[float, ...]


class PoolTimeline(_Model):
    """One pool in each interval of a timeline."""

    role: str
    machine: str
    busy: tuple[Number, ...]
    batch: tuple[Number, ...] = Field(description="Sequences decoding on a lane.")
    memory_used: tuple[Number, ...] = Field(description="Share of KV memory reserved.")


class TimelineReport(_Model):
    """The first run, interval by interval of equal length; requests by the time they arrived. Warm-up included."""

    seed: int
    start_s: tuple[float, ...]
    interval_s: float
    arrivals_per_s: tuple[float, ...]
    queueing_mean_s: tuple[Number, ...]
    ttft_p50_s: tuple[Number, ...]
    ttft_p99_s: tuple[Number, ...]
    pools: tuple[PoolTimeline, ...]


class SimulationReport(_Model):
    """Everything a simulation says, ready for JSON."""

    schema_version: str = SIMULATION_SCHEMA_VERSION
    planner_version: str
    catalog_digest: str
    design: str
    model: str
    runtime: str
    precision: str
    workload: str
    arrivals: ArrivalReport
    load: float = Field(description="Multiple of the rate asked for.")
    policy_name: str
    policy: dict[str, Any]
    failures: tuple[FailureReport, ...]
    seeds: tuple[int, ...] = Field(description="Seeds, one run each.")
    meets_objectives: bool
    stable: bool = Field(
        description="Stability; false: latency grew throughout, so percentiles would only say how long a run was."
    )
    interrupted: bool = Field(description="Interruption; true: stopped before all requests were done; a valid part.")
    n_requests: int = Field(description="Arrived, all runs together.")
    n_counted: int = Field(description="Requests that ended, after the warm-up.")
    warm_up_requests: tuple[int, ...] = Field(description="Requests at the start of each run that are not counted.")
    n_unfinished: int = Field(description="Requests in flight when the simulation was interrupted.")
    n_too_large: int = Field(description="Requests that no machine on their way can hold; they miss every objective.")
    too_large: tuple[str, ...] = Field(description="The first of them, as `run 1 request 17: 9000 + 200 tokens`.")
    n_overflowed: int = Field(description="Requests sent to the other pool.")
    n_restarted: int = Field(description="Begun again because a machine failed.")
    n_waited_for_memory: int = Field(description="Held up before decoding for want of KV memory.")
    n_preempted: int = Field(
        default=0, description="Times that requests gave their KV memory back to others and were computed again."
    )
    n_together: int = Field(description="Arrived at the same time as the request before them.")
    simulated_s: float = Field(description="Time from the first arrival on to the last, all runs together [s].")
    power_w: Number = Field(description="Mean power of all machines [W].")
    energy_j: Number = Field(description="Energy over the simulated time, all runs together [J].")
    energy_per_request_j: Number
    latencies: tuple[LatencyReport, ...]
    objectives: tuple[ObjectiveReport, ...]
    pools: tuple[PoolReport, ...]
    distributions: tuple[DistributionReport, ...]
    timeline: TimelineReport | None
    step_time_error: float = Field(description="Largest stated error of the step times used, as a fraction.")
    notes: tuple[str, ...]
    scenario: dict[str, Any] = Field(description="Scenario as asked for, defaults filled in.")

    _outcomes: tuple[Outcome, ...] = PrivateAttr(default=())

    def to_records(self) -> list[dict[str, Any]]:
        """Latencies, objectives and pools as flat rows for a sheet; `kind` says which a row is."""
        rows: list[dict[str, Any]] = []
        for latency in self.latencies:
            for name in ("mean", "p50", "p90", "p99"):
                measured: IntervalReport = getattr(latency, name)
                row = {"kind": "latency", "name": f"{latency.metric} {name}", "unit": "s"}
                rows.append(row | {"predicted": None, "prediction_error": None} | measured.model_dump())
        for objective in self.objectives:
            rows.append(
                {"kind": "objective", "name": objective.objective, "unit": objective.unit}
                | objective.simulated.model_dump()
                | {"limit": objective.limit, "late": objective.late.value, "late_high": objective.late.high}
                | {"allowed": objective.allowed, "met": objective.met}
            )
        for pool in self.pools:
            rows.append({"kind": "pool", "name": f"{pool.role} {pool.machine}"} | pool.model_dump())
        return rows

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Times of every request, one `Outcome` a run, while the report is still in the process that made it.

        Raises
        ------
        ScenarioError
            The report was read from a file: that has no single requests.
        """
        if not self._outcomes:
            raise ScenarioError("a report that was read from a file has no single requests", fix="simulate again")
        return self._outcomes

    def request_records(self) -> Iterator[dict[str, Any]]:
        """One flat dict a request: arrival, sizes, status, and its latencies in seconds."""
        from planner.simulation.request_rows import request_records

        return request_records(self.outcomes)
