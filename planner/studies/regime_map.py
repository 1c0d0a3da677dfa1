"""The regime map: over two things that are unsure, which design wins and by how much.

A design's fewest machines do not depend on prices. So the pools are sized once for each point of the axes that change
the load, the sizes, the limits or the network (a *curve set*), and every price is then a sum of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from planner.errors import InfeasibleError, ScenarioError, UnknownNameError
from planner.planning.infeasible import BEYOND_LIMITS
from planner.planning.links import check_links, prices_of, prices_used
from planner.planning.sizing import MAPPED_OBJECTIVES, Sizing, sizings
from planner.pools.limits import Limits
from planner.scenario.changes import all_of
from planner.scenario.opened import Asked
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, configurations
from planner.studies.axes import Axis, change_of, check_crossing, own_value
from planner.studies.head import Head, head_of
from planner.studies.job import Job
from planner.studies.runner import run_many

MOST_CELLS = 10_000
ONE_TYPE_A_ROLE = f"{BEYOND_LIMITS} with one type of machine a role"
PRICE_AXIS = "price-ratio"


class RegimeCell(BaseModel):
    """One point of a regime map."""

    model_config = ConfigDict(frozen=True)

    x: float
    y: float
    design: str | None = Field(description="The best one; null where none serves.")
    reason: str | None = Field(default=None, description="Reason why none serves.")
    value: float | None = Field(description="Value of its objective: USD/h, W or machines, spares included.")
    pools: str | None = Field(description="Machines of the best design.")
    second: str | None = Field(description="The next best design; null where there is none.")
    second_value: float | None
    margin: float | None = Field(description="Margin: what the second needs beyond the best, as a share of the best.")
    best_mixed: float | None = Field(description="Value of the best design of one mixed pool.")
    best_split: float | None = Field(description="Value of the best design that splits.")


class MapAxis(BaseModel):
    """An axis of a map."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    values: list[float] = Field(description="Values in base units: 1/s, s, bytes/s, or a plain ratio.")
    labels: list[str] = Field(description="The values with their units.")
    own: float | None = Field(description="Place of the scenario itself; null where it does not say.")


class RegimeMap(Head):
    """Which design wins, and by how much, over two axes."""

    rate_per_s: float
    objective: str
    machines: list[str]
    price_ratio_of: list[str] | None = Field(description="Machines whose prices are compared, first over second.")
    x: MapAxis
    y: MapAxis
    complete: bool = Field(description="Completeness; false where the work was interrupted and cells are missing.")
    cells: list[RegimeCell] = Field(description="Cells by y, then x; of an incomplete map those that were done.")

    def designs(self) -> list[str]:
        """Designs that win somewhere, the most frequent first."""
        won = [c.design for c in self.cells if c.design is not None]
        return sorted(set(won), key=lambda name: (-won.count(name), name))

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a cell; the axes' values stand under their names."""
        rows = []
        for cell in self.cells:
            row = cell.model_dump()
            rows.append({self.x.name: row.pop("x"), self.y.name: row.pop("y"), **row, "map_complete": self.complete})
        return rows


def map_regimes(
    asked: Asked,
    x: Axis,
    y: Axis,
    *,
    price_ratio_of: tuple[str, str] | None = None,
    workers: int | None = None,
    progress: Progress = quiet,
) -> RegimeMap:
    """Find the best design, and the second, at every crossing of two axes.

    Parameters
    ----------
    asked : Asked
        What stays as it is. Its objective is cost, power or machines. Workers open its catalog from the same folders.
    x, y : Axis
    price_ratio_of : (str, str), optional
        Machines of the axis `price-ratio`: the first's price becomes so many times the second's, which stays. Left out:
        the dearer and the cheaper of the two machines considered.
    workers : int, optional
        Processes; left out, one a core.

    Returns
    -------
    RegimeMap
        The same whatever the number of workers. After Ctrl-C with the cells done so far, and `complete` false.

    Raises
    ------
    ScenarioError
        Axes that cannot be crossed, a map that is too large, an objective or price ratio that has no meaning.
    """
    check_crossing(x, y, MOST_CELLS)
    scenario, problem = asked.scenario, asked.resolved()
    ratio = _price_ratio(problem, x, y, price_ratio_of)
    _check_objective(problem, x, y)
    sets, places = _curve_sets(x, y)
    jobs = [Job.of(asked.with_change(all_of(change_of(*at) for at in point))) for point in sets]
    sized: dict[int, list[Sizing] | str] = {}
    complete = True
    try:
        for index, found in run_many(size_designs, jobs, workers=workers, progress=progress, what="points"):
            sized[index] = found
    except KeyboardInterrupt:
        complete = False
    limits, objective = problem.limits, scenario.objective
    prices = prices_of(problem)
    cells = []
    for j, y_value in enumerate(y.values):
        for i, x_value in enumerate(x.values):
            found_here = sized.get(places[i, j])
            if found_here is None:
                continue
            here = dict(prices)
            if ratio is not None:
                here[ratio[0]] = (x_value if x.name == PRICE_AXIS else y_value) * prices[ratio[1]]
            cells.append(_cell(x_value, y_value, found_here, here, objective, limits))
    own_ratio = problem.sizes.mean_prompt_tokens / problem.sizes.mean_output_tokens
    own_price = prices[ratio[0]] / prices[ratio[1]] if ratio and ratio[0] in prices else None
    return RegimeMap(
        **head_of(problem, prices_used(problem)),
        rate_per_s=problem.need.rate_per_s,
        objective=objective,
        machines=[m.name for m in problem.machines],
        price_ratio_of=list(ratio) if ratio else None,
        x=_axis(x, own_price if x.name == PRICE_AXIS else own_value(scenario, x.name, own_ratio)),
        y=_axis(y, own_price if y.name == PRICE_AXIS else own_value(scenario, y.name, own_ratio)),
        complete=complete,
        cells=cells,
    )


