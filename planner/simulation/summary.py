"""From what happened to every request to what can be said of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.pools.candidate import Requirement
from planner.pools.prediction import Member
from planner.serving.requests import Lane, Limit, latencies_alone
from planner.simulation.energy import PoolPower
from planner.simulation.outcome import Outcome
from planner.simulation.statistics import (
    Floats,
    Interval,
    ShareInterval,
    is_growing,
    mean_interval,
    objective_intervals,
    percentile_intervals,
    warm_up,
)

PERCENTILES = (50.0, 90.0, 99.0)
LATENCIES = ("ttft", "tbt", "e2e")
METRICS = (*LATENCIES, "largest_gap", "queueing", "transfer")
_AT_ONCE = 500_000  # requests whose values are computed together
_FEWEST_AFTER_WARM_UP = 100  # fewer finished requests than this say nothing about a 99th percentile


@dataclass(frozen=True, eq=False)
class Simulated:
    """What several runs of one cluster say.

    Attributes
    ----------
    outcomes : list of Outcome
        One a seed.
    percentiles : dict
        Interval of each metric and percentile, `("ttft", 99.0)` [s]; also `largest_gap`, the longest time between two
        tokens of a request, `queueing`, the wait for the prompt to start, and `transfer`, of the KV cache.
    means : dict
        Mean of each metric and its interval [s].
    objectives : list of Interval
        Value of each objective in its own unit: seconds, or a slowdown; infinite for a request that is too large.
    late : list of ShareInterval
        Share of requests that miss each objective's limit; one that is too large misses all.
    met : list of bool
        Whether the upper confidence limit of the value is within the objective's limit, which is to say that of the
        share that misses within what it allows.
    busy, prompt_share : list of float
        Share of time that the lanes of each pool were busy, and that they computed prompts.
    batch : list of float
        Sequences decoding on a lane of each pool, on average over time.
    memory_used : list of float
        Mean share of each pool's KV memory that was reserved.
    power_w : list of float or None
        Mean power of each pool [W]; None where the simulation was not told how to compute it.
    growing : tuple of str
        Which of `ttft` and `e2e` grew throughout a run: work is piling up before the first token, or after it.
    stationary : bool
        Whether requests came at one rate throughout and no machine failed.
    enough : bool
        Whether enough requests were left after the warm-up to say anything.
    n_requests : int
        Arrived in all; `n_counted` of them finished and after the warm-up.
    n_counted : int
    warm_up : list of int
        Requests at the start of each run that are not counted.
    n_too_large : int
        Requests that the cluster can never hold.
    n_overflowed, n_restarted, n_waited_for_memory, n_preempted : int
    simulated_s : float
        Time over which the pools were observed, all runs together [s].
    interrupted : bool
        Whether any run was cut short.
    sent_per_s : float
        Rate at which the second half of the requests of each run came: of a closed loop an answer [requests/s].
    """

    outcomes: list[Outcome]
    percentiles: dict[tuple[str, float], Interval]
    means: dict[str, Interval]
    objectives: list[Interval]
    late: list[ShareInterval]
    met: list[bool]
    busy: list[float]
    prompt_share: list[float]
    batch: list[float]
    memory_used: list[float]
    power_w: list[float] | None
    growing: tuple[str, ...]
    stationary: bool
    enough: bool
    n_requests: int
    n_counted: int
    warm_up: list[int]
    n_too_large: int
    n_overflowed: int
    n_restarted: int
    n_waited_for_memory: int
    n_preempted: int
    simulated_s: float
    interrupted: bool
    sent_per_s: float

    @property
    def stable(self) -> bool:
        """Whether latencies had stopped growing; where the load itself changes over a run, growing says nothing."""
        return not (self.growing and self.stationary)

    def without_requests(self) -> Simulated:
        """The same without the times of single requests, which take the memory."""
        return replace(self, outcomes=[])

    def judged(self, met: Sequence[bool]) -> Simulated:
        """The same with another judgement of the objectives; none holds where too few requests were left to say."""
        return replace(self, met=[m and self.enough for m in met])

    @property
    def outlasted(self) -> int:
        """Requests that arrived after the warm-up, all runs together."""
        return self.n_requests - sum(self.warm_up)

    @property
    def needed(self) -> int:
        """How many of them it takes to say anything."""
        return _FEWEST_AFTER_WARM_UP


def summarise(
    outcomes: Sequence[Outcome],
    members: Sequence[Member],
    need: Requirement,
    reference: Lane | None,
    power: PoolPower | None = None,
    *,
    stationary: bool = True,
    metrics: Sequence[str] = METRICS,
) -> Simulated:
    """Percentiles of several runs, warm-up removed, and whether the objectives are met.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One a run.
    members : sequence of Member
    need : Requirement
    reference : Lane or None
    power : PoolPower or None
    stationary : bool
        Whether requests came at one rate throughout and no machine failed. Where not (a replay, stepped rates, a
        failure), latencies may rise because the load on a machine does: the warm-up is then the time that the cluster
        takes to fill, and a rise says nothing of stability.
    metrics : sequence of str
        Those whose percentiles and means are wanted.
    """
    kept = [_Kept(outcome) for outcome in outcomes]
    starts = [_start(own) if stationary else _filled(own.outcome) for own in kept]
    percentiles: dict[tuple[str, float], Interval] = {}
    means: dict[str, Interval] = {}
    # One metric at a time, for the sake of runs of ten million requests.
    for metric in metrics:
        runs = [_finite(own.sample(metric)[start:]) for own, start in zip(kept, starts, strict=True)]
        means[metric] = mean_interval(runs, trend=not stationary)
        intervals = percentile_intervals(runs, PERCENTILES, trend=not stationary)
        for p, interval in zip(PERCENTILES, intervals, strict=True):
            percentiles[metric, p] = interval
    objectives, late = _objectives(kept, starts, need.limits, reference, trend=not stationary)
    counted = sum(int(np.isfinite(o.finish_s[s : o.n_arrived]).sum()) for o, s in zip(outcomes, starts, strict=True))
    growing = tuple(m for m in ("ttft", "e2e") if any(is_growing(_finite(own.sample(m))) for own in kept))
    stable = not (growing and stationary)
    enough = counted >= _FEWEST_AFTER_WARM_UP
    interrupted = any(o.interrupted for o in outcomes)
    observed = [max(o.horizon_s, 1e-12) for o in outcomes]
    pools = range(len(members))

    def over_time(integral: str, i: int) -> float:
        """Mean of an integral over time and lanes."""
        total = sum(float(getattr(o, integral)[i]) for o in outcomes)
        return total / sum(t * float(o.pool_lanes[i]) for t, o in zip(observed, outcomes, strict=True))

    return Simulated(
        outcomes=list(outcomes), percentiles=percentiles, means=means, objectives=objectives, late=list(late),
        met=[x.high <= limit.value and stable and enough for x, limit in zip(objectives, need.limits, strict=True)],
        busy=[over_time("pool_busy_s", i) for i in pools],
        prompt_share=[over_time("pool_prompt_s", i) for i in pools],
        batch=[over_time("pool_batch_s", i) for i in pools],
        memory_used=[over_time("pool_kv_token_s", i) / members[i].configuration.lane.kv_tokens for i in pools],
        power_w=[power(members[i], outcomes, i) for i in pools] if power else None,
        growing=growing, stationary=stationary, enough=enough, n_requests=sum(o.n_arrived for o in outcomes),
        n_counted=counted, warm_up=starts,
        n_too_large=sum(int(o.too_large.size) for o in outcomes),
        n_overflowed=sum(o.n_overflowed for o in outcomes), n_restarted=sum(o.n_restarted for o in outcomes),
        n_waited_for_memory=sum(o.n_waited_for_memory for o in outcomes),
        n_preempted=sum(o.n_preempted for o in outcomes),
        simulated_s=sum(o.horizon_s for o in outcomes), interrupted=interrupted,
        sent_per_s=_sent_per_s(outcomes),
    )  # fmt: skip


def _sent_per_s(outcomes: Sequence[Outcome]) -> float:
    halves = [o.requests.arrival_s[o.n_arrived // 2 : o.n_arrived] for o in outcomes if o.n_arrived > 1]
    span_s = sum(float(sent[-1] - sent[0]) for sent in halves)
    return sum(sent.size - 1 for sent in halves) / span_s if span_s > 0 else float("inf")


def values_of(outcome: Outcome, metric: str, part: slice | None = None) -> Floats:
    """One metric of each request that arrived [s]; NaN for what a request has none of.

    Parameters
    ----------
    outcome : Outcome
    metric : str
        `ttft`; `tbt`, mean time between the tokens of a request, NaN for one of a single token; `e2e`; `largest_gap`;
        `queueing`, from arrival to the start of the prompt; `transfer`, of the KV cache, NaN for requests that
        decoded where their prompt was computed. All are NaN for requests that did not end.
    part : slice, optional
        Some of the requests; default all that arrived.
    """
    part = part or slice(0, outcome.n_arrived)
    arrival, finish = outcome.requests.arrival_s[part], outcome.finish_s[part]
    if metric == "e2e":
        return finish - arrival + outcome.latency_s
    if metric == "tbt":
        gaps = outcome.requests.output_tokens[part] - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gaps > 0, (finish - outcome.first_token_s[part]) / gaps, np.nan)
    if metric in ("ttft", "queueing"):
        until = outcome.first_token_s[part] if metric == "ttft" else outcome.prefill_start_s[part]
        return np.where(np.isfinite(finish), until - arrival + (outcome.latency_s if metric == "ttft" else 0.0), np.nan)
    values = outcome.largest_gap_s[part] if metric == "largest_gap" else outcome.transfer_s[part]
    return np.where(np.isfinite(finish) & (values > 0), values.astype(float), np.nan)


def late_requests(outcome: Outcome, limits: Sequence[Limit], reference: Lane | None) -> list[NDArray[np.bool_]]:
    """Whether each request misses each limit, shape (n,) a limit; one that did not end misses all.

    Parameters
    ----------
    outcome : Outcome
    limits : sequence of Limit
    reference : Lane or None
        What slowdowns are measured against.

    Notes
    -----
    A request of a single token has no time between tokens, and keeps any limit on it.
    """
    alone = None
    if any(limit.objective.limit_s is None for limit in limits):
        assert reference is not None
        alone = _Alone(reference, [outcome])
    whole = slice(0, outcome.n_arrived)
    ended = np.isfinite(outcome.finish_s[whole])
    found = []
    for limit in limits:
        metric = limit.objective.metric
        values = values_of(outcome, metric)
        if limit.objective.limit_s is None and alone is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = values / alone.of(outcome, metric)(whole)
        found.append(~ended | (values > limit.value))
    return found


def _sample(
    outcome: Outcome, metric: str, start: int = 0, unit_s: Callable[[slice], Floats] | None = None
) -> NDArray[np.float32]:
    """Values from request `start` on, over `unit_s` if given, in single precision: they are many, and half as large."""
    sample = np.empty(max(outcome.n_arrived - start, 0), dtype=np.float32)
    for first in range(start, outcome.n_arrived, _AT_ONCE):
        part = slice(first, min(first + _AT_ONCE, outcome.n_arrived))
        values = values_of(outcome, metric, part)
        sample[part.start - start : part.stop - start] = values if unit_s is None else values / unit_s(part)
    return sample


def pooled(simulated: Simulated, metric: str) -> NDArray[np.float32]:
    """One metric of all requests that are counted, all runs together [s]."""
    runs = zip(simulated.outcomes, simulated.warm_up, strict=True)
    return np.concatenate([_finite(_sample(outcome, metric, start)) for outcome, start in runs])


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[np.isfinite(values)]


class _Kept:
    """A run with the metrics that are looked at several times, unless it is so long that they would fill the memory."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._samples: dict[str, NDArray[np.float32]] = {}

    def sample(self, metric: str) -> NDArray[np.float32]:
        """A metric of every request, not to be changed."""
        if metric in self._samples:
            return self._samples[metric]
        sample = _sample(self.outcome, metric)
        if sample.size <= _AT_ONCE:
            self._samples[metric] = sample
        return sample


