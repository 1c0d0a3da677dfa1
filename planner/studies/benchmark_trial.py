"""A benchmark's run, simulated: the same load on the same servers, as planned or with one thing otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.calibration.benchmark_forms import LATENCIES, statistics_of
from planner.calibration.benchmark_runs import BenchmarkRun
from planner.planning.closed_loop import at_rate
from planner.planning.evaluate import members_and_routes
from planner.pools.configuration import Configuration
from planner.pools.prediction import Member
from planner.scenario.cluster import Cluster
from planner.scenario.resolve import Problem
from planner.simulation.arrivals import Requests, draw_requests, requests_of
from planner.simulation.closed_loop import Clients
from planner.simulation.cluster import ClusterSimulation
from planner.simulation.outcome import Outcome
from planner.simulation.summary import values_of
from planner.workload.sizes import RequestSizes

SEEDS = (1, 2, 3, 4, 5)
MOST_REQUESTS, FEWEST_REQUESTS = 4000, 200  # simulated of a run that does not say its sizes one by one
SAME_MIX = 0.1  # relative, within which mean sizes are those of the plan's workload
OUTPUT_SPREAD = 0.2  # of answers that are all of one length, lest users of a closed loop keep in step for ever
Figures = Mapping[tuple[str, str], float]
Alteration = Callable[[Configuration], Configuration]


@dataclass(frozen=True)
class Served:
    """What a simulated run comes to.

    Attributes
    ----------
    figures : mapping of (str, str) to float
        (ttft, tbt, e2e; mean, p50, p90, p99) -> seconds, and (throughput, mean) -> requests/s.
    memory_fraction : float
        Mean share of the KV memory in use, of the fullest pool.
    each : tuple of mapping
        The same figures of every seed by itself: near saturation one run says little of the next.
    """

    figures: Figures
    memory_fraction: float
    each: tuple[Figures, ...] = ()


class BenchmarkTrial:
    """Simulates a run on a cluster, as often as a question about it is asked.

    Parameters
    ----------
    problem : Problem
    cluster : Cluster
    run : BenchmarkRun
    """

    def __init__(self, problem: Problem, cluster: Cluster, run: BenchmarkRun) -> None:
        self.problem = problem if run.rate_per_s is None else at_rate(problem, run.rate_per_s)
        self.cluster, self.run, self.sizes = cluster, run, _sizes(problem, run)
        self._members, self._routes = members_and_routes(self.problem, cluster)

    @property
    def members(self) -> Sequence[Member]:
        """The pools, with their share of the load."""
        return self._members

    @property
    def step_time_error(self) -> float:
        """Stated error of the step times, the largest of the pools."""
        return max(m.configuration.step_time_error for m in self._members)

    def served(self, alter: Alteration | None = None) -> Served:
        """The run, with each configuration altered; None: as planned."""
        members = self._members
        if alter is not None:
            members = [replace(m, configuration=alter(m.configuration)) for m in members]
        return self._simulated(members)

    def _simulated(self, members: Sequence[Member]) -> Served:
        simulation = ClusterSimulation(members, self._routes, self.problem.need, self.sizes)
        values: dict[str, list[np.ndarray]] = {metric: [] for metric in LATENCIES}
        rates, memory = [], []
        for seed in SEEDS:
            requests, clients = self._requests(seed)
            outcome = simulation.run(requests, seed=seed, clients=clients)
            for metric, found in values.items():
                found.append(values_of(outcome, metric))
            rates.append(self._throughput_per_s(outcome, outcome.finish_s[np.isfinite(outcome.finish_s)]))
            memory.append(_memory(outcome, members))
        every = {metric: np.concatenate(found) for metric, found in values.items()}
        each = [_figures({metric: found[n] for metric, found in values.items()}, rate) for n, rate in enumerate(rates)]
        return Served(_figures(every, float(np.mean(rates))), float(np.mean(memory)), tuple(each))

    def _throughput_per_s(self, outcome: Outcome, finished: np.ndarray) -> float:
        """Requests answered a second from the first arrival to the last answer, as tools count them.

        Of a run of more requests than are simulated, the time to answer the last ones is that much less of it.
        """
        if not finished.size:
            return 0.0
        arrival = outcome.requests.arrival_s
        sent_s, drained_s = float(arrival[-1] - arrival[0]), float(finished.max() - arrival[-1])
        share = max(self.run.n_requests / finished.size, 1.0) if self.run.rate_per_s is not None else 1.0
        return share * finished.size / max(share * sent_s + drained_s, 1e-12)

    def _requests(self, seed: int) -> tuple[Requests, Clients | None]:
        run = self.run
        n = int(min(max(run.n_requests, FEWEST_REQUESTS), MOST_REQUESTS))
        if run.rate_per_s is None and run.concurrency is not None:
            count = max(round(run.concurrency), 1)
            n = int(min(max(n, 3 * count), max(MOST_REQUESTS, 3 * count)))
            return draw_requests(self._spread(seed), 1.0, n, seed=seed), Clients(count)
        rate = run.rate_per_s or run.throughput_per_s or 1.0
        if run.even:
            drawn = draw_requests(self.sizes, rate, n, arrival_cv2=0.0, seed=seed)
            return drawn, None
        if run.rate_per_s is None:  # everything at once
            drawn = draw_requests(self.sizes, 1.0, n, seed=seed)
            return requests_of(np.zeros(n), drawn.prompt_tokens, drawn.output_tokens), None
        return draw_requests(self.sizes, rate, n, arrival_cv2=self.problem.need.traffic.arrival_cv2, seed=seed), None

    def _spread(self, seed: int) -> RequestSizes:
        """Sizes for a closed loop: answers of one length vary a little."""
        if self.sizes.n_points > 1:
            return self.sizes
        prompt, output = float(self.sizes.prompt_tokens[0]), float(self.sizes.output_tokens[0])
        outputs = np.maximum(np.linspace(1 - OUTPUT_SPREAD, 1 + OUTPUT_SPREAD, 21) * output, 1.0)
        return RequestSizes.equally_weighted(np.full(21, prompt), outputs, self.sizes.name)


def _figures(values: Mapping[str, np.ndarray], rate_per_s: float) -> Figures:
    found = {
        (metric, statistic): value
        for metric, of in values.items()
        for statistic, value in statistics_of(of).items()
        if value is not None
    }
    return found | {("throughput", "mean"): rate_per_s}


def _memory(outcome: Outcome, members: Sequence[Member]) -> float:
    """Mean share of the KV memory that was reserved, of the pool that had most."""
    room = outcome.horizon_s * outcome.pool_lanes * np.array([m.configuration.lane.kv_tokens for m in members])
    return float(np.max(outcome.pool_kv_token_s / np.maximum(room, 1e-12)))


def _sizes(problem: Problem, run: BenchmarkRun) -> RequestSizes:
    """Sizes of the requests that were sent: their own, the workload's brought to their means, or all of the mean."""
    name = f"the requests of {run.source}"
    if len(run.sizes) > 1:
        prompts, outputs = zip(*run.sizes, strict=True)
        return RequestSizes.equally_weighted(np.array(prompts), np.array(outputs), name)
    planned = problem.sizes
    ratios = (run.input_tokens / planned.mean_prompt_tokens, run.output_tokens / planned.mean_output_tokens)
    if all(abs(ratio - 1.0) <= SAME_MIX for ratio in ratios):
        return planned.scaled(*ratios)
    return RequestSizes(np.array([run.input_tokens]), np.array([run.output_tokens]), np.ones(1), name)
