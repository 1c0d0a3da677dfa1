"""Day two: how many machines of each pool run at which load, tried on a day of arrivals with their cold starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner import units
from planner.errors import ScenarioError
from planner.planning.evaluate import evaluate_cluster, members_and_routes
from planner.planning.trials import Testbed
from planner.pools.prediction import Member, Route, capacity_of
from planner.scenario.load import day_named
from planner.scenario.opened import CatalogLike, ClusterLike, ScenarioLike, cluster_and_scenario
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem
from planner.simulation.arrivals import check_rates, draw_requests_at_rates
from planner.simulation.autoscaler import Floats, Ints, Orders, ScalingRule, absences, orders
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.outcome import Outcome
from planner.simulation.summary import late_requests
from planner.studies.head import head_of_plans
from planner.studies.scaling_result import (
    ScaledHour,
    ScaledObjective,
    ScaledPool,
    Scaling,
    ScalingStep,
)
from planner.workload.day_shape import HOURS

COLD_START, HYSTERESIS, WINDOW = "5min", "5min", "1min"
MOST_COUNTS = 24  # numbers of machines of a pool that the table tells apart
MOST_REQUESTS = 12_000_000  # of a day: beyond, the memory of a laptop ends
SEEDS = (1, 2)
_SHARES = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8, 0.7, 0.6)  # of what formulas say a row carries, until simulation agrees
_MINUTE_S = 60.0
_MORE_HEADROOM = 1.06
_MOST_TRIES = 8
_ENOUGH = 200  # requests below which a share of late ones says little


@dataclass(frozen=True)
class _Demand:
    """Mean load over a day, minute by minute.

    Attributes
    ----------
    name : str
    rates_per_s : ndarray
        Of each minute [requests/s].
    period_s : float
        Of an hour of the report [s].
    cyclic : bool
        Whether another such day came before.
    """

    name: str
    rates_per_s: Floats
    period_s: float
    cyclic: bool

    @property
    def end_s(self) -> float:
        return float(self.rates_per_s.size) * _MINUTE_S

    def at(self, t_s: Floats) -> Floats:
        """Mean load at times, also before and after the day [requests/s]."""
        minute = np.floor(t_s / _MINUTE_S).astype(np.int64)
        n = self.rates_per_s.size
        return self.rates_per_s[minute % n if self.cyclic else np.clip(minute, 0, n - 1)]

    def growth(self, lag_s: float) -> tuple[float, float]:
        """Largest factor, and largest difference [requests/s], of the load and what it was `lag_s` before."""
        t = _MINUTE_S * np.arange(self.rates_per_s.size, dtype=np.float64)
        before, now = self.at(t), self.at(t + lag_s)
        return float(np.max(now / np.maximum(before, 1e-9 * self.rates_per_s.max()))), float(np.max(now - before))


@dataclass(frozen=True)
class _Headroom:
    """What is made of the load as measured before the table is read: times a factor, and more by so much."""

    factor: float = 1.0
    added_per_s: float = 0.0

    def more(self, top: float) -> _Headroom:
        """A little more of the one that it is."""
        if self.added_per_s > 0:
            return _Headroom(1.0, _MORE_HEADROOM * self.added_per_s + 0.01 * top)
        return _Headroom(_MORE_HEADROOM * self.factor)


@dataclass(frozen=True)
class _Table:
    """Rows of the table: loads, and machines of each pool up to them."""

    up_to_per_s: Floats
    counts: Ints

    def wanted(self, headroom: _Headroom) -> Callable[[Floats], Ints]:
        """Machines at measured loads; beyond the last row, its own."""
        measured = self.measured_up_to_per_s(headroom)

        def of(rate_per_s: Floats) -> Ints:
            at = np.searchsorted(measured, rate_per_s)
            return self.counts[np.minimum(at, len(self.counts) - 1)]

        return of

    def measured_up_to_per_s(self, headroom: _Headroom) -> Floats:
        """Loads as measured up to which each row is asked for [requests/s]; below 0 of one that never is."""
        return (self.up_to_per_s - headroom.added_per_s) / headroom.factor


@dataclass(frozen=True)
class _Day:
    """A day of arrivals with what was ordered for it and what became of the requests."""

    ordered: Orders
    outcome: Outcome
    late: list[np.ndarray]


@dataclass(frozen=True)
class _Tried:
    """A headroom with the days that it was tried on."""

    headroom: _Headroom
    days: list[_Day]
    objectives: list[ScaledObjective]

    @property
    def held(self) -> bool:
        return all(o.met for o in self.objectives)

    def costs(self, weights: Sequence[float]) -> float:
        """Machine time by weight."""
        return float(sum(day.ordered.machine_s() @ np.array(weights) for day in self.days))


def scale(
    cluster: ClusterLike,
    scenario: ScenarioLike | None = None,
    *,
    day: str | Sequence[float] | None = None,
    rates: Sequence[float | str] = (),
    period: float | str | None = None,
    cold_start: float | str = COLD_START,
    hysteresis: float | str = HYSTERESIS,
    window: float | str = WINDOW,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Scaling:
    """Find how many machines of each pool of a plan run at which load, and try that on a day.

    Parameters
    ----------
    cluster, scenario, catalog, **fields
        As in `evaluate`: a plan, a bundle, pools. Its machines are the most that run, its load that of the busiest
        minute.
    day : str or sequence of 24 floats, optional
        Shape of the day: `office`, `consumer`, `flat`, a trace of a day at least, or a weight an hour. Between the
        middles of hours the load changes evenly. Left out, with no rates: `office`.
    rates : sequence of float or str, optional
        In the place of a day: loads that follow each other, `["10/s", "40/s"]`, each reached in the middle of its
        `period`.
    period : float or str, optional
        Of each of these rates: `"1h"`, or seconds.
    cold_start : float or str
        From the order of a machine until it serves: node, image, weights, graphs.
    hysteresis : float or str
        How long the load must have asked for fewer machines before they are given back.
    window : float or str
        Over which arrivals are counted.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Scaling
        The table, each row simulated at its load, with the headroom (a factor or so many requests/s, whichever costs
        less) under which a day of arrivals keeps the objectives while machines serve a cold start after their order;
        what that day costs.

    Raises
    ------
    InputError
        As `evaluate`; a demand that makes no sense, above what the plan carries, or of too many requests to simulate.
    """
    rule = ScalingRule(
        _seconds(cold_start, "cold_start"), _seconds(hysteresis, "hysteresis"), _positive(window, "window")
    )
    pools, asked = cluster_and_scenario(cluster, scenario, catalog, fields)
    problem = asked.resolved()
    members, routes = members_and_routes(problem, pools)
    plan = evaluate_cluster(problem, pools)
    top = sum(route.rate_per_s for route in routes)
    demand = _demand(day, rates, period, top)
    _refuse(demand, top)
    progress("loads that fewer machines carry")
    table = _table(problem, members, routes, progress)
    simulation = ClusterSimulation(members, routes, problem.need, problem.sizes, problem.reference)
    lag_s = rule.cold_start_s + rule.window_s / 2.0 + rule.interval_s
    prices = [m.configuration.price.usd_per_hour if m.configuration.price else None for m in members]

    def tried(headroom: _Headroom) -> _Tried:
        """The day with so much headroom, or with more until the objectives hold."""
        for n in range(_MOST_TRIES):
            progress(f"a day with {_words(headroom)}" + (f", try {n + 1}" if n else ""))
            days = [_day(simulation, problem, demand, table, rule, headroom, seed) for seed in SEEDS]
            found = _Tried(headroom, days, _objectives(problem, demand, days, rule))
            if found.held or _always_full(days, members):
                break
            headroom = headroom.more(top)
        return found

    factor, rise = demand.growth(lag_s)
    both = [tried(_Headroom(factor)), *([tried(_Headroom(1.0, rise))] if rise > 0 else [])]
    best = min(both, key=lambda t: (not t.held, t.costs([1.0 if p is None else p for p in prices])))
    days, objectives = best.days, best.objectives
    spares = [pool.spares for pool in pools.pools]
    machine_s = np.mean([day.ordered.machine_s() for day in days], axis=0)
    return Scaling(
        **head_of_plans(problem, [plan]),
        verified="simulated",
        pools=[
            ScaledPool(
                role=m.role, machine=m.configuration.machine.name, most=m.count, spares=s,
                replicas_per_machine=m.configuration.layout.replicas, usd_per_hour=price,
            )
            for m, s, price in zip(members, spares, prices, strict=True)
        ],
        steps=_steps(table, members, spares, prices, best.headroom),
        cold_start_s=rule.cold_start_s, hysteresis_s=rule.hysteresis_s, window_s=rule.window_s,
        interval_s=rule.interval_s, headroom=best.headroom.factor, added_per_s=best.headroom.added_per_s,
        day=demand.name, day_s=demand.end_s,
        hours=_hours(problem, demand, days), n_requests=sum(len(day.outcome.requests) for day in days),
        seeds=list(SEEDS), objectives=objectives,
        goodput=1.0 - float(np.mean(np.concatenate([_any_late(day.late) for day in days]))),
        held=best.held, machine_hours=[float(s) / 3600.0 for s in machine_s],
        cost_usd=_cost(machine_s, spares, prices, demand.end_s),
        static_cost_usd=_cost(np.array([m.count * demand.end_s for m in members]), spares, prices, demand.end_s),
        n_orders=int((np.diff(days[0].ordered.counts, axis=0) > 0).any(axis=1).sum()),
    )  # fmt: skip


# -- what is asked ----------------------------------------------------------------------------------------------------


def _seconds(value: float | str, where: str) -> float:
    try:
        found = units.parse(value, units.TIME) if isinstance(value, str) else float(value)
    except units.UnitError as error:
        raise error.at(where) from None
    if not 0 <= found < 86400.0:
        raise ScenarioError("a time that makes no sense", where=where, value=value, rule="from 0 s to a day")
    return found


def _positive(value: float | str, where: str) -> float:
    found = _seconds(value, where)
    if not found > 0:
        raise ScenarioError("a time that makes no sense", where=where, value=value, rule="above 0 s")
    return found


def _demand(
    day: str | Sequence[float] | None, rates: Sequence[float | str], period: float | str | None, top: float
) -> _Demand:
    """The mean load minute by minute: even changes between the middles of hours or periods."""
    if rates:
        if day is not None:
            raise ScenarioError("a day and rates are both given", where="rates", fix="leave one of them out")
        if period is None:
            raise ScenarioError("rates last for a period each", where="rates", fix="like --rates 10/s,40/s --period 1h")
        length = _positive(period, "period")
        levels = np.array([units.parse(r, units.RATE) if isinstance(r, str) else float(r) for r in rates])
        check_rates(levels.tolist(), length)
        middles = (np.arange(levels.size) + 0.5) * length
        minutes = np.arange(max(round(levels.size * length / _MINUTE_S), 1)) * _MINUTE_S + _MINUTE_S / 2
        return _Demand("rates as stated", np.interp(minutes, middles, levels), length, cyclic=False)
    if period is not None:
        raise ScenarioError("a period is that of rates", where="period", fix="like --rates 10/s,40/s --period 1h")
    shape = day_named(day or "office")
    middles = (np.arange(-1, HOURS + 1) + 0.5) * 3600.0
    weights = np.array([shape.weights[-1], *shape.weights, shape.weights[0]])
    minutes = np.arange(HOURS * 60) * _MINUTE_S + _MINUTE_S / 2
    return _Demand(shape.name, np.interp(minutes, middles, weights * top), 3600.0, cyclic=True)


def _refuse(demand: _Demand, top: float) -> None:
    peak = float(demand.rates_per_s.max())
    if peak > top * (1.0 + 1e-6):
        raise ScenarioError(
            "the demand is above what the plan is for", where="rates", value=f"{peak:.4g} requests/s",
            rule=f"at most {top:.4g} requests/s", fix=f"plan for the peak: planner optimize --rate {peak:.4g}/s",
        )  # fmt: skip
    expected = float(demand.rates_per_s.sum()) * _MINUTE_S
    if expected > MOST_REQUESTS:
        raise ScenarioError(
            "too many requests to simulate", where="rates", value=f"{expected:,.0f}",
            rule=f"at most {MOST_REQUESTS:,}",
            fix="give the steepest hours by --rates and --period in the place of a whole day",
        )  # fmt: skip


# -- the table --------------------------------------------------------------------------------------------------------


def _table(problem: Problem, members: Sequence[Member], routes: Sequence[Route], progress: Progress) -> _Table:
    """Machines of each pool by load: what formulas say that fewer carry, each row simulated at its load.

    Every pool keeps its share of the load, so that a row has the fewest machines of each pool that carry theirs.
    """
    top = sum(route.rate_per_s for route in routes)
    reach = [_reach(problem, members, routes, i, top) for i in range(len(members))]
    loads = sorted({load for of in reach for load in of.values() if 0 < load < top} | {top})
    rows: list[tuple[float, list[int]]] = []
    for load in loads:
        counts = [min(n for n, carried in of.items() if carried >= load * (1.0 - 1e-9)) for of in reach]
        if rows and rows[-1][1] == counts:
            rows[-1] = (load, counts)
        else:
            rows.append((load, counts))
    testbed = Testbed(problem.need, problem.sizes, problem.reference, SEEDS[:1])
    checked: list[tuple[float, list[int]]] = []
    for n, (load, counts) in enumerate(rows):
        progress(f"row {n + 1} of {len(rows)}, {load:.4g} requests/s")
        full = counts == [m.count for m in members]
        carried = top if full else _carried(testbed, members, routes, counts, load, top)
        if carried > (checked[-1][0] if checked else 0.0):
            checked.append((carried, counts))
    return _Table(np.array([load for load, _ in checked]), np.array([counts for _, counts in checked], dtype=np.int64))


def _reach(
    problem: Problem, members: Sequence[Member], routes: Sequence[Route], i: int, top: float
) -> dict[int, float]:
    """Machines of one pool -> total load at which it carries its share, by formulas; the plan's count carries all."""
    own = members[i]
    if own.rate_per_s <= 0:
        return {own.count: top}
    counts = np.unique(np.ceil(np.linspace(1, own.count, min(own.count, MOST_COUNTS))).astype(int)).tolist()
    found, last = {}, 0.0
    for n in counts:
        fewer = [replace(m, count=n) if k == i else m for k, m in enumerate(members)]
        share = capacity_of(fewer, routes, problem.need, i) / own.rate_per_s
        last = max(last, min(share, 1.0) * top)
        found[int(n)] = last
    found[own.count] = top
    return found


