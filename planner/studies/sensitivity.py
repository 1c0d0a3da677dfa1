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

from planner._version import __version__
from planner.catalog.catalog import Catalog
from planner.errors import InfeasibleError, ScenarioError
from planner.planning.record import design_of
from planner.planning.search import Search, Solution, solve_search
from planner.scenario.resolve import ModelErrors, Problem, resolve
from planner.scenario.scenario import Scenario, load_scenario
from planner.studies.decision import NO_PLAN, RANGE, Offer, design_flips, load_flips
from planner.studies.parallel import quiet, run_in_order
from planner.studies.perturbation import (
    Perturbation,
    carbon_kg_per_hour,
    cost_usd_per_hour,
    electricity_usd_per_hour,
    misses,
    perturbed,
    repriced,
    searched,
)
from planner.studies.sensitivity_report import Flip, InputEffect, MonteCarlo, Outcome, Sensitivity
from planner.studies.sweep import CatalogLike, catalog_at, overlays_of
from planner.studies.uncertain_input import (
    UncertainInput,
    is_electricity_billed,
    perturbation_of,
    uncertain_inputs,
    without_effect,
)

MOST_DRAWS = 10_000
_Z95 = 1.96


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
        price as `price.dgx-h100`, one accelerator's step times as `step-time.h100-sxm-80gb`; `pue`, `electricity`,
        `grid-carbon`, one region's as `grid-carbon.france`. 0 leaves an input out. Not given: step times as their
        runtime states, `DEFAULT_ERRORS` and `ENERGY_ERRORS`.
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
    cases = [perturbation_of([i], [f]) for i in inputs for f in (i.low_factor, 1.0 + i.error)]
    drawn_at = np.random.default_rng(loaded.seed).uniform(-1.0, 1.0, (draws, len(inputs)))
    factors = np.maximum(1.0 + drawn_at * [i.error for i in inputs], [i.least for i in inputs])
    cases += [perturbation_of(inputs, row) for row in factors]
    found = run_in_order(_outcome, [(task, case) for case in cases], workers=workers, progress=progress, what="cases")
    effects = [_effect(i, found[2 * n], found[2 * n + 1]) for n, i in enumerate(inputs)]
    drawn = found[2 * len(inputs) :]
    billed = _billed_usd_per_hour(bought, problem, problem, Perturbation())
    progress("what would change the decision")
    return Sensitivity(
        planner_version=__version__,
        catalog_digest=digest,
        scenario=loaded.dump(),
        objective=loaded.objective,
        value=bought.selection.objective + (billed or 0.0),
        electricity_usd_per_hour=billed,
        design=design_of(bought.members),
        pools=_pools(bought, problem.limits.spares),
        inputs=sorted(effects, key=lambda e: (-(math.inf if e.swing is None else e.swing), e.input)),
        no_effect=without_effect(problem, errors or {}),
        monte_carlo=_summary(drawn, loaded.seed, [i for i in inputs if i.note]) if drawn else None,
        flips=[*_price_flips(search, problem, bought), *_load_flips(task, loaded.rate_per_s)] if flips else [],
    )


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
    counts_carbon = base.scenario.objective == "carbon"
    missed: list[str] = []
    problem = base
    found: Search | InfeasibleError = search
    if p.but_for_prices() != Perturbation():
        m = p.model
        steps = tuple(sorted(m.step_times.items()))
        problem, found = _another(task, p.load, m.prompt_tokens, m.output_tokens, m.arrival_cv2, steps)
        missed = misses(bought, problem)
    best: Solution | None = None
    if not isinstance(found, InfeasibleError):
        try:
            best = solve_search(repriced(found, p.prices, p.supply(base) if counts_carbon else None))
        except InfeasibleError:
            best = None
    bought_value = bought.selection.objective
    if base.scenario.objective == "cost":
        bought_value = cost_usd_per_hour(bought, spares, p.prices)
    elif counts_carbon:
        bought_value = carbon_kg_per_hour(bought, spares, p.supply(base))
    bills = [None if s is None else _billed_usd_per_hour(s, base, problem, p) for s in (best, bought)]
    return Outcome(
        value=None if best is None else best.selection.objective + (bills[0] or 0.0),
        design=None if best is None else design_of(best.members),
        pools=None if best is None else _pools(best, spares),
        proven=best is None or best.selection.status == "optimal",
        bought_value=bought_value + (bills[1] or 0.0),
        bought_holds=not missed,
        bought_misses=missed,
    )


def _billed_usd_per_hour(solution: Solution, base: Problem, problem: Problem, p: Perturbation) -> float | None:
    """Electricity that a plan is billed for beside its prices [USD/h]; None where prices contain it."""
    return electricity_usd_per_hour(solution, problem, p.supply(base)) if is_electricity_billed(base) else None


def _effect(i: UncertainInput, low: Outcome, high: Outcome) -> InputEffect:
    swing = None if low.value is None or high.value is None else abs(high.value - low.value)
    return InputEffect(
        input=i.name,
        title=i.title,
        error_fraction=i.error,
        low_factor=i.low_factor,
        source=i.source,
        low=low,
        high=high,
        swing=swing,
        note=i.note,
    )


def _summary(drawn: Sequence[Outcome], seed: int, stopped: Sequence[UncertainInput]) -> MonteCarlo:
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
        distribution="each input independent, uniform within its error"
        + "".join(f", {i.title} no lower than 1" for i in stopped),
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
