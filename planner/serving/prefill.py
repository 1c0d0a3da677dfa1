"""A pool that only computes prompts: G/G/k with join-shortest-queue, prompts that wait together batched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from planner.latency.batch import Batch, Floats
from planner.serving.cells import cells
from planner.serving.erlang import WaitTail, erlang_b, erlang_c
from planner.serving.gamma_arrivals import burstiness, wait_probability
from planner.serving.requests import Lane, Traffic

_LANES = np.array([1.0, 3.0, 12.0, 48.0])  # numbers of lanes at which waiting is tabulated; beyond, little changes
_QUEUES = 14  # short queues at which waiting is tabulated
_BATCHES = 9  # batch sizes at which step times are tabulated
_FULL_STEPS = np.geomspace(0.2, 2000.0, 24)  # full steps before one's own at which waiting is tabulated
_CELLS = 96  # classes of prompts
_LEVELS = 24  # classes of steps in work that waiting prompts fill up
_SCAN, _STATES = 14, 32  # states at which the queue is first scanned, and then summed
_NEGLIGIBLE = 16.0  # e-folds below the most likely queue length that are left out
_LEAST_PEAKED = 0.02  # z of arrivals and service that hardly vary
_TYPICAL_LOAD = 0.7  # at which the arrivals during a step of a single prompt are counted
_STEPS_PACKED = 256  # full steps looked at to learn how many prompts fit
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Slack:
    """Share of requests that miss a limit, by what they find on arrival.

    Attributes
    ----------
    idle : float
        On an idle lane.
    queue : ndarray, shape (lanes, v)
        By number of lanes and queue length (the grids of `PrefillQueue`), where every lane is busy.
    """

    idle: float
    queue: Floats


@dataclass(frozen=True, eq=False)
class _Found:
    """What an arrival finds, at each of k operating points.

    Attributes
    ----------
    busy : ndarray, shape (k,)
        Probability that no lane is idle; 1 where the pool is unstable.
    length, probability : ndarray, shape (k, s)
        Queue lengths then, in the unit of `PrefillQueue`, and their distribution.
    """

    busy: Floats
    length: Floats
    probability: Floats


@dataclass(frozen=True, eq=False)
class _Delays:
    """What an arrival that finds every lane busy goes through, by queue length; arrays of shape (v,).

    It waits `certain_s`, then a random time with P(> t) = max(0, 1 - t/scale_s)^power, then for its own step, which
    it shares with `companions` prompts.
    """

    certain_s: Floats
    scale_s: Floats
    power: Floats
    companions: Floats


class PrefillQueue:
    """Prompts of one traffic on any number of like lanes.

    Notes
    -----
    A lane that ends a step computes the waiting prompts in the next one, first come first served, as far as they fit
    the token budget: of w waiting, b(w) = E[min(w, N)], where N is the number that fits. That takes T(b). On average
    half of a batch arrives before the next step begins, so that with n prompts in the pool, x = n/k a lane, and no
    lane idle

        x = w + b(w)/2.                                                                               (6.1)

    The number of prompts in the pool is a birth-death process with the ratios lambda T(1)/n up to n = k and
    rho(x) = lambda T(b)/(k b) beyond. That gives the probability that all lanes are busy; without batching it is
    Erlang's C. Of the queue found then, less variable service makes it shorter: its ratios are

        r = 1/(1 + (1/rho - 1)/z),  z = z_a + (c_s^2 - 1)/2                                           (6.2)

    and their mirror image where rho > 1; c_s^2 is the variance of one prompt's part of a step over (T/b)^2, and z_a is
    1 for Poisson arrivals, otherwise such that r is exact for exponential service (`Burstiness`). With k lanes to
    choose from, the lengths of the prompts ahead matter little. To one lane they add their variance, which is that of
    the exponential tail: the share 1/k of -log r is (1 - rho)/z, the mean being kept. Burstier arrivals find all lanes
    busy more often than they are: the odds rise as they do for exponential service (`wait_probability`). An arrival
    waits for the rest of a running step, the full steps before its own, and its own with all prompts in it. For one
    lane and N = 1 the mean wait is that of Pollaczek and Khinchine.

    A request joins the lane with fewest prompt tokens: see `_joined`. It shares its step with those that wait there,
    and with as many that come after it; where lanes run batches, theirs is the step that began last.

    References
    ----------
    .. [1] Whitt, Approximations for the GI/G/m queue, Production and Operations Management 2(2), 1993, for (6.2).
    .. [2] Inoue, Queueing analysis of GPU-based inference servers with dynamic batching, Performance Evaluation 147,
       2021, for batches that form by themselves.
    """

    def __init__(self, lane: Lane, traffic: Traffic) -> None:
        self._lane, self._traffic = lane, traffic
        self._cells = cells(traffic.prompt_tokens, traffic.weight, _CELLS)
        self._mean_prompt = float(traffic.weight @ traffic.prompt_tokens)
        self._mean_pairs = float(traffic.weight @ _pairs(traffic.prompt_tokens))
        self.alone_s: Floats = lane.prefill_time_s(traffic.prompt_tokens)  # TTFT of each point on an idle lane
        full = full_steps(traffic, float(lane.token_budget))
        self.largest_batch = float(full.n_prompts.mean())
        several = self.largest_batch > 1.0 + 1e-9
        self._batch = np.geomspace(1.0, self.largest_batch, _BATCHES) if several else np.ones(1)
        # Step times by batch size: of each class of prompts, and on average.
        self._own_s = self._service_s(self._batch - 1.0, within_budget=True)
        share = self._cells.share
        any_s = self._service_s(self._batch - 1.0, within_budget=False)
        self._step_s = any_s @ share
        variance = ((any_s - self._step_s[:, None]) ** 2) @ share
        if several:
            # Full steps are what they are; smaller ones differ the less from average prompts put together.
            excess = float(lane.step.step_time_s(full).mean()) / self._step_s[-1] - 1.0
            self._step_s = self._step_s * (1.0 + excess * (self._batch - 1.0) / (self.largest_batch - 1.0))
        self._step_cv2 = self._batch * variance / self._step_s**2
        self._next_prompt_s = (self._step_s[-1] - self._step_s[0]) / (self.largest_batch - 1.0) if several else 0.0
        part_s = self._step_s / self._batch
        # Queues that a step may start from, whom it takes of them, and prompts a lane halfway through it.
        most = int(full.n_prompts.max())
        self._fits = np.concatenate([[0.0], np.cumsum([(full.n_prompts >= j).mean() for j in range(1, most + 1)])])
        short = np.linspace(1.0, 1.5 * most, _QUEUES) if most > 1 else np.ones(1)
        self._queue = np.concatenate([short, short[-1] + self.largest_batch * _FULL_STEPS])
        self._taken = self._fit(self._queue)
        self._full_from = float(short[-1] + self.largest_batch / 2.0)
        self._length = self._queue + self._taken / 2.0
        self._delay_length = np.concatenate([[1.0, 1.25], self._length])
        log_part_s = np.interp(self._taken, self._batch, np.log(part_s))
        self._bursts = burstiness(traffic.arrival_cv2)
        self._log_part_s = log_part_s
        self._varied = np.interp(self._taken, self._batch, (variance / part_s**2 - 1.0) / 2.0)  # (c_s^2 - 1)/2

    def _fit(self, queue: Floats) -> Floats:
        """Prompts that a step takes of a queue: E[min(w, N)]."""
        return np.interp(queue, np.arange(float(self._fits.size)), self._fits)

    def _service_s(self, companions: Floats, within_budget: bool) -> Floats:
        """Step time of each class of prompts with average companions, perhaps no more than the budget allows [s]."""
        prompt = self._cells.means(self._traffic.prompt_tokens)
        pairs = self._cells.means(_pairs(self._traffic.prompt_tokens))
        room = np.maximum(self._lane.token_budget - prompt, 0.0) / self._mean_prompt
        others = np.minimum(companions[:, None], room if within_budget else np.inf)
        none = np.zeros_like(others)
        tokens, pairs = prompt + others * self._mean_prompt, pairs + others * self._mean_pairs
        return self._lane.step.step_time_s(Batch(tokens, pairs, 1.0 + others, none, none))

    def seconds_per_request(self) -> float:
        """Machine time a request costs where there is always a queue to batch from [s]."""
        return float(self._step_s[-1] / self._batch[-1])

    def stable_rate_per_s(self, n_lanes: Floats) -> Floats:
        """Rate at which the lanes are busy all the time [requests/s]."""
        return n_lanes / self.seconds_per_request()

    def utilisation(self, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Rate over the largest that the lanes sustain."""
        return rate_per_s / self.stable_rate_per_s(n_lanes)

    def exceeds(self, limit_s: Floats, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Share of requests whose TTFT exceeds the limit of their point.

        Parameters
        ----------
        limit_s : ndarray, shape (n,)
            Limit of each point of the traffic, of which the prompt alone decides [s].
        rate_per_s, n_lanes : ndarray, shape (k,)
            Arrivals at the pool [requests/s] and its lanes.

        Returns
        -------
        ndarray, shape (k,)
        """
        return self.share(self.slacks(limit_s), rate_per_s, n_lanes)

    def slacks(self, limit_s: Floats) -> Slack:
        """The part of `exceeds` that no rate changes."""
        weight = self._traffic.weight
        beside_s = self._lane.beside_steps_s(self._traffic.prompt_tokens)
        idle = float(weight[self.alone_s > limit_s - beside_s].sum())
        limit, share = self._cells.limits(limit_s)
        # A class has one time beside its steps, as it has one step time, whichever of its requests a limit is for.
        limit = limit - self._cells.means(beside_s)
        queue = np.stack([self._late(limit, delays) @ share for delays in self._delays])
        return Slack(idle, np.maximum(queue, idle))

    def _late(self, limit_s: Floats, delays: _Delays) -> Floats:
        """Chance that a request of each class is late at each queue length, shape (v, c)."""
        at = np.interp(delays.companions, self._batch - 1.0, np.arange(self._batch.size, dtype=float))
        low = np.minimum(at.astype(np.int64), self._batch.size - 1)
        high = np.minimum(low + 1, self._batch.size - 1)
        own_s = self._own_s[low] + (at - low)[:, None] * (self._own_s[high] - self._own_s[low])
        over = (limit_s - own_s - delays.certain_s[:, None]) / delays.scale_s[:, None]
        return np.asarray(np.clip(1.0 - over, 0.0, 1.0) ** delays.power[:, None])

    def share(self, slack: Slack, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """`exceeds`, from the slacks of the limit."""
        found = self._found(rate_per_s, n_lanes)
        return (1.0 - found.busy) * slack.idle + found.busy * self._expected(slack.queue, found, n_lanes)

    def wait(self, rate_per_s: Floats, n_lanes: Floats) -> WaitTail:
        """What queueing adds to the time alone, for what comes after prefill: its probability and mean."""
        found = self._found(rate_per_s, n_lanes)
        added = np.stack(
            [
                d.certain_s + d.scale_s / (d.power + 1.0)
                + np.interp(d.companions, self._batch - 1.0, self._step_s) - self._step_s[0]
                for d in self._delays
            ]
        )  # fmt: skip
        mean = self._expected(added, found, n_lanes)
        return WaitTail(found.busy, np.where(found.busy < 1.0, 1.0 / np.maximum(mean, 1e-12), 0.0))

    def _expected(self, table: Floats, found: _Found, n_lanes: Floats) -> Floats:
        """Mean over the queue lengths found of a table by number of lanes and queue length, shape (k,)."""
        at = np.interp(np.log(n_lanes), np.log(_LANES), np.arange(float(_LANES.size)))
        low = np.minimum(at.astype(np.int64), _LANES.size - 2)
        rows = table[low] + (at - low)[:, None] * (table[low + 1] - table[low])
        position = np.interp(found.length, self._delay_length, np.arange(float(self._delay_length.size)))
        left = np.minimum(position.astype(np.int64), self._delay_length.size - 2)
        part = position - left
        k = np.arange(n_lanes.size)[:, None]
        return (found.probability * ((1.0 - part) * rows[k, left] + part * rows[k, left + 1])).sum(axis=1)

    @cached_property
    def _delays(self) -> list[_Delays]:
        return [self._delays_of(lanes) for lanes in _LANES.tolist()]

    def _delays_of(self, lanes: float) -> _Delays:
        batch = np.concatenate([[1.0, 1.0], self._taken])
        length = self._delay_length
        step_s, cv2 = (np.interp(batch, self._batch, y) for y in (self._step_s, self._step_cv2))
        others = 1.0 - 1.0 / lanes
        waiting_each = np.maximum(length - batch, 0.0)
        in_step, ahead = self._joined(waiting_each, batch, cv2, lanes)
        n = self.largest_batch
        steps = np.maximum((ahead + 1.0 - self._fit(ahead + 1.0)) / n, (ahead - (n - 1.0) / 2.0) / n)
        # The rest of a step in work when a lane is chosen: its equilibrium residual.
        rest_s = step_s * (1.0 + cv2) / 2.0 * in_step
        began_last = step_s * others / 2.0 * np.clip(batch - 1.0, 0.0, 1.0)
        rest_s = rest_s * (1.0 - began_last / step_s)
        # Uniform for steps of one length, nearly exponential for unlike ones: P(R > t) = (1 - t/((p+1) r))^p has
        # E[R^2]/r^2 = 2 (p+1)/(p+2), and the residual of gamma distributed steps 4 (1+2v)/(3 (1+v)); equal for this p.
        varied = np.minimum(cv2, 0.9)
        power = (1.0 + 5.0 * varied) / (1.0 - varied)
        # Those that wait on the lane share its next step, and so do those that arrive during the rest of this one: at
        # one lane the more the longer it is. Of many lanes one takes as many after as before any of its prompts.
        waiting = self._fit(1.0 + ahead)
        later = np.where(batch > 1.0 + 1e-9, 1.0, _TYPICAL_LOAD) * batch * (1.0 + cv2) / 2.0
        later_s = (self._fit(1.0 + ahead + later) - waiting) * self._next_prompt_s / lanes
        own = np.maximum(self._fit(1.0 + ahead * (1.0 + others)), batch * others)
        return _Delays(steps * self._step_s[-1] + began_last, (rest_s + later_s) * (power + 1.0), power, own - 1.0)

    def _joined(self, waiting: Floats, batch: Floats, cv2: Floats, lanes: float) -> tuple[Floats, Floats]:
        """Step in work on the lane joined, over the mean, and prompts that wait there, if `waiting` do on each.

        Notes
        -----
        Prompts join the lane with least work, so they fill up the lanes with the shortest steps to one level y. A lane
        below it takes prompts until it is above, in number a renewal function; with steps s as they are found, the
        longer the likelier, and prompts of mean m and variability c^2,

            waiting = E[(y - s)+]/m + (1 + c^2)/2 P(s < y),                                          (6.2c)

        where the first term is of lanes that have others waiting, the second of lanes that have none.
        """
        others = 1.0 - 1.0 / lanes
        order = np.argsort(self.alone_s)
        share = self._traffic.weight[order] * self.alone_s[order]
        below = np.cumsum(share / share.sum())
        step = self.alone_s[order] * below[-1] / float(self.alone_s[order] @ (share / share.sum()))  # mean 1
        # Levels one after the other, each class of the shortest steps alike.
        part = np.arange(1.0, _LEVELS) / _LEVELS
        few, long = np.searchsorted(below, part), np.searchsorted(step, part * step[-1])
        edges = np.unique(np.concatenate([few, long, [step.size - 1]]))
        level, p = (np.concatenate([[0.0], y[edges]]) for y in (step, below))
        filled = np.concatenate([[0.0], np.cumsum(share / share.sum() * step)[edges]])
        water = level * p - filled  # E[(y - s)+]
        alone_cv2 = float(self._step_cv2[0])
        renewal = (1.0 + alone_cv2) / 2.0
        # Steps of several prompts differ less: all lengths are that much closer to 1.
        spread = np.minimum(np.sqrt(cv2 / max(alone_cv2, 1e-12)), 1.0)[:, None]
        m = (1.0 / (batch * (1.0 + cv2)))[:, None]
        rise = np.diff(level) * spread
        fresh = renewal * np.diff(p)
        stacked = rise * (p[1:] + p[:-1]) / 2.0 / m
        taken = np.cumsum(stacked + fresh, axis=1)
        in_step = (stacked * _conditional(filled, p) + fresh * (level[1:] + level[:-1]) / 2.0) / (stacked + fresh)
        in_step = 1.0 + spread * (in_step - 1.0)
        ahead = stacked / (stacked + fresh) * _conditional(water, p) * spread / m
        middle = taken - (stacked + fresh) / 2.0
        in_step, ahead = (
            np.array([np.interp(w, x, row) for w, x, row in zip(waiting, middle, y, strict=True)])
            for y in (in_step, ahead)
        )
        above = waiting > taken[:, -1]
        in_step, ahead = np.where(above, 1.0, in_step), np.where(above, np.maximum(waiting - renewal, ahead), ahead)
        shortest = 1.0 - spread[:, 0] * (1.0 - self._shortest_of(lanes))
        return np.maximum(1.0 / lanes + others * in_step, shortest), waiting / lanes + others * ahead

    def _shortest_of(self, lanes: float) -> float:
        """Mean length of the shortest of k steps in work over that of any, one prompt each."""
        order = np.argsort(self.alone_s)
        service = self.alone_s[order]
        by_time = self._traffic.weight[order] * service
        longer = np.cumsum(by_time[::-1])[::-1] / by_time.sum()
        steps = np.diff(service, prepend=0.0)
        return float(steps @ longer**lanes) / float(steps @ longer)

    def _found(self, rate_per_s: Floats, n_lanes: Floats) -> _Found:
        """What arrivals find at each of k rates on each of k numbers of lanes; arguments of shape (k,)."""
        k, log_rate = n_lanes[:, None], np.log(np.maximum(rate_per_s, 1e-300) / n_lanes)[:, None]

        def log_ratios(waiting: Floats) -> tuple[Floats, Floats]:
            """log rho and log r of (6.2) with so many prompts beyond the k in work."""
            length = 1.0 + waiting / k
            log_rho = log_rate + np.interp(length, self._length, self._log_part_s)
            z, z_of_one = self._peakedness(log_rho, np.interp(length, self._length, self._varied))
            away = np.minimum(np.abs(log_rho), 50.0)
            gap = np.log1p(np.expm1(away) / z)
            gap = gap + (-np.expm1(-away) / z_of_one - gap) / k
            return log_rho, np.copysign(gap, log_rho)

        # Queue lengths that matter: scan as far as the queue can be, then look closely at the likely ones.
        scan = self._farthest(log_rate, k) * (np.arange(_SCAN + 1.0) / _SCAN) ** 2
        log_w = _cumulative(log_ratios(_middle(scan))[1], np.diff(scan, axis=1))
        likely = log_w > log_w.max(axis=1, keepdims=True) - _NEGLIGIBLE
        first = np.maximum(likely.argmax(axis=1) - 1, 0)[:, None]
        last = np.minimum(_SCAN + 1 - likely[:, ::-1].argmax(axis=1), _SCAN)[:, None]
        lo, hi = np.take_along_axis(scan, first, axis=1), np.take_along_axis(scan, last, axis=1)
        # One by one where there are few (of half as many again the last matter little); else closer where the queue
        # is short.
        lo = np.floor(lo)
        one_by_one = hi - lo <= 1.5 * _STATES
        hi = np.where(one_by_one, lo + _STATES, hi)
        part = np.arange(_STATES + 1.0) / _STATES
        waiting = lo + (hi - lo) * np.where((lo > 0) | one_by_one, part, part**1.5)
        steps = np.diff(waiting, axis=1)
        log_rho, log_r = log_ratios(_middle(waiting))
        # Each stands for the states about it (trapezoids; the first is one state and half of those up to the second).
        span = np.ones_like(waiting)
        span[:, 1:] = steps
        span[:, :-1] += steps
        span /= 2.0
        log_w = _cumulative(log_r, steps)
        log_w[:, 0] += np.where(lo[:, 0] > 0, 0.0, self._nobody_waits(log_rate[:, 0], n_lanes))
        probability = span * np.exp(log_w - log_w.max(axis=1, keepdims=True))
        probability = probability / probability.sum(axis=1, keepdims=True)
        # All lanes are busy: the weight of these states, against that of fewer prompts by Erlang: 1/B - 1.
        log_w = _cumulative(log_rho, steps)
        top = log_w.max(axis=1)
        beyond = np.exp(log_w[:, -1] - top) / np.maximum(-np.expm1(log_rho[:, -1]), 1e-9)
        log_busy = top + np.log((span * np.exp(log_w - top[:, None])).sum(axis=1) + beyond)
        with np.errstate(divide="ignore", over="ignore"):
            others = 1.0 / erlang_b(n_lanes, rate_per_s * self._step_s[0]) - 1.0
            busy = 1.0 / (1.0 + others * np.exp(-log_busy))
        busy = self._seen_by_arrivals(busy, rate_per_s * self._step_s[0], n_lanes)
        stable = log_rate[:, 0] + self._log_part_s[-1] < -1e-9
        length = np.where(stable[:, None], 1.0 + waiting / k, self._length[-1])
        return _Found(np.where(stable, np.where(lo[:, 0] > 0, 1.0, busy), 1.0), length, probability)

    def _peakedness(self, log_rho: Floats, varied: Floats) -> tuple[Floats, Floats]:
        """z of (6.2) for the queue in prompts, and for the wait at one lane, from log rho and (c_s^2 - 1)/2."""
        rho = np.exp(np.minimum(log_rho, 0.0))
        z, z_of_one = self._bursts.queue(rho) + varied, self._bursts.decay(rho) + varied
        return np.maximum(z, _LEAST_PEAKED), np.maximum(z_of_one, _LEAST_PEAKED)

    def _nobody_waits(self, log_rate: Floats, lanes: Floats) -> Floats:
        """Logarithm of the weight that the state of no prompt waiting needs for the mean of (6.2), shape (k,)."""
        log_rho = log_rate + self._log_part_s[0]
        z, z_of_one = self._peakedness(log_rho, self._varied[0])
        rho = np.exp(np.minimum(log_rho, -1e-9))
        mean = z * rho / (1.0 - rho)
        slow = mean / (1.0 + mean)
        q = np.exp(np.log(slow) + (-(1.0 - rho) / z_of_one - np.log(slow)) / lanes)
        some = mean * (1.0 - q)
        weight = q * (1.0 - some) / np.maximum(some * (1.0 - q), 1e-300)
        return np.where((log_rho < 0) & (some < 1.0), np.log(np.maximum(weight, 1e-300)), 0.0)

    def _seen_by_arrivals(self, busy: Floats, load: Floats, lanes: Floats) -> Floats:
        """Chance that an arrival finds all lanes busy, from the share of time they are; equal for Poisson."""
        if self._bursts.poisson:
            return busy
        load = np.minimum(load, 0.995 * lanes)
        wait, poisson = wait_probability(lanes, load, self._bursts.cv2), erlang_c(lanes, load)
        odds = np.maximum(wait, 1e-300) / np.maximum(1.0 - wait, 1e-12)
        odds *= np.maximum(1.0 - poisson, 1e-12) / np.maximum(poisson, 1e-300)
        return busy * odds / (1.0 - busy + busy * odds)

    def _farthest(self, log_rate: Floats, k: Floats) -> Floats:
        """Waiting prompts beyond which there are never more, shape (k, 1)."""

        def dies_out_in(log_rho: Floats, z: float) -> Floats:
            return _NEGLIGIBLE * (1.0 + z / np.maximum(-np.expm1(log_rho), 1e-6))

        most = self._bursts.most + self._varied
        batched = k * self._full_from + dies_out_in(log_rate + self._log_part_s[-1], max(most.max(), _LEAST_PEAKED))
        one = log_rate + self._log_part_s[0]
        alone = dies_out_in(one, max(float(most[0]), _LEAST_PEAKED))
        return np.where(one < 0, np.minimum(batched, alone), batched)


def _conditional(integral: Floats, p: Floats) -> Floats:
    """Mean below the middle of each interval of p, from the integral up to its ends."""
    return (integral[1:] + integral[:-1]) / (p[1:] + p[:-1])


def _pairs(prompt_tokens: Floats) -> Floats:
    return prompt_tokens * (prompt_tokens + 1.0) / 2.0


def _middle(x: Floats) -> Floats:
    # Of the states above x[i] up to x[i + 1].
    return (x[:, 1:] + x[:, :-1] + 1.0) / 2.0


def _cumulative(log_ratio: Floats, steps: Floats) -> Floats:
    """Logarithms of products of ratios, each taken `steps` times, from 1 on."""
    return np.concatenate([np.zeros((log_ratio.shape[0], 1)), np.cumsum(log_ratio * steps, axis=1)], axis=1)


@lru_cache(maxsize=16)
def full_steps(traffic: Traffic, token_budget: float) -> Batch:
    """Steps as they follow each other where there is always a queue: first come first served, within the budget.

    A deterministic sequence of prompts drawn from the traffic is packed; a prompt beyond the budget goes alone.
    """
    prompt, weight = traffic.prompt_tokens, traffic.weight
    packed = int(np.clip(_STEPS_PACKED * token_budget / float(weight @ prompt), _STEPS_PACKED, 32 * _STEPS_PACKED))
    order = np.argsort(prompt)
    at = np.searchsorted(np.cumsum(weight[order]), np.mod((np.arange(packed) + 0.5) * _GOLDEN, 1.0))
    sizes = prompt[order][np.minimum(at, prompt.size - 1)]
    ends = np.cumsum(sizes)
    starts, done = [], 0
    while done < packed:
        starts.append(done)
        before = ends[done - 1] if done else 0.0
        done = max(int(np.searchsorted(ends, before + token_budget, side="right")), done + 1)
    # The last step may lack prompts.
    cut = starts[-1] if len(starts) > 1 else packed
    begin = np.array(starts[: max(len(starts) - 1, 1)])
    tokens, pairs = (np.add.reduceat(y[:cut], begin) for y in (sizes, _pairs(sizes)))
    none = np.zeros_like(tokens)
    return Batch(tokens, pairs, np.diff(begin, append=cut).astype(float), none, none)
