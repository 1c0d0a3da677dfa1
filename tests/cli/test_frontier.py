"""`planner frontier`: options, formats, exit codes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.studies import frontier as module
from planner.studies.frontier_result import Frontier

Planner = Callable[..., Any]
SMALL = ("frontier", "--rate", "20/s", "--x", "rate", "--y", "machines", "--from", "10/s", "--to", "30/s",
         "--preset", "splitwise")  # fmt: skip


def test_table_json_csv_and_picture(planner: Planner, tmp_path: Path) -> None:
    assert "Least machines against load" in planner(*SMALL).out
    printed = planner(*SMALL, "--format", "json").out
    assert printed == planner(*SMALL, "--format", "json").out
    found = Frontier.model_validate_json(printed)
    rows = list(csv.DictReader(io.StringIO(planner(*SMALL, "--format", "csv").out)))
    assert [float(r["x"]) for r in rows] == [p.x for p in found.points]
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    path = tmp_path / "load.png"
    assert f"wrote {path}" in planner(*SMALL, "--plot", path).err
    assert path.read_bytes().startswith(b"\x89PNG")


def test_options_become_arguments(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def stop(scenario: object, **arguments: Any) -> None:
        seen.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "frontier", stop)
    planner(
        "frontier", "--x", "ttft.p50", "--y", "power", "--from", "100ms", "--to", "1s", "--tolerance", "2 %",
        "--design", "Splitwise-HA", "--max-pools", "2", code=130,
    )  # fmt: skip
    assert {k: v for k, v in seen.items() if k != "progress"} == {
        "x": "ttft.p50", "y": "power", "start": "100ms", "stop": "1s", "tolerance": "2 %", "design": "Splitwise-HA",
        "max_pools": 2, "verify": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--x", "cost"], 2, "--x: x and y are both cost"),
        (["--x", "powr"], 2, "--x: unknown axis"),
        (["--y", "rate"], 2, "--y: unknown axis"),
        (["--from", "50kW", "--to", "40kW"], 2, "--from: the range is empty"),
        (["--to", "50"], 2, "--to: a power needs its unit"),
        (["--tolerance", "0"], 2, "--tolerance: a tolerance that makes no sense"),
        (["--max-power", "1kW"], 3, "--max-power: 1 kW is too little"),
        (["--plot", "frontier.jpg"], 2, "--plot: a picture is SVG, PNG or HTML"),
    ],
)
def test_bad_input(options: list[str], code: int, says: str, planner: Planner) -> None:
    assert says in planner("frontier", *options, code=code).err


def test_an_interruption_prints_what_is_done(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    solved = module.FrontierWalk.solved

    def once(self: Any, *arguments: Any) -> Any:
        if self.solves == 1:
            raise KeyboardInterrupt
        return solved(self, *arguments)

    monkeypatch.setattr(module.FrontierWalk, "solved", once)
    done = planner(*SMALL, code=130)
    assert "NOT COMPLETE" in done.out and "interrupted" in done.out and done.out.count("dgx-h100 mixed") == 1


def test_over_and_x_are_two_names_of_one_option(planner: Any) -> None:
    refused = planner("frontier", "--over", "network", "--x", "power", code=2).err
    assert refused.startswith("error: --over: --x and --over name different figures") and "fix:" in refused
    assert planner("frontier", "--over", "netwrk", code=2).err.startswith("error: --over: unknown axis 'netwrk'")


def test_over_network_is_the_network_map(planner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_MACHINE", "dgx-a100 dgx-h100")  # verbs are compared, not machines
    asked = ["--slo", "ttft=1s", "--rate", "5/s", "--format", "json", "--from", "10Gbit/s", "--to", "100Gbit/s"]
    over = planner("frontier", "--over", "network", *asked).out
    axis = ["--x", "network=10Gbit/s..100Gbit/s:19"]
    assert over == planner("map", "network", *axis, *asked[:-4]).out
