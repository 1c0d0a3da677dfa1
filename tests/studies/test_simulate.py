"""`planner.simulate`: reports, arrivals, policies and failures, and what makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planner
from planner.errors import InputError, ScenarioError, UnknownNameError
from planner.simulation.failures import parse_failure
from planner.simulation.policies import policy_name, policy_of
from planner.simulation.report import SimulationReport
from planner.simulation.specification import SPLITWISE, Policy
from planner.studies.arrivals import read_trial

SPLIT = [{"role": "prefill", "machine": "dgx-h100", "count": 2}, {"role": "decode", "machine": "dgx-h100", "count": 2}]
MIXED = [{"role": "mixed", "machine": "dgx-h100", "count": 3, "tensor_parallel": 8}]
SMALL: dict[str, Any] = {"rate": "20/s", "n_requests": 3000, "seeds": 2}
HEADER = "timestamp,prompt_tokens,output_tokens\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A trace of 4,000 requests, 15/s, of which every hundredth comes with the one before."""
    rng = np.random.default_rng(7)
    gaps = rng.exponential(1 / 15, 4000)
    gaps[100::100] = 0.0
    rows = zip(np.cumsum(gaps), rng.integers(50, 3000, 4000), rng.integers(1, 300, 4000), strict=True)
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + "".join(f"{t:.6f},{p},{o}\n" for t, p, o in rows))
    return path


@pytest.fixture(scope="module")
def report() -> SimulationReport:
    return planner.simulate(SPLIT, slo=["ttft=1s", "tbt=3x"], **SMALL)


def test_a_report_says_everything(report: SimulationReport) -> None:
    assert report.meets_objectives and report.stable and not report.interrupted
    assert report.seeds == (1, 2)
    assert report.n_requests == 6000
    assert report.n_counted + sum(report.warm_up_requests) == 6000
    assert report.planner_version == planner.__version__
    assert report.scenario["rate_per_s"] == 20.0
    assert [o.unit for o in report.objectives] == ["s", "x"]
    by_metric = {latency.metric: latency for latency in report.latencies}
    ttft = by_metric["ttft"].p99
    assert ttft.low <= ttft.value <= ttft.high
    assert ttft.prediction_error == pytest.approx(ttft.predicted / ttft.value - 1)
    assert abs(ttft.prediction_error) < 0.3
    assert by_metric["queueing"].p99.predicted is None
    assert by_metric["tbt"].p99.value <= by_metric["largest_gap"].p99.value
    assert report.power_w == pytest.approx(sum(pool.power_w for pool in report.pools))
    assert report.energy_per_request_j == pytest.approx(report.power_w * report.simulated_s / 6000)


def test_a_report_is_json_and_rows(report: SimulationReport) -> None:
    again = SimulationReport.model_validate_json(report.model_dump_json())
    assert again.model_dump() == report.model_dump()
    records = report.to_records()
    assert {r["kind"] for r in records} == {"latency", "objective", "pool"}
    assert all(not isinstance(v, (dict, list, tuple)) for r in records for v in r.values())
    rows = list(report.request_records())
    assert len(rows) == 6000
    assert {row["run"] for row in rows} == {1, 2}
    with pytest.raises(ScenarioError, match="read from a file"):
        again.request_records()


def test_its_distributions_and_timeline_say_what_its_percentiles_do(report: SimulationReport) -> None:
    for distribution, latency in zip(report.distributions, report.latencies, strict=False):
        assert distribution.metric == latency.metric
        values = dict(zip(distribution.shares, distribution.values_s, strict=True))
        assert values[0.5] == pytest.approx(latency.p50.value, rel=1e-3)
        assert values[0.99] == pytest.approx(latency.p99.value, rel=1e-3)
        assert list(distribution.values_s) == sorted(distribution.values_s)
    timeline = report.timeline
    assert timeline is not None and timeline.seed == 1
    assert sum(timeline.arrivals_per_s) * timeline.interval_s == pytest.approx(3000)
    for pool, whole in zip(timeline.pools, report.pools, strict=True):
        assert np.mean(pool.busy) == pytest.approx(whole.busy, rel=0.1)
        assert np.mean(pool.memory_used) == pytest.approx(whole.memory_used, rel=0.15)


def test_the_same_input_gives_the_same_bytes(report: SimulationReport) -> None:
    again = planner.simulate(SPLIT, slo=["ttft=1s", "tbt=3x"], **SMALL)
    assert again.model_dump_json() == report.model_dump_json()


