"""Plans proven by simulation, and corrected by it: against simulating every count, and against what must follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import planner
from planner.errors import InfeasibleError
from planner.planning.certify import _Certification, certified
from planner.planning.correction import Corrections
from planner.planning.search import Solution, quiet, solve_problem
from planner.planning.trials import Testbed
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import load_scenario
from planner.simulation.cluster import ClusterSimulation

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
    doubtful = _Certification(problem, quiet)
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


def test_an_objective_breaks_where_it_is_said_to() -> None:
    problem = problem_of(CODING, design="Baseline-H100", slo=["ttft=1s"])
    found = certified(problem)
    assert found.certificate is not None
    load = found.certificate.objectives[0].breaks_at_load
    assert load is not None
    simulation = ClusterSimulation(found.members, found.routes, problem.need, problem.sizes)
    at, below = (simulation.simulate(n_requests=4000, seeds=(1,), load=x) for x in (load, 0.97 * load))
    assert not at.stable or at.late[0].value > 0.01
    assert below.stable and below.late[0].value <= 0.01


def test_a_limit_that_simulation_makes_too_tight_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="no plan within the limits passes simulation") as told:
        certified(problem_of(OPTIMISTIC, max_total_machines=1))
    assert "TTFT p99 3" in str(told.value.value)
    assert "--no-verify" in str(told.value.fix)


def test_after_ctrl_c_the_plan_says_that_it_was_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate = Testbed.simulate
    monkeypatch.setattr(Testbed, "simulate", lambda *a, **more: replace(simulate(*a, **more), interrupted=True))
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
    """Two decode machines are 107 % busy, yet a run of a minute or two looks well."""
    plan = planner.optimize(slo="ttft=1s", design="Splitwise-HA")
    assert all(pool.utilisation < 1.0 for pool in plan.pools)
    assert plan.certificate is not None and plan.certificate.status == "confirmed"
    assert plan.certificate.witnesses[1].breaks == "it cannot keep up: 107 % busy"
    assert plan.certificate.objectives[0].simulated.high is not None
