"""A pool that only decodes: continuous batching as generalised processor sharing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Floats
from planner.serving.erlang import WaitTail
from planner.serving.requests import Lane, Traffic

_REST = np.array([1.0, 3.0, 5.0]) / 6.0  # of the running step that an arrival waits for: midpoints of thirds
STATES_AT_ONCE = 256  # states summed exactly; larger pools are summed over a window of as many points


@dataclass(frozen=True, eq=False)
class Upstream:
    """What requests went through before they reach a decode pool.

    Attributes
    ----------
    wait : WaitTail
        Queueing before prefill, scalar attributes.
    prefill_s, transfer_s : ndarray, shape (n,)
        Prompt computation and exposed KV transfer of each point [s].
    """

    wait: WaitTail
    prefill_s: Floats
    transfer_s: Floats


Upstreams = Sequence[tuple[float, Upstream]]  # shares of the requests, which sum to 1, and what those went through

# Share of requests that are late, from the step time [s] and whether a step was running when they arrived.
LateCurve = Callable[[Floats, NDArray[np.bool_]], Floats]


@dataclass(frozen=True, eq=False)
class DecodeState:
    """What an arrival finds in the pool, at each of k operating points.

    Attributes
    ----------
    batch, probability, step_s : ndarray, shape (k, s)
        Requests a lane, the probability of finding them, and the step time that the arrival then sees [s].
    running : ndarray of bool, shape (k, s)
        Whether the lane that the arrival joins is in the middle of a step.
    memory_full : ndarray, shape (k,)
        Probability that no KV memory is free, so that the arrival waits; 1 where the pool is unstable.
    """

    batch: Floats
    probability: Floats
    step_s: Floats
    running: NDArray[np.bool_]
    memory_full: Floats

    def share(self, late: LateCurve, limited: float = 1.0) -> Floats:
        """Share of requests that are late, shape (k,); waiting for memory counts as late.

        `limited` is the share of requests that the limit is for: those without one are not late when they wait.
        """
        return (self.probability * late(self.step_s, self.running)).sum(axis=1) + limited * self.memory_full

    def part(self, first: int, last: int) -> DecodeState:
        """Of the operating points from one up to another."""
        rows = slice(first, last)
        return DecodeState(
            self.batch[rows], self.probability[rows], self.step_s[rows], self.running[rows], self.memory_full[rows]
        )

    def mean_batch(self) -> Floats:
        """Mean sequences decoding on a lane while memory is free, shape (k,)."""
        return (self.batch * self.probability).sum(axis=1)


class DecodeQueue:
    """Requests of one traffic decoding on any number of like lanes.

    Notes
    -----
    With join-shortest-queue the n requests present are spread evenly: lanes hold floor(n/k) or one more, and a
    request sees on average the batch

        b(x) = (m^2 + f (2m + 1)) / x,  x = n/k, m = floor(x), f = x - m.                            (6.3)

    If all proceed at the pace of that batch this is generalised processor sharing, whose stationary law does not
    depend on the law of output lengths (Kelly 1979):

        pi(n) ~ prod_{i<=n} lambda E[g] tbt(b(i/k)) / i,                                             (6.4)

    g decode steps a request, tbt the step time at the mean context that a decode step sees. A request that joins a
    running step first waits for its end: half a step, which is long beside an answer of few tokens.
    Beyond the batch that memory allows, requests wait and the total pace stays constant. Arrivals see (6.4)
    (PASTA). Burstier arrivals widen it by the peakedness z = (1 + c_a^2)/2: pi^(1/z).

    References
    ----------
    .. [1] Kelly, Reversibility and Stochastic Networks, 1979, section 3.3.
    .. [2] Eckberg, Generalized peakedness of teletraffic processes, ITC 10, 1983.
    """

    def __init__(self, lane: Lane, traffic: Traffic) -> None:
        self._traffic, self._lane = traffic, lane
        self._peakedness = (1.0 + traffic.arrival_cv2) / 2.0
        top = max(float(lane.resident_sequences(traffic)), 1.0)  # of one lane alone, where it is largest
        # Step time over the batch, dense enough to interpolate; log-sums of it are what (6.4) needs.
        self._batch = np.unique(np.concatenate([np.arange(0.0, min(top, 64.0) + 1), np.linspace(0.0, top, 129)]))
        self._tbt_s = lane.decode_time_s(np.maximum(self._batch, 1.0), traffic.decode_context_tokens)
        # Pace over the requests a lane x, and its integral, for pools of too many requests to count one by one.
        fine = np.arange(0.0, min(top, 64.0) * 8 + 1) / 8
        self._x = np.unique(np.concatenate([fine, np.linspace(0.0, top, 129)]))
        log_tbt = np.log(self.step_time_s(self._seen(self._x)))
        self._log_tbt = np.append(log_tbt, log_tbt[-1])
        steps = np.diff(self._x)
        self._log_integral = np.concatenate([[0.0], np.cumsum((log_tbt[1:] + log_tbt[:-1]) / 2.0 * steps)])
        self._spacing = np.append(steps, 1.0)

    def step_time_s(self, batch: Floats) -> Floats:
        """Time of a decode step at a batch per lane [s]."""
        return np.interp(batch, self._batch, self._tbt_s)

    def _seen(self, x: Floats) -> Floats:
        """Batch that a request sees with `x` requests a lane: (6.3), at least itself."""
        whole = np.floor(x)
        return np.maximum((whole**2 + (x - whole) * (2.0 * whole + 1.0)) / np.maximum(x, 1e-12), 1.0)

    def most_resident(self, n_lanes: Floats) -> Floats:
        """Sequences on each of so many lanes that KV memory and the batch limit allow."""
        return self._lane.resident_sequences(self._traffic, n_lanes)

    def stable_rate_per_s(self, n_lanes: Floats) -> Floats:
        """Rate at which every lane always runs the largest batch that memory allows [requests/s]."""
        most = self.most_resident(n_lanes)
        rate = n_lanes * most / self.step_time_s(most) / self._traffic.mean_decode_steps
        return np.where(most < 1.0, 0.0, rate)

    def late_tbt(self, limit_s: Floats, transfer_s: Floats) -> LateCurve:
        """Share of requests whose mean TBT misses its limit, as a function of the step time.

        Parameters
        ----------
        limit_s, transfer_s : ndarray, shape (n,)
            Limit of each point, and exposed KV transfer, which lengthens its first gap [s].

        Returns
        -------
        LateCurve
            Of the requests with more than one output token.
        """
        return self.late_tbt_of([(1.0, transfer_s)], limit_s)

    def late_tbt_of(self, transfers: Sequence[tuple[float, Floats]], limit_s: Floats) -> LateCurve:
        """The same where shares of the requests, which sum to 1, have transfers of their own."""
        g, weight = self._traffic.decode_steps, self._traffic.weight
        several = g > 0
        total = weight[several].sum()
        if total <= 0:
            return lambda step_s, running: np.zeros_like(step_s)
        g, weight, limit_s = g[several], weight[several] / total, limit_s[several] * g[several]
        allowed = np.stack([limit_s - transfer_s[several] for _, transfer_s in transfers])[:, None, :]
        shares = np.array([share for share, _ in transfers])[:, None, None]

        def late(waits: Floats) -> Callable[[Floats], Floats]:
            # A gap is late where step > (limit g - transfer) / (g + rest of the running step).
            threshold = (allowed / (g + waits[:, None])).ravel()
            order = np.argsort(threshold)
            share = (shares * np.broadcast_to(weight / waits.size, (waits.size, g.size))).ravel()
            below = np.concatenate([[0.0], np.cumsum(share[order])])
            threshold = threshold[order]
            return lambda step_s: below[np.searchsorted(threshold, step_s, side="left")]

        joining, alone = late(_REST), late(np.zeros(1))
        return lambda step_s, running: np.where(running, joining(step_s), alone(step_s))

    def late_e2e(self, limit_s: Floats, upstream: Upstream) -> LateCurve:
        """Share of requests whose end-to-end latency misses its limit, as a function of the step time."""
        g = self._traffic.decode_steps
        slack = limit_s - upstream.prefill_s - np.where(g > 0, upstream.transfer_s, 0.0)
        grid = np.unique(np.concatenate([self._tbt_s, np.linspace(self._tbt_s[0], self._tbt_s[-1], 33)]))
        joining, alone = (
            upstream.wait.exceeds(slack - np.outer(grid, g + rest)) @ self._traffic.weight
            for rest in (np.where(g > 0, 0.5, 0.0), 0.0)
        )
        return lambda step_s, running: np.where(
            running, np.interp(step_s, grid, joining), np.interp(step_s, grid, alone)
        )

    def mean_e2e_s(self, state: DecodeState, upstreams: Upstreams) -> Floats:
        """Mean of the end-to-end latency that `late_e2e` has the distribution of [s], shape (k,).

        Who finds no memory free is taken to wait for as long as an answer takes, as often as he finds none.
        """
        g, weight = self._traffic.decode_steps, self._traffic.weight
        before = sum(
            share * (float(up.wait.mean_s()) + float((up.prefill_s + np.where(g > 0, up.transfer_s, 0.0)) @ weight))
            for share, up in upstreams
        )
        steps = float(g @ weight) + 0.5 * float(weight[g > 0].sum()) * state.running
        served = np.maximum(1.0 - state.memory_full, 1e-300)
        decoding = (state.probability * state.step_s * steps).sum(axis=1) / served
        return before + decoding / served

    def state(self, rate_per_s: Floats, n_lanes: Floats) -> DecodeState:
        """What arrivals find at each of k rates on each of k numbers of lanes; arguments of shape (k,)."""
        states, probability, full = self._states(rate_per_s, n_lanes)
        lanes = n_lanes[:, None]
        # An arrival is itself part of the batch it sees.
        most = self.most_resident(n_lanes)[:, None]
        step_s = self.step_time_s(np.minimum(self._seen((states + 1.0) / lanes), np.maximum(most, 1.0)))
        return DecodeState(states / lanes, probability, step_s, states >= lanes, full)

    def _states(self, rate_per_s: Floats, n_lanes: Floats) -> tuple[Floats, Floats, Floats]:
        """States (k, s), their probabilities (k, s), and the probability (k,) of finding the memory full."""
        load = np.maximum(rate_per_s * self._traffic.mean_decode_steps, 1e-300)
        resident = self.most_resident(n_lanes)
        most = np.maximum(np.floor(n_lanes * resident), 1.0)
        exact = most < STATES_AT_ONCE
        n = np.arange(STATES_AT_ONCE, dtype=float)
        if exact.all():
            states, log_weight = np.broadcast_to(n, (most.size, STATES_AT_ONCE)), self._exact_log_weight(load, n_lanes)
        else:
            many = ~exact
            states, log_weight = (np.empty((most.size, STATES_AT_ONCE)) for _ in range(2))
            states[exact], log_weight[exact] = n, self._exact_log_weight(load[exact], n_lanes[exact])
            states[many] = self._window(load[many], n_lanes[many], most[many], resident[many])
            log_weight[many] = self._smooth_log_weight(states[many], load[many], n_lanes[many])
        # States of a window stand for `spacing` of them each.
        spacing = np.where(exact, 1.0, states[:, 1] - states[:, 0])
        reaches_limit = exact | (states[:, -1] >= most * (1.0 - 1e-12))
        pressure = load * self.step_time_s(resident) / most
        last = np.minimum(most, STATES_AT_ONCE).astype(np.int64)[:, None] - 1
        before = np.take_along_axis(log_weight, last, axis=1)[:, 0]
        at_limit = np.where(exact, before + np.log(pressure), log_weight[:, -1]) / self._peakedness
        log_weight = np.where(states < most[:, None], log_weight, -np.inf) / self._peakedness
        top = np.maximum(log_weight.max(axis=1), np.where(reaches_limit, at_limit, -np.inf))
        mass = np.exp(log_weight - top[:, None])
        at_limit = np.where(reaches_limit, np.exp(np.minimum(at_limit - top, 0.0)), 0.0)
        # From the memory limit on, the pace is constant: a geometric tail. Of the window's last interval, half belongs
        # to the state at its end, which is not below the limit.
        ratio = pressure ** (1.0 / self._peakedness)
        mass[:, -2] += np.where(exact, 0.0, at_limit * (spacing - 1.0) / (2.0 * spacing))
        unstable = ratio >= 1.0
        tail = at_limit / np.where(unstable, 1.0, np.maximum(1.0 - ratio, 1e-12)) / spacing
        total = mass.sum(axis=1) + tail
        probability = np.where(unstable[:, None], 0.0, mass / total[:, None])
        return states, probability, np.where(unstable, 1.0, tail / total)

    def _exact_log_weight(self, load: Floats, lanes: Floats) -> Floats:
        i = np.arange(1.0, STATES_AT_ONCE)
        steps = np.log(load[:, None] * self.step_time_s(self._seen(i / lanes[:, None])) / i)
        return np.concatenate([np.zeros((lanes.size, 1)), np.cumsum(steps, axis=1)], axis=1)

    def _smooth_log_weight(self, states: Floats, load: Floats, lanes: Floats) -> Floats:
        """Logarithm of (6.4) for many requests: the sum as an integral, the factorial by Stirling."""
        n = np.maximum(states, 1.0)
        # The sum over 1..n is the integral from 1/2 to n + 1/2 (midpoint rule).
        x = (n + 0.5) / lanes[:, None]
        integral = self._integral_of_log_tbt(x) - self._integral_of_log_tbt(0.5 / lanes[:, None])
        factorial = n * np.log(n) - n + 0.5 * np.log(2.0 * np.pi * n) + 1.0 / (12.0 * n)
        return n * np.log(load[:, None]) + lanes[:, None] * integral - factorial

    def _integral_of_log_tbt(self, x: Floats) -> Floats:
        """int_0^x log tbt(b(x)); quadratic between grid points, for it is multiplied by the number of lanes."""
        at = np.clip(np.searchsorted(self._x, x, side="right") - 1, 0, self._x.size - 1)
        dx = x - self._x[at]
        slope = (self._log_tbt[at + 1] - self._log_tbt[at]) / self._spacing[at]
        return self._log_integral[at] + dx * (self._log_tbt[at] + 0.5 * dx * slope)

    def _window(self, load: Floats, lanes: Floats, most: Floats, resident: Floats) -> Floats:
        """States around the most likely one, nine standard deviations either way."""
        pace = self._batch / self._tbt_s  # sequences a second and lane, rising with the batch
        mode = lanes * np.interp(load / lanes, pace, self._batch)
        mode = np.minimum(mode, most)
        batch = np.clip(mode / lanes, 1.0, np.maximum(resident, 1.0))
        slope = (self.step_time_s(batch * 1.02) - self.step_time_s(batch * 0.98)) / (0.04 * batch)
        elasticity = np.clip(slope * batch / self.step_time_s(batch), 0.0, 0.97)
        width = 9.0 * np.sqrt(np.maximum(mode, 1.0) * self._peakedness / (1.0 - elasticity))
        lo, hi = np.maximum(mode - width, 0.0), np.minimum(mode + width, most)
        return lo[:, None] + (hi - lo)[:, None] * np.linspace(0.0, 1.0, STATES_AT_ONCE)


def late_curve(queue: DecodeQueue, metric: str, limit_s: Floats, upstreams: Upstreams) -> LateCurve:
    """Share of requests whose TBT or E2E misses its limit, by what they went through before."""
    if metric == "tbt":
        return queue.late_tbt_of([(share, up.transfer_s) for share, up in upstreams], limit_s)
    curves = [(share, queue.late_e2e(limit_s, up)) for share, up in upstreams]
    if len(curves) == 1:
        return curves[0][1]

    def late(step_s: Floats, running: NDArray[np.bool_]) -> Floats:
        total = np.zeros(step_s.shape)
        for share, curve in curves:
            total += share * curve(step_s, running)
        return total

    return late
