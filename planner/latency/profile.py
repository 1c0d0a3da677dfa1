"""Step times interpolated from a measured table: the second source of step times.

The table is a CSV in the form of the Splitwise profile: `model, hardware, prompt_size, batch_size, prompt_time,
token_time, tensor_parallel` (times in ms; other columns are ignored; repeated rows are reduced to their median).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.errors import TraceError, UnknownNameError
from planner.latency.batch import Batch, Floats

COLUMNS = ("model", "hardware", "prompt_size", "batch_size", "prompt_time", "token_time", "tensor_parallel")
MIXING_FACTOR = 1.1  # a step with prompts and decoding sequences over the prompts alone (Splitwise simulator)


class ProfileLatency:
    """Step times of one model on one machine from a measured table.

    Parameters
    ----------
    prompt_tokens, prompt_time_s : array_like, shape (n,)
        Tokens batched in a prefill step, increasing, and its time.
    batch, token_time_s : array_like, shape (m,)
        Sequences decoding together, increasing, and the time of a step.

    Notes
    -----
    Linear between the points. Beyond the last point the last segment goes on; below the first, the time of the
    first holds: a step of few tokens reads the same weights. Measured times that fall with size are raised to
    the running maximum, so that more work never takes less time.
    """

    def __init__(self, prompt_tokens: Floats, prompt_time_s: Floats, batch: Floats, token_time_s: Floats) -> None:
        self._tokens, self._prompt_s = prompt_tokens, np.maximum.accumulate(prompt_time_s)
        self._batch, self._token_s = batch, np.maximum.accumulate(token_time_s)

    def step_time_s(self, batch: Batch) -> Floats:
        """Time of one step [s]; a step with prompts and sequences takes 1.1 x that of its prompts."""
        prefill_s = _interpolate(batch.prompt_tokens, self._tokens, self._prompt_s)
        decode_s = _interpolate(batch.decode_sequences, self._batch, self._token_s)
        mixed = (batch.prompt_tokens > 0) & (batch.decode_sequences > 0)
        with_prompts = np.where(mixed, np.maximum(MIXING_FACTOR * prefill_s, decode_s), prefill_s)
        return np.where(batch.prompt_tokens > 0, with_prompts, decode_s)


@dataclass(frozen=True)
class ProfileKey:
    """What a profile's rows are about; `hardware` as the file names it."""

    model: str
    hardware: str
    tensor_parallel: int


def _interpolate(x: Floats, xs: Floats, ys: Floats) -> Floats:
    slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2]) if len(xs) > 1 else 0.0
    return np.asarray(np.interp(x, xs, ys) + slope * np.maximum(x - xs[-1], 0.0))


def read_profile(path: str | Path) -> dict[ProfileKey, ProfileLatency]:
    """Read a table of measured step times.

    Returns
    -------
    dict
        Step times by model, hardware and tensor degree. The prefill curve is over tokens batched (prompt size x
        batch size), the decode curve over batch size at the prompt size measured with most batches.

    Raises
    ------
    TraceError
        A missing file or column, a value that is no positive number, or too few points.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise TraceError(
                    f"a step-time profile needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
                    where=f"{path}:1",
                    value=", ".join(reader.fieldnames or ()) or "no columns",
                    fix=f"columns: {', '.join(COLUMNS)}",
                )
            rows: dict[ProfileKey, dict[tuple[float, float], list[tuple[float, float]]]] = {}
            for line, row in enumerate(reader, start=2):
                size, n, prompt_ms, token_ms, tp = (
                    _positive(row[c], c, f"{path}:{line}")
                    for c in ("prompt_size", "batch_size", "prompt_time", "token_time", "tensor_parallel")
                )
                key = ProfileKey(row["model"], row["hardware"], int(tp))
                rows.setdefault(key, {}).setdefault((size, n), []).append((prompt_ms, token_ms))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise TraceError("cannot read the step-time profile", where=str(path), value=str(error)) from None
    return {key: _curves(points, key, path) for key, points in rows.items()}


def _positive(text: str | None, column: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise TraceError(f"{column} must be a positive number", where=where, value=repr(text))
    return value


def _curves(
    points: dict[tuple[float, float], list[tuple[float, float]]], key: ProfileKey, path: Path
) -> ProfileLatency:
    medians = {sizes: np.median(np.array(times), axis=0) / 1e3 for sizes, times in points.items()}
    prefill: dict[float, list[float]] = {}
    for (size, n), (prompt_s, _) in medians.items():
        prefill.setdefault(size * n, []).append(prompt_s)
    by_prompt: dict[float, dict[float, float]] = {}
    for (size, n), (_, token_s) in medians.items():
        by_prompt.setdefault(size, {})[n] = token_s
    decode = max(by_prompt.values(), key=lambda curve: (len(curve), -min(curve)))
    if len(prefill) < 2 or len(decode) < 2:
        raise TraceError(
            f"too few points for {key.model} on {key.hardware} at tensor degree {key.tensor_parallel}",
            where=str(path),
            value=f"{len(prefill)} prompt sizes, {len(decode)} batch sizes",
            rule="at least two of each",
        )
    tokens, batch = np.array(sorted(prefill)), np.array(sorted(decode))
    return ProfileLatency(
        tokens, np.array([np.mean(prefill[t]) for t in tokens]), batch, np.array([decode[b] for b in batch])
    )


def select(profile: dict[ProfileKey, ProfileLatency], key: ProfileKey, where: str) -> ProfileLatency:
    """Return the step times for `key`, or raise `UnknownNameError` naming what the file holds."""
    if key not in profile:
        known = sorted(f"{k.model}/{k.hardware}/tp{k.tensor_parallel}" for k in profile)
        raise UnknownNameError.of("profile", f"{key.model}/{key.hardware}/tp{key.tensor_parallel}", known, where=where)
    return profile[key]
