"""Which machines are considered: those with a current price by default, and stock in machines or accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.errors import CatalogError, InfeasibleError, ScenarioError, UnknownNameError
from planner.scenario.machines import machines_of_kind, owned_machines
from planner.scenario.resolve import resolve
from planner.scenario.scenario import MACHINES_VARIABLE, Scenario
from planner.scenario.scenario_file import load_scenario

HEAD = "source: my notes\nkind: quote\n"
BOX = HEAD.replace("quote", "estimate") + (
    "accelerator: h100-sxm\nn_accelerators: 8\nnetwork: {fabric: ethernet-tcp, n_nics: 1, nic_bandwidth: 100 Gbit/s}\n"
    "rated_power: 10 kW\nchassis_power: 2.5 kW\n"
)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MACHINES_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def considered(catalog: Catalog, **fields: Any) -> tuple[set[str], str]:
    problem = resolve(load_scenario({"slo": ["ttft=1s"], **fields}), catalog)
    return {m.name for m in problem.machines}, "\n".join(problem.notes)


def test_every_machine_with_a_current_price_is_considered_unless_some_are_named(catalog: Catalog) -> None:
    names, notes = considered(catalog)
    newest = max(p.date for n in names if (p := catalog.price_of(n)))
    assert len(names) > 100
    assert all((newest - price.date).days <= 365 for n in names if (price := catalog.price_of(n)))
    assert not names & {"dgx-a100", "dgx-h100", "dgx-h200"}
    assert "more than a year older than the newest (2026-11-09): dgx-a100 (2023-11-30), dgx-h100" in notes
    assert "for want of a price: " in notes and "dgx-h200" in notes.split("for want of a price: ")[1]
    assert considered(catalog, preset="splitwise")[0] == {"dgx-a100", "dgx-h100"}
    assert considered(catalog, machines=["dgx-h100"], preset="splitwise")[0] == {"dgx-h100"}


def test_a_named_book_a_stock_and_a_design_bring_their_machines_in(catalog: Catalog) -> None:
    assert {"dgx-a100", "dgx-h100"} <= considered(catalog, prices=["splitwise-2023"])[0]
    assert "dgx-h100" in considered(catalog, max_machines={"dgx-h100": 4})[0]
    assert considered(catalog, design="Splitwise-HA")[0] == {"dgx-a100", "dgx-h100"}


def test_age_is_counted_to_the_newest_price_and_not_to_today(tmp_path: Path) -> None:
    book = f"{HEAD}provider: p\ndate: 2030-01-01\non_demand: {{our-box: 20 USD/h}}\n"
    for path, text in (("machines/our-box.yaml", BOX), ("prices/ours.yaml", book)):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    names, notes = considered(Catalog([tmp_path]))
    assert names == {"our-box"}
    assert "lambda-8x-h100 (2026-09-20)" in notes


def test_a_broken_machine_of_an_overlay_drops_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "lambda-8x-h100.yaml").write_text(HEAD + "rated_power: 3 GB\n")
    names, notes = considered(Catalog([tmp_path]))
    assert "lambda-8x-h100" not in names and len(names) > 100
    assert "not considered: lambda-8x-h100: " in notes and "expected a power, got 'GB'" in notes


def test_one_small_instance_is_enough_for_a_small_model_and_load(catalog: Catalog) -> None:
    plan = planner.optimize(
        Scenario(model="llama-3.1-8b", rate_per_s=1.0), machines=["aws-g6e.xlarge", "8x-l40s", "coreweave-8x-l40s"],
        max_machines={"8x-l40s": 0}, catalog=catalog, verify=False,
    )  # fmt: skip
    assert [(p.machine, p.count) for p in plan.pools] == [("aws-g6e.xlarge", 1)]
    assert plan.accelerators == 1


def test_a_kind_is_an_accelerator_or_what_several_begin_with(catalog: Catalog) -> None:
    h100 = machines_of_kind("h100", catalog, where="max_machines")
    assert h100["dgx-h100"] == 8 and h100["lambda-2x-h100"] == 2 and h100["azure-nc80adis-h100-v5"] == 2
    assert "azure-nc80adis-h100-v5" not in machines_of_kind("h100-sxm", catalog, where="max_machines")
    assert not set(machines_of_kind("l4", catalog, where="max_machines")) & {"aws-g6e.xlarge", "8x-l40s"}
    with pytest.raises(UnknownNameError) as caught:
        machines_of_kind("h10", catalog, where="max_machines")
    assert "h100" in caught.value.suggestions


def test_a_stock_of_accelerators_is_that_of_machines_where_one_type_holds_them(catalog: Catalog) -> None:
    fields: dict[str, Any] = {"slo": ["ttft=1s", "tbt=200ms"], "machines": ["dgx-a100", "dgx-h100"], "rate": "80/s"}
    by_machine = planner.optimize(fields, max_machines={"dgx-h100": 3, "dgx-a100": 5}, catalog=catalog, verify=False)
    by_chip = planner.optimize(fields, max_machines={"h100": 24, "a100": 40}, catalog=catalog, verify=False)
    odd = planner.optimize(fields, max_machines={"h100": 31, "a100": 47}, catalog=catalog, verify=False)
    for plan in (by_chip, odd):
        assert [(p.role, p.machine, p.count) for p in plan.pools] == [
            (p.role, p.machine, p.count) for p in by_machine.pools
        ]


def test_a_stock_of_accelerators_holds_over_all_machines_that_have_them(catalog: Catalog) -> None:
    fields: dict[str, Any] = {
        "slo": ["ttft=1s"], "machines": ["lambda-2x-h100", "lambda-4x-h100", "lambda-8x-h100"], "rate": "40/s",
    }  # fmt: skip
    free = planner.optimize(fields, catalog=catalog, verify=False)
    assert free.accelerators is not None
    enough = planner.optimize(fields, max_machines={"h100": free.accelerators}, catalog=catalog, verify=False)
    assert enough.cost_usd_per_hour == pytest.approx(free.cost_usd_per_hour)
    with pytest.raises(InfeasibleError) as caught:
        planner.optimize(fields, max_machines={"h100": 8}, catalog=catalog, verify=False)
    line = next(x for x in str(caught.value.value).splitlines() if "max_machines h100" in x)
    least = int(line.split(" is enough")[0].split("; ")[1])
    found = planner.optimize(fields, max_machines={"h100": least}, catalog=catalog, verify=False)
    assert found.meets_objectives and found.accelerators is not None and found.accelerators <= least
    with pytest.raises(InfeasibleError):
        planner.optimize(fields, max_machines={"h100": least - 1}, catalog=catalog, verify=False)


def test_tokens_cost_what_the_plan_costs(catalog: Catalog) -> None:
    plan = planner.optimize(
        {"slo": ["ttft=1s"]}, machines=["dgx-a100", "dgx-h100"], design="Splitwise-HA", catalog=catalog, verify=False
    )
    prompts, outputs = plan.prompt_tokens_per_hour, plan.output_tokens_per_hour
    a, b = plan.cost_usd_per_million_prompt_tokens, plan.cost_usd_per_million_output_tokens
    assert prompts and outputs and a and b and plan.accelerators
    assert (prompts * a + outputs * b) / 1e6 == pytest.approx(plan.cost_usd_per_hour)
    prefill = next(p for p in plan.pools if p.role == "prefill")
    assert prefill.cost_usd_per_hour == pytest.approx(prompts * a / 1e6)
    assert plan.accelerators == sum(8 * p.count for p in plan.pools)
    tbt = next(p for p in plan.percentiles if p.metric == "tbt")
    assert tbt.p50_s and plan.output_tokens_per_s_per_user == pytest.approx(1 / tbt.p50_s)
    assert plan.output_tokens_per_s_per_accelerator == pytest.approx(outputs / 3600 / plan.accelerators)


def test_what_is_owned_may_be_told_in_accelerators(catalog: Catalog) -> None:
    pair = ("dgx-a100", "dgx-h100")
    assert owned_machines({"h100": 24, "a100": 41, "dgx-a100": 1}, catalog, pair) == {"dgx-h100": 3, "dgx-a100": 6}
    for owned, wanted, words in (
        ({"h100": 24}, ("dgx-h100", "lambda-8x-h100"), "each of dgx-h100, lambda-8x-h100 does"),
        ({"l40s": 2}, pair, "none of the machines considered does"),
    ):
        with pytest.raises(ScenarioError) as caught:
            owned_machines(owned, catalog, wanted)
        assert words in str(caught.value.rule) and caught.value.fix
    with pytest.raises(UnknownNameError):
        owned_machines({"h10": 1}, catalog, pair)


@pytest.mark.parametrize("amount", ["0 USD/h", "-3 USD/h"])
def test_a_price_of_nothing_is_refused_with_what_to_do(tmp_path: Path, amount: str) -> None:
    (tmp_path / "prices").mkdir()
    book = f"{HEAD}provider: p\ndate: 2026-11-20\non_demand: {{lambda-8x-h100: {amount}}}\n"
    (tmp_path / "prices" / "ours.yaml").write_text(book)
    with pytest.raises(CatalogError, match="a price must be above 0") as caught:
        Catalog([tmp_path]).price_of("lambda-8x-h100")
    assert caught.value.fix and str(caught.value.where).endswith("ours.yaml:5")


def test_a_replica_larger_than_the_stock_says_so() -> None:
    with pytest.raises(InfeasibleError) as raised:
        planner.optimize(
            model="deepseek-v3", rate="1/s", isl=2000, osl=300, machines=["lambda-8x-h100@2"],
            max_machines={"lambda-8x-h100": 1}, verify=False,
        )  # fmt: skip
    assert "takes 2 machines" in str(raised.value.rule) and raised.value.value == "lambda-8x-h100=1"
