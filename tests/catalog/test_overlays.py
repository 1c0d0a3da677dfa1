"""Layers: field by field, provenance, order, laziness, digest, prices."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.catalog import ENVIRONMENT_VARIABLE, Catalog
from planner.catalog.schema import Accelerator, Machine, PriceBook
from planner.errors import CatalogError, UnknownNameError

Write = Callable[..., Path]
HEAD = "source: my notes\nkind: estimate\n"


def test_an_overlay_changes_only_what_it_sets(write: Write, base: dict[str, Path]) -> None:
    before = Catalog(builtin=base).accelerator("chip-one")
    overlay = write({"accelerators/chip-one.yaml": HEAD + "peak: {bf16: 500 TFLOP/s}\nmemory: 96 GB\n"})
    after = Catalog([overlay], builtin=base).accelerator("chip-one")
    assert after.memory_bytes == 96e9
    assert after.peak == {"bf16": 500e12, "fp8": 1979e12}
    changed = {"memory_bytes", "peak", "provenance"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)


def test_provenance_of_exactly_the_leaves_that_were_set(write: Write, base: dict[str, Path]) -> None:
    overlay = write({"accelerators/chip-one.yaml": HEAD + "peak: {bf16: 500 TFLOP/s}\nscale_up: {bandwidth: 1 TB/s}\n"})
    chip = Catalog([overlay], builtin=base).accelerator("chip-one")
    sources = {
        path: chip.provenance_of(path).source for path in ("peak.bf16", "peak.fp8", "memory", "scale_up.topology")
    }
    assert sources == {
        "peak.bf16": "my notes",
        "peak.fp8": "a measurement of ours",
        "memory": "Chip One datasheet, 2025",
        "scale_up.topology": "Chip One datasheet, 2025",
    }
    assert chip.provenance_of("scale_up.bandwidth").kind == "estimate"
    assert (chip.source, chip.kind) == ("Chip One datasheet, 2025", "datasheet")


def test_an_overlaid_value_loses_the_provenance_it_had(write: Write, base: dict[str, Path]) -> None:
    overlay = write({"accelerators/chip-one.yaml": HEAD + "peak: {fp8: 1500 TFLOP/s}\n"})
    assert Catalog([overlay], builtin=base).accelerator("chip-one").provenance_of("peak.fp8").source == "my notes"


def test_an_overlay_may_give_single_fields_their_own_provenance(write: Write, base: dict[str, Path]) -> None:
    text = HEAD + "tdp: 650 W\nmemory: 81 GB\nprovenance: {tdp: {source: a power meter, kind: measured}}\n"
    chip = Catalog([write({"accelerators/chip-one.yaml": text})], builtin=base).accelerator("chip-one")
    assert chip.provenance_of("tdp").source == "a power meter"
    assert chip.provenance_of("memory").source == "my notes"


def test_a_three_line_file_changes_a_price(write: Write, base: dict[str, Path]) -> None:
    overlay = write({"prices/shop-2025.yaml": "on_demand: {box-one: 30 USD/h}\nsource: offer 4711\nkind: quote\n"})
    price = Catalog([overlay], builtin=base).price_of("box-one")
    assert price is not None
    assert (price.usd_per_hour, price.source, price.book, price.provider) == (30.0, "offer 4711", "shop-2025", "shop")
    assert price.date == datetime.date(2025, 6, 1)


def test_later_overlays_win(write: Write, base: dict[str, Path]) -> None:
    one = write({"accelerators/chip-one.yaml": HEAD + "tdp: 500 W\nmemory: 96 GB\n"}, "one")
    two = write({"accelerators/chip-one.yaml": "source: other notes\nkind: quote\ntdp: 600 W\n"}, "two")
    forward, backward = Catalog([one, two], builtin=base), Catalog([two, one], builtin=base)
    assert (forward.accelerator("chip-one").tdp_w, backward.accelerator("chip-one").tdp_w) == (600.0, 500.0)
    assert forward.accelerator("chip-one").memory_bytes == 96e9
    assert forward.accelerator("chip-one").provenance_of("tdp").source == "other notes"
    assert backward.accelerator("chip-one").provenance_of("tdp").source == "my notes"
    assert [p.parts[-3] for p in forward.files_of(Accelerator, "chip-one")] == ["base", "one", "two"]


def test_lists_are_replaced(write: Write, base: dict[str, Path]) -> None:
    def workload(tokens: str) -> str:
        return f"prompt_tokens: {{probabilities: [0, 0.5, 1], tokens: {tokens}}}\n"

    rest = "title: T\noutput_tokens: {probabilities: [0, 1], tokens: [1, 9]}\ncorrelation: 0\n"
    lower = write({"workloads/w.yaml": HEAD + workload("[1, 2, 3]") + rest}, "lower")
    upper = write({"workloads/w.yaml": HEAD + "prompt_tokens: {tokens: [4, 5, 6]}\n"}, "upper")
    merged = Catalog([lower, upper], builtin=base).workload("w")
    assert merged.prompt_tokens.tokens == [4, 5, 6]
    assert merged.prompt_tokens.probabilities == [0, 0.5, 1]


def test_a_new_entry_stands_beside_the_old(write: Write, base: dict[str, Path]) -> None:
    text = base["accelerators"].joinpath("chip-one.yaml").read_text()
    catalog = Catalog([write({"accelerators/chip-two.yaml": text})], builtin=base)
    assert catalog.names(Accelerator) == ["chip-one", "chip-two"]
    assert catalog.accelerator("chip-two").name == "chip-two"


def test_only_what_is_asked_for_is_read(write: Write, base: dict[str, Path]) -> None:
    overlay = write({"accelerators/broken.yaml": "a: [1\n", "prices/broken.yaml": "", "models/m.yaml": "- 1\n"})
    catalog = Catalog([overlay], builtin=base)
    assert catalog.machine("box-one").accelerator == "chip-one"
    assert catalog.accelerator_of("box-one").name == "chip-one"
    with pytest.raises(CatalogError, match="not YAML"):
        catalog.accelerator("broken")
    with pytest.raises(CatalogError, match="empty"):
        catalog.price_of("box-one")


def test_references_of_a_machine_name_its_line(write: Write, base: dict[str, Path]) -> None:
    overlay = write({"machines/box-one.yaml": HEAD + "accelerator: chip-onne\nnetwork:\n  fabric: cabel\n"})
    catalog = Catalog([overlay], builtin=base)
    with pytest.raises(UnknownNameError) as caught:
        catalog.accelerator_of(catalog.machine("box-one"))
    assert str(caught.value.where).endswith("mycat/machines/box-one.yaml:3")
    assert caught.value.suggestions == ["chip-one"]
    with pytest.raises(UnknownNameError) as caught:
        catalog.fabric_of("box-one")
    assert str(caught.value.where).endswith("mycat/machines/box-one.yaml:5")


def test_digest_follows_content_and_not_location(write: Write, base: dict[str, Path], tmp_path: Path) -> None:
    overlay = write({"accelerators/chip-one.yaml": HEAD + "tdp: 500 W\n"})
    first = Catalog([overlay], builtin=base).digest()
    shutil.copytree(overlay, tmp_path / "elsewhere")
    assert Catalog([tmp_path / "elsewhere"], builtin=base).digest() == first
    assert Catalog(builtin=base).digest() != first
    (overlay / "accelerators/chip-one.yaml").write_text(HEAD + "tdp: 501 W\n")
    assert Catalog([overlay], builtin=base).digest() != first
    assert len(first) == 64


def test_digest_depends_on_the_order_of_overlays(write: Write, base: dict[str, Path]) -> None:
    one = write({"accelerators/chip-one.yaml": HEAD + "tdp: 500 W\n"}, "one")
    two = write({"accelerators/chip-one.yaml": HEAD + "tdp: 600 W\n"}, "two")
    assert Catalog([one, two], builtin=base).digest() != Catalog([two, one], builtin=base).digest()


def book(date: str, price: int, *, default: bool = True) -> str:
    return f"{HEAD}provider: p\ndate: {date}\ndefault: {str(default).lower()}\non_demand: {{box-one: {price} USD/h}}\n"


def test_the_newest_book_of_a_vendor_gives_the_price(write: Write, base: dict[str, Path]) -> None:
    books = {
        "prices/b.yaml": book("2026-03-01", 31),
        "prices/a.yaml": book("2026-03-01", 32),
        "prices/old.yaml": book("2020-03-01", 33),
        "prices/only-when-named.yaml": book("2026-09-01", 34, default=False),
    }
    catalog = Catalog([write(books)], builtin=base)

    def found(books: list[str]) -> tuple[str, float]:
        price = catalog.price_of("box-one", books)
        assert price is not None
        return price.book, price.usd_per_hour

    assert found([]) == ("b", 31.0)  # of one date, the cheaper
    assert found(["old", "b"]) == ("old", 33.0)
    assert found(["only-when-named"]) == ("only-when-named", 34.0)
    assert catalog.price_of("no-such-box") is None
    with pytest.raises(UnknownNameError, match="price book"):
        catalog.price_of("box-one", ["onyl-when-named"])


def test_a_named_book_without_the_machine_leaves_the_defaults(write: Write, base: dict[str, Path]) -> None:
    other = f"{HEAD}provider: p\ndate: 2026-03-01\ndefault: false\non_demand: {{}}\n"
    price = Catalog([write({"prices/other.yaml": other})], builtin=base).price_of("box-one", ["other"])
    assert price is not None
    assert price.book == "shop-2025"


@pytest.mark.parametrize(
    ("files", "words", "suggestion"),
    [
        ({"accelerator/x.yaml": "a: 1"}, "unknown folder 'accelerator'", "accelerators"),
        ({"stray.yaml": "a: 1"}, "outside the folders", None),
        ({"README.md": "hello"}, "only README.md", None),
    ],
)
def test_an_overlay_of_which_nothing_would_be_read(
    write: Write, base: dict[str, Path], files: dict[str, str], words: str, suggestion: str | None
) -> None:
    with pytest.raises(CatalogError, match=words) as caught:
        Catalog([write(files)], builtin=base)
    assert caught.value.where
    assert caught.value.fix
    assert suggestion is None or suggestion in caught.value.suggestions


@pytest.mark.parametrize(
    ("stray", "words"),
    [
        ("box-two.yaml", "outside the folders"),
        ("machines/box-two.yml", "end in .yaml"),
        ("machines/new/box-two.yaml", "folders inside"),
    ],
)
def test_a_stray_file_stops_only_a_look_for_its_name(
    write: Write, base: dict[str, Path], stray: str, words: str
) -> None:
    """Whatever lies where it is not read is named, and all else is read as if it were not there."""
    overlay = write({"machines/box-one.yaml": HEAD + "rated_power: 9 kW\n", stray: "a: 1\n"})
    catalog = Catalog([overlay], builtin=base)
    assert catalog.machine("box-one").rated_power_w == 9000
    assert [words in s.what and str(s.where).startswith(str(overlay)) for s in catalog.strays] == [True]
    with pytest.raises(UnknownNameError) as caught:
        catalog.machine("box-two")
    assert words in str(caught.value.rule) or "new" in stray


def test_a_broken_price_book_stops_the_machines_that_it_names(write: Write, base: dict[str, Path]) -> None:
    box = (base["machines"] / "box-one.yaml").read_text()
    broken = f"{HEAD}provider: p\ndate: 2025-08-01\non_demand: {{box-two: 3 EUR/h}}\n"
    catalog = Catalog([write({"machines/box-two.yaml": box, "prices/broken.yaml": broken})], builtin=base)
    price = catalog.price_of("box-one")
    assert price is not None and price.book == "shop-2025"
    with pytest.raises(CatalogError, match="a price in EUR in a book of USD"):
        catalog.price_of("box-two")
    unreadable = Catalog([write({"prices/broken.yaml": "a: [1\n"}, "second")], builtin=base)
    with pytest.raises(CatalogError, match="not YAML"):  # it may hold the price of anything
        unreadable.price_of("box-one")


def test_an_overlay_that_is_missing_empty_or_a_file(tmp_path: Path, base: dict[str, Path]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, words in (("none", "does not exist"), ("empty", "is empty"), ("file", "must be a folder")):
        with pytest.raises(CatalogError, match=words) as caught:
            Catalog([tmp_path / name], builtin=base)
        assert caught.value.where == str(tmp_path / name)


def test_hidden_files_and_documents_are_left_alone(write: Write, base: dict[str, Path]) -> None:
    files = {".git/x.yaml": "", "accelerators/.chip.yaml.swp": "", "accelerators/notes.txt": "", "README.md": "x"}
    assert Catalog([write(files)], builtin=base).names(Accelerator) == ["chip-one"]


def test_overlays_of_the_environment_come_before_those_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write({"fabrics/my-cable.yaml": HEAD + "family: ethernet\nefficiency: 50 %\nlatency: 9 us\n"}, "one")
    two = write({"fabrics/my-cable.yaml": HEAD + "latency: 8 us\n"}, "two")
    three = write({"fabrics/my-cable.yaml": HEAD + "efficiency: 60 %\n"}, "three")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, os.pathsep.join(["", str(one), str(two)]))
    catalog = Catalog.default([three])
    assert catalog.overlays == (one, two, three)
    assert catalog.fabric("my-cable").latency_s == pytest.approx(8e-6)
    assert catalog.fabric("my-cable").efficiency == pytest.approx(0.6)


def test_an_error_of_the_environment_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(CatalogError) as caught:
        Catalog.default()
    assert ENVIRONMENT_VARIABLE in str(caught.value)


def test_names_and_files_of_the_shipped_catalog() -> None:
    catalog = Catalog()
    assert catalog.names(Machine) == sorted(catalog.names(Machine))
    assert {"dgx-a100", "dgx-h100"} <= set(catalog.names(Machine))
    assert len(catalog.files_of(Machine, "dgx-h100")) == 1
    assert catalog.files_of(Machine, "nothing") == []
    assert catalog.accelerator_of("dgx-h100").memory_bytes == 81559 * 2**20
    price = catalog.price_of("dgx-h100")
    assert price is not None
    assert catalog.price_book(price.book).on_demand["dgx-h100"] == price.usd_per_hour


def test_reading_the_catalog_imports_no_solver() -> None:
    code = (
        "import sys; from planner.catalog.catalog import Catalog; c = Catalog(); c.price_of('dgx-h100'); "
        "print([m for m in ('scipy', 'pulp', 'highspy', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_entry_is_read_once(write: Write, base: dict[str, Path]) -> None:
    catalog = Catalog(builtin=base)
    first = catalog.get(PriceBook, "shop-2025")
    base["prices"].joinpath("shop-2025.yaml").write_text("broken: [")
    assert catalog.get(PriceBook, "shop-2025") is first
