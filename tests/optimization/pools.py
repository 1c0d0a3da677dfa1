"""Small made-up candidates, and the best plan among them by trying every vector of counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from planner.optimization.selection import Selection
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits
from planner.serving.capacity import CapacityCurve

TIGHT = 1e-6


def candidate(
    key: str,
    rates: Sequence[float] | Callable[[np.ndarray], np.ndarray],
    *,
    price: float = 1.0,
    power: float = 1000.0,
    machine: str | None = None,
    sources: tuple[str, ...] = (),
    known: Sequence[int] | None = None,
) -> Candidate:
    """A candidate whose role is the first part of its key.

    `rates` are those of 1, 2, 3 ... machines (the last one holds from there on), or a function of counts; `known` are
    the counts that its first curve has.
    """
    role = key.split("/")[0]
    fake: Any = SimpleNamespace(
        machine=SimpleNamespace(
            name=machine or key.split("/")[1], rated_power_w=power, rack_units=2 + int(power) // 700 % 7
        ),
        price=SimpleNamespace(usd_per_hour=price),
        layout=SimpleNamespace(label=key, lanes_per_machine=1),
        label=key,
    )

    def compute(n: np.ndarray) -> CapacityCurve:
        n = np.asarray(n, dtype=np.int64)
        if callable(rates):
            return CapacityCurve(n, np.asarray(rates(n), dtype=float))
        table = np.asarray(rates, dtype=float)
        return CapacityCurve(n, table[np.minimum(n, table.size) - 1])

    first = np.array(known if known is not None else range(1, 1 + (12 if callable(rates) else len(rates))))
    return Candidate(key, role, fake, tuple(sources), compute(first), compute)  # type: ignore[arg-type]


def pooled(most: float, loss: float) -> Callable[[np.ndarray], np.ndarray]:
    """The convex curve of pooling: max(0, most k - loss sqrt(k))."""
    return lambda n: np.maximum(0.0, most * n - loss * np.sqrt(n))


def carried(pools: Sequence[tuple[Candidate, int]]) -> float:
    """Largest rate of pools with these counts, by Hall's condition on their bipartite graph.

    Mixed pools add up. Of the split ones, the flow that prefill pools can send to decode pools is the least, over all
    sets S of prefill pools, of the capacity outside S and that of the decode pools which S reaches.
    """
    capacity = {c.key: float(c.compute(np.array([n])).rate_per_s[0]) for c, n in pools if n > 0}
    total = sum(capacity[c.key] for c, n in pools if n > 0 and c.role == "mixed")
    prefill = [c for c, n in pools if n > 0 and c.role == "prefill"]
    decode = [c for c, n in pools if n > 0 and c.role == "decode"]
    flow = math.inf
    for size in range(len(prefill) + 1):
        for chosen in itertools.combinations(prefill, size):
            keys = {c.key for c in chosen}
            outside = sum(capacity[c.key] for c in prefill if c.key not in keys)
            flow = min(flow, outside + sum(capacity[d.key] for d in decode if keys & set(d.sources)))
    return total + (flow if prefill else 0.0)


def is_allowed(pools: Sequence[tuple[Candidate, int]], limits: Limits) -> bool:
    """Whether pools respect the limits; written apart from the planner's own check."""
    used = [(c, n + limits.spares) for c, n in pools if n > 0]
    cost = sum(c.configuration.price.usd_per_hour * n for c, n in used)  # type: ignore[union-attr]
    power = sum(c.configuration.machine.rated_power_w * n for c, n in used)
    if limits.max_cost_usd_per_hour is not None and cost > limits.max_cost_usd_per_hour + 1e-9:
        return False
    if limits.max_power_w is not None and power > limits.max_power_w + 1e-6:
        return False
    if limits.max_total_machines is not None and sum(n for _, n in used) > limits.max_total_machines:
        return False
    units = [(c.configuration.machine.rack_units or 0) * n for c, n in used]
    if limits.max_rack_units is not None and sum(units) > limits.max_rack_units:
        return False
    if limits.max_pools is not None and len(used) > limits.max_pools:
        return False
    for name, most in limits.max_machines.items():
        if sum(n for c, n in used if c.configuration.machine.name == name) > most:
            return False
    return True


@dataclass(frozen=True)
class Best:
    """The best plan by exhaustion."""

    value: float
    counts: dict[str, int]


def measured(pools: Sequence[tuple[Candidate, int]], objective: str, limits: Limits) -> float:
    """Objective of pools, spares included."""
    used = [(c, n + limits.spares) for c, n in pools if n > 0]
    if objective == "cost":
        return sum(c.configuration.price.usd_per_hour * n for c, n in used)  # type: ignore[union-attr]
    if objective == "power":
        return sum(c.configuration.machine.rated_power_w * n for c, n in used)
    return float(sum(n for _, n in used))


def exhaustion(
    candidates: Sequence[Candidate], rate_per_s: float, objective: str, limits: Limits, most: int
) -> Best | None:
    """The best of all plans with 0..most machines of each candidate; None if there is none."""
    best: Best | None = None
    for counts in itertools.product(range(most + 1), repeat=len(candidates)):
        pools = [(c, n) for c, n in zip(candidates, counts, strict=True) if n]
        if not pools or not is_allowed(pools, limits):
            continue
        rate = carried(pools)
        if objective == "throughput":
            better = rate > 0 and (best is None or rate > best.value)
            value = rate
        else:
            value = measured(pools, objective, limits)
            better = rate >= rate_per_s * (1 - 1e-9) and (best is None or value < best.value)
        if better:
            best = Best(value, {c.key: n for c, n in pools})
    return best


def faults(
    selection: Selection, candidates: Sequence[Candidate], rate_per_s: float, objective: str, limits: Limits
) -> list[str]:
    """What is wrong with an answer, recomputed from the raw curves."""
    by_key = {c.key: c for c in candidates}
    pools = [(by_key[k], n) for k, n in selection.counts.items()]
    found = [] if is_allowed(pools, limits) else ["limits"]
    served = sum(selection.flows_per_s.values())
    wanted = selection.objective if objective == "throughput" else rate_per_s
    if abs(served - wanted) > TIGHT * wanted:
        found.append(f"serves {served}, not {wanted}")
    for (first, second), rate in selection.flows_per_s.items():
        if rate < -TIGHT or first not in selection.counts or (second is not None and second not in selection.counts):
            found.append(f"flow {first} -> {second}")
        if (by_key[first].role == "mixed") != (second is None):
            found.append(f"roles of {first} -> {second}")
        if second is not None and first not in by_key[second].sources:
            found.append(f"{second} does not take from {first}")
    for c, n in pools:
        load = sum(rate for way, rate in selection.flows_per_s.items() if c.key in way)
        capacity = float(c.compute(np.array([n])).rate_per_s[0])
        if load > capacity * (1 + 5 * TIGHT):
            found.append(f"{c.key} carries {load} > {capacity}")
    if objective != "throughput":
        value = measured(pools, objective, limits)
        if abs(value - selection.objective) > TIGHT * value:
            found.append(f"objective {selection.objective}, not {value}")
    sign = -1 if objective == "throughput" else 1
    if sign * (selection.bound - selection.objective) > TIGHT * abs(selection.objective):
        found.append(f"bound {selection.bound} is beaten by {selection.objective}")
    return found
