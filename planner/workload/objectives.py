"""Latency objectives: `ttft=1s`, `tbt.p99=200ms`, `e2e.p50=2x`, and presets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from planner import units
from planner.errors import ScenarioError, UnitError, UnknownNameError

Metric = Literal["ttft", "tbt", "e2e"]
METRICS: tuple[str, ...] = get_args(Metric)
METRIC_TITLES = {"ttft": "TTFT", "tbt": "TBT", "e2e": "E2E"}
ALIASES = {"tpot": "tbt", "itl": "tbt"}
_SIGN = re.compile("<=|=|<")  # between a metric and its limit
DEFAULT_PERCENTILE = 99.0

# The nine objectives of Splitwise, Table VI: slowdown against the same request alone on a DGX-A100.
PRESETS: dict[str, tuple[str, ...]] = {
    "splitwise": (
        "ttft.p50=2x", "ttft.p90=3x", "ttft.p99=6x",
        "tbt.p50=1.25x", "tbt.p90=1.5x", "tbt.p99=5x",
        "e2e.p50=1.25x", "e2e.p90=1.5x", "e2e.p99=5x",
    ),
}  # fmt: skip


class Objective(BaseModel):
    """One latency objective: the share `percentile` of requests stays within the limit.

    The limit is absolute (`limit_s`), or a `slowdown` against the same request alone on the reference machine;
    exactly one of them is given. A slowdown below 1 asks to be faster than the reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    metric: Metric = Field(description="Time to first token, mean time between tokens of a request, or end to end.")
    percentile: float = Field(default=DEFAULT_PERCENTILE, gt=0, lt=100)
    limit_s: float | None = Field(default=None, gt=0, description="Absolute limit [s].")
    slowdown: float | None = Field(default=None, gt=0, description="Limit over the reference's own time.")

    @model_validator(mode="after")
    def _has_one_limit(self) -> Objective:
        if (self.limit_s is None) == (self.slowdown is None):
            raise ValueError("give exactly one of limit_s and slowdown")
        return self

    def at(self, value: float) -> Objective:
        """The same with another number: seconds, or a slowdown where it is one."""
        return self.model_copy(update={"limit_s" if self.limit_s is not None else "slowdown": value})

    def __str__(self) -> str:
        """Return the canonical text, which `parse_objective` reads back: `ttft.p99=1s`."""
        return f"{self.metric}.p{_shortest(self.percentile)}={self._limit_text()}"

    @property
    def label(self) -> str:
        """Metric and percentile for people: `TTFT p99`."""
        return f"{METRIC_TITLES[self.metric]} p{_shortest(self.percentile)}"

    @property
    def limit_label(self) -> str:
        """The limit for people: `200 ms`, `1.25x`."""
        return units.format_time(self.limit_s) if self.limit_s is not None else f"{_shortest(self.slowdown or 0)}x"

    def _limit_text(self) -> str:
        if self.limit_s is None:
            return f"{_shortest(self.slowdown or 0)}x"
        if self.limit_s < 1:
            milliseconds = f"{self.limit_s * 1e3:.12g}ms"
            # Not every limit is a short number of milliseconds.
            if units.parse(milliseconds, units.TIME) == self.limit_s:
                return milliseconds
        return f"{_shortest(self.limit_s)}s"


def parse_objective(text: str, *, where: str = "--slo") -> Objective:
    """Read one objective.

    Parameters
    ----------
    text : str
        `METRIC[.pPERCENTILE]=LIMIT`: `ttft=1s` (P99 unless told), `tbt.p99=200ms`, `e2e.p50=2x`. `tpot` and `itl`
        are other names of `tbt`. Case and blanks do not matter before the `=`, for which `<` and `<=` stand too;
        `ttft_p99` and `ttft p99` are `ttft.p99`.
    where : str
        Where the text comes from, for errors.

    Raises
    ------
    ScenarioError
        No `=`, a percentile that is no number inside (0, 100), a limit that is not positive.
    UnitError
        A limit that is no time with a unit, and no slowdown.
    UnknownNameError
        An unknown metric, with near misses.
    """
    if not isinstance(text, str):
        raise ScenarioError("an objective is text", where=where, value=repr(text), fix="write it like ttft=1s")
    left, *rest = (part.strip() for part in _SIGN.split(text, maxsplit=1))
    if not rest:
        name = re.split(r"[._\s:>]", left)[0] or "ttft"
        raise ScenarioError(
            "an objective needs a limit", where=where, value=text,
            rule="METRIC[.pPERCENTILE]=LIMIT", fix=f"write {name}=1s, {name}=2x or the like",
        )  # fmt: skip
    metric_text, *percentile_text = re.split(r"\s*[._\s]\s*", left, maxsplit=1)
    metric = _metric(metric_text, text, where)
    percentile = _percentile(percentile_text[0], text, where) if percentile_text else DEFAULT_PERCENTILE
    limit_s, slowdown = _limit(rest[0], text, where)
    return Objective(metric=metric, percentile=percentile, limit_s=limit_s, slowdown=slowdown)


