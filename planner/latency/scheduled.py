"""Step times with what an engine's scheduler adds to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.catalog.batching import Batching
from planner.latency import StepTimes
from planner.latency.batch import Batch, Floats


@dataclass(frozen=True)
class ScheduledSteps:
    """Step times of a source, and a fixed time more for steps with prompts and for those without.

    Parameters
    ----------
    step : StepTimes
    decode_s, prompt_s : float
        More for a step without prompts, and with them [s].
    """

    step: StepTimes
    decode_s: float
    prompt_s: float

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s]."""
        return self.step.step_time_s(batch) + np.where(batch.prompt_tokens > 0, self.prompt_s, self.decode_s)


def scheduled(step: StepTimes, batching: Batching) -> StepTimes:
    """`step` under a scheduler; itself where that takes no time."""
    prompt_s = batching.prompt_step_s
    if batching.prompts == "whole" and batching.whole_prompt_step_s is not None:
        prompt_s = batching.whole_prompt_step_s
    return ScheduledSteps(step, batching.decode_step_s, prompt_s) if batching.decode_step_s or prompt_s else step
