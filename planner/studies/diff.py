"""What changed from one plan to another: input, catalog, pools, cost and percentiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from planner.planning.certificate import Result
from planner.planning.plan import Plan
from planner.planning.plan_file import read_plan
from planner.studies.head import Study

PlanLike = Plan | str | os.PathLike[str]
DIFFERENCE_SCHEMA_VERSION = "1.0"
_SAME = 1e-9
_FIGURES = (
    "cost_usd_per_hour", "cost_usd_per_million_tokens", "power_w", "expected_power_w", "machines", "accelerators",
    "rack_units", "rate_per_s", "headroom", "step_time_error",
)  # fmt: skip


class Changed(Result):
    """One thing that is otherwise in the second plan."""

    part: Literal["input", "catalog", "price", "pool", "figure", "percentile", "objective", "proof"] = Field(
        description="Part of a plan that it is of."
    )
    name: str
    before: Any = Field(description="Value in the first plan; null where it has none.")
    after: Any = Field(description="Value in the second plan; null where it has none.")
    relative: float | None = Field(default=None, description="after / before - 1, of numbers.")


class Difference(Study):
    """Two plans, and all that is otherwise in the second."""

    schema_version: str = DIFFERENCE_SCHEMA_VERSION
    before: str = Field(description="First plan in words.")
    after: str = Field(description="Second plan in words.")
    changes: list[Changed]

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict a change: rows for a spreadsheet."""
        return [change.model_dump() for change in self.changes]


def diff(before: PlanLike, after: PlanLike) -> Difference:
    """Say what changed from one plan to another.

    Parameters
    ----------
    before, after : Plan, or path of one in JSON

    Returns
    -------
    Difference
        Nothing that is the same; changes of input first, then of what follows from them.

    Raises
    ------
    InputError
        A file that is no plan.
    """
    first, second = (p if isinstance(p, Plan) else read_plan(p) for p in (before, after))
    return Difference(
        catalog_digest=second.catalog_digest,
        verified=second.verified,
        before=_words(first),
        after=_words(second),
        changes=[c for c in _changes(first, second) if not _same(c.before, c.after)],
    )


def _words(plan: Plan) -> str:
    pools = " + ".join(f"{p.count + p.spares:,} x {p.machine} {p.role}" for p in plan.pools)
    return f"{plan.design} for {plan.model}, {plan.workload} at {plan.rate_per_s:.4g} requests/s: {pools}"


def _changes(first: Plan, second: Plan) -> Iterator[Changed]:
    for name in sorted({*first.scenario, *second.scenario}):
        yield _changed("input", name, first.scenario.get(name), second.scenario.get(name))
    yield _changed("catalog", "planner version", first.planner_version, second.planner_version)
    yield _changed("catalog", "digest", first.catalog_digest, second.catalog_digest)
    prices = [{p.machine: p for p in [*plan.prices, *plan.alternative_prices]} for plan in (first, second)]
    for machine in sorted(set(prices[0]) & set(prices[1])):
        yield _changed("price", machine, *(known[machine].usd_per_hour for known in prices))
        yield _changed("price", f"{machine} book", *(f"{k[machine].book} ({k[machine].date})" for k in prices))
    pools = [_pools(plan) for plan in (first, second)]
    for name in sorted(set(pools[0]) | set(pools[1])):
        yield _changed("pool", name, pools[0].get(name), pools[1].get(name))
    for name in _FIGURES:
        yield _changed("figure", name, getattr(first, name), getattr(second, name))
    figures = [_percentiles(plan) for plan in (first, second)]
    for name in sorted(set(figures[0]) | set(figures[1])):
        yield _changed("percentile", name, figures[0].get(name), figures[1].get(name))
    met = [_objectives(plan) for plan in (first, second)]
    for name in sorted(set(met[0]) | set(met[1])):
        yield _changed("objective", name, met[0].get(name), met[1].get(name))
    yield _changed("proof", "status", first.solver.status, second.solver.status)
    yield _changed("proof", "simulated", first.verified, second.verified)


def _pools(plan: Plan) -> dict[str, str]:
    """Role, machine and layout -> machines, those that are alike together."""
    counts: dict[str, tuple[int, int]] = {}
    for p in plan.pools:
        name = f"{p.role} {p.machine} {p.layout}"
        count, spares = counts.get(name, (0, 0))
        counts[name] = (count + p.count, spares + p.spares)
    return {name: f"{n:,}{f' + {spares:,} spare' if spares else ''}" for name, (n, spares) in counts.items()}


def _percentiles(plan: Plan) -> dict[str, float | None]:
    """Percentiles of each latency [s], simulated where they were."""
    if plan.certificate and plan.certificate.percentiles:
        simulated = plan.certificate.percentiles
        return {f"{r.metric} {p}": getattr(r, f"{p}_s").value for r in simulated for p in ("p50", "p90", "p99")}
    return {f"{r.metric} {p}": getattr(r, f"{p}_s") for r in plan.percentiles for p in ("p50", "p90", "p99")}


def _objectives(plan: Plan) -> dict[str, str]:
    simulated = {o.objective: o.met for o in plan.certificate.objectives} if plan.certificate else {}
    return {p.objective: "met" if simulated.get(p.objective, p.met) else "missed" for p in plan.predicted}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(before: Any, after: Any) -> bool:
    if _is_number(before) and _is_number(after):
        return bool(abs(before - after) <= _SAME * max(abs(before), abs(after)))
    return bool(before == after)


def _changed(part: Any, name: str, before: Any, after: Any) -> Changed:
    relative = after / before - 1.0 if _is_number(before) and _is_number(after) and before else None
    return Changed(part=part, name=name, before=before, after=after, relative=relative)
