"""PUE, electricity and grid carbon: kWh x price x PUE by hand, the plan's own energy, and what is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.economics.energy import electricity_supply
from planner.errors import ScenarioError, UnknownNameError
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies.uncertain_input import uncertain_inputs

QUICK: dict[str, Any] = {"machines": "dgx-h100", "design": "baseline", "verify": False, "spares": 1}
NOTHING = {
    "price": 0.0, "load": 0.0, "prompt": 0.0, "output": 0.0, "arrival-cv2": 0.0, "step-time": 0.0, "pue": 0.0,
    "electricity": 0.0, "grid-carbon": 0.0,
}  # fmt: skip
SERIAL: dict[str, Any] = {"flips": False, "workers": 1}
FACILITY = "power_scope: facility\nsource: test\nkind: estimate\n"


def _overlay(folder: Path, machine: str, text: str) -> str:
    path = folder / "machines" / f"{machine}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(folder)


def test_electricity_billed_beside_the_price_is_kwh_times_price_times_pue() -> None:
    """By hand from the draw of the plan's pools, lower and higher, best and bought; and linear in both."""
    plan = planner.optimize(QUICK, electricity="0.1 USD/kWh", pue=1.3)
    assert plan.cost_usd_per_hour is not None and plan.energy is not None
    rent, kwh = plan.cost_usd_per_hour, plan.expected_power_w / 1e3
    bill = kwh * 0.1 * 1.3
    assert bill > 1.0
    errors = NOTHING | {"pue": 0.2, "electricity": 0.3, "price": 0.1}
    found = planner.sensitivity(QUICK, errors=errors, draws=0, electricity="0.1 USD/kWh", pue=1.3, **SERIAL)
    assert found.value == pytest.approx(rent + bill)
    assert found.electricity_usd_per_hour == pytest.approx(bill) == plan.energy.cost_usd_per_hour
    assert found.no_effect == []
    by_hand = {
        "pue": (rent + kwh * 0.1 * 1.04, rent + kwh * 0.1 * 1.56),
        "electricity": (rent + kwh * 0.07 * 1.3, rent + kwh * 0.13 * 1.3),
        "price.dgx-h100": (0.9 * rent + bill, 1.1 * rent + bill),
    }
    assert {e.input for e in found.inputs} == set(by_hand)
    for e in found.inputs:
        assert (e.low.value, e.high.value) == pytest.approx(by_hand[e.input])
        assert (e.low.bought_value, e.high.bought_value) == pytest.approx(by_hand[e.input])
        assert e.low.value is not None and e.high.value is not None
        assert e.low.value + e.high.value == pytest.approx(2.0 * found.value)
        assert e.low.bought_holds and e.high.bought_holds and e.note is None


def test_the_bill_follows_the_load() -> None:
    """The best plan of another load has the energy that `optimize` says; the bought one draws more for more."""
    fields: dict[str, Any] = QUICK | {"electricity": "0.5 USD/kWh"}
    found = planner.sensitivity(fields, errors=NOTHING | {"load": 0.2}, draws=0, rate="70/s", **SERIAL)
    (effect,) = found.inputs
    for rate, outcome in ((56.0, effect.low), (84.0, effect.high)):
        plan = planner.optimize(fields, rate=f"{rate}/s")
        assert plan.cost_usd_per_hour is not None and plan.energy is not None
        assert outcome.value == pytest.approx(plan.cost_usd_per_hour + plan.energy.cost_usd_per_hour)
    assert effect.low.bought_value < found.value < effect.high.bought_value


def test_a_pue_stops_at_1_and_says_so() -> None:
    plan = planner.optimize(QUICK)
    assert plan.cost_usd_per_hour is not None
    rent, kwh = plan.cost_usd_per_hour, plan.expected_power_w / 1e3
    found = planner.sensitivity(
        QUICK, errors=NOTHING | {"pue": 0.5}, draws=40, electricity="1 USD/kWh", pue=1.25, **SERIAL
    )
    (effect,) = found.inputs
    assert effect.low.value == pytest.approx(rent + kwh)
    assert effect.high.value == pytest.approx(rent + kwh * 1.875)
    assert effect.low_factor == pytest.approx(1 / 1.25) == found.to_records()[0]["factor"]
    assert effect.note is not None and effect.note.startswith("lowered to 1, not 0.625")
    drawn = found.monte_carlo
    assert drawn is not None and drawn.value_p5 is not None and drawn.value_p95 is not None
    assert drawn.distribution.endswith("PUE no lower than 1")
    # Of PUE uniform from 0.625 to 1.875 three tenths fall on 1: so does the fifth percentile, exactly.
    assert drawn.value_p5 == pytest.approx(rent + kwh)
    assert effect.high.value * 0.97 < drawn.value_p95 < effect.high.value


