"""Functions for spreadsheets and notebooks: flat arguments in, a number or plain records out.

Arguments are text or numbers, as cells hold them; an empty cell (None or "") leaves the default. What is wrong comes
back as text that begins with `error:`, so that a cell shows it; `planner.optimize` and `planner.evaluate` raise
instead. Plans are kept for the session: a sheet of a hundred rows reads the catalog once, and rows that ask the
same are solved once. `refresh()` forgets all of it, after a price or a trace has changed.

Plans are those of `planner.optimize`, proven by simulation unless `verify` is FALSE.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from planner.errors import InputError, PlannerError, UnknownNameError

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.planning.plan import Plan

CellValue = str | float | int | None
P = ParamSpec("P")
R = TypeVar("R")
Record = dict[str, Any]

__all__ = [
    "break_even_use", "carbon_kg_per_hour", "cost_per_hour", "cost_per_million_tokens", "largest_rate_per_s",
    "machines_needed", "owned_per_hour", "plan_records", "power_kw", "present_value", "price_per_hour", "refresh",
    "tbt_p99_s", "ttft_p99_s",
]  # fmt: skip

_KEPT = 512  # plans; a plan is some 10 kB
_MOST_DOUBLINGS = 20


def _readable(function: Callable[P, R]) -> Callable[P, R | str]:
    """Return what is wrong as text."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R | str:
        try:
            return function(*arguments, **named)
        except PlannerError as error:
            parts = [f"error: {error}".replace("\n", "; ")]
            return re.sub(r";\s+", "; ", parts[0])

    return call


@_readable
def cost_per_hour(rate: CellValue = None, slo: CellValue = None, model: CellValue = None, workload: CellValue = None,
                  machines: CellValue = None, **more: CellValue) -> float:  # fmt: skip
    """Least cost of a cluster that serves a load within its objectives [USD/h].

    Parameters
    ----------
    rate : number or str
        Requests a second: 70, or "70/s", or "4200/min".
    slo : str
        Objectives by comma: "ttft=1s, tbt.p99=100ms".
    model, workload : str
        Names in the catalog; the workload may be the path of a trace.
    machines : str
        Machines to choose from, by comma, or "all".
    **more
        Any other field of a scenario, such as design, spares, prices, catalog, runtime or max_power.

    Returns
    -------
    float or str
        Or what is wrong.
    """
    return _priced(_plan(rate, slo, model, workload, machines, more).cost_usd_per_hour)


@_readable
def cost_per_million_tokens(
    rate: CellValue = None, slo: CellValue = None, model: CellValue = None, workload: CellValue = None,
    machines: CellValue = None, **more: CellValue,
) -> float:  # fmt: skip
    """Cost of a million tokens, prompts and answers, of the cheapest cluster [USD]; arguments of `cost_per_hour`."""
    return _priced(_plan(rate, slo, model, workload, machines, more).cost_usd_per_million_tokens)


@_readable
def machines_needed(rate: CellValue = None, slo: CellValue = None, model: CellValue = None, workload: CellValue = None,
                    machines: CellValue = None, **more: CellValue) -> int:  # fmt: skip
    """Machines of the cheapest cluster, spares included; arguments of `cost_per_hour`.

    With `objective="machines"` the fewest machines that can do it.
    """
    return _plan(rate, slo, model, workload, machines, more).machines


@_readable
def power_kw(rate: CellValue = None, slo: CellValue = None, model: CellValue = None, workload: CellValue = None,
             machines: CellValue = None, **more: CellValue) -> float:  # fmt: skip
    """Rated power of the cheapest cluster [kW]; arguments of `cost_per_hour`."""
    return _plan(rate, slo, model, workload, machines, more).power_w / 1e3


def plan_records(rate: CellValue = None, slo: CellValue = None, model: CellValue = None, workload: CellValue = None,
                 machines: CellValue = None, **more: CellValue) -> list[Record]:  # fmt: skip
    """One flat record a pool of the cheapest cluster; arguments of `cost_per_hour`.

    Returns
    -------
    list of dict
        Rows of a sheet or a DataFrame; what is wrong as one row with the column `error`.
    """
    try:
        return _plan(rate, slo, model, workload, machines, more).to_records()
    except PlannerError as error:
        return [{"error": str(error)}]


@_readable
def ttft_p99_s(
    pools: str, rate: CellValue = None, model: CellValue = None, workload: CellValue = None, **more: CellValue
) -> float:
    """Predicted P99 time to first token of a given cluster [s].

    Parameters
    ----------
    pools : str
        Pools by comma: "mixed=dgx-h100:4", or "prefill=dgx-h100:3, decode=dgx-a100:5:tp8".
    rate, model, workload, **more
        As in `cost_per_hour`.

    Returns
    -------
    float or str
        Or what is wrong, such as a load under which the queue grows without end.
    """
    return _p99(_evaluated(pools, rate, None, model, workload, more), "ttft")


