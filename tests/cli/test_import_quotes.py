"""`planner catalog import-quotes` at the command line: written whole, never silently anew."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Planner = Callable[..., Any]
QUOTES = "Machine,Unit price (USD/h),Vendor,Date,Reference\ndgx-h100,{price},acme,2026-11-20,=offer 1\n"


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    path = tmp_path / "quotes.csv"
    path.write_text(QUOTES.format(price="31.50"))
    return path


def test_quotes_become_prices_of_plans(planner: Planner, quotes: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "ours"
    done = planner("catalog", "import-quotes", quotes, "--book", "offers", "--catalog", overlay)
    assert "counts" in done.out and "yours" in done.out
    assert "wrote " in done.err and "offers.yaml" in done.err
    planner("catalog", "lint", overlay)
    plan = json.loads(planner(
        "optimize", "--slo", "ttft=1s", "--machine", "dgx-h100", "--no-verify", "--catalog", overlay,
        "--format", "json",
    ).out)  # fmt: skip
    (price,) = plan["prices"]
    assert (price["usd_per_hour"], price["book"], price["source"]) == (31.5, "offers", "=offer 1")


def test_a_refresh_is_explicit_and_shows_what_changes(planner: Planner, quotes: Path, tmp_path: Path) -> None:
    command = ("catalog", "import-quotes", quotes, "--book", "offers", "--catalog", tmp_path / "ours")
    planner(*command)
    book = tmp_path / "ours" / "prices" / "offers.yaml"
    before = book.read_bytes()
    quotes.write_text(QUOTES.format(price="29.00"))
    refused = planner(*command, code=2)
    assert "is there already; nothing was written" in refused.err
    assert "dgx-h100 on_demand: 31.50 USD/h -> 29.00 USD/h (-7.9 %)" in refused.err
    assert book.read_bytes() == before
    done = planner(*command, "--replace")
    assert "31.50 USD/h -> 29.00 USD/h (-7.9 %)" in done.err
    assert "29.00 USD/h" in book.read_text()
    assert [path.name for path in book.parent.iterdir()] == ["offers.yaml"]


def test_a_built_in_book_is_not_merged_with(planner: Planner, quotes: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    done = planner(
        "catalog", "import-quotes", quotes, "--book", "splitwise-2023", "--catalog", ours, "--replace", code=2
    )
    assert "in another layer of the catalog" in done.err
    assert not ours.exists()


def test_one_faulty_row_and_nothing_is_written(planner: Planner, quotes: Path, tmp_path: Path) -> None:
    quotes.write_text(QUOTES.format(price="31.50") + "dgx-a100,-1,acme,2026-11-20,\ndgx-h10,5,acme,2026-11-20,\n")
    done = planner("catalog", "import-quotes", quotes, "--book", "offers", "--catalog", tmp_path / "ours", code=2)
    assert "row 3, column B (Unit price (USD/h)): a price must be above 0" in done.err
    assert "row 4, column A (Machine): unknown machine 'dgx-h10'; did you mean: dgx-h100" in done.err
    assert not (tmp_path / "ours").exists()


def test_records(planner: Planner, quotes: Path, tmp_path: Path) -> None:
    command = ("catalog", "import-quotes", quotes, "--catalog", tmp_path / "ours", "--book")
    rows = json.loads(planner(*command, "a", "--format", "json").out)
    assert rows[0]["counts"] is True and rows[0]["usd"] == 31.5 and rows[0]["row"] == 2
    (first, *_) = csv.DictReader(io.StringIO(planner(*command, "b", "--format", "csv").out))
    assert first["amount_text"] == "31.50 USD/h"


def test_options_for_what_the_file_does_not_say(planner: Planner, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("What;Each\nBig box;22995\n")
    command = ("catalog", "import-quotes", path, "--book", "offers", "--catalog", tmp_path / "ours")
    for option, value, words in (
        ("--map", "what=What", "unknown role of a column"), ("--machine-map", "Big box", "not a pair of names"),
        ("--date", "20/11/2026", "not a date"), ("--unit", "core/h", "not a unit of prices"),
        ("--decimal", "dot", "not a decimal sign"),
        ("--currency", "dollars", "not a currency"), ("--plan", "on-demand", "unknown price plan"),
        ("--sheet", "1", "a CSV has no sheets"),
    ):  # fmt: skip
        assert words in planner(*command, option, value, code=2).err
    done = planner(
        *command, "--map", "machine=What,price=Each", "--machine-map", "big box=dgx-h100", "--provider", "acme",
        "--date", "2026-11-20", "--currency", "USD", "--unit", "month", "--quiet",
    )  # fmt: skip
    assert "22995.00 USD/month = 31.50 USD/h" in done.out
    assert done.err == ""
