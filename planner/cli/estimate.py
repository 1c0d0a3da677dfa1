"""`planner estimate`: the time of one step, operator by operator."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    locating,
    read_fraction,
)
from planner.cli.output import check_output, emit, format_of, note, text_width

if TYPE_CHECKING:
    from planner.estimation import Estimate


class Phase(enum.StrEnum):
    """Which step of a request."""

    prefill = "prefill"
    decode = "decode"


def estimate(
    context: typer.Context,
    model: ModelOption = None,
    machine: Annotated[str, typer.Option("--machine", metavar="NAME", help="Machine of the catalog.")] = "dgx-h100",
    phase: Annotated[
        Phase, typer.Option("--phase", help="Compute prompts, or generate one token for each sequence.")
    ] = Phase.decode,
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
    precision: PrecisionOption = None,
    kv_precision: KvPrecisionOption = None,
    runtime: RuntimeOption = None,
    prefix_cached: PrefixOption = None,
    tokens_per_step: TokensPerStepOption = None,
    draft_tokens: DraftOption = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the roofline of the step: FILE.svg, .png or .html."),
    ] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Estimate the time of one prefill or decode step of one replica, and say what bounds it."""
    check_output(output)
    if plot is not None:
        from planner.export.charts import check_plot

        check_plot(plot)
        check_output(plot)
    from planner.catalog.catalog import Catalog
    from planner.estimation import estimate as estimate_step

    options: dict[str, Any] = {
        "model": model, "runtime": runtime, "tokens_per_step": tokens_per_step, "draft_tokens": draft_tokens,
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
            precision=precision,  # type: ignore[arg-type]  # checked there
            kv_precision=kv_precision,  # type: ignore[arg-type]
            catalog=Catalog.default(catalog or []),
            **{name: value for name, value in options.items() if value is not None},
        )
    if plot is not None:
        from planner.export.files import write_whole
        from planner.export.roofline_plot import roofline_picture

        write_whole(plot, roofline_picture(result, plot.suffix.casefold()))
        note(f"wrote {plot}", quiet=quiet)
    emit(_text(result, format_of(format, output)), output, quiet=quiet)


def _text(result: Estimate, format: Format) -> str:
    if format is Format.json:
        return result.model_dump_json(indent=2) + "\n"
    if format is Format.csv:
        from planner.export.records import csv_text

        return csv_text(result.to_records())
    from planner.export.estimate_table import estimate_table

    return estimate_table(result, width=text_width())
