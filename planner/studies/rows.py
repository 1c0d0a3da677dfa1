"""Parts of a plan that rows of tables are made of."""

from __future__ import annotations

from collections.abc import Sequence

from planner.planning.plan import Plan, PriceUsed

ROLES = ("prefill", "decode", "mixed")


def pool_counts(plan: Plan | None) -> dict[str, int | None]:
    """Machines by role, spares included; None without a plan."""
    if plan is None:
        return dict.fromkeys(ROLES)
    return {role: sum(p.count + p.spares for p in plan.pools if p.role == role) for role in ROLES}


def pools_text(plan: Plan | None) -> str | None:
    """`27 x dgx-h100 prefill + 3 x dgx-h100 decode`, spares included."""
    if plan is None:
        return None
    return " + ".join(f"{p.count + p.spares} x {p.machine} {p.role}" for p in plan.pools)


def used_prices(plans: Sequence[Plan]) -> list[PriceUsed]:
    """Prices that any of the plans rests on, by machine."""
    used = {price.machine: price for plan in plans for price in plan.prices}
    return [used[name] for name in sorted(used)]


def latencies(plan: Plan) -> dict[str, float | None]:
    """Percentiles as `ttft_p50_s` and the like: simulated where the plan was, else predicted."""
    simulated = plan.certificate.percentiles if plan.certificate is not None else []
    if simulated:
        return {f"{p.metric}_{name}": getattr(p, name).value for p in simulated for name in _PERCENTILES}
    return {f"{p.metric}_{name}": getattr(p, name) for p in plan.percentiles for name in _PERCENTILES}


_PERCENTILES = ("p50_s", "p90_s", "p99_s")


def slacks(plan: Plan) -> list[tuple[str, float]]:
    """Slack of each objective, 1 - latency / limit: simulated where the plan was, else predicted."""
    values = [p.predicted for p in plan.predicted]
    if plan.certificate is not None and plan.certificate.objectives:
        values = [o.simulated.value for o in plan.certificate.objectives]
    return [
        (p.objective, 1.0 - value / p.limit)
        for p, value in zip(plan.predicted, values, strict=True)
        if value is not None
    ]
