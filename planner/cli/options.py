"""Options that commands share, and how what the user gave becomes fields of a scenario.

Every option that is a field of a scenario is also read from the environment: `--max-cost` from PLANNER_MAX_COST.
A flag wins over the environment, that over the scenario file, and that over the default. So an option that was not
given is None here, and never a default.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from planner import units
from planner.errors import PlannerError, ScenarioError, UnitError


class Format(enum.StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def scenario_option(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, envvar=_environment_variable(name), show_envvar=False)


def _environment_variable(option: str) -> str:
    return "PLANNER_" + option.removeprefix("--").replace("-", "_").upper()


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
        envvar=_environment_variable("--chunked"),
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
        "cost, power, machines or carbon to be least, or throughput to be most within budgets. [default: cost]",
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


def _quantity(dimension: units.Dimension) -> Callable[[str, str], object]:
    def read(text: str, where: str) -> object:
        try:
            return units.parse(text, dimension)
        except UnitError as error:
            if dimension is units.MONEY_PER_HOUR and "$" not in text and re.fullmatch(r"\s*\d*\s*/\w+", text):
                error.fix = "write it like '1000 USD/h'; a $ must be in single quotes, or the shell takes it"
            raise error.at(where) from None

    return read


def _rate(text: str, where: str) -> object:
    """A rate of requests [1/s]; one of tokens stays text, which the scenario reads."""
    from planner.workload.rates import is_token_rate, read_token_rate

    if not is_token_rate(text):
        return _quantity(units.RATE)(text, where)
    read_token_rate(text, where=where)
    return text


def read_fraction(text: str, where: str) -> float:
    """Read `36.6 %` or `0.366`.

    Raises
    ------
    UnitError
        Neither; `where` is the option.
    """
    try:
        return units.parse(text, units.FRACTION)
    except UnitError as error:
        raise error.at(where) from None


def read_number(text: str, where: str) -> float:
    """Read a plain number.

    Raises
    ------
    UnitError
        Not one, or one that could be read in two ways; `where` is the option.
    """
    try:
        return units.number(text)
    except UnitError as error:
        raise error.at(where) from None


def _columns(text: str, where: str) -> object:
    from planner.workload.trace_columns import parse_columns

    return parse_columns(text, where=where)


def read_stock(texts: list[str], where: str) -> dict[str, int]:
    """Read `dgx-h100=40` and the like: machines by type."""
    stock: dict[str, int] = {}
    for text in texts:
        name, equals, count = (part.strip() for part in text.rpartition("="))
        if not equals or not name or not re.fullmatch(r"[+-]?\d+", count):
            raise ScenarioError("not a stock", where=where, value=text, rule="NAME=N", fix="write dgx-h100=40")
        if name in stock:
            raise ScenarioError(f"the stock of {name} is given twice", where=where, value=text)
        stock[name] = int(count)
    return stock


def _objectives(texts: list[str], where: str) -> object:
    from planner.workload.objectives import parse_objectives

    return parse_objectives(texts, where=where)


def _paths(paths: list[Path], where: str) -> object:
    return [str(path) for path in paths]


def _as_is(value: object, where: str) -> object:
    return value


# Parameter of a command -> field of Scenario, and how the text is read.
_FIELDS: dict[str, tuple[str, Callable[[Any, str], object]]] = {
    "slo": ("slo", _objectives),
    "model": ("model", _as_is),
    "rate": ("rate_per_s", _rate),
    "users": ("users", _as_is),
    "think_time": ("think_time_s", _quantity(units.TIME)),
    "concurrency": ("concurrency", _as_is),
    "day": ("day", _as_is),
    "drop_failed": ("drop_failed", _as_is),
    "size_for": ("size_for", _as_is),
    "isl": ("isl", _as_is),
    "osl": ("osl", _as_is),
    "workload": ("workload", _as_is),
    "columns": ("workload_columns", _columns),
    "prompt_output_ratio": ("prompt_output_ratio", read_number),
    "arrival_cv2": ("arrival_cv2", read_number),
    "machine": ("machines", _as_is),
    "preset": ("preset", _as_is),
    "design": ("design", _as_is),
    "objective": ("objective", _as_is),
    "prefix_cached": ("prefix_cached", read_fraction),
    "tokens_per_step": ("tokens_per_step", read_number),
    "draft_tokens": ("draft_tokens", _as_is),
    "runtime": ("runtime", _as_is),
    "precision": ("precision", _as_is),
    "kv_precision": ("kv_precision", _as_is),
    "max_batch": ("max_batch", _as_is),
    "batched_tokens": ("batched_tokens", _as_is),
    "chunked": ("chunked", _as_is),
    "derate": ("derate", read_number),
    "network": ("network", _as_is),
    "oversubscription": ("oversubscription", read_number),
    "reference_machine": ("reference_machine", _as_is),
    "prices": ("prices", _as_is),
    "quotes": ("quotes", _as_is),
    "plan": ("plan", _as_is),
    "region": ("region", _as_is),
    "electricity": ("electricity_usd_per_kwh", _quantity(units.MONEY_PER_KWH)),
    "pue": ("pue", read_number),
    "max_cost": ("max_cost_usd_per_hour", _quantity(units.MONEY_PER_HOUR)),
    "max_power": ("max_power_w", _quantity(units.POWER)),
    "max_machines": ("max_machines", read_stock),
    "max_total_machines": ("max_total_machines", _as_is),
    "max_rack_units": ("max_rack_units", _as_is),
    "max_pools": ("max_pools", _as_is),
    "spares": ("spares", _as_is),
    "max_utilisation": ("max_utilisation", read_fraction),
    "profile": ("profile", _as_is),
    "catalog": ("catalog", _paths),
    "exact": ("exact", _as_is),
    "solver": ("solver", _as_is),
    "time_limit": ("time_limit_s", _quantity(units.TIME)),
    "seed": ("seed", _as_is),
    "verify": ("verify", _as_is),
    "arrivals": ("arrivals", _as_is),
    "verify_runs": ("verify_runs", _as_is),
    "verify_requests": ("verify_requests", _as_is),
}
_OPTION_OF = {name: "--" + parameter.replace("_", "-") for parameter, (name, _) in _FIELDS.items()}
# Other names that errors use for a field.
_FIELD_OF = {
    "rate": "rate_per_s", "max_cost": "max_cost_usd_per_hour", "max_power": "max_power_w",
    "electricity": "electricity_usd_per_kwh", "think_time": "think_time_s",
}  # fmt: skip
_AT_LINE_START = re.compile(
    r"^(\s*)(max_cost|max_power|max_total_machines|max_rack_units|max_machines|max_pools|rate)(?=[ :])", re.MULTILINE
)


@dataclass(frozen=True)
class Given:
    """What the user gave on the command line and in the environment.

    Attributes
    ----------
    fields : dict
        Fields of the scenario.
    where : dict
        Field -> the option or environment variable it came from.
    text : dict
        Field -> what was written.
    scenario : Path or None
        The scenario file.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    text: dict[str, object] = field(default_factory=dict)
    scenario: Path | None = None

    @contextlib.contextmanager
    def locating(self) -> Iterator[None]:
        """Turn the field that an error names into where the user wrote it: option, variable or file:line."""
        try:
            yield
        except PlannerError as error:
            self._locate(error)
            raise

    def _locate(self, error: PlannerError) -> None:
        if isinstance(error.value, str):
            error.value = _AT_LINE_START.sub(lambda m: m[1] + "--" + m[2].replace("_", "-"), error.value)
        if error.where in ("limits", "scenario"):
            error.where = None
            return
        root = (error.where or "").split(".")[0]
        name = _FIELD_OF.get(root, root)
        if name not in _OPTION_OF:
            return
        if name in self.where:
            error.where = self.where[name]
            text = self.text[name]
            if isinstance(text, str) and error.value is not None and "\n" not in str(error.value):
                error.value = text
            return
        error.where = self._line_in_file(name) or _OPTION_OF[name]

    def _line_in_file(self, name: str) -> str | None:
        if self.scenario is None:
            return None
        from planner.catalog.loading import read_layer

        try:
            layer = read_layer(self.scenario, error=ScenarioError)
        except PlannerError:
            return None
        for written in (name, *(alias for alias, of in _FIELD_OF.items() if of == name)):
            line = layer.line_of((written,)) or layer.line_of(("base", written))  # the latter in the file of a sweep
            if line is not None:
                return f"{self.scenario}:{line}"
        return None


