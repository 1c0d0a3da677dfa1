"""The provisioning map: cost over the numbers of prefill and decode machines, and where each objective holds.

It is Splitwise's figure 12 for any pair of machines. Every cell is judged by the whole-cluster model that judges plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from planner.errors import ScenarioError
from planner.optimization.selection import Simple, within
from planner.planning.designs import enumerate_designs
from planner.planning.infeasible import explain_infeasible
from planner.planning.links import prices_used
from planner.planning.search import prepare_search
from planner.planning.sizing import MAPPED_OBJECTIVES
from planner.pools.candidate import Candidate
from planner.pools.design import design_name
from planner.pools.limits import Limits
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.changes import setting
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed
from planner.serving.capacity import MEMORY_FULL_ALLOWED
from planner.studies.head import Head, head_of

MOST_CELLS = 20_000
MEMORY, BUSY, NETWORK, BUDGET = "decode KV memory", "prefill utilisation", "network", "budgets and stock"
CountsOfPair = tuple[int, int]  # first and last, both included


class MapPool(BaseModel):
    """One of the two pools."""

    model_config = ConfigDict(frozen=True)

    machine: str
    layout: str = Field(description="Replicas and parallel degrees on one machine.")
    usd_per_hour: float | None = Field(description="Price of one machine.")
    rated_power_w: float = Field(description="Power, rated, of one machine.")
    first: int = Field(description="Least number of machines on the map.")
    last: int = Field(description="Greatest.")


class ProvisioningCell(BaseModel):
    """One pair of counts."""

    model_config = ConfigDict(frozen=True)

    prefill_machines: int = Field(description="Machines that carry load; spares come on top.")
    decode_machines: int
    cost_usd_per_hour: float | None = Field(description="Cost of all machines bought, spares included.")
    power_w: float = Field(description="Power, rated, spares included.")
    machines: int = Field(description="Bought, spares included.")
    broken: list[str] = Field(description="Objectives and limits that do not hold; empty where the cell is feasible.")

    @property
    def feasible(self) -> bool:
        """Whether every objective and limit holds."""
        return not self.broken


class ProvisioningMap(Head):
    """Cost and feasibility over prefill x decode machine counts."""

    design: str
    rate_per_s: float
    objective: str
    prefill: MapPool
    decode: MapPool
    rules: list[str] = Field(description="Objectives and limits that a cell is held against.")
    least: dict[str, CountsOfPair | None] = Field(
        description=(
            "Counts for each rule: the least prefill and the least decode count on the map at which it holds somewhere."
        )
    )
    cells: list[ProvisioningCell] = Field(description="Cells by prefill, then decode machines.")
    optimum: ProvisioningCell | None = Field(description="Best feasible cell; null where none on the map is feasible.")

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a cell."""
        return [
            {
                "prefill_machine": self.prefill.machine,
                "decode_machine": self.decode.machine,
                **cell.model_dump(exclude={"broken"}),
                "feasible": cell.feasible,
                "broken": "; ".join(cell.broken),
                "optimum": cell == self.optimum,
            }
            for cell in self.cells
        ]


