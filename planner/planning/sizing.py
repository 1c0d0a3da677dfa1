"""Every named design at its fewest machines, without prices: what maps over prices choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.errors import InfeasibleError
from planner.optimization.selection import enumerate_pairs
from planner.planning.infeasible import unreachable
from planner.planning.reuse import candidates_of
from planner.pools.candidate import Candidate, Requirement, needs_end_to_end
from planner.pools.design import design_name
from planner.pools.limits import BUDGETS, Budget, Limits
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, configurations

MAPPED_OBJECTIVES = ("cost", "power", "machines")  # those that are sums over machines at any prices
_MOST_ADDED = 0.25  # share of machines that may be added for a coupled objective before a pair is given up


@dataclass(frozen=True)
class SizedPool:
    """Machines of one pool, spares included."""

    role: str
    machine: str
    layout: str
    count: int
    rated_power_w: float
    takes: Mapping[str, float]  # of each budget, one machine


@dataclass(frozen=True)
class Sizing:
    """One design with enough machines, none of which can be spared."""

    design: str
    pools: tuple[SizedPool, ...]

    @property
    def power_w(self) -> float:
        """Rated power of all machines [W]."""
        return sum(p.rated_power_w * p.count for p in self.pools)

    def cost_usd_per_hour(self, prices: Mapping[str, float]) -> float:
        """Cost at these prices by machine [USD/h]; NaN where one has none."""
        return sum(prices.get(p.machine, float("nan")) * p.count for p in self.pools)

    def value(self, objective: str, prices: Mapping[str, float]) -> float:
        """What is minimised: USD/h, W or machines."""
        if objective == "cost":
            return self.cost_usd_per_hour(prices)
        return self.power_w if objective == "power" else float(sum(p.count for p in self.pools))

    def within(self, limits: Limits, prices: Mapping[str, float]) -> bool:
        """Whether budgets and stock allow it."""
        by_machine: dict[str, int] = {}
        for p in self.pools:
            by_machine[p.machine] = by_machine.get(p.machine, 0) + p.count
        return (
            all(self._taken(budget, prices) <= most * (1.0 + 1e-9) for budget, most in limits.budgets)
            and (limits.max_pools is None or len(self.pools) <= limits.max_pools)
            and all(limits.taken(name, by_machine) <= most for name, most in limits.max_machines.items())
        )

    def _taken(self, budget: Budget, prices: Mapping[str, float]) -> float:
        if budget.name == "max_cost":
            return self.cost_usd_per_hour(prices)
        return sum(pool.takes[budget.name] * pool.count for pool in self.pools)

    def describe(self) -> str:
        """`3 x dgx-h100 prefill + 3 x dgx-a100 decode`."""
        return " + ".join(f"{p.count} x {p.machine} {p.role}" for p in self.pools)


def sizings(problem: Problem, progress: Progress = quiet) -> list[Sizing]:
    """Every pair of pools at its fewest machines, less those that another of the same design never exceeds.

    Raises
    ------
    InfeasibleError
        No machine holds the model or reaches the objectives.
    """
    found, _ = configurations(problem)
    need = problem.need
    candidates = candidates_of(problem, found, need.rate_per_s, progress)
    if not candidates:
        raise unreachable(problem, found)
    fewest: dict[str, int | None] = {}
    for candidate in candidates:
        fewest[candidate.key], _ = candidate.cheapest_count(need.rate_per_s)
    kept: dict[str, list[tuple[tuple[int, ...], Sizing]]] = {}
    for pair in enumerate_pairs(candidates):
        chosen = [c for c in pair if c is not None]
        counts = [fewest[c.key] for c in chosen]
        if None in counts:
            continue
        enough = _confirmed(chosen, [n for n in counts if n is not None], need)
        if enough is None:
            continue
        name = design_name(*(c.configuration.machine.name for c in chosen), *([None] if len(chosen) == 1 else []))
        pools = tuple(
            SizedPool(
                c.role,
                c.configuration.machine.name,
                c.configuration.layout.label,
                n + problem.limits.spares,
                c.configuration.machine.rated_power_w,
                {budget.name: budget.of_machine(c.configuration) for budget in BUDGETS},
            )
            for c, n in zip(chosen, enough, strict=True)
        )
        kept.setdefault(name, []).append((tuple(enough), Sizing(name, pools)))
    if not kept:
        raise InfeasibleError("no number of the machines considered carries this load", where="rate")
    return [sizing for name in sorted(kept) for sizing in _not_exceeded(kept[name])]


def _not_exceeded(options: Sequence[tuple[tuple[int, ...], Sizing]]) -> list[Sizing]:
    """Options of which no other has at most as many machines in every pool; of equals the first."""
    kept: list[tuple[tuple[int, ...], Sizing]] = []
    for counts, sizing in sorted(options, key=lambda o: (o[0], [p.layout for p in o[1].pools])):
        if not any(all(a <= b for a, b in zip(other, counts, strict=True)) for other, _ in kept):
            kept.append((counts, sizing))
    return [sizing for _, sizing in kept]


def _confirmed(chosen: Sequence[Candidate], counts: Sequence[int], need: Requirement) -> list[int] | None:
    """Counts at which the whole cluster meets the objectives too, where one of them couples the pools.

    Each pool meets its objectives by itself; an end-to-end one may still be missed by a hair. Then decode machines are
    added, one by one.
    """
    counts = list(counts)
    if not needs_end_to_end(need):
        return counts
    most = counts[-1] + 1 + int(_MOST_ADDED * counts[-1])
    while True:
        members = [Member(c.role, c.configuration, n, need.rate_per_s) for c, n in zip(chosen, counts, strict=True)]
        model = ClusterModel(members, [Route(0, 1 if len(chosen) == 2 else None, need.rate_per_s)], need)
        if all(model.meets(limit) for limit in need.limits):
            return counts
        counts[-1] += 1
        if counts[-1] > most:
            return None
