"""How the load is shared among the pools of a cluster whose counts have changed."""

from __future__ import annotations

import math
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
) -> tuple[list[str], list[Member], list[Route], float]:
    """The cluster with its load shared so that the busiest pool is as little loaded as can be.

    Parameters
    ----------
    keys : sequence of str
        Candidate of each member.
    members : sequence of Member
        With the counts they are to have, 0 of a pool that goes; their rates are those from before.
    routes : sequence of Route
        From before.
    candidates : mapping of str to Candidate
    need : Requirement

    Returns
    -------
    (list of str, list of Member, list of Route, float)
        Those that are left, and the least utilisation that the busiest pool can have, however the load is shared: at 1
        or above nothing helps; infinite where no way is left. The shares themselves follow what the pools carry within
        the objectives, where they carry all of it.
    """
    total = sum(route.rate_per_s for route in routes)
    left = [(key, m) for key, m in zip(keys, members, strict=True) if m.count > 0]
    keys, members = [key for key, _ in left], [m for _, m in left]
    model = ClusterModel(members, [], need)
    busy = [model.utilisation(i) for i in range(len(members))]
    if len(routes) == 1:
        whole = len(members) == (1 if routes[0].second is None else 2)
        return keys, members, list(routes), max(busy) if whole else math.inf
    stable = {
        key: (_with_capacity(candidates[key], m.count, m.rate_per_s / max(share, 1e-300)), m.count)
        for key, m, share in zip(keys, members, busy, strict=True)
        if m.rate_per_s > 0
    }
    within = {key: (candidates[key].with_counts([m.count]), m.count) for key, m in zip(keys, members, strict=True)}
    least, flows = balanced(stable, total)
    flows = balanced(within, total)[1] or flows
    if not flows:
        return keys, members, list(routes), math.inf
    used = {key for way in flows for key in way}
    keys, members = (
        [key for key in keys if key in used],
        [m for key, m in zip(keys, members, strict=True) if key in used],
    )
    index = {key: i for i, key in enumerate(keys)}
    ways = [
        Route(index[first], None if second is None else index[second], rate)
        for (first, second), rate in sorted(flows.items(), key=str)
    ]
    rates = [sum(r.rate_per_s for r in ways if i in (r.first, r.second)) for i in range(len(members))]
    return keys, [replace(m, rate_per_s=rate) for m, rate in zip(members, rates, strict=True)], ways, least


def _with_capacity(candidate: Candidate, count: int, rate_per_s: float) -> Candidate:
    """The candidate as if it carried just this rate with this count."""
    return replace(candidate, curve=CapacityCurve(np.array([count]), np.array([rate_per_s])))
