"""KV caches on their way between lanes: when they start, how they share the NICs, when they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from planner.simulation.lane import COMPUTING, MOVING, Lane
from planner.simulation.links import Links
from planner.simulation.outcome import Records
from planner.simulation.preparation import nics_of
from planner.simulation.specification import LaneSpec, Wire

JOIN, SENT, EARLY = (
    1,
    2,
    3,
)  # kinds of events: a KV cache has arrived, its last byte has left, its first layer is computed


class Sending:
    """All transfers of a simulation.

    Parameters
    ----------
    specs : sequence of LaneSpec
    wires : mapping of (pool, pool) to Wire
    shared : bool
        Whether transfers share the NICs; otherwise each has a wire of its own.
    records : Records
    lanes : list of Lane
    prompt_lane, decode_lane : dict of int to int
        Of the simulation: where a request's KV cache is, and where it goes.
    push : callable
        Enters an event (time [s], kind, two numbers) and returns its own number.

    Attributes
    ----------
    nic : list of int
        Index of the NICs of each lane.
    moving : dict of int to int
        Number of the event with which a request's KV cache arrives.
    """

    def __init__(
        self,
        specs: Sequence[LaneSpec],
        wires: Mapping[tuple[int, int], Wire],
        shared: bool,
        records: Records,
        lanes: list[Lane],
        prompt_lane: dict[int, int],
        decode_lane: dict[int, int],
        push: Callable[[float, int, int, int], int],
    ) -> None:
        self._specs, self._wires, self._shared, self._records, self._lanes = specs, wires, shared, records, lanes
        self._prompt_lane, self._decode_lane, self._push = prompt_lane, decode_lane, push
        self.nic, nic_bytes_per_s = nics_of(specs)
        self.links = Links(nic_bytes_per_s, self._ends_at)
        self.early: dict[int, int] = {}  # number of the event with which a transfer starts behind its prompt
        self.moving: dict[int, int] = {}
        self._started: dict[int, tuple[float, float]] = {}  # since when, and arrival if nothing is in the way
        self.starts_early = shared and any(wire.overlapped for wire in wires.values())

    def plan(self, lane: Lane, t: float, until: float) -> None:
        """Layers of the prompts that end with the step from `t` to `until` may leave when the first is computed."""
        for r in lane.prompts:
            j = self._decode_lane.get(r)
            if j is not None:
                wire = self._wires[lane.spec.pool, self._specs[j].pool]
                if wire.n_layers > 1 and wire.times(self._records.prompt[r], until - t)[2]:
                    self.early[r] = self._push(t + (until - t) / wire.n_layers, EARLY, j, r)

    def start_early(self, r: int, j: int, t: float) -> None:
        """The first layer is computed: send from now on what is computed, as far as the NICs let it."""
        i = self._prompt_lane[r]
        wire = self._wires[self._specs[i].pool, self._specs[j].pool]
        size = self._records.prompt[r] * wire.bytes_per_token
        yields = size / (t - self._lanes[i].since) / wire.n_layers
        self.links.start(r, self.nic[i], self.nic[j], size, min(yields, wire.bandwidth_bytes_per_s), t, True)

    def give_up(self, r: int, t: float) -> None:
        """What was sent of a request, or was to be, is lost."""
        self.early.pop(r, None)
        self.moving.pop(r, None)
        self._started.pop(r, None)
        if r in self.links.transfers:
            self.links.end(r, t)

    def send(self, r: int, i: int, j: int, t: float) -> None:
        """Move a KV cache from lane `i` to `j`, where its memory is reserved."""
        wire, stage, prompt = (
            self._wires[self._specs[i].pool, self._specs[j].pool],
            self._records.stage,
            self._records.prompt,
        )
        computing = t - self._lanes[i].since if stage[r] == COMPUTING else 0.0
        _, exposed, _ = wire.times(prompt[r], computing)
        stage[r] = MOVING
        self._started[r] = t, t + exposed
        if not self._shared:
            self._arrives(r, j, t)
        elif self.early.pop(r, None) is not None:
            self.links.release(r, wire.bandwidth_bytes_per_s, t)
        else:
            size = prompt[r] * wire.bytes_per_token
            self.links.start(r, self.nic[i], self.nic[j], size, wire.bandwidth_bytes_per_s, t)

    def _ends_at(self, at_s: float, r: int, version: int) -> None:
        self._push(at_s, SENT, r, version)

    def sent(self, r: int, t: float) -> None:
        """The last byte has left."""
        self.links.end(r, t)
        i, j = self._prompt_lane[r], self._decode_lane[r]
        self._arrives(r, j, t + self._wires[self._specs[i].pool, self._specs[j].pool].latency_s)

    def _arrives(self, r: int, j: int, at_s: float) -> None:
        """All of a KV cache is there at a time, or somewhat later."""
        since, no_sooner = self._started.pop(r)
        at_s = max(at_s, no_sooner)
        self._records.transfer[r] = at_s - since
        self.moving[r] = self._push(at_s, JOIN, j, r)
