"""A plan read back is the plan that was printed; anything else is an error with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.errors import ScenarioError
from planner.planning.plan_file import read_plan


@pytest.fixture(scope="module")
def text() -> str:
    return planner.optimize(slo="ttft=1s", verify=False).model_dump_json(indent=2)


def test_round_trip(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert read_plan(path).model_dump_json(indent=2) == text
    assert planner.read_plan(path) == planner.optimize(slo="ttft=1s", verify=False)


def test_an_alternative_names_its_machines_and_their_prices(text: str) -> None:
    plan = json.loads(text)
    priced = {p["machine"]: p["usd_per_hour"] for p in plan["prices"] + plan["alternative_prices"]}
    assert plan["alternatives"]
    for a in plan["alternatives"]:
        assert sum(a["counts"].values()) == a["machines"]
        assert sum(n * priced[m] for m, n in a["counts"].items()) == pytest.approx(a["cost_usd_per_hour"])
    assert not {p["machine"] for p in plan["prices"]} & {p["machine"] for p in plan["alternative_prices"]}
    tokens_per_hour = plan["rate_per_s"] * 3600 * (plan["mean_prompt_tokens"] + plan["mean_output_tokens"])
    assert plan["cost_usd_per_million_tokens"] == pytest.approx(plan["cost_usd_per_hour"] / tokens_per_hour * 1e6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"schema_version": "1.0"', '"schema_version": "2.0"', "another version"),
        ('"count": 4', '"count": "four"', "count"),
        ('"machines": 4', '"machine": 4', "unknown field"),
        ('"design": "Baseline-H100",\n  "model"', '"model"', "design: missing field"),
    ],
)
def test_faults_have_their_line(text: str, tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in text
    path = tmp_path / "plan.json"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ScenarioError, match=words) as caught:
        read_plan(path)
    assert str(caught.value.where).startswith(f"{path}:")
    assert "planner optimize" in str(caught.value.fix)


@pytest.mark.parametrize("content", ["", "{}", "# Notes\n\n* a list\n", "[1]", "PK\x03\x04"])
def test_files_that_are_no_plan(content: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(ScenarioError) as caught:
        read_plan(path)
    assert caught.value.rule == "a plan as --format json prints it"
    with pytest.raises(ScenarioError, match="cannot read"):
        read_plan(tmp_path / "none.json")


def _set(plan: dict, path: str, value: object) -> None:  # type: ignore[type-arg]
    *above, last = (int(p) if p.isdigit() else p for p in path.split("."))
    for part in above:
        plan = plan[part]
    plan[last] = value  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cost_usd_per_hour", -140.8),
        ("pools.0.cost_usd_per_hour", -1.0),
        ("pools.0.count", -4),
        ("pools.0.count", 0),
        ("pools.0.spares", -1),
        ("prices.0.usd_per_hour", 0.0),
        ("prices.0.usd_per_hour", 1.0),
        ("headroom", float("nan")),
        ("power_w", float("inf")),
        ("pools.0.utilisation", float("nan")),
        ("machines", 99),
        ("power_w", 1.0),
        ("cost_usd_per_month", 1.0),
        ("cost_usd_per_million_tokens", 0.5),
        ("output_tokens_per_hour", 7.0),
        ("pools.0.machine", "dgx-h1000"),
        ("meets_objectives", True),
        ("alternatives.0.cost_usd_per_hour", 1.0),
        ("alternatives.0.machines", 1),
        ("demand_rate_per_s", 0.0),
        ("scenario.users", "1e3"),
        ("scenario.spares", "1"),
        ("scenario.machines", 3),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(text: str, tmp_path: Path, path: str, value: object) -> None:
    plan = json.loads(text)
    if path == "meets_objectives":  # a miss that the verdict denies
        plan["predicted"][0] |= {"predicted": 2.0 * plan["predicted"][0]["limit"], "met": False}
    _set(plan, path, value)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan, indent=2))
    with pytest.raises(ScenarioError) as caught:
        read_plan(file)
    assert str(caught.value.where).startswith(f"{file}:")
    with pytest.raises(ScenarioError):
        planner.cost(file)


@pytest.mark.parametrize(
    ("path", "value"),
    [("rate_per_s", None), ("rate_per_s", "many"), ("rate_per_s", -1.0), ("rate_per_s", True), ("scenario", 2)],
)
def test_a_plan_without_its_question_is_not_evaluated(text: str, tmp_path: Path, path: str, value: object) -> None:
    plan = json.loads(text)
    _set(plan, path, value)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan, indent=2))
    with pytest.raises(ScenarioError, match=r"the plan has no rate|scenario must have"):
        planner.evaluate(file)
