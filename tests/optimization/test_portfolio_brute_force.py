"""The portfolio program against exhaustion: every grouping, number of machines held, and count of every pool."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from planner.optimization.portfolio_answer import Portfolio
from planner.optimization.portfolio_problem import (
    Block,
    Cap,
    FleetLimits,
    LotWork,
    MachineFacts,
    PortfolioProblem,
    Span,
    Spending,
    Supply,
)
from planner.optimization.search import choose_portfolio, least_excess
from planner.pools.candidate import Candidate

from .pools import candidate, carried

MOST = 3  # machines of each candidate
HELD = 4  # machines of each supply that is held
BOTH = {"a": 1.0, "b": 1.0}


def made(
    seed: int, *, batch: bool = False, shared: bool = False, spot: bool = False, spending: bool = False
) -> PortfolioProblem:
    """Two or three periods, two groups, two types of machines that may be held or rented."""
    draw = random.Random(seed)
    spans = [
        Span(f"p{t}", hours=draw.choice([100.0, 250.0, 400.0]), day_hours=draw.choice([4.0, 8.0, 12.0]), stage=t % 2)
        for t in range(draw.choice([2, 3]))
    ]

    def rates() -> list[float]:
        steps = sorted(draw.uniform(0.5, 4.0) for _ in range(MOST))
        return [sum(steps[: k + 1]) for k in range(MOST)]

    def pools(name: str) -> dict[str, Candidate]:
        if draw.random() < 0.5:
            some = [candidate(f"mixed/{m}/{name}", rates(), machine=m) for m in "ab"]
        else:
            first = candidate(f"prefill/a/{name}", rates(), machine="a")
            some = [first, candidate(f"decode/b/{name}", rates(), machine="b", sources=(first.key,)),
                    candidate(f"mixed/b/{name}", rates(), machine="b")]  # fmt: skip
        return {c.key: c for c in some}

    parts = {"g": frozenset("g"), "h": frozenset("h")}
    if shared:
        parts["g + h"] = frozenset("gh")
    curves = {name: pools(name) for name in parts}
    demand = {name: [draw.uniform(0.3, 5.0) for _ in spans] for name in ("g", "h")}
    blocks = []
    lots: list[LotWork] = []
    for name in parts:
        for t, span in enumerate(spans):
            rate = sum(demand[part][t] for part in parts[name])
            if name == "h" and batch:
                total = 3600.0 * span.day_hours
                rate = 9.0 * 3600.0 / total * span.day_hours
            blocks.append(Block(name, t, name, rate))
    if batch:
        windows = [tuple(range(len(spans))), tuple(range(draw.choice([1, 2])))]
        lots = [LotWork("h", draw.uniform(0.5, 2.5) * 3600.0 * 6.0, w) for w in dict.fromkeys(windows)]
    supplies = []
    hours = sum(s.hours for s in spans)
    for m in "ab":
        rent = draw.uniform(3.0, 9.0)
        supplies.append(
            Supply(m, "owned", rent * draw.uniform(0.2, 0.9), draw.uniform(0.0, 0.5), True, hours, most=HELD,
                   minimum_order=draw.choice([1, 1, 3]), absent=frozenset({0}) if draw.random() < 0.2 else frozenset())
        )  # fmt: skip
        if draw.random() < 0.3:
            supplies.append(Supply(m, "kept", 0.3, 0.2, True, hours, least=1, most=1))
        supplies.append(Supply(m, "on_demand", 0.0, rent, False, hours, most=draw.choice([None, None, 2])))
        if spot:
            supplies.append(Supply(m, "spot", 0.0, rent * 0.4, False, hours, availability=0.9, is_spot=True))
    caps = [Cap("stock of a", {"a": 1.0}, draw.randint(2, 5))] if draw.random() < 0.3 else []
    caps += [Cap("quota of b", {"b": 1.0}, draw.randint(0, 4), is_rented=True)] if draw.random() < 0.3 else []
    caps += [Cap("total", BOTH, draw.randint(5, 10))] if draw.random() < 0.3 else []
    caps += [Cap("power", {"a": 1000.0, "b": 1500.0}, draw.randint(6, 12) * 1000.0)] if draw.random() < 0.2 else []
    limits = FleetLimits(
        caps,
        max_spot={"g": 0.5, "h": 1.0, "g + h": 0.5} if spot else {},
        on_demand_floor=draw.choice([0.0, 0.5]) if spot else 0.0,
        spending=[
            Spending(
                "year 1",
                {i: draw.uniform(5.0, 20.0) for i, s in enumerate(supplies) if s.is_held},
                {},
                0.0,
                draw.uniform(20.0, 60.0),
            )
        ]
        if spending
        else [],
    )
    spares = dict.fromkeys(parts, draw.choice([0, 0, 1]))
    facts = {"a": MachineFacts(1000.0, 4), "b": MachineFacts(1500.0, 8)}
    return PortfolioProblem(spans, blocks, curves, parts, spares, lots, supplies, facts, limits)


Needs = dict[tuple[int, ...], float]  # machines of a and b -> the most that pools of so many carry [requests/s]


def options(given: PortfolioProblem, group: str, rate_per_s: float = math.inf) -> Needs:
    """What pools of each number of machines carry, spares bought beside.

    No pool is larger than what carries the whole rate alone: idle machines would only make room for more spot ones.
    """
    pools = list(given.curves[group].values())
    useful = [min([*(n for n in range(1, MOST) if c.curve.at(n) >= rate_per_s), MOST]) for c in pools]
    best: Needs = {(0, 0): 0.0}
    for counts in itertools.product(*(range(n + 1) for n in useful)):
        some = [(c, n) for c, n in zip(pools, counts, strict=True) if n]
        need = tuple(sum(n + given.spares[group] for c, n in some if c.configuration.machine.name == m) for m in "ab")
        best[need] = max(best.get(need, 0.0), carried(some))
    return best


def most_of(given: PortfolioProblem, name: str) -> float:
    return next((cap.most for cap in given.limits.caps if cap.name == name), math.inf)


def cheapest(given: PortfolioProblem, held: dict[int, int], t: int, need: dict[str, tuple[int, ...]]) -> float:
    """Cost of the period for these machines of each group; infinite if they cannot be had [USD]."""
    span, limits, cost = given.spans[t], given.limits, 0.0
    at_once = {}
    for i, m in enumerate("ab"):
        wanted = sum(n[i] for n in need.values())
        steady = sum((1.0 - limits.max_spot.get(g, 0.0)) * n[i] for g, n in need.items())
        mine = [(s, held[j]) for j, s in enumerate(given.supplies) if s.is_held and s.machine == m]
        there = [(s.usage_usd_per_hour, n) for s, n in mine if span.stage not in s.absent]
        quota = most_of(given, f"quota of {m}")
        spot = next((s for s in given.supplies if s.machine == m and s.is_spot), None)
        rent = next(s for s in given.supplies if s.machine == m and s.plan == "on_demand")
        best, most = math.inf, 12
        for n_spot in range(most + 1 if spot else 1):
            for n_rent in range(most + 1):
                if n_rent > (math.inf if rent.most is None else rent.most) or n_rent + n_spot > quota:
                    continue
                worth = 0.9 * n_spot
                if n_spot > (1 - limits.on_demand_floor) * (n_spot + n_rent) + 1e-9:
                    continue
                left = max(wanted - worth - n_rent, steady - n_rent, 0.0)
                usd = n_rent * rent.usage_usd_per_hour + (n_spot * spot.usage_usd_per_hour if spot else 0.0)
                for usage, n in sorted(there):
                    on = min(math.ceil(left - 1e-9), n)
                    usd, left = usd + on * usage, left - on
                had = sum(n for _, n in there) + n_rent + n_spot
                if left > 1e-9 or had > most_of(given, f"stock of {m}"):
                    continue
                if usd < best:
                    best, at_once[m] = usd, had
        cost += best
    if not math.isfinite(cost):
        return math.inf
    power = sum(given.machines[m].rated_power_w * n for m, n in at_once.items())
    over = power > most_of(given, "power") or sum(at_once.values()) > most_of(given, "total")
    return math.inf if over else cost * span.hours


def exhausted(given: PortfolioProblem) -> float:
    """Least mean cost of all [USD/h]; infinite if nothing serves."""
    every: dict[Any, Needs] = {group: options(given, group) for group in given.parts}
    every |= {(b.group, b.period): options(given, b.group, b.rate_per_s) for b in given.blocks}
    held_supplies = [i for i, s in enumerate(given.supplies) if s.is_held]
    best = math.inf
    for formed in ({"g", "h"}, {"g + h"}):
        if not formed <= set(given.parts):
            continue
        ranges = (range(given.supplies[i].least, (given.supplies[i].most or 0) + 1) for i in held_supplies)
        for counts in itertools.product(*ranges):
            held = dict(zip(held_supplies, counts, strict=True))
            if any(s.least == 0 and 0 < held[i] < s.minimum_order for i, s in enumerate(given.supplies) if s.is_held):
                continue
            if any(sum(x.of_held[i] * n for i, n in held.items()) > x.most for x in given.limits.spending):
                continue
            each = {i: s.fixed_usd_per_hour * s.fixed_hours for i, s in enumerate(given.supplies)}
            fixed = sum(each[i] * n for i, n in held.items())
            if fixed / given.total_hours < best:
                best = min(best, (fixed + of_periods(given, held, formed, every)) / given.total_hours)
    return best


def of_periods(given: PortfolioProblem, held: dict[int, int], formed: set[str], every: dict[Any, Needs]) -> float:
    batch = given.batch_groups & formed
    totals = []
    for t in range(len(given.spans)):
        enough = {
            b.group: [n for n, rate in every[b.group, b.period].items() if rate >= b.rate_per_s * (1 - 1e-9)]
            for b in given.blocks
            if b.period == t and b.group in formed - batch
        }
        offers = []
        for some in itertools.product(*enough.values()):
            for extra, rate in (every["h"] if batch else {(0, 0): 0.0}).items():
                need = dict(zip(enough, some, strict=True)) | ({"h": extra} if batch else {})
                cost = cheapest(given, held, t, need)
                if math.isfinite(cost):
                    offers.append((cost, rate * 3600.0 * given.spans[t].day_hours))
        if not batch:
            totals.append(min((c for c, _ in offers), default=math.inf))
        else:  # the cheaper ones that carry less
            kept: list[tuple[float, float]] = []
            for cost, served in sorted(offers, key=lambda o: (o[0], -o[1])):
                if not kept or served > kept[-1][1]:
                    kept.append((cost, served))
            totals.append(kept)  # type: ignore[arg-type]
    if not batch:
        return sum(totals)
    best = math.inf
    for some in itertools.product(*totals):  # type: ignore[arg-type]
        if sum(c for c, _ in some) < best and in_time(given, [served for _, served in some]):
            best = sum(c for c, _ in some)
    return best


def in_time(given: PortfolioProblem, most: list[float]) -> bool:
    """Hall's condition: every set of lots finds room in the periods that any of them may use."""
    for size in range(1, len(given.lots) + 1):
        for some in itertools.combinations(given.lots, size):
            room = sum(most[t] for t in {t for lot in some for t in lot.periods})
            if sum(lot.requests for lot in some) > room * (1 + 1e-9):
                return False
    return True


