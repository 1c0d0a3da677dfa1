"""The solver layer: statuses told apart, no answer believed unchecked."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError, ScenarioError, UnknownNameError
from planner.optimization import solver as solver_module
from planner.optimization.solver import check_rows, objective_of, solve
from planner.optimization.solver_outcome import RawSolution


def _cbc_is_there() -> bool:
    try:
        solver_module.cbc_path()
    except ScenarioError:
        return False
    return True


needs_cbc = pytest.mark.skipif(not _cbc_is_there(), reason="CBC is not installed")
BOTH = ["highs", pytest.param("cbc", marks=needs_cbc)]


def knapsack(values: list[int], weights: list[int], room: int, offset: float = 0.0) -> pulp.LpProblem:
    problem = pulp.LpProblem("knapsack", pulp.LpMaximize)
    take = [problem.add_variable(f"take_{i:02d}", 0, 1, cat="Integer") for i in range(len(values))]
    problem += pulp.LpAffineExpression(list(zip(take, values, strict=True))) + offset
    problem += pulp.LpAffineExpression(list(zip(take, weights, strict=True))) <= room, "room"
    return problem


def market_split(n_rows: int, n_columns: int, *, slack: bool, seed: int = 1) -> pulp.LpProblem:
    """Cornuejols and Dawande's market split: equations in binaries that defeat branch and bound.

    With slack, every point is a solution and the optimum is out of reach; without, no point is found in time.
    """
    draw = random.Random(seed)
    problem = pulp.LpProblem("market_split", pulp.LpMinimize)
    x = [problem.add_variable(f"x_{j:02d}", 0, 1, cat="Integer") for j in range(n_columns)]
    missed = []
    for i in range(n_rows):
        weights = [draw.randrange(100) for _ in x]
        terms = list(zip(x, weights, strict=True))
        if slack:
            over, under = (problem.add_variable(f"{side}_{i}", 0) for side in ("over", "under"))
            missed += [(over, 1.0), (under, 1.0)]
            terms += [(over, -1.0), (under, 1.0)]
        problem += pulp.LpAffineExpression(terms) == sum(weights) // 2, f"split_{i}"
    problem += pulp.LpAffineExpression(missed or [(x[0], 1.0)])
    return problem


def values_of(problem: pulp.LpProblem) -> dict[str, float]:
    return {v.name: v.varValue for v in problem.variables()}


@pytest.mark.parametrize("solver", BOTH)
@pytest.mark.parametrize("seed", range(4))
def test_knapsack_against_enumeration(solver: str, seed: int) -> None:
    draw = random.Random(seed)
    values = [draw.randrange(1, 40) for _ in range(9)]
    weights = [draw.randrange(1, 30) for _ in values]
    problem = knapsack(values, weights, 60, offset=-7.5)
    outcome = solve(problem, solver=solver)
    best = max(
        sum(itertools.compress(values, picks))
        for picks in itertools.product((0, 1), repeat=len(values))
        if sum(itertools.compress(weights, picks)) <= 60
    )
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(best - 7.5)
    assert outcome.bound == pytest.approx(best - 7.5)
    assert outcome.gap == pytest.approx(0.0, abs=1e-9)
    assert all(v.varValue in (0.0, 1.0) for v in problem.variables())
    assert solver.upper() in outcome.solver.upper()
    assert any(c.isdigit() for c in outcome.solver), "the version is part of the result"


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_small_integer_programs_against_enumeration(data: st.DataObject) -> None:
    n, rows = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    number = st.integers(-5, 5)
    costs = data.draw(st.lists(number, min_size=n, max_size=n))
    matrix = data.draw(st.lists(st.lists(number, min_size=n, max_size=n), min_size=rows, max_size=rows))
    right = data.draw(st.lists(st.integers(-8, 8), min_size=rows, max_size=rows))
    senses = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=rows, max_size=rows))
    problem = pulp.LpProblem("small", pulp.LpMinimize)
    x = [problem.add_variable(f"x{i}", -2, 3, cat="Integer") for i in range(n)]
    problem += pulp.LpAffineExpression(list(zip(x, costs, strict=True)))
    for row, b, sense in zip(matrix, right, senses, strict=True):
        problem += pulp.LpConstraint(pulp.LpAffineExpression(list(zip(x, row, strict=True))), sense=sense, rhs=b)

    def holds(point: tuple[int, ...]) -> bool:
        excess = [sum(a * p for a, p in zip(row, point, strict=True)) - b for row, b in zip(matrix, right, strict=True)]
        return all(e == 0 if s == 0 else e * s >= 0 for e, s in zip(excess, senses, strict=True))

    feasible = [p for p in itertools.product(range(-2, 4), repeat=n) if holds(p)]
    outcome = solve(problem)
    if not feasible:
        assert outcome.status == "infeasible"
        assert outcome.objective is None
        assert all(v.varValue is None for v in problem.variables())
    else:
        assert outcome.status == "optimal"
        best = min(sum(c * p for c, p in zip(costs, point, strict=True)) for point in feasible)
        assert outcome.objective == pytest.approx(best)
    names = [v.name for v in problem.variables()]
    for point in itertools.islice(itertools.product(range(-2, 4), repeat=n), 40):
        given_values = {f"x{i}": float(p) for i, p in enumerate(point)}
        assert (check_rows(problem, {name: given_values[name] for name in names}) == []) == holds(point)


@pytest.mark.parametrize("solver", BOTH)
def test_a_continuous_program_is_solved_exactly(solver: str) -> None:
    problem = pulp.LpProblem("lp", pulp.LpMinimize)
    x, y = problem.add_variable("x", 0), problem.add_variable("y", None, 4)
    problem += 2 * x - y + 1
    problem += x + y >= 1
    problem += y - 3 * x <= 1
    outcome = solve(problem, solver=solver)
    # The vertices of the two rows and the bounds: (0, 1) costs 0, (1, 4) costs -1.
    assert outcome.status == "optimal"
    assert outcome.objective == pytest.approx(-1.0)
    assert (x.varValue, y.varValue) == pytest.approx((1.0, 4.0))


@pytest.mark.parametrize("solver", BOTH)
def test_infeasible_is_said(solver: str) -> None:
    problem = pulp.LpProblem("none", pulp.LpMinimize)
    x = problem.add_variable("x", 0, 10, cat="Integer")
    problem += x
    problem += 2 * x == 3
    outcome = solve(problem, solver=solver)
    assert outcome.status == "infeasible"
    assert not outcome.has_solution
    assert outcome.objective is None and x.varValue is None


@pytest.mark.parametrize("solver", BOTH)
@pytest.mark.parametrize("category", ["Integer", "Continuous"])
def test_an_unbounded_model_is_an_error(solver: str, category: str) -> None:
    problem = pulp.LpProblem("free", pulp.LpMaximize)
    x, y = (problem.add_variable(n, 0, cat=category) for n in "xy")
    problem += x + y
    problem += x - y <= 1
    with pytest.raises(PlannerError, match="unbounded"):
        solve(problem, solver=solver)


def test_a_model_with_nan_is_an_error() -> None:
    problem = pulp.LpProblem("nan", pulp.LpMinimize)
    x = problem.add_variable("x", 0, 1)
    problem += x
    problem += pulp.LpAffineExpression([(x, float("inf"))]) <= 1, "broken"
    with pytest.raises(PlannerError):
        solve(problem)


def test_limit_with_a_solution_is_not_optimal_though_pulp_says_so() -> None:
    problem = market_split(5, 40, slack=True)
    outcome = solve(problem, time_limit_s=0.3)
    assert outcome.status == "limit"
    assert outcome.objective is not None and outcome.bound is not None and outcome.gap is not None
    assert outcome.bound < outcome.objective
    assert outcome.gap == pytest.approx((outcome.objective - outcome.bound) / outcome.objective)
    assert check_rows(problem, values_of(problem)) == []
    # What this layer is for:
    problem.solve(pulp.HiGHS(msg=False, timeLimit=0.3, threads=1))
    assert pulp.LpStatus[problem.status] == "Optimal"


@needs_cbc
def test_limit_with_a_solution_from_cbc() -> None:
    problem = market_split(5, 40, slack=True)
    outcome = solve(problem, solver="cbc", time_limit_s=0.5)
    assert outcome.status == "limit"
    assert outcome.objective is not None
    assert outcome.bound is None or outcome.bound <= outcome.objective
    assert check_rows(problem, values_of(problem)) == []


@pytest.mark.parametrize("solver", BOTH)
def test_limit_without_a_solution_is_none(solver: str) -> None:
    problem = market_split(5, 40, slack=False)
    outcome = solve(problem, solver=solver, time_limit_s=0.2)
    assert outcome.status == "none"
    assert outcome.objective is None and outcome.gap is None
    assert all(v.varValue is None for v in problem.variables())


def test_a_warm_start_survives_a_time_limit_too_short_for_anything() -> None:
    problem = market_split(6, 50, slack=True)
    start = {v.name: 0.0 for v in problem.variables()}
    for row in problem.constraints():
        start[row.name.replace("split", "under")] = -row.constant
    assert check_rows(problem, start) == []
    outcome = solve(problem, time_limit_s=0.01, warm_start=start)
    assert outcome.status == "limit"
    assert outcome.objective is not None and outcome.objective <= objective_of(problem, start) + 1e-9


def test_a_gap_is_kept_and_reported() -> None:
    problem = market_split(5, 40, slack=True)
    problem.setObjective(problem.objective + 1000.0)
    outcome = solve(problem, gap=0.2, time_limit_s=30)
    assert outcome.status == "optimal"
    assert outcome.bound is not None and outcome.objective is not None and outcome.bound < outcome.objective
    assert outcome.gap is not None and 0 < outcome.gap <= 0.2


def test_the_same_model_gives_the_same_answer() -> None:
    answers = []
    for _ in range(2):
        problem = market_split(2, 20, slack=True)
        outcome = solve(problem, seed=3)
        answers.append((outcome.objective, outcome.bound, values_of(problem)))
    assert answers[0] == answers[1]


def test_an_empty_model_and_a_model_without_an_objective() -> None:
    assert solve(pulp.LpProblem("empty", pulp.LpMinimize)).objective == 0.0
    problem = pulp.LpProblem("any", pulp.LpMinimize)
    x = problem.add_variable("x", 0, 9, cat="Integer")
    problem += 2 * x >= 5
    assert solve(problem).status == "optimal"
    assert x.varValue is not None and x.varValue >= 3


@needs_cbc
def test_cbc_takes_a_model_without_an_objective() -> None:
    problem = pulp.LpProblem("any", pulp.LpMinimize)
    x = problem.add_variable("x", 0, 9, cat="Integer")
    problem += 2 * x >= 5
    assert solve(problem, solver="cbc").status == "optimal"
    assert x.varValue is not None and x.varValue >= 3


def test_names_must_be_unique() -> None:
    problem = pulp.LpProblem("twice", pulp.LpMinimize)
    problem += problem.add_variable("x", 0, 1) + problem.add_variable("x", 0, 1)
    with pytest.raises(PlannerError, match="share a name"):
        solve(problem)


def test_another_user_of_highs_in_this_process_does_no_harm() -> None:
    other = knapsack([3, 4, 5], [2, 3, 4], 5)
    other.solve(pulp.HiGHS(msg=False, threads=2))
    assert solve(knapsack([3, 4, 5], [2, 3, 4], 5)).objective == 7.0


# -------------------------------------------------------------------------------------------------------- the checker


@pytest.fixture
def model() -> Iterator[pulp.LpProblem]:
    problem = pulp.LpProblem("checked", pulp.LpMinimize)
    x = problem.add_variable("x", 0, 5, cat="Integer")
    y = problem.add_variable("y", -1)
    problem += x + y
    problem += x + 2 * y >= 3, "least"
    problem += x - y == 2, "tied"
    problem += 1000 * x <= 5000, "most"
    yield problem


def test_check_rows_accepts_what_holds(model: pulp.LpProblem) -> None:
    assert check_rows(model, {"x": 3.0, "y": 1.0}) == []
    assert check_rows(model, {"x": 3.0 + 1e-9, "y": 1.0}) == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"x": 2.0, "y": 0.0}, "least"),
        ({"x": 3.0, "y": 2.0}, "tied"),
        ({"x": 3.5, "y": 1.5}, "not an integer"),
        ({"x": 6.0, "y": 4.0}, "above its bound"),
        ({"x": 0.0, "y": -2.0}, "below its bound"),
        ({"x": 3.0}, "y has no value"),
        ({"x": 3.0, "y": float("nan")}, "y is nan"),
        ({"x": 3.0, "y": float("inf")}, "y is inf"),
    ],
)
def test_check_rows_names_each_violation(model: pulp.LpProblem, values: dict[str, float], told: str) -> None:
    assert any(told in fault for fault in check_rows(model, values))


def test_check_rows_scales_its_tolerance_with_the_row() -> None:
    problem = pulp.LpProblem("scaled", pulp.LpMinimize)
    x = problem.add_variable("x", 0)
    problem += x >= 1e6, "large"
    assert check_rows(problem, {"x": 1e6 - 0.5}) == []
    assert check_rows(problem, {"x": 1e6 - 5.0}) != []
    assert check_rows(problem, {"x": 1e6 - 0.5}, tolerance=1e-9) != []


def _lying(honest: object, lies: list[RawSolution], presolves: list[bool]) -> object:
    def run(problem: object, left: object, gap: object, seed: object, start: object, presolve: bool) -> object:
        presolves.append(presolve)
        return lies.pop(0) if lies else honest(problem, left, gap, seed, start, presolve)  # type: ignore[operator]

    return run


Raw = RawSolution
WRONG = {
    "breaks a row": Raw("optimal", {"take_00": 1.0, "take_01": 1.0, "take_02": 1.0}, None, "liar 1"),
    "is fractional": Raw("optimal", {"take_00": 0.5, "take_01": 1.0, "take_02": 0.0}, None, "liar 1"),
    "has no proof": Raw("optimal", {"take_00": 1.0, "take_01": 0.0, "take_02": 0.0}, 9.0, "liar 1"),
    "beats its bound": Raw("optimal", {"take_00": 1.0, "take_01": 1.0, "take_02": 0.0}, 1.0, "liar 1"),
    "is worse than known": Raw("optimal", {"take_00": 0.0, "take_01": 0.0, "take_02": 1.0}, 5.0, "liar 1"),
    "denies what is known": Raw("infeasible", None, None, "liar 1"),
    "has no number": Raw("optimal", {"take_00": math.nan, "take_01": 1.0, "take_02": 0.0}, None, "liar 1"),
    "has no end": Raw("optimal", {"take_00": math.inf, "take_01": 1.0, "take_02": 0.0}, None, "liar 1"),
    "forgets a variable": Raw("optimal", {"take_00": 1.0, "take_02": 0.0}, None, "liar 1"),
    "has no number as its bound": Raw("limit", {"take_00": 1.0, "take_01": 1.0, "take_02": 0.0}, math.nan, "liar 1"),
}


@pytest.mark.parametrize("lie", WRONG)
def test_a_wrong_answer_is_solved_again_without_presolve(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    presolves: list[bool] = []
    monkeypatch.setattr(solver_module, "run_highs", _lying(solver_module.run_highs, [WRONG[lie]], presolves))
    problem = knapsack([3, 4, 5], [2, 3, 4], 5)
    outcome = solve(problem, warm_start={"take_00": 1.0, "take_01": 1.0, "take_02": 0.0})
    assert presolves == [True, False]
    assert outcome.status == "optimal" and outcome.objective == 7.0
    assert "liar" not in outcome.solver


@pytest.mark.parametrize("lie", WRONG)
def test_an_answer_wrong_twice_is_an_error_and_leaves_no_values(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_module, "run_highs", _lying(None, [WRONG[lie]] * 2, []))
    problem = knapsack([3, 4, 5], [2, 3, 4], 5)
    with pytest.raises(PlannerError, match="breaks the model") as raised:
        solve(problem, warm_start={"take_00": 1.0, "take_01": 1.0, "take_02": 0.0})
    assert raised.value.exit_code == 1
    assert raised.value.value
    assert all(v.varValue is None for v in problem.variables())


# ------------------------------------------------------------------------------------------------------------- options


def test_an_unknown_solver_offers_near_misses() -> None:
    with pytest.raises(UnknownNameError) as raised:
        solve(knapsack([1], [1], 1), solver="higs")
    assert raised.value.suggestions == ["highs"]
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_time_limit_is_refused(limit: float) -> None:
    with pytest.raises(ScenarioError, match="time limit"):
        solve(knapsack([1], [1], 1), time_limit_s=limit)


@pytest.mark.parametrize("gap", [-0.1, 1.0, float("nan")])
def test_a_senseless_gap_is_refused(gap: float) -> None:
    with pytest.raises(ScenarioError, match="gap"):
        solve(knapsack([1], [1], 1), gap=gap)


def test_cbc_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pulp, "PULP_CBC_CMD", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ScenarioError, match="cbc is not installed") as raised:
        solve(knapsack([1], [1], 1), solver="cbc")
    assert raised.value.fix


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """HiGHS 1.16 greets on stdout, where results go, unless silenced before it is made."""
    solve(knapsack([3, 4], [1, 2], 2))
    assert capfd.readouterr() == ("", "")
