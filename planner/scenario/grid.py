"""Grids of scenarios: a base, and fields of it that take several values each."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from planner.catalog.loading import Layer, read_layer
from planner.errors import InputError, ScenarioError, UnknownNameError, near_misses
from planner.scenario.scenario import Scenario
from planner.scenario.scenario_file import ALIASES, canonical_value, load_scenario, resolve_paths, scenario_in

MOST_SCENARIOS = 10_000  # of one sweep, unless told otherwise
# Names of options that are not those of fields.
_OPTIONS = {"machine": "machines", "time_limit": "time_limit_s"}
_RANGE = re.compile(r"(.+?)\.\.(.+?)(?::\s*(\d+)\s*(?::\s*(\w+)\s*)?)?")
_RANGE_FORM = "FROM..TO:POINTS, such as 10/s..100/s:10, or with :log at its end for points a constant factor apart"
_SPACINGS = ("linear", "log")


@dataclass(frozen=True)
class VariedField:
    """A field of a scenario with the values that it takes.

    Attributes
    ----------
    field : str
        As `Scenario` names it.
    values : tuple
        As `Scenario` takes them.
    canonical : tuple
        As `Scenario.dump` has them, JSON-ready.
    where : str
        Where they were written.
    """

    field: str
    values: tuple[Any, ...]
    canonical: tuple[Any, ...]
    where: str


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of the axes, over a base scenario; the last axis varies fastest."""

    base: Scenario
    axes: tuple[VariedField, ...]

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def points(self) -> Iterator[dict[str, Any]]:
        """The varied fields of each scenario, JSON-ready, in the order of the grid."""
        for values in itertools.product(*(axis.canonical for axis in self.axes)):
            yield {axis.field: value for axis, value in zip(self.axes, values, strict=True)}

    def scenarios(self) -> Iterator[Scenario]:
        """Every scenario, in the order of the grid."""
        for values in itertools.product(*(axis.values for axis in self.axes)):
            fields = {axis.field: value for axis, value in zip(self.axes, values, strict=True)}
            yield load_scenario(self.base, **fields)

    def one_at_a_time(self) -> Iterator[tuple[VariedField, Scenario]]:
        """Every value that may be a name once, and the first of numbers, with the other axes at their first value."""
        first = {axis.field: axis.values[0] for axis in self.axes}
        for axis in self.axes:
            for value in axis.values[:1] if _is_number(axis.field) else axis.values:
                yield axis, load_scenario(self.base, **(first | {axis.field: value}))


def make_grid(base: Scenario, axes: Sequence[VariedField], *, max_scenarios: int = MOST_SCENARIOS) -> Grid:
    """Put axes together.

    Raises
    ------
    ScenarioError
        No axis, a field on two of them, or more scenarios than allowed.
    """
    if not axes:
        raise ScenarioError(
            "nothing is varied", where="vary", rule="a sweep has at least one field with several values",
            fix="write --vary rate=10/s,20/s,50/s",
        )  # fmt: skip
    seen: dict[str, VariedField] = {}
    for axis in axes:
        if axis.field in seen:
            raise ScenarioError(f"{axis.field} is varied twice", where=axis.where, fix="give all its values together")
        seen[axis.field] = axis
    grid = Grid(base, tuple(axes))
    if len(grid) > max_scenarios:
        sizes = " x ".join(f"{len(axis.values)} {axis.field}" for axis in axes)
        raise ScenarioError(
            f"the grid has {len(grid):,} scenarios", where="vary", value=sizes,
            rule=f"at most {max_scenarios:,}, so that a slip does not start work for days",
            fix=f"give fewer values, or allow it: --max-scenarios {len(grid)}",
        )  # fmt: skip
    return grid


def read_axis(text: str, *, where: str = "--vary") -> VariedField:
    """Read `rate=10/s,20/s`, `machines=dgx-h100|dgx-a100,dgx-h100` or `rate=10/s..100/s:10`.

    Values are separated by commas. Where there is a `|`, it separates them, and commas separate the parts of a value
    that is a list (slo, machines, prices, region, catalog, max_machines). `none` is no value, where none is needed.

    Raises
    ------
    InputError
        An unknown field, with near misses; a value that the field cannot have; no value, or one twice.
    """
    name, equals, values = text.partition("=")
    if not equals or not name.strip():
        raise ScenarioError(
            "not a field with values", where=where, value=text, rule="FIELD=VALUE,VALUE,...",
            fix="write it like rate=10/s,20/s,50/s",
        )  # fmt: skip
    field = field_of(name, where=where)
    return _axis(field, _texts(field, values, where), where, text)


