"""The choice of pools as one mixed-integer program, over capacity curves as they are known now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.optimization.pool_rows import PoolRows, Way, ways_through
from planner.optimization.reduction import Pieces
from planner.optimization.solver import solve
from planner.optimization.solver_outcome import SolveOutcome
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost

__all__ = ["TIE_BREAK", "Program", "Way", "ways_through"]

TIE_BREAK = 1e-5  # of the cheapest machine's objective, for each pool: what counts as equal
# A rate is maximised in thousandths: CBC takes no solution that is better by less than 1e-5.
_RATE_UNITS = 1e3


class Program:
    """One mixed-integer program.

    Parameters
    ----------
    candidates : sequence of Candidate
    pieces : mapping of str to Pieces
        Counts each of them may have, by key.
    demand_per_s : float or None
        Requests to serve; None to serve as many as can be [requests/s].
    scale_per_s : float
        What flows are expressed in, so that rows stay near unit scale [requests/s].
    objective : str
    limits : Limits
    usual_power_w : float
        Power of a plan like those sought, the scale of the last tie-break [W].
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        pieces: Mapping[str, Pieces],
        demand_per_s: float | None,
        scale_per_s: float,
        objective: ObjectiveOrWeights,
        limits: Limits,
        usual_power_w: float,
    ) -> None:
        import pulp  # here, not at the top: importing it costs a tenth of a second

        self._lp_sum = pulp.lpSum
        self._demand, self._scale = demand_per_s, scale_per_s
        self._objective, self._limits = objective, limits
        self.problem = pulp.LpProblem("fleet", pulp.LpMinimize if demand_per_s is not None else pulp.LpMaximize)
        self._rows = PoolRows(self.problem, candidates, pieces, scale_per_s)
        self._candidates = self._rows.candidates
        if self._candidates:
            self._define_demand()
            self._define_limits()
            self._define_objective(usual_power_w)

    def _define_demand(self) -> None:
        """sum of flows = demand (or what is maximised)."""
        if self._demand is not None:
            self.problem += self._rows.served == self._demand / self._scale

    def _bought(self, c: Candidate) -> Any:
        """Machines of a candidate, spares included."""
        return self._rows.bought(c, self._limits.spares)

    def _define_limits(self) -> None:
        """sum of what bought machines take <= 1 of each budget (whole amounts undivided); pools; stock by type."""
        lp, limits = self._lp_sum, self._limits
        bought = {c.key: self._bought(c) for c in self._candidates}
        for budget, most in limits.budgets:
            unit, room = (1.0, most) if budget.is_whole else (most, 1 + 1e-9)
            each = {c.key: budget.of_machine(c.configuration) / unit for c in self._candidates}
            self.problem += lp([each[key] * n for key, n in bought.items()]) <= room
        if limits.max_pools is not None:
            self.problem += self._rows.n_pools <= limits.max_pools
        for name, most in sorted(limits.max_machines.items()):
            weights = {c.key: limits.weight(name, c.configuration.machine.name) for c in self._candidates}
            of_stock = [weight * bought[key] for key, weight in weights.items() if weight]
            if of_stock:
                self.problem += lp(of_stock) <= most
        self._define_bought(bought)

    def _define_bought(self, taken: Mapping[str, Any]) -> None:
        """Of each type what is taken beyond those owned;  all of it together <= the most that may be bought."""
        self._new: dict[str, Any] = {}
        if self._limits.max_bought is None:
            return
        for i, name in enumerate(sorted({c.configuration.machine.name for c in self._candidates})):
            self._new[name] = self.problem.add_variable(f"bought_{i}", lowBound=0)
            of_type = [taken[c.key] for c in self._candidates if c.configuration.machine.name == name]
            self.problem += self._lp_sum(of_type) - self._new[name] <= self._limits.owned.get(name, 0)
        self.problem += self._lp_sum(self._new.values()) <= self._limits.max_bought

    def _define_objective(self, usual_power_w: float) -> None:
        """Best objective; among equals the fewest pools, then the least power.

        A pool, or the power of a usual plan, weighs `TIE_BREAK` of the cheapest machine (for throughput, of the rate
        known to be possible), which is the precision of "equal".
        """
        lp = self._lp_sum
        drawn = lp([unit_cost(c, "power") / usual_power_w * self._bought(c) for c in self._candidates])
        if self._demand is None:
            self.problem += (self._rows.served - 0.1 * TIE_BREAK * (self._rows.n_pools + drawn)) * _RATE_UNITS
            return
        self._cost = lp([unit_cost(c, self._objective) * self._bought(c) for c in self._candidates])
        size = min(unit_cost(c, self._objective) for c in self._candidates) * TIE_BREAK
        self.problem += self._cost + size * (self._rows.n_pools + drawn)

    def solve(
        self,
        solver: str,
        time_limit_s: float,
        seed: int,
        start: tuple[Mapping[str, int], Mapping[Way, float]] | None,
        gap: float = 0.0,
    ) -> SolveOutcome:
        """Solve, from a known plan (its counts and flows) if there is one.

        The known plan is also held against the answer. Objective and bound are those of the plan, without the
        tie-break.
        """
        if not self._candidates:
            return SolveOutcome("infeasible", None, None, None, 0.0, solver)
        outcome = solve(
            self.problem,
            solver=solver,
            time_limit_s=max(time_limit_s, 1e-3),
            gap=gap,
            seed=seed,
            warm_start=self._values_of(*start) if start is not None else None,
        )
        unit = 1.0 if self._demand is not None else self._scale / _RATE_UNITS
        if not outcome.has_solution or outcome.objective is None:
            return outcome if outcome.bound is None else replace(outcome, bound=outcome.bound * unit)
        tie_break = outcome.objective - self._plain_objective()
        bound = None if outcome.bound is None else (outcome.bound - tie_break) * unit
        return replace(outcome, objective=(outcome.objective - tie_break) * unit, bound=bound)

    def _values_of(self, counts: Mapping[str, int], flows: Mapping[Way, float]) -> dict[str, float] | None:
        """Values of all variables for a plan, or None if the program has no place for it."""
        values = self._rows.values_of(counts, flows)
        if values is None:
            return None
        taken: dict[str, int] = {}
        for c in self._candidates:
            if c.key in counts:
                name = c.configuration.machine.name
                taken[name] = taken.get(name, 0) + counts[c.key] + self._limits.spares
        new = {name: max(taken.get(name, 0) - self._limits.owned.get(name, 0), 0) for name in self._new}
        return values | {variable.name: float(new[name]) for name, variable in self._new.items()}

    def _plain_objective(self) -> float:
        """Objective of the answer without the tie-break, in the program's own unit."""
        return float(self._cost.value() if self._demand is not None else self._rows.served.value() * _RATE_UNITS)

    def counts(self) -> dict[str, int]:
        """Machines of each pool that carries something, after `solve`."""
        return self._rows.counts()

    def served_per_s(self) -> float:
        """Rate that the answer serves, after `solve` [requests/s]."""
        return float(self._rows.served.value()) * self._scale
