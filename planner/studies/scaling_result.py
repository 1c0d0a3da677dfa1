"""What `planner scale` finds: a table from load to machines, and a day replayed with it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.certificate import Result
from planner.studies.head import Head

SCALING_SCHEMA_VERSION = "1.0"


class ScaledPool(Result):
    """A pool that is scaled."""

    role: str
    machine: str
    most: int = Field(description="Machines of the plan, which are never exceeded.")
    spares: int = Field(description="Machines beside them, kept all day.")
    replicas_per_machine: int
    usd_per_hour: float | None = Field(description="Price of a machine; null without one.")


class ScalingStep(Result):
    """One row of the table."""

    up_to_per_s: float = Field(description="Largest load that these machines carry [requests/s].")
    measured_up_to_per_s: float = Field(description="Load as measured up to which they are asked for [requests/s].")
    machines: list[int] = Field(description="Machines of each pool.")
    replicas: list[int] = Field(description="Copies of the model in each pool.")
    cost_usd_per_hour: float | None = Field(description="Spares included; null without prices.")


class ScaledObjective(Result):
    """An objective over the day."""

    objective: str
    allowed: float = Field(description="Share of requests that may be late.")
    late: float = Field(description="Share that was, of the whole day.")
    late_in_worst_hour: float = Field(description="Share of those that came in the worst hour or period.")
    late_while_starting: float | None = Field(
        description="Share of those that came while a machine was being started; null where none was."
    )
    met: bool = Field(description="Whether no more were late than may be, over the day and while machines started.")


class ScaledHour(Result):
    """One hour, or period, of the day."""

    at_s: float
    rate_per_s: float = Field(description="Mean load [requests/s].")
    machines: list[float] = Field(description="Machines of each pool that were paid for, on average.")
    late: float = Field(description="Largest share of late requests of any objective, over what it allows.")


class Scaling(Head):
    """A table from load to machines with the day that it was tried on."""

    schema_version: str = SCALING_SCHEMA_VERSION
    pools: list[ScaledPool]
    steps: list[ScalingStep] = Field(description="Rows by rising load.")
    cold_start_s: float = Field(description="Time from the order of a machine until it serves [s].")
    hysteresis_s: float = Field(description="Time that the load must have been lower before machines go [s].")
    window_s: float = Field(description="Time over which the load is measured [s].")
    interval_s: float = Field(description="Time between two looks at it [s].")
    headroom: float = Field(description="Factor on the measured load before the table is read.")
    added_per_s: float = Field(description="Rate added to it then [requests/s].")
    day: str = Field(description="Name of the demand.")
    day_s: float = Field(description="Length of it [s].")
    hours: list[ScaledHour]
    n_requests: int = Field(description="Requests simulated, all runs together.")
    seeds: list[int]
    objectives: list[ScaledObjective]
    goodput: float = Field(description="Share of the day's requests within all objectives together.")
    held: bool = Field(description="Whether every objective was met.")
    machine_hours: list[float] = Field(
        description="Machine time of each pool over the day, from order to release, without spares [h]."
    )
    cost_usd: float | None = Field(description="Cost of the day, spares included; null without prices [USD].")
    static_cost_usd: float | None = Field(description="Cost with all machines of the plan all day [USD].")
    n_orders: int = Field(description="Times that machines were ordered in the first run.")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 where the objectives held, 4 where not."""
        return EXIT_OK if self.held else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a row of the table."""
        return [
            {
                "up_to_per_s": step.up_to_per_s,
                "measured_up_to_per_s": step.measured_up_to_per_s,
                "cost_usd_per_hour": step.cost_usd_per_hour,
            }
            | {
                f"{what}_{n}_{pool.role}_{pool.machine}": count
                for what, counts in (("machines", step.machines), ("replicas", step.replicas))
                for n, (pool, count) in enumerate(zip(self.pools, counts, strict=True))
            }
            for step in self.steps
        ]
