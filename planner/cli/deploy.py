"""`planner deploy`: a plan as the commands and manifests that run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options import CatalogOption, Format, FormatOption, QuietOption
from planner.cli.output import note, show
from planner.errors import EXIT_OK


def deploy(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan from optimize --format json.")],
    target: Annotated[
        str, typer.Option("--for", metavar="TARGET", help="vllm, sglang, trtllm, dynamo, llm-d or kserve.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Folder to write the bundle into, whole or not at all."),
    ] = None,
    scaling: Annotated[
        Path | None,
        typer.Option("--scaling", metavar="FILE", help="A table from scale --format json: replicas follow the load."),
    ] = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    quiet: QuietOption = False,
) -> int:
    """Write server commands, manifests, the load to check them with and a README that reproduce a plan.

    Servers run with what the certificate assumed: parallel degrees, sequences, tokens a step, chunks, memory, KV
    precision, roles. What the target cannot be told is said. Without --output the commands are printed and nothing is
    written. `planner evaluate DIR` reads the bundle back.

    Exit codes: 0 done, 2 bad input, or a target that does not run the engine that the plan assumes.
    """
    from planner.studies.deploy import deploy as run

    found = run(plan, target, scaling=scaling, catalog=None if not catalog else list(catalog))
    if output is not None:
        from planner.export.files import write_together

        write_together({output / name: text for name, text in found.files.items()})
        note(f"wrote {len(found.files)} files to {output}", quiet=quiet)
    if output is None or format is not None:
        show(found, "deployment", format or Format.table, None, quiet=quiet, prices=())
    elif not quiet:
        for text in found.notes:
            note(f"note: {text}")
    return EXIT_OK
