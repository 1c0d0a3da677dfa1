"""How demand moves over a day: built-in shapes, and the shape of a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.catalog.entry import SourceKind
from planner.errors import ScenarioError, TraceError
from planner.workload.traces import Trace

HOURS = 24


@dataclass(frozen=True)
class DayShape:
    """How demand moves over a day.

    Attributes
    ----------
    name : str
    weights : tuple of float, 24
        Demand of each hour of the day over that of the busiest one; the largest is 1.
    source : str
    kind : str
        As in the catalog.
    """

    name: str
    weights: tuple[float, ...]
    source: str
    kind: SourceKind


def sinusoidal_shape(lowest_fraction: float, busiest_hour: int, name: str = "sinusoidal") -> DayShape:
    """A day that swings once between its busiest hour and `lowest_fraction` of it, twelve hours apart.

    Notes
    -----
    w(h) = (1 + f)/2 + (1 - f)/2 cos(2 pi (h - h_0) / 24)                                           (1)
    """
    if not 0.0 <= lowest_fraction <= 1.0:
        raise ScenarioError("the lowest hour lies between 0 and the busiest", where="day", value=lowest_fraction)
    hours = np.arange(HOURS)
    swing = np.cos(2.0 * np.pi * (hours - busiest_hour) / HOURS)
    weights = (1.0 + lowest_fraction) / 2.0 + (1.0 - lowest_fraction) / 2.0 * swing
    return DayShape(
        name,
        tuple(float(w) for w in weights),
        f"assumed: one swing a day, its lowest hour {lowest_fraction:.0%} of the busiest, which is {busiest_hour}:00",
        "estimate",
    )


# Assumptions, not measurements: no hour-of-day figures of LLM traffic that could be cited were found. Put your own 24
# numbers, or a trace, in their place.
SHAPES: dict[str, DayShape] = {
    "flat": DayShape("flat", (1.0,) * HOURS, "the same at every hour", "derived"),
    "office": sinusoidal_shape(0.1, 14, "office"),
    "consumer": sinusoidal_shape(0.35, 20, "consumer"),
}


def shape_from_trace(trace: Trace, *, first_hour: float = 0.0) -> DayShape:
    """Shape of the day in a trace: mean arrivals of each hour of the day over its whole days.

    Parameters
    ----------
    trace : Trace
        With timestamps, at least a day long; what is left after the last whole day is not used.
    first_hour : float
        Hour of the day at which the trace begins, 0 to 24.

    Raises
    ------
    TraceError
        No timestamps, or less than a day.
    """
    if trace.arrival_s is None:
        raise TraceError("this trace has no timestamps, so it has no day profile", where=str(trace.path))
    # The last hour is there even where its last request comes some minutes before it ends.
    days = math.floor(float(trace.arrival_s[-1]) / 86400.0 + 1.0 / HOURS)
    if days < 1:
        raise TraceError(
            f"this trace is {float(trace.arrival_s[-1]) / 3600:.1f} hours long",
            where=str(trace.path),
            rule="the shape of a day needs a whole day",
            fix="use a longer trace, a built-in shape, or 24 numbers",
        )
    hour = np.floor(trace.arrival_s / 3600.0 + first_hour).astype(np.int64)
    within = trace.arrival_s < days * 86400.0
    counts = np.bincount(hour[within] % HOURS, minlength=HOURS).astype(float)
    weights = counts / counts.max()
    return DayShape(
        trace.path.name.split(".")[0], tuple(float(w) for w in weights), f"{trace.path.name}, {days} days", "measured"
    )
