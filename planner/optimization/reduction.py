"""Counts that no good plan can contain, dropped before the program is solved.

A candidate's capacity curve is known at some counts; between them it is drawn as a straight line. Curves are convex up
to their steps (a whole sequence of memory more, another batch size), so the line is above the curve, or below it by
less than `KINK` of a machine: lines raised by that much are safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.optimization.enumeration import most_affordable
from planner.pools.candidate import Candidate
from planner.pools.limits import Limits, ObjectiveOrWeights, unit_cost

KINK = 0.2  # of a machine: more than a curve rises above the line between two of its points; measured: up to 0.03
OBJECTIVE_TOLERANCE = 1e-7  # relative: plans this close to the best known one count as as good

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Counts of one candidate in runs on which capacity is a straight line.

    Attributes
    ----------
    first, last : ndarray of int, shape (m,)
        Counts of each run, both included; runs do not overlap.
    rate_per_s : ndarray, shape (m,)
        Capacity at `first` [requests/s].
    slope : ndarray, shape (m,)
        Capacity of each further machine of the run [requests/s].
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    rate_per_s: Floats
    slope: Floats

    def chosen(self, mask: NDArray[np.bool_]) -> Pieces:
        """Those where `mask` is true."""
        return Pieces(self.first[mask], self.last[mask], self.rate_per_s[mask], self.slope[mask])

    def turning_counts(self, demand_per_s: float) -> tuple[NDArray[np.int64], Floats]:
        """Counts where min(capacity, demand) turns, and its value there; both of shape (4, m).

        The ends of each run, and the counts on either side of where its line meets the demand.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = np.where(self.slope > 0, (demand_per_s - self.rate_per_s) / self.slope, 0.0)
        full = self.first + np.floor(np.clip(beyond, 0, self.last - self.first)).astype(np.int64)
        counts = np.stack([self.first, full, np.minimum(full + 1, self.last), self.last])
        return counts, np.minimum(self.rate_per_s + self.slope * (counts - self.first), demand_per_s)


def pieces_of(candidate: Candidate, limits: Limits, kink: float = 0.0) -> Pieces:
    """The curve in runs, cut at the stock and budgets of this type alone.

    Parameters
    ----------
    candidate : Candidate
    limits : Limits
    kink : float
        Machines' worth by which the lines between known counts are raised; a known count is then a run of its own.
    """
    n, rate = candidate.curve.n_machines, candidate.curve.rate_per_s
    following = np.append(n[1:], n[-1] + 1)
    slope = np.append(np.diff(rate) / np.diff(n), 0.0)
    alone = following == n + 1
    if not kink:
        pieces = Pieces(n, following - 1, rate, np.where(alone, 0.0, slope))
    else:
        gap = ~alone
        per_machine = np.append(rate[1:] / n[1:], 0.0)
        first = np.concatenate([n, n[gap] + 1])
        pieces = Pieces(
            first,
            np.concatenate([n, following[gap] - 1]),
            np.concatenate([rate, (rate + slope + kink * per_machine)[gap]]),
            np.concatenate([np.zeros(n.size), slope[gap]]),
        )
        order = np.argsort(first)
        pieces = Pieces(pieces.first[order], pieces.last[order], pieces.rate_per_s[order], pieces.slope[order])
    most = most_affordable(candidate, limits)
    pieces = Pieces(pieces.first, np.minimum(pieces.last, most), pieces.rate_per_s, pieces.slope)
    useful = pieces.rate_per_s + pieces.slope * (pieces.last - pieces.first) > 0
    return pieces.chosen(useful & (pieces.first <= most))


@dataclass(frozen=True, eq=False)
class Resource:
    """Something of which each machine takes a share and a plan may use no more than `most`.

    Attributes
    ----------
    each : mapping of str to float
        What a machine of each candidate takes.
    most : float
        All that there is: a budget, or the objective of the best plan known.
    """

    each: Mapping[str, float]
    most: float


def resources(
    candidates: Sequence[Candidate], objective: ObjectiveOrWeights, limits: Limits, best: float | None
) -> list[Resource]:
    """Budgets, and for an objective that is minimised its best known value."""
    totals = [
        ({c.key: budget.of_machine(c.configuration) for c in candidates}, most) for budget, most in limits.budgets
    ]
    if objective != "throughput" and best is not None:
        totals.append(({c.key: unit_cost(c, objective) for c in candidates}, best))
    return [Resource(each, most * (1 + OBJECTIVE_TOLERANCE)) for each, most in totals]


