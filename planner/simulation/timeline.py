"""How a simulation went over time, and how its latencies are distributed: what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.pools.prediction import Member
from planner.simulation.outcome import Outcome
from planner.simulation.report import DistributionReport, PoolTimeline, TimelineReport
from planner.simulation.summary import LATENCIES, Simulated, pooled, values_of

SHARES = (*(i / 100.0 for i in range(1, 100)), 0.995, 0.999, 0.9999)
_BUSY, _BATCH, _MEMORY = 0, 2, 4  # among the integrals of an outcome's samples


def distributions_of(simulated: Simulated) -> tuple[DistributionReport, ...]:
    """Quantiles of TTFT, TBT and E2E; of those far out only what the number of requests supports."""
    found = []
    for metric in LATENCIES:
        values = pooled(simulated, metric)
        if values.size:
            shares = tuple(s for s in SHARES if (1.0 - s) * values.size >= 1.0 or s <= 0.99)
            at = np.quantile(values, shares).tolist()
            found.append(DistributionReport(metric=metric, shares=shares, values_s=tuple(at)))
    return tuple(found)


def timeline_of(outcome: Outcome, members: Sequence[Member], seed: int) -> TimelineReport | None:
    """The timeline of a run that was sampled; None if it was not, or ended before the first sample."""
    edges = outcome.sample_s
    if edges.size < 2 or edges[1] <= 0.0:
        return None
    arrival = outcome.requests.arrival_s[: outcome.n_arrived]
    at = np.searchsorted(arrival, edges)
    at[-1] = arrival.size if outcome.n_arrived == len(outcome.requests) else at[-1]
    parts = [slice(a, b) for a, b in zip(at[:-1].tolist(), at[1:].tolist(), strict=True)]
    ttft = [_finite(values_of(outcome, "ttft", part)) for part in parts]
    queueing = [_finite(values_of(outcome, "queueing", part)) for part in parts]
    width = float(edges[1] - edges[0])
    grown = np.diff(outcome.samples, axis=0) / (width * outcome.pool_lanes[None, :, None])
    pools = [
        PoolTimeline(
            role=member.role, machine=member.configuration.machine.name,
            busy=tuple(grown[:, i, _BUSY].tolist()), batch=tuple(grown[:, i, _BATCH].tolist()),
            memory_used=tuple((grown[:, i, _MEMORY] / member.configuration.lane.kv_tokens).tolist()),
        )
        for i, member in enumerate(members)
    ]  # fmt: skip
    return TimelineReport(
        seed=seed, start_s=tuple(edges[:-1].tolist()), interval_s=width,
        arrivals_per_s=tuple(((at[1:] - at[:-1]) / width).tolist()),
        queueing_mean_s=tuple(float(v.mean()) if v.size else None for v in queueing),
        ttft_p50_s=tuple(float(np.quantile(v, 0.5)) if v.size else None for v in ttft),
        ttft_p99_s=tuple(float(np.quantile(v, 0.99)) if v.size else None for v in ttft),
        pools=tuple(pools),
    )  # fmt: skip


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
