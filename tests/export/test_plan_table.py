"""The plan as text: every figure of the plan is there, with its unit, within 100 columns."""

from __future__ import annotations

import datetime
import functools
import re

import pytest

import planner
from planner.export.tables.plan import plan_table
from planner.planning.plan import Plan, PriceUsed, RejectedMachine

# What the formulas say; proof by simulation has tests of its own.
optimize = functools.partial(planner.optimize, verify=False)

TODAY = datetime.date(2026, 11, 22)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return optimize(slo=["ttft=1s", "e2e.p50=2x"], spares=1)


@pytest.fixture(scope="module")
def split() -> Plan:
    return optimize(slo="ttft=1s", design="Splitwise-HA")


def line_of(text: str, label: str) -> str:
    """A labelled remark, its lines joined."""
    match = re.search(rf"^  {label} +(.*(?:\n {{14}}.*)*)", text, re.MULTILINE)
    assert match, text
    return " ".join(match[1].split())


def test_the_headline_leads_with_the_cost(plan: Plan) -> None:
    first, second, third = plan_table(plan, TODAY).splitlines()[:3]
    assert first == f"{plan.design} for llama-3.1-70b (bf16, vllm-2026), azure-conv-2023 at 70 requests/s (assumed)"
    assert second.startswith(f"Least cost: ${plan.cost_usd_per_hour:,.2f}/h, ${plan.cost_usd_per_month:,.0f}/month, $")
    assert second.endswith("kW rated")
    assert f"{plan.machines} machines" in third


def test_pools_show_count_spares_replicas_and_costs(plan: Plan) -> None:
    text = plan_table(plan, TODAY)
    for pool in plan.pools:
        (line,) = [x for x in text.splitlines() if re.match(rf"  {pool.role} +{pool.machine} ", x)]
        assert f"{pool.count} + 1 spare {8 * pool.count} {pool.layout} " in " ".join(line.split())
        assert f"{pool.cost_usd_per_hour:,.2f}" in line
        assert f"{pool.power_w / 1e3:.1f}" in line
        assert f"{100 * pool.utilisation:.0f} %" in line


def test_objectives_show_limit_prediction_and_slack(plan: Plan) -> None:
    text = plan_table(plan, TODAY)
    ttft, e2e = ([w for w in re.split(r"  +", x.strip())] for x in text.splitlines() if "not simulated  " in x)
    assert ttft[:2] == ["TTFT p99", "1.00 s"]
    assert e2e[:2] == ["E2E p50", "2x"]
    assert e2e[2].endswith("x")
    for row, prediction in zip((ttft, e2e), plan.predicted, strict=True):
        assert row[3] == "not simulated"
        assert row[4] == f"{100 * prediction.slack_fraction:.0f} %"
        assert row[5] == "met"


def test_trust_says_what_simulation_may_make_of_the_percentiles(plan: Plan) -> None:
    def trust(lows: list[float | None], verified: str = "not simulated") -> str:
        predicted = [
            p.model_copy(update={"margin_low": low, "margin_high": None if low is None else 0.12})
            for p, low in zip(plan.predicted, lows, strict=True)
        ]
        return line_of(
            plan_table(plan.model_copy(update={"predicted": predicted, "verified": verified}), TODAY), "Trust"
        )

    assert "; percentiles -5 % / +12 % before simulation; " in trust([0.0, -0.05])
    assert "; percentiles 0 % / +12 % before simulation; " in trust([0.0, 0.0])
    assert "no cluster like this one was simulated" in trust([-0.05, None])
    assert "before simulation" not in trust([0.0, -0.05], "3 x 100,000 requests simulated")


def test_remarks_say_proof_binding_breaking_load_and_trust(plan: Plan) -> None:
    text = plan_table(plan, TODAY)
    assert line_of(text, "Proof").startswith("optimal (gap 0 %), HiGHS")
    assert "not simulated" in line_of(text, "Proof")
    assert all(f"{p.role} {p.machine}: " in line_of(text, "Binding") for p in plan.pools)
    assert line_of(text, "Breaks at").startswith(f"{plan.headroom:.2f}x load")
    assert "three years old" in line_of(text, "Trust")
    assert plan.prices[0].date.isoformat() in line_of(text, "Trust")
    assert "(p50/p90/p99)" in line_of(text, "Latency")
    assert "dgx-a100" in line_of(text, "Slowdown")
    assert "dgx-a100, dgx-h100; " in line_of(text, "Considered")


def test_the_best_homogeneous_cluster_comes_first_among_the_others(split: Plan, plan: Plan) -> None:
    alternatives = line_of(plan_table(plan, TODAY), "Instead")
    assert len(plan.alternatives) > 1
    for other in plan.alternatives:
        assert f"${other.value:,.2f}/h (+" in alternatives
    assert "predicted" not in alternatives  # nothing here was simulated, and the line Proof says so
    assert "Instead" not in plan_table(split.model_copy(update={"alternatives": []}), TODAY)


