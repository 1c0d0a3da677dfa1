"""How much comes, how large and how bursty: as a scenario asks, else as its workload says, else by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from planner.catalog.catalog import Catalog
from planner.catalog.schema import Workload
from planner.errors import ScenarioError, UnknownNameError
from planner.parsing import is_file
from planner.scenario.scenario import DEFAULT_RATE_PER_S, LOADS, Scenario
from planner.scenario.scenario_file import is_trace_file
from planner.units import clients_text
from planner.workload.burstiness import minute_factors, variability
from planner.workload.day_shape import SHAPES, DayShape, shape_from_trace
from planner.workload.library import sizes_of
from planner.workload.prefixes import PrefixBlocks
from planner.workload.sizes import RequestSizes
from planner.workload.spec_file import StatedLoad, is_spec_file, read_spec
from planner.workload.stated import read_tokens, sizes_from, with_side
from planner.workload.traces import Trace, read_trace

_ITS_OWN = 0.05  # a rate so near that of the trace is the trace's own
_CV2 = (1e-3, 1000.0)  # of a scenario


@dataclass(frozen=True, eq=False)
class Load:
    """What must be served.

    Attributes
    ----------
    sizes : RequestSizes
    rate_per_s : float
        That a plan is for; where users or requests under way are given, a rate to begin with [requests/s].
    arrival_cv2 : float
    prefix_cached : float
        Share of prompt tokens that is cached whatever the servers have.
    blocks : PrefixBlocks or None
        Blocks of the prompts of a trace, for who knows the memory that caches have.
    prompt_tokens : ndarray or None
        Prompts of those blocks.
    words : str
        What the rate is, for a title: `its own rate`, `500 users`; empty where it was asked for.
    notes : tuple of str
        What was taken from where, and what was assumed.
    settled : dict
        Fields of the scenario that say the same without what they were derived from.
    """

    sizes: RequestSizes
    rate_per_s: float
    arrival_cv2: float
    prefix_cached: float
    blocks: PrefixBlocks | None
    prompt_tokens: Any
    words: str
    notes: tuple[str, ...]
    settled: dict[str, Any] = field(default_factory=dict)


def load_of(
    scenario: Scenario, catalog: Catalog, trace: Trace | None = None, sizes: RequestSizes | None = None
) -> Load:
    """The load of a scenario.

    Parameters
    ----------
    scenario : Scenario
    catalog : Catalog
    trace : Trace, optional
        The scenario's workload, where it was read before.
    sizes : RequestSizes, optional
        Requests to take in place of those of the workload.

    Raises
    ------
    InputError
        An unknown workload, a file that cannot be used, a level or a day that the workload does not have.
    """
    notes: list[str] = []
    source: Workload | Trace | StatedLoad | None = None
    if sizes is None:
        source = trace or _workload(scenario, catalog)
        sizes = _sizes(scenario, source, notes)
    if scenario.prompt_output_ratio is not None:
        sizes = sizes.at_ratio(scenario.prompt_output_ratio)
        notes.append(
            f"sizes scaled to {scenario.prompt_output_ratio:.4g} prompt tokens an output token: "
            f"{sizes.mean_prompt_tokens:,.0f} and {sizes.mean_output_tokens:,.0f} on average"
        )
    recorded = source if isinstance(source, Trace) else None
    if recorded is not None:
        notes += recorded.notes
    rate = _rate(scenario, source, sizes, notes) * scenario.suppose.load
    factor = _level(scenario, recorded, rate, notes)
    cv2 = _variability(scenario, source, rate / scenario.suppose.load, notes)
    settled: dict[str, Any] = {}
    if scenario.users is None and scenario.concurrency is None:
        names = ("prompt_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s", "day")
        suppose = scenario.suppose.model_copy(update={"load": 1.0})
        settled = {"rate_per_s": rate * factor, **dict.fromkeys(names), "size_for": "mean", "suppose": suppose}
        if factor != 1.0 or scenario.size_for != "mean":
            settled["arrival_cv2"] = cv2
    blocks = recorded.blocks if recorded is not None else None
    cached = 0.0
    if isinstance(source, Workload):
        cached = source.prefix_cached
    elif recorded is not None and recorded.cached_share:
        cached = recorded.cached_share
        if scenario.prefix_cached is None:
            notes.append(f"{100 * cached:.3g} % of prompt tokens were cached where the trace was recorded")
    if _stated_sizes(scenario):
        blocks, cached = None, 0.0  # prompts of other lengths share nothing that is known
    return Load(
        sizes, rate * factor, cv2, cached, blocks, recorded.prompt_tokens if recorded is not None else None,
        _words(scenario, source, factor), tuple(notes), settled,
    )  # fmt: skip


def _words(scenario: Scenario, source: Workload | Trace | StatedLoad | None, factor: float) -> str:
    """What the rate is, for a title."""
    if clients := clients_text(scenario.users, scenario.concurrency, scenario.think_time_s):
        return clients
    if scenario.day is not None:
        return f"the busiest hour of the day, {factor:.3g} x the mean"
    level = {"mean": "", "p95-minute": "its minute at P95", "peak-minute": "its busiest minute"}[scenario.size_for]
    if level:
        return f"{level}, {factor:.3g} x the mean"
    if any(getattr(scenario, name) is not None for name in LOADS):
        return ""
    return "its own rate" if getattr(source, "rate_per_s", None) else "assumed"


def rate_of(scenario: Scenario, catalog: Catalog) -> float:
    """The rate that a plan for a scenario is for [requests/s]; raises as `load_of`."""
    return scenario.rate_per_s if scenario.rate_per_s is not None else load_of(scenario, catalog).rate_per_s


def _workload(scenario: Scenario, catalog: Catalog) -> Workload | Trace | StatedLoad | None:
    name = scenario.workload
    if scenario.isl is not None and scenario.osl is not None and "workload" not in scenario.model_fields_set:
        return None
    if is_catalog_workload(name, catalog):
        for field_, what in (("workload_columns", "columns"), ("drop_failed", "failed requests")):
            if getattr(scenario, field_):
                raise ScenarioError(
                    f"{what} are those of a trace file", where=field_, value=f"{name} is a workload of the catalog",
                    fix="leave them out, or give a file as the workload",
                )  # fmt: skip
        return catalog.workload(name)
    if is_spec_file(name) and is_file(name):
        return read_spec(Path(name))
    return trace_of(scenario, catalog)


def is_catalog_workload(name: str, catalog: Catalog) -> bool:
    """Whether a workload is one of the catalog; a file of that name goes first."""
    return name in catalog.names(Workload) and not is_file(name)


def trace_of(scenario: Scenario, catalog: Catalog) -> Trace:
    """Read the trace that is a scenario's workload.

    Raises
    ------
    UnknownNameError
        The workload is neither of the catalog nor a file, with near misses.
    TraceError
        The file cannot be used.
    """
    name = scenario.workload
    if not is_trace_file(name) and not is_file(name):
        raise UnknownNameError.of("workload", name, catalog.names(Workload), where="workload")
    try:
        state = Path(name).stat()
        stamp = (state.st_mtime_ns, state.st_size)
    except OSError:
        stamp = (0, 0)  # reading it says what is wrong
    columns = tuple(sorted((scenario.workload_columns or {}).items()))
    return _read_trace(name, columns, scenario.drop_failed, stamp)


@lru_cache(maxsize=4)
def _read_trace(name: str, columns: tuple[tuple[str, str], ...], drop_failed: bool, stamp: tuple[int, int]) -> Trace:
    """A trace that many scenarios have in common; `stamp` tells its content."""
    return read_trace(name, columns=dict(columns) or None, drop_failed=drop_failed)


def blended(a: Load, b: Load, share: float) -> Load:
    """A load with a share of its requests of another; burstiness and cached prompts as they are on average."""
    sizes = RequestSizes(
        np.concatenate([a.sizes.prompt_tokens, b.sizes.prompt_tokens]),
        np.concatenate([a.sizes.output_tokens, b.sizes.output_tokens]),
        np.concatenate([a.sizes.weight * (1 - share), b.sizes.weight * share]),
        f"{1 - share:.0%} {a.sizes.name}, {share:.0%} {b.sizes.name}",
    )
    prompts = (1 - share) * a.sizes.mean_prompt_tokens, share * b.sizes.mean_prompt_tokens
    return replace(
        a,
        sizes=sizes,
        arrival_cv2=(1 - share) * a.arrival_cv2 + share * b.arrival_cv2,
        prefix_cached=(a.prefix_cached * prompts[0] + b.prefix_cached * prompts[1]) / sum(prompts),
        blocks=None,
        notes=(*a.notes, *b.notes),
    )


def _stated_sizes(scenario: Scenario) -> bool:
    return scenario.isl is not None or scenario.osl is not None


def _sizes(scenario: Scenario, source: Workload | Trace | StatedLoad | None, notes: list[str]) -> RequestSizes:
    own: RequestSizes | None = None
    if isinstance(source, Workload):
        own = sizes_of(source)
    elif isinstance(source, Trace):
        own = source.sizes()
    elif isinstance(source, StatedLoad):
        own = source.sizes
        notes += source.notes
    if not _stated_sizes(scenario):
        assert own is not None
        return own
    prompt, output = (
        None if value is None else read_tokens(value, where=where)
        for where, value in (("isl", scenario.isl), ("osl", scenario.osl))
    )
    words = [str(v) if v is not None else f"as {own.name}" if own else "" for v in (scenario.isl, scenario.osl)]
    name = f"{words[0]} + {words[1]} tokens"
    if prompt is not None and output is not None:
        return sizes_from(prompt, output, name)
    assert own is not None
    side, other = ("prompt", "output") if prompt is not None else ("output", "prompt")
    notes.append(f"{other} sizes are those of {own.name}, independent of the {side} sizes stated")
    if prompt is not None:
        return with_side(own, "prompt", prompt, name)
    assert output is not None
    return with_side(own, "output", output, name)


def _rate(
    scenario: Scenario, source: Workload | Trace | StatedLoad | None, sizes: RequestSizes, notes: list[str]
) -> float:
    """Mean rate: stated, in requests or tokens; else that of the file; else the default, which is said."""
    tokens = (
        ("prompt", scenario.prompt_tokens_per_s, sizes.mean_prompt_tokens),
        ("output", scenario.output_tokens_per_s, sizes.mean_output_tokens),
        ("total", scenario.total_tokens_per_s, sizes.mean_prompt_tokens + sizes.mean_output_tokens),
    )
    for side, per_s, a_request in tokens:
        if per_s is not None:
            notes.append(
                f"{per_s:,.4g} {side} tokens/s at {a_request:,.0f} tokens a request: {per_s / a_request:.4g} requests/s"
            )
            return per_s / a_request
    if scenario.rate_per_s is not None:
        return scenario.rate_per_s
    if scenario.users is not None or scenario.concurrency is not None:
        return DEFAULT_RATE_PER_S  # until a plan tells how long an answer takes
    own = getattr(source, "rate_per_s", None)
    if own:
        assert isinstance(source, Trace | StatedLoad)
        name = source.path.name if isinstance(source, Trace) else source.sizes.name
        notes.append(f"the rate of {own:.4g} requests/s is that of {name} itself")
        return float(own)
    notes.append(f"{DEFAULT_RATE_PER_S:g} requests/s is assumed: nothing says how many come (--rate)")
    return DEFAULT_RATE_PER_S


def _level(scenario: Scenario, trace: Trace | None, rate: float, notes: list[str]) -> float:
    """What the plan is sized for, over the mean rate: a minute of a trace, or the busiest hour of a day."""
    if scenario.day is not None:
        shape = day_named(scenario.day)
        factor = len(shape.weights) * max(shape.weights) / sum(shape.weights)
        notes.append(
            f"sized for the busiest hour of the day ({shape.name}): {factor:.3g} x the mean of {rate:.4g} requests/s"
        )
        return factor
    factors = minute_factors(trace.arrival_s) if trace is not None and trace.arrival_s is not None else None
    if scenario.size_for == "mean":
        if factors is not None and factors["peak-minute"] > 1.1:
            notes.append(
                f"sized for the mean rate; the busiest minute of the trace has {factors['peak-minute']:.3g} x it, the "
                f"one at P95 {factors['p95-minute']:.3g} x (--size-for peak-minute or p95-minute)"
            )
        return 1.0
    if factors is None:
        raise ScenarioError(
            "there are no minutes to size for", where="size_for", value=scenario.size_for,
            rule="a trace with timestamps over three minutes at least", fix="leave it out, or give a rate for the peak",
        )  # fmt: skip
    factor = factors[scenario.size_for]
    level = "busiest minute" if scenario.size_for == "peak-minute" else "minute at P95"
    notes.append(f"sized for the {level} of the trace: {factor:.3g} x the mean of {rate:.4g} requests/s")
    return factor


def day_named(day: str | Sequence[float]) -> DayShape:
    """The shape of a day: a built-in one by name, a weight an hour, or that of a trace.

    Raises
    ------
    UnknownNameError
        Neither a shape nor a file.
    """
    if not isinstance(day, str):
        return DayShape("your hours", tuple(day), "as stated", "derived")
    if day in SHAPES:
        return SHAPES[day]
    if not is_file(day):
        raise UnknownNameError.of("shape of a day", day, SHAPES, where="day")
    return shape_from_trace(read_trace(day))


def _variability(
    scenario: Scenario, source: Workload | Trace | StatedLoad | None, rate: float, notes: list[str]
) -> float:
    if scenario.arrival_cv2 is not None:
        return scenario.arrival_cv2
    if isinstance(source, Workload):
        return source.arrival_cv2
    if isinstance(source, StatedLoad):
        return source.arrival_cv2 or 1.0
    if source is None:
        return 1.0
    own, found = source.rate_per_s, None
    if source.arrival_s is not None:
        found = variability(source.arrival_s, within_minutes=scenario.size_for != "mean")
    cv2 = found.cv2 if found is not None else source.stated_cv2
    if own is None or cv2 is None:
        return 1.0
    if abs(rate / own - 1.0) > _ITS_OWN:
        notes.append(
            "sizes are drawn from the trace; its arrivals are replaced by Poisson arrivals at the rate asked for "
            f"(its own: {own:.4g} requests/s, squared coefficient of variation {cv2:.3g}; --arrival-cv2 makes them "
            "burstier)"
        )
        return 1.0
    cv2 = min(max(cv2, _CV2[0]), _CV2[1])
    where = found.source if found is not None else "as the file states"
    notes.append(f"arrivals vary as those of the trace: squared coefficient of variation {cv2:.3g}, {where}")
    return cv2