def test_carbon_is_rated_power_times_pue_times_the_grid() -> None:
    """DGX H100 at 10.2 kW each, France at 56 g/kWh, PUE 1.54."""
    fields: dict[str, Any] = QUICK | {"objective": "carbon", "region": "france"}
    errors = NOTHING | {"pue": 0.2, "grid-carbon": 0.25}
    found = planner.sensitivity(fields, errors=errors, draws=60, rate="70/s", **SERIAL)
    n = planner.optimize(fields, rate="70/s").machines
    now = n * 10.2 * 1.54 * 56 / 1e3
    assert found.value == pytest.approx(now)
    effects = {e.input: e for e in found.inputs}
    assert set(effects) == {"pue", "grid-carbon.france"}
    for name, error in (("pue", 0.2), ("grid-carbon.france", 0.25)):
        sides = (now * (1 - error), now * (1 + error))
        assert (effects[name].low.value, effects[name].high.value) == pytest.approx(sides)
        assert (effects[name].low.bought_value, effects[name].high.bought_value) == pytest.approx(sides)
        assert effects[name].swing == pytest.approx(2 * error * now)
    drawn = found.monte_carlo
    assert drawn is not None and drawn.value_mean is not None
    # The mean of the product of two independent factors of mean 1 is 1; its variance (1 + a^2/3)(1 + b^2/3) - 1.
    sd = now * ((1 + 0.2**2 / 3) * (1 + 0.25**2 / 3) - 1) ** 0.5
    assert abs(drawn.value_mean - now) < 4 * sd / 60**0.5
    assert drawn.bought_value_mean == pytest.approx(drawn.value_mean)


def test_the_best_plan_goes_where_the_grid_is_cleaner(tmp_path: Path) -> None:
    """A100 in Germany, H100 on the world's mean: with that half higher, A100 emit less. The bought H100 emit it all."""
    overlay = _overlay(tmp_path, "dgx-a100", "site: elsewhere\nsource: test\nkind: estimate\n")
    fields: dict[str, Any] = {
        "design": "baseline", "max_pools": 1, "verify": False, "objective": "carbon", "catalog": [overlay],
        "region": ["world", "elsewhere=germany"], "rate": "70/s",
    }  # fmt: skip
    h, a = (planner.optimize(fields, design=f"Baseline-{name}").solver.value for name in ("H100", "A100"))
    assert h < a < 1.5 * h
    found = planner.sensitivity(fields, errors=NOTHING | {"grid-carbon.world": 0.5}, draws=0, **SERIAL)
    (effect,) = found.inputs
    assert (effect.low.value, effect.high.value) == pytest.approx((0.5 * h, a))
    assert (effect.low.design, effect.high.design) == ("Baseline-H100", "Baseline-A100")
    assert effect.high.bought_value == pytest.approx(1.5 * h)


def test_figures_of_the_facility_are_left_alone_by_pue(tmp_path: Path) -> None:
    overlay = _overlay(tmp_path, "dgx-h100", FACILITY)
    fields: dict[str, Any] = QUICK | {"catalog": [overlay]}
    billed = fields | {"electricity": "0.1 USD/kWh"}
    plan = planner.optimize(billed)
    assert plan.cost_usd_per_hour is not None
    found = planner.sensitivity(billed, errors=NOTHING | {"pue": 0.2}, draws=0, **SERIAL)
    assert found.value == pytest.approx(plan.cost_usd_per_hour + plan.expected_power_w / 1e3 * 0.1)
    assert found.inputs == []
    assert [(n.input, "contain the facility's share" in n.reason) for n in found.no_effect] == [("pue", True)]


def test_without_a_field_of_energy_nothing_changes_and_the_reason_is_given() -> None:
    """Rented: inputs, draws and bought plan as with electricity left out; other objectives likewise."""
    left_out = {"pue": 0.0, "electricity": 0.0, "grid-carbon": 0.0}
    asked: dict[str, Any] = SERIAL | {"draws": 6}
    silent = planner.sensitivity(QUICK, errors=left_out, **asked)
    for errors in (None, {"pue": 0.6, "electricity": 0.6}):
        found = planner.sensitivity(QUICK, errors=errors, **asked)
        assert [(n.input, n.reason) for n in found.no_effect] == [
            ("pue", "rented prices contain the electricity"), ("electricity", "rented prices contain the electricity")
        ]  # fmt: skip
        assert found.model_copy(update={"no_effect": []}) == silent
    assert silent.no_effect == [] and silent.electricity_usd_per_hour is None
    power = planner.sensitivity(QUICK, objective="power", errors=NOTHING | {"pue": 0.1}, draws=0, **SERIAL)
    assert [(n.input, "that of the machines" in n.reason) for n in power.no_effect] == [("pue", True)]
    # A region and a PUE alone do not say that anything is billed.
    region = planner.sensitivity(QUICK, errors=left_out, region="france", pue=1.1, **asked)
    assert (region.value, region.inputs) == (silent.value, silent.inputs)


def test_supply_times_factors() -> None:
    supply = electricity_supply(Catalog(), ["france", "aws=germany"], 0.1, 1.2)
    other = supply.scaled(pue=0.5, usd_per_kwh=3.0, carbon={"germany": 2.0})
    assert (other.default.pue, other.at("aws").pue) == (1.0, 1.0)
    assert other.default.usd_per_kwh == other.at("aws").usd_per_kwh == pytest.approx(0.3)
    assert (other.default.carbon_g_per_kwh, other.at("aws").carbon_g_per_kwh) == (56.0, 762.0)
    assert supply.scaled() == supply


def test_errors_of_electricity_that_make_no_sense_are_refused() -> None:
    problem = resolve(load_scenario(QUICK, objective="carbon", region="france"), Catalog())
    for name, near in (("peu", "pue"), ("electrcity", "electricity"), ("grid-carbon.frnce", "grid-carbon.france")):
        with pytest.raises(UnknownNameError) as caught:
            uncertain_inputs(problem, {name: 0.1})
        assert near in caught.value.suggestions
    with pytest.raises(UnknownNameError):  # no machine stands there
        uncertain_inputs(problem, {"grid-carbon.canada": 0.1})
    for error in (-0.1, 1.0, float("nan")):
        with pytest.raises(ScenarioError, match="not an error of pue"):
            uncertain_inputs(problem, {"pue": error})
