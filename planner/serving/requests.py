"""What a pool of queues must know: its requests, the limits on them and the lane that serves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from planner.latency import StepTimes
from planner.latency.batch import Floats, decode_batch, prefill_batch
from planner.workload.objectives import Objective
from planner.workload.sizes import RequestSizes

_Z99 = 2.326  # standard deviations that a normal variable stays within 99 % of the time


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests of one class: joint sizes and how bursty they arrive.

    Attributes
    ----------
    sizes : RequestSizes
        Weighted points (prompt, output) [tokens].
    arrival_cv2 : float
        Squared coefficient of variation of the gaps between arrivals.
    """

    sizes: RequestSizes
    arrival_cv2: float = 1.0

    @property
    def prompt_tokens(self) -> Floats:
        """Prompt size at each point [tokens]."""
        return self.sizes.prompt_tokens

    @property
    def decode_steps(self) -> Floats:
        """Decode steps at each point: output tokens less the first, which prefill yields."""
        return self.sizes.output_tokens - 1.0

    @property
    def weight(self) -> Floats:
        """Probability of each point; sums to 1."""
        return self.sizes.weight

    @property
    def mean_decode_steps(self) -> float:
        """Decode steps a request, at least a hair above none so that rates stay finite."""
        return max(float(self.weight @ self.decode_steps), 1e-6)

    @property
    def decode_context_tokens(self) -> float:
        """Context that a decoding step sees on average [tokens]."""
        return self.sizes.decode_context_tokens

    def resident_tokens(self) -> tuple[float, float]:
        """Mean and standard deviation of the KV tokens that a request in decode holds, over time.

        A request of L prompt tokens and g decode steps is found with probability proportional to g, at a place
        uniform among its steps: it holds L + 1 + U g tokens.
        """
        g, prompt = self.decode_steps, self.prompt_tokens + 1.0
        by_time = self.weight * g
        total = by_time.sum()
        if total <= 0:
            return float(self.weight @ prompt), 0.0
        share = by_time / total
        mean = float(share @ (prompt + g / 2.0))
        second = float(share @ (prompt**2 + prompt * g + g**2 / 3.0))
        return mean, float(np.sqrt(max(second - mean**2, 0.0)))


@dataclass(frozen=True, eq=False)
class Lane:
    """One stream of batches of a machine, as queues see it.

    Attributes
    ----------
    step : StepTimes
        Step times of the lane.
    kv_tokens : float
        Tokens of KV cache that the lane holds.
    max_batch : int
        Most sequences that decode together.
    token_budget : int
        Most prompt tokens batched in one step.
    chunked : bool
        Whether prompts that do not fit a step are computed in chunks, where the lane decodes too.
    apart : bool
        Whether sequences wait while prompts are computed; otherwise they decode along.
    paged : bool
        Whether KV memory is taken as sequences grow, where the lane does both phases; otherwise whole answers are
        reserved.
    front_end_s : tuple of float
        Time beside the steps before the first token: latency, work a request, and work a prompt token [s].
    """

    step: StepTimes
    kv_tokens: float
    max_batch: int
    token_budget: int
    chunked: bool = False
    front_end_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    apart: bool = False
    paged: bool = False

    def beside_steps_s(self, prompt_tokens: Floats) -> Floats:
        """Time of the front end before the first token is out [s], elementwise."""
        latency, request, token = self.front_end_s
        return latency + request + token * prompt_tokens

    def prefill_time_s(self, prompt_tokens: Floats) -> Floats:
        """Time to prefill a prompt alone [s], elementwise."""
        return self.step.step_time_s(prefill_batch(prompt_tokens))

    def decode_time_s(self, n_sequences: Floats, context_tokens: float | Floats) -> Floats:
        """Time of a decode step of `n_sequences`, each with `context_tokens` [s], elementwise."""
        return self.step.step_time_s(decode_batch(n_sequences, context_tokens))

    def resident_sequences(self, traffic: Traffic, n_lanes: ArrayLike = 1.0) -> Floats:
        """Sequences that may decode together so that KV memory holds them all 99 % of the time.

        Parameters
        ----------
        traffic : Traffic
        n_lanes : float or array_like
            Lanes k of the pool.

        Returns
        -------
        ndarray
            n, same shape as `n_lanes`, at most `max_batch`. May be below 1: then not even one request of this
            traffic is sure of its place.

        Notes
        -----
        n mean + 2.326 sqrt(n) (sqrt(mean^2/k + sd^2) - mean/sqrt(k)) <= kv_tokens                     (1)

        mean and sd are those of `Traffic.resident_tokens`. Besides the sizes, with the variance n sd^2, the number of
        sequences fluctuates, about like Poisson with k lanes sharing the swings: n mean^2/k. Queues take that into
        account themselves with a margin of 2.326 sqrt(n/k) mean, so (1) adds what is missing to the margin of both.
        """
        mean, sd = traffic.resident_tokens()
        share = mean / np.sqrt(np.asarray(n_lanes, dtype=float))
        margin = _Z99 * (np.sqrt(share**2 + sd**2) - share)
        root = (-margin + np.sqrt(margin**2 + 4.0 * mean * max(self.kv_tokens, 0.0))) / (2.0 * mean)
        return np.minimum(root * root, self.max_batch)


@dataclass(frozen=True, eq=False)
class Limit:
    """An objective applied to the traffic: the limit of each of its points.

    Attributes
    ----------
    objective : Objective
    unit_s : ndarray, shape (n,)
        What the objective's number multiplies: 1 s for an absolute limit, the reference latency of each point
        for a slowdown [s]; infinite for points that the objective is not about.
    share : float
        Share of requests that the objective is about; of a TBT, among those with more than one output token.
    """

    objective: Objective
    unit_s: Floats
    share: float = 1.0

    @property
    def value(self) -> float:
        """The objective's number: seconds, or a slowdown."""
        limit = self.objective.limit_s if self.objective.limit_s is not None else self.objective.slowdown
        assert limit is not None
        return limit

    @property
    def limit_s(self) -> Floats:
        """Limit of each point [s]."""
        return self.value * self.unit_s

    @property
    def allowed(self) -> float:
        """Share of all requests that may exceed it."""
        return (1.0 - self.objective.percentile / 100.0) * self.share


def reference_latencies(lane: Lane, traffic: Traffic) -> dict[str, Floats]:
    """TTFT, mean TBT and E2E of each point served alone on `lane` [s]: what slowdowns are measured against."""
    return latencies_alone(lane, traffic.prompt_tokens, traffic.decode_steps)


def latencies_alone(lane: Lane, prompt: Floats, g: Floats) -> dict[str, Floats]:
    """TTFT, mean TBT and E2E [s] of requests of `prompt` tokens and `g` decode steps, each alone on `lane`."""
    ttft = lane.prefill_time_s(prompt) + lane.beside_steps_s(prompt)
    tbt = lane.decode_time_s(np.ones_like(prompt), prompt + 1.0 + g / 2.0)
    return {"ttft": ttft, "tbt": tbt, "e2e": ttft + g * tbt}
