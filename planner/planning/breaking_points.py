"""The loads at which the objectives of a cluster break, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from planner.planning.trials import Testbed
from planner.pools.prediction import ClusterModel, Member, Route
from planner.serving.requests import Limit
from planner.simulation.summary import Simulated

MOST_LOAD = 16.0  # multiple at which the search ends
_BEYOND = 1.03  # of the load at which the busiest pool is busy all the time, by the formulas: there the search begins
_STEP = 1.02  # between loads, which are its powers so that objectives share their runs
_NEAR, _ON = 3, 7  # steps between which short runs bracket a load, and by which they look on for one
_FEW, _MANY = 10_000, 100_000  # requests of a run: to find about where, and to read it off
_FAR = math.log(4.0)  # a late share so many times what is allowed, or so many times less, needs one run
_LEAST_LATE = 0.3  # late requests that stand for none, so that shares have logarithms


def breaking_loads(
    testbed: Testbed,
    members: Sequence[Member],
    routes: Sequence[Route],
    limits: Sequence[Limit],
    tell: Callable[[str], None],
) -> dict[int, float]:
    """Load multiple at which each objective, by its position, is first missed.

    Notes
    -----
    Every load is simulated with the same seeds, so that only the load differs. Short runs find about where an objective
    breaks. Near its edge a queue remembers for long, and runs ten times as long on both sides of that load say where:
    between the two, 2 % apart, the logarithm of the late share is taken as straight.
    """
    model = ClusterModel(members, routes, testbed.need)
    busiest = max(model.utilisation(i) for i in range(len(members)))
    links = max(model.network_utilisation(i) for i in range(len(members)))
    top = min(max(_BEYOND / max(busiest, 1e-3), 1.0), max(1.0 / max(links, 1e-3), 1.0), MOST_LOAD)

    def excess(load: float, i: int, n_requests: int) -> float:
        if load * links >= 1.0 - 1e-9 and testbed.clients is None:
            return math.log(1.0 / limits[i].allowed)  # what waits for the NICs grows without end
        tell(f"simulating {load:.2f} x the load")
        first = _excess(testbed.simulate(members, routes, load, n_requests, n_seeds=1), i, limits[i])
        if abs(first) > _FAR:  # other seeds would not say otherwise
            return first
        return _excess(testbed.simulate(members, routes, load, n_requests), i, limits[i])

    return {i: _breaking_load(lambda load, n, i=i: excess(load, i, n), testbed, top) for i in range(len(limits))}  # type: ignore[misc]


def _breaking_load(excess: Callable[[float, int], float], testbed: Testbed, top: float) -> float:
    """Where `excess` (of a load, by runs of so many requests) passes 0; at most `MOST_LOAD`."""
    few, many = testbed.at_most(_FEW), testbed.at_most(_MANY)
    last = math.floor(math.log(MOST_LOAD) / math.log(_STEP))
    low, high = 0, min(max(math.ceil(math.log(top) / math.log(_STEP)), 1), last)
    while excess(_STEP**high, few) <= 0.0:
        if high == last:
            return MOST_LOAD
        low, high = high, min(high + _ON, last)
    while high - low > _NEAR:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(_STEP**middle, few) <= 0.0 else (low, middle)
    # Longer runs move it, most often down: queues that fill slowly look well at first.
    step = (low + high) // 2
    at = excess(_STEP**step, many)
    to = 1 if at <= 0.0 else -1
    while True:
        other = step + to
        if other in (-1, last + 1):
            return _STEP**step
        there = excess(_STEP**other, many)
        if (there > 0.0) != (at > 0.0):
            return _STEP ** (step + at / (at - there) * to)
        step, at = other, there


def _excess(simulated: Simulated, i: int, limit: Limit) -> float:
    """How far an objective is missed: the logarithm of its late share over what is allowed; above 0 where it is."""
    if not simulated.stable:
        return math.log(1.0 / limit.allowed)
    late = max(simulated.late[i].value, _LEAST_LATE / max(simulated.n_counted, 1))
    return math.log(late / limit.allowed)
