"""A plan as text for a terminal: what to buy, whether it meets the objectives, and why it is the answer."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from planner.export.tables.plan_basis import considered, rejected, trust
from planner.export.tables.text import aligned, counted, labelled, number, percent, wrapped
from planner.planning.certificate import MinimalityWitness, SimulatedObjective, SparesRemoved
from planner.planning.plan import Alternative, EnergyUse, Plan, PoolPlan, Prediction, SolverReport
from planner.pools.limits import objective_words
from planner.scenario.scenario import Scenario
from planner.simulation.interval import IntervalReport
from planner.units import format_money, format_power, format_time
from planner.workload.objectives import METRIC_TITLES

WIDTH = 100
_LABEL_WIDTH = 10
_HEADROOM_SEARCHED = 16.0  # the search for the breaking load stops there
# Titles of columns of numbers, which are aligned to the right.
NUMBERS = ("count", "accelerators", "busy", "requests/s", "$/h", "kW rated", "slack")
_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def plan_table(plan: Plan, today: datetime.date, *, width: int = WIDTH, colour: bool = False) -> str:
    """Return a plan as text.

    Parameters
    ----------
    plan : Plan
        Optimised or evaluated.
    today : date
        What the age of the prices is counted to.
    width : int
        Columns that running text may take; a table takes what it needs.
    colour : bool
        Whether to mark met and missed objectives in colour, for terminals.

    Returns
    -------
    str
        Lines, the last one ended. Every number has its unit, in the text or in the title of its column.
    """
    first = [line for text in headline(plan) for line in wrapped(text, width)]
    pools = aligned(*pool_rows(plan, accelerators=width >= WIDTH), right=NUMBERS)
    blocks = [first, pools, _objectives(plan, colour), _remarks(plan, today, width)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def headline(plan: Plan) -> tuple[str, str, str]:
    """What was planned for what, at which cost, and how large it is: a line each."""
    first = (
        f"{plan.design} for {plan.model} ({plan.precision}, {plan.runtime}), "
        f"{plan.workload} at {number(plan.rate_per_s)} requests/s"
    )
    if plan.rate_words:
        first += f" ({plan.rate_words})"
    chips = f" ({counted(plan.accelerators, 'accelerator')})" if plan.accelerators is not None else ""
    size = [f"{counted(plan.machines, 'machine')}{chips}"]
    if plan.rack_units is not None:
        size.append(counted(plan.rack_units, "rack unit"))
    within = f" (+/- {percent(plan.expected_power_error)})" if plan.expected_power_error is not None else ""
    size.append(f"{format_power(plan.expected_power_w)} expected draw at this load{within}")
    return first, _verdict(plan), ", ".join(size)


def _verdict(plan: Plan) -> str:
    """The objective's figure first, then the others."""
    money = []
    if plan.cost_usd_per_hour is not None:
        money.append(f"{format_money(plan.cost_usd_per_hour)}/h")
    if plan.cost_usd_per_month is not None:
        money.append(f"${plan.cost_usd_per_month:,.0f}/month")
    keeps_up = plan.meets_objectives or all(p.predicted is not None for p in plan.predicted)
    if plan.cost_usd_per_million_tokens is not None and keeps_up:
        money.append(f"{_small_money(plan.cost_usd_per_million_tokens)} per million tokens")
    rated = f"{format_power(plan.power_w)} rated"
    figures = [*money, rated] if money else ["no price known", rated]
    objective = plan.solver.objective
    if plan.solver.status == "evaluated":
        missed = [_title(p) for p in plan.predicted if not p.met]
        if plan.meets_objectives:
            return f"Meets the objectives: {', '.join(figures)}"
        return f"Does not meet the objectives ({', '.join(missed) or 'it cannot keep up'}): {', '.join(figures)}"
    settled = plan.certificate is None or plan.certificate.status == "confirmed"
    proven = plan.solver.status in ("optimal", "near_tie") and settled
    if objective == "throughput":
        head = "Most load" if proven else "Most load found, not proven"
        return f"{head}: {number(plan.rate_per_s)} requests/s; {', '.join(figures)}"
    if objective == "power":
        head, figures = "Least power", [rated, *money]
    elif objective == "energy":
        head, figures = "Least draw", [objective_words(plan.solver.value, objective), *figures]
    elif objective == "machines":
        head, figures = "Fewest machines", [str(plan.machines), *figures]
    elif objective == "carbon":
        head, figures = "Least carbon", [objective_words(plan.solver.value, objective), *figures]
    else:
        head = "Least cost"
    if proven and plan.solver.status == "near_tie":
        return f"{', '.join(figures)}: {_near_tie(plan.solver)}"
    return f"{head if proven else head + ' found, not proven'}: {', '.join(figures)}"


