"""What an event loop works out before it starts: NICs, ways of requests, and requests that nothing can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from planner.simulation.arrivals import Requests
from planner.simulation.specification import LaneSpec, Way, Wire


def tokens_per_sent(lanes: Sequence[LaneSpec], wires: Mapping[tuple[int, int], Wire]) -> list[float]:
    """Prompt tokens that each lane computes while its NICs send the KV cache of one; none where nothing is sent."""
    sent_s: dict[int, float] = {}
    for (source, _), wire in wires.items():
        sent_s[source] = max(sent_s.get(source, 0.0), wire.bytes_per_token / wire.bandwidth_bytes_per_s)
    found = []
    for spec in lanes:
        tokens = spec.token_budget
        computed_s = spec.table.prefill_s(tokens, tokens * (tokens + 1.0) / 2.0, 1) / tokens
        found.append(sent_s.get(spec.pool, 0.0) / computed_s)
    return found if sent_s else []


def nics_of(lanes: Sequence[LaneSpec]) -> tuple[list[int], list[float]]:
    """Index of the NICs of each lane, and what those of each index carry [bytes/s]."""
    nics = {key: n for n, key in enumerate(sorted({nic_of(spec) for spec in lanes}))}
    nic = [nics[nic_of(spec)] for spec in lanes]
    carries = {n: spec.nic_bytes_per_s for n, spec in zip(nic, lanes, strict=True)}
    return nic, [carries[n] for n in range(len(nics))]


def nic_of(spec: LaneSpec) -> tuple[int, int]:
    """What names the NICs of a lane: their index, or the machine's."""
    return (0, spec.machine) if spec.nic is None else (1, spec.nic)


def choose_ways(ways: Sequence[Way], n: int, seed: int) -> np.ndarray | None:
    """Index of the way of each request; None if there is but one."""
    if len(ways) == 1:
        return None
    weights = np.array([weight for *_, weight in ways], dtype=float)
    rng = np.random.default_rng(seed)
    return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(n), side="right").astype(np.int16)


def too_large(
    lanes: Sequence[LaneSpec], ways: Sequence[Way], way_of: np.ndarray | None, requests: Requests, overflow: bool
) -> np.ndarray:
    """Requests that the smallest lane on their way could never hold."""
    whole = requests.prompt_tokens + requests.output_tokens
    bad = np.zeros(len(requests), dtype=bool)
    for index, (first, second, _) in enumerate(ways):
        room = min(spec.kv_tokens for spec in lanes if spec.pool == first)
        if second is None:
            over = whole > room
        else:
            other = min(spec.kv_tokens for spec in lanes if spec.pool == second)
            # One token is not decoded elsewhere.
            alone = requests.output_tokens == 1
            over = np.where(alone, whole > room, (requests.prompt_tokens > room) | (whole > other))
        bad |= over if way_of is None else over & (way_of == index)
    return np.flatnonzero(bad)
