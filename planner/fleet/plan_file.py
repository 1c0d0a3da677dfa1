"""Reading a plan back from the JSON that `planner optimize --format json` printed."""

from __future__ import annotations

import os
from pathlib import Path

from planner.catalog.loading import read_layer
from planner.catalog.validation import check, joined
from planner.errors import ScenarioError
from planner.fleet.plan import PLAN_SCHEMA_VERSION, Plan


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
        The file cannot be read, is no plan, is of another version of the form, or has a field that cannot be used;
        `where` is file:line.
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
    return plan