def test_a_cluster_that_cannot_keep_up_is_not_averaged() -> None:
    report = planner.simulate(MIXED, rate="120/s", n_requests=6000, seeds=1)
    assert not report.stable and not report.meets_objectives
    assert all(o.simulated.value is None and not o.met for o in report.objectives)
    assert all(latency.mean.value is None for latency in report.latencies)
    assert any("unstable" in note for note in report.notes)


def test_load_and_seeds() -> None:
    half, double = (planner.simulate(SPLIT, load=load, **SMALL) for load in (0.5, 2.0))
    assert (half.arrivals.rate_per_s, double.arrivals.rate_per_s) == (10.0, 40.0)
    assert half.latencies[0].mean.value < double.latencies[0].mean.value
    assert planner.simulate(SPLIT, **SMALL | {"seeds": [9]}).seeds == (9,)


def test_a_pool_without_a_machine_is_refused_where_others_share_its_role() -> None:
    pools = [*SPLIT, {"role": "decode", "machine": "dgx-a100", "count": 1}]
    with pytest.raises(ScenarioError, match="leaves a decode pool without a machine"):
        planner.simulate(pools, failures=["decode.dgx-a100:0@20s"], **SMALL)


# -- arrivals ------------------------------------------------------------------------------------------------------


def test_a_replay_keeps_the_timestamps(trace: Path) -> None:
    report = planner.simulate(SPLIT, workload=str(trace), replay=True)
    assert report.arrivals.kind == "replay" and not report.arrivals.rescaled
    assert report.arrivals.rate_per_s == pytest.approx(15.0, rel=0.1)
    assert report.n_requests == 4000
    assert report.n_together == 39
    assert report.seeds == (1,)
    assert not any("replaced" in note for note in report.notes)
    rows = list(report.request_records())
    assert rows[100]["arrival_s"] == rows[99]["arrival_s"]


def test_a_replay_is_rescaled_repeated_and_cut(trace: Path) -> None:
    faster = planner.simulate(SPLIT, workload=str(trace), replay=True, rate="30/s", repeat=2)
    assert faster.arrivals.rescaled
    assert faster.arrivals.rate_per_s == pytest.approx(30.0, rel=0.01)
    assert faster.n_requests == 8000
    cut = planner.simulate(SPLIT, workload=str(trace), replay=True, load=2.0, n_requests=2000)
    assert cut.n_requests == 2000
    assert cut.arrivals.rate_per_s == pytest.approx(30.0, rel=0.15)


def test_rates_that_change(trace: Path) -> None:
    report = planner.simulate(SPLIT, rates=["10/s", "40/s"], period="100s", seeds=1)
    assert report.arrivals.kind == "rates"
    assert report.n_requests == pytest.approx(5000, rel=0.1)
    assert report.arrivals.rate_per_s == 25.0
    assert report.latencies[0].p99.predicted is None
    # Load that rises at the end is no instability.
    assert report.stable
    burst = planner.simulate(SPLIT, n_requests=3000, rate="20/s", arrival_cv2=6.0, seeds=1)
    assert burst.arrivals.kind == "gamma"
    calm = planner.simulate(SPLIT, n_requests=3000, rate="20/s", seeds=1)
    assert burst.latencies[0].p99.value > calm.latencies[0].p99.value


# -- policies and failures ------------------------------------------------------------------------------------------


def test_policies_by_name() -> None:
    assert policy_of() == Policy()
    assert policy_of("splitwise") == SPLITWISE
    assert policy_of(routing="round-robin").routing == "round_robin"
    chunked = policy_of("splitwise", chunk_tokens=512, overflow=False)
    assert (chunked.chunk_tokens, chunked.shared_budget, chunked.overflow) == (512, False, False)
    assert policy_name(Policy()) == "jsq"
    assert policy_name(SPLITWISE) == "splitwise"
    named = policy_name(chunked)
    assert named == "splitwise, prefill in chunks of 512 tokens a step, no overflow between pools"
    with pytest.raises(UnknownNameError, match="policy 'jqs'") as error:
        policy_of("jqs")
    assert error.value.suggestions == ["jsq"]
    with pytest.raises(UnknownNameError, match="routing"):
        policy_of(routing="round")


@pytest.mark.parametrize(
    "options", [{"policy": "splitwise"}, {"routing": "least-loaded"}, {"chunk_tokens": 1024}, {"overflow": True}]
)
def test_every_policy_serves_every_request(options: dict[str, Any]) -> None:
    report = planner.simulate(SPLIT, **SMALL | {"seeds": 1, "rate": "40/s"}, **options)
    assert all(row["status"] == "done" for row in report.request_records())
    assert report.policy_name != "jsq"


