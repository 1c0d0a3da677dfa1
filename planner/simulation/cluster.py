"""Simulate a planned cluster, and report percentiles beside its objectives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.errors import ScenarioError
from planner.latency.transfer import synchronisation_scale
from planner.pools.candidate import Requirement
from planner.pools.prediction import Member, Route
from planner.serving.requests import Lane
from planner.simulation.arrivals import Requests, draw_requests
from planner.simulation.closed_loop import Clients
from planner.simulation.energy import PoolPower
from planner.simulation.engine import simulate_requests
from planner.simulation.outcome import Outcome
from planner.simulation.specification import Failure, LaneSpec, Policy, Way, Wire, check_cluster
from planner.simulation.steps import StepTable, tabulate
from planner.simulation.summary import METRICS, Simulated, summarise
from planner.units import format_time
from planner.workload.sizes import RequestSizes

__all__ = ["ClusterSimulation", "Simulated"]

SAY_EVERY_S = 1.0


class ClusterSimulation:
    """A planned cluster, ready to run.

    Parameters
    ----------
    members, routes : as `ClusterModel` takes them
    need : Requirement
    sizes : RequestSizes
        Sizes to draw requests from, before any compression.
    reference : Lane or None
        What slowdowns are measured against, if any objective is one.
    power : PoolPower or None
        How to compute power; `planner.simulation.energy.pool_power` makes one.
    tables : dict, optional
        Step times tabulated so far, to be shared by simulations of one traffic on like lanes.

    Raises
    ------
    ScenarioError
        No machines, a pool of none on some route, or a slowdown without a reference.
    """

    def __init__(
        self,
        members: Sequence[Member],
        routes: Sequence[Route],
        need: Requirement,
        sizes: RequestSizes,
        reference: Lane | None = None,
        power: PoolPower | None = None,
        tables: dict[tuple[int, int], StepTable] | None = None,
    ) -> None:
        self.members, self.routes, self.need, self.sizes = list(members), list(routes), need, sizes
        self.reference, self.power = reference, power
        self._tables = {} if tables is None else tables
        if reference is None and any(limit.objective.slowdown is not None for limit in need.limits):
            raise ScenarioError("a slowdown needs a reference to be measured against", where="reference")
        self.n_machines = sum(member.count for member in self.members)
        self._ways: list[Way] = [(route.first, route.second, route.rate_per_s) for route in self.routes]
        self._lanes_by_largest: dict[int, list[LaneSpec]] = {}
        check_cluster(self._lanes(1), self._ways)
        self._wires = {
            (i, j): self._wire(i, j)
            for route in self.routes
            if route.second is not None
            for i in (route.first, route.second)
            for j in (route.first, route.second)
        }

    def _lanes(self, longest_prompt: int) -> list[LaneSpec]:
        """Lanes whose step times are tabulated for prompts of at least this length."""
        for largest, known in self._lanes_by_largest.items():
            if largest >= longest_prompt:
                return known
        largest = max(longest_prompt, int(self.sizes.prompt_tokens.max()) + 1)
        lanes: list[LaneSpec] = []
        machine = nic = 0
        for pool, member in enumerate(self.members):
            layout, lane = member.configuration.layout, member.configuration.lane
            tokens = max(largest, lane.token_budget) + 1
            table = (id(lane), tokens)
            if table not in self._tables and member.count:
                context = self.need.traffic.decode_context_tokens
                self._tables[table] = tabulate(lane.step, lane.max_batch + 1, tokens, context)
            for _ in range(member.count):
                for replica in range(layout.replicas):
                    lanes += [
                        LaneSpec(
                            member.role,  # type: ignore[arg-type]
                            pool, machine, self._tables[table], lane.kv_tokens, lane.max_batch, lane.token_budget,
                            nic + replica * member.configuration.nic_groups // layout.replicas,
                            member.configuration.replica_network_bytes_per_s, member.role == "mixed" and lane.chunked,
                            lane.apart, member.role == "mixed" and lane.paged,
                        )
                    ] * layout.pipeline_parallel  # fmt: skip
                nic += member.configuration.nic_groups
                machine += 1
        self._lanes_by_largest[largest] = lanes
        return lanes

    def _wire(self, first: int, second: int) -> Wire:
        sender, receiver = self.members[first].configuration, self.members[second].configuration
        costs = self.need.kv_transfer
        nic = min(c.machine.network.nic_bandwidth_bytes_per_s for c in (sender, receiver))
        return Wire(
            bytes_per_token=sender.kv_bytes_per_token,
            bandwidth_bytes_per_s=min(sender.replica_network_bytes_per_s, receiver.replica_network_bytes_per_s),
            latency_s=max(sender.fabric.latency_s, receiver.fabric.latency_s),
            setup_s=costs.setup_s,
            synchronisation_s=costs.synchronisation_s * synchronisation_scale(nic, costs),
            overlapped=costs.overlapped,
            n_layers=self.need.n_layers,
        )

    def run(
        self,
        requests: Requests,
        *,
        policy: Policy | None = None,
        failures: Sequence[Failure] = (),
        seed: int = 0,
        n_samples: int = 0,
        progress: Callable[[int, float], None] | None = None,
        clients: Clients | None = None,
    ) -> Outcome:
        """Simulate given requests, such as those of a trace; with `clients`, each when one of them sends it.

        Raises
        ------
        ScenarioError
            A failure of a machine that does not exist or is down, or that leaves a pool empty.
        """
        return simulate_requests(
            self._lanes(int(requests.prompt_tokens.max())), self._ways, self._wires, requests,
            policy=policy or Policy(), failures=failures, seed=seed, n_samples=n_samples, progress=progress,
            clients=clients, front_end_s=self.members[self.routes[0].first].configuration.lane.front_end_s,
        )  # fmt: skip

    def simulate(
        self,
        *,
        n_requests: int = 100_000,
        seeds: Sequence[int] = (1, 2, 3),
        load: float = 1.0,
        policy: Policy | None = None,
        failures: Sequence[Failure] = (),
        metrics: Sequence[str] = METRICS,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Simulated:
        """Simulate the planned traffic with several seeds.

        Parameters
        ----------
        n_requests : int
            Of each run.
        seeds : sequence of int
            One run each.
        load : float
            Multiple of the planned rate.
        policy : Policy, optional
        failures : sequence of Failure
        metrics : sequence of str
            Those whose percentiles are wanted.
        progress : callable
            Called with a line about once a second: how far it is, and an estimate of the time left.

        Returns
        -------
        Simulated
            After Ctrl-C of what was simulated until then, marked `interrupted`.
        """
        rate = sum(route.rate_per_s for route in self.routes) * load
        cv2 = self.need.traffic.arrival_cv2

        def draw(seed: int) -> Requests:
            return draw_requests(self.sizes, rate, n_requests, arrival_cv2=cv2, seed=seed)

        return self.simulate_drawn(
            draw, seeds=seeds, policy=policy, failures=failures, metrics=metrics, progress=progress
        )

    def simulate_drawn(
        self,
        draw: Callable[[int], Requests],
        *,
        seeds: Sequence[int],
        policy: Policy | None = None,
        failures: Sequence[Failure] = (),
        stationary: bool = True,
        n_samples: int = 0,
        metrics: Sequence[str] = METRICS,
        clients: Clients | None = None,
        known: Sequence[Outcome] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> Simulated:
        """Simulate the requests that `draw` gives for each seed.

        Parameters
        ----------
        draw : callable
            Requests of a seed.
        seeds, policy, failures, metrics, progress : as `simulate` takes them
        stationary : bool
            Whether they come at one rate throughout; see `summarise`.
        n_samples : int
            Points of the timeline of the first run.
        clients : Clients, optional
            Users who send the requests, each when its last one is answered.
        known : sequence of Outcome
            Of the first seeds, where these were simulated before.
        """
        outcomes = list(known)
        clock = _Clock(len(seeds), progress)
        interrupted = False
        for seed in seeds[len(outcomes) :]:
            try:
                requests = draw(seed)
            except KeyboardInterrupt:
                if not outcomes:
                    raise
                interrupted = True
                break
            tell = clock.of_run(seed, len(outcomes), len(requests))
            outcomes.append(
                self.run(
                    requests, policy=policy, failures=failures, seed=seed, progress=tell, clients=clients,
                    n_samples=0 if outcomes else n_samples,
                )
            )  # fmt: skip
            if outcomes[-1].interrupted:
                break
        progress("computing percentiles")
        simulated = self.summarise(outcomes, stationary=stationary, metrics=metrics)
        return replace(simulated, interrupted=True) if interrupted else simulated

    def summarise(
        self, outcomes: Sequence[Outcome], *, stationary: bool = True, metrics: Sequence[str] = METRICS
    ) -> Simulated:
        """Percentiles of several runs, warm-up removed, and whether the objectives are met."""
        return summarise(
            outcomes, self.members, self.need, self.reference, self.power, stationary=stationary, metrics=metrics
        )


class _Clock:
    """How long a simulation still takes, from how long it took so far."""

    def __init__(self, n_runs: int, say: Callable[[str], None]) -> None:
        self._runs, self._say = n_runs, say
        self._start = time.monotonic()
        self._said = self._start

    def of_run(self, seed: int, runs_done: int, n_requests: int) -> Callable[[int, float], None]:
        def tell(done: int, now_s: float) -> None:
            now = time.monotonic()
            if now - self._said < SAY_EVERY_S or not done:
                return
            self._said = now
            share = (runs_done * n_requests + done) / (self._runs * n_requests)
            left_s = (now - self._start) * (1.0 - share) / share
            left = f"{left_s:.0f} s" if left_s < 120 else format_time(left_s)
            run = f", run {runs_done + 1} of {self._runs}" if self._runs > 1 else ""
            # The estimate first: a narrow terminal cuts the rest.
            self._say(
                f"simulating, about {left} left: {done:,} of {n_requests:,} requests{run} (seed {seed}), "
                f"{format_time(now_s)} of traffic"
            )

        return tell
