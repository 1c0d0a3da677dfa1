"""describe: the figures of a trace in one record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.workload.describe import describe
from planner.workload.sizes import RequestSizes
from planner.workload.traces import Trace


def test_a_trace_by_hand() -> None:
    trace = Trace(np.array([0.0, 1, 4]), np.array([10.0, 20, 30]), np.array([1.0, 5, 3]), Path("some.csv"), "generic")
    summary = describe(trace)
    (record,) = summary.to_records()
    assert record["name"] == "some"
    assert (record["n_requests"], record["duration_s"], record["rate_per_s"]) == (3, 4, 0.5)
    assert record["arrival_cv2"] == pytest.approx(0.25)
    assert [record[f"prompt_tokens_{f}"] for f in ("mean", "p50", "p90", "p99", "max")] == [20, 20, 30, 30, 30]
    assert [record[f"output_tokens_{f}"] for f in ("mean", "p50", "p90", "p99", "max")] == [3, 3, 5, 5, 5]
    assert record["mean_kv_token_steps"] == pytest.approx((1 * 10.5 + 5 * 22.5 + 3 * 31.5) / 3)
    assert record["correlation"] == pytest.approx(0.5)
    assert record["decode_context_tokens"] == pytest.approx((4 * 22 + 2 * 31) / 6)
    assert all(value is None or isinstance(value, (str, int, float)) for value in record.values())


def test_a_distribution_has_no_arrivals() -> None:
    summary = describe(RequestSizes.equally_weighted([5, 5], [1, 2], "fixed prompt"))
    assert (summary.n_requests, summary.duration_s, summary.rate_per_s, summary.arrival_cv2) == (None,) * 4
    assert (summary.correlation, summary.normal_score_correlation) == (0, 0)
