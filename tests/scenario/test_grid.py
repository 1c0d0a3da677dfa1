"""Grids: what can be varied, how it is written, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError, ScenarioError, UnknownNameError
from planner.scenario.grid import VariedField, axis_of, make_grid, read_axis, read_sweep_file
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario


@pytest.mark.parametrize(
    ("text", "field", "canonical"),
    [
        ("rate=10/s, 20/s,600/min", "rate_per_s", None),
        ("rate=10/s..100/s:10", "rate_per_s", (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)),
        ("rate-per-s=1/s..100/s:3:log", "rate_per_s", (1.0, 10.0, 100.0)),
        ("arrival_cv2=1..4:4", "arrival_cv2", (1.0, 2.0, 3.0, 4.0)),
        ("spares=0..2:3", "spares", (0, 1, 2)),
        ("max-cost=100 USD/h..200 USD/h:3", "max_cost_usd_per_hour", (100.0, 150.0, 200.0)),
        ("prefix_cached=0..0.5:2", "prefix_cached", (0.0, 0.5)),
        ("machines=dgx-h100,dgx-a100", "machines", (["dgx-h100"], ["dgx-a100"])),
        ("machine=dgx-h100|dgx-a100,dgx-h100", "machines", (["dgx-h100"], ["dgx-a100", "dgx-h100"])),
        ("slo=ttft=1s,tbt=200ms|ttft=2s", "slo", (["ttft.p99=1s", "tbt.p99=200ms"], ["ttft.p99=2s"])),
        ("max-cost=none,1000 USD/h", "max_cost_usd_per_hour", (None, 1000.0)),
        ("max_machines=none|dgx-h100=4,dgx-a100=2", "max_machines", ({}, {"dgx-h100": 4, "dgx-a100": 2})),
        ("model=llama-3.1-70b,bloom-176b", "model", ("llama-3.1-70b", "bloom-176b")),
        ("electricity=0.1 USD/kWh,0.2 USD/kWh", "electricity_usd_per_kwh", (0.1, 0.2)),
        ("region=france|own=germany,france", "region", (["france"], ["own=germany", "france"])),
        ("precision=none,fp8", "precision", (None, "fp8")),
    ],
)
def test_values_are_read_as_the_scenario_reads_them(text: str, field: str, canonical: tuple[Any, ...] | None) -> None:
    if canonical is None:  # 600 a minute are 10 a second, which is there already
        with pytest.raises(InputError):
            read_axis(text)
        return
    axis = read_axis(text)
    assert (axis.field, axis.canonical) == (field, canonical)
    for value, wanted in zip(axis.values, axis.canonical, strict=True):
        assert load_scenario({field: value}).dump()[field] == wanted


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("rat=1/s,2/s", "unknown field of a scenario 'rat'", "rate"),
        ("machnes=dgx-h100", "unknown field", "machines"),
        ("rate", "not a field with values", "rate=10/s,20/s,50/s"),
        ("=1", "not a field with values", "FIELD=VALUE"),
        ("rate=", "no value of rate_per_s", "at least one"),
        ("rate=10/s,,20/s", "a rate", "70/s"),
        ("rate=10 GB,20/s", "expected a rate", "70/s"),
        ("rate=10/s,10/s", "given twice", "10"),
        ("rate=10/s..20/s", "needs the number of its points", "10/s..100/s:10"),
        ("rate=10/s..20/s:1", "needs the number of its points", "at least 2"),
        ("rate=10/s..20/s:3:cubic", "unknown spacing 'cubic'", "linear"),
        ("arrival_cv2=0.5..x:3", "must be a valid number", "x"),
        ("spares=0..3:3", "whole number", "1.5"),
        ("precision=int3", "must be", "int8"),
        ("max_machines=4", "not a stock", "dgx-h100=4"),
        ("max_machines=dgx-h100=4,dgx-h100=5|none", "given twice", "dgx-h100=5"),
        ("slo=ttft=1s,slow=2s", "slow", "tbt"),
        ("workload_columns=a", "cannot be varied", "a sweep for each trace"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_the_way_out(text: str, what: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_axis(text)
    assert caught.value.where == "--vary"
    assert what in str(caught.value)
    assert hint in str(caught.value)


def test_python_gives_lists_texts_and_ranges() -> None:
    assert axis_of("rate", [10.0, "20/s"]).canonical == (10.0, 20.0)
    assert axis_of("rate", "10/s,20/s").canonical == (10.0, 20.0)
    assert axis_of("rate", {"from": "10/s", "to": "40/s", "points": 3, "spacing": "log"}).canonical == (
        10.0,
        20.0,
        40.0,
    )
    assert axis_of("machines", [["dgx-h100"], "dgx-a100"]).canonical == (["dgx-h100"], ["dgx-a100"])
    with pytest.raises(ScenarioError, match="not a range") as caught:
        axis_of("rate", {"from": "10/s", "to": "40/s", "point": 3})
    assert caught.value.suggestions[0] == "points"
    with pytest.raises(ScenarioError, match="no number"):
        axis_of("model", {"from": "a", "to": "b", "points": 3})
    with pytest.raises(ScenarioError, match="not values"):
        axis_of("rate", 3)
    with pytest.raises(ScenarioError, match="constant factor"):
        axis_of("spares", {"from": 0, "to": 4, "points": 3, "spacing": "log"})


def test_the_last_field_varies_fastest() -> None:
    grid = make_grid(Scenario(), [read_axis("rate=10/s,20/s"), read_axis("spares=0,1")])
    assert [(p["rate_per_s"], p["spares"]) for p in grid.points()] == [(10.0, 0), (10.0, 1), (20.0, 0), (20.0, 1)]
    assert [(s.rate_per_s, s.spares) for s in grid.scenarios()] == [(10.0, 0), (10.0, 1), (20.0, 0), (20.0, 1)]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_has_as_many_scenarios_as_it_says(sizes: list[int]) -> None:
    fields = ("spares", "max_pools", "seed", "max_total_machines")
    counts = [tuple(range(1, n + 1)) for n in sizes]
    axes = [VariedField(f, values, values, "") for f, values in zip(fields, counts, strict=False)]
    grid = make_grid(Scenario(), axes)
    points = list(grid.points())
    assert len(points) == len(grid) == len({tuple(p.items()) for p in points})
    assert sum(1 for _ in grid.one_at_a_time()) == len(sizes)  # numbers name nothing that might not be there


def test_a_field_twice_an_empty_grid_and_a_huge_one_are_refused() -> None:
    with pytest.raises(ScenarioError, match="nothing is varied"):
        make_grid(Scenario(), [])
    with pytest.raises(ScenarioError, match="rate_per_s is varied twice"):
        make_grid(Scenario(), [read_axis("rate=1/s"), read_axis("rate_per_s=2/s")])
    axes = [read_axis("rate=1/s..200/s:200"), read_axis("arrival_cv2=1..2:51")]
    with pytest.raises(ScenarioError) as caught:
        make_grid(Scenario(), axes)
    assert "10,200 scenarios" in caught.value.what
    assert "10,000" in (caught.value.rule or "")
    assert "--max-scenarios 10200" in (caught.value.fix or "")
    assert len(make_grid(Scenario(), axes, max_scenarios=10_200)) == 10_200


def _file(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_has_base_and_vary_with_paths_relative_to_it(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "base: {model: bloom-176b, workload: trace.csv}\n"
        "vary:\n  rate: {from: 10/s, to: 20/s, points: 2}\n  slo: [ttft=1s, [ttft=2s, tbt=0.1s]]\n"
        "  profile: [steps.csv]\n  machines: dgx-h100|dgx-a100,dgx-h100\n",
    )
    base, axes = read_sweep_file(path)
    assert (base.model, base.workload) == ("bloom-176b", str(tmp_path / "trace.csv"))
    assert [axis.field for axis in axes] == ["rate_per_s", "slo", "profile", "machines"]
    assert axes[1].canonical == (["ttft.p99=1s"], ["ttft.p99=2s", "tbt.p99=100ms"])
    assert axes[2].canonical == (str(tmp_path / "steps.csv"),)
    assert read_sweep_file(_file(tmp_path, "model: bloom-176b\n")) == (Scenario(model="bloom-176b"), [])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("base: {}\nvari: {}\n", 2, "unknown field 'vari'"),
        ("base:\n  modle: x\nvary: {rate: [1/s]}\n", 2, "unknown field"),
        ("base:\n  rate: 10\nvary: {spares: [1]}\n", 2, "unit"),
        ("base: 3\n", 1, "must have the fields"),
        ("vary: [rate]\n", 1, "must have fields"),
        ("vary:\n  spares: [1]\n  rate: [10/s, 20]\n", 3, "unit"),
        ("vary:\n  spares: [1]\n  rat: [10/s, 20]\n", 3, "unknown field"),
        ("base: {rate: 1/s, rate_per_s: 2/s}\n", 1, "one field, given twice"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises((ScenarioError, UnknownNameError)) as caught:
        read_sweep_file(path)
    assert caught.value.where == f"{path}:{line}"
    assert what in str(caught.value)
