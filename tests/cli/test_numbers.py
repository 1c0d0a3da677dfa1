"""A decimal comma is refused at every door, with what to write: never deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Planner


@pytest.mark.parametrize(
    ("arguments", "option", "fix"),
    [
        (("optimize", "--slo", "ttft=0,5s"), "--slo", "write 0.5s"),
        (("optimize", "--slo", "ttft.p99,9=1s"), "--slo", "write 99.9"),
        (("optimize", "--slo", "ttft=1,5x"), "--slo", "write 1.5"),
        (("optimize", "--rate", "1,5/s"), "--rate", "write 1.5/s"),
        (("optimize", "--max-cost", "1000,50 USD/h"), "--max-cost", "write 1000.50 USD/h"),
        (("optimize", "--max-power", "10,2 kW"), "--max-power", "write 10.2 kW"),
        (("optimize", "--electricity", "0,11 USD/kWh"), "--electricity", "write 0.11 USD/kWh"),
        (("optimize", "--pue", "1,3"), "--pue", "write 1.3"),
        (("optimize", "--arrival-cv2", "2,5"), "--arrival-cv2", "write 2.5"),
        (("optimize", "--prompt-output-ratio", "4,5"), "--prompt-output-ratio", "write 4.5"),
        (("optimize", "--oversubscription", "1,5"), "--oversubscription", "write 1.5"),
        (("optimize", "--prefix-cached", "36,6 %"), "--prefix-cached", "write 36.6 %"),
        (("optimize", "--max-utilisation", "0,85"), "--max-utilisation", "write 0.85"),
        (("optimize", "--network", "12,5 Gbit/s"), "--network", "write 12.5 Gbit/s"),
        (("frontier", "--tolerance", "0,5 %"), "--tolerance", "write 0.5 %"),
        (("compare", "--budget", "cost=1520,5USD/h"), "--budget", "write 1520.5USD/h"),
        (("simulate", "--pool", "mixed=dgx-h100:1", "--load", "1,5"), "--load", "write 1.5"),
        (("robustness", "--pool", "mixed=dgx-h100:1", "--burst", "2,5"), "--burst", "write 2.5"),
        (("sensitivity", "--error", "load=12,5%"), "--error", "write 12.5%"),
    ],
)
def test_options(planner: Planner, arguments: tuple[str, ...], option: str, fix: str) -> None:
    err = planner(*arguments, code=2).err
    assert fix in err and option in err, err


def test_environment_and_scenario_file(planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text("rate: 1,5/s\n")
    err = planner("optimize", file, code=2).err
    assert f"{file}:1" in err and "write 1.5/s" in err
    monkeypatch.setenv("PLANNER_RATE", "1,5/s")
    err = planner("optimize", code=2).err
    assert "PLANNER_RATE" in err and "write 1.5/s" in err


def test_a_price_book(planner: Planner, tmp_path: Path) -> None:
    book = tmp_path / "prices" / "mine.yaml"
    book.parent.mkdir()
    book.write_text(
        "source: a quote\nkind: quote\ndate: 2026-11-20\nprovider: acme\non_demand:\n  dgx-h100: 31,50 USD/h\n"
    )
    out = planner("catalog", "lint", tmp_path, code=2)
    assert "mine.yaml:6" in out.out + out.err and "write 31.50 USD/h" in out.out + out.err
