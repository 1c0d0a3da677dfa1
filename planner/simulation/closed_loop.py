"""Users of a closed loop: each sends a request, waits for its last token, thinks, and sends the next."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from planner.errors import ScenarioError
from planner.simulation.arrivals import Requests


@dataclass(frozen=True)
class Clients:
    """How many users there are, and how long they think.

    Attributes
    ----------
    count : int
        Users; all send their first request at the start.
    think_s : float
        Mean time between an answer and the next request, exponentially distributed [s].
    """

    count: int
    think_s: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ScenarioError("a closed loop has at least one user", where="concurrency", value=self.count)
        if not 0.0 <= self.think_s < inf:
            raise ScenarioError("a time to think is not negative", where="think_time", value=f"{self.think_s:g} s")


class Users:
    """When the next request comes, as answers come in.

    Parameters
    ----------
    clients : Clients
    requests : Requests
        Sent in this order; their own times of arrival do not count.
    front_end_s : tuple of float
        Latency of the server's front end, its work a request and its work a prompt token [s].
    seed : int
        Of the times to think.
    refused : ndarray of int
        Requests that no lane can ever hold, which take no work of the front end.
    """

    def __init__(
        self,
        clients: Clients,
        requests: Requests,
        front_end_s: tuple[float, float, float],
        seed: int,
        refused: np.ndarray,
    ) -> None:
        n = len(requests)
        self._requests = requests
        self._due = [0.0] * min(clients.count, n)
        heapify(self._due)
        think_s = np.random.default_rng(seed).exponential(clients.think_s, n) if clients.think_s else np.zeros(n)
        latency_s, request_s, token_s = front_end_s
        self._pause_s = (think_s + latency_s).tolist()
        work_s = request_s + token_s * requests.prompt_tokens
        work_s[refused] = 0.0
        self._work_s = work_s.tolist()
        self._free_s = 0.0  # when the front end is done with the requests so far
        self._sent_s: list[float] = []

    @property
    def next_s(self) -> float:
        """When the front end hands on the next request, as far as answers are known; infinite: when one comes [s]."""
        r = len(self._sent_s)
        if not self._due or r == len(self._requests):
            return inf
        return max(self._due[0], self._free_s) + self._work_s[r]

    def send(self) -> float:
        """The next request reaches the scheduler; returns when [s]."""
        self._free_s = self.next_s
        self._sent_s.append(heappop(self._due))
        return self._free_s

    def answered(self, r: int, at_s: float) -> None:
        """A request has been answered, or cannot be."""
        heappush(self._due, at_s + self._pause_s[r])

    def requests(self) -> Requests:
        """The requests with the times at which they came; those that never did at the last of them."""
        sent = np.full(len(self._requests), self._sent_s[-1] if self._sent_s else 0.0)
        sent[: len(self._sent_s)] = self._sent_s
        return Requests(sent, self._requests.prompt_tokens, self._requests.output_tokens)


def behind_front_end(
    requests: Requests, front_end_s: tuple[float, float, float], n_replicas: int, refused: np.ndarray
) -> np.ndarray:
    """When requests that come at given times reach the scheduler: a queue with one server, first come first served [s].

    Parameters
    ----------
    requests : Requests
    front_end_s : tuple of float
        Latency (of no account here), work a request and work a prompt token [s].
    n_replicas : int
        Replicas with a front end each; together they are taken as one that is as many times as fast.
    refused : ndarray of int
        Requests that no lane can ever hold, which take no work.

    Notes
    -----
    d_i = max(a_i, d_(i-1)) + w_i = W_i + max_(j <= i) (a_j - W_(j-1)),  W_i = w_1 + .. + w_i         (1)
    """
    _, request_s, token_s = front_end_s
    work_s = (request_s + token_s * requests.prompt_tokens) / n_replicas
    work_s[refused] = 0.0
    done_s = np.cumsum(work_s)
    return done_s + np.maximum.accumulate(requests.arrival_s - (done_s - work_s))
