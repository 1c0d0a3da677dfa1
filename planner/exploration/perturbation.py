"""Inputs that differ from what was planned with: the one place where that becomes another problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from planner.catalog.catalog import Catalog
from planner.fleet.candidate import Candidate
from planner.fleet.prediction import ClusterModel, Member, Route
from planner.planning import Search, Solution, prepare_search
from planner.problem import ModelErrors, Problem, configurations, resolve
from planner.scenario import Scenario, load_scenario


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
    """

    load: float = 1.0
    model: ModelErrors = ModelErrors()  # noqa: RUF009 - frozen
    prices: Mapping[str, float] = field(default_factory=dict)

    def but_for_prices(self) -> Perturbation:
        """The same at the prices planned with: capacities do not depend on them."""
        return replace(self, prices={})


def perturbed(scenario: Scenario, perturbation: Perturbation, catalog: Catalog) -> Problem:
    """The problem with everything but its prices as the perturbation has it."""
    scenario = load_scenario(scenario, rate_per_s=scenario.rate_per_s * perturbation.load)
    return resolve(scenario, catalog, errors=perturbation.model)


def repriced(search: Search, factors: Mapping[str, float]) -> Search:
    """A prepared search at other prices; its capacity curves are taken over as they are."""
    if not factors:
        return search

    def at_its_price(candidate: Candidate) -> Candidate:
        c = candidate.configuration
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


def misses(bought: Solution, problem: Problem) -> list[str]:
    """What a bought plan misses when the problem turns out to be this one; empty if it holds.

    Its machines stay in their roles and layouts, and share the load as they were planned to.
    """
    by_label = {c.label: c for c in configurations(problem)[0]}
    load = problem.need.rate_per_s / bought.rate_per_s
    members = [Member(m.role, by_label[m.configuration.label], m.count, m.rate_per_s * load) for m in bought.members]
    routes = [Route(r.first, r.second, r.rate_per_s * load) for r in bought.routes]
    model = ClusterModel(members, routes, problem.need)
    found = [limit.objective.label for limit in problem.need.limits if not model.meets(limit)]
    for i, m in enumerate(members):
        if not problem.need.is_held_by(m.configuration, m.role):
            found.append(f"KV memory of {m.configuration.machine.name} {m.role}")
        elif not model.keeps_up(i):
            found.append(f"{m.configuration.machine.name} {m.role} falls behind")
    return found
