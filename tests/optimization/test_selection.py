"""The choice of pools: what it says of its proof, at any scale and under any time limit."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pulp
import pytest

from planner.errors import NoPlanFoundError, PlannerError
from planner.optimization import program as program_module
from planner.optimization import selection as selection_module
from planner.optimization import solver as solver_module
from planner.optimization.enumeration import Simple, best_simple, best_throughput, enumerate_pairs, within
from planner.optimization.selection import Selection, choose
from planner.optimization.solver_outcome import SolveOutcome
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits

from .pools import candidate, faults, pooled

SPARSE = [1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 85, 113, 150]


def fleet(known: list[int] | range = SPARSE, seed: int = 0) -> list[Candidate]:
    """Five candidates of pooling curves up to 150 machines, one decode pool shared by two prefill pools."""
    draw = random.Random(seed)

    def make(key: str, most: float, price: float, sources: tuple[str, ...] = ()) -> Candidate:
        curve = pooled(most, draw.uniform(0.3, 1.0))
        return candidate(key, curve, price=price, power=price * 300.0, sources=sources, known=list(known))

    return [
        make("mixed/a/1", 3.0, 30.0),
        make("mixed/b/1", 4.2, 41.0),
        make("prefill/a/1", 9.0, 30.0),
        make("prefill/b/1", 13.0, 41.0),
        make("decode/a/1", 5.0, 30.0, ("prefill/a/1", "prefill/b/1")),
    ]


def run(
    candidates: list[Candidate],
    rate: float,
    objective: str = "cost",
    limits: Limits | None = None,
    *,
    incumbent: Simple | None = None,
    time_limit_s: float = 60.0,
    seed: int = 0,
) -> Selection | None:
    return choose(
        candidates, rate, objective, limits or Limits(), incumbent=incumbent, solver="highs",  # type: ignore[arg-type]
        time_limit_s=time_limit_s, seed=seed,
    )  # fmt: skip


def best_of_two(candidates: list[Candidate], rate: float, limits: Limits | None = None) -> Simple:
    found = [best_simple(pair, rate, "cost", limits or Limits()) for pair in enumerate_pairs(candidates)]
    return min((s for s in found if s), key=lambda s: s.objective)


@pytest.mark.parametrize("rate", [7.0, 60.0, 333.0])
def test_sparse_curves_of_large_pools_give_the_optimum_of_full_ones(rate: float) -> None:
    for seed in range(3):
        full, sparse = fleet(range(1, 151), seed), fleet(seed=seed)
        a = run(full, rate)
        b = run(sparse, rate, incumbent=best_of_two(sparse, rate))
        assert a is not None and b is not None
        assert b.objective == pytest.approx(a.objective, rel=1e-9)
        assert a.status == b.status == "optimal"
        assert faults(b, sparse, rate, "cost", Limits()) == []


def test_throughput_of_large_pools_from_sparse_curves() -> None:
    limits = Limits(max_cost_usd_per_hour=2500.0)
    full, sparse = fleet(range(1, 151)), fleet()
    simples = [best_throughput(pair, limits) for pair in enumerate_pairs(sparse)]
    incumbent = max((s for s in simples if s), key=lambda s: s.rate_per_s)
    a = run(full, 1.0, "throughput", limits)
    b = run(sparse, 1.0, "throughput", limits, incumbent=incumbent)
    assert a is not None and b is not None
    assert b.objective == pytest.approx(a.objective, rel=2e-5)
    assert b.objective >= incumbent.rate_per_s
    assert faults(b, sparse, 1.0, "throughput", limits) == []


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e6])
def test_throughput_does_not_depend_on_the_demand(rate: float) -> None:
    limits = Limits(max_total_machines=20)
    answer = run(fleet(), rate, "throughput", limits)
    expected = run(fleet(), 70.0, "throughput", limits)
    assert answer is not None and expected is not None
    assert (answer.objective, answer.counts) == (expected.objective, expected.counts)


def test_throughput_takes_no_machine_that_adds_nothing() -> None:
    """Of plans of equal throughput, the fewest pools and the least power."""
    candidates = [
        candidate("prefill/a/1", [4.0, 8.0]),
        candidate("decode/b/1", [8.0, 16.0, 24.0, 32.0], sources=("prefill/a/1",)),
    ]
    limits = Limits(max_machines={"a": 2, "b": 4})
    answer = run(candidates, 1.0, "throughput", limits)
    assert answer is not None
    assert answer.counts == {"prefill/a/1": 2, "decode/b/1": 1}
    assert answer.objective == pytest.approx(8.0)


def test_of_plans_of_equal_cost_the_one_with_fewest_pools_then_least_power_wins() -> None:
    candidates = [
        candidate("mixed/a/1", [1.0, 2.0, 3.0, 4.0], price=1.0, power=900.0),
        candidate("mixed/b/1", [1.0, 2.0, 3.0, 4.0], price=1.0, power=800.0),
        candidate("prefill/c/1", [4.0], price=2.0, power=10.0),
        candidate("decode/c/1", [4.0], price=2.0, power=10.0, sources=("prefill/c/1",)),
    ]
    answer = run(candidates, 4.0)
    assert answer is not None
    assert answer.counts == {"mixed/b/1": 4}


def test_the_order_of_candidates_does_not_matter() -> None:
    candidates = fleet()
    answers = []
    for seed in range(4):
        random.Random(seed).shuffle(candidates)
        answers.append(run(candidates, 77.0))
    assert all(a == answers[0] for a in answers)


def test_a_pool_that_is_dearer_alone_but_better_in_company_is_found() -> None:
    """Enumeration knows one or two pools; the program adds a third where whole machines leave a gap."""
    candidates = [
        candidate("mixed/big/1", [10.0, 20.0, 30.0], price=10.0),
        candidate("mixed/small/1", [1.0, 2.0, 3.0, 4.0], price=1.5),
    ]
    incumbent = best_of_two(candidates, 21.0)
    assert incumbent.objective == pytest.approx(30.0)
    answer = run(candidates, 21.0, incumbent=incumbent)
    assert answer is not None
    assert answer.counts == {"mixed/big/1": 2, "mixed/small/1": 1}
    assert (answer.objective, answer.enumeration) == (pytest.approx(21.5), pytest.approx(30.0))


def test_load_is_shared_so_that_the_busiest_pool_has_most_room() -> None:
    candidates = [
        candidate("mixed/a/1", [10.0], price=1.0),
        candidate("mixed/b/1", [30.0], price=3.0),
    ]
    answer = run(candidates, 36.0)
    assert answer is not None
    assert answer.flows_per_s == {
        ("mixed/a/1", None): pytest.approx(9.0), ("mixed/b/1", None): pytest.approx(27.0)
    }  # fmt: skip


# -- no plan -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_cost_usd_per_hour=29.0),
        Limits(max_power_w=100.0),
        Limits(max_total_machines=3),
        Limits(max_machines={"a": 1, "b": 1}),
        Limits(max_machines={"a": 0, "b": 0}),
        Limits(spares=1000, max_total_machines=900),
    ],
)
def test_what_cannot_be_is_proven_to_be_impossible(limits: Limits) -> None:
    assert run(fleet(), 60.0, limits=limits) is None


def test_no_throughput_at_all_is_no_plan() -> None:
    assert run(fleet(), 60.0, "throughput", Limits(max_cost_usd_per_hour=29.0)) is None


def test_demand_above_every_curve_is_impossible() -> None:
    assert run([candidate("mixed/a/1", [1.0, 2.0])], 3.0) is None
    assert run([], 3.0) is None


def test_capacity_hidden_between_known_counts_is_found_before_a_demand_is_called_impossible() -> None:
    """By its lines, four machines carry 4; in truth, 4.15: nothing may be called impossible without a look."""
    rates = [1.0, 2.0, 3.0, 4.15, 5.0]
    candidates = [candidate("mixed/a/1", rates, known=[1, 5])]
    limits = Limits(max_total_machines=4)
    answer = run(candidates, 4.1, limits=limits)
    assert answer is not None
    assert answer.counts == {"mixed/a/1": 4}


# -- limits on time and effort -------------------------------------------------------------------------------------


def hard(seed: int = 0) -> tuple[list[Candidate], float]:
    """Sixty types of machines of unlike size and price, few of each: no optimum within milliseconds."""
    draw = np.random.default_rng(seed)
    candidates = []
    for i in range(60):
        rates = np.cumsum(draw.uniform(0.9, 1.0, 12)) * draw.uniform(0.5, 4.0)
        price = float(rates[-1] / 12 * draw.uniform(0.97, 1.03))
        candidates.append(candidate(f"mixed/m{i:02d}/1", rates.tolist(), price=price))
    return candidates, 333.3


def test_a_time_limit_yields_the_plan_of_enumeration_or_better_with_its_gap() -> None:
    candidates, _ = hard()
    rate = 40.0
    incumbent = best_of_two(candidates, rate)
    answer = run(candidates, rate, incumbent=incumbent, time_limit_s=0.01)
    assert answer is not None
    assert answer.objective <= incumbent.objective + 1e-9
    assert answer.bound <= answer.objective
    assert answer.bound > 0.5 * answer.objective  # the prices of the phases say that much without any solver
    assert answer.gap == pytest.approx(1 - answer.bound / answer.objective)
    assert answer.status == ("optimal" if answer.gap <= 1e-6 else "limit")
    assert faults(answer, candidates, rate, "cost", Limits()) == []


def test_a_time_limit_without_any_plan_is_said() -> None:
    candidates, rate = hard()  # no single type carries this, so that enumeration finds nothing
    with pytest.raises(NoPlanFoundError) as caught:
        run(candidates, rate, limits=Limits(max_machines={"m00": 3}), time_limit_s=1e-3)
    assert caught.value.exit_code == 5
    assert "--time-limit" in str(caught.value)


@pytest.mark.parametrize("objective", ["cost", "throughput"])
def test_a_solver_that_never_comes_back_leaves_an_honest_bound(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> SolveOutcome:
        return SolveOutcome("none", None, None, None, 0.0, "asleep")

    monkeypatch.setattr(program_module, "solve", nothing)
    limits = Limits(max_cost_usd_per_hour=900.0) if objective == "throughput" else Limits()
    candidates = fleet()
    if objective == "throughput":
        simples = [best_throughput(pair, limits) for pair in enumerate_pairs(candidates)]
        incumbent = max((s for s in simples if s), key=lambda s: s.rate_per_s)
    else:
        incumbent = best_of_two(candidates, 60.0)
    answer = run(candidates, 60.0, objective, limits, incumbent=incumbent)
    assert answer is not None and answer.status == "limit"
    monkeypatch.undo()
    truth = run(candidates, 60.0, objective, limits)
    assert truth is not None
    if objective == "throughput":
        assert answer.objective <= truth.objective <= answer.bound < 1.5 * truth.objective
    else:
        assert answer.objective >= truth.objective >= answer.bound > 0.6 * truth.objective
    assert 0 < answer.gap < 0.5


def test_without_the_effort_for_a_proof_the_lines_are_raised_and_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(fleet(), 333.0)
    monkeypatch.setattr(selection_module, "MOST_CHECKED", 0)
    answer = run(fleet(), 333.0)
    assert answer is not None and expected is not None
    assert answer.objective == pytest.approx(expected.objective, rel=1e-9)
    assert answer.status == "optimal"
    assert answer.rounds > expected.rounds


def test_rounds_that_run_out_leave_a_bound_and_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = run(fleet(), 333.0)
    monkeypatch.setattr(selection_module, "MOST_CHECKED", 0)
    monkeypatch.setattr(selection_module, "MAX_ROUNDS", 1)
    answer = run(fleet(), 333.0, incumbent=best_of_two(fleet(), 333.0))
    assert answer is not None and truth is not None
    assert answer.status == "limit"
    assert answer.bound <= truth.objective <= answer.objective
    assert answer.gap > 0


# -- answers that are wrong ----------------------------------------------------------------------------------------


def test_a_wrong_optimum_is_caught_by_the_plan_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that calls a dearer plan optimal is contradicted by the plan of enumeration."""
    candidates = fleet()
    incumbent = best_of_two(candidates, 60.0)
    real = solver_module.run_highs

    def dearer(problem: pulp.LpProblem, *rest: Any) -> Any:
        worse = problem.deepcopy()
        worse += worse.objective >= 1.2 * incumbent.objective
        raw = real(worse, *rest)
        assert raw.status == "optimal" and raw.values
        values = {v.name: raw.values[v.name] for v in problem.variables()}
        return dataclasses.replace(raw, values=values, bound=solver_module.objective_of(problem, values))

    monkeypatch.setattr(solver_module, "run_highs", dearer)
    with pytest.raises(PlannerError, match="breaks the model") as caught:
        run(candidates, 60.0, incumbent=incumbent)
    assert "is known" in str(caught.value)


