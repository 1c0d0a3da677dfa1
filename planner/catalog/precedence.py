"""Which of several prices of one machine counts: the only place that says so."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from planner.catalog.entry import SourceKind

QuoteChoice = Literal["cheapest", "newest"]

# What a price rests on: an offer goes before what was derived from one, and that before a guess.
_FIRMNESS: dict[str, int] = {"quote": 0, "datasheet": 0, "measured": 0, "listed": 1, "derived": 1, "estimate": 2}


@dataclass(frozen=True)
class PriceCandidate:
    """One price of a machine under a price plan, as far as the choice depends on it.

    Attributes
    ----------
    book, provider : str
    region : str or None
        Where it is offered; None everywhere.
    date : date
        Day on which it was valid.
    valid_until : date or None
        Last day on which it is offered; None where nothing says.
    is_own : bool
        Whether an overlay of the user says it; else it ships with planner.
    kind : str
        What it rests on.
    """

    book: str
    provider: str
    region: str | None
    date: datetime.date
    valid_until: datetime.date | None
    is_own: bool
    kind: SourceKind


CandidateT = TypeVar("CandidateT", bound=PriceCandidate)


@dataclass(frozen=True)
class Ruling:
    """The price that counts, and why each of the others does not.

    Attributes
    ----------
    counting : PriceCandidate or None
        None where every one has expired, or there is none.
    because : str
        Why it counts.
    others : list of (PriceCandidate, str)
        The others, the next best first, with the reason.
    """

    counting: PriceCandidate | None
    because: str
    others: list[tuple[PriceCandidate, str]]


def ruling(
    candidates: Sequence[PriceCandidate],
    usd_of: Callable[[PriceCandidate], float],
    today: datetime.date,
    choice: QuoteChoice = "cheapest",
) -> Ruling:
    """Choose the price that counts.

    Parameters
    ----------
    candidates : sequence of PriceCandidate
        All prices of one machine under one price plan.
    usd_of : callable
        The price in USD [USD/h; of a purchase USD]; asked only of those that are compared.
    today : date
        What expiry is counted to.
    choice : str
        Between vendors: the cheapest, or the newest.

    Notes
    -----
    In this order: expired prices are out; a price of an overlay goes before one that ships with planner; a quote
    before what is derived, and that before an estimate; a vendor's newer price replaces his older one in the same
    region; between vendors the cheapest counts (or the newest), then the newer, then the first book by name.
    """
    dropped: list[tuple[PriceCandidate, str]] = []

    def keep(left: list[PriceCandidate], why_not: Callable[[PriceCandidate], str | None]) -> list[PriceCandidate]:
        reasons = {id(candidate): why_not(candidate) for candidate in left}
        dropped[:0] = [(c, reason) for c in left if (reason := reasons[id(c)]) is not None]
        return [c for c in left if reasons[id(c)] is None]

    left = keep(sorted(candidates, key=lambda c: (-c.date.toordinal(), c.book)), lambda c: _expired(c, today))
    own = any(c.is_own for c in left)
    left = keep(left, lambda c: "it ships with planner, and a price of yours goes first" if own > c.is_own else None)
    firmest = min((_FIRMNESS[c.kind] for c in left), default=0)
    left = keep(left, lambda c: _less_firm(c, firmest))
    newest = {(key := _vendor(c)): max(o.date for o in left if _vendor(o) == key) for c in left}
    left = keep(left, lambda c: _replaced(c, newest[_vendor(c)]))
    if not left:
        return Ruling(None, "", dropped)
    if len(left) == 1:
        best = left[0]
        because = "only one" if not dropped else _why_alone(best, dropped)
        return Ruling(best, because, dropped)
    usd = {id(c): usd_of(c) for c in left}
    if choice == "newest":
        left.sort(key=lambda c: (-c.date.toordinal(), usd[id(c)], c.book))
        best, because = left[0], "newest"
        reasons = [(c, f"older than that of {best.provider} of {best.date}" if c.date < best.date
                    else "of the same date, and dearer or later by name") for c in left[1:]]  # fmt: skip
    else:
        left.sort(key=lambda c: (usd[id(c)], -c.date.toordinal(), c.book))
        best, because = left[0], "cheapest"
        reasons = [(c, _dearer(c, best, usd[id(c)], usd[id(best)])) for c in left[1:]]
    return Ruling(best, because, reasons + dropped)


def _vendor(candidate: PriceCandidate) -> tuple[str, str | None]:
    return " ".join(candidate.provider.casefold().split()), candidate.region


def _expired(candidate: PriceCandidate, today: datetime.date) -> str | None:
    until = candidate.valid_until
    return f"it expired on {until}" if until is not None and until < today else None


def _less_firm(candidate: PriceCandidate, firmest: int) -> str | None:
    if _FIRMNESS[candidate.kind] == firmest:
        return None
    article = "an estimate" if candidate.kind == "estimate" else f"{candidate.kind}"
    return f"it is {article}, and {'a quote' if firmest == 0 else 'a derived price'} goes first"


def _replaced(candidate: PriceCandidate, newest: datetime.date) -> str | None:
    return f"{candidate.provider} has a newer one of {newest}" if candidate.date < newest else None


def _dearer(candidate: PriceCandidate, best: PriceCandidate, usd: float, least: float) -> str:
    if usd > least:
        return f"{100 * (usd / least - 1):.3g} % dearer than that of {best.provider} ({best.book})"
    return f"as dear as that of {best.provider} ({best.book}), which is newer or first by name"


def _why_alone(best: PriceCandidate, dropped: Sequence[tuple[PriceCandidate, str]]) -> str:
    reason = dropped[0][1]
    if "ships" in reason:
        return "yours"
    if "newer" in reason:
        return "newest of its vendor"
    return "not expired" if "expired" in reason else f"a {best.kind}"
