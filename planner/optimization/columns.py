"""A bound on portfolios that does not let blocks have fractions of pools, and good plans on the way to it.

Blocks (a group in a period) meet only in the machines that they need. Given a price of each machine in each period,
what a block costs at the least is a problem of its own, that of `optimize`. Each answer is

- a *column*: pools that a block may have. A master program that chooses among known columns and buys machines gives
  plans, and its relaxation prices (Dantzig and Wolfe, Operations Research 8(1), 1960);
- a *cut*: at these prices no pools of the block need less. A program in which blocks are only what their cuts say of
  them bounds every portfolio, and in it the machines held are whole (Benders, Numerische Mathematik 4, 1962).

Both are solved in turn, the relaxation of the first at the machines held that the second chose, until plan and bound
meet. Besides, at any prices

    bound = relaxed cost + sum over blocks of min(0, least cost of the block - price of its demand)           (1)

Batch work, whose pools carry in proportion to their machines, stays in both programs as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from planner.optimization.enumeration import Simple, best_simple, enumerate_pairs
from planner.optimization.model import PortfolioProgram, demand_row, spot_row, supply_row
from planner.optimization.pool_rows import PoolRows
from planner.optimization.portfolio_problem import Block, Column, Cut, PortfolioProblem
from planner.optimization.program import Program
from planner.optimization.reduction import OBJECTIVE_TOLERANCE, Pieces, Resource, possible
from planner.optimization.selection import balanced
from planner.optimization.solver import Relaxation, solve_relaxation
from planner.pools.limits import Limits

_LEAST_PRICE = 1e-6  # of the dearest machine: `choose` takes no free ones
_WORTH_IT = 1e-7  # of a block's cost: columns that gain less are not taken

Prices = Mapping[str, float]


class Columns:
    """Columns and cuts of all blocks, and the best bound of the form (1).

    Parameters
    ----------
    given : PortfolioProblem
    pieces : sequence of mapping
        Counts of each block; those of batch work stay in the programs.
    stock : mapping of str to int
        Most machines of a type that there can be in a period.
    solver : str
    gap : float
        Relative gap at which a block counts as solved.

    Attributes
    ----------
    of_block : dict of int to list of Column
    cuts : list of Cut
    bound : float
        No portfolio costs less [USD/h].
    """

    def __init__(
        self,
        given: PortfolioProblem,
        pieces: Sequence[Mapping[str, Pieces]],
        stock: Mapping[str, int],
        solver: str,
        gap: float,
    ) -> None:
        self._given, self._stock, self._solver, self._gap = given, stock, solver, gap
        batch = given.batch_groups
        self._blocks = {b: block for b, block in enumerate(given.blocks) if block.group not in batch}
        self.of_block = {b: self._first(block) for b, block in self._blocks.items()}
        self.cuts: list[Cut] = []
        self.bound = -math.inf
        self._all_pieces = pieces
        self._pieces: list[Mapping[str, Pieces]] = [{} if b in self._blocks else some for b, some in enumerate(pieces)]
        self._prices: dict[int, Prices] = {}
        self._base: dict[int, float] = {}
        # Candidates of batch work that relaxations used, by their curves.
        self._useful: dict[str, set[str]] = {}
        self._known: dict[object, tuple[Column | None, float]] = {}

    def serves_all(self) -> bool:
        """Whether every block that must be served has a column."""
        containing: dict[str, list[str]] = {}
        for group, parts in self._given.parts.items():
            for part in parts:
                containing.setdefault(part, []).append(group)
        certain = {some[0] for some in containing.values() if len(some) == 1}
        return all(self.of_block[b] for b, block in self._blocks.items() if block.group in certain)

    def plan_program(
        self,
        pieces: Sequence[Mapping[str, Pieces]],
        chosen: Mapping[int, Sequence[Column]] | None = None,
        batch_pools: Mapping[str, set[str]] | None = None,
    ) -> PortfolioProgram:
        """The program that chooses among known columns.

        Parameters
        ----------
        pieces : sequence of mapping
            Counts of batch work.
        chosen : mapping of int to sequence of Column, optional
            Columns to choose from; left out: all known ones, and batch work may have parts of machines.
        batch_pools : mapping of str to set of str, optional
            Candidates for batch work, by their curves; left out: all.
        """
        some = [
            mine
            if b in self._blocks or batch_pools is None
            else {k: p if k in batch_pools[block.curves] else p.chosen(p.first < 0) for k, p in mine.items()}
            for b, (block, mine) in enumerate(zip(self._given.blocks, pieces, strict=True))
        ]
        if chosen is not None:
            columns = {b: list(chosen.get(b, ())) for b in self._blocks}
            return PortfolioProgram(self._given, some, columns=columns)
        program = PortfolioProgram(self._given, some, columns=self.of_block)
        for rows in program.rows:
            if isinstance(rows, PoolRows):
                rows.relax()
        return program

    def cheapest(self) -> dict[int, list[Column]]:
        """The column of each block that costs least at the prices of the bound, or always on where there are none."""
        found, usd = {}, self._usd_per_hour()
        for b, columns in self.of_block.items():
            block, prices = self._given.blocks[b], self._prices.get(b, usd)
            pool, spares = self._given.curves[block.curves], self._given.spares[block.group]
            cost = [
                sum(prices[pool[k].configuration.machine.name] * (n + spares) for k, n in column.counts.items())
                for column in columns
            ]
            found[b] = [columns[cost.index(min(cost))]] if columns else []
        return found

    def _usd_per_hour(self) -> dict[str, float]:
        """What a machine that is always on costs at the least."""
        usd: dict[str, float] = {}
        for s in self._given.supplies:
            usd[s.machine] = min(usd.get(s.machine, math.inf), s.fixed_usd_per_hour + s.usage_usd_per_hour)
        return usd

    def best_for_batch(self) -> dict[str, set[str]]:
        """The mixed pool that serves most for the price of its machines, by its curves."""
        usd, found = self._usd_per_hour(), {}
        for name in sorted({b.curves for b in self._given.blocks if b.group in self._given.batch_groups}):
            per_usd = {
                c.key: float(c.curve.rate_per_s[-1] / c.curve.n_machines[-1]) / usd[c.configuration.machine.name]
                for c in self._given.curves[name].values()
                if c.role == "mixed" and usd.get(c.configuration.machine.name, 0.0) > 0
            }
            found[name] = {max(sorted(per_usd), key=lambda k: per_usd[k])} if per_usd else set(self._given.curves[name])
        return found

    def useful_for_batch(self) -> dict[str, set[str]]:
        """Pools that relaxations used for batch work, and all mixed ones, by their curves."""
        found: dict[str, set[str]] = {}
        for name in {b.curves for b in self._given.blocks if b.group in self._given.batch_groups}:
            mixed = {c.key for c in self._given.curves[name].values() if c.role == "mixed"}
            found[name] = mixed | self._useful.get(name, set())
        return found

    def bound_program(self) -> PortfolioProgram:
        """The program that knows of blocks what their cuts say: no portfolio costs less than its optimum."""
        program = PortfolioProgram(self._given, self._pieces, cuts=self.cuts, with_posts=False)
        program.problem.setObjective(program.cost)
        for variable in program.problem.variables():
            if not variable.name.startswith(("held", "ordered", "formed")):
                variable.cat = "Continuous"
        return program

    def price(self, deadline: float, held: Mapping[int, int] | None = None) -> tuple[float, int] | None:
        """Solve the relaxation and ask every block for its best at the prices of machines.

        Parameters
        ----------
        deadline : float
            By `time.perf_counter`.
        held : mapping, optional
            Machines held, at which to look for prices; the bound (1) is then not one of all portfolios.

        Returns
        -------
        (float, int) or None
            Cost of the relaxation [USD/h], and how many new columns there are; None if there was no time, or the
            columns serve nothing together.
        """
        master = PortfolioProgram(self._given, self._pieces, columns=self.of_block, held=held, with_posts=False)
        master.problem.setObjective(master.cost)
        relaxed = solve_relaxation(master.problem, time_limit_s=max(deadline - time.perf_counter(), 1e-3))
        if relaxed is None:
            return None
        for block, rows in zip(self._given.blocks, master.rows, strict=True):
            if isinstance(rows, PoolRows):
                self._useful.setdefault(block.curves, set()).update(rows.used_in(relaxed.values))
        gained, gaining = 0.0, 0
        at: dict[int, Prices] = {}
        base: dict[int, float] = {}
        for b, block in self._blocks.items():
            left_s = deadline - time.perf_counter()
            if left_s <= 0:
                return None
            prices = self._prices_of(block, relaxed)
            column, least = self._best(b, prices, left_s)
            paid = relaxed.prices.get(demand_row(b), 0.0)
            gained += min(0.0, least - paid)
            at[b], base[b] = prices, min(least, paid)
            if 0 < least < math.inf and min(prices.values()) >= 0:
                cut = Cut(b, prices, least)
                if cut not in self.cuts:
                    self.cuts.append(cut)
            if column is not None and column not in self.of_block[b]:
                self.of_block[b].append(column)
                gaining += least < paid - _WORTH_IT * max(abs(paid), 1e-9)
        bound = relaxed.objective + gained
        if held is None and bound > self.bound:
            self.bound, self._prices, self._base = bound, at, base
        return relaxed.objective, gaining

    def _prices_of(self, block: Block, relaxed: Relaxation) -> dict[str, float]:
        """What one machine more of each type costs in the block's period, the part of it that may not be spot apart."""
        steady = 1.0 - self._given.limits.max_spot.get(block.group, 0.0)
        return {
            name: -relaxed.prices.get(supply_row(block.period, name), 0.0)
            - steady * relaxed.prices.get(spot_row(block.period, name), 0.0)
            for name in self._machines(block)
        }

    def reduced(self, pieces: Sequence[Mapping[str, Pieces]], best_usd_per_hour: float) -> list[Mapping[str, Pieces]]:
        """Counts that a portfolio cheaper than the best one known may have.

        In such a one no block costs more, at the prices of the bound, than the bound takes it to cost and all that lies
        between the bound and the best.
        """
        kept = list(pieces)
        for b, prices in self._prices.items():
            block = self._given.blocks[b]
            candidates = list(self._given.curves[block.curves].values())
            each = {c.key: prices[c.configuration.machine.name] for c in candidates}
            if min(each.values()) <= 0:
                continue
            room = self._base[b] + max(best_usd_per_hour - self.bound, 0.0)
            supply = Resource(each, room * (1.0 + OBJECTIVE_TOLERANCE))
            kept[b] = possible(candidates, pieces[b], [supply], block.rate_per_s, self._given.spares[block.group])
        return kept

    # -- one block

    def _limits(self, block: Block) -> Limits:
        return Limits(max_machines=self._stock, spares=self._given.spares[block.group])

    def _machines(self, block: Block) -> list[str]:
        return sorted({c.configuration.machine.name for c in self._given.curves[block.curves].values()})

    def _first(self, block: Block) -> list[Column]:
        """Every plan of one or two pools within the stock."""
        simples = self._simples(block, dict.fromkeys(self._machines(block), 1.0))
        return [Column({c.key: n for c, n in simple.pools}) for simple in simples]

    def _simples(self, block: Block, prices: Prices) -> list[Simple]:
        candidates = list(self._given.curves[block.curves].values())
        limits = self._limits(block)
        found = (best_simple(pair, block.rate_per_s, prices, limits) for pair in enumerate_pairs(candidates))
        return [simple for simple in found if simple is not None]

    def _best(self, b: int, prices: Prices, time_limit_s: float) -> tuple[Column | None, float]:
        """The cheapest pools at these prices, and what none cost less than."""
        block = self._given.blocks[b]
        dearest = max(prices.values(), default=0.0)
        if dearest <= 0:
            return None, 0.0
        positive = {m: max(price, _LEAST_PRICE * dearest) for m, price in prices.items()}
        key = (block.curves, block.rate_per_s, tuple(round(p / dearest, 9) for p in positive.values()))
        if key not in self._known:
            scaled = {m: price / dearest for m, price in positive.items()}
            self._known[key] = self._solved(b, scaled, time_limit_s)
        column, least = self._known[key]
        # Prices were raised where they were free or negative: by no more than this for all machines there can be.
        slack = sum((positive[m] - prices[m]) * self._most(block, m) for m in prices)
        return column, least * dearest - slack

    def _solved(self, b: int, prices: Prices, time_limit_s: float) -> tuple[Column | None, float]:
        """The cheapest pools, to the gap, and a bound that holds as the lines of the pieces do."""
        block = self._given.blocks[b]
        limits, rate = self._limits(block), block.rate_per_s
        pool = self._given.curves[block.curves]
        simple = min(self._simples(block, prices), key=lambda s: s.objective, default=None)
        pieces, start = self._all_pieces[b], None
        column: Column | None = None
        if simple is not None:
            each = {key: prices[c.configuration.machine.name] for key, c in pool.items()}
            worth = Resource(each, simple.objective * (1.0 + OBJECTIVE_TOLERANCE))
            pieces = possible(list(pool.values()), pieces, [worth], rate, limits.spares)
            column = Column({c.key: n for c, n in simple.pools})
            first, *rest = column.counts
            start = (column.counts, {(first, rest[0] if rest else None): rate})
        power = 100.0 * max(c.configuration.machine.rated_power_w for c in pool.values())
        program = Program(list(pool.values()), pieces, rate, rate, prices, limits, power)
        outcome = program.solve(self._solver, time_limit_s, 0, start, gap=self._gap)
        if outcome.status == "infeasible":
            return (None, math.inf) if simple is None else (column, simple.objective)
        if outcome.has_solution:
            counts = program.counts()
            chosen = {key: (pool[key].with_counts([n]), n) for key, n in counts.items()}
            if chosen and balanced(chosen, rate)[0] <= 1.0:
                column = Column(counts)
        least = outcome.bound or 0.0
        return column, min(least, simple.objective) if simple is not None else least

    def _most(self, block: Block, machine: str) -> int:
        """Machines of a type that a block could ever have."""
        spares = self._given.spares[block.group]
        return sum(
            int(c.curve.n_machines[-1]) + spares
            for c in self._given.curves[block.curves].values()
            if c.configuration.machine.name == machine
        )
