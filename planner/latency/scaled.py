"""Step times that are longer or shorter by a factor: what an error of the latency model would mean."""

from __future__ import annotations

from dataclasses import dataclass

from planner.latency import StepTimes
from planner.latency.batch import Batch, Floats


@dataclass(frozen=True)
class ScaledSteps:
    """Step times of a source, times a factor.

    Parameters
    ----------
    step : StepTimes
    factor : float
        Above 0; 1.1 is a tenth longer.
    """

    step: StepTimes
    factor: float

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s]."""
        return self.factor * self.step.step_time_s(batch)


def scaled(step: StepTimes, factor: float) -> StepTimes:
    """`step` times a factor; itself where that is 1."""
    return step if factor == 1.0 else ScaledSteps(step, factor)
