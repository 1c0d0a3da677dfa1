"""When requests come: Poisson, gamma, piecewise rates, or a trace's own timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.errors import ScenarioError
from planner.workload.sizes import RequestSizes
from planner.workload.traces import Trace

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
_AT_ONCE = 1_000_000  # drawn together, which bounds what is needed beside the result


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests in order of arrival.

    Attributes
    ----------
    arrival_s : ndarray, shape (n,)
        Not negative and not falling; requests may come at the same time [s].
    prompt_tokens, output_tokens : ndarray of int, shape (n,)
        At least 1 [tokens].

    Raises
    ------
    ScenarioError
        No requests, arrays of different shapes, or a value that breaks these rules; `where` names the first request.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints

    def __post_init__(self) -> None:
        if not self.arrival_s.shape == self.prompt_tokens.shape == self.output_tokens.shape:
            raise ScenarioError(
                "arrivals, prompts and outputs differ in number", where="requests",
                value=f"{self.arrival_s.shape}, {self.prompt_tokens.shape}, {self.output_tokens.shape}",
            )  # fmt: skip
        if not self.arrival_s.size:
            raise ScenarioError("there are no requests", where="requests", rule="at least one")
        _refuse(~np.isfinite(self.arrival_s), self.arrival_s, "the arrival is not a time", "a number of seconds")
        _refuse(self.arrival_s < 0, self.arrival_s, "the arrival is negative", "at least 0 s", "shift them all")
        falls = np.zeros(self.arrival_s.size, dtype=bool)
        falls[1:] = self.arrival_s[1:] < self.arrival_s[:-1]
        _refuse(falls, self.arrival_s, "the arrival is before the one above it", "arrivals do not fall", "sort them")
        for name, tokens in (("prompt", self.prompt_tokens), ("output", self.output_tokens)):
            _refuse(tokens < 1, tokens, f"the {name} has no tokens", "at least 1 token")

    def __len__(self) -> int:
        return int(self.arrival_s.size)

    def first(self, n: int) -> Requests:
        """The first `n` requests; all, if there are fewer."""
        return self if n >= len(self) else Requests(self.arrival_s[:n], self.prompt_tokens[:n], self.output_tokens[:n])

    @property
    def n_together(self) -> int:
        """Requests that arrived at the same time as the one before them."""
        return int((self.arrival_s[1:] == self.arrival_s[:-1]).sum())

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals over the whole [requests/s]; infinite if all came at once."""
        span = float(self.arrival_s[-1] - self.arrival_s[0])
        return (len(self) - 1) / span if span > 0 else float("inf")


def _refuse(bad: NDArray[np.bool_], values: NDArray[np.generic], what: str, rule: str, fix: str | None = None) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise ScenarioError(what, where=f"request {first}", value=values[first].item(), rule=rule, fix=fix)


