"""Turn a solved fleet into a `Procurement`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from planner._version import __version__
from planner.economics.finance import HOURS_PER_MONTH
from planner.optimization.portfolio_answer import at_once, changes_usd_per_hour
from planner.optimization.portfolio_problem import Supply
from planner.pools.design import design_name
from planner.pools.prediction import ClusterModel
from planner.portfolio.calendar import clock
from planner.portfolio.cash import cash_flow
from planner.portfolio.infeasible import limit_text
from planner.portfolio.requests import mean_requests, planned_requests, rates_of, tokens, tokens_of
from planner.portfolio.result import (
    DesignRate,
    FleetPool,
    GroupCost,
    PeriodUse,
    PortfolioReport,
    Procurement,
    PurchaseLine,
    WorkloadOutcome,
    WorkloadPrediction,
)
from planner.portfolio.site_use import egress_by_months, least_egress, sites_of
from planner.portfolio.sites import place_of
from planner.portfolio.solving import FleetSolution, Served
from planner.serving.requests import Limit

_DESIGN_RATES = 6


def procurement_of(solution: FleetSolution) -> Procurement:
    """Report a solved fleet: purchases, use, predictions and proof."""
    given, portfolio, fleet = solution.given, solution.portfolio, solution.fleet
    hours = given.total_hours
    lines = _purchases(solution)
    predicted = list(_predictions(solution))
    n_tokens = math.fsum(tokens_of(solution, name) for name in fleet.workloads)
    changes = changes_usd_per_hour(given, portfolio.blocks) * hours
    egress = egress_by_months(solution)
    leaving = math.fsum(usd for _, _, usd in egress)
    cost = math.fsum([*(line.cost_usd for line in lines), changes, leaving])
    # Sites are chosen without what leaves them; what that could save at most is in the bound.
    bound = min(portfolio.bound + least_egress(solution) / hours, cost / hours)
    gap = portfolio.gap if not leaving else max(cost / hours - bound, 0.0) / max(cost / hours, 1e-12)
    periods = _periods(solution)
    horizon = fleet.horizon_months
    paid = cash_flow(lines, periods, horizon, fleet.cost_of_capital_per_year, changes, fleet.payments, egress)
    overhead = fleet.overhead_usd_per_month * horizon
    api = fleet.api_usd_per_million_tokens
    return Procurement(
        planner_version=__version__,
        catalog_digest=solution.catalog.digest()[:16],
        horizon=solution.horizon,
        horizon_hours=hours,
        cost_usd_per_hour=cost / hours,
        cost_usd_per_month=cost / hours * HOURS_PER_MONTH,
        cost_usd=cost,
        change_cost_usd=changes,
        egress_usd=leaving,
        cost_usd_per_million_tokens=cost / n_tokens * 1e6,
        padding_fraction=planned_requests(solution) / mean_requests(solution) - 1.0,
        cost_usd_per_thousand_requests=cost / mean_requests(solution) * 1e3,
        cost_usd_per_user_per_month=None if fleet.users is None else (cost + overhead) / horizon / fleet.users,
        present_value_usd=paid.present_value_usd,
        upfront_usd=paid.upfront_usd,
        remaining_value_usd=paid.remaining_value_usd,
        overhead_usd=overhead,
        usd_per_million_tokens_with_overhead=(cost + overhead) / n_tokens * 1e6,
        api_usd=None if api is None else api * n_tokens / 1e6,
        sites=sites_of(solution, lines),
        months=paid.months,
        purchases=lines,
        periods=periods,
        pools=[pool for served in solution.served for pool in _pools(solution, served)],
        groups=_groups(solution, lines),
        workloads=[_workload(solution, name) for name in fleet.workloads],
        predicted=predicted,
        meets_objectives=all(p.met for p in predicted),
        binding=_binding(solution),
        solver=PortfolioReport(
            status="optimal" if portfolio.status == "optimal" else "limit",
            solver=portfolio.solver,
            value=portfolio.cost_usd_per_hour + leaving / hours,
            bound=portfolio.bound if not leaving else bound,
            gap=gap,
            gap_allowed=fleet.gap,
            rounds=portfolio.rounds,
            groups_considered=solution.groups_considered,
            candidates=sum(len(some) for some in given.curves.values()),
            periods=len(given.spans),
            rows_checked=True,
        ),
        step_time_error=max(m.configuration.step_time_error for s in solution.served for m in s.members),
        notes=_notes(solution),
        fleet=fleet.dump(),
    )


def _purchases(solution: FleetSolution) -> list[PurchaseLine]:
    given, portfolio = solution.given, solution.portfolio
    lines = []
    for i, supply in enumerate(given.supplies):
        used = {t: n for (j, t), n in portfolio.used.items() if j == i}
        count = portfolio.held.get(i, 0) if supply.is_held else max(used.values(), default=0)
        if not count:
            continue
        on = math.fsum(given.spans[t].hours * n for t, n in used.items())
        fixed = supply.fixed_usd_per_hour * supply.fixed_hours * count if supply.is_held else 0.0
        usage = supply.usage_usd_per_hour * on
        source = solution.sources.get(supply.name)
        there = [stage for n, stage in enumerate(solution.stages) if n not in supply.absent]
        lines.append(
            PurchaseLine(
                machine=supply.machine,
                plan=supply.plan,
                site=place_of(supply.machine),
                count=count,
                machine_hours=on,
                fixed_usd_per_hour=supply.fixed_usd_per_hour,
                usage_usd_per_hour=supply.usage_usd_per_hour,
                fixed_usd=fixed,
                usage_usd=usage,
                cost_usd=fixed + usage,
                cost_usd_per_hour=(fixed + usage) / given.total_hours,
                when=supply.when,
                from_month=min(stage.first_month for stage in there),
                to_month=max(stage.last_month for stage in there),
                paid_months=supply.fixed_hours / HOURS_PER_MONTH if supply.is_held else 0.0,
                **_bought(solution, supply),
                book=source.book if source else None,
                provider=source.provider if source else None,
                date=source.date if source else None,
                kind=source.kind if source else None,
                source=source.source if source else None,
                currency=source.currency if source else "USD",
                exchange_date=source.exchange_date if source else None,
            )
        )
    return lines


def _periods(solution: FleetSolution) -> list[PeriodUse]:
    given, portfolio = solution.given, solution.portfolio
    found = []
    for t, (span, period) in enumerate(zip(given.spans, solution.periods, strict=True)):
        on: dict[str, int] = {}
        by_plan: dict[str, int] = {}
        for (i, at), n in sorted(portfolio.used.items()):
            if at == t and n:
                supply = given.supplies[i]
                on[supply.machine] = on.get(supply.machine, 0) + n
                by_plan[supply.name] = n
        had = at_once(given, portfolio, t)
        rates = {name: 0.0 for name in solution.fleet.workloads}
        for served in solution.served:
            if served.period is period:
                for name, rate in rates_of(served).items():
                    rates[name] += rate
        found.append(
            PeriodUse(
                period=period.name,
                stage=solution.stages[period.stage].name,
                hours_a_day=period.minutes / 60.0,
                hours=span.hours,
                from_month=solution.stages[period.stage].first_month,
                to_month=solution.stages[period.stage].last_month,
                rates_per_s=rates,
                machines_on=dict(sorted(on.items())),
                machines_by_plan=by_plan,
                machines_held_or_rented=sum(had.values()),
                power_w=math.fsum(given.machines[m].rated_power_w * n for m, n in had.items()),
            )
        )
    return found


def _pools(solution: FleetSolution, served: Served) -> Iterable[FleetPool]:
    model = ClusterModel(served.members, served.routes, served.problem.need)
    for i, (member, capacity) in enumerate(zip(served.members, served.capacities, strict=True)):
        c = member.configuration
        yield FleetPool(
            period=served.period.name,
            stage=solution.stages[served.period.stage].name,
            group=served.group.name,
            role=member.role,  # type: ignore[arg-type]
            machine=c.machine.name,
            count=member.count,
            spares=served.group.spares,
            layout=c.layout.label,
            precision=c.layout.precision,
            rate_per_s=member.rate_per_s,
            capacity_per_s=capacity,
            utilisation=model.utilisation(i),
        )


def _predictions(solution: FleetSolution) -> Iterable[WorkloadPrediction]:
    """Every objective of every part, in the period where it is closest to its limit."""
    worst: dict[tuple[str, str], tuple[float, WorkloadPrediction]] = {}
    known: dict[object, list[tuple[float | None, bool]]] = {}
    for served in solution.served:
        limits = served.problem.need.limits
        # Periods with the same pools and load are the same cluster.
        alike = (served.group.name, served.shares, tuple(
            (m.role, m.configuration.label, m.count, round(m.rate_per_s, 6)) for m in served.members
        ), tuple((r.first, r.second, round(r.rate_per_s, 6)) for r in served.routes))  # fmt: skip
        if alike not in known:
            model = ClusterModel(served.members, served.routes, served.problem.need)
            known[alike] = [(_predicted(model, limit), model.meets(limit)) for limit in limits]
        for part, limit, (value, met) in zip(served.owners, limits, known[alike], strict=True):
            o = limit.objective
            if met and value is not None:
                value = min(value, limit.value)  # the search for the percentile stops a thousandth short
            slack = None if value is None else 1.0 - value / limit.value
            row = WorkloadPrediction(
                workload=part.workload,
                part=part.name,
                objective=str(o),
                limit=limit.value,
                predicted=value,
                unit="s" if o.limit_s is not None else "x",
                slack_fraction=slack,
                met=met,
                period=served.period.name,
                stage=solution.stages[served.period.stage].name,
            )
            tightness = -math.inf if slack is None else slack
            at = (part.name if len(served.group.parts) > 1 else part.workload, str(o))
            if at not in worst or tightness < worst[at][0]:
                worst[at] = (tightness, row)
    order = {name: i for i, name in enumerate(solution.fleet.workloads)}
    return [row for _, row in sorted(worst.values(), key=lambda pair: (order[pair[1].workload], pair[1].part))]


def _predicted(model: ClusterModel, limit: Limit) -> float | None:
    o = limit.objective
    return model.percentile(o.metric, o.percentile, limit.unit_s, limit.share)


def _bought(solution: FleetSolution, supply: Supply) -> dict[str, float | None]:
    """What a purchase costs, at the price of its date; nothing of what is not bought."""
    option = solution.options.get(supply.name)
    if supply.plan != "owned" or option is None:
        return {"capital_usd_per_hour": 0.0, "purchase_usd": None, "residual_usd": None, "life_months": None}
    running = option.fixed_usd_per_hour - option.capital_usd_per_hour
    capital = supply.fixed_usd_per_hour - running
    factor = capital / option.capital_usd_per_hour if option.capital_usd_per_hour else 1.0
    return {
        "capital_usd_per_hour": capital, "purchase_usd": (option.purchase_usd or 0.0) * factor,
        "residual_usd": (option.residual_usd or 0.0) * factor, "life_months": option.life_months,
    }  # fmt: skip


def _groups(solution: FleetSolution, lines: Sequence[PurchaseLine]) -> list[GroupCost]:
    """Machine-hours of each group; the cost of each type of machine is shared by them."""
    hours: dict[str, dict[str, float]] = {}
    for served in solution.served:
        of = hours.setdefault(served.group.name, {})
        length = solution.given.spans[solution.periods.index(served.period)].hours
        for m in served.members:
            name = m.configuration.machine.name
            of[name] = of.get(name, 0.0) + (m.count + served.group.spares) * length
    cost: dict[str, float] = {}
    for line in lines:
        cost[line.machine] = cost.get(line.machine, 0.0) + line.cost_usd
    total = {m: math.fsum(of.get(m, 0.0) for of in hours.values()) for m in cost}
    # Machines that no group uses cost all the same: each group bears its part of them.
    idle = math.fsum(usd for m, usd in cost.items() if not total[m])
    found = []
    for group, of in hours.items():
        usd = math.fsum(cost[m] * h / total[m] for m, h in of.items())
        some = [s for s in solution.served if s.group.name == group]
        usd += idle * usd / (math.fsum(cost.values()) - idle) if idle else 0.0
        found.append(
            GroupCost(
                group=group,
                workloads=list(dict.fromkeys(p.workload for p in some[0].group.parts)),
                machine_hours=math.fsum(of.values()),
                cost_usd_per_hour=usd / solution.given.total_hours,
                usd_per_million_tokens=usd / tokens(solution, some) * 1e6,
            )
        )
    return found


def _workload(solution: FleetSolution, name: str) -> WorkloadOutcome:
    own, problem = solution.fleet.workloads[name], solution.problems[name]
    groups = [g for g in solution.given.parts if g in solution.portfolio.formed and _serves(solution, g, name)]
    batch = own.batch
    done_by = None
    if batch is not None:
        ends = [s.period for s in solution.served if s.group.name in groups]
        begin = batch.arrives[0].minute
        last = max(ends, key=lambda p: (p.start - begin) % (24 * 60))
        done_by = clock((last.start + last.minutes - 1) % (24 * 60) + 1)
    limited = solution.fleet.has_objectives(name)
    hours_a_day = 24.0 * 3600.0
    return WorkloadOutcome(
        workload=name,
        kind="batch" if batch else "interactive" if limited else "throughput",
        model=problem.llm.name,
        traffic=problem.sizes.name,
        group="; ".join(groups),
        rate_per_s=own.rate_per_s,
        requests_a_day=batch.requests if batch else (own.rate_per_s or 0.0) * hours_a_day * solution.mean_factors[name],
        deadline=None
        if batch is None
        else f"by {batch.deadline}"
        if batch.deadline
        else f"within {(batch.within_s or 0.0) / 3600.0:g} h",
        done_by=done_by,
        design_rates=[] if limited else _design_rates(solution, groups),
    )


def _serves(solution: FleetSolution, group: str, workload: str) -> bool:
    return any(part.split("/")[0] == workload for part in solution.given.parts[group])


def _design_rates(solution: FleetSolution, groups: Sequence[str]) -> list[DesignRate]:
    """Requests/s for a dollar an hour of each design, in pools so large that whole machines do not matter."""
    prices = {s.machine: s.usage_usd_per_hour for s in solution.given.supplies if s.plan == "on_demand"}
    pools = [
        c
        for block in {b.curves: b for b in solution.given.blocks if b.group in groups}.values()
        for c in solution.given.curves[block.curves].values()
        if c.configuration.machine.name in prices
    ]
    usd = {}  # a request/s
    for c in pools:
        n, rate = c.curve.n_machines, c.curve.rate_per_s
        per_machine = float(np.max(rate / n))
        usd[c.key] = prices[c.configuration.machine.name] / per_machine if per_machine > 0 else math.inf
    by_key = {c.key: c for c in pools}
    best: dict[str, float] = {}
    for c in pools:
        if c.role == "mixed":
            offers = [(design_name(c.configuration.machine.name, None), usd[c.key])]
        else:
            offers = [
                (design_name(by_key[p].configuration.machine.name, c.configuration.machine.name), usd[p] + usd[c.key])
                for p in c.sources
                if p in by_key
            ]
        for name, price in offers:
            best[name] = min(best.get(name, math.inf), price)
    ranked = sorted((price, name) for name, price in best.items() if math.isfinite(price))
    return [
        DesignRate(design=name, requests_per_s_per_usd_per_hour=1.0 / price, requests_per_usd=3600.0 / price)
        for price, name in ranked[:_DESIGN_RATES]
    ]


def _binding(solution: FleetSolution) -> list[str]:
    """Limits that some period reaches: one machine more would exceed them."""
    given, portfolio = solution.given, solution.portfolio
    limits, found = given.limits, []
    for t in range(len(given.spans)):
        had = at_once(given, portfolio, t)
        rented: dict[str, int] = {}
        for (i, at), n in portfolio.used.items():
            if at == t and not given.supplies[i].is_held:
                rented[given.supplies[i].machine] = rented.get(given.supplies[i].machine, 0) + n
        for cap in limits.caps:
            least = min((weight for weight in cap.weights.values() if weight > 0), default=0.0)
            taken = cap.taken(rented if cap.is_rented else had)
            if least and taken > 0 and taken + least > cap.most * (1 + 1e-9):
                found.append(f"{cap.name} {limit_text(cap.name, cap.most)}")
    for i, supply in enumerate(given.supplies):
        most = portfolio.held.get(i, 0) if supply.is_held else max(
            (n for (j, _), n in portfolio.used.items() if j == i), default=0
        )  # fmt: skip
        if supply.most is not None and most >= supply.most > supply.least:
            found.append(f"{supply.name}: all {supply.most} that can be had")
    return list(dict.fromkeys(found))


def _notes(solution: FleetSolution) -> list[str]:
    notes = list(solution.notes)
    for served in solution.served:
        for m in served.members:
            c = m.configuration
            if served.problem.scenario.profile is None and not served.problem.runtime.is_measured_on(c.accelerator):
                notes.append(
                    f"{served.problem.runtime.name} was not measured on {c.accelerator.name}: its efficiencies are "
                    f"estimates (step times +/- {c.step_time_error:.0%})"
                )
    return list(dict.fromkeys(notes))
