"""Lint finds each fault, with its line, and goes on."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.lint import lint, machines_without_price

Write = Callable[..., Path]
HEAD = "source: my notes\nkind: estimate\n"
RUNTIME = f"""\
{HEAD}released: 2025-01-01
prefill_token_budget: 2048
max_batch: 64
memory_reserve: 10 %
kv_transfer: {{overlapped: true, synchronisation: 5 ms, setup: 1 ms, reference_bandwidth: 400 Gbit/s}}
defaults:
  gemm: {{bf16: 70 %}}
  gemm_half_tokens: 32
  weight_streaming: 80 %
  prefill_attention: 50 %
  decode_attention: 70 %
  kernel_launch: 2 us
  layer_overhead: 20 us
  prefill_layer_overhead: 20 us
  prefill_layer_floor: 0 us
  step_overhead: 500 us
  sequence_overhead: 5 us
  all_reduce_alpha: 25 us
  all_reduce_hop: 0 us
  link: 60 %
  pipeline_bubble: 5 %
  expert_imbalance: 1.2
  power_base: 0.3
  power_compute: 1.3
  power_memory: 0.7
  power_idle: 0.2
  step_time_error: 25 %
"""
TODAY = datetime.date(2025, 9, 1)


def findings(write: Write, base: dict[str, Path], files: dict[str, str]) -> list[str]:
    """Return the findings over the small catalog under an overlay, paths cut short."""
    overlay = write(files)
    found = lint(Catalog([overlay], builtin=base), today=TODAY)
    return [str(finding).replace(f"{overlay.parent}/", "") for finding in found]


def test_the_small_catalog_is_clean(base: dict[str, Path]) -> None:
    assert lint(Catalog(builtin=base), today=TODAY) == []
    assert machines_without_price(Catalog(builtin=base)) == []


def test_the_shipped_catalog_has_no_errors() -> None:
    assert [str(f) for f in lint(Catalog()) if f.severity == "error"] == []


def test_every_broken_file_is_found(write: Write, base: dict[str, Path]) -> None:
    found = findings(
        write,
        base,
        {
            "accelerators/one.yaml": "a: [1\n",
            "machines/box-one.yaml": HEAD + "rated_power: 3 GB\nraked_units: 8\n",
            "models/model-one.yaml": "n_layers: 3\nkind: quote\n",
            "fabrics/cable.yaml": "source: x\nsource: y\n",
        },
    )
    starts = (
        "mycat/accelerators/one.yaml:2: error: not YAML",
        "mycat/machines/box-one.yaml:3: error: rated_power: expected a power, got 'GB', which is a data size",
        "mycat/machines/box-one.yaml:4: error: raked_units: unknown field; did you mean: rack_units?",
        "mycat/fabrics/cable.yaml:2: error: duplicate key 'source'",
        "mycat/models/model-one.yaml:1: error: source: missing field",
    )
    for start in starts:
        assert any(text.startswith(start) for text in found), (start, found)
    assert len(found) == len(starts)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("machines/box-one", "accelerator: chip-on\n", "3: error: accelerator: unknown accelerator 'chip-on'; did you"),
        ("machines/box-one", "network: {fabric: cabel}\n", "3: error: network.fabric: unknown fabric 'cabel'; did you"),
        ("machines/box-one", "rated_power: 6 kW\n", "3: warning: rated_power 6 kW is below 8 x 700 W + chassis"),
        ("machines/box-one", "rated_power: 20 kW\n", "3: warning: rated_power 20 kW is over twice"),
        ("prices/shop-2025", "spot:\n  box-on: 3 USD/h\n", "4: error: spot.box-on: unknown machine 'box-on'; did you"),
        ("prices/shop-2025", "spot: {box-one: 39 USD/h}\n", "3: warning: spot.box-one costs more than on demand"),
        ("prices/shop-2025", "on_demand: {box-one: 3800 USD/h}\n", "3: error: on_demand.box-one: 475 USD/h an acc"),
        ("prices/shop-2025", "date: 2024-08-01\n", "3: warning: these prices are 13 months old (2024-08-01)"),
        ("prices/shop-2025", "date: 2025-12-01\n", "3: warning: these prices are of a day to come"),
        ("accelerators/chip-one", "peak: {fp8: 500 TFLOP/s}\n", "3: error: peak.fp8 is below peak.bf16 (500 < 989"),
        ("accelerators/chip-one", "memory_bandwidth: 60 TB/s\n", "3: warning: memory_bandwidth: 60 TB/s is implausi"),
        ("accelerators/chip-one", "memory: 80 MB\n", "3: error: memory: 80 MB is implausible"),
        ("accelerators/chip-one", "memory: 8000 GB\n", "3: error: memory: 8 TB is implausible"),
        (
            "accelerators/chip-one",
            "memory: 1900 GB\nmemory_bandwidth: 200 GB/s\n",
            "3: error: memory: 9.50 s to read all",
        ),
        ("accelerators/chip-one", "tdp: 700 kW\n", "3: error: tdp: 700 kW is implausible"),
        ("accelerators/chip-one", "peak: {bf16: 2 TFLOP/s}\n", "3: error: peak.bf16: 2 TFLOP/s is implausible"),
        (
            "accelerators/chip-one",
            "peak: {bf16: 20 TFLOP/s}\n",
            "3: warning: peak.bf16: 5.97 FLOPs a byte of memory band",
        ),
        ("accelerators/chip-one", "scale_up: {bandwidth: 4 TB/s}\n", "3: warning: scale_up.bandwidth: 4 TB/s exceeds"),
        (
            "machines/box-one",
            "network: {nic_bandwidth: 400 GB/s}\n",
            "3: error: network.nic_bandwidth: 400 GB/s is 3.2 Tbit/s, more than any port has; did you mean: 400 Gbit",
        ),
        ("machines/box-one", "network: {nic_bandwidth: 1 Mbit/s}\n", "3: error: network.nic_bandwidth: 1 Mbit/s is im"),
        ("fabrics/cable", "latency: 5 s\n", "3: error: latency: 5.00 s is implausible"),
        (
            "accelerators/chip-one",
            "tdp: 600 W\nprovenance:\n  memory_bandwith: {source: abc, kind: quote}\n",
            "5: error: provenance.memory_bandwith: this file sets no such value; did you mean: memory_bandwidth",
        ),
    ],
)
def test_faults_that_the_schema_does_not_see(
    write: Write, base: dict[str, Path], name: str, text: str, expected: str
) -> None:
    found = findings(write, base, {f"{name}.yaml": HEAD + text})
    assert any(line.startswith(f"mycat/{name}.yaml:{expected}") for line in found), found


def test_a_number_of_parameters_that_the_architecture_does_not_have(write: Write, base: dict[str, Path]) -> None:
    found = findings(write, base, {"models/model-one.yaml": HEAD + "n_layers: 40\n"})
    # 40 layers of 4 d^2 + 3 d f, and two embeddings; the published number stands in the lower file.
    counted = 40 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 32000 * 4096
    assert len(found) == 1
    message = f"n_parameters is 6.74 B, but its architecture has {counted / 1e9:.4g} B"
    assert found[0] == f"base/models/model-one.yaml:13: warning: {message}"


def test_a_runtime_for_unknown_chips(write: Write, base: dict[str, Path]) -> None:
    text = RUNTIME + "architectures: {frist: {link: 40 %}}\naccelerators:\n  chip-on: {link: 40 %}\n"
    found = findings(write, base, {"runtimes/r.yaml": text})
    assert any("architectures.frist: no accelerator has it; did you mean: first?" in line for line in found)
    assert any("accelerators.chip-on: unknown accelerator 'chip-on'; did you mean: chip-one?" in line for line in found)


@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "expected"),
    [
        ("accelerators", "chip-two", "architecture: first", "architecture: frist", "error: architecture: 'frist' is"),
        ("accelerators", "chip-two", "architecture: first", "architecture: First", "error: architecture: 'First' is"),
        (
            "machines",
            "box-two",
            "rated_power:",
            "site: Own\nrated_power:",
            "error: site: 'Own' is another site than 'own'",
        ),
    ],
)
def test_words_that_group_entries_and_are_almost_those_of_others(
    write: Write, base: dict[str, Path], kind: str, name: str, old: str, new: str, expected: str
) -> None:
    like = (base[kind] / f"{name.replace('two', 'one')}.yaml").read_text()
    assert old in like
    found = findings(write, base, {f"{kind}/{name}.yaml": like.replace(old, new)})
    assert any(f"mycat/{kind}/{name}.yaml" in line and expected in line for line in found), found


def test_generations_are_not_slips_of_each_other() -> None:
    """The shipped catalog has cdna3 and cdna4, gaudi2 and gaudi3: other names, not misspelt ones."""
    assert not [f for f in lint(Catalog()) if "did you mean" in f.message]


def test_what_lies_where_nothing_is_read_is_found(write: Write, base: dict[str, Path]) -> None:
    files = {
        "fabrics/cable.yaml": HEAD + "latency: 2 us\n",
        "stray.yaml": "a: 1",
        "fabrics/old.yml": "a: 1",
        "fabric/x.yaml": "",
    }
    found = findings(write, base, files)
    assert [line.split(": ")[0] for line in found] == ["mycat/fabric", "mycat/stray.yaml", "mycat/fabrics/old.yml"]
    assert all(": error: " in line for line in found)


def test_a_list_that_others_keep_is_no_datasheet(write: Write, base: dict[str, Path]) -> None:
    text = "source: somebody's gpu-specs.ts (commit 77ca49a)\nkind: datasheet\ntdp: 650 W\n"
    found = findings(write, base, {"accelerators/chip-one.yaml": text})
    assert len(found) == 1 and "datasheet, but 'commit 77ca49a' is not what the maker says" in found[0]


@pytest.mark.parametrize("source", ["TODO", "n/a", "'???'", "'    '"])
def test_a_placeholder_is_no_source(write: Write, base: dict[str, Path], source: str) -> None:
    text = f"source: {source}\nkind: quote\nfamily: ethernet\nefficiency: 1\nlatency: 1 us\n"
    found = findings(write, base, {"fabrics/f.yaml": text})
    assert len(found) == 1
    assert found[0].startswith("mycat/fabrics/f.yaml:1: error: source: ")


def test_a_machine_whose_accelerators_are_not_linked(write: Write, base: dict[str, Path]) -> None:
    chip = (base["accelerators"] / "chip-one.yaml").read_text().replace("scale_up:", "# scale_up:")
    box = (base["machines"] / "box-one.yaml").read_text().replace("chip-one", "chip-two")
    found = findings(write, base, {"accelerators/chip-two.yaml": chip, "machines/box-two.yaml": box})
    message = "scale_up: neither this machine nor chip-two says how accelerators are linked"
    assert [line for line in found if "error" in line] == [f"mycat/machines/box-two.yaml:1: error: {message}"]


def test_a_price_set_in_vain(write: Write, base: dict[str, Path]) -> None:
    files = {
        "prices/new.yaml": HEAD + "provider: shop\ndate: 2025-08-01\non_demand: {box-one: 40 USD/h}\n",
        "prices/shop-2025.yaml": HEAD + "on_demand: {box-one: 30 USD/h}\n",
    }
    found = findings(write, base, files)
    assert len(found) == 1
    assert found[0].startswith("mycat/prices/shop-2025.yaml:3: warning: on_demand.box-one: not used: shop has a newer")


def test_an_overlay_that_changes_nothing(write: Write, base: dict[str, Path]) -> None:
    found = findings(write, base, {"fabrics/cable.yaml": HEAD})
    assert len(found) == 1
    assert "changes nothing" in found[0]


def test_machines_without_a_price_are_counted(write: Write, base: dict[str, Path]) -> None:
    box = (base["machines"] / "box-one.yaml").read_text()
    assert machines_without_price(Catalog([write({"machines/box-two.yaml": box})], builtin=base)) == ["box-two"]
