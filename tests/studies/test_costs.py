"""Costs of a plan under each price plan: by hand from the price book, and what they must add up to."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.economics.finance import net_present_value
from planner.export.tables.cost import cost_table
from planner.studies.cost_report import CostReport, PricePlanCost

BOOK = """source: an offer of ours
kind: quote
provider: shop
date: 2026-11-01
on_demand: {dgx-h100: 40 USD/h, dgx-a100: 18 USD/h}
reserved_1y: {dgx-h100: 30 USD/h}
reserved_3y: {dgx-h100: 20 USD/h, dgx-a100: 9 USD/h}
spot: {dgx-h100: 16 USD/h, dgx-a100: 7 USD/h}
owned:
  dgx-h100: {purchase: $300k, life: 3 years, residual: 10 %, maintenance: 4 %}
  dgx-a100: {purchase: $150k, life: 3 years}
terms:
  spot: {dgx-h100: {interruptions: 0.02/h}}
  reserved_3y: {dgx-h100: {minimum_order: 8}}
  owned: {dgx-h100: {lead_time: 2 months, max_count: 1}}
"""
POOLS = [{"role": "mixed", "machine": "dgx-h100", "count": 2, "spares": 1, "tensor_parallel": 4}]
ONE = [{"role": "mixed", "machine": "dgx-h100", "count": 1}]
SPLIT = [
    {"role": "prefill", "machine": "dgx-h100", "count": 2, "tensor_parallel": 8},
    {"role": "decode", "machine": "dgx-a100", "count": 2, "tensor_parallel": 8},
]
Costs = Callable[..., CostReport]


@pytest.fixture
def costs(tmp_path: Path) -> Costs:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "shop.yaml").write_text(BOOK)

    def of(pools: Any = POOLS, **arguments: Any) -> CostReport:
        usual: dict[str, Any] = {"rate": "5/s", "prices": "shop", "catalog": tmp_path}
        return planner.cost(pools, **(usual | arguments))

    return of


def plans_of(report: CostReport) -> dict[str, PricePlanCost]:
    return {p.plan: p for p in report.plans}


def test_every_price_plan_by_hand(costs: Costs) -> None:
    found = plans_of(
        costs(use="50 %", cost_of_capital=0.0, pue=1.0, electricity="0.10 USD/kWh", spot_recovery="15 min")
    )
    assert found["on_demand"].usd_per_hour == pytest.approx(3 * 40 * 0.5)
    assert found["reserved_1y"].usd_per_hour == pytest.approx(3 * 30)
    assert found["spot"].usd_per_hour == pytest.approx(3 * 16 / (1 - 0.02 * 0.25) * 0.5)
    report = costs(use="50 %", cost_of_capital=0.0, pue=1.0, electricity="0.10 USD/kWh")
    assert report.energy is not None
    electricity = report.energy.energy_kwh_per_hour * 0.10 * 0.5
    owned = plans_of(report)["owned"]
    assert owned.electricity_usd_per_hour == pytest.approx(electricity)
    # No interest: 90 % of 300,000 over 3 years and 4 % a year, for each of three machines.
    assert owned.usd_per_hour == pytest.approx(3 * (90e3 + 12e3) / 8760 + electricity)
    assert owned.upfront_usd == pytest.approx(900e3)
    assert owned.total_usd == pytest.approx(owned.usd_per_hour * 26280)
    assert owned.usd_per_accelerator_hour == pytest.approx(owned.usd_per_hour / 24)
    assert [p.usd_per_hour for p in report.plans] == sorted(p.usd_per_hour for p in report.plans)


def test_present_value_is_that_of_the_payments(costs: Costs) -> None:
    found = plans_of(costs(cost_of_capital="8 %", electricity=0.0))
    rent, monthly = found["reserved_3y"].usd_per_hour * 730, 1.08 ** (1 / 12) - 1
    assert found["reserved_3y"].present_value_usd == pytest.approx(net_present_value(monthly, [0, *[rent] * 36]))
    # Over its life, that of an owned machine is the purchase, the maintenance every month and the resale.
    paid = net_present_value(monthly, [900e3, *[3e3] * 36]) - 90e3 / 1.08**3
    assert found["owned"].present_value_usd == pytest.approx(paid)


@pytest.mark.parametrize("payments", ["arrears", "advance"])
def test_present_value_of_rent_against_numpy_financial(costs: Costs, payments: str) -> None:
    """At the ends of years it was 3.6 % too low."""
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    found = plans_of(costs(payments=payments, cost_of_capital="8 %"))["on_demand"]
    when = "end" if payments == "arrears" else "begin"
    worth = financial.pv(1.08 ** (1 / 12) - 1, 36, -found.usd_per_month, when=when)
    assert found.present_value_usd == pytest.approx(worth)
    yearly = financial.pv(0.08, 3, -12 * found.usd_per_month)
    assert worth / yearly == pytest.approx(1.036 if payments == "arrears" else 1.0428, abs=2e-4)


def test_reservations_are_paid_for_whole_terms(costs: Costs) -> None:
    report = costs(horizon="18 months")
    found = plans_of(report)
    # After a year six months on demand for 40 cost less than another whole term for 30; three years are paid whole.
    assert (found["reserved_1y"].committed_months, found["reserved_3y"].committed_months) == (12.0, 36.0)
    assert found["reserved_1y"].total_usd == pytest.approx((90 * 12 + 120 * 6) * 730)
    assert found["reserved_3y"].total_usd == pytest.approx(60 * 36 * 730)
    assert found["reserved_1y"].usd_per_hour == pytest.approx(found["reserved_1y"].total_usd / (18 * 730))
    assert any("1 x 12 months reserved, and 6 months on demand" in note for note in found["reserved_1y"].notes)
    assert found["on_demand"].total_usd == pytest.approx(120 * 18 * 730)
    assert any("whole terms" in note for note in found["reserved_3y"].notes)


def test_a_term_ends_and_it_goes_on_on_demand(tmp_path: Path) -> None:
    """13 months of one DGX H100 for 26 reserved and 32 on demand: 251,120, where two whole terms are 455,520."""
    (tmp_path / "prices").mkdir()
    head = "source: an offer\nkind: quote\nprovider: acme\ndate: 2026-11-01\n"
    (tmp_path / "prices" / "a.yaml").write_text(
        head + "on_demand: {dgx-h100: 32 USD/h}\nreserved_1y: {dgx-h100: 26 USD/h}\n"
    )
    report = planner.cost(ONE, rate="1/s", catalog=tmp_path, horizon="13 months")
    assert plans_of(report)["reserved_1y"].total_usd == pytest.approx(251_120)
    (tmp_path / "prices" / "a.yaml").write_text(
        head + "reserved_1y: {dgx-h100: 26 USD/h}\nterms: {reserved_1y: {dgx-h100: {lead_time: 45 weeks}}}\n"
    )
    (tmp_path / "prices" / "b.yaml").write_text(head + "on_demand: {dgx-h100: 38 USD/h}\n")
    late = plans_of(planner.cost(ONE, rate="1/s", catalog=tmp_path, horizon="1 year"))["reserved_1y"]
    assert late.total_usd == pytest.approx(45 * 168 * 38 + 8760 * 26)


def test_notes_say_what_stands_in_the_way(costs: Costs) -> None:
    found = plans_of(costs(start="2026-12-01"))
    assert any("sold from 8 machines" in note for note in found["reserved_3y"].notes)
    assert any("at most 1 to be had" in note for note in found["owned"].notes)
    assert any("2.0 months after the start" in note for note in found["owned"].notes)
    assert any("0.02 times an hour; 0.5 % of its time lost" in note for note in found["spot"].notes)


def test_split_pools_and_a_price_plan_that_lacks_one(costs: Costs) -> None:
    report = costs(SPLIT)
    found = plans_of(report)
    assert {m.plan: m.machines for m in report.missing} == {"reserved_1y": ["dgx-a100"]}
    assert found["on_demand"].usd_per_hour == pytest.approx(2 * 40 + 2 * 18)
    # The prefill pool bears prompts, the decode pool output.
    prompt, output = report.prompt_tokens_per_hour / 1e6, report.output_tokens_per_hour / 1e6
    assert found["on_demand"].usd_per_million_prompt_tokens == pytest.approx(80 / prompt)
    assert found["on_demand"].usd_per_million_output_tokens == pytest.approx(36 / output)
    assert found["on_demand"].usd_per_million_tokens == pytest.approx(116 / (prompt + output))
    assert any("not known" in note for note in found["spot"].notes)
    records = report.to_records()
    assert len(records) == 2 * 4 + 1
    assert sum(r["usd_per_hour"] for r in records if r["plan"] == "owned") == pytest.approx(found["owned"].usd_per_hour)


def test_owning_against_renting_the_like(costs: Costs) -> None:
    report = costs()
    rows = {(row.rented_machine, row.plan): row for row in report.break_even}
    assert ("dgx-h100", "on_demand") in rows and ("aws-p5.48xlarge", "on_demand") in rows
    assert not any(machine.startswith(("dgx-a100", "dgx-h200", "dgx-h100-cap")) for machine, _ in rows)
    own = rows["dgx-h100", "on_demand"]
    assert own.use_fraction == pytest.approx(own.owned_fixed_usd_per_hour / (40 - own.owned_usage_usd_per_hour))
    saving = 40 - 12e3 / 8760 - own.owned_usage_usd_per_hour
    assert own.payback_months == pytest.approx(300e3 / saving / 730)
    assert own.discounted_payback_months is not None and own.discounted_payback_months > own.payback_months


def test_dearer_electricity_and_capital_are_never_cheaper(costs: Costs) -> None:
    def owned(**arguments: Any) -> float:
        return plans_of(costs(**arguments))["owned"].usd_per_hour

    for name, values in {
        "electricity": [0.0, 0.4], "pue": [1.0, 2.0], "cost_of_capital": [0.0, 0.2]
    }.items():  # fmt: skip
        found = [owned(**{name: value}) for value in values]
        assert found == sorted(found) and found[0] < found[-1], name


def test_a_plan_and_its_file_cost_the_same(costs: Costs, tmp_path: Path) -> None:
    plan = planner.optimize(slo="ttft=1s", rate="20/s", verify=False)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    from_plan, from_file = planner.cost(plan), planner.cost(file)
    assert from_plan == from_file
    assert plans_of(from_plan)["on_demand"].usd_per_hour == pytest.approx(plan.cost_usd_per_hour)
    assert plans_of(from_plan)["on_demand"].usd_per_million_tokens == pytest.approx(plan.cost_usd_per_million_tokens)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"horizon": 0}, "horizon"),
        ({"horizon": "3"}, "horizon"),
        ({"horizon": "3 parsecs"}, "horizon"),
        ({"use": 0}, "use"),
        ({"use": "120 %"}, "use"),
        ({"cost_of_capital": -1.0}, "cost_of_capital"),
        ({"spot_recovery": "60 h"}, "spot_recovery"),
        ({"spot_recovery": -1.0}, "spot_recovery"),
        ({"start": "31.1.2027"}, "start"),
        ({"pue": 0.9}, "pue"),
    ],
)
def test_bad_assumptions(costs: Costs, arguments: dict[str, Any], where: str) -> None:
    with pytest.raises(planner.InputError) as caught:
        costs(**arguments)
    assert caught.value.where == where


def test_a_machine_without_any_price(costs: Costs) -> None:
    with pytest.raises(planner.ScenarioError, match="no price book lists"):
        planner.cost([{"role": "mixed", "machine": "8x-t4", "count": 1}], model="llama-3.1-8b", rate="0.1/s")


def test_the_table_has_units_and_fits(costs: Costs) -> None:
    report = costs(SPLIT, use="60 %", horizon="18 months")
    text = cost_table(report, datetime.date(2026, 11, 26))
    assert max(map(len, text.splitlines())) <= 100
    assert "Over 18 months, switched on 60 % of the hours, capital at 8 % a year" in text
    assert "reserved 1 year: no price book lists dgx-a100" in text
    assert "Owning a dgx-h100: $" in text and "Owning a dgx-a100: $" in text
    assert "shop (shop, 2026-11-01), 25 days old" in " ".join(text.split())


def test_groups_of_machines_cost_what_their_machines_do(costs: Costs) -> None:
    grouped = costs([{"role": "mixed", "machine": "dgx-h100@2", "count": 1, "spares": 1, "tensor_parallel": 16}])
    single = costs([{"role": "mixed", "machine": "dgx-h100", "count": 4}])
    assert grouped.n_accelerators == 32 and grouped.machines == 4
    for name in ("on_demand", "reserved_1y", "reserved_3y"):
        assert plans_of(grouped)[name].usd_per_hour == pytest.approx(plans_of(single)[name].usd_per_hour)
    assert plans_of(grouped)["owned"].upfront_usd == plans_of(single)["owned"].upfront_usd == 4 * 300e3
    assert {b.machine for b in grouped.break_even} == {"dgx-h100"}


def test_a_plan_of_groups_goes_through_a_file(tmp_path: Path) -> None:
    plan = planner.optimize(
        model="deepseek-v3", rate="1/s", isl=2000, osl=300, slo="tbt.p95=80ms", machines=["lambda-8x-h100@2"],
        verify=False,
    )  # fmt: skip
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    report = planner.cost(tmp_path / "plan.json")
    (on_demand,) = [p for p in report.plans if p.plan == "on_demand"]
    assert on_demand.usd_per_hour == pytest.approx(plan.cost_usd_per_hour)
    assert report.machines == 2 * plan.machines
