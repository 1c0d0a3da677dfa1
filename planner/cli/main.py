"""The `planner` command: its sub-commands, and one place where every error becomes a message and an exit code.

Exit codes are those of `planner.errors`; besides, 1 is a fault of planner itself and 130 an interruption. Errors
are text on stderr. With `--format json` they are one envelope on stdout, `{"error": {...}}`, where a program that
reads the result will find them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from planner._version import __version__
from planner.cli import (
    alternatives,
    calibrate,
    catalog,
    compare,
    cost,
    deploy,
    diff,
    estimate,
    evaluate,
    export,
    frontier,
    map,
    mcp,
    measure,
    optimize,
    procure,
    robustness,
    scale,
    schema,
    sensitivity,
    serve,
    simulate,
    sweep,
    validate,
    why,
    workload,
)
from planner.cli.output import EXIT_INTERRUPTED
from planner.errors import EXIT_BAD_INPUT, EXIT_OK, InputError, OutputError, PlannerError, near_misses
from planner.parsing import visible
from planner.serve import PROGRAM_VARIABLE

DEBUG_VARIABLE = "PLANNER_DEBUG"

app = typer.Typer(
    name="planner",
    no_args_is_help=True,
    # rich would cost a tenth of the start-up time.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"planner {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Plan clusters for LLM inference: which machines, how many, in which roles, at the least cost or power.

    Begin with: planner optimize --slo ttft=1s
    """


app.command("optimize", short_help="Find the best cluster for a workload.")(optimize.optimize)
app.command("compare", short_help="Put designs side by side, each sized as well as can be.")(compare.compare)
app.command("frontier", short_help="Find all trade-offs between two figures.")(frontier.frontier)
app.command("alternatives", short_help="Find plans nearly as good as the best.")(alternatives.alternatives)
app.command("why", short_help="Say why a machine or design was not chosen.")(why.why)
app.command("evaluate", short_help="Predict what a given cluster does.")(evaluate.evaluate)
app.command("simulate", short_help="Simulate a given cluster, request by request.")(simulate.simulate)
app.command("diff", short_help="Say what changed between two plans.")(diff.diff)
app.command("deploy", short_help="Write a plan as commands and manifests.")(deploy.deploy)
app.command("scale", short_help="How many machines run at which load of a day.")(scale.scale)
app.command("validate", short_help="Hold a plan against a benchmark.")(validate.validate)
app.command("cost", short_help="Cost a plan owned, reserved, on demand and spot.")(cost.cost)
app.command("procure", short_help="Find what to own, reserve and rent for several workloads.")(procure.procure)
app.command("sensitivity", short_help="How sure a plan is, and what would change the decision.")(
    sensitivity.sensitivity
)
app.command("robustness", short_help="How a cluster takes another mix, growth, bursts and losses.")(
    robustness.robustness
)
app.command("sweep", short_help="Find the best cluster of every scenario of a grid.")(sweep.sweep)
app.command("estimate", short_help="Time one step, operator by operator.")(estimate.estimate)
app.command("export", short_help="Write a plan as an Excel workbook or HTML page.")(export.export)
app.command("calibrate", short_help="Fit a runtime to measurements.")(calibrate.calibrate)
app.command("measure", short_help="Time the kernels of a model on this GPU.")(measure.measure)
app.add_typer(map.app, name="map", short_help="Map costs and winning designs over what is unsure.")
app.add_typer(workload.app, name="workload", short_help="Describe workloads and traces.")
app.add_typer(catalog.app, name="catalog", short_help="See and extend what can be bought and served.")
app.command("serve", short_help="Open a page of questions, with an HTTP API.")(serve.serve)
app.command("mcp", short_help="Answer an assistant (Model Context Protocol).")(mcp.mcp)
app.command("schema", short_help="Print the JSON Schema of results and files.")(schema.schema)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Left out: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.stderr is None:  # closed by who started this
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        if not any(word.startswith(("--output", "-o")) for word in words):
            return _report(OutputError("stdout is closed", where="stdout", fix="write to a file with --output"), ())
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream that somebody else has put there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = _run(words)
    try:
        sys.stdout.flush()
    except OSError:
        # The reader has gone, as `head` does, or the disk is full. Python would fail once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


def _run(words: list[str]) -> int:
    try:
        _refuse_empty_options(words)
        return _exit_code(_parser(words).main(args=words, prog_name="planner", standalone_mode=False))
    except SystemExit as stop:
        return _exit_code(stop.code)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except PlannerError as error:
        return _report(error, words)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if _is_usage_error(error):
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
                return EXIT_BAD_INPUT
            return _report(_as_input_error(error), words)
        return _report(_as_fault(error), words)


def _parser(words: Sequence[str]) -> Any:
    """The parser of the command that is asked for, or of all: to build that of all takes longer than many commands."""
    named = [command for command in app.registered_commands if words and command.name == words[0]]
    if not named:
        return typer.main.get_command(app)
    only = typer.Typer()
    only.info, only.registered_callback, only.registered_commands = app.info, app.registered_callback, named
    only.pretty_exceptions_enable, only.rich_markup_mode = app.pretty_exceptions_enable, app.rich_markup_mode
    only._add_completion = app._add_completion
    return typer.main.get_command(only)


