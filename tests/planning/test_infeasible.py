"""When there is no plan: what collides, and a relaxation that really works."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import DoesNotFitError, InfeasibleError, ObjectiveUnreachableError, ScenarioError
from planner.units import MONEY_PER_HOUR, POWER, RATE, TIME, parse

# What the formulas say; proof by simulation has tests of its own.
optimize = functools.partial(planner.optimize, verify=False)

BASE: dict[str, Any] = {"slo": ["ttft=1s", "tbt=200ms"]}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def refused(catalog: Catalog, **fields: Any) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        optimize(BASE, catalog=catalog, **fields)
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize(
    ("design", "reason"),
    [
        ("Splitwise-dgx-h100+aws-p5.48xlarge", "dgx-h100 stands at own, aws-p5.48xlarge at aws"),
        ("Splitwise-dgx-h100+8x-l40s", "dgx-h100 is on infiniband, 8x-l40s on ethernet"),
    ],
)
def test_pools_that_cannot_pair_say_why(catalog: Catalog, design: str, reason: str) -> None:
    with pytest.raises(InfeasibleError, match=reason) as caught:
        optimize(BASE, catalog=catalog, design=design, objective="power")
    assert caught.value.where == "design"


def relaxations(error: InfeasibleError) -> dict[str, str]:
    """Lines of the error's value by the name of the limit."""
    lines = [line.strip() for line in str(error.value).splitlines()]
    return {line.split(":")[0]: line.split(":", 1)[1] for line in lines}


def enough(line: str) -> str:
    found = re.search(r"; (.+?) is enough", line)
    assert found, line
    return found[1]


def test_a_cost_budget_that_is_too_small_names_the_least_that_works(catalog: Catalog) -> None:
    error = refused(catalog, max_cost=100.0)
    lines = relaxations(error)
    assert set(lines) == {"max_cost", "rate"}
    assert "$100.00/h is too little" in lines["max_cost"]
    least = parse(enough(lines["max_cost"]), MONEY_PER_HOUR)
    assert optimize(BASE, max_cost=least, catalog=catalog).meets_objectives
    again = refused(catalog, max_cost=least - 0.01)
    assert parse(enough(relaxations(again)["max_cost"]), MONEY_PER_HOUR) == least


def test_a_power_budget_that_is_too_small_names_the_least_that_works(catalog: Catalog) -> None:
    error = refused(catalog, max_power="20 kW", objective="cost")
    text = enough(relaxations(error)["max_power"])
    least = parse(text, POWER)
    assert optimize(BASE, max_power=text, catalog=catalog).power_w <= least
    refused(catalog, max_power=least * 0.998)


@pytest.mark.parametrize("fields", [{"max_cost": 100.0}, {"max_power": "20 kW"}, {"max_total_machines": 3}])
def test_the_rate_that_is_named_can_be_served_within_the_limits(catalog: Catalog, fields: dict[str, Any]) -> None:
    line = relaxations(refused(catalog, **fields))["rate"]
    found = re.search(r"within the limits (\S+) is served", line)
    assert found
    rate = parse(found[1], RATE)
    assert optimize(BASE, rate=rate, catalog=catalog, **fields).meets_objectives
    refused(catalog, rate=rate * 1.02, **fields)


def test_too_few_machines_in_all_names_how_many(catalog: Catalog) -> None:
    least = int(enough(relaxations(refused(catalog, max_total_machines=2))["max_total_machines"]))
    assert optimize(BASE, max_total_machines=least, catalog=catalog).machines <= least
    refused(catalog, max_total_machines=least - 1)


def test_too_few_rack_units_name_the_least_that_work(catalog: Catalog) -> None:
    least = int(enough(relaxations(refused(catalog, max_rack_units=12))["max_rack_units"]))
    plan = optimize(BASE, max_rack_units=least, catalog=catalog)
    assert plan.rack_units is not None and 12 < plan.rack_units <= least
    refused(catalog, max_rack_units=least - 1)


def test_a_machine_of_unknown_rack_units_is_named_or_left_out(catalog: Catalog) -> None:
    unknown = next(n for n in catalog.names(Machine) if catalog.machine(n).rack_units is None)
    with pytest.raises(ScenarioError, match=f"rack units of {unknown} are not known"):
        optimize(BASE, machines=[unknown], objective="power", max_rack_units=40, catalog=catalog)


