"""Requests simulated on a cluster: by the compiled core where it is there, else by the event loop in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from planner.simulation import core
from planner.simulation.arrivals import Requests
from planner.simulation.closed_loop import Clients, Users, behind_front_end
from planner.simulation.loop import Simulation
from planner.simulation.outcome import Outcome
from planner.simulation.preparation import choose_ways, nics_of, tokens_per_sent, too_large
from planner.simulation.specification import (
    Failure,
    LaneSpec,
    Policy,
    Way,
    Wire,
    check_cluster,
    check_failures,
)


def simulate_requests(
    lanes: Sequence[LaneSpec],
    ways: Sequence[Way],
    wires: Mapping[tuple[int, int], Wire],
    requests: Requests,
    *,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    failures: Sequence[Failure] = (),
    seed: int = 0,
    n_samples: int = 0,
    progress: Callable[[int, float], None] | None = None,
    clients: Clients | None = None,
    front_end_s: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Outcome:
    """Simulate requests on a cluster.

    Parameters
    ----------
    lanes : sequence of LaneSpec
    ways : sequence of (first pool, second pool or None, weight)
        Ways that requests take, each at random with its weight: a mixed pool, or a prefill and a decode pool.
    wires : mapping of (pool, pool) to Wire
        From each prefill pool to the decode pools on its ways; with overflow, between all pools of a way.
    requests : Requests
    policy : Policy
    failures : sequence of Failure
    seed : int
        Of the choice among ways.
    n_samples : int
        At how many times, evenly up to when the last request reaches the lanes, the integrals of the pools are read
        for a timeline; this changes nothing else.
    progress : callable, optional
        Called every 20,000 arrivals with the number so far and the simulated time [s].

    clients : Clients, optional
        Users who send the requests in this order, in the place of their times of arrival.
    front_end_s : tuple of float
        Latency of the servers' front end, its work a request and its work a prompt token [s].

    Returns
    -------
    Outcome
        Partial and marked so after Ctrl-C.

    Raises
    ------
    ScenarioError
        No lanes, a way without lanes, or failures that leave a pool empty.
    """
    check_cluster(lanes, ways)
    check_failures(lanes, ways, failures)
    way_of = choose_ways(ways, len(requests), seed)
    never = too_large(lanes, ways, way_of, requests, policy.overflow)
    firsts = {first for first, *_ in ways}
    n_replicas = sum(spec.pool in firsts for spec in lanes)
    if clients is not None:
        users = Users(clients, requests, front_end_s, seed, never, n_replicas)
        outcome = _run(lanes, ways, wires, requests, policy, failures, seed, n_samples, progress, users)
        return replace(outcome, latency_s=front_end_s[0])
    reach = requests
    if any(front_end_s[1:]):
        due_s = behind_front_end(requests, front_end_s, n_replicas, never)
        reach = Requests(due_s, requests.prompt_tokens, requests.output_tokens)
    outcome = _run(lanes, ways, wires, reach, policy, failures, seed, n_samples, progress)
    return replace(outcome, requests=requests, latency_s=front_end_s[0])


def _run(
    lanes: Sequence[LaneSpec],
    ways: Sequence[Way],
    wires: Mapping[tuple[int, int], Wire],
    requests: Requests,
    policy: Policy,
    failures: Sequence[Failure],
    seed: int,
    n_samples: int,
    progress: Callable[[int, float], None] | None,
    users: Users | None = None,
) -> Outcome:
    """Requests that reach the schedulers at given times or as users send them; in the compiled core, if it is there."""
    if core.is_used():
        nic, nic_bytes_per_s = nics_of(lanes)
        way_of = choose_ways(ways, len(requests), seed)
        return core.simulate(
            lanes, ways, wires, requests, policy, failures, nic=nic, nic_bytes_per_s=nic_bytes_per_s,
            per_sent=tokens_per_sent(lanes, wires) if policy.contention and policy.routing == "pending_tokens" else (),
            way_of=way_of, too_large=too_large(lanes, ways, way_of, requests, policy.overflow), n_samples=n_samples,
            progress=progress, users=users,
        )  # fmt: skip
    simulation = Simulation(lanes, ways, wires, requests, policy, failures, seed, n_samples)
    if users is not None:
        simulation.serve(users)
    return simulation.run(progress)
