"""Plans proven by simulation, and corrected by it: against simulating every count, and against what must follow."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError
from planner.export.tables.plan import plan_table
from planner.planning.certify import Certification, certified
from planner.planning.correction import Corrections
from planner.planning.evaluate import cluster_of
from planner.planning.search import Solution, prepare_search, solve_problem
from planner.planning.sharing import shared_anew
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.progress import quiet
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import load_scenario
from planner.simulation import core
from planner.simulation.cluster import ClusterSimulation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not (DATA / "azure_2023_code.csv").is_file(), reason=f"no measured data in {DATA}")

# The formulas say that one machine is enough, simulation that TTFT p99 is a hair above its limit.
OPTIMISTIC: dict[str, Any] = {
    "slo": ["ttft=300ms"], "rate": 3.0, "design": "Baseline-H100", "verify_requests": 4000
}  # fmt: skip
CODING: dict[str, Any] = {
    "slo": ["ttft=1s", "tbt=60ms"], "workload": "azure-code-2023", "rate": 30.0, "verify_requests": 4000
}  # fmt: skip


def problem_of(fields: dict[str, Any], **more: Any) -> Problem:
    return resolve(load_scenario(fields, **more))


def passes(problem: Problem, solution: Solution, counts: list[int]) -> bool:
    """Whether these machines in the place of the solution's meet every objective, simulated afresh."""
    members = [replace(m, count=n) for m, n in zip(solution.members, counts, strict=True)]
    simulation = ClusterSimulation(members, solution.routes, problem.need, problem.sizes, problem.reference)
    n_requests = problem.scenario.verify_requests
    assert n_requests is not None
    return all(simulation.simulate(n_requests=n_requests, seeds=(1, 2, 3)).met)


def test_a_plan_that_fails_is_corrected_until_it_holds() -> None:
    problem = problem_of(OPTIMISTIC)
    hoped = solve_problem(problem)
    assert [m.count for m in hoped.members] == [1]
    assert not passes(problem, hoped, [1])
    found = certified(problem)
    counts = [m.count for m in found.members]
    assert passes(problem, found, counts)
    assert counts == [min(n for n in range(1, 5) if passes(problem, found, [n]))]
    certificate = found.certificate
    assert certificate is not None and certificate.status == "confirmed"
    assert [r.confirmed for r in certificate.rounds] == [False, True]
    assert certificate.rounds[0].finding.startswith("TTFT p99 3")
    assert 0.5 <= (certificate.rounds[0].carried_fraction or 0) < 1.0
    assert certificate.witnesses[0].objective == "ttft.p99=300ms"
    assert (certificate.witnesses[0].simulated or 0) > 0.3


def test_what_formulas_think_too_little_of_is_found_again() -> None:
    """From capacities halved on purpose, simulation leads back to the fewest machines that hold."""
    problem = problem_of(CODING, design="Splitwise-HA")
    straight = certified(problem)
    doubtful = Certification(problem, quiet)
    doubtful._corrections = Corrections(factor={key: 0.5 for key in straight.keys})
    found = doubtful.run()
    assert found.certificate is not None
    assert found.certificate.status == "confirmed"
    assert "more than enough" in found.certificate.rounds[0].finding
    assert sum(m.count for m in found.members) <= sum(m.count for m in straight.members)
    for i, member in enumerate(found.members):
        fewer = [m.count - (i == j) for j, m in enumerate(found.members)]
        if member.count > 1 and not found.certificate.witnesses[i].breaks.startswith("objectives hold"):
            assert not passes(problem, found, fewer)


