"""A plan read back is the plan that was printed; anything else is an error with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.errors import ScenarioError
from planner.fleet.plan_file import read_plan


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
