"""The one place that runs a mixed-integer linear program.

A model is written with PuLP and handed to `solve`. HiGHS runs in this process through highspy, fed in one call
(PuLP's own loader adds columns and rows one by one: 0.2 s for 5,000 binaries, against 0.02 s here). CBC, the second
opinion, runs as a command through PuLP.

No solver is believed. PuLP says "Optimal" when HiGHS stopped at its time limit, so the status is read from the HiGHS
model itself, and from PuLP's `sol_status` for CBC. HiGHS 1.12 to 1.15 once certified a wrong optimum, so `check_rows`
recomputes every row, bound and integrality from the PuLP model, and a known solution better than a "proven" one is a
contradiction. An answer that fails is solved again without presolve, and if it fails again it is an error.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pulp

from planner.errors import PlannerError, ScenarioError, SolverError, UnknownNameError

Status = Literal["optimal", "limit", "infeasible", "none"]
SOLVERS = ("highs", "cbc")
ROW_TOLERANCE = 1e-6
_UNBOUNDED = "the model is unbounded"
_SOLVER_TOLERANCE = 1e-9  # primal, dual and integer; HiGHS allows 1e-10 at the least


@dataclass(frozen=True)
class SolveOutcome:
    """What a solver found, after the checks. The values are in the problem's variables (`varValue`).

    Parameters
    ----------
    status : str
        `optimal`: proven, within the gap asked for; `limit`: stopped with a solution; `infeasible`: proven to have
        none; `none`: stopped without a solution.
    objective : float or None
        Objective of the solution, recomputed from the values; None without a solution.
    bound : float or None
        No solution is better than this; None where the solver gave none.
    gap : float or None
        |objective - bound| / |objective|; None without either.
    seconds : float
        Wall-clock time, loading and checking included [s].
    solver : str
        Name and version.
    """

    status: Status
    objective: float | None
    bound: float | None
    gap: float | None
    seconds: float
    solver: str

    @property
    def has_solution(self) -> bool:
        """Whether the variables hold a solution that passed the checks."""
        return self.status in ("optimal", "limit")


@dataclass(frozen=True)
class _Raw:
    """A solver's own words, before any check. `unsound` says what makes them unusable."""

    status: Status
    values: dict[str, float] | None
    bound: float | None
    solver: str
    unsound: str | None = None


def solve(
    problem: pulp.LpProblem,
    *,
    solver: str = "highs",
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    warm_start: Mapping[str, float] | None = None,
    presolve: bool = True,
) -> SolveOutcome:
    """Solve a PuLP problem and check the answer.

    Parameters
    ----------
    problem : pulp.LpProblem
        The model; variable names must be unique. Keep rows near unit scale: tolerances are absolute (1e-9 in the
        solver). On return its variables hold the solution, integers exactly, or None where there is none.
    solver : str
        `highs` or `cbc`.
    time_limit_s : float, optional
        Wall-clock limit [s]; None means none. The solver looks at the clock now and then, so it may overrun a little.
    gap : float
        Relative gap at which a solution counts as optimal [1].
    seed : int
        Random seed of the solver. One thread is used, so equal input gives equal output unless a limit is hit.
    warm_start : mapping, optional
        Values by variable name to start from. A complete and feasible one is also held against the answer.
    presolve : bool
        False skips the solver's presolve.

    Returns
    -------
    SolveOutcome

    Raises
    ------
    ScenarioError
        A limit or gap that makes no sense; a solver that is not installed.
    SolverError
        The model is unbounded, or the solver's answer breaks the model with and without presolve.
    """
    _refuse_bad_options(time_limit_s, gap)
    if solver not in SOLVERS:
        raise UnknownNameError.of("solver", solver, SOLVERS, where="solver")
    started = time.perf_counter()
    run = _run_highs if solver == "highs" else _run_cbc
    known = _known_objective(problem, warm_start)
    for attempt in (presolve, False):
        left_s = None if time_limit_s is None else max(time_limit_s - (time.perf_counter() - started), 1e-3)
        raw = run(problem, left_s, gap, seed, warm_start, attempt)
        outcome, faults = _judge(problem, raw, gap, known)
        if outcome is not None:
            return SolveOutcome(*outcome, seconds=time.perf_counter() - started, solver=raw.solver)
        if not attempt or raw.unsound == _UNBOUNDED:
            break
    _set_values(problem, None)
    if raw.unsound == _UNBOUNDED:
        raise SolverError(
            f"the model {problem.name!r} is unbounded", rule="every objective has a limit", fix="report it"
        )
    raise SolverError(
        f"the solver's answer to {problem.name!r} breaks the model",
        value="; ".join(faults[:5]),
        rule="every answer is recomputed row by row, and must not be worse than a known one",
        fix=f"try --solver {'cbc' if solver == 'highs' else 'highs'}, and report this scenario as a bug",
    )


