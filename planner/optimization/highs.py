"""HiGHS: the model as its arrays, the run, and the solution read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pulp

from planner.errors import PlannerError
from planner.optimization.solver_outcome import SOLVER_TOLERANCE, UNBOUNDED, RawSolution


def run_highs(
    problem: pulp.LpProblem,
    time_limit_s: float | None,
    gap: float,
    seed: int,
    warm_start: Mapping[str, float] | None,
    presolve: bool,
) -> RawSolution:
    """Run HiGHS on one thread and read back what it says; an answer it calls unsound is marked so."""
    import highspy

    model = quiet_highs()
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "random_seed": seed,
        "presolve": "choose" if presolve else "off",
        "mip_rel_gap": gap,
        "mip_abs_gap": SOLVER_TOLERANCE,
        # Restarts and a look for symmetry save less than they take: plans of three pools take three times as long.
        "mip_allow_restart": False,
        "mip_detect_symmetry": False,
        "small_matrix_value": 1e-12,  # HiGHS drops smaller coefficients; its default is 1e-9
        "mip_feasibility_tolerance": SOLVER_TOLERANCE,
        "primal_feasibility_tolerance": SOLVER_TOLERANCE,
        "dual_feasibility_tolerance": SOLVER_TOLERANCE,
    }
    if time_limit_s is not None:
        options["time_limit"] = float(time_limit_s)
    for name, value in options.items():
        if model.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise PlannerError(f"HiGHS {model.version()} does not take the option {name}", value=value)
    names, lp = highs_lp(problem)
    if model.passModel(lp) == highspy.HighsStatus.kError:
        return RawSolution("none", None, None, f"HiGHS {model.version()}", "HiGHS refused the model as ill-formed")
    if warm_start:
        given = [(i, warm_start[name]) for i, name in enumerate(names) if name in warm_start]
        model.setSolution(len(given), [i for i, _ in given], [value for _, value in given])
    model.run()
    if model.getModelStatus() == highspy.HighsModelStatus.kNotset:
        # Somebody in this process used HiGHS with another number of threads: its scheduler has to be made anew.
        highspy.Highs.resetGlobalScheduler(True)
        model.run()
    return _read_highs(model, names)


def quiet_highs() -> Any:
    """A HiGHS that prints nothing: from 1.16 on its constructor prints a banner unless told before it is done."""
    import highspy

    untyped: Any = highspy.Highs

    class QuietHighs(untyped):  # type: ignore[misc]
        def enableCallbacks(self) -> None:
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()

    return QuietHighs()


def highs_lp(problem: pulp.LpProblem) -> tuple[list[str], Any]:
    """Return the variable names and the whole model as one HighsLp, rows compressed."""
    import highspy

    infinity = highspy.kHighsInf
    variables = problem.variables()
    names = [v.name for v in variables]
    index = {name: i for i, name in enumerate(names)}
    if len(index) != len(names):
        raise PlannerError(f"variables of {problem.name!r} share a name", rule="names must be unique")
    costs = [0.0] * len(names)
    for variable, coefficient in problem.objective.items() if problem.objective is not None else ():
        costs[index[variable.name]] = coefficient
    starts, columns, coefficients, lower, upper = [0], [], [], [], []
    for row in problem.constraints():
        for variable, coefficient in row.items():
            if coefficient:
                columns.append(index[variable.name])
                coefficients.append(coefficient)
        starts.append(len(columns))
        lower.append(-infinity if row.sense == pulp.LpConstraintLE else -row.constant)
        upper.append(infinity if row.sense == pulp.LpConstraintGE else -row.constant)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(names), len(lower)
    lp.sense_ = highspy.ObjSense.kMaximize if problem.sense == pulp.LpMaximize else highspy.ObjSense.kMinimize
    lp.offset_ = 0.0 if problem.objective is None else problem.objective.constant
    lp.col_cost_ = costs
    lp.col_lower_ = [-infinity if v.lowBound is None else v.lowBound for v in variables]
    lp.col_upper_ = [infinity if v.upBound is None else v.upBound for v in variables]
    lp.row_lower_, lp.row_upper_ = lower, upper
    kinds = highspy.HighsVarType
    if any(v.cat == pulp.LpInteger for v in variables):
        lp.integrality_ = [kinds.kInteger if v.cat == pulp.LpInteger else kinds.kContinuous for v in variables]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = len(names), len(lower)
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = starts, columns, coefficients
    return names, lp


def _read_highs(model: Any, names: list[str]) -> RawSolution:
    import highspy

    version = f"HiGHS {model.version()}"
    status, info = model.getModelStatus(), model.getInfo()
    statuses = highspy.HighsModelStatus
    is_mip = bool(list(model.getLp().integrality_))
    bound: float | None = info.mip_dual_bound if is_mip else None
    if bound is not None and not math.isfinite(bound):
        bound = None
    has_point = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = dict(zip(names, map(float, model.getSolution().col_value), strict=True)) if has_point else None
    if status in (statuses.kOptimal, statuses.kModelEmpty):
        if values is None and names:
            return RawSolution("none", None, None, version, "HiGHS says optimal and gives no solution")
        return RawSolution("optimal", values or {}, bound, version)
    if status in (statuses.kInfeasible, statuses.kUnboundedOrInfeasible):
        # A model that is unbounded or infeasible is told apart by asking for any point at all.
        if status == statuses.kInfeasible or not _has_any_point(model):
            return RawSolution("infeasible", None, None, version)
        return RawSolution("none", None, None, version, UNBOUNDED)
    if status == statuses.kUnbounded:
        return RawSolution("none", None, None, version, UNBOUNDED)
    limits = (statuses.kTimeLimit, statuses.kIterationLimit, statuses.kSolutionLimit, statuses.kInterrupt)
    if status in limits:
        return RawSolution("limit" if has_point else "none", values, bound, version)
    return RawSolution("none", None, None, version, f"HiGHS gave up: {model.modelStatusToString(status)}")


def _has_any_point(model: Any) -> bool:
    import highspy

    n = model.getNumCol()
    model.changeColsCost(n, list(range(n)), [0.0] * n)
    model.setOptionValue("presolve", "off")
    model.run()
    return bool(model.getModelStatus() != highspy.HighsModelStatus.kInfeasible)
