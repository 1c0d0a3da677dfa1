"""`planner evaluate`: predict what a given cluster does with a scenario."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.optimize import plan_text
from planner.cli.options import (
    ArrivalOption,
    CatalogOption,
    ColumnsOption,
    DraftOption,
    ElectricityOption,
    FormatOption,
    KvPrecisionOption,
    ModelOption,
    NetworkOption,
    OutputOption,
    OversubscriptionOption,
    PrecisionOption,
    PrefixOption,
    PricesOption,
    ProfileOption,
    PueOption,
    QuietOption,
    RateOption,
    RatioOption,
    ReferenceOption,
    RegionOption,
    RuntimeOption,
    SloOption,
    TokensPerStepOption,
    UtilisationOption,
    WorkloadOption,
    given,
)
from planner.cli.output import Progress, check_output, emit, format_of, warn_of_old_prices
from planner.errors import EXIT_INFEASIBLE, EXIT_OK, PlannerError, ScenarioError, UnknownNameError

ROLES = ("prefill", "decode", "mixed")
POOL_FORM = "ROLE=MACHINE:COUNT[:LAYOUT]"
_DEGREES = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "ep": "expert_parallel"}


def evaluate(
    context: typer.Context,
    cluster: Annotated[
        Path | None,
        typer.Argument(metavar="CLUSTER", help="YAML or JSON with `pools`, or a plan from optimize --format json."),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            "--pool",
            metavar=POOL_FORM,
            help="A pool in the place of a file, such as prefill=dgx-h100:27 or "
            "mixed=dgx-a100:10:tp4 (tpN, ppN, epN in a row; left out: the best). Repeatable.",
        ),
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", metavar="FILE", help="A file with the fields of a scenario.")
    ] = None,
    slo: SloOption = None,
    model: ModelOption = None,
    rate: RateOption = None,
    workload: WorkloadOption = None,
    columns: ColumnsOption = None,
    prompt_output_ratio: RatioOption = None,
    arrival_cv2: ArrivalOption = None,
    prefix_cached: PrefixOption = None,
    tokens_per_step: TokensPerStepOption = None,
    draft_tokens: DraftOption = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    kv_precision: KvPrecisionOption = None,
    network: NetworkOption = None,
    oversubscription: OversubscriptionOption = None,
    reference_machine: ReferenceOption = None,
    prices: PricesOption = None,
    region: RegionOption = None,
    electricity: ElectricityOption = None,
    pue: PueOption = None,
    max_utilisation: UtilisationOption = None,
    profile: ProfileOption = None,
    catalog: CatalogOption = None,
    format: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Predict latencies, utilisation, cost and headroom of a given cluster.

    The cluster is a file with pools such as `pools: [{role: prefill, machine: dgx-h100, count: 27}, ...]`, a plan in
    JSON (with its own scenario unless --scenario is given; options change it), or made of --pool options.

    Exit codes: 0 every objective is met, 2 bad input, 3 an objective is missed (the prediction is printed all the
    same).
    """
    check_output(output)
    if (cluster is None) == (not pool):
        raise ScenarioError(
            "no cluster is given" if cluster is None else "a cluster file and --pool are both given",
            where="CLUSTER",
            rule="a file, or one --pool option a pool",
            fix="write it like --pool prefill=dgx-h100:27 --pool decode=dgx-h100:3",
        )
    wanted = given(context, scenario)
    from planner.api import evaluate as predict

    with Progress(quiet=quiet) as progress, wanted.locating(), _locating_cluster(cluster):
        progress("predicting percentiles")
        source = cluster if cluster is not None else [read_pool(text) for text in pool or []]
        plan = predict(source, scenario, **wanted.fields)
    warn_of_old_prices(plan.prices, format_of(format, output), quiet=quiet)
    emit(plan_text(plan, format_of(format, output), output), output, quiet=quiet)
    return EXIT_OK if plan.meets_objectives else EXIT_INFEASIBLE


@contextlib.contextmanager
def _locating_cluster(cluster: Path | None) -> Iterator[None]:
    """Make errors about the cluster name its file, or --pool."""
    try:
        yield
    except PlannerError as error:
        if error.where in ("cluster", "machines"):
            error.where = "--pool" if cluster is None else str(cluster)
        raise


def read_pool(text: str) -> dict[str, Any]:
    """Read `prefill=dgx-h100:27` or `mixed=dgx-a100:10:tp4pp2` as the fields of a pool.

    Raises
    ------
    ScenarioError
        Not in that form, with the form.
    UnknownNameError
        An unknown role, with near misses.
    """
    match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([^:]+?)\s*:\s*(\d+)\s*(?::\s*((?:[a-zA-Z]{2}\d+)+)\s*)?", text)
    if not match:
        raise ScenarioError(
            "not a pool", where="--pool", value=text, rule=POOL_FORM, fix="write it like prefill=dgx-h100:27:tp8"
        )
    role, machine, count, layout = match.groups()
    if role not in ROLES:
        raise UnknownNameError.of("role", role, ROLES, where="--pool")
    if int(count) < 1:
        raise ScenarioError("a pool has at least one machine", where="--pool", value=text)
    pool: dict[str, Any] = {"role": role, "machine": machine, "count": int(count)}
    for letters, degree in re.findall(r"([a-zA-Z]{2})(\d+)", layout or ""):
        name = _DEGREES.get(letters.lower())
        if name is None or name in pool:
            raise ScenarioError(
                f"{letters}{degree} is not a parallel degree" if name is None else f"{letters} is given twice",
                where="--pool", value=text, rule="tpN, ppN and epN: tensor, pipeline and expert parallel",
            )  # fmt: skip
        pool[name] = int(degree)
    if layout and "tensor_parallel" not in pool:
        raise ScenarioError(
            "a layout needs its tensor degree", where="--pool", value=text, fix="write it like tp8 or tp4pp2"
        )
    return pool
