"""A simulation as a flat, JSON-ready result, and its requests as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from planner.fleet.candidate import Requirement
from planner.fleet.prediction import Member
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Policy
from planner.simulation.statistics import Interval
from planner.simulation.summary import METRICS, Simulated, values_of

REQUEST_COLUMNS = (
    "run", "request", "arrival_s", "prompt_tokens", "output_tokens", "status", "queueing_s", "ttft_s", "transfer_s",
    "tbt_s", "largest_gap_s", "e2e_s",
)  # fmt: skip
_ROWS_AT_ONCE = 50_000


def _known(value: object) -> object:
    """NaN and infinity, which JSON cannot carry, as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_known)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntervalReport(_Model):
    """A value and its 95 % confidence interval; None where there is none."""

    value: Number
    low: Number
    high: Number

    @classmethod
    def of(cls, interval: Interval) -> IntervalReport:
        """From an interval of the statistics."""
        return cls(value=float(interval.value), low=float(interval.low), high=float(interval.high))


class LatencyReport(_Model):
    """One latency of the requests after the warm-up [s].

    `metric` is `ttft`, `tbt` (mean time between the tokens of a request), `e2e`, `largest_gap` (longest time between
    two tokens), `queueing` (arrival to start of the prompt) or `transfer` (of the KV cache).
    """

    metric: str
    mean: IntervalReport
    p50: IntervalReport
    p90: IntervalReport
    p99: IntervalReport


class ObjectiveReport(_Model):
    """One objective: its value in `unit`, the share of requests that miss its limit, and the share that may."""

    objective: str
    unit: str = Field(description="s, or x for a slowdown.")
    limit: float
    value: IntervalReport
    late: IntervalReport
    allowed: float
    met: bool


class PoolReport(_Model):
    """One pool over the simulated time."""

    role: str
    machine: str
    layout: str
    count: int
    busy: float = Field(description="Share of time that its lanes had work.")
    prompt_share: float = Field(description="Share of time that its lanes computed prompts.")
    batch: float = Field(description="Sequences decoding on a lane, on average.")
    memory_used: float = Field(description="Mean share of its KV memory that was reserved.")
    power_w: Number = Field(description="Mean power of all its machines [W]; None if not computed.")
    energy_j: Number = Field(description="Over the simulated time, all runs together [J].")


class SimulationReport(_Model):
    """Everything a simulation says, ready for JSON."""

    stable: bool = Field(description="False: latency grew throughout, and its percentiles depend on the run's length.")
    enough: bool = Field(description="Whether enough requests were left after the warm-up to say anything.")
    interrupted: bool = Field(description="True: stopped before all requests were done; a valid part.")
    seeds: tuple[int, ...]
    load: float = Field(description="Multiple of the planned rate.")
    policy: dict[str, Any]
    n_requests: int
    n_counted: int = Field(description="Requests that ended, after the warm-up.")
    n_too_large: int = Field(description="Requests that no machine on their way can hold; they miss every objective.")
    too_large: tuple[str, ...] = Field(description="The first of them, as `run 1 request 17: 9000 + 200 tokens`.")
    n_overflowed: int
    n_restarted: int
    n_waited_for_memory: int
    simulated_s: float
    latencies: tuple[LatencyReport, ...]
    objectives: tuple[ObjectiveReport, ...]
    pools: tuple[PoolReport, ...]
    notes: tuple[str, ...]

    def to_records(self) -> list[dict[str, Any]]:
        """Latencies, objectives and pools as flat rows for a sheet; `kind` says which a row is."""
        rows: list[dict[str, Any]] = []
        for latency in self.latencies:
            for name in ("mean", "p50", "p90", "p99"):
                interval: IntervalReport = getattr(latency, name)
                rows.append({"kind": "latency", "name": f"{latency.metric} {name}"} | interval.model_dump())
        for objective in self.objectives:
            rows.append(
                {"kind": "objective", "name": objective.objective}
                | objective.value.model_dump()
                | {"limit": objective.limit, "unit": objective.unit, "late": objective.late.value, "met": objective.met}
            )
        for pool in self.pools:
            values = pool.model_dump(exclude={"role", "machine"})
            rows.append({"kind": "pool", "name": f"{pool.role} {pool.machine}"} | values)
        return rows


