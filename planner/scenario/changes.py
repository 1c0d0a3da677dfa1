"""What is changed in a scenario: the one way from a scenario to another, and the axes along which studies go.

A change is applied to a `Scenario` and gives a `Scenario`, validated like any other; nothing that was resolved is
patched.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planner.pools.limits import BUDGETS
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.workload.objectives import Objective, parse_objective

BudgetKind = Literal["cost", "power", "machines"]
BUDGET_FIELDS: Mapping[str, str] = {
    "cost": "max_cost_usd_per_hour", "power": "max_power_w", "machines": "max_total_machines",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Change:
    """Something that is otherwise in a scenario.

    Attributes
    ----------
    fields : callable
        Takes the scenario and returns the fields that become others.
    """

    fields: Callable[[Scenario], Mapping[str, Any]]

    def applied(self, scenario: Scenario) -> Scenario:
        """The scenario with the change.

        Raises
        ------
        ScenarioError
            A value that the scenario cannot have.
        """
        fields = self.fields(scenario)
        return load_scenario(scenario, **fields) if fields else scenario

    def then(self, other: Change) -> Change:
        """Both, one after the other."""
        first = self

        def fields(scenario: Scenario) -> Mapping[str, Any]:
            own = dict(first.fields(scenario))
            return own | dict(other.fields(load_scenario(scenario, **own) if own else scenario))

        return Change(fields)


def all_of(changes: Iterable[Change]) -> Change:
    """Every one of them, in their order."""
    return functools.reduce(Change.then, changes, setting())


def setting(**fields: Any) -> Change:
    """Fields at other values."""
    return Change(lambda _: fields)


def load_of(factor: float) -> Change:
    """So many times the rate, or the users or requests under way; of what a trace says as of what was asked for."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        if factor == 1.0:
            return {}
        if scenario.rate_per_s is not None:
            return {"rate_per_s": scenario.rate_per_s * factor}
        return {"suppose": scenario.suppose.dump() | {"load": scenario.suppose.load * factor}}

    return Change(fields)


def budget(kind: str, most: float | None) -> Change:
    """A budget of cost [USD/h], power [W] or machines; where there is one already, the tighter counts."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        if most is None:
            return {}
        name = BUDGET_FIELDS[kind]
        amount = math.floor(most + 1e-9) if kind == "machines" else most
        given = getattr(scenario, name)
        return {name: amount if given is None else min(given, amount)}

    return Change(fields)


def without_limits(**fields: Any) -> Change:
    """No budgets and no stock, but for those given; spares stay."""
    none: dict[str, Any] = {
        "max_machines": {}, "max_pools": None, **{budget.field: None for budget in BUDGETS},
    }  # fmt: skip
    return setting(**(none | fields))


def limit(objective: Objective) -> Change:
    """An objective in the place of that on the same metric and percentile, or beside the others."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        same = (objective.metric, objective.percentile)
        return {"slo": (*(o for o in scenario.slo if (o.metric, o.percentile) != same), objective)}

    return Change(fields)


def only_limit(metric: str, limit_s: float) -> Change:
    """One limit [s] in the place of all on a metric, at the highest percentile among them; p99 where there is none."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        kept = [o for o in scenario.slo if o.metric != metric]
        percentile = max((o.percentile for o in scenario.slo if o.metric == metric), default=99.0)
        return {"slo": (*kept, parse_objective(f"{metric}.p{percentile:g}={limit_s!r}s"))}

    return Change(fields)


def supposing(**suppositions: Any) -> Change:
    """Suppositions at other values, those that are not named as they are; factors multiply nothing but inputs."""
    return Change(lambda scenario: {"suppose": scenario.suppose.dump() | suppositions})


def nic_rate(bytes_per_s: float) -> Change:
    """Each NIC of every machine at another line rate, on the network that it is on."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        own = re.match(r"\s*(\d+\s*x\s+)?([A-Za-z]\S*)?", scenario.network or "")
        ports, fabric = (own[1] or "", own[2] or "") if own else ("", "")
        return {"network": f"{ports}{fabric} {bytes_per_s!r} B/s".strip()}

    return Change(fields)


def fabric(name: str) -> Change:
    """Each NIC of every machine on a fabric of the catalog, as many ports as they are."""

    def fields(scenario: Scenario) -> Mapping[str, Any]:
        own = re.match(r"\s*(\d+\s*x\s+)", scenario.network or "")
        return {"network": f"{own[1] if own else ''}{name}"}

    return Change(fields)


def other_workload(name: str, share: float = 1.0) -> Change:
    """Another workload, wholly or as a share of the requests."""
    if share < 1.0:
        return supposing(mix={name: share})
    return setting(workload=name, workload_columns=None, prompt_output_ratio=None)
