"""A scenario with its names resolved: catalog entries, traffic, limits and machines, ready to plan with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.catalog.catalog import Catalog
from planner.catalog.schema import KvTransferCosts, Llm, Machine, Runtime
from planner.economics.energy import ElectricitySupply, electricity_supply
from planner.engine.settings import kv_precision, settings_text, with_settings
from planner.errors import (
    DoesNotFitError,
    InfeasibleError,
    PlannerError,
    ScenarioError,
)
from planner.latency.profile import read_profile
from planner.latency.sequences import residency_of
from planner.latency.shortcuts import Shortcuts, speculating
from planner.pools.candidate import Requirement
from planner.pools.configuration import (
    Configuration,
    Rejection,
    Serving,
    configurations_of,
    configure,
    make_layout,
)
from planner.pools.design import Design, parse_design
from planner.pools.draw import with_full_draw
from planner.pools.limits import BUDGETS, Limits
from planner.pools.network import parse_network
from planner.scenario.changes import Change, other_workload, setting
from planner.scenario.load import blended, load_of
from planner.scenario.load_on_machines import most_that_clients_send, shares_that_fit
from planner.scenario.machines import consider, is_open, limits_of_groups, machines_of_kind
from planner.scenario.pricing import price_plan_notes, priced_catalog
from planner.scenario.scenario import Scenario, default_machines
from planner.serving.requests import Lane, Limit, Traffic, reference_latencies
from planner.workload.sizes import RequestSizes
from planner.workload.traces import Trace

SIZE_POINTS = 512  # points of the joint size distribution that queues are computed over
WAYS = ("overlapped", "serialised")  # of sending KV caches


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything a plan is computed from.

    Attributes
    ----------
    scenario, catalog, llm, runtime, serving, design, limits, need
        What was asked for, resolved.
    machines : tuple of Machine
        Machines considered, in name order.
    unpriced : tuple of str
        Machines left out because no price book lists them and the objective or a budget needs a price.
    sizes : RequestSizes
        Of the workload, uncompressed.
    reference : Lane or None
        What slowdowns are measured against; None where no objective is one.
    notes : tuple of str
        What a reader must know about the inputs.
    given_sizes : RequestSizes or None
        Requests taken in place of those of the scenario's workload.
    rate_words : str
        What the rate is, for a title; empty where it was asked for as it is.
    is_sized : bool
        Whether the rate of clients is that of a plan (`planning/closed_loop.py`), not the most that they can send.
    """

    scenario: Scenario
    catalog: Catalog
    llm: Llm
    runtime: Runtime
    serving: Serving
    design: Design
    limits: Limits
    need: Requirement
    machines: tuple[Machine, ...]
    unpriced: tuple[str, ...]
    sizes: RequestSizes
    reference: Lane | None
    notes: tuple[str, ...]
    given_sizes: RequestSizes | None = None
    rate_words: str = ""
    is_sized: bool = False

    @property
    def n_clients(self) -> float:
        """Users, or requests under way, in place of a rate; 0 where there is a rate."""
        return (self.scenario.users or self.scenario.concurrency or 0) * self.scenario.suppose.load


