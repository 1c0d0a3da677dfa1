"""Frontiers against brute force: every vector of machine counts of a small catalog, tried at every point."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import planner
from planner.errors import InfeasibleError, InputError, ScenarioError, UnitError, UnknownNameError
from planner.planning.search import prepare_search
from planner.scenario.resolve import Problem, changed, resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies import frontier as module
from planner.studies.frontier import frontier
from planner.studies.frontier_axes import FrontierAxis, read_axes
from planner.studies.frontier_result import Frontier
from planner.workload.objectives import parse_objective

from ..optimization.pools import carried

MOST = 4  # machines of a plan in the brute force
SMALL: dict[str, Any] = {
    "slo": ["ttft=1s", "tbt=200ms"], "rate": "20/s", "machines": ["dgx-a100", "dgx-h100", "dgx-h100-cap"],
    "max_total_machines": MOST,
}  # fmt: skip
EACH = {"cost": {"dgx-a100": 17.6, "dgx-h100": 38.0, "dgx-h100-cap": 38.0},
        "power": {"dgx-a100": 6500.0, "dgx-h100": 10200.0, "dgx-h100-cap": 7140.0},
        "machines": {"dgx-a100": 1.0, "dgx-h100": 1.0, "dgx-h100-cap": 1.0}}  # fmt: skip


def small_problem(**fields: Any) -> Problem:
    return resolve(load_scenario({}, **SMALL | fields))


def all_plans(problem: Problem) -> list[tuple[dict[str, float], float]]:
    """Figures and carried rate of every vector of up to MOST machines."""
    ((_, candidates),) = prepare_search(problem).posed
    found = []
    for size in range(1, MOST + 1):
        for chosen in itertools.combinations_with_replacement(range(len(candidates)), size):
            pools = [(candidates[i], chosen.count(i)) for i in sorted(set(chosen))]
            rate = carried(pools)
            if rate > 0:
                names = [(c.configuration.machine.name, n) for c, n in pools]
                found.append(({k: math.fsum(each[m] * n for m, n in names) for k, each in EACH.items()}, rate))
    return found


def least(plans: list[tuple[dict[str, float], float]], y: str, rate_per_s: float) -> float:
    return min((f[y] for f, rate in plans if rate >= rate_per_s * (1 - 1e-6)), default=math.inf)


def test_the_figures_of_the_brute_force_are_those_of_the_catalog() -> None:
    problem = small_problem()
    for machine in problem.machines:
        assert machine.rated_power_w == EACH["power"][machine.name]
        price = problem.catalog.price_of(machine.name)
        assert price is not None and price.usd_per_hour == EACH["cost"][machine.name]


@pytest.mark.parametrize(
    ("x", "y"), [("power", "cost"), ("cost", "power"), ("machines", "cost"), ("power", "machines")]
)
def test_budgets_have_exactly_the_points_of_brute_force(x: str, y: str) -> None:
    fields = {"slo": ["ttft=1s", "tbt=25ms"]}
    plans = [f for f, rate in all_plans(small_problem(**fields)) if rate >= 20.0]
    best = {
        (round(f[x], 6), round(f[y], 6))
        for f in plans
        if not any(o[x] <= f[x] and o[y] <= f[y] and (o[x] < f[x] or o[y] < f[y]) for o in plans)
    }
    found = frontier(**SMALL | fields, x=x, y=y)
    assert [(round(p.x, 6), round(p.y, 6)) for p in found.points] == sorted(best)
    assert found.complete and all(p.status == "optimal" for p in found.points)
    assert len(best) > (1 if "machines" not in (x, y) else 0)


@pytest.mark.parametrize("y", ["cost", "machines"])
def test_loads_step_where_brute_force_does(y: str) -> None:
    tolerance = 0.01
    found = frontier(**SMALL, x="rate", y=y, start="5/s", stop="45/s")
    plans = all_plans(small_problem(rate="45/s"))
    for point in found.points:
        assert point.y == pytest.approx(least(plans, y, point.x * (1 - 1e-3)))
    for figures, rate in plans:
        if rate >= 5.0:
            reach = min(rate, 45.0)
            assert any(p.x >= reach / (1 + tolerance) and p.y <= figures[y] + 1e-9 for p in found.points)
    undominated(found, rising=True)


@pytest.mark.parametrize("x", ["ttft", "tbt"])
def test_limits_step_where_brute_force_does(x: str) -> None:
    two = {"machines": ["dgx-a100", "dgx-h100"]}
    found = frontier(**SMALL | two, x=x, y="cost", start="220ms" if x == "ttft" else "15ms", stop="1s", tolerance="5 %")
    problem = small_problem(**two)
    axis, _ = read_axes(x, "cost", problem.scenario)
    assert len(found.points) >= 3
    for point in found.points:
        at = least(all_plans(changed(problem, axis.at(point.x))), "cost", 20.0)
        below = least(all_plans(changed(problem, axis.at(point.x * (1 - 0.05)))), "cost", 20.0)
        assert point.y == pytest.approx(at)
        assert below > point.y or point is found.points[0]
    undominated(found, rising=False)


def undominated(found: Frontier, rising: bool) -> None:
    xs, ys = [p.x for p in found.points], [p.y for p in found.points]
    assert xs == sorted(set(xs))
    assert ys == sorted(set(ys), reverse=not rising)


def test_every_point_is_what_optimize_finds_there() -> None:
    found = frontier(slo=["ttft=1s"], rate="20/s", x="ttft", y="power", start="250ms", stop="1s", tolerance="10 %")
    for point in found.points[-2:]:
        plan = planner.optimize(slo=[f"ttft={point.x}s"], rate="20/s", objective="power", verify=False)
        assert plan.power_w == pytest.approx(point.y)
        assert point.plan.meets_objectives
        assert point.plan.scenario["slo"] == [str(parse_objective(f"ttft={point.x}s"))]
    found = frontier(rate="20/s", x="rate", y="cost", start="10/s", stop="30/s", tolerance="10 %")
    for point in found.points:
        assert point.plan.rate_per_s == pytest.approx(point.x) and point.plan.meets_objectives
        assert planner.optimize(rate=point.x, verify=False).cost_usd_per_hour == pytest.approx(point.y)


@pytest.mark.parametrize(
    "axis",
    [
        {"x": "power", "y": "cost"},
        {"x": "rate", "y": "cost", "start": "8/s", "stop": "30/s"},
        {"x": "ttft", "y": "cost", "start": "500ms", "stop": "1s"},
    ],
)
def test_every_simulated_point_is_what_optimize_confirms_there(axis: dict[str, str]) -> None:
    asked: dict[str, Any] = {"slo": ["ttft=1s", "tbt=200ms"], "rate": "30/s", "machines": ["dgx-a100", "dgx-h100"]}
    found = frontier(**asked, **axis, tolerance="20 %", verify=True)
    assert found.points and found.verified == "as each point says"
    for point in found.points:
        certificate = point.plan.certificate
        assert certificate is not None and certificate.status == "confirmed" and "simulated" in point.verified
        at = {"power": {"max_power": f"{point.x}W"}, "rate": {"rate": point.x}, "ttft": {"slo": [f"ttft={point.x}s",
              "tbt=200ms"]}}[axis["x"]]  # fmt: skip
        best = planner.optimize(**asked | at, exact=True)
        assert best.cost_usd_per_hour == pytest.approx(point.y), point.x
    assert all(a.y < b.y or a.y > b.y for a, b in itertools.pairwise(found.points))


def test_slowdowns_and_end_to_end_limits() -> None:
    found = frontier(slo=["splitwise"], rate="5/s", x="e2e.p90", y="cost", start="1.3x", stop="2x", tolerance="20 %")
    assert (found.x, found.x_unit) == ("e2e.p90", "x")
    undominated(found, rising=False)
    assert all(point.plan.meets_objectives for point in found.points)
    found = frontier(slo=["ttft=1s", "e2e=40s"], rate="20/s", x="rate", start="15/s", stop="30/s", tolerance="20 %")
    undominated(found, rising=True)
    assert all(point.plan.meets_objectives for point in found.points)


def test_a_range_cuts_the_frontier() -> None:
    wide = {"rate": "20/s", "x": "ttft", "y": "cost", "stop": "2s", "tolerance": "10 %"}
    whole = frontier(**wide, start="300ms")
    middle = whole.points[1].x * 1.001
    part = frontier(**wide, start=middle)
    assert [p.y for p in part.points] == [p.y for p in whole.points if p.x > middle] or part.points[0].x >= middle
    assert part.ends.startswith("the range begins at")
    budget = frontier(rate="20/s", slo=["ttft=1s", "tbt=25ms"], x="power", y="cost", stop="30 kW")
    assert all(p.x <= 30e3 for p in budget.points)


def test_an_interruption_keeps_what_is_done_and_says_so() -> None:
    def progress(text: str) -> None:
        if text.startswith("3 solves"):
            raise KeyboardInterrupt

    found = frontier(rate="20/s", x="ttft", y="cost", progress=progress)
    assert len(found.points) in (1, 2) and not found.complete and found.ends.startswith("interrupted")
    with pytest.raises(KeyboardInterrupt):
        frontier(x="ttft", y="cost", progress=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))


def test_what_is_not_proven_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    inner = module.FrontierWalk.solved

    def unproven(self: Any, *arguments: Any) -> Any:
        solution = inner(self, *arguments)
        if solution is None:
            return None
        selection = replace(solution.selection, status="limit", bound=0.9 * solution.selection.objective, gap=0.1)
        return replace(solution, selection=selection)

    monkeypatch.setattr(module.FrontierWalk, "solved", unproven)
    found = frontier(rate="20/s", x="rate", y="cost", start="10/s", stop="20/s")
    assert not found.complete
    assert all(p.status == "limit" and p.gap == pytest.approx(0.1) for p in found.points)


def test_records_and_json() -> None:
    found = frontier(rate="20/s", x="rate", y="machines", start="10/s", stop="30/s")
    records = found.to_records()
    assert [r["x"] for r in records] == [p.x for p in found.points]
    assert records[0]["x_unit"] == "requests/s" and "plan" not in records[0]
    assert Frontier.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("given", "kind", "where", "says"),
    [
        ({"x": "cost", "y": "cost"}, ScenarioError, "x", "both cost"),
        ({"x": "speed"}, UnknownNameError, "x", "unknown axis"),
        ({"x": "powr"}, UnknownNameError, "x", "power"),
        ({"y": "ttft"}, UnknownNameError, "y", "give ttft as x"),
        ({"y": "carbon"}, UnknownNameError, "y", "cost, machines, power"),
        ({"x": "ttft", "slo": "splitwise"}, ScenarioError, "x", "ttft.p50, ttft.p90, ttft.p99"),
        ({"x": "ttft.p101"}, ScenarioError, "x", "out of range"),
        ({"x": "power", "start": "50kW", "stop": "40kW"}, ScenarioError, "start", "range is empty"),
        ({"x": "rate", "start": "200/s", "stop": "100/s"}, ScenarioError, "start", "range is empty"),
        ({"x": "power", "start": "50"}, UnitError, "start", "needs its unit"),
        ({"x": "ttft", "start": "50kW"}, UnitError, "start", "time"),
        ({"x": "rate", "start": "0/s"}, ScenarioError, "start", "above 0"),
        ({"x": "ttft.p50", "slo": "splitwise", "stop": "2s"}, UnitError, "stop", "2x"),
        ({"tolerance": "200 %"}, ScenarioError, "tolerance", "50 %"),
        ({"tolerance": "1s"}, UnitError, "tolerance", "fraction"),
        ({"x": "cost", "y": "power", "machines": "dgx-h200"}, ScenarioError, "machines", "dgx-h200"),
        ({"max_power": "1 kW"}, InfeasibleError, "limits", "is enough"),
        ({"x": "rate", "max_power": "1 kW"}, InfeasibleError, "limits", "is enough"),
        ({"x": "ttft", "stop": "20ms"}, InfeasibleError, "slo", "at best"),
        ({"x": "power", "stop": "1kW"}, InfeasibleError, "limits", "is enough"),
    ],
)  # fmt: skip
def test_bad_input(given: dict[str, Any], kind: type[InputError], where: str, says: str) -> None:
    with pytest.raises(kind) as caught:
        frontier(**given)
    assert caught.value.where == where
    assert says in str(caught.value)


def test_positions_are_read_and_said_in_the_unit_of_the_axis() -> None:
    scenario = load_scenario({}, slo=["ttft=1s", "tbt=2x"])
    axis, y = read_axes("TPOT", "Cost", scenario)
    assert (axis.name, axis.unit, y.name) == ("tbt.p99", "x", "cost")
    assert axis.read("1.5x", "start") == 1.5 and axis.words(1.5) == "1.5x"
    axis, _ = read_axes("ttft.p50", "cost", scenario)
    assert (axis.unit, axis.read("200ms", "start")) == ("s", 0.2)
    assert FrontierAxis("power", "rated power", "W").words(40800.0) == "40.8 kW"
    assert np.isclose(changed(small_problem(), axis.at(0.3)).need.limits[-1].limit_s, 0.3).all()
