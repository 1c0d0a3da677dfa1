"""Designs side by side: each sized as well as can be for the same workloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import (
    EXIT_LIMIT_WITH_PLAN,
    EXIT_OK,
    InfeasibleError,
    NoPlanFoundError,
    PlannerError,
    ScenarioError,
    UnknownNameError,
)
from planner.planning.plan import Plan
from planner.planning.record import LESS_SLACK, NOT_SIMULATED
from planner.planning.road import plan
from planner.pools.design import Design
from planner.pools.limits import ObjectiveName
from planner.scenario.opened import Asked, CatalogLike, ScenarioLike, ask
from planner.scenario.progress import Progress, quiet
from planner.scenario.resolve import Problem, has_budget
from planner.studies.budgets import ComparedBudget, parse_budgets
from planner.studies.comparison_result import Comparison, ComparisonRow, RowStatus
from planner.studies.designs import find_baseline, machines_of, read_designs
from planner.studies.head import head_of
from planner.studies.presets import preset_of
from planner.studies.rows import latencies, pool_counts, pools_text, slacks, used_prices

OBJECTIVES: tuple[ObjectiveName, ...] = ("cost", "power", "energy", "machines", "carbon", "throughput")
_WORDS = {
    "cost": "least cost", "power": "least power", "energy": "least draw", "machines": "fewest machines",
    "carbon": "least carbon",
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What every design is sized for: least of something at the rate asked for, or most load within a budget."""

    objective: ObjectiveName
    budget: ComparedBudget | None = None

    def words(self, rate_per_s: float) -> str:
        """`least cost at 70 requests/s`, `most load for 408 kW rated, the power of 40 x dgx-h100`."""
        if self.objective != "throughput":
            return f"{_WORDS[self.objective]} at {rate_per_s:g} requests/s"
        return f"most load for {self.budget.words}" if self.budget else "most load within the limits"


def compare(
    scenario: ScenarioLike | None = None,
    *,
    designs: Sequence[str] | str | None = None,
    pairs: Sequence[str] | str = (),
    workloads: Sequence[str] | str | None = None,
    objectives: Sequence[str] | str | None = None,
    budgets: Sequence[str] | str = (),
    relative_to: str | None = None,
    preset: str | None = None,
    verify: bool = False,
    catalog: CatalogLike = None,
    progress: Callable[[str], None] = quiet,
    **fields: Any,
) -> Comparison:
    """Size several designs for the same workloads, each as well as can be, and put them side by side.

    Parameters
    ----------
    scenario, catalog, **fields
        As in `optimize`. Its limits and stock hold for every design; its design does not matter.
    designs : sequence of str, optional
        As `optimize` takes them, or `paper` for the six of the Splitwise paper. Left out, and with no pairs: a
        baseline of each machine and every pairing of them, and with the default machines Splitwise-HHcap.
    pairs : sequence of str
        Further designs, `prefill=dgx-h100,decode=dgx-a100`.
    workloads : sequence of str, optional
        Workloads of the catalog or traces; left out: the scenario's.
    objectives : sequence of str, optional
        Of `cost`, `power`, `energy`, `machines`, `carbon` (the least of them at the scenario's rate) and `throughput`
        (within the scenario's limits). Left out: the scenario's, or none if budgets are given.
    budgets : sequence of str
        For each the largest throughput within it: `cost=1520USD/h`, `power=408kW`, `machines=40`,
        `cost=40xdgx-h100` (what so many cost), `machines=40xdgx-h100` (their cost, and their power).
    relative_to : str, optional
        The design that relative figures are against; left out: the first baseline.
    preset : str, optional
        `splitwise-iso-power`, `splitwise-iso-cost`, `splitwise-iso-cost-2.35` or `splitwise-iso-throughput`: the
        comparisons of the paper; or `splitwise`, its machines alone. What is given beside it wins.
    verify : bool
        Whether to simulate every plan, and to correct those that fail.
    progress : callable
        Told in a few words what is being done.

    Returns
    -------
    Comparison
        A row a workload, question and design. A design for which there is no plan has a row that says why. An
        interruption (Ctrl-C) after the first row keeps the rows that are done, with `complete` false.

    Raises
    ------
    InputError
        Something in the scenario, trace or catalog is wrong; no designs, an unknown one, or machines paired that
        share no network; a budget that cannot be read; `relative_to` that is not compared.
    """
    arguments: dict[str, Any] = {
        "designs": _listed(designs), "workloads": _listed(workloads), "objectives": _listed(objectives),
        "budgets": _listed(budgets), "relative_to": relative_to,
    }  # fmt: skip
    if preset is not None:
        chosen = preset_of(preset)
        # A question of one's own takes the place of the preset's, whichever kind it is.
        own = {"objectives", "budgets"} if objectives or budgets else set()
        for name, value in chosen.arguments.items():
            if name not in own and arguments[name] in (None, ()) and not (name == "designs" and pairs):
                arguments[name] = value
        fields = {**chosen.fields, **fields}
    asked = ask(scenario, catalog, {**fields, "verify": verify})
    names = asked.scenario.machines
    catalogue = asked.catalog
    picked, notes = read_designs(arguments["designs"], _listed(pairs) or (), names, catalogue)
    baseline = find_baseline(arguments["relative_to"], picked, catalogue)
    if arguments["workloads"] == ():
        raise ScenarioError("there are no workloads", where="workloads", fix="name one, or leave the list out")
    kinds = list(dict.fromkeys(arguments["workloads"] or (asked.scenario.workload,)))
    questions = _questions(arguments["objectives"], arguments["budgets"] or (), asked)
    rows: list[ComparisonRow] = []
    complete, common = True, None
    try:
        for problem, row in _rows(asked, kinds, picked, questions, progress):
            common = common or problem
            rows.append(row)
    except KeyboardInterrupt:
        if not rows:
            raise
        complete = False
    assert common is not None  # there are a design, a workload and a question
    rows = _relative(rows, baseline)
    plans = [row.plan for row in rows if row.plan is not None]
    notes += _notes(rows)
    if not any(row.found for row in rows if row.design == baseline):
        notes.append(f"there is no plan for {baseline}, so nothing is relative to it")
    return Comparison(
        **head_of(common, used_prices(plans), notes) | {"scenario": asked.scenario.dump()},
        step_time_error=max((plan.step_time_error for plan in plans), default=None),
        verified="as each row says" if verify else NOT_SIMULATED,
        workloads=list(dict.fromkeys(row.workload for row in rows)),
        designs=[design.name for design in picked],
        questions=list(dict.fromkeys(row.question for row in rows)),
        relative_to=baseline,
        complete=complete,
        rows=rows,
    )


