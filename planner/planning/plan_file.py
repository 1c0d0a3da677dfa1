"""Reading a plan back from the JSON that `planner optimize --format json` printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from planner.catalog.catalog import Catalog
from planner.catalog.loading import Layer, read_layer
from planner.catalog.schema import GROUP_MARK, Machine
from planner.catalog.validation import check, dotted, joined, where_of
from planner.errors import ScenarioError, near_misses
from planner.planning.plan import PLAN_SCHEMA_VERSION, Plan
from planner.planning.plan_check import faults


def is_plan_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file of a cluster is a plan with its figures, not pools that somebody wrote down."""
    data = read_layer(Path(path), error=ScenarioError).data
    return "schema_version" in data and "predicted" in data


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan from its JSON file, every field checked.

    Parameters
    ----------
    path : path
        Of a file as `planner optimize --format json` or `planner evaluate --format json` prints it.

    Returns
    -------
    Plan

    Raises
    ------
    ScenarioError
        The file cannot be read, is no plan, is of another version of the form, has a field that cannot be used, a
        machine that its catalog does not know, or figures that contradict each other; `where` is file:line.
    """
    fix = f"write one: planner optimize ... --format json --output {Path(path).with_suffix('.json').name}"
    try:
        layer = read_layer(Path(path), error=ScenarioError)
    except ScenarioError as error:
        error.rule, error.fix = "a plan as --format json prints it", fix
        raise
    version = layer.data.get("schema_version")
    if version is None or "pools" not in layer.data:
        raise ScenarioError(
            "this file is not a plan", where=f"{path}:1", rule="a plan as --format json prints it", fix=fix
        )
    if str(version).split(".")[0] != PLAN_SCHEMA_VERSION.split(".")[0]:
        raise ScenarioError(
            "a plan of another version of the form",
            where=f"{path}:{layer.line_of(('schema_version',)) or 1}",
            value=version,
            rule=f"this planner reads version {PLAN_SCHEMA_VERSION}",
            fix=fix,
        )
    plan, problems = check(Plan, layer.data, [layer], error=ScenarioError)
    if plan is None:
        fault = joined(problems)
        fault.fix = f"{fault.fix}; or {fix}" if fault.fix else fix
        raise fault
    contradictions = [
        ScenarioError(f"{dotted(f.path)}: {f.what}", where=where_of(f.path, [layer]), value=f.value, rule=f.rule)
        for f in faults(plan)
    ]
    contradictions += list(_unknown_machines(plan, layer))
    if contradictions:
        fault = joined(contradictions)
        fault.fix = f"figures of a plan are not edited; {fix}"
        raise fault
    return plan


def _unknown_machines(plan: Plan, layer: Layer) -> Iterator[ScenarioError]:
    """Yield the pools of machines that the catalog of the plan does not know; nothing where it is not here."""
    overlays = plan.scenario.get("catalog") or ()
    if not all(os.path.isdir(str(overlay)) for overlay in overlays):
        return
    names = Catalog.default(overlays).names(Machine)
    for n, pool in enumerate(plan.pools):
        if pool.machine.partition(GROUP_MARK)[0] not in names:
            yield ScenarioError(
                f"unknown machine {pool.machine!r}", where=where_of(("pools", n, "machine"), [layer]),
                value=pool.machine, suggestions=near_misses(pool.machine, names),
            )  # fmt: skip
