"""Quotes become price books; whatever is wrong with a row is said with its row and column, all of it together."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import QuoteDefaults
from planner.catalog.imports.quote_books import book_text, books_of, compare, differences
from planner.catalog.imports.quote_columns import parse_mapping
from planner.catalog.imports.quote_titles import price_title
from planner.catalog.imports.quotes import Quotes, read_quotes
from planner.errors import CatalogError, InputError, UnknownNameError

TODAY = datetime.date(2026, 11, 26)
HEAD = "Machine,Unit price (USD/h),Vendor,Quote date,Reference\n"
SHIPPED = Catalog()  # read once
Read = Callable[..., Quotes]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a CSV of the given text."""

    def from_text(text: str, name: str = "quotes.csv", **options: Any) -> Quotes:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_quotes(path, options.pop("catalog", None) or SHIPPED, today=TODAY, **options)

    return from_text


def written(found: Quotes, folder: Path, name: str = "offers", *, default: bool = True) -> Catalog:
    """The catalog with the books of these quotes."""
    for book, quotes in books_of(found, name).items():
        path = folder / "overlay" / "prices" / f"{book}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(book_text(quotes, found, default=default), encoding="utf-8")
    return Catalog([folder / "overlay"])


# -- what is read -----------------------------------------------------------------------------------------------------


def test_a_price_book_out_of_a_csv(read: Read, tmp_path: Path) -> None:
    found = read(
        HEAD + "dgx-h100,31.50,Acme Cloud,2026-11-20,offer 4711\nDGX-A100,14.2,Acme Cloud,2026-11-20,\n", "q.csv"
    )
    price = written(found, tmp_path).price_of("dgx-h100")
    assert price is not None
    assert (price.usd_per_hour, price.book, price.provider, price.kind) == (31.5, "offers", "Acme Cloud", "quote")
    assert (price.date, price.source) == (datetime.date(2026, 11, 20), "offer 4711")
    other = written(found, tmp_path).price_of("dgx-a100")
    assert other is not None and other.usd_per_hour == 14.2 and "q.csv" in other.source
    assert found.notes == []


@pytest.mark.parametrize(
    ("title", "cell", "usd_per_hour"),
    [
        ("Price (USD/h)", "31.50", 31.5),
        ("Price per hour, USD", "31.5", 31.5),
        ("Price", "$31.50/h", 31.5),
        ("Price", "31.50 USD/hour", 31.5),
        ("Price", "USD 31.50 per hour", 31.5),
        ("Monthly price (USD)", '"22,995.00"', 31.5),
        ("Price ($/month)", "22995", 31.5),
        ("Price", "22995 USD/month", 31.5),
        ("Price", "275940 USD per year", 31.5),
        ("Price", "275.94 k USD per year", 31.5),
        ("Price", "$275.94k/year", 31.5),
        ("Price", "2.7594e5 USD/year", 31.5),
        ("Price", "US$31.50/h", 31.5),
        ("Price", '"31.50 USD/h per machine, excl. VAT"', 31.5),
    ],
)
def test_units_of_a_price(read: Read, tmp_path: Path, title: str, cell: str, usd_per_hour: float) -> None:
    found = read(f'Machine,"{title}",Vendor,Date\ndgx-h100,{cell},acme,2026-11-20\n')
    price = written(found, tmp_path).price_of("dgx-h100")
    assert price is not None and price.usd_per_hour == pytest.approx(usd_per_hour)


def test_plans_minimum_orders_and_purchases(read: Read, tmp_path: Path) -> None:
    found = read(
        "Item,Price,Plan,MOQ,Life,Residual,Maintenance,Supplier,Date\n"
        "dgx-h100,30 USD/h,1 year reserved,4,,,,acme,2026-11-20\n"
        "dgx-h100,25 USD/h,36 months,,,,,acme,2026-11-20\n"
        "dgx-h100,18 USD/h,Spot,,,,,acme,2026-11-20\n"
        "dgx-h100,265000 USD,Purchase,2,4 years,10 %,5 %,acme,2026-11-20\n"
    )
    catalog = written(found, tmp_path)
    book = catalog.price_book("offers")
    assert (book.reserved_1y, book.reserved_3y, book.spot) == ({"dgx-h100": 30.0}, {"dgx-h100": 25.0}, {"dgx-h100": 18})
    assert (book.owned["dgx-h100"].purchase, book.owned["dgx-h100"].life_months) == (265000.0, 48.0)
    assert book.owned["dgx-h100"].residual_fraction == pytest.approx(0.1)
    assert book.terms_of("reserved_1y", "dgx-h100").minimum_order == 4