def test_the_certificate_says_what_was_simulated_and_is_the_same_each_time() -> None:
    plan = planner.optimize(CODING, spares=1)
    certificate = plan.certificate
    assert certificate is not None
    assert certificate.seeds == [1, 2, 3] and certificate.requests_per_run == 4000
    assert plan.verified == "3 x 4,000 requests simulated"
    assert [o.objective for o in certificate.objectives] == [p.objective for p in plan.predicted]
    for o in certificate.objectives:
        low, value, high = o.simulated.low, o.simulated.value, o.simulated.high
        assert low is not None and value is not None and high is not None
        assert low <= value <= high
        assert o.met and o.late_fraction.high is not None and o.late_fraction.high <= o.allowed_fraction
        assert o.breaks_at_load is not None and o.breaks_at_load > 1.0
    assert certificate.without_spares is not None and certificate.without_spares.n_restarted > 0
    assert len(certificate.witnesses) == len(plan.pools)
    assert planner.optimize(CODING, spares=1).model_dump_json() == plan.model_dump_json()
    assert planner.Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.skipif(core.library() is None, reason="no compiled core was built here, and the truth takes a while")
def test_an_objective_breaks_where_it_is_said_to() -> None:
    """Long runs with other seeds: more are late than may be 1.5 % above the load, and no more 1.5 % below."""
    problem = problem_of(CODING, design="Baseline-H100", slo=["ttft=1s"], verify_requests=None)
    found = certified(problem)
    assert found.certificate is not None
    load = found.certificate.objectives[0].breaks_at_load
    assert load is not None
    simulation = ClusterSimulation(found.members, found.routes, problem.need, problem.sizes)
    above, below = (
        simulation.simulate(n_requests=500_000, seeds=(11,), load=x * load, metrics=()) for x in (1.015, 0.985)
    )
    assert not above.stable or above.late[0].value > 0.01
    assert below.stable and below.late[0].value <= 0.01


def test_a_witness_shares_the_load_anew() -> None:
    """Two pools of unlike machines: what one has less, the other takes before it is said that nothing keeps up."""
    problem = problem_of({"slo": ["ttft=2s"], "rate": 70.0, "verify_requests": 4000})
    found = solve_problem(problem)
    candidates = {c.key: c for _, posed in prepare_search(problem).posed for c in posed}
    keys = [next(k for k in candidates if k.startswith(f"mixed/{name}/")) for name in ("dgx-a100", "dgx-h100")]
    members = [Member("mixed", candidates[k].configuration, n, 35.0) for k, n in zip(keys, (1, 6), strict=True)]
    routes = [Route(0, None, 35.0), Route(1, None, 35.0)]
    assert ClusterModel(members, routes, problem.need).utilisation(0) > 1.0
    _, shared, ways, busiest = shared_anew(keys, members, routes, candidates, problem.need)
    assert busiest < 1.0
    assert sum(r.rate_per_s for r in ways) == pytest.approx(70.0)
    model = ClusterModel(shared, ways, problem.need)
    assert all(model.utilisation(i) < 1.0 for i in range(2))
    # No other share is better: the pools are equally busy where it follows what keeps them busy.
    stable = [35.0 / ClusterModel(members, routes, problem.need).utilisation(i) for i in range(2)]
    assert busiest == pytest.approx(70.0 / sum(stable), rel=1e-6)
    assert found.members
    # A pool that goes leaves its load to the other; with nobody left there is no way.
    gone = [replace(members[0], count=0), members[1]]
    left, alone, rest, _ = shared_anew(keys, gone, routes, candidates, problem.need)
    assert left == keys[1:] and [r.rate_per_s for r in rest] == [pytest.approx(70.0)] and len(alone) == 1
    nobody = [replace(m, count=0) for m in members]
    assert shared_anew(keys, nobody, routes, candidates, problem.need)[3] == float("inf")


def test_a_simpler_plan_is_preferred_within_a_hundredth_and_never_called_optimal() -> None:
    fields: dict[str, Any] = {"slo": ["ttft=1s", "tbt=100ms"], "max_machines": {"dgx-h100": 7}}
    chosen = []
    for rate in (100.0, 130.0, 160.0):
        best, simple = (planner.optimize(fields, rate=rate, verify=False, exact=exact) for exact in (True, False))
        assert best.solver.status == "optimal"
        tie = simple.solver.near_tie
        if tie is None:
            assert simple.solver.value == best.solver.value
            continue
        chosen.append(rate)
        assert simple.solver.status == "near_tie"
        assert tie.value == best.solver.value and tie.n_pools == len(best.pools)
        fewer = len(simple.pools) < len(best.pools) or len({p.machine for p in simple.pools}) < tie.n_types
        assert fewer
        most = 1.05 if len(simple.pools) <= 2 < len(best.pools) else 1.01
        assert best.solver.value <= simple.solver.value <= most * best.solver.value
        table = plan_table(simple, datetime.date(2026, 12, 1))
        assert "of the optimum $" in table and "Least cost" not in table
    assert chosen


