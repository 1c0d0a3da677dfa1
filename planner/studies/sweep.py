"""A sweep: the best plan of every scenario of a grid, over processes or a cluster, resumable."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from planner._version import __version__
from planner.catalog.catalog import Catalog
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
from planner.planning.certificate import Result
from planner.planning.plan import Plan
from planner.planning.record import NOT_SIMULATED
from planner.planning.road import plan
from planner.scenario.grid import MOST_SCENARIOS, Grid, VariedField, axis_of, make_grid, read_sweep_file
from planner.scenario.opened import Asked, CatalogLike, ScenarioLike, opened_catalog
from planner.scenario.progress import quiet
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.studies.head import Study
from planner.studies.job import ALONE, Job
from planner.studies.runner import run_resumed

SweepStatus = Literal["optimal", "near_tie", "limit", "infeasible", "none", "error"]


class SweepRow(Result):
    """The plan of one scenario of a sweep, or why there is none."""

    values: dict[str, Any] = Field(description="The fields varied, as the scenario has them.")
    status: SweepStatus = Field(
        description=(
            "Status; optimal: proven; limit: a plan, not proven in time; infeasible: proven to have "
            "none; none: no plan found in time; error: could not be posed."
        )
    )
    plan_design: str | None = None
    pools: str | None = Field(default=None, description="Machines bought, spares included.")
    n_machines: int | None = None
    cost_usd_per_hour: float | None = None
    cost_usd_per_million_tokens: float | None = None
    oldest_price_date: datetime.date | None = Field(
        default=None, description="Date of the oldest price of its machines."
    )
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
    slack_fraction: float | None = Field(
        default=None, description="Slack of the tightest objective: 1 - predicted / limit."
    )
    objective_value: float | None = Field(default=None, description="Value of the scenario's objective, in its unit.")
    bound: float | None = Field(default=None, description="Bound: no plan is better than this.")
    gap: float | None = None
    verified: str | None = Field(
        default=None, description="Words on the proof: `not simulated`, or how the plan was simulated."
    )
    confirmed: bool | None = Field(default=None, description="Whether simulation confirmed it; null: not simulated.")
    message: str | None = Field(default=None, description="Reason why there is no plan.")
    catalog_digest: str
    planner_version: str
    seconds: float | None = Field(description="Wall-clock time of this scenario [s]; null where times are left out.")

    def to_record(self) -> dict[str, Any]:
        """The row as a flat dict, the fields varied first."""
        return self.values | self.model_dump(exclude={"values"})


class Sweep(Study):
    """Every scenario of a grid with its plan, in the order of the grid: the field varied last varies fastest."""

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


def sweep(
    scenario: ScenarioLike | None = None,
    *,
    vary: Mapping[str, Any] | Sequence[VariedField] = (),
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
    vary : mapping, or sequence of VariedField
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
    opened, fields = opened_catalog(catalog, fields)
    given = [axis_of(name, values) for name, values in vary.items()] if isinstance(vary, Mapping) else list(vary)
    names = {axis.field for axis in given}
    for axis in given:
        if axis.field in {"rate_per_s" if name == "rate" else name for name in fields}:
            raise ScenarioError(f"{axis.field} is varied and has a fixed value", where=axis.where, fix="give one only")
    # A field may need one that is varied, as a think time needs users.
    base, axes = _base(scenario, fields | {axis.field: axis.values[0] for axis in given})
    if "verify" not in base.model_fields_set:
        base = load_scenario(base, verify=False)
    grid = make_grid(base, [axis for axis in axes if axis.field not in names] + given, max_scenarios=max_scenarios)
    jobs, unvaried = _jobs(grid, opened), Scenario().dump()
    about = {
        "planner_version": __version__,
        "catalog_digest": jobs[0].catalog_digest,
        "base": grid.base.dump() | {axis.field: unvaried[axis.field] for axis in grid.axes},
        "vary": {axis.field: list(axis.canonical) for axis in grid.axes},
    }
    rows = dict(
        run_resumed(
            solve_job, jobs, [job.key for job in jobs], None if results is None else Path(results), about,
            restart=restart, workers=workers, dask=dask, progress=progress,
        )
    )  # fmt: skip
    return Sweep(
        **about,
        verified="as each row says" if base.verify else NOT_SIMULATED,
        rows=[SweepRow(values=point, **rows[i]) for i, point in enumerate(grid.points())],
    )


def _base(scenario: ScenarioLike | None, fields: Mapping[str, Any]) -> tuple[Scenario, list[VariedField]]:
    if isinstance(scenario, (str, os.PathLike)):
        base, axes = read_sweep_file(Path(scenario))
        return load_scenario(base, **({axis.field: axis.values[0] for axis in axes} | dict(fields))), axes
    return load_scenario(scenario if scenario is not None else {}, **fields), []


def _jobs(grid: Grid, opened: Catalog | None) -> list[Job]:
    """Every scenario of the grid as a job; names and files that are wrong are found here, before any work."""
    catalogs: dict[tuple[str, ...], Catalog] = {}

    def asked(scenario: Scenario) -> Asked:
        if opened is not None:
            return Asked(scenario, opened)
        if scenario.catalog not in catalogs:
            catalogs[scenario.catalog] = Catalog.default(scenario.catalog)
        return Asked(scenario, catalogs[scenario.catalog])

    for axis, scenario in grid.one_at_a_time():
        try:
            asked(scenario).resolved()
        except (UnknownNameError, TraceError, CatalogError) as error:
            if error.where == axis.field:
                error.where = axis.where
            raise
        except PlannerError:
            pass  # of this combination; its row will say so
    return [Job.of(asked(scenario)) for scenario in grid.scenarios()]


def solve_job(job: Job) -> dict[str, Any]:
    """The row of one scenario, JSON-ready, without the fields varied.

    Raises
    ------
    PlannerError
        This process has another version of planner, another catalog or other files than where the sweep began.
    """
    started = time.perf_counter()
    with ALONE:
        row = _row(job.asked())
    return row | {
        "catalog_digest": job.catalog_digest,
        "planner_version": job.version,
        "seconds": round(time.perf_counter() - started, 6),
    }


def _row(asked: Asked) -> dict[str, Any]:
    try:
        found = plan(asked.resolved())
        if found.certificate is not None and found.certificate.status == "interrupted":
            raise KeyboardInterrupt
        return figures(found)
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