@dataclass(frozen=True)
class Relaxation:
    """Optimum of a problem whose integers may be fractions, with the prices of its rows.

    Attributes
    ----------
    objective : float
        What no solution of the problem beats.
    prices : mapping of str to float
        By row name: what the objective gains for one more on the row's right-hand side.
    values : mapping of str to float
        By variable name.
    """

    objective: float
    prices: Mapping[str, float]
    values: Mapping[str, float]


def solve_relaxation(problem: pulp.LpProblem, *, time_limit_s: float | None = None) -> Relaxation | None:
    """Solve a PuLP problem as a linear program, with HiGHS; None if it has no solution, or none in time."""
    import highspy

    model = _quiet_highs()
    options: dict[str, Any] = {"output_flag": False, "threads": 1, "dual_feasibility_tolerance": _SOLVER_TOLERANCE}
    if time_limit_s is not None:
        options["time_limit"] = float(time_limit_s)
    for name, value in options.items():
        model.setOptionValue(name, value)
    names, lp = _highs_lp(problem)
    lp.integrality_ = []
    model.passModel(lp)
    model.run()
    if model.getModelStatus() == highspy.HighsModelStatus.kNotset:
        highspy.Highs.resetGlobalScheduler(True)  # as in `_run_highs`
        model.run()
    if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    solution = model.getSolution()
    rows = (row.name for row in problem.constraints())
    return Relaxation(
        float(model.getInfo().objective_function_value),
        dict(zip(rows, map(float, solution.row_dual), strict=True)),
        dict(zip(names, map(float, solution.col_value), strict=True)),
    )


def check_rows(problem: pulp.LpProblem, values: Mapping[str, float], tolerance: float = ROW_TOLERANCE) -> list[str]:
    """Recompute every row, bound and integrality of a PuLP model, independently of any solver.

    Parameters
    ----------
    problem : pulp.LpProblem
        The model.
    values : mapping
        Value of each variable, by name.
    tolerance : float
        Largest accepted violation, relative to the row's largest term or to 1, whichever is larger.

    Returns
    -------
    list of str
        One sentence for each violation, empty if there is none.
    """
    faults = []
    for variable in problem.variables():
        value = values.get(variable.name)
        if value is None or not math.isfinite(value):
            faults.append(f"{variable.name} has no value" if value is None else f"{variable.name} is {value}")
            continue
        slack = tolerance * max(1.0, abs(value))
        if variable.lowBound is not None and value < variable.lowBound - slack:
            faults.append(f"{variable.name} = {value:.9g} is below its bound {variable.lowBound:.9g}")
        if variable.upBound is not None and value > variable.upBound + slack:
            faults.append(f"{variable.name} = {value:.9g} is above its bound {variable.upBound:.9g}")
        if variable.cat == pulp.LpInteger and abs(value - round(value)) > tolerance:
            faults.append(f"{variable.name} = {value:.9g} is not an integer")
    if faults:
        return faults
    for row in problem.constraints():
        terms = [coefficient * values[variable.name] for variable, coefficient in row.items()]
        # row.constant sits on the left-hand side: terms + constant (sense) 0.
        excess = math.fsum([*terms, row.constant])
        violation = abs(excess) if row.sense == pulp.LpConstraintEQ else -row.sense * excess
        scale = max([1.0, abs(row.constant), *map(abs, terms)])
        if not violation <= tolerance * scale:
            sign = pulp.LpConstraintSenses[row.sense]
            faults.append(
                f"row {row.name}: {excess - row.constant:.9g} {sign} {-row.constant:.9g} fails by {violation:.3g}"
            )
    return faults


def objective_of(problem: pulp.LpProblem, values: Mapping[str, float]) -> float:
    """Return the objective at `values` (by variable name), constant included."""
    if problem.objective is None:
        return 0.0
    terms = [coefficient * values[variable.name] for variable, coefficient in problem.objective.items()]
    return math.fsum([*terms, problem.objective.constant])


def _refuse_bad_options(time_limit_s: float | None, gap: float) -> None:
    if time_limit_s is not None and not 0 < time_limit_s < math.inf:
        raise ScenarioError(
            "the solver's time limit makes no sense",
            where="time_limit_s",
            value=time_limit_s,
            rule="positive and finite seconds",
            fix="give it 60 s",
        )
    if not 0 <= gap < 1:
        raise ScenarioError(
            "the solver's gap must be a fraction",
            where="gap",
            value=gap,
            rule="0 <= gap < 1",
            fix="0 proves the optimum",
        )


def _known_objective(problem: pulp.LpProblem, warm_start: Mapping[str, float] | None) -> float | None:
    if not warm_start or any(v.name not in warm_start for v in problem.variables()):
        return None
    return None if check_rows(problem, warm_start, _SOLVER_TOLERANCE) else objective_of(problem, warm_start)