def test_titles_that_are_named_and_machines_that_are_mapped(read: Read) -> None:
    found = read(
        "What;How much;When\nDGX H100 640GB;31.5;20.11.2026\n",
        mapping=parse_mapping(['machine=What,price="How much"', "date=When"]),
        machine_names={"dgx h100 640gb": "dgx-h100"},
        defaults=QuoteDefaults(provider="acme", currency="USD", period="h"),
    )
    (quote,) = found.quotes
    assert (quote.machine, quote.amount_text, quote.date) == ("dgx-h100", "31.50 USD/h", datetime.date(2026, 11, 20))


def test_rows_above_the_titles_totals_and_repeated_titles_are_passed_over(read: Read) -> None:
    row = "dgx-h100,31.5,acme,2026-11-20,x\n"
    found = read(f"Offer of acme,,,,\n,,,,\n{HEAD}{row}{HEAD}{row}Total,,,,\n,,,,\n".replace("Total,,", ",,Total"))
    assert len(found.quotes) == 1
    assert any("row 6 repeats row 4" in note for note in found.notes)
    assert any("rows without a quote left out: 5, 7" in note for note in found.notes)


def test_old_and_expired_quotes(read: Read) -> None:
    text = "Machine,Price (USD/h),Vendor,Date,Valid until\n"
    found = read(text + "dgx-h100,31,acme,2025-01-02,\ndgx-a100,14,acme,2026-11-01,2026-11-20\n")
    assert [q.machine for q in found.quotes] == ["dgx-h100"]
    assert any("row 2: the price of dgx-h100 is 693 days old" in note for note in found.notes)
    assert any("row 3: the quote for dgx-a100 is left out: expired on 2026-11-20" in note for note in found.notes)
    with pytest.raises(InputError, match="no quote that counts"):
        read(text + "dgx-a100,14,acme,2026-11-01,2026-11-20\n")


# -- side by side -----------------------------------------------------------------------------------------------------


def test_two_quotes_for_one_machine_stand_side_by_side(read: Read, tmp_path: Path) -> None:
    found = read(HEAD + "dgx-h100,31.50,Acme,2026-11-20,a\ndgx-h100,29.00,Globex & Co.,2026-11-10,b\n")
    books = books_of(found, "h100")
    assert list(books) == ["h100-acme", "h100-globex-co"]
    globex, acme, before = compare(books, SHIPPED, default=True)
    assert (globex.counts, globex.usd, globex.why) == (True, 29.0, "cheapest")
    assert not acme.counts and acme.relative == pytest.approx(31.5 / 29 - 1)
    assert acme.why == "8.62 % dearer than that of Globex & Co. (h100-globex-co)"
    newest, *_ = compare(books, Catalog(quotes="newest"), default=True)
    assert (newest.counts, newest.usd) == (True, 31.5)
    assert not before.counts and before.row is None
    catalog = written(found, tmp_path, "h100")
    price = catalog.price_of("dgx-h100")
    assert price is not None and price.book == globex.book  # what is said is what plans use
    named = catalog.price_of("dgx-h100", [acme.book])
    assert named is not None and named.usd_per_hour == 31.5


def test_what_counts_is_what_the_catalog_says_whatever_the_dates(read: Read, tmp_path: Path) -> None:
    for n, (mine, theirs) in enumerate([("2026-11-20", "2026-11-20"), ("2023-01-01", "2023-02-01")]):
        found = read(HEAD + f"dgx-h100,31.50,zeta,{mine},\ndgx-h100,29.00,alpha,{theirs},\ndgx-a100,9,zeta,{mine},\n")
        offers = compare(books_of(found, "b"), SHIPPED, default=True)
        catalog = written(found, tmp_path / str(n), "b")
        for machine in ("dgx-h100", "dgx-a100"):
            (counting,) = (offer for offer in offers if offer.counts and offer.machine == machine)
            price = catalog.price_of(machine)
            assert price is not None and (price.book, price.usd_per_hour) == (counting.book, counting.usd)


