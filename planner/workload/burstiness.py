"""How arrivals of a trace vary: between gaps, over a second, over minutes; and whether its timestamps can tell.

One number hides swings: the Azure conversation trace has gaps of nearly a Poisson process, and counts of its minutes
that vary 16 times as much as a Poisson's. So a trace is told by the dispersion of its counts over several windows, and
by how much busier its busiest minute is than the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SizeFor = Literal["mean", "p95-minute", "peak-minute"]
WINDOWS_S = (1.0, 10.0, 60.0, 600.0)
FEWEST_WINDOWS = 5  # that a dispersion is computed from
FEWEST_MINUTES = 3  # whole ones that a peak is told from
_MINUTE_S = 60.0
_LUMPED = 0.3  # share of gaps of nothing from which timestamps are taken to be in steps
_FEWEST_GAPS = 20
_STEPS = 10  # a window within which steps of the timestamps no longer show


@dataclass(frozen=True)
class Variability:
    """Squared coefficient of variation of the gaps of a renewal process that varies as the trace does, and why."""

    cv2: float
    source: str


def step_of(arrival_s: FloatArray) -> float | None:
    """Seconds between timestamps that many requests share; None where timestamps are as fine as the arrivals.

    Timestamps that were rounded to seconds, or collected every few seconds, say nothing about shorter times.
    """
    gaps = np.diff(arrival_s)
    if gaps.size < _FEWEST_GAPS or np.mean(gaps == 0) < _LUMPED:
        return None
    steps = gaps[gaps > 0]
    return float(np.median(steps)) if steps.size else None


def dispersion(arrival_s: FloatArray, window_s: float) -> float | None:
    """Variance over mean of the number of arrivals in windows that follow each other; 1 for a Poisson process.

    None where there are fewer than five whole windows.
    """
    counts = _counts(arrival_s, window_s)
    if counts.size < FEWEST_WINDOWS:
        return None
    return float(np.var(counts, ddof=1) / np.mean(counts))


def minute_factors(arrival_s: FloatArray) -> dict[SizeFor, float] | None:
    """Arrivals of the busiest minute and of the minute at P95 over those of the mean one; None below three minutes."""
    counts = _counts(arrival_s, _MINUTE_S)
    if counts.size < FEWEST_MINUTES or not counts.any():
        return None
    mean = float(np.mean(counts))
    return {
        "mean": 1.0,
        "p95-minute": float(np.quantile(counts, 0.95, method="higher")) / mean,
        "peak-minute": float(counts.max()) / mean,
    }


def variability(arrival_s: FloatArray, *, within_minutes: bool = False) -> Variability | None:
    """How bursty arrivals are, as gaps of a renewal process are.

    Parameters
    ----------
    arrival_s : ndarray, shape (n,)
        Rising [s].
    within_minutes : bool
        Without what the rate does from minute to minute, for who is sized for a busy minute already.

    Returns
    -------
    Variability or None
        None where there is too little to tell.

    Notes
    -----
    Of the gaps where timestamps are fine enough. Where they come in steps, the gaps show the steps; the dispersion of
    counts over ten steps is taken, which for a renewal process tends to the squared coefficient of variation of its
    gaps. What cannot be told from a Poisson process at three standard errors is one.
    """
    step_s = step_of(arrival_s)
    span_s = float(arrival_s[-1] - arrival_s[0]) if arrival_s.size else 0.0
    if arrival_s.size < _FEWEST_GAPS or span_s <= 0:
        return None
    if step_s is not None:
        window_s = _STEPS * step_s
        counts = _counts(arrival_s, window_s)
        if counts.size < FEWEST_WINDOWS:
            return None
        if within_minutes:
            # Neighbours differ by what varies within them, whatever the rate does over longer times.
            cv2 = float(np.mean(np.diff(counts) ** 2) / (2.0 * np.mean(counts)))
        else:
            cv2 = float(np.var(counts, ddof=1) / np.mean(counts))
        source = f"of counts over {window_s:.3g} s, as timestamps come in steps of {step_s:.3g} s"
        return Variability(_or_poisson(cv2, 2.0 / counts.size), source)
    gaps = np.diff(arrival_s)
    if not within_minutes:
        return Variability(_or_poisson(float(np.var(gaps) / np.mean(gaps) ** 2), 8.0 / gaps.size), "of the gaps")
    minute = ((arrival_s - arrival_s[0]) // _MINUTE_S).astype(np.int64)[1:]
    _, at, n = np.unique(minute, return_index=True, return_counts=True)
    parts = [(gaps[i : i + k], k) for i, k in zip(at.tolist(), n.tolist(), strict=True) if k >= _FEWEST_GAPS]
    if not parts:
        return variability(arrival_s)
    cv2 = sum(k * float(np.var(g) / np.mean(g) ** 2) for g, k in parts) / sum(k for _, k in parts)
    return Variability(_or_poisson(cv2, 8.0 / gaps.size), "of the gaps within its minutes")


def _or_poisson(cv2: float, variance: float) -> float:
    """1 where a Poisson process may well show this value, the variance of which it is."""
    return 1.0 if abs(cv2 - 1.0) <= 3.0 * variance**0.5 else cv2


def _counts(arrival_s: FloatArray, window_s: float) -> FloatArray:
    """Arrivals in each whole window from the first arrival on."""
    after = arrival_s - arrival_s[0]
    n = int(after[-1] // window_s)
    return np.bincount((after // window_s).astype(np.int64), minlength=n + 1)[:n].astype(float)
