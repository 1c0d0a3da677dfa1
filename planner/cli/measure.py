"""`planner measure`: time the kernels that a model needs, on this machine's own GPU."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.given import locating
from planner.cli.options import CatalogOption, QuietOption
from planner.cli.output import ProgressLine, check_output, emit, note
from planner.errors import InputError, UnitError


def measure(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Model whose shapes to time.")] = "llama-3.1-8b",
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", metavar="N", min=1, help="Ranks that the model is to be divided over.")
    ] = 1,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="NAME", help="Of the weights; repeatable. [default: bf16 and fp8]"),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option("--machine", metavar="NAME", help="What this is, in the catalog. [default: the driver's name]"),
    ] = None,
    budget: Annotated[str, typer.Option("--budget", metavar="TIME", help="Most time to take.")] = "240s",
    list_only: Annotated[bool, typer.Option("--list", help="List the kernels and time none; needs no GPU.")] = False,
    catalog: CatalogOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.csv", help="Write to this file, whole or not at all.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Time the kernels a model needs on this machine's GPU, in a CSV for `planner calibrate`. Takes minutes.

    Needs torch: pip install 'splitwise-planner[gpu]'.
    """
    check_output(output)
    from planner import units
    from planner.calibration.measure import kernels_for, measure_kernels, require_gpu, table_text
    from planner.catalog.catalog import Catalog

    layers = Catalog.default(catalog or [])
    try:
        budget_s = units.parse(budget, units.TIME, bare_ok=False)
    except UnitError as error:
        raise error.at("--budget") from None
    if budget_s <= 0:
        raise InputError("the budget must be above zero", where="--budget", value=budget, fix="leave it out: 240s")
    with locating(context):
        llm = layers.llm(model, where="--model")
        if machine is not None:
            layers.machine(machine, where="--machine")
    if llm.attention.n_heads % tensor_parallel:
        raise InputError(
            f"{model} has {llm.attention.n_heads} heads", where="--tensor-parallel", value=tensor_parallel,
            rule="ranks share the heads evenly",
        )  # fmt: skip
    precisions = tuple(precision or ("bf16", "fp8"))
    if list_only:
        for kernel in kernels_for(llm, tensor_parallel, precisions):
            print(kernel.kind, kernel.precision, *(f"{name}={size}" for name, size in kernel.shape))
        return
    device, n_gpus = require_gpu()
    kernels = kernels_for(llm, tensor_parallel, precisions, n_gpus)
    with ProgressLine(quiet=quiet) as progress:
        timings, notes = measure_kernels(kernels, budget_s=budget_s, progress=progress)
    for text in notes:
        note(f"note: {text}", quiet=quiet)
    if not timings:
        raise InputError("nothing could be timed", where="planner measure", also=notes)
    about = [
        f"planner measure: {len(timings)} kernels of {model} at tensor degree {tensor_parallel} on {n_gpus} x {device}",
        *_versions(),
        f"date {datetime.date.today().isoformat()}",
        *notes,
    ]
    emit(table_text(timings, machine or device, about), output, quiet=quiet)
    shown = output or "FILE.csv"
    note(f"now: planner calibrate {shown} --runtime vllm-2026 --into my-catalog", quiet=quiet)


def _versions() -> list[str]:
    import torch

    from planner._version import __version__

    return [f"planner {__version__}, torch {torch.__version__}, CUDA {torch.version.cuda}"]