def _notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """What the plans note: with the workload where it is not said of all of them; tight designs named together."""
    said: dict[str, list[str]] = {}
    tight: list[str] = []
    for row in rows:
        for note in row.plan.notes if row.plan is not None else ():
            if note.startswith(LESS_SLACK):
                tight.append(row.design)
            elif row.workload not in said.setdefault(note, []):
                said[note].append(row.workload)
    workloads = {row.workload for row in rows}
    notes = [note if set(at) == workloads else f"{', '.join(at)}: {note}" for note, at in said.items()]
    if tight:
        notes.append(f"{LESS_SLACK} with {', '.join(dict.fromkeys(tight))}")
    return notes


def _listed(value: Sequence[str] | str | None) -> tuple[str, ...] | None:
    return None if value is None else (value,) if isinstance(value, str) else tuple(value)


def _questions(objectives: Sequence[str] | None, budgets: Sequence[str], asked: Asked) -> list[Question]:
    scenario = asked.scenario
    if objectives == () and not budgets:
        raise ScenarioError("there is nothing to size for", where="objectives", rule="an objective or a budget")
    chosen = objectives if objectives is not None else () if budgets else (scenario.objective,)
    for name in chosen:
        if name not in OBJECTIVES:
            raise UnknownNameError.of("objective", name, OBJECTIVES, where="objectives")
    found = [Question(name) for name in dict.fromkeys(chosen)]  # type: ignore[arg-type]
    if any(q.objective == "throughput" for q in found) and not has_budget(scenario):
        raise ScenarioError(
            "throughput needs something that bounds it", where="objectives",
            fix="give a budget, such as --budget cost=40xdgx-h100, or --max-cost and the like",
        )  # fmt: skip
    return found + [Question("throughput", budget) for budget in parse_budgets(budgets, asked.catalog, scenario.prices)]


def _rows(
    asked: Asked,
    workloads: Sequence[str],
    designs: Sequence[Design],
    questions: Sequence[Question],
    progress: Progress,
) -> Iterator[tuple[Problem, ComparisonRow]]:
    machines = machines_of(designs, asked.scenario.machines)
    total, number = len(workloads) * len(questions) * len(designs), 0
    for workload in workloads:
        # What is wrong for every design is said at once; which machines lack a price matters to single designs only.
        carbon = any(q.objective == "carbon" for q in questions)
        common = asked.with_fields(
            workload=workload, machines=tuple(machines), design="auto",
            objective="carbon" if carbon else "machines", max_cost=None,
        ).resolved()  # fmt: skip
        for question in questions:
            for design in designs:
                number += 1
                at = f"{number} of {total}, {design.name}"
                progress(f"{at}: {question.words(common.need.rate_per_s)}")
                found = _plan(asked, workload, design, question, lambda text, at=at: progress(f"{at}: {text}"))  # type: ignore[misc]
                yield common, _row(common, design, question, found)


