"""Every price that the catalog has of one machine."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from planner.catalog.catalog import Catalog
from planner.catalog.entry import SourceKind
from planner.catalog.prices import PlanName, PriceBook
from planner.catalog.schema import Machine
from planner.catalog.validation import one_line
from planner.errors import InputError

_SHOWN: tuple[PlanName, ...] = ("on_demand", "reserved_1y", "reserved_3y", "spot", "owned")


@dataclass(frozen=True)
class MachineOffer:
    """One price of a machine.

    Attributes
    ----------
    plan : str
        Price plan.
    amount : float
        In the book's currency: an hour, or of an owned machine its purchase.
    usd : float or None
        The same in USD; None where the catalog has no rate for the currency.
    usd_per_accelerator : float or None
        Of one of its accelerators.
    region : str or None
        Where it is offered; None everywhere.
    counts : bool
        Whether plans use it, unless another book is named.
    why : str
        Why it counts, or why not.
    """

    plan: PlanName
    amount: float
    currency: str
    usd: float | None
    usd_per_accelerator: float | None
    provider: str
    region: str | None
    date: datetime.date
    book: str
    counts: bool
    why: str
    kind: SourceKind
    source: str

    def to_record(self) -> dict[str, object]:
        """Return it as one flat JSON-ready record."""
        return {**vars(self), "date": self.date.isoformat()}


def offers_of(catalog: Catalog, machine: Machine) -> tuple[list[MachineOffer], list[str]]:
    """Return all prices of a machine by plan, those that count first and then the newest, and books left out as broken.

    Parameters
    ----------
    catalog : Catalog
    machine : Machine

    Returns
    -------
    list of MachineOffer, list of str
        Prices; and one line for each price book that could not be read.
    """
    offers: list[MachineOffer] = []
    broken: list[str] = []
    for name in catalog.names(PriceBook):
        book, problems = catalog.check(PriceBook, name)
        if book is None:
            broken.append(one_line(problems[0]))
            continue
        for plan, listed in book.listed():
            if listed == machine.name:
                offers.append(_offer(catalog, book, plan, machine))
    order = {plan: n for n, plan in enumerate(_SHOWN)}
    return sorted(offers, key=lambda o: (order[o.plan], not o.counts, -o.date.toordinal(), o.book)), broken


def _offer(catalog: Catalog, book: PriceBook, plan: PlanName, machine: Machine) -> MachineOffer:
    try:
        usd: float | None = catalog.amount_usd(book.name, machine.name, plan)
    except InputError:  # the catalog has no rate for its currency
        usd = None
    origin = book.origin_of(plan, machine.name)
    counts, why = _standing(catalog, book, plan, machine)
    return MachineOffer(
        plan=plan,
        amount=book.owned[machine.name].purchase if plan == "owned" else book.prices(plan)[machine.name],
        currency=book.currency,
        usd=usd,
        usd_per_accelerator=None if usd is None else usd / machine.n_accelerators,
        provider=book.provider,
        region=book.region,
        date=book.date_of(plan, machine.name),
        book=book.name,
        counts=counts,
        why=why,
        kind=origin.kind,
        source=origin.source,
    )


def _standing(catalog: Catalog, book: PriceBook, plan: PlanName, machine: Machine) -> tuple[bool, str]:
    """Whether a price counts, and why or why not."""
    if not book.default:
        return False, "only with --prices"
    try:
        ruled = catalog.ruling_on(machine.name, plan)
    except InputError:
        return False, "undecided: a price beside it cannot be read"
    if ruled.counting is not None and ruled.counting.book == book.name:
        return True, ruled.because
    return False, next((why for other, why in ruled.others if other.book == book.name), "")
