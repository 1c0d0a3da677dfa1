"""What a fleet uses of each site, and what leaves it."""

from __future__ import annotations

import math

from planner.optimization.portfolio_answer import at_once
from planner.portfolio.requests import mean_requests_of, rates_of
from planner.portfolio.result import PurchaseLine, SiteUse
from planner.portfolio.sites import egress_usd_per_request, least_egress_usd, place_of, places_of
from planner.portfolio.solving import FleetSolution

Flow = tuple[str, int, str, float]  # site, period, workload, requests expected in it


def flows_of(solution: FleetSolution) -> list[Flow]:
    """Requests of each workload that each site is expected to serve in each period; none of a fleet without sites."""
    if not solution.fleet.sites:
        return []
    index = {id(period): t for t, period in enumerate(solution.periods)}
    found: dict[tuple[str, int, str], float] = {}
    for served in solution.served:
        t = index[id(served.period)]
        total = math.fsum(route.rate_per_s for route in served.routes)
        for name, rate in rates_of(served).items():
            for route in served.routes:
                site = place_of(served.members[route.first].configuration.machine.name)
                requests = 3600.0 * solution.given.spans[t].hours * rate * route.rate_per_s / total
                found[site, t, name] = found.get((site, t, name), 0.0) + requests
    # Machines are for the busiest hour of a period; what is paid for what leaves is on the mean.
    planned: dict[str, float] = {}
    for (_, _, name), requests in found.items():
        planned[name] = planned.get(name, 0.0) + requests
    expected = {name: mean_requests_of(solution, name) for name in planned}
    return [(site, t, name, n * expected[name] / planned[name]) for (site, t, name), n in sorted(found.items())]


def egress_by_months(solution: FleetSolution) -> list[tuple[float, float, float]]:
    """From month, to month, and what leaves all sites between them costs [USD]."""
    found = []
    for site, t, name, requests in flows_of(solution):
        stage = solution.stages[solution.periods[t].stage]
        usd = requests * egress_usd_per_request(solution.fleet, name, site)
        if usd:
            found.append((stage.first_month, stage.last_month, usd))
    return found


def least_egress(solution: FleetSolution) -> float:
    """What leaves costs at the least, wherever requests are served [USD]."""
    names = solution.fleet.workloads
    return least_egress_usd(solution.fleet, {name: mean_requests_of(solution, name) for name in names})


def sites_of(solution: FleetSolution, lines: list[PurchaseLine]) -> list[SiteUse]:
    """Every site of the fleet with what stands there and what it serves."""
    given, flows = solution.given, flows_of(solution)
    found = []
    for name, place in places_of(solution.fleet, solution.catalog).items():
        if not name:
            continue
        counts = [
            {m: n for m, n in at_once(given, solution.portfolio, t).items() if place_of(m) == name}
            for t in range(len(given.spans))
        ]
        egress = math.fsum(
            n * egress_usd_per_request(solution.fleet, workload, name) for site, _, workload, n in flows if site == name
        )
        requests: dict[str, float] = {}
        for site, _, workload, n in flows:
            if site == name:
                requests[workload] = requests.get(workload, 0.0) + n
        facts = given.machines
        found.append(
            SiteUse(
                site=name,
                machines=max(sum(had.values()) for had in counts),
                power_w=max(math.fsum(facts[m].rated_power_w * n for m, n in had.items()) for had in counts),
                rack_units=max(sum(facts[m].rack_units * n for m, n in had.items()) for had in counts),
                electricity_usd_per_kwh=place.assumptions.electricity_usd_per_kwh,
                pue=place.assumptions.pue,
                cost_usd=math.fsum(line.cost_usd for line in lines if line.site == name) + egress,
                egress_usd=egress,
                requests=requests,
            )
        )
    return found
