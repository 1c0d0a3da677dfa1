"""Purchase options out of price books: by hand, and the faults of books that name their line."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.lint import lint
from planner.economics.options import Assumptions, PurchaseOption, purchase_options
from planner.errors import CatalogError, InputError, ScenarioError

HEAD = "source: an offer of ours\nkind: quote\n"
BOOK = f"""{HEAD}provider: shop
date: 2026-11-01
on_demand: {{dgx-h100: 40 USD/h}}
reserved_1y: {{dgx-h100: 30 USD/h}}
reserved_3y: {{dgx-h100: 14600 USD/month}}
spot: {{dgx-h100: 16 USD/h}}
owned:
  dgx-h100: {{purchase: $262.8k, life: 4 years, residual: 10 %, maintenance: 5 %, hosting_per_kw: 146 USD/month}}
terms:
  spot: {{dgx-h100: {{interruptions: 7.3 %/month, max_count: 8}}}}
  reserved_3y: {{dgx-h100: {{minimum_order: 4, available_from: 2027-03-01}}}}
  owned: {{dgx-h100: {{lead_time: 3 months}}}}
"""
Overlay = Callable[..., Catalog]


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    def make(text: str, **others: str) -> Catalog:
        for name, content in {"prices/shop": text, **{k.replace("__", "/"): v for k, v in others.items()}}.items():
            path = tmp_path / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return Catalog([tmp_path])

    return make


def options_of(catalog: Catalog, **keywords: object) -> dict[str, PurchaseOption]:
    found = purchase_options(catalog, "dgx-h100", books=["shop"], **keywords)  # type: ignore[arg-type]
    return {option.plan: option for option in found}


def test_every_plan_by_hand(overlay: Overlay) -> None:
    found = options_of(
        overlay(BOOK),
        assumptions=Assumptions(electricity_usd_per_kwh=0.10, pue=1.5, cost_of_capital_per_year=0.0),
        start=datetime.date(2026, 12, 1),
        power_w=8000.0,
    )
    assert list(found) == ["owned", "reserved_3y", "reserved_1y", "on_demand", "spot"]
    # No interest: 90 % of 262,800 over 4 years is 59,130 a year, 6.75 an hour; 5 % is 1.50 an hour; 10.2 kW x 0.20.
    assert found["owned"].fixed_usd_per_hour == pytest.approx(6.75 + 1.50 + 2.04)
    assert found["owned"].usage_usd_per_hour == pytest.approx(8.0 * 1.5 * 0.10)
    assert (found["reserved_3y"].fixed_usd_per_hour, found["reserved_3y"].usage_usd_per_hour) == (20.0, 0.0)
    assert (found["reserved_1y"].fixed_usd_per_hour, found["reserved_1y"].usage_usd_per_hour) == (30.0, 0.0)
    assert (found["on_demand"].fixed_usd_per_hour, found["on_demand"].usage_usd_per_hour) == (0.0, 40.0)
    assert found["spot"].interruption_per_hour == pytest.approx(1e-4)
    assert (found["spot"].max_count, found["reserved_3y"].minimum_order) == (8, 4)
    assert found["owned"].available_from_month == pytest.approx(3.0)
    assert found["reserved_3y"].available_from_month == pytest.approx(90 / (730 / 24))
    assert found["on_demand"].available_from_month == 0.0
    assert found["on_demand"].interruption_per_hour == 0.0
    source = found["owned"].source
    assert source is not None
    assert (source.book, source.currency, source.date.isoformat()) == ("shop", "USD", "2026-11-01")


def test_an_unknown_interruption_rate_is_not_zero(overlay: Overlay) -> None:
    assert options_of(overlay(BOOK.replace("interruptions: 7.3 %/month, ", "")))["spot"].interruption_per_hour is None


def test_a_residual_may_be_an_amount(overlay: Overlay) -> None:
    share = options_of(overlay(BOOK))["owned"]
    amount = options_of(overlay(BOOK.replace("residual: 10 %", "residual: '26,280 USD'")))["owned"]
    assert amount.fixed_usd_per_hour == pytest.approx(share.fixed_usd_per_hour, rel=1e-12)


def test_a_facility_figure_is_not_multiplied_by_pue_again(overlay: Overlay) -> None:
    box = f"{HEAD}power_scope: facility\n"
    inside = options_of(overlay(BOOK), power_w=8000.0)["owned"]
    outside = options_of(overlay(BOOK, **{"machines__dgx-h100": box}), power_w=8000.0)["owned"]
    assert inside.usage_usd_per_hour == pytest.approx(outside.usage_usd_per_hour * Assumptions().pue)


def test_hosting_by_the_rack_unit(overlay: Overlay) -> None:
    by_unit = BOOK.replace("hosting_per_kw: 146 USD/month", "hosting_per_rack_unit: 73 USD/month")
    nothing = BOOK.replace(", hosting_per_kw: 146 USD/month", "")
    units = Catalog().machine("dgx-h100").rack_units
    assert units is not None
    more = options_of(overlay(by_unit))["owned"].fixed_usd_per_hour
    assert more - options_of(overlay(nothing))["owned"].fixed_usd_per_hour == pytest.approx(0.1 * units)


def test_another_currency_needs_a_rate(overlay: Overlay) -> None:
    euros = BOOK.replace("USD", "EUR").replace("$", "€").replace("date: ", "currency: EUR\ndate: ", 1)
    with pytest.raises(CatalogError, match="no rate") as caught:
        options_of(overlay(euros))
    assert caught.value.where and caught.value.where.endswith("prices/shop.yaml:11")
    assert "currencies/EUR.yaml" in (caught.value.fix or "")
    rate = f"{HEAD}date: 2026-11-02\nusd_per_unit: 1.25\n"
    assumptions = Assumptions(electricity_usd_per_kwh=0.0)
    converted = options_of(overlay(euros, currencies__EUR=rate), assumptions=assumptions)
    dollars = options_of(overlay(BOOK), assumptions=assumptions)
    for plan, option in converted.items():
        assert option.fixed_usd_per_hour == pytest.approx(1.25 * dollars[plan].fixed_usd_per_hour)
        assert option.usage_usd_per_hour == pytest.approx(1.25 * dollars[plan].usage_usd_per_hour)
    source = converted["on_demand"].source
    assert source is not None
    assert (source.currency, source.usd_per_unit, str(source.exchange_date)) == ("EUR", 1.25, "2026-11-02")
    price = overlay(euros, currencies__EUR=rate).price_of("dgx-h100", ["shop"])
    assert price is not None and price.usd_per_hour == pytest.approx(50.0) and price.currency == "EUR"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("40 USD/h", "40 EUR/h", 5, "a price in EUR in a book of USD"),
        ("$262.8k", "'262,800 EUR'", 10, "a price in EUR in a book of USD"),
        ("40 USD/h", "-40 USD/h", 5, "above 0"),
        ("40 USD/h", "0 USD/h", 5, "above 0"),
        ("40 USD/h", "40", 5, "needs its unit"),
        ("$262.8k", "-1 USD", 10, "above 0"),
        ("purchase: $262.8k, ", "", 10, "purchase: missing field"),
        ("life: 4 years, ", "", 10, "life: missing field"),
        ("life: 4 years", "life: 0 years", 10, "greater than 0"),
        ("residual: 10 %", "residual: '262,801 USD'", 10, "exceeds the purchase price"),
        ("residual: 10 %", "residual: 110 %", 10, "less than or equal to 1"),
        ("maintenance: 5 %", "maintenence: 5 %", 10, "unknown field"),
        ("interruptions: 7.3 %/month", "interruptions: -1/h", 12, "greater than or equal to 0"),
        ("minimum_order: 4", "minimum_order: 0", 13, "greater than or equal to 1"),
        ("date: 2026-11-01", "date: 2026-11-01\ncurrency: euro", 5, "currency"),
    ],
)  # fmt: skip
def test_faults_of_a_book_name_their_line(overlay: Overlay, old: str, new: str, line: int, message: str) -> None:
    assert old in BOOK
    with pytest.raises(InputError) as caught:
        overlay(BOOK.replace(old, new)).price_book("shop")
    text = str(caught.value)
    assert f"prices/shop.yaml:{line}" in text and message in text, text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  spot: {dgx-h100:", "  spot: {dgx-h10:", "terms.spot.dgx-h10: this book has no such price; did you mean"),
        ("minimum_order: 4,", "interruptions: 1/h, ", "only spot machines are taken away"),
        ("minimum_order: 4,", "minimum_order: 4, max_count: 3,", "so none can be had"),
        ("$262.8k", "$262800k", "USD an accelerator is implausible"),
        ("30 USD/h", "50 USD/h", "reserved_1y.dgx-h100 costs more than on demand"),
        ("life: 4 years", "life: 4 weeks", "years is implausible"),
    ],
)
def test_lint_finds_what_the_schema_does_not(overlay: Overlay, old: str, new: str, message: str) -> None:
    assert old in BOOK
    found = [str(f) for f in lint(overlay(BOOK.replace(old, new)), today=datetime.date(2026, 11, 26))]
    assert any(message in line for line in found), found


def test_lint_of_currencies_and_regions(overlay: Overlay) -> None:
    catalog = overlay(
        BOOK,
        currencies__euro=f"{HEAD}date: 2026-11-02\nusd_per_unit: 1.1\n",
        regions__here=f"{HEAD}title: Here\ndate: 2025-12-31\ncarbon: 481 kg/kWh\n",
    )
    found = [str(f) for f in lint(catalog, today=datetime.date(2026, 11, 26))]
    assert any("ISO 4217" in line for line in found)
    assert any("carbon: 481000 g/kWh is implausible" in line for line in found)


@pytest.mark.parametrize(("field", "value"), [("pue", 0.99), ("electricity_usd_per_kwh", -0.01)])
def test_assumptions_that_make_no_sense(field: str, value: float) -> None:
    with pytest.raises(ScenarioError) as caught:
        Assumptions(**{field: value})
    assert caught.value.where == field


def test_dearer_electricity_is_never_cheaper_and_the_order_of_books_within_a_plan_decides(overlay: Overlay) -> None:
    catalog = overlay(BOOK)
    costs = [
        options_of(catalog, assumptions=Assumptions(electricity_usd_per_kwh=price))["owned"].usd_per_hour_at(0.7)
        for price in (0.0, 0.05, 0.1, 0.3)
    ]
    assert costs == sorted(costs)
    both = [purchase_options(catalog, "dgx-h100", books=books) for books in (["shop"], ["shop", "owned-estimate-2026"])]
    assert both[0] == both[1]


def test_the_order_of_books_that_list_different_machines_does_not_matter(overlay: Overlay) -> None:
    other = HEAD + "provider: p\ndate: 2026-11-01\ndefault: false\non_demand: {dgx-a100: 18 USD/h}\n"
    catalog = overlay(BOOK, prices__other=other)
    for machine in ("dgx-h100", "dgx-a100"):
        first, second = (
            purchase_options(catalog, machine, books=books) for books in (["shop", "other"], ["other", "shop"])
        )
        assert first == second