def map_provisioning(
    problem: Problem,
    prefill: CountsOfPair | None = None,
    decode: CountsOfPair | None = None,
    progress: Progress = quiet,
) -> ProvisioningMap:
    """Judge every pair of counts of one prefill and one decode machine.

    Parameters
    ----------
    problem : Problem
        Its design is a split one. Where it leaves the machines open, the pair of the best plan of two pools is mapped;
        where a machine has several layouts, those of that plan.
    prefill, decode : (int, int), optional
        First and last count; left out, from 1 to a little beyond the best plan, or of large pools what
        lies around it.

    Raises
    ------
    ScenarioError
        A design that does not split, an objective that has no optimum on a map, ranges that are empty, reversed or of
        one point, or more than 20,000 cells.
    InfeasibleError
        The pair can serve at no count.
    """
    _check(problem, prefill, decode)
    if problem.design.mixed:
        problem = changed(problem, setting(design="splitwise"))
    best = _best_pair(problem, progress)
    (first, n), (second, m) = best.pools
    ranges = (prefill or _around(n), decode or _around(m))
    _check_size(*ranges)
    progress(f"judging {(ranges[0][1] - ranges[0][0] + 1) * (ranges[1][1] - ranges[1][0] + 1):,} cells")
    judge = _Judge(problem, first, second)
    cells = [
        judge.cell(x, y) for x in range(ranges[0][0], ranges[0][1] + 1) for y in range(ranges[1][0], ranges[1][1] + 1)
    ]
    feasible = [c for c in cells if c.feasible]
    optimum = min(feasible, key=lambda c: (_value(c, problem), c.machines, c.power_w)) if feasible else None
    return ProvisioningMap(
        **head_of(
            problem,
            prices_used(problem, {c.configuration.machine.name for c in (first, second)}),
            _notes(problem, feasible, optimum, n, m, ranges),
        ),
        design=design_name(first.configuration.machine.name, second.configuration.machine.name),
        rate_per_s=problem.need.rate_per_s,
        objective=problem.scenario.objective,
        prefill=_pool(first, ranges[0]),
        decode=_pool(second, ranges[1]),
        rules=judge.rules,
        least={rule: _least(cells, rule) for rule in judge.rules},
        cells=cells,
        optimum=optimum,
    )


class _Judge:
    """Says what breaks at a pair of counts.

    A pool's own queue depends on its own count alone, so TTFT and utilisation are judged once a prefill count, TBT and
    KV memory once a decode count, and end-to-end latency, which couples them, at every cell.
    """

    def __init__(self, problem: Problem, prefill: Candidate, decode: Candidate) -> None:
        self._problem, self._pools = problem, (prefill, decode)
        self._known: dict[tuple[str, int], list[str]] = {}
        self._coupled = [x for x in problem.need.limits if x.objective.metric == "e2e"]
        self.rules = [x.objective.label for x in problem.need.limits]
        self.rules += [BUSY, MEMORY, NETWORK] + ([BUDGET] if problem.limits.any_budget else [])

    def cell(self, n: int, m: int) -> ProvisioningCell:
        problem, bought = self._problem, []
        broken = set(self._of_prefill(n, m)) | set(self._of_decode(n, m))
        if self._coupled:
            model = self._model(n, m)
            broken |= {x.objective.label for x in self._coupled if not model.meets(x)}
        pools = list(zip(self._pools, (n, m), strict=True))
        if problem.limits.any_budget and not within(pools, problem.limits):
            broken.add(BUDGET)
        bought = [(c.configuration, k + problem.limits.spares) for c, k in pools]
        prices = [c.price.usd_per_hour * k for c, k in bought if c.price is not None]
        return ProvisioningCell(
            prefill_machines=n,
            decode_machines=m,
            cost_usd_per_hour=sum(prices) if len(prices) == len(bought) else None,
            power_w=sum(c.machine.rated_power_w * k for c, k in bought),
            machines=sum(k for _, k in bought),
            broken=[rule for rule in self.rules if rule in broken],
        )

    def _model(self, n: int, m: int) -> ClusterModel:
        need = self._problem.need
        members = [
            Member(c.role, c.configuration, k, need.rate_per_s) for c, k in zip(self._pools, (n, m), strict=True)
        ]
        return ClusterModel(members, [Route(0, 1, need.rate_per_s)], need)

    def _of_prefill(self, n: int, m: int) -> list[str]:
        if ("prefill", n) not in self._known:
            need, model = self._problem.need, self._model(n, m)
            broken = [x.objective.label for x in need.limits if x.objective.metric == "ttft" and not model.meets(x)]
            if model.utilisation(0) > need.most_busy * (1 + 1e-6):
                broken.append(BUSY)
            if model.network_utilisation(0) > 1 + 1e-6:
                broken.append(NETWORK)
            self._known["prefill", n] = broken
        return self._known["prefill", n]

    def _of_decode(self, n: int, m: int) -> list[str]:
        if ("decode", m) not in self._known:
            need, model = self._problem.need, self._model(n, m)
            broken = [x.objective.label for x in need.limits if x.objective.metric == "tbt" and not model.meets(x)]
            if model.utilisation(1) >= 1 or model.memory_full(1) > MEMORY_FULL_ALLOWED * (1 + 1e-6):
                broken.append(MEMORY)
            if model.network_utilisation(1) > 1 + 1e-6:
                broken.append(NETWORK)
            self._known["decode", m] = broken
        return self._known["decode", m]


