"""`planner estimate`: the time of one step, operator by operator."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.given import locating, read_fraction, read_number
from planner.cli.options import (
    CatalogOption,
    DraftOption,
    Format,
    FormatOption,
    KvPrecisionOption,
    ModelOption,
    OutputOption,
    PrecisionOption,
    PrefixOption,
    QuietOption,
    RuntimeOption,
    TokensPerStepOption,
)
from planner.cli.output import check_output, emit, format_of, note, show, table_width, text_width
from planner.errors import ScenarioError

if TYPE_CHECKING:
    pass


class PhaseOption(enum.StrEnum):
    """Which step of a request."""

    prefill = "prefill"
    decode = "decode"


def estimate(
    context: typer.Context,
    model: ModelOption = None,
    machine: Annotated[str, typer.Option("--machine", metavar="NAME", help="Machine of the catalog.")] = "dgx-h100",
    phase: Annotated[
        PhaseOption, typer.Option("--phase", help="Compute prompts, or generate one token for each sequence.")
    ] = PhaseOption.decode,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Prompts or sequences in the step.")] = 1,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", help="Tokens of each prompt, or of context of each sequence.")
    ] = 1024,
    tensor_parallel: Annotated[
        int | None,
        typer.Option("--tensor-parallel", metavar="N", help="Accelerators of a stage. [default: all of the machine]"),
    ] = None,
    pipeline_parallel: Annotated[int, typer.Option("--pipeline-parallel", metavar="N", help="Stages.")] = 1,
    expert_parallel: Annotated[
        int, typer.Option("--expert-parallel", metavar="N", help="Ranks that experts are spread over.")
    ] = 1,
    attention_data_parallel: Annotated[
        int,
        typer.Option("--attention-data-parallel", metavar="N", help="Groups of ranks with sequences of their own."),
    ] = 1,
    precision: PrecisionOption = None,
    kv_precision: KvPrecisionOption = None,
    runtime: RuntimeOption = None,
    prefix_cached: PrefixOption = None,
    tokens_per_step: TokensPerStepOption = None,
    draft_tokens: DraftOption = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Say for every machine (or the one of --machine) whether it can serve the model, how, and why not.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the roofline of the step: FILE.svg, .png or .html."),
    ] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Estimate the time of one prefill or decode step of one replica, and say what bounds it.

    With --fit: which machines of the catalog can serve the model, in which layouts, and why the others cannot, with the
    bytes needed and available and what they could serve instead.
    """
    check_output(output)
    if fit:
        emit(
            _fit(context, model, machine, precision, kv_precision, runtime, catalog, format_of(format, output), output),
            output,
            quiet=quiet,
        )
        return
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
        check_output(plot)
    from planner.catalog.catalog import Catalog
    from planner.studies.estimate import estimate as estimate_step

    options: dict[str, Any] = {
        "model": model, "runtime": runtime, "draft_tokens": draft_tokens,
        "tokens_per_step": None if tokens_per_step is None else read_number(tokens_per_step, "--tokens-per-step"),
    }  # fmt: skip
    if prefix_cached is not None:
        options["prefix_cached"] = read_fraction(prefix_cached, "--prefix-cached")
    with locating(context):
        result = estimate_step(
            machine=machine,
            phase=phase.value,
            batch=batch,
            tokens=tokens,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            expert_parallel=expert_parallel,
            attention_data_parallel=attention_data_parallel,
            precision=precision,  # type: ignore[arg-type]  # checked there
            kv_precision=kv_precision,  # type: ignore[arg-type]
            catalog=Catalog.default(catalog or []),
            **{name: value for name, value in options.items() if value is not None},
        )
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.pictures.roofline import roofline_picture

        write_whole(plot, roofline_picture(result, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    show(result, "estimate", format, output, quiet=quiet)


def _fit(
    context: typer.Context,
    model: str | None,
    machine: str,
    precision: str | None,
    kv_precision: str | None,
    runtime: str | None,
    catalog: list[Path] | None,
    format: Format,
    output: Path | None,
) -> str:
    """Which machines can serve the model, in the format asked for."""
    _refuse_step_options(context)
    from planner.catalog.catalog import Catalog
    from planner.studies.hardware import hardware_fit

    named = context.get_parameter_source("machine")
    asked = named is not None and named.name != "DEFAULT" and machine != "all"
    with locating(context):
        found = hardware_fit(
            model or "llama-3.1-70b",
            [machine] if asked else [],
            precision=precision,  # type: ignore[arg-type]  # checked there
            kv_precision=kv_precision,  # type: ignore[arg-type]
            runtime=runtime,
            catalog=Catalog.default(catalog or []),
        )
    if format is Format.json:
        return found.model_dump_json(indent=2) + "\n"
    if format is Format.csv:
        from planner.export.records import csv_text

        return csv_text(found.to_records())
    from planner.export.tables.hardware import WIDTH, hardware_table

    width, tables = (WIDTH, None) if output is not None else (text_width(), table_width())
    return hardware_table(found, width=width, table_width=tables)


def _refuse_step_options(context: typer.Context) -> None:
    """Refuse options that say something of a step, where no step is timed."""
    of_a_step = (
        "phase", "batch", "tokens", "tensor_parallel", "pipeline_parallel", "expert_parallel",
        "attention_data_parallel", "prefix_cached",
        "tokens_per_step", "draft_tokens", "plot",
    )  # fmt: skip
    for name in of_a_step:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ScenarioError(
                f"{option} is of one step", where=option, rule="--fit looks at every layout and times no step of yours",
                fix=f"leave out --fit, or {option}",
            )  # fmt: skip
