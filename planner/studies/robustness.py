"""How a cluster takes what it was not planned for, and what it would take to be whole again.

Each mishap is asked four questions. Does the cluster, its machines in the roles they were bought for, still meet the
objectives? What load does it carry within them? What could the same machines carry in other roles? And which are the
cheapest machines to add so that, in free roles, the load is carried?
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.errors import InfeasibleError, ScenarioError
from planner.planning.certificate import SimulatedObjective, simulated_objectives
from planner.planning.evaluate import evaluate_cluster, members_and_routes
from planner.planning.plan import Plan
from planner.planning.record import NOT_SIMULATED
from planner.planning.search import Solution, best_or_none, largest_rate
from planner.planning.trials import InterruptedSimulationError, Testbed, clients_simulated
from planner.pools.prediction import ClusterModel, headroom
from planner.scenario.changes import without_limits
from planner.scenario.cluster import Cluster, PoolInput, read_cluster
from planner.scenario.pool_text import ROLES
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed, configurations
from planner.serving.requests import Limit
from planner.studies.head import head_of
from planner.studies.mishaps import AS_PLANNED, Mishap, cluster_under, mishaps_of, owned_under
from planner.studies.purchase import Extra, least_purchase
from planner.studies.robustness_result import MishapRow, Robustness
from planner.units import format_time
from planner.workload.objectives import METRIC_TITLES, parse_objective

_ENOUGH = 1.0 - 1e-6  # of a load, from which on it counts as carried
_MOST_BOUGHT = 4096  # machines of a type
_SURELY_TOO_BUSY = 1.3  # utilisation that need not be simulated


def examine(
    planned: Problem,
    cluster: Cluster,
    *,
    mixes: Sequence[str] | None = None,
    growth: Sequence[float] | None = None,
    bursts: Sequence[float] | None = None,
    rack: int | None = None,
    only: Sequence[str] | None = None,
    verify: bool = False,
    progress: Progress = quiet,
) -> Robustness:
    """Put a cluster through mishaps; parameters as in `planner.robustness`.

    Parameters
    ----------
    planned : Problem
        The load that it was planned for, on the machines that it has, in any design and without budgets.
    cluster : Cluster
    """
    mishaps, notes = mishaps_of(planned, cluster, mixes, growth, bursts, rack, only)
    progress("the load as planned")
    plan = evaluate_cluster(planned, cluster)
    # The layouts that were chosen for the load planned for stay as they are.
    fixed = Cluster(pools=tuple(map(_with_layout, cluster.pools, plan.pools)))
    examiner = _Examiner(planned, fixed, plan, verify, progress)
    rows: list[MishapRow] = []
    complete = True
    try:
        for n, mishap in enumerate(mishaps, 1):
            examiner.progress = _counted(progress, f"{mishap.title} ({n} of {len(mishaps)})")
            rows.append(examiner.row(mishap))
    except KeyboardInterrupt:
        if not rows:
            raise
        complete = False
    return Robustness(
        **head_of(planned, plan.prices, [*planned.notes, *notes]),
        step_time_error=plan.step_time_error,
        verified="as each row says" if verify else NOT_SIMULATED,
        design=plan.design,
        pools=_pools_text((p.role, p.machine, p.count, p.layout) for p in plan.pools),
        spares=sum(pool.spares for pool in fixed.pools),
        planned_rate_per_s=planned.need.rate_per_s,
        owned=owned_under(AS_PLANNED, fixed),
        cost_usd_per_hour=plan.cost_usd_per_hour,
        complete=complete,
        rows=rows,
    )


def _with_layout(pool: PoolInput, found: object) -> PoolInput:
    names = ("tensor_parallel", "pipeline_parallel", "expert_parallel", "attention_data_parallel")
    return pool.model_copy(update={name: getattr(found, name) for name in names})


def _counted(progress: Progress, row: str) -> Progress:
    return lambda text: progress(f"{row}: {text}")


@dataclass(frozen=True)
class _AsIs:
    """What the cluster, its machines in their roles, does after a mishap."""

    plan: Plan | None
    breaks: list[str]
    carried_per_s: float

    @property
    def holds(self) -> bool:
        return self.plan is not None and self.plan.meets_objectives


class _Examiner:
    def __init__(self, planned: Problem, cluster: Cluster, plan: Plan, verify: bool, progress: Progress) -> None:
        self._planned, self._cluster, self._plan, self._verify = planned, cluster, plan, verify
        self.progress: Progress = progress
        self._stock = owned_under(AS_PLANNED, cluster)
        self._layouts = {_layout_of(p): q.layout for p, q in zip(cluster.pools, plan.pools, strict=True)}
        self._prices = {p.machine: p.usd_per_hour for p in plan.prices}
        self._proven = True

    def row(self, mishap: Mishap) -> MishapRow:
        """Everything asked of one mishap."""
        self._proven = True
        problem = changed(self._planned, mishap.change)
        rate, planned_rate = problem.need.rate_per_s, self._planned.need.rate_per_s
        left = cluster_under(mishap, self._cluster)
        self.progress("the cluster as it is")
        as_is = self._as_is(mishap, problem, left)
        simulated = self._simulated(problem, left) if self._verify and as_is.plan is not None and left else None
        holds = as_is.holds if simulated is None else all(o.met for o in simulated)
        breaks = as_is.breaks
        if simulated is not None:
            breaks = [_simulated_miss(o, limit) for o, limit in zip(simulated, problem.need.limits, strict=True)
                      if not o.met]  # fmt: skip
        owned = owned_under(mishap, self._cluster)  # types of which none is left included: none may be used
        self.progress("roles chosen anew")
        spares = 0 if mishap.lost else problem.limits.spares  # a loss is what spares are for
        solution = self._most(problem, owned, spares)
        carried, pools = as_is.carried_per_s, self._text(left)
        if solution is not None and solution.rate_per_s > carried:
            carried, pools = solution.rate_per_s, _solution_text(solution)
        flexible_holds = as_is.holds or carried >= rate * _ENOUGH
        extra: dict[str, int] | None = {}
        after: Solution | None = None
        if not flexible_holds:
            extra, after = self._to_buy(problem, owned, spares)
        right = self._right(mishap, problem)
        return MishapRow(
            mishap=mishap.kind,  # type: ignore[arg-type]
            title=mishap.title,
            workload=problem.sizes.name,
            rate_per_s=rate,
            arrival_cv2=problem.need.traffic.arrival_cv2,
            pools=self._text(left),
            holds=holds,
            breaks=breaks,
            predicted=as_is.plan.predicted if as_is.plan is not None else [],
            simulated=simulated,
            carried_per_s=as_is.carried_per_s,
            carried_fraction=as_is.carried_per_s / planned_rate,
            flexible_carried_per_s=carried,
            flexible_carried_fraction=carried / planned_rate,
            flexible_holds=flexible_holds,
            flexible_pools=pools if carried > 0 else "",
            to_buy=_counts_text(extra or {}),
            n_to_buy=None if extra is None else sum(extra.values()),
            cost_to_buy_usd_per_hour=self._cost(extra),
            pools_after=_solution_text(after) if after is not None else "",
            right_carried_per_s=right,
            loss_fraction=None if not right else max(1.0 - carried / right, 0.0),
            proven=self._proven,
        )

    # -- the cluster as it is ------------------------------------------------------------------------------------

    def _text(self, cluster: Cluster | None) -> str:
        """The pools of the cluster, or of what is left of it."""
        pools = cluster.pools if cluster is not None else ()
        return _pools_text((p.role, p.machine, p.count, self._layouts[_layout_of(p)]) for p in pools)

    def _as_is(self, mishap: Mishap, problem: Problem, left: Cluster | None) -> _AsIs:
        if left is None:
            return _AsIs(None, ["no machine is left"], 0.0)
        try:
            read_cluster(left)
            plan = evaluate_cluster(problem, left)
        except ScenarioError as error:  # a role is empty, or cannot be reached
            return _AsIs(None, [error.what], 0.0)
        except InfeasibleError as error:  # the requests do not fit
            return _AsIs(None, [error.what], 0.0)
        # Growth leaves what is carried as it is: searched for from the load planned for, it is the same figure.
        base = changed(self._planned, mishap.traffic)
        found = plan.headroom if mishap.load == 1.0 else headroom(*members_and_routes(base, left), base.need)
        return _AsIs(plan, _misses(problem, left, plan), found * base.need.rate_per_s)

    def _simulated(self, problem: Problem, left: Cluster) -> list[SimulatedObjective] | None:
        members, routes = members_and_routes(problem, left)
        model = ClusterModel(members, routes, problem.need)
        if clients_simulated(problem) is None and any(
            model.utilisation(i) > _SURELY_TOO_BUSY for i in range(len(members))
        ):
            return None
        scenario = problem.scenario
        seeds = range(scenario.seed + 1, scenario.seed + 1 + scenario.verify_runs)
        testbed = Testbed(
            problem.need, problem.sizes, problem.reference, seeds, self.progress, n_requests=scenario.verify_requests,
            clients=clients_simulated(problem),
        )  # fmt: skip
        try:
            found = testbed.verdict(members, routes, whole=True).drawn
        except InterruptedSimulationError:
            raise KeyboardInterrupt from None
        return simulated_objectives(found, problem.need.limits, {})

    # -- roles chosen anew ---------------------------------------------------------------------------------------

    def _most(self, problem: Problem, owned: Mapping[str, int], spares: int) -> Solution | None:
        """Most load that machines in stock carry in any roles; None if not even the first request is served."""
        if not any(owned.values()):
            return None
        try:
            top = _largest_rate(_chosen_anew(problem, self._stock, spares, "throughput"))
            posed = _chosen_anew(problem, owned, spares, "throughput")
            return self._noted(best_or_none(posed, self.progress, top_rate_per_s=top))
        except InfeasibleError:
            return None

    def _right(self, mishap: Mishap, problem: Problem) -> float | None:
        """What the money of the cluster would carry of another mix, if it were spent for that [requests/s]."""
        cost = self._cost(self._stock)
        if mishap.kind != "mix" or cost is None:
            return None
        self.progress("the same money spent for this mix")
        posed = changed(problem, without_limits(max_cost_usd_per_hour=cost, objective="throughput"))
        solution = self._noted(best_or_none(posed, self.progress))
        return solution.rate_per_s if solution is not None else None

    def _to_buy(
        self, problem: Problem, owned: Mapping[str, int], spares: int
    ) -> tuple[dict[str, int] | None, Solution | None]:
        """The cheapest machines, of the types that the cluster has, that make it whole; None where none do."""
        anything = changed(problem, without_limits(spares=spares, objective="machines"))
        names = [m.name for m in anything.machines]
        if best_or_none(anything, self.progress) is None:
            return None, None
        enough: dict[Extra, Solution] = {}
        too_few: list[Extra] = []

        def solved(extra: Extra) -> Solution | None:
            stock = {name: owned.get(name, 0) + n for name, n in zip(names, extra, strict=True)}
            try:
                return best_or_none(_chosen_anew(problem, stock, spares, "machines"))
            except InfeasibleError:  # no machine at all
                return None

        def is_enough(extra: Extra) -> bool:
            # More machines are never worse: much follows from what was asked before.
            if any(all(map(operator.le, extra, known)) for known in too_few):
                return False
            if any(all(map(operator.ge, extra, known)) for known in enough):
                return True
            self.progress("machines to add: " + (_counts_text(dict(zip(names, extra, strict=True))) or "none"))
            solution = solved(extra)
            if solution is None:
                too_few.append(extra)
            else:
                enough[extra] = solution
            return solution is not None

        prices = [self._prices.get(name) for name in names]
        weights = [1.0] * len(names) if None in prices else [p for p in prices if p is not None]
        best = least_purchase(is_enough, weights, _MOST_BOUGHT)
        if best is None:
            return None, None
        return {name: n for name, n in zip(names, best, strict=True) if n}, self._noted(
            enough.get(best) or solved(best)
        )

    def _noted(self, solution: Solution | None) -> Solution | None:
        if solution is not None and solution.selection.status != "optimal":
            self._proven = False
        return solution

    def _cost(self, machines: Mapping[str, int] | None) -> float | None:
        if machines is None or any(name not in self._prices for name in machines):
            return None
        return math.fsum(self._prices[name] * n for name, n in machines.items())


def _layout_of(pool: PoolInput) -> tuple[str, int | None, int, int, int]:
    degrees = (pool.pipeline_parallel, pool.expert_parallel, pool.attention_data_parallel)
    return pool.machine, pool.tensor_parallel, *degrees


def _chosen_anew(problem: Problem, stock: Mapping[str, int], spares: int, objective: str) -> Problem:
    """The problem of choosing roles anew for machines in stock.

    Raises
    ------
    InfeasibleError
        None is left.
    """
    return changed(problem, without_limits(max_machines=dict(stock), spares=spares, objective=objective))


def _largest_rate(problem: Problem) -> float:
    return largest_rate(problem, configurations(problem)[0])


def _misses(problem: Problem, cluster: Cluster, plan: Plan) -> list[str]:
    """What a cluster misses: objectives with their values, worst first, then pools that cannot keep up."""
    missed = [(p, parse_objective(p.objective)) for p in plan.predicted if not p.met]
    endless = dict.fromkeys(METRIC_TITLES[o.metric] for p, o in missed if p.predicted is None)
    valued = sorted(
        ((p.predicted / p.limit, n, p, o) for n, (p, o) in enumerate(missed) if p.predicted is not None), reverse=True
    )
    found = [_miss_text(o.label, p.predicted, p.unit, o.limit_label) for _, _, p, o in valued]
    if endless:
        found.append(f"{' and '.join(endless)} without end")
    members, routes = members_and_routes(problem, cluster)
    model = ClusterModel(members, routes, problem.need)
    for i, m in enumerate(members):
        name = f"{m.configuration.machine.name} {m.role}"
        if model.utilisation(i) >= 1.0:
            found.append(f"{name} asked for {100 * model.utilisation(i):.0f} % of what it can do")
        elif model.network_utilisation(i) > 1.0 + 1e-6:
            found.append(f"network of {name} asked for {100 * model.network_utilisation(i):.0f} % of what it can do")
        elif not model.keeps_up(i):
            found.append(f"KV memory of {name} full {100 * model.memory_full(i):.0f} % of the time")
    return found


def _miss_text(label: str, value: float | None, unit: str, limit: str) -> str:
    if value is None or not math.isfinite(value):
        return f"{label} without end (limit {limit})"
    return f"{label} {format_time(value) if unit == 's' else f'{value:.3g}x'} (limit {limit})"


def _simulated_miss(found: SimulatedObjective, limit: Limit) -> str:
    unit = "s" if limit.objective.limit_s is not None else "x"
    return _miss_text(limit.objective.label, found.simulated.value, unit, limit.objective.limit_label)


def _counts_text(counts: Mapping[str, int]) -> str:
    return " + ".join(f"{n} x {name}" for name, n in counts.items() if n)


def _pools_text(parts: Iterable[tuple[str, str, int, str]]) -> str:
    """Pools as `3 x dgx-h100 prefill (1 x TP8)`, decode last."""
    ordered = sorted(parts, key=lambda part: (ROLES.index(part[0]), part[1:]))
    return " + ".join(f"{n} x {machine} {role} ({layout})" for role, machine, n, layout in ordered)


def _solution_text(solution: Solution) -> str:
    return _pools_text(
        (m.role, m.configuration.machine.name, m.count, m.configuration.layout.label) for m in solution.members
    )
