"""Measured tables: interpolation, extrapolation, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.errors import TraceError, UnknownNameError
from planner.latency.batch import decode_batch, mixed_batch, prefill_batch
from planner.latency.profile import COLUMNS, ProfileKey, ProfileLatency, read_profile, select

HEADER = ",".join(COLUMNS)
GOOD = [
    "m,g,100,1,10,4,8", "m,g,200,1,20,4,8", "m,g,400,1,60,5,8", "m,g,100,2,22,6,8", "m,g,100,4,50,7,8",
]  # fmt: skip


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "profile.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_between_below_and_beyond_the_points(tmp_path: Path) -> None:
    step = read_profile(write(tmp_path, HEADER, *GOOD))[ProfileKey("m", "g", 8)]
    # 200 tokens were measured as one prompt (20 ms) and as two (22 ms), 400 as 60 and 50 ms.
    np.testing.assert_allclose(
        step.step_time_s(prefill_batch([50.0, 100.0, 150.0, 300.0, 600.0])), [0.010, 0.010, 0.0155, 0.038, 0.089]
    )
    np.testing.assert_allclose(step.step_time_s(decode_batch([1.0, 3.0, 8.0], 500)), [0.004, 0.0065, 0.009])
    np.testing.assert_allclose(step.step_time_s(mixed_batch(100, 1, 2, 500)), 0.011)


def test_repeated_rows_are_their_median(tmp_path: Path) -> None:
    rows = [*GOOD, "m,g,100,1,12,4,8", "m,g,100,1,900,4,8"]
    step = read_profile(write(tmp_path, HEADER, *rows))[ProfileKey("m", "g", 8)]
    assert step.step_time_s(prefill_batch(100)) == pytest.approx(0.012)


def test_more_work_never_takes_less_time() -> None:
    step = ProfileLatency(np.array([1.0, 2, 3]), np.array([5.0, 4, 6]), np.array([1.0, 2, 4]), np.array([3.0, 2, 1]))
    times = step.step_time_s(prefill_batch(np.linspace(0.5, 9, 40)))
    assert np.all(np.diff(times) >= 0)
    assert np.all(np.diff(step.step_time_s(decode_batch(np.arange(1, 30), 10))) >= 0)


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["model,hardware,prompt_size", "m,g,1"], ":1", "batch_size, prompt_time, token_time, tensor_parallel"),
        ([HEADER, GOOD[0], "m,g,200,1,-3,4,8"], ":3", "prompt_time must be a positive number"),
        ([HEADER, GOOD[0], "m,g,200,1,nan,4,8"], ":3", "prompt_time"),
        ([HEADER, GOOD[0], "m,g,200,1,fast,4,8"], ":3", "'fast'"),
        ([HEADER, GOOD[0], "m,g,200,1,20,0,8"], ":3", "token_time"),
        ([HEADER, GOOD[0], "m,g,200,1,20"], ":3", "token_time"),
        ([HEADER, GOOD[0], GOOD[1]], "profile.csv", "too few points for m on g at tensor degree 8"),
    ],
)
def test_bad_files_say_where(tmp_path: Path, lines: list[str], where: str, what: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_profile(write(tmp_path, *lines))
    assert where in str(caught.value) and what in str(caught.value)


def test_missing_empty_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot read"):
        read_profile(tmp_path / "none.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(TraceError, match="no columns"):
        read_profile(empty)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="cannot read"):
        read_profile(binary)


def test_select_names_what_the_file_holds(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path, HEADER, *GOOD))
    assert select(profile, ProfileKey("m", "g", 8), "here") is profile[ProfileKey("m", "g", 8)]
    with pytest.raises(UnknownNameError, match="m/g/tp8"):
        select(profile, ProfileKey("m", "g", 4), "here")
