"""Options that commands share, and how what the user gave becomes fields of a scenario.

Every option that is a field of a scenario is also read from the environment: `--max-cost` from PLANNER_MAX_COST.
A flag wins over the environment, that over the scenario file, and that over the default. So an option that was not
given is None here, and never a default.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.given import environment_variable


class Format(enum.StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def scenario_option(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, envvar=environment_variable(name), show_envvar=False)


SloOption = Annotated[
    list[str] | None,
    scenario_option(
        "--slo",
        "OBJECTIVE",
        "METRIC[.pN]=LIMIT, such as ttft=1s, tbt.p99=200ms or e2e.p50=2x; p99 unless told. Metrics: ttft, tbt, e2e. "
        "Or the preset `splitwise`. Repeatable. [default: ttft=1s tbt=200ms]",
    ),
]
ModelOption = Annotated[
    str | None, scenario_option("--model", "NAME", "Model of the catalog. [default: llama-3.1-70b]")
]
RateOption = Annotated[
    str | None,
    scenario_option(
        "--rate",
        "RATE",
        "Requests, such as 70/s, 200/min or 1M/day, or '5000 output tokens/s'. [default: the trace's own, or 70/s]",
    ),
]
IslOption = Annotated[
    str | None,
    scenario_option(
        "--isl",
        "TOKENS",
        "Prompt tokens in place of the workload's: 3000, 3000+-500, 100..4000 or p50=1020,p90=2734,p99=4142.",
    ),
]
OslOption = Annotated[str | None, scenario_option("--osl", "TOKENS", "Output tokens, written as --isl.")]
UsersOption = Annotated[
    int | None,
    scenario_option("--users", "N", "Users in place of a rate: each sends, waits for the answer and thinks."),
]
ThinkTimeOption = Annotated[
    str | None, scenario_option("--think-time", "TIME", "From an answer to a user's next request, such as 20s.")
]
ConcurrencyOption = Annotated[
    int | None,
    scenario_option("--concurrency", "N", "Requests under way at any time, in place of a rate."),
]
DayOption = Annotated[
    str | None,
    scenario_option(
        "--day",
        "SHAPE",
        "Shape of the day that the rate is the mean of: office, consumer, flat, 24 numbers or a trace of a day; the "
        "plan is for its busiest hour.",
    ),
]
SizeForOption = Annotated[
    str | None,
    scenario_option(
        "--size-for", "LEVEL", "Level of a trace's rate to plan for: mean, p95-minute or peak-minute. [default: mean]"
    ),
]
WorkloadOption = Annotated[
    str | None,
    scenario_option(
        "--workload",
        "NAME|FILE",
        "Workload of the catalog, or a file of requests: a trace, a log or the results of a benchmark (CSV, JSONL, "
        "JSON). "
        "[default: azure-conv-2023]",
    ),
]
ColumnsOption = Annotated[
    str | None,
    scenario_option(
        "--columns", "ROLE=COLUMN,...", "Columns of a trace with unusual names: prompt=..,output=..,timestamp=.."
    ),
]
DropFailedOption = Annotated[
    bool | None,
    typer.Option(
        "--drop-failed/--keep-failed",
        help="Leave failed requests of a trace out, and ones without an answer; they are counted. [default: keep]",
        envvar="PLANNER_DROP_FAILED",
        show_envvar=False,
        show_default=False,
    ),
]
RatioOption = Annotated[
    str | None,
    scenario_option(
        "--prompt-output-ratio",
        "X",
        "Scale the workload to so many prompt tokens an output token on average, tokens a request unchanged.",
    ),
]
ArrivalOption = Annotated[
    str | None,
    scenario_option(
        "--arrival-cv2",
        "X",
        "Squared coefficient of variation of the gaps between arrivals; 1 is Poisson. [default: the workload's, or 1]",
    ),
]
PrefixOption = Annotated[
    str | None,
    scenario_option(
        "--prefix-cached", "SHARE", "Of prompt tokens whose KV cache is there already. [default: the workload's, or 0]"
    ),
]
TokensPerStepOption = Annotated[
    str | None,
    scenario_option(
        "--tokens-per-step", "X", "Tokens a sequence gets from a decode step on average. [default: the runtime's, or 1]"
    ),
]
DraftOption = Annotated[
    int | None,
    scenario_option(
        "--draft-tokens", "N", "Draft tokens verified a sequence and decode step. [default: the runtime's, or 0]"
    ),
]
SpeculateOption = Annotated[
    int | None,
    scenario_option(
        "--speculate", "N", "Draft tokens of the head that the model ships, verified in each decode step. [default: 0]"
    ),
]
AcceptanceOption = Annotated[
    str | None,
    scenario_option(
        "--acceptance", "SHARE", "Of draft tokens, each after those before it. [default: as the model's file states]"
    ),
]
RuntimeOption = Annotated[str | None, scenario_option("--runtime", "NAME", "Serving software. [default: vllm-2026]")]
PrecisionOption = Annotated[
    str | None,
    scenario_option("--precision", "NAME", "Of the weights: bf16, fp8, ... [default: as the model was released]"),
]
KvPrecisionOption = Annotated[
    str | None, scenario_option("--kv-precision", "NAME", "Of the KV cache. [default: the model's]")
]
MaxBatchOption = Annotated[
    int | None,
    scenario_option("--max-batch", "N", "Sequences that a server decodes together. [default: the runtime's]"),
]
BatchedTokensOption = Annotated[
    int | None, scenario_option("--batched-tokens", "N", "Tokens in a step of a server. [default: the runtime's]")
]
ChunkedOption = Annotated[
    bool | None,
    typer.Option(
        "--chunked/--whole-prompts",
        help="Whether servers compute prompts in chunks, or whole. [default: as the runtime does]",
        envvar=environment_variable("--chunked"),
        show_envvar=False,
    ),
]
DerateOption = Annotated[
    str | None,
    scenario_option("--derate", "X", "Speed of the servers over the model's, such as 0.8. [default: 1]"),
]
ReferenceOption = Annotated[
    str | None,
    scenario_option(
        "--reference-machine", "NAME", "What slowdowns such as 2x are measured against. [default: dgx-a100]"
    ),
]
PricesOption = Annotated[
    list[str] | None, scenario_option("--prices", "BOOK", "Price book that goes before the default ones. Repeatable.")
]
QuotesOption = Annotated[
    str | None,
    scenario_option(
        "--quotes", "cheapest|newest", "Which vendor's price counts where several sell a machine. [default: cheapest]"
    ),
]
PricePlanOption = Annotated[
    list[str] | None,
    scenario_option(
        "--plan",
        "[MACHINE=]PLAN",
        "Price plan of machines: on_demand, reserved_1y, reserved_2y, reserved_3y, spot or owned. Repeatable, for some "
        "machines each. [default: on_demand]",
    ),
]
ProfileOption = Annotated[
    str | None,
    scenario_option("--profile", "FILE", "Table of measured step times, used in place of the latency model."),
]
UtilisationOption = Annotated[
    str | None,
    scenario_option("--max-utilisation", "X", "Highest utilisation of prefill work, such as 0.85. [default: 0.9]"),
]
NetworkOption = Annotated[
    str | None,
    scenario_option(
        "--network",
        "NAME|RATE",
        "Put every machine on a network of the catalog, such as ethernet-25g, or set the line rate of each NIC, such "
        "as 25Gbit/s; '2 x ethernet-25g' sets the ports of a machine too. [default: each machine's own]",
    ),
]
OversubscriptionOption = Annotated[
    str | None,
    scenario_option(
        "--oversubscription", "X", "Bandwidth of all ports over what the switches above carry, such as 4. [default: 1]"
    ),
]
RegionOption = Annotated[
    list[str] | None,
    scenario_option(
        "--region",
        "[SITE=]REGION",
        "Where electricity comes from, for its carbon and price (`planner catalog list regions`). Repeatable, for "
        "sites. [default: world]",
    ),
]
ElectricityOption = Annotated[
    str | None,
    scenario_option(
        "--electricity",
        "PRICE",
        "Of electricity, such as '0.11 USD/kWh'; rented prices contain it. [default: the region's, or 0.086 USD/kWh]",
    ),
]
PueOption = Annotated[
    str | None,
    scenario_option("--pue", "X", "Power of the facility over that of its machines, at least 1. [default: 1.54]"),
]
MachineOption = Annotated[
    list[str] | None,
    scenario_option(
        "--machine",
        "NAME",
        "Machine to consider, `all`, or `current`: every one with a price within a year of the newest. Repeatable. "
        "[default: current]",
    ),
]
PresetOption = Annotated[
    str | None,
    scenario_option("--preset", "NAME", "Machines of the Splitwise paper, dgx-a100 and dgx-h100: `splitwise`."),
]
DesignOption = Annotated[
    str | None,
    scenario_option(
        "--design",
        "NAME",
        "auto, baseline, splitwise, Baseline-H100, Splitwise-HA, Baseline-MACHINE or Splitwise-MACHINE+MACHINE. "
        "[default: auto]",
    ),
]
ObjectiveOption = Annotated[
    str | None,
    scenario_option(
        "--objective",
        "NAME",
        "cost, power (rated), energy (expected draw), machines or carbon to be least, or throughput to be most within "
        "budgets. [default: cost]",
    ),
]
MaxCostOption = Annotated[
    str | None, scenario_option("--max-cost", "PRICE", "Budget, such as '1000 USD/h' or '500000 USD/month'.")
]
MaxPowerOption = Annotated[str | None, scenario_option("--max-power", "POWER", "Budget of rated power, such as 300kW.")]
MaxMachinesOption = Annotated[
    list[str] | None,
    scenario_option("--max-machines", "NAME=N", "Stock of one machine, spares included. Repeatable."),
]
MaxTotalMachinesOption = Annotated[int | None, scenario_option("--max-total-machines", "N", "Stock of all together.")]
MaxRackUnitsOption = Annotated[int | None, scenario_option("--max-rack-units", "N", "Rack units of all together.")]
MaxPoolsOption = Annotated[int | None, scenario_option("--max-pools", "N", "Most pools; 1 or 2 keeps a plan simple.")]
SparesOption = Annotated[
    int | None, scenario_option("--spares", "N", "Machines of each pool that may fail. [default: 0]")
]
SolverOption = Annotated[str | None, scenario_option("--solver", "highs|cbc", "Solver. [default: highs]")]
TimeLimitOption = Annotated[
    str | None,
    scenario_option(
        "--time-limit", "TIME", "Of the solver and its proof, such as 60s; then exit code 4 or 5. [default: 60s]"
    ),
]
ExactOption = Annotated[
    bool | None,
    typer.Option(
        "--exact/--simple",
        help="Whether the very optimum is wanted, though a plan with fewer pools or machine types costs at most 1 % "
        "more (two pools against more: 5 %). [default: simple]",
        envvar="PLANNER_EXACT",
        show_envvar=False,
        show_default=False,
    ),
]
ArrivalsOption = Annotated[
    str | None,
    scenario_option(
        "--arrivals",
        "trace|poisson",
        "Of a trace: prove the plan on its own arrivals, stretched to the rate, too; or on random ones alone. "
        "[default: trace]",
    ),
]
SeedOption = Annotated[int | None, scenario_option("--seed", "N", "Of the solver. [default: 0]")]
VerifyOption = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Whether to prove the plan by simulation, and to correct it where that disagrees. [default: verify]",
        envvar="PLANNER_VERIFY",
        show_envvar=False,
        show_default=False,
    ),
]
VerifyRunsOption = Annotated[
    int | None, scenario_option("--verify-runs", "N", "Simulations of a plan, each with its own seed. [default: 3]")
]
VerifyRequestsOption = Annotated[
    int | None,
    scenario_option("--verify-requests", "N", "Requests of each. [default: as many as the traffic calls for]"),
]
# PLANNER_CATALOG is read by the catalog itself: its overlays lie below those given here.
CatalogOption = Annotated[
    list[Path] | None,
    typer.Option("--catalog", metavar="DIR", help="Overlay folder; repeatable, later ones win. Also PLANNER_CATALOG."),
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="How to print the result. [default: table, or what --output's name says]"),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write to this file, whole or not at all.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]


# What is to be served, and how: options of every command that takes a scenario, in the order of its help.
_SCENARIO_OPTIONS: dict[str, Any] = {
    "slo": SloOption,
    "model": ModelOption,
    "rate": RateOption,
    "users": UsersOption,
    "think_time": ThinkTimeOption,
    "concurrency": ConcurrencyOption,
    "day": DayOption,
    "workload": WorkloadOption,
    "columns": ColumnsOption,
    "drop_failed": DropFailedOption,
    "size_for": SizeForOption,
    "isl": IslOption,
    "osl": OslOption,
    "prompt_output_ratio": RatioOption,
    "arrival_cv2": ArrivalOption,
    "prefix_cached": PrefixOption,
    "tokens_per_step": TokensPerStepOption,
    "draft_tokens": DraftOption,
    "speculate": SpeculateOption,
    "acceptance": AcceptanceOption,
    "runtime": RuntimeOption,
    "precision": PrecisionOption,
    "kv_precision": KvPrecisionOption,
    "max_batch": MaxBatchOption,
    "batched_tokens": BatchedTokensOption,
    "chunked": ChunkedOption,
    "derate": DerateOption,
    "network": NetworkOption,
    "oversubscription": OversubscriptionOption,
    "reference_machine": ReferenceOption,
    "prices": PricesOption,
    "quotes": QuotesOption,
    "region": RegionOption,
    "electricity": ElectricityOption,
    "pue": PueOption,
    "max_utilisation": UtilisationOption,
    "profile": ProfileOption,
    "catalog": CatalogOption,
}


# Options of commands that look for a plan: what it may be made of, within which limits, and how it is found.
_PLAN_OPTIONS: dict[str, Any] = {
    "machine": MachineOption, "preset": PresetOption, "design": DesignOption, "objective": ObjectiveOption,
    "plan": PricePlanOption, "max_cost": MaxCostOption, "max_power": MaxPowerOption, "max_machines": MaxMachinesOption,
    "max_total_machines": MaxTotalMachinesOption, "max_rack_units": MaxRackUnitsOption, "max_pools": MaxPoolsOption,
    "spares": SparesOption, "exact": ExactOption, "solver": SolverOption, "time_limit": TimeLimitOption,
    "seed": SeedOption, "verify": VerifyOption, "arrivals": ArrivalsOption, "verify_runs": VerifyRunsOption,
    "verify_requests": VerifyRequestsOption,
}  # fmt: skip


def scenario_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a scenario that all commands share; it reads them with `given(context)`.

    They come before its `format`, or before its `machine` where it has one: that begins what it looks for.
    """
    return _with_options(command, _SCENARIO_OPTIONS)


