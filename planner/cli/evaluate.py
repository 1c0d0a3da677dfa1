"""`planner evaluate`: predict what a given cluster does with a scenario."""

from __future__ import annotations

import typer

from planner.cli.clusters import ClusterArgument, PoolOption, ScenarioOption, cluster_of, locating_cluster
from planner.cli.given import given
from planner.cli.options import FormatOption, OutputOption, QuietOption, scenario_options
from planner.cli.output import ProgressLine, check_output, show
from planner.errors import EXIT_INFEASIBLE, EXIT_OK


@scenario_options
def evaluate(
    context: typer.Context,
    cluster: ClusterArgument = None,
    pool: PoolOption = None,
    scenario: ScenarioOption = None,
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
    source = cluster_of(cluster, pool)
    wanted = given(context, scenario)
    from planner.studies.plans import evaluate as predict

    with ProgressLine(quiet=quiet) as progress, wanted.locating(), locating_cluster(cluster):
        progress("predicting percentiles")
        plan = predict(source, scenario, **wanted.fields)
    show(plan, "plan", format, output, quiet=quiet)
    return EXIT_OK if plan.meets_objectives else EXIT_INFEASIBLE
