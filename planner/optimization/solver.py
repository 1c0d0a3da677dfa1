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
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulp

from planner.errors import ScenarioError, SolverError, UnknownNameError
from planner.optimization.highs import highs_lp, quiet_highs, run_highs
from planner.optimization.solver_outcome import SOLVER_TOLERANCE, UNBOUNDED, RawSolution, SolveOutcome, SolverStatus

SOLVERS = ("highs", "cbc")
ROW_TOLERANCE = 1e-6


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
    run = run_highs if solver == "highs" else _run_cbc
    known = _known_objective(problem, warm_start)
    for attempt in (presolve, False):
        left_s = None if time_limit_s is None else max(time_limit_s - (time.perf_counter() - started), 1e-3)
        raw = run(problem, left_s, gap, seed, warm_start, attempt)
        outcome, faults = _judge(problem, raw, gap, known)
        if outcome is not None:
            return SolveOutcome(*outcome, seconds=time.perf_counter() - started, solver=raw.solver)
        if not attempt or raw.unsound == UNBOUNDED:
            break
    _set_values(problem, None)
    if raw.unsound == UNBOUNDED:
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

    model = quiet_highs()
    options: dict[str, Any] = {"output_flag": False, "threads": 1, "dual_feasibility_tolerance": SOLVER_TOLERANCE}
    if time_limit_s is not None:
        options["time_limit"] = float(time_limit_s)
    for name, value in options.items():
        model.setOptionValue(name, value)
    names, lp = highs_lp(problem)
    lp.integrality_ = []
    model.passModel(lp)
    model.run()
    if model.getModelStatus() == highspy.HighsModelStatus.kNotset:
        highspy.Highs.resetGlobalScheduler(True)  # as in `run_highs`
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
    return None if check_rows(problem, warm_start, SOLVER_TOLERANCE) else objective_of(problem, warm_start)


def _judge(
    problem: pulp.LpProblem, raw: RawSolution, gap: float, known: float | None
) -> tuple[tuple[SolverStatus, float | None, float | None, float | None] | None, list[str]]:
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


# -------------------------------------------------------------------------------------------------------------- CBC


def cbc_path() -> str:
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
) -> RawSolution:
    path = cbc_path()
    if not problem.variables():
        return RawSolution("optimal", {}, None, "CBC")
    if warm_start:
        for variable in problem.variables():
            variable.varValue = warm_start.get(variable.name)
    tolerances = [f"primalTolerance {SOLVER_TOLERANCE}", f"dualTolerance {SOLVER_TOLERANCE}"]
    # CBC takes no integer tolerance below 1e-9 either; its default of 1e-6 lets rounded counts break a row.
    tolerances.append(f"integerTolerance {SOLVER_TOLERANCE}")
    with tempfile.TemporaryDirectory(prefix="planner-cbc-") as folder:
        log_path = Path(folder) / "cbc.log"
        command = pulp.COIN_CMD(
            path=path,
            msg=False,
            timeLimit=time_limit_s,
            gapRel=gap,
            gapAbs=SOLVER_TOLERANCE,
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
            return RawSolution("none", None, None, "CBC", f"CBC failed: {error}")
        log = log_path.read_text(errors="replace") if os.path.exists(log_path) else ""
    version = re.search(r"^Version:\s*(\S+)", log, re.MULTILINE)
    name = f"CBC {version[1]}" if version else "CBC"
    # PuLP adds a variable of its own, without a value, to an empty objective.
    values = {v.name: float(v.varValue or 0.0) for v in problem.variables()}
    found = problem.sol_status
    if found == pulp.LpSolutionOptimal:
        return RawSolution("optimal", values, None, name)
    if found == pulp.LpSolutionIntegerFeasible:
        # Stopped before the first relaxation was solved, CBC writes a point that is no solution.
        if check_rows(problem, values):
            return RawSolution("none", None, None, name)
        return RawSolution("limit", values, _cbc_bound(log, problem.sense), name)
    # Its preprocessing does not tell infeasible from unbounded, but a relaxation solved before was bounded.
    preprocessed = "Pre-processing says infeasible" in log and "Continuous objective value is" in log
    if found == pulp.LpSolutionInfeasible or preprocessed:
        return RawSolution("infeasible", None, None, name)
    if found == pulp.LpSolutionUnbounded:
        return RawSolution("none", None, None, name, UNBOUNDED)
    return RawSolution("none", None, _cbc_bound(log, problem.sense), name)


def _cbc_bound(log: str, sense: int) -> float | None:
    found = re.findall(r"^(?:Lower|Upper) bound:\s*(\S+)", log, re.MULTILINE)
    try:
        bound = float(found[-1])
    except (IndexError, ValueError):
        return None
    return bound if math.isfinite(bound) and abs(bound) < 1e49 else None
