"""The prices of each machine side by side, as text for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from planner.catalog.imports.quote_books import QuotedOffer
from planner.export.tables.text import aligned

_TITLES = ("", "price", "provider", "date", "price book", "")


def quotes_table(offers: Sequence[QuotedOffer]) -> str:
    """Return all prices of each machine and price plan: the one that counts, and the others against it.

    Parameters
    ----------
    offers : sequence of QuotedOffer
        As `compare` puts them side by side.
    """
    blocks = []
    for (machine, plan), group in itertools.groupby(offers, key=lambda offer: (offer.machine, offer.plan)):
        lines = aligned(_TITLES, [_row(offer) for offer in group])
        blocks.append("\n".join([f"{machine}, {plan.replace('_', ' ')}", *lines]))
    if any(not offer.counts for offer in offers):
        blocks.append("A price that does not count is used with --prices and the name of its book.")
    return "\n\n".join(blocks) + "\n"


def _row(offer: QuotedOffer) -> list[str]:
    usd = f"{offer.usd:,.2f} USD" + ("" if offer.plan == "owned" else "/h")
    same = offer.amount_text.replace(",", "") == usd.replace(",", "")
    return [
        "counts" if offer.counts else "" if offer.relative is None else f"{100 * offer.relative:+.1f} %",
        offer.amount_text if same else f"{offer.amount_text} = {usd}",
        offer.provider,
        offer.date,
        offer.book,
        offer.why,
    ]
