"""A sweep: the best plan of every scenario of a grid, over processes or a cluster, resumable."""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Workload
from planner.errors import (
    EXIT_BAD_INPUT,
    EXIT_INFEASIBLE,
    EXIT_LIMIT_WITH_PLAN,
    EXIT_OK,
    CatalogError,
    InfeasibleError,
    NoPlanFoundError,
    PlannerError,
    ScenarioError,
    TraceError,
    UnknownNameError,
)
from planner.parsing import is_file
from planner.planning.certify import certified
from planner.planning.plan import Plan, Result
from planner.planning.record import plan_of
from planner.planning.search import solve_problem
from planner.scenario.grid import MOST_SCENARIOS, Axis, Grid, axis_of, make_grid, read_sweep_file
from planner.scenario.resolve import resolve
from planner.scenario.scenario import Scenario, load_scenario
from planner.studies.parallel import Countdown, n_workers, quiet, run_all
from planner.studies.results_file import ResultsFile

CatalogLike = Catalog | str | Path | Sequence[str | Path] | None
Status = Literal["optimal", "limit", "infeasible", "none", "error"]
# A solver runs alone in its process: the threads of a Dask worker take turns.
_ALONE = threading.Lock()


class SweepRow(Result):
    """The plan of one scenario of a sweep, or why there is none."""

    values: dict[str, Any] = Field(description="The fields varied, as the scenario has them.")
    status: Status = Field(
        description="optimal: proven; limit: a plan, not proven in time; infeasible: proven to have none; "
        "none: no plan found in time; error: could not be posed."
    )
    plan_design: str | None = None
    pools: str | None = Field(default=None, description="Machines bought, spares included.")
    n_machines: int | None = None
    cost_usd_per_hour: float | None = None
    cost_usd_per_million_tokens: float | None = None
    oldest_price_date: datetime.date | None = Field(default=None, description="Of the prices of its machines.")
    rated_power_w: float | None = None
    expected_power_w: float | None = None
    carbon_kg_per_hour: float | None = Field(default=None, description="CO2-equivalent at the expected draw [kg/h].")
    carried_per_s: float | None = Field(default=None, description="Requests carried [requests/s].")
    headroom: float | None = Field(default=None, description="Load multiple at which the first objective breaks.")
    ttft_p50_s: float | None = None
    ttft_p99_s: float | None = None
    tbt_p50_s: float | None = None
    tbt_p99_s: float | None = None
    e2e_p50_s: float | None = None
    e2e_p99_s: float | None = None
    tightest_objective: str | None = None
    slack_fraction: float | None = Field(default=None, description="Of the tightest objective: 1 - predicted / limit.")
    objective_value: float | None = Field(default=None, description="Of the scenario's objective, in its unit.")
    bound: float | None = Field(default=None, description="No plan is better than this.")
    gap: float | None = None
    verified: str | None = Field(default=None, description="`not simulated`, or how the plan was simulated.")
    confirmed: bool | None = Field(default=None, description="Whether simulation confirmed it; null: not simulated.")
    message: str | None = Field(default=None, description="Why there is no plan.")
    catalog_digest: str
    planner_version: str
    seconds: float | None = Field(description="Wall-clock time of this scenario [s]; null where times are left out.")

    def to_record(self) -> dict[str, Any]:
        """The row as a flat dict, the fields varied first."""
        return self.values | self.model_dump(exclude={"values"})


class Sweep(Result):
    """Every scenario of a grid with its plan, in the order of the grid: the field varied last varies fastest."""

    planner_version: str
    catalog_digest: str = Field(description="Of the base scenario's catalog.")
    base: dict[str, Any] = Field(description="The scenario, but for the fields varied.")
    vary: dict[str, list[Any]] = Field(description="Field varied -> its values.")
    rows: list[SweepRow]

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 2 an error, 4 not proven, 3 all infeasible, 0 otherwise."""
        found = {row.status for row in self.rows}
        if "error" in found:
            return EXIT_BAD_INPUT
        if found & {"limit", "none"} or any(row.confirmed is False for row in self.rows):
            return EXIT_LIMIT_WITH_PLAN
        return EXIT_INFEASIBLE if found == {"infeasible"} else EXIT_OK

    @property
    def oldest_price_date(self) -> datetime.date | None:
        """Date of the oldest price that a plan rests on; None where no plan has prices."""
        return min((row.oldest_price_date for row in self.rows if row.oldest_price_date is not None), default=None)

    def without_times(self) -> Sweep:
        """The same without what differs from run to run."""
        return self.model_copy(update={"rows": [row.model_copy(update={"seconds": None}) for row in self.rows]})

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a scenario: rows for a sheet or a DataFrame."""
        return [row.to_record() for row in self.rows]