def _check(problem: Problem, prefill: CountsOfPair | None, decode: CountsOfPair | None) -> None:
    if not problem.design.split:
        raise ScenarioError(
            "this design does not split",
            where="design",
            value=problem.design.name,
            rule="a provisioning map has a prefill and a decode pool",
            fix="name a pair: --pair prefill=dgx-h100,decode=dgx-a100",
        )
    objective = problem.scenario.objective
    if objective not in MAPPED_OBJECTIVES:
        given = "a provisioning map is of a given load"
        raise ScenarioError(
            given if objective == "throughput" else f"maps of {objective} are not drawn", where="objective",
            value=objective, rule="cost, power or machines", fix="leave --objective out",
        )  # fmt: skip
    for name, counts in (("prefill", prefill), ("decode", decode)):
        if counts is None:
            continue
        first, last = counts
        if first < 1:
            raise ScenarioError("a pool has at least one machine", where=name, value=f"{first}..{last}")
        if first >= last:
            what = "a map needs more than one count" if first == last else "this range runs backwards"
            raise ScenarioError(what, where=name, value=f"{first}..{last}", fix=f"write it like {max(first, 1)}..40")


def _check_size(*ranges: CountsOfPair) -> None:
    n, m = (last - first + 1 for first, last in ranges)
    if n * m > MOST_CELLS:
        raise ScenarioError(
            f"{n:,} x {m:,} cells are too many for a map",
            where="prefill" if n >= m else "decode",
            rule=f"at most {MOST_CELLS:,} cells",
            fix="map a narrower range",
        )


def _around(count: int) -> CountsOfPair:
    return (1, count + max(5, round(0.6 * count))) if count <= 80 else (count - 64, count + 64)


def _best_pair(problem: Problem, progress: Progress) -> Simple:
    """Best plan of two pools, whose machines and layouts are mapped; without limits if there is none within them."""
    search = prepare_search(problem, progress, compares=False, leaves_out=False)
    ((posed, candidates),) = search.posed
    for limits in (replace(posed.limits, max_pools=None), Limits(spares=posed.limits.spares)):
        plans = [s for s in enumerate_designs(candidates, posed, limits).values() if len(s.pools) == 2]
        if plans:
            return min(plans, key=lambda s: (s.objective, sum(n for _, n in s.pools)))
    raise explain_infeasible(posed, candidates)


def _pool(candidate: Candidate, counts: CountsOfPair) -> MapPool:
    c = candidate.configuration
    return MapPool(
        machine=c.machine.name,
        layout=c.layout.label,
        usd_per_hour=c.price.usd_per_hour if c.price else None,
        rated_power_w=c.machine.rated_power_w,
        first=counts[0],
        last=counts[1],
    )


def _value(cell: ProvisioningCell, problem: Problem) -> float:
    objective = problem.scenario.objective
    if objective == "cost":
        return cell.cost_usd_per_hour or 0.0
    return cell.power_w if objective == "power" else float(cell.machines)


def _least(cells: Sequence[ProvisioningCell], rule: str) -> CountsOfPair | None:
    held = [c for c in cells if rule not in c.broken]
    return (min(c.prefill_machines for c in held), min(c.decode_machines for c in held)) if held else None


def _notes(
    problem: Problem, feasible: Sequence[ProvisioningCell], optimum: ProvisioningCell | None, n: int, m: int,
    ranges: tuple[CountsOfPair, CountsOfPair],
) -> list[str]:  # fmt: skip
    notes = list(problem.notes)
    inside = ranges[0][0] <= n <= ranges[0][1] and ranges[1][0] <= m <= ranges[1][1]
    if not feasible:
        notes.append("no cell of this map meets every objective and limit")
    elif not inside:
        notes.append(f"the best plan of this pair, {n} prefill and {m} decode machines, lies outside the map")
    elif optimum is not None and (optimum.prefill_machines, optimum.decode_machines) != (n, m):
        notes.append(
            f"the star is better than the plan that optimize finds for this pair, {n} + {m}: with end-to-end limits "
            "it offers prefill pools at a few grades of utilisation only"
        )
    return notes