def _judge(
    problem: pulp.LpProblem, raw: _Raw, gap: float, known: float | None
) -> tuple[tuple[Status, float | None, float | None, float | None] | None, list[str]]:
    """Return (status, objective, bound, gap) of an answer that holds, else None and what is wrong with it."""
    if raw.unsound:
        return None, [raw.unsound]
    if raw.values is None:
        if raw.status == "infeasible" and known is not None:
            return None, [f"said to be infeasible, but a solution with objective {known:.9g} is known"]
        _set_values(problem, None)
        return (raw.status, None, raw.bound, None), []
    if raw.bound is not None and math.isnan(raw.bound):
        return None, ["its bound is nan"]
    values = dict(raw.values)
    for variable in problem.variables():
        value = values.get(variable.name, math.nan)
        if variable.cat == pulp.LpInteger and math.isfinite(value) and abs(value - round(value)) <= ROW_TOLERANCE:
            values[variable.name] = float(round(value))
    faults = check_rows(problem, values)
    if faults:
        return None, faults
    objective = objective_of(problem, values)
    slack = ROW_TOLERANCE * max(1.0, abs(objective))
    sign = -1.0 if problem.sense == pulp.LpMaximize else 1.0
    bound = raw.bound
    if bound is not None:
        if sign * (bound - objective) > slack:
            return None, [f"objective {objective:.9g} is better than its own bound {bound:.9g}"]
        bound = sign * min(sign * bound, sign * objective)
    if raw.status == "optimal":
        bound = objective if bound is None else bound
        if sign * (objective - bound) > gap * abs(objective) + slack:
            return None, [f"said to be optimal at {objective:.9g}, with a bound of {bound:.9g}"]
        if known is not None and sign * (objective - known) > gap * abs(objective) + slack:
            return None, [f"said to be optimal at {objective:.9g}, but {known:.9g} is known"]
    _set_values(problem, values)
    return (raw.status, objective, bound, _relative_gap(objective, bound)), []


def _relative_gap(objective: float, bound: float | None) -> float | None:
    if bound is None:
        return None
    return 0.0 if objective == bound else abs(objective - bound) / abs(objective) if objective else math.inf


def _set_values(problem: pulp.LpProblem, values: Mapping[str, float] | None) -> None:
    for variable in problem.variables():
        variable.varValue = None if values is None else values[variable.name]


# ------------------------------------------------------------------------------------------------------------ HiGHS


def _run_highs(
    problem: pulp.LpProblem,
    time_limit_s: float | None,
    gap: float,
    seed: int,
    warm_start: Mapping[str, float] | None,
    presolve: bool,
) -> _Raw:
    import highspy

    model = _quiet_highs()
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "random_seed": seed,
        "presolve": "choose" if presolve else "off",
        "mip_rel_gap": gap,
        "mip_abs_gap": _SOLVER_TOLERANCE,
        "small_matrix_value": 1e-12,  # HiGHS drops smaller coefficients; its default is 1e-9
        "mip_feasibility_tolerance": _SOLVER_TOLERANCE,
        "primal_feasibility_tolerance": _SOLVER_TOLERANCE,
        "dual_feasibility_tolerance": _SOLVER_TOLERANCE,
    }
    if time_limit_s is not None:
        options["time_limit"] = float(time_limit_s)
    for name, value in options.items():
        if model.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise PlannerError(f"HiGHS {model.version()} does not take the option {name}", value=value)
    names, lp = _highs_lp(problem)
    if model.passModel(lp) == highspy.HighsStatus.kError:
        return _Raw("none", None, None, f"HiGHS {model.version()}", "HiGHS refused the model as ill-formed")
    if warm_start:
        given = [(i, warm_start[name]) for i, name in enumerate(names) if name in warm_start]
        model.setSolution(len(given), [i for i, _ in given], [value for _, value in given])
    model.run()
    if model.getModelStatus() == highspy.HighsModelStatus.kNotset:
        # Somebody in this process used HiGHS with another number of threads: its scheduler has to be made anew.
        highspy.Highs.resetGlobalScheduler(True)
        model.run()
    return _read_highs(model, names)


def _quiet_highs() -> Any:
    """A HiGHS that prints nothing: from 1.16 on its constructor prints a banner unless told before it is done."""
    import highspy

    untyped: Any = highspy.Highs

    class QuietHighs(untyped):  # type: ignore[misc]
        def enableCallbacks(self) -> None:
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()

    return QuietHighs()


def _highs_lp(problem: pulp.LpProblem) -> tuple[list[str], Any]:
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