def size_designs(job: Job) -> list[Sizing] | str:
    """Fewest machines of every design for one scenario; why, where none serves."""
    try:
        problem = job.resolved()
        check_links(problem, configurations(problem)[0])
        return sizings(problem)
    except InfeasibleError as error:
        return error.what


def _curve_sets(x: Axis, y: Axis) -> tuple[list[tuple[tuple[str, float], ...]], dict[tuple[int, int], int]]:
    """Points at which pools have to be sized, and which of them each cell of the map uses."""
    sets: dict[tuple[tuple[str, float], ...], int] = {}
    places = {}
    for j, y_value in enumerate(y.values):
        for i, x_value in enumerate(x.values):
            point = tuple((a.name, v) for a, v in ((x, x_value), (y, y_value)) if a.name != PRICE_AXIS)
            places[i, j] = sets.setdefault(point, len(sets))
    return list(sets), places


def _cell(
    x: float, y: float, found: Sequence[Sizing] | str, prices: dict[str, float], objective: str, limits: Limits
) -> RegimeCell:
    best: dict[str, tuple[float, int, float, Sizing]] = {}
    for sizing in () if isinstance(found, str) else found:
        if not sizing.within(limits, prices):
            continue
        value = sizing.value(objective, prices)
        rank = (value, len(sizing.pools), sizing.power_w, sizing)
        if sizing.design not in best or rank[:3] < best[sizing.design][:3]:
            best[sizing.design] = rank
    order = sorted(best.items(), key=lambda entry: (*entry[1][:3], entry[0]))
    split = [rank[0] for _, rank in order if len(rank[3].pools) > 1]
    mixed = [rank[0] for _, rank in order if len(rank[3].pools) == 1]
    first = order[0] if order else None
    second = order[1] if len(order) > 1 else None
    return RegimeCell(
        x=x,
        y=y,
        design=first[0] if first else None,
        reason=None if first else found if isinstance(found, str) else ONE_TYPE_A_ROLE,
        value=first[1][0] if first else None,
        pools=first[1][3].describe() if first else None,
        second=second[0] if second else None,
        second_value=second[1][0] if second else None,
        margin=second[1][0] / first[1][0] - 1.0 if first and second else None,
        best_mixed=mixed[0] if mixed else None,
        best_split=split[0] if split else None,
    )


def _axis(axis: Axis, own: float | None) -> MapAxis:
    kind = axis.kind
    return MapAxis(
        name=axis.name, title=kind.title, values=list(axis.values), labels=[kind.show(v) for v in axis.values], own=own
    )


def _check_objective(problem: Problem, x: Axis, y: Axis) -> None:
    objective = problem.scenario.objective
    if objective not in MAPPED_OBJECTIVES:
        raise ScenarioError(
            "a regime map is of given loads" if objective == "throughput" else f"maps of {objective} are not drawn",
            where="objective", value=objective, rule="cost, power or machines",
            fix="leave --objective out, or make load an axis",
        )  # fmt: skip
    if objective != "cost" and PRICE_AXIS in (x.name, y.name):
        raise ScenarioError(
            f"prices do not matter to the objective {objective}", where="objective", value=objective,
            fix="leave --objective out, or take another axis",
        )  # fmt: skip


def _price_ratio(problem: Problem, x: Axis, y: Axis, given: tuple[str, str] | None) -> tuple[str, str] | None:
    """The machine whose price an axis varies, and the one it is compared with."""
    if PRICE_AXIS not in (x.name, y.name):
        if given is not None:
            raise ScenarioError("no axis is the price ratio", where="price_ratio_of", value=" / ".join(given))
        return None
    prices = prices_of(problem)
    names = [m.name for m in problem.machines]
    if given is not None:
        for name in given:
            if name not in names:
                raise UnknownNameError.of("machine", name, names, where="price_ratio_of")
        if given[0] == given[1]:
            raise ScenarioError("a price ratio is of two machines", where="price_ratio_of", value=" / ".join(given))
    elif len(names) != 2:
        raise ScenarioError(
            f"{len(names)} machines are considered, so which price the ratio varies must be said",
            where="price_ratio_of", fix="write --price-ratio-of dgx-h100/dgx-a100",
        )  # fmt: skip
    if given is None:
        dearer, cheaper = sorted(names, key=lambda name: (-prices.get(name, 0.0), name))
        given = (dearer, cheaper)
    if given[1] not in prices:
        raise ScenarioError(f"no price book lists {given[1]}", where="price_ratio_of", fix="name a book with --prices")
    return given
