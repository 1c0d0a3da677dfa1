"""What a simulation is asked to do besides its scenario: which requests, how often, under which policy, what fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner import units
from planner.catalog.catalog import Catalog
from planner.errors import ScenarioError, UnitError
from planner.scenario.load import is_catalog_workload, trace_of
from planner.scenario.resolve import Problem, resolve
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import load_scenario
from planner.simulation.arrivals import Requests, check_rates, draw_requests, draw_requests_at_rates, replay
from planner.simulation.closed_loop import Clients, found_at_work
from planner.simulation.failures import NamedFailure, parse_failure
from planner.simulation.policies import policy_of
from planner.simulation.report import ArrivalKind
from planner.simulation.specification import Policy
from planner.workload.traces import Trace

N_REQUESTS = 100_000
N_SEEDS = 3
MAX_REQUESTS = 100_000_000


@dataclass(frozen=True)
class Trial:
    """How a cluster is simulated.

    Attributes
    ----------
    seeds : tuple of int
        One run each.
    n_requests : int or None
        Of each run; None: as many as are usual, or as the trace or the rates have.
    load : float
        Multiple of the rate.
    replay : bool
        Whether the trace is played with its own timestamps.
    rescaled : bool
        Of a replay: whether its timestamps are stretched to the scenario's rate.
    repeat : int
        Of a replay: how often it is played, one after the other.
    rates_per_s : tuple of float
        Rates that follow each other, `period_s` each; empty: one rate throughout.
    period_s : float or None
    policy : Policy
    failures : tuple of NamedFailure
    """

    seeds: tuple[int, ...]
    n_requests: int | None
    load: float
    replay: bool
    rescaled: bool
    repeat: int
    rates_per_s: tuple[float, ...]
    period_s: float | None
    policy: Policy
    failures: tuple[NamedFailure, ...]

    @property
    def is_stationary(self) -> bool:
        """Whether requests come at one rate throughout, and no machine fails."""
        return not self.replay and not self.rates_per_s and not self.failures


def read_trial(
    *,
    seeds: int | Sequence[int] | None = None,
    n_requests: int | None = None,
    load: float = 1.0,
    replay: bool = False,
    repeat: int = 1,
    rates: Sequence[float | str] = (),
    period: float | str | None = None,
    policy: str = "jsq",
    routing: str | None = None,
    chunk_tokens: int | None = None,
    overflow: bool | None = None,
    failures: Sequence[str] = (),
    has_rate: bool = False,
    has_cv2: bool = False,
) -> Trial:
    """Check what was asked for; parameters as in `planner.simulate`.

    `has_rate` and `has_cv2` say whether a rate and a variability of arrivals were asked for.

    Raises
    ------
    ScenarioError, UnitError, UnknownNameError
        `where` is the parameter.
    """
    for name, count in (("n_requests", n_requests), ("repeat", repeat)):
        if count is not None and not 1 <= count <= MAX_REQUESTS:
            raise ScenarioError("out of range", where=name, value=count, rule=f"1 to {MAX_REQUESTS:,}")
    if not 0 < load <= 1000:
        raise ScenarioError("out of range", where="load", value=load, rule="above 0, at most 1000")
    if replay and rates:
        raise ScenarioError("a replay has rates of its own", where="rates", fix="leave out either it or the replay")
    if repeat > 1 and not replay:
        raise ScenarioError("only a replay is repeated", where="repeat", value=repeat, fix="add --replay")
    if replay and has_cv2:
        raise ScenarioError(
            "a replay has gaps of its own", where="arrival_cv2", fix="leave out either it or the replay"
        )
    if bool(rates) != (period is not None):
        raise ScenarioError(
            "rates last for a period each" if rates else "a period is that of rates",
            where="rates" if rates else "period", fix="give both, like --rates 10/s,40/s --period 1h",
        )  # fmt: skip
    if rates and (has_rate or n_requests is not None):
        raise ScenarioError(
            "the rates and the period say how many requests come", where="rate" if has_rate else "n_requests",
            fix="leave it out; a load multiplies all rates",
        )  # fmt: skip
    return Trial(
        seeds=_seeds(seeds, replay), n_requests=n_requests, load=float(load), replay=replay,
        rescaled=replay and has_rate, repeat=repeat,
        rates_per_s=tuple(_quantity(rate, units.RATE, "rates") for rate in rates),
        period_s=None if period is None else _quantity(period, units.TIME, "period"),
        policy=policy_of(policy, routing=routing, chunk_tokens=chunk_tokens, overflow=overflow),
        failures=tuple(parse_failure(text) for text in failures),
    )  # fmt: skip


def _seeds(seeds: int | Sequence[int] | None, replay: bool) -> tuple[int, ...]:
    if seeds is None:
        seeds = 1 if replay else N_SEEDS
    if isinstance(seeds, int):
        if not 1 <= seeds <= 1000:
            raise ScenarioError("out of range", where="seeds", value=seeds, rule="1 to 1000 runs, or a list of seeds")
        seeds = range(1, seeds + 1)
    chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= seed < 2**32 for seed in chosen):
        raise ScenarioError(
            "not seeds", where="seeds", value=", ".join(map(str, chosen)), rule="different whole numbers from 0 on"
        )
    if replay and len(chosen) > 1:
        raise ScenarioError(
            "a replay is one run", where="seeds", value=", ".join(map(str, chosen)),
            rule="the same requests at the same times tell nothing new the second time", fix="leave it out",
        )  # fmt: skip
    return chosen


def _quantity(value: float | str, dimension: units.Dimension, where: str) -> float:
    try:
        return units.parse(value, dimension)
    except UnitError as error:
        raise error.at(where) from None


class Arrivals:
    """The requests of a trial, seed by seed, with the problem they belong to.

    Parameters
    ----------
    scenario : Scenario
    trial : Trial
    catalog : Catalog

    Attributes
    ----------
    problem : Problem
        The scenario resolved, at the mean rate of the requests (before `load`) and their variability.
    kind : str
    rate_per_s : float
        Mean rate, `load` included [requests/s].
    clients : Clients or None
        Users of a closed loop who send the requests; None: they come at the rate.

    Raises
    ------
    PlannerError
        As `resolve`; or a replay of what has no timestamps; or rates that cannot be.
    """

    kind: ArrivalKind
    problem: Problem
    rate_per_s: float
    clients: Clients | None = None

    def __init__(self, scenario: Scenario, trial: Trial, catalog: Catalog) -> None:
        self._trial = trial
        self._replayed: Requests | None = None
        count = scenario.users or scenario.concurrency
        if count is not None:
            self.clients = _clients(count, scenario.think_time_s or 0.0, trial)
        if trial.replay:
            self.kind = "replay"
            trace = _trace_to_replay(scenario, catalog)
            self._replayed = self._play(trace, scenario.rate_per_s if trial.rescaled else None)
            self.rate_per_s = self._replayed.rate_per_s
            if not math.isfinite(self.rate_per_s):
                raise ScenarioError(
                    "all requests of the replay come at once", where=str(trace.path), rule="some time between them"
                )
            cv2 = min(max(_cv2(self._replayed), 1e-3), 1000.0)
            scenario = load_scenario(scenario, rate_per_s=self.rate_per_s / trial.load, arrival_cv2=cv2)
            self.problem = resolve(scenario, catalog, trace)
            return
        if trial.rates_per_s:
            # Refuses rates that cannot be, before a scenario is made of them.
            check_rates(trial.rates_per_s, trial.period_s or 0.0)
            scenario = load_scenario(scenario, rate_per_s=float(np.mean(trial.rates_per_s)))
        self.problem = resolve(scenario, catalog)
        self.rate_per_s = self.problem.need.rate_per_s * trial.load
        cv2 = self.problem.need.traffic.arrival_cv2
        steady: ArrivalKind = "poisson" if cv2 == 1.0 else "gamma" if cv2 > 0 else "even"
        self.kind = "closed" if self.clients else "rates" if trial.rates_per_s else steady

    def at_rate(self, rate_per_s: float) -> Arrivals:
        """The same users, known to send so many requests a second."""
        scenario = load_scenario(self.problem.scenario, rate_per_s=rate_per_s)
        known = Arrivals(scenario, self._trial, self.problem.catalog)
        assert self.clients is not None
        known.clients, known.kind = found_at_work(self.clients, rate_per_s), self.kind
        return known

    def draw(self, seed: int) -> Requests:
        """The requests of one run."""
        trial, problem = self._trial, self.problem
        if self._replayed is not None:
            return self._replayed
        cv2 = problem.need.traffic.arrival_cv2
        if trial.rates_per_s:
            rates = [rate * trial.load for rate in trial.rates_per_s]
            return draw_requests_at_rates(problem.sizes, rates, trial.period_s or 0.0, arrival_cv2=cv2, seed=seed)
        n = trial.n_requests or N_REQUESTS
        return draw_requests(problem.sizes, self.rate_per_s, n, arrival_cv2=cv2, seed=seed)

    def _play(self, trace: Trace, rate_per_s: float | None) -> Requests:
        trial = self._trial
        rate = trace.rate_per_s if rate_per_s is None else rate_per_s
        stretched = rate * trial.load if rate is not None and (trial.rescaled or trial.load != 1.0) else None
        return replay(trace, rate_per_s=stretched, repeat=trial.repeat, n_requests=trial.n_requests)


def _clients(count: int, think_s: float, trial: Trial) -> Clients:
    for name, given in (("replay", trial.replay), ("rates", bool(trial.rates_per_s)), ("load", trial.load != 1.0)):
        if given:
            raise ScenarioError(
                "users send their next request when the last one is answered", where=name,
                rule="their number decides how many requests come", fix="leave it out, or give a rate",
            )  # fmt: skip
    return Clients(count, think_s)


def _trace_to_replay(scenario: Scenario, catalog: Catalog) -> Trace:
    if scenario.prompt_output_ratio is not None:
        raise ScenarioError(
            "a replay plays requests of the sizes they had", where="prompt_output_ratio",
            fix="leave out either it or the replay",
        )  # fmt: skip
    if is_catalog_workload(scenario.workload, catalog):
        raise ScenarioError(
            "a workload of the catalog has no timestamps to replay", where="workload", value=scenario.workload,
            fix="give a trace file as the workload, or leave the replay out: arrivals are drawn at the rate asked for",
        )  # fmt: skip
    return trace_of(scenario, catalog)


def _cv2(requests: Requests) -> float:
    """Squared coefficient of variation of the gaps, of at most the first million."""
    gaps = np.diff(requests.arrival_s[:1_000_001])
    return float(np.var(gaps) / np.mean(gaps) ** 2) if gaps.size and gaps.any() else 1.0