def given(context: typer.Context, scenario: Path | None = None) -> Given:
    """Return the scenario's fields among the parameters of a command, as far as the user gave them.

    Raises
    ------
    InputError
        A quantity that cannot be read, with the option or variable it came from.
    """
    found = Given(scenario=scenario)
    _refuse_idle_verification(context)
    for parameter, value in _given_parameters(context.params):
        name, read = _FIELDS[parameter]
        option = "--" + parameter.replace("_", "-")
        source = context.get_parameter_source(parameter)
        in_environment = source is not None and source.name == "ENVIRONMENT"
        found.where[name] = _environment_variable(option) if in_environment else option
        found.text[name] = value
        found.fields[name] = read(value, found.where[name])
    _flags_before_environment(found)
    return found


def _flags_before_environment(found: Given) -> None:
    """Where an option says how much comes, forget what the environment says of it in other words."""
    from planner.scenario.scenario import LOADS

    loads = [name for name in (*LOADS, "think_time_s") if name in found.fields]
    if any(found.where[name].startswith("--") for name in loads if name != "think_time_s"):
        for name in loads:
            if not found.where[name].startswith("--"):
                for kept in (found.fields, found.where, found.text):
                    del kept[name]


def _refuse_idle_verification(context: typer.Context) -> None:
    """Refuse to be told how to simulate plans by who has just said that none is to be."""
    source = context.get_parameter_source("verify") if context.params.get("verify") is False else None
    for name in ("verify_runs", "verify_requests"):
        if source is not None and source.name == "COMMANDLINE" and context.params.get(name) is not None:
            option = "--" + name.replace("_", "-")
            raise ScenarioError(
                f"{option} is of a simulation, and --no-verify leaves it out", where=option, value=context.params[name],
                fix=f"leave out --no-verify, or {option}",
            )  # fmt: skip


def _given_parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for parameter, value in parameters.items():
        if parameter in _FIELDS and value is not None and value not in ([], ()):
            yield parameter, value


@contextlib.contextmanager
def naming(options: Mapping[str, str]) -> Iterator[None]:
    """Turn the parameter that an error names into the option that it was given by."""
    try:
        yield
    except PlannerError as error:
        error.where = options.get(error.where or "", error.where)
        raise


@contextlib.contextmanager
def locating(context: typer.Context) -> Iterator[None]:
    """Turn the argument that an error names into the option of a command whose options are not a scenario's."""
    try:
        yield
    except PlannerError as error:
        if error.where in context.params:
            error.where = "--" + error.where.replace("_", "-")
        raise
