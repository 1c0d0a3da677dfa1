"""Remarks that change what a price is for are refused; those that do not are not."""

from __future__ import annotations

import pytest

from planner.catalog.imports.quote_remarks import doubts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("price for half node", "says half node"),
        ("for 2 nodes", "says 2 nodes"),
        ("Preis für vier Karten", "says vier Karten"),
        ("10% discount from 10 nodes", "least quantity"),
        ("plus 5 % surcharge", "changes the price"),
        ("5 % Rabatt ab Januar", "changes the price"),
        ("excl. power", "power is billed beside"),
        ("zzgl. Stromkosten", "power is billed beside"),
        ("Comment: 12 month commitment", "says reserved 1y, and the price is on demand"),
        ("invoiced in EUR", "says EUR, and the price is in USD"),
        ("paid in advance", "payment in advance"),
    ],
)
def test_what_would_change_the_price_is_told(text: str, says: str) -> None:
    assert any(says in what for what, _ in doubts(text, "on_demand", "USD", 8))


@pytest.mark.parametrize(
    "text",
    [
        "", "8 GPUs included", "one node", "from Frankfurt; 3 in stock", "Storage: 30 TB NVMe", "no commitment",
        "ohne Mindestlaufzeit", "Contact: +49 151 234", "invoiced in USD", "vCPU: 208", "monthly billing", "air cooled",
    ],
)  # fmt: skip
def test_what_does_not_is_passed_over(text: str) -> None:
    assert not list(doubts(text, "on_demand", "USD", 8))