def hold(given: PortfolioProblem, found: Portfolio | None, best: float) -> bool:
    """The answer is as good as the best of all, and proven. Whether there was one."""
    if math.isinf(best):
        assert found is None
        return False
    assert found is not None
    assert found.cost_usd_per_hour == pytest.approx(best, rel=1e-6)
    assert (found.status, found.gap) == ("optimal", 0.0)
    return True


@pytest.mark.parametrize("kind", [{}, {"shared": True}, {"batch": True}, {"spot": True}, {"spending": True}], ids=str)
def test_portfolio_against_exhaustion(kind: dict[str, bool]) -> None:
    feasible = 0
    for seed in range(8):
        given = made(seed, **kind)
        found = choose_portfolio(given, solver="highs", time_limit_s=30)
        feasible += hold(given, found, exhausted(given))
    assert 3 <= feasible <= 8


def test_cbc_agrees() -> None:
    for seed in range(3):
        given = made(seed, shared=True)
        first, second = (choose_portfolio(given, solver=s, time_limit_s=30) for s in ("highs", "cbc"))
        assert (first is None) == (second is None)
        if first and second:
            assert second.cost_usd_per_hour == pytest.approx(first.cost_usd_per_hour, rel=1e-6)


def test_lines_between_known_counts_lead_to_the_same_plan() -> None:
    """Curves known at few counts are refined until the answer is exact."""
    given = made(1)
    rate = [max(3.0 * n - 5.0 * n**0.5, 0.0) for n in range(1, 61)]
    full = {"mixed/a/x": candidate("mixed/a/x", rate, machine="a")}
    sparse = {"mixed/a/x": candidate("mixed/a/x", rate, machine="a", known=[1, 10, 60])}
    supplies = [Supply("a", "on_demand", 0.0, 2.0, False, 500.0), Supply("a", "owned", 0.8, 0.1, True, 500.0)]
    wide = replace(
        given, spans=[Span("day", 300.0, 12.0, 0), Span("night", 200.0, 12.0, 0)],
        blocks=[Block("g", 0, "x", 120.0), Block("g", 1, "x", 47.0)], parts={"g": frozenset("g")}, spares={"g": 0},
        curves={"x": full}, supplies=supplies, limits=FleetLimits(),
    )  # fmt: skip
    exact = choose_portfolio(wide, solver="highs", time_limit_s=30)
    drawn = choose_portfolio(replace(wide, curves={"x": sparse}), solver="highs", time_limit_s=30)
    assert exact is not None and drawn is not None and drawn.rounds > 1
    assert drawn.cost_usd_per_hour == pytest.approx(exact.cost_usd_per_hour, rel=1e-9)
    assert [b.counts for b in drawn.blocks] == [b.counts for b in exact.blocks]
    assert drawn.bound <= drawn.cost_usd_per_hour


