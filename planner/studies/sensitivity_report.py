"""What a sensitivity says: the effect of each input, of all at once, and what flips the decision."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from planner.errors import EXIT_LIMIT_WITH_PLAN, EXIT_OK
from planner.planning.plan import Result
from planner.studies.head import Head

IN_THE_RENT = "rented prices contain the electricity"


class OutcomeOfError(Result):
    """What happens at one value of an input, or in one draw of all; values as `Sensitivity.value` counts them."""

    value: float | None = Field(description="Objective of the best plan, re-optimised; null where there is none.")
    design: str | None = Field(description="Design of the best plan, re-optimised.")
    pools: str | None
    proven: bool = Field(description="Whether that plan is proven optimal.")
    bought_value: float = Field(description="Objective of the bought plan, at the prices of this case.")
    bought_holds: bool = Field(description="Whether the bought plan carries the load within the objectives.")
    bought_misses: list[str] = Field(description="Objectives that the bought plan misses.")


class InputEffect(Result):
    """One input, lower and higher by its error."""

    input: str
    title: str
    error_fraction: float
    low_factor: float = Field(description="Factor of the input: 1 less its error, or the least it can be.")
    source: str = Field(description="Who says so: the runtime, the user, or a default.")
    low: OutcomeOfError
    high: OutcomeOfError
    swing: float | None = Field(description="Difference between the re-optimised values; null where one has no plan.")
    note: str | None = Field(default=None, description="Note where its range is not its error: a PUE stops at 1.")


class NoEffect(Result):
    """An input of electricity that changes nothing here."""

    input: str
    title: str
    reason: str


class MonteCarlo(Result):
    """All inputs at once, drawn independently, each uniform within its error."""

    draws: int
    seed: int
    distribution: str
    no_plan_fraction: float = Field(description="Draws for which no plan exists.")
    value_mean: float | None
    value_p5: float | None
    value_p50: float | None
    value_p95: float | None
    bought_value_mean: float
    bought_value_p95: float
    bought_holds_fraction: float
    bought_holds_low: float = Field(description="Lower end of its 95 % interval (Wilson).")
    bought_holds_high: float
    designs: dict[str, float] = Field(description="Share of the draws that each design wins.")


class Flip(Result):
    """Where another design becomes the best one; the factor is null if that is nowhere in the range."""

    input: str
    direction: str = Field(description="lower or higher than now.")
    now: float = Field(description="USD/h, or requests/s.")
    at: float | None
    factor: float | None
    design: str | None = Field(description="Design that wins beyond.")
    pools: str | None
    searched_to: float = Field(description="Multiple up or down to which was looked.")
    exact: bool = Field(description="Prices: where two proven plans cost the same. Load: false, to 0.1 %.")


class Sensitivity(Head):
    """How a plan and the best plan respond to errors of the inputs."""

    objective: str
    value: float = Field(description="Value of the plan, in the objective's unit: USD/h, W, machines or kg/h.")
    electricity_usd_per_hour: float | None = Field(
        description="Part of it for electricity billed beside the prices, at the expected draw, as in the plan's "
        "`energy`; null where the scenario states no price of electricity. Plans are chosen without it."
    )
    design: str
    pools: str
    inputs: list[InputEffect] = Field(description="Largest swing first.")
    no_effect: list[NoEffect]
    monte_carlo: MonteCarlo | None
    flips: list[Flip]

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 4 something is not proven within the time limit, else 0."""
        proven = all(o.proven for e in self.inputs for o in (e.low, e.high))
        return EXIT_OK if proven else EXIT_LIMIT_WITH_PLAN

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict an input and side: rows for a sheet."""
        return [
            {"input": e.input, "error_fraction": e.error_fraction, "source": e.source, "side": side,
             "factor": factor, **outcome.model_dump()}
            for e in self.inputs
            for side, factor, outcome in (("low", e.low_factor, e.low), ("high", 1 + e.error_fraction, e.high))
        ]  # fmt: skip