def test_a_book_that_is_not_default_counts_only_by_name(read: Read, tmp_path: Path) -> None:
    found = read(HEAD + "dgx-h100,31.50,acme,2026-11-20,a\n")
    before, mine = compare(books_of(found, "offers"), SHIPPED, default=False)
    assert not mine.counts and before.counts
    catalog = written(found, tmp_path, default=False)
    price = catalog.price_of("dgx-h100")
    assert price is not None and price.book == before.book


def test_other_currencies_need_a_rate(read: Read, tmp_path: Path) -> None:
    text = (
        "Machine,Price,Currency,Unit,Vendor,Date\n"
        "dgx-h100,30,EUR,per hour,acme,2026-11-20\ndgx-a100,15,USD,/h,acme,2026-11-20\n"
    )
    with pytest.raises(InputError, match="no rate to turn it into USD") as caught:
        read(text)
    assert "row 2, column C (Currency)" in str(caught.value.where)
    folder = tmp_path / "rates" / "currencies"
    folder.mkdir(parents=True)
    (folder / "EUR.yaml").write_text("source: a bank\nkind: quote\ndate: 2026-11-20\nusd_per_unit: 1.1\n")
    catalog = Catalog([tmp_path / "rates"])
    found = read(text, catalog=catalog)
    books = books_of(found, "b")
    assert list(books) == ["b-eur", "b-usd"]
    assert next(o for o in compare(books, catalog, default=True) if o.book == "b-eur").usd == pytest.approx(33.0)
    assert "30.00 EUR/h" in book_text(books["b-eur"], found, default=True)


def test_what_a_refresh_changes(read: Read, tmp_path: Path) -> None:
    old = written(read(HEAD + "dgx-h100,40,acme,2026-10-01,\ndgx-a100,14,acme,2026-10-01,\n"), tmp_path)
    new = read(HEAD + "dgx-h100,31.60,acme,2026-11-20,\ndgx-h200,50,acme,2026-11-20,\n")
    assert differences(old.price_book("offers"), new.quotes) == [
        "acme, 2026-10-01, USD -> acme, 2026-11-20, USD",
        "dgx-h100 on_demand: 40.00 USD/h -> 31.60 USD/h (-21.0 %)",
        "dgx-a100 on_demand: gone, was 14.00 USD/h",
        "dgx-h200 on_demand: new, 50.00 USD/h",
    ]
    assert differences(old.price_book("offers"), read(HEAD + "dgx-h100,40,acme,2026-10-01,\n").quotes)[-1].endswith(
        "gone, was 14.00 USD/h"
    )


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "column", "words", "fix"),
    [
        ("dgx-h100,-5,acme,2026-11-20,", "B (Unit price (USD/h))", "above 0", None),
        ("dgx-h100,0,acme,2026-11-20,", "B (Unit price (USD/h))", "above 0", None),
        ("dgx-h100,,acme,2026-11-20,", "B (Unit price (USD/h))", "no price", None),
        ("dgx-h100,1.2.3,acme,2026-11-20,", "B (Unit price (USD/h))", "not a number with a decimal point", None),
        ("dgx-h100,31.5 USD/GPU/h,acme,2026-11-20,", "B (Unit price (USD/h))", "far from the others", "--accept"),
        ("dgx-h100,3.1,acme,2026-11-20,", "B (Unit price (USD/h))", "far from the others", "--unit GPU/h"),
        ("dgx-h100,31.5 %,acme,2026-11-20,", "B (Unit price (USD/h))", "not understood", "31.50"),
        ("dgx-h100,~31.5,acme,2026-11-20,", "B (Unit price (USD/h))", "not understood", "31.50"),
        ("dgx-h100,31.5*,acme,2026-11-20,", "B (Unit price (USD/h))", "not understood", "31.50"),
        ("dgx-h100,31 - 33,acme,2026-11-20,", "B (Unit price (USD/h))", "not a price", "31.50"),
        ("dgx-h100,31.5 USD/h incl. VAT,acme,2026-11-20,", "B (Unit price (USD/h))", "with tax in it", "net price"),
        ("dgx-h100,A$31.5,acme,2026-11-20,", "B (Unit price (USD/h))", "two currencies", "the same"),
        ("dgx-h100,31.5 EUR/h,acme,2026-11-20,", "B (Unit price (USD/h))", "two currencies", "the same"),
        ("dgx-h100,31.5 USD/month,acme,2026-11-20,", "B (Unit price (USD/h))", "two units", "the same"),
        (
            "dgx-h10,31.5,acme,2026-11-20,",
            "A (Machine)",
            "unknown machine 'dgx-h10'",
            '--machine-map "dgx-h10=dgx-h100"',
        ),
        (",31.5,acme,2026-11-20,", "A (Machine)", "no machine", None),
        ("dgx-h100,31.5,,2026-11-20,", "C (Vendor)", "no provider", "--provider"),
        ("dgx-h100,31.5,acme,,", "D (Quote date)", "no date", "--date"),
        ("dgx-h100,31.5,acme,11/12/2026,", "D (Quote date)", "not a date", "2026-11-20"),
        ("dgx-h100,31.5,acme,2027-01-01,", "D (Quote date)", "in the future", None),
        ("=cmd|' /C calc'!A0,31.5,acme,2026-11-20,", "A (Machine)", "unknown machine", None),
        ("dgx-h100,=1+1,acme,2026-11-20,", "B (Unit price (USD/h))", "not a price", None),
    ],
)
def test_a_fault_has_its_row_and_column(read: Read, row: str, column: str, words: str, fix: str | None) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")) as caught:
        read(HEAD + row + "\n")
    assert str(caught.value.where).endswith(f"quotes.csv, row 2, column {column}")
    assert fix is None or fix in str(caught.value.fix)