def test_the_least_excess_is_just_enough() -> None:
    """The limit raised by what is named admits a plan; a machine less does not."""
    tried = 0
    for seed in range(20):
        given = replace(made(seed), limits=FleetLimits([Cap("total", BOTH, 2)]))
        if choose_portfolio(given, solver="highs", time_limit_s=30) is not None:
            continue
        excess = least_excess(given, frozenset({"total"}), solver="highs", time_limit_s=30)
        if excess is None:
            continue
        tried += 1
        n = math.ceil(2 + 2 * excess["total"] - 1e-6)
        for most, works in ((n, True), (n - 1, False)):
            relaxed = replace(given, limits=FleetLimits([Cap("total", BOTH, most)]))
            assert (choose_portfolio(relaxed, solver="highs", time_limit_s=30) is not None) is works
    assert tried >= 3


def with_posts(seed: int, change_usd: float, fixed: bool) -> PortfolioProblem:
    """Two groups that are busy in different parts of one day, each with mixed pools of the same two machine types."""
    draw = random.Random(seed)
    spans = [Span(f"p{t}", 30.0 * d, float(d), 0) for t, d in enumerate((6, 10, 8))]

    def pools(name: str) -> dict[str, Candidate]:
        some = []
        for m in "ab":
            steps = sorted(draw.uniform(0.5, 4.0) for _ in range(MOST))
            rates = [sum(steps[: k + 1]) for k in range(MOST)]
            some.append(candidate(f"mixed/{m}/{name}", rates, machine=m))
        return {c.key: c for c in some}

    curves = {"g": pools("g"), "h": pools("h")}
    most = {name: min(c.curve.at(MOST) for c in some.values()) for name, some in curves.items()}
    load = {"g": (1.0, 0.5, 0.1), "h": (0.1, 0.4, 1.0)}
    blocks = [Block(g, t, g, most[g] * load[g][t] * draw.uniform(0.8, 1.0)) for g in "gh" for t in range(3)]
    supplies = []
    for m in "ab":
        rent = draw.uniform(3.0, 9.0)
        supplies += [
            Supply(m, "owned", rent * draw.uniform(0.2, 0.6), draw.uniform(0.0, 0.5), True, 720.0, most=6),
            Supply(m, "on_demand", 0.0, rent, False, 720.0),
        ]
    facts = {"a": MachineFacts(1000.0, 4), "b": MachineFacts(1500.0, 8)}
    parts = {"g": frozenset("g"), "h": frozenset("h")}
    return PortfolioProblem(
        spans, blocks, curves, parts, {"g": 0, "h": 0}, [], supplies, facts, FleetLimits(), change_usd, fixed
    )


