"""`planner simulate`: simulate every request and step of a given cluster."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.clusters import ClusterArgument, PoolOption, ScenarioOption, cluster_of, locating_cluster
from planner.cli.given import given, read_number
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import (
    EXIT_INTERRUPTED,
    ProgressLine,
    check_output,
    note,
    show,
)
from planner.errors import EXIT_INFEASIBLE, EXIT_OK, PlannerError, ScenarioError

if TYPE_CHECKING:
    pass

# Parameters of `planner.simulate` whose options have other names.
_OPTION_OF = {"n_requests": "--requests", "failures": "--fail"}


@scenario_options
def simulate(
    context: typer.Context,
    cluster: ClusterArgument = None,
    pool: PoolOption = None,
    scenario: ScenarioOption = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="N|LIST", help="How many runs, or the seed of each: 3, or 7,8,9. [default: 3; 1 replay]"
        ),
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", metavar="N", help="Of each run. [default: 100000, or the whole replay]")
    ] = None,
    load: Annotated[
        str, typer.Option("--load", metavar="X", help="Multiple of the rate. [default: 1]", show_default=False)
    ] = "1",
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Play the trace that is the workload with its own timestamps; --rate stretches them to it."
        ),
    ] = False,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat", metavar="N", help="Times that a replay is played over. [default: 1]", show_default=False
        ),
    ] = 1,
    rates: Annotated[
        str | None,
        typer.Option(
            "--rates", metavar="RATE,...", help="Rates that follow each other in place of one, such as 10/s,40/s,20/s."
        ),
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", metavar="TIME", help="How long each of --rates lasts, such as 1h.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="jsq|splitwise",
            show_default=False,
            help="Scheduling: join the shortest queue, or that of the Splitwise paper with its mixed pool. "
            "[default: jsq]",
        ),
    ] = "jsq",
    routing: Annotated[
        str | None,
        typer.Option(
            "--routing", metavar="NAME", help="pending-tokens, least-loaded or round-robin. [default: pending-tokens]"
        ),
    ] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option("--chunk-tokens", metavar="N", help="Chunked prefill: tokens a step, decoding sequences counted."),
    ] = None,
    overflow: Annotated[
        bool | None,
        typer.Option(
            "--overflow/--no-overflow",
            show_default=False,
            help="Whether machines of a full pool's counterpart take over its work. [default: as the policy]",
        ),
    ] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail",
            metavar="POOL:N@TIME[-TIME]",
            help="A machine that stops, by role and number from 0, such as decode:0@120s-300s (down until 300 s) or "
            "decode.dgx-a100:1@2min (for good). Repeatable.",
        ),
    ] = None,
    requests_file: Annotated[
        Path | None,
        typer.Option("--requests-file", metavar="FILE", help="Write one row a request: FILE.csv or FILE.parquet."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw timeline and distributions: FILE.svg, .png or .html."),
    ] = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Simulate every request and step of a given cluster, and hold its percentiles against the objectives.

    The cluster is given as to `planner evaluate`: a file with pools, a plan in JSON, or --pool options. Requests come
    as a Poisson process at --rate (burstier with --arrival-cv2), at --rates that change, or as a trace did (--replay).

    Percentiles have 95 % intervals, over runs and parts of runs; the first requests, that fill the cluster, are not
    counted. An objective is met if even the upper limit of the share of late requests is within what it allows.

    Exit codes: 0 every objective is met, 2 bad input, 3 an objective is missed or the cluster cannot keep up (the
    result is printed all the same), 130 interrupted by Ctrl-C (the part until then is printed, marked as such; a
    second Ctrl-C gives it up).
    """
    for path in (output, requests_file, plot):
        check_output(path)
    if requests_file is not None:
        from planner.export.request_file import check_request_file

        check_request_file(requests_file, "--requests-file")
    if plot is not None:
        from planner.export.pictures.charts import check_plot

        check_plot(plot)
    source = cluster_of(cluster, pool)
    wanted = given(context, scenario)
    from planner.studies.plans import simulate as run

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), locating_cluster(cluster), _locating():
        report = run(
            source, scenario, seeds=read_seeds(seeds), n_requests=requests, load=read_number(load, "--load"),
            replay=replay, repeat=repeat, period=period,
            rates=[rate.strip() for rate in rates.split(",")] if rates is not None else (),
            policy=policy, routing=routing, chunk_tokens=chunk_tokens, overflow=overflow, failures=fail or (),
            progress=progress, **wanted.fields,
        )  # fmt: skip
        if requests_file is not None:
            from planner.export.request_file import write_requests

            progress("writing requests")
            write_requests(requests_file, report.outcomes)
        if plot is not None:
            from planner.export.files import write_whole
            from planner.export.pictures.simulation import simulation_picture

            progress("drawing")
            write_whole(plot, simulation_picture(report, plot.suffix.casefold()))
    for path in (requests_file, plot):
        if path is not None:
            note(f"wrote {path}", quiet=quiet)
    show(report, "simulation", format, output, quiet=quiet)
    if report.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_OK if report.meets_objectives else EXIT_INFEASIBLE


@contextlib.contextmanager
def _locating() -> Iterator[None]:
    """Turn the parameter that an error names into the option it was given by."""
    names = {"seeds", "load", "replay", "repeat", "rates", "period", "policy", "routing", "chunk_tokens", "overflow"}
    try:
        yield
    except PlannerError as error:
        if error.where in names:
            error.where = "--" + error.where.replace("_", "-")
        error.where = _OPTION_OF.get(error.where or "", error.where)
        raise


def read_seeds(text: str | None) -> int | list[int] | None:
    """Read `3` as a number of runs, `7,8` and `7,` as their seeds."""
    if text is None:
        return None
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*,?\s*", text):
        raise ScenarioError(
            "not seeds", where="--seeds", value=text, rule="how many runs, or the seed of each",
            fix="write 3 for three runs, or 7,8,9; one run of seed 7 is written 7,",
        )  # fmt: skip
    numbers = [int(part) for part in text.split(",") if part.strip()]
    return numbers if "," in text else numbers[0]