def resolve(
    scenario: Scenario,
    catalog: Catalog | None = None,
    trace: Trace | None = None,
    sizes: RequestSizes | None = None,
) -> Problem:
    """Look up every name of a scenario and apply its objectives to its traffic.

    Parameters
    ----------
    scenario : Scenario
    catalog : Catalog, optional
        Left out: the built-in one under the scenario's overlays.
    trace : Trace, optional
        The scenario's workload, where it is a file that was read before.
    sizes : RequestSizes, optional
        Requests to take in place of those of the scenario's workload.

    Raises
    ------
    InputError
        An unknown name, an unusable trace or profile, contradictory limits.
    InfeasibleError
        The reference machine of a slowdown cannot hold the model.
    """
    catalog = priced_catalog(catalog or Catalog.default(scenario.catalog), scenario)
    llm = catalog.llm(scenario.model, where="model")
    runtime = with_settings(
        catalog.runtime(scenario.runtime, where="runtime"),
        max_batch=scenario.max_batch, batched_tokens=scenario.batched_tokens, chunked=scenario.chunked,
    )  # fmt: skip
    given, supposed = sizes, scenario.suppose
    load = load_of(scenario, catalog, trace, sizes)
    for name, share in supposed.mix.items():
        other = setting(rate_per_s=load.rate_per_s, size_for="mean", day=None).then(other_workload(name))
        load = blended(load, load_of(other.applied(scenario), catalog), share)
    # What is asked of the scenario later is what it was resolved to.
    scenario = scenario.model_copy(update=load.settled)
    notes = list(load.notes)
    sizes, arrival_cv2 = load.sizes, load.arrival_cv2 * supposed.arrival_cv2
    if supposed.sizes_differ:
        sizes = sizes.scaled(supposed.prompt_tokens, supposed.output_tokens)
    profile = read_profile(scenario.profile) if scenario.profile else None
    shortcuts = _shortcuts(scenario, runtime, llm, load.prefix_cached)
    traffic = Traffic(sizes.compressed(SIZE_POINTS), arrival_cv2)
    residency = residency_of(llm, traffic.prompt_tokens + 1.0, traffic.decode_steps, traffic.weight)
    network = parse_network(scenario.network, scenario.oversubscription, catalog)
    if network is not None:
        notes.append(f"network: {network.describe()}")
    notes += [f"not read: {stray.where}: {stray.what}" for stray in catalog.strays]
    electricity = electricity_supply(catalog, scenario.region, scenario.electricity_usd_per_kwh, scenario.pue)
    electricity = electricity.scaled(pue=supposed.pue, usd_per_kwh=supposed.electricity, carbon=supposed.carbon)
    serving = Serving(
        llm, runtime, scenario.precision, scenario.kv_precision, profile, shortcuts, residency, network, electricity,
        supposed.step_times, supposed.prices, scenario.derate,
        float((sizes.prompt_tokens + sizes.output_tokens).max()),
    )  # fmt: skip
    if scenario.derate != 1.0:
        notes.append(f"servers are taken to run at {100.0 * scenario.derate:g} % of the modelled speed (--derate)")
    if any(x is not None for x in (scenario.max_batch, scenario.batched_tokens, scenario.chunked)):
        notes.append(settings_text(runtime))
    cache = kv_precision(runtime, scenario.precision, llm.kv_precision)
    if scenario.kv_precision is None and cache != llm.kv_precision:
        weights = f"{scenario.precision} weights"
        notes.append(f"KV caches are in {cache}, as {runtime.name} has them with {weights} (--kv-precision)")
    names = catalog.names(Machine)
    design = parse_design(scenario.design, names, where="design")
    _refuse_contradictions(scenario, catalog, design)
    limits = _limits(scenario, names, catalog)
    for book in scenario.prices:
        catalog.price_book(book, where="prices")
    considered = consider(scenario, catalog, design, limits, serving)
    machines, unpriced = considered.machines, considered.unpriced
    notes += considered.notes
    limits, told = limits_of_groups(limits, machines)
    notes += told
    if load.blocks is not None and scenario.prefix_cached is None:
        sought = scenario.objective == "throughput" or scenario.users or scenario.concurrency
        rate = None if sought else load.rate_per_s
        shares, note = shares_that_fit(load, rate, catalog, machines, serving, scenario.prices, traffic)
        serving = replace(serving, prefix_shares=shares)
        notes.append(note)
    notes += _shortcut_notes(serving.shortcuts)
    if scenario.objective == "carbon":
        _refuse_carbon_free(machines, electricity)
    there = {m.name for m in machines} | {m.single_name for m in machines} | set(unpriced)
    stocked = [name for name, most in limits.max_machines.items() if most > 0]
    idle = sorted(name for name in stocked if not any(limits.weight(name, m) for m in there))
    if scenario.objective == "cost" or limits.max_cost_usd_per_hour is not None:
        notes += price_plan_notes(catalog, [m.name for m in machines], scenario.prices)
    if idle:
        notes.append(f"a stock is given for machines that are not considered: {', '.join(idle)}")
    rate_per_s = load.rate_per_s
    n_clients = (scenario.users or scenario.concurrency or 0) * supposed.load
    if n_clients:
        rate_per_s = most_that_clients_send(
            n_clients, scenario.think_time_s or 0.0, catalog, machines, serving, traffic
        )
    reference = _reference(scenario, catalog, serving) if any(o.slowdown is not None for o in scenario.slo) else None
    alone = reference_latencies(reference, traffic) if reference else {}
    ones = np.ones_like(traffic.weight)
    need = Requirement(
        rate_per_s=rate_per_s,
        traffic=traffic,
        limits=tuple(Limit(o, alone[o.metric] if o.slowdown is not None else ones) for o in scenario.slo),
        most_busy=scenario.max_utilisation,
        kv_transfer=_kv_transfer(scenario, runtime),
        n_layers=llm.n_layers,
        longest_prompt_tokens=float(sizes.prompt_tokens.max()),
        longest_request_tokens=float((sizes.prompt_tokens + sizes.output_tokens).max()),
        all_sizes=sizes,
    )
    longest = need.longest_request_tokens
    if longest > llm.max_context_tokens:
        notes.append(
            f"the longest requests ({longest:,.0f} tokens) exceed the context {llm.name} was made for "
            f"({llm.max_context_tokens:,} tokens)"
        )
    return Problem(
        scenario, catalog, llm, runtime, serving, design, limits, need, machines, unpriced, sizes, reference,
        tuple(notes), given, load.words,
    )  # fmt: skip


