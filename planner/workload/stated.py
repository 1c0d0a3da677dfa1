"""Request sizes in people's words: `3000`, `3000+-500`, `100..4000`, `p50=1020,p90=2734,p99=4142`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from planner import units
from planner.catalog.schema import TokenDistribution, Workload
from planner.errors import ScenarioError, UnitError
from planner.workload.library import CopulaSample, cell_means, sizes_of
from planner.workload.sizes import RequestSizes, Side

EXAMPLES = "3000, 3000+-500, 100..4000 or p50=1020,p90=2734,p99=4142"
MOST_TOKENS = 1e8
_POINTS = 1024  # of a joint distribution
_SPREAD = re.compile(r"\s*(.+?)\s*(?:\+-|\+/-|\u00b1)\s*(.+?)\s*")
_GROUPED = re.compile(r"\s*\d{1,3}(?:\.\d{3})+\s*")
_RANGE = re.compile(r"\s*(.+?)\s*\.\.\s*(.+?)\s*")
_QUANTILE = re.compile(r"\s*(?:[pP]\s*([0-9.]+)|(min|max))\s*=\s*(.+?)\s*")
# Where distributions are tabulated; the ends stand for the smallest and largest of five thousand requests.
_PROBABILITIES = (
    0.0, 0.002, 0.01, 0.03, *(i / 20 for i in range(1, 19)), 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0,
)  # fmt: skip
_END = 2e-4
_NORMAL = NormalDist()


def read_tokens(text: str | float, *, where: str) -> TokenDistribution:
    """Read how many tokens a request has.

    Parameters
    ----------
    text : str or number
        A number: all requests alike. `MEAN+-SD`: lognormal with that mean and standard deviation. `LOW..HIGH`: all
        numbers between alike. `pN=TOKENS,...`, two at least, `min` and `max` if known: lognormal between and beyond.
    where : str
        The option or field.

    Raises
    ------
    ScenarioError, UnitError
        Not in one of these forms, or numbers of tokens that cannot be.
    """
    try:
        if isinstance(text, str) and "=" in text:
            return _quantiles(text)
        if isinstance(text, str) and (match := _SPREAD.fullmatch(text)):
            return lognormal(_count(match[1]), _spread(match[2], _count(match[1])))
        if isinstance(text, str) and (match := _RANGE.fullmatch(text)):
            return uniform(_count(match[1]), _count(match[2]))
        return fixed(_count(text))
    except UnitError as error:
        if error.rule is None:
            error.fix = f"write it like {EXAMPLES}"
        raise error.at(where) from None
    except ScenarioError as error:
        error.value = text
        error.fix = error.fix or f"write it like {EXAMPLES}"
        raise error.at(where) from None


def _count(text: str | float) -> float:
    if isinstance(text, str):
        text = re.sub(r"\s*(?:tokens?|toks?)\s*$", "", text, flags=re.IGNORECASE)
        if _GROUPED.fullmatch(text):
            whole = text.replace(".", "").strip()
            raise ScenarioError(
                "a point before three digits may part thousands or decimals", rule="thousands without a point",
                fix=f"write {whole}, or one decimal",
            )  # fmt: skip
    tokens = units.parse(text, units.COUNT)
    if not 1 <= tokens <= MOST_TOKENS:
        raise ScenarioError("not a number of tokens", rule=f"1 to {MOST_TOKENS:,.0f}")
    return tokens


def _spread(text: str, mean: float) -> float:
    if text.rstrip().endswith("%"):
        return units.parse(text, units.FRACTION) * mean
    spread = units.parse(text, units.COUNT)
    if spread < 0:
        raise ScenarioError("a standard deviation is not negative")
    return spread


def fixed(tokens: float) -> TokenDistribution:
    """All requests alike."""
    return TokenDistribution(probabilities=[0.0, 1.0], tokens=[tokens, tokens])


def uniform(low: float, high: float) -> TokenDistribution:
    """All numbers of tokens between two alike."""
    if low > high:
        raise ScenarioError("this range runs backwards", fix="give the smaller end first")
    grid = np.linspace(0.0, 1.0, 65)
    return TokenDistribution(probabilities=grid.tolist(), tokens=(low + (high - low) * grid).tolist())


def lognormal(mean: float, spread: float) -> TokenDistribution:
    """Lognormal with a mean and a standard deviation: ln Q(p) = mu + sigma z(p), sigma^2 = ln(1 + (sd/mean)^2)."""
    if spread == 0:
        return fixed(mean)
    if spread > 20 * mean:
        raise ScenarioError("a standard deviation of more than twenty times the mean", rule="token counts vary less")
    sigma = math.sqrt(math.log1p((spread / mean) ** 2))
    table = _table(lambda z: math.log(mean) - sigma**2 / 2 + sigma * z)
    # The tabulated ends cut a little off the tail; the mean is that asked for.
    whole = float(cell_means(table, np.array([0]), np.array([1.0]))[0])
    return TokenDistribution(
        probabilities=table.probabilities, tokens=[max(t * mean / whole, 1.0) for t in table.tokens]
    )


def clipped_normal(mean: float, spread: float, low: float, high: float) -> TokenDistribution:
    """Normal, with what lies beyond the ends moved onto them, as load generators draw it."""
    if not low <= high:
        raise ScenarioError("this range runs backwards", fix="give the smaller end first")
    tokens = [min(max(mean + spread * _z(p), low, 1.0), max(high, 1.0)) for p in _PROBABILITIES]
    return TokenDistribution(probabilities=list(_PROBABILITIES), tokens=tokens)


def _z(p: float) -> float:
    return _NORMAL.inv_cdf(min(max(p, _END), 1.0 - _END))


def _table(log_tokens: Any) -> TokenDistribution:
    tokens = [math.exp(log_tokens(_z(p))) for p in _PROBABILITIES]
    return TokenDistribution(probabilities=list(_PROBABILITIES), tokens=tokens)


def _quantiles(text: str) -> TokenDistribution:
    """ln Q piecewise linear in the normal score between the quantiles given, and with the same slopes beyond."""
    at: dict[float, float] = {}
    ends: dict[str, float] = {}
    for part in text.split(","):
        match = _QUANTILE.fullmatch(part)
        if not match:
            raise ScenarioError(f"{part.strip()!r} is not a quantile", rule="pN=TOKENS, min=TOKENS or max=TOKENS")
        if match[2]:
            ends[match[2]] = _count(match[3])
            continue
        p = units.number(match[1])
        if not 0 < p < 100:
            raise ScenarioError(f"percentile {match[1]} is out of range", rule="above 0 and below 100")
        if p in at:
            raise ScenarioError(f"p{match[1]} is given twice")
        at[p] = _count(match[3])
    points = sorted(at.items())
    if len(points) < 2:
        raise ScenarioError("one quantile tells no distribution", rule="two percentiles at least")
    values = [value for _, value in points]
    if any(b < a for a, b in itertools.pairwise(values)):
        raise ScenarioError("quantiles fall", rule="a higher percentile has at least as many tokens")
    z = np.array([_NORMAL.inv_cdf(p / 100) for p, _ in points])
    log_q = np.log(values)
    low, high = ends.get("min", 1.0), ends.get("max", MOST_TOKENS)
    if low > values[0] or high < values[-1]:
        raise ScenarioError("min and max lie outside of the quantiles")

    def log_tokens(at_z: float) -> float:
        i = int(np.clip(np.searchsorted(z, at_z) - 1, 0, z.size - 2))
        return float(log_q[i] + (log_q[i + 1] - log_q[i]) / (z[i + 1] - z[i]) * (at_z - z[i]))

    probabilities = sorted({*_PROBABILITIES, *(p / 100 for p, _ in points)})
    tokens = [min(max(math.exp(log_tokens(_z(p))), low), high) for p in probabilities]
    tokens[0] = ends.get("min", tokens[0])
    tokens[-1] = ends.get("max", tokens[-1])
    return TokenDistribution(probabilities=probabilities, tokens=np.maximum.accumulate(tokens).tolist())


def sizes_from(prompt: TokenDistribution, output: TokenDistribution, name: str) -> RequestSizes:
    """Sizes with these marginals, prompts independent of outputs."""
    if all(d.tokens[0] == d.tokens[-1] for d in (prompt, output)):
        return RequestSizes.equally_weighted([round(prompt.tokens[0])], [round(output.tokens[0])], name)
    return sizes_of(
        Workload(
            name=name, title=name, source="as stated", kind="derived", prompt_tokens=prompt, output_tokens=output,
            correlation=0.0,
        )
    )  # fmt: skip


def with_side(sizes: RequestSizes, which: Side, table: TokenDistribution, name: str) -> RequestSizes:
    """Sizes with one side replaced by a distribution, independent of the other, whose sizes stay."""
    sample = CopulaSample(_POINTS)
    kept = sizes.prompt_tokens if which == "output" else sizes.output_tokens
    order = np.argsort(kept, kind="stable")
    probability = np.concatenate(([0.0], np.cumsum(sizes.weight[order])))
    integral = np.concatenate(([0.0], np.cumsum(sizes.weight[order] * kept[order])))

    def side(own: Side, points: np.ndarray) -> np.ndarray:
        if own == which:
            return np.maximum(np.rint(cell_means(table, points, sample.weight)), 1.0)
        # Each point gets the mean of the sizes whose probabilities it takes.
        edges = np.concatenate(([0.0], np.cumsum(sample.weight[points])))
        edges[-1] = probability[-1]
        means = np.empty_like(sample.weight)
        means[points] = np.diff(np.interp(edges, probability, integral)) / np.diff(edges)
        return np.maximum(means, 1.0)

    return RequestSizes(
        side("prompt", sample.prompt_order), side("output", sample.output_order(0.0)), sample.weight, name
    )


def distribution_of_spec(spec: Mapping[str, Any], *, where: str) -> TokenDistribution:
    """A distribution as load generators write it: mean, std_dev (or std, stddev), min, max; or a value.

    Raises
    ------
    ScenarioError
        Neither a mean nor a value nor both ends, or what is no number.
    """

    def number(*names: str) -> float | None:
        for name in names:
            value = spec.get(name)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise ScenarioError(f"{name} is not a number", where=where, value=repr(value))
                return float(value)
        return None

    mean, spread = number("mean", "value"), number("std_dev", "std", "stddev", "stdev", "standard_deviation")
    low, high = number("min"), number("max")
    if mean is None and low is not None and high is not None:
        return uniform(max(low, 1.0), max(high, 1.0))
    if mean is None:
        raise ScenarioError(
            "a distribution without its mean", where=where, value=", ".join(map(str, spec)),
            rule="mean, std_dev, min and max, as inference-perf has them",
        )  # fmt: skip
    if not spread:
        return fixed(max(mean, 1.0))
    return clipped_normal(mean, spread, low or 1.0, high if high is not None else MOST_TOKENS)