def _near_tie(solver: SolverReport) -> str:
    """What the optimum is, in whose place this simpler plan stands."""
    tie = solver.near_tie
    assert tie is not None
    above = 100.0 * (solver.value / tie.value - 1.0) if tie.value else 0.0
    size = [counted(tie.n_machines, "machine"), counted(tie.n_pools, "pool"), counted(tie.n_types, "type")]
    return (
        f"within {max(above, 0.0):.2g} % of the optimum {objective_words(tie.value, solver.objective)} "
        f"({', '.join(size)})"
    )


def pool_rows(plan: Plan, *, accelerators: bool = True) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of pools; without the column of accelerators where there is no room for it."""
    several_sources = len({p.takes_from for p in plan.pools if p.takes_from}) > 1
    titles = ["role", "machine", "count", "accelerators", "replicas", "busy", "requests/s", "$/h", "kW rated"]
    rows = []
    for pool in plan.pools:
        spares = f" + {counted(pool.spares, 'spare')}" if pool.spares else ""
        rows.append([
            pool.role + (f" from {pool.takes_from}" if several_sources and pool.takes_from else ""),
            pool.machine,
            f"{pool.count:,}{spares}",
            "" if pool.accelerators_per_machine is None else f"{pool.accelerators_per_machine * pool.count:,}",
            pool.layout,
            percent(pool.utilisation),
            number(pool.rate_per_s),
            "unknown" if pool.cost_usd_per_hour is None else f"{pool.cost_usd_per_hour:,.2f}",
            f"{pool.power_w / 1e3:,.1f}",
        ])  # fmt: skip
    if not accelerators:
        at = titles.index("accelerators")
        titles, rows = titles[:at] + titles[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]
    return titles, rows


def objective_rows(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of the table of objectives.

    Limits against what is predicted and, where the plan was simulated, against that: it has the last word.
    """
    found = {o.objective: o for o in plan.certificate.objectives} if plan.certificate else {}
    titles = ["objective", "limit", "predicted", "simulated (95 % interval)" if found else "simulated", "slack", ""]
    rows = []
    for p in plan.predicted:
        simulated = found.get(p.objective)
        rows.append([
            _title(p),
            _quantity(p.limit, p.unit),
            _predicted(p, simulated),
            _estimate(simulated.simulated, p.unit) if simulated else plan.verified,
            _slack(p, simulated),
            _verdict_on(p, simulated),
        ])  # fmt: skip
    return titles, rows


def _objectives(plan: Plan, colour: bool) -> list[str]:
    titles, rows = objective_rows(plan)
    lines = aligned(titles, rows, right=NUMBERS)
    if not colour:
        return lines
    marked = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        word = row[-1]
        marked.append(f"{line.removesuffix(word)}{_GREEN if word == 'met' else _RED}{word}{_PLAIN}")
    return marked


def _predicted(prediction: Prediction, simulated: SimulatedObjective | None) -> str:
    if prediction.predicted is not None:
        return _quantity(prediction.predicted, prediction.unit)
    # The formulas keep a hundredth of KV memory free; a plan that simulation confirms may need it.
    return "beyond formula" if simulated and simulated.met else "grows without end"


def _verdict_on(prediction: Prediction, simulated: SimulatedObjective | None) -> str:
    return "met" if (simulated.met if simulated else prediction.met) else "MISSED"


def _slack(prediction: Prediction, simulated: SimulatedObjective | None) -> str:
    if simulated is not None and simulated.simulated.value is not None:
        return percent(1.0 - simulated.simulated.value / prediction.limit)
    return "" if prediction.slack_fraction is None else percent(prediction.slack_fraction)