@_readable
def tbt_p99_s(
    pools: str, rate: CellValue = None, model: CellValue = None, workload: CellValue = None, **more: CellValue
) -> float:
    """Predicted P99 time between tokens of a given cluster [s]; arguments of `ttft_p99_s`."""
    return _p99(_evaluated(pools, rate, None, model, workload, more), "tbt")


@_readable
def largest_rate_per_s(
    pools: str, slo: CellValue = None, model: CellValue = None, workload: CellValue = None, **more: CellValue
) -> float:
    """Largest load that a given cluster serves within all objectives [requests/s], to about half a per cent.

    `pools` as in `ttft_p99_s`, the others as in `cost_per_hour`.
    """
    rate = 1.0
    for _ in range(_MOST_DOUBLINGS):
        headroom = _evaluated(pools, rate, slo, model, workload, more).headroom
        if headroom < 2.0:
            # The multiple is found to a few thousandths of 1: from near the answer that is a few thousandths of it.
            return rate * headroom
        rate *= headroom / 1.5
    raise InputError("no load breaks an objective", where="slo", value=slo)


@_readable
def price_per_hour(machine: str, book: CellValue = None, plan: str = "on_demand", catalog: CellValue = None) -> float:
    """Price of one machine [USD/h]; of an owned one what it costs to hold and run every hour.

    Parameters
    ----------
    machine : str
    book : str, optional
        A price book that goes before the default ones.
    plan : str
        on_demand, reserved_1y, reserved_2y, reserved_3y, spot or owned. Owned: the annuity of the purchase at
        8 % a year, maintenance, hosting, and electricity at the rated power.
    catalog : str, optional
        Overlay folder.

    Returns
    -------
    float or str
        Or what is wrong.
    """
    from planner.catalog.prices import PLAN_NAMES
    from planner.economics.options import purchase_options

    opened = _catalog(_names(catalog), os.environ.get("PLANNER_CATALOG", ""))
    opened.machine(machine, where="machine")
    if plan not in PLAN_NAMES:
        raise UnknownNameError.of("price plan", plan, PLAN_NAMES, where="plan")
    options = {option.plan: option for option in purchase_options(opened, machine, books=_names(book))}
    if plan not in options:
        raise InputError(f"no price book lists {machine} under {plan}", where="machine")
    return options[plan].usd_per_hour_at(1.0)


@_readable
def present_value(
    payment_a_month: CellValue, months: CellValue, rate: CellValue = 0.08, advance: CellValue = 0
) -> float:
    """Value today of a payment every month.

    Parameters
    ----------
    payment_a_month, months : number or text
    rate : number or text
        Discount rate a year: 0.08, or "8 %".
    advance : number
        1 where each month is paid at its begin, 0 at its end.

    Returns
    -------
    float or str
        Or what is wrong.
    """
    from planner.economics.finance import monthly_present_value_factor

    when = "advance" if _number(advance, "advance") else "arrears"
    factor = monthly_present_value_factor(_number(rate, "rate"), _number(months, "months"), when)  # type: ignore[arg-type]
    return _number(payment_a_month, "payment_a_month") * factor


@_readable
def owned_per_hour(
    purchase: CellValue,
    life_years: CellValue,
    rate: CellValue = 0.08,
    residual: CellValue = 0.0,
    yearly: CellValue = 0.0,
) -> float:
    """Cost of an hour of what is bought, in use or not: its annuity, and what it costs a year beside [USD/h].

    Parameters
    ----------
    purchase, life_years : number or text
        [USD], [years]
    rate : number or text
        Cost of capital a year.
    residual : number or text
        What it sells for in the end [USD].
    yearly : number or text
        Maintenance and hosting [USD/year].

    Returns
    -------
    float or str
        Or what is wrong.
    """
    from planner.economics.finance import HOURS_PER_YEAR, annuity

    price = _number(purchase, "purchase")
    repaid = annuity(price, _number(residual, "residual"), _number(rate, "rate"), _number(life_years, "life_years"))
    return (repaid + _number(yearly, "yearly")) / HOURS_PER_YEAR


@_readable
def break_even_use(owned: CellValue, owned_usage: CellValue, rent: CellValue) -> float | str:
    """Share of all hours from which owning costs less than renting; `never` where it never does.

    Parameters
    ----------
    owned, owned_usage, rent : number or text
        Of owning every hour, and more for each hour switched on; of renting [USD/h].

    Returns
    -------
    float or str
    """
    from planner.economics.break_even import break_even_use as share

    found = share(_number(owned, "owned"), _number(owned_usage, "owned_usage"), _number(rent, "rent"))
    return "never" if found is None else found