def changed(problem: Problem, change: Change) -> Problem:
    """The problem of the scenario with something changed; the same if nothing is.

    Raises
    ------
    PlannerError
        As `resolve`.
    """
    scenario = change.applied(problem.scenario)
    return problem if scenario == problem.scenario else resolve(scenario, problem.catalog, sizes=problem.given_sizes)


def configurations(problem: Problem) -> tuple[list[Configuration], list[Rejection]]:
    """Every layout of the model on every machine considered; raises if there is none at all.

    Raises
    ------
    DoesNotFitError
        The model fits no machine, with the byte counts of each.
    """
    found: list[Configuration] = []
    rejected: list[Rejection] = []
    for machine in problem.machines:
        some, none = configurations_on(problem, machine)
        found += some
        rejected += none if not some else []
    if not found:
        raise _nothing_fits(problem, rejected)
    return found, rejected


def configurations_on(problem: Problem, machine: Machine) -> tuple[list[Configuration], list[Rejection]]:
    """Every layout of the model on one machine, which need not be among those considered; and why there is none."""
    found, rejected = configurations_of(problem.catalog, machine, problem.serving, problem.scenario.prices)
    return [with_full_draw(c, problem.need.traffic, problem.llm, problem.runtime) for c in found], rejected


def _nothing_fits(problem: Problem, rejected: Sequence[Rejection]) -> PlannerError:
    if len(rejected) == 1:
        return rejected[0].error
    lines = "\n         ".join(f"{r.machine}: {r.error.what}: {r.error.value}" for r in rejected)
    kind = DoesNotFitError if all(isinstance(r.error, DoesNotFitError) for r in rejected) else InfeasibleError
    return kind(
        f"{problem.llm.name} can be served on none of the {len(rejected)} machines considered",
        where="machines",
        value=lines,
        fix="add larger machines with --machine, or lower --precision",
    )


def _shortcuts(scenario: Scenario, runtime: Runtime, llm: Llm, cached: float) -> Shortcuts:
    def chosen(wanted: float | None, otherwise: float) -> float:
        return otherwise if wanted is None else wanted

    spared = chosen(scenario.prefix_cached, cached)
    if scenario.speculate is not None:
        if scenario.tokens_per_step is not None or scenario.draft_tokens is not None:
            raise ScenarioError(
                "two ways to say how many tokens a step drafts and yields", where="speculate",
                rule="speculate with acceptance, or draft_tokens with tokens_per_step", fix="leave one of them out",
            )  # fmt: skip
        return speculating(llm, scenario.speculate, scenario.acceptance, spared)
    if scenario.acceptance is not None:
        raise ScenarioError(
            "there are no draft tokens to accept", where="acceptance", value=f"{scenario.acceptance:g}",
            fix="say how many a step drafts: --speculate 1",
        )  # fmt: skip
    return Shortcuts(
        spared,
        chosen(scenario.tokens_per_step, runtime.tokens_per_step),
        int(chosen(scenario.draft_tokens, runtime.draft_tokens)),
    )


