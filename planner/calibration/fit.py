"""Fitting: which parameters the data identify, their values, and the error on data that was held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.calibration.checks import check, without_impossible
from planner.calibration.least_squares import Minimum, minimise
from planner.calibration.measurements import Measurements
from planner.calibration.parameters import HOST, Parameter, candidates, with_values
from planner.calibration.problem import FitDefaults, FitProblem
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Efficiency, Machine, Runtime, StatedError
from planner.errors import ScenarioError, UnknownNameError

Floats = NDArray[np.float64]
ParameterStatus = Literal["fitted", "at bound", "not identified", "held"]

# A parameter is identified when the data narrow it to less than this part of its prior's width.
IDENTIFIED = 0.7
_HOPELESS = 0.97
N_FOLDS = 5
TOLERANCE = 1e-7  # relative fall of the cost at which a fit is done
N_DIGITS = 4  # of what is written into the catalog
LEAST_STATED_ERROR = 0.02
LEAST_ROWS = 5  # of a kind, for an error to be stated of it
OUTLYING = 2.0  # standard deviations beyond which a row is an outlier
ONE_FACTOR = 0.15  # of the logarithm: below it, rows differ from the base as any chip does
LEAST_BATCH = 32.0  # decoding sequences: a plan's batches are larger than the 1 to 8 that are quick to measure


@dataclass(frozen=True)
class Fitted:
    """One parameter after the fit.

    Attributes
    ----------
    path, unit : str
    prior, value : float
        Of the base runtime, and now [unit].
    error : float or None
        Standard deviation relative to the value; None where it was not fitted.
    status : str
    """

    path: str
    unit: str
    prior: float
    value: float
    error: float | None
    status: ParameterStatus


@dataclass(frozen=True)
class Errors:
    """Relative errors of predictions, as fractions: mean and median of their size, the worst, and their mean."""

    mean: float
    median: float
    worst: float
    bias: float


@dataclass(frozen=True)
class PhaseErrors:
    """Errors of one phase with the base runtime, after the fit, and on rows held out of it."""

    phase: str
    n_rows: int
    before: Errors
    after: Errors
    held_out: Errors


@dataclass(frozen=True)
class RowError:
    """A row and what the fit says of it; `error` is relative to the measurement."""

    label: str
    source: str
    measured_s: float
    predicted_s: float
    error: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """The outcome of a fit.

    Attributes
    ----------
    runtime, machine, accelerator : str
        Names in the catalog; `runtime` is the base.
    n_rows : int
    parameters : tuple of Fitted
    errors : tuple of PhaseErrors
    held_out_by : str
        What was held out at a time.
    worst : tuple of RowError
        The rows that fit worst.
    step_time_error : float
        The largest mean held-out error of a phase.
    stated_errors : dict
        What the runtime may state, by name: of the families, layouts, precisions and phases that were measured, in
        batches as large as a plan's.
    efficiency : Efficiency
        All efficiencies of the accelerator after the fit, as the overlay will give them.
    notes, files : tuple of str
    """

    runtime: str
    machine: str
    accelerator: str
    n_rows: int
    parameters: tuple[Fitted, ...]
    errors: tuple[PhaseErrors, ...]
    held_out_by: str
    worst: tuple[RowError, ...]
    step_time_error: float
    stated_errors: dict[str, StatedError]
    efficiency: Efficiency
    notes: tuple[str, ...]
    files: tuple[str, ...]

    def error_of(self, phase: str) -> PhaseErrors:
        """Errors of one phase."""
        return next(e for e in self.errors if e.phase == phase)


def calibrate(
    catalog: Catalog,
    measurements: Measurements,
    runtime: Runtime,
    machine: Machine | None = None,
    *,
    defaults: FitDefaults | None = None,
    keep: Sequence[str] = (),
    device_only: bool = False,
    set_aside: bool = False,
) -> Calibration:
    """Fit a runtime's efficiencies on one accelerator to measurements.

    Parameters
    ----------
    catalog : Catalog
    measurements : Measurements
    runtime : Runtime
        Base: its values are the priors, and stay where the data say nothing.
    machine : Machine, optional
        What was measured. Left out: what the files name.
    defaults : FitDefaults, optional
        Model, degrees and precisions of files that do not say.
    keep : sequence of str
        Parameters to leave as they are.
    device_only : bool
        Step times are sums of kernels: host time is taken as none, and the base's is kept.
    set_aside : bool
        Whether rows faster than the hardware's peak are left out, and counted in a note, instead of refused.

    Raises
    ------
    InputError
        Measurements that cannot be used: see `planner.calibration.checks` and `problem`.

    Notes
    -----
    The fit minimises soft-L1 losses of log(predicted / measured), each over its standard deviation, plus a Gaussian
    prior in the logarithm of every parameter. A parameter whose posterior is no narrower than 0.7 of its prior is
    not identified: the one least so is put back to its prior and the rest fitted again, until all are.
    """
    problem = FitProblem(catalog, measurements, runtime, machine, defaults or FitDefaults(), device_only=device_only)
    base = runtime.efficiency(problem.accelerator)
    if set_aside:
        # A row is the median of equal measurements: without its first it may be possible, or not yet.
        while (kept := without_impossible(measurements, problem, base)) is not measurements:
            measurements = kept
            problem = FitProblem(
                catalog, measurements, runtime, machine, defaults or FitDefaults(), device_only=device_only
            )
    check(problem, base)
    possible = candidates(base, problem.precisions())
    _check_kept(keep, [p.path for p in possible])
    held = {*keep, *(HOST if device_only else ())}
    free = [p for p in possible if p.path not in held]
    if not free:
        raise ScenarioError("nothing is left to fit", where="--keep", value=", ".join(keep))

    every = np.arange(len(problem.rows))
    free, minimum = _identified(problem, base, free, every)
    values = {p.path: float(np.exp(v)) for p, v in zip(free, minimum.values, strict=True)}
    spread = dict(zip([p.path for p in free], np.sqrt(np.diag(minimum.covariance)), strict=True))
    rounded = {p.path: _rounded(values[p.path], p) for p in free}
    efficiency = with_values(base, free, [rounded[p.path] for p in free])
    by, folds = _folds(problem)
    held_out_s = _held_out(problem, base, free, folds)
    fitted_s = problem.predict_s(efficiency)
    errors = _errors(problem, problem.predict_s(base), fitted_s, held_out_s)
    stated = _stated(errors, base)
    problem.notes.extend(_one_factor(problem, base))
    if not any(row.model for row in problem.rows):
        problem.notes.append("single kernels say nothing of whole steps: the stated error stays at least the base's")
    parameters = [_report(p, base, rounded, spread, held) for p in possible]
    return Calibration(
        runtime=runtime.name,
        machine=problem.machine.name,
        accelerator=problem.accelerator.name,
        n_rows=len(problem.rows),
        parameters=tuple(parameters),
        errors=tuple(errors),
        held_out_by=by,
        worst=tuple(_worst(problem, fitted_s)),
        step_time_error=stated,
        stated_errors=_stated_kinds(problem, held_out_s),
        efficiency=efficiency.model_copy(update={"step_time_error": stated}),
        notes=tuple(problem.notes),
        files=measurements.files,
    )


def _check_kept(keep: Sequence[str], known: Sequence[str]) -> None:
    for path in keep:
        if path not in known:
            raise UnknownNameError.of("parameter", path, known, where="--keep")


# -- the fit -------------------------------------------------------------------------------------------------------


def _minimum(
    problem: FitProblem,
    base: Efficiency,
    free: Sequence[Parameter],
    rows: NDArray[np.intp],
    start: dict[str, float] | None = None,
) -> Minimum:
    prior = np.log([p.of(base) or p.lower for p in free])
    lower, upper = (np.log([getattr(p, name) for p in free]) for name in ("lower", "upper"))
    measured, sd = np.log(problem.measured_s[rows]), problem.sd[rows]

    def residuals(x: Floats) -> Floats:
        return (np.log(problem.predict_s(with_values(base, free, np.exp(x).tolist()))[rows]) - measured) / sd  # type: ignore[no-any-return]

    begin = np.array([(start or {}).get(p.path, x) for p, x in zip(free, prior, strict=True)])
    sd_of_prior = np.array([p.prior_sd for p in free])
    found = minimise(residuals, begin, lower, upper, prior, sd_of_prior, tolerance=TOLERANCE)
    return _with_observed_scatter(found, residuals, free)


def _with_observed_scatter(found: Minimum, residuals: object, free: Sequence[Parameter]) -> Minimum:
    """Widen the covariance by the scatter that is left, where that is more than was assumed."""
    r: Floats = residuals(found.values)  # type: ignore[operator]
    # Outliers count as far as two deviations: a few slow rows do not widen everything.
    weights, capped = 1.0 / np.sqrt(1.0 + r * r), np.minimum(np.abs(r), OUTLYING)
    scatter = float(np.sum(weights * capped * capped)) / max(r.size - len(free), 1)
    if scatter <= 1.0:
        return found
    prior = np.diag([1.0 / p.prior_sd**2 for p in free])
    data = np.linalg.pinv(found.covariance) - prior
    return Minimum(found.values, found.cost, np.linalg.pinv(data / scatter + prior), found.n_steps)


def _identified(
    problem: FitProblem, base: Efficiency, free: Sequence[Parameter], rows: NDArray[np.intp]
) -> tuple[list[Parameter], Minimum]:
    """Fit, and drop what the data do not determine, the least determined first."""
    left = list(free)
    start: dict[str, float] = {}
    while True:
        found = _minimum(problem, base, left, rows, start)
        start = dict(zip([p.path for p in left], found.values.tolist(), strict=True))
        ratio = np.sqrt(np.diag(found.covariance)) / np.array([p.prior_sd for p in left])
        worst = int(np.argmax(ratio))
        if ratio[worst] <= IDENTIFIED:
            return left, found
        hopeless = [p for p, x in zip(left, ratio, strict=True) if x > _HOPELESS] or [left[worst]]
        left = [p for p in left if p not in hopeless]
        if not left:
            raise ScenarioError(
                "the measurements identify none of the parameters",
                value=f"{len(problem.rows)} rows",
                fix="measure prompts and decode batches over a wide range of sizes",
            )


# -- errors --------------------------------------------------------------------------------------------------------


def _folds(problem: FitProblem) -> tuple[str, list[NDArray[np.intp]]]:
    """What to hold out at a time: one model, else one tensor degree, else every fifth row."""
    groups = (("model", [r.model for r in problem.rows]), ("tensor degree", [r.tensor_parallel for r in problem.rows]))
    for name, keys in groups:
        kinds = sorted({str(k) for k in keys if k})
        if len(kinds) > 1:
            return f"one {name} of {len(kinds)}", [np.flatnonzero([str(k) == kind for k in keys]) for kind in kinds]
    n = len(problem.rows)
    # Rows in order of phase and time, so that every fold has some of each.
    order = sorted(range(n), key=lambda i: (problem.rows[i].phase, problem.rows[i].measured_s))
    return f"every {N_FOLDS}th row", [np.array(sorted(order[k::N_FOLDS])) for k in range(N_FOLDS)]


def _held_out(
    problem: FitProblem, base: Efficiency, free: Sequence[Parameter], folds: Sequence[NDArray[np.intp]]
) -> Floats:
    """Predictions of every row by a fit that has not seen it; kernels without a fold by their own fit [s]."""
    every = np.arange(len(problem.rows))
    found = np.full(every.size, np.nan)
    for fold in folds:
        if fold.size:
            rest = np.setdiff1d(every, fold)
            minimum = _minimum(problem, base, free, rest)
            found[fold] = problem.predict_s(with_values(base, free, np.exp(minimum.values).tolist()))[fold]
    return found


def _errors(problem: FitProblem, before_s: Floats, after_s: Floats, held_out_s: Floats) -> list[PhaseErrors]:
    phases = list(dict.fromkeys(row.phase for row in problem.rows))
    found = []
    for phase in phases:
        rows = np.flatnonzero([row.phase == phase for row in problem.rows])
        parts = [_summary(p[rows], problem.measured_s[rows]) for p in (before_s, after_s, held_out_s)]
        found.append(PhaseErrors(phase, rows.size, *parts))
    return found


def _summary(predicted_s: Floats, measured_s: Floats) -> Errors:
    relative = predicted_s / measured_s - 1.0
    relative = relative[np.isfinite(relative)]
    if relative.size == 0:
        return Errors(math.nan, math.nan, math.nan, math.nan)
    size = np.abs(relative)
    return Errors(float(size.mean()), float(np.median(size)), float(size.max()), float(relative.mean()))


def _stated(errors: Sequence[PhaseErrors], base: Efficiency) -> float:
    """The error to state: the largest mean held-out error of a phase of whole steps, in whole per cent.

    Kernels alone do not show what a step adds to them, so that with nothing else the base's error is the least.
    """
    measured = [e for e in errors if math.isfinite(e.held_out.mean)]
    whole = [e.held_out.mean for e in measured if e.phase in ("prefill", "decode", "tpot")]
    largest = max(whole) if whole else max(base.step_time_error, *(e.held_out.mean for e in measured))
    return min(max(LEAST_STATED_ERROR, math.ceil(100 * largest - 1e-9) / 100), 1.0)


def _one_factor(problem: FitProblem, base: Efficiency) -> list[str]:
    """Whether all rows differ from the base by one factor, which no efficiency should be divided by unasked."""
    ratio = np.log(problem.measured_s / problem.predict_s(base))
    middle = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - middle)))
    if ratio.size < LEAST_ROWS or abs(middle) < ONE_FACTOR or spread > ONE_FACTOR / 4:
        return []
    factor, way = math.exp(abs(middle)), "slower" if middle > 0 else "faster"
    return [
        f"all rows are {factor:.2f} times {way} than {problem.machine.name} under the base, +/- {spread:.0%}: another "
        "unit, clock, power limit or a server derated? Efficiencies take up the factor where nothing else can"
    ]


def _stated_kinds(problem: FitProblem, held_out_s: Floats) -> dict[str, StatedError]:
    """Errors of the kinds that the rows are of: what four held-out rows in five stay within."""
    relative, found = np.abs(held_out_s / problem.measured_s - 1.0), {}
    for (family, layout, precision, phase), members in sorted(problem.kinds().items()):
        sizes = relative[[i for i, _ in members]]
        sizes = sizes[np.isfinite(sizes)]
        largest = max(batch for _, batch in members)
        kind = f"{family}, {layout}, {precision}, {phase}"
        if sizes.size < LEAST_ROWS:
            problem.notes.append(f"{kind}: {sizes.size} rows state no error; {LEAST_ROWS} would")
        elif phase == "decode" and largest < LEAST_BATCH:
            problem.notes.append(
                f"{kind}: batches of up to {largest:g} say nothing of a plan's; the base's error stays stated"
            )
        else:
            error = max(min(float(np.quantile(sizes, 0.8)), 2.5 * float(np.median(sizes))), LEAST_STATED_ERROR)
            found[f"{problem.accelerator.name}-{family}-{layout}-{precision}-{phase}"] = StatedError(
                family=family, layout=layout, precision=precision, phase=phase,  # type: ignore[arg-type]
                error=round(error, 3), n_rows=int(sizes.size), accelerator=problem.accelerator.name,
            )  # fmt: skip
    return found


def _worst(problem: FitProblem, predicted_s: Floats, n: int = 5) -> list[RowError]:
    relative = predicted_s / problem.measured_s - 1.0
    order = np.argsort(-np.abs(relative), kind="stable")[:n]
    return [
        RowError(
            problem.rows[i].label,
            problem.rows[i].source,
            problem.rows[i].measured_s,
            float(predicted_s[i]),
            float(relative[i]),
        )
        for i in order
    ]


# -- report --------------------------------------------------------------------------------------------------------


def _report(
    parameter: Parameter, base: Efficiency, fitted: dict[str, float], spread: dict[str, float], held: set[str]
) -> Fitted:
    prior = parameter.of(base) or 0.0
    if parameter.path not in fitted:
        status: ParameterStatus = "held" if parameter.path in held else "not identified"
        return Fitted(parameter.path, parameter.unit, prior, prior, None, status)
    value = fitted[parameter.path]
    at_bound = value <= parameter.lower * 1.0001 or value >= parameter.upper * 0.9999
    error = float(spread[parameter.path])
    return Fitted(parameter.path, parameter.unit, prior, value, error, "at bound" if at_bound else "fitted")


def _rounded(value: float, parameter: Parameter) -> float:
    """A value with as many digits as are written, as the file will read: times are written in microseconds."""
    if parameter.unit == "s":
        return float(f"{value / 1e-6:.{N_DIGITS}g}") * 1e-6
    return float(f"{value:.{N_DIGITS}g}")
