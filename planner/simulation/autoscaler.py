"""What an autoscaler does with a day's arrivals: replicas that a table asks for, when they serve and until when.

The rules are those of Kubernetes' horizontal autoscaler with a table in the place of a target: at every check the load
is the rate of arrivals over a window; more machines are ordered at once and serve after a cold start; fewer are kept
only when the load has asked for fewer throughout a time (its stabilisation window). What it does depends on arrivals
alone, so that it can be known before anything is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.simulation.specification import Failure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ScalingRule:
    """When machines are ordered and given back.

    Attributes
    ----------
    cold_start_s : float
        From the order of a machine until it serves [s].
    hysteresis_s : float
        How long the load must have asked for fewer before machines go [s].
    window_s : float
        Over which arrivals are counted [s].
    interval_s : float
        Between two checks [s].
    """

    cold_start_s: float
    hysteresis_s: float
    window_s: float = 60.0
    interval_s: float = 15.0


@dataclass(frozen=True, eq=False)
class Orders:
    """Machines of each pool that are paid for, check by check.

    Attributes
    ----------
    at_s : ndarray, shape (k,)
        Times of the checks, from 0 [s].
    counts : ndarray of int, shape (k, p)
        Machines of each pool from each check on.
    end_s : float
        Until when [s].
    """

    at_s: Floats
    counts: Ints
    end_s: float

    def machine_s(self) -> Floats:
        """Machine time of each pool that is paid for [s], shape (p,)."""
        lasts = np.diff(np.append(self.at_s, self.end_s))
        return np.asarray(lasts @ self.counts, dtype=float)

    def starting(self, cold_start_s: float) -> NDArray[np.bool_]:
        """Whether a machine of any pool is being started after each check, shape (k,)."""
        rises = (np.diff(self.counts, axis=0) > 0).any(axis=1)
        begun = self.at_s[1:][rises]
        last = np.searchsorted(begun, self.at_s, side="right")
        return np.asarray(self.at_s < np.append(-np.inf, begun)[last] + cold_start_s)


def observed_rates(arrival_s: Floats, at_s: Floats, window_s: float, before: Callable[[Floats], Floats]) -> Floats:
    """Arrivals a second over the window that ends at each time [requests/s].

    Parameters
    ----------
    arrival_s : ndarray
        In order, from 0 [s].
    at_s : ndarray, shape (k,)
        Times, which may be negative [s].
    window_s : float
    before : callable
        Mean rate at times before 0, where there are no arrivals [requests/s].
    """
    counted = np.searchsorted(arrival_s, at_s) - np.searchsorted(arrival_s, at_s - window_s)
    missing = np.clip(window_s - np.maximum(at_s, 0.0), 0.0, window_s)  # part of the window that lies before 0
    return (counted + missing * before(np.minimum(at_s, 0.0))) / window_s


def orders(
    arrival_s: Floats,
    end_s: float,
    rule: ScalingRule,
    wanted: Callable[[Floats], Ints],
    before: Callable[[Floats], Floats],
) -> Orders:
    """What is ordered over a day.

    Parameters
    ----------
    arrival_s : ndarray
    end_s : float
    rule : ScalingRule
    wanted : callable
        Rates, shape (k,) -> machines of each pool, shape (k, p).
    before : callable
        As `observed_rates` takes it.

    Notes
    -----
    c(t) = max over t - hysteresis <= u <= t of w(r(u))                                              (1)

    w is the table and r the observed rate: a rise counts at once, a fall when it has lasted.
    """
    back = int(np.ceil(rule.hysteresis_s / rule.interval_s))
    ticks = np.arange(-back, int(np.floor(end_s / rule.interval_s)) + 1, dtype=np.float64)
    asked = wanted(observed_rates(arrival_s, ticks * rule.interval_s, rule.window_s, before))
    held = np.lib.stride_tricks.sliding_window_view(asked, back + 1, axis=0).max(axis=-1)
    return Orders(ticks[back:] * rule.interval_s, held, end_s)


def absences(ordered: Orders, cold_start_s: float, first_machine: Sequence[int], most: ArrayLike) -> list[Failure]:
    """When each machine of a cluster serves nothing, as the simulator takes it: drained, not failed.

    Parameters
    ----------
    ordered : Orders
    cold_start_s : float
    first_machine : sequence of int
        Number of each pool's first machine in the cluster.
    most : array_like of int
        Machines of each pool. The last ordered goes first; the first of each pool always serves.
    """
    found: list[Failure] = []
    for pool, (first, n) in enumerate(zip(first_machine, np.asarray(most).tolist(), strict=True)):
        for number in range(1, n):
            on = ordered.counts[:, pool] > number
            edges = np.flatnonzero(np.diff(on.astype(np.int8))) + 1
            off_from = 0.0 if not on[0] else None
            for at in edges.tolist():
                t = float(ordered.at_s[at])
                if on[at]:  # ordered: back after the cold start, unless it is given back before
                    falls = edges[edges > at]
                    until = float(ordered.at_s[falls[0]]) if falls.size else np.inf
                    if t + cold_start_s < until:
                        assert off_from is not None
                        found.append(Failure(first + number, off_from, t + cold_start_s, drains=True))
                        off_from = None
                elif off_from is None:
                    off_from = t
            if off_from is not None:
                found.append(Failure(first + number, off_from, drains=True))
    return found