def _read_highs(model: Any, names: list[str]) -> _Raw:
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
            return _Raw("none", None, None, version, "HiGHS says optimal and gives no solution")
        return _Raw("optimal", values or {}, bound, version)
    if status in (statuses.kInfeasible, statuses.kUnboundedOrInfeasible):
        # A model that is unbounded or infeasible is told apart by asking for any point at all.
        if status == statuses.kInfeasible or not _has_any_point(model):
            return _Raw("infeasible", None, None, version)
        return _Raw("none", None, None, version, _UNBOUNDED)
    if status == statuses.kUnbounded:
        return _Raw("none", None, None, version, _UNBOUNDED)
    limits = (statuses.kTimeLimit, statuses.kIterationLimit, statuses.kSolutionLimit, statuses.kInterrupt)
    if status in limits:
        return _Raw("limit" if has_point else "none", values, bound, version)
    return _Raw("none", None, None, version, f"HiGHS gave up: {model.modelStatusToString(status)}")


def _has_any_point(model: Any) -> bool:
    import highspy

    n = model.getNumCol()
    model.changeColsCost(n, list(range(n)), [0.0] * n)
    model.setOptionValue("presolve", "off")
    model.run()
    return bool(model.getModelStatus() != highspy.HighsModelStatus.kInfeasible)


# -------------------------------------------------------------------------------------------------------------- CBC


def _cbc_path() -> str:
    """Return where CBC is: PuLP's bundled one up to PuLP 3, else the one on the PATH."""
    bundled = getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", None)
    for path in filter(None, (bundled, "cbc")):
        if pulp.COIN_CMD(path=path, msg=False).available():
            return str(path)
    raise ScenarioError(
        "the solver cbc is not installed", where="solver", value="cbc", fix="pip install 'pulp[cbc]', or use highs"
    )


def _run_cbc(
    problem: pulp.LpProblem,
    time_limit_s: float | None,
    gap: float,
    seed: int,
    warm_start: Mapping[str, float] | None,
    presolve: bool,
) -> _Raw:
    path = _cbc_path()
    if not problem.variables():
        return _Raw("optimal", {}, None, "CBC")
    if warm_start:
        for variable in problem.variables():
            variable.varValue = warm_start.get(variable.name)
    tolerances = [f"primalTolerance {_SOLVER_TOLERANCE}", f"dualTolerance {_SOLVER_TOLERANCE}"]
    # CBC takes no integer tolerance below 1e-9 either; its default of 1e-6 lets rounded counts break a row.
    tolerances.append(f"integerTolerance {_SOLVER_TOLERANCE}")
    with tempfile.TemporaryDirectory(prefix="planner-cbc-") as folder:
        log_path = Path(folder) / "cbc.log"
        command = pulp.COIN_CMD(
            path=path,
            msg=False,
            timeLimit=time_limit_s,
            gapRel=gap,
            gapAbs=_SOLVER_TOLERANCE,
            threads=None,
            warmStart=bool(warm_start),
            presolve=presolve,
            options=[f"randomSeed {seed + 1}", f"randomCbcSeed {seed + 1}", *tolerances],
            logPath=str(log_path),
        )
        command.tmpDir = folder
        try:
            problem.solve(command)
        except pulp.PulpSolverError as error:
            return _Raw("none", None, None, "CBC", f"CBC failed: {error}")
        log = log_path.read_text(errors="replace") if log_path.exists() else ""
    version = re.search(r"^Version:\s*(\S+)", log, re.MULTILINE)
    name = f"CBC {version[1]}" if version else "CBC"
    # PuLP adds a variable of its own, without a value, to an empty objective.
    values = {v.name: float(v.varValue or 0.0) for v in problem.variables()}
    found = problem.sol_status
    if found == pulp.LpSolutionOptimal:
        return _Raw("optimal", values, None, name)
    if found == pulp.LpSolutionIntegerFeasible:
        # Stopped before the first relaxation was solved, CBC writes a point that is no solution.
        if check_rows(problem, values):
            return _Raw("none", None, None, name)
        return _Raw("limit", values, _cbc_bound(log, problem.sense), name)
    # Its preprocessing does not tell infeasible from unbounded, but a relaxation solved before was bounded.
    preprocessed = "Pre-processing says infeasible" in log and "Continuous objective value is" in log
    if found == pulp.LpSolutionInfeasible or preprocessed:
        return _Raw("infeasible", None, None, name)
    if found == pulp.LpSolutionUnbounded:
        return _Raw("none", None, None, name, _UNBOUNDED)
    return _Raw("none", None, _cbc_bound(log, problem.sense), name)


def _cbc_bound(log: str, sense: int) -> float | None:
    found = re.findall(r"^(?:Lower|Upper) bound:\s*(\S+)", log, re.MULTILINE)
    try:
        bound = float(found[-1])
    except (IndexError, ValueError):
        return None
    return bound if math.isfinite(bound) and abs(bound) < 1e49 else None
