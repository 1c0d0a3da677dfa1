"""A plan held against what happened: benchmark files beside the simulated servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from planner.calibration.benchmark_runs import BenchmarkRun, runs_of_files
from planner.calibration.hardware import model_named
from planner.errors import ScenarioError
from planner.planning.evaluate import evaluate_cluster
from planner.planning.plan import Plan
from planner.scenario.cluster import Cluster, read_cluster
from planner.scenario.opened import Asked, CatalogLike, ClusterLike, ask, cluster_and_scenario
from planner.scenario.progress import quiet
from planner.scenario.resolve import Problem
from planner.studies.benchmark_causes import explanations, likely, nearest
from planner.studies.benchmark_trial import BenchmarkTrial, Figures
from planner.studies.head import head_of_plans
from planner.studies.validate_result import Cause, FigureRow, ValidatedRun, Validation

SAMPLING = {"mean": 0.05, "p50": 0.05, "p90": 0.08, "p99": 0.15}  # relative: seeds, and the few requests of a run
Result = str | os.PathLike[str]


def validate(
    results: Result | Sequence[Result],
    plan: ClusterLike | None = None,
    *,
    form: str | None = None,
    replan: bool = False,
    tensor_parallel: int | None = None,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Validation:
    """Hold a plan, or one machine, against what benchmarks measured.

    Parameters
    ----------
    results : path, or sequence of paths
        Files of vLLM bench, GuideLLM, AIPerf (summary or records), GenAI-Perf, inference-perf, llmperf or
        llm-d-benchmark, or a CSV with a run a row.
    plan : Cluster, mapping, list or path, optional
        As in `evaluate`: a plan, a bundle of `deploy`, pools. Left out: one machine of `machines`, as one mixed pool.
    form : str, optional
        Name of the files' form; found from the content if left out.
    replan : bool
        Whether to plan again with what was measured.
    tensor_parallel : int, optional
        Of a machine without a plan.
    catalog, **fields
        As in `optimize`; they win over the plan's scenario.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Validation
        Every figure measured and predicted, whether within the stated error, and the single change that explains a
        run that is not, where one does.

    Raises
    ------
    InputError
        A file that cannot be used, a benchmark of another model than the plan's, neither a plan nor a machine.
    """
    files = [results] if isinstance(results, (str, os.PathLike)) else list(results)
    runs = runs_of_files([Path(file) for file in files], form)
    cluster, asked = _cluster(plan, runs, tensor_parallel, catalog, fields)
    problem = asked.resolved()
    _refuse_another_model(problem, runs)
    evaluated = evaluate_cluster(problem, cluster)
    found = [_validated(problem, cluster, run, progress) for run in runs]
    calibration = _calibration(found)
    replanned = _replanned(asked, plan, calibration, progress) if replan and calibration else None
    return Validation(
        **head_of_plans(problem, [evaluated]) | {"notes": _notes(problem, found)},
        verified="simulated",
        cluster=" + ".join(f"{p.count:,} x {p.machine} {p.role} ({p.layout})" for p in evaluated.pools),
        runs=[run for run, _ in found],
        within=all(run.within for run, _ in found),
        calibration=calibration,
        replanned=replanned,
    )


def _cluster(
    plan: ClusterLike | None, runs: Sequence[BenchmarkRun], tensor_parallel: int | None, catalog: CatalogLike,
    fields: dict[str, Any],
) -> tuple[Cluster, Asked]:  # fmt: skip
    if plan is not None:
        return cluster_and_scenario(plan, None, catalog, fields)
    machines = fields.get("machines")
    names = [machines] if isinstance(machines, str) else list(machines or ())
    if len(names) != 1:
        raise ScenarioError(
            "what was measured is not said", where="PLAN", rule="a plan, or one machine with its model",
            fix="give the plan, or --machine NAME --model NAME [--tensor-parallel N]",
        )  # fmt: skip
    own = dict(fields)
    if "model" not in own and runs[0].model:
        opened = ask(None, catalog, {k: v for k, v in own.items() if k == "catalog"}).catalog
        own["model"] = model_named(opened, runs[0].model, runs[0].source).name
    pool: dict[str, Any] = {"role": "mixed", "machine": names[0], "count": 1}
    if tensor_parallel is not None:
        pool["tensor_parallel"] = tensor_parallel
    own.setdefault("rate_per_s", runs[0].rate_per_s or runs[0].throughput_per_s or 1.0)
    return cluster_and_scenario(read_cluster([pool]), None, catalog, own)


def _refuse_another_model(problem: Problem, runs: Sequence[BenchmarkRun]) -> None:
    for run in runs:
        if run.model is None:
            continue
        try:
            name = model_named(problem.catalog, run.model, run.source).name
        except Exception:  # a name that no catalog has, such as an alias that a server was given
            continue
        if name != problem.llm.name:
            raise ScenarioError(
                "a benchmark of another model than the plan", where=run.source, value=run.model,
                rule=f"the plan serves {problem.llm.name}", fix="give the plan of that model, or --model NAME",
            )  # fmt: skip


def _validated(
    problem: Problem, cluster: Cluster, run: BenchmarkRun, progress: Callable[[str], None]
) -> tuple[ValidatedRun, dict[str, Any]]:
    """A run with what explains it, and the fields that would plan with that."""
    progress(f"{run.source}: as planned")
    trial = BenchmarkTrial(problem, cluster, run)
    served, error = trial.served(), trial.step_time_error
    measured: dict[tuple[str, str], float] = dict(run.latencies_s)
    if run.throughput_per_s:
        measured["throughput", "mean"] = run.throughput_per_s
    rows = _rows(trial, measured, served.figures, error)
    unchanged = nearest(measured, served)
    within = all(row.within for row in rows)
    causes: list[Cause] = []
    fields: dict[str, Any] = {}
    factor = None
    if not within:
        every = explanations(trial, measured, progress)
        told = likely(every, unchanged)
        causes = [
            Cause(cause=e.attempt.cause, words=e.attempt.words, distance=e.distance, likely=e in told) for e in every
        ]
        fields = told[0].attempt.fields if told else {}
        factor = next((e.attempt.size for e in every if e.attempt.cause == "kernels"), None)
    return ValidatedRun(
        source=run.source, tool=run.tool, rate_per_s=run.rate_per_s, concurrency=run.concurrency,
        n_requests=run.n_requests, n_failed=run.n_failed, input_tokens=run.input_tokens,
        output_tokens=run.output_tokens, rows=rows, missing=list(run.missing), memory_fraction=served.memory_fraction,
        distance=unchanged, within=within, causes=causes, step_factor=factor,
    ), fields  # fmt: skip


def _rows(trial: BenchmarkTrial, measured: Figures, predicted: Figures, error: float) -> list[FigureRow]:
    """Every figure that was measured, with the band that steps within their stated error come to."""
    from dataclasses import replace

    from planner.latency.scaled import scaled
    from planner.pools.configuration import Configuration

    def with_steps(factor: float) -> Figures:
        def alter(c: Configuration) -> Configuration:
            return replace(c, lane=replace(c.lane, step=scaled(c.lane.step, factor)))

        return trial.served(alter).figures

    ends = [predicted] if error <= 0 else [predicted, with_steps(max(1.0 - error, 0.05)), with_steps(1.0 + error)]
    rows = []
    for (metric, statistic), value in measured.items():
        if (metric, statistic) not in predicted:
            continue
        found = [figures[metric, statistic] for figures in ends if (metric, statistic) in figures]
        slack = SAMPLING[statistic]
        low, high = min(found) / (1.0 + slack), max(found) * (1.0 + slack)
        own = predicted[metric, statistic]
        rows.append(FigureRow(
            metric=metric, statistic=statistic, measured=value, predicted=own, low=low, high=high,
            error=value / own - 1.0, within=low <= value <= high,
        ))  # fmt: skip
    return rows


def _calibration(found: Sequence[tuple[ValidatedRun, dict[str, Any]]]) -> dict[str, Any]:
    """Fields that plan with what was measured: of the first run that something explains; of steps the slowest."""
    chosen: dict[str, Any] = {}
    for _, fields in found:
        for name, value in fields.items():
            chosen[name] = min(value, chosen[name]) if name == "derate" and name in chosen else chosen.get(name, value)
    return chosen


def _replanned(
    asked: Asked, plan: ClusterLike | None, calibration: dict[str, Any], progress: Callable[[str], None]
) -> Plan:
    """The plan of the same scenario with what was measured in it."""
    from planner.planning.road import plan as find
    from planner.scenario.bundle import PLAN_FILE
    from planner.scenario.cluster import read_cluster_file

    scenario: Any = asked.scenario
    if isinstance(plan, (str, os.PathLike)):
        path = Path(plan)
        scenario = read_cluster_file(path / PLAN_FILE if os.path.isdir(path) else path)[1] or scenario
    progress("planning again")
    return find(ask(scenario, asked.catalog, calibration).resolved(), progress)


def _notes(problem: Problem, found: Sequence[tuple[ValidatedRun, dict[str, Any]]]) -> list[str]:
    notes = list(problem.notes)
    for run, _ in found:
        if run.missing:
            notes.append(f"{run.source}: the file has no {', '.join(run.missing)}")
        if run.n_failed:
            notes.append(f"{run.source}: {run.n_failed:,} requests failed: what is left is of the others")
    return notes
