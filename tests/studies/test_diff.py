"""What changed between two plans is what was changed, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.cli.main import run
from planner.errors import InputError
from planner.export.tables.difference import difference_table
from planner.planning.plan import Plan

ASKED: dict[str, Any] = {"machines": ["dgx-h100"], "design": "baseline", "verify": False}


@pytest.fixture(scope="module")
def plans() -> tuple[Plan, Plan]:
    return planner.optimize(rate=10.0, **ASKED), planner.optimize(rate=40.0, **ASKED)


def test_a_plan_and_itself(plans: tuple[Plan, Plan]) -> None:
    assert planner.diff(plans[0], plans[0]).changes == []
    assert "Nothing changed." in difference_table(planner.diff(plans[0], plans[0]))


def test_another_rate_and_what_follows(plans: tuple[Plan, Plan]) -> None:
    first, second = plans
    found = planner.diff(first, second)
    by_name = {(c.part, c.name): c for c in found.changes}
    assert {c.name for c in found.changes if c.part == "input"} == {"rate_per_s"}
    assert not {c.part for c in found.changes} & {"catalog", "price"}
    rate, cost = by_name["input", "rate_per_s"], by_name["figure", "cost_usd_per_hour"]
    assert (rate.before, rate.after, rate.relative) == (10.0, 40.0, 3.0)
    assert (cost.before, cost.after) == (first.cost_usd_per_hour, second.cost_usd_per_hour)
    assert any(c.part == "pool" and "dgx-h100" in c.name for c in found.changes)
    assert any(c.part == "percentile" for c in found.changes)
    text = difference_table(found)
    assert "rate per s" in text and "+300.0 %" in text and len(found.to_records()) == len(found.changes)


def test_another_price(plans: tuple[Plan, Plan]) -> None:
    dearer = planner.optimize(rate=10.0, **ASKED, suppose={"prices": {"dgx-h100": 1.5}})
    (price,) = [c for c in planner.diff(plans[0], dearer).changes if c.part == "price"]
    assert price.name == "dgx-h100" and price.relative == pytest.approx(0.5)


def test_the_command(plans: tuple[Plan, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, plan in zip("ab", plans, strict=True):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(plan.model_dump_json())
    assert run(["diff", *map(str, files), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"]
    (tmp_path / "old.json").write_text('{"schema_version": "0.9", "pools": []}')
    assert run(["diff", str(files[0]), str(tmp_path / "old.json")]) == 2
    assert "another version" in capsys.readouterr().err
    with pytest.raises(InputError):
        planner.diff(tmp_path / "none.json", files[0])