def _carried(
    testbed: Testbed, members: Sequence[Member], routes: Sequence[Route], counts: Sequence[int], load: float, top: float
) -> float:
    """The largest load up to the one that formulas say at which these machines keep the objectives in simulation."""
    fewer = [replace(m, count=n) for m, n in zip(members, counts, strict=True)]
    for share in _SHARES:
        if all(testbed.verdict(fewer, routes, share * load / top).met):
            return share * load
    return 0.0


def _steps(
    table: _Table, members: Sequence[Member], spares: Sequence[int], prices: Sequence[float | None], headroom: _Headroom
) -> list[ScalingStep]:
    measured = table.measured_up_to_per_s(headroom).tolist()
    return [
        ScalingStep(
            up_to_per_s=load, measured_up_to_per_s=at, machines=counts,
            replicas=[n * m.configuration.layout.replicas for n, m in zip(counts, members, strict=True)],
            cost_usd_per_hour=_cost(np.array(counts) * 3600.0, spares, prices, 3600.0),
        )
        for load, at, counts in zip(table.up_to_per_s.tolist(), measured, table.counts.tolist(), strict=True)
        if at > 0 or counts == table.counts[-1].tolist()
    ]  # fmt: skip


def _cost(machine_s: Floats, spares: Sequence[int], prices: Sequence[float | None], lasts_s: float) -> float | None:
    if None in prices:
        return None
    each = [(s + n * lasts_s) / 3600.0 * (p or 0.0) for s, n, p in zip(machine_s.tolist(), spares, prices, strict=True)]
    return float(sum(each))


