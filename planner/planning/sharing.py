"""How the load is shared among the pools of a cluster whose counts have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from planner.optimization.selection import balanced
from planner.pools.candidate import Candidate
from planner.pools.prediction import ClusterModel, Member, Requirement, Route
from planner.serving.capacity import CapacityCurve


def shared_anew(
    keys: Sequence[str],
    members: Sequence[Member],
    routes: Sequence[Route],
    candidates: Mapping[str, Candidate],
    need: Requirement,
) -> tuple[list[Member], list[Route], float]:
    """The cluster with its load shared so that the busiest pool is as little loaded as can be.

    Parameters
    ----------
    keys : sequence of str
        Candidate of each member.
    members : sequence of Member
        With the counts they are to have; their rates are those from before.
    routes : sequence of Route
        From before.
    candidates : mapping of str to Candidate
    need : Requirement

    Returns
    -------
    (list of Member, list of Route, float)
        And the least utilisation that the busiest pool can have, however the load is shared: at 1 or above nothing
        helps. The shares themselves follow what the pools carry within the objectives, where they carry all of it.
    """
    model = ClusterModel(members, routes, need)
    busiest = max(model.utilisation(i) for i in range(len(members)))
    if len(routes) == 1:
        return list(members), list(routes), busiest
    total = sum(route.rate_per_s for route in routes)
    within = {key: (candidates[key].with_counts([m.count]), m.count) for key, m in zip(keys, members, strict=True)}
    stable = {
        key: (_with_capacity(candidates[key], m.count, m.rate_per_s / max(model.utilisation(i), 1e-300)), m.count)
        for i, (key, m) in enumerate(zip(keys, members, strict=True))
        if m.rate_per_s > 0
    }
    least, flows = balanced(stable, total)
    _, by_objectives = balanced(within, total)
    flows = by_objectives or flows
    if not flows:
        return list(members), list(routes), busiest
    index = {key: i for i, key in enumerate(keys)}
    ways = [
        Route(index[first], None if second is None else index[second], rate)
        for (first, second), rate in sorted(flows.items(), key=str)
    ]
    rates = [sum(r.rate_per_s for r in ways if i in (r.first, r.second)) for i in range(len(members))]
    return [replace(m, rate_per_s=rate) for m, rate in zip(members, rates, strict=True)], ways, least


def _with_capacity(candidate: Candidate, count: int, rate_per_s: float) -> Candidate:
    """The candidate as if it carried just this rate with this count."""
    return replace(candidate, curve=CapacityCurve(np.array([count]), np.array([rate_per_s])))