def plan_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command every option of a scenario, those of the plan it looks for included."""
    return _with_options(command, _SCENARIO_OPTIONS | _PLAN_OPTIONS)


# What a command that looks for many plans decides or asks itself.
_ASKED_ITSELF = ("objective", "verify", "arrivals", "verify_runs", "verify_requests")


def map_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that compares designs what `search_options` gives, but for the design."""
    shared = {name: option for name, option in _PLAN_OPTIONS.items() if name not in (*_ASKED_ITSELF, "design")}
    return _with_options(command, _SCENARIO_OPTIONS | shared)


def search_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that looks for many plans every option of a scenario but what it decides or asks itself."""
    shared = {name: option for name, option in _PLAN_OPTIONS.items() if name not in _ASKED_ITSELF}
    return _with_options(command, _SCENARIO_OPTIONS | shared)


def _with_options(command: Callable[..., int], options: Mapping[str, Any]) -> Callable[..., int]:
    own = inspect.signature(command, eval_str=True)
    shared = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)
        for name, annotation in options.items()
        if name not in own.parameters
    ]
    parameters = list(own.parameters.values())
    at = list(own.parameters).index("machine" if "machine" in own.parameters else "format")

    @functools.wraps(command)
    def with_options(**values: Any) -> int:
        return command(**{name: values[name] for name in own.parameters})

    with_options.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*parameters[:at], *shared, *parameters[at:]]
    )
    with_options.__annotations__ = {p.name: p.annotation for p in (*parameters, *shared)}
    return with_options
