"""Text of others at every door: nesting, long numbers, long names and control characters are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.calibration.readers import read_measurements
from planner.catalog.imports.huggingface import import_hf_config
from planner.catalog.loading import read_layer
from planner.errors import InputError, PlannerError
from planner.parsing import check_text, control_character, visible
from planner.planning.plan_file import read_plan
from planner.scenario.scenario_file import load_scenario

DOORS: list[Callable[[Path], object]] = [
    read_layer, import_hf_config, read_measurements, read_plan, lambda path: load_scenario(str(path)),
]  # fmt: skip
HOSTILE = {
    "deep list": "[" * 500 + "]" * 500,
    "deeper list": "[" * 50_000 + "]" * 50_000,
    "deep mapping": '{"a": ' * 500 + "1" + "}" * 500,
    "deep lists in an object": '{"a": ' + "[" * 500 + "]" * 500 + "}",
    "deep blocks": "\n".join(" " * i + f"a{i}:" for i in range(3000)),
    "deep dashes": "a:\n  " + "- " * 3000 + "1",
    "long integer": '{"a": ' + "9" * 4301 + "}",
    "long integer in a block": "a: " + "9" * 5000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("door", DOORS, ids=["layer", "config", "benchmark", "plan", "scenario"])
def test_what_would_overrun_a_parser_is_refused(door: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"nested more than 100 deep|a number of \d|file\.json") as raised:
        door(path)
    assert "file.json" in str(raised.value.where)


def test_brackets_in_strings_nest_nothing() -> None:
    check_text('{"notes": "' + "[" * 5000 + '"}', "x")
    check_text("a: [1, 2]\nb: {c: [3]}\n" * 400, "x")


@pytest.mark.parametrize("escaped", [r'"\e[31mred"', r'"\x9b31m"', r'"a\0b"', r'"‮gnp.exe"', '"\u202egnp.exe"'])
def test_control_characters_in_files_are_refused_with_their_line(escaped: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(f"source: fine\nvendor: {escaped}\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_layer(path)
    assert str(raised.value.where).startswith(f"{path}:2") or "control" in raised.value.what
    if "control" in raised.value.what:
        assert raised.value.where == f"{path}:2"


def test_control_characters_in_a_plan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"schema_version": "1.0", "pools": [], "model": "a\x1b]0;title\x07"}))
    with pytest.raises(InputError, match=r"control character \(U\+001B\)"):
        read_plan(path)


def test_text_is_shown_by_its_codes_but_for_colours_and_line_ends() -> None:
    assert visible("a\x1b[2Jb\x9bc\td\ne") == "a\\u001b[2Jb\\u009bc\td\ne"
    assert visible("\x1b[31merror:\x1b[0m \x07") == "\x1b[31merror:\x1b[0m \\u0007"
    assert control_character("plain \u00e9") is None


@pytest.mark.parametrize("name", ["x" * 256, "y" * 5000, "a\0b"], ids=["256", "5000", "zero byte"])
@pytest.mark.parametrize("field", ["workload", "model", "runtime", "machines", "profile", "catalog", "network"])
def test_names_that_no_file_can_have_are_unknown_names(field: str, name: str) -> None:
    import planner

    with pytest.raises(PlannerError) as raised:
        planner.optimize({field: name}, slo="ttft=1s", verify=False)
    assert raised.value.exit_code == 2