def test_no_line_is_wider_than_asked(plan: Plan, split: Plan) -> None:
    for one in (plan, split):
        assert max(map(len, plan_table(one, TODAY).splitlines())) <= 100
        assert max(map(len, plan_table(one, TODAY, width=80).splitlines())) <= 80


def test_colour_is_added_only_on_request_and_changes_no_text(plan: Plan) -> None:
    plain = plan_table(plan, TODAY)
    coloured = plan_table(plan, TODAY, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[32mmet\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_the_age_of_prices_is_counted_to_today(plan: Plan) -> None:
    date = plan.prices[0].date
    assert "of today" in line_of(plan_table(plan, date), "Trust")
    assert "two years old" in line_of(plan_table(plan, date + datetime.timedelta(days=730)), "Trust")


def test_several_price_books_say_which_machines_they_price(split: Plan) -> None:
    prices = [
        PriceUsed(machine="dgx-a100", usd_per_hour=1, book="one", provider="x", date=TODAY, kind="estimate", source=""),
        PriceUsed(machine="dgx-h100", usd_per_hour=2, book="two", provider="y", date=TODAY, kind="quote", source=""),
    ]
    trust = line_of(plan_table(split.model_copy(update={"prices": prices}), TODAY), "Trust")
    assert "one (x, 2026-11-22, an estimate) for dgx-a100, of today; two (y, 2026-11-22) for dgx-h100" in trust


def test_a_missed_objective_and_an_unstable_queue_stand_out(split: Plan) -> None:
    missed = split.predicted[0].model_copy(update={"met": False, "predicted": None, "slack_fraction": None})
    report = split.solver.model_copy(update={"status": "evaluated"})
    given = split.model_copy(update={"predicted": [missed], "solver": report, "meets_objectives": False})
    text = plan_table(given, TODAY, colour=True)
    assert "Does not meet the objectives (TTFT p99)" in text
    assert "grows without end" in text
    assert "\x1b[31mMISSED" in text
    assert "per million tokens" not in text


def test_a_plan_that_is_not_proven_says_what_is(plan: Plan) -> None:
    report = plan.solver.model_copy(update={"status": "limit", "bound": 100.0, "gap": 0.0345})
    text = plan_table(plan.model_copy(update={"solver": report}), TODAY)
    assert "Least cost found, not proven: $" in text
    proof = line_of(text, "Proof")
    assert "NOT proven: stopped at its time limit of 60.0 s, gap 3.5 %" in proof
    assert "nothing is better than $100.00/h" in proof


@pytest.mark.parametrize(
    ("objective", "head", "alternative"),
    [("power", "Least power: 40 kW rated, $", "40 kW"), ("machines", "Fewest machines: ", "40,000 machines"),
     ("throughput", "Most load: 70 requests/s; $", "40,000 requests/s")],
)  # fmt: skip
def test_the_headline_leads_with_what_was_optimised(plan: Plan, objective: str, head: str, alternative: str) -> None:
    report = plan.solver.model_copy(update={"objective": objective})
    others = [plan.alternatives[0].model_copy(update={"value": 40e3})]
    text = plan_table(plan.model_copy(update={"solver": report, "alternatives": others, "power_w": 40e3}), TODAY)
    assert text.splitlines()[1].startswith(head)
    assert line_of(text, "Instead").startswith(alternative)


def test_a_plan_without_prices_says_so(plan: Plan) -> None:
    bare = {"cost_usd_per_hour": None, "cost_usd_per_month": None, "cost_usd_per_million_tokens": None, "prices": []}
    pools = [p.model_copy(update={"cost_usd_per_hour": None}) for p in plan.pools]
    text = plan_table(plan.model_copy(update={**bare, "pools": pools}), TODAY)
    assert "no price known" in text
    assert "unknown" in text
    assert "no price book lists these machines" in line_of(text, "Trust")


def test_many_rejected_machines_are_told_by_their_reason(plan: Plan) -> None:
    rejected = [
        RejectedMachine(machine=f"m{i}", reason=f"a model does not fit {i} x chip: needs ...") for i in range(7)
    ]
    text = line_of(plan_table(plan.model_copy(update={"rejected": rejected}), TODAY), "Rejected")
    assert "a model does not fit: m0, m1, m2, m3, m4, m5, m6 (--format json has the bytes)" in text


def test_a_headroom_beyond_the_search_is_a_bound(plan: Plan) -> None:
    text = plan_table(plan.model_copy(update={"headroom": 16.0}), TODAY)
    assert line_of(text, "Breaks at") == "more than 16x load"


def test_alternatives_of_a_simulated_plan_are_said_to_be_predicted() -> None:
    asked = {"machines": ["dgx-a100", "dgx-h100"], "rate": 5.0, "verify_runs": 1, "verify_requests": 1000}
    simulated = planner.optimize(**asked)
    assert simulated.certificate is not None and simulated.alternatives
    assert ", predicted): " in line_of(plan_table(simulated, TODAY), "Instead")