@dataclass(frozen=True)
class Job:
    """One scenario, with all that a process elsewhere needs to solve it.

    Attributes
    ----------
    key : str
        Hash of everything that the result depends on: scenario, catalog, files, version.
    scenario : dict
        As `Scenario.dump` gives it, its overlays left out and its files under whole paths.
    overlays : tuple of str
        Folders of the catalog.
    catalog_digest : str
        Of the catalog as the sweep began.
    files : tuple of (str, str)
        Files that the scenario reads, and their digests.
    version : str
        Of planner.
    """

    key: str
    scenario: dict[str, Any]
    overlays: tuple[str, ...]
    catalog_digest: str
    files: tuple[tuple[str, str], ...]
    version: str = __version__


def sweep(
    scenario: Scenario | Mapping[str, Any] | str | Path | None = None,
    *,
    vary: Mapping[str, Any] | Sequence[Axis] = (),
    results: str | Path | None = None,
    restart: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    max_scenarios: int = MOST_SCENARIOS,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Sweep:
    """Find the best plan of every scenario of a grid.

    Parameters
    ----------
    scenario : Scenario, mapping, or path of a YAML file, optional
        The base; a file may also have `base` and `vary`. Left out: the default scenario.
    vary : mapping, or sequence of Axis
        Field of the scenario -> its values: a list, a text such as `"10/s..100/s:10"`, or a mapping with from, to,
        points and spacing. Wins over the file's values of the same field.
    results : path, optional
        A file that keeps what is finished; a sweep that was stopped or killed goes on from there.
    restart : bool
        Delete the results that are there.
    workers : int, optional
        Processes on this machine; left out, one a core.
    dask : str, optional
        Address of a Dask scheduler; its workers do the work then.
    max_scenarios : int
        Larger grids are refused.
    catalog : Catalog, or path of an overlay folder, or several, optional
        As in `optimize`.
    progress : callable
        Told how many are done and about how long the rest will take.
    **fields
        Fields of the base that win over `scenario`. Plans are proven by simulation (`verify=True`) only if that is
        asked for, for it takes far longer.

    Returns
    -------
    Sweep
        Rows in the order of the grid; the same whichever process computed what.

    Raises
    ------
    InputError
        A field or value that cannot be used, an empty or too large grid, a results file that cannot be written or
        is of another sweep, a Dask scheduler that does not answer.
    PlannerError
        A worker was killed, or has another version or catalog.
    """
    base, axes = _base(scenario, fields)
    if "verify" not in base.model_fields_set:
        base = load_scenario(base, verify=False)
    given = [axis_of(name, values) for name, values in vary.items()] if isinstance(vary, Mapping) else list(vary)
    names = {axis.field for axis in given}
    for axis in given:
        if axis.field in {"rate_per_s" if name == "rate" else name for name in fields}:
            raise ScenarioError(f"{axis.field} is varied and has a fixed value", where=axis.where, fix="give one only")
    grid = make_grid(base, [axis for axis in axes if axis.field not in names] + given, max_scenarios=max_scenarios)
    jobs = _jobs(grid, catalog)
    rows = dict(_solved(grid, jobs, results, restart, workers, dask, progress))
    return Sweep(
        planner_version=__version__,
        catalog_digest=jobs[0].catalog_digest,
        base=grid.base.dump(),
        vary={axis.field: list(axis.canonical) for axis in grid.axes},
        rows=[SweepRow(values=point, **rows[i]) for i, point in enumerate(grid.points())],
    )


def _base(
    scenario: Scenario | Mapping[str, Any] | str | Path | None, fields: Mapping[str, Any]
) -> tuple[Scenario, list[Axis]]:
    if isinstance(scenario, (str, Path)):
        base, axes = read_sweep_file(Path(scenario))
        return load_scenario(base, **fields), axes
    return load_scenario(scenario if scenario is not None else {}, **fields), []


def _jobs(grid: Grid, catalog: CatalogLike) -> list[Job]:
    """Every scenario of the grid as a job; names and files that are wrong are found here, before any work."""
    catalogs: dict[tuple[str, ...], Catalog] = {}
    digests: dict[str, str] = {}

    def opened(overlays: tuple[str, ...]) -> Catalog:
        if overlays not in catalogs:
            catalogs[overlays] = Catalog(overlays)
        return catalogs[overlays]

    for axis, scenario in grid.one_at_a_time():
        try:
            resolve(scenario, opened(overlays_of(scenario, catalog)))
        except (UnknownNameError, TraceError, CatalogError) as error:
            if error.where == axis.field:
                error.where = axis.where
            raise
        except PlannerError:
            pass  # of this combination; its row will say so
    jobs = []
    for scenario in grid.scenarios():
        overlays = overlays_of(scenario, catalog)
        digest = opened(overlays).digest()[:16]
        files = _files_of(scenario, opened(overlays))
        for path in files.values():
            digests.setdefault(path, _digest_of(path))
        contents = {field: digests[path] for field, path in files.items()}
        content = [scenario.dump() | {"catalog": []}, digest, contents, __version__]
        jobs.append(
            Job(
                key=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16],
                scenario=scenario.dump() | {"catalog": []} | files,
                overlays=overlays,
                catalog_digest=digest,
                files=tuple((path, digests[path]) for path in files.values()),
            )
        )
    return jobs


