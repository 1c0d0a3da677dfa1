"""A pool whose machines do both phases: prompts interrupt decoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.latency.batch import Floats, mixed_batch
from planner.serving.cells import cells
from planner.serving.erlang import WaitTail, ggk_wait
from planner.serving.gamma_arrivals import burstiness, wait_probability
from planner.serving.prefill import full_steps
from planner.serving.requests import Lane, Traffic

_RESIDUAL = np.array([0.25, 0.75])  # of a running step that an arrival waits for: midpoints of halves
_HERMITE_X = np.array([-2.8569700138728056, -1.3556261799742659, 0.0, 1.3556261799742659, 2.8569700138728056])
_HERMITE_W = np.array(
    [0.011257411327720688, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720688]
)
_PROMPT_CELLS = 96  # classes of prompts over which TTFT is summed
_GAP_CELLS = 20  # classes of output length over which TBT percentiles are summed
_BATCHES = 48  # sizes at which step times are tabulated and (6.7) is solved
_RATE_STEPS = 9
_SHARES = np.linspace(0.0, 1.0, 33)  # shares of prompts at which what bursts find is tabulated


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
    prompt_offset_s, prompt_slope : ndarray
        A step with a prompt takes offset + slope x the time of that prompt alone.
    prompt_share : ndarray
        Share r of time in steps that carry a prompt.
    behind, behind_scatter : ndarray
        Prompts waiting on the lane when a request begins to decode: mean, and variance less the mean.
    per_step, breeding : ndarray
        Prompts that each further step without one brings; prompts that each of these brings while it is computed.
    tbt_cv : ndarray
        Spread of the mean TBT that the fluctuating batch alone causes, relative.
    memory_full : ndarray
        Share of time that no KV memory, or no place in the batch, is free.
    """

    batch: Floats
    rate_per_s: Floats
    decode_step_s: Floats
    prompt_step_s: Floats
    prompt_step_cv2: Floats
    prompt_offset_s: Floats
    prompt_slope: Floats
    prompt_share: Floats
    behind: Floats
    behind_scatter: Floats
    per_step: Floats
    breeding: Floats
    tbt_cv: Floats
    memory_full: Floats


@dataclass(frozen=True, eq=False)
class _Prompts:
    """Prompts that a decoding request meets: see `MixedState`."""

    share: Floats
    behind: Floats
    behind_scatter: Floats
    per_step: Floats
    breeding: Floats


