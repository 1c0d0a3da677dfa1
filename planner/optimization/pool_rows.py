"""Rows that every program over pools has: counts in runs, flows along ways, and flow within capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.optimization.reduction import Pieces
from planner.pools.candidate import Candidate

Way = tuple[str, str | None]


def ways_through(candidates: Sequence[Candidate]) -> list[Way]:
    """Ways that a request can take: through a mixed pool, or a prefill and a decode pool that takes from it."""
    present = {c.key for c in candidates}
    ways: list[Way] = [(c.key, None) for c in candidates if c.role == "mixed"]
    return ways + [(p, c.key) for c in candidates for p in c.sources if p in present]


class PoolRows:
    """Pools that serve one traffic: their variables in a program, and the rows that tie flows to counts.

    Parameters
    ----------
    problem : pulp.LpProblem
        Gets the variables and rows.
    candidates : sequence of Candidate
    pieces : mapping of str to Pieces
        Counts each of them may have, by key.
    scale_per_s : float
        What flows are expressed in, so that rows stay near unit scale [requests/s].
    label : str
        Begins the names of all variables.

    Notes
    -----
    One binary for each run of counts of each candidate; an integer beside it where the run holds several. A candidate
    that no way leads through is left out.
    """

    def __init__(
        self,
        problem: Any,
        candidates: Sequence[Candidate],
        pieces: Mapping[str, Pieces],
        scale_per_s: float,
        label: str = "",
    ) -> None:
        import pulp  # here, not at the top: importing it costs a tenth of a second

        self._lp_sum = pulp.lpSum
        self._problem, self.scale_per_s = problem, scale_per_s
        some = [c for c in candidates if pieces[c.key].first.size]
        self.ways = ways_through(some)
        used = {key for way in self.ways for key in way}
        self.candidates = [c for c in some if c.key in used]
        self._pieces = {
            c.key: list(
                zip(
                    *(a.tolist() for a in (p.first, p.last, p.rate_per_s / scale_per_s, p.slope / scale_per_s)),
                    strict=True,
                )
            )
            for c in self.candidates
            for p in (pieces[c.key],)
        }
        self._declare(label)
        self._define_capacity()

    def _declare(self, label: str) -> None:
        self._on: dict[str, list[Any]] = {}
        self._beyond: dict[str, list[Any]] = {}
        add = self._problem.add_variable
        self._flow = {way: add(f"{label}flow_{i}", lowBound=0) for i, way in enumerate(self.ways)}
        for i, c in enumerate(self.candidates):
            parts = self._pieces[c.key]
            self._on[c.key] = [add(f"{label}on_{i}_{s}", cat="Binary") for s in range(len(parts))]
            self._beyond[c.key] = [
                add(f"{label}beyond_{i}_{s}", 0, last - first, cat="Integer") if last > first else None
                for s, (first, last, _, _) in enumerate(parts)
            ]
        self.n_pools = self._lp_sum([y for on in self._on.values() for y in on])
        self.served = self._lp_sum(self._flow.values())

    def _define_capacity(self) -> None:
        """Flow through j <= cap_j(k_j);  at most one run on;  k_j within the run that is on."""
        lp = self._lp_sum
        for c in self.candidates:
            parts, on, beyond = self._pieces[c.key], self._on[c.key], self._beyond[c.key]
            capacity = lp(
                [rate * y for (_, _, rate, _), y in zip(parts, on, strict=True)]
                + [slope * b for (_, _, _, slope), b in zip(parts, beyond, strict=True) if b is not None]
            )
            self._problem += lp([self._flow[way] for way in self.ways if c.key in way]) <= capacity
            if len(on) > 1:
                self._problem += lp(on) <= 1
            for (first, last, _, _), y, b in zip(parts, on, beyond, strict=True):
                if b is not None:
                    self._problem += b <= (last - first) * y

    def bought(self, c: Candidate, spares: int) -> Any:
        """Machines of a candidate as an expression, spares included."""
        parts, on, beyond = self._pieces[c.key], self._on[c.key], self._beyond[c.key]
        return self._lp_sum(
            [(first + spares) * y for (first, _, _, _), y in zip(parts, on, strict=True)]
            + [b for b in beyond if b is not None]
        )

    def most(self, c: Candidate) -> int:
        """Most machines of a candidate that the rows have a place for."""
        return max(int(last) for _, last, _, _ in self._pieces[c.key])

    def values_of(self, counts: Mapping[str, int], flows: Mapping[Way, float]) -> dict[str, float] | None:
        """Values of all these variables for given pools, or None if the rows have no place for them."""
        values = {v.name: 0.0 for v in self._variables()}
        for way, rate in flows.items():
            if way not in self._flow:
                return None
            values[self._flow[way].name] = rate / self.scale_per_s
        for key, n in counts.items():
            parts = self._pieces.get(key, [])
            at = next((s for s, (first, last, _, _) in enumerate(parts) if first <= n <= last), None)
            if at is None:
                return None
            values[self._on[key][at].name] = 1.0
            if self._beyond[key][at] is not None:
                values[self._beyond[key][at].name] = float(n - parts[at][0])
        return values

    def _variables(self) -> list[Any]:
        counts = [v for group in (*self._on.values(), *self._beyond.values()) for v in group if v is not None]
        return [*self._flow.values(), *counts]

    def relax(self) -> None:
        """Let counts be fractions."""
        for variable in self._variables():
            variable.cat = "Continuous"

    def used_in(self, values: Mapping[str, float]) -> set[str]:
        """Candidates through which something flows at these values of variables, by name."""
        return {key for way, flow in self._flow.items() if values[flow.name] > 1e-7 for key in way if key}

    def counts(self) -> dict[str, int]:
        """Machines of each pool that carries something, after the program was solved."""
        used = {key for way, flow in self._flow.items() if flow.value() > 1e-9 for key in way}
        found: dict[str, int] = {}
        for c in self.candidates:
            for (first, *_), y, b in zip(self._pieces[c.key], self._on[c.key], self._beyond[c.key], strict=True):
                if y.value() > 0.5 and c.key in used:
                    found[c.key] = first + (round(b.value()) if b is not None else 0)
        return found

    def flows_per_s(self) -> dict[Way, float]:
        """Rate along each way that is used, after the program was solved [requests/s]."""
        return {way: flow.value() * self.scale_per_s for way, flow in self._flow.items() if flow.value() > 1e-9}
