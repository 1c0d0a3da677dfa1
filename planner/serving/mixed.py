"""A pool whose machines do both phases: prompts interrupt decoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Floats, mixed_batch
from planner.serving.erlang import WaitTail, ggk_wait
from planner.serving.requests import Lane, Traffic

_RESIDUAL = np.array([1.0, 3.0, 5.0]) / 6.0  # where in a running step an arrival falls: midpoints of thirds
_HERMITE_X = np.array([-2.8569700138728056, -1.3556261799742659, 0.0, 1.3556261799742659, 2.8569700138728056])
_HERMITE_W = np.array([0.011257411327720688, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720688])  # fmt: skip
_FEW_PROMPTS = 18  # prompt steps met by one request that are summed exactly
_PROMPT_CELLS = 128  # classes of prompts over which TTFT is summed
_GAP_CELLS = 24  # classes of output length over which TBT percentiles are summed


@dataclass(frozen=True, eq=False)
class MixedState:
    """Where a lane settles when `batch` sequences decode on it; arrays of one shape.

    Attributes
    ----------
    batch : ndarray
        Sequences decoding.
    rate_per_s : ndarray
        Requests that the lane then serves [requests/s].
    decode_step_s, prompt_step_s, prompt_step_cv2 : ndarray
        Time of a step without prompts; mean [s] and variability of one with a prompt.
    tbt_s : ndarray
        Mean time between tokens [s].
    prompt_chance : ndarray
        Chance q that a token's step carries a prompt.
    prompt_share : ndarray
        Share r of time in steps that carry a prompt.
    """

    batch: Floats
    rate_per_s: Floats
    decode_step_s: Floats
    prompt_step_s: Floats
    prompt_step_cv2: Floats
    tbt_s: Floats
    prompt_chance: Floats
    prompt_share: Floats


class MixedQueue:
    """Requests of one traffic on any number of like lanes that prefill and decode.

    Notes
    -----
    Per lane, l requests/s arrive. A step that carries a prompt takes T_p (the decoding sequences ride along);
    prompts take the share r = l E[T_p]. Steps run at (1-r)/t_d(B) + l a second, and mean TBT is its inverse;
    B = l E[g] TBT closes the loop, which gives l as a function of B:

        l = (B/t_d) / (E[g] + B (E[T_p]/t_d - 1))                                                      (1)

    Each of a request's g decode steps carries a prompt with chance q = l TBT, so its mean TBT is
    t_d + (T_p - t_d) X/g with X ~ Binomial(g, q): short answers have the widest spread. The wait of a prompt is
    that of G/G/k at load r, plus the rest of the running step.

    Join-shortest-queue sends a prompt to a lane with fewer sequences than the mean: with x = B + r requests a
    lane it meets floor(x) of them, about x - (1 - 1/k)/2. Decoding sequences therefore see prompts at the share
    s = (x - (1 - 1/k)/2) / x of the average rate, which scales l and r in TBT, q and (1).
    """

    def __init__(self, lane: Lane, traffic: Traffic) -> None:
        self._lane, self._traffic = lane, traffic
        self.most_resident = lane.resident_sequences(traffic)
        prompt, weight = traffic.prompt_tokens, traffic.weight
        self.alone_s = lane.prefill_time_s(prompt)
        self._mean_alone_s = float(weight @ self.alone_s)
        self._var_alone = float(weight @ (self.alone_s - self._mean_alone_s) ** 2)
        top = max(self.most_resident, 1.0)
        self._batch = np.unique(np.concatenate([np.arange(0.0, min(top, 32.0) + 1), np.linspace(0.0, top, 65)]))
        context = traffic.decode_context_tokens
        self._decode_s = lane.decode_time_s(np.maximum(self._batch, 1.0), context)
        # T_p(L, B) = offset(B) + slope(B) S(L): exact at two prompt sizes, near it between.
        small, large = _two_sizes(prompt, weight)
        low_s, high_s = (
            lane.step.step_time_s(mixed_batch(size, 1.0, self._batch, context)) for size in (small, large)
        )
        alone_low, alone_high = lane.prefill_time_s(np.array([small, large]))
        spread = alone_high - alone_low
        self._slope = (high_s - low_s) / spread if spread > 1e-12 else low_s / alone_low
        self._offset = low_s - self._slope * alone_low
        several = np.where(traffic.decode_steps > 0, weight, 0.0)
        self._gap_cells = _cells(traffic.decode_steps, several, _GAP_CELLS)
        self._gaps = np.maximum(self._gap_cells.means(traffic.decode_steps), 1.0)
        # TTFT and its limits depend on the prompt alone, so it is enough to look at classes of prompts.
        self._prompt_cells = _cells(traffic.prompt_tokens, weight, _PROMPT_CELLS)
        self._alone_of_cell = self._prompt_cells.means(self.alone_s)

    @property
    def largest_batch(self) -> float:
        """Most sequences on a lane that KV memory allows, with room for their number to fluctuate."""
        # Their number is about Poisson: B + 2.33 sqrt(B) <= most_resident keeps the memory free 99 % of the time.
        return ((np.sqrt(2.326**2 + 4.0 * max(self.most_resident, 0.0)) - 2.326) / 2.0) ** 2

    def stable_rate_per_s(self, n_lanes: Floats) -> Floats:
        """Rate at which every lane holds the largest batch that memory allows [requests/s]."""
        return self.state(np.full(n_lanes.shape, self.most_resident), n_lanes).rate_per_s * n_lanes

    def state(self, batch: Floats, n_lanes: Floats) -> MixedState:
        """Where a lane settles with `batch` sequences decoding, from (1); both of shape (k,)."""
        overloaded = ~np.isfinite(batch)  # a lane that cannot carry its load is marked by an infinite batch
        batch = np.where(overloaded, self._batch[-1], batch)
        decode_s = np.interp(batch, self._batch, self._decode_s)
        slope = np.interp(batch, self._batch, self._slope)
        prompt_s = np.interp(batch, self._batch, self._offset) + slope * self._mean_alone_s
        cv2 = slope**2 * self._var_alone / prompt_s**2
        g = self._traffic.mean_decode_steps
        rate = (batch / decode_s) / (g + batch * (prompt_s / decode_s - 1.0))
        met = _met_share(batch + np.minimum(rate * prompt_s, 1.0), n_lanes)
        rate = (batch / decode_s) / (g + met * batch * (prompt_s / decode_s - 1.0))
        share = np.minimum(rate * prompt_s, 1.0 - 1e-12)
        tbt = 1.0 / ((1.0 - met * share) / decode_s + met * rate)
        batch = np.where(overloaded, np.inf, batch)
        return MixedState(batch, rate, decode_s, prompt_s, cv2, tbt, np.minimum(met * rate * tbt, 1.0), share)

    def batch_at(self, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Sequences decoding on a lane when the pool gets `rate_per_s` [requests/s]; infinite where it cannot."""
        rate = np.asarray(rate_per_s, dtype=float) / n_lanes
        lo, hi = np.zeros_like(rate), np.full_like(rate, max(self.most_resident, 1e-9))
        possible = self.state(hi, n_lanes).rate_per_s >= rate
        for _ in range(48):
            middle = (lo + hi) / 2.0
            enough = self.state(middle, n_lanes).rate_per_s >= rate
            lo, hi = np.where(enough, lo, middle), np.where(enough, middle, hi)
        return np.where(possible, hi, np.inf)

    def wait(self, state: MixedState, n_lanes: Floats) -> WaitTail:
        """Queueing delay of a prompt behind other prompts, on a pool of `n_lanes`."""
        rate = state.rate_per_s * n_lanes
        return ggk_wait(rate, n_lanes, state.prompt_step_s, state.prompt_step_cv2, self._traffic.arrival_cv2)

    def exceeds_ttft(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests whose TTFT exceeds the limit of their point; state and lanes of shape (k,)."""
        wait = self.wait(state, n_lanes)
        wait = WaitTail(wait.probability[:, None], wait.decay_per_s[:, None])
        slack = self._prompt_cells.means(limit_s) - self._own_step_s(state, self._alone_of_cell)
        late = np.zeros(state.batch.shape)
        for part in _RESIDUAL:
            running = part * np.where(state.batch > 1e-9, state.decode_step_s, 0.0)
            late = late + wait.exceeds(slack - running[:, None]) @ self._prompt_cells.share
        return late / _RESIDUAL.size

    def exceeds_tbt(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests (with several tokens) whose mean TBT exceeds the limit of their point, shape (k,)."""
        if self._gaps.size == 0:
            return np.zeros(state.batch.shape)
        limit = self._gap_cells.means(limit_s)
        g, d, p = self._gaps, state.decode_step_s[:, None], state.prompt_step_s[:, None]
        q = np.minimum(state.prompt_chance, 1.0)[:, None]
        # Few expected prompts: sum the binomial exactly. Many: the whole compound is close to normal.
        mean, variance = g * q, g * q * (1.0 - q)
        x = np.arange(0.0, _FEW_PROMPTS)
        log_pmf = _log_binomial(x, g[:, None], q[..., None])
        centre = d[..., None] + (p - d)[..., None] * x / g[:, None]
        sd = np.sqrt(x * state.prompt_step_cv2[:, None, None]) * p[..., None] / g[:, None] + 1e-12
        few = (np.exp(log_pmf) * _normal_tail((limit[:, None] - centre) / sd)).sum(axis=-1)
        few = few + np.maximum(1.0 - np.exp(log_pmf).sum(axis=-1), 0.0)
        spread = np.sqrt(variance * (p - d) ** 2 + mean * state.prompt_step_cv2[:, None] * p**2) / g + 1e-12
        many = _normal_tail((limit - (d + (p - d) * q)) / spread)
        return np.where(mean > _FEW_PROMPTS / 3.0, many, few) @ self._gap_cells.share

    def exceeds_e2e(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests whose end-to-end latency exceeds the limit of their point, shape (k,)."""
        wait = self.wait(state, n_lanes)
        wait = WaitTail(wait.probability[:, None], wait.decay_per_s[:, None])
        g = self._traffic.decode_steps
        d, p, q = state.decode_step_s[:, None], state.prompt_step_s[:, None], state.prompt_chance[:, None]
        mean = g * (d + (p - d) * q)
        sd = np.sqrt(g * q * ((1.0 - q) * (p - d) ** 2 + state.prompt_step_cv2[:, None] * p**2))
        slack = limit_s - self._own_step_s(state, self.alone_s) - 0.5 * d - mean
        late = np.zeros(state.batch.shape)
        for node, share in zip(_HERMITE_X, _HERMITE_W, strict=True):
            late = late + share * (wait.exceeds(slack - node * sd) @ self._traffic.weight)
        return late

    def _own_step_s(self, state: MixedState, alone_s: Floats) -> Floats:
        """Time of the step that computes prompts which take `alone_s` alone, shape (k, n)."""
        slope = np.interp(state.batch, self._batch, self._slope)
        offset = np.interp(state.batch, self._batch, self._offset)
        return offset[:, None] + slope[:, None] * alone_s


def _met_share(requests: Floats, n_lanes: Floats) -> Floats:
    """Requests on the lane that a prompt joins, over the mean, under join-shortest-queue."""
    gap = (1.0 - 1.0 / n_lanes) / 2.0
    # Below one request a lane there is usually an idle one; the straight line would turn negative there.
    shorter = np.where(requests > 2.0 * gap, requests - gap, requests**2 / np.maximum(4.0 * gap, 1e-12))
    return np.where(requests > 0, shorter / np.maximum(requests, 1e-12), 1.0)


def _two_sizes(prompt: Floats, weight: Floats) -> tuple[float, float]:
    """Prompt sizes a quarter and nine tenths up the distribution, apart where the distribution allows."""
    order = np.argsort(prompt)
    cumulative = np.cumsum(weight[order])
    low, high = (float(prompt[order][np.searchsorted(cumulative, p * cumulative[-1])]) for p in (0.25, 0.9))
    return low, high


@dataclass(frozen=True, eq=False)
class _Cells:
    """Points of the traffic gathered into classes.

    Attributes
    ----------
    order, starts : ndarray of int
        Points in order, and where each class starts among them.
    weight : ndarray
        Weight of the points, in that order.
    share : ndarray, shape (c,)
        Share of each class; sums to 1.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    weight: Floats
    share: Floats

    def means(self, values: Floats) -> Floats:
        """Mean of `values` (one a point) in each class."""
        if not self.order.size:
            return np.zeros(0)
        return np.add.reduceat(self.weight * values[self.order], self.starts) / np.add.reduceat(self.weight, self.starts)


def _cells(values: Floats, weight: Floats, n_cells: int) -> _Cells:
    """Points of positive weight in `n_cells` classes of like value, smaller towards the top, where limits bind."""
    chosen = np.flatnonzero(weight > 0)
    order = chosen[np.argsort(values[chosen], kind="stable")]
    if not order.size:
        return _Cells(order, order, np.zeros(0), np.zeros(0))
    at = 1.0 - (1.0 - np.linspace(0.0, 1.0, n_cells, endpoint=False)) ** 1.5
    starts = np.unique((at * order.size).astype(np.int64))
    ordered = weight[order]
    share = np.add.reduceat(ordered, starts)
    return _Cells(order, starts, ordered, share / share.sum())


_LOG_FACTORIAL = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, 26.0)))])


def _log_binomial(x: Floats, n: Floats, q: Floats) -> Floats:
    """log P(X = x), X ~ Binomial(n, q), for real n >= 1: falling factorials, -inf beyond n."""
    q = np.clip(q, 1e-15, 1.0 - 1e-15)
    terms = np.maximum(n - np.arange(0.0, x.size - 1), 1e-300)
    falling = np.concatenate([np.zeros((*n.shape[:-1], 1)), np.cumsum(np.log(terms), axis=-1)], axis=-1)
    log_pmf = falling - _LOG_FACTORIAL[: x.size] + x * np.log(q) + np.maximum(n - x, 0.0) * np.log1p(-q)
    return np.where(x <= n, log_pmf, -np.inf)


def _normal_tail(z: Floats) -> Floats:
    """P(N > z) for a standard normal N, to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    x = np.abs(z) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * poly * np.exp(-x * x)
    return np.where(z >= 0, tail, 1.0 - tail)