def requests_of(arrival_s: ArrayLike, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> Requests:
    """Requests from any arrays of numbers; tokens are rounded."""
    tokens = (np.rint(np.asarray(x, dtype=float)) for x in (prompt_tokens, output_tokens))
    prompt, output = (np.where(np.isfinite(x) & (x < 2**31), x, 0).astype(np.int32) for x in tokens)
    return Requests(np.asarray(arrival_s, dtype=float), prompt, output)


def replay(
    trace: Trace, *, rate_per_s: float | None = None, repeat: int = 1, n_requests: int | None = None
) -> Requests:
    """The requests of a trace with its own timestamps, or rescaled in time to a rate.

    Parameters
    ----------
    trace : Trace
    rate_per_s : float, optional
        Mean rate to stretch or squeeze the timestamps to: silences and bursts stay, longer or shorter [requests/s].
    repeat : int
        How many times the trace is played, one after the other, a mean gap apart.
    n_requests : int, optional
        Only so many of the requests, from the start.

    Raises
    ------
    ScenarioError
        A trace without timestamps; to rescale or repeat, one without duration.
    """
    if trace.arrival_s is None:
        raise ScenarioError(
            "the trace has no timestamps to replay", where=str(trace.path),
            fix="name their column with --columns timestamp=.., or leave --replay out and draw arrivals",
        )  # fmt: skip
    if repeat < 1:
        raise ScenarioError("a trace is played at least once", where="repeat", value=repeat)
    arrival = np.asarray(trace.arrival_s, dtype=float)
    if rate_per_s is not None or repeat > 1:
        own = trace.rate_per_s
        if not own:
            raise ScenarioError("all requests of the trace came at once", where=str(trace.path), rule="some duration")
        if rate_per_s is not None:
            arrival = arrival * (own / rate_per_s)
            own = rate_per_s
        period = arrival[-1] - arrival[0] + 1.0 / own
        arrival = (arrival + period * np.arange(repeat)[:, None]).ravel()
    once = requests_of(trace.arrival_s, trace.prompt_tokens, trace.output_tokens)
    requests = Requests(arrival, np.tile(once.prompt_tokens, repeat), np.tile(once.output_tokens, repeat))
    return requests if n_requests is None else requests.first(n_requests)


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
        Squared coefficient of variation of the gaps; 1 is Poisson, 0 is even.
    seed : int
        The same seed gives the same requests.
    """
    if not rate_per_s > 0 or not np.isfinite(rate_per_s):
        raise ScenarioError("requests come at a positive rate", where="rate", value=rate_per_s)
    rng = np.random.default_rng(seed)
    arrival = np.empty(n_requests)
    last = 0.0
    for start in range(0, n_requests, _AT_ONCE):
        part = arrival[start : start + _AT_ONCE]
        np.cumsum(_gaps(rng, part.size, 1.0 / rate_per_s, arrival_cv2), out=part)
        part += last
        last = float(part[-1])
    return Requests(arrival, *_draw_sizes(sizes, n_requests, rng))


def draw_requests_at_rates(
    sizes: RequestSizes, rates_per_s: Sequence[float], period_s: float, *, arrival_cv2: float = 1.0, seed: int = 0
) -> Requests:
    """Draw requests whose rate is constant over each period of `period_s` seconds.

    Notes
    -----
    Gaps of mean 1 and variability `arrival_cv2` follow each other in expected arrivals, and the time of each arrival is
    when the rate has added up to it. With a variability of 1 that is the Poisson process of these rates.
    """
    check_rates(rates_per_s, period_s)
    expected = np.concatenate([[0.0], np.cumsum(np.asarray(rates_per_s, dtype=float) * period_s)])
    rng = np.random.default_rng(seed)
    parts: list[Floats] = []
    last = 0.0
    while last < expected[-1]:
        gaps = _gaps(rng, int(min(1.1 * (expected[-1] - last) + 100.0, _AT_ONCE)), 1.0, arrival_cv2)
        parts.append(last + np.cumsum(gaps))
        last = float(parts[-1][-1])
    at = np.concatenate(parts)
    at = at[at < expected[-1]]
    arrival = np.interp(at, expected, period_s * np.arange(expected.size))
    return Requests(arrival, *_draw_sizes(sizes, arrival.size, rng))


def check_rates(rates_per_s: Sequence[float], period_s: float) -> None:
    """Raise `ScenarioError` unless requests can come at these rates, each for a period."""
    if not period_s > 0 or not np.isfinite(period_s):
        raise ScenarioError("periods last some time", where="period", value=f"{period_s:g} s", rule="above 0 s")
    for rate in rates_per_s:
        if not rate >= 0 or not np.isfinite(rate):
            raise ScenarioError("a rate cannot be negative", where="rates", value=f"{rate:g}/s", rule="0/s or more")
    if not any(rate > 0 for rate in rates_per_s):
        raise ScenarioError("no request comes at these rates", where="rates", rule="at least one above 0/s")


def _gaps(rng: np.random.Generator, n: int, mean_s: float, cv2: float) -> Floats:
    """Gamma gaps of a mean and a squared coefficient of variation; 0 is even."""
    if not cv2 >= 0 or not np.isfinite(cv2):
        raise ScenarioError("variability cannot be negative", where="arrival_cv2", value=cv2)
    return np.full(n, mean_s) if cv2 == 0 else rng.gamma(1.0 / cv2, cv2 * mean_s, n)


def _draw_sizes(sizes: RequestSizes, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    cumulative = np.cumsum(sizes.weight)
    prompt = np.maximum(np.rint(sizes.prompt_tokens), 1).astype(np.int32)
    output = np.maximum(np.rint(sizes.output_tokens), 1).astype(np.int32)
    drawn = np.empty((2, n), dtype=np.int32)
    for start in range(0, n, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, n))
        uniform = rng.random(part.stop - part.start)
        at = np.minimum(np.searchsorted(cumulative, uniform, side="right"), sizes.n_points - 1)
        drawn[0, part], drawn[1, part] = prompt[at], output[at]
    return drawn[0], drawn[1]
