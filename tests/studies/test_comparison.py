"""Designs side by side: each row is what optimising that design alone gives; bad input is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.schema import Machine
from planner.errors import InputError, ScenarioError, UnknownNameError
from planner.planning.reuse import candidates_of
from planner.planning.search import solve_problem
from planner.pools.design import PAPER, parse_design
from planner.pools.generation import generate
from planner.scenario.resolve import configurations, resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies import comparison as module
from planner.studies.budgets import parse_budgets
from planner.studies.comparison import compare
from planner.studies.comparison_result import Comparison
from planner.studies.designs import read_designs
from planner.studies.presets import PRESETS

SLO = ["ttft=1s", "tbt=200ms"]
DESIGNS = ["Baseline-A100", "Baseline-H100", "Splitwise-AA", "Splitwise-AH", "Splitwise-HA", "Splitwise-HH"]
FEW = ["Baseline-A100", "Baseline-H100", "Splitwise-HA"]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.default()


@pytest.fixture(scope="module")
def both() -> Comparison:
    """Both traces, two objectives, and a design without a plan."""
    return compare(
        slo=SLO, rate="40/s", designs=[*FEW, "auto", "Baseline-8x-t4"], objectives=["cost", "power"],
        workloads=["azure-conv-2023", "azure-code-2023"], relative_to="Baseline-H100",
    )  # fmt: skip


def test_each_row_is_what_optimize_finds_for_that_design_alone(both: Comparison) -> None:
    for row in both.rows:
        if row.design == "Baseline-8x-t4":
            assert row.status == "infeasible" and row.plan is None and row.reason
            continue
        if (row.workload == "azure-code-2023") != (row.objective == "power"):
            continue  # each workload and each objective once
        alone = planner.optimize(
            slo=SLO, rate="40/s", design=row.design, objective=row.objective, workload=row.workload,
            machines=["dgx-a100", "dgx-h100"], verify=False,
        )  # fmt: skip
        assert row.plan is not None
        assert row.plan.pools == alone.pools, row.design
        assert row.plan.solver.bound == pytest.approx(alone.solver.bound)
        assert row.plan.scenario | {"machines": 0} == alone.scenario | {"machines": 0}
        assert row.status == "optimal"


def test_ratios_are_over_the_row_of_the_same_workload_and_question(both: Comparison) -> None:
    for row in both.rows:
        base = both.row("Baseline-H100", row.workload, row.objective)
        if row.found:
            assert row.relative_cost == pytest.approx(row.cost_usd_per_hour / base.cost_usd_per_hour)
            assert row.relative_power == pytest.approx(row.power_w / base.power_w)
            assert row.relative_machines == pytest.approx(row.machines / base.machines)
    assert both.row("Baseline-H100").relative_cost == 1.0


def test_auto_is_never_worse_than_a_design_of_its_machines(both: Comparison) -> None:
    for workload in both.workloads:
        best = both.row("auto", workload, "cost").cost_usd_per_hour
        assert best <= min(both.row(d, workload, "cost").cost_usd_per_hour for d in FEW) + 1e-9


def test_records_are_flat_and_say_what_they_are(both: Comparison) -> None:
    records = both.to_records()
    assert len(records) == len(both.rows) == 2 * 2 * 5
    assert all(not isinstance(value, (dict, list)) for record in records for value in record.values())
    first = records[0]
    assert first["design"] == "Baseline-A100" and first["workload"] == "azure-conv-2023"
    assert first["mixed_machines"] == first["machines"] and first["relative_to"] == "Baseline-H100"
    assert Comparison.model_validate_json(both.model_dump_json()) == both


def test_pools_of_a_design_are_those_that_would_be_generated_for_it(catalog: Catalog) -> None:
    problem = resolve(load_scenario({}, slo=["splitwise"], rate="20/s"), catalog)
    found, _ = configurations(problem)
    top = problem.need.rate_per_s
    candidates_of(problem, found, top)  # those of the widest design are kept, and the others are taken from them
    for name in DESIGNS:
        design = parse_design(name, catalog.names(Machine))
        alone = [c for c in found if c.machine.name in design.machines]
        expected = {c.key: c for c in generate(alone, problem.need, design, problem.need.rate_per_s)}
        kept = {c.key: c for c in candidates_of(problem, alone, top, design=design)}
        assert set(kept) == set(expected)
        for key, candidate in expected.items():
            assert set(kept[key].sources) == set(candidate.sources)
            assert kept[key].curve.rate_per_s.tolist() == candidate.curve.rate_per_s.tolist()


def test_pairs_are_designs() -> None:
    result = compare(slo=SLO, rate="20/s", pairs="prefill=dgx-h200,decode=dgx-a100", objectives="power")
    (row,) = result.rows
    assert row.design == "Splitwise-dgx-h200+dgx-a100"
    assert {(p.role, p.machine) for p in row.plan.pools} == {("prefill", "dgx-h200"), ("decode", "dgx-a100")}
    assert row.cost_usd_per_hour is None and row.relative_cost is None and row.relative_power == 1.0


def test_the_default_designs_are_all_of_the_machines(catalog: Catalog) -> None:
    found, _ = read_designs(None, (), ("dgx-a100", "dgx-h100"), catalog)
    assert {d.name for d in found} == {*DESIGNS, "Splitwise-HHcap"}
    found, notes = read_designs(None, (), ("dgx-a100", "aws-p5.48xlarge"), catalog)
    assert {d.name for d in found} == {
        "Baseline-A100", "Baseline-aws-p5.48xlarge", "Splitwise-AA", "Splitwise-aws-p5.48xlarge+aws-p5.48xlarge",
    }  # fmt: skip
    assert notes == ["not paired, for they share no network: aws-p5.48xlarge and dgx-a100"]
    assert [d.name for d in read_designs(["paper"], (), (), catalog)[0]] == list(PAPER)


# -- budgets ---------------------------------------------------------------------------------------------------------


def test_budgets_are_amounts_or_what_machines_cost_and_draw(catalog: Catalog) -> None:
    found = parse_budgets(
        ["cost=1520USD/h", "power=408kW", "machines=40", "cost=40xdgx-h100", "machines=10xdgx-a100"], catalog
    )
    assert [(b.kind, b.amount) for b in found] == [
        ("cost", 1520.0), ("power", 408e3), ("machines", 40.0), ("cost", 1520.0), ("cost", 176.0), ("power", 65e3),
    ]  # fmt: skip
    assert found[3].words == "$1,520.00/h, the cost of 40 x dgx-h100"
    (ratio,) = parse_budgets(["cost=40xdgx-h100"], catalog, ["splitwise-2023-ratio-2.35"])
    assert ratio.amount == pytest.approx(40 * 2.35 * 17.6)


def test_within_a_budget_each_design_carries_what_optimize_says() -> None:
    result = compare(slo=SLO, designs=["Baseline-H100", "Splitwise-HA"], budgets="machines=4xdgx-h100")
    assert [(r.design, r.budget) for r in result.rows] == [
        ("Baseline-H100", "cost=4xdgx-h100"), ("Splitwise-HA", "cost=4xdgx-h100"),
        ("Baseline-H100", "power=4xdgx-h100"), ("Splitwise-HA", "power=4xdgx-h100"),
    ]  # fmt: skip
    for row in result.rows:
        limit: dict[str, Any] = {"max_cost": 152.0} if row.budget.startswith("cost") else {"max_power": 40800.0}
        alone = planner.optimize(slo=SLO, design=row.design, objective="throughput", verify=False, **limit)
        assert row.rate_per_s == pytest.approx(alone.rate_per_s, rel=1e-9)
        assert row.question.startswith("most load for ")


def test_a_budget_that_admits_nothing_says_what_would() -> None:
    result = compare(slo=SLO, designs=["Baseline-H100", "Splitwise-HA"], budgets=["cost=40USD/h"])
    one, two = result.rows
    assert one.found and not two.found and two.status == "infeasible"
    assert "cost: $40.00/h is too little; $55.60/h is enough" in two.reason
    nothing = compare(slo=SLO, designs=["Baseline-H100", "Splitwise-HA"], budgets=["cost=1USD/h"])
    assert not any(row.found for row in nothing.rows)
    assert nothing.notes == ["there is no plan for Baseline-H100, so nothing is relative to it"]


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"splitwise"}))
def test_presets_ask_the_questions_of_the_paper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a hundredth of the size: what is asked, not what is answered."""
    result = compare(preset=name, budgets=["machines=1"], designs=["Baseline-H100"], workloads="azure-code-2023")
    assert (result.model, result.runtime) == ("bloom-176b", "splitwise-2023")
    assert len(result.scenario["slo"]) == 9
    assert result.questions == ["most load for 1 machines"]
    assert result.scenario["prices"] == (["splitwise-2023-ratio-2.35"] if "2.35" in name else [])
    arguments = PRESETS[name].arguments
    assert arguments["designs"] == ("paper",) and arguments["workloads"] == ("azure-code-2023", "azure-conv-2023")


