"""A pool that only computes prompts: G/G/k with join-shortest-queue, and small prompts batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.latency.batch import Batch, Floats
from planner.serving.erlang import WaitTail, ggk_wait
from planner.serving.requests import Lane, Traffic


@dataclass(frozen=True, eq=False)
class Slack:
    """Time that a limit leaves for waiting.

    Attributes
    ----------
    missed : float
        Share of requests that take longer than their limit without any wait.
    slack_s, weight : ndarray, shape (c,)
        Slack of the others, gathered into cells of like slack [s], and their shares.
    """

    missed: float
    slack_s: Floats
    weight: Floats

    def exceeded_by(self, wait: WaitTail) -> Floats:
        """sum_i w_i P(W > slack_i), shape (k,)."""
        tail = np.exp(-wait.decay_per_s[..., None] * self.slack_s) @ self.weight
        return self.missed + wait.probability * tail


class PrefillQueue:
    """Prompts of one traffic on any number of like lanes.

    Small prompts are computed several to a step. How many settles by itself under load; here each batch size b
    up to the token budget is a queue of batches, arriving at rate/b and served in the time of one prompt with
    b - 1 average companions, and the delay is that of the best b.
    """

    def __init__(self, lane: Lane, traffic: Traffic) -> None:
        self._traffic = traffic
        prompt, weight = traffic.prompt_tokens, traffic.weight
        mean_prompt = float(weight @ prompt)
        pairs = prompt * (prompt + 1.0) / 2.0
        mean_pairs = float(weight @ pairs)
        sizes = [1]
        while 2 * sizes[-1] * mean_prompt <= lane.token_budget:
            sizes.append(2 * sizes[-1])
        self._batch_sizes = sizes
        none = np.zeros_like(prompt)
        self._service_s = [
            lane.step.step_time_s(
                Batch(prompt + (b - 1) * mean_prompt, pairs + (b - 1) * mean_pairs, none + b, none, none)
            )
            for b in sizes
        ]

    @property
    def alone_s(self) -> Floats:
        """TTFT of each point on an idle lane [s]."""
        return self._service_s[0]

    @cached_property
    def _moments(self) -> list[tuple[float, float]]:
        moments = []
        for service in self._service_s:
            mean = float(self._traffic.weight @ service)
            variance = float(self._traffic.weight @ (service - mean) ** 2)
            moments.append((mean, variance / mean**2))
        return moments

    def seconds_per_request(self) -> float:
        """Machine time a request costs at the best batch size [s]."""
        return min(mean / b for b, (mean, _) in zip(self._batch_sizes, self._moments, strict=True))

    def stable_rate_per_s(self, n_lanes: Floats) -> Floats:
        """Rate at which the lanes are busy all the time [requests/s]."""
        return n_lanes / self.seconds_per_request()

    def _waits(self, rate_per_s: Floats, n_lanes: Floats) -> list[WaitTail]:
        """Queueing delay of each batch size; attributes of shape (k,)."""
        b = np.array(self._batch_sizes, dtype=float)[:, None]
        mean, cv2 = (np.array(column)[:, None] for column in zip(*self._moments, strict=True))
        all_sizes = ggk_wait(rate_per_s / b, n_lanes, mean, cv2, self._traffic.arrival_cv2)
        return [WaitTail(p, d) for p, d in zip(all_sizes.probability, all_sizes.decay_per_s, strict=True)]

    def exceeds(self, limit_s: Floats, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Share of requests whose TTFT exceeds the limit of their point.

        Parameters
        ----------
        limit_s : ndarray, shape (n,)
            Limit of each point of the traffic [s].
        rate_per_s, n_lanes : ndarray, shape (k,)
            Arrivals at the pool [requests/s] and its lanes.

        Returns
        -------
        ndarray, shape (k,)

        Notes
        -----
        P(TTFT > limit) = sum_i w_i P(W > limit_i - S_i)                                               (1)
        """
        return self.share(self.slacks(limit_s), rate_per_s, n_lanes)

    def slacks(self, limit_s: Floats) -> list[Slack]:
        """What the limits leave for waiting at each batch size: the part of `exceeds` that no rate changes."""
        return [_slack(limit_s - service, self._traffic.weight) for service in self._service_s]

    def share(self, slacks: Sequence[Slack], rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """`exceeds`, from the slacks of the limits."""
        waits = self._waits(rate_per_s, n_lanes)
        return np.minimum.reduce([slack.exceeded_by(wait) for slack, wait in zip(slacks, waits, strict=True)])

    def wait(self, rate_per_s: Floats, n_lanes: Floats) -> WaitTail:
        """Queueing delay at the batch size that waits least, for what comes after prefill."""
        waits = self._waits(rate_per_s, n_lanes)
        if len(waits) == 1:
            return waits[0]
        mean = np.array([w.probability / np.maximum(w.decay_per_s, 1e-12) for w in waits])
        best = mean.argmin(axis=0)
        pick = np.arange(best.size)
        return WaitTail(
            np.array([w.probability for w in waits])[best, pick], np.array([w.decay_per_s for w in waits])[best, pick]
        )

    def utilisation(self, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Share of time a lane is busy."""
        return rate_per_s / self.stable_rate_per_s(n_lanes)


def _slack(slack_s: Floats, weight: Floats, n_cells: int = 192) -> Slack:
    late = slack_s < 0
    return Slack(float(weight[late].sum()), *_gather(slack_s[~late], weight[~late], n_cells))


def _gather(values: Floats, weight: Floats, n_cells: int) -> tuple[Floats, Floats]:
    if values.size <= n_cells:
        return values, weight
    order = np.argsort(values, kind="stable")
    values, weight = values[order], weight[order]
    # Cells get finer towards small slacks, which is where requests miss their limit.
    at = np.unique((np.linspace(0.0, 1.0, n_cells, endpoint=False) ** 2 * values.size).astype(int))
    share = np.add.reduceat(weight, at)
    return np.add.reduceat(weight * values, at) / np.where(share > 0, share, 1.0), share
