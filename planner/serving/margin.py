"""How far simulated percentiles may be from predicted ones: what to trust of a plan before it is simulated."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

# The table is written by benchmarks/simulation_against_analytic.py --margins, from the grid of simulated clusters in
# benchmarks/simulated_grid.csv. Classes are named by their upper ends, and hold the clusters at both of their ends.
FILE = Path(__file__).with_name("percentile_margins.csv")
UTILISATIONS = (0.6, 0.8, 0.9, 0.95)
ARRIVAL_CVS = (1.0, 2.0, 3.0)
LANES = (1, 3, 10, 100)
PERCENTILES = (50.0, 90.0, 99.0)
# Coding answers have 28 tokens on average, conversations 211 and more. Between these both classes count.
SHORT_ANSWER_TOKENS, LONG_ANSWER_TOKENS = 50.0, 200.0
COLUMNS = (
    "role", "metric", "answers", "arrival_cv", "lanes_from", "lanes_to", "utilisation",
    *(f"p{p:.0f}_{end}" for p in PERCENTILES for end in ("low", "high")),
)  # fmt: skip

_Pool = tuple[str, str, str, float, int]


@dataclass(frozen=True)
class Margin:
    """A simulated percentile lies between 1 + low and 1 + high times the predicted one.

    Attributes
    ----------
    low, high : float
        Relative; low is not above and high not below 0.
    """

    low: float
    high: float


def widest(margins: Iterable[Margin | None]) -> Margin | None:
    """The margin that covers all of these; None if one of them is unknown, or there are none."""
    known = list(margins)
    if not known or any(m is None for m in known):
        return None
    return Margin(min(m.low for m in known if m), max(m.high for m in known if m))


def percentile_margin(
    role: str,
    metric: str,
    percentile: float,
    *,
    utilisation: float,
    n_lanes: float,
    mean_output_tokens: float,
    arrival_cv2: float,
) -> Margin | None:
    """Worst error of a pool's predicted percentile, of both signs, over the simulated clusters that are like it.

    Parameters
    ----------
    role : str
        `prefill`, `decode` or `mixed`.
    metric : str
        `ttft`, `tbt` or `e2e`; what the role has no part in has no margin.
    percentile : float
        In (0, 100); between those of the table both neighbours count.
    utilisation : float
        Rate over the one at which the pool is busy all the time.
    n_lanes : float
        Lanes of the pool; more than the table's most are taken as its most.
    mean_output_tokens : float
        Mean answer [tokens].
    arrival_cv2 : float
        Squared coefficient of variation of the gaps between arrivals.

    Returns
    -------
    Margin or None
        None where no such cluster was simulated: utilisation above 0.95, CV above 3, percentiles above 99.
    """
    cv = _class_of(arrival_cv2**0.5, ARRIVAL_CVS)
    busy = _class_of(utilisation, UTILISATIONS)
    ps = _neighbours(percentile)
    if cv is None or busy is None or not ps:
        return None
    lanes = _class_of(min(n_lanes, LANES[-1]), LANES[1:])
    answers = [a for a, is_like in (("short", mean_output_tokens < LONG_ANSWER_TOKENS),
                                    ("long", mean_output_tokens > SHORT_ANSWER_TOKENS)) if is_like]  # fmt: skip
    rows = [_row((role, metric, kind, cv, int(lanes or LANES[-1])), busy) for kind in answers]
    return widest(None if row is None else row[p] for row in rows for p in ps)


def _row(pool: _Pool, busy: float) -> dict[float, Margin] | None:
    """The row of a utilisation, or of the next one up that was simulated: errors grow with it."""
    rows = (_table().get((*pool, end)) for end in UTILISATIONS if end >= busy)
    return next((row for row in rows if row is not None), None)


def _class_of(value: float, ends: tuple[float, ...]) -> float | None:
    """Upper end of the class that holds the value; a hair above an end still belongs to it."""
    return next((end for end in ends if value <= end * (1.0 + 1e-6)), None)


def _neighbours(percentile: float) -> list[float]:
    """Percentiles of the table on both sides."""
    if percentile > PERCENTILES[-1]:
        return []
    above = next(p for p in PERCENTILES if p >= percentile)
    below = max((p for p in PERCENTILES if p <= percentile), default=above)
    return sorted({below, above})


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str, float, int, float], dict[float, Margin]]:
    with FILE.open(newline="", encoding="utf-8") as file:
        return {
            (row["role"], row["metric"], row["answers"], float(row["arrival_cv"]), int(row["lanes_to"]),
             float(row["utilisation"])): {
                p: Margin(float(row[f"p{p:.0f}_low"]), float(row[f"p{p:.0f}_high"])) for p in PERCENTILES
            }
            for row in csv.DictReader(file)
        }  # fmt: skip
