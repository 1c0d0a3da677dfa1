"""The problem of a fleet with its capacity curves as they are known so far, and the counts to be looked up next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from planner.errors import PlannerError
from planner.optimization.model import PortfolioProgram
from planner.optimization.pool_rows import Way, ways_through
from planner.optimization.portfolio_answer import (
    BlockAnswer,
    Portfolio,
    at_once,
    changes_usd_per_hour,
    load_of_pool,
    machines_at_posts,
)
from planner.optimization.portfolio_problem import SECONDS_PER_HOUR, Block, PortfolioProblem, stocks
from planner.optimization.reduction import Pieces, pieces_of
from planner.optimization.selection import balanced
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits

_LOAD_TOLERANCE = 1e-6


class KnownCurves:
    """The problem with its curves as they are known so far."""

    def __init__(self, given: PortfolioProblem, elastic: frozenset[str] = frozenset()) -> None:
        self.given, self._elastic = given, elastic

    def pieces(self, kink: float | None) -> list[dict[str, Pieces]]:
        """Counts of each block; with `kink` None those that are known exactly alone."""
        known: dict[tuple[str, float, int], dict[str, Pieces]] = {}
        found = []
        batch = self.given.batch_groups
        for block in self.given.blocks:
            spares = self.given.spares[block.group]
            at = (block.curves, block.rate_per_s, spares)
            if at not in known:
                limits = Limits(max_machines=self.stock(), spares=spares)
                known[at] = {
                    key: _clipped(_pieces(c, limits, kink, block.group in batch), block.rate_per_s)
                    for key, c in self.given.curves[block.curves].items()
                }
            found.append(known[at])
        return found

    def stock(self) -> dict[str, int]:
        """Most machines of each type that there can be in a period."""
        stock: dict[str, int] = {}
        for cap in self.given.limits.caps:
            if cap.name not in self._elastic and not cap.is_rented:
                for machine, weight in cap.weights.items():
                    if weight > 0:
                        most_of = math.floor(cap.most / weight + 1e-9)
                        stock[machine] = min(stock.get(machine, most_of), most_of)
        had: dict[str, float] = {}
        for supply in self.given.supplies:
            had[supply.machine] = had.get(supply.machine, 0) + (math.inf if supply.most is None else supply.most)
        for machine in {c.configuration.machine.name for s in self.given.curves.values() for c in s.values()}:
            most = min(had.get(machine, 0), stock.get(machine, math.inf))
            if math.isfinite(most):
                stock[machine] = int(most)
        return stock

    def is_exact(self, program: PortfolioProgram) -> bool:
        """Whether the chosen counts carry what they should by the exact curves; the counts become known."""
        chosen: dict[tuple[str, str], set[int]] = {}
        answers = program.answers()
        for block, (counts, _) in zip(self.given.blocks, answers, strict=True):
            for key, n in counts.items():
                chosen.setdefault((block.curves, key), set()).add(n)
        curves = {name: dict(pool) for name, pool in self.given.curves.items()}
        for (name, key), some in chosen.items():
            near = {n + d for n in some for d in (-1, 0, 1, 2) if n + d >= 1}
            if not some <= set(curves[name][key].curve.n_machines.tolist()):
                curves[name][key] = curves[name][key].with_counts(sorted(near))
        self.given = replace(self.given, curves=curves)
        return all(
            load_of_pool(flows, key) <= curves[block.curves][key].curve.at(n) * (1 + _LOAD_TOLERANCE)
            for block, (counts, flows) in zip(self.given.blocks, answers, strict=True)
            for key, n in counts.items()
        )

    def plan_of(self, program: PortfolioProgram) -> Portfolio:
        """The program's answer, with each block's load shared evenly and machines used in order of their price."""
        blocks = [
            self._balanced(block, counts, flows)
            for block, (counts, flows) in zip(self.given.blocks, program.answers(), strict=True)
        ]
        held = program.held()
        used = self._used(blocks, held, program.rented())
        cost = self.cost_usd_per_hour(blocks, held, used)
        return Portfolio(
            blocks, self.given.curves, program.formed(), held, used, program.stationed(), cost, -math.inf, math.inf,
            "limit", "", 0,
        )  # fmt: skip

    def _balanced(self, block: Block, counts: Mapping[str, int], flows: Mapping[Way, float]) -> BlockAnswer:
        if not counts:
            return BlockAnswer({}, {})
        pool = self.given.curves[block.curves]
        rate = math.fsum(flows.values())
        if block.group not in self.given.batch_groups:
            rate = block.rate_per_s
        busiest, shared = balanced({key: (pool[key], n) for key, n in counts.items()}, rate)
        if busiest > 1 + 2 * _LOAD_TOLERANCE:
            raise PlannerError("chosen pools do not carry their load", value=block.group, rule="report this as a bug")
        return BlockAnswer(dict(counts), shared)

    def needed(self, blocks: Sequence[BlockAnswer], t: int) -> dict[str, int]:
        """Machines of each type in pools in a period, spares included."""
        found: dict[str, int] = {}
        for block, answer in zip(self.given.blocks, blocks, strict=True):
            if block.period == t:
                for key, n in answer.counts.items():
                    name = self.given.curves[block.curves][key].configuration.machine.name
                    found[name] = found.get(name, 0) + n + self.given.spares[block.group]
        return found

    def _steady(self, blocks: Sequence[BlockAnswer], t: int) -> dict[str, float]:
        """Machines of each type in a period that must not be spot."""
        found: dict[str, float] = {}
        for block, answer in zip(self.given.blocks, blocks, strict=True):
            if block.period == t:
                part = 1.0 - self.given.limits.max_spot.get(block.group, 0.0)
                for key, n in answer.counts.items():
                    name = self.given.curves[block.curves][key].configuration.machine.name
                    found[name] = found.get(name, 0.0) + part * (n + self.given.spares[block.group])
        return found

    def _used(
        self, blocks: Sequence[BlockAnswer], held: Mapping[int, int], rented: Mapping[tuple[int, int], int]
    ) -> dict[tuple[int, int], int]:
        """Machines of each supply switched on: those rented, and of those held the rest, the cheapest to run first."""
        supplies = self.given.supplies
        used = dict(rented)
        order = sorted(held, key=lambda i: (supplies[i].usage_usd_per_hour, i))
        for t, span in enumerate(self.given.spans):
            steady = self._steady(blocks, t)
            for machine, n in self.needed(blocks, t).items():
                worth = {
                    i: m * supplies[i].availability
                    for (i, at), m in rented.items()
                    if at == t and supplies[i].machine == machine
                }
                safe = math.fsum(m for i, m in worth.items() if not supplies[i].is_spot)
                left = max(n - math.fsum(worth.values()), steady.get(machine, 0.0) - safe)
                for i in order:
                    if supplies[i].machine == machine and span.stage not in supplies[i].absent and left > 1e-6:
                        take = min(math.ceil(left - 1e-6), held[i])
                        used[i, t] = take
                        left -= take
        return {at: n for at, n in used.items() if n}

    def cost_usd_per_hour(
        self, blocks: Sequence[BlockAnswer], held: Mapping[int, int], used: Mapping[tuple[int, int], int]
    ) -> float:
        """Mean cost of what is held, used and changed."""
        supplies, spans = self.given.supplies, self.given.spans
        fixed = [supplies[i].fixed_usd_per_hour * supplies[i].fixed_hours * n for i, n in held.items()]
        usage = [supplies[i].usage_usd_per_hour * spans[t].hours * n for (i, t), n in used.items()]
        return math.fsum([*fixed, *usage]) / self.given.total_hours + changes_usd_per_hour(self.given, blocks)

    # -- the checker: everything again, from the curves and the problem alone

    def faults(self, plan: Portfolio) -> list[str]:
        """What is wrong with a plan."""
        checks = (
            self._pool_faults, self._lot_faults, self._supply_faults, self._limit_faults, self._role_faults
        )  # fmt: skip
        return [fault for check in checks for fault in check(plan)]

    def _pool_faults(self, plan: Portfolio) -> list[str]:
        found = []
        parts = [part for group in plan.formed for part in self.given.parts[group]]
        if sorted(parts) != sorted({part for some in self.given.parts.values() for part in some}):
            found.append("not every part is in one group")
        for block, answer in zip(self.given.blocks, plan.blocks, strict=True):
            where = f"{block.group} in {self.given.spans[block.period].name}"
            carried = math.fsum(answer.flows_per_s.values())
            if block.group not in self.given.batch_groups:
                wanted = block.rate_per_s if block.group in plan.formed else 0.0
                if abs(carried - wanted) > _LOAD_TOLERANCE * max(wanted, 1e-9):
                    found.append(f"{where}: {carried:.9g} of {wanted:.9g} requests/s are routed")
            pools = self.given.curves[block.curves]
            allowed = set(ways_through([pools[key] for key in answer.counts]))
            found += [f"{where}: no way {way}" for way in answer.flows_per_s if way not in allowed]
            for key, n in answer.counts.items():
                curve, load = pools[key].curve, load_of_pool(answer.flows_per_s, key)
                if n not in curve.n_machines or load > curve.at(n) * (1 + 3 * _LOAD_TOLERANCE):
                    found.append(f"{where}: {key} carries {load:.9g} requests/s, more than {n} machines can")
        return found

    def _lot_faults(self, plan: Portfolio) -> list[str]:
        """Whether what is served of each batch group meets its deadlines: by Hall's condition over runs of periods."""
        found = []
        for group in sorted(self.given.batch_groups):
            served = {
                block.period: math.fsum(answer.flows_per_s.values())
                * self.given.spans[block.period].day_hours * SECONDS_PER_HOUR
                for block, answer in zip(self.given.blocks, plan.blocks, strict=True)
                if block.group == group
            }  # fmt: skip
            lots = [lot for lot in self.given.lots if lot.group == group]
            total = math.fsum(lot.requests for lot in lots)
            if abs(math.fsum(served.values()) - total) > 1e-5 * total:
                found.append(f"{group}: {math.fsum(served.values()):.9g} of {total:.9g} requests are served")
            for window in {lot.periods for lot in lots}:
                inside = set(window)
                due = math.fsum(lot.requests for lot in lots if set(lot.periods) <= inside)
                done = math.fsum(n for t, n in served.items() if t in inside)
                if done < due * (1 - 1e-5):
                    found.append(f"{group}: {done:.9g} of {due:.9g} requests are served before their deadline")
        return found

    def _supply_faults(self, plan: Portfolio) -> list[str]:
        found = []
        for i, n in plan.held.items():
            supply = self.given.supplies[i]
            if n < supply.least or (supply.most is not None and n > supply.most):
                found.append(f"{supply.name}: {n} machines")
            if supply.least == 0 and 0 < n < supply.minimum_order:
                found.append(f"{supply.name}: {n} machines are fewer than the minimum order")
        for t, span in enumerate(self.given.spans):
            for machine, needed in self.needed(plan.blocks, t).items():
                had = math.fsum(
                    n * self.given.supplies[i].availability
                    for (i, at), n in plan.used.items()
                    if at == t and self.given.supplies[i].machine == machine
                )
                if had < needed - 1e-6:
                    found.append(f"{machine} in {span.name}: {needed} are needed, {had:g} are there")
        for together in stocks(self.given.supplies):
            stock = self.given.supplies[together[0]].most
            for t, span in enumerate(self.given.spans):
                there = [i for i in together if span.stage not in self.given.supplies[i].absent]
                n = sum(
                    plan.held.get(i, 0) if self.given.supplies[i].is_held else plan.used.get((i, t), 0) for i in there
                )
                if stock is not None and n > stock:
                    found.append(f"{self.given.supplies[together[0]].name}: {n} machines at once")
        found += self._spot_faults(plan)
        for (i, t), n in plan.used.items():
            supply = self.given.supplies[i]
            most = plan.held[i] if supply.is_held else math.inf if supply.most is None else supply.most
            if n > most or self.given.spans[t].stage in supply.absent:
                found.append(f"{supply.name} in {self.given.spans[t].name}: {n} are used, {most} are there")
        return found

    def _spot_faults(self, plan: Portfolio) -> list[str]:
        """More spot machines than groups allow, or fewer on demand than the floor."""
        found, limits, supplies = [], self.given.limits, self.given.supplies
        for t, span in enumerate(self.given.spans):
            steady = self._steady(plan.blocks, t)
            for machine in {s.machine for s in supplies if s.is_spot}:
                on = {i: n for (i, at), n in plan.used.items() if at == t and supplies[i].machine == machine}
                safe = sum(n for i, n in on.items() if not supplies[i].is_spot)
                rented = sum(n for i, n in on.items() if not supplies[i].is_held)
                spot = sum(n for i, n in on.items() if supplies[i].is_spot)
                if safe < steady.get(machine, 0.0) - 1e-6:
                    found.append(f"{machine} in {span.name}: more spot than allowed")
                if spot > (1.0 - limits.on_demand_floor) * rented + 1e-6:
                    found.append(f"{machine} in {span.name}: the on-demand floor is not held")
        return found

    def _limit_faults(self, plan: Portfolio) -> list[str]:
        found, limits = [], self.given.limits
        for t, span in enumerate(self.given.spans):
            had = at_once(self.given, plan, t)
            rented: dict[str, int] = {}
            for (i, at), n in plan.used.items():
                supply = self.given.supplies[i]
                if at == t and not supply.is_held:
                    rented[supply.machine] = rented.get(supply.machine, 0) + n
            over = [
                f"{cap.name}: {taken:g}"
                for cap in limits.caps
                if (taken := cap.taken(rented if cap.is_rented else had)) > cap.most * (1 + 1e-6)
            ]
            found += [f"more than allowed in {span.name}: {text}" for text in over]
        budget = limits.max_cost_usd_per_hour
        if budget is not None and plan.cost_usd_per_hour > budget * (1 + 1e-6):
            found.append("the budget is exceeded")
        changes = changes_usd_per_hour(self.given, plan.blocks) * self.given.total_hours
        for spending in limits.spending:
            paid = math.fsum(usd * plan.held.get(i, 0) for i, usd in spending.of_held.items())
            paid += math.fsum(usd * plan.used.get(at, 0) for at, usd in spending.of_used.items())
            if paid + spending.of_changes * changes > spending.most * (1 + 1e-6):
                found.append(f"{spending.name} is exceeded")
        cost = self.cost_usd_per_hour(plan.blocks, plan.held, plan.used)
        if abs(cost - plan.cost_usd_per_hour) > 1e-6 * plan.cost_usd_per_hour:
            found.append("the cost is not that of what is bought")
        return found

    def _role_faults(self, plan: Portfolio) -> list[str]:
        """Posts with more machines than are stationed there and rented, or more stationed than are held."""
        if not self.given.has_fixed_roles:
            return []
        found, supplies = [], self.given.supplies
        for t, span in enumerate(self.given.spans):
            lacking: dict[str, int] = {}
            for post, n in machines_at_posts(self.given, plan.blocks, t).items():
                more = max(n - plan.stationed.get((span.stage, post), 0), 0)
                lacking[post[2]] = lacking.get(post[2], 0) + more
            for machine, n in lacking.items():
                rented = math.fsum(
                    m * supplies[i].availability
                    for (i, at), m in plan.used.items()
                    if at == t and supplies[i].machine == machine and not supplies[i].is_held
                )
                if n > rented + 1e-6:
                    found.append(f"{machine} in {span.name}: {n} machines would have to change their role")
            for machine in {s.machine for s in supplies}:
                there = sum(
                    n for i, n in plan.held.items()
                    if supplies[i].machine == machine and span.stage not in supplies[i].absent
                )  # fmt: skip
                posted = sum(n for (s, post), n in plan.stationed.items() if s == span.stage and post[2] == machine)
                if posted > there:
                    found.append(f"{machine} in {span.name}: {posted} machines are stationed, {there} are held")
        return found


