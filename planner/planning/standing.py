"""Why each machine is in a plan, or is not: the one line that stands under a plan, and what `planner why` begins with.

What a machine would do is found by enumeration: its best plan alone, or with one machine of the plan beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.catalog.schema import Machine
from planner.catalog.validation import one_line
from planner.errors import CatalogError, DoesNotFitError, InputError, ObjectiveUnreachableError, PlannerError
from planner.optimization.selection import Simple
from planner.planning.designs import best_of, enumerate_designs
from planner.planning.infeasible import unreachable
from planner.planning.plan import Standing
from planner.planning.reuse import candidates_of
from planner.pools.candidate import Candidate
from planner.pools.configuration import Configuration, is_enough
from planner.pools.design import Design
from planner.pools.limits import BUDGETS, Limits, ObjectiveOrWeights, objective_words
from planner.scenario.machines import FEWEST_IN_MACHINE, MOST_FOR_ONE, is_open, newest_rented, wanted_machines
from planner.scenario.resolve import Problem, configurations_on
from planner.scenario.scenario import ALL_MACHINES, CURRENT_MACHINES
from planner.units import format_money

ANY = Design("auto", True, True)
_SAME = 1e-9


@dataclass(frozen=True)
class Chosen:
    """The plan that machines are held against.

    Attributes
    ----------
    counts : mapping of str to int
        Machines of each type, spares included.
    value : float
        Of the objective.
    refused : mapping of str to str
        Machine -> what simulation found in a better plan with it.
    """

    counts: Mapping[str, int]
    value: float
    refused: Mapping[str, str]


def named_machines(problem: Problem) -> list[str]:
    """Machines that the user named one by one, or as part of a design."""
    wanted = [*wanted_machines(problem.scenario), *problem.design.machines]
    return [name for name in dict.fromkeys(wanted) if name not in (ALL_MACHINES, CURRENT_MACHINES)]


def standings(
    problem: Problem, chosen: Chosen, names: Sequence[str], top_rate_per_s: float, *, paired: bool = True
) -> list[Standing]:
    """Say of each machine why it is in a plan, or why not.

    Parameters
    ----------
    problem : Problem
    chosen : Chosen
    names : sequence of str
        Machines of the catalog, considered or not.
    top_rate_per_s : float
        Largest rate that a pool could be asked for [requests/s].
    paired : bool
        Whether plans that split the phases between a machine and one of the plan are looked at too; without, one
        that is not in the plan is judged by its best plan alone, in mixed pools where the design has them.

    Returns
    -------
    list of Standing
        In the order of `names`.
    """
    return [_standing(problem, chosen, name, top_rate_per_s, paired) for name in names]


def _standing(problem: Problem, chosen: Chosen, name: str, top_rate_per_s: float, paired: bool) -> Standing:
    if name in {*chosen.counts, *map(_single(problem), chosen.counts)}:
        n = sum(count for key, count in chosen.counts.items() if name in (key, _single(problem)(key)))
        return Standing(machine=name, status="chosen", reason=f"chosen: {n:,} of them", machines=n)
    try:
        machine = _machine(problem, name)
        some, none = configurations_on(problem, machine)
    except InputError as error:
        return Standing(machine=name, status="broken", reason=f"its entry cannot be used: {one_line(error)}")
    if not some:
        return _unfit(problem, machine, none[0].error)
    absent = _why_not_considered(problem, machine)
    needs_price = problem.scenario.objective == "cost" or problem.limits.max_cost_usd_per_hour is not None
    priced = some[0].price is not None
    objective: ObjectiveOrWeights = problem.scenario.objective if priced or not needs_price else "machines"
    without = Limits(spares=problem.limits.spares)
    limits = problem.limits if problem.scenario.objective == "throughput" else without
    found = list(_plans(problem, chosen, machine, some, objective, limits, top_rate_per_s, paired))
    if not found:
        return _out_of_reach(problem, name, some, absent)
    best = best_of(found, problem, objective)
    assert best is not None
    return _compared(problem, chosen, machine, best, found, objective, absent)


def _single(problem: Problem) -> Callable[[str], str]:
    """The machine that each considered group is of; other names as they are."""
    of = {m.name: m.single_name for m in problem.machines}
    return lambda name: of.get(name, name)


def _machine(problem: Problem, name: str) -> Machine:
    """A machine as it is considered, in its group; else as the catalog has it."""
    for machine in problem.machines:
        if name in (machine.single_name, machine.name):
            return machine
    return problem.catalog.machine(name, where="TARGET")


def _unfit(problem: Problem, machine: Machine, error: PlannerError) -> Standing:
    """A machine that no layout of the model runs on."""
    value = "" if error.value is None else f": {error.value}"
    reason = f"{error.what}{value}"
    if not isinstance(error, DoesNotFitError):
        kind = "unsupported" if isinstance(error, CatalogError) else "does_not_fit"
        takes = [error.fix] if error.fix else []
        return Standing(machine=machine.name, status=kind, reason=reason, would_take=takes)
    takes = ["a lower --precision or --kv-precision"]
    accelerator = problem.catalog.accelerator_of(machine)
    if machine.group == 1 and machine.n_accelerators >= FEWEST_IN_MACHINE:
        for n in range(2, MOST_FOR_ONE + 1):
            if is_enough(machine.in_groups_of(n), accelerator, problem.serving):
                takes.append(f"one replica on {n} of them: --machine {machine.name} alone")
                break
    return Standing(machine=machine.name, status="does_not_fit", reason=reason, would_take=takes)


def _why_not_considered(problem: Problem, machine: Machine) -> tuple[str, str, str] | None:
    """Status, reason and remedy of a machine that was left out before anything was computed; None if it was not."""
    name = machine.single_name
    if any(m.single_name == name for m in problem.machines):
        return None
    wanted = wanted_machines(problem.scenario)
    if problem.limits.most_of(name) < machine.group:
        return "no_stock", "its stock is zero (--max-machines)", "a stock of it"
    if problem.design.machines and name not in problem.design.machines:
        return "not_named", f"the design {problem.design.name} is not made of it", "--design auto"
    if not is_open(wanted) and name not in wanted:
        return "not_named", "other machines were named (--machine)", f"--machine {name}"
    price = problem.catalog.price_of(machine.name, problem.scenario.prices)
    if price is None:
        return "no_price", "no price book lists it", "a price of it"
    newest = newest_rented(problem.catalog, problem.scenario.prices)
    if ALL_MACHINES not in wanted and newest is not None:
        return "old_price", f"its price of {price.date} is more than a year older than the newest ({newest})", (
            f"--machine {name}, or a price of today"
        )  # fmt: skip
    if problem.limits.max_rack_units is not None and machine.rack_units is None:
        return "unknown", "its rack units are not known, and they are limited", "its rack units in the catalog"
    return "unknown", "it was not considered", f"--machine {name}"


def _plans(
    problem: Problem,
    chosen: Chosen,
    machine: Machine,
    some: Sequence[Configuration],
    objective: ObjectiveOrWeights,
    limits: Limits,
    top_rate_per_s: float,
    paired: bool,
) -> Iterator[Simple]:
    """The best plans that have a machine: alone, and beside each machine of the plan."""
    design = ANY if problem.design.machines else problem.design
    if design.mixed:
        mixed = candidates_of(problem, some, top_rate_per_s, design=Design("baseline", True, False))
        yield from enumerate_designs(mixed, problem, limits, objective).values()
    if not design.split or not (paired or not design.mixed):
        return
    name = machine.name
    for other in [name, *(n for n in chosen.counts if n != name)]:
        beside: list[Configuration] = []
        if other != name:
            partner = _machine(problem, other)
            beside, _ = configurations_on(problem, partner)
            if objective == "cost" and any(c.price is None for c in beside):
                continue
        pairs = {(name, other), (other, name)}
        pool: list[Candidate] = candidates_of(
            problem, [*some, *beside], top_rate_per_s, design=Design("splitwise", False, True), pairs=pairs
        )
        for simple in enumerate_designs(pool, problem, limits, objective).values():
            if any(c.configuration.machine.name == name for c, _ in simple.pools):
                yield simple


def _out_of_reach(
    problem: Problem, name: str, some: Sequence[Configuration], absent: tuple[str, str, str] | None
) -> Standing:
    """A machine no pool of which meets the objectives."""
    error = unreachable(problem, some)
    also = f"; besides, {absent[1]}" if absent else ""
    if isinstance(error, ObjectiveUnreachableError):
        lines = [line.strip() for line in str(error.value).splitlines()]
        return Standing(
            machine=name, status="unreachable", reason=f"out of reach: {'; '.join(lines)}{also}",
            would_take=[_relaxed(line) for line in lines],
        )  # fmt: skip
    value = "" if error.value is None else f": {error.value}"
    status = "does_not_fit" if isinstance(error, DoesNotFitError) else "unreachable"
    takes = [error.fix] if error.fix else []
    what = error.what.replace("of no machine considered", "of none of its layouts")
    return Standing(machine=name, status=status, reason=f"{what}{value}{also}", would_take=takes)


def _relaxed(line: str) -> str:
    """`TTFT p99 <= 1.00 s: at best 1.31 s, unloaded, on ...` as what to ask for instead."""
    label, _, rest = line.partition(" <= ")
    return f"{label} of more than {rest.partition('at best ')[2].partition(',')[0]}"


def _compared(
    problem: Problem,
    chosen: Chosen,
    machine: Machine,
    best: Simple,
    found: Collection[Simple],
    objective: ObjectiveOrWeights,
    absent: tuple[str, str, str] | None,
) -> Standing:
    """A machine that could serve, held against the plan."""
    spares, name = problem.limits.spares, machine.name
    pools = " + ".join(f"{n + spares:,} x {c.configuration.machine.name} {c.role}" for c, n in best.pools)
    throughput = problem.scenario.objective == "throughput"
    comparable = objective == problem.scenario.objective
    own = best.rate_per_s if throughput else best.objective
    relative = own / chosen.value - 1.0 if comparable and chosen.value else None
    words = objective_words(own, problem.scenario.objective) if comparable else ""
    best_plan = f"{pools}{f', {words}' if words else ''}"
    over = _over_limits(best, problem.limits)
    n_own = sum(n + spares for c, n in best.pools if c.configuration.machine.name == name)
    takes: list[str] = []
    wins_below = _price_to_win(found, name, chosen.value, spares) if problem.scenario.objective == "cost" else None
    price = next((c.configuration.price for c, _ in best.pools if c.configuration.machine.name == name), None)
    if wins_below is not None and 0 < wins_below < (math.inf if price is None else price.usd_per_hour):
        takes.append(f"a price below {format_money(wins_below)}/h a machine")
    if absent is not None:
        status, reason, remedy = absent
        takes = [remedy, *takes] if status != "no_price" else takes or [remedy]
        reason = f"{reason}; its best plan would be {best_plan}{_against(relative)}"
    elif over:
        status, reason = "limits", f"its best plan is {best_plan}, beyond {over}"
        takes = [over.replace(" of ", " higher than ", 1), *takes]
    elif relative is not None and not throughput and relative <= _SAME and name in chosen.refused:
        status, reason = "refused", f"{best_plan} is refused by simulation: {chosen.refused[name]}"
    elif relative is not None and abs(relative) <= _SAME:
        status, reason = "equal", f"as good: {best_plan}"
    elif relative is not None and (relative < 0) != throughput:
        status, reason = (
            "near",
            f"by the formulas {best_plan} is {100 * abs(relative):.3g} % better; simulation decides",
        )
    else:
        worse = f"{100 * abs(relative or 0.0):.3g} %"
        word = {"cost": "dearer", "throughput": "less load"}.get(problem.scenario.objective, "more")
        status, reason = "dearer", f"{word} by {worse}: {best_plan}"
    return Standing(
        machine=name, status=status, reason=reason, pools=pools, machines=n_own, value=own if comparable else None,
        relative=relative, wins_below_usd_per_hour=wins_below, would_take=takes,
    )  # fmt: skip


def _against(relative: float | None) -> str:
    return "" if relative is None else f" ({100 * relative:+.3g} % against the plan)"


def _over_limits(simple: Simple, limits: Limits) -> str:
    """The first limit that a plan does not keep, as it was given; empty where it keeps all."""
    bought = [(c, n + limits.spares) for c, n in simple.pools]
    for budget in BUDGETS:
        most = getattr(limits, budget.field)
        if most is not None:
            taken = math.fsum(budget.of_machine(c.configuration) * n for c, n in bought)
            if taken > most * (1 + 1e-9):
                return f"--{budget.name.replace('_', '-')} of {budget.words(most)}"
    for stock, most in limits.max_machines.items():
        if sum(limits.weight(stock, c.configuration.machine.name) * n for c, n in bought) > most:
            return f"--max-machines of {stock}={most}"
    if limits.max_pools is not None and len(bought) > limits.max_pools:
        return f"--max-pools of {limits.max_pools}"
    return ""


def _price_to_win(found: Collection[Simple], name: str, value: float, spares: int) -> float | None:
    """Price of one machine at which the best of some plans with it costs as much as the chosen one [USD/h].

    The most over these plans of (C - cost of the others) / number of it: a plan's cost is a line over the price.
    """
    prices = []
    for simple in found:
        own = sum(n + spares for c, n in simple.pools if c.configuration.machine.name == name)
        rest = [(c.configuration.price, n + spares) for c, n in simple.pools if c.configuration.machine.name != name]
        if any(price is None for price, _ in rest):
            continue
        prices.append((value - math.fsum(p.usd_per_hour * n for p, n in rest if p is not None)) / own)
    return max(prices, default=None)
