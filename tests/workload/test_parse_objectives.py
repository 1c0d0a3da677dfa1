"""Objectives: reading, writing, presets and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.errors import EXIT_BAD_INPUT, InputError, ScenarioError, UnitError, UnknownNameError
from planner.workload.objectives import Objective, parse_objective, parse_objectives


@pytest.mark.parametrize(
    ("text", "metric", "percentile", "limit_s", "slowdown", "canonical", "label", "limit_label"),
    [
        ("ttft=1s", "ttft", 99, 1.0, None, "ttft.p99=1s", "TTFT p99", "1.00 s"),
        ("tbt.p99=200ms", "tbt", 99, 0.2, None, "tbt.p99=200ms", "TBT p99", "200 ms"),
        ("e2e.p50=2x", "e2e", 50, None, 2.0, "e2e.p50=2x", "E2E p50", "2x"),
        ("tpot.p90 = 0.05 s", "tbt", 90, 0.05, None, "tbt.p90=50ms", "TBT p90", "50 ms"),
        ("ITL.P99.9=1.25X", "tbt", 99.9, None, 1.25, "tbt.p99.9=1.25x", "TBT p99.9", "1.25x"),
        ("e2e.p95=2 min", "e2e", 95, 120.0, None, "e2e.p95=120s", "E2E p95", "2.0 min"),
        ("ttft=0.8x", "ttft", 99, None, 0.8, "ttft.p99=0.8x", "TTFT p99", "0.8x"),
        ("ttft_p95 <= 1s", "ttft", 95, 1.0, None, "ttft.p95=1s", "TTFT p95", "1.00 s"),
        ("e2e p50<30s", "e2e", 50, 30.0, None, "e2e.p50=30s", "E2E p50", "30.0 s"),
    ],
)
def test_reading_and_canonical_text(
    text: str, metric: str, percentile: float, limit_s: float | None, slowdown: float | None, canonical: str,
    label: str, limit_label: str,
) -> None:  # fmt: skip
    objective = parse_objective(text)
    assert objective == Objective(metric=metric, percentile=percentile, limit_s=limit_s, slowdown=slowdown)  # type: ignore[arg-type]
    assert str(objective) == canonical
    assert objective.label == label
    assert objective.limit_label == limit_label


limits = st.floats(1e-9, 1e9, allow_subnormal=False)


percentiles = st.floats(0, 100, exclude_min=True, exclude_max=True)


@given(st.sampled_from(["ttft", "tbt", "e2e"]), percentiles, limits, st.booleans())
def test_text_round_trips_exactly(metric: str, percentile: float, limit: float, absolute: bool) -> None:
    given_limit = {"limit_s": limit} if absolute else {"slowdown": limit}
    objective = Objective(metric=metric, percentile=percentile, **given_limit)  # type: ignore[arg-type]
    assert parse_objective(str(objective)) == objective
    assert str(parse_objective(str(objective))) == str(objective)


def test_preset_splitwise_is_table_six() -> None:
    objectives = parse_objectives(["splitwise"])
    table = {(o.metric, o.percentile): o.slowdown for o in objectives}
    assert table == {
        ("ttft", 50): 2, ("ttft", 90): 3, ("ttft", 99): 6,
        ("tbt", 50): 1.25, ("tbt", 90): 1.5, ("tbt", 99): 5,
        ("e2e", 50): 1.25, ("e2e", 90): 1.5, ("e2e", 99): 5,
    }  # fmt: skip


def test_several_keep_their_order_and_repeats_count_once() -> None:
    objectives = parse_objectives(["tbt.p50=2x", "ttft=1s", "ttft.p99=1000ms"])
    assert [str(o) for o in objectives] == ["tbt.p50=2x", "ttft.p99=1s"]
    assert len(parse_objectives(["ttft.p99=6x", " Splitwise "])) == 9
    assert parse_objectives("ttft=1s") == parse_objectives(["ttft=1s"])


@pytest.mark.parametrize("second", ["ttft.p99=2s", "ttft.p99=2x"])
def test_two_limits_for_one_percentile_are_refused(second: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_objectives(["ttft=1s", second])
    assert "two limits for TTFT p99: 1.00 s and 2" in str(caught.value)
    assert "--slo" in str(caught.value)
    with pytest.raises(ScenarioError, match="two limits for TTFT p50"):
        parse_objectives(["ttft.p50=3x", "splitwise"])


@pytest.mark.parametrize(
    ("text", "error", "fragments"),
    [
        ("ttff=1s", UnknownNameError, ["unknown metric 'ttff'", "did you mean: ttft"]),
        ("latency=1s", UnknownNameError, ["unknown metric 'latency'", "known: e2e, itl, tbt, tpot, ttft"]),
        ("splitwize", UnknownNameError, ["unknown objective or preset 'splitwize'", "did you mean: splitwise"]),
        ("ttft", ScenarioError, ["an objective needs a limit", "write ttft=1s"]),
        ("ttft.p99", ScenarioError, ["an objective needs a limit"]),
        ("ttft.p0=1s", ScenarioError, ["percentile p0 is out of range", "above 0 and below 100"]),
        ("ttft.p100=1s", ScenarioError, ["percentile p100 is out of range"]),
        ("ttft.p150=1s", ScenarioError, ["out of range"]),
        ("ttft.p-5=1s", ScenarioError, ["out of range"]),
        ("ttft.pinf=1s", ScenarioError, ["is not a percentile"]),
        ("ttft.pnan=1s", ScenarioError, ["'pnan' is not a percentile", "like p50, p99 or p99.9"]),
        ("ttft.99=1s", ScenarioError, ["'99' is not a percentile"]),
        ("ttft.=1s", ScenarioError, ["is not a percentile"]),
        ("ttft=0s", ScenarioError, ["limit 0s is not positive"]),
        ("ttft=-1s", ScenarioError, ["limit -1s is not positive"]),
        ("ttft=0x", ScenarioError, ["limit 0x is not positive"]),
        ("ttft=-2x", ScenarioError, ["limit -2x is not positive"]),
        ("ttft=nan", UnitError, ["not a time"]),
        ("ttft=inf", UnitError, ["not a time"]),
        ("ttft=1e999s", UnitError, ["finite"]),
        ("ttft=nanx", UnitError, ["'nanx' is not a slowdown"]),
        ("ttft=infx", UnitError, ["'infx' is not a slowdown"]),
        ("ttft=1e999x", UnitError, ["finite"]),
        ("ttft=manyx", UnitError, ["'manyx' is not a slowdown"]),
        ("ttft=1", UnitError, ["a time needs its unit", "like 1s or 200ms, or a slowdown, like 2x"]),
        ("ttft=", UnitError, ["not a time"]),
        ("ttft=40GB", UnitError, ["expected a time"]),
        ("ttft=1s,tbt=200ms", ScenarioError, ["more than one objective"]),
    ],
)
def test_refusals(text: str, error: type[InputError], fragments: list[str]) -> None:
    with pytest.raises(error) as caught:
        parse_objectives([text], where="--slo")
    message = str(caught.value)
    assert message.startswith("--slo: ")
    assert text in message
    for fragment in fragments:
        assert fragment in message
    assert caught.value.exit_code == EXIT_BAD_INPUT


def test_no_objective_at_all() -> None:
    with pytest.raises(ScenarioError, match="there are no objectives"):
        parse_objectives([])
    with pytest.raises(ScenarioError, match="an objective is text"):
        parse_objectives([{"ttft": 1}])  # type: ignore[list-item]


def test_the_model_refuses_what_makes_no_sense() -> None:
    for fields in (
        {"metric": "ttft"}, {"metric": "ttft", "limit_s": 1, "slowdown": 2}, {"metric": "ttft", "limit_s": -1},
        {"metric": "ttft", "limit_s": float("inf")}, {"metric": "ttft", "limit_s": 1, "percentile": 100},
        {"metric": "tpot", "limit_s": 1}, {"metric": "ttft", "limit_s": 1, "unit": "s"},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            Objective.model_validate(fields)
    objective = Objective(metric="ttft", limit_s=1)
    with pytest.raises(ValidationError):
        objective.limit_s = 2
    assert objective in {objective}
