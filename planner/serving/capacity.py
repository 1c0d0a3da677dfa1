"""Capacity curves: the largest rate that k machines carry within every objective.

Capacity grows faster than the number of machines (pooling, about k - beta sqrt(k)), so the curves are convex and
must never be approximated from above by concave pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Floats
from planner.serving.decode import DecodeQueue, Upstreams, late_curve
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Limit

_BISECTIONS, _SECANTS = 3, 8
_TOLERANCE = 1e-5  # of the stable rate
_LIGHT_LOAD = 1e-6  # of the stable rate: what cannot be met here cannot be met at all


@dataclass(frozen=True, eq=False)
class CapacityCurve:
    """The largest rate at given numbers of machines.

    Attributes
    ----------
    n_machines : ndarray of int, shape (k,)
        Increasing.
    rate_per_s : ndarray, shape (k,)
        Largest rate within every objective [requests/s]; never falls; 0 where none is possible.
    """

    n_machines: NDArray[np.int64]
    rate_per_s: Floats

    def at(self, n_machines: int) -> float:
        """Rate of `n_machines`, which must be one of the curve's points [requests/s]."""
        return float(self.rate_per_s[int(np.searchsorted(self.n_machines, n_machines))])


def objectives_on(limits: Sequence[Limit], metric: str) -> list[Limit]:
    """Those of `limits` that are on `metric`."""
    return [limit for limit in limits if limit.objective.metric == metric]


def largest_rate(excess: Callable[[Floats], Floats], stable_rate_per_s: Floats) -> Floats:
    """Largest rate that meets the objectives, elementwise.

    Parameters
    ----------
    excess : callable
        How far the objectives are missed at an array of rates [requests/s]: not above 0 where they hold; increasing.
    stable_rate_per_s : ndarray, shape (k,)
        Rates that cannot be exceeded [requests/s].

    Returns
    -------
    ndarray, shape (k,)
        Largest rate, on the safe side by about 1e-5 and at most 0.1 %; 0 where even light load misses.

    Notes
    -----
    Bisection at first, then the Illinois form of regula falsi: an end that stays twice counts half.
    """
    lo, hi = stable_rate_per_s * _LIGHT_LOAD, stable_rate_per_s * (1.0 - 1e-9)
    low, high = excess(lo), excess(hi)
    possible = (low <= 0) & (stable_rate_per_s > 0)
    lo = np.where(high <= 0, hi, lo)
    met = np.zeros(lo.shape, dtype=bool)
    for i in range(_BISECTIONS + _SECANTS):
        if i < _BISECTIONS:
            at = (lo + hi) / 2.0
        else:
            # A little towards the end that moved last time, so that both close in on the answer.
            at = hi - high * (hi - lo) / np.maximum(high - low, 1e-9)
            at = np.clip(at + np.where(met, 1.0, -1.0) * _TOLERANCE * stable_rate_per_s, lo, hi)
        value = excess(at)
        now = value <= 0
        half = 0.5 if i > _BISECTIONS else 1.0
        low = np.where(now, value, np.where(met, low, low * half))
        high = np.where(now, np.where(met, high * half, high), value)
        met, lo, hi = now, np.where(now, at, lo), np.where(now, hi, at)
    return np.where(possible, lo, 0.0)


def _over(share: Floats, allowed: float) -> Floats:
    """How far a share exceeds what is allowed, between -1 and 1."""
    return (share - allowed) / (share + allowed)


def prefill_capacity(
    queue: PrefillQueue, limits: Sequence[Limit], n_machines: NDArray[np.int64], lanes: int, most_busy: float
) -> CapacityCurve:
    """Capacity of a prefill pool within its TTFT limits, and at most `most_busy` utilised."""
    n_lanes = (n_machines * lanes).astype(float)
    ttft = [(limit, queue.slacks(limit.limit_s)) for limit in objectives_on(limits, "ttft")]

    stable = queue.stable_rate_per_s(n_lanes) * most_busy
    if not ttft:
        return _curve(n_machines, stable)

    def excess(rate: Floats) -> Floats:
        return np.maximum.reduce([_over(queue.share(slack, rate, n_lanes), x.allowed) for x, slack in ttft])

    return _curve(n_machines, largest_rate(excess, stable))


