"""Electricity and carbon: rows by hand, and plans that carbon decides."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.economics.energy import (
    carbon_kg_per_hour,
    electricity_supply,
    energy_cost_usd_per_hour,
    facility_power_w,
    rated_carbon_kg_per_hour,
)
from planner.errors import ScenarioError, UnknownNameError
from planner.export.tables.text import stale_prices
from planner.planning.plan import Plan, PriceUsed

SMALL = {"model": "llama-3.1-8b", "rate": 3.0}


def plan_of(**fields: object) -> Plan:
    from planner.planning.record import plan_of as report
    from planner.planning.search import solve_problem
    from planner.scenario.resolve import resolve
    from planner.scenario.scenario_file import load_scenario

    problem = resolve(load_scenario(SMALL | fields))
    return report(problem, solve_problem(problem))


@pytest.mark.parametrize(
    ("power_w", "pue", "usd_per_kwh", "g_per_kwh", "usd", "kg"),
    [
        (10_200.0, 1.5, 0.10, 481.0, 1.53, 7.3593),  # a DGX H100: 15.3 kW
        (6_500.0, 1.0, 0.086, 56.0, 0.559, 0.364),
        (1e6, 1.2, 0.05, 0.0, 60.0, 0.0),
    ],
)
def test_rows_by_hand(power_w: float, pue: float, usd_per_kwh: float, g_per_kwh: float, usd: float, kg: float) -> None:
    drawn = facility_power_w(Catalog().machine("dgx-h100"), power_w, pue)
    assert drawn == pytest.approx(power_w * pue)
    assert energy_cost_usd_per_hour(drawn, usd_per_kwh) == pytest.approx(usd)
    assert carbon_kg_per_hour(drawn, g_per_kwh) == pytest.approx(kg)


def test_regions_by_site_and_prices_of_regions(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    text = "source: a contract\nkind: quote\ntitle: Here\ndate: 2025-12-31\ncarbon: 100 g/kWh\n"
    (tmp_path / "regions" / "here.yaml").write_text(text + "electricity: 0.2 USD/kWh\n")
    catalog = Catalog([tmp_path])
    supply = electricity_supply(catalog, ["germany", "aws=here"])
    assert (supply.at("own").region, supply.at("aws").region) == ("germany", "here")
    assert (supply.at("own").usd_per_kwh, supply.at("aws").usd_per_kwh) == (0.086, 0.2)
    assert electricity_supply(catalog, ["here"], 0.05).at("own").usd_per_kwh == 0.05
    machine = catalog.machine("dgx-h100")
    assert rated_carbon_kg_per_hour(machine, supply.at("own")) == pytest.approx(10.2 * 1.54 * 0.381)


@pytest.mark.parametrize(
    ("regions", "error"), [(["frnce"], UnknownNameError), (["awss=france"], UnknownNameError), (["=x"], ScenarioError)]
)
def test_regions_that_do_not_exist(regions: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        electricity_supply(Catalog(), regions)


def test_a_plan_states_its_energy() -> None:
    plan = plan_of(region="france", pue=1.2, electricity="0.10 USD/kWh")
    energy = plan.energy
    assert energy is not None
    assert energy.facility_power_w == pytest.approx(1.2 * plan.expected_power_w)
    assert energy.energy_kwh_per_hour == pytest.approx(1.2 * plan.expected_power_w / 1e3)
    assert energy.cost_usd_per_hour == pytest.approx(0.10 * energy.energy_kwh_per_hour)
    assert energy.carbon_kg_per_hour == pytest.approx(0.056 * energy.energy_kwh_per_hour)
    assert energy.rated_carbon_kg_per_hour == pytest.approx(0.056 * 1.2 * plan.power_w / 1e3)
    assert [(s.site, s.region, s.carbon_date) for s in energy.sites] == [("own", "france", datetime.date(2023, 12, 31))]


def test_electricity_changes_no_rented_plan() -> None:
    usual, dear = plan_of(), plan_of(electricity=0.5, pue=2.0, region="india")
    assert usual.pools == dear.pools and usual.cost_usd_per_hour == dear.cost_usd_per_hour
    assert usual.energy is not None and dear.energy is not None
    assert dear.energy.cost_usd_per_hour > usual.energy.cost_usd_per_hour
    assert dear.energy.carbon_kg_per_hour > usual.energy.carbon_kg_per_hour


def test_with_one_region_carbon_chooses_as_power() -> None:
    fields = {"rate": 60.0, "model": "llama-3.1-70b"}
    carbon, power = plan_of(objective="carbon", **fields), plan_of(objective="power", **fields)
    assert carbon.pools == power.pools
    assert carbon.energy is not None
    assert carbon.solver.value == pytest.approx(carbon.energy.rated_carbon_kg_per_hour)
    assert carbon.solver.value == pytest.approx(power.solver.value / 1e3 * 1.54 * 0.481)


def test_regions_by_site_decide_where_to_stand() -> None:
    machines = ["aws-p5.48xlarge", "coreweave-8x-h100"]
    for clean, dirty in (machines, machines[::-1]):
        sites = {m: Catalog().machine(m).site for m in machines}
        plan = plan_of(
            objective="carbon", machines=machines, region=[f"{sites[clean]}=france", f"{sites[dirty]}=india"]
        )
        assert {p.machine for p in plan.pools} == {clean}


def test_electricity_that_emits_nothing_decides_nothing(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    text = "source: a contract\nkind: quote\ntitle: Sun\ndate: 2025-12-31\ncarbon: 0 g/kWh\n"
    (tmp_path / "regions" / "sun.yaml").write_text(text)
    with pytest.raises(planner.ScenarioError, match="emits nothing"):
        plan_of(objective="carbon", region="sun", catalog=[str(tmp_path)])
    free = plan_of(region="sun", catalog=[str(tmp_path)]).energy
    assert free is not None and free.carbon_kg_per_hour == 0.0


def test_a_facility_figure_is_not_multiplied_again(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    text = "source: the operator\nkind: measured\npower_scope: facility\n"
    (tmp_path / "machines" / "dgx-h100.yaml").write_text(text)
    plan = plan_of(machines="dgx-h100", catalog=[str(tmp_path)], pue=1.4)
    assert plan.energy is not None
    assert plan.energy.facility_power_w == pytest.approx(plan.expected_power_w)


def test_stale_prices_and_rates_are_named_with_their_dates() -> None:
    def price(book: str, date: str, exchange: str | None = None) -> PriceUsed:
        return PriceUsed(
            machine="m", usd_per_hour=1.0, book=book, provider="p", date=datetime.date.fromisoformat(date),
            kind="quote", source="src", currency="EUR" if exchange else "USD",
            exchange_date=datetime.date.fromisoformat(exchange) if exchange else None,
        )  # fmt: skip

    today = datetime.date(2026, 11, 26)
    fresh, old = price("new", "2026-01-01"), price("old", "2023-11-30")
    assert list(stale_prices([fresh], today)) == []
    assert list(stale_prices([old, fresh, old], today)) == [
        "the prices of old are three years old (2023-11-30); ask again before you sign"
    ]
    assert list(stale_prices([price("new", "2026-11-01", "2025-02-28")], today)) == [
        "the exchange rate of EUR is two years old (2025-02-28); ask again before you sign"
    ]
