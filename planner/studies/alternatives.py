"""Plans nearly as good as the best one: other mixes, fewer machine types, fewer pools, least change from what is owned.

A mix is the set of machine types by role. Of the plans within so much of the best, those are looked for whose mixes
differ: no mix listed has all pools of one that is better. They are found by forbidding, one after the other, each pool
of a plan that was found, which leaves out no other mix.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.errors import InfeasibleError, NoPlanFoundError, ScenarioError
from planner.planning.record import NOT_SIMULATED, plan_of
from planner.planning.search import Solution, best_or_none, solve_problem
from planner.scenario.changes import budget, setting, supposing
from planner.scenario.machines import owned_machines, wanted_machines
from planner.scenario.opened import CatalogLike, ScenarioLike, ask
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed
from planner.scenario.scenario import ALL_MACHINES
from planner.studies.alternatives_result import AlternativePlan, Alternatives
from planner.studies.frontier_axes import measured
from planner.studies.head import head_of_plans
from planner.studies.rows import ROLES, latencies, pools_text
from planner.units import FRACTION, UnitError, parse

OBJECTIVES = ("cost", "power", "machines")
WITHIN = 0.05
MOST = 8
_MOST_TRIED = 60  # sets of machine types solved for, where not all mixes are known
_SAME = 1e-9  # relative, within which two values are one

Mix = frozenset[tuple[str, str]]  # (role, machine)


@dataclass
class _Walk:
    """What is common to all solves, and what was found."""

    problem: Problem
    name: str
    progress: Progress
    solves: int = 0
    found: dict[int, tuple[Solution, list[str]]] = field(default_factory=dict)

    def solved(self, problem: Problem, what: str, forbidden: Collection[tuple[str, str]] = ()) -> Solution | None:
        """The best plan without pools of some roles and machines; None if there is none."""
        self.solves += 1
        self.progress(f"{self.solves} solves, {what}")
        return best_or_none(problem, forbidden=forbidden)

    def value(self, solution: Solution) -> float:
        return measured(solution, self.problem.limits.spares, self.name)

    def counts(self, solution: Solution) -> Counter[str]:
        """Machines bought or owned, by type, spares included."""
        total: Counter[str] = Counter()
        for member in solution.members:
            total[member.configuration.machine.name] += member.count + self.problem.limits.spares
        return total

    def keep(self, solution: Solution, reason: str) -> None:
        """List a plan, or give one that is listed a further reason."""
        for other, reasons in self.found.values():
            if _same(other, solution):
                if reason not in reasons:
                    reasons.append(reason)
                return
        self.found[len(self.found)] = (solution, [reason])


def alternatives(
    scenario: ScenarioLike | None = None,
    *,
    within: str | float = WITHIN,
    owned: Mapping[str, int] | None = None,
    most: int = MOST,
    verify: bool = False,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Alternatives:
    """Find plans nearly as good as the best: what else could be bought for about the same.

    Parameters
    ----------
    scenario, catalog, **fields
        As in `optimize`; the objective must be cost, power or machines.
    within : str or float
        How much above the best a plan may be: `5 %`.
    owned : mapping of str to int, optional
        Machines that are there already, by type: the plan that needs the fewest machines beyond them is looked for too.
    most : int
        Most mixes to list.
    verify : bool
        Whether to simulate every plan, and to correct those that fail: each is then the best of its mix that
        simulation confirms, and those that this puts beyond the range are left out, which is noted.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Alternatives
        The best plan, then: other mixes, the fewest machine types, the fewest pools, and the least change from what is
        owned, within the range and at any cost. An interruption (Ctrl-C) after the best plan keeps those that are done.

    Raises
    ------
    InputError
        Something in the scenario, trace or catalog is wrong; a range that makes no sense; an unknown machine owned.
    InfeasibleError
        There is no plan at all; says what collides and the nearest relaxation that works.
    NoPlanFoundError
        A time limit passed before the best plan was found.
    """
    share, own = _fraction(within), dict(owned or {})
    if most < 1:
        raise ScenarioError("at least one mix is listed", where="most", value=most)
    asked = ask(scenario, catalog, {**fields, "verify": verify})
    name = asked.scenario.objective
    if name not in OBJECTIVES:
        raise ScenarioError(
            f"alternatives of most or least {name} are not looked for", where="objective",
            rule=f"one of {', '.join(OBJECTIVES)}",
        )  # fmt: skip
    machines = wanted_machines(asked.scenario)
    own = owned_machines(own, asked.catalog, machines)
    if ALL_MACHINES not in machines:
        machines = tuple(dict.fromkeys([*machines, *own]))
    problem = asked.with_fields(machines=machines).resolved()
    search = _Walk(problem, name, progress, solves=1)
    predicted = changed(problem, setting(verify=False))
    best = solve_problem(predicted, progress)
    search.keep(best, "best")
    near = changed(problem, budget(name, search.value(best) * (1.0 + share)))
    complete, every, ends = True, False, ""
    try:
        every = _other_mixes(search, near, best, most)
        _fewest_types(search, near, every)
        _fewest_pools(search, near, best)
        if own:
            _least_change(search, near, best, own, share)
        ends = f"all mixes within {100 * share:.3g} %" if every else f"{most} mixes, as many as were asked for"
    except KeyboardInterrupt:
        complete, ends = False, "interrupted: plans may be missing"
    except NoPlanFoundError:
        complete, ends = False, "the solver's time limit passed before another plan was found"
    notes: list[str] = []
    if verify and complete:
        try:
            best, notes = _proven(search, best, share)
        except KeyboardInterrupt:
            complete, ends = False, "interrupted: plans may be missing, and not all are simulated"
    progress("predicting percentiles")
    plans = _sorted(search, own, search.value(best))
    whole = [p.plan for p in plans]
    head = head_of_plans(problem, whole)
    return Alternatives(
        **head | {"notes": [*head["notes"], *notes]},
        verified="as each plan says" if verify else NOT_SIMULATED,
        objective=name,  # type: ignore[arg-type]
        within_fraction=share,
        owned=own,
        all_mixes=every,
        complete=complete and all(p.status == "optimal" for p in plans),
        ends=ends,
        solves=search.solves,
        plans=plans,
    )


def _proven(search: _Walk, best: Solution, share: float) -> tuple[Solution, list[str]]:
    """Put in the place of each plan the best of its mix that simulation confirms; the best, and what that leaves out.

    What was asked for by another reason than its mix (machines owned, a number of pools) stays bound by it only in that
    its mix is.
    """
    from planner.planning.certify import certified  # here, for who does not simulate need not load what does

    solved: dict[Mix, Solution] = {}
    listed, notes = list(search.found.values()), []
    search.found.clear()
    proven = certified(search.problem, search.progress)
    search.keep(proven, "best")
    top = search.value(proven)
    for n, (solution, reasons) in enumerate(listed, 1):
        mix = _mix(solution)
        reasons = [reason for reason in reasons if reason not in ("best", "another mix")]
        if mix != _mix(proven):
            reasons.insert(0, "another mix")
        search.progress(f"simulating plan {n} of {len(listed)}")
        try:
            if mix not in solved:
                solved[mix] = proven if mix == _mix(proven) else certified(search.problem, search.progress, mix=mix)
        except InfeasibleError:
            notes.append(f"no plan of {_said(mix)} passes simulation")
            continue
        found = solved[mix]
        if search.value(found) > top * (1.0 + share) * (1.0 + _SAME) and "beyond" not in " ".join(reasons):
            notes.append(
                f"{_said(mix)}: {100 * (search.value(found) / top - 1):.1f} % above the best once it is simulated"
            )
            continue
        for reason in reasons:
            search.keep(found, reason)
    return proven, notes


def _said(mix: Mix) -> str:
    return " + ".join(f"{machine} {role}" for role, machine in sorted(mix))


def _fraction(within: str | float) -> float:
    try:
        share = parse(within, FRACTION)
    except UnitError as error:
        raise error.at("within") from None
    if not 0 <= share <= 1:
        raise ScenarioError(
            "a range that makes no sense",
            where="within",
            value=within,
            rule="from 0 % to 100 %",
            fix="write it like 5 %",
        )
    return share


def _same(a: Solution, b: Solution) -> bool:
    def pools(solution: Solution) -> list[tuple[str, str, int]]:
        return sorted((m.role, m.configuration.label, m.count) for m in solution.members)

    return pools(a) == pools(b)


def _mix(solution: Solution) -> Mix:
    return frozenset((m.role, m.configuration.machine.name) for m in solution.members)


def _types(mix: Iterable[tuple[str, str]]) -> set[str]:
    return {machine for _, machine in mix}


def _other_mixes(search: _Walk, near: Problem, best: Solution, most: int) -> bool:
    """List the best plans of mixes that contain none listed before; whether those are all within the range.

    Notes
    -----
    A plan of a mix that does not contain the best one lacks one of its pools. So for each of these the best plan
    without it is found, and so on from those: every mix has a branch on which no pool of its own is forbidden, and the
    plan found at the end of that is made of its pools and no dearer.
    """
    listed: list[Mix] = []
    seen: set[Mix] = {frozenset()}
    order = itertools.count()
    heap: list[tuple[float, int, Mix, Solution]] = [(search.value(best), next(order), frozenset(), best)]
    while heap:
        _, _, forbidden, solution = heapq.heappop(heap)
        mix = _mix(solution)
        if not any(mix >= other for other in listed):
            if len(listed) == most:
                return False
            if listed:
                search.keep(solution, "another mix")
            listed.append(mix)
        for item in sorted(mix):
            without = forbidden | {item}
            if without in seen:
                continue
            seen.add(without)
            what = "without " + ", ".join(f"{role} {machine}" for role, machine in sorted(without))
            found = search.solved(near, what, without)
            if found is not None:
                heapq.heappush(heap, (search.value(found), next(order), without, found))
    return True


def _fewest_types(search: _Walk, near: Problem, every: bool) -> None:
    """The plan of the fewest machine types.

    Where all mixes are known it is one of them: a plan has the pools of a listed mix at least, which costs no more.
    Else sets of types are tried, as long as there are not too many.
    """
    found = list(search.found.values())
    fewest = min(len(_types(_mix(solution))) for solution, _ in found)
    if not every:
        names = [machine.name for machine in search.problem.machines]
        for k in range(1, fewest):
            if math.comb(len(names), k) > _MOST_TRIED:
                return  # nothing is claimed
            tried = [
                search.solved(
                    near, f"{' and '.join(chosen)} only", {(r, n) for r in ROLES for n in names if n not in chosen}
                )
                for chosen in itertools.combinations(names, k)
            ]
            plans = [solution for solution in tried if solution is not None]
            if plans:
                search.keep(min(plans, key=search.value), "fewest machine types")
                return
    candidates = [(search.value(s), i) for i, (s, _) in search.found.items() if len(_types(_mix(s))) == fewest]
    search.found[min(candidates)[1]][1].append("fewest machine types")


def _but_for(chosen: Collection[str], names: Iterable[str]) -> set[tuple[str, str]]:
    """Pools of all machines but some, in any role."""
    return {(role, name) for role in ROLES for name in names if name not in chosen}


def _fewest_pools(search: _Walk, near: Problem, best: Solution) -> None:
    """The plan of the fewest pools: one, or two, and so on until there is one."""
    for k in range(1, len(best.members)):
        given = near.limits.max_pools
        if given is not None and k > given:
            break
        found = search.solved(changed(near, setting(max_pools=k)), f"{k} pool{'s' if k > 1 else ''}")
        if found is not None:
            search.keep(found, "fewest pools")
            return
    search.keep(best, "fewest pools")


def _least_change(search: _Walk, near: Problem, best: Solution, owned: Mapping[str, int], share: float) -> None:
    """The plans that need the fewest machines beyond those owned: within the range, and at any cost."""
    within = _least_bought(search, near, best, owned)
    search.keep(within[1], "least change from what is owned")
    if within[0] > 0:
        anywhere = _least_bought(search, search.problem, within[1], owned)
        if anywhere[0] < within[0]:
            search.keep(anywhere[1], f"least change from what is owned, beyond {100 * share:.3g} %")


def _least_bought(search: _Walk, problem: Problem, known: Solution, owned: Mapping[str, int]) -> tuple[int, Solution]:
    """Fewest machines beyond those owned, by halving, and the best plan with so many."""

    def posed(most: int) -> Problem:
        return changed(problem, supposing(owned=dict(owned), max_bought=most))

    high = sum(_beyond(search.counts(known), owned).values())
    found = search.solved(posed(high), f"at most {high} machines bought") or known
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        tried = search.solved(posed(middle), f"at most {middle} machines bought")
        if tried is None:
            low = middle
        else:
            found, high = tried, sum(_beyond(search.counts(tried), owned).values())
    return high, found


def _beyond(counts: Mapping[str, int], owned: Mapping[str, int]) -> dict[str, int]:
    """Machines of each type in the first beyond those in the second."""
    return {m: n - owned.get(m, 0) for m, n in sorted(counts.items()) if n > owned.get(m, 0)}


def _sorted(search: _Walk, owned: Mapping[str, int], best: float) -> list[AlternativePlan]:
    rows = [_row(search, s, reasons, owned, best) for s, reasons in search.found.values()]
    return rows[:1] + sorted(rows[1:], key=lambda row: row.value)


def _row(
    search: _Walk, solution: Solution, reasons: list[str], owned: Mapping[str, int], best: float
) -> AlternativePlan:
    plan = plan_of(search.problem, solution)
    value, counts = search.value(solution), search.counts(solution)
    bought, idle = _beyond(counts, owned), _beyond(owned, counts)
    prices = {m.configuration.machine.name: m.configuration.price for m in solution.members}
    costs = [prices[machine] for machine in bought]
    late = latencies(plan)
    return AlternativePlan(
        reasons=reasons,
        value=value,
        relative=0.0 if abs(value - best) <= _SAME * best else value / best - 1.0,
        status="optimal" if solution.selection.status == "optimal" else "limit",
        design=plan.design,
        pools=pools_text(plan) or "",
        n_pools=len(plan.pools),
        n_machine_types=len(counts),
        machines=plan.machines,
        cost_usd_per_hour=plan.cost_usd_per_hour,
        power_w=plan.power_w,
        rack_units=plan.rack_units,
        bought=_listed(bought),
        n_bought=sum(bought.values()),
        cost_of_bought_usd_per_hour=None
        if None in costs
        else math.fsum(p.usd_per_hour * n for p, n in zip(costs, bought.values(), strict=True) if p is not None),
        idle=_listed(idle),
        n_idle=sum(idle.values()),
        verified=plan.verified,
        ttft_p99_s=late["ttft_p99_s"],
        tbt_p99_s=late["tbt_p99_s"],
        e2e_p99_s=late["e2e_p99_s"],
        plan=plan,
    )


def _listed(counts: Mapping[str, int]) -> str:
    return " + ".join(f"{n} x {machine}" for machine, n in counts.items())
