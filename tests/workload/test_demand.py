"""Demand over time: periods against brute force, what they must add up to, and faults with their line."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import ScenarioError, TraceError
from planner.workload.day_shape import SHAPES, shape_from_trace, sinusoidal_shape
from planner.workload.demand import Period, _cuts, read_demand, representative_periods
from planner.workload.traces import Trace

DAYS = st.lists(st.integers(0, 9), min_size=24, max_size=24).filter(any)


def periods_of(**fields: object) -> tuple[Period, ...]:
    return representative_periods(read_demand(fields))


def by_year(periods: tuple[Period, ...]) -> dict[tuple[str, int], list[Period]]:
    key = lambda p: (p.scenario, p.year)  # noqa: E731
    return {k: list(g) for k, g in itertools.groupby(periods, key)}


def test_flat_demand_is_one_period_at_the_base_rate() -> None:
    (period,) = periods_of()
    assert (period.rate_multiplier, period.mean_multiplier, period.probability) == (1.0, 1.0, 1.0)
    assert period.hours_per_year == pytest.approx(8760.0)


@settings(max_examples=30, deadline=None)
@given(day=DAYS, n=st.integers(1, 6), growth=st.sampled_from([0.0, 0.04, -0.1]), weekend=st.sampled_from([1.0, 0.3]),
       rule=st.sampled_from(["load_duration", "chronological"]))  # fmt: skip
def test_hours_and_requests_are_conserved_and_the_busiest_hour_is_covered(
    day: list[int], n: int, growth: float, weekend: float, rule: str
) -> None:
    periods = periods_of(day=day, periods=n, growth_per_month=growth, weekend=weekend, rule=rule, years=2)
    assert len({p.name for p in periods}) == len(periods)
    weights = np.array(day) / max(day)
    for (_, year), found in by_year(periods).items():
        months = (1 + growth) ** (12 * (year - 1) + np.arange(12))
        assert len(found) <= n * (2 if rule == "chronological" and weekend != 1 else 1)
        assert math.fsum(p.hours_per_year for p in found) == pytest.approx(8760.0)
        served = math.fsum(p.hours_per_year * p.mean_multiplier for p in found)
        assert served == pytest.approx(8760.0 * weights.mean() * months.mean() * (5 + 2 * weekend) / 7, rel=1e-9)
        assert max(p.rate_multiplier for p in found) == pytest.approx(months.max(), rel=1e-9)
        assert all(p.mean_multiplier <= p.rate_multiplier * (1 + 1e-12) for p in found)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 20), min_size=1, max_size=9), n=st.integers(1, 5))
def test_cuts_against_every_possible_one(values: list[int], n: int) -> None:
    demand, hours = np.array(values, dtype=float), np.arange(1.0, len(values) + 1)

    def waste(starts: tuple[int, ...]) -> float:
        ends = (*starts[1:], len(values))
        return sum(float(hours[a:b] @ (demand[a:b].max() - demand[a:b])) for a, b in zip(starts, ends, strict=True))

    cuts = [
        (0, *rest)
        for k in range(min(n, len(values)))
        for rest in itertools.combinations(range(1, len(values)), k)
    ]  # fmt: skip
    found = tuple(_cuts(demand, hours, n))
    assert found[0] == 0 and len(found) <= n
    assert waste(found) == pytest.approx(min(map(waste, cuts)))


def test_more_periods_never_hold_more_machine_hours() -> None:
    held = [
        math.fsum(p.hours_per_year * p.rate_multiplier for p in periods_of(day="office", periods=n, weekend=0.4))
        for n in (1, 2, 4, 8, 24, 48)
    ]
    assert held == sorted(held, reverse=True)
    assert held[0] == pytest.approx(8760.0)


def test_scenarios_grow_by_themselves() -> None:
    periods = periods_of(
        years=2,
        growth_per_month="2 %",
        scenarios={
            "base": {"probability": 0.7},
            "boom": {"probability": "30 %", "rate": "1.5x", "growth_per_month": 0.05},
        },
        periods=1,
    )
    rates = {(p.scenario, p.year): p.rate_multiplier for p in periods}
    assert rates == pytest.approx(
        {("base", 1): 1.02**11, ("base", 2): 1.02**23, ("boom", 1): 1.5 * 1.05**11, ("boom", 2): 1.5 * 1.05**23}
    )
    assert {p.scenario: p.probability for p in periods} == {"base": 0.7, "boom": 0.3}


def test_built_in_shapes_say_that_they_are_assumed() -> None:
    for name, shape in SHAPES.items():
        assert len(shape.weights) == 24 and max(shape.weights) == 1.0 and min(shape.weights) >= 0.0
        assert name == "flat" or shape.kind == "estimate"
    assert min(SHAPES["office"].weights) == pytest.approx(0.1)
    assert SHAPES["consumer"].weights.index(1.0) == 20


def trace_of(hours: np.ndarray) -> Trace:
    ones = np.ones_like(hours)
    return Trace(np.sort(hours) * 3600.0 - hours.min() * 3600.0, ones, ones, Path("log.csv"), "generic")


def test_the_shape_of_a_trace() -> None:
    wanted = np.arange(1, 25)
    two_days = np.concatenate([np.arange(n) / n + hour for hour, n in enumerate([*wanted, *wanted])])
    shape = shape_from_trace(trace_of(two_days))
    assert shape.weights == pytest.approx(wanted / 24)
    assert shape.kind == "measured"
    shifted = shape_from_trace(trace_of(two_days), first_hour=6)
    assert shifted.weights == pytest.approx(np.roll(wanted, 6) / 24)


def test_a_trace_in_a_file_is_relative_to_it(tmp_path: Path) -> None:
    rows = [f"{3600 * hour + 60 * i},100,10" for hour in range(24) for i in range(1 + hour % 3)]
    (tmp_path / "log.csv").write_text("timestamp,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    (tmp_path / "demand.yaml").write_text("trace: log.csv\nperiods: 3\n")
    demand = read_demand(tmp_path / "demand.yaml")
    assert demand.shape.weights == pytest.approx([(1 + hour % 3) / 3 for hour in range(24)])
    assert len(representative_periods(demand)) == 3


def test_a_trace_too_short_or_without_times() -> None:
    with pytest.raises(TraceError, match=r"22\.0 hours long"):
        shape_from_trace(trace_of(np.arange(0.0, 23.0)))
    ones = np.ones(3)
    with pytest.raises(TraceError, match="no timestamps"):
        shape_from_trace(Trace(None, ones, ones, Path("t.csv"), "generic"))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (f"years: 1\nday: [{', '.join(['1'] * 25)}]\n", 2, "a day has 24 hours, and this profile has 25"),
        ("day: [1, 2]\n", 1, "this profile has 2"),
        (f"day: [{', '.join(['0'] * 24)}]\n", 1, "needs an hour with demand"),
        (f"day: [-1, {', '.join(['1'] * 23)}]\n", 1, "greater than or equal to 0"),
        ("day: ofice\n", 1, "did you mean office?"),
        ("growth_per_month: -100 %\n", 1, "must be above -100 %"),
        ("growth_per_month: -150 %\n", 1, "must be above -100 %"),
        ("scenarios:\n  boom: {growth_per_month: -2}\n", 2, "must be above -100 %"),
        ("scenarios:\n  a: {probability: 0.5}\n  b: {probability: 0.4}\n", 1, "add up to 0.9"),
        ("scenarios:\n  a: {rate: 0x}\n", 2, "greater than 0"),
        ("weekend: 140 %\n", 1, "less than or equal to 1"),
        ("years: 0\n", 1, "greater than or equal to 1"),
        ("yeers: 2\n", 1, "unknown field"),
        ("rule: load-duration\n", 1, "is not one of"),
        ("day: office\ntrace: x.csv\n", 1, "leave one of them out"),
    ],
)
def test_faults_name_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "demand.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_demand(path)
    shown = str(caught.value)
    assert f"demand.yaml:{line}" in shown and message in shown, shown


def test_faults_of_a_mapping_name_the_field() -> None:
    with pytest.raises(ScenarioError, match="25") as caught:
        read_demand({"day": [1] * 25})
    assert caught.value.where == "demand.day"
    with pytest.raises(ScenarioError, match="between 0 and the busiest"):
        sinusoidal_shape(1.2, 14)
