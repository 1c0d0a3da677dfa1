"""`planner validate`: a plan beside what a benchmark measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.clusters import locating_cluster
from planner.cli.given import given
from planner.cli.options import FormatOption, MachineOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import ProgressLine, check_output, show
from planner.errors import ScenarioError


@scenario_options
def validate(
    context: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT... [PLAN]", help="Files of a benchmark, and last the plan or bundle."),
    ],
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            metavar="NAME",
            help="vllm, guidellm, aiperf, aiperf-records, genai-perf, inference-perf, llmperf, llm-d or csv. "
            "[default: found from the content]",
        ),
    ] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option("--tensor-parallel", metavar="N", min=1, help="Of a --machine without a plan.")
    ] = None,
    replan: Annotated[bool, typer.Option("--replan", help="Plan again with what was measured.")] = False,
    machine: MachineOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Hold a plan against what benchmarks measured: errors, whether within the stated one, and the likely cause.

    The load of each run is simulated on the planned servers. Where a figure is outside what the stated error of the
    step times comes to, single changes are tried: slower kernels, a prefix cache, another batch limit, less memory, the
    front end, links, whole prompts. One that explains the run is named, with the option that plans with it.

    Exit codes: 0 every run is within the stated error, 2 bad input, 4 one is not.
    """  # fmt: skip
    check_output(output)
    wanted = given(context)
    files, plan = _split(results, alone=bool(machine))
    from planner.studies.validate import validate as run

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), locating_cluster(plan):
        found = run(
            files, plan, form=input_format, replan=replan, tensor_parallel=tensor_parallel, progress=progress,
            **wanted.fields,
        )  # fmt: skip
    show(found, "validation", format, output, quiet=quiet, prices=())
    return found.exit_code


def _split(paths: list[Path], *, alone: bool) -> tuple[list[Path], Path | None]:
    """Benchmark files, and the plan that stands last unless a machine was named."""
    from planner.planning.plan_file import is_plan_file

    last = paths[-1]
    is_plan = os.path.isdir(last) or (
        last.suffix in (".json", ".yaml", ".yml") and os.path.isfile(last) and is_plan_file(last)
    )
    if is_plan and len(paths) == 1:
        raise ScenarioError("no benchmark is given, only a plan", where="RESULT", value=str(last),
                            fix="planner validate RESULT... PLAN")  # fmt: skip
    if is_plan:
        return paths[:-1], last
    if not alone:
        raise ScenarioError(
            "no plan is given", where="PLAN", rule="a plan stands last, or --machine and --model say what ran",
            fix="planner validate RESULT... plan.json",
        )  # fmt: skip
    return paths, None
