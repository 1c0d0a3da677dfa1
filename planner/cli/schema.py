"""`planner schema`: JSON Schema of what planner prints and reads."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from planner.cli.options import OutputOption
from planner.cli.output import check_output, emit
from planner.errors import UnknownNameError

NAMES = (
    "plan",
    "simulation",
    "procurement",
    "cluster",
    "fleet",
    "scenario",
    "estimate",
    "comparison",
    "frontier",
    "alternatives",
    "robustness",
    "why",
    "deployment",
    "scaling",
    "validation",
    "difference",
)


def schema(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"{', '.join(NAMES)}, or a kind of catalog file.",
        ),
    ] = "plan",
    output: OutputOption = None,
) -> None:
    """Print the JSON Schema of a result or of a file.

    `planner schema plan` is what `optimize --format json` prints, `planner schema simulation` what `simulate` does;
    their `schema_version` rises when a field changes its meaning or goes away.
    """
    check_output(output)
    from planner.export.records import json_text

    emit(json_text(schema_of(name)), output)


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one thing.

    Raises
    ------
    UnknownNameError
        There is no schema of that name.
    """
    from planner.catalog.json_schema import DIALECT, catalog_json_schemas

    if name in NAMES:
        from pydantic import BaseModel

        from planner.planning.plan import Plan
        from planner.portfolio.fleet import Fleet
        from planner.portfolio.result import Procurement
        from planner.scenario.cluster import Cluster
        from planner.scenario.scenario import Scenario
        from planner.simulation.report import SimulationReport
        from planner.studies.alternatives_result import Alternatives
        from planner.studies.comparison_result import Comparison
        from planner.studies.deploy_result import Deployment
        from planner.studies.diff import Difference
        from planner.studies.estimate import Estimate
        from planner.studies.frontier_result import Frontier
        from planner.studies.robustness_result import Robustness
        from planner.studies.scaling_result import Scaling
        from planner.studies.validate_result import Validation
        from planner.studies.why_result import Why

        models: dict[str, type[BaseModel]] = {
            "plan": Plan,
            "simulation": SimulationReport,
            "cluster": Cluster,
            "scenario": Scenario,
            "estimate": Estimate,
            "fleet": Fleet,
            "procurement": Procurement,
            "comparison": Comparison,
            "frontier": Frontier,
            "alternatives": Alternatives,
            "robustness": Robustness,
            "why": Why,
            "deployment": Deployment,
            "validation": Validation,
            "difference": Difference,
            "scaling": Scaling,
        }
        mode: Any = "validation" if name in ("cluster", "scenario", "fleet") else "serialization"
        return {"$schema": DIALECT, **models[name].model_json_schema(mode=mode)}
    schemas = catalog_json_schemas()
    if name not in schemas:
        raise UnknownNameError.of("schema", name, [*NAMES, *schemas], where="NAME")
    return schemas[name]
