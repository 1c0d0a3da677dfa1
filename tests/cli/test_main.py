"""The frame around all commands: help, errors in their two forms, exit codes, start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import planner as package
from planner.cli import main
from planner.errors import InfeasibleError, NoPlanFoundError, ScenarioError
from planner.studies import plans

Planner = Callable[..., Any]


def fail_with(error: BaseException) -> Callable[..., None]:
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


def test_version(planner: Planner) -> None:
    assert planner("--version").out == f"planner {package.__version__}\n"


def test_help_names_every_command(planner: Planner) -> None:
    text = planner("--help").out
    for command in ("optimize", "evaluate", "estimate", "workload", "catalog", "schema"):
        assert f"\n  {command} " in text
    assert "--max-machines NAME=N" in planner("optimize", "-h").out


def test_no_command_is_a_usage_error_that_shows_the_help(planner: Planner) -> None:
    shown = planner(code=2)
    assert shown.out == ""
    assert "Usage: planner" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message", "near"),
    [
        (["optimise"], "no such command 'optimise'", "optimize"),
        (["optimize", "--slos", "ttft=1s"], "no such option --slos", "--slo"),
        (["catalog", "lst"], "no such command 'lst'", "list"),
        (["optimize", "--format", "jsn"], "--format: 'jsn' is not one of", "json"),
        (["estimate", "--phase", "decoding"], "--phase: 'decoding' is not one of", "decode"),
    ],
)
def test_mistyped_words_get_near_misses(planner: Planner, arguments: list[str], message: str, near: str) -> None:
    shown = planner(*arguments, code=2)
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert near in shown.err.split("did you mean: ")[1].splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (
            ["optimize", "--pool", "mixed=dgx-h100:4"],
            "--pool is an option of evaluate, simulate, scale, cost, robustness",
        ),
        (["frontier", "--relative-to", "Baseline-H100"], "--relative-to is an option of compare"),
        (["catalog", "lint", "--machine-map", "A=dgx-h100"], "--machine-map is an option of catalog import-quotes"),
    ],
)
def test_an_option_of_another_command_names_it(planner: Planner, arguments: list[str], rule: str) -> None:
    shown = planner(*arguments, code=2).err
    assert rule in shown and "did you mean" not in shown
    assert "--help" in shown


def test_an_option_like_no_other_has_no_near_misses(planner: Planner) -> None:
    shown = planner("compare", "--equal", "cost", code=2).err
    assert shown == "error: no such option --equal\n  fix:   see planner compare --help\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimize", "--spares", "two"], "--spares: "),
        (["optimize", "a.yaml", "b.yaml"], "got unexpected extra argument"),
        (["optimize", "--slo"], "option '--slo' requires an argument"),
        (["workload", "describe"], "missing argument TRACE|NAME"),
    ],
)
def test_other_usage_errors_are_one_message(planner: Planner, arguments: list[str], message: str) -> None:
    shown = planner(*arguments, code=2)
    assert shown.err.casefold().startswith(f"error: {message}".casefold())
    assert "--help" in shown.err


def test_json_errors_are_one_envelope_on_stdout(planner: Planner) -> None:
    for arguments in (["--rate", "0/s", "--format", "json"], ["--format=json", "--rate", "0/s"]):
        shown = planner("optimize", *arguments, code=2)
        assert shown.err == ""
        envelope = json.loads(shown.out)
        assert list(envelope) == ["error"]
        assert envelope["error"]["exit_code"] == 2
        assert envelope["error"]["where"] == "--rate"
        assert envelope["error"]["value"] == "0/s"


def test_json_usage_errors_have_the_same_envelope(planner: Planner) -> None:
    error = json.loads(planner("optimize", "--format", "json", "--sloo", "x", code=2).out)["error"]
    assert error["what"] == "no such option --sloo"
    assert "--slo" in error["suggestions"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ScenarioError("no"), 2),
        (InfeasibleError("no"), 3),
        (NoPlanFoundError("no"), 5),
        (ZeroDivisionError("no"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 1),
    ],
)
def test_exit_code_of_each_error(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    monkeypatch.setattr(plans, "optimize", fail_with(error))
    shown = planner("optimize", code=code)
    assert shown.out == ""
    assert shown.err == "" if isinstance(error, BrokenPipeError) else len(shown.err.splitlines()) < 5


def test_a_fault_of_planner_says_so_and_how_to_see_more(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "optimize", fail_with(ZeroDivisionError("division by zero")))
    shown = planner("optimize", code=1)
    assert "ZeroDivisionError: division by zero" in shown.err
    assert "PLANNER_DEBUG=1" in shown.err
    assert "Traceback" not in shown.err
    monkeypatch.setenv("PLANNER_DEBUG", "1")
    assert "Traceback" in planner("optimize", code=1).err


def test_run_reads_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["planner", "--version"])
    assert main.run() == 0
    assert capsys.readouterr().out.startswith("planner ")


HEAVY = ("scipy", "pulp", "highspy", "numpy", "rich", "pydantic")


def loaded_by(*arguments: str) -> set[str]:
    """Top-level packages in memory after a command, in a fresh process."""
    code = (
        "import sys\nfrom planner.cli.main import run\n"
        f"assert run({list(arguments)!r}) == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
    )
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    assert loaded_by("--help").isdisjoint(HEAVY)


def test_catalog_list_imports_no_numerics() -> None:
    assert loaded_by("catalog", "list").isdisjoint({"scipy", "pulp", "highspy", "numpy", "rich"})


def test_optimize_imports_neither_scipy_nor_rich() -> None:
    loaded = loaded_by("optimize", "--slo", "ttft=1s")
    assert loaded.isdisjoint({"scipy", "rich"})
    assert {"numpy", "highspy"} <= loaded


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "planner", "catalog", "list", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "planner", "catalog", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: stdout: cannot write: No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ("optimize", "--profile", ""), ("optimize", "--slo="), ("optimize", "--reference-machine", "  "),
        ("catalog", "import-model", "config.json", "--name", ""), ("compare", "--design", ""),
        ("simulate", "--pool", ""),
    ],
)  # fmt: skip
def test_an_option_that_is_given_nothing_is_an_error(planner: Planner, words: tuple[str, ...]) -> None:
    shown = planner(*words, code=2)
    option = next(word for word in words if word.startswith("--")).removesuffix("=")
    assert shown.err.startswith(f"error: {option}: the option is empty")


def test_messages_show_control_characters_by_their_codes(planner: Planner) -> None:
    shown = planner("optimize", "--model", "a\x1b[2J\x07\x9bb", code=2)
    assert "\x1b[2J" not in shown.err and "\x07" not in shown.err and "\x9b" not in shown.err


@pytest.mark.parametrize("more", [(), ("--format", "json")])
def test_a_closed_stdout_is_an_error_that_says_so(more: tuple[str, ...]) -> None:
    code = "import sys; sys.stdout = None\nfrom planner.cli.main import run\nsys.exit(run(sys.argv[1:]))"
    words = ["optimize", "--slo", "ttft=1s", "--no-verify", *more]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: stdout: stdout is closed")


def test_an_interruption_while_the_command_is_loaded_is_quiet() -> None:
    code = (
        "import sys, builtins\nfrom planner.cli import entry\nreal = builtins.__import__\n"
        "def stop(name, *rest):\n    if name == 'planner.cli.main': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = stop\nsys.exit(entry.run())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