def exhausted_with_posts(given: PortfolioProblem) -> float:
    """Least mean cost, by trying every count at the four posts in the three parts of the day."""
    keys = [(g, c) for g in "gh" for c in given.curves[g].values()]
    parts = []
    for t in range(3):
        need = {b.group: b.rate_per_s for b in given.blocks if b.period == t}
        most = [min([*(n for n in range(1, MOST) if c.curve.at(n) >= need[g]), MOST]) for g, c in keys]
        parts.append(
            [
                counts
                for counts in itertools.product(*(range(n + 1) for n in most))
                if all(
                    carried([(c, n) for (g, c), n in zip(keys, counts, strict=True) if n and g == group]) >= rate
                    for group, rate in need.items()
                )
            ]
        )
    known: dict[tuple[int, tuple[tuple[int, int], ...]], float] = {}
    best = math.inf
    for counts in itertools.product(*parts):
        cost = 0.0
        for t, span in enumerate(given.spans):
            started = sum(max(n - m, 0) for n, m in zip(counts[t], counts[t - 1], strict=True))
            cost += given.change_usd * started * span.hours / span.day_hours
        for i in (0, 1):  # posts 0 and 2 are of machine a, 1 and 3 of b
            of_type = tuple((part[i], part[i + 2]) for part in counts)
            if (i, of_type) not in known:
                own, rent = given.supplies[2 * i], given.supplies[2 * i + 1]
                known[i, of_type] = min(running(given, of_type, held, own, rent) for held in range(7))
            cost += known[i, of_type]
        best = min(best, cost / given.total_hours)
    return best