def test_stocks_that_are_too_small_are_named_one_by_one_with_the_least_that_works(catalog: Catalog) -> None:
    stock = {"dgx-h100": 2, "dgx-a100": 2}
    lines = relaxations(refused(catalog, max_machines=stock))
    for machine in stock:
        least = int(enough(lines[f"max_machines {machine}"]))
        more = optimize(BASE, max_machines=stock | {machine: least}, catalog=catalog)
        assert more.meets_objectives
        refused(catalog, max_machines=stock | {machine: least - 1})


def test_too_few_pools_are_named(catalog: Catalog) -> None:
    fields = {"max_machines": {"dgx-h100": 3, "dgx-a100": 3}, "max_pools": 1}
    lines = relaxations(refused(catalog, **fields))
    assert enough(lines["max_pools"]) == "2"
    assert optimize(BASE, catalog=catalog, **(fields | {"max_pools": 2})).meets_objectives


def test_limits_that_collide_together_are_told_as_such(catalog: Catalog) -> None:
    error = refused(catalog, max_machines={"dgx-h100": 1, "dgx-a100": 1}, max_cost=30.0, max_power="10 kW")
    lines = relaxations(error)
    together = lines["all limits together; without them"]
    assert "mixed" in together and "kW" in together
    assert "ttft.p99=1s" in (error.rule or "")


def test_spares_count_against_a_budget(catalog: Catalog) -> None:
    plan = optimize(BASE, catalog=catalog)
    error = refused(catalog, max_cost=plan.cost_usd_per_hour, spares=1)
    least = parse(enough(relaxations(error)["max_cost"]), MONEY_PER_HOUR)
    assert plan.cost_usd_per_hour is not None and least > plan.cost_usd_per_hour


def test_a_budget_below_one_machine_serves_nothing(catalog: Catalog) -> None:
    error = refused(catalog, max_cost=5.0, objective="throughput")
    least = parse(enough(relaxations(error)["max_cost"]), MONEY_PER_HOUR)
    assert optimize(BASE, max_cost=least, objective="throughput", catalog=catalog).rate_per_s > 0
    assert "rate" not in relaxations(error)
    assert "any rate" in (error.rule or "")


# -- objectives out of reach ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["ttft", "tbt", "e2e"])
def test_an_objective_below_the_unloaded_latency_names_it_and_what_can_be_reached(
    catalog: Catalog, metric: str
) -> None:
    with pytest.raises(ObjectiveUnreachableError) as caught:
        optimize(slo=["ttft=10s", f"{metric}.p90=1us"], rate=0.001, catalog=catalog)
    value = str(caught.value.value)
    assert value.startswith(f"{metric.upper()} p90 <= 1 us: at best ")
    assert "dgx-h100" in value
    reachable = re.search(r"at best (.+?), unloaded", value)
    assert reachable
    limit = parse(reachable[1], TIME) * 1.02
    slo = ["ttft=10s", f"{metric}.p90={limit:.9f}s"]
    plan = optimize(slo=slo, rate=0.001, catalog=catalog)
    assert plan.meets_objectives


def test_a_slowdown_below_what_the_quickest_machine_reaches(catalog: Catalog) -> None:
    with pytest.raises(ObjectiveUnreachableError) as caught:
        optimize(slo="ttft=0.01x", catalog=catalog)
    assert re.search(r"TTFT p99 <= 0.01x: at best 0\.\d+x, unloaded", str(caught.value.value))


def test_every_objective_out_of_reach_is_named(catalog: Catalog) -> None:
    with pytest.raises(ObjectiveUnreachableError) as caught:
        optimize(slo=["ttft=1us", "tbt=1us", "e2e=1000s"], catalog=catalog)
    value = str(caught.value.value)
    assert "TTFT p99" in value and "TBT p99" in value and "E2E" not in value


def test_requests_too_long_for_any_machine(catalog: Catalog, tmp_path: Any) -> None:
    trace = tmp_path / "long.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0.0,100,10\n1.0,9000000,20\n")
    with pytest.raises(DoesNotFitError) as caught:
        optimize(slo="ttft=1000s", workload=str(trace), catalog=catalog)
    assert "9,000,020 tokens" in caught.value.what
    assert str(caught.value.value).count(" bytes") == 2


def test_a_model_that_fits_none_of_several_machines_gives_the_bytes_of_each(catalog: Catalog) -> None:
    with pytest.raises(DoesNotFitError) as caught:
        # One of each, for two or more would be taken as a group that holds it.
        stock = {"dgx-a100": 1, "dgx-h100": 1}
        optimize(slo="ttft=10s", model="llama-3.1-405b", preset="splitwise", max_machines=stock, catalog=catalog)
    value = str(caught.value.value)
    assert value.count(" bytes") == 4
    assert "dgx-a100" in value and "dgx-h100" in value