def phase_prices(
    candidates: Sequence[Candidate], pieces: Mapping[str, Pieces], resource: Resource, demand_per_s: float, spares: int
) -> tuple[float, float]:
    """Prices, in a resource, of a request/s of prefill and of decode that no candidate undercuts.

    Notes
    -----
    With u_j = min_k c_j (k + s) / min(cap_j(k), demand), any (pi_p, pi_d) with pi_p <= u of every prefill, pi_d <= u
    of every decode and pi_p + pi_d <= u of every mixed candidate makes demand x (pi_p + pi_d) a lower bound on every
    plan: the dual of the relaxation in which capacity is linear.
    """
    least = {"prefill": math.inf, "decode": math.inf, "mixed": math.inf}
    for c in candidates:
        counts, rate = pieces[c.key].turning_counts(demand_per_s)
        some = rate > 0
        if some.any():
            per_rate = resource.each[c.key] * (counts[some] + spares) / rate[some]
            least[c.role] = min(least[c.role], float(per_rate.min()))
    split, mixed = least["prefill"] + least["decode"], least["mixed"]
    if split <= mixed:
        return (least["prefill"], least["decode"]) if math.isfinite(split) else (0.0, 0.0)
    if not math.isfinite(split):
        return mixed / 2.0, mixed / 2.0
    return least["prefill"] * mixed / split, least["decode"] * mixed / split


def least_use(
    candidates: Sequence[Candidate], pieces: Mapping[str, Pieces], resource: Resource, demand_per_s: float, spares: int
) -> float:
    """What every plan uses of a resource at the least, by the prices of the phases."""
    return demand_per_s * sum(phase_prices(candidates, pieces, resource, demand_per_s, spares))


def possible(
    candidates: Sequence[Candidate],
    pieces: Mapping[str, Pieces],
    supplies: Sequence[Resource],
    demand_per_s: float,
    spares: int,
) -> dict[str, Pieces]:
    """Runs of which some count can be in a plan that serves the demand and stays within every resource.

    Notes
    -----
    A plan with k machines of j uses at least LB + c_j (k + s) - pi_j min(cap_j(k), demand), LB = demand x
    (pi_p + pi_d): the rest of the demand is served at no less than the prices of the phases. For throughput the demand
    is the best known one: serving more uses more, for pi_j <= pi_p + pi_d.
    """
    kept = dict(pieces)
    for supply in supplies:
        prefill, decode = phase_prices(candidates, kept, supply, demand_per_s, spares)
        room = supply.most - demand_per_s * (prefill + decode)
        price = {"prefill": prefill, "decode": decode, "mixed": prefill + decode}
        for c in candidates:
            counts, rate = kept[c.key].turning_counts(demand_per_s)
            reduced = supply.each[c.key] * (counts + spares) - price[c.role] * rate
            kept[c.key] = kept[c.key].chosen(np.asarray((reduced <= room).any(axis=0)))
    return kept


def unknown_counts(
    candidates: Sequence[Candidate], limits: Limits, supplies: Sequence[Resource], demand_per_s: float
) -> dict[str, list[int]]:
    """Counts whose capacity is not known exactly and that a plan as good as the best known one could contain.

    Capacities between known counts are taken `KINK` of a machine higher than the lines.
    """
    spares = limits.spares
    pieces = {c.key: pieces_of(c, limits, KINK) for c in candidates}
    kept = possible(candidates, pieces, supplies, demand_per_s, spares)
    prices = [(s, *phase_prices(candidates, kept, s, demand_per_s, spares)) for s in supplies]
    found: dict[str, list[int]] = {}
    for c in candidates:
        runs = kept[c.key]
        runs = runs.chosen(~np.isin(runs.first, c.curve.n_machines))
        if not runs.first.size:
            continue
        counts = np.concatenate([np.arange(a, b + 1) for a, b in zip(runs.first, runs.last, strict=True)])
        length = runs.last - runs.first + 1
        rate = np.repeat(runs.rate_per_s, length) + np.repeat(runs.slope, length) * (
            counts - np.repeat(runs.first, length)
        )
        fits = np.ones(counts.size, dtype=bool)
        for supply, prefill, decode in prices:
            price = {"prefill": prefill, "decode": decode, "mixed": prefill + decode}[c.role]
            reduced = supply.each[c.key] * (counts + spares) - price * np.minimum(rate, demand_per_s)
            fits &= reduced <= supply.most - demand_per_s * (prefill + decode)
        if fits.any():
            found[c.key] = counts[fits].tolist()
    return found
