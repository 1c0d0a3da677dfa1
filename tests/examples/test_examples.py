"""Every example runs and gives what is on record; `python examples/regenerate.py` writes the record anew."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_regenerate", EXAMPLES / "regenerate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


regenerate = _load()


@pytest.mark.parametrize("name", regenerate.names())
def test_it_gives_what_is_on_record(name: str, commands: dict[str, str]) -> None:
    expected = regenerate.expected_of(name)
    assert expected is not None, f"nothing on record: python examples/regenerate.py writes {name}/expected.json"
    assert regenerate.run(name, commands) == expected


def test_every_folder_is_an_example_and_is_listed() -> None:
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert folders == regenerate.names()
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in folders if f"]({name})" not in listed] == []


def test_three_lines_changed_the_plan() -> None:
    """The edited price is that of a machine that the default run could buy, and it moves the answer."""
    overlay = EXAMPLES / "edited_price" / "overlay" / "prices" / "hyperstack-2026.yaml"
    assert len(overlay.read_text(encoding="utf-8").splitlines()) == 3
    before, after = (regenerate.expected_of(name) for name in ("default_run", "edited_price"))
    assert after["cost_usd_per_hour"] < before["cost_usd_per_hour"]


def test_plans_on_record_are_proven_and_meet_their_objectives() -> None:
    plans: list[dict[str, Any]] = [e for n in regenerate.names() if "pools" in (e := regenerate.expected_of(n))]
    assert len(plans) >= 4
    for plan in plans:
        assert plan["status"] in ("optimal", "near_tie")  # of a near tie the optimum is proven, a simpler plan chosen
        assert plan["meets_objectives"]
        assert plan["pools"] and all(pool["count"] >= 1 for pool in plan["pools"])


def test_rows_for_a_sheet_grow_with_the_load() -> None:
    rows = regenerate.expected_of("records_for_a_sheet")["rows"]
    cost = {row["demand_rate_per_s"]: row["plan_cost_usd_per_hour"] for row in rows}
    assert len(cost) == 3
    assert [cost[rate] for rate in sorted(cost)] == sorted(cost.values())
    for rate, total in cost.items():
        parts = sum(row["cost_usd_per_hour"] for row in rows if row["demand_rate_per_s"] == rate)
        assert parts == pytest.approx(total, abs=0.02)


def test_the_papers_cost_optimal_cluster_is_met_within_two_machines() -> None:
    """27 prompt and 3 token machines, from the built-in catalog alone, by the formulas and by simulation."""
    row = regenerate.expected_of("splitwise_paper")["rows"][0]
    printed, *found = ([int(n) for n in row[column].split(" + ")] for column in ("paper", "model", "simulated"))
    assert printed == [27, 3]
    assert abs(sum(found[0]) - sum(printed)) <= 2
    for n, wanted in zip(found[1], printed, strict=True):
        assert abs(n - wanted) <= 2


def test_the_notebook_runs(shell: Any, tmp_path: Path) -> None:
    done = shell(f"python {EXAMPLES / 'procurement_notebook.py'}", cwd=tmp_path)
    assert "38.00 -> 31.50" in done.stdout
    assert "did you mean: dgx-h100" in done.stdout.splitlines()[-1]
    assert done.stderr == ""


def test_the_recipe_for_xlwings_calls_functions_that_exist() -> None:
    """It needs Excel to run, but not to be read."""
    import ast

    from planner import sheet

    tree = ast.parse((EXAMPLES / "xlwings_functions.py").read_text(encoding="utf-8"))
    called = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "sheet"}
    assert called >= {"cost_per_hour", "machines_needed", "plan_records"}
    assert called <= set(sheet.__all__)
