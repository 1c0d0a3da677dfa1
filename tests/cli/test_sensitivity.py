"""`planner sensitivity` on the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.studies.sensitivity import Sensitivity

Planner = Callable[..., Any]
QUICK = ("sensitivity", "--machine", "dgx-h100", "--design", "baseline", "--workers", "1", "--draws", "5")


def test_the_table_answers_both_questions_and_what_flips(planner: Planner) -> None:
    shown = planner(*QUICK)
    assert shown.out.startswith("Baseline-H100, 4 x dgx-h100 mixed, $152.00/h, for llama-3.1-70b")
    for words in (
        "what the best plan would be, had the input been known to differ",
        "whether what was bought still carries the load",
        "Fails load 20 % higher: TTFT p99",
        "step times of h100-sxm",
        "All inputs at once: 5 draws (seed 0)",
        "holds in",
        "What would change the decision",
        "price of dgx-h100, now $38.00/h: never up to",
    ):
        assert words in " ".join(shown.out.split()), words
    assert max(map(len, shown.out.splitlines())) <= 80 + 20


def test_json_csv_and_a_picture(planner: Planner, tmp_path: Path) -> None:
    first = planner(*QUICK, "--no-flips", "--format", "json").out
    assert planner(*QUICK, "--no-flips", "--format", "json").out == first
    found = Sensitivity.model_validate_json(first)
    assert found.flips == []
    rows = list(csv.DictReader(io.StringIO(planner(*QUICK, "--no-flips", "--format", "csv").out)))
    assert len(rows) == 2 * len(found.inputs)
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    alone = [f"--error={name}=0" for name in ("price", "prompt", "output", "arrival-cv2", "step-time")]
    for name in ("t.svg", "t.png", "again.svg"):
        planner(*QUICK, "--no-flips", "--draws", "0", *alone, "--plot", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "t.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["No effect PUE, price of electricity: rented prices contain the electricity", "state its price"]),
        (
            ["--electricity", "0.1 USD/kWh", "--error", "pue=40%"],
            ["of electricity, for", "taken as billed beside the prices", "PUE 40 % lower: lowered to 1, not 0.924"],
        ),
        (
            ["--objective", "carbon", "--error", "electricity=10%"],
            ["grid carbon of world 20 %", "price of electricity: the objective carbon does not count it"],
        ),
    ],
)
def test_electricity_has_an_effect_or_a_reason(planner: Planner, arguments: list[str], words: list[str]) -> None:
    shown = " ".join(planner(*QUICK, "--no-flips", "--draws", "0", *arguments).out.split())
    assert [word for word in words if word not in shown] == []


def test_the_picture_says_what_has_no_effect(planner: Planner, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    planner(*QUICK, "--no-flips", "--draws", "0", "--plot", tmp_path / "t.html")
    assert "no effect: rented prices contain" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--error", "pue=-10%"], ["--error: an error is not negative", "pue=10%"]),
        (["--error", "peu=10%"], ["--error: unknown input 'peu'", "pue"]),
        (["--error", "grid-carbon.mars=10%"], ["--error: unknown input 'grid-carbon.mars'"]),
        (["--pue", "0.9"], ["--pue"]),
        (["--error", "lode=10%"], ["--error: unknown input 'lode'", "load"]),
        (["--error", "load=-10%"], ["--error: an error is not negative", "load=10%"]),
        (["--error", "load"], ["--error: not an error of an input", "load=20%"]),
        (["--error", "load=ten"], ["--error"]),
        (["--error", "load=150%"], ["--error: not an error of load", "below 100 %"]),
        (["--error", "load=1%", "--error", "load=2%"], ["given twice"]),
        (["--draws", "-1"], ["--draws: not a number of draws"]),
        (["--plot", "tornado.bmp"], ["--plot", ".svg"]),
        (["--objective", "throughput", "--max-cost", "100 USD/h"], ["--objective", "cost of a load"]),
        (["--model", "lama-3.1-70b"], ["--model: unknown model", "llama-3.1-70b"]),
    ],
)
def test_bad_input_is_refused_with_the_way_out(planner: Planner, arguments: list[str], words: list[str]) -> None:
    wrong = planner(*QUICK, *arguments, code=2)
    assert [word for word in words if word not in wrong.err] == []


def test_no_plan_at_all_is_infeasible(planner: Planner) -> None:
    planner(*QUICK, "--slo", "ttft=1ms", code=3)
