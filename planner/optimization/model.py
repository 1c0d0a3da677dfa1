"""Several traffics over several periods, served by machines that are bought once: one mixed-integer program.

Sets: groups g of requests that share pools; periods t, each of some stage; candidate pools j of g in t; supplies o,
ways to have machines of a type m. Variables: counts k_jt and flows f_wt of every group and period (`pool_rows`),
whether a group is formed x_g, machines held of a supply H_o and switched on U_ot, requests of a lot a served in a
period y_at.

    minimise   sum_o fixed_o hours_o H_o + sum_ot usage_o hours_t U_ot + changes                             (1)
    demand     sum_w f_wt = lambda_gt x_g                           g with objectives                        (2)
    batch      sum_w f_wt 3600 hours_t = sum_a y_at;  sum_{t in window of a} y_at = requests_a               (3)
    partition  sum_{g with part i} x_g = 1                                                                   (4)
    supply     sum_{j of type m} (k_jt + s on_jt) <= sum_{o of m} available_o U_ot                           (5)
    held       U_ot <= H_o where o is there in t's stage, 0 before                                           (6)
    limits     sum_m share_m (machines of m held or rented in t) <= most: stock, power, rack units, of all
               or of a site                                                                                  (7)
    spot       sum_{o not spot of m} U_ot >= sum_g (1 - share_g) sum_j (k_jt + s on_jt),
               (1 - floor) sum_{o rented of m} U_ot >= sum_{o spot of m} U_ot                                (8)
    changes    S_qt >= n_qt - n_qt'                     n_qt machines of post q in t, t' the part of the day before (9)
    roles      n_qt <= R_qs + rented for q;  sum_q of m R_qs <= sum_{o held of m, there in s} H_o           (10)
    spending   sum_o paid_o H_o + sum_ot paid_ot U_ot + changes <= budget of a year                         (11)

A post q is a group, a role and a type of machine. Changes cost by the machine that starts at a post. Where roles are
fixed, machines that are held stay at their posts R_qs for a stage s, and only rented ones go where they are needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from planner.optimization.column_rows import PULP_NAME, ColumnRows, NeedRows, tie_break
from planner.optimization.pool_rows import PoolRows, Way
from planner.optimization.portfolio_problem import SECONDS_PER_HOUR, Column, Cut, PortfolioProblem, Post, Supply, stocks
from planner.optimization.program import TIE_BREAK
from planner.optimization.reduction import Pieces


def demand_row(block: int) -> str:
    """Name of the row (2) of a block."""
    return f"demand_{block}"


def supply_row(period: int, machine: str) -> str:
    """Name of a row (5), as PuLP has it."""
    return f"supply_{period}_{machine}".translate(PULP_NAME)


def spot_row(period: int, machine: str) -> str:
    """Name of a row (8), as PuLP has it."""
    return f"spot_{period}_{machine}".translate(PULP_NAME)


class PortfolioProgram:
    """The program over the counts in `pieces`.

    Parameters
    ----------
    given : PortfolioProblem
    pieces : sequence of mapping of str to Pieces
        For each block, counts that each candidate may have, by key.
    elastic : set of str
        Names of limits that may be exceeded; what is minimised is then by how much.
    columns : mapping of int to sequence of Column, optional
        Of some blocks: whole sets of pools to choose from, in place of counts.
    cuts : sequence of Cut
        What the machines of a block are worth at the least, at given prices. They are all that is known of a block
        without pieces.
    held : mapping of int to int, optional
        Machines of some supplies that are held, in place of a decision.
    with_posts : bool
        Whether (9) and (10) are in it; without them it is a relaxation.
    """

    def __init__(
        self,
        given: PortfolioProblem,
        pieces: Sequence[Mapping[str, Pieces]],
        elastic: frozenset[str] = frozenset(),
        columns: Mapping[int, Sequence[Column]] | None = None,
        cuts: Sequence[Cut] = (),
        held: Mapping[int, int] | None = None,
        with_posts: bool = True,
    ) -> None:
        import pulp

        self._lp_sum = pulp.lpSum
        self.given = given
        self.problem = pulp.LpProblem("portfolio", pulp.LpMinimize)
        self._elastic, self.slacks = elastic, {}  # type: ignore[var-annotated]
        self._fixed = held or {}
        self.rows: list[PoolRows | ColumnRows | NeedRows] = []
        for b, (block, some) in enumerate(zip(given.blocks, pieces, strict=True)):
            pools = given.curves[block.curves]
            if columns is not None and b in columns:
                self.rows.append(ColumnRows(self.problem, pools, columns[b], label=f"b{b}_"))
            elif not some and block.group not in given.batch_groups:
                self.rows.append(NeedRows(self.problem, pools, label=f"b{b}_"))
            else:
                rate = max(block.rate_per_s, 1e-9)
                self.rows.append(PoolRows(self.problem, list(pools.values()), some, rate, label=f"b{b}_"))
        self._declare_groups()
        self._define_demand()
        self._define_lots()
        self._declare_supplies()
        self._define_supply()
        self._started: dict[int, list[Any]] = {}
        self._stationed: dict[tuple[int, Post], Any] = {}
        if with_posts and given.change_usd > 0:
            self._define_changes()
        if with_posts and given.has_fixed_roles:
            self._define_roles()
        self._define_cuts(cuts)
        self._define_limits()
        self._define_objective()

    def _declare_groups(self) -> None:
        """Whether each group is formed; every part is in one of them."""
        groups = self.given.parts
        containing: dict[str, list[str]] = {}
        for group, parts in groups.items():
            for part in parts:
                containing.setdefault(part, []).append(group)
        certain = {some[0] for some in containing.values() if len(some) == 1}
        self._formed = {
            group: 1 if group in certain else self.problem.add_variable(f"formed_{i}", cat="Binary")
            for i, group in enumerate(groups)
        }
        for part in sorted(containing):
            if len(containing[part]) > 1:
                self.problem += self._lp_sum([self._formed[group] for group in containing[part]]) == 1

    def _define_demand(self) -> None:
        """(2), each in units of its own demand."""
        batch = self.given.batch_groups
        for b, (block, rows) in enumerate(zip(self.given.blocks, self.rows, strict=True)):
            if block.group not in batch:
                self.problem += rows.served == self._formed[block.group] * 1.0, demand_row(b)

    def _define_lots(self) -> None:
        """(3), in units of each group's requests of a day."""
        size: dict[str, float] = {}
        for lot in self.given.lots:
            size[lot.group] = size.get(lot.group, 0.0) + lot.requests
        self._lot_parts: dict[tuple[str, int], list[Any]] = {}
        for a, lot in enumerate(self.given.lots):
            served = {t: self.problem.add_variable(f"lot_{a}_{t}", lowBound=0) for t in lot.periods}
            for t, y in served.items():
                self._lot_parts.setdefault((lot.group, t), []).append(y)
            self.problem += self._lp_sum(served.values()) == lot.requests / size[lot.group]
        for block, rows in zip(self.given.blocks, self.rows, strict=True):
            if block.group in size:
                a_day = self.given.spans[block.period].day_hours * SECONDS_PER_HOUR * rows.scale_per_s
                due = self._lot_parts.get((block.group, block.period), [])
                self.problem += rows.served * (a_day / size[block.group]) == self._lp_sum(due)

    def _declare_supplies(self) -> None:
        """Machines held, and machines switched on in each period."""
        add, given = self.problem.add_variable, self.given
        interrupted = {s.machine for s in given.supplies if s.is_spot}
        self._held: dict[int, Any] = {}
        self._used: dict[tuple[int, int], Any] = {}
        for i, supply in enumerate(given.supplies):
            if supply.is_held:
                fixed = supply.most is not None and supply.most == supply.least
                if i in self._fixed:
                    self._held[i] = self._fixed[i]
                else:
                    self._held[i] = supply.least if fixed else add(f"held_{i}", supply.least, supply.most, "Integer")
            for t, span in enumerate(given.spans):
                if span.stage in supply.absent:
                    continue
                # Beside integers, what is used is whole by itself; beside spot machines, worth less, it is not.
                whole = supply.machine in interrupted
                most = None if supply.is_held else supply.most
                self._used[i, t] = add(f"used_{i}_{t}", 0, most, cat="Integer" if whole else "Continuous")
                if supply.is_held:
                    self.problem += self._used[i, t] <= self._held[i]
            if supply.is_held and supply.minimum_order > 1 and supply.least == 0 and i not in self._fixed:
                ordered = add(f"ordered_{i}", cat="Binary")
                self.problem += self._held[i] >= supply.minimum_order * ordered
                self.problem += self._held[i] <= self._enough(supply) * ordered
        self._define_stock()

    def _define_stock(self) -> None:
        """In every period, of one offer: sum of what is held since any date and rented at any site <= its stock."""
        for together in stocks(self.given.supplies):
            most = self.given.supplies[together[0]].most
            is_held = self.given.supplies[together[0]].is_held
            stages = {span.stage: t for t, span in enumerate(self.given.spans)}
            for t in stages.values() if is_held else range(len(self.given.spans)):
                there = [self._held[i] if is_held else self._used[i, t] for i in together if (i, t) in self._used]
                if len(there) > 1:
                    self.problem += self._lp_sum(there) <= most

    def _enough(self, supply: Supply) -> int:
        """Machines of a supply beyond which no plan goes: what is allowed, or all that pools could hold at once."""
        if supply.most is not None:
            return supply.most
        at_once: dict[int, int] = {}
        for block, rows in zip(self.given.blocks, self.rows, strict=True):
            for c in rows.candidates:
                if c.configuration.machine.name == supply.machine:
                    most = rows.most(c) + self.given.spares[block.group]
                    at_once[block.period] = at_once.get(block.period, 0) + most
        return max([supply.minimum_order, *at_once.values()])

    def _needed(self, t: int, share: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Machines of each type in pools in a period, spares included; or a share of those of each group."""
        found: dict[str, list[Any]] = {}
        for block, rows in zip(self.given.blocks, self.rows, strict=True):
            part = 1.0 if share is None else share.get(block.group, 0.0)
            if block.period == t and part > 0:
                for c in rows.candidates:
                    bought = part * rows.bought(c, self.given.spares[block.group])
                    found.setdefault(c.configuration.machine.name, []).append(bought)
        return {machine: self._lp_sum(some) for machine, some in sorted(found.items())}

    def _define_supply(self) -> None:
        """(5)."""
        for t in range(len(self.given.spans)):
            for machine, needed in self._needed(t).items():
                had = [
                    supply.availability * self._used[i, t]
                    for i, supply in enumerate(self.given.supplies)
                    if supply.machine == machine and (i, t) in self._used
                ]
                self.problem += needed <= self._lp_sum(had), supply_row(t, machine)
        if any(s.is_spot for s in self.given.supplies):
            for t in range(len(self.given.spans)):
                self._define_spot(t)

    def _define_spot(self, t: int) -> None:
        """(8)."""
        given, lp = self.given, self._lp_sum
        groups = {block.group for block in given.blocks}
        steady = self._needed(t, {g: 1.0 - given.limits.max_spot.get(g, 0.0) for g in groups})
        for machine in sorted({s.machine for s in given.supplies if s.is_spot}):
            rented = {
                i: self._used[i, t]
                for i, s in enumerate(given.supplies)
                if s.machine == machine and not s.is_held and (i, t) in self._used
            }
            spot = {i: used for i, used in rented.items() if given.supplies[i].is_spot}
            safe = [
                self._used[i, t]
                for i, s in enumerate(given.supplies)
                if s.machine == machine and not s.is_spot and (i, t) in self._used
            ]
            self.problem += steady.get(machine, 0) - lp(safe) <= 0, spot_row(t, machine)
            if given.limits.on_demand_floor > 0:
                self.problem += lp(list(spot.values())) <= (1.0 - given.limits.on_demand_floor) * lp(
                    list(rented.values())
                )

    def _posts(self, t: int) -> dict[Post, Any]:
        """Machines at each post in a period, spares included."""
        found: dict[Post, list[Any]] = {}
        for block, rows in zip(self.given.blocks, self.rows, strict=True):
            if block.period == t:
                for c in rows.candidates:
                    post = (block.group, c.role, c.configuration.machine.name)
                    found.setdefault(post, []).append(rows.bought(c, self.given.spares[block.group]))
        return {post: self._lp_sum(some) for post, some in sorted(found.items())}

    def _define_changes(self) -> None:
        """(9)."""
        posts = [self._posts(t) for t in range(len(self.given.spans))]
        for t, here in enumerate(posts):
            before = posts[self.given.before(t)]
            for q, (post, n) in enumerate(here.items()):
                started = self.problem.add_variable(f"started_{t}_{q}", lowBound=0)
                self.problem += started >= n - before.get(post, 0)
                self._started.setdefault(t, []).append(started)

    def _define_roles(self) -> None:
        """(10)."""
        given, add, lp = self.given, self.problem.add_variable, self._lp_sum
        for t, span in enumerate(given.spans):
            rented: dict[str, list[Any]] = {}
            for q, (post, n) in enumerate(self._posts(t).items()):
                at = (span.stage, post)
                if at not in self._stationed:
                    self._stationed[at] = add(f"stationed_{len(self._stationed)}", lowBound=0, cat="Integer")
                taken = add(f"taken_{t}_{q}", lowBound=0)
                rented.setdefault(post[2], []).append(taken)
                self.problem += n <= self._stationed[at] + taken
            for machine, taken_all in rented.items():
                had = [
                    s.availability * self._used[i, t]
                    for i, s in enumerate(given.supplies)
                    if s.machine == machine and not s.is_held and (i, t) in self._used
                ]
                self.problem += lp(taken_all) <= lp(had)
        for stage in {span.stage for span in given.spans}:
            for machine in {s.machine for s in given.supplies}:
                mine = [r for (s, post), r in self._stationed.items() if s == stage and post[2] == machine]
                there = [
                    self._held[i]
                    for i, s in enumerate(given.supplies)
                    if s.machine == machine and s.is_held and stage not in s.absent
                ]
                if mine:
                    self.problem += lp(mine) <= lp(there)

    def stationed(self) -> dict[tuple[int, Post], int]:
        """Machines held that stay at a post in a stage, after solving."""
        return {at: n for at, r in self._stationed.items() if (n := round(r.value()))}

    def _define_cuts(self, cuts: Sequence[Cut]) -> None:
        """sum_m price_m (machines of m in the block) >= least x_g, divided by the least."""
        for n, cut in enumerate(cuts):
            block, rows = self.given.blocks[cut.block], self.rows[cut.block]
            spares = self.given.spares[block.group]
            worth = [
                cut.prices[c.configuration.machine.name] / cut.least * rows.bought(c, spares) for c in rows.candidates
            ]
            self.problem += self._lp_sum(worth) >= self._formed[block.group] * 1.0, f"cut_{n}"

    def _at_once(self, t: int) -> dict[str, Any]:
        """Machines of each type held, or rented in a period."""
        found: dict[str, list[Any]] = {}
        for i, supply in enumerate(self.given.supplies):
            if (i, t) in self._used:
                found.setdefault(supply.machine, []).append(self._held[i] if supply.is_held else self._used[i, t])
        return {machine: self._lp_sum(some) for machine, some in sorted(found.items())}

    def _rented(self, t: int) -> dict[str, Any]:
        """Machines of each type on demand or spot in a period."""
        found: dict[str, list[Any]] = {}
        for i, supply in enumerate(self.given.supplies):
            if (i, t) in self._used and not supply.is_held:
                found.setdefault(supply.machine, []).append(self._used[i, t])
        return {machine: self._lp_sum(some) for machine, some in sorted(found.items())}

    def _define_limits(self) -> None:
        """(7)."""
        for t in range(len(self.given.spans)):
            had, rented = self._at_once(t), self._rented(t)
            for cap in self.given.limits.caps:
                machines = rented if cap.is_rented else had
                taken = [weight * machines[m] for m, weight in sorted(cap.weights.items()) if m in machines]
                if taken:
                    self._limit(cap.name, self._lp_sum(taken), cap.most)

    def _define_spending(self, changes: Any) -> None:
        """(11)."""
        for spending in self.given.limits.spending:
            paid = [usd * self._held[i] for i, usd in sorted(spending.of_held.items())]
            paid += [usd * self._used[at] for at, usd in sorted(spending.of_used.items()) if at in self._used]
            paid.append(spending.of_changes * self.given.total_hours * changes)
            self._limit(spending.name, self._lp_sum(paid), spending.most)

    def _limit(self, name: str, expression: Any, most: float) -> None:
        """expression <= most, divided by it; and by how much more where the limit is elastic."""
        scale = max(float(most), 1.0)
        right: Any = most / scale * (1 + 1e-9)
        if name in self._elastic:
            if name not in self.slacks:
                self.slacks[name] = self.problem.add_variable(f"slack_{len(self.slacks)}", lowBound=0)
            right = right + self.slacks[name]
        self.problem += expression * (1.0 / scale) <= right

    def _define_objective(self) -> None:
        """(1) in mean USD/h; among equals the fewest pools, then the least power, as in `program`."""
        given, lp = self.given, self._lp_sum
        hours, supplies = given.total_hours, given.supplies
        fixed = {i: supplies[i].fixed_usd_per_hour * supplies[i].fixed_hours / hours for i in self._held}
        usage = {(i, t): supplies[i].usage_usd_per_hour * given.spans[t].hours / hours for i, t in self._used}
        changes = lp([given.usd_per_hour_of_a_change(t) * s for t, some in self._started.items() for s in some])
        self.cost = (
            lp([fixed[i] * n for i, n in self._held.items()] + [usage[at] * used for at, used in self._used.items()])
            + changes
        )
        self._define_spending(changes)
        if given.limits.max_cost_usd_per_hour is not None:
            self._limit("max_cost", self.cost, given.limits.max_cost_usd_per_hour)
        if self._elastic:
            self.problem += lp(list(self.slacks.values()))
            return
        prices = [s.fixed_usd_per_hour + s.usage_usd_per_hour for s in given.supplies]
        size = min([p for p in prices if p > 0], default=1.0) * TIE_BREAK
        self.tie_break = lp(
            [
                size * given.spans[block.period].hours / hours * tie_break(rows, given.spares[block.group])
                for block, rows in zip(given.blocks, self.rows, strict=True)
            ]
        )
        self.problem += self.cost + self.tie_break

    def values_of(self, plan: Any) -> dict[str, float] | None:
        """Values of what a portfolio decides, to start from; None if the program has no place for it."""
        values: dict[str, float] = {}
        for rows, answer in zip(self.rows, plan.blocks, strict=True):
            if isinstance(rows, PoolRows):
                mine = rows.values_of(answer.counts, answer.flows_per_s)
                if mine is None:
                    return None
                values |= mine
        values |= {x.name: float(g in plan.formed) for g, x in self._formed.items() if not isinstance(x, int)}
        values |= {n.name: float(plan.held[i]) for i, n in self._held.items() if not isinstance(n, int)}
        return values | {used.name: float(plan.used.get(at, 0)) for at, used in self._used.items()}

    def held(self) -> dict[int, int]:
        """Machines held of each supply, after solving."""
        return {i: round(n if isinstance(n, int) else n.value()) for i, n in self._held.items()}

    def rented(self) -> dict[tuple[int, int], int]:
        """Machines rented of each supply in each period, after solving."""
        return {
            (i, t): n
            for (i, t), used in self._used.items()
            if not self.given.supplies[i].is_held and (n := math.ceil(used.value() - 1e-6)) > 0
        }

    def formed(self) -> set[str]:
        """Groups that are formed, after solving."""
        return {g for g, x in self._formed.items() if (x if isinstance(x, int) else x.value()) > 0.5}

    def answers(self) -> list[tuple[dict[str, int], dict[Way, float]]]:
        """Counts and flows of every block, after solving; nothing for groups that are not formed."""
        formed = self.formed()
        return [
            (rows.counts(), rows.flows_per_s()) if block.group in formed else ({}, {})
            for block, rows in zip(self.given.blocks, self.rows, strict=True)
        ]
