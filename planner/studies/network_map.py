"""The network map: what splitting costs over the bandwidth of links, and where it stops paying."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from planner.errors import InfeasibleError, ScenarioError
from planner.planning.links import (
    UNLIMITED_BYTES_PER_S,
    bytes_per_request,
    cheapest,
    links,
    prices_of,
    prices_used,
)
from planner.planning.sizing import MAPPED_OBJECTIVES, Sizing, sizings
from planner.pools.candidate import needs_end_to_end, transfer_s
from planner.pools.network import NetworkOverride
from planner.scenario.changes import Change, fabric, nic_rate, setting, supposing
from planner.scenario.opened import Asked
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, changed, configurations
from planner.studies.axes import Axis
from planner.studies.head import Head, head_of
from planner.studies.job import Job
from planner.studies.runner import run_in_order

TOLERANCE = 0.005  # relative, to which a break-even bandwidth is found
_SLOWER = 10.0

TransferWay = Literal["overlapped", "serialised"]
WAYS: tuple[TransferWay, ...] = ("overlapped", "serialised")


class SplitPlan(BaseModel):
    """The best plan that splits, on some network."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(description="Value of the objective: USD/h, W or machines, spares included.")
    design: str
    pools: str


class NetworkPoint(BaseModel):
    """What splitting costs with every NIC at one line rate."""

    model_config = ConfigDict(frozen=True)

    nic_bandwidth_bytes_per_s: float
    overlapped: SplitPlan | None = Field(description="KV caches sent layer by layer where that is quicker; null: none.")
    serialised: SplitPlan | None = Field(description="KV caches sent after the prompt computation; null: none.")


class LinkRow(BaseModel):
    """One link of the catalog under every NIC."""

    model_config = ConfigDict(frozen=True)

    fabric: str
    line_rate_bytes_per_s: float
    achieved_bytes_per_s: float = Field(description="Bandwidth of one NIC, oversubscription counted.")
    serialised_s: float = Field(description="Exposed by the transfer of a mean prompt between machines of one kind.")
    overlapped_s: float
    overlapped: SplitPlan | None
    serialised: SplitPlan | None


class LinkBreakEven(BaseModel):
    """Where splitting begins to pay."""

    model_config = ConfigDict(frozen=True)

    verdict: Literal["never", "always", "above"] = Field(
        description="never: not even with unlimited links; always: down to the slowest link mapped; above: a bandwidth."
    )
    pays_at_bytes_per_s: float | None = Field(description="Least line rate of each NIC at which it pays; above only.")
    not_at_bytes_per_s: float | None = Field(description="Greatest at which it does not; 0.5 % or less below.")


