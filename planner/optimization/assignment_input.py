"""Reading the input of the assignment problem: every entry checked, empty buckets dropped, machines by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.errors import InfeasibleError, ScenarioError, near_misses

Floats = NDArray[np.float64]

MOST_MACHINES = 1e7  # in all, at the least; beyond it the solver's tolerances no longer tell counts apart
_MOST_NAMED = 8


@dataclass(frozen=True)
class AssignmentInput:
    """The checked input: types by name, and only the buckets that have requests."""

    names: list[str]
    prices: Floats  # (types,) [USD/h]
    limits: Floats  # (types,) most machines of a type, inf where there is no limit
    machines: Floats  # (types, buckets) machines that would serve the whole bucket, inf where they cannot
    rates: Floats  # (buckets,) [1/s]
    where: NDArray[np.intp]  # (buckets,) flat index into the caller's array
    shape: tuple[int, ...]


def read_input(
    request_rates: ArrayLike,
    capacities: Mapping[str, ArrayLike],
    prices: Mapping[str, float],
    max_counts: Mapping[str, int],
) -> AssignmentInput:
    """Check the input of `assignment.assign`, whose parameters these are.

    Raises
    ------
    ScenarioError
        An entry that makes no sense, named by its place.
    """
    rates = _array(request_rates, "request_rates", "requests per second, finite and not negative", nan_ok=False)
    if not isinstance(capacities, Mapping) or not capacities:
        raise ScenarioError(
            "no machine to choose from", where="capacities", rule="a mapping of machine name to array", fix="name one"
        )
    for argument, given in (("prices", prices), ("max_counts", max_counts)):
        if not isinstance(given, Mapping):
            raise ScenarioError(f"{argument} must name machines", where=argument, value=_short(given), rule="a mapping")
    strange = [name for name in capacities if not isinstance(name, str) or not name]
    if strange:
        raise ScenarioError(
            "a machine without a name", where="capacities", value=repr(strange[0]), rule="names are text"
        )
    names = sorted(capacities)
    table = []
    for name in names:
        rule = "requests per second, finite and not negative; 0 or NaN where the machine cannot serve"
        capacity = _array(capacities[name], f"capacities[{name!r}]", rule, nan_ok=True)
        if capacity.shape != rates.shape:
            raise ScenarioError(
                f"capacities of {name!r} and request rates differ in shape",
                where=f"capacities[{name!r}]",
                value=capacity.shape,
                rule=f"one capacity for each size bucket: shape {rates.shape}",
                fix="use the same buckets for both",
            )
        table.append(np.nan_to_num(capacity.ravel(), nan=0.0))
    where = np.flatnonzero(rates)
    wanted = rates.ravel()[where]
    with np.errstate(divide="ignore", over="ignore"):
        machines = wanted / np.stack(table)[:, where]
    best = machines.min(axis=0, initial=math.inf)
    least = float(best[np.isfinite(best)].sum())
    if least > MOST_MACHINES:
        raise ScenarioError(
            "the requests ask for an absurd number of machines",
            where="request_rates",
            value=f"{wanted.sum():.4g} requests/s, at least {least:.3g} machines",
            rule=f"at most {MOST_MACHINES:g}",
            fix="check the units of rates and capacities: both are requests per second",
        )
    machines[machines > MOST_MACHINES] = math.inf
    return AssignmentInput(
        names,
        np.array([_price(name, prices) for name in names]),
        _limits(names, max_counts),
        machines,
        wanted,
        where,
        rates.shape,
    )


def _array(given: ArrayLike, where: str, rule: str, *, nan_ok: bool) -> Floats:
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "iuf":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ScenarioError("not an array of numbers", where=where, value=_short(given), rule=rule) from None
    if not array.ndim or not array.size:
        raise ScenarioError(
            "there are no size buckets", where=where, value=f"shape {array.shape}", rule=rule, fix="give at least one"
        )
    bad = ~(array >= 0) | np.isinf(array)
    if nan_ok:
        bad &= ~np.isnan(array)
    if bad.any():
        first = int(np.argmax(bad))
        value = float(array.ravel()[first])
        kind = "not a number" if math.isnan(value) else "infinite" if math.isinf(value) else "negative"
        raise ScenarioError(f"an entry is {kind}", where=_at(where, first, array.shape), value=value, rule=rule)
    return array


def _price(name: str, prices: Mapping[str, float]) -> float:
    where = f"prices[{name!r}]"
    if name not in prices:
        near = near_misses(name, [str(p) for p in prices])
        raise ScenarioError(
            f"machine {name!r} has no price", where="prices", fix=f"add {name!r} [USD/h]", suggestions=near
        )
    price = _number(prices[name], where, "USD per hour, positive and finite")
    if not 0 < price < math.inf:
        raise ScenarioError(
            f"the price of {name!r} makes no sense", where=where, value=prices[name], rule="positive and finite, USD/h"
        )
    return price


def _limits(names: list[str], max_counts: Mapping[str, int]) -> Floats:
    limits = np.full(len(names), math.inf)
    for name, value in max_counts.items():
        where = f"max_counts[{name!r}]"
        if name not in names:
            raise ScenarioError(
                f"unknown machine {name!r}",
                where=where,
                rule="max_counts names machines that have capacities",
                suggestions=near_misses(str(name), names),
                fix=f"known: {listed(names)}",
            )
        limit = _number(value, where, "a whole number, not negative")
        if not limit >= 0 or not limit.is_integer():
            raise ScenarioError(
                f"the most machines of {name!r} must be a whole number, not negative",
                where=where,
                value=value,
                fix="leave the machine out of max_counts for no limit",
            )
        limits[names.index(name)] = limit
    return limits


def _number(value: object, where: str, rule: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ScenarioError("not a number", where=where, value=repr(value), rule=rule)
    return float(value)


def refuse_unservable(problem: AssignmentInput) -> None:
    """Raise an InfeasibleError that names the buckets which no machine can serve, if there are any."""
    dead = ~np.isfinite(problem.machines).any(axis=0)
    if dead.any():
        buckets = [_at("", int(i), problem.shape) for i in problem.where[dead]]
        raise InfeasibleError(
            f"no machine can serve {'this size bucket' if len(buckets) == 1 else f'these {len(buckets)} size buckets'}",
            where="capacities",
            value=listed(buckets),
            rule="each bucket with requests needs a machine with a positive capacity there",
            fix=f"add a machine that serves them, or drop their {problem.rates[dead].sum():.4g} requests/s",
        )


def _at(name: str, flat_index: int, shape: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in np.unravel_index(flat_index, shape))}]"


def listed(names: list[str]) -> str:
    """Return the first few names, and how many there are."""
    return ", ".join(names[:_MOST_NAMED]) + (f", ... ({len(names)} in all)" if len(names) > _MOST_NAMED else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