def _estimate(estimate: IntervalReport, unit: str) -> str:
    if estimate.value is None:
        return "unknown"
    low, high = ("unknown" if v is None else _quantity(v, unit) for v in (estimate.low, estimate.high))
    suffix = "x" if unit == "x" else f" {high.rpartition(' ')[2]}"
    return f"{_quantity(estimate.value, unit)} ({low.removesuffix(suffix)} - {high})"


def _title(prediction: Prediction) -> str:
    return f"{METRIC_TITLES[prediction.metric]} p{number(prediction.percentile, 6)}"


def _quantity(value: float, unit: str) -> str:
    return format_time(value) if unit == "s" else f"{number(value, 3)}x"


def _remarks(plan: Plan, today: datetime.date, width: int) -> list[str]:
    lines: list[str] = []
    for label, text in remarks(plan, today):
        lines += labelled(label, text, label_width=_LABEL_WIDTH, width=width)
    return lines


def remarks(plan: Plan, today: datetime.date) -> Iterator[tuple[str, str]]:
    """Yield label and text of everything else a buyer should know; an empty label goes on with the one before."""
    yield "Latency", _latency(plan)
    if plan.prompt_tokens_per_hour is not None and plan.output_tokens_per_hour is not None:
        yield "Tokens", "; ".join(_tokens(plan, plan.prompt_tokens_per_hour, plan.output_tokens_per_hour))
    if any(p.unit == "x" for p in plan.predicted):
        yield (
            "Slowdown",
            f"x is against the same request alone on {plan.scenario.get('reference_machine', 'the reference')}",
        )
    if plan.solver.status != "evaluated":
        yield "Proof", _proof(plan)
        for n, corrected in enumerate(_corrected(plan)):
            yield "" if n else "Corrected", corrected
    yield "Binding", "; ".join(f"{_pool_name(p, plan)}: {_binding(p, plan)}" for p in plan.pools)
    if plan.certificate and plan.certificate.witnesses:
        yield "Minimal", "; ".join(_witness(w) for w in plan.certificate.witnesses)
    if plan.certificate and plan.certificate.without_spares:
        yield "Spares", _without_spares(plan.certificate.without_spares)
    if plan.certificate and plan.certificate.replayed:
        yield "Replayed", _replayed(plan)
    yield "Breaks at", breaking_load(plan)
    for n, alternative in enumerate(plan.alternatives):
        yield "" if n else "Instead", _alternative(alternative, plan)
    for n, standing in enumerate(plan.standings):
        yield "" if n else "Not chosen", f"{standing.machine}: {standing.reason}"
    if plan.energy is not None and _is_energy_asked_for(plan):
        yield "Energy", _energy(plan.energy)
    yield "Trust", trust(plan, today)
    if plan.solver.status != "evaluated":
        yield "Considered", considered(plan)
    if plan.rejected:
        yield "Rejected", rejected(plan)
    for n, note in enumerate(plan.notes):
        yield "" if n else "Notes", note


def _latency(plan: Plan) -> str:
    if plan.certificate and plan.certificate.percentiles:
        simulated = [(r.metric, [e.value for e in (r.p50_s, r.p90_s, r.p99_s)]) for r in plan.certificate.percentiles]
        return f"{_in_a_row(simulated)} (p50/p90/p99, simulated)"
    return f"{_in_a_row([(r.metric, [r.p50_s, r.p90_s, r.p99_s]) for r in plan.percentiles])} (p50/p90/p99)"


def _tokens(plan: Plan, prompts_per_hour: float, outputs_per_hour: float) -> Iterator[str]:
    """Tokens a second, by accelerator and user, and what a million of them cost."""
    yield f"{number(prompts_per_hour / 3600, 3)} tokens/s in, {number(outputs_per_hour / 3600, 3)} out"
    if plan.output_tokens_per_s_per_accelerator is not None:
        users = plan.output_tokens_per_s_per_user
        a_user = "" if users is None else f", {number(users, 3)} to a user (median)"
        yield f"{number(plan.output_tokens_per_s_per_accelerator, 3)} tokens/s out of an accelerator{a_user}"
    dollars = plan.cost_usd_per_million_prompt_tokens, plan.cost_usd_per_million_output_tokens
    if dollars[0] is not None and dollars[1] is not None:
        yield f"{_small_money(dollars[0])} per million in, {_small_money(dollars[1])} out, by the time spent on each"


