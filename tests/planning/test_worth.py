"""Pairs of machines left out by a bound: the answer is that of all pairs, and nothing near the best is lost."""

from __future__ import annotations

import pytest

import planner
from planner.catalog.catalog import Catalog
from planner.planning import search
from planner.scenario.opened import ask

MACHINES = (
    "lambda-8x-h100", "lambda-8x-a100-80", "lambda-8x-b200", "hyperstack-8x-h100", "hyperstack-8x-h200",
    "hyperstack-8x-b200", "runpod-8x-h100", "runpod-8x-a100", "coreweave-8x-h100",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog()


@pytest.mark.parametrize("objective", ["cost", "power"])
@pytest.mark.parametrize("rate", [8.0, 60.0])
def test_leaving_pairs_out_changes_no_answer(
    objective: str, rate: float, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"slo": ["ttft=1s", "tbt.p99=80ms"], "machines": MACHINES, "rate": rate, "objective": objective}
    narrow = planner.optimize(fields, catalog=catalog, verify=False)
    monkeypatch.setattr(search, "is_worth_asking", lambda _: False)
    whole = planner.optimize(fields, catalog=catalog, verify=False)
    assert narrow.solver.candidates <= whole.solver.candidates - (objective == "cost")
    assert narrow.pools == whole.pools
    assert narrow.solver.value == pytest.approx(whole.solver.value, rel=1e-9)


def test_where_the_best_lies_beyond_the_bound_all_pairs_are_looked_at(catalog: Catalog) -> None:
    """As corrections by simulation may have it: whatever is left of the narrow search is not believed."""
    asked = ask({"slo": ["ttft=1s", "tbt.p99=80ms"], "machines": MACHINES, "rate": 60.0}, catalog, {}).resolved()
    narrow = search.prepare_search(asked)
    assert narrow.whole is not None
    best = search.solve_search(narrow)
    dear = {("mixed", name) for name in MACHINES}
    split = search.solve_search(narrow, forbidden=dear)
    all_pairs = search.solve_search(search.prepare_search(asked, leaves_out=False), forbidden=dear)
    assert split.selection.objective >= best.selection.objective
    assert split.selection.objective == pytest.approx(all_pairs.selection.objective)
