"""What the user gave on the command line and in the environment: fields of a scenario, and where each came from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from planner import units
from planner.errors import PlannerError, ScenarioError, UnitError


def environment_variable(option: str) -> str:
    """The variable that stands for an option: PLANNER_MAX_COST for `--max-cost`."""
    return "PLANNER_" + option.removeprefix("--").replace("-", "_").upper()


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
    "speculate": ("speculate", _as_is),
    "acceptance": ("acceptance", read_fraction),
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
        found.where[name] = environment_variable(option) if in_environment else option
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