def _refuse_empty_options(words: Sequence[str]) -> None:
    """An option that is given nothing was meant to have something: `--profile "$PROFILE"` with the variable unset."""
    for word, after in zip(words, [*words[1:], None], strict=False):
        if word == "--":
            return
        if word.startswith("--") and ((after is not None and not after.strip()) or word.endswith("=")):
            option = word.removesuffix("=")
            raise InputError("the option is empty", where=option, fix="give it a value, or leave it out")


def _exit_code(result: Any) -> int:
    """Exit code out of what a command returned; a sub-command that returns nothing went well."""
    if result == EXIT_INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return result if isinstance(result, int) else EXIT_OK if result is None else 1


def _report(error: PlannerError, words: Sequence[str]) -> int:
    """Show an error where its reader looks for it, and return its exit code."""
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    shown = visible(str(error))
    text = f"error: {shown}"
    if _wants_json(words):
        from planner.export.records import json_text

        sys.stdout.write(json_text({"error": error.to_record()}))
        if sys.stdout.isatty() or not sys.stderr.isatty():
            return error.exit_code
        # stdout goes to a program or a file: tell the person at the terminal too.
    elif _is_colourful():
        text = f"\x1b[31merror:\x1b[0m {shown}"
    print(text, file=sys.stderr)
    return error.exit_code


def _is_colourful() -> bool:
    from planner.cli.output import wants_colour

    return wants_colour(sys.stderr)


def _wants_json(words: Sequence[str]) -> bool:
    """Whether JSON was asked for; told from the bare words, for the error may lie in the options themselves."""
    if os.environ.get(PROGRAM_VARIABLE):
        return True
    pairs = zip(words, [*words[1:], ""], strict=False)
    return any(word == "--format=json" or (word == "--format" and after == "json") for word, after in pairs)


# -- errors of the option parser ------------------------------------------------------------------------------------
# typer brings its own copy of click in some versions and needs click itself in others: both are known by name.


def _is_usage_error(error: Exception) -> bool:
    return any(kind.__name__ == "ClickException" for kind in type(error).__mro__)


def _as_input_error(error: Any) -> InputError:
    """An error of the option parser in the form of all others, with near misses."""
    kind = type(error).__name__
    context = getattr(error, "ctx", None)
    fix = f"see {context.command_path if context is not None else 'planner'} --help"
    if kind == "NoSuchOption":
        parameters = context.command.get_params(context) if context is not None else []
        known = [o for p in parameters for o in (*p.opts, *p.secondary_opts) if o.startswith("--")]
        wanted = error.option_name
        near = ["--" + name for name in near_misses(wanted.lstrip("-"), [name.lstrip("-") for name in known])]
        others = [] if context is None else list(_commands_with(typer.main.get_command(app), wanted, "planner"))
        if others:
            rule = f"{wanted} is an option of {', '.join(others)}"
            return InputError(f"no such option {wanted}", rule=rule, fix=fix)
        return InputError(f"no such option {wanted}", suggestions=near, fix=None if near else fix)
    parameter = getattr(error, "param", None)
    if kind == "MissingParameter" and parameter is not None:
        name = parameter.metavar or parameter.opts[-1]
        return InputError(f"missing {parameter.param_type_name} {name}", fix=fix)
    if parameter is not None:
        what = error.message.rstrip(".").removeprefix("Value error, ").replace("Input should be", "must be", 1)
        near, quoted = [], re.findall(r"'([^']*)'", what)
        if "is not one of" in what:
            near = near_misses(quoted[0], quoted[1:])
        is_option = parameter.param_type_name == "option"
        return InputError(what, where=parameter.opts[0] if is_option else parameter.metavar, suggestions=near, fix=fix)
    what, _, _ = error.format_message().rstrip(".?").partition(". Did you mean ")
    commands = getattr(context.command, "commands", {}) if context is not None else {}
    mistyped = re.match(r"No such command '(.*)'", what)
    near = near_misses(mistyped[1], commands) if mistyped else []
    return InputError(what[0].lower() + what[1:], suggestions=near, fix=fix)


def _commands_with(command: Any, option: str, path: str) -> Iterator[str]:
    """Names of the commands that have an option, those of groups included."""
    for name, inner in getattr(command, "commands", {}).items():
        if any(option in (*p.opts, *p.secondary_opts) for p in inner.params):
            yield f"{path} {name}".removeprefix("planner ")
        yield from _commands_with(inner, option, f"{path} {name}")


def _as_fault(error: Exception) -> PlannerError:
    if isinstance(error, MemoryError):
        return PlannerError("planner ran out of memory", fix="ask for fewer machines or a smaller trace, or allow more")
    fault = PlannerError(
        f"planner failed: {type(error).__name__}: {error}",
        rule="this is a fault of planner, not of what you wrote",
        fix=f"report it with the traceback, which {DEBUG_VARIABLE}=1 shows",
    )
    fault.__cause__ = error
    return fault
