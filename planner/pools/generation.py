"""Which pools are worth offering to the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np

from planner.catalog.hardware import PLACE_MARK
from planner.pools.candidate import (
    SENT_GRADES,
    Candidate,
    Requirement,
    decode_candidate,
    mixed_candidate,
    needs_end_to_end,
    prefill_candidate,
    promised_candidate,
    remembering,
    sends_much,
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


Queue = TypeVar("Queue", PrefillQueue, DecodeQueue, MixedQueue)


class SharedQueues:
    """One queue for each kind and lane: machines that differ by seller alone have the same lanes."""

    def __init__(self) -> None:
        self._made: dict[tuple[type, int], Any] = {}
        self._lanes: list[Lane] = []  # kept, for an id is that of a lane only while it lives

    def of(self, kind: type[Queue], configuration: Configuration, need: Requirement) -> Queue:
        """Return the queue of a configuration's lanes."""
        lane = configuration.lane
        key = (kind, id(lane))
        if key not in self._made:
            self._lanes.append(lane)
            self._made[key] = kind(lane, need.traffic)
        return self._made[key]  # type: ignore[no-any-return]


@dataclass
class Known:
    """Candidates made before, for other designs and machines, prices and limits: no capacity depends on those.

    All of one `Known` are of one requirement, software and network, up to one rate.

    Attributes
    ----------
    mixed, prefill : dict
        Machine -> its candidates.
    queues : dict
        Key of a prefill candidate -> its queue.
    decode : dict
        Machine and key of a sender -> keys of the candidates that take from it.
    decoding : dict
        Key -> candidate, its senders left open.
    promised : dict
        Machine -> keys of its candidates that stand for those of any sender.
    shared : SharedQueues
        Queues of machines that differ by seller alone.
    keeps_dominated : bool
        Whether layouts that another dominates are made too: slower, and by construction of no use to any plan.
    """

    mixed: dict[str, list[Candidate]] = field(default_factory=dict)
    prefill: dict[str, list[Candidate]] = field(default_factory=dict)
    queues: dict[str, PrefillQueue] = field(default_factory=dict)
    decode: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    decoding: dict[str, Candidate] = field(default_factory=dict)
    promised: dict[str, list[str]] = field(default_factory=dict)
    shared: SharedQueues = field(default_factory=SharedQueues)
    keeps_dominated: bool = False