def parse_objectives(texts: Iterable[str], *, where: str = "--slo") -> tuple[Objective, ...]:
    """Read objectives and presets.

    Parameters
    ----------
    texts : iterable of str
        Objectives as in `parse_objective`, or names of presets (`splitwise`: the nine of the paper's Table VI).

    Returns
    -------
    tuple of Objective
        In the order given, presets expanded; an objective that is said twice is there once.

    Raises
    ------
    ScenarioError, UnitError, UnknownNameError
        As `parse_objective`; or two limits for one percentile of one metric; or no objective at all.
    """
    chosen: dict[tuple[str, float], Objective] = {}
    if isinstance(texts, str):
        texts = [texts]
    for text in texts:
        for part in _expanded(text, where):
            objective = parse_objective(part, where=where)
            earlier = chosen.setdefault((objective.metric, objective.percentile), objective)
            if earlier != objective:
                raise ScenarioError(
                    f"two limits for {objective.label}: {earlier.limit_label} and {objective.limit_label}", where=where,
                    value=text, rule="one limit for each metric and percentile",
                    fix=f"keep {earlier} or {objective}",
                )  # fmt: skip
    if not chosen:
        raise ScenarioError("there are no objectives", where=where, fix="give at least one, like ttft=1s")
    return tuple(chosen.values())


def _expanded(text: str, where: str) -> tuple[str, ...]:
    name = text.strip().casefold() if isinstance(text, str) else "="
    if name in PRESETS:
        return PRESETS[name]
    if not _SIGN.search(name) and re.split(r"[._\s:>]", name)[0] not in (*METRICS, *ALIASES):
        raise UnknownNameError.of("objective or preset", text, [*METRICS, *ALIASES, *PRESETS], where=where)
    return (text,)


def _metric(name: str, text: str, where: str) -> Metric:
    folded = name.strip().casefold()
    metric = ALIASES.get(folded, folded)
    if metric not in METRICS:
        error = UnknownNameError.of("metric", name, [*METRICS, *ALIASES], where=where)
        error.value = text
        raise error
    return metric  # type: ignore[return-value]


def _percentile(text: str, whole: str, where: str) -> float:
    match = re.fullmatch(r"\s*[pP](.*)", text)
    try:
        percentile = units.number(match[1]) if match else math.nan
    except UnitError as error:
        if error.rule:
            error.value = whole
            raise error.at(where) from None
        percentile = math.nan
    if math.isnan(percentile):
        raise ScenarioError(
            f"{text!r} is not a percentile", where=where, value=whole, rule="p and a number, like p50, p99 or p99.9"
        )
    if not 0 < percentile < 100:
        raise ScenarioError(
            f"percentile {text} is out of range", where=where, value=whole, rule="above 0 and below 100",
            fix="write p99.9 for nearly all requests: no queue bounds the slowest of all",
        )  # fmt: skip
    return percentile


def _limit(text: str, whole: str, where: str) -> tuple[float | None, float | None]:
    """Return (limit_s, slowdown), one of them None."""
    if "=" in text:
        raise ScenarioError("more than one objective", where=where, value=whole, fix="write each by itself")
    try:
        slowdown = _slowdown(text)
        limit = units.parse(text, units.TIME) if slowdown is None else slowdown
    except UnitError as error:
        error.value = whole
        if error.rule is None:
            error.fix = "write a time with its unit, like 1s or 200ms, or a slowdown, like 2x"
        raise error.at(where) from None
    if not (limit > 0 and math.isfinite(limit)):
        raise ScenarioError(f"limit {text} is not positive", where=where, value=whole, rule="above 0 and finite")
    return (limit, None) if slowdown is None else (None, slowdown)


def _slowdown(text: str) -> float | None:
    match = re.fullmatch(r"(.*\S)\s*[xX]", text)
    if not match:
        return None
    found = units.split_number(match[1])
    if found is None or found[1]:
        raise UnitError(f"{text!r} is not a slowdown")
    if not math.isfinite(found[0]):
        raise UnitError("a slowdown must be a finite number")
    return found[0]


def _shortest(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