def _files_of(scenario: Scenario, catalog: Catalog) -> dict[str, str]:
    """Fields of a scenario that name files, as whole paths."""
    files = {}
    if scenario.workload not in catalog.names(Workload) or is_file(scenario.workload):
        files["workload"] = str(Path(scenario.workload).resolve())
    if scenario.profile:
        files["profile"] = str(Path(scenario.profile).resolve())
    return files


def overlays_of(scenario: Scenario, catalog: CatalogLike) -> tuple[str, ...]:
    """Folders of the catalog that a scenario is planned with, as whole paths."""
    if isinstance(catalog, Catalog):
        return tuple(str(path.resolve()) for path in catalog.overlays)
    if catalog is None:
        paths: Sequence[str | Path] = scenario.catalog
    else:
        paths = [catalog] if isinstance(catalog, (str, Path)) else catalog
    return tuple(str(Path(path).resolve()) for path in Catalog.default([str(p) for p in paths]).overlays)


def _solved(
    grid: Grid,
    jobs: Sequence[Job],
    results: str | Path | None,
    restart: bool,
    workers: int | None,
    dask: str | None,
    progress: Callable[[str], None],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every row with its place in the grid: those that the results file has, then the others as they are finished."""
    n_workers(workers)
    if results is None:
        kept = None
        todo = list(range(len(jobs)))
    else:
        about = {
            "planner_version": __version__,
            "catalog_digest": jobs[0].catalog_digest,
            "base": grid.base.dump(),
            "vary": {axis.field: list(axis.canonical) for axis in grid.axes},
        }
        kept = ResultsFile(Path(results), about, [job.key for job in jobs], restart=restart)
        todo = [i for i in range(len(jobs)) if i not in kept.rows]
    try:
        if kept is not None:
            yield from sorted(kept.rows.items())
        count = Countdown(len(jobs), "scenarios", progress, len(jobs) - len(todo))
        count.show()
        pending = [jobs[i] for i in todo]
        if dask is not None:
            from planner.studies.dask_cluster import run_on_dask

            answers = run_on_dask(solve_job, pending, dask, names=[job.key for job in pending], progress=progress)
        else:
            answers = run_all(solve_job, pending, workers=workers)
        for place, row in answers:
            if kept is not None:
                kept.add(todo[place], row)
            count.add()
            yield todo[place], row
    finally:
        if kept is not None:
            kept.close()


def solve_job(job: Job) -> dict[str, Any]:
    """The row of one scenario, JSON-ready, without the fields varied.

    Raises
    ------
    PlannerError
        This process has another version of planner, another catalog or other files than where the sweep began.
    """
    started = time.perf_counter()
    with _ALONE:
        _refuse_another_world(job)
        row = _row(job)
    return row | {
        "catalog_digest": job.catalog_digest,
        "planner_version": job.version,
        "seconds": round(time.perf_counter() - started, 6),
    }


def _row(job: Job) -> dict[str, Any]:
    try:
        problem = resolve(load_scenario(job.scenario), catalog_at(job.overlays, job.catalog_digest))
        plan = plan_of(problem, certified(problem) if problem.scenario.verify else solve_problem(problem))
        if plan.certificate is not None and plan.certificate.status == "interrupted":
            raise KeyboardInterrupt
        return figures(plan)
    except InfeasibleError as error:
        return {"status": "infeasible", "message": _one_line(error)}
    except NoPlanFoundError as error:
        return {"status": "none", "message": _one_line(error)}
    except PlannerError as error:
        return {"status": "error", "message": _one_line(error)}
    except Exception as error:  # one scenario that breaks planner must not stop the others
        return {"status": "error", "message": f"planner failed: {type(error).__name__}: {error}"}


def _one_line(error: PlannerError) -> str:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return " ".join(f"{what}; {error.value}".split()) if error.value else what


def figures(plan: Plan) -> dict[str, Any]:
    """What a row says of a plan."""
    spare = {p.objective: p.slack_fraction for p in plan.predicted if p.slack_fraction is not None}
    tightest = min(spare, key=lambda name: (spare[name], name)) if spare else None
    seconds = {p.metric: p for p in plan.percentiles}
    return {
        "status": plan.solver.status,
        "plan_design": plan.design,
        "pools": " + ".join(f"{p.count + p.spares} x {p.machine} {p.role}" for p in plan.pools),
        "n_machines": plan.machines,
        "cost_usd_per_hour": plan.cost_usd_per_hour,
        "cost_usd_per_million_tokens": plan.cost_usd_per_million_tokens,
        "oldest_price_date": min((price.date.isoformat() for price in plan.prices), default=None),
        "rated_power_w": plan.power_w,
        "expected_power_w": plan.expected_power_w,
        "carbon_kg_per_hour": None if plan.energy is None else plan.energy.carbon_kg_per_hour,
        "carried_per_s": plan.rate_per_s,
        "headroom": plan.headroom,
        **{f"{m}_p50_s": seconds[m].p50_s for m in ("ttft", "tbt", "e2e")},
        **{f"{m}_p99_s": seconds[m].p99_s for m in ("ttft", "tbt", "e2e")},
        "tightest_objective": tightest,
        "slack_fraction": spare[tightest] if tightest else None,
        "objective_value": plan.solver.value,
        "bound": plan.solver.bound,
        "gap": plan.solver.gap,
        "verified": plan.verified,
        "confirmed": None if plan.certificate is None else plan.certificate.status == "confirmed",
    }


def _refuse_another_world(job: Job) -> None:
    if job.version != __version__:
        raise PlannerError(
            f"a worker has planner {__version__}, and the sweep is of {job.version}",
            fix="install one version everywhere",
        )
    digest = catalog_at(job.overlays, job.catalog_digest).digest()[:16]
    if digest != job.catalog_digest:
        raise PlannerError(
            f"a worker has another catalog ({digest}) than the sweep ({job.catalog_digest})",
            value=", ".join(job.overlays) or "the built-in one",
            rule="overlays are read where the work is done, and stay as they are while it lasts",
            fix="put them where every worker finds them under the same path",
        )
    for path, expected in job.files:
        if _digest_as_of(path, expected) != expected:
            raise PlannerError(
                "a worker sees another file than the sweep began with, or none", value=path,
                fix="put it where every worker finds it under the same path",
            )  # fmt: skip


@lru_cache(maxsize=64)
def catalog_at(overlays: tuple[str, ...], digest: str) -> Catalog:
    """A catalog that is read once for many scenarios; anew where another content (`digest`) is expected."""
    return Catalog(overlays)


@lru_cache(maxsize=64)
def _digest_as_of(path: str, expected: str) -> str:
    return _digest_of(path)


def _digest_of(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError:
        return "unreadable"