def generate(
    configurations: Sequence[Configuration],
    need: Requirement,
    design: Design,
    top_rate_per_s: float,
    progress: Callable[[str], None] = lambda _: None,
    known: Known | None = None,
    pairs: Collection[tuple[str, str]] | None = None,
    promised: Collection[tuple[str, str]] = (),
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
    known : Known, optional
        What was made before; added to.
    pairs : collection of (str, str), optional
        Prefill and decode machines that may be paired; left out: all that can reach each other.
    promised : collection of (str, str)
        Further ones, for which decode pools are promised only: with capacities that those with a source do not exceed.
    """
    known = Known() if known is None else known
    by_machine: dict[str, list[Configuration]] = {}
    for configuration in sorted(configurations, key=lambda c: c.label):
        by_machine.setdefault(configuration.machine.name, []).append(configuration)
    candidates: list[Candidate] = []
    if design.mixed:
        for name, layouts in by_machine.items():
            if _is_named(design.prefill_machine, name):
                if name not in known.mixed:
                    progress(f"mixed pools of {name}")
                    known.mixed[name] = _mixed(layouts, need, top_rate_per_s, known)
                candidates += known.mixed[name]
    if design.split:
        candidates += _split(by_machine, need, design, top_rate_per_s, progress, known, pairs, promised)
    own = {c.label: c for c in configurations}  # at their prices
    return [replace(c, configuration=own[c.configuration.label]) for c in candidates]


def _is_named(wanted: str | None, machine: str) -> bool:
    """Whether a design takes a machine: any, or the one that it names, wherever it stands."""
    return wanted is None or wanted in (machine, machine.partition(PLACE_MARK)[0])


def _mixed(layouts: Sequence[Configuration], need: Requirement, top_rate_per_s: float, known: Known) -> list[Candidate]:
    roomy = [c for c in layouts if need.is_held_by(c, "mixed")]

    def make(configuration: Configuration, queue: MixedQueue) -> Candidate:
        return mixed_candidate(configuration, queue, need, top_rate_per_s)

    queues = [known.shared.of(MixedQueue, c, need) for c in roomy]
    return list(map(remembering, _worthwhile(known, roomy, queues, make)))


def _split(
    by_machine: dict[str, list[Configuration]],
    need: Requirement,
    design: Design,
    top_rate_per_s: float,
    progress: Callable[[str], None],
    known: Known,
    pairs: Collection[tuple[str, str]] | None,
    promised: Collection[tuple[str, str]],
) -> list[Candidate]:
    prefill: list[Candidate] = []
    senders = None if pairs is None else {first for first, _ in (*pairs, *promised)}
    for name, layouts in by_machine.items():
        if _is_named(design.prefill_machine, name) and (senders is None or name in senders):
            if name not in known.prefill:
                progress(f"prefill pools of {name}")
                known.prefill[name] = _prefill(layouts, need, top_rate_per_s, known)
            prefill += known.prefill[name]
    sources: dict[str, list[str]] = {}
    for name, layouts in by_machine.items():
        if not _is_named(design.decode_machine, name):
            continue
        reached = [s for s in prefill if s.configuration.can_send_to(layouts[0])]
        if pairs is not None:
            reached = [s for s in reached if (s.configuration.machine.name, name) in pairs]
        new = [s for s in reached if (name, s.key) not in known.decode]
        if new:
            progress(f"decode pools of {name}")
            _decode(name, layouts, new, need, top_rate_per_s, known)
        for source in reached:
            for key in known.decode[name, source.key]:
                sources.setdefault(key, []).append(source.key)
        hoped = [s for s in prefill if (s.configuration.machine.name, name) in promised]
        hoped = [s for s in hoped if s.configuration.can_send_to(layouts[0])]
        if hoped and name not in known.promised:
            progress(f"decode pools of {name}")
            _promise(name, layouts, need, top_rate_per_s, known)
        for key in known.promised[name] if hoped else ():
            sources.setdefault(key, []).extend(source.key for source in hoped)
    decode = [replace(known.decoding[key], sources=tuple(sorted(senders))) for key, senders in sorted(sources.items())]
    fed = {key for c in decode for key in c.sources}
    return [c for c in prefill if c.key in fed] + decode


def _prefill(
    layouts: Sequence[Configuration], need: Requirement, top_rate_per_s: float, known: Known
) -> list[Candidate]:
    roomy = [c for c in layouts if need.is_held_by(c, "prefill")]
    queues = [known.shared.of(PrefillQueue, c, need) for c in roomy]
    grades = [need.most_busy]
    if needs_end_to_end(need):
        grades += [g for g in _BUSY_GRADES if g < need.most_busy]
    made: list[Candidate] = []
    much = any(sends_much(c, queue, need) for c, queue in zip(roomy, queues, strict=True))
    for grade, sent in product(grades, SENT_GRADES if much else SENT_GRADES[:1]):

        def make(c: Configuration, queue: PrefillQueue, grade: float = grade, sent: float = sent) -> Candidate:
            candidate = prefill_candidate(c, queue, need, grade, top_rate_per_s, sent)
            known.queues[candidate.key] = queue
            return candidate

        no_later = _no_later if needs_end_to_end(need) else None
        made += map(remembering, _worthwhile(known, roomy, queues, make, no_later))
    return made


def _decode(
    name: str,
    layouts: Sequence[Configuration],
    senders: Sequence[Candidate],
    need: Requirement,
    top_rate_per_s: float,
    known: Known,
) -> None:
    roomy = [c for c in layouts if need.is_held_by(c, "decode")]
    queues = [known.shared.of(DecodeQueue, c, need) for c in roomy]
    for sender in senders:

        def take(c: Configuration, queue: DecodeQueue, sender: Candidate = sender) -> Candidate:
            source_queue = known.queues[sender.key]
            return decode_candidate(c, queue, sender, source_queue, need, top_rate_per_s, known.decoding)

        known.decode[name, sender.key] = [c.key for c in _worthwhile(known, roomy, queues, take)]


def _promise(name: str, layouts: Sequence[Configuration], need: Requirement, top: float, known: Known) -> None:
    roomy = [c for c in layouts if need.is_held_by(c, "decode")]
    made = [promised_candidate(c, known.shared.of(DecodeQueue, c, need), need, top) for c in roomy]
    known.decoding.update({c.key: c for c in made})
    known.promised[name] = [c.key for c in made if c.curve.rate_per_s[-1] > 0]


def _worthwhile(
    known: Known,
    layouts: Sequence[Configuration],
    queues: Sequence[Queue],
    make: Callable[[Configuration, Queue], Candidate],
    no_later: Callable[[Configuration, Queue, Configuration, Queue], bool] | None = None,
) -> list[Candidate]:
    """Candidates of one machine and role that carry anything: the best layouts, or all where all are to be kept."""
    if not known.keeps_dominated:
        return _best_layouts(layouts, queues, make, no_later)
    made = [make(configuration, queue) for configuration, queue in zip(layouts, queues, strict=True)]
    return [candidate for candidate in made if candidate.curve.rate_per_s[-1] > 0]


def _best_layouts(
    layouts: Sequence[Configuration],
    queues: Sequence[Queue],
    make: Callable[[Configuration, Queue], Candidate],
    no_later: Callable[[Configuration, Queue, Configuration, Queue], bool] | None = None,
) -> list[Candidate]:
    """Candidates of one machine and role, less the layouts that another dominates at every number of machines.

    The quickest come first. A layout of which one machine could not carry, however late its answers, what one
    machine of another carries in time is dominated without computing its curve, for capacity a machine only grows.
    Where more than capacity matters, `no_later` says whether the first layout serves others as well as the second.
    """
    offers = sorted(zip(layouts, queues, strict=True), key=lambda offer: (-stable_rate_of_one(*offer), offer[0].label))
    made: list[tuple[Candidate, Queue, float]] = []  # with what one machine carries in time
    for configuration, queue in offers:
        most = stable_rate_of_one(configuration, queue)
        if any(of_one >= most and _serves(no_later, c.configuration, q, configuration, queue) for c, q, of_one in made):
            continue
        candidate = make(configuration, queue)
        if candidate.curve.rate_per_s[-1] > 0:
            of_one = float(candidate.curve.rate_per_s[0]) if candidate.curve.n_machines[0] == 1 else 0.0
            made.append((candidate, queue, of_one))

    def beats(a: tuple[Candidate, Queue, float], b: tuple[Candidate, Queue, float]) -> bool:
        """Of two that are alike, the first by name."""
        if a is b or not _serves(no_later, a[0].configuration, a[1], b[0].configuration, b[1]):
            return False
        return _dominates(a[0], b[0]) and (not _dominates(b[0], a[0]) or a[0].key < b[0].key)

    return [own[0] for own in made if not any(beats(other, own) for other in made)]


def _serves(
    no_later: Callable[[Configuration, Queue, Configuration, Queue], bool] | None,
    a: Configuration,
    a_queue: Queue,
    b: Configuration,
    b_queue: Queue,
) -> bool:
    return no_later is None or no_later(a, a_queue, b, b_queue)


def _no_later(a: Configuration, a_queue: PrefillQueue, b: Configuration, b_queue: PrefillQueue) -> bool:
    """Whether prompts leave `a` no later than `b`: what a decode pool has left of an end-to-end limit."""
    return bool(np.all(a_queue.alone_s <= b_queue.alone_s * (1.0 + 1e-9))) and (
        a.replica_network_bytes_per_s >= b.replica_network_bytes_per_s * (1.0 - 1e-9)
    )


def _dominates(a: Candidate, b: Candidate) -> bool:
    """Whether `a` carries at least as much as `b` at every count of b's curve.

    Between its counts a's curve is read off straight lines; beyond the last it carries whatever may be asked.
    """
    counts = b.curve.n_machines
    rate = np.interp(counts, a.curve.n_machines, a.curve.rate_per_s)
    return bool(np.all((rate >= b.curve.rate_per_s * (1 - 1e-9)) | (counts > a.curve.n_machines[-1])))
