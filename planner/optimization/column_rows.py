"""Rows of the pools of one group in one period: as columns found before, or as needs of machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.optimization.pool_rows import PoolRows, Way
from planner.optimization.portfolio_problem import Column
from planner.pools.candidate import Candidate

PULP_NAME = str.maketrans({c: "_" for c in "-+[] ->/."})


class ColumnRows:
    """A block of which whole sets of pools are chosen; stands in for `PoolRows`."""

    def __init__(
        self, problem: Any, pools: Mapping[str, Candidate], columns: Sequence[Column], label: str = ""
    ) -> None:
        import pulp

        self._lp_sum = pulp.lpSum
        self._columns = columns
        self._chosen = [problem.add_variable(f"{label}column_{v}", cat="Binary") for v in range(len(columns))]
        used = {key for column in columns for key in column.counts}
        self.candidates = [pools[key] for key in sorted(used)]
        self.served = pulp.lpSum(self._chosen)
        self.n_pools = pulp.lpSum([len(column.counts) * x for column, x in zip(columns, self._chosen, strict=True)])
        self.scale_per_s = 1.0

    def bought(self, c: Candidate, spares: int) -> Any:
        """As that of `PoolRows`."""
        return self._lp_sum(
            [
                (column.counts[c.key] + spares) * x
                for column, x in zip(self._columns, self._chosen, strict=True)
                if c.key in column.counts
            ]
        )

    def most(self, c: Candidate) -> int:
        """As that of `PoolRows`."""
        return max(column.counts.get(c.key, 0) for column in self._columns)

    def counts(self) -> dict[str, int]:
        """As that of `PoolRows`."""
        return next((dict(c.counts) for c, x in zip(self._columns, self._chosen, strict=True) if x.value() > 0.5), {})

    def flows_per_s(self) -> dict[Way, float]:
        """None: the load of chosen pools is shared afterwards."""
        return {}


class NeedRows:
    """A block of which only the machines that it needs are asked, bounded by cuts; stands in for `PoolRows`."""

    def __init__(self, problem: Any, pools: Mapping[str, Candidate], label: str = "") -> None:
        # One candidate of each machine speaks for all of them.
        self.candidates = list({c.configuration.machine.name: c for c in pools.values()}.values())
        self._machines = {
            c.key: problem.add_variable(f"{label}need_{i}", lowBound=0) for i, c in enumerate(self.candidates)
        }
        self.served = problem.add_variable(f"{label}served", lowBound=0)
        self.n_pools, self.scale_per_s = 0, 1.0

    def bought(self, c: Candidate, spares: int) -> Any:
        """Machines of the candidate's type, spares included."""
        return self._machines[c.key]

    def most(self, c: Candidate) -> int:
        """As that of `PoolRows`."""
        return int(c.curve.n_machines[-1])

    def counts(self) -> dict[str, int]:
        """No pools are chosen."""
        return {}

    def flows_per_s(self) -> dict[Way, float]:
        """No load is routed."""
        return {}


def tie_break(rows: PoolRows | ColumnRows | NeedRows, spares: int) -> Any:
    """Pools, and the power of all machines over that of the hungriest: what decides between plans of one cost."""
    import pulp

    power = {c.key: c.configuration.machine.rated_power_w for c in rows.candidates}
    hungriest = 100.0 * max(power.values(), default=1.0)
    return rows.n_pools + pulp.lpSum([power[c.key] / hungriest * rows.bought(c, spares) for c in rows.candidates])
