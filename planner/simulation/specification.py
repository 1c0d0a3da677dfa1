"""What a simulation is given: lanes, wires between pools, failures, and how requests are routed and batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from planner.errors import ScenarioError
from planner.simulation.steps import StepTable

Role = Literal["prefill", "decode", "mixed"]
Routing = Literal["pending_tokens", "least_loaded", "round_robin"]
Way = tuple[int, int | None, float]  # first pool, second pool (None: the same lane does both), weight


@dataclass(frozen=True, eq=False)
class LaneSpec:
    """One lane of a simulated cluster.

    Attributes
    ----------
    role : str
    pool, machine : int
        Index of its pool and of its machine; lanes of a machine fail together.
    table : StepTable
    kv_tokens : float
        KV memory [tokens].
    max_batch, token_budget : int
        Most sequences decoding together, and most prompt tokens in a step.
    nic : int or None
        Index of the NICs that its KV transfers share; None: the machine's.
    nic_bytes_per_s : float
        What those carry, each way; infinite: a transfer is held up by nothing but its wire [bytes/s].
    chunked : bool
        Whether prompts that do not fit a step are computed in chunks, unless the policy says how steps are filled.
    apart : bool
        Whether sequences wait while prompts are computed, as long as any can be; otherwise they decode along.
    paged : bool
        Whether a request that stays takes KV memory as its context grows, in blocks of one token: a prompt starts
        while there is room for it, and where there is none for the next step's tokens, the request that started last
        is pre-empted: it gives its memory back, goes to the head of the queue and has everything computed again. While
        some are pre-empted no prompt starts. False: memory for the whole answer is reserved before the prompt starts.
    """

    role: Role
    pool: int
    machine: int
    table: StepTable
    kv_tokens: float
    max_batch: int
    token_budget: int
    nic: int | None = None
    nic_bytes_per_s: float = inf
    chunked: bool = False
    apart: bool = False
    paged: bool = False


@dataclass(frozen=True, eq=False)
class Wire:
    """KV transfer from one pool to another.

    Attributes
    ----------
    bytes_per_token : float
        KV cache of one token [bytes].
    bandwidth_bytes_per_s : float
        From one replica to another with nothing in the way [bytes/s].
    latency_s, setup_s, synchronisation_s : float
        Of the fabric; of a serialised transfer; left exposed by an overlapped one [s].
    overlapped : bool
        Whether layers may be sent while the rest of the prompt is computed.
    n_layers : int
    """

    bytes_per_token: float
    bandwidth_bytes_per_s: float
    latency_s: float
    setup_s: float
    synchronisation_s: float
    overlapped: bool
    n_layers: int

    def times(self, prompt_tokens: int, computing_s: float) -> tuple[float, float, bool]:
        """Time on the wire, exposed delay after the prompt if nothing is in the way [s], and whether it overlaps.

        The equations are those of `planner.latency.transfer.kv_transfer_exposed_s`, one prompt at a time.
        """
        on_wire = prompt_tokens * self.bytes_per_token / self.bandwidth_bytes_per_s
        serial = self.setup_s + self.latency_s + on_wire
        if self.overlapped:
            hidden = computing_s * (1.0 - 1.0 / self.n_layers)
            left = max(on_wire - hidden, on_wire / self.n_layers)
            behind = self.synchronisation_s + self.latency_s + left
            if behind < serial:
                return on_wire, behind, True
        return on_wire, serial, False


@dataclass(frozen=True)
class Failure:
    """A machine that stops at a time and, unless `repaired_s` is infinite, comes back [s].

    Attributes
    ----------
    machine : int
    at_s, repaired_s : float
    drains : bool
        Whether it is only sent nothing more, as one that is scaled down: what it has it finishes. Otherwise what it
        held starts again elsewhere, and it comes back empty.
    """

    machine: int
    at_s: float
    repaired_s: float = inf
    drains: bool = False


@dataclass(frozen=True)
class Policy:
    """How requests are routed and batched.

    Attributes
    ----------
    routing : str
        `pending_tokens`: join the shortest queue, counting prompt tokens not yet computed, one for each sequence to
        decode, and the KV caches still to be sent as the prompt tokens that could be computed meanwhile;
        `least_loaded`: the lane with fewest requests; `round_robin`. Of lanes that tie, each gets its turn.
    decode_routing : str
        Lane of a decode pool: `sequences`, the one with least pending, or `memory`, the one with least KV memory
        promised. Round-robin routing ignores it.
    chunk_tokens : int or None
        Chunked prefill: tokens of a step, its decoding sequences counted; None computes whole prompts.
    overflow : bool
        The mixed pool of Splitwise [1]_: when the shortest prompt queue is longer than `overflow_tokens`, a prompt
        goes to a machine of the mixed pool, or a decode machine is taken into it; when no decode machine has memory
        left, a prefill machine is. A machine of the mixed pool does both and returns to its own pool when it runs
        empty. Memory for decoding is then reserved before the prompt is computed.
    overflow_tokens : int
    shared_budget : bool
        Prompts and decoding sequences share the token budget of a step: sequences pause in a step that prompts fill,
        at most `max_pauses` times in a row. False: sequences always decode along.
    max_pauses : int
    long_prompts_wait : bool
        A prompt longer than the token budget that is to decode elsewhere does not interrupt a lane that decodes: it
        starts when one of the lane's sequences ends or another request comes.
    contention : bool
        Whether transfers share the NICs; otherwise each has a wire of its own.
    ties : str
        Which of several lanes that have least pending: each in turn, or the `first`, as the Splitwise simulator has it.

    References
    ----------
    .. [1] Patel et al., Splitwise, ISCA 2024, section IV-A and IV-B.
    """

    routing: Routing = "pending_tokens"
    decode_routing: Literal["sequences", "memory"] = "sequences"
    chunk_tokens: int | None = None
    overflow: bool = False
    overflow_tokens: int = 8192
    shared_budget: bool = False
    max_pauses: int = 4
    long_prompts_wait: bool = False
    contention: bool = True
    ties: Literal["turns", "first"] = "turns"

    def __post_init__(self) -> None:
        if self.chunk_tokens is not None and self.chunk_tokens < 1:
            raise ScenarioError("a chunk holds at least one token", where="chunk_tokens", value=self.chunk_tokens)
        if self.chunk_tokens is not None and self.shared_budget:
            raise ScenarioError("chunks share the budget already", where="shared_budget", fix="leave one of them out")


SPLITWISE = Policy(overflow=True, decode_routing="memory", shared_budget=True)
"""The cluster and machine scheduling of the Splitwise paper."""


def check_cluster(lanes: Sequence[LaneSpec], ways: Sequence[Way]) -> None:
    """Raise `ScenarioError` unless requests can take some way through lanes that exist."""
    if not lanes:
        raise ScenarioError("the cluster has no machines", where="cluster", rule="at least one")
    pools = {spec.pool for spec in lanes}
    for first, second, weight in ways:
        for pool in (first, second):
            if pool is not None and pool not in pools:
                raise ScenarioError(
                    "a way leads through a pool without machines", where="cluster", value=f"pool {pool}"
                )
        if not weight >= 0 or not isfinite(weight):
            raise ScenarioError("the weight of a way must be a number not below 0", where="cluster", value=weight)
    if not sum(weight for *_, weight in ways) > 0:
        raise ScenarioError("no way leads through the cluster", where="cluster", rule="at least one of positive weight")


def check_failures(lanes: Sequence[LaneSpec], ways: Sequence[Way], failures: Sequence[Failure]) -> None:
    """Raise `ScenarioError` if failures make no sense, or leave a pool that requests need without a machine."""
    n_machines = 1 + max(spec.machine for spec in lanes)
    for failure in failures:
        if not 0 <= failure.machine < n_machines:
            raise ScenarioError(
                "no such machine", where="failures", value=failure.machine, rule=f"0 to {n_machines - 1}"
            )
        if not 0 <= failure.at_s < inf or not failure.repaired_s > failure.at_s:
            raise ScenarioError(
                f"machine {failure.machine} fails at {failure.at_s:g} s and is repaired at {failure.repaired_s:g} s",
                where="failures",
                rule="0 <= failure < repair",
            )
    down: dict[int, float] = {}
    used = sorted({p for first, second, _ in ways for p in (first, second) if p is not None})
    machines = {p: {spec.machine for spec in lanes if spec.pool == p} for p in used}
    roles = {spec.pool: spec.role for spec in lanes}
    for failure in sorted(failures, key=lambda f: f.at_s):
        if down.get(failure.machine, -1.0) > failure.at_s:
            raise ScenarioError(
                f"machine {failure.machine} fails at {failure.at_s:g} s while it is down", where="failures"
            )
        down[failure.machine] = failure.repaired_s
        for p in used:
            if all(down.get(m, -1.0) > failure.at_s for m in machines[p]):
                several = sum(roles[q] == roles[p] for q in used) > 1
                left = f"a {roles[p]} pool without a machine" if several else f"no {roles[p]} machine"
                raise ScenarioError(
                    f"the failure at {failure.at_s:g} s leaves {left}",
                    where="failures",
                    value=f"machine {failure.machine} of the cluster, counted from 0",
                    rule="each pool keeps at least one machine, because requests are shared among pools beforehand",
                    fix="fail fewer machines at a time, or add spares",
                )
