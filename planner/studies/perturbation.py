"""Inputs that differ from what was planned with: the one place where that becomes another problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from planner.catalog.catalog import Catalog
from planner.economics.energy import (
    ElectricitySupply,
    energy_cost_usd_per_hour,
    facility_power_w,
    rated_carbon_kg_per_hour,
)
from planner.planning.record import drawn_w
from planner.planning.search import Search, Solution, prepare_search
from planner.pools.candidate import Candidate
from planner.pools.prediction import ClusterModel, Member, Route
from planner.scenario.resolve import ModelErrors, Problem, configurations, resolve
from planner.scenario.scenario import Scenario, load_scenario


@dataclass(frozen=True)
class Perturbation:
    """Factors of inputs; 1 leaves an input as it is.

    Attributes
    ----------
    load : float
        Of the demand.
    model : ModelErrors
        Of prompts, outputs, the variability of arrivals, and the step times of each accelerator.
    prices : mapping of str to float
        Machine -> factor of its price.
    pue, electricity : float
        Of the PUE, which stops at 1, and of the price of electricity.
    carbon : mapping of str to float
        Region -> factor of what its electricity emits.
    """

    load: float = 1.0
    model: ModelErrors = ModelErrors()  # noqa: RUF009 - frozen
    prices: Mapping[str, float] = field(default_factory=dict)
    pue: float = 1.0
    electricity: float = 1.0
    carbon: Mapping[str, float] = field(default_factory=dict)

    def but_for_prices(self) -> Perturbation:
        """The same at the prices and the electricity planned with: capacities do not depend on them."""
        return Perturbation(self.load, self.model)

    def supply(self, problem: Problem) -> ElectricitySupply:
        """The electricity of a problem as the perturbation has it."""
        supply = problem.serving.electricity
        assert supply is not None  # `resolve` always looks it up
        return supply.scaled(pue=self.pue, usd_per_kwh=self.electricity, carbon=self.carbon)


def perturbed(scenario: Scenario, perturbation: Perturbation, catalog: Catalog) -> Problem:
    """The problem with everything but its prices as the perturbation has it."""
    scenario = load_scenario(scenario, rate_per_s=scenario.rate_per_s * perturbation.load)
    return resolve(scenario, catalog, errors=perturbation.model)


def repriced(search: Search, factors: Mapping[str, float], supply: ElectricitySupply | None = None) -> Search:
    """A prepared search at other prices and electricity; its capacity curves are taken over as they are."""
    if not factors and supply is None:
        return search

    def at_its_price(candidate: Candidate) -> Candidate:
        c = candidate.configuration
        if supply is not None:
            c = replace(c, rated_carbon_kg_per_hour=rated_carbon_kg_per_hour(c.machine, supply.at(c.machine.site)))
            candidate = replace(candidate, configuration=c)
        factor = factors.get(c.machine.name, 1.0)
        if c.price is None or factor == 1.0:
            return candidate
        price = c.price.model_copy(update={"usd_per_hour": c.price.usd_per_hour * factor})
        return replace(candidate, configuration=replace(c, price=price))

    posed = [(problem, [at_its_price(c) for c in candidates]) for problem, candidates in search.posed]
    return replace(search, posed=posed, homogeneous={})


def searched(problem: Problem) -> Search:
    """The problem with its candidates, without the comparisons that a report has beside its plan."""
    return replace(prepare_search(problem), homogeneous={})


def cost_usd_per_hour(solution: Solution, spares: int, factors: Mapping[str, float]) -> float:
    """Cost of what was bought, spares included, at prices times factors [USD/h]; NaN without a price."""
    prices = [
        (m.configuration.price.usd_per_hour if m.configuration.price else math.nan)
        * factors.get(m.configuration.machine.name, 1.0)
        for m in solution.members
    ]
    return math.fsum(price * (m.count + spares) for price, m in zip(prices, solution.members, strict=True))


def carbon_kg_per_hour(solution: Solution, spares: int, supply: ElectricitySupply) -> float:
    """What was bought emits at rated power, spares included [kg/h]: the objective `carbon`."""
    return math.fsum(
        rated_carbon_kg_per_hour(machine := m.configuration.machine, supply.at(machine.site)) * (m.count + spares)
        for m in solution.members
    )


def electricity_usd_per_hour(solution: Solution, problem: Problem, supply: ElectricitySupply) -> float:
    """Electricity of a plan at its expected draw under a problem's load, the facility's share included [USD/h]."""
    members, routes = carried(solution, problem)
    drawn = drawn_w(problem, members, routes, problem.limits.spares)
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