def test_a_failure_restarts_requests_and_loses_none() -> None:
    report = planner.simulate(SPLIT, failures=["decode:1@30s-90s"], **SMALL | {"seeds": 1})
    assert report.n_restarted > 0
    assert all(row["status"] == "done" for row in report.request_records())
    assert report.failures[0].machine == "decode:1"
    assert (report.failures[0].at_s, report.failures[0].repaired_s) == (30.0, 90.0)
    whole = planner.simulate(SPLIT, **SMALL | {"seeds": 1})
    assert whole.n_restarted == 0
    assert report.latencies[2].mean.value > whole.latencies[2].mean.value


def test_a_failure_after_the_end_is_said() -> None:
    report = planner.simulate(SPLIT, failures=["decode:1@9h"], **SMALL | {"seeds": 1})
    assert any("over before decode:1@9h" in note for note in report.notes)


def test_machines_are_named_by_pool_and_number() -> None:
    pools = [
        {"role": "prefill", "machine": "dgx-h100", "count": 2},
        {"role": "decode", "machine": "dgx-h100", "count": 1},
        {"role": "decode", "machine": "dgx-a100", "count": 2},
    ]
    by_role = planner.simulate(pools, failures=["decode:2@30s-90s"], **SMALL)
    by_type = planner.simulate(pools, failures=["decode.dgx-a100:1@30s-90s"], **SMALL)
    assert by_role.n_restarted == by_type.n_restarted > 0
    assert by_role.latencies == by_type.latencies
    failure = parse_failure(" decode : 2 @ 0.5min - 1.5min ")
    assert (failure.pool, failure.number, failure.at_s, failure.repaired_s) == ("decode", 2, 30.0, 90.0)


DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the measured profile is not here")
def test_measured_step_times_in_place_of_the_model() -> None:
    """One prompt at a time, no queue: TTFT is the profile's own time of that prompt."""
    from planner.latency.batch import prefill_batch
    from planner.scenario.resolve import resolve

    scenario = planner.Scenario(
        model="bloom-176b", runtime="splitwise-2023", workload="azure-code-2023", rate="0.05/s",
        profile=str(DATA / "splitwise_profile.csv"), machines=("dgx-h100",),
    )  # fmt: skip
    pool = [{"role": "mixed", "machine": "dgx-h100", "count": 8, "tensor_parallel": 8}]
    report = planner.simulate(pool, scenario, n_requests=400, seeds=1)
    from planner.planning.evaluate import members_and_routes
    from planner.scenario.cluster import read_cluster

    (member,), _ = members_and_routes(resolve(scenario), read_cluster(pool))
    rows = list(report.request_records())
    alone = member.configuration.lane.step.step_time_s(prefill_batch(np.array([row["prompt_tokens"] for row in rows])))
    assert [row["ttft_s"] for row in rows] == pytest.approx(alone.tolist(), rel=1e-6)


