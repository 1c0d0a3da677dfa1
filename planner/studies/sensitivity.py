"""How sure a plan is: what errors of its inputs do to the best plan, and to the plan that was bought.

Two questions that are easily confused. *Re-optimised*: had the input been known to differ, what would the best plan be,
and what would it cost? *Bought*: the plan was bought for the inputs as given; does it hold when one differs?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from planner.errors import InfeasibleError, ScenarioError
from planner.planning.links import prices_used
from planner.planning.record import design_of
from planner.planning.search import Solution, best_or_none, solve_problem
from planner.scenario.changes import load_of, supposing
from planner.scenario.opened import CatalogLike, ScenarioLike, ask
from planner.scenario.progress import quiet
from planner.scenario.resolve import Problem, changed
from planner.studies.bought import carried, cost_by_machine, electricity_usd_per_hour, misses, value_of
from planner.studies.decision import NO_PLAN, RANGE, OfferOfMachine, design_flips, load_flips
from planner.studies.head import head_of
from planner.studies.job import Job
from planner.studies.runner import run_in_order
from planner.studies.sensitivity_report import Flip, InputEffect, MonteCarlo, OutcomeOfError, Sensitivity
from planner.studies.uncertain_input import (
    UncertainInput,
    change_of,
    is_electricity_billed,
    uncertain_inputs,
    without_effect,
)

MOST_DRAWS = 10_000
_Z95 = 1.96


def sensitivity(
    scenario: ScenarioLike | None = None,
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
    asked = ask(scenario, catalog, fields).with_fields(verify=False)
    loaded = asked.scenario
    if loaded.objective == "throughput":
        raise ScenarioError(
            "the objective throughput has no bought load to doubt", where="objective",
            fix="ask for the cost of a load: --objective cost --rate ...",
        )  # fmt: skip
    if not 0 <= draws <= MOST_DRAWS:
        raise ScenarioError("not a number of draws", where="draws", value=draws, rule=f"0 to {MOST_DRAWS:,}")
    progress("the plan itself")
    problem = asked.resolved()
    bought = solve_problem(problem)
    inputs = uncertain_inputs(problem, errors or {})
    changes = [change_of([i], [f]) for i in inputs for f in (i.low_factor, 1.0 + i.error)]
    drawn_at = np.random.default_rng(loaded.seed).uniform(-1.0, 1.0, (draws, len(inputs)))
    factors = np.maximum(1.0 + drawn_at * [i.error for i in inputs], [i.least for i in inputs])
    changes += [change_of(inputs, row) for row in factors]
    base = Job.of(asked)
    cases = [(base, Job.of(asked.with_change(change))) for change in changes]
    found = run_in_order(_outcome, cases, workers=workers, progress=progress, what="cases")
    effects = [_effect(i, found[2 * n], found[2 * n + 1]) for n, i in enumerate(inputs)]
    drawn = found[2 * len(inputs) :]
    billed = _billed_usd_per_hour(bought, problem)
    progress("what would change the decision")
    return Sensitivity(
        **head_of(problem, prices_used(problem, {m.configuration.machine.name for m in bought.members})),
        objective=loaded.objective,
        value=bought.selection.objective + (billed or 0.0),
        electricity_usd_per_hour=billed,
        design=design_of(bought.members),
        pools=_pools(bought, problem.limits.spares),
        inputs=sorted(effects, key=lambda e: (-(math.inf if e.swing is None else e.swing), e.input)),
        no_effect=without_effect(problem, errors or {}),
        monte_carlo=_summary(drawn, loaded.seed, [i for i in inputs if i.note]) if drawn else None,
        flips=[*_price_flips(problem), *_load_flips(problem)] if flips else [],
    )


@lru_cache(maxsize=4)
def _planned(base: Job) -> tuple[Problem, Solution]:
    problem = base.resolved()
    return problem, solve_problem(problem)


def _outcome(case: tuple[Job, Job]) -> OutcomeOfError:
    base, bought = _planned(case[0])
    problem = case[1].resolved()
    spares, objective = base.limits.spares, base.scenario.objective
    missed = misses(bought, problem)
    best = best_or_none(problem)
    bills = [None if s is None else _billed_usd_per_hour(s, problem) for s in (best, bought)]
    members, _ = carried(bought, problem)
    return OutcomeOfError(
        value=None if best is None else best.selection.objective + (bills[0] or 0.0),
        design=None if best is None else design_of(best.members),
        pools=None if best is None else _pools(best, spares),
        proven=best is None or best.selection.status == "optimal",
        bought_value=value_of(members, spares, objective) + (bills[1] or 0.0),
        bought_holds=not missed,
        bought_misses=missed,
    )


def _billed_usd_per_hour(solution: Solution, problem: Problem) -> float | None:
    """Electricity that a plan is billed for beside its prices [USD/h]; None where prices contain it."""
    return electricity_usd_per_hour(solution, problem) if is_electricity_billed(problem) else None


def _effect(i: UncertainInput, low: OutcomeOfError, high: OutcomeOfError) -> InputEffect:
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


def _summary(drawn: Sequence[OutcomeOfError], seed: int, stopped: Sequence[UncertainInput]) -> MonteCarlo:
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


def _price_flips(problem: Problem) -> list[Flip]:
    if problem.scenario.objective != "cost" or problem.limits.max_cost_usd_per_hour is not None:
        return []  # under a budget, prices change what is possible, and the least cost is no longer concave
    spares, flips = problem.limits.spares, []
    for machine in problem.machines:
        price = problem.catalog.price_of(machine.name, problem.scenario.prices)
        if price is None:
            continue

        def best(factor: float, name: str = machine.name) -> OfferOfMachine:
            solution = _surely(changed(problem, supposing(prices={name: factor})))
            costs = cost_by_machine(solution.members, spares)
            own = costs.pop(name, 0.0) / factor
            return OfferOfMachine(design_of(solution.members), _pools(solution, spares), math.fsum(costs.values()), own)

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


def _load_flips(problem: Problem) -> list[Flip]:
    def best(factor: float) -> Solution:
        return _surely(changed(problem, load_of(factor)))

    rate_per_s, flips = problem.need.rate_per_s, []
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
                pools=None if factor is None or design == NO_PLAN else _pools(best(factor), problem.limits.spares),
                searched_to=RANGE[0] if direction == "lower" else RANGE[1],
                exact=False,
            )
        )
    return flips


def _surely(problem: Problem) -> Solution:
    solution = best_or_none(problem)
    if solution is None:
        raise InfeasibleError("no plan")
    return solution
