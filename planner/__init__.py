"""Capacity planning and cost optimisation for LLM inference clusters.

>>> import planner
>>> plan = planner.optimize(slo="ttft=1s", rate="70/s")
>>> plan.cost_usd_per_hour, [(p.role, p.machine, p.count) for p in plan.pools]  # doctest: +SKIP

Public names are loaded when first used, so that importing `planner` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner._version import __version__

if TYPE_CHECKING:
    from planner.api import (
        cost,
        evaluate,
        network_map,
        optimize,
        procure,
        provisioning_map,
        regime_map,
        robustness,
        simulate,
    )
    from planner.catalog.catalog import Catalog
    from planner.errors import (
        CatalogError,
        DoesNotFitError,
        InfeasibleError,
        InputError,
        NoPlanFoundError,
        ObjectiveUnreachableError,
        OutputError,
        PlannerError,
        ScenarioError,
        TraceError,
        UnitError,
        UnknownNameError,
    )
    from planner.estimation import Estimate, estimate
    from planner.exploration.alternatives import alternatives
    from planner.exploration.alternatives_result import Alternatives
    from planner.exploration.comparison import compare
    from planner.exploration.comparison_result import Comparison
    from planner.exploration.cost_report import CostReport
    from planner.exploration.frontier import frontier
    from planner.exploration.frontier_result import Frontier
    from planner.exploration.robustness_result import Robustness
    from planner.exploration.sensitivity import sensitivity
    from planner.exploration.sensitivity_report import Sensitivity
    from planner.exploration.sweep import Sweep, sweep
    from planner.export.workbook import export_workbook
    from planner.fleet.plan import Cluster, Plan
    from planner.fleet.plan_file import read_plan
    from planner.optimization.assignment import Assignment, assign
    from planner.portfolio.fleet import Fleet
    from planner.portfolio.result import Procurement
    from planner.scenario import Scenario
    from planner.simulation.report import SimulationReport

_HOMES = {
    "planner.api": (
        "cost", "evaluate", "network_map", "optimize", "procure", "provisioning_map", "regime_map", "robustness",
        "simulate",
    ),
    "planner.catalog.catalog": ("Catalog",),
    "planner.errors": (
        "CatalogError", "DoesNotFitError", "InfeasibleError", "InputError", "NoPlanFoundError",
        "ObjectiveUnreachableError", "OutputError", "PlannerError", "ScenarioError", "TraceError", "UnitError",
        "UnknownNameError",
    ),
    "planner.estimation": ("Estimate", "estimate"),
    "planner.exploration.cost_report": ("CostReport",),
    "planner.exploration.hardware": ("hardware_fit",),
    "planner.export.workbook": ("export_workbook",),
    "planner.exploration.sensitivity": ("sensitivity",),
    "planner.exploration.sensitivity_report": ("Sensitivity",),
    "planner.exploration.sweep": ("Sweep", "sweep"),
    "planner.exploration.alternatives": ("alternatives",),
    "planner.exploration.alternatives_result": ("Alternatives",),
    "planner.exploration.comparison": ("compare",),
    "planner.exploration.comparison_result": ("Comparison",),
    "planner.exploration.frontier": ("frontier",),
    "planner.exploration.frontier_result": ("Frontier",),
    "planner.exploration.robustness_result": ("Robustness",),
    "planner.fleet.plan": ("Cluster", "Plan"),
    "planner.fleet.plan_file": ("read_plan",),
    "planner.optimization.assignment": ("Assignment", "assign"),
    "planner.portfolio.fleet": ("Fleet",),
    "planner.portfolio.result": ("Procurement",),
    "planner.scenario": ("Scenario",),
    "planner.simulation.report": ("SimulationReport",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Alternatives", "Assignment", "Catalog", "CatalogError", "Cluster", "Comparison", "CostReport", "DoesNotFitError",
    "Estimate", "Fleet", "Frontier", "InfeasibleError", "InputError", "NoPlanFoundError", "ObjectiveUnreachableError",
    "OutputError", "Plan", "PlannerError", "Procurement", "Robustness", "Scenario", "ScenarioError", "Sensitivity",
    "SimulationReport", "Sweep", "TraceError", "UnitError", "UnknownNameError", "__version__", "alternatives",
    "assign", "compare", "cost", "estimate", "evaluate", "export_workbook", "frontier", "hardware_fit", "network_map",
    "optimize", "procure", "provisioning_map", "read_plan", "regime_map", "robustness", "sensitivity", "simulate",
    "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "sheet":  # a module of its own: planner.sheet.cost_per_hour(...)
        return import_module("planner.sheet")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
