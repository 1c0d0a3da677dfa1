"""Which price counts: the user's before the shipped, quotes before estimates, newer before older, cheapest."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.entry import SourceKind
from planner.catalog.precedence import PriceCandidate, ruling
from planner.economics.options import purchase_options

TODAY = datetime.date(2026, 11, 30)
Write = Callable[..., Path]


def text(provider: str, date: str, price: str, extra: str = "", kind: str = "quote") -> str:
    return (
        f"source: by hand\nkind: {kind}\nprovider: {provider}\ndate: {date}\n{extra}on_demand: {{dgx-h100: {price}}}\n"
    )


def opened(folder: Path, books: dict[str, str], **options: object) -> Catalog:
    (folder / "prices").mkdir(parents=True, exist_ok=True)
    for name, content in books.items():
        (folder / "prices" / f"{name}.yaml").write_text(content)
    return Catalog([folder], today=TODAY, **options)  # type: ignore[arg-type]


def book_and_price(catalog: Catalog, *books: str) -> tuple[str, float]:
    price = catalog.price_of("dgx-h100", books)
    assert price is not None
    return price.book, price.usd_per_hour


def test_an_older_quote_of_ours_goes_before_a_shipped_estimate(tmp_path: Path) -> None:
    """The shipped purchase price is an estimate collected in November 2026; ours is a quote of January."""
    ours = (
        "source: offer 17\nkind: quote\nprovider: acme\ndate: 2026-01-15\n"
        "owned: {dgx-h100: {purchase: '290,000 USD', life: 4 years}}\n"
        "terms: {owned: {dgx-h100: {lead_time: 3 months, minimum_order: 2}}}\n"
    )
    catalog = opened(tmp_path, {"acme": ours})
    (owned,) = (o for o in purchase_options(catalog, "dgx-h100") if o.plan == "owned")
    assert owned.source is not None and (owned.source.book, owned.source.provider) == ("acme", "acme")
    assert (owned.minimum_order, owned.available_from_month) == (2, 3.0)


def test_a_price_bears_the_date_it_was_valid_not_that_of_collection() -> None:
    """SemiAnalysis gave 270,000 USD in May 2023; it was collected in November 2026."""
    (owned,) = (o for o in purchase_options(Catalog(), "dgx-h100") if o.plan == "owned")
    assert owned.source is not None and owned.source.date == datetime.date(2023, 5, 31)


def test_of_one_vendor_the_newer_counts_though_dearer(tmp_path: Path) -> None:
    books = {"a": text("Acme", "2026-03-01", "25 USD/h"), "b": text("acme ", "2026-11-01", "27 USD/h")}
    assert book_and_price(opened(tmp_path, books)) == ("b", 27.0)
    assert any("Acme has a" in line and "newer one of 2026-11-01" in line
               for line in opened(tmp_path, books).unused_quotes("dgx-h100", "on_demand"))  # fmt: skip


def test_between_vendors_the_cheapest_counts_or_the_newest(tmp_path: Path) -> None:
    books = {"a": text("acme", "2026-03-01", "25 USD/h"), "b": text("globex", "2026-11-01", "27 USD/h")}
    catalog = opened(tmp_path, books)
    assert book_and_price(catalog) == ("a", 25.0)
    assert book_and_price(catalog.choosing("newest")) == ("b", 27.0)
    assert book_and_price(catalog, "b") == ("b", 27.0)
    (line,) = catalog.unused_quotes("dgx-h100", "on_demand")
    assert "8 % dearer than that of acme (a)" in line
    assert "a was named" in catalog.unused_quotes("dgx-h100", "on_demand", ["a"])[0]


def test_an_expired_price_counts_only_when_named(tmp_path: Path) -> None:
    books = {
        "a": text("acme", "2026-03-01", "25 USD/h", "valid_until: 2026-11-29\n"),
        "b": text("globex", "2026-11-01", "27 USD/h", "terms: {on_demand: {dgx-h100: {valid_until: 2026-11-30}}}\n"),
    }
    catalog = opened(tmp_path, books)
    assert book_and_price(catalog) == ("b", 27.0)  # its last day is today
    assert "expired on 2026-11-29" in catalog.unused_quotes("dgx-h100", "on_demand")[0]
    assert book_and_price(catalog, "a") == ("a", 25.0)


def test_currencies_are_compared_at_the_rate_of_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "currencies").mkdir()
    (tmp_path / "currencies" / "EUR.yaml").write_text(
        "source: bank\nkind: quote\ndate: 2026-11-01\nusd_per_unit: 1.2\n"
    )
    books = {
        "a": text("acme", "2026-03-01", "25 EUR/h", "currency: EUR\n"),
        "b": text("globex", "2026-11-01", "29 USD/h"),
    }
    assert book_and_price(opened(tmp_path, books)) == ("b", 29.0)


def test_a_change_of_a_shipped_book_is_a_price_of_ours(tmp_path: Path) -> None:
    """And the machines of that book which the overlay leaves alone stay the shipped ones."""
    changed = "source: mine\nkind: quote\non_demand: {dgx-h100: 99 USD/h}\n"
    other_book = text("acme", "2020-01-01", "120 USD/h").replace("dgx-h100", "dgx-a100")
    catalog = opened(tmp_path, {"splitwise-2023": changed, "mine": other_book})
    assert book_and_price(catalog) == ("splitwise-2023", 99.0)
    other = catalog.price_of("dgx-a100")
    assert other is not None and other.book == "mine"


def test_the_winner_is_that_of_a_brute_force_ranking() -> None:
    """Every set of three prices out of 48: the winner is least by (expired, shipped, firmness, replaced, price)."""
    days = [datetime.date(2026, 1, 1), datetime.date(2026, 6, 1)]
    until = [None, datetime.date(2026, 7, 1)]
    pool = [
        PriceCandidate(f"{n}", vendor, None, date, end, own, kind)  # type: ignore[arg-type]
        for n, (vendor, date, end, own, kind) in enumerate(
            itertools.product("xy", days, until, (True, False), ("quote", "derived", "estimate"))
        )
    ]
    usd = {c.book: 10.0 + (7 * int(c.book)) % 11 for c in pool}
    for some in itertools.islice(itertools.combinations(pool, 3), 0, None, 7):
        alive = [c for c in some if c.valid_until is None]
        best = ruling(some, lambda c: usd[c.book], TODAY).counting
        if not alive:
            assert best is None
            continue
        rank = {"quote": 0, "derived": 1, "estimate": 2}
        top = min((not c.is_own, rank[c.kind]) for c in alive)
        group = [c for c in alive if (not c.is_own, rank[c.kind]) == top]
        group = [c for c in group if not any(o.provider == c.provider and o.date > c.date for o in group)]
        assert best is not None and best in group
        assert usd[best.book] == min(usd[c.book] for c in group)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_in_which_they_are_given_does_not_matter(order: tuple[int, ...]) -> None:
    some = [PriceCandidate(b, b, None, TODAY, None, True, "quote") for b in "abc"]
    assert ruling([some[i] for i in order], lambda c: 1.0, TODAY).counting == some[0]


def test_every_kind_of_source_has_its_place() -> None:
    for kind in get_args(SourceKind):
        assert ruling([PriceCandidate("a", "b", None, TODAY, None, True, kind)], lambda c: 1.0, TODAY).counting