def _plan(asked: Asked, workload: str, design: Design, question: Question, progress: Progress) -> Plan | PlannerError:
    """The plan of one row, or why there is none."""
    posed = asked.with_fields(
        workload=workload, design=design.name, machines=design.machines or asked.scenario.machines,
        objective=question.objective,
    )  # fmt: skip
    if question.budget is not None:
        posed = posed.with_change(question.budget.change)
    try:
        found = plan(posed.resolved(), progress)
    except (InfeasibleError, NoPlanFoundError, ScenarioError) as error:
        return error
    if found.certificate is not None and found.certificate.status == "interrupted":
        raise KeyboardInterrupt
    return found


def _row(common: Problem, design: Design, question: Question, answer: Plan | PlannerError) -> ComparisonRow:
    found = answer if isinstance(answer, Plan) else None
    counts = pool_counts(found)
    percentiles: dict[str, float | None] = {
        f"{metric}_{p}_s": None for metric in ("ttft", "tbt", "e2e") for p in ("p50", "p90", "p99")
    }
    tightest = None
    if found is not None:
        percentiles = latencies(found)
        tightest = min(slacks(found), key=lambda entry: entry[1], default=None)
    return ComparisonRow(
        workload=common.sizes.name,
        question=question.words(common.need.rate_per_s),
        objective=question.objective,
        budget=question.budget.text if question.budget else None,
        design=design.name,
        status=_status(answer),
        reason=None if isinstance(answer, Plan) else _one_line(answer),
        exit_code=_exit_code(answer),
        pools=pools_text(found),
        machines=found.machines if found else None,
        prefill_machines=counts["prefill"],
        decode_machines=counts["decode"],
        mixed_machines=counts["mixed"],
        rate_per_s=found.rate_per_s if found else None,
        cost_usd_per_hour=found.cost_usd_per_hour if found else None,
        cost_usd_per_million_tokens=found.cost_usd_per_million_tokens if found else None,
        power_w=found.power_w if found else None,
        expected_power_w=found.expected_power_w if found else None,
        rack_units=found.rack_units if found else None,
        latencies=None if found is None else "predicted" if found.certificate is None else "simulated",
        **percentiles,
        tightest_objective=tightest[0] if tightest else None,
        tightest_slack_fraction=tightest[1] if tightest else None,
        verified=found.verified if found else None,
        relative_rate=None,
        relative_cost=None,
        relative_cost_per_token=None,
        relative_power=None,
        relative_machines=None,
        relative_rack_units=None,
        plan=found,
    )


def _status(plan: Plan | PlannerError) -> RowStatus:
    if not isinstance(plan, Plan):
        return "unsolved" if isinstance(plan, NoPlanFoundError) else "infeasible"
    if plan.certificate is not None and plan.certificate.status != "confirmed":
        return "unconfirmed"
    return "limit" if plan.solver.status == "limit" else "optimal"  # of its design; `auto` may be a near tie


def _exit_code(answer: Plan | PlannerError) -> int:
    if isinstance(answer, PlannerError):
        return answer.exit_code
    return EXIT_OK if _status(answer) == "optimal" else EXIT_LIMIT_WITH_PLAN


def _one_line(error: PlannerError) -> str:
    value = "" if error.value is None else ": " + "; ".join(line.strip() for line in str(error.value).splitlines())
    for name in ("cost", "power", "total_machines", "machines", "pools"):
        value = value.replace(f"max_{name}", name.replace("_", " "))
    return f"{error.what}{value}" + (f" ({error.rule})" if error.rule and not value else "")


_RELATIVE: Mapping[str, str] = {
    "relative_rate": "rate_per_s",
    "relative_cost": "cost_usd_per_hour",
    "relative_cost_per_token": "cost_usd_per_million_tokens",
    "relative_power": "power_w",
    "relative_machines": "machines",
    "relative_rack_units": "rack_units",
}


def _relative(rows: Sequence[ComparisonRow], baseline: str) -> list[ComparisonRow]:
    """Rows with their figures over those of the baseline's row of the same workload and question."""
    base = {(row.workload, row.question): row for row in rows if row.design == baseline}

    def ratio(row: ComparisonRow, field: str) -> float | None:
        other = base.get((row.workload, row.question))
        own, reference = getattr(row, field), getattr(other, field) if other is not None else None
        return own / reference if own is not None and reference else None

    return [row.model_copy(update={name: ratio(row, field) for name, field in _RELATIVE.items()}) for row in rows]
