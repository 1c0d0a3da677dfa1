"""Price lists as they come: every line is stored right or refused, none wrong.

The right value of each line was worked out by hand from what it says: the price of one machine an hour in its currency,
or of a purchase its price.
"""

from __future__ import annotations

import codecs
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.imports.quote import QuoteDefaults
from planner.catalog.imports.quote_books import book_text, books_of
from planner.catalog.imports.quote_columns import parse_mapping
from planner.catalog.imports.quotes import Quotes, read_quotes
from planner.errors import InputError

TODAY = datetime.date(2026, 11, 30)
DAY = datetime.date(2026, 11, 20)
RATES = {"EUR": 1.1, "CHF": 1.2, "CAD": 0.72, "GBP": 1.3}
Read = Callable[..., Quotes]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A catalog that knows some exchange rates, read once."""
    folder = tmp_path_factory.mktemp("rates")
    (folder / "currencies").mkdir()
    for code, rate in RATES.items():
        text = f"source: bank\nkind: quote\ndate: 2026-11-20\nusd_per_unit: {rate}\n"
        (folder / "currencies" / f"{code}.yaml").write_text(text)
    return Catalog([folder])


@pytest.fixture
def read(tmp_path: Path, catalog: Catalog) -> Read:
    """Read a file of the given content."""

    def of(content: str | bytes, name: str = "q.csv", **options: Any) -> Quotes:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_quotes(path, catalog, today=TODAY, **options)

    return of


# Titles | row | price of one machine an hour and its currency, or part of the reason for which it is refused.
LINES: list[tuple[str, str, float | str, str]] = [
    # per accelerator
    ("Machine|Price|Unit", "dgx-h100|3.10|USD/GPU/h", 24.80, "USD"),
    ("Machine|Price", "dgx-h100|$3.10/GPU/hr", 24.80, "USD"),
    ("Machine|Price (USD per GPU-hour)", "dgx-h100|3.10", 24.80, "USD"),
    ("Machine|Price (USD/h)|Notes", "dgx-h100|3.10|price is per GPU", 24.80, "USD"),
    ("Machine|Price|UoM|Currency", "dgx-h100|3.10|GPU hour|USD", 24.80, "USD"),
    ("Machine|Price", "dgx-h100|USD 3.10 per H100 hour", 24.80, "USD"),
    ("Machine|Price (USD/h)", "dgx-h100|3.10", "far from the others", ""),
    ("Machine|Price (USD/h)|Notes", "dgx-h100|24.80/machine|per GPU", "two units", ""),
    ("Machine|Rate, $/accelerator/month", "dgx-h100|2263", 24.80, "USD"),
    # thousands and millions
    ("Machine|Price (k USD)|Plan|Life", "dgx-h100|270|purchase|4 years", 270000.0, "USD"),
    ("Machine|Price USD'000|Plan|Life", "dgx-h100|270|purchase|4 years", 270000.0, "USD"),
    ("Machine|Preis (TEUR)|Plan|Life", "dgx-h100|250|Kauf|48 Monate", 250000.0, "EUR"),
    ("Machine|Price|Plan|Life", "dgx-h100|0.27 M USD|purchase|4 years", 270000.0, "USD"),
    ("Machine|Price|Plan|Life", "dgx-h100|270 USD|purchase|4 years", "far from the others", ""),
    # currencies
    ("Machine|Price", "dgx-h100|C$41.50/h", 41.50, "CAD"),
    ("Machine|Price|Currency", "dgx-h100|C$41.50/h|USD", "two currencies", ""),
    ("Machine|Price", "dgx-h100|¥4500/h", "not understood", ""),
    ("Machine|Price", "dgx-h100|A$41.50/h", "no rate", ""),
    ("Machine|Price", "dgx-h100|41.50 kr/h", "not understood", ""),
    ("Machine|Price", "dgx-h100|£24.50 per hour", 24.50, "GBP"),
    # which of two prices
    ("Machine|List price (USD/h)|Net price (USD/h)", "dgx-h100|38|31", "could be the price", ""),
    ("Machine|Rate (USD/h)|Price (USD/h)", "dgx-h100|38|31", "could be the price", ""),
    ("Machine|Price (USD/h)|Price 10+ (USD/h)", "dgx-h100|38|31", "could be the price", ""),
    ("Machine|Price (USD/h)|Discount", "dgx-h100|38|10 %", "before it or after", ""),
    ("Machine|Net price (USD/h)|Discount", "dgx-h100|31|10 %", 31.0, "USD"),
    ("Machine|Price (USD/h)|Qty|Total", "dgx-h100|124|4|124", "all machines together", ""),
    ("Machine|Price (USD/h)|Qty|Total", "dgx-h100|31|4|124", 31.0, "USD"),
    # times
    ("Machine|Price|Unit|Currency", "dgx-h100|744|day|USD", 31.0, "USD"),
    ("Machine|Price|Unit|Currency", "dgx-h100|5208|week|USD", 31.0, "USD"),
    ("Machine|Price|Unit|Currency", "dgx-h100|22630|month|USD", 31.0, "USD"),
    ("Machine|Price|Unit|Currency", "dgx-h100|271560|year|USD", 31.0, "USD"),
    ("Machine|Price|Unit|Currency", "dgx-h100|31|per node-hour|USD", 31.0, "USD"),
    ("Machine|Price|Unit|Currency|Life", "dgx-h100|265000|each|USD|4 years", "without its unit", ""),
    ("Machine|Price|Unit|Currency|Plan|Life", "dgx-h100|265000|each|USD|purchase|4 years", 265000.0, "USD"),
    ("Machine|Price|Unit|Currency", "dgx-h100|31|fortnight|USD", "not understood", ""),
    ("Machine|Price (USD/h)|Unit", "dgx-h100|31|month", "two units", ""),
    ("Machine|Price (USD/month)|Plan|Life", "dgx-h100|9000|purchase|4 years", "purchase with a price for a time", ""),
    # how numbers are written
    ("Machine|Price (EUR/h)", "dgx-h100|28,50", 28.50, "EUR"),
    ("Machine|Price|Plan|Life", "dgx-h100|245.000,00 €|Kauf|4 Jahre", 245000.0, "EUR"),
    ("Machine|Price|Plan|Life", "dgx-h100|CHF 245'000.50|purchase|4 years", 245000.5, "CHF"),
    ("Machine|Price|Plan|Life", "dgx-h100|1 245,5|purchase|4 years", "without its currency", ""),
    ("Machine|Price (USD/h)", "dgx-h100|28-31", "not a price", ""),
    ("Machine|Price (USD/h)", "dgx-h100|from 28", "not understood", ""),
    ("Machine|Price (USD/h)", "dgx-h100|~31", "not understood", ""),
    ("Machine|Price (USD/h)", "dgx-h100|31*", "not understood", ""),
    ("Machine|Price (USD/h)", "dgx-h100|(31)", 31.0, "USD"),
    # machines
    ("Machine|Price (USD/h)", "NVIDIA DGX H100 640GB|31", 31.0, "USD"),
    ("GPU type|GPUs per node|Price (USD/GPU/h)", "H100|8|3.10", 24.80, "USD"),
    ("GPU type|GPUs per node|Price (USD/GPU/h)", "H100|4|3.10", "--machine-map", ""),
    ("Machine|Price (USD/h)", "8x A100|16", "several machines", ""),
    ("Machine|Price (USD/h)", "8x H100 PCIe|20", "unknown machine", ""),
    # plans
    ("Machine|Price (USD/h)|Term", "dgx-h100|24|Reserved for 2 years", 24.0, "USD"),
    ("Machine|Price (USD/h)|Term", "dgx-h100|24|12 or 36 months", "unknown price plan", ""),
    ("Machine|Price (USD/h)|Term", "dgx-h100|24|5 years", "unknown price plan", ""),
    ("Machine|Price (USD/h)|Remarks", "dgx-h100|24|3-year commitment required", "remark that says reserved 3y", ""),
    ("Machine|Price (USD/h)|Plan|Upfront", "dgx-h100|20|1 year reserved|43800 USD", 25.0, "USD"),
    ("Machine|Price (USD/h)|Upfront", "dgx-h100|20|43800 USD", "payment at the start", ""),
    # tax
    ("Machine|Price (EUR/h incl. MwSt.)", "dgx-h100|28.50", "tax in it", ""),
    ("Machine|Prix HT (EUR/heure)", "dgx-h100|28.50", 28.50, "EUR"),
    ("Machine|Prix TTC (EUR/heure)", "dgx-h100|28.50", "tax in it", ""),
]  # fmt: skip


@pytest.mark.parametrize(("titles", "row", "wanted", "currency"), LINES)
def test_a_messy_line(read: Read, titles: str, row: str, wanted: float | str, currency: str) -> None:
    content = f"{titles}|Vendor|Date\n{row}|acme|2026-11-20\n".replace("|", "\t")
    if isinstance(wanted, str):
        with pytest.raises(InputError) as caught:
            read(content)
        assert wanted in str(caught.value)
    else:
        (quote,) = read(content).quotes
        assert (quote.per_hour, quote.currency) == (pytest.approx(wanted), currency)


def test_what_was_multiplied_is_shown_and_kept(read: Read) -> None:
    found = read("Machine,Price (USD/GPU/h),Vendor,Date\ndgx-h100,3.10,acme,2026-11-20\n")
    assert "row 2: 3.1 USD/h an accelerator x 8 = 24.80 USD/h" in found.notes
    assert "quoted as 3.1 USD/h an accelerator x 8" in book_text(found.quotes, found, default=True)


def test_what_a_refusal_suggests_is_not_a_wrong_price(read: Read) -> None:
    """Following the fix of a price that is 8 times too low stores the price of the machine."""
    text = "Machine,Price (USD),Vendor,Date\ndgx-h100,3.10,acme,2026-11-20\n"
    with pytest.raises(InputError, match="without its unit") as caught:
        read(text)
    assert "--unit GPU/h" in str(caught.value.fix)
    with pytest.raises(InputError, match="far from the others") as caught:
        read(text, defaults=QuoteDefaults(period="h"))
    assert "--unit GPU/h" in str(caught.value.fix)
    (quote,) = read(text, defaults=QuoteDefaults(period="h", per="accelerator")).quotes
    assert quote.amount == 24.80


@pytest.mark.parametrize(
    ("encode", "note"),
    [
        (lambda text: text.encode("cp1252"), True),
        (lambda text: text.encode("utf-16"), False),
        (lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"), False),
        (lambda text: text.encode("utf-16-le"), False),
        (lambda text: codecs.BOM_UTF8 + text.encode(), False),
    ],
)
def test_a_german_list_in_any_encoding(read: Read, encode: Callable[[str], bytes], note: bool) -> None:
    text = (
        "Angebot der Müller GmbH;;;;\nGültig bis: 31.12.2026;;;;\n"
        "Maschine;Preis (€/h);Lieferant;Angebotsdatum;Lieferzeit\n"
        "DGX H100;28,50;Müller;20.11.2026;12 Wochen\nDGX A100;13,20;Müller;20. November 2026;ab Lager\n"
        "Summe;41,70;;;\nAlle Preise zzgl. MwSt.;;;;\n"
    )
    found = read(encode(text))
    assert [(q.machine, q.amount, q.currency, q.date) for q in found.quotes] == [
        ("dgx-h100", 28.5, "EUR", DAY), ("dgx-a100", 13.2, "EUR", DAY),
    ]  # fmt: skip
    assert found.quotes[0].lead_time == "12 weeks" and found.quotes[0].valid_until == datetime.date(2026, 12, 31)
    assert any("Windows-1252" in n for n in found.notes) == note
    assert "decimals come after a comma in this file" in found.notes


def test_a_french_list(read: Read) -> None:
    found = read(
        "Serveur;Prix unitaire HT (€/mois);Fournisseur;Date du devis;Valable jusqu'au;Délai de livraison;Engagement\n"
        "DGX H100;20 440,00;OVH;20 novembre 2026;1er janvier 2027;8 semaines;réservé 3 ans\n"
    )
    (quote,) = found.quotes
    assert (quote.plan, quote.per_hour, quote.currency) == ("reserved_3y", pytest.approx(28.0), "EUR")
    assert (quote.valid_until, quote.lead_time) == (datetime.date(2027, 1, 1), "8 weeks")


def test_what_is_said_above_or_below_holds_for_all(read: Read) -> None:
    head = "Machine,Price,Vendor,Date\n"
    row = "dgx-h100,3.10,acme,2026-11-20\n"
    for text in (
        "All prices in USD per GPU per hour,,,\n" + head + row,
        head + row + "All prices in USD per GPU per hour,,,\n",
        "Currency: USD,,,\nUnit:,GPU/h,,\n" + head + row,
    ):
        (quote,) = read(text).quotes
        assert (quote.amount, quote.currency, quote.period) == (24.80, "USD", "h")
    with pytest.raises(InputError, match="contradict"):
        read("All prices in USD per hour,,,\n" + head + row + "All prices in EUR per hour,,,\n")


def test_decimal_signs(read: Read) -> None:
    head = "Machine;Price (USD/month);Vendor;Date\n"
    with pytest.raises(InputError, match="two ways"):
        read(head + "dgx-h100;22,630;acme;2026-11-20\n")
    assert read(head + "dgx-h100;22,630;acme;2026-11-20\n", decimal="point").quotes[0].amount == 22630
    with pytest.raises(InputError, match="far from the others"):
        read(head + "dgx-h100;22,630;acme;2026-11-20\n", decimal="comma")
    with pytest.raises(InputError, match="one decimal sign"):
        read(head + "dgx-h100;22630,50;acme;2026-11-20\ndgx-a100;9630.50;acme;2026-11-20\n")


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-11-20", DAY), ("20.11.2026", DAY), ("20/11/2026", DAY), ("11/20/2026", DAY), ("20-Nov-2026", DAY),
        ("November 20th, 2026", DAY), ("20. Nov. 2026", DAY), ("2026/11/20", DAY), ("20261120", DAY), ("46346", DAY),
        ("20.11.26", DAY), ("Friday, 20 November 2026", DAY), ("2026-11-20 14:30", DAY), ("10/11/2026", None),
        ("Nov 2026", None), ("20/11/26", None), ("31.11.2026", None), ("Q4", None),
    ],
)  # fmt: skip
def test_dates_of_any_order_that_can_be_read_in_one_way(read: Read, text: str, date: datetime.date | None) -> None:
    content = f'Machine,Price (USD/h),Vendor,Date\ndgx-h100,31,acme,"{text}"\n'
    if date is None:
        with pytest.raises(InputError, match="not a date"):
            read(content)
    else:
        assert read(content).quotes[0].date == date


def test_columns_that_are_not_read_are_listed_and_terms_are_kept(read: Read, tmp_path: Path) -> None:
    found = read(
        "Machine,Price (USD/h),Vendor,Date,Lead time (weeks),Stock,MOQ,Available from,Warranty,Cooling\n"
        "dgx-h100,31,acme,2026-11-20,8-12,40,2,2027-02-01,3 years,air\n"
    )
    assert "columns not read: Warranty, Cooling" in found.notes
    (quote,) = found.quotes
    text = book_text([quote], found, default=True)
    for line in ("lead_time: 12", "max_count: 40", "minimum_order: 2", "available_from: 2027-02-01"):
        assert line in text


def test_tiers_of_quantity_go_into_books_of_their_own(read: Read) -> None:
    found = read(
        "Machine,Price (USD/h),Vendor,Date,From quantity\n"
        "dgx-h100,31,acme,2026-11-20,1\ndgx-h100,28,acme,2026-11-20,16\n"
    )
    books = books_of(found, "offer")
    assert list(books) == ["offer", "offer-from-16"]
    tier = book_text(books["offer-from-16"], found, default=True)
    assert "default: false" in tier and "minimum_order: 16" in tier


def test_prices_of_several_plans_side_by_side(read: Read) -> None:
    found = read(
        "Machine,On demand (USD/h),1 year reserved (USD/h),3 years reserved (USD/h),Spot (USD/h),Vendor,Date\n"
        "dgx-h100,38,31,24,18,acme,2026-11-20\ndgx-a100,17,14,,n/a,acme,2026-11-20\n"
    )
    got = {(q.machine, q.plan): q.amount for q in found.quotes}
    assert got == {
        ("dgx-h100", "on_demand"): 38, ("dgx-h100", "reserved_1y"): 31, ("dgx-h100", "reserved_3y"): 24,
        ("dgx-h100", "spot"): 18, ("dgx-a100", "on_demand"): 17, ("dgx-a100", "reserved_1y"): 14,
    }  # fmt: skip


def test_an_offer_on_request_and_one_that_holds_later_are_left_out_and_said(read: Read) -> None:
    found = read(
        "Machine,Price (USD/h),Vendor,Date,Valid from\ndgx-h100,31,acme,2026-11-20,\n"
        "dgx-a100,on request,acme,2026-11-20,\ndgx-h200,40,acme,2026-11-20,2027-01-01\n"
    )
    assert [q.machine for q in found.quotes] == ["dgx-h100"]
    assert any("dgx-a100 is left out: no price: on request" in n for n in found.notes)
    assert any("dgx-h200 is left out: holds from 2027-01-01 only" in n for n in found.notes)


def test_a_mapped_price_and_the_others_are_told(read: Read) -> None:
    found = read(
        "Machine,List price (USD/h),Net price (USD/h),Vendor,Date\ndgx-h100,38,31,acme,2026-11-20\n",
        mapping=parse_mapping(['price="Net price (USD/h)"']),
    )
    assert found.quotes[0].amount == 31 and "columns not read: List price (USD/h)" in found.notes


openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")


def test_merged_cells_serial_dates_and_currencies_of_number_formats(tmp_path: Path, read: Read) -> None:
    book = openpyxl.Workbook()
    page = book.active
    page.title = "Quotes"
    for row in [
        ("Machine", "Price per GPU/h", "Vendor", "Date"), ("DGX H100", 2.9, "acme", 46346),
        ("DGX A100", 1.6, None, None), ("8x H200", 3.6, None, None),
    ]:  # fmt: skip
        page.append(row)
    for cells in ("C2:C4", "D2:D4"):
        page.merge_cells(cells)
    for n in (2, 3, 4):
        page[f"B{n}"].number_format = "[$€-407] #,##0.00"
    book.create_sheet("More quotes").append(("Machine", "Price (USD/h)"))
    book.save(tmp_path / "quotes.xlsx")
    found = read((tmp_path / "quotes.xlsx").read_bytes(), "quotes.xlsx")
    assert [(q.machine, round(q.amount, 2), q.currency, q.provider, q.date) for q in found.quotes] == [
        ("dgx-h100", 23.2, "EUR", "acme", DAY), ("dgx-a100", 12.8, "EUR", "acme", DAY),
        ("dgx-h200", 28.8, "EUR", "acme", DAY),
    ]  # fmt: skip
    assert any("sheets with quotes that are not read: More quotes" in n for n in found.notes)