def test_an_answer_that_breaks_a_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_module, "within", lambda pools, limits: False)
    with pytest.raises(PlannerError, match="recomputation") as caught:
        run(fleet(), 60.0)
    assert "limits" in str(caught.value)


def test_an_answer_that_overloads_a_pool_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = selection_module.balanced

    def overloaded(chosen: Any, rate_per_s: float | None) -> Any:
        busiest, flows = real(chosen, rate_per_s)
        return busiest, {way: rate * 2 for way, rate in flows.items()}

    monkeypatch.setattr(selection_module, "balanced", overloaded)
    with pytest.raises(PlannerError, match="recomputation"):
        run(fleet(), 60.0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), True),
        (Limits(max_cost_usd_per_hour=60.0), True),
        (Limits(max_cost_usd_per_hour=59.9), False),
        (Limits(max_cost_usd_per_hour=60.0, spares=1), False),
        (Limits(max_power_w=18000.0), True),
        (Limits(max_power_w=17999.0), False),
        (Limits(max_total_machines=2), True),
        (Limits(max_total_machines=3, spares=1), True),
        (Limits(max_total_machines=2, spares=1), False),
        (Limits(max_pools=1), True),
        (Limits(max_machines={"a": 2}), True),
        (Limits(max_machines={"a": 1}), False),
        (Limits(max_machines={"b": 0}), True),
    ],
)
def test_limits_count_spares_and_hold_to_the_last_cent(limits: Limits, expected: bool) -> None:
    assert within([(fleet()[0], 2)], limits) is expected
