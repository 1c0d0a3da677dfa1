"""Clusters of catalog machines: capacity, results, reports and bad input."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from planner.catalog.catalog import Catalog
from planner.errors import ScenarioError
from planner.pools.configuration import Configuration, configure, make_layout
from planner.pools.prediction import Member, Route
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.simulation.arrivals import draw_requests, draw_requests_at_rates, replay, requests_of
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.energy import pool_power
from planner.simulation.request_rows import REQUEST_COLUMNS, request_rows
from planner.simulation.specification import SPLITWISE, Failure, Policy
from planner.simulation.summary import values_of
from planner.workload.sizes import RequestSizes
from planner.workload.traces import read_trace


@pytest.fixture(scope="module")
def problem() -> Problem:
    return resolve(Scenario(model="llama-2-70b", workload="azure-conv-2023", rate=10, slo=("ttft.p99=2s", "tbt=3x")))


@pytest.fixture(scope="module")
def h100(problem: Problem) -> Configuration:
    machine = Catalog.default().machine("dgx-h100")
    return configure(problem.catalog, machine, problem.serving, make_layout(machine, problem.serving, 8))


def split(problem: Problem, h100: Configuration, n_prefill: int, n_decode: int, rate: float) -> ClusterSimulation:
    members = [Member("prefill", h100, n_prefill, rate), Member("decode", h100, n_decode, rate)]
    power = pool_power(problem.llm, problem.runtime)
    return ClusterSimulation(members, [Route(0, 1, rate)], problem.need, problem.sizes, problem.reference, power)


def prefill_capacity(problem: Problem, h100: Configuration) -> float:
    """Rate that keeps one prefill machine busy all the time, a prompt a step [requests/s]."""
    sizes = problem.sizes
    return 1.0 / float(sizes.weight @ h100.lane.prefill_time_s(np.rint(sizes.prompt_tokens)))


@pytest.mark.parametrize(("load", "stable"), [(0.9, True), (1.02, False), (1.2, False)])
def test_clusters_that_cannot_keep_up_are_recognised(
    problem: Problem, h100: Configuration, load: float, stable: bool
) -> None:
    # One prompt a step, so that batching adds no capacity.
    one = replace(h100, lane=replace(h100.lane, token_budget=1))
    rate = 2 * prefill_capacity(problem, one)
    simulated = split(problem, one, 2, 8, rate).simulate(n_requests=30_000, seeds=(1, 2), load=load)
    assert simulated.stable is stable
    if not stable:
        assert not any(simulated.met)
    assert simulated.busy[0] == pytest.approx(min(load, 1.0), abs=0.03)


def test_result_of_a_split_cluster(problem: Problem, h100: Configuration) -> None:
    rate = 2.5 * prefill_capacity(problem, h100)
    simulation = split(problem, h100, 4, 6, rate)
    simulated = simulation.simulate(n_requests=8000, seeds=(1, 2))
    assert simulated.stable
    assert simulated.n_requests == 16_000
    assert 8000 <= simulated.n_counted <= 16_000
    for metric in ("ttft", "tbt", "e2e", "largest_gap", "transfer"):
        p50, p90, p99 = (simulated.percentiles[metric, p] for p in (50.0, 90.0, 99.0))
        assert 0 < p50.value <= p90.value <= p99.value
        assert p99.low <= p99.value <= p99.high
    assert simulated.percentiles["tbt", 99.0].value <= simulated.percentiles["largest_gap", 99.0].value
    # The first token waits and is computed; queueing is what is left.
    outcome = simulated.outcomes[0]
    assert (values_of(outcome, "queueing") <= values_of(outcome, "ttft")).all()
    assert simulated.busy[0] == simulated.prompt_share[0]
    assert simulated.prompt_share[1] == 0.0
    assert simulated.batch[1] > 1.0
    assert all(0.0 < used < 1.0 for used in simulated.memory_used)
    # Prefill draws more than decode, and both between idle and rated power.
    assert simulated.power_w is not None
    prefill_w, decode_w = simulated.power_w[0] / 4, simulated.power_w[1] / 6
    assert 0.1 * h100.machine.rated_power_w < decode_w < h100.machine.rated_power_w
    assert 0.1 * h100.machine.rated_power_w < prefill_w < h100.machine.rated_power_w


def test_requests_are_rows(problem: Problem, h100: Configuration) -> None:
    simulated = split(problem, h100, 2, 3, 5.0).simulate(n_requests=2000, seeds=(7,))
    rows = list(request_rows(simulated.outcomes))
    assert len(rows) == 2000
    first = dict(zip(REQUEST_COLUMNS, rows[0], strict=True))
    assert first["status"] == "done"
    assert first["e2e_s"] >= first["ttft_s"] >= first["queueing_s"] >= 0


def test_same_seeds_same_times(problem: Problem, h100: Configuration) -> None:
    simulation = split(problem, h100, 2, 3, 5.0)

    def times(seed: int) -> list[float]:
        simulated = simulation.simulate(n_requests=1500, seeds=(seed,), policy=SPLITWISE)
        return simulated.outcomes[0].finish_s.tolist()

    assert times(3) == times(3)
    assert times(3) != times(4)


def test_a_timeline_changes_nothing_and_adds_up(problem: Problem, h100: Configuration) -> None:
    simulation = split(problem, h100, 2, 3, 5.0)
    requests = draw_requests(problem.sizes, 5.0, 3000, seed=5)
    failures = [Failure(3, 100.0, 150.0)]
    plain = simulation.run(requests, policy=SPLITWISE, failures=failures)
    sampled = simulation.run(requests, policy=SPLITWISE, failures=failures, n_samples=50)
    assert plain.finish_s.tolist() == sampled.finish_s.tolist()
    assert plain.largest_gap_s.tolist() == sampled.largest_gap_s.tolist()
    assert plain.sample_s.size == 0
    # Pools are seen until the last request reaches them, which is its arrival and what the front end takes.
    assert plain.horizon_s == sampled.horizon_s
    assert 0.0 < sampled.horizon_s - requests.arrival_s[-1] < 0.1
    assert sampled.sample_s.tolist() == pytest.approx(np.linspace(0.0, sampled.horizon_s, 51).tolist())
    ends = sampled.samples[-1]
    for name, column in (("pool_busy_s", 0), ("pool_batch_s", 2), ("pool_kv_token_s", 4)):
        assert ends[:, column] == pytest.approx(getattr(plain, name), rel=1e-9)
    assert (np.diff(sampled.samples[:, :, 0], axis=0) >= -1e-9).all()


def test_no_power_without_a_model_of_it(problem: Problem, h100: Configuration) -> None:
    members = [Member("mixed", h100, 3, 5.0)]
    simulation = ClusterSimulation(members, [Route(0, None, 5.0)], problem.need, problem.sizes, problem.reference)
    assert simulation.simulate(n_requests=1000, seeds=(1,)).power_w is None


def test_interrupted_simulation_is_marked(problem: Problem, h100: Configuration) -> None:
    simulation = split(problem, h100, 2, 3, 5.0)
    requests = draw_requests(problem.sizes, 5.0, 45_000, seed=1)

    def stop(arrived: int, _: float) -> None:
        if arrived == 40_000:
            raise KeyboardInterrupt

    simulated = simulation.summarise([simulation.run(requests, progress=stop)])
    assert simulated.interrupted
    assert simulated.n_requests == 40_000
    statuses = [row[5] for row in request_rows(simulated.outcomes)]
    assert len(statuses) == 40_000
    assert 0 < statuses.count("in flight") < 400


def test_progress_says_how_long_it_still_takes(
    problem: Problem, h100: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.simulation.cluster.SAY_EVERY_S", 0.0)
    said: list[str] = []
    split(problem, h100, 2, 3, 5.0).simulate(n_requests=30_000, seeds=(1,), progress=said.append)
    assert said
    assert "20,000 of 30,000 requests" in said[0]
    assert "s left: 20,000 of 30,000 requests (seed 1)" in said[0]


def test_requests_too_large_miss_every_objective(problem: Problem, h100: Configuration) -> None:
    small = replace(h100, lane=replace(h100.lane, kv_tokens=2500.0))
    simulation = split(problem, small, 2, 3, 5.0)
    simulated = simulation.simulate(n_requests=3000, seeds=(1,))
    assert 100 < simulated.n_too_large < 2000
    share = simulated.n_too_large / 3000
    assert all(late.value >= 0.8 * share for late in simulated.late)
    assert not any(simulated.met)


def test_run_shorter_than_its_warm_up_proves_nothing(problem: Problem, h100: Configuration) -> None:
    simulated = split(problem, h100, 4, 4, 5.0).simulate(n_requests=60, seeds=(1,))
    assert not simulated.enough
    assert not any(simulated.met)


def test_prompts_longer_than_the_workload_knows(problem: Problem, h100: Configuration) -> None:
    simulation = split(problem, h100, 2, 2, 5.0)
    longest = int(problem.sizes.prompt_tokens.max())
    outcome = simulation.run(requests_of([0.0, 1.0], [longest + 5000, 100], [5, 5]))
    assert np.isfinite(outcome.finish_s).all()


def test_pools_and_machines_that_are_not_there(problem: Problem, h100: Configuration) -> None:
    with pytest.raises(ScenarioError, match="no machines"):
        ClusterSimulation([], [], problem.need, problem.sizes, problem.reference)
    with pytest.raises(ScenarioError, match="without machines"):
        split(problem, h100, 2, 0, 5.0)
    with pytest.raises(ScenarioError, match="no way leads"):
        split(problem, h100, 2, 2, 0.0)
    with pytest.raises(ScenarioError, match="slowdown needs a reference"):
        ClusterSimulation([Member("mixed", h100, 1, 1.0)], [Route(0, None, 1.0)], problem.need, problem.sizes)


@pytest.mark.parametrize(
    ("failures", "match"),
    [
        ([Failure(9, 1.0)], "no such machine"),
        ([Failure(0, -1.0)], "0 <= failure < repair"),
        ([Failure(0, 5.0, 5.0)], "0 <= failure < repair"),
        ([Failure(0, 5.0, 9.0), Failure(0, 7.0)], "while it is down"),
        ([Failure(0, 1.0), Failure(1, 2.0)], "no prefill machine"),
        ([Failure(0, 1.0, 2.0), Failure(2, 3.0), Failure(3, 4.0), Failure(4, inf)], "0 <= failure < repair"),
        ([Failure(2, 3.0), Failure(3, 4.0, 10.0), Failure(4, 9.0)], "no decode machine"),
    ],
)
def test_failures_that_make_no_sense(
    problem: Problem, h100: Configuration, failures: list[Failure], match: str
) -> None:
    simulation = split(problem, h100, 2, 3, 5.0)
    with pytest.raises(ScenarioError, match=match):
        simulation.run(draw_requests(problem.sizes, 5.0, 100), failures=failures)


@pytest.mark.parametrize(
    ("arrival", "prompt", "output", "match"),
    [
        ([0.0, 2.0, 1.0], [5, 5, 5], [1, 1, 1], "request 2: the arrival is before the one above it"),
        ([-1.0, 0.0], [5, 5], [1, 1], "request 0: the arrival is negative"),
        ([0.0, float("nan")], [5, 5], [1, 1], "request 1: the arrival is not a time"),
        ([0.0, 1.0], [5, 0], [1, 1], "request 1: the prompt has no tokens"),
        ([0.0, 1.0], [5, 5], [1, -2], "request 1: the output has no tokens"),
        ([0.0, 1.0], [5, float("nan")], [1, 1], "request 1: the prompt has no tokens"),
        ([0.0], [5, 5], [1, 1], "differ in number"),
        ([], [], [], "no requests"),
    ],
)
def test_requests_that_make_no_sense(
    arrival: list[float], prompt: list[float], output: list[float], match: str
) -> None:
    with pytest.raises(ScenarioError, match=match):
        requests_of(arrival, prompt, output)


def test_duplicate_timestamps_are_requests_that_came_together() -> None:
    assert len(requests_of([1.0, 1.0, 1.0], [5, 6, 7], [1, 2, 3])) == 3


def test_drawn_arrivals() -> None:
    sizes = RequestSizes.equally_weighted([100.0, 2000.0], [10.0, 20.0], "two")
    for cv2 in (0.0, 0.25, 1.0, 9.0):
        gaps = np.diff(draw_requests(sizes, 20.0, 40_000, arrival_cv2=cv2, seed=3).arrival_s)
        assert gaps.mean() == pytest.approx(0.05, rel=0.06)
        assert np.var(gaps) / gaps.mean() ** 2 == pytest.approx(cv2, rel=0.1, abs=1e-9)
    stepped = draw_requests_at_rates(sizes, [10.0, 0.0, 40.0], 100.0, seed=3)
    counts = np.histogram(stepped.arrival_s, [0, 100, 200, 300])[0]
    assert counts[1] == 0
    assert counts[0] == pytest.approx(1000, rel=0.1)
    assert counts[2] == pytest.approx(4000, rel=0.1)
    burst = draw_requests_at_rates(sizes, [20.0, 20.0, 20.0], 1000.0, arrival_cv2=4.0, seed=3)
    gaps = np.diff(burst.arrival_s)
    assert np.var(gaps) / gaps.mean() ** 2 == pytest.approx(4.0, rel=0.1)
    with pytest.raises(ScenarioError, match="positive rate"):
        draw_requests(sizes, 0.0, 10)
    with pytest.raises(ScenarioError, match="variability"):
        draw_requests(sizes, 1.0, 10, arrival_cv2=-1.0)


def test_replay_of_a_trace(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,prompt_tokens,output_tokens\n0,10,2\n1.5,20,3\n1.5,30,4\n6,40,5\n")
    trace = read_trace(path)
    assert replay(trace).arrival_s.tolist() == [0.0, 1.5, 1.5, 6.0]
    faster = replay(trace, rate_per_s=1.0, repeat=3)
    assert len(faster) == 12
    assert faster.rate_per_s == pytest.approx(1.0, rel=0.01)
    assert faster.prompt_tokens.tolist() == [10, 20, 30, 40] * 3
    assert replay(trace, n_requests=3).arrival_s.tolist() == [0.0, 1.5, 1.5]
    assert replay(trace).n_together == 1
    path.write_text("prompt_tokens,output_tokens\n10,2\n20,3\n")
    with pytest.raises(ScenarioError, match="no timestamps"):
        replay(read_trace(path))


def test_policies_that_make_no_sense() -> None:
    with pytest.raises(ScenarioError, match="at least one token"):
        Policy(chunk_tokens=0)
    with pytest.raises(ScenarioError, match="share the budget"):
        Policy(chunk_tokens=512, shared_budget=True)