@needs_data
def test_a_trace_is_replayed_and_both_must_hold() -> None:
    fields: dict[str, Any] = {
        "workload": str(DATA / "azure_2023_code.csv"), "slo": ["ttft.p99=20s"], "rate": 10.0, "design": "Baseline-H100"
    }  # fmt: skip
    both, drawn = (planner.optimize(fields, arrivals=arrivals) for arrivals in ("trace", "poisson"))
    assert both.certificate is not None and drawn.certificate is not None
    assert drawn.certificate.replayed == []
    assert [o.objective for o in both.certificate.replayed] == ["ttft.p99=20s"]
    assert both.certificate.status == drawn.certificate.status == "confirmed"
    assert all(o.met for o in both.certificate.replayed)
    assert both.machines > drawn.machines  # the bursts of the trace
    replayed = planner.simulate(cluster_of(drawn), fields, replay=True)
    assert not replayed.objectives[0].met


def test_the_time_limit_is_one_of_proof_too() -> None:
    plan = planner.optimize(CODING, verify_requests=1_000_000, time_limit_s=0.5)
    assert plan.certificate is not None and plan.certificate.status == "failed"
    assert any("time limit of 0.5 s" in note for note in plan.certificate.notes)


def test_a_limit_that_simulation_makes_too_tight_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="no plan within the limits passes simulation") as told:
        certified(problem_of(OPTIMISTIC, max_total_machines=1))
    assert "TTFT p99 3" in str(told.value.value)
    assert "--no-verify" in str(told.value.fix)


def test_after_ctrl_c_the_plan_says_that_it_was_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = ClusterSimulation.simulate_drawn
    monkeypatch.setattr(ClusterSimulation, "simulate_drawn", lambda *a, **m: replace(drawn(*a, **m), interrupted=True))
    plan = planner.optimize(OPTIMISTIC)
    assert plan.certificate is not None and plan.certificate.status == "interrupted"
    assert plan.verified == "simulation interrupted"
    assert plan.certificate.objectives == []


def test_the_largest_throughput_is_proven_too() -> None:
    plan = planner.optimize(CODING, objective="throughput", max_total_machines=4, slo=["ttft=1s"])
    assert plan.certificate is not None and plan.certificate.status == "confirmed"
    assert plan.meets_objectives


def test_corrected_curves() -> None:
    problem = problem_of(CODING, design="Baseline-H100")
    solution = solve_problem(problem)
    from planner.planning.search import prepare_search

    candidate = next(c for c in prepare_search(problem).posed[0][1] if c.key == solution.keys[0])
    lowered = Corrections().lowered(candidate.key, 3, 5.0, 10.0)
    curve = lowered.applied_to(candidate).curve
    assert curve.at(3) == 5.0
    assert curve.at(4) == max(0.5 * candidate.with_counts([4]).curve.at(4), 5.0)
    raised = lowered.raised(candidate.key, 4, 50.0).applied_to(candidate).curve
    assert (raised.at(3), raised.at(4)) == (5.0, 50.0)
    assert (raised.rate_per_s[1:] >= raised.rate_per_s[:-1]).all()
    assert Corrections().applied_to(candidate) is candidate


def test_no_pool_is_taken_to_where_its_queue_grows_too_slowly_to_see() -> None:
    """One decode machine fewer is all busy, yet a run of a minute or two looks well."""
    plan = planner.optimize(slo="ttft=1s", design="Splitwise-HA")
    assert all(pool.utilisation < 1.0 for pool in plan.pools)
    assert plan.certificate is not None and plan.certificate.status == "confirmed"
    assert plan.certificate.witnesses[1].breaks.startswith("it cannot keep up")
    assert plan.certificate.objectives[0].simulated.high is not None