def test_all_faults_are_reported_together(read: Read) -> None:
    rows = "dgx-h10,-1,acme,2026-11-20,\ndgx-a100,14,acme,soon,\ndgx-h200,x,acme,2026-11-20,\n"
    with pytest.raises(InputError) as caught:
        read(HEAD + rows)
    assert len(caught.value.also) == 3
    assert [f"row {n}" in line for n, line in zip((2, 3, 4), caught.value.also, strict=True)] == [True] * 3
    assert caught.value.suggestions == ["dgx-h100", "dgx-h100-cap", "dgx-h200"] or caught.value.suggestions


def test_two_prices_of_one_provider_on_one_day(read: Read) -> None:
    with pytest.raises(InputError, match="a second price for dgx-h100 from acme") as caught:
        read(HEAD + "dgx-h100,31,acme,2026-11-20,\ndgx-h100,30,acme,2026-11-20,\n")
    assert caught.value.value == "31.00 USD/h in row 2, 30.00 USD/h here"


def test_a_purchase_needs_a_life(read: Read) -> None:
    text = "Machine,Price,Plan,Vendor,Date\ndgx-h100,265000 USD,purchase,acme,2026-11-20\n"
    with pytest.raises(InputError, match="a purchase without a life"):
        read(text)
    assert read(text, defaults=QuoteDefaults(life="4 years")).quotes[0].life == "4 years"
    with pytest.raises(InputError, match="unknown price plan"):
        read(text.replace("purchase", "barter"))


def test_missing_units_and_currencies(read: Read) -> None:
    text = "Machine,Price,Vendor,Date\ndgx-h100,31.5,acme,2026-11-20\n"
    with pytest.raises(InputError, match="without its currency") as caught:
        read(text)
    assert any("without its unit" in line for line in caught.value.also)
    assert read(text, defaults=QuoteDefaults(currency="USD", period="h")).quotes[0].amount_text == "31.50 USD/h"
    with pytest.raises(InputError, match="not a currency"):
        read("Machine,Price,Currency,Vendor,Date\ndgx-h100,31.5,dollars,acme,2026-11-20\n")