def axis_of(name: str, given: object, *, where: str = "vary", from_file: bool = False) -> VariedField:
    """An axis as Python and YAML give it.

    Parameters
    ----------
    name : str
        A field of a scenario.
    given : list, str or mapping
        Values; or text as `read_axis` takes it after the equals sign; or
        `{"from": "10/s", "to": "100/s", "points": 10, "spacing": "log"}`.
    where : str
    from_file : bool
        Quantities must have their units then.

    Raises
    ------
    InputError
        As `read_axis`.
    """
    field = field_of(name, where=where)
    if isinstance(given, str):
        return _axis(field, _texts(field, given, where), where, given, from_file)
    if isinstance(given, Mapping) and field != "max_machines":
        allowed = ("from", "to", "points", "spacing")
        unknown = [str(key) for key in given if key not in allowed]
        if unknown or not {"from", "to", "points"} <= set(given):
            raise ScenarioError(
                f"not a range of {field}", where=where, value=dict(given),
                rule="from, to and points, and perhaps spacing (linear or log)",
                suggestions=[miss for key in unknown for miss in near_misses(key, allowed)],
            )  # fmt: skip
        values = _range(field, given["from"], given["to"], given["points"], given.get("spacing", "linear"), where)
        return _axis(field, values, where, dict(given))
    if isinstance(given, Sequence):
        return _axis(field, list(given), where, given, from_file)
    raise ScenarioError(f"not values of {field}", where=where, value=repr(given), rule="a list, a text or a range")


def field_of(name: str, *, where: str) -> str:
    """The field of a scenario that goes by this name.

    Raises
    ------
    UnknownNameError
        None does, with near misses.
    ScenarioError
        The field cannot be varied.
    """
    folded = name.strip().removeprefix("--").replace("-", "_").casefold()
    field = _OPTIONS.get(folded, ALIASES.get(folded, (folded,))[-1])
    if field == "workload_columns":
        raise ScenarioError("the columns of a trace cannot be varied", where=where, fix="make a sweep for each trace")
    if field not in Scenario.model_fields:
        known = {*Scenario.model_fields, *ALIASES, *_OPTIONS}
        error = UnknownNameError.of("field of a scenario", name.strip(), known, where=where)
        error.fix = None if error.suggestions else f"known: {', '.join(sorted(Scenario.model_fields))}"
        raise error
    return field


def read_sweep_file(path: Path) -> tuple[Scenario, list[VariedField]]:
    """Read a YAML file with `base` and `vary`, or the fields of a scenario, which is then the base.

    Raises
    ------
    ScenarioError
        Something in it cannot be used; `where` is file:line.
    """
    layer = read_layer(path, error=ScenarioError)
    if not {"base", "vary"} & set(layer.data):
        return load_scenario(path), []
    for key in layer.data:
        if key not in ("base", "vary"):
            raise ScenarioError(
                f"unknown field {key!r} in a sweep", where=_at(layer, (key,)), rule="a sweep has base and vary",
                suggestions=near_misses(key, ("base", "vary")),
                fix="fields of the scenario go under base, or under vary with their values",
            )  # fmt: skip
    scenario, vary = scenario_in(layer, "base"), layer.data.get("vary", {})
    if not isinstance(vary, dict):
        raise ScenarioError("vary must have fields with values", where=_at(layer, ("vary",)), value=repr(vary))
    axes = []
    for name, values in vary.items():
        where = _at(layer, ("vary", name))
        if isinstance(values, list):
            values = [resolve_paths({name: value}, layer.path.parent)[name] for value in values]
        axes.append(axis_of(name, values, where=where, from_file=True))
    return scenario, axes


