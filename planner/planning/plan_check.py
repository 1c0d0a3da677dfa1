"""Whether a plan that was read from a file agrees with itself: what a buyer signs must add up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from planner.planning.plan import HOURS_PER_MONTH, Plan
from planner.scenario.scenario import Scenario

_TOLERANCE = 1e-6  # of sums and products of numbers that were printed whole


@dataclass(frozen=True)
class Fault:
    """A figure that contradicts the others of its plan.

    Attributes
    ----------
    path : tuple
        Where in the plan it is.
    what : str
    value : object
        As it stands there.
    rule : str
        What it must be.
    """

    path: tuple[str | int, ...]
    what: str
    value: object
    rule: str


def faults(plan: Plan) -> Iterator[Fault]:
    """Yield what contradicts itself: numbers that are not finite, wrong signs, sums, products and verdicts."""
    found = [*_not_finite(plan.model_dump(), ()), *_signs(plan), *_types(plan)]
    yield from found
    if not found:  # sums of such numbers say nothing more
        yield from _sums(plan)
        yield from _prices(plan)
        yield from _verdicts(plan)


def _not_finite(value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Fault(path, "not a finite number", value, "figures of a plan are finite")
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _not_finite(below, (*path, key))
    elif isinstance(value, list):
        for n, below in enumerate(value):
            yield from _not_finite(below, (*path, n))


def _types(plan: Plan) -> Iterator[Fault]:
    """What was asked, in the types in which a scenario is printed: tables and pages compute with it."""
    given = {name: value for name, value in plan.scenario.items() if name in Scenario.model_fields}
    try:
        printed = Scenario.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        for told in error.errors(include_url=False):
            yield Fault(("scenario", *told["loc"]), "not what a scenario has there", told["input"], told["msg"])
        return
    for name, value in given.items():
        if _kind(value) != _kind(printed[name]):
            yield Fault(("scenario", name), "not as a scenario is printed", value, f"as in {printed[name]!r}")


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _signs(plan: Plan) -> Iterator[Fault]:
    def at_least(path: tuple[str | int, ...], value: float | None, least: float, *, open_: bool = False) -> Any:
        if value is not None and (value < least or (open_ and value == least)):
            yield Fault(path, "an impossible figure", value, f"{'above' if open_ else 'at least'} {least:g}")

    yield from at_least(("machines",), plan.machines, 1)
    for name in ("demand_rate_per_s", "rate_per_s", "mean_prompt_tokens", "mean_output_tokens", "power_w"):
        yield from at_least((name,), getattr(plan, name), 0.0, open_=True)
    for name in ("cost_usd_per_hour", "cost_usd_per_month", "cost_usd_per_million_tokens", "expected_power_w",
                 "rack_units", "headroom", "prompt_tokens_per_hour", "output_tokens_per_hour"):  # fmt: skip
        yield from at_least((name,), getattr(plan, name), 0.0)
    for n, pool in enumerate(plan.pools):
        yield from at_least(("pools", n, "count"), pool.count, 1)
        yield from at_least(("pools", n, "spares"), pool.spares, 0)
        yield from at_least(("pools", n, "power_w"), pool.power_w, 0.0, open_=True)
        for name in ("cost_usd_per_hour", "rate_per_s", "expected_power_w", "utilisation", "capacity_per_s"):
            yield from at_least(("pools", n, name), getattr(pool, name), 0.0)
    for list_name in ("prices", "alternative_prices"):
        for n, price in enumerate(getattr(plan, list_name)):
            yield from at_least((list_name, n, "usd_per_hour"), price.usd_per_hour, 0.0, open_=True)
            yield from at_least((list_name, n, "usd_per_unit"), price.usd_per_unit, 0.0, open_=True)
    for n, other in enumerate(plan.alternatives):
        yield from at_least(("alternatives", n, "cost_usd_per_hour"), other.cost_usd_per_hour, 0.0)
        yield from at_least(("alternatives", n, "machines"), other.machines, 1)
        for machine, count in other.counts.items():
            yield from at_least(("alternatives", n, "counts", machine), count, 1)


def _agrees(value: float, wanted: float) -> bool:
    return math.isclose(value, wanted, rel_tol=_TOLERANCE, abs_tol=1e-9)


def _sums(plan: Plan) -> Iterator[Fault]:
    def sum_of(name: str, wanted: float | None, rule: str) -> Iterator[Fault]:
        value = getattr(plan, name)
        if (value is None) != (wanted is None) or (value is not None and not _agrees(value, wanted or 0.0)):
            shown = "none" if wanted is None else f"{wanted:,.10g}"
            yield Fault((name,), "a figure that disagrees with the others", value, f"{rule}: {shown}")

    costs = [pool.cost_usd_per_hour for pool in plan.pools]
    cost = None if None in costs else math.fsum(c for c in costs if c is not None)
    yield from sum_of("machines", sum(p.count + p.spares for p in plan.pools), "counts and spares of the pools")
    yield from sum_of("cost_usd_per_hour", cost, "the sum of its pools")
    yield from sum_of("cost_usd_per_month", None if cost is None else cost * HOURS_PER_MONTH, "730 hours of that")
    yield from sum_of("power_w", math.fsum(p.power_w for p in plan.pools), "the sum of its pools")
    yield from sum_of("expected_power_w", math.fsum(p.expected_power_w for p in plan.pools), "the sum of its pools")
    per_hour = plan.rate_per_s * 3600.0
    tokens = per_hour * (plan.mean_prompt_tokens + plan.mean_output_tokens)
    yield from sum_of(
        "cost_usd_per_million_tokens", None if cost is None else cost / tokens * 1e6, "cost an hour over tokens an hour"
    )
    for name, mean in (("prompt", plan.mean_prompt_tokens), ("output", plan.mean_output_tokens)):
        if getattr(plan, f"{name}_tokens_per_hour") is not None:
            yield from sum_of(f"{name}_tokens_per_hour", per_hour * mean, "the rate times the mean of a request")
    for n, other in enumerate(plan.alternatives):
        if sum(other.counts.values()) != other.machines:
            yield Fault(("alternatives", n, "machines"), "a figure that disagrees with the others", other.machines,
                        f"the sum of its counts: {sum(other.counts.values())}")  # fmt: skip


def _prices(plan: Plan) -> Iterator[Fault]:
    price_of = {p.machine: p.usd_per_hour for p in plan.prices}
    for n, pool in enumerate(plan.pools):
        price = price_of.get(pool.machine)
        if pool.cost_usd_per_hour is None:
            continue
        if price is None:
            yield Fault(("pools", n, "machine"), "a machine that the plan has no price of", pool.machine,
                        f"it has prices of {', '.join(sorted(price_of)) or 'none'}")  # fmt: skip
        elif not _agrees(pool.cost_usd_per_hour, (pool.count + pool.spares) * price):
            yield Fault(("pools", n, "cost_usd_per_hour"), "a figure that disagrees with the others",
                        pool.cost_usd_per_hour, f"{pool.count + pool.spares} x {price:,.10g} USD/h")  # fmt: skip
    all_prices = price_of | {p.machine: p.usd_per_hour for p in plan.alternative_prices}
    for n, other in enumerate(plan.alternatives):
        if other.cost_usd_per_hour is not None and all(machine in all_prices for machine in other.counts):
            wanted = math.fsum(count * all_prices[machine] for machine, count in other.counts.items())
            if not _agrees(other.cost_usd_per_hour, wanted):
                yield Fault(("alternatives", n, "cost_usd_per_hour"), "a figure that disagrees with the others",
                            other.cost_usd_per_hour, f"counts times prices: {wanted:,.10g}")  # fmt: skip


def _verdicts(plan: Plan) -> Iterator[Fault]:
    for n, p in enumerate(plan.predicted):
        if p.met and (p.predicted is None or p.predicted > p.limit * (1.0 + _TOLERANCE)):
            yield Fault(("predicted", n, "met"), "an objective said to be met", p.met,
                        f"{p.objective} is predicted at {p.predicted}")  # fmt: skip
    simulated = plan.certificate.objectives if plan.certificate is not None else []
    judged = simulated or plan.predicted
    missed = [o.objective for o in judged if not o.met]
    if plan.meets_objectives and missed:
        yield Fault(("meets_objectives",), "a verdict that the plan contradicts", True, f"missed: {', '.join(missed)}")
    if not plan.meets_objectives and simulated and not missed:
        yield Fault(("meets_objectives",), "a verdict that the plan contradicts", False,
                    "every objective is met in simulation")  # fmt: skip
