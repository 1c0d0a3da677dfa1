"""Points of a distribution gathered into classes, where sums over them all would be slow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.latency.batch import Floats


@dataclass(frozen=True, eq=False)
class Cells:
    """Points gathered into classes of like value.

    Attributes
    ----------
    order, starts : ndarray of int
        Points in order, and where each class starts among them.
    weight : ndarray
        Weight of the points, in that order.
    share : ndarray, shape (c,)
        Share of each class; sums to 1.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    weight: Floats
    share: Floats

    def means(self, values: Floats) -> Floats:
        """Mean of `values` (one a point) in each class."""
        if not self.order.size:
            return np.zeros(0)
        sums = np.add.reduceat(self.weight * values[self.order], self.starts)
        return sums / np.add.reduceat(self.weight, self.starts)

    def limits(self, limit_s: Floats) -> tuple[Floats, Floats]:
        """Limit of each class, and the share of all requests that it is a limit for.

        Points whose limit is infinite have none: they count neither in the mean nor in the share.
        """
        if not self.order.size or np.isfinite(limit_s).all():
            return self.means(limit_s), self.share
        some = np.isfinite(limit_s)[self.order]
        limited = np.add.reduceat(np.where(some, self.weight, 0.0), self.starts)
        sums = np.add.reduceat(np.where(some, self.weight * np.where(some, limit_s[self.order], 0.0), 0.0), self.starts)
        share = limited / self.weight.sum()
        return np.where(limited > 0, sums / np.where(limited > 0, limited, 1.0), np.inf), share


def cells(values: Floats, weight: Floats, n_cells: int) -> Cells:
    """Points of positive weight in `n_cells` classes of like value, smaller towards the top, where limits bind."""
    chosen = np.flatnonzero(weight > 0)
    order = chosen[np.argsort(values[chosen], kind="stable")]
    if not order.size:
        return Cells(order, order, np.zeros(0), np.zeros(0))
    at = 1.0 - (1.0 - np.linspace(0.0, 1.0, n_cells, endpoint=False)) ** 1.5
    starts = np.unique((at * order.size).astype(np.int64))
    ordered = weight[order]
    share = np.add.reduceat(ordered, starts)
    return Cells(order, starts, ordered, share / share.sum())