@_readable
def carbon_kg_per_hour(kw: CellValue, carbon_g_per_kwh: CellValue, pue: CellValue = 1.0) -> float:
    """What drawing a power for an hour emits [kg CO2/h].

    Parameters
    ----------
    kw, carbon_g_per_kwh, pue : number or text

    Returns
    -------
    float or str
        Or what is wrong.
    """
    from planner.economics.energy import carbon_kg_per_hour as emitted
    from planner.economics.energy import check_pue

    factor = _number(pue, "pue")
    check_pue(factor)
    return emitted(1e3 * _number(kw, "kw") * factor, _number(carbon_g_per_kwh, "carbon_g_per_kwh"))


def _number(cell: CellValue, name: str) -> float:
    """A number, also one that a cell holds as text, such as "270,000" or "8 %"."""
    from planner import units

    if isinstance(cell, str):
        share = cell.strip().endswith("%")
        return units.parse_argument(cell, units.FRACTION if share else units.COUNT, where=name)
    if cell is None:
        raise InputError("an empty cell", where=name, fix="put a number into it")
    return float(cell)


def refresh() -> None:
    """Forget plans and catalogs, so that files that have changed are read again."""
    _solved.cache_clear()
    _predicted.cache_clear()
    _catalog.cache_clear()


# -- what is kept -----------------------------------------------------------------------------------------------------

FieldsOfCell = tuple[tuple[str, Any], ...]


def _plan(
    rate: CellValue, slo: CellValue, model: CellValue, workload: CellValue, machines: CellValue,
    more: Mapping[str, CellValue],
) -> Plan:  # fmt: skip
    named = {"rate": rate, "slo": slo, "model": model, "workload": workload, "machines": machines}
    return _solved(_fields(named, more), os.environ.get("PLANNER_CATALOG", ""))


def _evaluated(
    pools: str, rate: CellValue, slo: CellValue, model: CellValue, workload: CellValue, more: Mapping[str, CellValue]
) -> Plan:  # fmt: skip
    named = {"rate": rate, "slo": slo, "model": model, "workload": workload}
    return _predicted(pools, _fields(named, more), os.environ.get("PLANNER_CATALOG", ""))


@functools.lru_cache(maxsize=_KEPT)
def _solved(fields: FieldsOfCell, environment: str) -> Plan:
    from planner.planning.road import plan
    from planner.scenario.resolve import resolve
    from planner.scenario.scenario_file import load_scenario

    given = dict(fields)
    found = plan(resolve(load_scenario(given), _catalog(given.get("catalog", ()), environment)))
    if found.certificate is not None and found.certificate.status != "confirmed":
        # A cell has no room for a remark.
        raise PlannerError("no plan was confirmed by simulation", fix="verify=FALSE gives what the formulas predict")
    return found


@functools.lru_cache(maxsize=_KEPT)
def _predicted(pools: str, fields: FieldsOfCell, environment: str) -> Plan:
    from planner.scenario.pool_text import read_pool
    from planner.studies.plans import evaluate

    given = dict(fields)
    cluster = [read_pool(text, where="pools") for text in _names(pools)]
    return evaluate(cluster, given, catalog=_catalog(given.get("catalog", ()), environment))


@functools.lru_cache(maxsize=8)
def _catalog(overlays: tuple[str, ...], environment: str) -> Catalog:
    from planner.catalog.catalog import Catalog

    return Catalog.default(overlays)


# Fields of a scenario that hold several names or objectives.
_LISTS = ("slo", "machines", "prices", "catalog")
_WHOLE = ("spares", "max_total_machines", "max_pools", "draft_tokens", "seed")


def _fields(named: Mapping[str, CellValue], more: Mapping[str, CellValue]) -> FieldsOfCell:
    """Fields of a scenario out of cells, in one order; empty cells are left out."""
    given: dict[str, Any] = {}
    for name, value in {**named, **more}.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if name in _LISTS:
            given[name] = _names(value)
        elif name in _WHOLE and isinstance(value, float) and value.is_integer():
            given[name] = int(value)  # a sheet knows no whole numbers
        else:
            given[name] = value.strip() if isinstance(value, str) else value
    return tuple(sorted(given.items()))


def _names(value: CellValue) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"[,;]", str(value)) if part.strip()) if value else ()


def _priced(value: float | None) -> float:
    if value is None:
        raise InputError("a machine of this plan has no price", where="machines", fix="name a price book in `prices`")
    return value


def _p99(plan: Plan, metric: str) -> float:
    (row,) = (row for row in plan.percentiles if row.metric == metric)
    if row.p99_s is None:
        raise InputError("under this load the queue grows without end", where="rate", value=plan.rate_per_s)
    return row.p99_s