def test_the_preset_of_every_command_takes_the_machines_of_the_paper_alone() -> None:
    result = compare(preset="splitwise", slo=SLO, rate="20/s", designs=["Baseline-H100"])
    assert result.model == "llama-3.1-70b" and result.scenario["preset"] == "splitwise"
    assert [row.design for row in result.rows] == ["Baseline-H100"] and result.rows[0].found


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "where", "says"),
    [
        ({"designs": []}, ScenarioError, "designs", "no designs"),
        ({"designs": ["Splitwse-HH"]}, UnknownNameError, "designs", "Splitwise-HH"),
        ({"designs": ["Baseline-dgx-h10"]}, UnknownNameError, "designs", "dgx-h100"),
        ({"designs": ["Splitwise-dgx-h100+aws-p5.48xlarge"]}, ScenarioError, "designs", "cannot send each other"),
        ({"pairs": ["prefill=dgx-h100,decode=aws-p5.48xlarge"]}, ScenarioError, "pairs", "aws-p5.48xlarge at aws"),
        ({"pairs": ["prefill=aws-p5.48xlarge,decode=aws-p5.48xlarge,mixed=dgx-a100"]}, ScenarioError, "pairs", "pair"),
        ({"pairs": ["dgx-h100+dgx-a100"]}, ScenarioError, "pairs", "prefill=MACHINE,decode=MACHINE"),
        ({"pairs": ["prefill=dgx-h10,decode=dgx-a100"]}, UnknownNameError, "pairs", "dgx-h100"),
        ({"relative_to": "Splitwise-HHcap", "designs": ["Baseline-H100"]}, ScenarioError, "relative_to", "--design"),
        ({"relative_to": "Baselin-H100"}, ScenarioError, "relative_to", "did you mean: Baseline-H100"),
        ({"workloads": []}, ScenarioError, "workloads", "no workloads"),
        ({"workloads": ["azure-cod-2023"]}, UnknownNameError, "workload", "azure-code-2023"),
        ({"objectives": ["speed"]}, UnknownNameError, "objectives", "throughput"),
        ({"objectives": ["throughput"]}, ScenarioError, "objectives", "--budget"),
        ({"objectives": []}, ScenarioError, "objectives", "nothing to size for"),
        ({"budgets": ["cost=0USD/h"]}, ScenarioError, "budgets", "more than nothing"),
        ({"budgets": ["1520 USD/h"]}, ScenarioError, "budgets", "not a budget"),
        ({"budgets": ["costs=1520USD/h"]}, UnknownNameError, "budgets", "cost"),
        ({"budgets": ["power=1520USD/h"]}, InputError, "budgets", "power=408kW"),
        ({"budgets": ["machines=2.5"]}, ScenarioError, "budgets", "whole number"),
        ({"budgets": ["machines=0xdgx-h100"]}, ScenarioError, "budgets", "one machine at least"),
        ({"budgets": ["cost=4xdgx-h200"]}, ScenarioError, "budgets", "no price book lists dgx-h200"),
        ({"budgets": ["cost=4xdgx-h10"]}, UnknownNameError, "budgets", "dgx-h100"),
        ({"preset": "splitwise-iso"}, UnknownNameError, "preset", "splitwise-iso-cost"),
        ({"machines": ["all"]}, ScenarioError, "machines", "at most 6"),
    ],
)  # fmt: skip
def test_bad_input_is_told_before_any_work(
    given: dict[str, Any], kind: type[InputError], where: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "plan", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(kind) as caught:
        compare(**given)
    assert caught.value.where == where
    assert says in str(caught.value)


def test_designs_without_a_plan_say_why() -> None:
    result = compare(
        slo=SLO, designs=["Baseline-H100", "Baseline-dgx-h200", "Splitwise-HA"], max_machines={"dgx-a100": 0}
    )
    reasons = {row.design: row.reason for row in result.rows}
    assert reasons["Baseline-H100"] is None
    assert reasons["Baseline-dgx-h200"].startswith("no price book lists dgx-h200")
    assert reasons["Splitwise-HA"] == "the stock of dgx-a100 is zero (it is of the design)"


def test_with_verify_every_row_is_what_a_certified_optimize_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    few: dict[str, Any] = {"slo": SLO, "rate": "10/s", "verify_runs": 1, "verify_requests": 2000}
    result = compare(**few, designs=["Baseline-H100", "Splitwise-HA"], verify=True)
    for row in result.rows:
        alone = planner.optimize(**few, design=row.design)
        assert row.plan is not None and row.plan.certificate == alone.certificate
        assert row.plan.pools == alone.pools
        assert row.latencies == "simulated" and row.status == "optimal"
        assert row.ttft_p99_s == next(p.p99_s.value for p in alone.certificate.percentiles if p.metric == "ttft")
        assert row.tightest_slack_fraction == pytest.approx(
            min(
                1 - o.simulated.value / p.limit
                for o, p in zip(alone.certificate.objectives, alone.predicted, strict=True)
            )
        )
    assert result.scenario["verify"] is True

    def interrupted(problem: Any, progress: Any) -> Any:
        solution = solve_problem(problem)
        return replace(solution, certificate=alone.certificate.model_copy(update={"status": "interrupted"}))

    monkeypatch.setattr("planner.planning.certify.certified", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(**few, designs=["Baseline-H100"], verify=True)


def test_what_simulation_does_not_confirm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few: dict[str, Any] = {"slo": SLO, "rate": "10/s", "verify_runs": 1, "verify_requests": 2000}
    certificate = planner.optimize(**few, design="Baseline-H100").certificate

    def failed(problem: Any, progress: Any) -> Any:
        return replace(solve_problem(problem), certificate=certificate.model_copy(update={"status": "failed"}))

    monkeypatch.setattr("planner.planning.certify.certified", failed)
    (row,) = compare(**few, designs=["Baseline-H100"], verify=True).rows
    assert row.status == "unconfirmed"


def test_an_interruption_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def progress(text: str) -> None:
        told.append(text)
        if text.startswith("3 of 6"):
            raise KeyboardInterrupt

    result = compare(slo=SLO, designs=DESIGNS, progress=progress)
    assert [row.design for row in result.rows] == DESIGNS[:2]
    assert not result.complete
    assert told[0] == "1 of 6, Baseline-A100: least cost at 70 requests/s"
    with pytest.raises(KeyboardInterrupt):
        compare(slo=SLO, designs=DESIGNS, progress=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