def _shortcut_notes(shortcuts: Shortcuts) -> list[str]:
    notes = []
    if shortcuts.prefix_cached:
        notes.append(f"{100 * shortcuts.prefix_cached:.3g} % of the tokens of every prompt are taken as cached")
    if shortcuts.draft_tokens:
        notes.append(
            f"each sequence is taken to get {shortcuts.tokens_per_step:.3g} of the {shortcuts.rows} tokens that a "
            "decode step computes for it"
        )
    return notes


def _kv_transfer(scenario: Scenario, runtime: Runtime) -> KvTransferCosts:
    way = scenario.suppose.kv_transfer
    return runtime.kv_transfer if way is None else runtime.kv_transfer.model_copy(update={"overlapped": way == WAYS[0]})


def limits_of(scenario: Scenario, kinds: Mapping[str, Mapping[str, int]] | None = None) -> Limits:
    """Budgets, stock and spares of a scenario; `kinds` says what machines take of stocks in accelerators."""
    return Limits(
        **{budget.field: getattr(scenario, budget.field) for budget in BUDGETS},
        max_machines=dict(scenario.max_machines),
        kinds=kinds or {},
        max_pools=scenario.max_pools,
        spares=scenario.spares,
        owned=scenario.suppose.owned,
        max_bought=scenario.suppose.max_bought,
    )


def has_budget(scenario: Scenario) -> bool:
    """Whether anything in a scenario bounds the size of a plan."""
    return limits_of(scenario).any_budget


def _limits(scenario: Scenario, names: Sequence[str], catalog: Catalog) -> Limits:
    stocks = [stock for stock in scenario.max_machines if stock not in names]
    limits = limits_of(scenario, {stock: machines_of_kind(stock, catalog, where="max_machines") for stock in stocks})
    if scenario.objective == "throughput" and not limits.any_budget:
        raise ScenarioError(
            "throughput needs something that bounds it",
            where="objective",
            rule="the largest throughput is that of a given budget or stock",
            fix="add --max-cost, --max-power, --max-total-machines or --max-machines",
        )
    return limits


def _refuse_contradictions(scenario: Scenario, catalog: Catalog, design: Design) -> None:
    """Refuse fields that say different things, or one that cannot apply: none of them is ignored."""
    left_out = [name for name in design.machines if name not in scenario.machines]
    if left_out and scenario.machines != default_machines() and not is_open(scenario.machines):
        raise ScenarioError(
            f"{scenario.design} is made of {', '.join(left_out)}, which is not among the machines to consider",
            where="design", value=f"machines: {', '.join(scenario.machines)}",
            fix=f"add --machine {left_out[0]}, or name another design",
        )  # fmt: skip
    reference = catalog.machine(scenario.reference_machine, where="reference_machine").name
    is_default = reference == Scenario.model_fields["reference_machine"].default
    if not is_default and all(o.slowdown is None for o in scenario.slo):
        raise ScenarioError(
            "a reference machine is named, and no objective is a slowdown", where="reference_machine", value=reference,
            rule="slowdowns such as ttft.p50=2x are measured against it",
            fix="leave it out, or state an objective in x",
        )  # fmt: skip


def _refuse_carbon_free(machines: Sequence[Machine], electricity: ElectricitySupply) -> None:
    free = sorted({m.site for m in machines if electricity.at(m.site).carbon_g_per_kwh <= 0})
    if free:
        raise ScenarioError(
            f"the electricity of site {', '.join(free)} emits nothing, so carbon does not tell plans apart",
            where="region",
            rule="the objective carbon needs electricity that emits something at every site considered",
            fix="use --objective power, or --objective cost",
        )


def _reference(scenario: Scenario, catalog: Catalog, serving: Serving) -> Lane:
    """A lane of the reference machine, all its accelerators on one replica."""
    machine = catalog.machine(scenario.reference_machine, where="reference_machine")
    degree = 2 ** (machine.n_accelerators.bit_length() - 1)
    while degree > 1 and not serving.llm.divides_heads(degree):
        degree //= 2
    try:
        configuration = configure(catalog, machine, serving, make_layout(machine, serving, degree))
    except PlannerError as error:
        error.what = f"slowdowns cannot be measured against {machine.name}: {error.what}"
        error.fix = "choose a larger --reference-machine, or give absolute limits such as ttft=1s"
        raise
    return configuration.lane