def running(
    given: PortfolioProblem, counts: tuple[tuple[int, int], ...], held: int, own: Supply, rent: Supply
) -> float:
    """Cost of machines of one type at two posts, some of them held: at their posts, where roles are fixed."""
    best = math.inf
    for first in range(held + 1) if given.has_fixed_roles else [None]:
        usd = own.fixed_usd_per_hour * own.fixed_hours * held
        for (a, b), span in zip(counts, given.spans, strict=True):
            free = min(a + b, held) if first is None else min(a, first) + min(b, held - first)
            usd += span.hours * (free * own.usage_usd_per_hour + (a + b - free) * rent.usage_usd_per_hour)
        best = min(best, usd)
    return best


@pytest.mark.parametrize(("change_usd", "fixed"), [(0.0, True), (6.0, False), (6.0, True)])
def test_changes_and_fixed_roles_against_exhaustion(change_usd: float, fixed: bool) -> None:
    dearer = 0
    for seed in range(3):
        given = with_posts(seed, change_usd, fixed)
        found = choose_portfolio(given, solver="highs", time_limit_s=30)
        assert found is not None
        assert found.cost_usd_per_hour == pytest.approx(exhausted_with_posts(given), rel=1e-6)
        assert (found.status, found.gap) == ("optimal", 0.0)
        free = choose_portfolio(replace(given, change_usd=0.0, has_fixed_roles=False), solver="highs", time_limit_s=30)
        assert free is not None
        dearer += found.cost_usd_per_hour > free.cost_usd_per_hour + 1e-9
    assert dearer >= 2
