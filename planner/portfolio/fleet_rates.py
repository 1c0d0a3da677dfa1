"""The rate of each workload of a fleet, where it is stated in other words or is that of a trace."""

from __future__ import annotations

from typing import Any

from planner.catalog.catalog import Catalog
from planner.errors import PlannerError, TraceError
from planner.portfolio.fleet import Fleet
from planner.portfolio.fleet_workload import LOAD_WORDS, FleetWorkload
from planner.scenario.load import load_of
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario_file import is_trace_file
from planner.workload.sizes import RequestSizes


def at_rates(fleet: Fleet, catalog: Catalog) -> tuple[Fleet, list[str]]:
    """The fleet with every rate in requests a second, and notes on what was taken from where, or assumed.

    Raises
    ------
    TraceError
        A trace that has no rate of its own.
    InputError
        A load that its workload does not have.

    Notes
    -----
    Users, and requests under way, send no more than they would were each answer as fast as alone on the quickest
    machine considered; a fleet is had for that.
    """
    workloads: dict[str, FleetWorkload] = {}
    notes: list[str] = []
    named = "machines" in fleet.model_fields_set or any(own.machines for own in fleet.workloads.values())
    if not named:
        notes.append(
            f"{' and '.join(fleet.machines)} are considered, as none is named (`machines: current` takes every machine "
            "with a current price)"
        )
    for name, own in fleet.workloads.items():
        workloads[name], told = _at_rate(fleet, name, own, catalog)
        notes += [f"{name}: {note}" if len(fleet.workloads) > 1 else note for note in told]
    return fleet.model_copy(update={"workloads": workloads}), notes


def _at_rate(fleet: Fleet, name: str, own: FleetWorkload, catalog: Catalog) -> tuple[FleetWorkload, list[str]]:
    if own.batch is not None or (own.rate_per_s is not None and own.size_for == "mean"):
        return own, []
    scenario = fleet.scenario_of(name)
    unsaid = dict.fromkeys(LOAD_WORDS)
    if own.users is not None or own.concurrency is not None:
        problem = workload_problem(fleet, name, catalog)
        rate_per_s = problem.need.rate_per_s
        clients = problem.rate_words
        note = f"{clients} send at most {rate_per_s:.4g} requests/s, each answered as fast as alone: sized for that"
        return own.model_copy(update={**unsaid, "rate_per_s": rate_per_s}), [note]
    try:
        load = load_of(scenario, catalog, sizes=stated_sizes(own))
    except PlannerError as error:
        raise _placed(error, name, own) from None
    if load.words == "assumed" and own.workload is not None and is_trace_file(own.workload):
        raise TraceError(
            "this trace has no rate of its own", where=own.workload, rule="timestamps that differ",
            fix=f"give workloads.{name} a rate, or name the timestamps in workload_columns",
        )  # fmt: skip
    update: dict[str, Any] = {**unsaid, "rate_per_s": load.rate_per_s, "size_for": "mean"}
    if own.size_for != "mean":
        update["arrival_cv2"] = load.arrival_cv2
    return own.model_copy(update=update), [note for note in load.notes if "requests/s" in note]


def workload_problem(fleet: Fleet, name: str, catalog: Catalog) -> Problem:
    """The problem of one workload by itself; raises as `resolve`, with the field of the workload."""
    own = fleet.workloads[name]
    try:
        return resolve(fleet.scenario_of(name), catalog, sizes=stated_sizes(own))
    except PlannerError as error:
        raise _placed(error, name, own) from None


def stated_sizes(own: FleetWorkload) -> RequestSizes | None:
    """Requests that are all alike, where a workload has whole numbers of tokens."""
    if own.prompt_tokens is None or own.output_tokens is None:
        return None
    label = f"{own.prompt_tokens} in, {own.output_tokens} out"
    return RequestSizes.equally_weighted([own.prompt_tokens], [own.output_tokens], label)


def _placed(error: PlannerError, name: str, own: FleetWorkload) -> PlannerError:
    if error.where is not None and "/" not in error.where and ":" not in error.where:
        error.where = f"workloads.{name}.{error.where}" if error.where in type(own).model_fields else error.where
    return error
