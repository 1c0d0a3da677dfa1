"""Turn a solved or evaluated cluster into a `Plan`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Literal

from planner._version import __version__
from planner.economics.energy import (
    carbon_kg_per_hour,
    energy_cost_usd_per_hour,
    facility_power_w,
    rated_carbon_kg_per_hour,
)
from planner.latency.batch import Batch, decode_batch, prefill_batch
from planner.latency.power import machine_power_w, step_power_w
from planner.optimization.selection import Simple
from planner.planning.certificate import Certificate
from planner.planning.closed_loop import as_solved
from planner.planning.plan import (
    HOURS_PER_MONTH,
    Alternative,
    EnergyUse,
    NearTieReport,
    Percentiles,
    Plan,
    PoolPlan,
    Prediction,
    PriceUsed,
    RejectedMachine,
    SiteElectricity,
    SolverReport,
    Standing,
)
from planner.planning.search import Solution, largest_rate
from planner.planning.standing import Chosen, named_machines, standings
from planner.planning.tokens import token_figures
from planner.pools.configuration import Configuration, Rejection
from planner.pools.design import design_name
from planner.pools.draw import roofline_of
from planner.pools.prediction import ClusterModel, Member, Route, binding_of, headroom
from planner.scenario.resolve import Problem, configurations
from planner.serving.requests import Limit
from planner.workload.objectives import METRIC_TITLES

LESS_SLACK = "less slack than the stated error of the step times"
NOT_SIMULATED = "not simulated"
_ALTERNATIVES = 4


def plan_of(problem: Problem, solution: Solution) -> Plan:
    """Report an optimised cluster."""
    problem, selection = as_solved(problem, solution), solution.selection
    others = _others(problem, solution)
    report = SolverReport(
        status=_status(solution),
        solver=selection.solver,
        objective=problem.scenario.objective,
        value=selection.objective,
        bound=selection.bound,
        gap=selection.gap,
        rounds=selection.rounds,
        candidates=solution.n_candidates,
        enumeration=selection.enumeration,
        rows_checked=True,
        near_tie=None if solution.near_tie is None else NearTieReport(**asdict(solution.near_tie)),
    )
    return build_plan(
        problem,
        solution.members,
        solution.routes,
        solution.capacities,
        report,
        spares=[problem.limits.spares] * len(solution.members),
        rejected=solution.rejected,
        alternatives=[_alternative(name, simple, own, solution, problem) for own, name, simple in others],
        alternative_prices=_prices(
            [c.configuration for _, _, simple in others for c, _ in simple.pools],
            besides={m.configuration.machine.name for m in solution.members},
        ),
        certificate=solution.certificate,
        standings=_not_chosen(problem, solution),
    )


def _not_chosen(problem: Problem, solution: Solution) -> list[Standing]:
    """Why each machine that was named is not in the plan."""
    chosen = chosen_of(problem, solution)
    single = {m.name: m.single_name for m in problem.machines}
    used = {single.get(name, name) for name in chosen.counts}
    names = [name for name in named_machines(problem) if name not in used]
    if not names:
        return []
    found, _ = configurations(problem)
    return standings(problem, chosen, names, largest_rate(problem, found))


def chosen_of(problem: Problem, solution: Solution) -> Chosen:
    """A solution as other machines are held against it."""
    counts: dict[str, int] = {}
    for member in solution.members:
        name = member.configuration.machine.name
        counts[name] = counts.get(name, 0) + member.count + problem.limits.spares
    throughput = problem.scenario.objective == "throughput"
    value = solution.rate_per_s if throughput else solution.selection.objective
    rounds = solution.certificate.rounds if solution.certificate else []
    names = {m.single_name for m in problem.machines} | {m.name for m in problem.machines}
    refused = {
        word: f"{round_.pools}: {round_.finding}"
        for round_ in rounds
        if not round_.confirmed
        for word in round_.pools.split()
        if word in names and word not in counts
    }
    return Chosen(counts, value, refused)


def _status(solution: Solution) -> Literal["optimal", "near_tie", "limit"]:
    if solution.selection.status != "optimal":
        return "limit"
    return "optimal" if solution.near_tie is None else "near_tie"


def build_plan(
    problem: Problem,
    members: Sequence[Member],
    routes: Sequence[Route],
    capacities: Sequence[float],
    report: SolverReport,
    *,
    spares: Sequence[int],
    rejected: Sequence[Rejection],
    alternatives: list[Alternative],
    certificate: Certificate | None = None,
    alternative_prices: Sequence[PriceUsed] = (),
    standings: Sequence[Standing] = (),
) -> Plan:
    """Report a cluster: predictions, costs and how it was found."""
    scenario, need = problem.scenario, problem.need
    model = ClusterModel(members, routes, need)
    predicted = [_prediction(model, limit) for limit in need.limits]
    pools = [_pool(problem, members, routes, model, i, capacities[i], spares[i]) for i in range(len(members))]
    worst = max((m.configuration for m in members), key=lambda c: c.step_time_error)
    rate = math.fsum(r.rate_per_s for r in routes)
    if math.isclose(rate, need.rate_per_s, rel_tol=1e-9):  # the flows add up to it but for rounding
        rate = need.rate_per_s
    costs = [p.cost_usd_per_hour for p in pools]
    cost = None if any(c is None for c in costs) else sum(c for c in costs if c is not None)
    sizes = need.traffic.sizes
    tokens_per_hour = rate * 3600.0 * (sizes.mean_prompt_tokens + sizes.mean_output_tokens)
    rack = [m.configuration.machine.rack_units for m in members]
    machines = sum(p.count + p.spares for p in pools)
    prompts, outputs = (rate * 3600.0 * n for n in (sizes.mean_prompt_tokens, sizes.mean_output_tokens))
    percentiles = _percentiles(model)
    simulated = certificate.percentiles if certificate else []
    shown = [
        Percentiles(metric=r.metric, p50_s=r.p50_s.value, p90_s=r.p90_s.value, p99_s=r.p99_s.value) for r in simulated
    ]
    tokens = token_figures(pools, prompts, outputs, shown or percentiles)
    return Plan(
        planner_version=__version__,
        catalog_digest=problem.catalog.digest()[:16],
        design=design_of(members),
        model=problem.llm.name,
        runtime=problem.runtime.name,
        precision=scenario.precision or problem.llm.weight_precision,
        workload=problem.sizes.name,
        rate_words=problem.rate_words,
        demand_rate_per_s=need.rate_per_s,
        rate_per_s=rate,
        mean_prompt_tokens=sizes.mean_prompt_tokens,
        mean_output_tokens=sizes.mean_output_tokens,
        meets_objectives=_meets(model, predicted, certificate),
        pools=pools,
        machines=machines,
        cost_usd_per_hour=cost,
        cost_usd_per_month=None if cost is None else cost * HOURS_PER_MONTH,
        cost_usd_per_million_tokens=None if cost is None else cost / tokens_per_hour * 1e6,
        prompt_tokens_per_hour=prompts,
        output_tokens_per_hour=outputs,
        **vars(tokens),
        power_w=sum(p.power_w for p in pools),
        expected_power_w=sum(p.expected_power_w for p in pools),
        expected_power_error=max(problem.runtime.efficiency(m.configuration.accelerator).power_error for m in members),
        rack_units=None
        if any(u is None for u in rack)
        else sum((u or 0) * (p.count + p.spares) for u, p in zip(rack, pools, strict=True)),
        energy=_energy(problem, members, pools),
        predicted=predicted,
        percentiles=percentiles,
        headroom=headroom(members, routes, need),
        verified=_verified(certificate),
        certificate=certificate,
        solver=report,
        alternatives=alternatives,
        rejected=[RejectedMachine(machine=r.machine, reason=_one_line(r)) for r in rejected],
        standings=list(standings),
        prices=_prices([m.configuration for m in members]),
        alternative_prices=list(alternative_prices),
        step_time_error=worst.step_time_error,
        step_time_basis=worst.step_time_basis,
        notes=_too_large_note(model) + _notes(problem, members, predicted, certificate),
        too_large_fraction=model.too_large(),
        scenario=scenario.dump(),
    )


def _meets(model: ClusterModel, predicted: Sequence[Prediction], certificate: Certificate | None) -> bool:
    if certificate is not None and certificate.objectives:
        return all(o.met for o in certificate.objectives)
    return model.is_stable() and all(p.met for p in predicted)


def _verified(certificate: Certificate | None) -> str:
    if certificate is None:
        return NOT_SIMULATED
    runs = f"{len(certificate.seeds)} x {certificate.requests_per_run:,} requests simulated"
    return {"confirmed": runs, "failed": f"NOT confirmed by simulation ({runs})"}.get(
        certificate.status, "simulation interrupted"
    )


def drawn_w(problem: Problem, members: Sequence[Member], routes: Sequence[Route], spares: int) -> list[float]:
    """Mean draw of each pool of a cluster at its load, spares included [W]."""
    model = ClusterModel(members, routes, problem.need)
    return [_expected_power_w(problem, member, model, i, spares) for i, member in enumerate(members)]


def _energy(problem: Problem, members: Sequence[Member], pools: Sequence[PoolPlan]) -> EnergyUse | None:
    supply = problem.serving.electricity
    if supply is None:
        return None
    facility_w = usd = carbon = rated = 0.0
    for member, pool in zip(members, pools, strict=True):
        machine, here = member.configuration.machine, supply.at(member.configuration.machine.site)
        drawn_w = facility_power_w(machine, pool.expected_power_w, here.pue)
        facility_w += drawn_w
        usd += energy_cost_usd_per_hour(drawn_w, here.usd_per_kwh)
        carbon += carbon_kg_per_hour(drawn_w, here.carbon_g_per_kwh)
        rated += rated_carbon_kg_per_hour(machine, here) * (pool.count + pool.spares)
    sites = sorted({member.configuration.machine.site for member in members})
    return EnergyUse(
        facility_power_w=facility_w,
        energy_kwh_per_hour=facility_w / 1e3,
        cost_usd_per_hour=usd,
        carbon_kg_per_hour=carbon,
        rated_carbon_kg_per_hour=rated,
        sites=[SiteElectricity(site=site, **asdict(supply.at(site))) for site in sites],
    )


def _prediction(model: ClusterModel, limit: Limit) -> Prediction:
    o = limit.objective
    met = model.meets(limit)
    value = model.percentile(o.metric, o.percentile, limit.unit_s)
    if met and value is not None:
        value = min(value, limit.value)  # the search for the percentile stops a thousandth short
    margin = model.margin(o.metric, o.percentile)
    return Prediction(
        objective=str(o),
        metric=o.metric,
        percentile=o.percentile,
        limit=limit.value,
        predicted=value,
        unit="s" if o.limit_s is not None else "x",
        slack_fraction=None if value is None else 1.0 - value / limit.value,
        met=met,
        margin_low=None if margin is None else margin.low,
        margin_high=None if margin is None else margin.high,
    )


def _percentiles(model: ClusterModel) -> list[Percentiles]:
    rows = []
    for metric in ("ttft", "tbt", "e2e"):
        p50, p90, p99 = (model.percentile(metric, p, 1.0) for p in (50.0, 90.0, 99.0))
        rows.append(Percentiles(metric=metric, p50_s=p50, p90_s=p90, p99_s=p99))  # type: ignore[arg-type]
    return rows


def _pool(
    problem: Problem,
    members: Sequence[Member],
    routes: Sequence[Route],
    model: ClusterModel,
    i: int,
    capacity: float,
    spares: int,
) -> PoolPlan:
    member = members[i]
    c, layout = member.configuration, member.configuration.layout
    bought = member.count + spares
    sources = {members[r.first].configuration.machine.name for r in routes if r.second == i}
    return PoolPlan(
        role=member.role,  # type: ignore[arg-type]
        machine=c.machine.name,
        count=member.count,
        spares=spares,
        layout=layout.label,
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        expert_parallel=layout.expert_parallel,
        attention_data_parallel=layout.attention_data_parallel,
        replicas_per_machine=layout.replicas,
        machines_per_replica=layout.machines,
        precision=layout.precision,
        takes_from=", ".join(sorted(sources)) or None,
        rate_per_s=member.rate_per_s,
        capacity_per_s=capacity,
        utilisation=model.utilisation(i),
        binding=binding_of(members, routes, problem.need, i, capacity) if member.rate_per_s > 0 else "idle",
        cost_usd_per_hour=c.price.usd_per_hour * bought if c.price else None,
        power_w=c.machine.rated_power_w * bought,
        expected_power_w=_expected_power_w(problem, member, model, i, spares),
        power_scope=c.machine.power_scope,
        accelerators_per_machine=c.machine.n_accelerators,
        prompt_time_fraction=_prompt_time_fraction(problem, member, model, i),
    )


def _prompt_share(problem: Problem, member: Member) -> float:
    """Share of all its time that a mixed pool computes prompts."""
    traffic, lane = problem.need.traffic, member.configuration.lane
    share = member.rate_per_s / member.n_lanes[0] * float(traffic.weight @ lane.prefill_time_s(traffic.prompt_tokens))
    return min(float(share), 1.0)


def _prompt_time_fraction(problem: Problem, member: Member, model: ClusterModel, i: int) -> float:
    """Share of its busy time that a pool computes prompts; the rest it decodes."""
    if member.role != "mixed":
        return 1.0 if member.role == "prefill" else 0.0
    share, batch = _prompt_share(problem, member), model.mean_batch(i)
    busy = min(1.0, (min(batch, 1.0) if math.isfinite(batch) else 1.0) + share)
    return share / busy if busy > 0 else 0.0


def _expected_power_w(problem: Problem, member: Member, model: ClusterModel, i: int, spares: int) -> float:
    """Mean draw of a pool: busy accelerators by their roofline utilisation, the rest idle [W]."""
    c = member.configuration
    efficiency = problem.runtime.efficiency(c.accelerator)
    cap = c.machine.power_cap.accelerator_fraction if c.machine.power_cap else 1.0
    roofline = roofline_of(c, problem.llm, problem.runtime)
    sizes = problem.need.traffic.sizes

    def draw(batch: Batch) -> float:
        return step_power_w(roofline, batch, c.accelerator, efficiency, cap)

    prefill_w = draw(prefill_batch(sizes.mean_prompt_tokens))
    batch = model.mean_batch(i)
    if not math.isfinite(batch):  # overloaded: it decodes as many as it may
        batch = float(c.lane.max_batch)
    decode_w = draw(decode_batch(max(batch, 1.0), sizes.decode_context_tokens))
    if member.role == "prefill":
        busy_w, busy = prefill_w, min(model.utilisation(i), 1.0)
    else:
        busy = min(batch, 1.0)
        busy_w = decode_w
        if member.role == "mixed":
            share = _prompt_share(problem, member)
            busy_w = share * prefill_w + (1.0 - share) * decode_w
            busy = min(1.0, busy + share)
    # All replicas of a machine are alike; accelerators that no replica uses idle.
    used = c.layout.replicas * c.layout.accelerators_per_replica / c.machine.n_accelerators
    one = machine_power_w(c.machine, c.accelerator, efficiency, busy_w, busy * used)
    idle = machine_power_w(c.machine, c.accelerator, efficiency, busy_w, 0.0)
    return min(one, c.machine.rated_power_w) * member.count + idle * spares


def design_of(members: Sequence[Member]) -> str:
    """Name of the design of a cluster; `mixed fleet` where several types share a role."""
    by_role = {
        role: sorted({m.configuration.machine.name for m in members if m.role == role})
        for role in ("prefill", "decode", "mixed")
    }
    if len(by_role["mixed"]) == 1 and not by_role["prefill"]:
        return design_name(by_role["mixed"][0], None)
    if not by_role["mixed"] and len(by_role["prefill"]) == len(by_role["decode"]) == 1:
        return design_name(by_role["prefill"][0], by_role["decode"][0])
    return "mixed fleet"


def _others(problem: Problem, solution: Solution) -> list[tuple[float, str, Simple]]:
    """Best plan of each other design; the homogeneous ones first, then by objective."""
    throughput = problem.scenario.objective == "throughput"
    chosen = design_of(solution.members)
    found = []
    for name, simple in solution.simples.items():
        if name == chosen:
            continue
        own = simple.rate_per_s if throughput else simple.objective
        found.append((own, name, simple))
    found.sort(key=lambda entry: (-entry[0] if throughput else entry[0], entry[1]))
    homogeneous = [e for e in found if e[1].startswith("Baseline-")][:1]
    rest = [e for e in found if e not in homogeneous]
    return (homogeneous + rest)[:_ALTERNATIVES]


def _alternative(name: str, simple: Simple, own: float, solution: Solution, problem: Problem) -> Alternative:
    spares, value = problem.limits.spares, solution.selection.objective
    bought = [(c, n + spares) for c, n in simple.pools]
    prices = [c.configuration.price for c, _ in bought]
    counts: dict[str, int] = {}
    for c, n in bought:
        counts[c.configuration.machine.name] = counts.get(c.configuration.machine.name, 0) + n
    return Alternative(
        design=name,
        pools=" + ".join(f"{n} x {c.configuration.machine.name} {c.role}" for c, n in bought),
        value=own,
        cost_usd_per_hour=None
        if any(p is None for p in prices)
        else sum(p.usd_per_hour * n for p, (_, n) in zip(prices, bought, strict=True) if p is not None),
        power_w=sum(c.configuration.machine.rated_power_w * n for c, n in bought),
        machines=sum(n for _, n in bought),
        counts=counts,
        relative=own / value - 1.0 if value else 0.0,
    )


def _prices(configurations: Iterable[Configuration], besides: Collection[str] = ()) -> list[PriceUsed]:
    """The price of each machine, by name; of those `besides` none."""
    seen = {}
    for c in configurations:
        if c.price is not None and c.machine.name not in besides:
            seen[c.machine.name] = PriceUsed(machine=c.machine.name, **c.price.model_dump())
    return [seen[name] for name in sorted(seen)]


def _one_line(rejection: Rejection) -> str:
    value = f": {rejection.error.value}" if rejection.error.value else ""
    return f"{rejection.error.what}{value}"


def _too_large_note(model: ClusterModel) -> list[str]:
    """What a buyer must know first: requests that this cluster never serves."""
    share = model.too_large()
    if not share:
        return []
    return [
        f"{100.0 * share:.2g} % of the requests are larger than the KV memory of the machines on their way: they are "
        "never served, and count as missing every objective"
    ]


def _notes(
    problem: Problem, members: Sequence[Member], predicted: Sequence[Prediction], certificate: Certificate | None
) -> list[str]:
    notes = list(problem.notes)
    error = max(m.configuration.step_time_error for m in members)
    slack = [(p, p.slack_fraction) for p in predicted]
    if certificate is not None and certificate.objectives:
        values = [o.simulated.value for o in certificate.objectives]
        slack = [(p, None if v is None else 1.0 - v / p.limit) for p, v in zip(predicted, values, strict=True)]
        notes += certificate.notes
    tight = [(p, share) for p, share in slack if share is not None and 0 <= share < error]
    if tight and problem.scenario.profile is None:
        notes.append(
            f"{LESS_SLACK} ({error:.0%}): "
            + ", ".join(f"{METRIC_TITLES[p.metric]} p{p.percentile:g} {share:.0%}" for p, share in tight)
        )
    for m in members:
        c = m.configuration
        cached = problem.serving.prefix_shares.get((c.machine.name, c.layout))
        if cached is not None and m.role != "decode":
            notes.append(f"{100.0 * cached:.3g} % of the tokens of every prompt are taken as cached on {c.label}")
        if problem.scenario.profile is None and not problem.runtime.is_measured_on(c.accelerator):
            notes.append(
                f"{problem.runtime.name} was not measured on {c.accelerator.name}: its efficiencies are estimates "
                f"(step times +/- {c.step_time_error:.0%})"
            )
    if problem.unpriced:
        notes.append(f"not considered for want of a price: {', '.join(problem.unpriced)}")
    if problem.need.traffic.arrival_cv2 != 1.0:
        notes.append(f"arrivals have a squared coefficient of variation of {problem.need.traffic.arrival_cv2:g}")
    return list(dict.fromkeys(notes))