def _in_a_row(rows: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    texts = []
    for metric, found in rows:
        values = [v for v in found if v is not None]
        scale, unit = (1.0, "s") if values and max(values) >= 0.9995 else (1e3, "ms")
        shown = " / ".join(number(scale * v, 3) for v in values)
        texts.append(f"{METRIC_TITLES[metric]} " + (f"{shown} {unit}" if len(values) == 3 else "grows without end"))
    return ", ".join(texts)


def _proof(plan: Plan) -> str:
    solver = plan.solver
    checked = ", every row rechecked" if solver.rows_checked else ""
    if solver.status == "near_tie":
        proven = f"{_near_tie(solver)}, which the formulas prove; fewer pools or types were preferred (--exact)"
    elif solver.status == "optimal":
        proven = f"optimal (gap {percent(solver.gap, 2 if 0 < solver.gap < 0.005 else 0)})"
    else:
        limit_s = plan.scenario.get("time_limit_s")
        after = f"stopped at its time limit of {format_time(limit_s)}" if limit_s else "stopped at a limit"
        proven = (
            f"NOT proven: {after}, gap {percent(solver.gap, 1)}; nothing is better than "
            f"{objective_words(solver.bound, solver.objective)}"
        )
    return f"{proven}, {solver.solver}{checked}; {plan.verified}{_hunted(plan)}"


def _hunted(plan: Plan) -> str:
    """What became of better plans that the formulas refuse."""
    hunt = plan.certificate.hunt if plan.certificate else None
    if hunt is None or not hunt.hope_fraction:
        return ""
    if not hunt.exhausted:
        return (
            f"; {hunt.n_simulated} better plans, of capacities up to {percent(hunt.hope_fraction)} above the formulas, "
            "failed, and there may be more"
        )
    if not hunt.n_simulated:
        return f"; none is better though every pool carried {percent(hunt.hope_fraction)} more than its formula"
    busy = f", {hunt.n_too_busy} of them by the highest utilisation" if hunt.n_too_busy else ""
    if hunt.busier_value is not None:
        busy += f", without which {objective_words(hunt.busier_value, plan.solver.objective)} would do"
    return f"; {counted(hunt.n_simulated, 'better plan')} that the formulas refuse failed{busy}; no other is left"


def _binding(pool: PoolPlan, plan: Plan) -> str:
    most_busy = plan.scenario.get("max_utilisation")
    if pool.binding == "utilisation" and most_busy is not None:
        return f"prompts may fill {percent(most_busy)} of its time at most"
    return pool.binding


def _pool_name(pool: PoolPlan, plan: Plan) -> str:
    same = sum(p.role == pool.role and p.machine == pool.machine for p in plan.pools) > 1
    name = f"{pool.role} {pool.machine}"
    return f"{name} from {pool.takes_from}" if same and pool.takes_from else name


def _corrected(plan: Plan) -> Iterator[str]:
    """Plans that simulation did not leave as they were."""
    rounds = plan.certificate.rounds if plan.certificate else []
    for r in rounds if plan.certificate and plan.certificate.status == "failed" else rounds[:-1]:
        carried = f"; it carries {percent(r.carried_fraction)} of the load" if r.carried_fraction else ""
        yield f"{r.pools} ({objective_words(r.value, plan.solver.objective)}): {r.finding}{carried}"


def _witness(witness: MinimalityWitness) -> str:
    return f"with {witness.count} {witness.role} {witness.machine} {witness.breaks or 'every objective still holds'}"


def _replayed(plan: Plan) -> str:
    """The objectives on the trace's own arrivals."""
    found = {o.objective: o for o in plan.certificate.replayed} if plan.certificate else {}
    texts = []
    for p in plan.predicted:
        o = found.get(p.objective)
        if o is not None:
            value = "without end" if o.simulated.value is None else _quantity(o.simulated.value, p.unit)
            texts.append(f"{_title(p)} {value} ({'met' if o.met else 'MISSED'})")
    return f"on the trace's own arrivals, stretched to the rate: {', '.join(texts)}"


def _without_spares(spares: SparesRemoved) -> str:
    again = f"{counted(spares.n_restarted, 'request')} began again"
    if spares.confirmed:
        return f"{spares.failed}, fail: every objective holds ({again})"
    missed = ", ".join(o.objective for o in spares.objectives if not o.met)
    return (
        f"{spares.failed}, fail: without them every objective holds, as simulated above, but a run with the loss in it "
        f"misses {missed} ({again})"
    )


def breaking_load(plan: Plan) -> str:
    """The load at which something gives way, and what that is."""
    loads: dict[float, list[str]] = {}
    for o, p in zip(plan.certificate.objectives if plan.certificate else [], plan.predicted, strict=False):
        if o.breaks_at_load is not None:
            loads.setdefault(o.breaks_at_load, []).append(_title(p))
    if loads:
        least, *later = sorted(loads)
        if least >= _HEADROOM_SEARCHED:
            return f"more than {_HEADROOM_SEARCHED:g}x load, simulated"
        texts = [f"{least:.2f}x load, {_at_load(plan, least)} ({', '.join(loads[least])})"]
        texts += [f"{load:.2f}x ({', '.join(loads[load])})" for load in later]
        return "; ".join(texts) + "; simulated"
    if plan.headroom >= _HEADROOM_SEARCHED:
        return f"more than {_HEADROOM_SEARCHED:g}x load"
    text = f"{plan.headroom:.2f}x load, {_at_load(plan, plan.headroom)}"
    loaded = [p for p in plan.pools if p.rate_per_s > 0]
    if plan.solver.status == "evaluated" or not loaded:
        return text
    first = min(loaded, key=lambda p: p.capacity_per_s / p.rate_per_s)
    # The utilisation allowed is passed before anything breaks.
    return text if first.binding == "utilisation" else f"{text} ({first.binding}, {_pool_name(first, plan)})"


def _at_load(plan: Plan, load: float) -> str:
    """A multiple of the load in its own unit: requests/s, or clients who wait for their answers."""
    for name, words in (("users", "users"), ("concurrency", "requests under way")):
        if plan.scenario.get(name):
            return f"{load * plan.scenario[name]:,.0f} {words}"
    return f"{number(load * plan.rate_per_s)} requests/s"


def _alternative(alternative: Alternative, plan: Plan) -> str:
    value = objective_words(alternative.value, plan.solver.objective)
    digits = 0 if abs(alternative.relative) >= 0.005 else 2
    change = f"{100.0 * alternative.relative:+,.{digits}f} %".replace("-0.00 %", "+0.00 %")
    name = "" if alternative.design.startswith("Baseline-") else f" ({alternative.design})"
    # Of a plan that was simulated its alternatives were not.
    basis = ", predicted" if plan.certificate is not None else ""
    return f"{value} ({change}{basis}): {alternative.pools}{name}"


def _is_energy_asked_for(plan: Plan) -> bool:
    """Whether the scenario says anything of electricity."""
    fields = ("region", "electricity_usd_per_kwh", "pue")
    usual = Scenario().dump()
    return plan.solver.objective == "carbon" or any(
        name in plan.scenario and plan.scenario[name] != usual[name] for name in fields
    )


def _energy(energy: EnergyUse) -> str:
    places = "; ".join(
        f"{'' if len(energy.sites) == 1 else f'{s.site}: '}{s.region}, {s.carbon_g_per_kwh:g} g/kWh of "
        f"{s.carbon_date.year}, ${s.usd_per_kwh:g}/kWh, PUE {s.pue:g}"
        for s in energy.sites
    )
    return (
        f"{number(energy.energy_kwh_per_hour, 3)} kWh/h at the expected draw, "
        f"{format_money(energy.cost_usd_per_hour)}/h of electricity, which a rent contains, "
        f"{number(energy.carbon_kg_per_hour, 3)} kg CO2e/h ({places})"
    )


def _small_money(usd: float) -> str:
    return format_money(usd) if usd >= 0.095 else f"${number(usd, 2)}"
