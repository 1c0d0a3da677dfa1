"""How sure a plan is: what errors of its inputs do to the best plan, and to the plan that was bought.

Two questions that are easily confused. *Re-optimised*: had the input been known to differ, what would the best plan be,
and what would it cost? *Bought*: the plan was bought for the inputs as given; does it hold when one differs?
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError, ScenarioError, UnknownNameError
from planner.exploration.decision import NO_PLAN, RANGE, Offer, design_flips, load_flips
from planner.exploration.parallel import quiet, run_in_order
from planner.exploration.perturbation import (
    Perturbation,
    cost_usd_per_hour,
    misses,
    perturbed,
    repriced,
    searched,
)
from planner.exploration.sweep import CatalogLike, catalog_at, overlays_of
from planner.fleet.plan import Result
from planner.planning import Search, Solution, solve_search
from planner.problem import ModelErrors, Problem, configurations, resolve
from planner.reporting import design_of
from planner.scenario import Scenario, load_scenario

MOST_DRAWS = 10_000
# Where nobody stated an error: what a buyer would doubt first. Shares of the value.
DEFAULT_ERRORS = {"price": 0.10, "load": 0.20, "prompt": 0.10, "output": 0.10, "arrival-cv2": 0.50}
TITLES = {
    "price": "price of", "step-time": "step times of", "load": "load", "prompt": "prompt tokens",
    "output": "output tokens", "arrival-cv2": "CV^2 of arrivals",
}  # fmt: skip
_Z95 = 1.96


class Outcome(Result):
    """What happens at one value of an input, or in one draw of all."""

    value: float | None = Field(description="Re-optimised: objective of the best plan; null where there is none.")
    design: str | None = Field(description="Re-optimised: design of the best plan.")
    pools: str | None
    proven: bool = Field(description="Whether that plan is proven optimal.")
    bought_value: float = Field(description="Objective of the bought plan, at the prices of this case.")
    bought_holds: bool = Field(description="Whether the bought plan carries the load within the objectives.")
    bought_misses: list[str] = Field(description="What it misses.")


class InputEffect(Result):
    """One input, lower and higher by its error."""

    input: str
    title: str
    error_fraction: float
    source: str = Field(description="Who says so: the runtime, the user, or a default.")
    low: Outcome
    high: Outcome
    swing: float | None = Field(description="Between the re-optimised values; null where one has no plan.")


class MonteCarlo(Result):
    """All inputs at once, drawn independently, each uniform within its error."""

    draws: int
    seed: int
    distribution: str
    no_plan_fraction: float = Field(description="Draws for which no plan exists.")
    value_mean: float | None
    value_p5: float | None
    value_p50: float | None
    value_p95: float | None
    bought_value_mean: float
    bought_value_p95: float
    bought_holds_fraction: float
    bought_holds_low: float = Field(description="Lower end of its 95 % interval (Wilson).")
    bought_holds_high: float
    designs: dict[str, float] = Field(description="Share of the draws that each design wins.")


class Flip(Result):
    """Where another design becomes the best one; the factor is null if that is nowhere in the range."""

    input: str
    direction: str = Field(description="lower or higher than now.")
    now: float = Field(description="USD/h, or requests/s.")
    at: float | None
    factor: float | None
    design: str | None = Field(description="What wins beyond.")
    pools: str | None
    searched_to: float = Field(description="Multiple up or down to which was looked.")
    exact: bool = Field(description="Prices: where two proven plans cost the same. Load: false, to 0.1 %.")


class Sensitivity(Result):
    """How a plan and the best plan respond to errors of the inputs."""

    planner_version: str
    catalog_digest: str
    scenario: dict[str, Any]
    objective: str
    value: float = Field(description="Of the plan, in the objective's unit: USD/h, W, machines or kg/h.")
    design: str
    pools: str
    inputs: list[InputEffect] = Field(description="Largest swing first.")
    monte_carlo: MonteCarlo | None
    flips: list[Flip]

    def to_records(self) -> list[dict[str, Any]]:
        """One flat dict an input and side: rows for a sheet."""
        return [
            {"input": e.input, "error_fraction": e.error_fraction, "source": e.source, "side": side,
             "factor": 1 + sign * e.error_fraction, **outcome.model_dump()}
            for e in self.inputs
            for side, sign, outcome in (("low", -1, e.low), ("high", 1, e.high))
        ]  # fmt: skip


@dataclass(frozen=True)
class UncertainInput:
    """An input with its error.

    Attributes
    ----------
    name : str
        `load`, `price.dgx-h100`, `step-time.h100-sxm-80gb`, ...
    error : float
        Share of the value, above 0 and below 1.
    source : str
    """

    name: str
    error: float
    source: str

    @property
    def title(self) -> str:
        """The input in words."""
        kind, _, of = self.name.partition(".")
        return f"{TITLES[kind]} {of}".strip()


def perturbation_of(inputs: Sequence[UncertainInput], factors: Sequence[float]) -> Perturbation:
    """Inputs at multiples of their values."""
    at = {i.name: float(f) for i, f in zip(inputs, factors, strict=True)}

    def of(kind: str) -> dict[str, float]:
        return {name.partition(".")[2]: f for name, f in at.items() if name.startswith(f"{kind}.")}

    model = ModelErrors(at.get("prompt", 1.0), at.get("output", 1.0), at.get("arrival-cv2", 1.0), of("step-time"))
    return Perturbation(at.get("load", 1.0), model, of("price"))


def sensitivity(
    scenario: Scenario | Mapping[str, Any] | str | Path | None = None,
    *,
    errors: Mapping[str, float] | None = None,
    draws: int = 200,
    flips: bool = True,
    workers: int | None = None,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Sensitivity:
    """Say how the best plan, and the plan bought, respond to errors of the inputs.

    Parameters
    ----------
    scenario, catalog, **fields
        As in `optimize`. Plans are not simulated.
    errors : mapping of str to float, optional
        Input -> its error as a share: `price`, `load`, `prompt`, `output`, `arrival-cv2`, `step-time`; one machine's
        price as `price.dgx-h100`, one accelerator's step times as `step-time.h100-sxm-80gb`. 0 leaves an input out. Not
        given: step times as their runtime states, and `DEFAULT_ERRORS`.
    draws : int
        Of the Monte Carlo simulation; 0 leaves it out.
    flips : bool
        Whether to look for the prices and the load at which another design wins.
    workers : int, optional
        Processes; left out, one a core.
    progress : callable
        Told what is being done.

    Returns
    -------
    Sensitivity

    Raises
    ------
    InputError
        An unknown input, with near misses; an error that is negative, or 100 % or more.
    InfeasibleError
        There is no plan for the inputs as they are.
    """
    loaded = load_scenario(scenario if scenario is not None else {}, **fields)
    loaded = load_scenario(loaded, verify=False)
    if loaded.objective == "throughput":
        raise ScenarioError(
            "the objective throughput has no bought load to doubt", where="objective",
            fix="ask for the cost of a load: --objective cost --rate ...",
        )  # fmt: skip
    if not 0 <= draws <= MOST_DRAWS:
        raise ScenarioError("not a number of draws", where="draws", value=draws, rule=f"0 to {MOST_DRAWS:,}")
    overlays = overlays_of(loaded, catalog)
    digest = Catalog(overlays).digest()[:16]
    task = _Task(json.dumps(loaded.dump() | {"catalog": []}, sort_keys=True), overlays, digest)
    progress("the plan itself")
    problem, search, bought = _planned(task)
    inputs = uncertain_inputs(problem, errors or {})
    cases = [perturbation_of([i], [1.0 + sign * i.error]) for i in inputs for sign in (-1.0, 1.0)]
    factors = 1.0 + np.random.default_rng(loaded.seed).uniform(-1.0, 1.0, (draws, len(inputs))) * [
        i.error for i in inputs
    ]
    cases += [perturbation_of(inputs, row) for row in factors]
    found = run_in_order(_outcome, [(task, case) for case in cases], workers=workers, progress=progress, what="cases")
    effects = [_effect(i, found[2 * n], found[2 * n + 1]) for n, i in enumerate(inputs)]
    drawn = found[2 * len(inputs) :]
    progress("what would change the decision")
    return Sensitivity(
        planner_version=__version__,
        catalog_digest=digest,
        scenario=loaded.dump(),
        objective=loaded.objective,
        value=bought.selection.objective,
        design=design_of(bought.members),
        pools=_pools(bought, problem.limits.spares),
        inputs=sorted(effects, key=lambda e: (-(math.inf if e.swing is None else e.swing), e.input)),
        monte_carlo=_summary(drawn, loaded.seed) if drawn else None,
        flips=[*_price_flips(search, problem, bought), *_load_flips(task, loaded.rate_per_s)] if flips else [],
    )


def uncertain_inputs(problem: Problem, errors: Mapping[str, float]) -> list[UncertainInput]:
    """The inputs of a problem with their errors, those given and those by default."""
    stated: dict[str, float] = {}
    for c in configurations(problem)[0]:
        name = f"step-time.{c.accelerator.name}"
        stated[name] = max(stated.get(name, 0.0), c.step_time_error)
    priced = [f"price.{m.name}" for m in problem.machines if problem.scenario.objective == "cost"]
    known = [*DEFAULT_ERRORS, "step-time", *stated, *priced]
    for name, error in errors.items():
        if name not in known:
            raise UnknownNameError.of("input", name, known, where="error")
        if not (isinstance(error, (int, float)) and 0 <= error < 1):
            raise ScenarioError(
                f"not an error of {name}", where="error", value=error,
                rule="a share from 0 (leave it out) to below 100 %: the input is lowered and raised by it",
            )  # fmt: skip

    def of(name: str, default: float, source: str) -> UncertainInput:
        kind = name.partition(".")[0]
        given = errors.get(name, errors.get(kind))
        return UncertainInput(name, default if given is None else given, source if given is None else "given")

    runtime = f"stated by {problem.runtime.name}"
    found = [of(name, error, runtime) for name, error in sorted(stated.items()) if problem.scenario.profile is None
             or name in errors or "step-time" in errors]  # fmt: skip
    found += [of(name, DEFAULT_ERRORS["price"], "default") for name in priced]
    found += [of(name, error, "default") for name, error in DEFAULT_ERRORS.items() if name != "price"]
    return [i for i in found if i.error > 0]


@dataclass(frozen=True)
class _Task:
    """What a process needs to plan: the scenario as JSON, and its catalog."""

    scenario: str
    overlays: tuple[str, ...]
    digest: str

    @property
    def loaded(self) -> Scenario:
        return load_scenario(json.loads(self.scenario))

    @property
    def catalog(self) -> Catalog:
        return catalog_at(self.overlays, self.digest)


@lru_cache(maxsize=4)
def _planned(task: _Task) -> tuple[Problem, Search, Solution]:
    problem = resolve(task.loaded, task.catalog)
    search = searched(problem)
    return problem, search, solve_search(search)


@lru_cache(maxsize=2)
def _another(
    task: _Task, load: float, prompt: float, output: float, cv2: float, steps: tuple[tuple[str, float], ...]
) -> tuple[Problem, Search | InfeasibleError]:
    """A problem at other inputs but prices, and its candidates: draws that differ in prices alone share them."""
    perturbation = Perturbation(load, ModelErrors(prompt, output, cv2, dict(steps)))
    problem = perturbed(task.loaded, perturbation, task.catalog)
    try:
        return problem, searched(problem)
    except InfeasibleError as error:
        return problem, error


def _outcome(case: tuple[_Task, Perturbation]) -> Outcome:
    task, p = case
    base, search, bought = _planned(task)
    spares = base.limits.spares
    missed: list[str] = []
    found: Search | InfeasibleError = search
    if p.but_for_prices() != Perturbation():
        m = p.model
        steps = tuple(sorted(m.step_times.items()))
        problem, found = _another(task, p.load, m.prompt_tokens, m.output_tokens, m.arrival_cv2, steps)
        missed = misses(bought, problem)
    best: Solution | None = None
    if not isinstance(found, InfeasibleError):
        try:
            best = solve_search(repriced(found, p.prices))
        except InfeasibleError:
            best = None
    is_cost = base.scenario.objective == "cost"
    return Outcome(
        value=None if best is None else best.selection.objective,
        design=None if best is None else design_of(best.members),
        pools=None if best is None else _pools(best, spares),
        proven=best is None or best.selection.status == "optimal",
        bought_value=cost_usd_per_hour(bought, spares, p.prices) if is_cost else bought.selection.objective,
        bought_holds=not missed,
        bought_misses=missed,
    )


def _effect(i: UncertainInput, low: Outcome, high: Outcome) -> InputEffect:
    swing = None if low.value is None or high.value is None else abs(high.value - low.value)
    return InputEffect(
        input=i.name, title=i.title, error_fraction=i.error, source=i.source, low=low, high=high, swing=swing
    )


def _summary(drawn: Sequence[Outcome], seed: int) -> MonteCarlo:
    n = len(drawn)
    values = np.array([o.value for o in drawn if o.value is not None])
    bought = np.array([o.bought_value for o in drawn])
    held = sum(o.bought_holds for o in drawn) / n
    middle = (held + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * math.sqrt(held * (1 - held) / n + _Z95**2 / (4 * n * n))
    won: dict[str, int] = {}
    for o in drawn:
        if o.design is not None:
            won[o.design] = won.get(o.design, 0) + 1

    def quantile(of: np.ndarray, p: float) -> float | None:
        return float(np.quantile(of, p, method="inverted_cdf")) if of.size else None

    return MonteCarlo(
        draws=n,
        seed=seed,
        distribution="each input independent, uniform within its error",
        no_plan_fraction=1.0 - values.size / n,
        value_mean=float(values.mean()) if values.size else None,
        value_p5=quantile(values, 0.05),
        value_p50=quantile(values, 0.50),
        value_p95=quantile(values, 0.95),
        bought_value_mean=float(bought.mean()),
        bought_value_p95=quantile(bought, 0.95) or 0.0,
        bought_holds_fraction=held,
        bought_holds_low=max(middle - half, 0.0),
        bought_holds_high=min(middle + half, 1.0),
        designs={name: count / n for name, count in sorted(won.items(), key=lambda kv: (-kv[1], kv[0]))},
    )


def _pools(solution: Solution, spares: int) -> str:
    return " + ".join(f"{m.count + spares} x {m.configuration.machine.name} {m.role}" for m in solution.members)


def _price_flips(search: Search, problem: Problem, bought: Solution) -> list[Flip]:
    if problem.scenario.objective != "cost" or problem.limits.max_cost_usd_per_hour is not None:
        return []  # under a budget, prices change what is possible, and the least cost is no longer concave
    spares, flips = problem.limits.spares, []
    for machine in problem.machines:
        price = problem.catalog.price_of(machine.name, problem.scenario.prices)
        if price is None:
            continue

        def best(factor: float, name: str = machine.name) -> Offer:
            solution = solve_search(repriced(search, {name: factor}))
            fixed, now = (cost_usd_per_hour(solution, spares, {name: f / factor}) for f in (0.0, 1.0))
            return Offer(design_of(solution.members), _pools(solution, spares), fixed, now - fixed)

        for direction, flip in design_flips(best).items():
            flips.append(
                Flip(
                    input=f"price.{machine.name}",
                    direction=direction,
                    now=price.usd_per_hour,
                    at=None if flip is None else price.usd_per_hour * flip[0],
                    factor=None if flip is None else flip[0],
                    design=None if flip is None else flip[1].design,
                    pools=None if flip is None else flip[1].pools,
                    searched_to=RANGE[0] if direction == "lower" else RANGE[1],
                    exact=True,
                )
            )
    return flips


def _load_flips(task: _Task, rate_per_s: float) -> list[Flip]:
    def best(factor: float) -> Solution:
        return solve_search(searched(perturbed(task.loaded, Perturbation(load=factor), task.catalog)))

    flips = []
    for direction, flip in load_flips(lambda factor: design_of(best(factor).members)).items():
        factor, design = flip or (None, None)
        flips.append(
            Flip(
                input="load",
                direction=direction,
                now=rate_per_s,
                at=None if factor is None else rate_per_s * factor,
                factor=factor,
                design=design,
                pools=None if factor is None or design == NO_PLAN else _pools(best(factor), task.loaded.spares),
                searched_to=RANGE[0] if direction == "lower" else RANGE[1],
                exact=False,
            )
        )
    return flips
