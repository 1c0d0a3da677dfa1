"""A plan that was bought, under a problem that turned out otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.economics.energy import energy_cost_usd_per_hour, facility_power_w
from planner.planning.record import drawn_w
from planner.planning.search import Solution
from planner.pools.limits import ObjectiveName
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import Problem, configurations


def cost_by_machine(members: Sequence[Member], spares: int) -> dict[str, float]:
    """Cost of the machines of each type, spares of each pool included [USD/h]; NaN without a price."""
    found: dict[str, float] = {}
    for m in members:
        c = m.configuration
        price = c.price.usd_per_hour if c.price else math.nan
        found[c.machine.name] = found.get(c.machine.name, 0.0) + price * (m.count + spares)
    return found


def value_of(members: Sequence[Member], spares: int, objective: ObjectiveName) -> float:
    """What pools cost [USD/h], draw [W, rated or as when full], emit [kg/h] or count, spares of each included."""
    if objective == "cost":
        return math.fsum(cost_by_machine(members, spares).values())
    if objective == "carbon":
        return math.fsum(m.configuration.rated_carbon_kg_per_hour * (m.count + spares) for m in members)
    if objective == "energy":
        return math.fsum(m.configuration.full_draw_w[m.role] * (m.count + spares) for m in members)
    if objective == "power":
        return math.fsum(m.configuration.machine.rated_power_w * (m.count + spares) for m in members)
    return math.fsum(m.count + spares for m in members)


def electricity_usd_per_hour(solution: Solution, problem: Problem) -> float:
    """Electricity of a plan at its expected draw under a problem's load, the facility's share included [USD/h]."""
    members, routes = carried(solution, problem)
    drawn = drawn_w(problem, members, routes, problem.limits.spares)
    supply = problem.serving.electricity
    assert supply is not None  # `resolve` always looks it up
    total = 0.0
    for member, watts in zip(members, drawn, strict=True):
        machine = member.configuration.machine
        here = supply.at(machine.site)
        total += energy_cost_usd_per_hour(facility_power_w(machine, watts, here.pue), here.usd_per_kwh)
    return total


def carried(bought: Solution, problem: Problem) -> tuple[list[Member], list[Route]]:
    """A plan's machines under the load of a problem: roles, layouts and shares of the load as planned."""
    by_label = {c.label: c for c in configurations(problem)[0]}
    load = problem.need.rate_per_s / bought.rate_per_s
    members = [Member(m.role, by_label[m.configuration.label], m.count, m.rate_per_s * load) for m in bought.members]
    return members, [Route(r.first, r.second, r.rate_per_s * load) for r in bought.routes]


def misses(bought: Solution, problem: Problem) -> list[str]:
    """What a bought plan misses when the problem turns out to be this one; empty if it holds.

    Its machines stay in their roles and layouts, and share the load as they were planned to.
    """
    members, routes = carried(bought, problem)
    model = ClusterModel(members, routes, problem.need)
    found = [limit.objective.label for limit in problem.need.limits if not model.meets(limit)]
    for i, m in enumerate(members):
        if not problem.need.is_held_by(m.configuration, m.role):
            found.append(f"KV memory of {m.configuration.machine.name} {m.role}")
        elif not model.keeps_up(i):
            found.append(f"{m.configuration.machine.name} {m.role} falls behind")
    return found
