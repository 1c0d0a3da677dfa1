"""Users of a closed loop: each sends a request, waits for its last token, thinks, and sends the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from planner.errors import ScenarioError
from planner.simulation.arrivals import Floats, Requests


@dataclass(frozen=True)
class Clients:
    """How many users there are, and how long they think.

    Attributes
    ----------
    count : int
        Users; they begin by thinking.
    think_s : float
        Mean time between an answer and the next request, exponentially distributed [s].
    spread_s : float
        Time over which their first requests come evenly. About that of an answer: they are found at work. None: all at
        the start, as a benchmark begins; users who never think and ask for answers of one length then stay in step [s].
    """

    count: int
    think_s: float = 0.0
    spread_s: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ScenarioError("a closed loop has at least one user", where="concurrency", value=self.count)
        if not 0.0 <= self.think_s < inf:
            raise ScenarioError("a time to think is not negative", where="think_time", value=f"{self.think_s:g} s")


def found_at_work(clients: Clients, rate_per_s: float) -> Clients:
    """The same users as they are found when they send so many requests a second, E = N / lambda - Z [requests/s]."""
    return replace(clients, spread_s=max(clients.count / rate_per_s - clients.think_s, 0.0))


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
    n_replicas : int
        Replicas with a front end each, taken together as in `behind_front_end`.

    Attributes
    ----------
    first_due_s : ndarray, shape (users,)
        When each sends its first request [s].
    pause_s : ndarray, shape (n,)
        From an answer to the user's next request, the front end's latency included [s].
    work_s : ndarray, shape (n,)
        Of the front end [s].
    """

    def __init__(
        self,
        clients: Clients,
        requests: Requests,
        front_end_s: tuple[float, float, float],
        seed: int,
        refused: np.ndarray,
        n_replicas: int = 1,
    ) -> None:
        n, n_users = len(requests), min(clients.count, len(requests))
        self._requests = requests
        rng = np.random.default_rng(seed)
        think_s = rng.exponential(clients.think_s, n) if clients.think_s else np.zeros(n)
        self.first_due_s = clients.spread_s * rng.random(n_users)
        if clients.think_s:
            self.first_due_s += rng.exponential(clients.think_s, n_users)
        latency_s, request_s, token_s = front_end_s
        self.pause_s = think_s + latency_s
        self.work_s = (request_s + token_s * requests.prompt_tokens) / n_replicas
        self.work_s[refused] = 0.0
        self._due: list[float] = self.first_due_s.tolist()
        heapify(self._due)
        self._pauses_s, self._works_s = self.pause_s.tolist(), self.work_s.tolist()
        self._free_s = 0.0  # when the front end is done with the requests so far
        self._sent_s: list[float] = []

    @property
    def next_s(self) -> float:
        """When the front end hands on the next request, as far as answers are known; infinite: when one comes [s]."""
        r = len(self._sent_s)
        if not self._due or r == len(self._requests):
            return inf
        return max(self._due[0], self._free_s) + self._works_s[r]

    def send(self) -> float:
        """The next request reaches the scheduler; returns when [s]."""
        self._free_s = self.next_s
        self._sent_s.append(heappop(self._due))
        return self._free_s

    def answered(self, r: int, at_s: float) -> None:
        """A request has been answered, or cannot be."""
        heappush(self._due, at_s + self._pauses_s[r])

    def requests(self) -> Requests:
        """The requests with the times at which they came; those that never did at the last of them."""
        return sent_at(self._requests, self._sent_s)


def sent_at(requests: Requests, sent_s: Sequence[float] | Floats) -> Requests:
    """Requests of which the first were sent at these times; those that never were at the last of them."""
    at_s = np.full(len(requests), sent_s[-1] if len(sent_s) else 0.0)
    at_s[: len(sent_s)] = sent_s
    return Requests(at_s, requests.prompt_tokens, requests.output_tokens)


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
