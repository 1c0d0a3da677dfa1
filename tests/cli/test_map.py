"""`planner map`: formats, files, pictures and errors, as a shell sees them."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path
from typing import Any

import pytest

from planner import network_map
from planner.export.tables.network import network_table

PROVISIONING = ("map", "provisioning", "--slo", "ttft=1s", "--pair", "prefill=dgx-h100,decode=dgx-a100")
REGIME = ("map", "regime", "--slo", "ttft=1s", "--x", "price-ratio=1..3:3", "--y", "ttft=1s..2s:2", "--workers", "1")

NETWORK = ("map", "network", "--slo", "ttft=1s", "--x", "network=10Gbit/s..100Gbit/s:2")


@pytest.fixture
def planner(planner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command over the pair whose price ratio the maps vary."""
    monkeypatch.setenv("PLANNER_MACHINE", "dgx-a100 dgx-h100")
    return planner


@pytest.mark.parametrize("command", [PROVISIONING, REGIME], ids=["provisioning", "regime"])
def test_formats_agree(planner: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    data = json.loads(planner(*command, "--format", "json").out)
    rows = list(csv.DictReader(io.StringIO(planner(*command, "--format", "csv").out)))
    assert len(rows) == len(data["cells"])
    assert "llama-3.1-70b" in planner(*command).out
    planner(*command, "--output", tmp_path / "map.json", "-q")
    assert json.loads((tmp_path / "map.json").read_text()) == data


@pytest.mark.parametrize("command", [PROVISIONING, REGIME], ids=["provisioning", "regime"])
def test_maps_tell_the_date_of_the_prices(planner: Any, command: tuple[str, ...]) -> None:
    assert "Prices" in (shown := planner(*command)).out and "splitwise-2023 (coreweave, 2023-11-30)" in shown.out
    assert shown.err == ""
    assert planner(*command, "--format", "json").err.startswith("warning: the prices of splitwise-2023 are")
    assert planner(*command, "--format", "csv", "--quiet").err == ""


def test_points_that_make_no_axis_name_where_they_come_from(planner: Any) -> None:
    assert planner("map", "regime", "--points", "1", code=2).err.startswith("error: --points: an axis has 2 to 200")
    wrong = planner("map", "regime", "--x", "load=1/s..2/s:900", code=2)
    assert wrong.err.startswith("error: --x: an axis has 2 to 200")


def test_a_network_table_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.studies.network_map.links", lambda _: ["ethernet-25g", "infiniband-ndr"])
    found = network_map(slo=["ttft=1s"], rate="5/s", x="network=10Gbit/s..100Gbit/s:2", workers=1)
    assert [price.book for price in found.prices] == ["splitwise-2023"] * 2
    for width in (80, 120):
        text = network_table(found, datetime.date(2026, 11, 26), width=min(width, 100), table_width=width)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("\n  link on every NIC") == (2 if width == 80 else 1)
        assert "Prices        splitwise-2023 (coreweave, 2023-11-30), three years old" in text


def test_network_map_in_a_file(planner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.studies.network_map.links", lambda _: ["ethernet-25g"])
    planner(*NETWORK, "--output", tmp_path / "map.json", "-q")
    data = json.loads((tmp_path / "map.json").read_text())
    assert [link["fabric"] for link in data["links"]] == ["ethernet-25g"]
    assert set(data["break_even"]) == {"overlapped", "serialised"} and len(data["points"]) == 2


@pytest.mark.parametrize("command", [PROVISIONING, REGIME], ids=["provisioning", "regime"])
def test_pictures_are_written(planner: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")
    done = planner(*command, "--plot", tmp_path / "map.svg")
    assert b"<svg" in (tmp_path / "map.svg").read_bytes() and "wrote" in done.err
    assert "its name says" in planner(*command, "--plot", tmp_path / "map.pdf", code=2).err


@pytest.mark.parametrize(
    ("arguments", "where", "word"),
    [
        (("provisioning", "--pair", "prefill=dgx-h100"), "--pair", "not a pair"),
        (("provisioning", "--pair", "prefill=dgx-h100,decode=dgx-a101"), "--pair", "dgx-a100"),
        (("provisioning", "--prefill", "1-40"), "--prefill", "1..40"),
        (("provisioning", "--decode", "9..2"), "--decode", "backwards"),
        (("regime", "--x", "pric"), "--x", "price-ratio"),
        (("regime", "--y", "ttft=2s..1s"), "--y", "backwards"),
        (("regime", "--price-ratio-of", "dgx-h100"), "--price-ratio-of", "NAME/NAME"),
        (("regime", "--points", "400"), "--points", "2 to 200"),
        (("network", "--x", "load"), "--x", "one axis"),
        (("regime", "--workers", "0"), "--workers", "at least one process"),
    ],
)  # fmt: skip
def test_errors_name_the_option(planner: Any, arguments: tuple[str, ...], where: str, word: str) -> None:
    err = planner("map", *arguments, code=2).err
    assert f"error: {where}: " in err and word in err


def test_a_pair_without_a_link_is_refused_as_optimize_refuses_it(planner: Any) -> None:
    done = planner("map", "provisioning", "--pair", "prefill=aws-p5.48xlarge,decode=dgx-a100", code=3)
    assert "--pair" in done.err and "aws-p5.48xlarge stands at aws" in done.err


def test_a_pair_and_a_design_are_one_too_many(planner: Any) -> None:
    assert "both given" in planner(*PROVISIONING, "--design", "Splitwise-HH", code=2).err


def test_interrupted_maps_exit_with_130(planner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from planner.studies import regime_map

    def interrupted(job: Any, sets: Any, **_: Any) -> Any:
        yield 0, job(sets[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(regime_map, "run_many", interrupted)
    done = planner(*REGIME, "--format", "json", code=130)
    assert json.loads(done.out)["complete"] is False
    assert "interrupted" in done.err
