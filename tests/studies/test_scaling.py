"""`planner scale`: the table against plans asked for by themselves, and a day that can miss as well as hold."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import planner
from planner.errors import InputError
from planner.studies.scaling_result import Scaling

ASKED: dict[str, Any] = {"slo": ["ttft=1s", "tbt=60ms"], "rate": "70/s"}
POOLS = [{"role": "mixed", "machine": "dgx-h100", "count": 5, "tensor_parallel": 4}]


@pytest.fixture(scope="module")
def scaled() -> Scaling:
    return planner.scale(POOLS, **ASKED, day="office", cold_start="10min", hysteresis="10min")


def test_every_row_holds_by_itself_and_carries_more_than_the_one_before(scaled: Scaling) -> None:
    assert [step.machines for step in scaled.steps] == [[n] for n in range(1, 6)]
    assert all(a.up_to_per_s < b.up_to_per_s for a, b in pairwise(scaled.steps))
    assert scaled.steps[-1].up_to_per_s == pytest.approx(70.0)
    for step in scaled.steps[:-1]:
        pools = [{**POOLS[0], "count": step.machines[0]}]
        found = planner.simulate(pools, **{**ASKED, "rate": step.up_to_per_s}, seeds=[11], n_requests=20_000)
        assert found.meets_objectives, step
        told = step.measured_up_to_per_s * scaled.headroom + scaled.added_per_s
        assert told == pytest.approx(step.up_to_per_s)
        assert step.cost_usd_per_hour == pytest.approx(38.0 * step.machines[0])
        assert step.replicas == [2 * step.machines[0]]


def test_the_day_holds_at_the_cost_it_prints(scaled: Scaling) -> None:
    assert scaled.held and scaled.exit_code == 0 and scaled.verified == "simulated"
    assert scaled.cost_usd is not None and scaled.static_cost_usd == pytest.approx(24 * 5 * 38.0)
    assert scaled.cost_usd == pytest.approx(38.0 * sum(hour.machines[0] for hour in scaled.hours), rel=1e-3)
    assert scaled.cost_usd < 0.75 * scaled.static_cost_usd
    assert scaled.machine_hours[0] == pytest.approx(scaled.cost_usd / 38.0)
    assert all(o.late <= o.allowed and (o.late_while_starting or 0) <= o.allowed for o in scaled.objectives)
    assert 1 - sum(o.late for o in scaled.objectives) <= scaled.goodput <= 1 - max(o.late for o in scaled.objectives)
    rate = [hour.rate_per_s for hour in scaled.hours]
    # The busiest hour of an office is that from 14:00; its mean is a little below the peak, in its middle.
    assert int(np.argmax(rate)) == 14 and 0.99 * 70 < max(rate) < 70
    assert scaled.n_requests == pytest.approx(2 * 3600 * sum(rate), rel=0.01)


def test_a_rise_that_outruns_the_cold_start_takes_all_machines_all_day() -> None:
    """From a sixth of the load to nearly all of it within three minutes."""
    steep = {"rates": ["12/s"] * 10 + ["68/s"] * 10, "period": "3min", "hysteresis": "3min"}
    slow = planner.scale(POOLS, **ASKED, **steep, cold_start="5min")
    quick = planner.scale(POOLS, **ASKED, **steep, cold_start="15s")
    assert slow.held and slow.cost_usd == slow.static_cost_usd and slow.n_orders == 0
    assert quick.held and quick.cost_usd is not None and quick.cost_usd < 0.85 * 190.0
    assert all(o.late_while_starting is None for o in slow.objectives)


def test_longer_cold_starts_and_hysteresis_never_cost_less(scaled: Scaling) -> None:
    short = planner.scale(POOLS, **ASKED, day="office", cold_start="1min", hysteresis="1min")
    assert short.held
    assert short.cost_usd is not None and scaled.cost_usd is not None and short.cost_usd < scaled.cost_usd


def test_records_have_a_row_a_step(scaled: Scaling) -> None:
    rows = scaled.to_records()
    assert [row["machines_0_mixed_dgx-h100"] for row in rows] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rates": ["10/s", "90/s"], "period": "1h"}, "above what the plan is for"),
        ({"rates": ["10/s"]}, "rates last for a period each"),
        ({"period": "1h"}, "a period is that of rates"),
        ({"rates": ["10/s"], "period": "1h", "day": "flat"}, "a day and rates are both given"),
        ({"day": "weekday"}, "unknown shape of a day 'weekday'"),
        ({"cold_start": "2days"}, "cold_start"),
        ({"hysteresis": "-3min"}, "a time that makes no sense"),
        ({"window": "0s"}, "a time that makes no sense"),
        ({"rates": ["-1/s"], "period": "1h"}, "a rate cannot be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        planner.scale(POOLS, **ASKED, **given)
    assert says in str(caught.value)
