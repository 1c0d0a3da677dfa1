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
    # Longer runs move it, most often down: queues that fill slowly look well at first. So steps double until both
    # sides are known, and are halved until these are neighbours.
    step = (low + high) // 2
    at = excess(_STEP**step, many)
    towards, stride = (1 if at <= 0.0 else -1), 1
    near, near_at = step, at
    while True:
        far = min(max(near + towards * stride, 0), last)
        if far == near:
            return _STEP**near
        far_at = excess(_STEP**far, many)
        if (far_at > 0.0) != (near_at > 0.0):
            break
        near, near_at, stride = far, far_at, 2 * stride
    while abs(far - near) > 1:
        middle = (near + far) // 2
        middle_at = excess(_STEP**middle, many)
        if (middle_at > 0.0) == (near_at > 0.0):
            near, near_at = middle, middle_at
        else:
            far, far_at = middle, middle_at
    return _STEP ** (near + near_at / (near_at - far_at) * (far - near))


def _excess(simulated: Simulated, i: int, limit: Limit) -> float:
    """How far an objective is missed: the logarithm of its late share over what is allowed; above 0 where it is."""
    if not simulated.stable:
        return math.log(1.0 / limit.allowed)
    late = max(simulated.late[i].value, _LEAST_LATE / max(simulated.n_counted, 1))
    return math.log(late / limit.allowed)
