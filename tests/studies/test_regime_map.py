"""The regime map against the optimiser at its cells, whatever the number of workers, and interrupted."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planner
from planner.errors import InfeasibleError, InputError, ScenarioError, UnknownNameError
from planner.export.tables.regime import regime_table
from planner.planning.search import solve_problem
from planner.scenario.resolve import resolve
from planner.scenario.scenario_file import load_scenario
from planner.studies import regime_map as module
from planner.studies.axes import change_of, own_value, parse_axis
from planner.studies.regime_map import RegimeMap

BASE: dict[str, Any] = {"slo": ["ttft=500ms", "tbt=80ms"], "rate_per_s": 150.0}


@pytest.fixture(scope="module")
def priced() -> RegimeMap:
    return planner.regime_map(**BASE, x="price-ratio=1..4:4", y="prompt-output-ratio=0.5..50:3", workers=1)


def best(fields: dict[str, Any]) -> Any:
    """Least cost over the named designs, each solved by the optimiser."""
    least = np.inf
    for design in ("Baseline-A100", "Baseline-H100", *(f"Splitwise-{a}{b}" for a in "AH" for b in "AH")):
        problem = resolve(load_scenario(fields, design=design))
        limits = replace(problem.limits, max_pools=2 if problem.design.split else 1)
        with contextlib.suppress(InfeasibleError):
            least = min(least, solve_problem(replace(problem, limits=limits)).selection.objective)
    return least


def test_each_cell_is_what_optimize_finds_at_those_prices(priced: RegimeMap, tmp_path: Path) -> None:
    for n, cell in enumerate((priced.cells[0], priced.cells[6], priced.cells[-1])):
        folder = tmp_path / str(n) / "prices"
        folder.mkdir(parents=True)
        (folder / "splitwise-2023.yaml").write_text(
            f"on_demand: {{dgx-h100: {cell.x * 17.6!r} USD/h}}\nsource: this test\nkind: estimate\n"
        )
        fields = {**BASE, "prompt_output_ratio": cell.y, "catalog": [str(folder.parent)]}
        assert cell.value == pytest.approx(best(fields))


@pytest.mark.parametrize(
    ("x", "y"),
    [("load=20/s..200/s:2", "ttft=300ms..2s:2"), ("network=1Gbit/s..100Gbit/s:2", "tbt=50ms..200ms:2")],
)
def test_other_axes_too(x: str, y: str) -> None:
    found = planner.regime_map(**BASE, x=x, y=y, workers=1)
    base = load_scenario(BASE)
    for cell in found.cells:
        there = change_of(found.x.name, cell.x).then(change_of(found.y.name, cell.y)).applied(base)
        assert cell.value == pytest.approx(best(there.dump()))
        assert cell.value == min(v for v in (cell.best_mixed, cell.best_split) if v is not None)
        assert cell.second_value is None or cell.margin == pytest.approx(cell.second_value / cell.value - 1)


def test_coupled_objectives_are_confirmed_by_the_whole_cluster() -> None:
    slo = ["ttft=1s", "e2e.p90=1.5x"]
    found = planner.regime_map(slo=slo, x="load=10/s..40/s:2", y="price-ratio=2..2.159090909090909:2", workers=1)
    for cell in (c for c in found.cells if c.y == found.y.values[1]):  # the prices of the book
        exact = best({"slo": slo, "rate_per_s": cell.x})
        assert cell.value is not None and exact * (1 - 1e-9) <= cell.value <= exact * 1.1


def test_workers_do_not_matter(priced: RegimeMap) -> None:
    again = planner.regime_map(**BASE, x="price-ratio=1..4:4", y="prompt-output-ratio=0.5..50:3", workers=2)
    assert again == priced


def test_an_interruption_leaves_the_cells_that_were_done(monkeypatch: pytest.MonkeyPatch, priced: RegimeMap) -> None:
    def interrupted(job: Any, sets: Any, **_: Any) -> Iterator[tuple[int, Any]]:
        yield 2, job(sets[2])
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_many", interrupted)
    found = planner.regime_map(**BASE, x="price-ratio=1..4:4", y="prompt-output-ratio=0.5..50:3", workers=1)
    assert not found.complete
    assert found.cells == [c for c in priced.cells if c.y == priced.y.values[2]]
    assert all(not row["map_complete"] for row in found.to_records())
    assert "INCOMPLETE" in regime_table(found, datetime.date(2026, 11, 26))
    assert RegimeMap.model_validate_json(found.model_dump_json()) == found


def test_a_dearer_machine_never_makes_a_plan_cheaper(priced: RegimeMap) -> None:
    for y in priced.y.values:
        row = [c.value for c in priced.cells if c.y == y]
        assert row == sorted(row)  # type: ignore[type-var]


def test_cells_where_nothing_serves_are_empty() -> None:
    found = planner.regime_map(slo="ttft=1s", x="ttft=1ms..1s:2", y="load=10/s..20/s:2", workers=1)
    nowhere = [c for c in found.cells if c.x < 0.01]
    assert nowhere and all(c.design is None and c.value is None for c in nowhere)
    assert "-" in regime_table(found, datetime.date(2026, 11, 26))


def test_budgets_hold_in_cells() -> None:
    free = planner.regime_map(slo="ttft=1s", x="load=20/s..200/s:2", y="ttft=1s..2s:2", workers=1)
    tight = planner.regime_map(
        slo="ttft=1s", x="load=20/s..200/s:2", y="ttft=1s..2s:2", workers=1, max_cost="200 USD/h"
    )
    for a, b in zip(free.cells, tight.cells, strict=True):
        assert (b.value == a.value) if (a.value or 0) <= 200 else b.value is None


@pytest.mark.parametrize(
    ("options", "kind", "word"),
    [
        ({"x": "pricey"}, UnknownNameError, "price-ratio"),
        ({"x": "ttft=2s..1s"}, ScenarioError, "backwards"),
        ({"x": "ttft=1s..1s"}, ScenarioError, "more than one point"),
        ({"x": "ttft=1s..2s:1"}, ScenarioError, "more than one point"),
        ({"x": "ttft=1s..2s:0"}, ScenarioError, "2 to 200"),
        ({"x": "ttft=1s..2s:1000"}, ScenarioError, "2 to 200"),
        ({"x": "ttft=oops"}, ScenarioError, "not a range"),
        ({"x": "network=0Gbit/s..1Gbit/s"}, ScenarioError, "more than zero"),
        ({"x": "network=-1Gbit/s..1Gbit/s"}, ScenarioError, "more than zero"),
        ({"x": "network=1..3"}, InputError, "unit"),
        ({"x": "price-ratio=-1..3"}, ScenarioError, "more than zero"),
        ({"x": "load", "y": "load"}, ScenarioError, "same thing"),
        ({"points": 150}, ScenarioError, "too many"),
        ({"machines": ["dgx-a100"]}, ScenarioError, "must be said"),
        ({"price_ratio_of": ("dgx-h100", "dgx-b200")}, UnknownNameError, "dgx-b200"),
        ({"price_ratio_of": ("dgx-h100", "dgx-h100")}, ScenarioError, "two machines"),
        ({"x": "load", "price_ratio_of": ("dgx-h100", "dgx-a100"), "y": "ttft"}, ScenarioError, "no axis"),
        ({"objective": "power"}, ScenarioError, "do not matter"),
        ({"objective": "throughput", "max_cost": "10 USD/h", "x": "ttft", "y": "load"}, ScenarioError, "given loads"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_map_is_refused(options: dict[str, Any], kind: type[InputError], word: str) -> None:
    with pytest.raises(kind) as caught:
        planner.regime_map(**{"slo": "ttft=1s", **options})
    assert word in str(caught.value)


def test_axes_change_what_they_say() -> None:
    base = load_scenario({"slo": ["ttft.p90=1s", "ttft.p50=500ms", "tbt=100ms"], "network": "2 x ethernet-25g"})
    changed = change_of("ttft", 0.3).applied(base)
    assert sorted(map(str, changed.slo)) == ["tbt.p99=100ms", "ttft.p90=300ms"]
    assert change_of("network", 1.25e9).applied(base).network == "2 x ethernet-25g 1250000000.0 B/s"
    assert change_of("load", 5.0).applied(base).rate_per_s == 5.0
    assert own_value(base, "tbt", 5.0) == 0.1 and own_value(base, "ttft", 5.0) is None
    axis = parse_axis("network=1Gbit/s..100Gbit/s:3", points=9, where="x")
    assert np.allclose(axis.values, [1.25e8, 1.25e9, 1.25e10])


def test_a_ratio_of_tokens_keeps_the_tokens_of_a_request() -> None:
    own = resolve(load_scenario({})).sizes
    scaled = resolve(load_scenario({"prompt_output_ratio": 2.0})).sizes
    total = own.mean_prompt_tokens + own.mean_output_tokens
    assert scaled.mean_prompt_tokens + scaled.mean_output_tokens == pytest.approx(total, rel=1e-3)
    assert scaled.mean_prompt_tokens / scaled.mean_output_tokens == pytest.approx(2.0, rel=1e-3)


def test_text_and_pictures(priced: RegimeMap) -> None:
    text = regime_table(priced, datetime.date(2026, 11, 26))
    assert max(map(len, text.splitlines())) <= 100
    for name in priced.designs():
        assert name in text
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    from planner.export.pictures.regime import regime_picture

    svg = regime_picture(priced, ".svg")
    assert svg == regime_picture(priced, ".svg") and b"<svg" in svg
    assert b"not done" not in svg and regime_picture(priced, ".png").startswith(b"\x89PNG")
