"""Why machines are not chosen: held against plans that are asked for by themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import InputError
from planner.export.tables.why import why_table
from planner.studies.why_result import Reason, Why

README: dict[str, Any] = {"slo": ["ttft=1s"], "machines": "current", "verify": False}


@pytest.fixture(scope="module")
def every() -> Why:
    return planner.why("all", **README)


def _reason(found: Why, name: str) -> Reason:
    (reason,) = [r for r in found.reasons if r.target == name]
    return reason


def test_every_machine_of_the_catalog_has_a_reason_on_the_scenario_of_the_readme(every: Why) -> None:
    assert [r.target for r in every.reasons] == Catalog().names(Machine)
    chosen = {p.machine for p in every.plan.pools}
    assert {r.target for r in every.reasons if r.status == "chosen"} == chosen
    assert all(r.reason for r in every.reasons)
    assert {r.status for r in every.reasons} <= {
        "chosen", "dearer", "does_not_fit", "unreachable", "no_price", "old_price",
    }  # fmt: skip
    # What the plan says of machines that it dropped, the reasons say too.
    assert {r.machine for r in every.plan.rejected} <= {r.target for r in every.reasons if r.status == "does_not_fit"}
    notes = " ".join(every.plan.notes)
    for reason in every.reasons:
        if reason.status == "no_price":
            assert reason.target in notes.partition("want of a price: ")[2]
        if reason.status == "old_price":
            assert f"{reason.target} (2" in notes


@pytest.mark.parametrize("name", ["lambda-8x-h100", "crusoe-8x-h200", "aws-p4d.24xlarge"])
def test_dearer_by_what_it_costs_by_itself(every: Why, name: str) -> None:
    alone = planner.optimize(**README | {"machines": [name]}, design="baseline")
    reason = _reason(every, name)
    assert reason.value == pytest.approx(alone.cost_usd_per_hour)
    assert reason.relative == pytest.approx(alone.cost_usd_per_hour / every.plan.cost_usd_per_hour - 1)
    # At the price it takes, a plan of it alone costs what the plan does.
    assert reason.wins_below_usd_per_hour is not None
    assert reason.wins_below_usd_per_hour * alone.machines == pytest.approx(every.plan.cost_usd_per_hour)


def test_the_price_that_it_takes_is_the_one_at_which_it_is_chosen() -> None:
    asked = {"rate": "20/s", "machines": ["dgx-a100", "dgx-h100"], "design": "baseline", "verify": False,
             "exact": True, "max_pools": 1}  # fmt: skip
    best = planner.optimize(**asked)
    loser = "dgx-h100" if best.pools[0].machine == "dgx-a100" else "dgx-a100"
    (standing,) = best.standings
    assert standing.machine == loser and standing.wins_below_usd_per_hour is not None
    price = Catalog().price_of(loser)
    assert price is not None
    factor = standing.wins_below_usd_per_hour / price.usd_per_hour
    for times, wins in ((0.99, True), (1.01, False)):
        plan = planner.optimize(**asked, suppose={"prices": {loser: factor * times}})
        assert (plan.pools[0].machine == loser) is wins


def test_an_objective_that_is_out_of_reach_is_reached_at_the_value_named(every: Why) -> None:
    reason = _reason(every, "gcp-a2-ultragpu-2g")
    assert reason.status == "unreachable"
    said = re.fullmatch(r"TTFT p99 of more than ([\d.]+) s", reason.would_take[0])
    assert said is not None
    best_s = float(said[1])
    alone: dict[str, Any] = README | {"machines": ["gcp-a2-ultragpu-2g"]}
    assert planner.optimize(**alone | {"slo": [f"ttft={1.1 * best_s:.3f}s"]}).meets_objectives
    with pytest.raises(planner.ObjectiveUnreachableError):
        planner.optimize(**alone | {"slo": [f"ttft={0.99 * best_s:.3f}s"]})


@pytest.mark.parametrize(
    ("target", "fields", "status", "says"),
    [
        ("dgx-h100", {"machines": ["dgx-a100"]}, "not_named", "other machines were named"),
        ("dgx-h100", {"max_machines": {"dgx-h100": 0}}, "no_stock", "its stock is zero"),
        ("dgx-h100", {"design": "Baseline-A100"}, "not_named", "the design Baseline-A100 is not made of it"),
        ("dgx-spark", {}, "does_not_fit", "does not fit"),
        ("8x-h800", {}, "not_named", "other machines were named"),
        ("dgx-a100", {"objective": "power", "rate": "100/s"}, "dearer", "more by"),
        ("dgx-a100", {"objective": "throughput", "max_cost": "200 USD/h"}, "dearer", "less load by"),
    ],
)
def test_each_kind_of_reason(target: str, fields: dict[str, Any], status: str, says: str) -> None:
    asked = {"rate": "30/s", "verify": False, **fields}
    if asked.get("objective") == "throughput":
        del asked["rate"]
    (reason,) = planner.why(target, **asked).reasons
    assert (reason.status, says in reason.reason) == (status, True), reason


def test_a_broken_entry_and_an_engine_that_cannot(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "mine.yaml").write_text("accelerator: no-such-chip\nsource: me\n")
    (reason,) = planner.why("mine", rate="30/s", verify=False, catalog=tmp_path).reasons
    assert reason.status == "broken"
    # What the runtime's file does not say it runs: sparse latent attention on Ampere.
    asked = {"rate": "1/s", "model": "deepseek-v3.2", "machines": ["hyperstack-8x-b200"], "slo": ["ttft=60s"]}
    (reason,) = planner.why("coreweave-8x-a100", verify=False, **asked).reasons
    assert reason.status == "unsupported" and "needs Hopper" in reason.reason


def test_a_design() -> None:
    found = planner.why("Splitwise-HA", rate="70/s", verify=False)
    (reason,) = found.reasons
    alone = planner.optimize(rate="70/s", verify=False, design="Splitwise-HA")
    assert reason.value == pytest.approx(alone.solver.value)
    assert (reason.status == "chosen") == (found.plan.design == "Splitwise-HA")
    (reason,) = planner.why(found.plan.design, rate="70/s", verify=False).reasons
    assert reason.status == "chosen"


def test_a_plan_file_is_asked_again(tmp_path: Path) -> None:
    import datetime

    plan = planner.optimize(rate="20/s", machines=["dgx-a100"], verify=False)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    found = planner.why("dgx-h100", file)
    assert found.plan.pools == plan.pools and found.changed_since == ""
    text = why_table(found, datetime.date(2026, 12, 1))
    assert "dgx-h100: other machines were named" in text and "It takes" in text
    assert found.to_records()[0]["target"] == "dgx-h100"


def test_what_is_neither_machine_nor_design() -> None:
    with pytest.raises(InputError, match="dgx-h101") as caught:
        planner.why("dgx-h101", verify=False)
    assert "dgx-h100" in caught.value.suggestions
