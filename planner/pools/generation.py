"""Which pools are worth offering to the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from planner.pools.candidate import (
    Candidate,
    Requirement,
    decode_candidate,
    mixed_candidate,
    needs_end_to_end,
    prefill_candidate,
    stable_rate_of_one,
)
from planner.pools.configuration import Configuration
from planner.pools.design import Design
from planner.serving.decode import DecodeQueue
from planner.serving.mixed import MixedQueue
from planner.serving.prefill import PrefillQueue
from planner.serving.requests import Lane

# End-to-end limits share time between the phases. Prefill pools are therefore also offered less busy than their own
# objective allows, so that decode pools may be slower.
_BUSY_GRADES = (0.8, 0.65, 0.5)


def generate(
    configurations: Sequence[Configuration],
    need: Requirement,
    design: Design,
    top_rate_per_s: float,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Candidate]:
    """Every pool that the design allows, less those that another layout of the same machine dominates.

    Parameters
    ----------
    configurations : sequence of Configuration
        Layouts of every machine.
    need : Requirement
    design : Design
    top_rate_per_s : float
        Largest rate a pool could be asked to carry [requests/s].
    progress : callable
        Told what is being done.
    """
    by_machine: dict[str, list[Configuration]] = {}
    for configuration in sorted(configurations, key=lambda c: c.label):
        by_machine.setdefault(configuration.machine.name, []).append(configuration)
    candidates: list[Candidate] = []
    queues = _SharedQueues(need)
    if design.mixed:
        for name, layouts in by_machine.items():
            if design.prefill_machine in (None, name):
                progress(f"mixed pools of {name}")
                roomy = [c for c in layouts if need.is_held_by(c, "mixed")]
                mixed = [queues.of(MixedQueue, c) for c in roomy]
                candidates += _best_layouts(roomy, mixed, _mixed_maker(need, top_rate_per_s))
    if design.split:
        candidates += _split_candidates(by_machine, need, design, top_rate_per_s, progress, queues)
    return candidates


def _mixed_maker(need: Requirement, top_rate_per_s: float) -> Callable[[Configuration, MixedQueue], Candidate]:
    return lambda configuration, queue: mixed_candidate(configuration, queue, need, top_rate_per_s)


def _split_candidates(
    by_machine: dict[str, list[Configuration]],
    need: Requirement,
    design: Design,
    top_rate_per_s: float,
    progress: Callable[[str], None],
    shared: _SharedQueues,
) -> list[Candidate]:
    grades = [need.most_busy]
    if needs_end_to_end(need):
        grades += [g for g in _BUSY_GRADES if g < need.most_busy]
    prefill: list[Candidate] = []
    queue_of: dict[str, PrefillQueue] = {}
    for name, layouts in by_machine.items():
        if design.prefill_machine not in (None, name):
            continue
        progress(f"prefill pools of {name}")
        roomy = [c for c in layouts if need.is_held_by(c, "prefill")]
        queues = [shared.of(PrefillQueue, c) for c in roomy]
        for grade in grades:

            def make(c: Configuration, queue: PrefillQueue, grade: float = grade) -> Candidate:
                candidate = prefill_candidate(c, queue, need, grade, top_rate_per_s)
                queue_of[candidate.key] = queue
                return candidate

            prefill += _best_layouts(roomy, queues, make)
    known: dict[str, Candidate] = {}
    sources: dict[str, list[str]] = {}
    for name, layouts in by_machine.items():
        if design.decode_machine not in (None, name):
            continue
        progress(f"decode pools of {name}")
        roomy = [c for c in layouts if need.is_held_by(c, "decode")]
        decode_queues = [shared.of(DecodeQueue, c) for c in roomy]
        for source in prefill:
            if source.configuration.can_send_to(layouts[0]):

                def take(c: Configuration, queue: DecodeQueue, source: Candidate = source) -> Candidate:
                    return decode_candidate(c, queue, source, queue_of[source.key], need, top_rate_per_s, known)

                for candidate in _best_layouts(roomy, decode_queues, take):
                    sources.setdefault(candidate.key, []).append(source.key)
    decode = [replace(known[key], sources=tuple(sorted(senders))) for key, senders in sorted(sources.items())]
    fed = {key for c in decode for key in c.sources}
    return [c for c in prefill if c.key in fed] + decode


Queue = TypeVar("Queue", PrefillQueue, DecodeQueue, MixedQueue)


class _SharedQueues:
    """One queue for each kind and lane: machines that differ by seller alone have the same lanes."""

    def __init__(self, need: Requirement) -> None:
        self._traffic = need.traffic
        self._made: dict[tuple[type, int], Any] = {}
        self._lanes: list[Lane] = []  # kept, for an id is that of a lane only while it lives

    def of(self, kind: type[Queue], configuration: Configuration) -> Queue:
        """Return the queue of a configuration's lanes."""
        lane = configuration.lane
        key = (kind, id(lane))
        if key not in self._made:
            self._lanes.append(lane)
            self._made[key] = kind(lane, self._traffic)
        return self._made[key]  # type: ignore[no-any-return]


def _best_layouts(
    layouts: Sequence[Configuration],
    queues: Sequence[Queue],
    make: Callable[[Configuration, Queue], Candidate],
) -> list[Candidate]:
    """Candidates of one machine and role, less the layouts that another dominates at every number of machines.

    The quickest come first. A layout of which one machine could not carry, however late its answers, what one
    machine of another carries in time is dominated without computing its curve, for capacity a machine only grows.
    """
    offers = sorted(zip(layouts, queues, strict=True), key=lambda offer: (-stable_rate_of_one(*offer), offer[0].label))
    made: list[Candidate] = []
    best_of_one = 0.0
    for configuration, queue in offers:
        if stable_rate_of_one(configuration, queue) <= best_of_one:
            continue
        candidate = make(configuration, queue)
        if candidate.curve.rate_per_s[-1] > 0:
            made.append(candidate)
            if candidate.curve.n_machines[0] == 1:
                best_of_one = max(best_of_one, float(candidate.curve.rate_per_s[0]))

    def beats(a: Candidate, b: Candidate) -> bool:  # of two that are alike, the first by name
        return a is not b and _dominates(a, b) and (not _dominates(b, a) or a.key < b.key)

    return [c for c in made if not any(beats(other, c) for other in made)]


def _dominates(a: Candidate, b: Candidate) -> bool:
    """Whether `a` carries at least as much as `b` at every count of b's curve.

    Between its counts a's curve is read off straight lines; beyond the last it carries whatever may be asked.
    """
    counts = b.curve.n_machines
    rate = np.interp(counts, a.curve.n_machines, a.curve.rate_per_s)
    return bool(np.all((rate >= b.curve.rate_per_s * (1 - 1e-9)) | (counts > a.curve.n_machines[-1])))