def shown(value: Any) -> str:
    """A value of an axis as a table has it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _axis(field: str, values: Sequence[Any], where: str, written: object, from_file: bool = False) -> VariedField:
    if not values:
        raise ScenarioError(f"no value of {field} is given", where=where, value=written, rule="at least one")
    canonical: dict[str, Any] = {}
    for value in values:
        try:
            one = canonical_value(field, value, from_file=from_file)
        except InputError as error:
            error.where = where
            raise
        key = json.dumps(one, sort_keys=True)
        if key in canonical:
            raise ScenarioError(f"a value of {field} is given twice", where=where, value=shown(one))
        canonical[key] = one
    return VariedField(field, tuple(values), tuple(canonical.values()), where)


def _texts(field: str, text: str, where: str) -> list[Any]:
    """The values of a text."""
    ranged = _RANGE.fullmatch(text.strip())
    if ranged and _is_number(field):
        start, end, points, spacing = ranged.groups()
        return _range(field, start, end, points, spacing or "linear", where)
    alternatives = text.split("|") if "|" in text else text.split(",")
    values = [part.strip() for part in alternatives]
    if values == [""]:
        return []
    return [_value(field, part, "|" in text, where) for part in values]


def _value(field: str, text: str, is_list: bool, where: str) -> Any:
    if text.casefold() == "none" and _default(field) in (None, (), {}):
        return _default(field)
    if field == "max_machines":
        stock = [_stock(part, where) for part in text.split(",")]
        if len(dict(stock)) < len(stock):
            raise ScenarioError("the stock of a machine is given twice", where=where, value=text)
        return dict(stock)
    if isinstance(_default(field), tuple) and is_list:
        return [part.strip() for part in text.split(",")]
    return text


def _stock(text: str, where: str) -> tuple[str, str]:
    name, equals, count = (part.strip() for part in text.rpartition("="))
    if not equals or not name or not count:
        raise ScenarioError(
            "not a stock", where=where, value=text, rule="NAME=N", fix="write max_machines=dgx-h100=4,dgx-h100=8"
        )
    return name, count


def _is_number(field: str) -> bool:
    return bool({float, int} & _kinds(field))


def _kinds(field: str) -> set[Any]:
    """Types that a field may have."""
    annotation = Scenario.model_fields[field].annotation
    kinds = (annotation, *get_args(annotation))
    return {get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds}


def _range(field: str, start: Any, end: Any, points: Any, spacing: str, where: str) -> list[Any]:
    """Numbers from `start` to `end`."""
    if not _is_number(field):
        raise ScenarioError(f"{field} is no number, so it has no range", where=where, fix="list its values")
    if spacing not in _SPACINGS:
        raise UnknownNameError.of("spacing", str(spacing), _SPACINGS, where=where)
    if points is None or not str(points).isdigit() or int(points) < 2:
        raise ScenarioError(
            "a range needs the number of its points", where=where, value=points,
            rule=f"at least 2: {_RANGE_FORM}",
        )  # fmt: skip
    low, high = (_number(field, value, where) for value in (start, end))
    n = int(points)
    if spacing == "log":
        if low <= 0 or high <= 0:
            raise ScenarioError("points a constant factor apart begin above 0", where=where, value=f"{start}..{end}")
        values = [low * (high / low) ** (i / (n - 1)) for i in range(n)]
    else:
        values = [low + (high - low) * i / (n - 1) for i in range(n)]
    values = [float(f"{value:.12g}") for value in values]
    if int in _kinds(field):
        if any(value != int(value) for value in values):
            raise ScenarioError(
                f"{field} is a whole number, and some points of this range are not", where=where,
                value=", ".join(f"{value:g}" for value in values), fix="choose another number of points, or list them",
            )  # fmt: skip
        return [int(value) for value in values]
    return values


def _number(field: str, value: Any, where: str) -> float:
    try:
        return float(canonical_value(field, value.strip() if isinstance(value, str) else value))
    except InputError as error:
        error.where = where
        raise


def _at(layer: Layer, path: tuple[str, ...]) -> str:
    return f"{layer.path}:{layer.line_of(path) or layer.line_of(path[:1]) or 1}"


def _default(field: str) -> object:
    return Scenario.model_fields[field].get_default(call_default_factory=True)