def simulation_report(
    simulated: Simulated,
    members: Sequence[Member],
    need: Requirement,
    *,
    seeds: Sequence[int] = (),
    load: float = 1.0,
    policy: Policy | None = None,
) -> SimulationReport:
    """The report of a simulation of `members`, held against the objectives of `need`."""
    power = simulated.power_w or [float("nan")] * len(members)
    objectives = [
        ObjectiveReport(
            objective=str(limit.objective),
            unit="s" if limit.objective.limit_s is not None else "x",
            limit=limit.value,
            value=IntervalReport.of(value),
            late=IntervalReport.of(late),
            allowed=limit.allowed,
            met=met,
        )
        for limit, value, late, met in zip(
            need.limits, simulated.objectives, simulated.late, simulated.met, strict=True
        )
    ]
    pools = [
        PoolReport(
            role=m.role, machine=m.configuration.machine.name, layout=m.configuration.layout.label, count=m.count,
            busy=simulated.busy[i], prompt_share=simulated.prompt_share[i], batch=simulated.batch[i],
            memory_used=simulated.memory_used[i], power_w=power[i], energy_j=power[i] * simulated.simulated_s,
        )
        for i, m in enumerate(members)
    ]  # fmt: skip
    latencies = [
        LatencyReport(
            metric=metric,
            mean=IntervalReport.of(simulated.means[metric]),
            p50=IntervalReport.of(simulated.percentiles[metric, 50.0]),
            p90=IntervalReport.of(simulated.percentiles[metric, 90.0]),
            p99=IntervalReport.of(simulated.percentiles[metric, 99.0]),
        )
        for metric in METRICS
    ]
    return SimulationReport(
        stable=simulated.stable, enough=simulated.enough, interrupted=simulated.interrupted, seeds=tuple(seeds),
        load=load, policy=_policy_record(policy or Policy()), n_requests=simulated.n_requests,
        n_counted=simulated.n_counted, n_too_large=simulated.n_too_large,
        too_large=tuple(_too_large(simulated.outcomes)), n_overflowed=simulated.n_overflowed,
        n_restarted=simulated.n_restarted,
        n_waited_for_memory=simulated.n_waited_for_memory, simulated_s=simulated.simulated_s,
        latencies=tuple(latencies), objectives=tuple(objectives), pools=tuple(pools), notes=tuple(_notes(simulated)),
    )  # fmt: skip


def _policy_record(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in policy.__dataclass_fields__}


def _too_large(outcomes: Sequence[Outcome], most: int = 5) -> list[str]:
    named = [
        f"run {run} request {r}: {o.requests.prompt_tokens[r]} + {o.requests.output_tokens[r]} tokens"
        for run, o in enumerate(outcomes, start=1)
        for r in o.too_large[:most].tolist()
    ]
    return named[:most]


def _notes(simulated: Simulated) -> list[str]:
    notes = []
    if not simulated.stable:
        notes.append("unstable: latency grew throughout, so percentiles only say how long the run was")
    if not simulated.enough:
        notes.append(
            f"{simulated.n_counted} requests ended after the warm-up, too few to judge an objective; simulate more"
        )
    if simulated.interrupted:
        notes.append("interrupted: percentiles are of the requests that had ended")
    if simulated.n_too_large:
        notes.append(f"{simulated.n_too_large:,} requests are larger than the KV memory of the machines on their way")
    return notes


def request_rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[Any, ...]]:
    """One row a request with the columns of `REQUEST_COLUMNS`, in order of arrival.

    Yields
    ------
    tuple
        Times in seconds, None where a request has none; `status` is `done`, `in flight` or `too large`. Computed in
        chunks, so that ten million rows need no memory of their own.
    """
    for run, outcome in enumerate(outcomes, start=1):
        n = outcome.n_arrived
        columns = {metric: values_of(outcome, metric) for metric in METRICS}
        too_large = np.zeros(n, dtype=bool)
        too_large[outcome.too_large] = True
        for start in range(0, n, _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, n))
            done = np.isfinite(columns["e2e"][part])
            texts = np.where(too_large[part], "too large", np.where(done, "done", "in flight"))
            values = {name: [_known(v) for v in column[part].tolist()] for name, column in columns.items()}
            yield from zip(
                [run] * (part.stop - part.start), range(part.start, part.stop),
                outcome.requests.arrival_s[part].tolist(), outcome.requests.prompt_tokens[part].tolist(),
                outcome.requests.output_tokens[part].tolist(), texts.tolist(), values["queueing"], values["ttft"],
                values["transfer"], values["tbt"], values["largest_gap"], values["e2e"], strict=True,
            )  # fmt: skip
