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
    from planner.export.workbook.workbook import export_workbook
    from planner.optimization.assignment import Assignment, assign
    from planner.planning.plan import Plan
    from planner.planning.plan_file import read_plan
    from planner.portfolio.fleet import Fleet
    from planner.portfolio.result import Procurement
    from planner.scenario.cluster import Cluster
    from planner.scenario.scenario import Scenario
    from planner.simulation.report import SimulationReport
    from planner.studies.alternatives import alternatives
    from planner.studies.alternatives_result import Alternatives
    from planner.studies.comparison import compare
    from planner.studies.comparison_result import Comparison
    from planner.studies.cost_report import CostReport
    from planner.studies.estimate import Estimate, estimate
    from planner.studies.frontier import frontier
    from planner.studies.frontier_result import Frontier
    from planner.studies.judgements import cost, robustness
    from planner.studies.maps import network_map, provisioning_map, regime_map
    from planner.studies.plans import evaluate, optimize, procure, simulate
    from planner.studies.robustness_result import Robustness
    from planner.studies.sensitivity import sensitivity
    from planner.studies.sensitivity_report import Sensitivity
    from planner.studies.sweep import Sweep, sweep

_HOMES = {
    "planner.studies.judgements": ("cost", "robustness"),
    "planner.studies.maps": ("network_map", "provisioning_map", "regime_map"),
    "planner.studies.plans": ("evaluate", "optimize", "procure", "simulate"),
    "planner.catalog.catalog": ("Catalog",),
    "planner.errors": (
        "CatalogError", "DoesNotFitError", "InfeasibleError", "InputError", "NoPlanFoundError",
        "ObjectiveUnreachableError", "OutputError", "PlannerError", "ScenarioError", "TraceError", "UnitError",
        "UnknownNameError",
    ),
    "planner.studies.estimate": ("Estimate", "estimate"),
    "planner.studies.cost_report": ("CostReport",),
    "planner.studies.hardware": ("hardware_fit",),
    "planner.export.workbook.workbook": ("export_workbook",),
    "planner.studies.sensitivity": ("sensitivity",),
    "planner.studies.sensitivity_report": ("Sensitivity",),
    "planner.studies.sweep": ("Sweep", "sweep"),
    "planner.studies.alternatives": ("alternatives",),
    "planner.studies.alternatives_result": ("Alternatives",),
    "planner.studies.comparison": ("compare",),
    "planner.studies.comparison_result": ("Comparison",),
    "planner.studies.frontier": ("frontier",),
    "planner.studies.frontier_result": ("Frontier",),
    "planner.studies.robustness_result": ("Robustness",),
    "planner.planning.plan": ("Plan",),
    "planner.scenario.cluster": ("Cluster",),
    "planner.planning.plan_file": ("read_plan",),
    "planner.optimization.assignment": ("Assignment", "assign"),
    "planner.portfolio.fleet": ("Fleet",),
    "planner.portfolio.result": ("Procurement",),
    "planner.scenario.scenario": ("Scenario",),
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