# -- the day ----------------------------------------------------------------------------------------------------------


def _day(
    simulation: ClusterSimulation, problem: Problem, demand: _Demand, table: _Table, rule: ScalingRule,
    headroom: _Headroom, seed: int,
) -> _Day:  # fmt: skip
    requests = draw_requests_at_rates(
        problem.sizes, demand.rates_per_s.tolist(), _MINUTE_S, arrival_cv2=problem.need.traffic.arrival_cv2, seed=seed
    )
    ordered = orders(requests.arrival_s, demand.end_s, rule, table.wanted(headroom), demand.at)
    first = np.cumsum([0, *(m.count for m in simulation.members[:-1])]).tolist()
    gone = absences(ordered, rule.cold_start_s, first, [m.count for m in simulation.members])
    outcome = simulation.run(requests, failures=gone, seed=seed)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return _Day(ordered, outcome, late_requests(outcome, problem.need.limits, problem.reference))


def _words(headroom: _Headroom) -> str:
    if headroom.added_per_s > 0:
        return f"{headroom.added_per_s:.3g} requests/s of headroom"
    return f"{100 * (headroom.factor - 1):.0f} % headroom"


def _always_full(days: Sequence[_Day], members: Sequence[Member]) -> bool:
    """Whether all machines ran all day, so that no headroom helps."""
    return all((day.ordered.counts == [m.count for m in members]).all() for day in days)