def _pieces(candidate: Candidate, limits: Limits, kink: float | None, is_straight: bool) -> Pieces:
    if is_straight:  # the lines between known counts are the curve
        return pieces_of(candidate, limits)
    if kink is not None:
        return pieces_of(candidate, limits, kink)
    runs = pieces_of(candidate, limits)
    runs = Pieces(runs.first, runs.first, runs.rate_per_s, np.zeros(runs.first.size))
    return runs.chosen(runs.rate_per_s > 0)


def _clipped(pieces: Pieces, most_per_s: float) -> Pieces:
    """Counts up to the first that carries all there is, which then counts as carrying just that.

    More machines than that are of no use, and capacity that nobody asks for only loosens the relaxation.
    """
    runs: list[tuple[int, int, float, float]] = []
    for a, b, r, slope in zip(pieces.first, pieces.last, pieces.rate_per_s, pieces.slope, strict=True):
        enough = a if r >= most_per_s else a + math.ceil((most_per_s - r) / slope - 1e-9) if slope > 0 else b + 1
        if enough > b:
            runs.append((a, b, r, slope))
            continue
        if enough > a:
            runs.append((a, enough - 1, r, slope))
        runs.append((enough, enough, most_per_s, 0.0))
        break
    first, last, rate, slopes = (np.array(column) for column in zip(*runs, strict=True)) if runs else (np.zeros(0),) * 4
    return Pieces(first.astype(np.int64), last.astype(np.int64), rate, slopes)
