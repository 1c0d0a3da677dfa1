"""When requests come: Poisson, gamma, piecewise rates, or a trace's own timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import ScenarioError
from planner.workload.sizes import RequestSizes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests in order of arrival.

    Attributes
    ----------
    arrival_s : ndarray, shape (n,)
        Not falling [s].
    prompt_tokens, output_tokens : ndarray of int, shape (n,)
        At least 1 [tokens].
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints

    def __post_init__(self) -> None:
        if not self.arrival_s.shape == self.prompt_tokens.shape == self.output_tokens.shape:
            raise ScenarioError("arrivals, prompts and outputs differ in number", where="requests")
        if self.arrival_s.size and (self.arrival_s[0] < 0 or np.any(np.diff(self.arrival_s) < 0)):
            first = int(np.argmax(np.diff(self.arrival_s, prepend=0.0) < 0))
            raise ScenarioError(
                "arrivals must not fall", where=f"request {first}", value=float(self.arrival_s[first]), fix="sort them"
            )

    def __len__(self) -> int:
        return int(self.arrival_s.size)


def draw_requests(
    sizes: RequestSizes, rate_per_s: float, n_requests: int, *, arrival_cv2: float = 1.0, seed: int = 0
) -> Requests:
    """Draw requests at a steady rate: gamma gaps of the given variability, sizes resampled with their weights.

    Parameters
    ----------
    sizes : RequestSizes
    rate_per_s : float
        Mean arrivals [requests/s].
    n_requests : int
    arrival_cv2 : float
        Squared coefficient of variation of the gaps; 1 is Poisson.
    seed : int
        The same seed gives the same requests.
    """
    rng = np.random.default_rng(seed)
    gaps = rng.gamma(1.0 / arrival_cv2, arrival_cv2 / rate_per_s, n_requests)
    return Requests(np.cumsum(gaps), *_draw_sizes(sizes, n_requests, rng))


def draw_requests_at_rates(
    sizes: RequestSizes, rates_per_s: Sequence[float], period_s: float, *, seed: int = 0
) -> Requests:
    """Draw Poisson requests whose rate is constant over each period of `period_s` seconds."""
    rng = np.random.default_rng(seed)
    times = [
        np.sort(rng.uniform(i * period_s, (i + 1) * period_s, rng.poisson(rate * period_s)))
        for i, rate in enumerate(rates_per_s)
    ]
    arrival = np.concatenate(times) if times else np.zeros(0)
    return Requests(arrival, *_draw_sizes(sizes, arrival.size, rng))


def _draw_sizes(sizes: RequestSizes, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    at = np.searchsorted(np.cumsum(sizes.weight), rng.uniform(0.0, 1.0 - 1e-12, n), side="right")
    at = np.minimum(at, sizes.n_points - 1)
    prompt = np.maximum(np.rint(sizes.prompt_tokens), 1).astype(np.int64)
    output = np.maximum(np.rint(sizes.output_tokens), 1).astype(np.int64)
    return prompt[at], output[at]
