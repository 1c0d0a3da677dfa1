"""Days are cut where something changes, merged by the stated rule, and stand for the whole horizon."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.economics.finance import HOURS_PER_MONTH
from planner.portfolio.batch import BatchWork, Lot
from planner.portfolio.calendar import Stage, days, factor_at, periods_within, stages_of

DAY = 24 * 60
FLAT = [(DAY, 1.0)]
YEAR = [Stage("", 0.0, 12.0, 1.0, {}, {})]


def lots_of(**fields: object) -> list[Lot]:
    return BatchWork.model_validate({"requests": 1200.0, **fields}).lots()


def test_a_flat_day_is_one_period_of_all_hours() -> None:
    (only,) = days(YEAR, {"chat": FLAT}, [])
    assert (only.name, only.hours, only.factors) == ("all day", 12 * HOURS_PER_MONTH, {"chat": 1.0})


def test_no_period_reaches_across_an_arrival_a_deadline_or_a_change() -> None:
    lots = lots_of(arrives="18:00", deadline="06:30")
    shape = [(8 * 60, 0.2), (10 * 60, 1.0), (6 * 60, 0.2)]
    parts = days(YEAR, {"chat": shape}, lots)
    edges = {p.start for p in parts}
    assert {18 * 60, 6 * 60 + 30, 8 * 60} <= edges
    assert sum(p.minutes for p in parts) == DAY
    assert max(p.minutes for p in parts) <= 6 * 60
    inside = periods_within(lots[0], parts, 0)
    assert sum(parts[i].minutes for i in inside) == lots[0].window == 12 * 60 + 30
    assert all(p.factors["chat"] == factor_at(shape, p.start) for p in parts)


def test_even_arrivals_come_in_lots_that_are_due_in_time() -> None:
    lots = lots_of(arrives=["08:00", "18:00"], deadline="06:00")
    assert sum(lot.requests for lot in lots) == pytest.approx(1200.0)
    assert [lot.minute for lot in lots] == [(8 + h) * 60 for h in range(1, 11)]
    assert all((lot.minute + lot.window) % DAY == 6 * 60 for lot in lots)
    soon = lots_of(arrives=["08:00", "10:00"], within_s=3600.0)
    assert len(soon) == 4 and all(lot.window == 30 for lot in soon)  # due when the first of each half hour is


def test_a_window_is_a_day_at_most() -> None:
    assert [lot.window for lot in lots_of(arrives="06:00", deadline="06:00")] == [DAY]
    assert [lot.window for lot in lots_of(arrives="06:00", within_s=3 * 86400.0)] == [DAY]


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.0, 2.0), min_size=24, max_size=24),
    st.lists(st.floats(0.0, 2.0), min_size=24, max_size=24),
    st.integers(1, 24),
)
def test_merging_covers_every_hour(a: list[float], b: list[float], most: int) -> None:
    shapes = {"a": [(60, x) for x in a], "b": [(60, x) for x in b]}
    parts = days(YEAR, shapes, [], most)
    assert len(parts) <= most
    assert sum(p.minutes for p in parts) == DAY
    for part in parts:
        for minute in range(part.start, part.start + part.minutes, 60):
            for name, shape in shapes.items():
                assert part.factors[name] >= factor_at(shape, minute)
    # No part is higher than the highest hour in it.
    for name, shape in shapes.items():
        assert max(p.factors[name] for p in parts) == max(f for _, f in shape)


def test_arrivals_and_deadlines_survive_merging() -> None:
    lots = lots_of(arrives="18:00", deadline="06:00")
    shapes = {"a": [(60, float(h % 5)) for h in range(24)]}
    assert {p.start for p in days(YEAR, shapes, lots, 2)} == {18 * 60, 6 * 60}


def test_stages_stand_for_the_horizon_at_the_demand_of_their_last_month() -> None:
    stages = stages_of(36, 12, {"chat": 0.02, "docs": 0.0}, {})
    assert [s.name for s in stages] == ["year 1", "year 2", "year 3"]
    assert [s.factors["chat"] for s in stages] == pytest.approx([1.02**11, 1.02**23, 1.02**35])
    assert {s.factors["docs"] for s in stages} == {1.0}
    assert sum(s.hours for s in stages) == pytest.approx(36 * HOURS_PER_MONTH)
    (only,) = stages_of(12, 12, {"chat": 0.0}, {})
    assert (only.name, only.factors) == ("", {"chat": 1.0})


def test_scenarios_weekends_and_deliveries_add_days_of_their_own() -> None:
    scenarios = {"base": (0.7, {"chat": 1.0}), "high": (0.3, {"chat": 1.5})}
    stages = stages_of(12, 12, {"chat": 0.0}, scenarios, [4.0], {"chat": 0.5})
    assert len(stages) == 2 * 2 * 2
    assert sum(s.hours for s in stages) == pytest.approx(12 * HOURS_PER_MONTH)
    assert {s.first_month for s in stages} == {0.0, 4.0}
    weekend = [s for s in stages if "weekend" in s.name and "high" in s.name]
    assert all(s.factors["chat"] == 0.75 for s in weekend)
    assert sum(s.hours for s in weekend) == pytest.approx(0.3 * 2 / 7 * 12 * HOURS_PER_MONTH)
