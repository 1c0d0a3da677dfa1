"""What `planner validate` says: measured beside predicted, whether within the stated error, and why not."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.certificate import Result
from planner.planning.plan import Plan
from planner.studies.head import Head

VALIDATION_SCHEMA_VERSION = "1.0"


class FigureRow(Result):
    """One figure of a run."""

    metric: str = Field(description="ttft, tbt, e2e in seconds, or throughput in requests/s.")
    statistic: str = Field(description="mean, p50, p90 or p99.")
    measured: float
    predicted: float
    low: float = Field(description="Least that is within the stated error: steps that much quicker, seeds, sampling.")
    high: float = Field(description="Most that is.")
    error: float = Field(description="measured / predicted - 1.")
    within: bool


class Cause(Result):
    """A single change of the servers that explains a run."""

    cause: str = Field(
        description="kernels, prefix cache, batch limit, memory, front end, front end work, links or chunking."
    )
    words: str = Field(description="Change, and by how much.")
    distance: float = Field(description="Root mean square of ln(measured / predicted) that it leaves.")
    likely: bool = Field(description="Whether it explains the run; several: they cannot be told apart.")


class ValidatedRun(Result):
    """One run of a benchmark beside what the plan says of it."""

    source: str
    tool: str
    rate_per_s: float | None = Field(description="Requests offered; null where concurrency was held.")
    concurrency: float | None
    n_requests: int
    n_failed: int
    input_tokens: float
    output_tokens: float
    rows: list[FigureRow]
    missing: list[str] = Field(description="Statistics that the file does not have.")
    memory_fraction: float = Field(description="Predicted mean share of the KV memory in use, of the fullest pool.")
    distance: float = Field(description="Root mean square of ln(measured / predicted).")
    within: bool
    causes: list[Cause] = Field(description="Nearest first; empty where the run is within the stated error.")
    step_factor: float | None = Field(
        default=None, description="Factor of all step times that brings this run nearest; null where it was not sought."
    )


class Validation(Head):
    """Runs beside a plan."""

    schema_version: str = VALIDATION_SCHEMA_VERSION
    cluster: str = Field(description="Pools that were measured.")
    runs: list[ValidatedRun]
    within: bool = Field(description="Whether every run is.")
    calibration: dict[str, Any] = Field(
        default={}, description="Fields of a scenario that plan with what was measured; empty where none can."
    )
    replanned: Plan | None = Field(default=None, description="Plan with them; null where it was not asked for.")

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 within the stated error, 4 not."""
        return EXIT_OK if self.within else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a figure: rows for a spreadsheet."""
        return [{"source": run.source} | row.model_dump() for run in self.runs for row in run.rows]
