"""Timing one call on a device: warmed up, with a cold cache, the median of many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

WARM_UP_CALLS = 5
FEWEST_CALLS = 7
MOST_CALLS = 100
FLUSH_BYTES = 512 * 2**20  # more than the last-level cache of any accelerator in the catalog


class Clock:
    """Times calls on one device.

    Parameters
    ----------
    device : str
        `cuda` or `cuda:1`, timed by events on its stream; anything else by the host's clock.
    flush_bytes : int
        Size of the buffer that is overwritten before each call, so that no weight is left in the cache.
    """

    def __init__(self, device: str, flush_bytes: int = FLUSH_BYTES) -> None:
        import torch

        self._torch: Any = torch
        self._on_gpu = device.startswith("cuda")
        self._flush = torch.empty(flush_bytes, dtype=torch.int8, device=device) if flush_bytes else None

    def time_s(self, call: Callable[[], object], target_s: float = 0.5) -> tuple[float, float, int]:
        """Time of one call.

        Parameters
        ----------
        call : callable
        target_s : float
            Time to spend on it, roughly; it decides the number of calls.

        Returns
        -------
        float, float, int
            Median and interquartile range [s], and the number of calls.
        """
        for _ in range(WARM_UP_CALLS):
            call()
        self._synchronise()
        started = time.perf_counter()
        self._once_s(call)
        one_s = max(time.perf_counter() - started, 1e-6)
        n = int(min(max(target_s / one_s, FEWEST_CALLS), MOST_CALLS))
        times = sorted(self._once_s(call) for _ in range(n))
        quartiles = statistics.quantiles(times, n=4)
        return statistics.median(times), quartiles[2] - quartiles[0], n

    def _once_s(self, call: Callable[[], object]) -> float:
        if self._flush is not None:
            self._flush.zero_()
        if not self._on_gpu:
            started = time.perf_counter()
            call()
            return time.perf_counter() - started
        begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3

    def _synchronise(self) -> None:
        if self._on_gpu:
            self._torch.cuda.synchronize()
