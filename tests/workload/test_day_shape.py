"""Shapes of a day: what ships says that it is assumed; what is taken from a log is what the log has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError
from planner.workload.day_shape import SHAPES, shape_from_trace
from planner.workload.traces import Trace


def test_built_in_shapes_say_that_they_are_assumed() -> None:
    for name, shape in SHAPES.items():
        assert len(shape.weights) == 24 and max(shape.weights) == 1.0 and min(shape.weights) >= 0.0
        assert name == "flat" or shape.kind == "estimate"
    assert min(SHAPES["office"].weights) == pytest.approx(0.1)
    assert SHAPES["consumer"].weights.index(1.0) == 20


def trace_of(hours: np.ndarray) -> Trace:
    ones = np.ones_like(hours)
    return Trace(np.sort(hours) * 3600.0 - hours.min() * 3600.0, ones, ones, Path("log.csv"), "generic")


def test_the_shape_of_a_trace() -> None:
    wanted = np.arange(1, 25)
    two_days = np.concatenate([np.arange(n) / n + hour for hour, n in enumerate([*wanted, *wanted])])
    shape = shape_from_trace(trace_of(two_days))
    assert shape.weights == pytest.approx(wanted / 24)
    assert shape.kind == "measured"
    shifted = shape_from_trace(trace_of(two_days), first_hour=6)
    assert shifted.weights == pytest.approx(np.roll(wanted, 6) / 24)


def test_a_trace_too_short_or_without_times() -> None:
    with pytest.raises(TraceError, match=r"22\.0 hours long"):
        shape_from_trace(trace_of(np.arange(0.0, 23.0)))
    ones = np.ones(3)
    with pytest.raises(TraceError, match="no timestamps"):
        shape_from_trace(Trace(None, ones, ones, Path("t.csv"), "generic"))