def _objectives(problem: Problem, demand: _Demand, days: Sequence[_Day], rule: ScalingRule) -> list[ScaledObjective]:
    found = []
    hour = np.concatenate([day.outcome.requests.arrival_s // demand.period_s for day in days])
    starting = np.concatenate([_while_starting(day, rule) for day in days])
    for i, limit in enumerate(problem.need.limits):
        late = np.concatenate([day.late[i] for day in days])
        per_hour = [float(late[hour == h].mean()) for h in np.unique(hour) if (hour == h).sum() >= _ENOUGH]
        share = float(late.mean())
        during = float(late[starting].mean()) if starting.sum() >= _ENOUGH else None
        found.append(ScaledObjective(
            objective=str(limit.objective), allowed=limit.allowed, late=share,
            late_in_worst_hour=max(per_hour, default=share), late_while_starting=during,
            met=share <= limit.allowed and (during is None or during <= limit.allowed),
        ))  # fmt: skip
    return found


def _while_starting(day: _Day, rule: ScalingRule) -> np.ndarray:
    """Whether each request came while a machine was being started."""
    starting = day.ordered.starting(rule.cold_start_s)
    at = np.searchsorted(day.ordered.at_s, day.outcome.requests.arrival_s, side="right") - 1
    return np.asarray(starting[np.maximum(at, 0)])


def _any_late(late: Sequence[np.ndarray]) -> np.ndarray:
    return np.any(late, axis=0) if late else np.zeros(0, dtype=bool)


def _hours(problem: Problem, demand: _Demand, days: Sequence[_Day]) -> list[ScaledHour]:
    rows = []
    for start in np.arange(0.0, demand.end_s - 1e-6, demand.period_s):
        end = min(start + demand.period_s, demand.end_s)
        worst = 0.0
        for i, limit in enumerate(problem.need.limits):
            late = np.concatenate([day.late[i][_within(day.outcome.requests.arrival_s, start, end)] for day in days])
            worst = max(worst, float(late.mean()) / limit.allowed if late.size else 0.0)
        checks = [day.ordered.counts[_within(day.ordered.at_s, start, end)] for day in days]
        minutes = slice(int(start // _MINUTE_S), max(int(end // _MINUTE_S), int(start // _MINUTE_S) + 1))
        rows.append(ScaledHour(
            at_s=float(start), rate_per_s=float(demand.rates_per_s[minutes].mean()),
            machines=np.concatenate(checks).mean(axis=0).tolist(), late=worst,
        ))  # fmt: skip
    return rows


def _within(t_s: Floats, start_s: float, end_s: float) -> np.ndarray:
    return (t_s >= start_s) & (t_s < end_s)
