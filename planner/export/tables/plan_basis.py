"""What a plan rests on: trust, prices and their dates, machines considered and rejected."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence

from planner.export.tables.text import age, counted, percent
from planner.planning.plan import Plan, Prediction, PriceUsed
from planner.planning.record import NOT_SIMULATED
from planner.scenario.scenario import ALL_MACHINES, CURRENT_MACHINES, PAPER_MACHINES

_GENERAL_DESIGNS = ("auto", "baseline", "splitwise")

_MANY = 4  # more rejected machines than this are counted, not listed


def trust(plan: Plan, today: datetime.date) -> str:
    """How far step times and prices can be trusted."""
    source = "measured" if plan.scenario.get("profile") else "modelled"
    basis = f" ({plan.step_time_basis})" if plan.step_time_basis and source == "modelled" else ""
    texts = [f"{source} step times +/- {percent(plan.step_time_error)}{basis}"]
    if source == "modelled" and plan.step_time_error > 0:
        texts.append(_if_slower(plan))
    if plan.verified == NOT_SIMULATED:
        texts.append(_margins(plan.predicted))
    if plan.prices:
        texts.append("prices " + "; ".join(_books(plan.prices, today)))
    elif plan.cost_usd_per_hour is None:
        texts.append("no price book lists these machines")
    return "; ".join(texts)


def _if_slower(plan: Plan) -> str:
    """What steps that are slower by their stated error would do to the plan: a load that much higher, as it were.

    Pools carry at least in proportion to their machines, so that many more are enough.
    """
    simulated = [] if plan.certificate is None else [o.breaks_at_load for o in plan.certificate.objectives]
    loads = [load for load in simulated if load is not None] or [plan.headroom]
    slower = 1.0 + plan.step_time_error
    if slower <= min(loads):
        return "steps that much slower still meet everything"
    bought = sum(pool.count for pool in plan.pools)
    needed = sum(math.ceil(pool.count * slower / min(loads) - 1e-9) for pool in plan.pools)
    return f"steps that much slower need about {needed} machines instead of {bought}"


def _margins(predicted: Sequence[Prediction]) -> str:
    """What simulation may make of the predicted percentiles: the worst of both signs over the objectives."""
    lows, highs = ([getattr(p, end) for p in predicted] for end in ("margin_low", "margin_high"))
    if not predicted or None in (*lows, *highs):
        return "no cluster like this one was simulated to say how far its percentiles hold"
    return f"percentiles {_signed(min(lows), '-')} / {_signed(max(highs), '+')} before simulation"


def _signed(fraction: float, sign: str) -> str:
    return f"{sign if fraction else ''}{percent(abs(fraction))}"


def priced(prices: Sequence[PriceUsed], today: datetime.date) -> list[tuple[str, str]]:
    """The price books used with their dates, as a labelled text; nothing where no price is used."""
    return [("Prices", "; ".join(_books(prices, today)))] if prices else []


def _books(prices: Sequence[PriceUsed], today: datetime.date) -> Iterator[str]:
    books: dict[tuple[str, datetime.date], list[PriceUsed]] = {}
    for price in prices:
        books.setdefault((price.book, price.date), []).append(price)
    for (book, _), used in books.items():
        first = used[0]
        of = f" for {', '.join(p.machine for p in used)}" if len(books) > 1 else ""
        kind = ", an estimate" if first.kind == "estimate" else ""
        yield f"{book} ({first.provider}, {first.date.isoformat()}{kind}){of}, {age(first.date, today)}"


def considered(plan: Plan) -> str:
    """How many pools, of which machines and designs, the plan was chosen from."""
    wanted = list(plan.scenario.get("machines", ()))
    design = str(plan.scenario.get("design", "auto"))
    pools = counted(plan.solver.candidates, "candidate pool")
    only = "" if design == "auto" else f", design {design} only"
    if ALL_MACHINES in wanted:
        return f"every machine of the catalog{only}; {pools}"
    if wanted == [CURRENT_MACHINES] and plan.scenario.get("preset") == "splitwise":
        wanted = list(PAPER_MACHINES)
    if design.casefold() not in _GENERAL_DESIGNS:
        return f"the machines of design {design} only; {pools}"
    if CURRENT_MACHINES in wanted:
        named = "".join(f", {name}" for name in wanted if name != CURRENT_MACHINES)
        return f"every machine with a current price{named}{only}; {pools}"
    return f"{', '.join(wanted)}{only}; {pools}"


def rejected(plan: Plan) -> str:
    """Which machines were left out, and why; many of one reason are counted."""
    if len(plan.rejected) <= _MANY:
        return "; ".join(f"{r.machine}: {r.reason}" for r in plan.rejected)
    alike: dict[str, list[str]] = {}
    for r in plan.rejected:  # "llama-3.1-70b in bf16 does not fit 8 x t4: needs ...": what differs is in the JSON
        small = " does not fit " in r.reason
        what = f"{r.reason.partition(' does not fit ')[0]} does not fit" if small else r.reason
        alike.setdefault(what, []).append(r.machine)
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in alike.items()) + " (--format json has the bytes)"
