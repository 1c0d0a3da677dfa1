"""What simulation taught about capacities, applied to candidate pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from planner.pools.candidate import Candidate, Counts
from planner.serving.capacity import CapacityCurve

PoolCounts = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Corrections:
    """Capacities as simulated, in the place of those that the queueing formulas give.

    Attributes
    ----------
    factor : mapping of str to float
        Candidate -> what its whole curve is multiplied by: what misjudged one count misjudges its neighbours.
    rate_per_s : mapping of str to mapping of int to float
        Candidate -> machines -> the rate that they carried within the objectives [requests/s].
    """

    factor: Mapping[str, float] = field(default_factory=dict)
    rate_per_s: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def applied_to(self, candidate: Candidate) -> Candidate:
        """The candidate with its curve corrected; itself where nothing is known of it."""
        factor, entries = self.factor.get(candidate.key, 1.0), self.rate_per_s.get(candidate.key, {})
        if factor == 1.0 and not entries:
            return candidate

        def corrected(curve: CapacityCurve) -> CapacityCurve:
            rate = curve.rate_per_s * factor
            for count, known in entries.items():
                rate = np.where(curve.n_machines == count, known, rate)
            return CapacityCurve(curve.n_machines, np.maximum.accumulate(rate))

        def compute(n: Counts) -> CapacityCurve:
            return corrected(candidate.compute(n))

        return replace(candidate, curve=corrected(candidate.curve), compute=compute).with_counts(sorted(entries))

    def lowered(self, key: str, count: int, rate_per_s: float, predicted_per_s: float) -> Corrections:
        """With a candidate lowered to what `count` machines carried, in the place of `predicted_per_s`."""
        factor = self.factor.get(key, 1.0) * min(rate_per_s / predicted_per_s, 1.0)
        # What was known of single counts stays where it was confirmed.
        return replace(self._with_entry(key, count, rate_per_s), factor={**self.factor, key: factor})

    def raised(self, key: str, count: int, rate_per_s: float) -> Corrections:
        """With a candidate known to carry a rate with `count` machines."""
        return self._with_entry(key, count, rate_per_s)

    def concern(self, keys: Iterable[str]) -> bool:
        """Whether any of these candidates was corrected: then simulation judges them, and no formula."""
        return any(key in self.rate_per_s for key in keys)

    def _with_entry(self, key: str, count: int, rate_per_s: float) -> Corrections:
        return replace(self, rate_per_s={**self.rate_per_s, key: {**self.rate_per_s.get(key, {}), count: rate_per_s}})


NOTHING_LEARNT = Corrections()

HOPE = 0.1  # share by which a capacity may be above its formula, to see whether a better plan holds after all
_HOPE_IF_SIMULATED = 0.03  # the same of a candidate that was simulated at some count


@dataclass(frozen=True)
class Hopes:
    """Capacities above the formulas, for the hunt for plans that these refuse.

    Attributes
    ----------
    known : Corrections
        What simulation taught: single counts stay as they were simulated.
    doubts : Corrections
        What the hunt taught so far of capacities above the formulas.
    """

    known: Corrections
    doubts: Corrections

    def applied_to(self, candidate: Candidate) -> Candidate:
        """The candidate with as much hope as is left, within what keeps one machine busy all the time."""
        entries = self.known.rate_per_s.get(candidate.key, {})
        hope = 1.0 + (_HOPE_IF_SIMULATED if entries else HOPE)
        corrected = self.known.applied_to(candidate)

        def hoped(curve: CapacityCurve) -> CapacityCurve:
            rate = np.minimum(curve.rate_per_s * hope, curve.n_machines * candidate.most_per_s)
            rate = np.maximum(rate, curve.rate_per_s)
            for count, known in entries.items():
                rate = np.where(curve.n_machines == count, known, rate)
            return CapacityCurve(curve.n_machines, np.maximum.accumulate(rate))

        def compute(n: Counts) -> CapacityCurve:
            return hoped(corrected.compute(n))

        return self.doubts.applied_to(replace(corrected, curve=hoped(corrected.curve), compute=compute))

    def concern(self, keys: Iterable[str]) -> bool:
        """Always: simulation is what judges them."""
        return True
