"""Sensitivity: prices and times against what scales, flips against closed forms, draws against quadrature."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError, ScenarioError, UnknownNameError
from planner.planning.evaluate import evaluate_cluster
from planner.planning.search import solve_problem
from planner.scenario.changes import load_of, supposing
from planner.scenario.cluster import read_cluster
from planner.scenario.resolve import changed, resolve
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.studies.bought import misses
from planner.studies.uncertain_input import uncertain_inputs

ONE_POOL: dict[str, Any] = {"design": "baseline", "max_pools": 1, "verify": False}  # A100 or H100, mixed
QUICK: dict[str, Any] = {"machines": "dgx-h100", "design": "baseline", "verify": False}
NOTHING = {"price": 0.0, "load": 0.0, "prompt": 0.0, "output": 0.0, "arrival-cv2": 0.0, "step-time": 0.0}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def test_cost_is_homogeneous_in_prices(catalog: Catalog) -> None:
    """All prices doubled: the same plan at twice the cost."""
    problem = resolve(Scenario(verify=False), catalog)
    once = solve_problem(problem)
    twice = solve_problem(changed(problem, supposing(prices={"dgx-a100": 2.0, "dgx-h100": 2.0})))
    assert twice.selection.objective == pytest.approx(2.0 * once.selection.objective, rel=1e-9)
    assert twice.selection.counts == once.selection.counts
    # And what is kept of the candidates was not changed.
    assert solve_problem(problem).selection.objective == once.selection.objective


def test_repriced_candidates_give_what_a_catalog_with_those_prices_gives(catalog: Catalog, tmp_path: Any) -> None:
    book = tmp_path / "prices" / "splitwise-2023.yaml"
    book.parent.mkdir()
    book.write_text("on_demand: {dgx-h100: 57 USD/h}\nsource: test\nkind: quote\n")
    scenario = Scenario(verify=False)
    theirs = solve_problem(resolve(scenario, Catalog([tmp_path])))
    ours = solve_problem(changed(resolve(scenario, catalog), supposing(prices={"dgx-h100": 1.5})))
    assert ours.selection.objective == pytest.approx(theirs.selection.objective, rel=1e-9)
    assert ours.selection.counts == theirs.selection.counts


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_time_is_homogeneous_too(catalog: Catalog, factor: float) -> None:
    """Steps, limits and gaps between arrivals all longer by one factor: the same machines."""
    base = load_scenario(QUICK, rate="70/s", slo=["ttft=0.6s", "tbt=0.1s"])
    slower = load_scenario(base, rate_per_s=70.0 / factor, slo=[f"ttft={0.6 * factor}s", f"tbt={0.1 * factor}s"])
    ours = solve_problem(changed(resolve(slower, catalog), supposing(step_times={"h100-sxm": factor}))).selection
    theirs = solve_problem(resolve(base, catalog)).selection
    assert ours.counts == theirs.counts


def test_a_perturbation_of_the_load_and_the_sizes_is_the_scenario_with_those(catalog: Catalog) -> None:
    scenario = load_scenario(QUICK)
    base = resolve(scenario, catalog)
    more = changed(base, load_of(1.5))
    assert more.need.rate_per_s == 105.0
    assert changed(base, load_of(1.0)) is base and more.scenario.rate_per_s == 105.0
    longer = changed(base, supposing(prompt_tokens=1.2, output_tokens=0.5))
    assert longer.sizes.mean_prompt_tokens == pytest.approx(1.2 * base.sizes.mean_prompt_tokens, rel=1e-3)
    assert longer.sizes.mean_output_tokens == pytest.approx(0.5 * base.sizes.mean_output_tokens, rel=1e-2)
    burst = changed(base, supposing(arrival_cv2=3.0))
    assert burst.need.traffic.arrival_cv2 == pytest.approx(3.0 * base.need.traffic.arrival_cv2)


def test_the_bought_plan_misses_what_evaluate_says_it_misses(catalog: Catalog) -> None:
    """The same machines in another model of the cluster, at loads on both sides of the breaking one."""
    scenario = load_scenario(QUICK, slo=["ttft=0.6s", "tbt=0.1s"])
    problem = resolve(scenario, catalog)
    bought = solve_problem(problem)
    assert misses(bought, problem) == []
    pools = [
        {
            "role": m.role, "machine": m.configuration.machine.name, "count": m.count,
            "tensor_parallel": m.configuration.layout.tensor_parallel,
        }
        for m in bought.members
    ]  # fmt: skip
    verdicts = []
    for load in (0.9, 1.0, 1.1, 1.3):
        other = changed(problem, load_of(load))
        verdicts.append(not misses(bought, other))
        assert evaluate_cluster(other, read_cluster({"pools": pools})).meets_objectives is verdicts[-1]
    assert verdicts[0] and not verdicts[-1]


@pytest.fixture(scope="module")
def one_pool() -> planner.Sensitivity:
    """Two designs of one pool, and errors of prices alone."""
    return planner.sensitivity(ONE_POOL, errors=NOTHING | {"price.dgx-h100": 0.5}, draws=150, workers=1, rate="70/s")


def _prices(found: planner.Sensitivity) -> tuple[float, float]:
    """What the cheapest plan of H100 and of A100 costs, by `optimize`."""
    plans = [planner.optimize(ONE_POOL, design=f"Baseline-{name}", rate="70/s") for name in ("H100", "A100")]
    costs = [plan.cost_usd_per_hour for plan in plans]
    assert costs[0] is not None and costs[1] is not None
    return costs[0], costs[1]


def test_a_price_flips_where_two_one_pool_designs_cost_the_same(one_pool: planner.Sensitivity) -> None:
    h100, a100 = _prices(one_pool)
    flips = {(f.input, f.direction): f for f in one_pool.flips}
    assert flips["price.dgx-h100", "higher"].factor == pytest.approx(a100 / h100, rel=1e-9)
    assert flips["price.dgx-h100", "higher"].design == "Baseline-A100"
    assert flips["price.dgx-h100", "lower"].at is None
    assert flips["price.dgx-a100", "lower"].factor == pytest.approx(h100 / a100, rel=1e-9)
    assert flips["price.dgx-a100", "higher"].at is None


def test_the_mean_of_the_draws_is_that_of_quadrature(one_pool: planner.Sensitivity) -> None:
    """E[min(h f, a)] with f uniform from 0.5 to 1.5, integrated by hand."""
    h, a = _prices(one_pool)
    c = a / h
    mean = h * (c * c - 0.25) / 2.0 + a * (1.5 - c)
    found = one_pool.monte_carlo
    assert found is not None and found.value_mean is not None
    sd = h / 12**0.5
    assert abs(found.value_mean - mean) < 4 * sd / 150**0.5
    assert found.designs["Baseline-A100"] == pytest.approx(1.5 - c, abs=4 * (0.25 / 150) ** 0.5)
    assert found.bought_holds_fraction == 1.0
    assert abs(found.bought_value_mean - h) < 4 * sd / 150**0.5


def test_one_input_at_a_time(one_pool: planner.Sensitivity) -> None:
    h, a = _prices(one_pool)
    (effect,) = one_pool.inputs
    assert (effect.input, effect.error_fraction, effect.source) == ("price.dgx-h100", 0.5, "given")
    assert (effect.low.value, effect.high.value) == (pytest.approx(h / 2), pytest.approx(a))
    assert (effect.low.design, effect.high.design) == ("Baseline-H100", "Baseline-A100")
    assert (effect.low.bought_value, effect.high.bought_value) == (pytest.approx(h / 2), pytest.approx(1.5 * h))
    records = one_pool.to_records()
    assert [(r["side"], r["factor"]) for r in records] == [("low", 0.5), ("high", 1.5)]


def test_flips_agree_with_plans_on_a_grid_of_prices(catalog: Catalog) -> None:
    """Brute force: the design on a grid of prices, all designs of A100 and H100 in the race.

    A price flips where two proven plans cost the same, and so the grid asks for the best plan to the last dollar: just
    beyond it, a simpler plan that is nearly as good would still be preferred.
    """
    found = planner.sensitivity(errors=NOTHING, draws=0, workers=1, exact=True)
    higher = next(f.factor for f in found.flips if (f.input, f.direction) == ("price.dgx-h100", "higher"))
    assert higher is not None
    problem = resolve(Scenario(verify=False, exact=True), catalog)
    from planner.planning.record import design_of

    for factor in (0.3, 0.8, higher * 0.999, higher * 1.001):
        design = design_of(solve_problem(changed(problem, supposing(prices={"dgx-h100": factor}))).members)
        assert (design == found.design) is (factor < higher), factor


def test_processes_give_the_same_and_more_work_never_costs_less() -> None:
    arguments: dict[str, Any] = {"draws": 6, "flips": False, "rate": "70/s"}
    serial = planner.sensitivity(QUICK, workers=1, **arguments)
    assert planner.sensitivity(QUICK, workers=2, **arguments) == serial
    for effect in serial.inputs:
        assert effect.low.value is not None and effect.high.value is not None
        assert effect.low.value <= effect.high.value
    assert {e.input for e in serial.inputs} == {
        "load", "prompt", "output", "arrival-cv2", "price.dgx-h100", "step-time.h100-sxm"
    }  # fmt: skip
    assert all(e.source == "stated by vllm-2026" for e in serial.inputs if e.input.startswith("step-time"))
    load = next(e for e in serial.inputs if e.input == "load")
    assert load.low.bought_holds and not load.high.bought_holds
    assert load.high.bought_misses


def test_what_no_plan_can_carry_is_said(catalog: Catalog) -> None:
    found = planner.sensitivity(
        QUICK, errors=NOTHING | {"load": 0.5}, draws=20, flips=False, workers=1, rate="70/s",
        max_machines={"dgx-h100": 4},
    )  # fmt: skip
    (effect,) = found.inputs
    assert effect.high.value is None and effect.high.design is None
    assert effect.swing is None
    assert found.monte_carlo is not None
    assert 0.2 < found.monte_carlo.no_plan_fraction < 0.8


def test_errors_that_make_no_sense_are_refused(catalog: Catalog) -> None:
    problem = resolve(load_scenario(QUICK), catalog)
    with pytest.raises(UnknownNameError) as caught:
        uncertain_inputs(problem, {"prise": 0.1})
    assert "price" in caught.value.suggestions
    with pytest.raises(UnknownNameError):
        uncertain_inputs(problem, {"price.dgx-a100": 0.1})  # not considered
    for error in (-0.1, 1.0, 7.0, float("nan")):
        with pytest.raises(ScenarioError, match="not an error of load"):
            uncertain_inputs(problem, {"load": error})
    assert [i.name for i in uncertain_inputs(problem, NOTHING | {"step-time": 0.3})] == ["step-time.h100-sxm"]
    with pytest.raises(ScenarioError, match="number of draws"):
        planner.sensitivity(QUICK, draws=-1)
    with pytest.raises(ScenarioError, match="throughput"):
        planner.sensitivity(QUICK, objective="throughput", max_cost=400.0)
    with pytest.raises(InfeasibleError):
        planner.sensitivity(QUICK, slo="ttft=1ms", workers=1)
