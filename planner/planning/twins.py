"""Sellers of one and the same machine: which of them a plan names where the objective cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.optimization.enumeration import within
from planner.optimization.selection import Selection
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost


def of_the_cheapest(
    selection: Selection, candidates: Sequence[Candidate], objective: ObjectiveOrWeights, limits: Limits
) -> Selection:
    """The same plan, each pool from the cheapest seller among those that the objective cannot tell apart.

    Among equally cheap ones the first by name: whatever else there was to choose from, the answer is the same.

    Parameters
    ----------
    selection : Selection
    candidates : sequence of Candidate
        Those that it was chosen from.
    objective : str
    limits : Limits
        Which the plan still keeps.
    """
    by_key = {c.key: c for c in candidates}
    counts, flows = dict(selection.counts), dict(selection.flows_per_s)
    for key in sorted(selection.counts):
        count = counts[key]
        for twin in sorted(_twins(by_key[key], candidates, count, objective), key=_rank):
            renamed = {twin.key if k == key else k: n for k, n in counts.items()}
            routed = {_renamed(way, key, twin.key): rate for way, rate in flows.items()}
            if twin.key == key:
                break
            if len(renamed) < len(counts) or not _is_fed(routed, by_key):
                continue
            if within([(by_key[k], n) for k, n in renamed.items()], limits):
                counts, flows = renamed, routed
                break
    if counts == selection.counts:
        return selection
    return replace(selection, counts=counts, flows_per_s=flows)


def _twins(c: Candidate, candidates: Sequence[Candidate], count: int, objective: ObjectiveOrWeights) -> list[Candidate]:
    rate, cost = c.with_counts([count]).curve.at(count), unit_cost(c, objective)
    return [
        twin
        for twin in candidates
        if twin.role == c.role
        and twin.configuration.lane is c.configuration.lane
        and twin.configuration.layout == c.configuration.layout
        and unit_cost(twin, objective) == cost
        and twin.with_counts([count]).curve.at(count) == rate
    ]


def _rank(c: Candidate) -> tuple[float, str]:
    price = c.configuration.price
    return (price.usd_per_hour if price else math.inf), c.key


def _renamed(way: tuple[str, str | None], key: str, other: str) -> tuple[str, str | None]:
    first, second = way
    return (other if first == key else first), (other if second == key else second)


def _is_fed(flows: Mapping[tuple[str, str | None], float], by_key: Mapping[str, Candidate]) -> bool:
    return all(second is None or first in by_key[second].sources for first, second in flows)
