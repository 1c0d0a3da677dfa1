"""Every verb takes the price plan of its machines, and says which prices of one's own it does not use."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.economics.options import purchase_options
from planner.errors import InputError, UnknownNameError

BOOK = """\
source: an offer
kind: quote
provider: acme
date: 2026-11-01
on_demand: {dgx-h100: 40 USD/h, dgx-a100: 18 USD/h}
reserved_1y: {dgx-h100: 30 USD/h}
reserved_2y: {dgx-h100: 26 USD/h}
spot: {dgx-h100: 16 USD/h}
owned: {dgx-h100: {purchase: '270,000 USD', life: 4 years}}
terms: {spot: {dgx-h100: {interruptions: 0.4/h}}}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("offer")
    (folder / "prices").mkdir()
    (folder / "prices" / "offer.yaml").write_text(BOOK)
    return Catalog([folder])


def best(catalog: Catalog, **fields: Any) -> planner.Plan:
    return planner.optimize(machines=["dgx-h100"], rate="20/s", verify=False, catalog=catalog, **fields)


@pytest.mark.parametrize(
    ("plan", "usd"), [("on_demand", 40), ("reserved_1y", 30), ("reserved_2y", 26), ("spot", 16 / (1 - 0.4 * 0.25))]
)
def test_the_price_is_that_of_the_plan(catalog: Catalog, plan: str, usd: float) -> None:
    found = best(catalog, plan=plan)
    (price,) = found.prices
    assert (price.plan, price.book, price.provider) == (plan, "offer", "acme")
    assert price.usd_per_hour == pytest.approx(usd)
    assert found.cost_usd_per_hour == pytest.approx(found.machines * usd)


def test_owned_is_its_annuity_and_electricity(catalog: Catalog) -> None:
    option = next(o for o in purchase_options(catalog, "dgx-h100") if o.plan == "owned")
    (price,) = best(catalog, plan="owned").prices
    assert price.usd_per_hour == pytest.approx(option.usd_per_hour_at(1.0))
    (dearer,) = best(catalog, plan="owned", electricity="0.20 USD/kWh").prices
    assert dearer.usd_per_hour > price.usd_per_hour


def test_some_machines_each(catalog: Catalog) -> None:
    found = planner.optimize(
        machines=["dgx-h100", "dgx-a100"], design="Splitwise-HA", rate="20/s", verify=False, catalog=catalog,
        plan=["dgx-h100=reserved_1y"],
    )  # fmt: skip
    assert {p.machine: (p.plan, p.usd_per_hour) for p in found.prices} == {
        "dgx-h100": ("reserved_1y", 30.0), "dgx-a100": ("on_demand", 18.0),
    }  # fmt: skip


def test_prices_of_ones_own_that_are_not_used_are_said(catalog: Catalog) -> None:
    notes = best(catalog).notes
    for plan in ("owned", "reserved 1y", "reserved 2y", "spot"):
        assert any(f"your prices of dgx-h100 {plan} are not used" in note for note in notes)
    assert any("priced as reserved for a year" in note for note in best(catalog, plan="reserved_1y").notes)


def test_other_verbs_take_it_too(catalog: Catalog) -> None:
    asked: dict[str, Any] = {"machines": ["dgx-h100"], "rate": "20/s", "catalog": catalog, "plan": "reserved_1y"}
    plan = best(catalog, plan="reserved_1y")
    compared = planner.compare(designs=["Baseline-H100"], verify=False, **asked)
    assert compared.rows[0].cost_usd_per_hour == pytest.approx(plan.cost_usd_per_hour)
    near = planner.alternatives(**asked)
    assert near.plans[0].plan.cost_usd_per_hour == pytest.approx(plan.cost_usd_per_hour)


def test_what_is_no_price_plan(catalog: Catalog) -> None:
    with pytest.raises(UnknownNameError, match="unknown price plan"):
        best(catalog, plan="reserved")
    with pytest.raises(UnknownNameError, match="unknown machine"):
        best(catalog, plan="dgx-h1000=owned")
    with pytest.raises(InputError, match="no price book lists dgx-h100 reserved_3y"):
        best(catalog, plan="reserved_3y")