class NetworkMap(Head):
    """Splitting against mixed pools over the bandwidth of the network."""

    rate_per_s: float
    objective: str
    kv_bytes_per_request: float = Field(description="KV cache of a mean prompt, all of which crosses the network.")
    mixed: SplitPlan | None = Field(description="The best design of one mixed pool, which needs no network.")
    points: list[NetworkPoint]
    break_even: dict[TransferWay, LinkBreakEven]
    unlimited: SplitPlan | None = Field(description="The best plan that splits with links of unlimited bandwidth.")
    own: dict[TransferWay, SplitPlan | None] = Field(description="Plan on the machines' own network.")
    tenth: dict[TransferWay, SplitPlan | None] = Field(
        description="Plan at a tenth of the bandwidth of the machines' own network."
    )
    links: list[LinkRow]

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a point and way of sending."""
        rows = []
        for point in self.points:
            for way in WAYS:
                plan: SplitPlan | None = getattr(point, way)
                rows.append(
                    {
                        "nic_bandwidth_bytes_per_s": point.nic_bandwidth_bytes_per_s,
                        "transfer": way,
                        "split_value": plan and plan.value,
                        "split_design": plan and plan.design,
                        "split_pools": plan and plan.pools,
                        "mixed_value": self.mixed and self.mixed.value,
                        "splitting_pays": pays(plan, self.mixed),
                    }
                )
        return rows


def pays(split: SplitPlan | None, mixed: SplitPlan | None) -> bool:
    """Whether a plan that splits costs less than the best that does not."""
    return split is not None and (mixed is None or split.value < mixed.value * (1.0 - 1e-9))


def map_network(problem: Problem, axis: Axis, *, workers: int | None = None, progress: Progress = quiet) -> NetworkMap:
    """Compare splitting with mixed pools over the line rate of every NIC.

    Parameters
    ----------
    problem : Problem
        Its design may name the machines of the split; every mixed design of the machines considered is compared.
    axis : Axis
        `network`.
    workers : int, optional
        Processes; left out, one a core where end-to-end objectives make plans slow to find, else one. The map does not
        depend on it.

    Raises
    ------
    ScenarioError
        An objective that is no sum over machines, an axis that is no network, a design that does not split.
    InfeasibleError
        Nothing serves at all.
    """
    objective = problem.scenario.objective
    if objective not in MAPPED_OBJECTIVES:
        raise ScenarioError(
            f"maps of {objective} are not drawn", where="objective", value=objective, rule="cost, power or machines",
            fix="leave --objective out",
        )  # fmt: skip
    if axis.name != "network":
        raise ScenarioError("a network map has one axis", where="x", value=axis.name, rule="network=FROM..TO[:POINTS]")
    if not problem.design.split:
        raise ScenarioError("this design does not split", where="design", value=problem.design.name, fix="leave it out")
    model = _NetworkModel(problem)
    mixed = model.mixed()
    unlimited = model.split(nic_rate(UNLIMITED_BYTES_PER_S), "overlapped")
    if mixed is None and unlimited is None:
        sizings(problem)  # raises with the reason
    items: list[NetworkItem] = [
        *axis.values,
        *links(problem),
        *((way, axis.values[0], mixed) for way in WAYS),
        None,
        TENTH,
    ]
    if workers is None and not needs_end_to_end(problem.need):
        workers = 1
    job = partial(_answer, Job.of(Asked(problem.scenario, problem.catalog)))
    answers = run_in_order(job, items, workers=workers, progress=progress, what="networks")
    n = len(axis.values)
    return NetworkMap(
        **head_of(problem, prices_used(problem)),
        rate_per_s=problem.need.rate_per_s,
        objective=objective,
        kv_bytes_per_request=bytes_per_request(problem),
        mixed=mixed,
        points=answers[:n],
        break_even=dict(zip(WAYS, answers[-4:-2], strict=True)),
        unlimited=unlimited,
        own=answers[-2],
        tenth=answers[-1],
        links=answers[n:-4],
    )


TENTH = "a tenth of the machines' own"
NetworkItem = (
    float | str | tuple[TransferWay, float, SplitPlan | None] | None
)  # a NIC's line rate, a fabric, a break-even, their own


def _answer(job: Job, item: NetworkItem) -> Any:
    """What splitting costs on one network, or where it breaks even."""
    problem = _resolved(job)
    model = _NetworkModel(problem)
    if isinstance(item, float):
        plans = {way: model.split(nic_rate(item), way) for way in WAYS}
        return NetworkPoint(nic_bandwidth_bytes_per_s=item, **plans)
    if isinstance(item, tuple):
        way, slowest, mixed = item
        return model.break_even(mixed, way, slowest)
    if item is None:
        return {way: model.split(setting(), way) for way in WAYS}
    if item != TENTH:
        return model.link(item)
    own = problem.serving.network or NetworkOverride()
    by_fabric = max(c.fabric.oversubscription for c in configurations(problem)[0])
    tenth = setting(oversubscription=_SLOWER * (own.oversubscription or by_fabric))
    return {way: model.split(tenth, way) for way in WAYS}


@lru_cache(maxsize=2)
def _resolved(job: Job) -> Problem:
    return job.resolved()


class _NetworkModel:
    """Best plans of a problem on other networks."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._prices = prices_of(problem)
        self._own = setting(design="splitwise") if problem.design.mixed else setting()

    def mixed(self) -> SplitPlan | None:
        """Best design of one mixed pool."""
        names = tuple(machine.name for machine in self._problem.machines)
        return self._best(changed(self._problem, setting(design="baseline", machines=names)))

    def split(self, network: Change, way: TransferWay) -> SplitPlan | None:
        """Best design that splits, on another network."""
        return self._best(self._on(network, way))

    def _on(self, network: Change, way: TransferWay) -> Problem:
        return changed(self._problem, self._own.then(network).then(supposing(kv_transfer=way)))

    def _best(self, problem: Problem) -> SplitPlan | None:
        try:
            found: list[Sizing] = sizings(problem)
        except InfeasibleError:
            return None
        best = cheapest(found, problem, self._prices)
        if best is None:
            return None
        value = best.value(problem.scenario.objective, self._prices)
        return SplitPlan(value=value, design=best.design, pools=best.describe())

    def break_even(self, mixed: SplitPlan | None, way: TransferWay, slowest: float) -> LinkBreakEven:
        """By bisection: what a plan costs never rises with the bandwidth."""

        def worth_it(rate: float) -> bool:
            return pays(self.split(nic_rate(rate), way), mixed)

        if not worth_it(UNLIMITED_BYTES_PER_S):
            return LinkBreakEven(verdict="never", pays_at_bytes_per_s=None, not_at_bytes_per_s=None)
        if worth_it(slowest):
            return LinkBreakEven(verdict="always", pays_at_bytes_per_s=None, not_at_bytes_per_s=None)
        low, high = slowest, slowest
        while not worth_it(high):
            low, high = high, high * 4.0
        while high / low > 1.0 + TOLERANCE:
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if worth_it(middle) else (middle, high)
        return LinkBreakEven(verdict="above", pays_at_bytes_per_s=high, not_at_bytes_per_s=low)

    def link(self, name: str) -> LinkRow:
        """A link of the catalog, with the transfer between machines of the same kind as the best plan's prefill."""
        overlapped, serialised = (self.split(fabric(name), way) for way in WAYS)
        link = configurations(self._on(fabric(name), "overlapped"))[0][0].fabric
        exposed = {way: self._exposed_s(self._on(fabric(name), way), overlapped) for way in WAYS}
        rate = link.line_rate_bytes_per_s or 0.0
        return LinkRow(
            fabric=name,
            line_rate_bytes_per_s=rate,
            achieved_bytes_per_s=rate * link.efficiency / link.oversubscription,
            serialised_s=exposed["serialised"],
            overlapped_s=exposed["overlapped"],
            overlapped=overlapped,
            serialised=serialised,
        )

    def _exposed_s(self, problem: Problem, plan: SplitPlan | None) -> float:
        """What the transfer of a mean prompt leaves exposed, over all accelerators of the likeliest machine [s]."""
        found, _ = configurations(problem)
        wanted = plan.pools.split()[2] if plan is not None else found[0].machine.name
        c = max((c for c in found if c.machine.name == wanted), key=lambda c: c.layout.tensor_parallel)
        need = problem.need
        tokens = need.traffic.prompt_tokens
        exposed = transfer_s(c, c, need, c.lane.prefill_time_s(tokens))
        return float(np.interp(need.traffic.sizes.mean_prompt_tokens, *_sorted(tokens, exposed)))


def _sorted(tokens: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(tokens)
    return tokens[order], values[order]
