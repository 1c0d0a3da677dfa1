"""`planner estimate`: one step, operator by operator."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.export.tables.estimate import estimate_table
from planner.export.tables.hardware import hardware_table
from planner.studies.estimate import Estimate, estimate
from planner.studies.hardware import hardware_fit

Planner = Callable[..., Any]


def test_the_table_says_what_bounds_the_step(planner: Planner) -> None:
    expected = estimate(batch=32, tokens=2048, tensor_parallel=4)
    shown = planner("estimate", "--batch", "32", "--tokens", "2048", "--tensor-parallel", "4").out
    assert "llama-3.1-70b (bf16, vllm-2026) on dgx-h100, 2 x TP4: decode step, 32 sequences" in shown
    assert f"mostly {expected.bound}-bound" in shown
    rows = {line.split()[0]: line for line in shown.splitlines() if line.startswith("  ")}
    assert {row.name for row in expected.breakdown} <= set(rows)
    assert max(map(len, shown.splitlines())) <= 100


def test_tables_fit_a_narrow_terminal() -> None:
    fit = hardware_fit("llama-3.1-70b", ["dgx-h100", "azure-nd96amsr-a100-v4"])
    for text in (
        estimate_table(estimate(batch=32), width=80, table_width=80),
        hardware_table(fit, width=80, table_width=80),
    ):
        assert max(map(len, text.splitlines())) <= 80
    assert text.count("\n  machine ") == 2 and "USD/h" in text


def test_json_and_csv_hold_the_estimate(planner: Planner, tmp_path: Path) -> None:
    expected = estimate(phase="prefill", tokens=512, machine="dgx-a100")
    arguments = ["estimate", "--phase", "prefill", "--tokens", "512", "--machine", "dgx-a100"]
    assert Estimate.model_validate_json(planner(*arguments, "--format", "json").out) == expected
    planner(*arguments, "--output", tmp_path / "e.csv", "--quiet")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "e.csv").read_text())))
    assert sum(float(r["operator_time_s"]) for r in rows) == pytest.approx(expected.latency_s)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "0"], "--batch: must be a whole number of at least 1"),
        (["--tokens", "-1"], "--tokens: must be a whole number of at least 1"),
        (["--tensor-parallel", "0"], "--tensor-parallel: must be a whole number of at least 1"),
        (["--tensor-parallel", "3"], "--tensor-parallel: 64 attention heads"),
        (["--tensor-parallel", "16"], "dgx-h100: 1 x TP16 needs 16 accelerators"),
        (["--expert-parallel", "2"], "--expert-parallel: llama-3.1-70b has no experts"),
        (["--precision", "fp17"], "--precision: unknown precision 'fp17'"),
        (["--kv-precision", "fp17"], "--kv-precision: unknown precision 'fp17'"),
        (["--model", "lama-2-7b"], "--model: unknown model 'lama-2-7b'"),
        (["--machine", "dgx-h10"], "--machine: unknown machine 'dgx-h10'"),
        (["--runtime", "vlm"], "--runtime: unknown runtime 'vlm'"),
    ],
)
def test_bad_input_names_the_option(planner: Planner, arguments: list[str], message: str) -> None:
    assert planner("estimate", *arguments, code=2).err.startswith(f"error: {message}")


def test_a_model_that_does_not_fit_is_refused_with_both_byte_counts(planner: Planner) -> None:
    shown = planner("estimate", "--model", "llama-2-70b", "--machine", "8x-rtx-2080-ti", code=3)
    assert "does not fit 8 x rtx-2080-ti" in shown.err
    assert f"has {8 * 11264 * 2**20:,} bytes" in shown.err


def test_a_batch_beyond_the_kv_cache_is_marked(planner: Planner) -> None:
    assert "Does not fit" in planner("estimate", "--batch", "100000").out
    assert "Does not fit" not in planner("estimate").out


def test_shortcuts_reach_the_estimate(planner: Planner) -> None:
    cached = ["estimate", "--phase", "prefill", "--tokens", "2000", "--prefix-cached", "25 %"]
    expected = estimate(phase="prefill", tokens=2000, prefix_cached=0.25)
    assert Estimate.model_validate_json(planner(*cached, "--format", "json").out) == expected
    assert "2,000 tokens, 25.0 % of them cached" in " ".join(planner(*cached).out.split())
    drafts = ["estimate", "--draft-tokens", "3", "--tokens-per-step", "2.5"]
    shown = planner(*drafts).out
    assert "3 draft tokens verified a sequence; at 2.5 tokens a step" in shown
    assert "drafting" in shown
    assert planner("estimate", "--tokens-per-step", "1.5", code=2).err.startswith("error: --tokens-per-step: a decode")
    assert planner("estimate", "--prefix-cached", "1.2", code=2).err.startswith("error: --prefix-cached: ")


def test_a_picture_is_written_whole_or_refused_before_any_work(planner: Planner, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    run = planner("estimate", "--plot", tmp_path / "roofline.svg")
    assert "<svg" in (tmp_path / "roofline.svg").read_text()
    assert "mostly memory-bound" in run.out
    assert planner("estimate", "--plot", tmp_path / "roofline.pdf", code=2).err.startswith("error: --plot: ")
    assert "does not exist" in planner("estimate", "--plot", tmp_path / "no" / "roofline.svg", code=2).err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["roofline.svg"]


def test_fit_says_for_every_machine_whether_and_why(planner: Planner) -> None:
    data = json.loads(planner("estimate", "--fit", "--format", "json").out)
    by_name = {m["machine"]: m for m in data["machines"]}
    assert by_name["dgx-h100"]["fits"] and not by_name["8x-t4"]["fits"]
    text = planner("estimate", "--fit").out
    assert "does not fit 8 x t4: needs 176,351,608,832 bytes" in text and "instead" in text
    rows = list(csv.DictReader(io.StringIO(planner("estimate", "--fit", "--format", "csv").out)))
    assert len(rows) == len(data["machines"])
    one = planner("estimate", "--fit", "--machine", "8x-t4", "--precision", "int8").out
    assert "on 1 of 1 machine" in one


@pytest.mark.parametrize("option", [("--batch", "4"), ("--phase", "prefill"), ("--tensor-parallel", "8")])
def test_fit_refuses_what_is_of_one_step(planner: Planner, option: tuple[str, str]) -> None:
    assert f"error: {option[0]}: " in planner("estimate", "--fit", *option, code=2).err


def test_fit_refuses_unknown_names(planner: Planner) -> None:
    assert "8x-t4" in planner("estimate", "--fit", "--machine", "8x-t5", code=2).err
    assert "fp8" in planner("estimate", "--fit", "--precision", "fp9", code=2).err
