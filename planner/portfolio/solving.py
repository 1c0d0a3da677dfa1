"""From a fleet to the groups, pools and purchases that serve it at least cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.catalog.catalog import Catalog
from planner.economics.options import OptionSource, PurchaseOption
from planner.errors import InfeasibleError, PlannerError
from planner.optimization.portfolio_answer import Portfolio
from planner.optimization.portfolio_problem import (
    Block,
    FleetLimits,
    LotWork,
    MachineFacts,
    PortfolioProblem,
    Span,
    Supply,
)
from planner.optimization.search import choose_portfolio
from planner.planning.infeasible import unreachable
from planner.planning.links import check_links
from planner.planning.record import drawn_w
from planner.planning.reuse import candidates_of
from planner.planning.search import derated
from planner.pools.candidate import Candidate
from planner.pools.configuration import Rejection
from planner.pools.prediction import ClusterModel, Member, Route
from planner.portfolio.batch import Lot
from planner.portfolio.calendar import Period, Stage, periods_within
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_rates import at_rates, workload_problem
from planner.portfolio.groups import Group, Part, candidate_groups, parts_of, problem_of, shares_of
from planner.portfolio.infeasible import explained
from planner.portfolio.periods import fleet_calendar, mean_factors, months_text
from planner.portfolio.sites import catalog_name, in_its_sites
from planner.portfolio.stocks import caps_of, in_machines, spending_of
from planner.portfolio.supplies import ELECTRIC, offers_of, refuse_unpriced, supplies_of
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, configurations
from planner.serving.capacity import CapacityCurve

_FEW = 4  # machines from which on a pool of batch work carries in proportion to so many
_ROUGH_GAP = 0.02  # of the plan that the draw of machines is taken from first
_DRAWS = 3  # times that the draw is taken from the plan before
_SAME_DRAW = 1e-6  # of the cost
_TIGHTENINGS = 8  # rounds of lowering capacities that the whole-cluster model does not confirm


@dataclass(frozen=True, eq=False)
class Served:
    """One group in one period: its pools as a cluster.

    Attributes
    ----------
    group : Group
    problem : Problem
        The group's, at this period's mix.
    period : Period
    members, routes : lists
        As `ClusterModel` takes them.
    capacities : list of float
        Rate each member could carry [requests/s].
    shares : tuple of float
        Part of the group's requests that each of its parts has in this period.
    owners : list of Part
        Whose objective each limit of the problem is.
    """

    group: Group
    problem: Problem
    period: Period
    members: list[Member]
    routes: list[Route]
    capacities: list[float]
    shares: tuple[float, ...]
    owners: list[Part]


@dataclass(frozen=True, eq=False)
class FleetSolution:
    """What was found, with everything that led to it.

    Attributes
    ----------
    fleet, catalog : what was asked
    problems : mapping of str to Problem
        Of each workload by itself.
    periods : list of Period
    given : PortfolioProblem
    portfolio : Portfolio
    served : list of Served
        Of every formed group and period in which it has machines.
    rejected : list of Rejection
    groups_considered : int
    notes : list of str
    horizon : str
        In words.
    stages : list of str
        Names of the days that stand for the horizon.
    sources : mapping of str to OptionSource
        Where the price of each supply comes from, by its name.
    mean_factors : mapping of str to float
        Mean rate of each workload over its stated one.
    """

    fleet: Fleet
    catalog: Catalog
    problems: Mapping[str, Problem]
    periods: list[Period]
    given: PortfolioProblem
    portfolio: Portfolio
    served: list[Served]
    rejected: list[Rejection]
    groups_considered: int
    notes: list[str]
    horizon: str
    stages: list[Stage]
    sources: Mapping[str, OptionSource]
    options: Mapping[str, PurchaseOption]
    mean_factors: Mapping[str, float]


def solve_fleet(fleet: Fleet, catalog: Catalog | None = None, progress: Progress = quiet) -> FleetSolution:
    """Find the cheapest way to serve a fleet.

    Raises
    ------
    InputError
        A name that is not in the catalog, workloads that cannot share.
    InfeasibleError
        No plan meets the objectives and deadlines within the limits; says what collides.
    NoPlanFoundError
        The time limit passed before any plan was found.
    """
    catalog = (catalog or Catalog.default(fleet.catalog)).choosing(fleet.quotes)
    fleet, stock_notes = in_machines(fleet, catalog)
    fleet, rate_notes = at_rates(fleet, catalog)
    problems = {name: in_its_sites(fleet, name, workload_problem(fleet, name, catalog)) for name in fleet.workloads}
    lots = {name: own.batch.lots() for name, own in fleet.workloads.items() if own.batch is not None}
    machines = sorted({m.name for p in problems.values() for m in p.machines})
    offers, offer_notes = offers_of(fleet, catalog, machines)
    unpriced = set(refuse_unpriced(fleet, offers))
    problems = {
        name: replace(p, machines=tuple(m for m in p.machines if m.name not in unpriced))
        for name, p in problems.items()
    }
    parts = parts_of(fleet, problems)
    for part in parts:
        if part.has_objectives:
            check_links(part.problem, configurations(part.problem)[0])
    stages, periods = fleet_calendar(fleet, offers, lots)
    posed = _posed(fleet, parts, lots, stages, periods, progress)
    supplies, sources = supplies_of(fleet, catalog, offers, [m for m in machines if m not in unpriced], stages)
    spans = [Span(p.name, p.hours, p.minutes / 60.0, p.stage) for p in periods]
    facts = {name: _facts(catalog, name) for name in {s.machine for s in supplies}}
    options = _options_of(supplies, offers)
    given = PortfolioProblem(
        spans=spans,
        blocks=posed.blocks,
        curves=posed.curves,
        parts={g.name: frozenset(p.name for p in g.parts) for g in posed.groups.values()},
        spares={g.name: g.spares for g in posed.groups.values()},
        lots=posed.lots,
        supplies=supplies,
        machines=facts,
        limits=FleetLimits(
            caps=caps_of(fleet, catalog, facts),
            max_spot={
                name: min(fleet.spot_share_of(p.workload) for p in group.parts) for name, group in posed.groups.items()
            },
            on_demand_floor=fleet.on_demand_floor,
            max_cost_usd_per_hour=fleet.max_cost_usd_per_hour,
            spending=spending_of(fleet, supplies, options, stages, spans),
        ),
        change_usd=fleet.change_cost_usd,
        has_fixed_roles=fleet.roles == "fixed",
    )
    # Electricity is that of the draw of the plan, which is known when it is found: by machine, over its rated power.
    drawn: dict[str, float] = {}
    if any(s.plan in ELECTRIC for s in supplies):
        free = replace(given, limits=replace(given.limits, max_cost_usd_per_hour=None, spending=()))
        rough, served = _chosen(fleet, posed, periods, free, max(fleet.gap, _ROUGH_GAP), progress)
        drawn = _drawn_fractions(periods, rough, served)
    for again in range(_DRAWS):
        drawing = [_at_draw(s, drawn) for s in supplies]
        limits = replace(given.limits, spending=spending_of(fleet, drawing, options, stages, spans))
        at_draw = replace(given, supplies=drawing, limits=limits)
        (solved, portfolio), served = _chosen(fleet, posed, periods, at_draw, fleet.gap, progress)
        actual = _drawn_fractions(periods, (solved, portfolio), served)
        if again == _DRAWS - 1 or _electricity_error(solved, portfolio, drawn, actual) < _SAME_DRAW:
            break
        drawn = drawn | actual
    return FleetSolution(
        fleet, catalog, problems, periods, solved, portfolio, [s for s, _ in served], posed.rejected,
        len(posed.groups), [*rate_notes, *_notes(problems, unpriced), *stock_notes, *offer_notes],
        months_text(fleet.horizon_months), stages, sources, options,
        mean_factors(fleet, periods),
    )  # fmt: skip


def _options_of(
    supplies: Sequence[Supply], offers: Mapping[str, Sequence[PurchaseOption]]
) -> dict[str, PurchaseOption]:
    """The option that each supply comes from, by its name."""
    by_plan = {(name, o.plan): o for name, some in offers.items() for o in some}
    return {s.name: by_plan[s.machine, s.plan] for s in supplies if (s.machine, s.plan) in by_plan}  # type: ignore[index]


def _chosen(
    fleet: Fleet, posed: _Posed, periods: Sequence[Period], given: PortfolioProblem, gap: float, progress: Progress
) -> tuple[tuple[PortfolioProblem, Portfolio], list[tuple[Served, int]]]:
    """The cheapest portfolio whose clusters meet the objectives together, and the problem it solves."""
    for tightening in range(_TIGHTENINGS):
        progress(f"choosing among {sum(len(c) for c in posed.curves.values())} pools")
        portfolio = choose_portfolio(
            given, solver=fleet.solver, time_limit_s=fleet.time_limit_s, gap=gap, seed=fleet.seed, progress=progress,
        )  # fmt: skip
        if portfolio is None:
            raise explained(fleet, given)
        given = replace(given, curves=portfolio.curves)
        progress("predicting percentiles")
        served = _served(posed, periods, given, portfolio)
        late = {b for s, b in served if not _holds(s)}
        if not late:
            return (given, portfolio), served
        # The pools meet the objectives one by one but not together (an end-to-end limit near its edge).
        factor = 1.0 - min(0.01 * 2**tightening, 0.1)
        given = _tightened(given, portfolio, late, factor)
    raise PlannerError("the chosen pools do not meet the objectives together", rule="report this fleet as a bug")


def _at_draw(supply: Supply, drawn: Mapping[str, float]) -> Supply:
    """A supply with the electricity of a draw in the place of that of its rated power."""
    if supply.plan not in ELECTRIC:
        return supply
    return replace(supply, usage_usd_per_hour=supply.usage_usd_per_hour * drawn.get(supply.machine, 1.0))


def _drawn_fractions(
    periods: Sequence[Period], solved: tuple[PortfolioProblem, Portfolio], served: Sequence[tuple[Served, int]]
) -> dict[str, float]:
    """Mean draw of each type of machine over its rated power, over all hours in which it is on."""
    hours = {id(p): s.hours for p, s in zip(periods, solved[0].spans, strict=True)}
    drawn: dict[str, float] = {}
    rated: dict[str, float] = {}
    for s, _ in served:
        draws = drawn_w(s.problem, s.members, s.routes, s.group.spares)
        for member, watts in zip(s.members, draws, strict=True):
            machine, at = member.configuration.machine, hours[id(s.period)]
            drawn[machine.name] = drawn.get(machine.name, 0.0) + watts * at
            most = machine.rated_power_w * (member.count + s.group.spares)
            rated[machine.name] = rated.get(machine.name, 0.0) + most * at
    return {name: drawn[name] / rated[name] for name in drawn}


def _electricity_error(
    given: PortfolioProblem, portfolio: Portfolio, drawn: Mapping[str, float], actual: Mapping[str, float]
) -> float:
    """What electricity at the assumed draw is off by, as a share of the cost."""

    def off_by(machine: str) -> float:
        return abs(actual.get(machine, 1.0) / drawn.get(machine, 1.0) - 1.0)

    off = math.fsum(
        given.spans[t].hours * n * supply.usage_usd_per_hour * off_by(supply.machine)
        for (i, t), n in portfolio.used.items()
        if (supply := given.supplies[i]).plan in ELECTRIC
    )
    return off / (portfolio.cost_usd_per_hour * given.total_hours) if off else 0.0


# -- periods, blocks and candidates -----------------------------------------------------------------------------------


@dataclass(eq=False)
class _Posed:
    """Blocks, lots and candidates of every group that can be served."""

    groups: dict[str, Group]
    problems: dict[str, Problem]
    curves: dict[str, dict[str, Candidate]]
    blocks: list[Block]
    lots: list[LotWork]
    rejected: list[Rejection]
    shares: dict[str, tuple[float, ...]]
    owners: dict[str, list[Part]]


def _posed(
    fleet: Fleet,
    parts: Sequence[Part],
    lots: Mapping[str, Sequence[Lot]],
    stages: Sequence[Stage],
    periods: Sequence[Period],
    progress: Progress,
) -> _Posed:
    posed = _Posed({}, {}, {}, [], [], [], {}, {})
    unserved: dict[str, PlannerError] = {}
    for group in candidate_groups(fleet, parts):
        try:
            _pose(posed, fleet, group, lots, stages, periods, progress)
        except InfeasibleError as error:
            unserved.setdefault(group.name, error)
    served = {p.name for g in posed.groups.values() for p in g.parts}
    for part in parts:
        if part.name not in served:
            fault = next(iter(unserved.values()))
            fault.what = f"{part.workload}: {fault.what}"
            raise fault
    return posed


def _pose(
    posed: _Posed,
    fleet: Fleet,
    group: Group,
    lots: Mapping[str, Sequence[Lot]],
    stages: Sequence[Stage],
    periods: Sequence[Period],
    progress: Progress,
) -> None:
    """Add a group's candidates, and its blocks and lots.

    Raises
    ------
    InfeasibleError
        No pool can serve it.
    """
    name = group.parts[0].workload
    batch = lots.get(name)
    rates: list[dict[str, float]] = []
    for period in periods:
        if batch is not None:
            a_day = math.fsum(lot.requests for lot in batch) * stages[period.stage].factors.get(name, 1.0)
            allowed = any(periods.index(period) in periods_within(lot, periods, period.stage) for lot in batch)
            rates.append({name: a_day / (period.minutes * 60.0) if allowed else 0.0})
        else:
            rates.append(
                {
                    p.workload: (fleet.workloads[p.workload].rate_per_s or 0.0) * period.factors.get(p.workload, 1.0)
                    for p in group.parts
                }
            )
    mixes: dict[tuple[float, ...], list[int]] = {}
    for t, rate in enumerate(rates):
        total = sum(rate.values())
        if total > 0:
            mixes.setdefault(tuple(round(r / total, 9) for r in rate.values()), []).append(t)
    found: list[tuple[str, Problem, dict[str, Candidate], list[int]]] = []
    for n, at in enumerate(mixes.values()):
        peak = max(at, key=lambda t: sum(rates[t].values()))
        problem, owners = problem_of(group, rates[peak])
        label = group.name if len(mixes) == 1 else f"{group.name} #{n + 1}"
        laid_out, rejected = configurations(problem)
        posed.rejected += [r for r in rejected if r.machine not in {x.machine for x in posed.rejected}]
        candidates = candidates_of(
            problem, laid_out, problem.need.rate_per_s,
            lambda text, name=group.name: progress(f"{name}: {text}"),  # type: ignore[misc]
        )  # fmt: skip
        if not candidates:
            raise unreachable(problem, laid_out)
        if batch is not None:
            candidates = [in_proportion(c) for c in candidates]
        found.append((label, problem, {c.key: c for c in candidates}, at))
        posed.owners[label] = owners
    for label, problem, curves, at in found:
        posed.problems[label], posed.curves[label] = problem, curves
        posed.shares[label] = shares_of(group, rates[at[0]])
        for t in at:
            together = math.fsum(rates[t][p.workload] * p.share for p in group.parts)
            posed.blocks.append(Block(group.name, t, label, together))
    posed.groups[group.name] = group
    if batch is not None:
        for s, stage in enumerate(stages):
            posed.lots += [
                LotWork(group.name, lot.requests * stage.factors.get(name, 1.0), tuple(periods_within(lot, periods, s)))
                for lot in batch
            ]


def in_proportion(candidate: Candidate) -> Candidate:
    """The candidate with a curve of straight lines, nowhere above its own: as one machine alone, from four on as four.

    Without latency objectives pools carry about in proportion to their machines; what larger ones gain is left out.
    """
    exact = candidate.with_counts([1, _FEW])
    one, few = exact.curve.at(1), exact.curve.at(_FEW) / _FEW

    def compute(n: np.ndarray) -> CapacityCurve:
        n = np.asarray(n, dtype=np.int64)
        return CapacityCurve(n, n * np.where(n < _FEW, one, few))

    largest = max(int(candidate.curve.n_machines[-1]), _FEW + 1)
    return replace(exact, curve=compute(np.array([1, _FEW - 1, _FEW, largest])), compute=compute)


def _facts(catalog: Catalog, name: str) -> MachineFacts:
    machine = catalog.machine(catalog_name(name))
    return MachineFacts(machine.rated_power_w, machine.rack_units or 0)


# -- the answer as clusters -------------------------------------------------------------------------------------------


def _served(
    posed: _Posed, periods: Sequence[Period], given: PortfolioProblem, portfolio: Portfolio
) -> list[tuple[Served, int]]:
    """Every block with machines as a cluster, and the block's index."""
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    found = []
    for b, (block, answer) in enumerate(zip(given.blocks, portfolio.blocks, strict=True)):
        if not answer.counts:
            continue
        pools = given.curves[block.curves]
        keys = sorted(answer.counts, key=lambda k: (order[pools[k].role], k))
        flows = sorted(answer.flows_per_s.items(), key=str)
        index: dict[str | None, int | None] = {None: None, **{k: i for i, k in enumerate(keys)}}
        routes = [Route(keys.index(first), index[second], rate) for (first, second), rate in flows]
        rates = {k: math.fsum(rate for way, rate in flows if k in way) for k in keys}
        members = [Member(pools[k].role, pools[k].configuration, answer.counts[k], rates[k]) for k in keys]
        problem = posed.problems[block.curves]
        total = math.fsum(rate for _, rate in flows)
        group = posed.groups[block.group]
        problem = replace(problem, need=replace(problem.need, rate_per_s=total))
        capacities = [pools[k].curve.at(answer.counts[k]) for k in keys]
        served = Served(
            group, problem, periods[block.period], members, routes, capacities, posed.shares[block.curves],
            posed.owners[block.curves],
        )  # fmt: skip
        found.append((served, b))
    return found


def _holds(served: Served) -> bool:
    model = ClusterModel(served.members, served.routes, served.problem.need)
    return all(model.meets(limit) for limit in served.problem.need.limits)


def _tightened(given: PortfolioProblem, portfolio: Portfolio, late: set[int], factor: float) -> PortfolioProblem:
    """The problem with the capacities of pools that are late together lowered."""
    curves = {name: dict(some) for name, some in given.curves.items()}
    lowered = {(given.blocks[b].curves, key) for b in late for key in portfolio.blocks[b].counts}
    for name, key in lowered:
        curves[name][key] = derated(curves[name][key], factor)
    return replace(given, curves=curves)


def _notes(problems: Mapping[str, Problem], unpriced: set[str]) -> list[str]:
    notes = [f"{name}: {note}" if len(problems) > 1 else note for name, p in problems.items() for note in p.notes]
    if unpriced:
        notes.append(f"not considered for want of a price: {', '.join(sorted(unpriced))}")
    return list(dict.fromkeys(notes))


# -- infeasible -------------------------------------------------------------------------------------------------------