# -- what makes no sense --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        ({"failures": ["decode:2@5s"]}, "failures", "there is no machine decode:2"),
        ({"failures": ["mixed:0@5s"]}, "failures", "unknown pool 'mixed'"),
        ({"failures": ["decode0@5s"]}, "failures", "not a failure"),
        ({"failures": ["decode:0@5x"]}, "failures", "not a unit"),
        ({"failures": ["decode:0@9s-5s"]}, "failures", "comes back after"),
        ({"failures": ["decode:0@5s", "decode:0@7s-9s"]}, "failures", "fails while it is down"),
        ({"failures": ["decode:0@5s", "decode:1@7s"]}, "failures", "leaves no decode machine"),
        ({"replay": True}, "workload", "no timestamps to replay"),
        ({"rates": ["10/s", "-40/s"], "period": "1h"}, "rates", "cannot be negative"),
        ({"rates": ["0/s"], "period": "1h"}, "rates", "no request comes"),
        ({"rates": ["10/s"]}, "rates", "for a period each"),
        ({"period": "1h"}, "period", "a period is that of rates"),
        ({"rates": ["10/s"], "period": "0s"}, "period", "last some time"),
        ({"rates": ["10/s"], "period": "1h", "rate": "5/s"}, "rate", "how many requests come"),
        ({"rates": ["10/s"], "period": "1h", "n_requests": 50}, "n_requests", "how many requests come"),
        ({"rates": ["10/s"], "period": "1h", "replay": True}, "rates", "rates of its own"),
        ({"repeat": 2}, "repeat", "only a replay"),
        ({"replay": True, "arrival_cv2": 2.0}, "arrival_cv2", "gaps of its own"),
        ({"replay": True, "prompt_output_ratio": 9.0}, "prompt_output_ratio", "of the sizes they had"),
        ({"replay": True, "seeds": 2}, "seeds", "a replay is one run"),
        ({"seeds": 0}, "seeds", "out of range"),
        ({"seeds": [1, 1]}, "seeds", "not seeds"),
        ({"load": 0.0}, "load", "out of range"),
        ({"n_requests": 0}, "n_requests", "out of range"),
        ({"n_requests": 90, "seeds": 1}, "n_requests", "shorter than the warm-up"),
        ({"chunk_tokens": 0}, "chunk_tokens", "at least one token"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as error:
        planner.simulate(SPLIT, **options)
    assert error.value.where == where


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("0,5,5\n2,5,5\n1,5,5\n", "timestamp falls"),
        ("-1,5,5\n0,5,5\n", "timestamp is negative"),
        ("0,5,5\n0,5,5\n", "come at once|came at once"),
        ("".join(f"{i / 100},5000,500\n" for i in range(200)), "the trace is shorter than the warm-up"),
        ("".join(f"{i},500,5\n" for i in range(60)), "the trace is shorter than the warm-up"),
    ],
)
def test_traces_that_make_no_sense(tmp_path: Path, rows: str, what: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + rows)
    with pytest.raises(InputError, match=what):
        planner.simulate(SPLIT, workload=str(path), replay=True)


def test_a_trace_without_timestamps_cannot_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt_tokens,output_tokens\n10,2\n20,3\n")
    with pytest.raises(ScenarioError, match="no timestamps to replay"):
        planner.simulate(SPLIT, workload=str(path), replay=True)


def test_requests_larger_than_any_memory_are_named_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + "".join(f"{i / 5},{3_000_000 if i % 10 == 3 else 500},20\n" for i in range(1000)))
    report = planner.simulate(MIXED, workload=str(path), replay=True)
    assert report.n_too_large == 100
    assert report.too_large[0] == "run 1 request 3: 3000000 + 20 tokens"
    assert not report.meets_objectives
    assert all(o.late.value == pytest.approx(0.1, abs=0.01) for o in report.objectives)
    statuses = [row["status"] for row in report.request_records()]
    assert statuses.count("too large") == 100
    assert statuses.count("done") == 900


def test_clusters_without_machines() -> None:
    with pytest.raises(ScenarioError, match="at least one pool"):
        planner.simulate([], **SMALL)
    with pytest.raises(ScenarioError, match="greater than or equal to 1"):
        planner.simulate([{"role": "mixed", "machine": "dgx-h100", "count": 0}], **SMALL)
    with pytest.raises(ScenarioError, match="no decode pool"):
        planner.simulate([{"role": "prefill", "machine": "dgx-h100", "count": 2}], **SMALL)


# -- interruption --------------------------------------------------------------------------------------------------


def interrupt_at(n: int) -> Callable[[str], None]:
    calls = 0

    def progress(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_leaves_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.simulation.cluster.SAY_EVERY_S", 0.0)
    report = planner.simulate(SPLIT, rate="20/s", n_requests=90_000, seeds=2, progress=interrupt_at(2))
    assert report.interrupted
    assert report.n_requests == 40_000
    assert 0 < report.n_unfinished < 1000
    assert report.n_requests == report.n_unfinished + sum(o.n_finished for o in report.outcomes)
    assert any("interrupted" in note for note in report.notes)
    assert SimulationReport.model_validate_json(report.model_dump_json()).interrupted


def test_ctrl_c_before_anything_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.simulation.core.ARRIVALS_AT_ONCE", 1)
    monkeypatch.setattr("planner.simulation.cluster.SAY_EVERY_S", 0.0)
    report = planner.simulate(SPLIT, rate="20/s", n_requests=1000, seeds=1, progress=interrupt_at(1))
    assert report.interrupted and not report.meets_objectives
    assert report.n_requests <= 2


def test_a_trial_is_read_from_text() -> None:
    trial = read_trial(rates=["10/s", 40.0], period="1h", failures=["decode:0@2min"])
    assert trial.rates_per_s == (10.0, 40.0)
    assert trial.period_s == 3600.0
    assert trial.failures[0].repaired_s == float("inf")
    assert not trial.is_stationary
