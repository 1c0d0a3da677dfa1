"""Functions for sheets: cells in, numbers or readable text out, and the catalog read once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import planner
from planner import sheet
from planner.catalog import catalog as catalog_module


@pytest.fixture(autouse=True)
def _afresh() -> None:
    sheet.refresh()


def test_figures_are_those_of_the_plan() -> None:
    plan = planner.optimize(slo="ttft=1s", rate="140/s")
    asked = {"slo": "ttft=1s", "rate": 140.0}
    assert sheet.cost_per_hour(**asked) == plan.cost_usd_per_hour
    assert sheet.cost_per_million_tokens(**asked) == plan.cost_usd_per_million_tokens
    assert sheet.machines_needed(**asked) == plan.machines
    assert sheet.power_kw(**asked) == plan.power_w / 1e3
    assert sheet.plan_records(**asked) == plan.to_records()


def test_cells_are_text_numbers_or_empty() -> None:
    assert sheet.machines_needed(
        140.0, "ttft=1s; tbt=200ms", None, "", " dgx-h100 , dgx-a100 ", spares=1.0, prices=""
    ) == (
        planner.optimize(
            rate="140/s", slo=["ttft=1s", "tbt=200ms"], machines=["dgx-h100", "dgx-a100"], spares=1, verify=False
        ).machines
    )


def test_latencies_of_a_given_cluster() -> None:
    pools = "prefill=dgx-h100:3, decode=dgx-a100:4:tp8"
    plan = planner.evaluate(
        [{"role": "prefill", "machine": "dgx-h100", "count": 3},
         {"role": "decode", "machine": "dgx-a100", "count": 4, "tensor_parallel": 8}],
        rate="50/s",
    )  # fmt: skip
    by_metric = {row.metric: row.p99_s for row in plan.percentiles}
    assert sheet.ttft_p99_s(pools, "50/s") == by_metric["ttft"]
    assert sheet.tbt_p99_s(pools, 50) == by_metric["tbt"]
    assert "grows without end" in str(sheet.ttft_p99_s(pools, 5000))


def test_the_largest_rate_is_where_an_objective_breaks() -> None:
    pools, slo = "mixed=dgx-h100:4", "ttft=1s,tbt=200ms"
    rate = sheet.largest_rate_per_s(pools, slo)
    assert isinstance(rate, float)
    cluster = [{"role": "mixed", "machine": "dgx-h100", "count": 4}]
    below, above = (planner.evaluate(cluster, slo=slo.split(","), rate=f"{f * rate}/s") for f in (0.99, 1.02))
    assert below.meets_objectives and not above.meets_objectives


def test_prices(tmp_path: Path) -> None:
    assert sheet.price_per_hour("dgx-h100") == 38.0
    assert sheet.price_per_hour("dgx-h100", "splitwise-2023-ratio-2.35") != 38.0
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "splitwise-2023.yaml").write_text("on_demand: {dgx-h100: 31.50 USD/h}\nsource: offer 1\nkind: quote\n")
    assert sheet.price_per_hour("dgx-h100", catalog=str(tmp_path)) == 31.5


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: sheet.cost_per_hour(machines="dgx-h10"), "did you mean: dgx-h100"),
        (lambda: sheet.cost_per_hour("-3"), "rate"),
        (lambda: sheet.machines_needed(70, "ttft=1ms"), "objective"),
        (lambda: sheet.power_kw(spare=1), "unknown field"),
        (lambda: sheet.ttft_p99_s("mixed:dgx-h100"), "not a pool"),
        (lambda: sheet.price_per_hour("dgx-h100", plan="rented"), "unknown price plan"),
        (lambda: sheet.price_per_hour("dgx-h100", plan="reserved_3y"), "no price book lists dgx-h100 under"),
        (lambda: sheet.plan_records(model="llama")[0]["error"], "unknown model"),
    ],
)  # fmt: skip
def test_errors_are_readable_text(found: object, words: str) -> None:
    text = found()  # type: ignore[operator]
    assert isinstance(text, str) and words in text
    assert "\n" not in text or "unknown model" in text


def test_a_sheet_of_a_hundred_rows_reads_the_catalog_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = catalog_module.read_layer

    def counting(path: Path) -> object:
        read.append(path)
        return original(path)

    monkeypatch.setattr(catalog_module, "read_layer", counting)
    first = sheet.cost_per_hour(rate=70, slo="ttft=1s")
    n_files = len(read)
    assert n_files > 5
    for _ in range(100):
        assert sheet.cost_per_hour(rate=70, slo="ttft=1s") == first
        assert sheet.price_per_hour("dgx-h100") == 38.0
    assert len(read) == n_files
    sheet.refresh()
    sheet.price_per_hour("dgx-h100")
    assert len(read) > n_files


def test_it_is_there_as_soon_as_planner_is(shell: Any, tmp_path: Path) -> None:
    done = shell("python -c \"import planner; print(planner.sheet.price_per_hour('dgx-h100'))\"", cwd=tmp_path)
    assert done.stdout == "38.0\n"


def test_every_function_is_documented_and_flat() -> None:
    assert len(sheet.__all__) == len(set(sheet.__all__)) >= 9
    for name in sheet.__all__:
        function = getattr(sheet, name)
        assert inspect.getdoc(function), name
        for parameter in inspect.signature(function).parameters.values():
            assert parameter.default in (None, inspect.Parameter.empty) or isinstance(
                parameter.default, str | float | int
            ), name


@pytest.mark.parametrize("as_text", [False, True])
def test_money_against_numpy_financial(as_text: bool) -> None:
    financial = pytest.importorskip("numpy_financial", reason="the extra `test` brings numpy-financial")
    cell: Any = str if as_text else float
    monthly = 1.08 ** (1 / 12) - 1
    for advance, when in ((0, "end"), (1, "begin")):
        worth = -financial.pv(monthly, 36, 1000.0, when=when)
        assert sheet.present_value(cell(1000.0), cell(36.0), cell(0.08), advance) == pytest.approx(worth)
    owned = (-financial.pmt(0.08, 4, 270e3, -27e3) + 5000) / 8760
    assert sheet.owned_per_hour(cell(270e3), cell(4.0), cell(0.08), cell(27e3), cell(5e3)) == pytest.approx(owned)
    assert sheet.break_even_use(cell(10.0), cell(1.0), cell(21.0)) == pytest.approx(0.5)
    assert sheet.break_even_use(cell(30.0), cell(1.0), cell(21.0)) == "never"
    assert sheet.carbon_kg_per_hour(cell(100.0), cell(400.0), cell(1.5)) == pytest.approx(60.0)


def test_money_in_cells_that_cannot_be() -> None:
    assert sheet.present_value("8 %", 1) == pytest.approx(0.08 / 1.08 ** (1 / 12))
    assert str(sheet.present_value("much", 12)).startswith("error: payment_a_month")
    assert str(sheet.owned_per_hour(None, 4)).startswith("error: purchase")
    assert str(sheet.carbon_kg_per_hour(1, 400, 0.5)).startswith("error: pue")
