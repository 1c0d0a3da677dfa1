"""The choice of pools as one mixed-integer program, over capacity curves as they are known now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.fleet.candidate import Candidate
from planner.fleet.limits import Limits, ObjectiveName, price_usd_per_hour, unit_cost
from planner.optimization.reduction import Pieces
from planner.optimization.solver import SolveOutcome, solve

TIE_BREAK = 1e-5  # of the cheapest machine's objective, for each pool: what counts as equal
# A rate is maximised in thousandths: CBC takes no solution that is better by less than 1e-5.
_RATE_UNITS = 1e3

Way = tuple[str, str | None]


def ways_through(candidates: Sequence[Candidate]) -> list[Way]:
    """Ways that a request can take: through a mixed pool, or a prefill and a decode pool that takes from it."""
    present = {c.key for c in candidates}
    ways: list[Way] = [(c.key, None) for c in candidates if c.role == "mixed"]
    return ways + [(p, c.key) for c in candidates for p in c.sources if p in present]


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
        objective: ObjectiveName,
        limits: Limits,
        usual_power_w: float,
    ) -> None:
        import pulp  # here, not at the top: importing it costs a tenth of a second

        self._lp_sum = pulp.lpSum
        self._demand, self._scale = demand_per_s, scale_per_s
        self._objective, self._limits = objective, limits
        some = [c for c in candidates if pieces[c.key].first.size]
        self._ways = ways_through(some)
        used = {key for way in self._ways for key in way}
        self._candidates = [c for c in some if c.key in used]
        self._pieces = {
            c.key: list(
                zip(
                    *(a.tolist() for a in (p.first, p.last, p.rate_per_s / scale_per_s, p.slope / scale_per_s)),
                    strict=True,
                )
            )
            for c in self._candidates
            for p in (pieces[c.key],)
        }
        self.problem = pulp.LpProblem("fleet", pulp.LpMinimize if demand_per_s is not None else pulp.LpMaximize)
        if self._candidates:
            self._declare()
            self._define_capacity()
            self._define_demand()
            self._define_limits()
            self._define_objective(usual_power_w)

    def _declare(self) -> None:
        """One binary for each run of counts of each candidate; an integer beside it where it holds several."""
        self._on: dict[str, list[Any]] = {}
        self._beyond: dict[str, list[Any]] = {}
        add = self.problem.add_variable
        self._flow = {way: add(f"flow_{i}", lowBound=0) for i, way in enumerate(self._ways)}
        for i, c in enumerate(self._candidates):
            parts = self._pieces[c.key]
            self._on[c.key] = [add(f"on_{i}_{s}", cat="Binary") for s in range(len(parts))]
            self._beyond[c.key] = [
                add(f"beyond_{i}_{s}", 0, last - first, cat="Integer") if last > first else None
                for s, (first, last, _, _) in enumerate(parts)
            ]
        self._pools = self._lp_sum([y for on in self._on.values() for y in on])

    def _define_capacity(self) -> None:
        """Flow through j <= cap_j(k_j);  at most one run on;  k_j within the run that is on."""
        lp = self._lp_sum
        for c in self._candidates:
            parts, on, beyond = self._pieces[c.key], self._on[c.key], self._beyond[c.key]
            capacity = lp(
                [rate * y for (_, _, rate, _), y in zip(parts, on, strict=True)]
                + [slope * b for (_, _, _, slope), b in zip(parts, beyond, strict=True) if b is not None]
            )
            self.problem += lp([self._flow[way] for way in self._ways if c.key in way]) <= capacity
            if len(on) > 1:
                self.problem += lp(on) <= 1
            for (first, last, _, _), y, b in zip(parts, on, beyond, strict=True):
                if b is not None:
                    self.problem += b <= (last - first) * y

    def _define_demand(self) -> None:
        """sum of flows = demand (or what is maximised)."""
        self._served = self._lp_sum(self._flow.values())
        if self._demand is not None:
            self.problem += self._served == self._demand / self._scale

    def _bought(self, c: Candidate) -> Any:
        """Machines of a candidate, spares included."""
        parts, on, beyond = self._pieces[c.key], self._on[c.key], self._beyond[c.key]
        return self._lp_sum(
            [(first + self._limits.spares) * y for (first, _, _, _), y in zip(parts, on, strict=True)]
            + [b for b in beyond if b is not None]
        )

    def _define_limits(self) -> None:
        """Budgets of cost, power and machines, pools, and stock by type; each budget's row divided by it."""
        lp, limits = self._lp_sum, self._limits
        bought = {c.key: self._bought(c) for c in self._candidates}
        if limits.max_cost_usd_per_hour is not None:
            each = {c.key: price_usd_per_hour(c) / limits.max_cost_usd_per_hour for c in self._candidates}
            self.problem += lp([each[key] * n for key, n in bought.items()]) <= 1 + 1e-9
        if limits.max_power_w is not None:
            each = {c.key: c.configuration.machine.rated_power_w / limits.max_power_w for c in self._candidates}
            self.problem += lp([each[key] * n for key, n in bought.items()]) <= 1 + 1e-9
        if limits.max_total_machines is not None:
            self.problem += lp(list(bought.values())) <= limits.max_total_machines
        if limits.max_pools is not None:
            self.problem += self._pools <= limits.max_pools
        for name, most in sorted(limits.max_machines.items()):
            of_type = [bought[c.key] for c in self._candidates if c.configuration.machine.name == name]
            if of_type:
                self.problem += lp(of_type) <= most

    def _define_objective(self, usual_power_w: float) -> None:
        """Best objective; among equals the fewest pools, then the least power.

        A pool, or the power of a usual plan, weighs `TIE_BREAK` of the cheapest machine (for throughput, of the rate
        known to be possible), which is the precision of "equal".
        """
        lp = self._lp_sum
        drawn = lp([unit_cost(c, "power") / usual_power_w * self._bought(c) for c in self._candidates])
        if self._demand is None:
            self.problem += (self._served - 0.1 * TIE_BREAK * (self._pools + drawn)) * _RATE_UNITS
            return
        self._cost = lp([unit_cost(c, self._objective) * self._bought(c) for c in self._candidates])
        size = min(unit_cost(c, self._objective) for c in self._candidates) * TIE_BREAK
        self.problem += self._cost + size * (self._pools + drawn)

    def solve(
        self, solver: str, time_limit_s: float, seed: int, start: tuple[Mapping[str, int], Mapping[Way, float]] | None
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
            seed=seed,
            warm_start=self._values_of(*start) if start is not None else None,
        )
        unit = 1.0 if self._demand is not None else self._scale / _RATE_UNITS
        if not outcome.has_solution or outcome.objective is None:
            return outcome if outcome.bound is None else replace(outcome, bound=outcome.bound * unit)
        tie_break = outcome.objective - self._plain_objective()
        bound = None if outcome.bound is None else (outcome.bound - tie_break) * unit
        return replace(outcome, objective=(outcome.objective - tie_break) * unit, bound=bound)

    def _plain_objective(self) -> float:
        """Objective of the answer without the tie-break, in the program's own unit."""
        return float(self._cost.value() if self._demand is not None else self._served.value() * _RATE_UNITS)

    def _values_of(self, counts: Mapping[str, int], flows: Mapping[Way, float]) -> dict[str, float] | None:
        """Values of all variables for a plan, or None if the program has no place for it."""
        values = {variable.name: 0.0 for variable in self.problem.variables()}
        for way, rate in flows.items():
            if way not in self._flow:
                return None
            values[self._flow[way].name] = rate / self._scale
        for key, n in counts.items():
            parts = self._pieces.get(key, [])
            at = next((s for s, (first, last, _, _) in enumerate(parts) if first <= n <= last), None)
            if at is None:
                return None
            values[self._on[key][at].name] = 1.0
            if self._beyond[key][at] is not None:
                values[self._beyond[key][at].name] = float(n - parts[at][0])
        return values

    def counts(self) -> dict[str, int]:
        """Machines of each pool that carries something, after `solve`."""
        used = {key for way, flow in self._flow.items() if flow.value() > 1e-9 for key in way}
        found: dict[str, int] = {}
        for c in self._candidates:
            for (first, *_), y, b in zip(self._pieces[c.key], self._on[c.key], self._beyond[c.key], strict=True):
                if y.value() > 0.5 and c.key in used:
                    found[c.key] = first + (round(b.value()) if b is not None else 0)
        return found

    def served_per_s(self) -> float:
        """Rate that the answer serves, after `solve` [requests/s]."""
        return float(self._served.value()) * self._scale
