"""What the program of a fleet found: what each group buys in each period, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.optimization.pool_rows import Way
from planner.optimization.portfolio_problem import PortfolioProblem, Post
from planner.pools.candidate import Candidate


@dataclass(frozen=True)
class BlockAnswer:
    """Pools of one group in one period: machines by candidate without spares, and requests by way [requests/s]."""

    counts: Mapping[str, int]
    flows_per_s: Mapping[Way, float]


@dataclass(frozen=True, eq=False)
class Portfolio:
    """Chosen groups, pools and purchases.

    Attributes
    ----------
    blocks : list of BlockAnswer
        In the order of the problem's blocks; without pools where the group is not formed.
    curves : mapping of str to mapping of str to Candidate
        Candidates with their curves exact at the chosen counts.
    formed : set of str
        Groups.
    held : mapping of int to int
        Machines held of each supply, by its index.
    used : mapping of (int, int) to int
        Machines of each supply switched on in each period.
    stationed : mapping of (int, Post) to int
        Where roles are fixed: machines held that stay at a post in a stage.
    cost_usd_per_hour, bound, gap : float
        Mean over all hours; no plan of these pools costs less than the bound.
    status : str
        `optimal`: within the gap asked for; or `limit`.
    solver : str
    rounds : int
    """

    blocks: list[BlockAnswer]
    curves: Mapping[str, Mapping[str, Candidate]]
    formed: set[str]
    held: Mapping[int, int]
    used: Mapping[tuple[int, int], int]
    stationed: Mapping[tuple[int, Post], int]
    cost_usd_per_hour: float
    bound: float
    gap: float
    status: str
    solver: str
    rounds: int


def machines_at_posts(given: PortfolioProblem, blocks: Sequence[BlockAnswer], t: int) -> dict[Post, int]:
    """Machines of each group, role and type in a period, spares included."""
    found: dict[Post, int] = {}
    for block, answer in zip(given.blocks, blocks, strict=True):
        if block.period == t:
            for key, n in answer.counts.items():
                c = given.curves[block.curves][key]
                post = (block.group, c.role, c.configuration.machine.name)
                found[post] = found.get(post, 0) + n + given.spares[block.group]
    return found


def changes_usd_per_hour(given: PortfolioProblem, blocks: Sequence[BlockAnswer]) -> float:
    """Mean cost of machines that start at a post between two parts of a day."""
    if given.change_usd <= 0:
        return 0.0
    posts = [machines_at_posts(given, blocks, t) for t in range(len(given.spans))]
    return math.fsum(
        given.usd_per_hour_of_a_change(t) * max(n - posts[given.before(t)].get(post, 0), 0)
        for t, here in enumerate(posts)
        for post, n in here.items()
    )


def at_once(given: PortfolioProblem, plan: Portfolio, t: int) -> dict[str, int]:
    """Machines of each type held or rented in a period."""
    found: dict[str, int] = {}
    for i, supply in enumerate(given.supplies):
        if given.spans[t].stage not in supply.absent:
            n = plan.held[i] if supply.is_held else plan.used.get((i, t), 0)
            if n:
                found[supply.machine] = found.get(supply.machine, 0) + n
    return found


def load_of_pool(flows: Mapping[Way, float], key: str) -> float:
    return math.fsum(rate for way, rate in flows.items() if key in way)
