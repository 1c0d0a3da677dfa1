"""Fleets over time: what is owned, reserved and rented follows demand, and every rule costs what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.economics.options import purchase_options
from planner.errors import InfeasibleError, ScenarioError
from planner.portfolio.result import Procurement

from .fleets import CHAT, CODE, DOCS

DAY = [{"hours": 8, "rate": 0.2}, {"hours": 10, "rate": 1.0}, {"hours": 6, "rate": 0.5}]
NIGHT = [{"hours": 8, "rate": 1.0}, {"hours": 10, "rate": 0.2}, {"hours": 6, "rate": 0.2}]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


def bought(catalog: Catalog, **fields: Any) -> Procurement:
    asked = {"workloads": {"chat": CHAT | {"day": DAY}}, "plans": ["owned", "on_demand"], **fields}
    found = planner.procure(asked, catalog=catalog)
    assert found.meets_objectives
    assert found.solver.status == "optimal"
    return found


def held(found: Procurement, plan: str = "owned") -> int:
    return sum(line.count for line in found.purchases if line.plan == plan)


def test_costs_are_those_of_the_price_books(catalog: Catalog) -> None:
    found = bought(catalog)
    for line in found.purchases:
        option = next(o for o in purchase_options(catalog, line.machine) if o.plan == line.plan)
        assert line.fixed_usd_per_hour == pytest.approx(option.fixed_usd_per_hour)
        # Electricity is that of the expected draw, not of rated power.
        assert 0.5 * option.usage_usd_per_hour < line.usage_usd_per_hour <= option.usage_usd_per_hour
        fixed = option.fixed_usd_per_hour * line.count * found.horizon_hours if option.is_committed else 0.0
        assert line.cost_usd == pytest.approx(fixed + line.usage_usd_per_hour * line.machine_hours)
    assert found.cost_usd == pytest.approx(found.cost_usd_per_hour * found.horizon_hours)
    assert {p.period for p in found.periods} == {"00:00-08:00", "08:00-18:00", "18:00-24:00"}


def test_a_fleet_owned_already_is_kept_and_only_added_to(catalog: Catalog) -> None:
    found = bought(catalog, owned={"dgx-h100": 2})
    kept = next(line for line in found.purchases if line.plan == "kept")
    assert (kept.machine, kept.count) == ("dgx-h100", 2)
    assert kept.fixed_usd_per_hour < next(
        o.fixed_usd_per_hour for o in purchase_options(catalog, "dgx-h100") if o.plan == "owned"
    )
    assert found.cost_usd_per_hour < bought(catalog).cost_usd_per_hour


def test_growth_and_scenarios_cost_more_and_owned_machines_serve_all(catalog: Catalog) -> None:
    flat = bought(catalog, horizon="8 months", gap=0.001)
    grown = bought(catalog, horizon="8 months", growth=0.02, gap=0.001)
    assert {p.stage for p in grown.periods} == {f"month {n}" for n in range(1, 9)}
    assert grown.cost_usd_per_hour > flat.cost_usd_per_hour
    two = {"base": {"probability": 0.5}, "high": {"probability": 0.5, "rate": 2.0}}
    either = bought(catalog, scenarios=two, gap=0.001)
    low, high = (
        bought(catalog, gap=0.001),
        bought(catalog, workloads={"chat": CHAT | {"day": DAY, "rate": "140/s"}}, gap=0.001),
    )
    mean = (low.cost_usd_per_hour + high.cost_usd_per_hour) / 2
    # Deciding before it is known which comes costs no less than knowing, and no more than being ready for the worst.
    assert mean * 0.999 <= either.cost_usd_per_hour <= high.cost_usd_per_hour * 1.001
    one = bought(catalog, scenarios={"only": {"probability": 1.0}}, gap=0.001)
    assert one.cost_usd_per_hour == pytest.approx(low.cost_usd_per_hour, rel=0.002)


def test_fixed_roles_and_changes_cost_more(catalog: Catalog) -> None:
    both = {"chat": CHAT | {"day": DAY}, "code": CODE | {"day": NIGHT}}
    free = bought(catalog, workloads=both, sharing="separate", gap=0.001)
    fixed = bought(catalog, workloads=both, sharing="separate", roles="fixed", gap=0.001)
    assert fixed.cost_usd_per_hour > free.cost_usd_per_hour * 1.002
    assert free.change_cost_usd == 0.0
    paid = bought(catalog, workloads=both, sharing="separate", change_cost_usd=20.0, gap=0.001)
    assert paid.change_cost_usd > 0
    assert paid.cost_usd == pytest.approx(sum(line.cost_usd for line in paid.purchases) + paid.change_cost_usd)
    assert paid.cost_usd_per_hour > free.cost_usd_per_hour * 0.999


def test_spot_stays_within_its_share_and_the_floor(catalog: Catalog) -> None:
    asked: dict[str, Any] = {
        "workloads": {"docs": DOCS | {"max_spot": 1.0}}, "machines": ["coreweave-8x-h100"],
        "plans": ["on_demand", "spot"],
    }  # fmt: skip
    with pytest.raises(ScenarioError, match="how often spot machines"):
        planner.procure(asked, catalog=catalog)
    rate = {"spot_interruptions": "0.05/h"}
    all_spot = planner.procure(asked | rate, catalog=catalog)
    assert held(all_spot, "on_demand") == 0 < held(all_spot, "spot")
    half = planner.procure(asked | rate | {"on_demand_floor": 0.5}, catalog=catalog)
    for period in half.periods:
        spot, rented = (period.machines_by_plan.get(f"coreweave-8x-h100 {p}", 0) for p in ("spot", "on_demand"))
        assert spot <= rented
    assert half.cost_usd_per_hour > all_spot.cost_usd_per_hour


def test_quota_that_is_too_small_is_named(catalog: Catalog) -> None:
    asked = {"workloads": {"chat": CHAT}, "plans": ["on_demand"], "max_rented": {"dgx-a100": 0, "dgx-h100": 2}}
    with pytest.raises(InfeasibleError) as caught:
        planner.procure(asked, catalog=catalog)
    assert "max_rented dgx-h100: 2 is too little; 4 is enough" in str(caught.value.value)


def test_a_reservation_longer_than_the_horizon_is_left_out_and_said(tmp_path: Any) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "mine.yaml").write_text(
        "source: an offer\nkind: quote\nprovider: own\ndate: 2026-11-01\n"
        "on_demand: {dgx-h100: 38 USD/h}\nreserved_1y: {dgx-h100: 20 USD/h}\nreserved_3y: {dgx-h100: 10 USD/h}\n"
        "terms:\n  reserved_1y: {dgx-h100: {minimum_order: 6}}\n",
        encoding="utf-8",
    )
    asked: dict[str, Any] = {
        "workloads": {"chat": CHAT}, "machines": ["dgx-h100"], "catalog": [str(tmp_path)], "prices": ["mine"],
        "plans": ["reserved_1y", "reserved_3y", "on_demand"],
    }  # fmt: skip
    year = planner.procure(asked)
    assert any("reserved_3y is not considered" in note for note in year.notes)
    assert held(year, "reserved_1y") == 6  # four are needed; six for 20 cost less than four for 38
    three = planner.procure(asked | {"horizon": "3 years"})
    assert held(three, "reserved_3y") == 4
    assert three.cost_usd_per_hour == pytest.approx(40.0)


def test_what_is_delivered_late_is_rented_until_then(tmp_path: Path) -> None:
    """Steady demand: on demand for the six months before delivery, owned for the six after it, at those prices."""
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "purchase-2026.yaml").write_text(
        "terms: {owned: {dgx-h100: {lead_time: 6 months}}}\nsource: a test\nkind: estimate\n", encoding="utf-8"
    )
    late = Catalog([tmp_path])
    found = bought(late, workloads={"chat": CHAT}, machines=["dgx-h100"], horizon="1 year")
    n, half_h = held(found), 6 * 730.0
    assert n == planner.optimize(machines=["dgx-h100"], verify=False).machines
    by_plan = {line.plan: line for line in found.purchases}
    assert by_plan["on_demand"].machine_hours == pytest.approx(n * half_h)
    assert by_plan["owned"].machine_hours == pytest.approx(n * half_h)
    options = {o.plan: o for o in purchase_options(late, "dgx-h100")}
    owned = options["owned"].fixed_usd_per_hour + by_plan["owned"].usage_usd_per_hour
    assert found.cost_usd == pytest.approx(n * half_h * (owned + options["on_demand"].usage_usd_per_hour))


def test_electricity_of_an_owned_machine_is_that_of_the_cost_command(catalog: Catalog) -> None:
    found = planner.procure(
        {"workloads": {"chat": CHAT}, "machines": ["dgx-h100"], "plans": ["owned"]}, catalog=catalog
    )
    (line,), (pool,) = found.purchases, found.pools
    report = planner.cost(
        [{"role": pool.role, "machine": pool.machine, "count": pool.count, "tensor_parallel": 4}],
        catalog=catalog, rate="70/s",
    )  # fmt: skip
    owned = next(p for p in report.pools if p.plan == "owned")
    assert line.usage_usd_per_hour == pytest.approx(owned.usage_usd_per_hour / owned.count, rel=1e-6)


def test_a_budget_below_the_least_cost_is_named_with_what_is_enough(catalog: Catalog) -> None:
    least = bought(catalog).cost_usd_per_hour
    assert bought(catalog, max_cost_usd_per_hour=least * 1.001).cost_usd_per_hour == pytest.approx(least)
    with pytest.raises(InfeasibleError) as caught:
        bought(catalog, max_cost_usd_per_hour=least * 0.98)
    assert "max_cost" in f"{caught.value.what} {caught.value.value}"