def decode_capacity(
    queue: DecodeQueue, limits: Sequence[Limit], upstream: Upstreams, n_machines: NDArray[np.int64], lanes: int
) -> CapacityCurve:
    """Capacity of a decode pool within its TBT and E2E limits, KV memory free 99 % of the time."""
    return decode_capacities(queue, limits, [upstream], n_machines, lanes)[0]


def decode_capacities(
    queue: DecodeQueue,
    limits: Sequence[Limit],
    upstreams: Sequence[Upstreams],
    n_machines: NDArray[np.int64],
    lanes: int,
) -> list[CapacityCurve]:
    """The same for each of several upstreams, which takes little longer than for one."""
    n_lanes = np.tile((n_machines * lanes).astype(float), len(upstreams))
    size = n_machines.size
    seen = [x for x in limits if x.objective.metric != "ttft"]
    late = [[(x, late_curve(queue, x.objective.metric, x.limit_s, up)) for x in seen] for up in upstreams]

    def excess(rate: Floats) -> Floats:
        state = queue.state(rate, n_lanes)
        over = _over(state.memory_full, MEMORY_FULL_ALLOWED)
        for i, curves in enumerate(late):
            own, rows = state.part(i * size, (i + 1) * size), over[i * size : (i + 1) * size]
            for x, curve in curves:
                np.maximum(rows, _over(own.share(curve, x.share), x.allowed), out=rows)
        return over

    rate = largest_rate(excess, queue.stable_rate_per_s(n_lanes))
    return [_curve(n_machines, rate[i * size : (i + 1) * size]) for i in range(len(upstreams))]


MEMORY_FULL_ALLOWED = 0.01  # share of arrivals that may find no KV memory free


def mixed_capacity(
    queue: MixedQueue, limits: Sequence[Limit], n_machines: NDArray[np.int64], lanes: int, most_busy: float
) -> CapacityCurve:
    """Capacity of a mixed pool within all its limits, KV memory free 99 % of the time.

    The search is over the batch on a lane, of which everything else follows without iteration.
    """
    n_lanes = (n_machines * lanes).astype(float)
    checks = {"ttft": queue.exceeds_ttft, "tbt": queue.exceeds_tbt, "e2e": queue.exceeds_e2e}

    def excess(batch: Floats) -> Floats:
        state = queue.state(batch, n_lanes)
        over = [_over(state.prompt_share, most_busy), _over(state.memory_full, MEMORY_FULL_ALLOWED)]
        for x in limits:
            over.append(_over(checks[x.objective.metric](x.limit_s, state, n_lanes), x.allowed))
        return np.maximum.reduce(over)

    batch = largest_rate(excess, np.full(n_lanes.shape, queue.largest_batch))
    return _curve(n_machines, np.where(batch > 0, queue.state(batch, n_lanes).rate_per_s * n_lanes, 0.0))


def _curve(n_machines: NDArray[np.int64], rate_per_s: Floats) -> CapacityCurve:
    return CapacityCurve(n_machines, np.maximum.accumulate(rate_per_s))


def machine_counts(n_enough: float, dense: int = 48, ratio: float = 1.12) -> NDArray[np.int64]:
    """Numbers of machines to compute a curve at: every one up to `dense`, then `ratio` apart, past `n_enough`."""
    top = int(np.ceil(max(n_enough, 1.0) * 1.15)) + 3
    if top <= dense:
        return np.arange(1, top + 1)
    n = int(np.ceil(np.log(top / dense) / np.log(ratio)))
    spaced = np.unique(np.ceil(dense * (top / dense) ** (np.arange(1, n + 1) / n)).astype(np.int64))
    return np.concatenate([np.arange(1, dense + 1), spaced[spaced > dense]])