def _start(own: _Kept) -> int:
    """First request after the warm-up: that of TTFT or of TBT, whichever is later.

    The rule is applied to the latencies of the requests that finished, in order of arrival.
    """
    starts = [0]
    for metric in ("ttft", "tbt"):
        values = own.sample(metric)
        finite = np.isfinite(values)
        dropped = warm_up(values[finite])
        if dropped:
            starts.append(int(np.searchsorted(np.cumsum(finite, dtype=np.int32), dropped + 1)))
    return max(starts)


def _filled(outcome: Outcome) -> int:
    """First request that finds the cluster filled: after 99 % of the first tenth of the requests have ended."""
    e2e = _finite(_sample(outcome, "e2e")[: max(outcome.n_arrived // 10, 1)])
    if not e2e.size:
        return 0
    arrival = outcome.requests.arrival_s[: outcome.n_arrived]
    return int(np.searchsorted(arrival, arrival[0] + float(np.quantile(e2e, 0.99))))


def _objectives(
    kept: Sequence[_Kept], starts: Sequence[int], limits: Sequence[Limit], reference: Lane | None, *, trend: bool
) -> tuple[list[Interval], list[ShareInterval]]:
    """Each objective's value and late share; what objectives on one metric look at is put in order once."""
    alike: dict[tuple[str, bool], list[int]] = {}
    for i, limit in enumerate(limits):
        alike.setdefault((limit.objective.metric, limit.objective.limit_s is None), []).append(i)
    alone = None
    if any(slowdown for _, slowdown in alike):
        assert reference is not None
        alone = _Alone(reference, [own.outcome for own in kept])
    found: dict[int, tuple[Interval, ShareInterval]] = {}
    for (metric, slowdown), which in alike.items():
        runs = []
        for own, start in zip(kept, starts, strict=True):
            outcome = own.outcome
            unit_s = alone.of(outcome, metric) if slowdown and alone is not None else None
            values = own.sample(metric)[start:] if unit_s is None else _sample(outcome, metric, start, unit_s)
            runs.append(_or_never(values, outcome, start))
        asked = [(limits[i].objective.percentile, limits[i].value) for i in which]
        found |= zip(which, objective_intervals(runs, asked, trend=trend), strict=True)
    return [found[i][0] for i in range(len(limits))], [found[i][1] for i in range(len(limits))]


def _or_never(values: NDArray[np.float32], outcome: Outcome, start: int) -> NDArray[np.float32]:
    """Values of the requests after the warm-up that have one, infinite for those that the cluster can never serve."""
    if outcome.too_large.size:
        never = np.zeros(outcome.n_arrived, dtype=bool)
        never[outcome.too_large] = True
        values = np.where(never[start:], np.float32(np.inf), values)
    return values[~np.isnan(values)]


class _Alone:
    """Latencies of requests alone on the reference, which slowdowns multiply: looked up, for sizes repeat.

    TTFT depends on the prompt alone, and the time between tokens on the mean context, prompt + 1 + steps/2.
    """

    def __init__(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        sizes = [(o.requests.prompt_tokens.astype(np.int64), o.requests.output_tokens - 1) for o in outcomes]
        self._ttft_s = _by_number([prompt for prompt, _ in sizes], lambda n: latencies_alone(lane, n, n)["ttft"])
        self._tbt_s = _by_number(
            [2 * prompt + steps for prompt, steps in sizes],
            lambda n: latencies_alone(lane, n / 2.0, np.zeros_like(n))["tbt"],
        )

    def of(self, outcome: Outcome, metric: str) -> Callable[[slice], Floats]:
        """A metric of a part of the requests of a run [s]."""

        def unit_s(part: slice) -> Floats:
            prompt = outcome.requests.prompt_tokens[part].astype(np.int64)
            steps = outcome.requests.output_tokens[part] - 1
            if metric == "ttft":
                return self._ttft_s[prompt]
            tbt = self._tbt_s[2 * prompt + steps]
            return tbt if metric == "tbt" else self._ttft_s[prompt] + steps * tbt

        return unit_s


def _by_number(numbers: Sequence[NDArray[np.int64]], compute: Callable[[Floats], Floats]) -> Floats:
    """A table of values by whole number, computed at those that occur."""
    occurs = np.zeros(1 + max(int(n.max()) for n in numbers), dtype=bool)
    for n in numbers:
        occurs[n] = True
    which = np.flatnonzero(occurs)
    table = np.zeros(occurs.size)
    table[which] = compute(which.astype(float))
    return table