class MixedQueue:
    """Requests of one traffic on any number of like lanes that prefill and decode.

    Notes
    -----
    Per lane l requests/s arrive. A step that carries a prompt takes T_p (the decoding sequences ride along) in
    place of t_d; prompts take the share r = l E[T_p] of time. A request of g decode steps meets X prompts, so it
    decodes for g t_d + X (T_p - t_d), and by Little's law

        B = l E[g t_d + X (T_p - t_d)]                                                               (6.7)

    sequences decode on a lane, which gives l as a function of B. X grows like a busy period: prompts arrive while
    prompts are computed. It follows the generalised Poisson law [1]_, the total progeny of

        theta = N + g a

    prompts, of which each brings h more: on average theta/(1 - h). The time that they take varies by

        E[S^2] theta/(1 - h)^3,  for the longer a prompt, the more arrive meanwhile,

    and by what N does; the law of X is given the variance that makes up for both. X is at most g times what the token
    budget lets into a step, for prompts that wait together are computed together. Requests go to the lane with fewest
    prompt tokens left to compute and, among those with none, fewest sequences. A lane that computes a prompt gets
    another one only while all lanes do, which has the probability C = r^(sqrt(2(k+1)) - 1) [2]_:

        a = s l (1 - C) t_d/(1 - s r),  h = C - a,  N = C' (1 + W/T_p)                               (6.8)

    s is the number of sequences on the lane that a prompt joins over the mean (`met_share`), so that sequences spend
    the share s r of their time beside prompts. N are the prompts that arrive behind a request's own while it waits W
    and is computed; all lanes are found busy with the chance C', which is C for Poisson arrivals and larger for
    burstier ones (`gamma_arrivals`), and then N is geometric. With one lane C = r and s = 1: all of the usual M/G/1
    busy period. Burstier arrivals at k lanes add (c_a^2 - 1)/k to the variance over mean of those of one. The wait of a
    prompt is that of G/G/k at load r, prompts that wait on one lane sharing its next step, plus the rest of the running
    step.

    References
    ----------
    .. [1] Consul and Jain, A generalization of the Poisson distribution, Technometrics 15(4), 1973.
    .. [2] Sakasegawa, An approximation formula L_q = a rho^b/(1-rho), Ann. Inst. Statist. Math. 29, 1977.
    """

    def __init__(self, lane: Lane, traffic: Traffic) -> None:
        self._lane, self._traffic = lane, traffic
        prompt, weight = traffic.prompt_tokens, traffic.weight
        self.alone_s = lane.prefill_time_s(prompt)
        self._beside_s = lane.beside_steps_s(prompt)
        self._mean_alone_s = float(weight @ self.alone_s)
        self._var_alone = float(weight @ (self.alone_s - self._mean_alone_s) ** 2)
        self._tokens, self._tokens_sd = traffic.resident_tokens()
        # Sequences on a lane that fill KV memory or the batch limit on average.
        self.largest_batch = float(np.clip(lane.kv_tokens / self._tokens, 0.0, lane.max_batch))
        top = max(self.largest_batch, 1.0)
        self._nodes = np.concatenate([[0.0], np.geomspace(min(0.02, top / 50.0), top, _BATCHES)])
        context = traffic.decode_context_tokens
        decode_s = lane.decode_time_s(np.maximum(self._nodes, 1.0), context)
        # T_p(L, B) = offset(B) + slope(B) S(L): exact at two prompt sizes, near it between.
        small, large = _two_sizes(prompt, weight)
        low_s, high_s = (lane.step.step_time_s(mixed_batch(size, 1.0, self._nodes, context)) for size in (small, large))
        alone_low, alone_high = lane.prefill_time_s(np.array([small, large]))
        if lane.apart:  # a prompt delays a decode step by all of its own time
            low_s, high_s = alone_low + decode_s, alone_high + decode_s
        spread = alone_high - alone_low
        slope = (high_s - low_s) / spread if spread > 1e-12 else low_s / alone_low
        self._steps = decode_s, low_s - slope * alone_low, slope
        self._cv2: Floats = np.asarray(self._var_alone / self._mean_alone_s**2)
        several = np.where(traffic.decode_steps > 0, weight, 0.0)
        self._gap_cells = cells(traffic.decode_steps, several, _GAP_CELLS)
        self._gaps = np.maximum(self._gap_cells.means(traffic.decode_steps), 1.0)
        order = np.argsort(traffic.decode_steps)
        self._sorted_g = traffic.decode_steps[order]
        self._share_below = np.concatenate([[0.0], np.cumsum(weight[order])])
        self._steps_below = np.concatenate([[0.0], np.cumsum((weight * traffic.decode_steps)[order])])
        # TTFT and its limits depend on the prompt alone, so it is enough to look at classes of prompts.
        self._prompt_cells = cells(traffic.prompt_tokens, weight, _PROMPT_CELLS)
        self._alone_of_cell = self._prompt_cells.means(self.alone_s)
        self._beside_of_cell = self._prompt_cells.means(self._beside_s)
        self._peakedness = (1.0 + traffic.arrival_cv2) / 2.0  # of arrivals at very many lanes (Eckberg, ITC 10, 1983)
        self._bursts = burstiness(traffic.arrival_cv2)
        self._found: dict[bytes, Floats] = {}
        self._most_a_step = float(full_steps(traffic, float(lane.token_budget)).n_prompts.mean())
        self._known: dict[bytes, tuple[Floats, Floats]] = {}

    def stable_rate_per_s(self, n_lanes: Floats) -> Floats:
        """Rate at which every lane always holds the largest batch [requests/s]."""
        rates = self._tables(n_lanes)[0]
        return np.array([np.interp(self.largest_batch, self._nodes, row) for row in rates]) * n_lanes

    def state(self, batch: Floats, n_lanes: Floats) -> MixedState:
        """Where a lane settles with `batch` sequences decoding, from (6.7); both of shape (k,)."""
        overloaded = ~np.isfinite(batch)  # a lane that cannot carry its load is marked by an infinite batch
        batch = np.where(overloaded, self._nodes[-1], batch)
        at = np.clip(np.searchsorted(self._nodes, batch, side="right") - 1, 0, self._nodes.size - 2)
        part = (batch - self._nodes[at]) / (self._nodes[at + 1] - self._nodes[at])
        rates, elasticities = self._tables(n_lanes)
        rows = np.arange(batch.size)
        rate, elasticity = (y[rows, at] + part * (y[rows, at + 1] - y[rows, at]) for y in (rates, elasticities))
        decode_s, offset, slope = (y[at] + part * (y[at + 1] - y[at]) for y in self._steps)
        prompt_s, cv2 = self._prompt_step(offset, slope)
        prompts = self._prompts(rate, batch, decode_s, prompt_s, cv2, n_lanes)
        # The batch fluctuates like Poisson, wider where a larger one slows the lane and where prompts end in clumps
        # behind each other; k lanes share the swings.
        clumped = np.maximum(1.0 - prompts.breeding - prompts.per_step, 0.1)
        swings = self._peakedness * batch / (n_lanes * (1.0 - elasticity) * clumped)  # variance of the batch
        tbt_cv = elasticity * np.minimum(np.sqrt(swings) / np.maximum(batch, 1.0), 1.0)
        full = self._memory_full(batch, prompts.share, swings)
        batch = np.where(overloaded, np.inf, batch)
        return MixedState(
            batch, rate, decode_s, prompt_s, cv2, offset, slope,
            prompts.share, prompts.behind, prompts.behind_scatter, prompts.per_step, prompts.breeding, tbt_cv, full,
        )  # fmt: skip

    def _memory_full(self, batch: Floats, computing: Floats, variance: Floats) -> Floats:
        """Chance that a lane has no KV memory or place in the batch for one more, number and sizes varying."""
        present = batch + computing + 1.0
        sd = np.sqrt(present * self._tokens_sd**2 + variance * self._tokens**2)
        memory = normal_tail((self._lane.kv_tokens - present * self._tokens) / np.maximum(sd, 1e-9))
        limit = normal_tail((self._lane.max_batch - present + 0.5) / np.sqrt(np.maximum(variance, 1e-9)))
        return np.maximum(memory, limit)

    def _prompt_step(self, offset: Floats, slope: Floats) -> tuple[Floats, Floats]:
        """Mean time of a step with a prompt [s], and its variability."""
        prompt_s = offset + slope * self._mean_alone_s
        return prompt_s, slope**2 * self._var_alone / prompt_s**2

    def _prompts(
        self, rate: Floats, batch: Floats, decode_s: Floats, prompt_s: Floats, cv2: Floats, n_lanes: Floats
    ) -> _Prompts:
        """(6.8), elementwise."""
        share = np.minimum(rate * prompt_s, 1.0 - 1e-9)
        all_busy = share ** (np.sqrt(2.0 * (n_lanes + 1.0)) - 1.0)
        found = self._found_busy(share, all_busy, n_lanes)
        wait = found * (self._bursts.decay(share) + (cv2 - 1.0) / 2.0) / (n_lanes * (1.0 - share))  # in prompt steps
        behind = found * (1.0 + wait)
        # One, and geometrically more, with the chance that all lanes are found busy.
        scatter = np.maximum(2.0 * behind * (1.0 + wait) - 2.0 * behind - behind**2, -behind)
        met = met_share(batch, share, n_lanes, self._peakedness)
        per_step = met * rate * (1.0 - all_busy) / (1.0 - met * share) * decode_s
        return _Prompts(share, behind, scatter, per_step, all_busy - per_step)

    def _found_busy(self, share: Floats, all_busy: Floats, n_lanes: Floats) -> Floats:
        """Chance that an arrival finds all lanes with prompts, from the share of time that they are."""
        if self._bursts.poisson:
            return all_busy
        lanes = n_lanes.ravel()
        key = lanes.tobytes()
        if key not in self._found:
            self._found[key] = wait_probability(lanes[:, None], lanes[:, None] * _SHARES, self._bursts.cv2)
        rows = zip(share.reshape(lanes.size, -1), self._found[key], strict=True)
        return np.array([np.interp(x, _SHARES, row) for x, row in rows]).reshape(share.shape)

    def _decode_time_s(self, rate: Floats, batch: Floats, steps: tuple[Floats, Floats], n_lanes: Floats) -> Floats:
        """E[g t_d + X (T_p - t_d)] [s], elementwise; `steps` are t_d and E[T_p] at the batch."""
        decode_s, prompt_s = steps
        p = self._prompts(rate, batch, decode_s, prompt_s, self._cv2, n_lanes)
        first, slope = p.behind / (1.0 - p.breeding), np.minimum(p.per_step / (1.0 - p.breeding), 1.0 - 1e-9)
        # Requests shorter than this meet full steps alone.
        most = self._most_a_step
        short = first / (most - slope)
        at = np.searchsorted(self._sorted_g, short)
        below, steps_below = self._share_below[at], self._steps_below[at]
        g = self._traffic.mean_decode_steps
        met = most * steps_below + first * (1.0 - below) + slope * (g - steps_below)
        return g * decode_s + np.minimum(met, most * g) * np.maximum(prompt_s - decode_s, 0.0)

    def _tables(self, n_lanes: Floats) -> tuple[Floats, Floats]:
        """Rates of a lane that solve (6.7) at each batch of the nodes [requests/s], and by how much a larger batch
        then lengthens decoding (elasticity); both of shape (k, b)."""
        key = n_lanes.tobytes()
        if key not in self._known:
            batch, lanes = self._nodes[1:], n_lanes[:, None]
            decode_s, offset, slope = self._steps
            prompt_s = self._prompt_step(offset, slope)[0]
            at_node = decode_s[1:], prompt_s[1:]
            # Without a single prompt met, B = l g t_d; and prompts cannot take all of the time.
            hi = np.minimum(batch / at_node[0] / self._traffic.mean_decode_steps, (1.0 - 1e-9) / at_node[1])
            hi = np.broadcast_to(hi, (n_lanes.size, batch.size))
            lo, f_lo = np.zeros_like(hi), np.broadcast_to(-batch, hi.shape)
            f_hi = hi * self._decode_time_s(hi, batch, at_node, lanes) - batch
            # Where so many never decode together, prompts alone fill the lane.
            rate = np.where(f_hi <= 0, hi, 0.0)
            f_hi = np.maximum(f_hi, 1e-9 * batch)
            for _ in range(_RATE_STEPS):  # Illinois
                x = hi - f_hi * ((hi - lo) / (f_hi - f_lo))
                f = x * self._decode_time_s(x, batch, at_node, lanes) - batch
                up = f > 0
                f_lo, f_hi = np.where(up, f_lo * 0.5, f), np.where(up, f, f_hi * 0.5)
                lo, hi = np.where(up, lo, x), np.where(up, x, hi)
            rate = np.maximum.accumulate(np.maximum(rate, lo), axis=1)
            more = 1.1 * batch
            with_more = np.interp(more, self._nodes, decode_s), np.interp(more, self._nodes, prompt_s)
            now, then = (self._decode_time_s(rate, b, s, lanes) for b, s in ((batch, at_node), (more, with_more)))
            elasticity = np.clip(np.log(then / now) / np.log(1.1), 0.0, 0.9)
            none = np.zeros((n_lanes.size, 1))
            self._known[key] = np.concatenate([none, rate], axis=1), np.concatenate([none, elasticity], axis=1)
        return self._known[key]

    def batch_at(self, rate_per_s: Floats, n_lanes: Floats) -> Floats:
        """Sequences decoding on a lane when the pool gets `rate_per_s` [requests/s]; infinite where it cannot."""
        rate = np.asarray(rate_per_s, dtype=float) / n_lanes
        rows = zip(rate, self._tables(n_lanes)[0], strict=True)
        return np.array([np.interp(x, row, self._nodes, right=np.inf) for x, row in rows])

    def wait(self, state: MixedState, n_lanes: Floats) -> WaitTail:
        """Queueing delay of a prompt behind other prompts, on a pool of `n_lanes`, arrays of one shape.

        Prompts that wait on a lane share its next step: b of them wait for one step of decoding instead of b, and on
        average for half of the others too.
        """
        rate, share = state.rate_per_s * n_lanes, state.prompt_share
        decode_s, prompt_s = state.decode_step_s, state.prompt_step_s
        z = np.maximum(self._bursts.decay(share) + (state.prompt_step_cv2 - 1.0) / 2.0, 0.0)
        waiting = z * share / np.maximum((1.0 - share) * n_lanes, 1e-9)  # on a lane, where all have prompts
        together = np.minimum(1.0 + waiting, self._most_a_step)
        shared_s = np.minimum(decode_s, prompt_s)
        each_s = prompt_s - shared_s * (1.0 - 1.0 / together)
        cv2 = state.prompt_step_cv2 * (prompt_s / each_s) ** 2
        wait = ggk_wait(rate, n_lanes, each_s, cv2, self._traffic.arrival_cv2)
        return WaitTail(wait.probability, wait.decay_per_s, (together - 1.0) / 2.0 * (prompt_s - shared_s))

    def exceeds_ttft(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests whose TTFT exceeds the limit of their point; state and lanes of shape (k,)."""
        wait = self.wait(state, n_lanes)
        wait = WaitTail(*(x[:, None] for x in (wait.probability, wait.decay_per_s, np.asarray(wait.least_s))))
        limit, share = self._prompt_cells.limits(limit_s)
        slack = limit - self._beside_of_cell - self._own_step_s(state, self._alone_of_cell)
        decoding = self._decoding(state, n_lanes)
        late = (1.0 - decoding) * (wait.exceeds(slack) @ share)
        for part in _RESIDUAL:
            running = (part * state.decode_step_s)[:, None]
            late = late + decoding / _RESIDUAL.size * (wait.exceeds(slack - running) @ share)
        return late

    def _decoding(self, state: MixedState, n_lanes: Floats) -> Floats:
        """Chance that the lane which a prompt joins is in the middle of a decoding step, shape (k,)."""
        joined = state.batch * met_share(state.batch, state.prompt_share, n_lanes, self._peakedness)
        return -np.expm1(-np.maximum(joined, 0.0))

    def exceeds_tbt(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests (with several tokens) whose mean TBT exceeds the limit of their point, shape (k,)."""
        if self._gaps.size == 0:
            return np.zeros(state.batch.shape)
        limit, share = self._gap_cells.limits(limit_s)
        limit = limit[:, None]
        g = self._gaps[:, None]
        d, p, cv2, spread = (
            x[:, None, None]
            for x in (state.decode_step_s, state.prompt_step_s, state.prompt_step_cv2, state.tbt_cv)
        )  # fmt: skip
        mean_met, variance_met = (x[:, :, None] for x in self._met(state, n_lanes, self._gaps))
        # The generalised Poisson law of that mean and variance.
        breeding = 1.0 - np.sqrt(mean_met / np.maximum(variance_met, 1e-300))
        few_met = np.minimum(mean_met, _MANY)
        probability = generalised_poisson(few_met * (1.0 - breeding), breeding)
        most = self._most_a_step * g
        met = np.minimum(PROMPTS_MET, most)
        # The token budget, not the sizes of the prompts, decides how long a full step is.
        centre = (p - d) * met / g
        variance = met * (1.0 - met / most) * cv2 * p**2 / g**2 + (spread * (d + centre)) ** 2
        late = np.where(
            met > 0, gamma_tail(limit - d, centre + 1e-12, variance), normal_tail((limit - d) / (spread * d + 1e-12))
        )
        few = (probability * late).sum(axis=-1)
        # Of very many prompts the sum is close to a gamma law.
        mean_met = np.minimum(mean_met, most)
        mean = (p - d) * mean_met / g + 1e-12
        variance = ((p - d) ** 2 * variance_met + mean_met * cv2 * p**2) / g**2 + (spread * (d + mean)) ** 2
        full = normal_tail((limit - d - (p - d) * most / g) / (spread * (d + (p - d) * most / g) + 1e-12))
        many = (gamma_tail(limit - d, mean, variance) * full)[..., 0]
        return np.where(mean_met[..., 0] >= _MANY, many, few) @ share

    def _met(self, state: MixedState, n_lanes: Floats, g: Floats) -> tuple[Floats, Floats]:
        """Prompts met in g steps, at each state and each g: mean and variance, shape (k, g).

        The variance is that of the time they take, less what their own sizes cause: longer prompts breed more.
        """
        behind, scatter, per_step, breeding, cv2 = (
            x[:, None]
            for x in (state.behind, state.behind_scatter, state.per_step, state.breeding, state.prompt_step_cv2)
        )
        mean = np.minimum((behind + g * per_step) / (1.0 - breeding), self._most_a_step * g)
        clumps = (self._traffic.arrival_cv2 - 1.0) / n_lanes[:, None]  # arrivals of a lane vary by so much more
        each = (1.0 + cv2 + clumps) / (1.0 - breeding) ** 2 - cv2
        return mean, np.maximum(mean * each + scatter / (1.0 - breeding) ** 2, 0.05 * mean)

    def exceeds_e2e(self, limit_s: Floats, state: MixedState, n_lanes: Floats) -> Floats:
        """Share of requests whose end-to-end latency exceeds the limit of their point, shape (k,)."""
        wait = self.wait(state, n_lanes)
        wait = WaitTail(*(x[:, None] for x in (wait.probability, wait.decay_per_s, np.asarray(wait.least_s))))
        g = self._traffic.decode_steps
        d, p, cv2, spread = (
            x[:, None] for x in (state.decode_step_s, state.prompt_step_s, state.prompt_step_cv2, state.tbt_cv)
        )
        met, scatter = self._met(state, n_lanes, g)
        prompts = (p - d) * met + 1e-12
        variance = (p - d) ** 2 * scatter + met * cv2 * p**2 + (spread * (g * d + prompts)) ** 2
        running = 0.5 * d * self._decoding(state, n_lanes)[:, None]
        slack = limit_s - self._beside_s - self._own_step_s(state, self.alone_s) - running - g * d
        most = self._most_a_step * g * (p - d)
        ninth = variance / (9.0 * prompts**2)
        root, late = np.sqrt(ninth), np.zeros(state.batch.shape)
        for node, share in zip(_HERMITE_X, _HERMITE_W, strict=True):
            # Gamma distributed as in `gamma_tail`: where a normal variable is at the node.
            cube_root = np.maximum(1.0 - ninth + node * root, 0.0)
            took = np.minimum(prompts * cube_root * cube_root * cube_root, most)
            late = late + share * (wait.exceeds(slack - took) @ self._traffic.weight)
        return late

    def mean_e2e_s(self, state: MixedState, n_lanes: Floats) -> Floats:
        """Mean of the end-to-end latency that `exceeds_e2e` has the distribution of [s], shape (k,)."""
        g = self._traffic.decode_steps
        d, p = (x[:, None] for x in (state.decode_step_s, state.prompt_step_s))
        met, _ = self._met(state, n_lanes, g)
        running = 0.5 * d * self._decoding(state, n_lanes)[:, None]
        took = self._beside_s + self._own_step_s(state, self.alone_s) + running + g * d + (p - d) * met
        return self.wait(state, n_lanes).mean_s() + took @ self._traffic.weight

    def _own_step_s(self, state: MixedState, alone_s: Floats) -> Floats:
        """Time of the step that computes prompts which take `alone_s` alone, shape (k, n)."""
        offset_s = state.prompt_offset_s - state.decode_step_s if self._lane.apart else state.prompt_offset_s
        return offset_s[:, None] + state.prompt_slope[:, None] * alone_s


def met_share(batch: Floats, share: Floats, n_lanes: Floats, peakedness: float) -> Floats:
    """Sequences on the lane that a prompt joins, over the mean, under join-shortest-queue.

    Notes
    -----
    Of very many lanes, those without prompts hold m or m + 1 sequences, and a prompt joins one that holds m or, with
    the chance q, has just fallen to m - 1. Lanes at m fall at the rate at which prompts join them there, so that with
    x = B + r requests a lane a prompt finds

        J = m - q = (x - 1) max(1, 2/x),  none below x = 1,                                           (6.8a)

    to the straight line between whole x >= 2. k lanes share the swings of x, whose variance is z x/k, z being the
    peakedness of the arrivals, and one lane leaves no choice: J = B.
    """
    others = 1.0 - 1.0 / n_lanes
    requests = batch + others * share
    over = requests - others
    sd = np.sqrt(np.maximum(requests, 1e-12) * peakedness * others / n_lanes) + 1e-9
    z = over / sd
    joined = over * normal_tail(-z) + sd * np.exp(-z * z / 2.0) / np.sqrt(2.0 * np.pi)
    joined = joined * (1.0 + others * np.maximum(2.0 / np.maximum(requests, 1.0) - 1.0, 0.0))
    return np.clip(np.where(batch > 0, joined / np.maximum(batch, 1e-12), 1.0), 0.0, 1.0)


def _two_sizes(prompt: Floats, weight: Floats) -> tuple[float, float]:
    """Prompt sizes a quarter and nine tenths up the distribution, apart where the distribution allows."""
    order = np.argsort(prompt)
    cumulative = np.cumsum(weight[order])
    low, high = (float(prompt[order][np.searchsorted(cumulative, p * cumulative[-1])]) for p in (0.25, 0.9))
    return low, high


def _log_factorial(x: Floats) -> Floats:
    """log x! for real x >= 0, to 4e-6: Stirling's series at x + 3."""
    y = x + 3.0
    series = (y + 0.5) * np.log(y) - y + 0.5 * np.log(2.0 * np.pi) + 1.0 / (12.0 * y) - 1.0 / (360.0 * y**3)
    return series - np.log((x + 1.0) * (x + 2.0) * (x + 3.0))


# Numbers of prompts met that stand for the whole distribution, and how many each stands for.
_MANY = 32.0  # prompts met on average from which on their sum is taken as gamma distributed
PROMPTS_MET = np.concatenate([np.arange(0.0, 10.0), np.rint(10.6 * 1.25 ** np.arange(0.0, 15.0))])
_PROMPTS_SPAN = np.gradient(PROMPTS_MET)
PROMPTS_LOG_FACTORIAL = _log_factorial(PROMPTS_MET)


def generalised_poisson(theta: Floats, h: Floats) -> Floats:
    """Probabilities of `PROMPTS_MET` under theta (theta + x h)^(x-1) exp(-theta - x h) / x!, on the last axis."""
    theta = np.maximum(theta, 1e-300)
    total = theta + PROMPTS_MET * h
    possible = total > 0  # not for many when h < 0
    total = np.where(possible, total, 1.0)
    log_pmf = np.log(theta) + (PROMPTS_MET - 1.0) * np.log(total) - total - PROMPTS_LOG_FACTORIAL
    mass = np.where(possible, np.exp(log_pmf) * _PROMPTS_SPAN, 0.0)
    return mass / np.maximum(mass.sum(axis=-1, keepdims=True), 1e-300)


def gamma_tail(y: Floats, mean: Floats, variance: Floats) -> Floats:
    """P(Y > y), Y gamma distributed (Wilson and Hilferty, PNAS 17, 1931)."""
    ninth = variance / (9.0 * mean**2)  # 1/(9 shape)
    return normal_tail((np.cbrt(np.maximum(y, 0.0) / mean) - 1.0 + ninth) / np.sqrt(np.maximum(ninth, 1e-18)))


def normal_tail(z: Floats) -> Floats:
    """P(N > z) for a standard normal N, to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    x = np.abs(z) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * poly * np.exp(-x * x)
    return np.where(z >= 0, tail, 1.0 - tail)