@pytest.mark.parametrize(
    ("head", "words", "near"),
    [
        ("Mashine,Price (USD/h),Vendor,Date", "no column for the machine", "Mashine"),
        ("Machine,Prise,Vendor,Date", "no column for the price", "Prise"),
        ("Machine,Cost (USD/h),Vendor,Date", "no column for the price", None),
    ],
)
def test_missing_columns(read: Read, head: str, words: str, near: str | None) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(head + "\ndgx-h100,31.5,acme,2026-11-20\n")
    assert near is None or caught.value.suggestions == [near]
    assert "--map " in str(caught.value.fix) and head.split(",")[1] in str(caught.value.value)


def test_mappings_that_cannot_be() -> None:
    for text in ("machine", "=x", "machine="):
        with pytest.raises(InputError, match="not a column"):
            parse_mapping([text])
    with pytest.raises(UnknownNameError, match="unknown role") as caught:
        parse_mapping(["prize=Cost"])
    assert caught.value.suggestions[0] == "price"
    with pytest.raises(InputError, match="given twice"):
        parse_mapping(["price=A", "price=B"])
    assert parse_mapping(['price="Price, net",machine=Item']) == {"price": "Price, net", "machine": "Item"}


def test_a_mapped_title_that_is_not_there(read: Read) -> None:
    with pytest.raises(InputError, match="no column 'Unit prices'") as caught:
        read(HEAD + "dgx-h100,1,a,2026-11-20,\n", mapping={"price": "Unit prices"})
    assert caught.value.suggestions == ["Unit price (USD/h)"]
    with pytest.raises(UnknownNameError, match="unknown machine"):
        read(HEAD, machine_names={"x": "dgx-h1000"})


def test_books_need_names_that_files_can_have(read: Read) -> None:
    found = read(HEAD + "dgx-h100,31,a,2026-11-20,\n")
    for name in ("", "../up", "a b", ".hidden"):
        with pytest.raises(InputError, match="not a name of a price book"):
            books_of(found, name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "nothing in this file"),
        (b"Machine,Price\n\x81\xfe,1\n", "not UTF-8"),
        (b"PK\x03\x04", "workbook under the name"),
        (b'Machine,"Price\n', "not a CSV"),
    ],
)
def test_files_that_are_no_csv(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "quotes.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_quotes(path, Catalog(), today=TODAY)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read_quotes(tmp_path / "none.csv", Catalog(), today=TODAY)
    (tmp_path / "quotes.pdf").write_bytes(b"%PDF")
    with pytest.raises(InputError, match="Excel workbooks and CSV files"):
        read_quotes(tmp_path / "quotes.pdf", Catalog(), today=TODAY)


def test_injected_text_is_kept_as_text(read: Read, tmp_path: Path) -> None:
    """In YAML it is inert; tests of the workbook and of CSV show that it is never written as a formula."""
    attack = "=cmd|' /C calc'!A0"
    found = read(HEAD + f"dgx-h100,31.5,@SUM(1),2026-11-20,{attack}\ndgx-a100,9,@SUM(1),2026-11-20,'{attack}\n")
    catalog = written(found, tmp_path)
    for machine in ("dgx-h100", "dgx-a100"):
        price = catalog.price_of(machine)
        assert price is not None and (price.source, price.provider) == (attack, "@SUM(1)")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Price (EUR/month)", ("EUR", "month")),
        ("Rate, $/h", ("USD", "h")),
        ("Hourly price", (None, "h")),
        ("Price", (None, None)),
        ("Stundensatz EUR", ("EUR", "h")),
        ("Prix HT (€/mois)", ("EUR", "month")),
    ],
)
def test_units_in_titles(text: str, unit: tuple[str | None, str | None]) -> None:
    said, _ = price_title(text)
    assert (said.currency, said.period) == unit and not said.unknown


def test_the_catalog_itself_reports_what_the_importer_cannot(tmp_path: Path) -> None:
    """A rate that was taken away afterwards is an error of the catalog, as before."""
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "b.yaml").write_text(
        "source: offer\nkind: quote\nprovider: a\ndate: 2026-11-25\ncurrency: EUR\non_demand: {dgx-h100: 30 EUR/h}\n"
    )
    with pytest.raises(CatalogError, match="no rate"):
        Catalog([tmp_path]).price_of("dgx-h100")
