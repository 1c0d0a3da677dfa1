"""What simulation says of a plan: the part of a `Plan` that proves it on requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.simulation.interval import IntervalReport, Number

if TYPE_CHECKING:  # what does not simulate need not load what does
    from planner.serving.requests import Limit
    from planner.simulation.summary import Simulated


class Result(BaseModel):
    """Frozen result; `to_records` of those that have it gives flat dicts for a sheet or a DataFrame."""

    # A result prints all its fields, so its schema requires them all.
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True, defer_build=True
    )


class SimulatedPercentiles(Result):
    """Simulated percentiles of one metric over all requests after the warm-up [s]."""

    metric: Literal["ttft", "tbt", "e2e"]
    p50_s: IntervalReport
    p90_s: IntervalReport
    p99_s: IntervalReport


class SimulatedObjective(Result):
    """One objective as simulated."""

    objective: str = Field(description="Canonical text, such as ttft.p99=1s.")
    simulated: IntervalReport = Field(description="The percentile, in seconds or as a slowdown.")
    late_fraction: IntervalReport = Field(description="Share of requests beyond the limit.")
    allowed_fraction: float = Field(description="Share that may be: 1 % for a p99.")
    met: bool = Field(description="Whether the upper confidence limit of the late share is within what is allowed.")
    breaks_at_load: float | None = Field(
        description="Load multiple at which it is first missed in simulation; null if not looked for."
    )


class CertificationRound(Result):
    """One plan that was simulated, and what came of it."""

    pools: str
    value: float = Field(description="Value of the plan's objective.")
    confirmed: bool
    finding: str = Field(description="`confirmed`, what broke, or that fewer machines were enough.")
    carried_fraction: float | None = Field(
        description="Share of the load that it carried within the objectives; null where it carried all."
    )


class MinimalityWitness(Result):
    """A pool with one machine fewer, simulated."""

    role: str
    machine: str
    count: int = Field(description="Machines it was tried with.")
    breaks: str = Field(description="Objective that gives way first, and by how much; empty where nothing does.")
    objective: str | None = Field(description="The objective that is missed most, if one is.")
    simulated: Number = Field(
        description="Value of the objective then; null if another limit gives way or the queue grows."
    )


class Hunt(Result):
    """Better plans that the formulas refuse, simulated all the same."""

    hope_fraction: float = Field(description="Share by which every capacity was taken above its formula.")
    n_simulated: int = Field(description="Plans better than the confirmed one that were looked at, and failed.")
    n_too_busy: int = Field(
        description="Plans among these that the highest utilisation allowed forbids; not simulated once one of them "
        "meets the objectives."
    )
    busier_value: Number = Field(
        description="Least value of the plan's objective among those that meet the objectives in simulation; null "
        "if none does."
    )
    exhausted: bool = Field(description="Whether no such plan is left; otherwise a cheaper one may be there.")


class SparesRemoved(Result):
    """The bought cluster while the promised spares fail in the middle of the run."""

    failed: str
    confirmed: bool
    n_restarted: int = Field(description="Requests that were in flight on a failed machine and began again.")
    objectives: list[SimulatedObjective]


class Certificate(Result):
    """Proof by simulation."""

    status: Literal["confirmed", "failed", "interrupted"]
    seeds: list[int]
    requests_per_run: int
    n_counted: int = Field(description="Requests that ended after the warm-up, all runs together.")
    simulated_s: float = Field(description="Time simulated, all runs together [s].")
    n_too_large: int = Field(description="Requests that no machine on their way can hold.")
    stable: bool
    objectives: list[SimulatedObjective]
    percentiles: list[SimulatedPercentiles]
    replayed: list[SimulatedObjective] = Field(
        default=[], description="The objectives on the trace's own arrivals, stretched to the rate; empty: not asked."
    )
    rounds: list[CertificationRound]
    witnesses: list[MinimalityWitness]
    hunt: Hunt | None = Field(
        default=None, description="Hunt for better plans; null where no plan was confirmed, or time ran out."
    )
    without_spares: SparesRemoved | None
    notes: list[str]


def simulated_objectives(
    simulated: Simulated, limits: Sequence[Limit], breaks: Mapping[int, float]
) -> list[SimulatedObjective]:
    """Each objective as simulated; `breaks`: the load at which it is first missed, by its index."""
    return [
        SimulatedObjective(
            objective=str(limit.objective),
            simulated=IntervalReport.of(value),
            late_fraction=IntervalReport.of(late),
            allowed_fraction=limit.allowed,
            met=met,
            breaks_at_load=breaks.get(i),
        )
        for i, (limit, value, late, met) in enumerate(
            zip(limits, simulated.objectives, simulated.late, simulated.met, strict=True)
        )
    ]
