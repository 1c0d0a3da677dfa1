"""What a network does to splitting: links that cannot carry the KV caches, and the bandwidth from which it pays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from planner.catalog.schema import Fabric
from planner.errors import InfeasibleError
from planner.planning.plan import PriceUsed
from planner.planning.sizing import Sizing, sizings
from planner.pools.configuration import Configuration
from planner.scenario.changes import fabric, nic_rate
from planner.scenario.resolve import Problem, changed, configurations
from planner.units import format_bandwidth, format_data, format_line_rate, format_time

UNLIMITED_BYTES_PER_S = 1e15
_MOST_FOR_NICS = 2.0  # a pool may be so many times what computation needs for the sake of its NICs, no more
_NIC_TOLERANCE = 0.01  # relative, to which bandwidths are found
_SLOWEST, _FASTEST = 1e6, 1e13  # NICs between which the one that is needed is looked for [bytes/s]


def links(problem: Problem) -> list[str]:
    """Fabrics of the catalog that have a line rate, by what one port achieves."""
    fabrics = [problem.catalog.fabric(name) for name in problem.catalog.names(Fabric)]
    rated = [f for f in fabrics if f.line_rate_bytes_per_s is not None]
    return [f.name for f in sorted(rated, key=lambda f: ((f.line_rate_bytes_per_s or 0.0) * f.efficiency, f.name))]


def check_links(problem: Problem, found: Sequence[Configuration]) -> None:
    """Refuse a design that only splits if the links between its pools cannot carry the KV caches.

    They cannot where no plan meets the objectives, though one would with links of unlimited bandwidth; and where a pool
    would have to be more than twice what the computation needs, so that most of its machines are bought for their NICs.

    Raises
    ------
    InfeasibleError
        With the bytes/s needed and available, and the least link of the catalog that carries them.
    """
    if problem.design.mixed or problem.scenario.objective == "throughput":
        return
    if not any(a.can_send_to(b) for a in found for b in found):
        return  # what is wrong is not the bandwidth
    free = _sized(changed(problem, nic_rate(UNLIMITED_BYTES_PER_S)))
    if cheapest(free, problem, prices_of(problem)) is None:
        return  # what is wrong is not the bandwidth
    short = _shortage(problem, free)
    if short is None:
        return
    nic = _least_nic(problem, free)
    link = next((n for n in links(problem) if _shortage(changed(problem, fabric(n)), free) is None), None)
    own = problem.serving.network
    ports = f"{own.n_nics} x " if own is not None and own.n_nics else ""
    option = f"--network '{ports}{link}'" if ports else f"--network {link}"
    ways = [] if link is None else [f"the least link of the catalog that does: {option}"]
    if nic is not None:
        ways.append(f"or {format_line_rate(nic)} a NIC on the same kind of network")
    ways.append("--design auto also looks at machines that do both phases")
    raise InfeasibleError(
        f"the network cannot carry the KV caches of the design {problem.design.name}",
        where="network",
        rule=short,
        fix="; ".join(ways),
    )


def _sized(problem: Problem) -> list[Sizing]:
    """Every design at its fewest machines; none where nothing serves."""
    try:
        return sizings(problem)
    except InfeasibleError:
        return []


def _shortage(problem: Problem, free: Sequence[Sizing]) -> str | None:
    """Why the links do not carry a plan of the problem; None if they do. `free`: the plans with unlimited links."""
    prices = prices_of(problem)
    best = cheapest(_sized(problem), problem, prices)
    unhindered = {s.design: s for s in sorted(free, key=lambda s: -s.value(problem.scenario.objective, prices))}
    if best is None:
        least = cheapest(free, problem, prices)
        assert least is not None  # else the links were not to blame
        return _too_late(problem, least)
    needed = problem.need.rate_per_s * bytes_per_request(problem)
    alone = unhindered.get(best.design)
    if alone is None:
        return None
    carried = [_carried(problem, p.machine, p.count - problem.limits.spares) for p in alone.pools]
    if all(needed <= _MOST_FOR_NICS * c * (1 + 1e-6) for c in carried):
        return None
    have = ", ".join(
        f"{format_bandwidth(c)} {'out of' if p.role == 'prefill' else 'into'} {p.count} x {p.machine} {p.role}"
        for p, c in zip(alone.pools, carried, strict=True)
    )
    return (
        f"{problem.need.rate_per_s:g} requests/s x {format_data(bytes_per_request(problem))} need "
        f"{format_bandwidth(needed)}; the machines that the computation needs carry {have}"
    )


def _too_late(problem: Problem, plan: Sizing) -> str:
    """What a transfer takes where it breaks the objectives."""
    sizes = problem.need.traffic.sizes
    tokens = sizes.quantile("prompt", 0.99)
    share = min(_carried(problem, p.machine, 1) for p in plan.pools)
    size = tokens * bytes_per_request(problem) / sizes.mean_prompt_tokens
    after = [x for x in problem.need.limits if x.objective.metric != "ttft"]  # a transfer delays the second token
    objectives = ", ".join(f"{x.objective.label} <= {x.objective.limit_label}" for x in after)
    return (
        f"the KV cache of a p99 prompt ({tokens:,.0f} tokens), {format_data(size)}, takes {format_time(size / share)} "
        f"or more at the {format_bandwidth(share)} that a machine achieves; too late for {objectives}"
    )


def _least_nic(problem: Problem, free: Sequence[Sizing]) -> float | None:
    """Least line rate of each NIC that carries the design [bytes/s], to 1 %; None if none does."""
    low, high = _SLOWEST, _FASTEST
    if _shortage(changed(problem, nic_rate(high)), free) is not None:
        return None
    while high / low > 1 + _NIC_TOLERANCE:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _shortage(changed(problem, nic_rate(middle)), free) is None else (middle, high)
    return high


def bytes_per_request(problem: Problem) -> float:
    """KV cache of a mean prompt [bytes]."""
    found, _ = configurations(problem)
    return problem.need.traffic.sizes.mean_prompt_tokens * found[0].kv_bytes_per_token


def _carried(problem: Problem, machine: str, count: int) -> float:
    """What the NICs of so many machines carry, each way [bytes/s]."""
    found, _ = configurations(problem)
    return count * next(c.network_bytes_per_s for c in found if c.machine.name == machine)


def prices_of(problem: Problem) -> dict[str, float]:
    """Prices of the machines considered, as far as a book lists them [USD/h]."""
    found = {m.name: problem.catalog.price_of(m.catalog_name, problem.scenario.prices) for m in problem.machines}
    return {name: price.usd_per_hour for name, price in found.items() if price is not None}


def prices_used(problem: Problem, machines: Collection[str] | None = None) -> list[PriceUsed]:
    """The same with their dates and sources, by machine: of all machines considered, or of some."""
    found = {m.name: problem.catalog.price_of(m.catalog_name, problem.scenario.prices) for m in problem.machines}
    return [
        PriceUsed(machine=name, **price.model_dump())
        for name, price in sorted(found.items())
        if price is not None and (machines is None or name in machines)
    ]


def cheapest(found: Sequence[Sizing], problem: Problem, prices: Mapping[str, float]) -> Sizing | None:
    """Best of several plans within the limits, by the scenario's objective; None where there is none."""
    objective = problem.scenario.objective
    allowed = [s for s in found if s.within(problem.limits, prices)]
    return min(allowed, key=lambda s: (s.value(objective, prices), len(s.pools), s.power_w, s.design), default=None)
