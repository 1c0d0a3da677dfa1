"""Physics: the time of one batch step, what fits in memory, collectives, KV transfer and power.

Pure functions of floats and arrays; knows no pool, price or solver.
"""

from __future__ import annotations

from typing import Protocol

from planner.latency.batch import Batch, Floats


class StepTimes(Protocol):
    """A source of step times: the roofline or a measured profile."""

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s], broadcast over the batch."""
        ...
