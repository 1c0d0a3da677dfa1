"""Decode pools that are promised until a plan would have them.

What a decode pool carries depends on where its requests come from, so that a hundred machines make thousands of pools,
nearly all of which no plan would ever have. In their place stand promises: one pool a layout, with a capacity that no
source would let it exceed. What is best with promises and contains none is best with all pools; where the best has a
promise, the pools of that pair of machines are computed, and it is looked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from planner.optimization.selection import Simple
from planner.pools.candidate import PROMISED, Candidate

if TYPE_CHECKING:
    from planner.planning.search import Search, Solution

Pair = tuple[str, str]  # prefill and decode machine
Found = TypeVar("Found", "Solution", "Solution | None")


class Promises:
    """Pairs of machines, some of which have pools of their own.

    Parameters
    ----------
    pairs : collection of (str, str)
        All that may be in a plan.
    make : callable
        Candidates, from the pairs to compute and those to promise.
    """

    def __init__(
        self, pairs: Collection[Pair], make: Callable[[Collection[Pair], Collection[Pair]], list[Candidate]]
    ) -> None:
        self._pairs, self._make = frozenset(pairs), make
        self._kept: set[Pair] = set()

    def candidates(self) -> list[Candidate]:
        """The candidates as they are now."""
        return self._make(self._kept, self._pairs - self._kept)

    def keep(self, pairs: Iterable[Pair]) -> None:
        """Have pools computed."""
        self._kept.update(pairs)


def is_promised(key: str) -> bool:
    """Whether a candidate of this key is a promise."""
    return key.endswith(PROMISED)


def kept(search: Search, look: Callable[[Search], Found]) -> Found:
    """What is found with every promise in it kept.

    Parameters
    ----------
    search : Search
        Its candidates are brought up to date.
    look : callable
        Finds a solution; that of candidates which carry less is never better.
    """
    while True:
        found = look(search)
        if search.promises is None or found is None:
            return found
        broken = _pairs_of_solution(found) | _pairs_of(found.simples.values())
        if not broken:
            return found
        search.promises.keep(broken)
        search.posed[0] = (search.posed[0][0], search.promises.candidates())


def _pairs_of_solution(solution: Solution) -> set[Pair]:
    pairs = set()
    for route in solution.routes:
        if route.second is not None and is_promised(solution.keys[route.second]):
            first, second = (solution.members[i].configuration.machine.name for i in (route.first, route.second))
            pairs.add((first, second))
    return pairs


def _pairs_of(simples: Iterable[Simple]) -> set[Pair]:
    pools: list[Sequence[Candidate]] = [[c for c, _ in simple.pools] for simple in simples]
    return {
        (chosen[0].configuration.machine.name, chosen[1].configuration.machine.name)
        for chosen in pools
        if len(chosen) == 2 and is_promised(chosen[1].key)
    }
